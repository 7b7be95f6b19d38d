"""What venue updates mean for orders: the hard cases, memory, orders nobody knows, and what it all costs."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from itertools import permutations

import pytest

from domain.client_order_tracker import ClientOrderTracker, external_order_id
from domain.enums import ClosingKind, OrderType, RequestState, Submission, TimeInForce
from domain.events import OrderAcknowledged, OrderCreated, OrderFilled, OrderObserved
from domain.in_flight_order import InFlightOrder
from domain.updates import TradeUpdate, UpdateStatus
from tests.support.tracker import START_MS, TrackerSession, a_fill, details, topics

OPEN, FILLED, TRIGGERED = UpdateStatus.OPEN, UpdateStatus.FILLED, UpdateStatus.TRIGGERED
CANCELLED, FAILED, EXPIRED = UpdateStatus.CANCELLED, UpdateStatus.FAILED, UpdateStatus.EXPIRED


@pytest.fixture
def session() -> object:
    session = TrackerSession()
    yield session
    session.assert_folds()


def state(order: InFlightOrder) -> str:
    return order.state.value


# -- hard cases, decided ------------------------------------------------------------------------------------


def test_a_fill_before_the_acknowledgement_is_booked_and_shows_that_the_order_lives(
    session: TrackerSession,
) -> None:
    order = session.sent()
    events = session.fill("a", "3", order=order, oid="7")
    assert topics(events) == ["order.acknowledged", "order.filled"]
    assert (state(order), order.exchange_order_id) == ("partially_filled", "7")
    assert session.status(OPEN, "7", order=order) == []


def test_a_fill_for_an_exchange_id_nobody_knows_is_held_and_matched_when_the_id_is_known(
    session: TrackerSession,
) -> None:
    order = session.sent()
    assert session.fill("a", "3", oid="7") == []
    assert session.tracker.held_count == 1
    assert session.tracker.take_lookups() == ["oid:7"]
    events = session.status(OPEN, "7", order=order)
    assert topics(events) == ["order.acknowledged", "order.filled"]
    assert session.tracker.held_count == 0
    assert order.filled_amount == 3


def test_a_fill_whose_exchange_id_is_never_known_is_booked_to_an_order_placed_elsewhere(
    session: TrackerSession,
) -> None:
    session.fill("a", "3", oid="7")
    session.fill("b", "1", oid="7", price="101")
    session.stamp()
    assert session.tracker.adopt_held_fills("oid:7")
    external = session.tracker.by_exchange_id("7")
    session.collect()
    assert external is not None
    assert external.is_external
    assert external.id == external_order_id("hyperliquid", "7")
    assert (external.amount, external.filled_amount, state(external)) == (4, 4, "filled")


def test_a_partial_fill_while_a_cancel_is_pending_is_booked_and_the_cancel_stays_pending(
    session: TrackerSession,
) -> None:
    order = session.opened()
    session.tracker.cancel_requested(order, 1, "requested")
    session.collect()
    session.fill("a", "3", order=order)
    assert (state(order), order.filled_amount) == ("pending_cancel", 3)


def test_a_cancel_refused_because_it_just_filled_goes_back_to_what_the_facts_say(
    session: TrackerSession,
) -> None:
    order = session.opened()
    session.tracker.cancel_requested(order, 1, "requested")
    session.tracker.cancel_refused(order, "order_not_found_or_done", "a text")
    session.collect()
    assert state(order) == "open"
    session.fill("a", "10", order=order)
    assert state(order) == "filled"


@pytest.mark.parametrize("end", [CANCELLED, EXPIRED])
def test_a_fill_after_the_end_is_booked_and_the_end_stays_until_the_amount_is_reached(
    session: TrackerSession, end: UpdateStatus
) -> None:
    order = session.opened()
    session.status(end, order=order)
    session.fill("a", "3", order=order)
    assert (state(order), order.filled_amount) == (end.value, 3)
    session.fill("b", "7", order=order)
    assert state(order) == "filled"


def test_a_fill_after_failed_refutes_it_and_the_order_is_to_be_asked_about(session: TrackerSession) -> None:
    order = session.sent()
    session.status(FAILED, None, order=order)
    assert session.tracker.live_count == 0
    session.fill("a", "3", order=order)
    assert state(order) == "partially_filled"
    assert session.tracker.live_count == 1
    assert session.tracker.take_reopened() == [order]
    assert session.tracker.take_reopened() == []


@pytest.mark.parametrize("end", [FILLED, CANCELLED, EXPIRED, FAILED])
def test_an_acknowledgement_after_the_end_is_observed_and_opens_nothing(
    session: TrackerSession, end: UpdateStatus
) -> None:
    order = session.sent()
    session.status(end, "1", order=order, time_ms=START_MS + 5)
    before = state(order)
    for time_ms in (START_MS + 1, START_MS + 5):
        assert topics(session.status(OPEN, order=order, time_ms=time_ms)) == ["order.observed"]
        assert session.status(OPEN, order=order, time_ms=time_ms) == []
    assert state(order) == before
    assert order.is_done


def test_a_venue_that_says_filled_before_the_fills_gets_its_missing_fills_asked_for(
    session: TrackerSession,
) -> None:
    order = session.opened()
    session.fill("a", "4", order=order)
    session.status(FILLED, order=order)
    assert (state(order), order.missing_fill_amount, order.filled_amount) == ("filled", 6, 4)
    session.fill("b", "6", order=order)
    assert (state(order), order.missing_fill_amount, order.filled_amount) == ("filled", 0, 10)


def test_more_filled_than_ordered_is_booked_and_flagged(session: TrackerSession) -> None:
    order = session.opened()
    session.fill("a", "8", order=order)
    session.fill("b", "4", order=order)
    assert (order.filled_amount, order.overfilled, state(order)) == (12, True, "filled")


@pytest.mark.parametrize("status", [CANCELLED, EXPIRED, FILLED])
def test_what_an_immediate_order_leaves_unfilled_expires_and_the_fills_stay(
    session: TrackerSession, status: UpdateStatus
) -> None:
    order = session.opened(time_in_force=TimeInForce.IOC)
    session.fill("a", "4", order=order)
    session.status(status, order=order, remaining="6")
    assert (state(order), order.filled_amount) == ("expired", 4)


def test_a_market_order_is_immediate_whatever_its_lifetime_says(session: TrackerSession) -> None:
    order = session.opened(order_type=OrderType.MARKET)
    session.status(CANCELLED, order=order)
    assert state(order) == "expired"


@pytest.mark.parametrize("order_type", [OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET])
def test_what_a_triggered_market_order_leaves_unfilled_was_dropped_whatever_is_told_first(
    order_type: OrderType,
) -> None:
    evidence: dict[str, Callable[[TrackerSession, InFlightOrder], object]] = {
        "triggered": lambda session, order: session.status(TRIGGERED, order=order, time_ms=START_MS + 2),
        "fill": lambda session, order: session.fill("a", "4", order=order, time_ms=START_MS + 2),
        "cancelled": lambda session, order: session.status(
            CANCELLED, order=order, time_ms=START_MS + 2, reason_code="cancelled_by_user", remaining="6"
        ),
    }
    for count in (2, 3):
        for told in permutations(evidence, count):
            if "cancelled" not in told:
                continue
            session = TrackerSession()
            order = session.opened(order_type=order_type, trigger_price=Decimal(90))
            for name in (*told, *told):
                evidence[name](session, order)
            assert (state(order), order.view().reason_code) == ("expired", "ioc_remainder"), told
            session.assert_folds()


@pytest.mark.parametrize("order_type", [OrderType.STOP_MARKET, OrderType.STOP_LIMIT])
def test_a_stop_that_was_not_triggered_is_cancelled_by_whoever_cancelled_it(
    session: TrackerSession, order_type: OrderType
) -> None:
    order = session.opened(order_type=order_type, trigger_price=Decimal(90))
    session.status(CANCELLED, order=order, reason_code="cancelled_by_user", remaining="10")
    assert (state(order), order.view().reason_code) == ("cancelled", "cancelled_by_user")


def test_a_stop_limit_that_rests_after_its_trigger_is_cancelled_like_any_other(
    session: TrackerSession,
) -> None:
    order = session.opened(order_type=OrderType.STOP_LIMIT, trigger_price=Decimal(90))
    session.status(TRIGGERED, order=order)
    session.fill("a", "4", order=order)
    session.status(CANCELLED, order=order, reason_code="cancelled_by_user", remaining="6")
    assert (state(order), order.view().reason_code) == ("cancelled", "cancelled_by_user")


def test_an_immediate_orders_rest_is_not_said_to_have_been_cancelled_by_its_user(
    session: TrackerSession,
) -> None:
    order = session.opened(time_in_force=TimeInForce.IOC)
    session.status(CANCELLED, order=order, reason_code="cancelled_by_user", remaining="10")
    assert (state(order), order.view().reason_code) == ("expired", "ioc_remainder")


def test_a_refusal_fails_the_order_with_our_reason_and_the_venues_text(session: TrackerSession) -> None:
    order = session.sent()
    session.tracker.refused(order, ClosingKind.FAILED, "post_only_would_cross", "Post only order would …")
    (failed,) = session.collect()
    assert state(order) == "failed"
    assert (order.view().reason_code, order.view().reason) == (
        "post_only_would_cross",
        "Post only order would …",
    )
    assert failed.topic == "order.failed"


def test_a_refusal_of_an_order_that_has_executed_is_observed_only(session: TrackerSession) -> None:
    order = session.sent()
    session.fill("a", "3", order=order)
    events = session.status(FAILED, "1", order=order)
    assert [event.why for event in events if isinstance(event, OrderObserved)] == ["fills_deny_it"]
    assert state(order) == "partially_filled"


def test_an_unknown_submit_fails_only_when_absence_is_proven(session: TrackerSession) -> None:
    order = session.sent()
    session.tracker.submit_unknown(order, "no_answer", "timed out")
    session.not_found(order, 10)
    session.tracker.gone(order)
    assert (state(order), order.outcome_unknown) == ("pending_submit", True)
    session.tracker.absent(order, "the venue does not know it and its expiry has passed")
    session.collect()
    assert (state(order), order.view().reason_code) == ("failed", "absence_proven")


def test_absence_proves_nothing_about_an_order_that_lived(session: TrackerSession) -> None:
    order = session.opened()
    session.tracker.absent(order, "a reason")
    assert session.collect() == []
    assert state(order) == "open"


def test_a_live_order_not_found_often_enough_is_missing_and_may_be_taken_for_gone(
    session: TrackerSession,
) -> None:
    order = session.opened()
    for count in (1, 2):
        session.not_found(order)
        session.tracker.gone(order)
        assert session.collect() == []
        assert (order.not_found_count, session.tracker.is_missing(order)) == (count, False)
    session.not_found(order)
    assert (state(order), session.tracker.is_missing(order)) == ("open", True)
    session.tracker.gone(order)
    assert topics(session.collect()) == ["order.cancelled"]
    assert (state(order), order.view().reason_code) == ("cancelled", "not_found")
    assert session.not_found(order) == []
    assert not session.tracker.is_missing(order)


def test_two_answers_of_one_instant_are_one_observation(session: TrackerSession) -> None:
    order = session.opened()
    session.not_found(order)
    for _ in range(5):
        session.tracker.not_found(order)
    assert session.collect() == []
    assert order.not_found_count == 1
    session.not_found(order)
    assert order.not_found_count == 2


@pytest.mark.parametrize("sign", ["open", "fill", "triggered", "new leg"])
def test_any_sign_of_life_starts_the_not_found_count_anew(session: TrackerSession, sign: str) -> None:
    order = session.opened()
    for _ in range(2):
        session.not_found(order, 2)
        assert order.not_found_count == 2
        if sign == "open":
            session.status(OPEN, order=order)
        elif sign == "fill":
            session.fill(f"f{order.version}", "1", order=order)
        elif sign == "triggered":
            session.status(TRIGGERED, order=order, time_ms=START_MS + order.version)
        else:
            session.status(OPEN, str(order.version), order=order, terms=details("10"), time_ms=None)
        assert order.not_found_count == 0
        assert not order.is_done


def test_evidence_refutes_an_end_that_was_concluded_from_absence(session: TrackerSession) -> None:
    order = session.opened()
    session.gone(order)
    assert state(order) == "cancelled"
    assert topics(session.status(OPEN, order=order)) == ["order.acknowledged"]
    assert state(order) == "open"
    assert session.tracker.take_reopened() == [order]


def test_an_end_from_absence_that_the_venue_confirms_is_told_once_and_cannot_be_refuted_any_more(
    session: TrackerSession,
) -> None:
    order = session.opened()
    session.gone(order)
    assert topics(session.status(CANCELLED, order=order)) == ["order.observed"]
    assert session.status(CANCELLED, order=order) == []
    session.status(OPEN, order=order, time_ms=START_MS + 9)
    assert state(order) == "cancelled"


def test_an_update_for_an_unknown_order_is_held_and_tracked_never_dropped(session: TrackerSession) -> None:
    assert session.status(OPEN, "7", key="0xforeign", terms=details("5", "99")) == []
    assert session.tracker.take_lookups() == ["key:0xforeign"]
    session.stamp()
    assert session.tracker.hold_by_exchange_id("key:0xforeign")
    assert session.tracker.take_lookups() == ["oid:7"]
    assert session.tracker.adopt_held("oid:7")
    assert topics(session.collect()) == ["order.created", "order.acknowledged"]
    external = session.tracker.by_exchange_id("7")
    assert external is not None
    assert (external.is_external, external.amount, external.price) == (True, 5, 99)
    assert state(external) == "open"


def test_a_client_order_id_is_used_once(session: TrackerSession) -> None:
    session.create("ol-1")
    with pytest.raises(AssertionError, match="used once"):
        session.create("ol-1")


# -- exact redeliveries --------------------------------------------------------------------------------------


def test_the_same_fill_over_stream_snapshot_and_query_is_booked_once(session: TrackerSession) -> None:
    order = session.opened()
    session.fill("a", "3", order=order)
    assert session.fill("a", "3", order=order) == []
    assert session.fill("a", "3") == []
    assert order.filled_amount == 3
    assert session.tracker.duplicates_ignored == 2


def test_the_same_fill_key_on_another_order_is_not_booked_again(session: TrackerSession) -> None:
    first, second = session.opened("ol-1", oid="1"), session.opened("ol-2", oid="2")
    session.fill("a", "3", order=first)
    session.fill("a", "3", order=second, oid="2")
    assert (first.filled_amount, second.filled_amount) == (3, 0)


@pytest.mark.parametrize("status", [OPEN, TRIGGERED, FILLED, CANCELLED, EXPIRED, FAILED])
def test_the_same_status_with_the_same_time_adds_nothing_and_is_counted(
    session: TrackerSession, status: UpdateStatus
) -> None:
    order = session.sent()
    assert session.status(status, order=order) != []
    counted = session.tracker.duplicates_ignored
    assert session.status(status, order=order) == []
    assert session.tracker.duplicates_ignored > counted


def test_filled_then_open_then_filled_completes_once(session: TrackerSession) -> None:
    order = session.opened()
    session.fill("a", "10", order=order)
    assert session.status(FILLED, order=order) == []
    assert session.status(OPEN, order=order) == []  # the redelivery of what acknowledged it
    assert topics(session.status(OPEN, order=order, time_ms=START_MS + 7)) == ["order.observed"]
    assert session.status(FILLED, order=order) == []


def test_cancelled_then_open_then_cancelled_cancels_once(session: TrackerSession) -> None:
    order = session.opened()
    session.status(CANCELLED, order=order)
    session.status(OPEN, order=order, time_ms=START_MS + 7)
    session.status(CANCELLED, order=order)
    session.status(CANCELLED, order=order, time_ms=START_MS + 8)
    assert topics(session.events["ol-1"]).count("order.cancelled") == 1


def test_a_fill_held_without_its_client_id_and_delivered_with_it_is_booked_once(
    session: TrackerSession,
) -> None:
    order = session.sent()
    session.fill("a", "3", oid="7")
    session.fill("a", "3", order=order, oid="7")
    assert order.filled_amount == 3
    assert session.tracker.held_count == 0


def test_a_held_fill_of_the_new_leg_delivered_again_during_the_amend_is_booked_once(
    session: TrackerSession,
) -> None:
    order = session.opened()
    session.amending(order, "8")
    session.fill("a", "3", oid="2")
    session.fill("a", "3", order=order, oid="2")
    assert (order.filled_amount, order.exchange_order_id, order.amount) == (3, "2", 8)


def test_held_updates_are_not_held_twice(session: TrackerSession) -> None:
    session.fill("a", "3", oid="7")
    session.fill("a", "3", oid="7")
    assert session.tracker.held_count == 1
    assert session.tracker.duplicates_ignored == 1


# -- amend legs ----------------------------------------------------------------------------------------------


def test_the_end_of_the_old_leg_during_an_amend_does_not_end_the_order(session: TrackerSession) -> None:
    order = session.opened()
    session.amending(order, "8")
    session.status(CANCELLED, order=order)
    assert state(order) == "open"
    session.status(OPEN, "2", order=order)
    assert (state(order), order.exchange_order_ids, order.price) == ("open", ("1", "2"), 101)
    assert session.status(CANCELLED, order=order) == []


def test_a_refused_amend_of_a_leg_that_has_ended_ends_the_order_as_the_leg_ended(
    session: TrackerSession,
) -> None:
    order = session.opened()
    session.amending(order, "8")
    session.status(CANCELLED, order=order, reason_code="insufficient_margin")
    session.tracker.amend_refused(order, "modify_old_already_done", "a text")
    session.collect()
    assert (state(order), order.view().reason_code) == ("cancelled", "insufficient_margin")


def test_a_fill_of_the_new_leg_settles_the_amend(session: TrackerSession) -> None:
    order = session.opened()
    session.fill("old", "2", order=order)
    session.amending(order, "8")
    events = session.fill("new", "1", order=order, oid="2")
    assert topics(events) == ["order.amended", "order.filled"]
    assert (order.amount, order.filled_amount, order.is_amending) == (8, 3, False)


def test_a_lost_amend_with_a_fill_of_the_new_leg_and_the_end_of_the_old_one_is_one_live_order(
    session: TrackerSession,
) -> None:
    order = session.opened()
    session.amending(order, "8")
    session.tracker.amend_unknown(order, "no_answer", "timed out")
    session.collect()
    session.fill("new", "1", order=order, oid="2")
    session.status(CANCELLED, order=order)
    assert (state(order), order.outcome_unknown, order.remaining_amount) == ("partially_filled", False, 7)


def test_a_cancel_of_the_new_leg_that_comes_before_anything_else_of_it_ends_the_order(
    session: TrackerSession,
) -> None:
    order = session.opened()
    session.amending(order, "8")
    session.status(CANCELLED, "2", order=order, time_ms=START_MS + 9)
    assert (state(order), order.exchange_order_id) == ("cancelled", "2")
    session.status(CANCELLED, "1", order=order)
    session.status(OPEN, "2", order=order, time_ms=START_MS + 8)
    assert state(order) == "cancelled"


def test_the_answer_to_an_earlier_amend_is_not_taken_for_the_later_one(session: TrackerSession) -> None:
    order = session.opened()
    session.amending(order, "8", price="101")
    first = order.amend_nonce
    session.status(OPEN, "2", order=order)
    session.amending(order, "6", price="102")
    session.tracker.amended(order, "2", nonce=first)
    session.tracker.amend_unknown(order, "no_answer", "timed out", nonce=first)
    session.tracker.amend_refused(order, "a_code", "a text", nonce=first)
    assert session.collect() == []
    assert order.amend is RequestState.REQUESTED
    assert order.price == 101


def test_a_replacement_refused_on_the_stream_refuses_the_amend(session: TrackerSession) -> None:
    order = session.opened()
    session.amending(order, "8")
    session.status(FAILED, "2", order=order)
    assert not order.is_amending
    assert state(order) == "open"
    session.status(CANCELLED, "1", order=order)
    assert state(order) == "cancelled"
    counted = session.tracker.duplicates_ignored
    assert session.status(FAILED, "2", order=order) == []
    assert session.tracker.duplicates_ignored == counted + 1


def test_an_order_confirmed_cancelled_stays_so_when_its_last_leg_becomes_known(
    session: TrackerSession,
) -> None:
    order = session.opened()
    session.amending(order, "8")
    session.tracker.cancel_requested(order, 5, "requested")
    session.tracker.cancelled(order, "cancelled_by_user")
    session.collect()
    session.status(OPEN, "2", order=order)
    assert (state(order), order.exchange_order_id, order.is_amending) == ("cancelled", "2", False)
    session.status(CANCELLED, "2", order=order)
    session.status(CANCELLED, "1", order=order)
    assert state(order) == "cancelled"


@pytest.mark.parametrize("old_leg_first", [True, False])
def test_an_order_amended_elsewhere_follows_its_new_leg_in_either_order(
    session: TrackerSession, old_leg_first: bool
) -> None:
    order = session.opened()
    session.fill("a", "2", order=order)

    def old() -> None:
        session.status(CANCELLED, "1", order=order, time_ms=START_MS + 5)

    def new() -> None:
        session.status(OPEN, "2", order=order, time_ms=START_MS + 5, terms=details("6", "99"))

    for step in (old, new) if old_leg_first else (new, old):
        step()
    assert (state(order), order.amount, order.price) == ("partially_filled", 8, 99)
    assert order.exchange_order_ids == ("1", "2")


def test_a_fill_of_a_leg_amended_elsewhere_may_come_before_its_terms(session: TrackerSession) -> None:
    order = session.opened()
    session.fill("a", "2", order=order, oid="2")
    assert (order.amount, order.terms_assumed) == (10, True)
    session.status(OPEN, "2", order=order, time_ms=START_MS + 5, terms=details("6", "99"))
    assert (order.amount, order.remaining_amount, order.price) == (6, 4, 99)


def test_a_leg_older_than_the_present_one_does_not_take_its_place(session: TrackerSession) -> None:
    order = session.sent()
    session.status(OPEN, "2", order=order, time_ms=START_MS + 5)
    session.status(OPEN, "1", order=order, time_ms=START_MS + 1)
    session.status(CANCELLED, "1", order=order, time_ms=START_MS + 5)
    assert (state(order), order.exchange_order_ids) == ("open", ("1", "2"))


def test_an_end_of_an_older_leg_nobody_heard_of_ends_nothing(session: TrackerSession) -> None:
    order = session.sent()
    session.status(OPEN, "2", order=order, time_ms=START_MS + 5)
    session.status(CANCELLED, "1", order=order, time_ms=START_MS + 5)
    assert (state(order), order.exchange_order_id) == ("open", "2")


def test_a_new_leg_of_an_order_that_executed_completely_is_a_contradiction(session: TrackerSession) -> None:
    order = session.opened()
    session.fill("a", "10", order=order)
    for status in (OPEN, CANCELLED):
        (event,) = session.status(status, "2", order=order, time_ms=START_MS + 9)
        assert isinstance(event, OrderObserved)
        assert event.why == "after_terminal"
    assert state(order) == "filled"


# -- requests ------------------------------------------------------------------------------------------------


def test_an_order_cancelled_before_it_was_sent_is_cancelled_even_if_it_was_immediate(
    session: TrackerSession,
) -> None:
    order = session.create(time_in_force=TimeInForce.IOC)
    session.tracker.cancelled(order, "cancelled_before_sent")
    session.collect()
    assert state(order) == "cancelled"


def test_a_lost_answer_after_the_end_changes_nothing(session: TrackerSession) -> None:
    order = session.opened()
    session.tracker.cancel_requested(order, 1, "requested")
    session.amending(order, "8")
    session.status(CANCELLED, "2", order=order)
    session.tracker.submit_unknown(order, "no_answer", "x")
    session.tracker.cancel_unknown(order, "no_answer", "x")
    session.tracker.amend_unknown(order, "no_answer", "x")
    assert session.collect() == []


def test_a_confirmed_cancel_tells_no_exchange_id_but_the_late_status_does(session: TrackerSession) -> None:
    order = session.sent()
    session.tracker.cancel_requested(order, 1, "requested")
    session.tracker.cancelled(order, "cancelled_by_user")
    session.collect()
    session.status(CANCELLED, "7", order=order)
    assert (state(order), order.exchange_order_id) == ("cancelled", "7")
    session.fill("late", "2", oid="7")
    assert order.filled_amount == 2
    assert session.status(CANCELLED, "7", order=order) == []


def test_the_rest_that_a_shrunk_order_dropped_closes_it(session: TrackerSession) -> None:
    for client_order_id, lifetime, end in (
        ("ol-1", TimeInForce.GTC, "cancelled"),
        ("ol-2", TimeInForce.IOC, "expired"),
    ):
        order = session.opened(client_order_id, oid=client_order_id, time_in_force=lifetime)
        session.fill(f"{client_order_id}-a", "4", order=order, oid=client_order_id)
        session.status(FILLED, client_order_id, order=order)
        session.tracker.dropped_rest(order, "rest_dropped")
        session.collect()
        assert (state(order), order.missing_fill_amount) == (end, 0)


def test_outcomes_that_become_known_are_counted(session: TrackerSession) -> None:
    order = session.sent()
    session.tracker.submit_unknown(order, "no_answer", "x")
    session.collect()
    session.status(OPEN, order=order)
    assert session.tracker.unknown_outcomes_resolved == 1


def test_a_triggered_order_is_acknowledged_and_triggered_once(session: TrackerSession) -> None:
    order = session.sent(order_type=OrderType.STOP_LIMIT)
    assert topics(session.status(TRIGGERED, order=order)) == ["order.acknowledged", "order.triggered"]
    assert session.status(TRIGGERED, order=order) == []
    assert order.triggered


# -- memory --------------------------------------------------------------------------------------------------


def test_a_done_order_leaves_memory_after_its_retention_and_not_before() -> None:
    session = TrackerSession(retention_ns=60_000_000_000)
    order = session.opened()
    session.status(CANCELLED, order=order)
    session.advance(59.9)
    session.tracker.evict_done(session.now_ns)
    assert session.tracker.get("ol-1") is order
    session.advance(0.1)
    session.tracker.evict_done(session.now_ns)
    assert session.tracker.get("ol-1") is None
    assert session.tracker.by_exchange_id("1") is None
    assert session.tracker.by_venue_key("key-ol-1") is None


def test_what_comes_late_keeps_a_done_order_in_memory_as_long_again() -> None:
    session = TrackerSession(retention_ns=60_000_000_000)
    order = session.opened()
    session.status(CANCELLED, order=order)
    session.advance(50)
    session.fill("late", "1", order=order)
    session.advance(20)
    session.tracker.evict_done(session.now_ns)
    assert session.tracker.get("ol-1") is order
    session.advance(40)
    session.tracker.evict_done(session.now_ns)
    assert session.tracker.get("ol-1") is None


def test_a_live_order_never_leaves_memory_not_even_one_that_came_back_to_life() -> None:
    session = TrackerSession(retention_ns=1)
    order = session.opened()
    session.gone(order)
    session.status(OPEN, order=order, time_ms=START_MS + 7)
    session.advance(1000)
    session.tracker.evict_done(session.now_ns)
    assert session.tracker.get("ol-1") is order
    assert list(session.tracker.live_orders()) == [order]


def test_a_message_for_an_order_that_left_memory_loads_it_again() -> None:
    session = TrackerSession(retention_ns=0, recent_fills=1)
    order = session.opened()
    session.fill("a", "1", order=order)
    session.status(CANCELLED, order=order)
    session.tracker.evict_done(session.now_ns)
    session.fill("late", "2", order=order)
    session.fill("a", "1", order=order)
    session.status(OPEN, order=order, time_ms=START_MS + 7)
    assert session.tracker.take_lookups() == ["key:key-ol-1"]
    loaded = session.reload("ol-1")
    assert loaded is not order
    assert (state(loaded), loaded.filled_amount) == ("cancelled", 3)
    assert topics(session.events["ol-1"])[-2:] == ["order.filled", "order.observed"]
    session.assert_folds()


def test_an_order_reloaded_twice_is_loaded_once() -> None:
    session = TrackerSession(retention_ns=0)
    order = session.opened()
    session.status(CANCELLED, order=order)
    session.tracker.evict_done(session.now_ns)
    session.fill("by-key", "1", order=order)
    session.fill("by-oid", "2")
    assert session.tracker.take_lookups() == ["key:key-ol-1", "oid:1"]
    loaded = session.reload("ol-1")
    assert session.reload("ol-1") is loaded
    assert loaded.filled_amount == 3
    assert session.tracker.held_count == 0


def test_a_failed_order_that_left_memory_lives_again_when_a_fill_proves_it() -> None:
    session = TrackerSession(retention_ns=0)
    order = session.sent()
    session.status(FAILED, None, order=order)
    session.tracker.evict_done(session.now_ns)
    session.fill("late", "2", order=order)
    loaded = session.reload("ol-1")
    assert state(loaded) == "partially_filled"
    assert session.tracker.take_reopened() == [loaded]
    assert session.tracker.live_count == 1


def test_evicting_an_order_leaves_the_names_another_order_took_over() -> None:
    session = TrackerSession(retention_ns=0)
    first = session.opened("ol-1", oid="1")
    session.status(CANCELLED, order=first)
    second = session.sent("ol-2")
    session.status(OPEN, "1", order=second)
    session.tracker.evict_done(session.now_ns)
    assert session.tracker.by_exchange_id("1") is second


def test_recent_fill_keys_are_bounded_and_the_order_itself_remembers_its_own() -> None:
    session = TrackerSession(recent_fills=2)
    order = session.opened()
    for number in range(4):
        session.fill(f"f{number}", "1", order=order)
    assert [session.tracker.was_booked(f"f{number}") for number in range(4)] == [False, False, True, True]
    assert session.fill("f0", "1", order=order) == []
    assert order.filled_amount == 4


def test_fills_booked_in_an_earlier_session_are_not_booked_again() -> None:
    session = TrackerSession()
    session.tracker.remember_fills(["a"])
    order = session.opened()
    assert session.fill("a", "1", order=order) == []


# -- orders placed elsewhere ---------------------------------------------------------------------------------


def test_a_client_id_of_another_program_may_stand_for_several_orders(session: TrackerSession) -> None:
    session.status(CANCELLED, "7", key="0xforeign", terms=details("5"))
    session.status(OPEN, "8", key="0xforeign", terms=details("6"))
    session.fill("a", "1", oid="8", venue_key="0xforeign")
    session.stamp()
    session.tracker.hold_by_exchange_id("key:0xforeign")
    assert session.tracker.take_lookups()[1:] == ["oid:7", "oid:8"]
    session.tracker.adopt_held("oid:7")
    session.tracker.adopt_held("oid:8")
    session.collect()
    first, second = session.tracker.by_exchange_id("7"), session.tracker.by_exchange_id("8")
    assert first is not None
    assert second is not None
    assert (state(first), first.filled_amount) == ("cancelled", 0)
    assert (state(second), second.filled_amount, second.amount) == ("partially_filled", 1, 6)


def test_updates_of_a_known_foreign_order_find_it_by_its_exchange_id(session: TrackerSession) -> None:
    session.stamp()
    session.tracker.create_external("7", details("5"))
    session.collect()
    session.fill("a", "1", oid="7", venue_key="0xforeign")
    session.status(CANCELLED, "7", key="0xforeign")
    order = session.tracker.by_exchange_id("7")
    assert order is not None
    assert (state(order), order.filled_amount) == ("cancelled", 1)


def test_what_is_held_for_one_exchange_id_stays_together(session: TrackerSession) -> None:
    session.fill("a", "1", oid="7")
    session.fill("b", "1", oid="7", venue_key="0xforeign")
    assert session.tracker.take_lookups() == ["oid:7"]
    assert len(session.tracker.held_for("oid:7")) == 2


def test_held_updates_without_any_terms_can_be_given_up_and_kept_elsewhere(session: TrackerSession) -> None:
    session.status(CANCELLED, "7")
    session.stamp()
    assert not session.tracker.adopt_held("oid:7")
    assert not session.tracker.adopt_held_fills("oid:7")
    (dropped,) = session.tracker.drop_held("oid:7")
    assert not isinstance(dropped, TradeUpdate)
    assert session.tracker.held_count == 0


def test_the_id_of_a_foreign_order_follows_from_the_evidence() -> None:
    assert external_order_id("hyperliquid", "7") == "external:hyperliquid:7"


# -- what it costs -------------------------------------------------------------------------------------------


def test_a_live_order_with_a_fill_costs_less_than_two_kilobytes() -> None:
    count = 20_000
    session = TrackerSession()
    tracker: ClientOrderTracker = session.tracker
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(count):
            name, oid = f"0x{number:032x}", str(10**10 + number)
            session.now_ns += 1_000_000
            order = session.opened(name, oid=oid, venue_order_key=name)
            session.fill(f"BTC:{oid}:{number}", "1", order=order, oid=oid, time_ms=START_MS + number)
            session.events.clear()
            session.log.clear()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tracker.live_count == count
    assert (after - before) / count < 2_000


def test_finding_an_order_does_not_depend_on_how_many_there_are() -> None:
    """Counted in steps of the interpreter, not in time: the same for ten orders and for ten thousand."""

    def steps_of_an_update(count: int) -> int:
        session = TrackerSession()
        for number in range(count):
            session.opened(f"ol-{number}", oid=f"{number}")
        order = session.tracker.get(f"ol-{count // 2}")
        assert order is not None
        session.stamp()
        steps = 0

        def count_steps(*_: object) -> object:
            nonlocal steps
            steps += 1
            return count_steps

        tracer = sys.gettrace()
        sys.settrace(count_steps)
        try:
            session.tracker.process_trade_update(
                TradeUpdate(fill=a_fill("a", "1", oid=str(count // 2)), venue_order_key=None)
            )
        finally:
            sys.settrace(tracer)
        assert order.filled_amount == 1
        return steps

    assert steps_of_an_update(10) == steps_of_an_update(5_000)


# -- the envelope --------------------------------------------------------------------------------------------


def test_every_event_says_when_why_and_from_what_it_came(session: TrackerSession) -> None:
    order = session.sent()
    (acknowledged,) = session.status(OPEN, order=order)
    assert isinstance(acknowledged, OrderAcknowledged)
    assert acknowledged.source == "stream"
    assert acknowledged.causation.startswith("test:")
    assert acknowledged.recorded_at_ns == session.now_ns
    assert acknowledged.exchange_time_ms == START_MS + 1
    assert (acknowledged.venue, acknowledged.account) == ("hyperliquid", "0xaa")


def test_creating_an_order_keeps_the_whole_intent(session: TrackerSession) -> None:
    session.create(
        requested_amount=Decimal("10.4"), requested_price=Decimal("100.4"), tag="entry", parent_id="parent"
    )
    created = session.events["ol-1"][0]
    assert isinstance(created, OrderCreated)
    assert (created.requested_amount, created.requested_price) == (Decimal("10.4"), Decimal("100.4"))
    assert (created.tag, created.parent_id, created.venue_order_key) == ("entry", "parent", "key-ol-1")


def test_a_fill_tells_the_order_right_after_it(session: TrackerSession) -> None:
    order = session.opened()
    session.stamp()
    session.tracker.process_trade_update(TradeUpdate(fill=a_fill("a", "4"), venue_order_key=None))
    (change,) = session.tracker.take_changes()
    assert isinstance(change.event, OrderFilled)
    assert change.view is not None
    assert (change.view.filled_amount, change.view.version) == (4, order.version)
    session.tracker.changes.append(change)
    session.collect()
    assert order.submission is Submission.ACKNOWLEDGED
