"""The law of the order's life through the whole core: frames and answers in any order, repeated."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.effects import SendAction
from domain.enums import TimeInForce
from domain.events import OrderFilled
from domain.in_flight_order import InFlightOrder
from tests.support.core import START_MS, CoreSession
from tests.support.histories import (
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

MODIFY_DONE = "Cannot modify canceled or filled order"
MODIFY_REFUSED = (
    "Error placing new order during modify: Post only order would have immediately matched, bbo was 1@2."
)
CANCEL_MISSED = "Order was never placed, already canceled, or filled. asset=0"


class Played:
    """A history told to a core as the venue would tell it: in frames and in answers to what the core sent."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.core = CoreSession().ready()
        self.sent: dict[tuple[str, int], SendAction] = {}
        self.order_id = self.core.buy(
            str(history.amount),
            str(history.price),
            time_in_force=TimeInForce.IOC if history.immediate else TimeInForce.GTC,
        )
        self.sent["place", 0] = self.core.take_send("order")
        for message in history.given:
            self.hear(message)

    @property
    def order(self) -> InFlightOrder:
        return self.core.order(self.order_id)

    def hear(self, message: Message) -> None:
        core, cloid = self.core, self.order_id
        match message:
            case Opened(oid=oid, at=at, amount=amount, price=price):
                core.status(
                    oid, "open", cloid=cloid, time_ms=START_MS + at, size=f"{amount}.0", price=f"{price}.0"
                )
            case Ended(oid=oid, status=status, at=at, amount=amount, price=price, remaining=rest):
                core.status(
                    oid,
                    status,
                    cloid=cloid,
                    time_ms=START_MS + at,
                    size=f"{amount}.0",
                    price=f"{price}.0",
                    remaining=f"{rest}.0",
                )
            case Filled(tid=tid, oid=oid, amount=amount, price=price, fee=fee, at=at):
                core.fill(
                    oid, tid, f"{amount}.0", cloid=cloid, price=f"{price}.0", fee=fee, time_ms=START_MS + at
                )
            case PlaceAnswer():
                self.answer(self.sent["place", 0], message.kind, message.oid, message.total, message.text)
            case CancelAsked():
                if not self.order.is_done:
                    core.cancel(self.order_id)
                    self.sent["cancel", 0] = core.take_send("cancelByCloid")
            case CancelAnswer(kind=kind):
                request = self.sent.get(("cancel", 0))
                if request is None:
                    return  # it had ended before the cancel was asked for, so none was sent
                if kind == "lost":
                    core.fail(request)
                else:
                    entry = "success" if kind == "success" else {"error": CANCEL_MISSED}
                    core.answer_cancels(entry, request=request)
            case AmendAsked(number=number, total=total, price=price):
                core.amend(self.order_id, str(price), str(total))
                self.sent["amend", number] = core.take_send("batchModify")
            case AmendAnswer(number=number, kind=kind, oid=oid, total=total):
                text = MODIFY_DONE if kind == "done" else MODIFY_REFUSED
                kind = "error" if kind in ("done", "refused") else kind
                self.answer(self.sent["amend", number], kind, oid, total, text)

    def answer(self, request: SendAction, kind: str, oid: int, total: int, text: str) -> None:
        if kind == "lost":
            self.core.fail(request)
        elif kind == "error":
            self.core.answer_orders({"error": text}, request=request)
        elif kind == "resting":
            self.core.answer_orders({"resting": {"oid": oid}}, request=request)
        else:
            entry = {"filled": {"oid": oid, "totalSz": f"{total}.0", "avgPx": "100.0"}}
            self.core.answer_orders(entry, request=request)


def outcome(played: Played) -> dict[str, Any]:
    order = played.order
    return {
        "state": order.state,
        "fills": order.fills or {},
        "filled_amount": order.filled_amount,
        "average_fill_price": order.average_fill_price,
        "fees": order.fees,
        "amount": order.amount,
        "price": order.price,
        "exchange_order_id": order.exchange_order_id,
        "is_amending": order.is_amending,
        "missing": order.missing_fill_amount,
        "position": played.core.connector.position("BTC-USD").amount,
    }


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[History, list[list[Message]]]:
    history = draw(histories())
    streams = [m for m in (*history.given, *history.rest) if isinstance(m, Opened | Filled | Ended)]
    orders = [history.rest]
    for _ in range(2):
        again = draw(st.lists(st.sampled_from(streams), max_size=5)) if streams else []
        orders.append(draw(st.permutations([*history.rest, *again])))
    return history, orders


@settings(max_examples=150, deadline=None)
@given(arrivals())
def test_any_order_of_frames_and_answers_ends_in_the_same_place(
    case: tuple[History, list[list[Message]]],
) -> None:
    history, orders = case
    outcomes = []
    for messages in orders:
        played = Played(history)
        for message in messages:
            played.hear(message)
        played.core.assert_consistent()
        outcomes.append(outcome(played))
    assert all(each == outcomes[0] for each in outcomes[1:]), outcomes
    assert outcomes[0]["filled_amount"] == outcomes[0]["position"] == history.filled
    assert sum(outcomes[0]["fees"].values(), Decimal(0)) == history.fees


@settings(max_examples=80, deadline=None)
@given(arrivals(), st.data())
def test_a_restart_at_any_instant_loses_no_fill_and_books_none_twice(
    case: tuple[History, list[list[Message]]], data: st.DataObject
) -> None:
    """Answers to what the dead process had sent are lost with it; what streams and history tell is enough."""
    history, (_, messages, *_) = case
    played = Played(history)
    cut = data.draw(st.integers(0, len(messages)), label="messages before the crash")
    for message in messages[:cut]:
        played.hear(message)
    played.core = played.core.restarted().ready()
    for message in messages[cut:]:
        if isinstance(message, Opened | Filled | Ended):
            played.hear(message)
    core = played.core
    core.show_fills(core.fills, channel="userFills")
    core.assert_consistent()
    booked = [event for event in core.stored[played.order_id] if isinstance(event, OrderFilled)]
    assert sum((event.fill.amount for event in booked), Decimal(0)) == history.filled
    assert core.connector.position("BTC-USD").amount == history.filled
    assert not core.sends or {sent.action["type"] for sent in core.sends} == {"cancelByCloid"}
