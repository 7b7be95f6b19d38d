"""Every order status of the venue is understood; a new one is read by its ending or recorded as unknown."""

import re
from pathlib import Path

import pytest

from adapters.hyperliquid.order_status import Reading, read_order_status
from adapters.hyperliquid.reason_codes import VENUE_OTHER
from domain.enums import ClosingKind

CANCELLED, FAILED, EXPIRED = ClosingKind.CANCELLED, ClosingKind.FAILED, ClosingKind.EXPIRED


@pytest.mark.parametrize("status", ["open", "triggered"])
def test_a_live_status_closes_nothing_and_proves_life(status: str) -> None:
    read = read_order_status(status)
    assert (read.closing, read.reason, read.is_alive, read.reading) == (None, "", True, Reading.LISTED)


@pytest.mark.parametrize(
    ("status", "closing", "reason"),
    [
        ("filled", ClosingKind.FILLED, ""),
        ("canceled", CANCELLED, "cancelled_by_user"),
        ("rejected", FAILED, VENUE_OTHER),
        ("marginCanceled", CANCELLED, "insufficient_margin"),
        ("vaultWithdrawalCanceled", CANCELLED, "vault_withdrawal"),
        ("openInterestCapCanceled", CANCELLED, "open_interest_cap"),
        ("selfTradeCanceled", CANCELLED, "self_trade"),
        ("reduceOnlyCanceled", CANCELLED, "reduce_only_position_closed"),
        ("siblingFilledCanceled", CANCELLED, "sibling_filled"),
        ("delistedCanceled", CANCELLED, "market_delisted"),
        ("liquidatedCanceled", CANCELLED, "account_liquidated"),
        ("outcomeSettledCanceled", CANCELLED, "outcome_settled"),
        ("internalCancel", CANCELLED, "venue_internal"),
        ("scheduledCancel", EXPIRED, "scheduled_cancel"),
        ("iocCancelRejected", EXPIRED, "ioc_no_match"),
        ("tickRejected", FAILED, "tick_size"),
        ("minTradeNtlRejected", FAILED, "min_notional"),
        ("minTradeSpotNtlRejected", FAILED, "min_notional"),
        ("perpMarginRejected", FAILED, "insufficient_margin"),
        ("perpMaxPositionRejected", FAILED, "margin_tier_limit"),
        ("insufficientSpotBalanceRejected", FAILED, "insufficient_spot_balance"),
        ("oracleRejected", FAILED, "price_too_far"),
        ("marketOrderNoLiquidityRejected", FAILED, "no_liquidity"),
        ("tooManyOpenOrdersRejected", FAILED, "too_many_open_orders"),
        ("reduceOnlyRejected", FAILED, "reduce_only_would_increase"),
        ("badAloPxRejected", FAILED, "post_only_would_cross"),
        ("badTriggerPxRejected", FAILED, "trigger_price_on_wrong_side"),
        ("positionIncreaseAtOpenInterestCapRejected", FAILED, "open_interest_cap"),
        ("positionFlipAtOpenInterestCapRejected", FAILED, "open_interest_cap"),
        ("tooAggressiveAtOpenInterestCapRejected", FAILED, "open_interest_cap_price"),
        ("openInterestIncreaseRejected", FAILED, "open_interest_too_fast"),
    ],
)
def test_a_closing_status_has_its_kind_and_reason(status: str, closing: ClosingKind, reason: str) -> None:
    read = read_order_status(status)
    assert (read.closing, read.reason, read.reading) == (closing, reason, Reading.LISTED)
    assert not read.is_alive


def test_the_dropped_rest_of_an_ioc_is_expired_not_cancelled() -> None:
    assert read_order_status("canceled", is_ioc=True).closing is EXPIRED
    assert read_order_status("canceled", is_ioc=True).reason == "ioc_remainder"
    assert read_order_status("marginCanceled", is_ioc=True).closing is CANCELLED
    assert read_order_status("filled", is_ioc=True).closing is ClosingKind.FILLED


@pytest.mark.parametrize(
    ("status", "closing"),
    [("moonPhaseCanceled", CANCELLED), ("gremlinCancel", CANCELLED), ("wrongHatRejected", FAILED)],
)
def test_a_status_added_by_the_venue_is_read_by_its_ending(status: str, closing: ClosingKind) -> None:
    read = read_order_status(status)
    assert (read.closing, read.reading, read.is_alive) == (closing, Reading.SUFFIX, False)
    assert (read.reason, read.status) == (VENUE_OTHER, status)


@pytest.mark.parametrize("status", ["", "resting", "OPEN", "Filled", "unknownOid", "canceledNot"])
def test_an_unknown_status_closes_nothing_and_proves_nothing(status: str) -> None:
    read = read_order_status(status)
    assert (read.closing, read.is_alive, read.reading) == (None, False, Reading.UNKNOWN)
    assert read.status == status


SHEET = Path(__file__).parents[4] / "shared/protocols/hyperliquid.md"


@pytest.mark.skipif(not SHEET.is_file(), reason="the protocol sheet is not beside this checkout")
def test_every_status_of_the_protocol_sheet_is_listed_with_its_state() -> None:
    section = SHEET.read_text().split("## 6.")[1].split("## 7.")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    stated = {status: state for names, state in rows for status in re.findall(r"`(\w+)`", names)}
    del stated["unknownOid"]
    assert len(stated) > 30
    for status, state in stated.items():
        read = read_order_status(status)
        assert read.reading is Reading.LISTED
        expected = "OPEN" if read.closing is None else read.closing.upper()
        assert state.strip().startswith(expected), status
