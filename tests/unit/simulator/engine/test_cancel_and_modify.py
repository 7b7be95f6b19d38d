"""Cancels, modifies and the dead man's switch (sheet 4.2, 4.7)."""

from decimal import Decimal

import pytest

from adapters.simulator.engine import VenueOptions
from tests.unit.simulator.engine.venue import (
    ALICE,
    BOB,
    BTC,
    ETH,
    START_MS,
    Json,
    Venue,
    cloid,
    limit,
    trigger,
)

MISSING = "Order was never placed, already canceled, or filled."
GONE = "Cannot modify canceled or filled order"


def modify(venue: Venue, target: int | str, entry: Json, *, allow: bool = False) -> Json:
    members: Json = {"a": True} if allow else {}
    return venue.act(ALICE, {"type": "modify", "oid": target, "order": entry, **members})


def batch_modify(venue: Venue, *changes: tuple[int | str, Json], allow: bool = False) -> list[Json]:
    members: Json = {"a": True} if allow else {}
    modifies = [{"oid": target, "order": entry} for target, entry in changes]
    answer = venue.act(ALICE, {"type": "batchModify", "modifies": modifies, **members})
    assert answer["response"]["type"] == "order"
    statuses: list[Json] = answer["response"]["data"]["statuses"]
    return statuses


def test_a_cancel_takes_the_order_off_the_book() -> None:
    venue = Venue()
    oid = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    answer = venue.act(ALICE, {"type": "cancel", "cancels": [{"a": BTC, "o": oid}]})
    assert answer == {"status": "ok", "response": {"type": "cancel", "data": {"statuses": ["success"]}}}
    assert venue.info("l2Book", coin="BTC")["levels"] == [[], []]
    assert venue.status(ALICE, oid) == "canceled"


def test_each_cancel_of_an_action_has_its_own_answer() -> None:
    venue = Venue()
    oid = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    cancels = [{"a": BTC, "o": 12345}, {"a": BTC, "o": oid}, {"a": BTC, "o": oid}]
    answer = venue.act(ALICE, {"type": "cancel", "cancels": cancels})
    missing = {"error": f"{MISSING} asset=0"}
    assert answer["response"]["data"]["statuses"] == [missing, "success", missing]


def test_an_order_is_cancelled_under_its_own_asset_only() -> None:
    venue = Venue()
    oid = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    assert venue.cancel(ALICE, ETH, oid) == {"error": f"{MISSING} asset=1"}


def test_nobody_cancels_the_orders_of_others() -> None:
    venue = Venue()
    oid = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    assert venue.cancel(BOB, BTC, oid) == {"error": f"{MISSING} asset=0"}


def test_cancels_by_cloid_answer_as_cancel() -> None:
    venue = Venue()
    venue.rest(ALICE, limit(BTC, True, "43000", "0.01", cloid=cloid(1)))
    cancels = [{"asset": BTC, "cloid": cloid(1)}, {"asset": BTC, "cloid": cloid(2)}]
    answer = venue.act(ALICE, {"type": "cancelByCloid", "cancels": cancels})
    assert answer["response"]["type"] == "cancel"
    assert answer["response"]["data"]["statuses"] == ["success", {"error": f"{MISSING} asset=0"}]


def test_a_modify_gives_a_new_oid_and_says_nothing_of_it() -> None:
    venue = Venue()
    old = venue.rest(ALICE, limit(BTC, True, "43000", "0.01", cloid=cloid(1)))
    venue.exchange.drain()
    answer = modify(venue, old, limit(BTC, True, "43100", "0.02", cloid=cloid(1)))
    assert answer == {"status": "ok", "response": {"type": "default"}}
    (new,) = venue.open_oids(ALICE)
    assert new != old
    assert venue.updates(ALICE) == [(old, "canceled"), (new, "open")]
    assert venue.order_row(ALICE, cloid(1))["oid"] == new
    assert venue.order_row(ALICE, new)["origSz"] == "0.02"


def test_an_order_may_be_modified_by_its_cloid() -> None:
    venue = Venue()
    venue.rest(ALICE, limit(BTC, True, "43000", "0.01", cloid=cloid(1)))
    (status,) = batch_modify(venue, (cloid(1), limit(BTC, True, "43100", "0.01", cloid=cloid(1))))
    assert status["resting"]["cloid"] == cloid(1)
    assert venue.open_oids(ALICE) == [status["resting"]["oid"]]


@pytest.mark.parametrize("target", [4711, cloid(9)])
def test_what_has_ended_or_never_was_cannot_be_modified(target: int | str) -> None:
    venue = Venue()
    entry = limit(BTC, True, "43100", "0.01")
    assert modify(venue, target, entry) == {"status": "err", "response": GONE}
    assert batch_modify(venue, (target, entry)) == [{"error": GONE}]
    assert venue.info("openOrders", user=ALICE) == []


def test_a_modify_that_loses_the_race_changes_nothing() -> None:
    venue = Venue()
    old = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    venue.sell(BOB, BTC, "43000", "0.01", "Ioc")
    assert batch_modify(venue, (old, limit(BTC, True, "43100", "0.01"))) == [{"error": GONE}]
    assert venue.status(ALICE, old) == "filled"


def test_a_replacement_that_cannot_be_placed_has_cost_the_original() -> None:
    venue = Venue()
    venue.rest(BOB, limit(BTC, False, "43200", "0.01"))
    old = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    (status,) = batch_modify(venue, (old, limit(BTC, True, "43200", "0.01", "Alo")))
    assert status["error"].startswith(
        "Error placing new order during modify: Post only order would have immediately matched"
    )
    assert venue.status(ALICE, old) == "canceled"
    assert venue.open_oids(ALICE) == []


def test_a_single_modify_reports_its_failed_second_leg_as_err() -> None:
    venue = Venue()
    old = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    answer = modify(venue, old, limit(BTC, True, "43000", "0.0001"))
    assert answer["status"] == "err"
    assert answer["response"].startswith(
        "Error placing new order during modify: Order must have minimum value"
    )
    assert venue.status(ALICE, old) == "canceled"


def test_a_gtc_replacement_may_not_execute_at_once_unless_allowed() -> None:
    venue = Venue()
    venue.rest(BOB, limit(BTC, False, "43200", "0.01"))
    old = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    (status,) = batch_modify(venue, (old, limit(BTC, True, "43200", "0.01")))
    assert status["error"].startswith("Error placing new order during modify")
    old = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    (status,) = batch_modify(venue, (old, limit(BTC, True, "43200", "0.01")), allow=True)
    assert status["filled"]["totalSz"] == "0.01"


def test_strict_modifies_can_be_turned_off() -> None:
    venue = Venue(VenueOptions(strict_modify=False))
    venue.rest(BOB, limit(BTC, False, "43200", "0.01"))
    old = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    assert "filled" in batch_modify(venue, (old, limit(BTC, True, "43200", "0.01")))[0]


def test_trigger_replacements_must_be_allowed() -> None:
    venue = Venue()
    old = venue.rest(ALICE, trigger(ETH, False, "2200", "1", "sl"))
    (status,) = batch_modify(venue, (old, trigger(ETH, False, "2190", "1", "sl")))
    assert "error" in status
    assert venue.status(ALICE, old) == "open"
    (status,) = batch_modify(venue, (old, trigger(ETH, False, "2190", "1", "sl")), allow=True)
    assert venue.order_row(ALICE, status["resting"]["oid"])["triggerPx"] == "2190.0"
    assert venue.status(ALICE, old) == "canceled"


def test_a_replacement_with_bad_numbers_leaves_the_original_alone() -> None:
    venue = Venue()
    old = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    (status,) = batch_modify(venue, (old, limit(BTC, True, "43000.5", "0.01")))
    assert status == {"error": "Price must be divisible by tick size. asset=0"}
    assert venue.status(ALICE, old) == "open"


def test_coin_and_side_cannot_be_modified() -> None:
    venue = Venue()
    old = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    statuses = batch_modify(
        venue, (old, limit(BTC, False, "43500", "0.01")), (old, limit(ETH, True, "2000", "1"))
    )
    assert all("must keep the asset and the side" in status["error"] for status in statuses)
    assert venue.status(ALICE, old) == "open"


def test_modifying_a_parent_keeps_its_children() -> None:
    venue = Venue()
    venue.orders(
        ALICE,
        limit(ETH, True, "2290", "1", cloid=cloid(1)),
        trigger(ETH, False, "2400", "1", "tp", cloid=cloid(2)),
        grouping="normalTpsl",
    )
    batch_modify(venue, (cloid(1), limit(ETH, True, "2295", "1", cloid=cloid(1))))
    assert venue.status(ALICE, cloid(2)) == "open"
    venue.sell(BOB, ETH, "2295", "1", "Ioc")
    venue.rest(BOB, limit(ETH, True, "2390", "5"))
    venue.mark("ETH", "2400")
    assert venue.status(ALICE, cloid(2)) == "filled"


def test_modifying_one_sibling_keeps_the_pair() -> None:
    venue = Venue()
    venue.orders(
        ALICE,
        limit(ETH, True, "2290", "1"),
        trigger(ETH, False, "2400", "1", "tp", cloid=cloid(2)),
        trigger(ETH, False, "2200", "1", "sl", cloid=cloid(3)),
        grouping="normalTpsl",
    )
    batch_modify(venue, (cloid(2), trigger(ETH, False, "2450", "1", "tp", cloid=cloid(2))), allow=True)
    venue.sell(BOB, ETH, "2290", "1", "Ioc")
    batch_modify(venue, (cloid(3), trigger(ETH, False, "2250", "1", "sl", cloid=cloid(3))), allow=True)
    venue.rest(BOB, limit(ETH, True, "2440", "5"))
    venue.mark("ETH", "2449")
    assert venue.status(ALICE, cloid(2)) == "open"
    venue.mark("ETH", "2450")
    assert venue.status(ALICE, cloid(2)) == "filled"
    assert venue.status(ALICE, cloid(3)) == "siblingFilledCanceled"


# -- scheduleCancel ----------------------------------------


def schedule(venue: Venue, time: int | None) -> Json:
    return venue.act(ALICE, {"type": "scheduleCancel", **({} if time is None else {"time": time})})


def test_the_dead_mans_switch_cancels_everything_at_its_time() -> None:
    venue = Venue()
    oids = [venue.rest(ALICE, limit(BTC, True, "43000", "0.01")) for _ in range(2)]
    other = venue.rest(BOB, limit(BTC, True, "43000", "0.01"))
    assert schedule(venue, venue.now + 10_000) == {"status": "ok", "response": {"type": "default"}}
    due = venue.now + 9_999
    venue.exchange.advance(due - 1)
    assert len(venue.open_oids(ALICE)) == 2
    venue.exchange.drain()
    venue.exchange.advance(due)
    assert venue.updates(ALICE) == [(oid, "scheduledCancel") for oid in oids]
    assert venue.info("orderStatus", user=ALICE, oid=oids[0])["order"]["statusTimestamp"] == due
    assert venue.open_oids(BOB) == [other]


def test_the_switch_can_be_moved_and_cleared() -> None:
    venue = Venue()
    oid = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    schedule(venue, venue.now + 10_000)
    schedule(venue, venue.now + 20_000)
    venue.exchange.advance(venue.now + 15_000)
    assert venue.status(ALICE, oid) == "open"
    schedule(venue, None)
    venue.exchange.advance(venue.now + 60_000)
    assert venue.status(ALICE, oid) == "open"


def test_the_switch_fires_once() -> None:
    venue = Venue()
    schedule(venue, venue.now + 6_000)
    venue.exchange.advance(venue.now + 7_000)
    oid = venue.rest(ALICE, limit(BTC, True, "43000", "0.01"))
    venue.exchange.advance(venue.now + 60_000)
    assert venue.status(ALICE, oid) == "open"


def test_the_switch_needs_five_seconds() -> None:
    venue = Venue()
    assert schedule(venue, venue.now + 5_000)["status"] == "err"
    assert schedule(venue, venue.now + 5_001)["status"] == "ok"


def test_the_switch_fires_ten_times_a_day() -> None:
    venue = Venue()
    for _ in range(10):
        assert schedule(venue, venue.now + 6_000)["status"] == "ok"
        venue.exchange.advance(venue.now + 6_000)
    assert schedule(venue, venue.now + 6_000)["status"] == "err"
    venue.exchange.advance(START_MS + 86_400_000)
    assert schedule(venue, venue.now + 6_000)["status"] == "ok"


def test_the_switch_may_need_volume_also_for_clearing() -> None:
    venue = Venue(VenueOptions(schedule_cancel_volume=Decimal(1_000_000)))
    venue.trade(ALICE, BOB, BTC, "43210", "0.01")
    text = "Cannot set scheduled cancel time until enough volume traded. Required: $1000000. Traded: $432.1."
    assert schedule(venue, venue.now + 6_000) == {"status": "err", "response": text}
    assert schedule(venue, None) == {"status": "err", "response": text}
