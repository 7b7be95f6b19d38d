"""Law of the order's life: the same evidence in any order, any number of times, ends in the same place."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.enums import ClosingKind, TimeInForce
from domain.event_codec import encode_events
from domain.in_flight_order import InFlightOrder
from domain.updates import OrderUpdate, UpdateStatus
from tests.support.histories import (
    ANSWERS,
    AmendAnswer,
    AmendAsked,
    CancelAnswer,
    CancelAsked,
    Ended,
    Filled,
    History,
    Message,
    Opened,
    PlaceAnswer,
    histories,
)
from tests.support.tracker import START_MS, TrackerSession, details

STATUSES = {
    "filled": (UpdateStatus.FILLED, "filled"),
    "canceled": (UpdateStatus.CANCELLED, "cancelled_by_user"),
    "marginCanceled": (UpdateStatus.CANCELLED, "insufficient_margin"),
    "iocCancelRejected": (UpdateStatus.EXPIRED, "ioc_no_match"),
    "badAloPxRejected": (UpdateStatus.FAILED, "post_only_would_cross"),
}


class Played:
    """A history fed to a tracker, as an adapter would feed it."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.session = TrackerSession()
        self.nonces: dict[int, int] = {}
        self.order = self.session.sent(
            amount=str(history.amount),
            time_in_force=TimeInForce.IOC if history.immediate else TimeInForce.GTC,
        )
        for message in history.given:
            self.hear(message)

    @property
    def tracker(self) -> Any:
        return self.session.tracker

    def hear(self, message: Message) -> None:
        order, tracker = self.order, self.tracker
        self.session.stamp()
        match message:
            case Opened(oid=oid, at=at, amount=amount, price=price):
                self.status(oid, UpdateStatus.OPEN, "", at, amount, price, amount)
            case Ended(oid=oid, status=name, at=at, amount=amount, price=price, remaining=remaining):
                status, reason = STATUSES[name]
                self.status(oid, status, reason, at, amount, price, remaining)
            case Filled(tid=tid, oid=oid, amount=amount, price=price, fee=fee, at=at):
                self.session.fill(
                    f"t{tid}",
                    str(amount),
                    order=order,
                    oid=str(oid),
                    price=str(price),
                    fee=fee,
                    time_ms=START_MS + at,
                )
            case PlaceAnswer(kind="lost"):
                tracker.submit_unknown(order, "no_answer", "timed out")
            case PlaceAnswer(kind="error"):
                kind = ClosingKind.EXPIRED if self.history.immediate else ClosingKind.FAILED
                tracker.refused(order, kind, "refused", "a text")
            case PlaceAnswer(kind="resting", oid=oid):
                self.answered(UpdateStatus.OPEN, oid)
            case PlaceAnswer(kind="filled", oid=oid, total=total):
                self.answered(UpdateStatus.OPEN, oid)
                if total >= self.history.amount:
                    self.answered(UpdateStatus.FILLED, oid)
                elif self.history.immediate:
                    self.answered(UpdateStatus.EXPIRED, oid)
            case CancelAsked():
                if not order.is_done:
                    tracker.cancel_requested(order, 1, "requested")
            case CancelAnswer(kind="success"):
                tracker.cancelled(order, "cancelled_by_user")
            case CancelAnswer(kind="lost"):
                tracker.cancel_unknown(order, "no_answer", "timed out")
            case CancelAnswer(kind="error"):
                if not order.is_done:
                    tracker.cancel_refused(order, "order_not_found_or_done", "a text")
            case AmendAsked(number=number, total=total, price=price):
                self.session.amending(order, str(total), str(price))
                self.nonces[number] = order.amend_nonce
            case AmendAnswer(number=number, kind="lost"):
                tracker.amend_unknown(order, "no_answer", "timed out", nonce=self.nonces[number])
            case AmendAnswer(number=number, kind="done"):
                tracker.amend_refused(order, "already_done", "a text", nonce=self.nonces[number])
            case AmendAnswer(number=number, kind="refused"):
                tracker.amend_refused(order, "new_refused", "a text", nonce=self.nonces[number])
                tracker.cancelled(order, "post_only_would_cross")
            case AmendAnswer(number=number, oid=oid):
                tracker.amended(order, str(oid), nonce=self.nonces[number])
        self.session.collect()

    def status(
        self, oid: int, status: UpdateStatus, reason: str, at: int, amount: int, price: int, remaining: int
    ) -> None:
        self.session.status(
            status,
            str(oid),
            order=self.order,
            time_ms=START_MS + at,
            reason_code=reason,
            remaining=str(remaining),
            terms=details(str(amount), str(price)),
        )

    def answered(self, status: UpdateStatus, oid: int) -> None:
        self.session.update(
            OrderUpdate(status=status, exchange_order_id=str(oid), venue_order_key=self.order.venue_order_key)
        )


def outcome(order: InFlightOrder) -> dict[str, Any]:
    """What must not depend on the order in which evidence came."""
    return {
        "state": order.state,
        "fills": order.fills or {},
        "filled_amount": order.filled_amount,
        "cost": order.cost,
        "fees": order.fees,
        "amount": order.amount,
        "price": order.price,
        "exchange_order_id": order.exchange_order_id,
        "exchange_order_ids": set(order.exchange_order_ids),
        "is_done": order.is_done,
        "is_amending": order.is_amending,
        "missing": order.missing_fill_amount,
    }


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[History, list[list[Message]]]:
    """A history and several orders in which the rest of it may arrive, with streams repeating themselves."""
    history = draw(histories())
    streams = [m for m in (*history.given, *history.rest) if isinstance(m, Opened | Filled | Ended)]
    orders = [history.rest]
    for _ in range(3):
        again = draw(st.lists(st.sampled_from(streams), max_size=6)) if streams else []
        orders.append(draw(st.permutations([*history.rest, *again])))
    return history, orders


@settings(max_examples=300, deadline=None)
@given(arrivals())
def test_any_order_and_any_repetition_of_the_evidence_ends_in_the_same_place(
    case: tuple[History, list[list[Message]]],
) -> None:
    history, orders = case
    outcomes = []
    for messages in orders:
        played = Played(history)
        for message in messages:
            played.hear(message)
        played.session.assert_folds()
        outcomes.append(outcome(played.order))
    assert all(each == outcomes[0] for each in outcomes[1:]), outcomes
    assert outcomes[0]["filled_amount"] == history.filled
    assert sum(outcomes[0]["fees"].values(), Decimal(0)) == history.fees


@settings(max_examples=100, deadline=None)
@given(arrivals())
def test_the_exact_redelivery_of_everything_adds_nothing_and_is_counted(
    case: tuple[History, list[list[Message]]],
) -> None:
    history, (_, messages, *_) = case
    played = Played(history)
    for message in messages:
        played.hear(message)
    streams = [
        m for m in (*history.given, *history.rest) if not isinstance(m, (*ANSWERS, CancelAsked, AmendAsked))
    ]
    # What contradicts the end is kept the first time it comes after it; from then on it is old news.
    for message in streams:
        played.hear(message)
    before, counted = len(played.session.log), played.tracker.duplicates_ignored
    for message in streams:
        played.hear(message)
    assert len(played.session.log) == before
    assert played.tracker.duplicates_ignored == counted + len(streams)


@settings(max_examples=100, deadline=None)
@given(arrivals())
def test_the_same_inputs_give_the_same_events_byte_for_byte(
    case: tuple[History, list[list[Message]]],
) -> None:
    history, (_, messages, *_) = case
    logs = []
    for _ in range(2):
        played = Played(history)
        for message in messages:
            played.hear(message)
        logs.append(encode_events(played.session.log))
    assert logs[0] == logs[1]
