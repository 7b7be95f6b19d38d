"""What an order's facts mean: the state table row by row, quantities, flags and the fold."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.enums import (
    ClosingKind,
    OrderState,
    OrderType,
    RequestState,
    Source,
    Submission,
    TimeInForce,
    TradeType,
)
from domain.errors import VersionError
from domain.event_codec import decode_event, encode_events
from domain.events import (
    ORDER_EVENTS,
    LedgerEvent,
    OrderAcknowledged,
    OrderAmended,
    OrderAmendRefused,
    OrderAmendRequested,
    OrderAmendUnknown,
    OrderCancelled,
    OrderCancelRefused,
    OrderCancelRequested,
    OrderCancelUnknown,
    OrderCreated,
    OrderEvent,
    OrderExpired,
    OrderFailed,
    OrderFillCorrected,
    OrderFilled,
    OrderNotFound,
    OrderObserved,
    OrderReopened,
    OrderReportedFilled,
    OrderSubmitted,
    OrderSubmitUnknown,
    OrderTriggered,
)
from domain.in_flight_order import DONE_STATES, InFlightOrder, closing_rank
from tests.support.core import facts_of
from tests.support.tracker import START_MS, a_fill

NS = START_MS * 1_000_000


class Story:
    """An order told event by event."""

    def __init__(self, amount: str = "10", **members: Any) -> None:
        created = OrderCreated(
            **self.envelope(1),
            **{
                "trading_pair": "BTC-USD",
                "instrument": "BTC",
                "order_type": OrderType.LIMIT,
                "trade_type": TradeType.BUY,
                "amount": Decimal(amount),
                "price": Decimal("100"),
                **members,
            },
        )
        self.events: list[LedgerEvent] = [created]
        self.order = InFlightOrder(created)

    @staticmethod
    def envelope(version: int) -> dict[str, Any]:
        return {
            "originator_id": "ol-1",
            "originator_version": version,
            "recorded_at_ns": NS + version,
            "venue": "hyperliquid",
            "account": "0xaa",
            "source": Source.STREAM,
        }

    def then(self, kind: type[OrderEvent], **members: Any) -> Story:
        event = kind(**self.envelope(self.order.version + 1), **members)
        self.events.append(event)
        self.order.apply(event)
        return self

    def sent(self) -> Story:
        return self.then(OrderSubmitted, attempt=1, nonce=7, expires_at_ms=START_MS + 10_000)

    def opened(self, oid: str | None = "1") -> Story:
        return self.sent().then(OrderAcknowledged, exchange_order_id=oid, exchange_time_ms=START_MS)

    def filled(self, key: str, amount: str, **members: Any) -> Story:
        return self.then(OrderFilled, fill=a_fill(key, amount, **members))

    def cancel_asked(self) -> Story:
        return self.then(OrderCancelRequested, nonce=8)

    def amend_asked(self, price: str, leg_amount: str, nonce: int = 9) -> Story:
        return self.then(
            OrderAmendRequested,
            price=Decimal(price),
            amount=Decimal(leg_amount),
            leg_amount=Decimal(leg_amount),
            nonce=nonce,
        )

    @property
    def state(self) -> str:
        return self.order.state.value


# -- the state table, row by row: the first that matches ----------------------------------------------------


def test_an_order_whose_fills_reach_its_amount_is_filled() -> None:
    assert Story().opened().filled("a", "4").filled("b", "6").state == "filled"


def test_fills_that_reach_the_amount_outweigh_every_end_the_venue_told() -> None:
    for kind in (OrderCancelled, OrderFailed, OrderExpired):
        story = Story().opened().then(kind, reason_code="whatever").filled("a", "10")
        assert story.state == "filled"


@pytest.mark.parametrize(
    ("kind", "state"),
    [(OrderCancelled, "cancelled"), (OrderFailed, "failed"), (OrderExpired, "expired")],
)
def test_an_ended_order_is_in_the_state_of_its_end(kind: type[OrderEvent], state: str) -> None:
    story = Story().opened().filled("a", "3") if kind is not OrderFailed else Story().sent()
    story.cancel_asked().then(kind, reason_code="a_code", reason="a text")
    assert story.state == state
    assert (story.order.view().reason_code, story.order.view().reason) == ("a_code", "a text")


def test_an_order_the_venue_calls_filled_is_filled_and_says_how_much_is_missing() -> None:
    story = Story().opened().filled("a", "3").then(OrderReportedFilled)
    assert story.state == "filled"
    assert story.order.missing_fill_amount == 7
    assert story.order.filled_amount == 3


def test_an_order_under_cancel_is_pending_cancel_even_when_it_is_partially_filled() -> None:
    assert Story().opened().cancel_asked().filled("a", "3").state == "pending_cancel"


def test_a_cancel_of_unknown_outcome_stays_pending() -> None:
    story = Story().opened().cancel_asked().then(OrderCancelUnknown, reason_code="no_answer")
    assert story.state == "pending_cancel"
    assert story.order.outcome_unknown
    assert story.order.reason_code == "no_answer"


def test_a_refused_cancel_leaves_what_the_facts_say() -> None:
    story = Story().opened().filled("a", "3").cancel_asked()
    story.then(OrderCancelRefused, reason_code="order_not_found_or_done")
    assert story.state == "partially_filled"
    assert story.order.cancel is RequestState.REFUSED


def test_an_order_with_some_fills_is_partially_filled() -> None:
    assert Story().opened().filled("a", "3").state == "partially_filled"


def test_an_acknowledged_order_is_open() -> None:
    assert Story().opened().state == "open"


def test_a_sent_order_is_pending_submit_also_when_its_outcome_is_unknown() -> None:
    story = Story().sent()
    assert story.state == "pending_submit"
    story.then(OrderSubmitUnknown, reason_code="no_answer")
    assert story.state == "pending_submit"
    assert story.order.outcome_unknown
    assert story.order.reason_code == "no_answer"


def test_an_order_that_nothing_happened_to_is_pending_create() -> None:
    assert Story().state == "pending_create"


def test_done_states_are_those_of_done_orders() -> None:
    assert {state for state in OrderState if state in DONE_STATES} == {
        OrderState.FILLED,
        OrderState.CANCELLED,
        OrderState.FAILED,
        OrderState.EXPIRED,
    }


# -- what evidence of life does ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "evidence",
    [
        (OrderAcknowledged, {"exchange_order_id": "1"}),
        (OrderFilled, {"fill": a_fill("a", "1")}),
        (OrderTriggered, {"exchange_order_id": "1"}),
        (OrderReportedFilled, {"exchange_order_id": "1"}),
    ],
)
def test_any_sign_of_life_settles_an_unknown_submit(evidence: tuple[type[OrderEvent], Any]) -> None:
    kind, members = evidence
    story = Story().sent().then(OrderSubmitUnknown, reason_code="no_answer").then(kind, **members)
    assert story.order.submission is Submission.ACKNOWLEDGED
    assert not story.order.outcome_unknown
    assert story.order.exchange_order_id == "1"


def test_a_late_no_answer_does_not_make_a_known_outcome_unknown() -> None:
    story = Story().opened().then(OrderSubmitUnknown, reason_code="no_answer")
    assert not story.order.outcome_unknown
    assert story.order.reason_code == ""


def test_the_reason_of_an_unknown_outcome_is_not_shown_once_it_is_known() -> None:
    story = Story().sent().then(OrderSubmitUnknown, reason_code="no_answer")
    assert story.then(OrderAcknowledged, exchange_order_id="1").order.view().reason_code == ""


@pytest.mark.parametrize("reason", ["not_found", "absence_proven"])
def test_an_end_concluded_from_absence_is_refuted_by_a_sign_of_life(reason: str) -> None:
    kind = OrderCancelled if reason == "not_found" else OrderFailed
    story = Story().sent().then(kind, reason_code=reason).then(OrderAcknowledged, exchange_order_id="1")
    assert story.state == "open"


def test_a_fill_refutes_a_failed_order() -> None:
    story = Story().sent().then(OrderFailed, reason_code="venue_other")
    assert story.order.submission is Submission.REFUSED
    assert story.filled("a", "3").state == "partially_filled"


def test_a_fill_after_the_end_is_booked_and_the_end_stays() -> None:
    story = Story().opened().then(OrderCancelled, reason_code="x", exchange_order_id="1").filled("a", "3")
    assert story.state == "cancelled"
    assert story.order.filled_amount == 3
    assert story.order.remaining_amount == 7


@pytest.mark.parametrize(
    ("first", "second", "stands"),
    [
        (OrderFailed, OrderCancelled, "cancelled"),
        (OrderFailed, OrderExpired, "expired"),
        (OrderReportedFilled, OrderCancelled, "cancelled"),
        (OrderReportedFilled, OrderExpired, "expired"),
        (OrderExpired, OrderCancelled, "cancelled"),
        (OrderFailed, OrderReportedFilled, "filled"),
    ],
)
def test_of_two_contradicting_ends_the_same_stands_whichever_came_first(
    first: type[OrderEvent], second: type[OrderEvent], stands: str
) -> None:
    for kinds in ((first, second), (second, first)):
        story = Story().opened()
        for kind in kinds:
            story.then(kind, **({} if kind is OrderReportedFilled else {"reason_code": "a_code"}))
        assert story.state == stands


def test_a_conclusion_from_absence_yields_to_every_end() -> None:
    for kind in ClosingKind:
        assert closing_rank(kind, "a_code") > closing_rank(ClosingKind.CANCELLED, "not_found")


# -- quantities ----------------------------------------------------------------------------------------------


def test_average_price_and_fees_come_from_the_fills() -> None:
    story = Story().opened().filled("a", "1", price="100", fee="0.05")
    story.filled("b", "3", price="101", fee="-0.01").filled("c", "1", price="99", fee="2", fee_token="HYPE")
    order = story.order
    assert order.average_fill_price == Decimal("100.4")
    assert order.fees == {"USDC": Decimal("0.04"), "HYPE": Decimal("2")}
    assert order.last_fill_time_ms == START_MS


def test_an_order_without_fills_has_no_average_price() -> None:
    assert Story().opened().order.average_fill_price is None


def test_more_filled_than_ordered_is_flagged_and_nothing_remains() -> None:
    order = Story().opened().filled("a", "10").filled("b", "2").order
    assert order.overfilled
    assert order.remaining_amount == 0
    assert order.filled_amount == 12


def test_small_amounts_are_kept_to_the_last_digit() -> None:
    order = Story("0.00000009").opened().filled("a", "0.00000009", price="0.00000001").order
    assert order.filled_amount == Decimal("9e-8")
    assert order.cost == Decimal("9e-16")


def test_a_stop_for_the_whole_position_is_not_complete_before_anything_happened() -> None:
    story = Story("0", order_type=OrderType.STOP_MARKET, external=True).opened()
    assert story.state == "open"
    assert story.filled("a", "3").state == "partially_filled"
    assert not story.order.overfilled
    assert story.then(OrderReportedFilled).state == "filled"
    assert story.order.missing_fill_amount == 0


# -- legs ----------------------------------------------------------------------------------------------------


def amended(
    oid: str, price: str = "101", leg_amount: str = "6", time_ms: int = START_MS + 5
) -> dict[str, Any]:
    return {
        "price": Decimal(price),
        "leg_amount": Decimal(leg_amount),
        "exchange_order_id": oid,
        "exchange_time_ms": time_ms,
    }


def test_an_amended_order_may_execute_its_new_leg_besides_what_the_old_one_executed() -> None:
    story = Story().opened().filled("a", "4").amend_asked("101", "6").then(OrderAmended, **amended("2"))
    order = story.order
    assert (order.amount, order.price, order.remaining_amount) == (10, 101, 6)
    assert order.exchange_order_ids == ("1", "2")
    assert not order.is_amending


def test_a_leg_that_comes_back_counts_its_own_fills_again() -> None:
    story = Story().opened().filled("a", "4").then(OrderAmended, **amended("2", leg_amount="6"))
    story.filled("b", "1", oid="2").then(OrderAmended, **amended("1", leg_amount="9"))
    order = story.order
    assert (order.exchange_order_id, order.exchange_order_ids) == ("1", ("2", "1"))
    # It may execute 9 besides the 1 of the other leg, and 4 of these are executed.
    assert (order.amount, order.filled_amount, order.remaining_amount) == (10, 5, 5)


def test_an_order_knows_each_of_very_many_legs() -> None:
    story = Story().opened()
    for number in range(2, 2_000):
        story.then(OrderAmended, **amended(str(number), leg_amount="10"))
    order = story.order
    assert order.exchange_order_ids == tuple(str(number) for number in range(1, 2_000))
    assert all(order.has_leg(str(number)) for number in range(1, 2_000))
    assert not order.has_leg("2000")
    assert (order.amended_count, order.amount) == (1_998, 10)


def test_a_late_fill_of_the_old_leg_adds_to_what_the_order_may_execute() -> None:
    story = Story().opened().filled("a", "4").amend_asked("101", "6").then(OrderAmended, **amended("2"))
    story.filled("late", "1", oid="1")
    assert story.order.amount == 11
    assert story.order.remaining_amount == 6
    assert story.filled("b", "6", oid="2").state == "filled"


def test_a_fill_of_the_new_leg_leaves_the_amount_as_it_is() -> None:
    story = Story().opened().filled("a", "4").amend_asked("101", "6").then(OrderAmended, **amended("2"))
    story.filled("b", "2", oid="2")
    assert (story.order.amount, story.order.remaining_amount) == (10, 4)


def test_a_new_leg_reopens_what_only_its_predecessor_ended() -> None:
    story = Story().opened().then(OrderCancelled, reason_code="x", exchange_order_id="1")
    assert story.state == "cancelled"
    assert story.then(OrderAmended, **amended("2")).state == "open"
    assert story.order.ended_legs is not None
    assert story.order.ended_legs["1"].reason_code == "x"


def test_a_new_leg_does_not_reopen_an_order_that_ended_as_a_whole() -> None:
    story = Story().opened().then(OrderCancelled, reason_code="x").then(OrderAmended, **amended("2"))
    assert story.state == "cancelled"
    assert story.order.exchange_order_id == "2"


def test_a_fill_of_an_unannounced_leg_keeps_the_total_until_its_terms_are_told() -> None:
    story = Story().opened().filled("a", "4").filled("b", "2", oid="2")
    order = story.order
    assert (order.amount, order.exchange_order_id, order.terms_assumed) == (10, "2", True)
    story.then(OrderAmended, **amended("2", leg_amount="3"))
    assert (order.amount, order.remaining_amount, order.terms_assumed) == (7, 1, False)


def test_a_refused_amend_keeps_the_terms() -> None:
    story = Story().opened().amend_asked("101", "6").then(OrderAmendRefused, reason_code="a_code")
    assert (story.order.price, story.order.amount, story.order.is_amending) == (100, 10, False)
    assert story.state == "open"


def test_an_amend_of_unknown_outcome_is_flagged_and_settled_by_the_new_leg() -> None:
    story = Story().opened().amend_asked("101", "6").then(OrderAmendUnknown, reason_code="no_answer")
    assert story.order.outcome_unknown
    assert story.order.is_amending
    assert not story.then(OrderAmended, **amended("2")).order.outcome_unknown


def test_an_amend_that_keeps_the_exchange_id_changes_the_terms() -> None:
    story = Story().opened().filled("a", "4").amend_asked("101", "6").then(OrderAmended, **amended("1"))
    assert story.order.exchange_order_ids == ("1",)
    # Under one exchange id the venue counts what was executed in the amount.
    assert story.order.amount == 6


# -- flags ---------------------------------------------------------------------------------------------------


def test_what_can_still_execute_is_fillable_and_only_what_the_venue_holds_is_open() -> None:
    story = Story()
    assert not story.order.is_fillable
    story.sent()
    assert story.order.is_fillable
    assert not story.order.is_open
    story.then(OrderAcknowledged, exchange_order_id="1")
    assert story.order.is_open
    story.then(OrderCancelled, reason_code="x")
    assert not story.order.is_open
    assert not story.order.is_fillable


def test_a_finished_order_has_no_unknown_outcome() -> None:
    story = Story().opened().cancel_asked().then(OrderCancelUnknown, reason_code="no_answer")
    assert not story.filled("a", "10").order.outcome_unknown


def test_market_and_immediate_orders_leave_nothing_behind() -> None:
    assert Story(order_type=OrderType.MARKET).order.is_immediate
    assert Story(time_in_force=TimeInForce.IOC).order.is_immediate
    assert not Story().order.is_immediate


def test_not_found_counts_are_forgotten_with_any_sign_of_life() -> None:
    for kind, members in (
        (OrderObserved, {"why": "still_open"}),
        (OrderFilled, {"fill": a_fill("a", "1")}),
        (OrderAcknowledged, {"exchange_order_id": "1"}),
        (OrderTriggered, {}),
        (OrderAmended, amended("2")),
    ):
        story = Story().opened().then(OrderNotFound, count=2)
        assert story.order.not_found_count == 2
        assert story.then(kind, **members).order.not_found_count == 0


def test_an_observed_end_of_one_leg_is_remembered_and_ends_nothing() -> None:
    story = (
        Story()
        .opened()
        .then(
            OrderObserved,
            why="former_leg_ended",
            status="cancelled",
            reason_code="x",
            exchange_order_id="0",
            closing_kind=ClosingKind.CANCELLED,
        )
    )
    assert story.state == "open"
    assert story.order.ended_legs is not None
    assert story.order.ended_legs["0"].kind is ClosingKind.CANCELLED


def test_a_confirmed_end_is_no_longer_a_conclusion() -> None:
    story = (
        Story()
        .opened()
        .then(OrderCancelled, reason_code="not_found")
        .then(OrderObserved, why="end_confirmed", reason_code="x", closing_kind=ClosingKind.CANCELLED)
    )
    assert story.order.closing is not None
    assert not story.order.closing.is_inferred
    assert story.state == "cancelled"


def test_what_is_observed_tells_the_first_exchange_id_but_never_another_one() -> None:
    story = Story().sent().then(OrderCancelled, reason_code="x")
    story.then(OrderObserved, why="after_terminal", exchange_order_id="1")
    story.then(OrderObserved, why="replacement_refused", exchange_order_id="2")
    assert story.order.exchange_order_ids == ("1",)


# -- the fold ------------------------------------------------------------------------------------------------


def test_an_event_out_of_its_turn_is_refused() -> None:
    story = Story().sent()
    for version in (2, 4):
        event = OrderAcknowledged(**story.envelope(version), exchange_order_id="1")
        with pytest.raises(VersionError, match=f"version {version}"):
            story.order.apply(event)
    assert story.state == "pending_submit"


def test_an_event_of_another_order_is_refused() -> None:
    story = Story()
    with pytest.raises(VersionError, match="ol-2"):
        story.order.apply(OrderTriggered(**(story.envelope(2) | {"originator_id": "ol-2"})))


@pytest.mark.parametrize("events", [[], Story().sent().events[1:]])
def test_an_order_begins_with_its_creation(events: list[LedgerEvent]) -> None:
    with pytest.raises(VersionError, match=r"begins with order\.created"):
        InFlightOrder.fold(events)


def test_a_fill_that_never_happened_leaves_the_order_as_if_it_had_not_been_told() -> None:
    without = Story().sent().then(OrderAcknowledged, exchange_order_id="1").filled("a", "1").order
    phantom = a_fill("b", "0.5", price="120", fee="0.3")
    story = Story().sent().then(OrderAcknowledged, exchange_order_id="1").filled("a", "1")
    story.then(OrderFilled, fill=phantom)
    story.then(OrderFillCorrected, was=phantom, reason_code="phantom_fill", discrepancy_id="d")
    order = story.order
    assert (order.filled_amount, order.cost, order.fees) == (
        without.filled_amount,
        without.cost,
        without.fees,
    )
    assert order.fills == without.fills
    assert order.state == without.state


def test_a_corrected_fill_counts_with_its_new_numbers() -> None:
    booked = a_fill("a", "1", price="100", fee="0.1")
    told = a_fill("a", "2", price="101", fee="0.2")
    story = Story().sent().then(OrderFilled, fill=booked)
    story.then(OrderFillCorrected, was=booked, now=told, reason_code="quantity_mismatch", discrepancy_id="d")
    order = story.order
    assert (order.filled_amount, order.average_fill_price) == (Decimal(2), Decimal(101))
    assert order.fees == {"USDC": Decimal("0.2")}


def test_a_fill_nobody_booked_cannot_be_corrected() -> None:
    with pytest.raises(VersionError, match="no fill 'b'"):
        Story().sent().then(OrderFillCorrected, was=a_fill("b", "1"), reason_code="x", discrepancy_id="d")


def test_a_reopened_order_lives_with_the_fills_it_has() -> None:
    story = Story().sent().then(OrderAcknowledged, exchange_order_id="1").filled("a", "1")
    story.then(OrderCancelled, reason_code="canceled")
    story.then(OrderReopened, exchange_order_id="1", reason_code="listed_as_open", discrepancy_id="d")
    assert story.order.state == "partially_filled"
    assert not story.order.is_done


def test_every_order_event_can_be_applied() -> None:
    story = (
        Story()
        .sent()
        .then(OrderSubmitUnknown, reason_code="x")
        .then(OrderAcknowledged, exchange_order_id="1")
        .then(OrderTriggered)
        .filled("a", "1")
        .cancel_asked()
        .then(OrderCancelUnknown, reason_code="x")
        .then(OrderCancelRefused, reason_code="x")
        .amend_asked("101", "6")
        .then(OrderAmendUnknown, reason_code="x")
        .then(OrderAmended, **amended("2"))
        .amend_asked("102", "5")
        .then(OrderAmendRefused, reason_code="x")
        .then(OrderNotFound, count=1)
        .then(OrderObserved, why="still_open")
        .then(OrderReportedFilled)
        .then(OrderExpired, reason_code="x")
        .then(OrderCancelled, reason_code="x")
        .then(OrderFailed, reason_code="x")
        .then(OrderReopened, reason_code="x", discrepancy_id="d")
        .then(OrderFillCorrected, was=a_fill("a", "1"), reason_code="x", discrepancy_id="d")
    )
    assert {type(event) for event in story.events} == set(ORDER_EVENTS)
    folded = InFlightOrder.fold(decode_event(*packed) for packed in encode_events(story.events))
    assert facts_of(folded) == facts_of(story.order)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_events_in_any_order_fold_to_a_state_that_obeys_the_table(data: st.DataObject) -> None:
    """Whatever a ledger holds, folding it never fails and the quantities stay sound."""
    story = Story()
    keys = iter(range(1_000))
    for _ in range(data.draw(st.integers(0, 12))):
        kind, members = data.draw(
            st.sampled_from(
                [
                    (OrderSubmitted, {"attempt": 1, "nonce": 1}),
                    (OrderSubmitUnknown, {"reason_code": "x"}),
                    (OrderAcknowledged, {"exchange_order_id": "1"}),
                    (OrderAcknowledged, {}),
                    (OrderCancelRequested, {"nonce": 1}),
                    (OrderCancelUnknown, {"reason_code": "x"}),
                    (OrderCancelRefused, {"reason_code": "x"}),
                    (OrderAmended, amended("2")),
                    (OrderReportedFilled, {}),
                    (OrderCancelled, {"reason_code": "x"}),
                    (OrderCancelled, {"reason_code": "not_found"}),
                    (OrderFailed, {"reason_code": "x"}),
                    (OrderExpired, {"reason_code": "x"}),
                    (OrderNotFound, {"count": 1}),
                    (OrderFilled, {}),
                ]
            )
        )
        if kind is OrderFilled:
            size, oid = str(data.draw(st.integers(1, 6))), data.draw(st.sampled_from(["1", "2", "3"]))
            story.filled(str(next(keys)), size, oid=oid)
        else:
            story.then(kind, **members)
        order = story.order
        assert order.filled_amount == sum((amount for _, amount in (order.fills or {}).values()), Decimal(0))
        assert order.remaining_amount >= 0
        assert (order.state in DONE_STATES) is order.is_done
        assert order.is_complete is (order.filled_amount >= order.amount)
        assert not (order.is_done and order.outcome_unknown)
    packed = encode_events(story.events)
    assert facts_of(InFlightOrder.fold(decode_event(*each) for each in packed)) == facts_of(story.order)
