"""What the runtime needs from its surroundings, as small interfaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from domain.effects import Effect
from domain.events import LedgerEvent
from domain.inputs import Input
from domain.listeners import Committed
from domain.outcome import Outcome

__all__ = ["CommittedSink", "EventLog", "InputRecorder", "VenueGateway"]


class EventLog(Protocol):
    """The ledger: durable appends in order, and reading an order back."""

    @property
    def backlog(self) -> int: ...

    def enqueue(self, events: Sequence[LedgerEvent], context: object = None) -> None: ...

    def resolve(self, key: str) -> str | None: ...

    def events_of(self, client_order_id: str) -> list[LedgerEvent]: ...


class InputRecorder(Protocol):
    """Keeps every input with what it led to. Returns at once; `is_behind` says that it can take no more."""

    @property
    def is_behind(self) -> bool: ...

    def record(self, item: Input, outcome: Outcome) -> None: ...

    def record_failure(self, item: Input, error: Exception) -> None: ...


class VenueGateway(Protocol):
    """Carries out effects against a venue and delivers what comes back."""

    async def start(self, deliver: Callable[[Input], None]) -> None: ...

    def perform(self, effect: Effect) -> None: ...

    async def stop(self) -> None: ...


CommittedSink = Callable[[Sequence[Committed]], None]
"""Hears committed events in the loop's thread; must not block."""
