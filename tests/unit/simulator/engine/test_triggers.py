"""Stops, take profits and their families (sheet 4.1, 4.7)."""

from typing import Any

import pytest

from adapters.simulator.engine import VenueOptions
from tests.unit.simulator.engine.venue import (
    ALICE,
    BOB,
    BTC,
    CAROL,
    ETH,
    Json,
    Venue,
    cloid,
    limit,
    trigger,
)


def with_long(size: str = "1", options: VenueOptions | None = None) -> Venue:
    venue = Venue(options)
    venue.open_long(ALICE, ETH, "2300", size)
    venue.exchange.drain()
    return venue


def bids(venue: Venue, px: str, sz: str = "10") -> None:
    venue.rest(BOB, limit(ETH, True, px, sz))


@pytest.mark.parametrize(
    ("is_buy", "tpsl", "trigger_px", "condition", "fires_at"),
    [
        (False, "tp", "2400", "Price above 2400", "2400"),
        (False, "sl", "2200", "Price below 2200", "2200"),
        (True, "tp", "2200", "Price below 2200", "2199.5"),
        (True, "sl", "2400", "Price above 2400", "2400.1"),
    ],
)
def test_triggers_fire_on_the_mark_price(
    is_buy: bool, tpsl: str, trigger_px: str, condition: str, fires_at: str
) -> None:
    venue = Venue()
    venue.rest(BOB, limit(ETH, not is_buy, trigger_px, "10"))
    oid = venue.rest(ALICE, trigger(ETH, is_buy, trigger_px, "1", tpsl, reduce_only=False))
    (row,) = venue.info("frontendOpenOrders", user=ALICE)
    assert row["triggerCondition"] == condition
    assert row["isTrigger"] is True
    assert row["triggerPx"] == f"{trigger_px}.0"
    assert row["tif"] is None
    venue.exchange.drain()
    venue.mark("ETH", "2300")
    assert venue.updates(ALICE) == []
    venue.mark("ETH", fires_at)
    assert venue.updates(ALICE) == [(oid, "triggered"), (oid, "filled")]
    assert venue.szi(ALICE, "ETH") == ("1.0" if is_buy else "-1.0")


@pytest.mark.parametrize(
    ("is_buy", "tpsl", "trigger_px"),
    [(False, "tp", "2290"), (False, "sl", "2310"), (True, "tp", "2310"), (True, "sl", "2290")],
)
def test_triggers_on_the_wrong_side_of_the_mark_are_refused(is_buy: bool, tpsl: str, trigger_px: str) -> None:
    venue = Venue()
    refused = venue.order(ALICE, trigger(ETH, is_buy, trigger_px, "1", tpsl, reduce_only=False))
    assert refused == {"error": "Invalid TP/SL price. asset=1"}
    assert venue.info("historicalOrders", user=ALICE)[0]["status"] == "badTriggerPxRejected"


@pytest.mark.parametrize(
    ("tpsl", "is_market", "text"),
    [
        ("tp", True, "Take Profit Market"),
        ("tp", False, "Take Profit Limit"),
        ("sl", True, "Stop Market"),
        ("sl", False, "Stop Limit"),
    ],
)
def test_order_types_in_words(tpsl: str, is_market: bool, text: str) -> None:
    venue = Venue()
    price = "2400" if tpsl == "tp" else "2200"
    venue.rest(ALICE, trigger(ETH, False, price, "1", tpsl, is_market=is_market))
    assert venue.info("frontendOpenOrders", user=ALICE)[0]["orderType"] == text


def test_a_market_trigger_executes_within_ten_percent_of_its_trigger() -> None:
    venue = with_long()
    bids(venue, "1981", "0.4")
    bids(venue, "1979", "10")
    oid = venue.rest(ALICE, trigger(ETH, False, "2200", "1", "sl"))
    venue.mark("ETH", "2200")
    assert [(fill["px"], fill["sz"]) for fill in venue.fills(ALICE)[1:]] == [("1981.0", "0.4")]
    assert venue.status(ALICE, oid) == "canceled"


def test_a_market_trigger_without_liquidity_ends() -> None:
    venue = with_long()
    oid = venue.rest(ALICE, trigger(ETH, False, "2200", "1", "sl"))
    venue.mark("ETH", "2200")
    assert venue.status(ALICE, oid) == "marketOrderNoLiquidityRejected"


def test_a_trigger_that_closes_the_whole_position_may_be_small() -> None:
    venue = with_long("0.005")
    assert "error" in venue.order(ALICE, trigger(ETH, False, "2200", "0.004", "sl", px="1980"))
    assert "resting" in venue.order(ALICE, trigger(ETH, False, "2200", "0.005", "sl", px="1980"))


def test_a_limit_trigger_rests_after_firing_under_its_oid() -> None:
    venue = with_long()
    oid = venue.rest(ALICE, trigger(ETH, False, "2200", "1", "sl", px="2190", is_market=False))
    venue.mark("ETH", "2200")
    assert venue.status(ALICE, oid) == "triggered"
    assert venue.info("l2Book", coin="ETH")["levels"][1] == [{"px": "2190.0", "sz": "1.0", "n": 1}]
    assert venue.order_row(ALICE, oid)["isTrigger"] is False
    bids(venue, "2190")
    assert venue.status(ALICE, oid) == "filled"


def test_a_fired_trigger_may_be_configured_to_get_a_new_oid() -> None:
    venue = with_long(options=VenueOptions(trigger_keeps_oid=False))
    bids(venue, "2190")
    oid = venue.rest(ALICE, trigger(ETH, False, "2200", "1", "sl", cloid=cloid(4)))
    venue.exchange.drain()
    venue.mark("ETH", "2200")
    (armed, triggered), (successor, opened), (_, filled) = venue.updates(ALICE)
    assert (armed, triggered, opened, filled) == (oid, "triggered", "open", "filled")
    assert successor > oid
    assert venue.order_row(ALICE, cloid(4))["oid"] == successor
    assert venue.open_oids(ALICE) == []


def test_a_reduce_only_trigger_that_outlived_its_position_ends() -> None:
    venue = Venue()
    oid = venue.rest(ALICE, trigger(ETH, False, "2200", "1", "sl"))
    venue.mark("ETH", "2200")
    assert venue.status(ALICE, oid) == "reduceOnlyCanceled"


def test_closing_the_position_ends_its_armed_reduce_only_triggers() -> None:
    venue = with_long()
    stop = venue.rest(ALICE, trigger(ETH, False, "2200", "1", "sl"))
    entry = venue.rest(ALICE, trigger(ETH, True, "2400", "1", "sl", reduce_only=False))
    venue.trade(BOB, ALICE, ETH, "2300", "1")
    assert venue.status(ALICE, stop) == "reduceOnlyCanceled"
    assert venue.status(ALICE, entry) == "open"


def test_a_trigger_without_margin_ends_when_it_fires() -> None:
    venue = Venue(usdc="100")
    oid = venue.rest(ALICE, trigger(ETH, True, "2400", "10", "sl", reduce_only=False))
    venue.mark("ETH", "2400")
    assert venue.status(ALICE, oid) == "marginCanceled"


def test_a_trigger_is_cancelled_like_any_order_but_not_fast() -> None:
    venue = Venue()
    oid = venue.rest(ALICE, trigger(ETH, False, "2200", "1", "sl"))
    answer = venue.act(ALICE, {"type": "cancel", "cancels": [{"a": ETH, "o": oid}], "f": True})
    assert "error" in answer["response"]["data"]["statuses"][0]
    assert venue.cancel(ALICE, ETH, oid) == "success"
    venue.mark("ETH", "2100")
    assert venue.status(ALICE, oid) == "canceled"


# -- families: normalTpsl ----------------------------------------


def family(entry: Json | None = None, *, size: str = "1") -> list[Json]:
    return [
        entry or limit(ETH, True, "2290", size, cloid=cloid(1)),
        trigger(ETH, False, "2400", size, "tp", cloid=cloid(2)),
        trigger(ETH, False, "2200", size, "sl", px="1980", cloid=cloid(3)),
    ]


def place_family(venue: Venue, entries: list[Json]) -> list[Any]:
    return venue.orders(ALICE, *entries, grouping="normalTpsl")


def test_children_wait_for_their_parent() -> None:
    venue = Venue()
    statuses = place_family(venue, family())
    assert "resting" in statuses[0]
    assert statuses[1:] == ["waitingForFill", "waitingForFill"]
    rows = {row["cloid"]: row for row in venue.info("frontendOpenOrders", user=ALICE)}
    assert set(rows) == {cloid(1), cloid(2), cloid(3)}
    assert [child["cloid"] for child in rows[cloid(1)]["children"]] == [cloid(2), cloid(3)]
    venue.mark("ETH", "2500")
    assert venue.status(ALICE, cloid(2)) == "open"
    assert len(venue.updates(ALICE)) == 3


def test_children_arm_when_the_parent_is_filled() -> None:
    venue = Venue()
    place_family(venue, family())
    venue.sell(BOB, ETH, "2290", "0.4", "Ioc")
    venue.mark("ETH", "2401")
    assert venue.status(ALICE, cloid(2)) == "open"
    venue.mark("ETH", "2300")
    venue.sell(BOB, ETH, "2290", "0.6", "Ioc")
    bids(venue, "2390")
    venue.mark("ETH", "2401")
    assert venue.status(ALICE, cloid(2)) == "filled"
    assert venue.status(ALICE, cloid(3)) == "siblingFilledCanceled"
    assert venue.position(ALICE, "ETH") is None


def test_a_child_whose_price_was_passed_while_it_waited_fires_when_it_arms() -> None:
    venue = Venue()
    place_family(venue, family())
    bids(venue, "2150")
    venue.mark("ETH", "2190")
    venue.sell(CAROL, ETH, "2290", "1", "Ioc")
    assert venue.status(ALICE, cloid(3)) == "filled"
    assert venue.status(ALICE, cloid(2)) == "siblingFilledCanceled"


def test_a_parent_that_fills_at_once_arms_its_children() -> None:
    venue = Venue()
    venue.rest(BOB, limit(ETH, False, "2299", "1"))
    statuses = place_family(venue, family(limit(ETH, True, "2310", "1", "Ioc")))
    assert "filled" in statuses[0]
    assert statuses[1:] == ["waitingForTrigger", "waitingForTrigger"]
    assert venue.status(ALICE, cloid(2)) == "open"


def test_cancelling_the_parent_cancels_its_children() -> None:
    venue = Venue()
    parent = place_family(venue, family())[0]["resting"]["oid"]
    assert venue.cancel(ALICE, ETH, parent) == "success"
    assert venue.status(ALICE, cloid(2)) == "canceled"
    assert venue.status(ALICE, cloid(3)) == "canceled"


def test_a_parent_that_ends_partly_filled_cancels_its_children() -> None:
    venue = Venue()
    venue.rest(BOB, limit(ETH, False, "2299", "0.5"))
    place_family(venue, family(limit(ETH, True, "2310", "1", "Ioc", cloid=cloid(1))))
    assert venue.status(ALICE, cloid(1)) == "canceled"
    assert venue.status(ALICE, cloid(2)) == "canceled"


def test_a_parent_cut_short_by_lack_of_margin_arms_its_children() -> None:
    venue = Venue(usdc="1000")
    venue.exchange.create_account(BOB, usdc=venue.account_value(BOB) * 1000)
    place_family(venue, family(limit(ETH, True, "2290", "8", cloid=cloid(1)), size="8"))
    venue.sell(BOB, ETH, "2290", "6", "Ioc")
    venue.mark("ETH", "2220")
    venue.sell(BOB, ETH, "2290", "2", "Ioc")
    assert venue.status(ALICE, cloid(1)) == "marginCanceled"
    assert venue.status(ALICE, cloid(2)) == "open"
    assert venue.szi(ALICE, "ETH") == "6.0"


def test_a_waiting_child_can_be_cancelled_alone() -> None:
    venue = Venue()
    place_family(venue, family())
    cancel = {"type": "cancelByCloid", "cancels": [{"asset": ETH, "cloid": cloid(2)}]}
    venue.act(ALICE, cancel)
    assert venue.status(ALICE, cloid(2)) == "canceled"
    venue.sell(BOB, ETH, "2290", "1", "Ioc")
    assert venue.status(ALICE, cloid(3)) == "open"


def test_a_refused_parent_refuses_its_family() -> None:
    venue = Venue()
    venue.rest(BOB, limit(ETH, False, "2290", "1"))
    statuses = place_family(venue, family(limit(ETH, True, "2290", "1", "Alo")))
    assert len(statuses) == 3
    assert all("Post only order would have immediately matched" in status["error"] for status in statuses)
    assert venue.info("frontendOpenOrders", user=ALICE) == []


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        (family()[:1], "Unexpected number of trigger orders"),
        ([*family(), trigger(ETH, False, "2500", "1", "tp")], "Unexpected number of trigger orders"),
        ([family()[0], family()[1], family()[1]], "Unexpected number of trigger orders"),
        ([family()[0], limit(ETH, False, "2400", "1")], "Unexpected number of trigger orders"),
        (
            [family()[0], trigger(ETH, False, "2400", "1", "tp", reduce_only=False)],
            "TP/SL orders must be reduce-only",
        ),
    ],
)
def test_families_of_the_wrong_shape_are_refused_as_a_whole(entries: list[Json], text: str) -> None:
    venue = Venue()
    assert place_family(venue, entries) == [{"error": text}]
    assert venue.info("frontendOpenOrders", user=ALICE) == []


def test_families_of_the_wrong_shape_may_be_refused_per_order() -> None:
    venue = Venue(VenueOptions(pre_validated=frozenset()))
    statuses = place_family(venue, [family()[0], limit(ETH, False, "2400", "1")])
    assert statuses == [{"error": "Unexpected number of trigger orders asset=1"}] * 2
    bad_numbers = [family()[0], trigger(ETH, False, "2400.05", "1", "tp")]
    assert (
        place_family(venue, bad_numbers) == [{"error": "Price must be divisible by tick size. asset=1"}] * 2
    )


@pytest.mark.parametrize(
    "entries",
    [
        [limit(ETH, True, "2290", "1"), trigger(ETH, True, "2400", "1", "sl")],
        [limit(ETH, True, "2290", "1"), trigger(BTC, False, "44000", "1", "tp")],
        [trigger(ETH, True, "2400", "1", "sl", reduce_only=False), trigger(ETH, False, "2500", "1", "tp")],
    ],
)
def test_children_close_what_their_parent_opens(entries: list[Json]) -> None:
    assert place_family(Venue(), entries) == [{"error": "Unexpected number of trigger orders"}]


def test_a_refused_child_leaves_its_family_alone() -> None:
    venue = Venue()
    entries = [limit(ETH, True, "2290", "0.005"), trigger(ETH, False, "2400", "0.005", "tp")]
    entries.append(trigger(ETH, False, "2200", "0.004", "sl", px="2190"))
    statuses = place_family(venue, entries)
    assert "resting" in statuses[0]
    assert statuses[1] == "waitingForFill"
    assert statuses[2] == {"error": "Order must have minimum value of $10. asset=1"}
    assert len(venue.open_oids(ALICE)) == 2


# -- TP/SL of the position ----------------------------------------


def test_position_tpsl_closes_the_whole_position() -> None:
    venue = with_long("2")
    bids(venue, "2190")
    statuses = venue.orders(
        ALICE,
        trigger(ETH, False, "2400", "0", "tp", cloid=cloid(5)),
        trigger(ETH, False, "2200", "0", "sl", cloid=cloid(6)),
        grouping="positionTpsl",
    )
    assert statuses == ["waitingForTrigger", "waitingForTrigger"]
    row = venue.order_row(ALICE, cloid(5))
    assert (row["isPositionTpsl"], row["sz"], row["origSz"]) == (True, "0.0", "0.0")
    venue.open_long(ALICE, ETH, "2300", "1")
    venue.mark("ETH", "2200")
    assert venue.position(ALICE, "ETH") is None
    assert venue.fills(ALICE)[-1]["sz"] == "3.0"
    assert venue.status(ALICE, cloid(6)) == "filled"
    assert venue.status(ALICE, cloid(5)) == "siblingFilledCanceled"


def test_position_tpsl_needs_a_position() -> None:
    venue = Venue()
    statuses = venue.orders(ALICE, trigger(ETH, False, "2400", "0", "tp"), grouping="positionTpsl")
    assert statuses == [{"error": "Reduce only order would increase position. asset=1"}]


def test_position_tpsl_is_made_of_triggers() -> None:
    venue = with_long()
    statuses = venue.orders(ALICE, limit(ETH, False, "2400", "1", reduce_only=True), grouping="positionTpsl")
    assert statuses == [{"error": "Unexpected number of trigger orders"}]
    loose = Venue(VenueOptions(pre_validated=frozenset()))
    loose.open_long(ALICE, ETH, "2300", "1")
    statuses = loose.orders(ALICE, trigger(ETH, False, "2400.05", "0", "tp"), grouping="positionTpsl")
    assert statuses == [{"error": "Price must be divisible by tick size. asset=1"}]


def test_position_tpsl_ends_with_the_position() -> None:
    venue = with_long()
    venue.orders(ALICE, trigger(ETH, False, "2400", "0", "tp", cloid=cloid(5)), grouping="positionTpsl")
    venue.trade(BOB, ALICE, ETH, "2300", "1")
    assert venue.status(ALICE, cloid(5)) == "reduceOnlyCanceled"


def test_liquidity_takers_of_one_mark_move_fire_nearest_first() -> None:
    venue = Venue()
    bids(venue, "2100", "100")
    far = venue.rest(ALICE, trigger(ETH, False, "2200", "1", "sl", reduce_only=False))
    near = venue.rest(ALICE, trigger(ETH, False, "2250", "1", "sl", reduce_only=False))
    venue.exchange.drain()
    venue.mark("ETH", "2150")
    fired = [oid for oid, status in venue.updates(ALICE) if status == "triggered"]
    assert fired == [near, far]


def test_mark_may_be_configured_to_follow_the_book() -> None:
    venue = Venue(VenueOptions(mark_follows_book=True))
    stop = venue.rest(ALICE, trigger(BTC, False, "43000", "0.01", "sl", reduce_only=False))
    venue.rest(BOB, limit(BTC, True, "42900", "1"))
    venue.rest(BOB, limit(BTC, False, "42950", "1"))
    assert venue.exchange.mark_price("BTC") == 43210
    venue.sell(CAROL, BTC, "42900", "0.1", "Ioc")
    assert venue.exchange.mark_price("BTC") == 42900
    assert venue.status(ALICE, stop) == "filled"
