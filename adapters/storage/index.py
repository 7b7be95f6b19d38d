"""Finding orders in a ledger: what a recorder with an index offers, and a stand-in for those without."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from threading import Lock
from typing import Protocol

from eventsourcing.persistence import ApplicationRecorder

from adapters.storage.errors import EventNotReadableError
from adapters.storage.mapper import MessagePackMapper
from adapters.storage.records import EventRow

__all__ = ["OrderIndex", "ScannedIndex"]


class OrderIndex(Protocol):
    """How orders are found by id, by prefix and by lookup key."""

    def rows_of(self, originator_id: str) -> list[EventRow]:
        """All events of one originator in the order of their versions; none if it is not known."""

    def originator_of_key(self, key: str) -> str | None:
        """The originator that took a lookup key first."""

    def originators_with_keys(self, prefix: str) -> Iterator[str]:
        """The originators of all lookup keys that begin with `prefix`, in the order of the keys."""

    def originators_by_prefix(self, prefix: str, limit: int) -> list[str]:
        """The originator ids that begin with `prefix`, in their order, at most `limit`."""


class ScannedIndex:
    """An index in memory for recorders that keep none, brought up to date by reading on at each question."""

    def __init__(self, recorder: ApplicationRecorder, mapper: MessagePackMapper) -> None:
        self._recorder = recorder
        self._mapper = mapper
        self._lock = Lock()
        self._position = 0
        self._rows: dict[str, list[EventRow]] = {}
        self._ids: list[str] = []
        self._keys: dict[str, str] = {}

    def rows_of(self, originator_id: str) -> list[EventRow]:
        with self._lock:
            self._read_on()
            return sorted(self._rows.get(originator_id, ()), key=lambda row: row[2])

    def originator_of_key(self, key: str) -> str | None:
        with self._lock:
            self._read_on()
            return self._keys.get(key)

    def originators_with_keys(self, prefix: str) -> Iterator[str]:
        with self._lock:
            self._read_on()
            found = sorted(pair for pair in self._keys.items() if pair[0].startswith(prefix))
        return iter([originator_id for _, originator_id in found])

    def originators_by_prefix(self, prefix: str, limit: int) -> list[str]:
        with self._lock:
            self._read_on()
            start = bisect_left(self._ids, prefix)
            return [each for each in self._ids[start : start + limit] if each.startswith(prefix)]

    def _read_on(self) -> None:
        while page := self._recorder.select_notifications(self._position, 1000, inclusive_of_start=False):
            for stored in page:
                originator_id = str(stored.originator_id)
                if originator_id not in self._rows:
                    insort(self._ids, originator_id)
                row = (stored.id, originator_id, stored.originator_version, stored.topic, stored.state)
                self._rows.setdefault(originator_id, []).append(row)
                try:
                    event = self._mapper.to_event(*row[1:], position=stored.id)
                except EventNotReadableError:
                    continue  # Whoever reads the event itself is told.
                for key in self._mapper.keys_of(event):
                    self._keys.setdefault(key, originator_id)
            self._position = page[-1].id
