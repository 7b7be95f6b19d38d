"""What makes an order be refused, where, and with which text (sheet 2.1, 4.5, 4.6, 9)."""

from decimal import Decimal
from typing import Any

import pytest

from adapters.simulator.engine import Unprocessable, VenueOptions
from adapters.simulator.engine.options import MAINNET_PERPS, PRE_VALIDATED, PerpSpec
from tests.unit.simulator.engine.venue import (
    ALICE,
    BOB,
    BTC,
    CAROL,
    ETH,
    HYPE_SPOT,
    MATIC,
    SOL,
    STRANGER,
    Json,
    Venue,
    cloid,
    limit,
    trigger,
)

MIN_TEXT = "Order must have minimum value of $10."


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (limit(BTC, True, "43210.5", "0.01"), "Price must be divisible by tick size."),
        (limit(ETH, True, "2298.45", "1"), "Price must be divisible by tick size."),
        (limit(BTC, True, "43210", "0.000001"), "Order has invalid size."),
        (limit(SOL, True, "98.7", "1.005"), "Order has invalid size."),
        (limit(BTC, True, "43210", "0"), "Order has zero size."),
        (limit(BTC, True, "43210", "-1"), "Order has invalid size."),
        (limit(BTC, True, "-43210", "1"), "Order has invalid price."),
        (limit(BTC, True, "0", "1"), "Order has invalid price."),
        (limit(BTC, True, "43210", "1000000000000000000000"), "Order has invalid size."),
        (limit(777, True, "43210", "1"), "Unknown asset."),
        (trigger(BTC, False, "0", "0.01", "tp", px="43500"), "Order has invalid price."),
        (trigger(BTC, False, "43500.5", "0.01", "tp"), "Price must be divisible by tick size."),
    ],
)
def test_a_bad_payload_refuses_the_whole_action_with_one_error(entry: Json, text: str) -> None:
    venue = Venue()
    good = limit(BTC, True, "43000", "0.01")
    assert venue.orders(ALICE, good, entry, good) == [{"error": text}]
    assert venue.open_oids(ALICE) == []


def test_pre_validation_may_be_configured_to_answer_err() -> None:
    venue = Venue(VenueOptions(pre_validation_answer="top_level"))
    answer = venue.act(
        ALICE, {"type": "order", "orders": [limit(BTC, True, "43210.5", "0.01")], "grouping": "na"}
    )
    assert answer == {"status": "err", "response": "Price must be divisible by tick size."}


def test_what_is_not_pre_validated_is_refused_per_order_with_its_asset() -> None:
    venue = Venue(VenueOptions(pre_validated=frozenset()))
    statuses = venue.orders(ALICE, limit(ETH, True, "2298.45", "1"), limit(ETH, True, "2298.4", "1"))
    assert statuses[0] == {"error": "Price must be divisible by tick size. asset=1"}
    assert "resting" in statuses[1]


def test_a_live_error_leaves_the_neighbours_alone() -> None:
    venue = Venue()
    statuses = venue.orders(
        ALICE,
        limit(ETH, True, "2000", "0.004"),
        limit(ETH, True, "2000", "0.005"),
        limit(SOL, True, "98", "0.1"),
    )
    assert statuses[0] == {"error": f"{MIN_TEXT} asset=1"}
    assert "resting" in statuses[1]
    assert statuses[2] == {"error": f"{MIN_TEXT} asset=5"}


def test_a_live_refusal_can_be_made_a_pre_validation() -> None:
    venue = Venue(VenueOptions(pre_validated=PRE_VALIDATED | {MIN_TEXT}))
    statuses = venue.orders(ALICE, limit(ETH, True, "2000", "0.004"), limit(ETH, True, "2000", "1"))
    assert statuses == [{"error": MIN_TEXT}]


def test_the_minimum_is_size_times_limit_price() -> None:
    venue = Venue()
    assert "resting" in venue.buy(ALICE, BTC, "40000", "0.00025")
    assert venue.buy(ALICE, BTC, "39999", "0.00025") == {"error": f"{MIN_TEXT} asset=0"}


def test_a_refused_order_has_a_history_row() -> None:
    venue = Venue()
    venue.order(ALICE, limit(ETH, True, "2000", "0.004", cloid=cloid(3)))
    (row,) = venue.info("historicalOrders", user=ALICE)
    assert row["status"] == "minTradeNtlRejected"
    assert row["order"]["cloid"] == cloid(3)
    assert venue.updates(ALICE) == [(row["order"]["oid"], "minTradeNtlRejected")]


def test_refused_orders_may_be_kept_off_the_order_updates() -> None:
    venue = Venue(VenueOptions(rejected_on_order_updates=False))
    venue.buy(ALICE, ETH, "2000", "0.004")
    assert venue.updates(ALICE) == []
    assert venue.info("historicalOrders", user=ALICE)[0]["status"] == "minTradeNtlRejected"


def test_too_many_entries_refuse_the_action() -> None:
    venue = Venue()
    entries = [limit(BTC, True, "43000", "0.01")] * 201
    answer = venue.act(ALICE, {"type": "order", "orders": entries, "grouping": "na"})
    assert answer == {"status": "err", "response": "Signed action over weight limit of 200."}
    assert len(venue.orders(ALICE, *entries[:200])) == 200


def test_prices_far_from_the_reference_are_refused() -> None:
    venue = Venue()
    text = "Order price cannot be more than 80% away from the reference price asset=0"
    assert venue.buy(ALICE, BTC, "8000", "0.01") == {"error": text}
    assert venue.sell(ALICE, BTC, "78000", "0.01") == {"error": text}
    assert "resting" in venue.sell(ALICE, BTC, "77000", "0.01")
    assert venue.info("historicalOrders", user=ALICE)[-1]["status"] == "oracleRejected"


def test_the_price_band_can_be_wider() -> None:
    venue = Venue(VenueOptions(price_band_percent=95))
    assert "resting" in venue.buy(ALICE, BTC, "8000", "0.01")
    assert venue.buy(ALICE, BTC, "2000", "0.01")["error"].startswith(
        "Order price cannot be more than 95% away"
    )


def test_a_delisted_market_does_not_trade() -> None:
    venue = Venue()
    assert venue.buy(ALICE, MATIC, "0.37", "100") == {"error": "Trading is halted. asset=3"}


def test_halting_a_market_cancels_its_orders() -> None:
    venue = Venue()
    oid = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    other = venue.rest(ALICE, limit(ETH, True, "2000", "1"))
    venue.exchange.drain()
    venue.exchange.halt("BTC")
    assert venue.status(ALICE, oid) == "delistedCanceled"
    assert venue.status(ALICE, other) == "open"
    assert {"nonUserCancel": [{"coin": "BTC", "oid": oid}]} in venue.drained("userEvents", user=ALICE)
    venue.exchange.halt("BTC", halted=False)
    assert "resting" in venue.buy(ALICE, BTC, "43000", "0.01")


def test_only_post_only_orders_after_an_upgrade() -> None:
    venue = Venue()
    venue.exchange.start_post_only_period(venue.now + 1000)
    text = "Only post-only orders allowed immediately after a network upgrade asset=0"
    assert venue.buy(ALICE, BTC, "43000", "0.01") == {"error": text}
    assert "resting" in venue.buy(ALICE, BTC, "43000", "0.01", "Alo")
    venue.exchange.advance(venue.now + 1000)
    assert "resting" in venue.buy(ALICE, BTC, "43000", "0.01")


def test_a_cloid_of_a_live_order_is_refused() -> None:
    venue = Venue()
    venue.rest(ALICE, limit(BTC, True, "43000", "0.01", cloid=cloid(1)))
    refused = venue.order(ALICE, limit(BTC, True, "43001", "0.01", cloid=cloid(1)))
    assert refused == {"error": "Duplicate cloid asset=0"}


def test_a_cloid_that_has_ended_may_be_used_again() -> None:
    venue = Venue()
    first = venue.rest(ALICE, limit(BTC, True, "43000", "0.01", cloid=cloid(1)))
    venue.cancel(ALICE, BTC, first)
    second = venue.rest(ALICE, limit(BTC, True, "43001", "0.01", cloid=cloid(1)))
    assert venue.order_row(ALICE, cloid(1))["oid"] == second


def test_duplicate_cloids_may_be_configured_to_be_accepted() -> None:
    venue = Venue(VenueOptions(duplicate_cloid="accept"))
    venue.rest(ALICE, limit(BTC, True, "43000", "0.01", cloid=cloid(1)))
    venue.rest(ALICE, limit(BTC, True, "43001", "0.01", cloid=cloid(1)))
    assert len(venue.open_oids(ALICE)) == 2


def test_a_cloid_belongs_to_its_account() -> None:
    venue = Venue()
    venue.rest(ALICE, limit(BTC, True, "43000", "0.01", cloid=cloid(1)))
    venue.rest(BOB, limit(BTC, True, "43000", "0.01", cloid=cloid(1)))


def test_the_number_of_open_orders_is_limited() -> None:
    venue = Venue(VenueOptions(open_orders_base=3))
    venue.orders(ALICE, *[limit(BTC, True, "43000", "0.01")] * 3)
    refused = venue.buy(ALICE, BTC, "43000", "0.01")
    assert refused == {"error": "Too many open orders asset=0"}
    assert venue.info("historicalOrders", user=ALICE)[0]["status"] == "tooManyOpenOrdersRejected"


def test_volume_allows_more_open_orders() -> None:
    venue = Venue(VenueOptions(open_orders_base=1), usdc="100000000")
    venue.trade(ALICE, BOB, BTC, "43210", "150")
    for _ in range(2):
        venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    assert "error" in venue.buy(ALICE, BTC, "43000", "0.01")


def test_with_a_thousand_open_orders_triggers_are_refused() -> None:
    venue = Venue(VenueOptions(open_orders_base=2000))
    for _ in range(5):
        venue.orders(ALICE, *[limit(BTC, True, "43000", "0.001")] * 200)
    refused = venue.order(ALICE, trigger(BTC, True, "44000", "0.01", "sl", reduce_only=False))
    assert refused == {"error": "Too many open orders asset=0"}
    assert "resting" in venue.buy(ALICE, BTC, "43000", "0.001")


def test_an_order_without_margin_is_refused() -> None:
    venue = Venue(usdc="1000")
    text = "Insufficient margin to place order. asset=0"
    assert venue.buy(ALICE, BTC, "43210", "0.47") == {"error": text}
    assert "resting" in venue.buy(ALICE, BTC, "43210", "0.46")
    assert venue.info("historicalOrders", user=ALICE)[-1]["status"] == "perpMarginRejected"


def test_open_interest_at_its_cap_refuses_increases() -> None:
    capped = PerpSpec("BTC", 5, 40, Decimal(43210), 56, open_interest_cap=Decimal(1000))
    venue = Venue(VenueOptions(perps=(capped, *MAINNET_PERPS[1:])))
    venue.trade(ALICE, BOB, BTC, "43210", "0.1")
    text = "Order would increase open interest while open interest is capped asset=0"
    assert venue.buy(CAROL, BTC, "43210", "0.1") == {"error": text}
    assert venue.sell(ALICE, BTC, "43210", "0.3") == {"error": text}
    statuses = [row["status"] for row in venue.info("historicalOrders", user=ALICE)]
    assert statuses[0] == "positionFlipAtOpenInterestCapRejected"
    assert "resting" in venue.sell(ALICE, BTC, "43210", "0.1")


def test_a_position_beyond_its_margin_tier_is_refused() -> None:
    venue = Venue(usdc="100000000")
    venue.act(ALICE, {"type": "updateLeverage", "asset": BTC, "isCross": True, "leverage": 40})
    text = "Order would cause position to exceed margin tier limit at current leverage asset=0"
    assert venue.buy(ALICE, BTC, "43210", "3500") == {"error": text}
    venue.act(ALICE, {"type": "updateLeverage", "asset": BTC, "isCross": True, "leverage": 20})
    assert "resting" in venue.buy(ALICE, BTC, "43210", "3500")


@pytest.mark.parametrize(
    "change",
    [
        {"a": "0"},
        {"a": -1},
        {"a": True},
        {"b": 1},
        {"p": 43210},
        {"p": "1e5"},
        {"s": None},
        {"r": "false"},
        {"t": {}},
        {"t": {"limit": {"tif": "Day"}}},
        {"t": {"limit": {"tif": "LiquidationMarket"}}},
        {"t": {"limit": {}}},
        {"t": {"trigger": {"isMarket": True, "triggerPx": "43000", "tpsl": "oco"}}},
        {"c": "0x12"},
        {"c": "LS-12345"},
    ],
)
def test_wrongly_typed_orders_do_not_deserialise(change: Json) -> None:
    venue = Venue()
    entry = {**limit(BTC, True, "43210", "0.01"), **change}
    with pytest.raises(Unprocessable):
        venue.act(ALICE, {"type": "order", "orders": [entry], "grouping": "na"})
    assert venue.info("userRateLimit", user=ALICE)["nRequestsUsed"] == 0


@pytest.mark.parametrize("key", ["a", "b", "p", "s", "r", "t"])
def test_orders_with_missing_members_do_not_deserialise(key: str) -> None:
    entry = limit(BTC, True, "43210", "0.01")
    del entry[key]
    with pytest.raises(Unprocessable, match=f"missing field `{key}`"):
        Venue().act(ALICE, {"type": "order", "orders": [entry], "grouping": "na"})


@pytest.mark.parametrize(
    "action",
    [
        {"type": "buy"},
        {},
        {"type": 7},
        {"type": "order"},
        {"type": "order", "orders": [], "grouping": "oco"},
        {"type": "order", "orders": [limit(BTC, True, "43210", "0.01")], "grouping": "oco"},
        {"type": "order", "orders": {}, "grouping": "na"},
        {"type": "order", "orders": [limit(BTC, True, "43210", "0.01")], "grouping": {"q": 1}},
        {"type": "updateIsolatedMargin", "asset": 0, "isBuy": True, "ntli": "1"},
        {"type": "cancel", "cancels": [{"a": 0}]},
        {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": "0x1"}]},
        {"type": "modify", "oid": "nine"},
        {"type": "scheduleCancel", "time": "soon"},
        {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 2.5},
        {"type": "usdSend", "destination": "0x1", "amount": "1", "time": 1},
    ],
)
def test_unknown_and_misshapen_actions_do_not_deserialise(action: Any) -> None:
    if action == {"type": "order", "orders": [], "grouping": "oco"}:
        # An empty batch is refused before its grouping is looked at.
        answer = Venue().act(ALICE, action)
        assert answer == {"status": "err", "response": "Action has no orders."}
        return
    with pytest.raises(Unprocessable):
        Venue().act(ALICE, action)


def test_an_account_without_deposit_cannot_act() -> None:
    answer = Venue().act(STRANGER, {"type": "noop"})
    assert answer == {
        "status": "err",
        "response": f"Must deposit before performing actions. User: {STRANGER}",
    }


def test_priority_rates_are_for_ioc_or_alo_batches() -> None:
    venue = Venue()
    venue.rest(BOB, limit(BTC, False, "43210", "0.01"))
    entry = limit(BTC, True, "43210", "0.01", "Ioc")
    assert "filled" in venue.orders(ALICE, entry, grouping={"p": 100})[0]
    mixed = [limit(BTC, True, "43000", "0.01", "Alo"), limit(BTC, True, "43000", "0.01")]
    answer = venue.act(ALICE, {"type": "order", "orders": mixed, "grouping": {"p": 100}})
    assert answer["status"] == "err"


def test_spot_orders_need_ten_units_of_the_quote_token() -> None:
    venue = Venue()
    venue.exchange.create_account(ALICE, spot={"USDC": Decimal(1000)})
    refused = venue.buy(ALICE, HYPE_SPOT, "31.2", "0.3")
    assert refused == {"error": "Order must have minimum value of 10 USDC. asset=10107"}
