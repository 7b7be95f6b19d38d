"""What is intact of a damaged ledger: every event that can be read, decodes, and fits the hash before it.

Reads around pages that SQLite cannot read and rows that were changed; each event left out is said, with its
position and why. The file is opened for reading only, and stays as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from adapters.storage.chain import GENESIS, links
from adapters.storage.errors import DamagedLedgerError, EventNotReadableError
from adapters.storage.ledger_file import LedgerFile
from adapters.storage.mapper import MessagePackMapper
from domain.events import LedgerEvent

__all__ = ["LostEvent", "OnLost", "SalvagedLedger", "SalvagedSubscription"]

_COLUMNS = "position, originator_id, originator_version, topic, state, hash"
_BATCH = 2_000


class LostEvent(Exception):
    """An event, or several in a row, that could not be salvaged: from `position` on. The originator is empty
    where it cannot be told."""

    def __init__(
        self,
        position: int,
        why: str,
        *,
        originator_id: str = "",
        originator_version: int = 0,
        topic: str = "",
    ) -> None:
        super().__init__(f"event at position {position}: {why}")
        self.position: int | None = position
        self.originator_id = originator_id
        self.originator_version = originator_version
        self.topic = topic


OnLost = Callable[[Any], None]
"""Told each `LostEvent` in its place, and each `EventNotReadableError` of one that does not decode."""


class SalvagedLedger:
    """A damaged ledger as its read models can still see it (`projections.PastEventSource`)."""

    def __init__(self, file: LedgerFile, mapper: MessagePackMapper) -> None:
        """Raises `DamagedLedgerError` when not even its end can be found."""
        self._file = file
        self._mapper = mapper
        self.ledger_id = file.ledger_id
        self.max_position = self._last_position()

    def hash_at(self, position: int) -> str:
        """The hash that stands at a position, in hex; empty where none can be read."""
        found = self._stored_hash(position)
        return "" if found is None or not position else found.hex()

    def events_of(self, originator_id: str, before_version: int) -> Sequence[LedgerEvent]:
        """The intact events of one order or account below a version."""
        return [
            event
            for _, event in self.history_of(originator_id, on_unreadable=_let_be)
            if event.originator_version < before_version
        ]

    def events_until(
        self, originator_ids: Sequence[str], position: int
    ) -> dict[str, list[tuple[int, LedgerEvent]]]:
        """Of each of these orders or accounts, the intact events up to and with a position."""
        return self._select(set(originator_ids), _let_be, position)

    def history_of(self, originator_id: str, *, on_unreadable: OnLost) -> list[tuple[int, LedgerEvent]]:
        """The intact events of one order or account with their positions."""
        return self._select({originator_id}, on_unreadable, self.max_position)[originator_id]

    def _select(
        self, originator_ids: set[str], on_unreadable: OnLost, position: int
    ) -> dict[str, list[tuple[int, LedgerEvent]]]:
        """Reads all of the ledger up to there: the index may be what is damaged."""
        found: dict[str, list[tuple[int, LedgerEvent]]] = {each: [] for each in originator_ids}

        def concerns(lost: Any) -> None:
            if lost.originator_id in found:
                on_unreadable(lost)

        with self.subscribe(0, batch_size=_BATCH, on_unreadable=concerns) as events:
            while events.position < position:
                for at, event in events.next_batch():
                    if event.originator_id in found and at <= position:
                        found[event.originator_id].append((at, event))
        return found

    def subscribe(
        self, after_position: int, *, batch_size: int, on_unreadable: OnLost
    ) -> SalvagedSubscription:
        """The intact events after a position; those that are not go to `on_unreadable`."""
        return SalvagedSubscription(self, after_position, batch_size, on_unreadable)

    def read(self, after: int, limit: int, on_lost: OnLost) -> tuple[list[tuple[int, LedgerEvent]], int]:
        """The intact ones of the next events, at most `limit`, and the position that was reached."""
        events: list[tuple[int, LedgerEvent]] = []
        previous, before = after, self._stored_hash(after)
        for row in self._rows(after, limit):
            position = row[0]
            if position > previous + 1:
                missing = f"positions {previous + 1} to {position - 1} are missing or cannot be read"
                on_lost(LostEvent(previous + 1, missing))
                before = None
            try:
                events.append((position, self._event(row, before)))
            except (LostEvent, EventNotReadableError) as lost:
                on_lost(lost)
            previous, before = position, bytes(row[5]) if isinstance(row[5], bytes) else None
        reached = previous if previous > after else min(after + limit, self.max_position)
        if previous == after:
            on_lost(LostEvent(after + 1, f"positions {after + 1} to {reached} are missing or cannot be read"))
        return events, reached

    def _rows(self, after: int, limit: int) -> list[tuple[Any, ...]]:
        with self._file.separate_reading(bytes) as connection:
            try:
                return connection.execute(
                    f"SELECT {_COLUMNS} FROM stored_events WHERE position > ? ORDER BY position LIMIT ?",
                    (after, limit),
                ).fetchall()
            except sqlite3.DatabaseError:
                return list(_one_by_one(connection, after + 1, min(after + limit, self.max_position)))

    def _event(self, row: tuple[Any, ...], before: bytes | None) -> LedgerEvent:
        position, originator_id, version, topic, state, stored = row
        try:
            originator_id, topic = originator_id.decode(), topic.decode()
            fits = before is None or links(
                before, position, [(originator_id, version, topic, state, ())]
            ) == [stored]
        except Exception as error:
            # A changed row may hold anything anywhere; all of it means one thing here.
            raise LostEvent(position, f"a column holds what no event has ({error})") from None
        if not fits:
            raise LostEvent(
                position,
                "it does not fit its hash: it was changed",
                originator_id=originator_id,
                originator_version=version,
                topic=topic,
            )
        return self._mapper.to_event(originator_id, version, topic, state, position)

    def _stored_hash(self, position: int) -> bytes | None:
        if not position:
            return GENESIS
        with self._file.separate_reading(bytes) as connection:
            try:
                row = connection.execute(
                    "SELECT hash FROM stored_events WHERE position = ?", (position,)
                ).fetchone()
            except sqlite3.DatabaseError:
                return None
        return row[0] if row is not None and isinstance(row[0], bytes) else None

    def _last_position(self) -> int:
        with self._file.separate_reading(bytes) as connection:
            for statement in (
                "SELECT max(position) FROM stored_events",
                "SELECT seq FROM sqlite_sequence WHERE name = 'stored_events'",
            ):
                try:
                    row = connection.execute(statement).fetchone()
                except sqlite3.DatabaseError:
                    continue
                if row is None or row[0] is None:
                    return 0
                if isinstance(row[0], int):
                    return row[0]
        raise DamagedLedgerError(
            f"the ledger {self._file.path} is damaged beyond salvage: its end cannot be found"
        )


class SalvagedSubscription:
    """The intact events after a position, batch by batch, to the end of the file."""

    def __init__(self, ledger: SalvagedLedger, after: int, batch_size: int, on_lost: OnLost) -> None:
        self._ledger = ledger
        self._batch_size = batch_size
        self._on_lost = on_lost
        self.position = after
        self.closed = False

    def next_batch(self, timeout: float | None = None) -> Sequence[tuple[int, LedgerEvent]]:
        """The next ones; none at the end. Nothing is waited for: a damaged ledger does not grow."""
        if self.position >= self._ledger.max_position:
            return []
        events, self.position = self._ledger.read(self.position, self._batch_size, self._on_lost)
        return events

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> SalvagedSubscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _let_be(_lost: object) -> None:
    """For what was said already."""


def _one_by_one(connection: sqlite3.Connection, first: int, last: int) -> Iterator[tuple[Any, ...]]:
    for position in range(first, last + 1):
        try:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM stored_events WHERE position = ?", (position,)
            ).fetchone()
        except sqlite3.DatabaseError:
            continue
        if row is not None:
            yield row
