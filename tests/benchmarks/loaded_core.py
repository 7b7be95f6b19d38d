"""A connector core filled with orders by stepping it, without keeping anything of what comes out."""

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal

from domain.connector_base import OrderRequest
from domain.effects import SendAction
from domain.enums import TradeType
from domain.inputs import Input, RequestAnswered, StreamFrame, TimerFired
from domain.outcome import Outcome
from tests.support.core import CoreSession, fill_row, order_row

__all__ = ["BATCH", "Leg", "LoadedCore"]

BATCH = 39
"""Orders per action, as many as the connector gathers."""

_DAY_NS = 86_400_000_000_000
_PAIR = "BTC-USD"

Leg = tuple[int, str]
"""An order as the venue names it: exchange id and cloid."""


class LoadedCore:
    """A core that trades, with nothing around it. Finished orders stay in memory."""

    def __init__(self) -> None:
        options = {"weight_per_minute": 10**9, "reconcile_every_ns": _DAY_NS, "retention_ns": _DAY_NS}
        session = CoreSession(options=options, pairs=(_PAIR,)).ready()
        self.connector = session.connector
        self._inbox: list[Input] = []
        self.connector.attach(self._inbox.append)
        self._now_ns = session.now_ns
        self._sequence = len(session.inputs)
        self._next_oid = 1_000_000
        self._next_tid = 1
        self.done_ids: list[str] = []
        """Client order ids of the orders that were ended."""
        # A venue permits one action per USDC traded: with this fill behind it there is no limit to think of.
        (leg,) = self.place(1, amount="20")
        self.fill([leg], "20")

    def step(self, item: Input) -> Outcome:
        """One input, a millisecond after the one before; timers that are due come first."""
        self._now_ns += 1_000_000
        due_ns = self.connector.next_wakeup_ns
        if due_ns is not None and due_ns <= self._now_ns:
            self._stamped(TimerFired())
        return self._stamped(item)

    def _stamped(self, item: Input) -> Outcome:
        self._sequence += 1
        members = {name: getattr(item, name) for name in item.__struct_fields__}
        return self.connector.step(
            type(item)(**members | {"sequence": self._sequence, "at_ns": self._now_ns})
        )

    # -- inputs --------------------------------------------------------------------------------------------

    def command(self, count: int, *, amount: str = "1") -> Input:
        """The command that places so many orders, as `place` makes it."""
        request = OrderRequest(
            trading_pair=_PAIR, trade_type=TradeType.BUY, amount=Decimal(amount), price=Decimal(43210)
        )
        self.connector.place([request] * count)
        return self._inbox.pop()

    def resting(self, sent: SendAction) -> tuple[list[Leg], Input]:
        """The venue's answer that all orders of an action rest."""
        legs: list[Leg] = []
        for entry in sent.action["orders"]:
            self._next_oid += 1
            legs.append((self._next_oid, entry["c"]))
        statuses = [{"resting": {"oid": oid}} for oid, _ in legs]
        body = {"status": "ok", "response": {"type": "order", "data": {"statuses": statuses}}}
        answer = RequestAnswered(request_id=sent.request_id, status=200, body=json.dumps(body).encode())
        return legs, answer

    def fill_frame(self, legs: Sequence[Leg], size: str) -> Input:
        """A fill of each, in one message."""
        rows = []
        for oid, cloid in legs:
            self._next_tid += 1
            rows.append(fill_row(oid, self._next_tid, size, cloid=cloid))
        return _frame("user", {"fills": rows})

    @staticmethod
    def cancelled_frame(legs: Sequence[Leg]) -> Input:
        """The end of each, in one message."""
        time_ms = 1_700_000_100_000
        rows = [
            {"order": order_row(oid, cloid=cloid), "status": "canceled", "statusTimestamp": time_ms}
            for oid, cloid in legs
        ]
        return _frame("orderUpdates", rows)

    # -- filling it ----------------------------------------------------------------------------------------

    def place(self, count: int, *, amount: str = "1") -> list[Leg]:
        """Place so many orders and have them rest."""
        legs: list[Leg] = []
        while len(legs) < count:
            sent = action_in(self.step(self.command(min(BATCH, count - len(legs)), amount=amount)))
            more, answer = self.resting(sent)
            self.step(answer)
            legs += more
        return legs

    def fill(self, legs: Sequence[Leg], size: str) -> None:
        for some in _batches(legs):
            self.step(self.fill_frame(some, size))

    def cancel(self, legs: Sequence[Leg]) -> None:
        for some in _batches(legs):
            outcome = self.step(self.cancelled_frame(some))
            self.done_ids += [change.event.originator_id for change in outcome.changes]


def action_in(outcome: Outcome) -> SendAction:
    """The one action that a step wants sent."""
    (sent,) = (effect for effect in outcome.effects if isinstance(effect, SendAction))
    return sent


def _batches(legs: Sequence[Leg]) -> Iterator[Sequence[Leg]]:
    for start in range(0, len(legs), BATCH):
        yield legs[start : start + BATCH]


def _frame(channel: str, data: object) -> StreamFrame:
    return StreamFrame(stream="user", data=json.dumps({"channel": channel, "data": data}).encode())
