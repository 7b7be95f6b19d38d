"""Records: events as they go to a store, and what a store of records must be able to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from eventsourcing.persistence import ApplicationRecorder, StoredEvent

__all__ = ["ChainedRow", "EventRecord", "EventRow", "KeyedStoredEvent", "LibraryRecordStore", "RecordStore"]


EventRecord: TypeAlias = tuple[str, int, str, bytes, tuple[str, ...]]
"""One event, encoded: originator id, originator version, topic, state, and the lookup keys it adds.

A plain tuple, since one is made for each event and a named one costs a third of the whole encoding."""


EventRow: TypeAlias = tuple[int, str, int, str, bytes]
"""One event as it is stored: position, originator id, originator version, topic, state."""


ChainedRow: TypeAlias = tuple[int, str, int, str, bytes, bytes]
"""One event as it is stored, and its hash."""


@dataclass(frozen=True)
class KeyedStoredEvent(StoredEvent):
    """The library's stored event with the lookup keys that a recorder may index."""

    keys: tuple[str, ...] = ()


class RecordStore(Protocol):
    """Where the group commit writes to."""

    def insert_records(self, records: Sequence[EventRecord]) -> Sequence[int]:
        """Record all or nothing, durably, and return the positions in order.

        Raises `eventsourcing.persistence.IntegrityError` when a version is already there, and another
        `PersistenceError` (or `OSError`) when the store could not say that the records are durable.
        """

    def positions_of(self, records: Sequence[EventRecord]) -> Sequence[int] | None:
        """The positions, if every record stands in the store exactly as given; else None."""

    def has_version(self, originator_id: str, originator_version: int) -> bool:
        """Whether any event with this id and version is recorded."""


class LibraryRecordStore:
    """Any of the library's application recorders (in-memory, PostgreSQL) as a record store."""

    def __init__(self, recorder: ApplicationRecorder) -> None:
        self._recorder = recorder
        self._settled_position = recorder.max_notification_id() or 0

    def insert_records(self, records: Sequence[EventRecord]) -> Sequence[int]:
        positions = self._recorder.insert_events([StoredEvent(*record[:4]) for record in records])
        assert positions is not None, "an application recorder returns notification ids"
        if positions:
            self._settled_position = positions[-1]
        return positions

    def positions_of(self, records: Sequence[EventRecord]) -> Sequence[int] | None:
        # What is in doubt was written after the last insert known to have succeeded.
        wanted = {(record[0], record[1]): record for record in records}
        found: dict[tuple[str, int], int] = {}
        start: int = self._settled_position
        while page := self._recorder.select_notifications(start, 1000, inclusive_of_start=False):
            start = page[-1].id
            for stored in page:
                identity = (str(stored.originator_id), stored.originator_version)
                record = wanted.get(identity)
                if record is not None and record[2:4] == (stored.topic, stored.state):
                    found[identity] = stored.id
        if len(found) < len(wanted):
            return None
        return [found[record[0], record[1]] for record in records]

    def has_version(self, originator_id: str, originator_version: int) -> bool:
        return bool(
            self._recorder.select_events(originator_id, gt=originator_version - 1, lte=originator_version)
        )
