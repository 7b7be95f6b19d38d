"""Liquidations, the backstop and auto-deleveraging (sheet 8, 10.5)."""

from decimal import Decimal

import pytest

from adapters.simulator.engine import VenueOptions
from adapters.simulator.engine.state import LIQUIDATOR
from tests.unit.simulator.engine.venue import ALICE, BOB, BTC, CAROL, ETH, Venue, limit


def squeezed(options: VenueOptions | None = None) -> Venue:
    """Alice is long 1 BTC with 2500 USDC; Bob bids below."""
    venue = Venue(options, usdc="2500")
    for user in (BOB, CAROL):
        venue.exchange.create_account(user, usdc=Decimal(10**6))
    venue.open_long(ALICE, BTC, "43210", "1")
    venue.rest(BOB, limit(BTC, True, "41000", "5"))
    venue.exchange.drain()
    return venue


def test_an_account_below_maintenance_is_closed_on_the_book() -> None:
    venue = squeezed()
    venue.mark("BTC", "41260")
    assert venue.position(ALICE, "BTC") is not None
    venue.mark("BTC", "41200")
    assert venue.position(ALICE, "BTC") is None
    fill = venue.fills(ALICE)[-1]
    assert (fill["px"], fill["dir"], fill["startPosition"]) == ("41000.0", "Liquidated Cross Long", "1.0")
    assert fill["liquidation"] == {"liquidatedUser": ALICE, "markPx": "41200.0", "method": "market"}
    assert fill["closedPnl"] == "-2210.0"


def test_the_counterparty_sees_the_liquidation_on_an_ordinary_fill() -> None:
    venue = squeezed()
    venue.mark("BTC", "41200")
    fill = venue.fills(BOB)[-1]
    assert fill["dir"] == "Open Long"
    assert fill["liquidation"]["liquidatedUser"] == ALICE
    assert fill["tid"] == venue.fills(ALICE)[-1]["tid"]


def test_the_liquidating_oid_is_one_nobody_sent() -> None:
    venue = squeezed()
    mine = venue.rest(ALICE, limit(BTC, True, "39000", "0.01"))
    venue.mark("BTC", "41200")
    fill = venue.fills(ALICE)[-1]
    assert fill["oid"] != mine
    row = venue.order_row(ALICE, fill["oid"])
    assert (row["tif"], row["orderType"]) == ("LiquidationMarket", "Market")


def test_open_orders_of_a_liquidated_account_are_cancelled() -> None:
    venue = squeezed()
    oid = venue.rest(ALICE, limit(ETH, True, "2000", "0.01"))
    venue.exchange.drain()
    venue.mark("BTC", "41200")
    messages = venue.exchange.drain()
    assert venue.status(ALICE, oid) == "liquidatedCanceled"
    events = [m.data for m in messages if m.kind == "userEvents" and m.user == ALICE]
    assert {"nonUserCancel": [{"coin": "ETH", "oid": oid}]} in events
    (liquidation,) = [e["liquidation"] for e in events if isinstance(e, dict) and "liquidation" in e]
    assert liquidation["liquidated_user"] == ALICE
    assert liquidation["liquidated_ntl_pos"] == "41200.0"


def test_a_liquidation_is_in_the_ledger() -> None:
    venue = squeezed()
    venue.mark("BTC", "41200")
    delta = venue.info("userNonFundingLedgerUpdates", user=ALICE, startTime=0)[-1]["delta"]
    assert delta["type"] == "liquidation"
    assert delta["liquidatedPositions"] == [{"coin": "BTC", "szi": "1.0"}]


def test_far_below_maintenance_the_backstop_takes_over_at_mark() -> None:
    venue = squeezed()
    venue.mark("BTC", "41000")
    fill = venue.fills(ALICE)[-1]
    assert fill["liquidation"]["method"] == "backstop"
    assert (fill["px"], fill["fee"]) == ("41000.0", "0.0")
    assert venue.position(ALICE, "BTC") is None
    assert venue.szi(LIQUIDATOR, "BTC") == "1.0"
    assert venue.szi(BOB, "BTC") == "0.0"


def test_a_big_position_goes_in_steps_with_a_pause() -> None:
    venue = Venue(usdc="25000")
    for user in (BOB, CAROL):
        venue.exchange.create_account(user, usdc=Decimal(10**7))
    venue.open_long(ALICE, BTC, "43210", "10")
    venue.rest(BOB, limit(BTC, True, "41190", "50"))
    venue.mark("BTC", "41200")
    assert venue.fills(ALICE)[-1]["sz"] == "2.0"
    assert venue.szi(ALICE, "BTC") == "8.0"
    venue.mark("BTC", "41120")
    assert venue.szi(ALICE, "BTC") == "8.0"
    venue.exchange.advance(venue.now + 30_000)
    assert Decimal(venue.szi(ALICE, "BTC")) < 8


def test_isolated_positions_are_liquidated_alone() -> None:
    venue = Venue()
    venue.act(ALICE, {"type": "updateLeverage", "asset": BTC, "isCross": False, "leverage": 20})
    venue.open_long(ALICE, BTC, "43210", "1")
    venue.open_long(ALICE, ETH, "2300", "1")
    other = venue.rest(ALICE, limit(ETH, True, "2000", "1"))
    venue.mark("BTC", "41000")
    assert venue.position(ALICE, "BTC") is None
    assert venue.position(ALICE, "ETH") is not None
    assert venue.status(ALICE, other) == "open"
    assert venue.fills(ALICE)[-1]["dir"] == "Liquidated Isolated Long"


def test_automatic_liquidation_can_be_turned_off() -> None:
    venue = squeezed(VenueOptions(automatic_liquidation=False))
    venue.mark("BTC", "40000")
    assert venue.szi(ALICE, "BTC") == "1.0"


def test_a_test_may_liquidate_whom_it_wants() -> None:
    venue = Venue()
    venue.open_short(ALICE, BTC, "43210", "1")
    venue.exchange.liquidate(ALICE, "BTC", size=Decimal("0.4"), backstop=True)
    assert venue.fills(ALICE)[-1]["dir"] == "Liquidated Cross Short"
    assert venue.szi(ALICE, "BTC") == "-0.6"
    with pytest.raises(ValueError, match="no position"):
        venue.exchange.liquidate(BOB, "BTC")


def test_auto_deleveraging_closes_without_notice_and_without_an_order() -> None:
    venue = Venue()
    venue.open_long(ALICE, BTC, "43000", "1")
    venue.exchange.drain()
    venue.exchange.auto_deleverage(ALICE, "BTC", Decimal("0.4"), Decimal("43500"))
    fill = venue.fills(ALICE)[-1]
    assert (fill["dir"], fill["sz"], fill["px"], fill["closedPnl"], fill["fee"]) == (
        "Auto-Deleveraging",
        "0.4",
        "43500.0",
        "200.0",
        "0.0",
    )
    assert venue.status(ALICE, fill["oid"]) == "unknownOid"
    assert "liquidation" not in fill
    assert venue.updates(ALICE) == []
    with pytest.raises(ValueError, match="less than"):
        venue.exchange.auto_deleverage(ALICE, "BTC", Decimal(2), Decimal(43500))
