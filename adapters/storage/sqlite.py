"""The recorder and the infrastructure factory for a ledger in an SQLite file.

As a persistence module (`PERSISTENCE_MODULE=adapters.storage.sqlite`) it reads `SQLITE_DBNAME` (the
ledger's path), `SQLITE_LOCK_TIMEOUT` (seconds), `CREATE_TABLE` (whether a missing ledger is created) and
`LEDGER_READ_ONLY`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from threading import Condition, Lock
from time import monotonic
from typing import Any
from uuid import UUID

from eventsourcing import persistence
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    Notification,
    ProcessRecorder,
    StoredEvent,
    TrackingRecorder,
)
from eventsourcing.utils import Environment, EnvType, strtobool

from adapters.storage.chain import GENESIS, links
from adapters.storage.errors import (
    LedgerClosedError,
    LedgerError,
    LedgerNotFoundError,
    LedgerReadOnlyError,
)
from adapters.storage.guard import WriterGuard
from adapters.storage.ledger_file import LedgerFile, translated
from adapters.storage.records import EventRecord, EventRow, KeyedStoredEvent
from adapters.storage.subscription import SQLiteSubscription

__all__ = ["SQLiteLedgerFactory", "SQLiteLedgerRecorder"]

_REMEMBERED_KEYS = 20_000


class _Insertion:
    """An INSERT of many rows in as few statements as possible.

    Each statement gives Python's lock away, and a thread that computes may keep it for milliseconds;
    thousands of single inserts would wait that long each. So a statement takes a power of two of rows, and
    one that nearly fits is filled up with empty rows that it passes over.
    """

    _MOST_ROWS = 4096  # of six values each: below SQLite's limit of 32766 values

    def __init__(self, insert: str, columns: Sequence[str]) -> None:
        self._width = len(columns)
        self._insert = f"{insert} ({', '.join(columns)})"
        self._full: dict[int, str] = {}
        self._filled_up: dict[int, str] = {}

    def execute(self, connection: sqlite3.Connection, values: list[object]) -> None:
        """Insert the rows whose values follow each other in `values`."""
        width, start, rows = self._width, 0, len(values) // self._width
        while rows:
            size = min(self._MOST_ROWS, 1 << (rows.bit_length() - 1))
            if rows > size and size < self._MOST_ROWS and rows >= 2 * size - size // 4:
                size *= 2
                filler = [None] * ((size - rows) * width)
                connection.execute(self._filled_up_statement(size), values[start:] + filler)
                return
            connection.execute(self._full_statement(size), values[start : start + size * width])
            start += size * width
            rows -= size

    def _full_statement(self, size: int) -> str:
        statement = self._full.get(size)
        if statement is None:
            statement = self._full[size] = f"{self._insert} {self._values(size)}"
        return statement

    def _filled_up_statement(self, size: int) -> str:
        statement = self._filled_up.get(size)
        if statement is None:
            statement = f"{self._insert} SELECT * FROM ({self._values(size)}) WHERE column1 IS NOT NULL"
            self._filled_up[size] = statement
        return statement

    def _values(self, size: int) -> str:
        return "VALUES " + ",".join([f"({','.join('?' * self._width)})"] * size)


_INSERT_EVENTS = _Insertion(
    "INSERT INTO stored_events",
    ("position", "originator_id", "originator_version", "topic", "state", "hash"),
)
_INSERT_KEYS = _Insertion("INSERT OR IGNORE INTO order_keys", ("key", "originator_id"))


class SQLiteLedgerRecorder(ApplicationRecorder):
    """Records events with their hash chain and lookup keys, and reads them back.

    Writing: one transaction per call, durable on return. Any thread may call any method.
    Errors are the ledger's own: `LedgerConflictError` (an `IntegrityError`), `LedgerUnavailableError`,
    `DamagedLedgerError`, `LedgerReadOnlyError`, `LedgerClosedError`.
    """

    def __init__(self, file: LedgerFile, *, change_check_interval: float = 0.01) -> None:
        self.file = file
        self.change_check_interval = change_check_interval
        """Seconds between two looks for what another process committed."""
        self._write_lock = Lock()
        self._writer: sqlite3.Connection | None = None
        self._tail: tuple[int, bytes] | None = None
        self._recent_keys: set[str] = set()
        self._older_keys: set[str] = set()
        self._closed = False
        self._changed = Condition()
        self._change_watch: sqlite3.Connection | None = None
        self._seen_data_version = -1
        with file.reading() as connection:
            self._committed_position: int = _max_position(connection)

    # Writing

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> list[int]:
        """The library's form of `insert_records`."""
        positions = self.insert_records(
            [
                (
                    str(stored.originator_id),
                    stored.originator_version,
                    stored.topic,
                    stored.state,
                    stored.keys if isinstance(stored, KeyedStoredEvent) else (),
                )
                for stored in stored_events
            ]
        )
        return list(positions)

    def insert_records(self, records: Sequence[EventRecord]) -> Sequence[int]:
        """Record all or nothing, in one transaction that is on the disk on return. Returns the positions."""
        if not records:
            return []
        with self._write_lock, translated(self.file.path, "recording events"):
            first = self._commit(records)
        positions = range(first, first + len(records))
        self._announce(positions[-1])
        return positions

    def positions_of(self, records: Sequence[EventRecord]) -> Sequence[int] | None:
        """The positions, if every record stands in the ledger exactly as given; else None."""
        positions = []
        with self.file.reading() as connection:
            for record in records:
                row = connection.execute(
                    "SELECT position FROM stored_events"
                    " WHERE originator_id = ? AND originator_version = ? AND topic = ? AND state = ?",
                    record[:4],
                ).fetchone()
                if row is None:
                    return None
                positions.append(row[0])
        return positions

    def has_version(self, originator_id: str, originator_version: int) -> bool:
        """Whether any event with this id and version is recorded."""
        with self.file.reading() as connection:
            row = connection.execute(
                "SELECT 1 FROM stored_events WHERE originator_id = ? AND originator_version = ?",
                (originator_id, originator_version),
            ).fetchone()
        return row is not None

    @property
    def closed(self) -> bool:
        """Whether `close` was called: nobody will be woken any more."""
        return self._closed

    @contextmanager
    def maintaining(self) -> Iterator[sqlite3.Connection]:
        """Lend the writing connection, with all other writing waiting: for VACUUM, checkpoints, limits."""
        with self._write_lock:
            with translated(self.file.path, "opening for maintenance"):
                connection = self._writing()
            yield connection

    def _writing(self) -> sqlite3.Connection:
        if self._closed:
            raise LedgerClosedError(f"the ledger {self.file.path} is closed")
        if not self.file.writable:
            raise LedgerReadOnlyError(f"the ledger {self.file.path} was opened for reading")
        if self._writer is None:
            self._writer = self.file.connect_for_writing()
        return self._writer

    def _commit(self, records: Sequence[EventRecord]) -> int:
        connection = self._writing()
        remembered = self._tail
        try:
            return self._insert(connection, records)
        except BaseException as error:
            self._abandon(connection, error)
            if remembered is None or not isinstance(error, sqlite3.IntegrityError):
                raise
        # Perhaps only the remembered end is out of date, another tool having appended: look and try again.
        return self._commit(records)

    def _insert(self, connection: sqlite3.Connection, records: Sequence[EventRecord]) -> int:
        connection.execute("BEGIN IMMEDIATE")
        if self._tail is None:
            self._tail = _tail(connection)
        last_position, last_hash = self._tail
        first = last_position + 1
        position = last_position + len(records)
        hashes = links(last_hash, first, records)
        originator_ids, versions, topics, states, record_keys = zip(*records, strict=True)
        rows = zip(range(first, position + 1), originator_ids, versions, topics, states, hashes, strict=True)
        _INSERT_EVENTS.execute(connection, list(chain.from_iterable(rows)))
        keys = self._new_keys(originator_ids, record_keys)
        if keys:
            _INSERT_KEYS.execute(connection, list(chain.from_iterable(keys.items())))
        connection.execute("COMMIT")
        # Only now: what was rolled back must not be taken for recorded.
        self._tail = (position, hashes[-1])
        self._remember(keys)
        return first

    def _new_keys(
        self, originator_ids: Sequence[str], record_keys: Sequence[tuple[str, ...]]
    ) -> dict[str, str]:
        """The keys to be written, each with the originator that names it first."""
        recent, older = self._recent_keys, self._older_keys
        new: dict[str, str] = {}
        for originator_id, keys in zip(originator_ids, record_keys, strict=True):
            for key in keys:
                if key not in recent and key not in older and key not in new:
                    new[key] = originator_id
        return new

    def _abandon(self, connection: sqlite3.Connection, error: BaseException) -> None:
        self._tail = None
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.IntegrityError):
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                return
            # After an I/O error the connection's idea of the file may be stale: start from the file again.
            self._writer = None
            with suppress(sqlite3.Error):
                connection.close()

    def _remember(self, keys: dict[str, str]) -> None:
        """Spare the next events of the same orders an insert that would be ignored."""
        self._recent_keys.update(keys)
        if len(self._recent_keys) > _REMEMBERED_KEYS:
            self._older_keys = self._recent_keys
            self._recent_keys = set()

    # Reading

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The events of one originator in the order of their versions (or, `desc`, the reverse)."""
        columns = "originator_id, originator_version, topic, state"
        statement = f"SELECT {columns} FROM stored_events WHERE originator_id = ?"
        parameters: list[object] = [str(originator_id)]
        if gt is not None:
            statement += " AND originator_version > ?"
            parameters.append(gt)
        if lte is not None:
            statement += " AND originator_version <= ?"
            parameters.append(lte)
        statement += f" ORDER BY originator_version {'DESC' if desc else 'ASC'}"
        if limit is not None:
            statement += " LIMIT ?"
            parameters.append(limit)
        with self.file.reading() as connection:
            return [StoredEvent(*row) for row in connection.execute(statement, parameters).fetchall()]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Events in the order of their positions, from `start` up to and with `stop`, at most `limit`."""
        first = 0 if start is None else start if inclusive_of_start else start + 1
        return [
            Notification(*row[1:], id=row[0])
            for row in self.select_rows(first - 1, limit, stop=stop, topics=topics)
        ]

    def select_rows(
        self, after: int, limit: int, *, stop: int | None = None, topics: Sequence[str] = ()
    ) -> list[EventRow]:
        """Like `select_notifications`, as plain rows: position, originator id and version, topic, state."""
        statement = (
            "SELECT position, originator_id, originator_version, topic, state FROM stored_events"
            " WHERE position > ?"
        )
        parameters: list[object] = [after]
        if stop is not None:
            statement += " AND position <= ?"
            parameters.append(stop)
        if topics:
            statement += f" AND topic IN ({','.join('?' * len(topics))})"
            parameters += topics
        statement += " ORDER BY position LIMIT ?"
        parameters.append(limit)
        with self.file.reading() as connection:
            return connection.execute(statement, parameters).fetchall()

    def max_notification_id(self) -> int | None:
        """The last position, or None in an empty ledger."""
        with self.file.reading() as connection:
            return _max_position(connection) or None

    def hash_at(self, position: int) -> bytes | None:
        """The chain's hash of the event at a position."""
        with self.file.reading() as connection:
            row = connection.execute(
                "SELECT hash FROM stored_events WHERE position = ?", (position,)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def rows_of(self, originator_id: str) -> list[EventRow]:
        """All events of one originator in the order of their versions."""
        with self.file.reading() as connection:
            return connection.execute(
                "SELECT position, originator_id, originator_version, topic, state FROM stored_events"
                " WHERE originator_id = ? ORDER BY originator_version",
                (originator_id,),
            ).fetchall()

    def originator_of_key(self, key: str) -> str | None:
        """The originator that took a lookup key."""
        with self.file.reading() as connection:
            row = connection.execute("SELECT originator_id FROM order_keys WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def originators_with_keys(self, prefix: str) -> Iterator[str]:
        """The originators of all lookup keys that begin with `prefix`, in the order of the keys."""
        key = prefix
        while True:
            with self.file.reading() as connection:
                rows = connection.execute(
                    "SELECT key, originator_id FROM order_keys WHERE key > ? AND key < ?"
                    " ORDER BY key LIMIT 1000",
                    (key, prefix + chr(0x10FFFF)),
                ).fetchall()
            if not rows:
                return
            yield from (originator_id for _, originator_id in rows)
            key = rows[-1][0]

    def originators_by_prefix(self, prefix: str, limit: int) -> list[str]:
        """The originator ids that begin with `prefix`, in their order, at most `limit`."""
        with self.file.reading() as connection:
            rows = connection.execute(
                "SELECT DISTINCT originator_id FROM stored_events"
                " WHERE originator_id >= ? AND originator_id < ? ORDER BY originator_id LIMIT ?",
                (prefix, prefix + chr(0x10FFFF), limit),
            ).fetchall()
        return [row[0] for row in rows]

    # Following

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> SQLiteSubscription:
        """Events with positions above `gt`: those recorded already, then each new one, none twice."""
        return SQLiteSubscription(self, gt=gt, topics=topics)

    def wait_for_position_above(
        self, position: int, timeout: float | None, cancelled: Callable[[], bool]
    ) -> int:
        """Wait until something is committed beyond `position`, for `timeout` seconds, or until `cancelled()`.

        Returns the last committed position that is known of, whether beyond or not.
        """
        deadline = None if timeout is None else monotonic() + timeout
        with self._changed:
            while True:
                if not self.file.writable:
                    self._look_for_change()
                if self._committed_position > position or self._closed or cancelled():
                    return self._committed_position
                remaining = None if deadline is None else deadline - monotonic()
                if remaining is not None and remaining <= 0:
                    return self._committed_position
                if self.file.writable:
                    # The one writer is here: each commit is announced.
                    self._changed.wait(remaining)
                elif remaining is None:
                    self._changed.wait(self.change_check_interval)
                else:
                    self._changed.wait(min(remaining, self.change_check_interval))

    def wake(self) -> None:
        """Have those who wait look whether they are cancelled."""
        with self._changed:
            self._changed.notify_all()

    def _announce(self, position: int) -> None:
        with self._changed:
            self._committed_position = max(position, self._committed_position)
            self._changed.notify_all()

    def _look_for_change(self) -> None:
        """See whether another process committed: one look at shared memory, no read of the file if not."""
        if self._closed:
            return
        with translated(self.file.path, "looking for new events"):
            if self._change_watch is None:
                self._change_watch = self.file.connect_for_reading()
            (version,) = self._change_watch.execute("PRAGMA data_version").fetchone()
            if version != self._seen_data_version:
                self._committed_position = _max_position(self._change_watch)
                self._seen_data_version = version

    def close(self) -> None:
        """Close all connections and wake whoever waits. May be called again."""
        with self._write_lock, self._changed:
            self._closed = True
            # Readers first: the last connection to go folds the log into the file.
            self.file.close()
            if self._change_watch is not None:
                self._change_watch.close()
                self._change_watch = None
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self._changed.notify_all()


def _max_position(connection: sqlite3.Connection) -> int:
    (position,) = connection.execute("SELECT max(position) FROM stored_events").fetchone()
    return position or 0


def _tail(connection: sqlite3.Connection) -> tuple[int, bytes]:
    row = connection.execute(
        "SELECT position, hash FROM stored_events ORDER BY position DESC LIMIT 1"
    ).fetchone()
    return (0, GENESIS) if row is None else (row[0], row[1])


class SQLiteLedgerFactory(persistence.InfrastructureFactory[TrackingRecorder]):
    """Builds what the library's `Application` needs on a ledger file; holds the writer's lock while open."""

    SQLITE_DBNAME = "SQLITE_DBNAME"
    SQLITE_LOCK_TIMEOUT = "SQLITE_LOCK_TIMEOUT"
    CREATE_TABLE = "CREATE_TABLE"
    LEDGER_READ_ONLY = "LEDGER_READ_ONLY"

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        name = self.env.get(self.SQLITE_DBNAME)
        if not name:
            raise LedgerError(f"no ledger named: set {self.SQLITE_DBNAME} to the path of the ledger file")
        if name.startswith("file:") or ":memory:" in name:
            raise LedgerError(
                f"a ledger is a file on disk, not {name!r}; "
                "PERSISTENCE_MODULE=eventsourcing.popo keeps events in memory"
            )
        self.path = Path(name)
        self.read_only = strtobool(self.env.get(self.LEDGER_READ_ONLY, "no"))
        self._create = strtobool(self.env.get(self.CREATE_TABLE, "yes"))
        try:
            self._lock_timeout = float(self.env.get(self.SQLITE_LOCK_TIMEOUT) or "5")
        except ValueError:
            raise LedgerError(f"{self.SQLITE_LOCK_TIMEOUT} must be a number of seconds") from None
        self._guard: WriterGuard | None = None
        self._recorder: SQLiteLedgerRecorder | None = None

    def application_recorder(self) -> SQLiteLedgerRecorder:
        """The recorder of this ledger; the same one each time, since there is one writer."""
        if self._recorder is None:
            if self.read_only:
                file = LedgerFile.open_for_reading(self.path, lock_timeout=self._lock_timeout)
            else:
                file = self._open_for_writing()
            self._recorder = SQLiteLedgerRecorder(file)
        return self._recorder

    def _open_for_writing(self) -> LedgerFile:
        if not self._create and not self.path.exists():
            # Before the lock, which would leave its file beside nothing.
            raise LedgerNotFoundError(f"there is no ledger at {self.path}")
        guard = WriterGuard(self.path)
        try:
            file = LedgerFile.open_for_writing(
                self.path, create=self._create, lock_timeout=self._lock_timeout
            )
        except BaseException:
            guard.release()
            raise
        self._guard = guard
        return file

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """A ledger keeps no snapshots: an order is a short fold."""
        if purpose == "events":
            return self.application_recorder()
        raise persistence.NotSupportedError(f"a ledger file keeps events alone, not {purpose}")

    def tracking_recorder(
        self, tracking_recorder_class: type[TrackingRecorder] | None = None
    ) -> TrackingRecorder:
        """Read models have a file of their own."""
        raise persistence.NotSupportedError(
            "a ledger file tracks no projections; give them a file of their own"
        )

    def process_recorder(self) -> ProcessRecorder:
        """Read models have a file of their own."""
        raise persistence.NotSupportedError(
            "a ledger file tracks no projections; give them a file of their own"
        )

    def close(self) -> None:
        """Close the ledger and let the next writer in. May be called again."""
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None
        if self._guard is not None:
            self._guard.release()
            self._guard = None
