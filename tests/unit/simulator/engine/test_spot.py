"""Spot pairs: balances, holds, cost basis (sheet 1.2, 5.7, 8)."""

from decimal import Decimal

from adapters.simulator.engine import VenueOptions
from tests.unit.simulator.engine.venue import (
    ALICE,
    BOB,
    BTC,
    CAROL,
    HYPE_SPOT,
    PURR_SPOT,
    Venue,
    limit,
    trigger,
)


def market() -> Venue:
    venue = Venue()
    venue.exchange.create_account(ALICE, spot={"USDC": Decimal(1000)})
    venue.exchange.create_account(BOB, spot={"HYPE": Decimal(100), "PURR": Decimal(1000)})
    return venue


def test_pairs_are_known_by_their_index() -> None:
    venue = market()
    venue.trade(ALICE, BOB, HYPE_SPOT, "31.255", "1")
    venue.trade(ALICE, BOB, PURR_SPOT, "0.18362", "100")
    assert [fill["coin"] for fill in venue.fills(ALICE)] == ["@107", "PURR/USDC"]


def test_open_orders_hold_what_they_would_spend() -> None:
    venue = market()
    buy = venue.rest(ALICE, limit(HYPE_SPOT, True, "30", "20"))
    sell = venue.rest(BOB, limit(HYPE_SPOT, False, "32", "40"))
    assert venue.spot(ALICE, "USDC")["hold"] == "600.0"
    assert venue.spot(BOB, "HYPE")["hold"] == "40.0"
    venue.cancel(ALICE, HYPE_SPOT, buy)
    venue.cancel(BOB, HYPE_SPOT, sell)
    assert venue.spot(ALICE, "USDC")["hold"] == "0.0"
    assert venue.spot(BOB, "HYPE")["hold"] == "0.0"


def test_fills_release_their_part_of_the_hold() -> None:
    venue = market()
    venue.rest(ALICE, limit(HYPE_SPOT, True, "30", "20"))
    venue.sell(BOB, HYPE_SPOT, "30", "5", "Ioc")
    assert venue.spot(ALICE, "USDC") == {
        "coin": "USDC",
        "token": 0,
        "total": "850.0",
        "hold": "450.0",
        "entryNtl": "0.0",
    }
    venue.sell(BOB, HYPE_SPOT, "30", "15", "Ioc")
    assert venue.spot(ALICE, "USDC")["hold"] == "0.0"


def test_balances_that_are_held_cannot_be_spent_twice() -> None:
    venue = market()
    venue.rest(ALICE, limit(HYPE_SPOT, True, "30", "30"))
    text = "Insufficient spot balance asset=10107"
    assert venue.buy(ALICE, HYPE_SPOT, "30", "4") == {"error": text}
    assert venue.sell(BOB, HYPE_SPOT, "32", "100.01") == {"error": text}
    assert venue.sell(CAROL, HYPE_SPOT, "32", "1") == {"error": text}
    assert venue.info("historicalOrders", user=CAROL)[0]["status"] == "insufficientSpotBalanceRejected"


def test_a_full_resale_of_what_was_ordered_fails_by_the_fee() -> None:
    venue = market()
    venue.trade(ALICE, BOB, HYPE_SPOT, "31.255", "10")
    assert "error" in venue.sell(ALICE, HYPE_SPOT, "31.2", "10")
    assert "resting" in venue.sell(ALICE, HYPE_SPOT, "31.2", "9.99")


def test_spot_fills_show_balances_and_cost_basis() -> None:
    venue = market()
    venue.trade(ALICE, BOB, HYPE_SPOT, "30", "10")
    assert venue.spot(ALICE, "HYPE")["entryNtl"] == "300.0"
    venue.trade(BOB, ALICE, HYPE_SPOT, "33", "5")
    bought, sold = venue.fills(ALICE)
    assert (bought["dir"], bought["startPosition"], bought["closedPnl"]) == ("Buy", "0.0", "0.0")
    assert (sold["dir"], sold["startPosition"]) == ("Sell", "9.993")
    released = (Decimal(300) * 5 / Decimal("9.993")).quantize(Decimal("1E-8"))
    assert Decimal(sold["closedPnl"]) == 165 - released
    assert Decimal(venue.spot(ALICE, "HYPE")["entryNtl"]) == 300 - released


def test_spot_orders_are_listed_with_the_first_dex() -> None:
    venue = market()
    oid = venue.rest(ALICE, limit(HYPE_SPOT, True, "30", "20"))
    assert venue.open_oids(ALICE) == [oid]
    assert venue.info("openOrders", user=ALICE, dex="xyz") == []


def test_spot_sells_may_pay_a_builder() -> None:
    venue = market()
    builder = {"b": CAROL, "f": 100}
    approval = {"type": "approveBuilderFee", "maxFeeRate": "0.1%", "builder": CAROL, "nonce": 1}
    for user in (ALICE, BOB):
        venue.act(user, approval)
    venue.orders(BOB, limit(HYPE_SPOT, False, "30", "10"), builder=builder)
    venue.orders(ALICE, limit(HYPE_SPOT, True, "30", "10", "Ioc"), builder=builder)
    (sold,), (bought,) = venue.fills(BOB), venue.fills(ALICE)
    assert (sold["fee"], sold["builderFee"]) == ("0.42", "0.3")
    assert "builderFee" not in bought
    assert venue.spot(CAROL, "USDC")["total"] == "0.3"


def test_unified_spot_orders_cannot_spend_margin_in_use() -> None:
    venue = Venue(VenueOptions(abstraction="unifiedAccount"), usdc="3000")
    venue.open_long(ALICE, BTC, "43210", "0.2")
    assert "error" in venue.buy(ALICE, HYPE_SPOT, "30", "80")
    assert "resting" in venue.buy(ALICE, HYPE_SPOT, "30", "60")


def test_spot_has_no_triggers() -> None:
    venue = market()
    status = venue.order(BOB, trigger(HYPE_SPOT, False, "25", "10", "sl"))
    assert status == {"error": "Invalid TP/SL price. asset=10107"}


def test_spot_prices_may_have_more_decimals() -> None:
    venue = market()
    assert "resting" in venue.buy(ALICE, PURR_SPOT, "0.18361", "100")
    assert venue.buy(ALICE, PURR_SPOT, "0.183615", "100") == {
        "error": "Price must be divisible by tick size."
    }


def test_own_spot_orders_are_cancelled_not_traded_with() -> None:
    venue = market()
    venue.exchange.create_account(BOB, spot={"USDC": Decimal(1000)})
    own = venue.rest(BOB, limit(HYPE_SPOT, False, "31", "10"))
    venue.buy(BOB, HYPE_SPOT, "31", "10", "Ioc")
    assert venue.status(BOB, own) == "selfTradeCanceled"
    assert venue.spot(BOB, "HYPE")["hold"] == "0.0"
