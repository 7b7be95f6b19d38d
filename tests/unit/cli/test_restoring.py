"""A session on the disk, and the session that continues from it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.ledger_source import LedgerEventSource
from adapters.cli.restoring import check_network, read_started
from adapters.hyperliquid.connector import VENUE
from adapters.storage.ledger import OrderLedger
from domain.account import Account
from domain.enums import Source
from domain.events import (
    AccountFillBooked,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    OrderFilled,
)
from domain.inputs import Started
from domain.updates import Change, Stamp
from projections import catch_up
from tests.support.core import (
    ACCOUNT,
    BOOKS_BEGIN_MS,
    START_MS,
    CoreSession,
    fill_row,
    funding_row,
    transfer_row,
)

HOUR_MS = 3_600_000
OTHER_ACCOUNT = "0x" + "b" * 40


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[OrderLedger]:
    opened = OrderLedger.open(tmp_path / "ledger.db")
    yield opened
    opened.close()


def started_from(ledger: OrderLedger, folder: Path, account: str = ACCOUNT) -> Started:
    views = folder / "views.db"
    catch_up(LedgerEventSource(ledger), views)
    return read_started(ledger, views, venue=VENUE, account=account, session_id="0000000000ff")


def restarted(core: CoreSession, ledger: OrderLedger, folder: Path) -> CoreSession:
    """The next session, from what the first one left on the disk."""
    ledger.append(core.events)
    again = CoreSession(
        account=core.account,
        signer=core.account,
        session_id=0xFF,
        started=started_from(ledger, folder, core.account),
        ledger=core.stored,
    )
    again.now_ns = core.now_ns
    again.fills = core.fills
    return again


def liquidation(time_ms: int) -> dict[str, object]:
    details = {"liquidatedUser": ACCOUNT, "markPx": "40000.0", "method": "market"}
    return fill_row(77, 7, "0.5", side="A", time_ms=time_ms, dir="Liquidated Cross Long", liquidation=details)


def test_an_empty_ledger_is_a_beginning(ledger: OrderLedger, tmp_path: Path) -> None:
    started = started_from(ledger, tmp_path)
    assert started.ledger_position == 0
    assert started.books_begin_ms == 0


def test_a_session_continues_with_its_orders_positions_nonce_and_keys(
    ledger: OrderLedger, tmp_path: Path
) -> None:
    core = CoreSession().ready()
    kept = core.open(1001)
    core.fill(1001, 1, "0.25", cloid=core.order(kept).venue_order_key)
    sent = core.buy()
    nonce = core.take_send().nonce
    ledger.append(core.events)
    started = started_from(ledger, tmp_path)
    assert started.books_begin_ms == BOOKS_BEGIN_MS
    assert started.last_nonce == nonce
    assert len(started.open_orders) == 2
    assert {position.trading_pair: position.amount for position in started.positions} == {
        "BTC-USD": Decimal("0.25")
    }
    assert started.recent_fill_keys == ("BTC:1001:1",)
    assert started.last_fill_time_ms == START_MS + 500
    again = CoreSession(session_id=0xFF, started=started, ledger=core.stored).begin()
    assert again.state(kept) == "partially_filled"
    assert again.view(sent).outcome_unknown


def test_a_liquidation_of_long_ago_is_not_booked_again_by_the_snapshot_after_a_restart(
    ledger: OrderLedger, tmp_path: Path
) -> None:
    core = CoreSession().ready()
    order = core.open(1001, amount="2")
    long_ago = liquidation(START_MS + 1_000)
    core.fills.append(long_ago)
    core.show_fills([long_ago])
    core.fill(1001, 1, "1", cloid=core.order(order).venue_order_key, time_ms=START_MS + 5 * HOUR_MS)
    again = restarted(core, ledger, tmp_path).ready()
    again.show_fills(again.fills, channel="userFills")
    assert again.events_of(AccountFillBooked) == []
    assert again.events_of(OrderFilled) == []
    assert again.connector.position("BTC-USD").amount == Decimal("0.5")


def test_a_snapshot_of_what_the_ledger_has_costs_no_look_up(ledger: OrderLedger, tmp_path: Path) -> None:
    core = CoreSession().ready()
    for number in range(50):
        order = core.open(1001 + number)
        key = core.order(order).venue_order_key
        core.fill(1001 + number, number + 1, "1", cloid=key, time_ms=START_MS + number * HOUR_MS)
    again = restarted(core, ledger, tmp_path).ready()
    again.answer_lookups = False
    again.show_fills(again.fills, channel="userFills")
    assert again.lookups == []


def test_funding_of_long_ago_is_not_booked_again(ledger: OrderLedger, tmp_path: Path) -> None:
    payments = [
        {
            "time": START_MS + hour * HOUR_MS,
            "coin": "BTC",
            "usdc": "-1.5",
            "szi": "1.0",
            "fundingRate": "0.0000125",
        }
        for hour in range(1, 9)
    ]
    core = CoreSession().ready()
    core.frame("userFundings", {"user": ACCOUNT, "isSnapshot": True, "fundings": payments})
    assert len(core.events_of(AccountFundingBooked)) == 8
    again = restarted(core, ledger, tmp_path).ready()
    again.frame("userFundings", {"user": ACCOUNT, "isSnapshot": True, "fundings": payments})
    assert again.events_of(AccountFundingBooked) == []


def test_a_deposit_of_long_ago_is_not_booked_again(ledger: OrderLedger, tmp_path: Path) -> None:
    deposit = {"type": "deposit", "usdc": "250.0"}
    rows = [
        {"time": START_MS + hour * HOUR_MS, "hash": f"0x{hour:064x}", "delta": deposit}
        for hour in range(1, 4)
    ]
    told = {"user": ACCOUNT, "isSnapshot": True, "nonFundingLedgerUpdates": rows}
    core = CoreSession().ready()
    core.frame("userNonFundingLedgerUpdates", told)
    assert len(core.events_of(AccountLedgerUpdateBooked)) == 3
    again = restarted(core, ledger, tmp_path).ready()
    again.frame("userNonFundingLedgerUpdates", told)
    assert again.events_of(AccountLedgerUpdateBooked) == []


def test_a_session_continues_with_the_cash_that_the_ledger_comes_to(
    ledger: OrderLedger, tmp_path: Path
) -> None:
    core = CoreSession().ready()
    order = core.open(1001)
    core.fill(1001, 1, "0.25", cloid=core.order(order).venue_order_key, fee="0.5")
    core.advance(60)
    core.fundings.append(funding_row(core.now_ms, "-1.5"))
    core.transfers.append(transfer_row(core.now_ms, "250.0"))
    core.advance(120)
    ledger.append(core.events)
    cash = started_from(ledger, tmp_path).cash
    assert cash is not None
    assert (cash.token, cash.total(lambda pair: True)) == ("USDC", core.cash)
    assert cash.total(lambda pair: False) == Decimal(1_000) - Decimal("1.5") + 250
    assert cash.summands == 3


def test_a_session_is_told_which_differences_were_waived(ledger: OrderLedger, tmp_path: Path) -> None:
    core = CoreSession().ready()
    ledger.append(core.events)
    changes: list[Change] = []
    account = Account(venue=VENUE, address=ACCOUNT, changes=changes)
    account.stamp = Stamp(core.now_ns, Source.RECONCILIATION, "test")
    account.restore(core.connector.account.version, (), (), is_open=True)
    for number in (1, 2):
        account.discrepancy_found(
            f"D-{number}",
            kind="balance_drift",
            subject="USDC",
            trading_pair="",
            ours="1",
            theirs="2",
            explanation="",
            evidence="",
        )
    account.discrepancy_waived("D-2", reason="a gift", actor="ann")
    ledger.append([change.event for change in changes])
    started = started_from(ledger, tmp_path)
    assert started.unsettled_discrepancies == ("D-1", "D-2")
    assert started.waived_discrepancies == ("D-2",)


def test_the_books_of_two_accounts_in_one_ledger_stay_apart(ledger: OrderLedger, tmp_path: Path) -> None:
    core = CoreSession().ready()
    core.open(1001)
    core.fill(1001, 1, "0.25", cloid=None)
    ledger.append(core.events)
    assert started_from(ledger, tmp_path, OTHER_ACCOUNT).books_begin_ms == 0
    other = CoreSession(account=OTHER_ACCOUNT, signer=OTHER_ACCOUNT, session_id=0xBB).ready()
    other.open(2001)
    ledger.append(other.events)
    started = started_from(ledger, tmp_path, OTHER_ACCOUNT)
    assert len(started.open_orders) == 1
    assert started.positions == ()
    assert started.recent_fill_keys == ()
    assert started.books_begin_ms == BOOKS_BEGIN_MS
    assert len(started_from(ledger, tmp_path).open_orders) == 1


def test_a_ledger_of_another_network_is_refused_and_says_what_to_do(ledger: OrderLedger) -> None:
    check_network(ledger, "ledger.db", "mainnet")
    ledger.append(CoreSession().ready().events)
    check_network(ledger, "ledger.db", "testnet")
    with pytest.raises(
        CommandError, match=r"on testnet, and venue\.network is mainnet.*ledger\.path"
    ) as error:
        check_network(ledger, "ledger.db", "mainnet")
    assert error.value.exit_code is ExitCode.CONFIG
