"""A runtime with a core, a ledger and a gateway that do what a test tells them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from adapters.runtime.runtime import LedgerRuntime
from domain.connector_base import ConnectorBase
from domain.effects import Effect
from domain.enums import Source
from domain.event_codec import decode_event
from domain.events import LedgerEvent, OrderSubmitted
from domain.inputs import Input, OrderLookedUp, TimerFired
from domain.outcome import Outcome
from domain.updates import Change

__all__ = ["ScriptedCore", "ScriptedLedger", "ScriptedShell", "event", "event_of"]


class Durable(msgspec.Struct, frozen=True):
    """As the group commit reports it."""

    positions: Sequence[int]
    context: object


class ScriptedLedger:
    """Takes events; `commit` makes the next submission durable, `refuse` can never record it."""

    def __init__(self) -> None:
        self.backlog = 0
        self.waiting: list[tuple[Sequence[LedgerEvent], object]] = []
        self.durable: list[LedgerEvent] = []
        self.reads: list[str] = []
        self.error: Exception | None = None
        self.failing_reads = 0

    def enqueue(self, events: Sequence[LedgerEvent], context: object = None) -> None:
        if self.error is not None:
            raise self.error
        self.waiting.append((events, context))

    def resolve(self, key: str) -> str | None:
        self.reads.append(key)
        if self.failing_reads:
            self.failing_reads -= 1
            raise OSError("input/output error")
        return key

    def events_of(self, client_order_id: str) -> list[LedgerEvent]:
        return [event for event in self.durable if event.originator_id == client_order_id]


class ScriptedCore:
    """Answers each input with the outcome that `script` holds for its turn; none: nothing comes of it."""

    def __init__(self) -> None:
        self.script: dict[int, Outcome | Exception] = {}
        self.steps: list[Input] = []
        self.next_wakeup_ns: int | None = None
        self.command: Callable[[Input], None] | None = None
        self.announced: list[str] = []
        self.tracker: Any = self

    def live_orders(self) -> list[Any]:
        return []

    def attach(self, command_sink: Callable[[Input], None]) -> None:
        self.command = command_sink

    def step(self, item: Input) -> Outcome:
        self.steps.append(item)
        outcome = self.script.get(len(self.steps), Outcome([], []))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def notify_committed(self, committed: Any, on_error: Callable[[object, Exception], None]) -> None:
        self.announced.append(committed.event.originator_id)

    def notify_alert(self, alert: Any, on_error: Callable[[object, Exception], None]) -> None:
        self.announced.append(alert.code)


class ScriptedShell:
    """The parts together; `performed` is what left."""

    def __init__(self, **options: Any) -> None:
        self.core = ScriptedCore()
        self.ledger = ScriptedLedger()
        self.performed: list[Effect] = []
        self.gateway_error: Exception | None = None
        self.stopped = 0
        self.runtime = LedgerRuntime(cast("ConnectorBase", self.core), self, **options)

    async def start(self, deliver: Callable[[Input], None]) -> None:
        """As a gateway: nothing to connect."""

    def perform(self, effect: Effect) -> None:
        if self.gateway_error is not None:
            raise self.gateway_error
        self.performed.append(effect)

    async def stop(self) -> None:
        self.stopped += 1

    async def begin(self, *outcomes: Outcome | Exception) -> None:
        """Start, and step once for each of these outcomes."""
        self.core.script = dict(enumerate(outcomes, start=1))
        await self.runtime.start(self.ledger, TimerFired())
        for _ in outcomes[1:]:
            self.runtime.deliver(TimerFired())

    async def until(self, condition: Callable[[], bool]) -> None:
        assert await self.runtime.until(condition, 60.0), "waited in vain"

    def commit(self) -> None:
        """The oldest submission is durable."""
        events, context = self.ledger.waiting.pop(0)
        self.ledger.durable += events
        position = len(self.ledger.durable)
        self.runtime.committed([Durable(tuple(range(position - len(events) + 1, position + 1)), context)])

    def looked_up(self) -> list[list[LedgerEvent]]:
        """What was read back, for each look-up that was answered."""
        return [
            [decode_event(topic, state) for topic, state in item.events]
            for item in self.core.steps
            if isinstance(item, OrderLookedUp)
        ]


def event(originator_id: str, version: int = 1) -> LedgerEvent:
    """Some event of some order."""
    return OrderSubmitted(
        originator_id=originator_id,
        originator_version=version,
        recorded_at_ns=1,
        venue="hyperliquid",
        account="0xa",
        source=Source.COMMAND,
        attempt=1,
        nonce=1,
    )


def event_of(originator_id: str, *effects: Effect, version: int = 1) -> Outcome:
    """A step that records an event of this order and then wants these effects."""
    return Outcome([Change(event(originator_id, version), None)], list(effects))
