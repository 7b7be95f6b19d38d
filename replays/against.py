"""Whether a ledger holds what a replay computes: the same events, the same bytes, at the same positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from domain.event_codec import encode_events
from domain.events import LedgerEvent
from domain.inputs import Started
from domain.outcome import Outcome
from replays.differences import EventDifference, event_differences, plain_members
from replays.recording import AnyInput, RecordedInput
from replays.replaying import Divergence, DivergenceKind

__all__ = ["LedgerCheck", "StoredRow", "StoredRows"]


class StoredRow(NamedTuple):
    """One event as it lies in a ledger."""

    position: int
    originator_id: str
    originator_version: int
    topic: str
    state: bytes


class StoredRows(NamedTuple):
    """A ledger as far as it concerns a replay.

    `after(position)` yields its rows in their order, `encode(event)` is how the ledger writes an event (all
    of a row but its position), `decode(row)` how it reads one.
    """

    after: Callable[[int], Iterator[StoredRow]]
    encode: Callable[[LedgerEvent], tuple[str, int, str, bytes]]
    decode: Callable[[StoredRow], LedgerEvent]


class LedgerCheck:
    """A `Check` for `Replay`: every event of the session must be the next one in the ledger.

    `is_closed` says that the recording was ended in order. Without that its process may have been killed, and
    then events whose commit was still on its way are in the recording alone, and inputs that were not written
    yet have left their events in the ledger alone: both are counted, and neither is a divergence.
    """

    def __init__(self, rows: StoredRows, session_id: str, *, is_closed: bool) -> None:
        self.compared = 0
        self.uncommitted = 0
        self.unrecorded = 0
        self.last_position = 0
        self._rows = rows
        self._session = session_id
        self._is_closed = is_closed
        self._next: Iterator[StoredRow] | None = None
        self._row: StoredRow | None = None
        self._last_item: AnyInput | None = None

    def __call__(self, recorded: RecordedInput, outcome: Outcome) -> Divergence | None:
        item = recorded.item
        if isinstance(item, Started):
            self._started(item)
        self._last_item = item
        for place, change in enumerate(outcome.changes, 1):
            divergence = self._compare(item, place, change.event)
            if divergence is not None:
                return divergence
        return None

    def _started(self, started: Started) -> None:
        self._next = self._rows.after(started.ledger_position)
        self.last_position = started.ledger_position
        self._advance()

    def finish(self) -> Divergence | None:
        """After the whole recording was replayed: what of the session the ledger holds besides."""
        first = self._row
        while self._row is not None and self._is_ours(self._row):
            self.unrecorded += 1
            self._advance()
        if not self.unrecorded or not self._is_closed or first is None or self._last_item is None:
            return None
        members = plain_members(*encode_events([self._rows.decode(first)])[0])
        return Divergence(
            kind=DivergenceKind.LEDGER,
            item=self._last_item,
            differences=(
                EventDifference(what="missing", place=1, originator_id=first.originator_id, expected=members),
            ),
            remark=f"the ledger holds {self.unrecorded} more events of this session, from position "
            f"{first.position} on, that no recorded input leads to",
        )

    def _compare(self, item: AnyInput, place: int, event: LedgerEvent) -> Divergence | None:
        row = self._row
        if row is None or (self.uncommitted and not self._is_closed):
            return self._not_stored(item, place, event, "the ledger ends before it")
        if tuple(row[1:]) == tuple(self._rows.encode(event)):
            if row.position != self.last_position + 1:
                return self._differs(item, (), f"position {self.last_position + 1} of the ledger is empty")
            self.compared += 1
            self.last_position = row.position
            self._advance()
            return None
        if not self._is_ours(row):
            return self._not_stored(
                item, place, event, f"from position {row.position} on the ledger holds another session"
            )
        differences = event_differences(encode_events([self._rows.decode(row)]), encode_events([event]))
        return self._differs(item, differences, f"the ledger holds something else at position {row.position}")

    def _not_stored(self, item: AnyInput, place: int, event: LedgerEvent, why: str) -> Divergence | None:
        self.uncommitted += 1
        if not self._is_closed:
            return None
        members = plain_members(*encode_events([event])[0])
        difference = EventDifference(
            what="unexpected", place=place, originator_id=event.originator_id, actual=members
        )
        return self._differs(item, (difference,), f"{event.topic} is not in the ledger: {why}")

    @staticmethod
    def _differs(item: AnyInput, differences: tuple[EventDifference, ...], remark: str) -> Divergence:
        return Divergence(kind=DivergenceKind.LEDGER, item=item, differences=differences, remark=remark)

    def _advance(self) -> None:
        assert self._next is not None, "a session begins with its start"
        self._row = next(self._next, None)

    def _is_ours(self, row: StoredRow) -> bool:
        """Whether the stored event says that an input of this session led to it."""
        return self._rows.decode(row).causation.partition(":")[0] == self._session

    def summary(self) -> dict[str, Any]:
        """The figures, as plain data."""
        return {
            "compared": self.compared,
            "last_position": self.last_position,
            "uncommitted": self.uncommitted,
            "unrecorded": self.unrecorded,
        }
