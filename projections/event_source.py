"""What the projections need of a ledger: its identity, its events in log order, and to hear of new ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from domain.events import LedgerEvent

__all__ = [
    "EventSource",
    "EventSubscription",
    "OnUnreadable",
    "PastEventSource",
    "PositionedEvent",
    "UnreadableEvent",
]

PositionedEvent: TypeAlias = tuple[int, LedgerEvent]
"""A position of the log and the event that stands there."""


class UnreadableEvent(Protocol):
    """An event that stands in the log and cannot be decoded; its text says why."""

    topic: str
    originator_id: str
    originator_version: int
    position: int | None


OnUnreadable: TypeAlias = Callable[[UnreadableEvent], None]


class EventSubscription(Protocol):
    """The events after a position: what is recorded already, then each new one, none missed or twice."""

    def next_batch(self, timeout: float | None = None) -> Sequence[PositionedEvent]:
        """The next events in log order; waits for one. None after `timeout` seconds, or when closed."""

    @property
    def closed(self) -> bool:
        """Whether it ended, by `close` or with the ledger."""

    def close(self) -> None:
        """End it, from any thread; a waiting `next_batch` returns."""


class EventSource(Protocol):
    """A ledger as its read models see it. Any thread may call any method."""

    @property
    def ledger_id(self) -> str:
        """What tells this ledger from every other one."""

    @property
    def max_position(self) -> int:
        """The position of the last committed event; 0 when there is none."""

    def hash_at(self, position: int) -> str:
        """The hash of the log up to and with a position, in hex; empty where no event stands."""

    def events_of(self, originator_id: str, before_version: int) -> Sequence[LedgerEvent]:
        """The committed events of one aggregate below a version, first to last."""

    def subscribe(
        self, after_position: int, *, batch_size: int, on_unreadable: OnUnreadable
    ) -> EventSubscription:
        """Follow the log from a position, at most `batch_size` events at a time. An event that cannot be
        decoded goes to `on_unreadable`, before the batch is returned that would have held it."""


class PastEventSource(EventSource, Protocol):
    """A ledger that can also be asked what it held earlier."""

    def events_until(
        self, originator_ids: Sequence[str], position: int
    ) -> Mapping[str, Sequence[PositionedEvent]]:
        """Of each of these aggregates, the committed events up to and with a position, first to last."""
