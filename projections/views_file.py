"""The SQLite file of the views: what makes a file one, and how rows and position get into it together.

One process writes (`ViewsLock`), any number may read while it does (write-ahead log). A commit is atomic but
not forced to the disk: after a power cut the views stand at an earlier position and fold on from there.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import msgspec
import sqlite_utils

from domain.events import EVENT_TYPES
from projections.counted_once import booked_again
from projections.errors import (
    DamagedViewsError,
    NewerViewsError,
    NotViewsError,
    ViewsMissingError,
    ViewsUnavailableError,
)
from projections.order_fold import Row
from projections.tables import (
    FILL_BOOKINGS,
    LOG_CLOCK,
    ORDERS,
    PARKED,
    POSITIONS,
    SCHEMA_VERSION,
    TABLES,
    VIEWS,
    Table,
)
from projections.views_fold import ALL_VIEWS, BookedKey, ChangedRows

__all__ = [
    "EVENT_VOCABULARY",
    "Progress",
    "ViewsFile",
    "connect_for_reading",
    "packed",
    "read_progress",
    "remove_file",
    "translated",
    "views_path_for",
]

_APPLICATION_ID = 0x4F4C7677
"""In the header of each views file ("OLvw"), so that `file` and others can tell what it is."""

_HEADER = b"SQLite format 3\x00"

_CHUNKS = (256, 64, 16, 4, 1)
"""Rows per statement. Many in one: each statement costs a trip through SQLite's interpreter and a release of
Python's lock, after which a busy thread may keep the lock for milliseconds."""

_KEYS_PER_LOOK = 500

BUSY_TIMEOUT_S = 5.0
"""How long to wait for another program that writes into the file, or that restores its log."""

EVENT_VOCABULARY = sha256(
    msgspec.json.encode(sorted((topic, cls.class_version) for topic, cls in EVENT_TYPES.items()))
).hexdigest()[:16]
"""Which events the folds know. Views made with another vocabulary may have parked what is readable now."""


def views_path_for(ledger: str | os.PathLike[str]) -> Path:
    """Where the views of a ledger are unless a config says otherwise: `ledger.db` → `ledger.views.db`."""
    path = Path(ledger)
    return path.with_name(f"{path.stem}.views{path.suffix or '.db'}")


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What the views were made from: which ledger, up to which position, with which chain hash there (hex).

    `schema_version` and `event_vocabulary` say by which folds; what others made is built again.
    """

    ledger_id: str
    position: int = 0
    log_hash: str = ""
    schema_version: int = SCHEMA_VERSION
    event_vocabulary: str = EVENT_VOCABULARY


def connect_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that can only read a views file, in any thread, while another process may write it.

    Raises `ViewsMissingError`, `NotViewsError`, `NewerViewsError`, `DamagedViewsError`,
    `ViewsUnavailableError`.
    """
    _refuse_what_is_no_database(path)
    # In a directory that cannot be written the shared index of the log cannot be made; without a log
    # there is no need for it.
    immutable = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
    uri = f"file:{quote(str(path.absolute()))}?mode=ro" + ("&immutable=1" if immutable else "")
    with translated(path):
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            _recognise(path, connection)
        except BaseException:
            connection.close()
            raise
    return connection


def read_progress(connection: sqlite3.Connection) -> Progress:
    """What the views at the other end of a connection were made from."""
    columns = ", ".join(Progress.__struct_fields__)
    row = connection.execute(f"SELECT {columns} FROM progress").fetchone()
    return Progress(**dict(zip(Progress.__struct_fields__, row, strict=True)))


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about the file into errors of the views."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise DamagedViewsError(path, str(error)) from error
        raise ViewsUnavailableError(f"The views {path}: {error}.") from error


class ViewsFile:
    """A views file opened for writing, by the holder of its `ViewsLock`. One thread uses it at a time."""

    def __init__(self, path: Path, database: sqlite_utils.Database) -> None:
        self.path = path
        self._database = database
        self._connection: sqlite3.Connection = database.conn
        self.progress = read_progress(self._connection)

    @classmethod
    def create(cls, path: Path, ledger_id: str, *, guarded: bool = True) -> Self:
        """Views at position 0 in a file that is new or empty: without the indexes for queries, and not safe
        against any crash, until `complete`. Unless `guarded`, nothing refuses what is there already until
        `guard`, and `packed` rows are added as they are."""
        with translated(path):
            connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
            try:
                database = sqlite_utils.Database(connection)
                for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -131072"):
                    connection.execute(f"PRAGMA {pragma}")
                _create_schema(database, Progress(ledger_id=ledger_id))
                if guarded:
                    _create_guards(database)
                return cls(path, database)
            except BaseException:
                connection.close()
                raise

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing file. Raises as `connect_for_reading` does."""
        _refuse_what_is_no_database(path)
        with translated(path):
            connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
            try:
                _recognise(path, connection)
                database = sqlite_utils.Database(connection)
                database.enable_wal()
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA journal_size_limit = 67108864")
                return cls(path, database)
            except BaseException:
                connection.close()
                raise

    def guard(self) -> None:
        """From now on, let there be nothing twice that is there once. Raises `ViewsUnavailableError` from an
        `IntegrityError` when something is there twice already."""
        with translated(self.path):
            _create_guards(self._database)

    def counts_twice(self) -> bool:
        """Whether a fill that counts no more was booked twice while it did, which no guard can tell."""
        with translated(self.path):
            return booked_again(self._connection) is None

    def complete(self) -> None:
        """After building: make the indexes, bring everything to the disk, close."""
        with translated(self.path):
            _create_indexes(self._database)
            self.close()
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def write(self, changed: ChangedRows, log_hash: str, new: bytes | None = None) -> None:
        """Write the changed rows, the `new` ones (`packed`) and the position they lead to, all or nothing."""
        connection = self._connection
        # The library's own inserts and upserts take four times as long; its transaction is what counts here.
        with translated(self.path), _attached(connection, new), self._database.atomic():
            for table, rows in changed.rows:
                if rows:
                    _write_rows(connection, table, rows)
            if new is not None:
                for table in TABLES:
                    # In this form, and where neither side has an index, SQLite copies records unread.
                    connection.execute(f"INSERT INTO main.{table.name} SELECT * FROM packed.{table.name}")
            connection.execute("UPDATE progress SET position = ?, log_hash = ?", (changed.position, log_hash))
        self.progress = msgspec.structs.replace(self.progress, position=changed.position, log_hash=log_hash)

    def take_over(self, built: Path) -> None:
        """Replace everything by what was built beside, in one transaction: readers see the old or the new."""
        with translated(self.path):
            source = sqlite3.connect(built)
            try:
                source.backup(self._connection)
            finally:
                source.close()
            self.progress = read_progress(self._connection)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What a fold resumes from (`projections.views_fold.FoldedViews`).

    def created_position(self, client_order_id: str) -> int | None:
        """The position of the first event of an order, by its row; None when it has no row."""
        with translated(self.path):
            row: tuple[int] | None = self._connection.execute(
                f"SELECT created_position FROM {ORDERS.name} WHERE client_order_id = ?", (client_order_id,)
            ).fetchone()
        return None if row is None else row[0]

    def parked_orders(self) -> list[str]:
        """The orders that take no more events."""
        with translated(self.path):
            rows = self._connection.execute(
                f"SELECT DISTINCT aggregate FROM {PARKED.name} WHERE view IN (?, ?)", (ORDERS.name, ALL_VIEWS)
            ).fetchall()
        return [aggregate for (aggregate,) in rows]

    def position_rows(self) -> list[Row]:
        """All rows of `positions`."""
        with translated(self.path):
            return self._connection.execute(
                f"SELECT {', '.join(POSITIONS.columns)} FROM {POSITIONS.name}"
            ).fetchall()

    def latest_recorded_at_ns(self) -> int:
        """The latest time our clock showed in any event folded so far; 0 before the first."""
        with translated(self.path):
            row: tuple[int | None] = self._connection.execute(
                f"SELECT max(latest_recorded_at_ns) FROM {LOG_CLOCK.name}"
            ).fetchone()
        return row[0] or 0

    def booked(self, table: Table, keys: Collection[BookedKey]) -> set[BookedKey]:
        """Those of the keys that a fill which counts, or a funding payment, already has."""
        (identity,) = table.unique
        return set(self._with_keys(table, identity, keys)).intersection(keys)

    def counted_fills(self, keys: Mapping[BookedKey, str]) -> dict[BookedKey, Row]:
        """The rows of the fills that count under these keys."""
        columns = list(FILL_BOOKINGS.columns)
        (identity,) = FILL_BOOKINGS.unique
        places = [columns.index(name) for name in identity]
        found: dict[BookedKey, Row] = {}
        for row in self._with_keys(FILL_BOOKINGS, columns, keys):
            key, account, venue = (row[place] for place in places)
            found[key, account, venue] = row
        return {key: row for key, row in found.items() if key in keys}

    def _with_keys(self, table: Table, columns: Iterable[str], keys: Collection[BookedKey]) -> Iterator[Row]:
        (identity,) = table.unique
        among = f" AND {table.unique_among}" if table.unique_among else ""
        wanted = list(keys)
        for start in range(0, len(wanted), _KEYS_PER_LOOK):
            part = wanted[start : start + _KEYS_PER_LOOK]
            statement = (
                f"SELECT {', '.join(columns)} FROM {table.name} "
                f"WHERE {identity[0]} IN ({', '.join('?' * len(part))}){among}"
            )
            with translated(self.path):
                rows = self._connection.execute(statement, [key[0] for key in part]).fetchall()
            yield from rows


def remove_file(path: Path) -> None:
    """Remove a views file with all that SQLite keeps beside it: a log left behind would be taken for the next
    file's."""
    for suffix in ("-wal", "-shm", "-journal", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()


def packed(rows: Iterable[tuple[Table, Sequence[Row]]]) -> bytes:
    """Rows for `ViewsFile.write`, from another process that has nothing of the views themselves."""
    with closing(sqlite3.connect(":memory:")) as connection:
        database = sqlite_utils.Database(connection)
        with database.atomic():
            _create_tables(database)
            for table, of_table in rows:
                _write_rows(connection, table, of_table)
        return connection.serialize()


@contextmanager
def _attached(connection: sqlite3.Connection, image: bytes | None) -> Iterator[None]:
    if image is None:
        yield
        return
    connection.execute("ATTACH ':memory:' AS packed")
    try:
        connection.deserialize(image, name="packed")
        yield
    finally:
        connection.execute("DETACH packed")


def _write_rows(connection: sqlite3.Connection, table: Table, rows: Sequence[Row]) -> None:
    start = 0
    for size in _CHUNKS:
        statement = _STATEMENTS[table.name, size]
        while len(rows) - start >= size:
            part = rows[start : start + size]
            connection.execute(statement, part[0] if size == 1 else list(chain.from_iterable(part)))
            start += size


_STATEMENTS = {(table.name, size): table.write_statement(size) for table in TABLES for size in _CHUNKS}


def _create_schema(database: sqlite_utils.Database, progress: Progress) -> None:
    with database.atomic():
        _create_tables(database)
        for view in VIEWS:
            database.execute(view)
        database.table("progress").insert(msgspec.structs.asdict(progress), pk="ledger_id")
        database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")


def _create_tables(database: sqlite_utils.Database) -> None:
    for table in TABLES:
        database.table(table.name).create(
            table.columns,
            pk=table.key[0] if len(table.key) == 1 else table.key,
            not_null=set(table.columns) - table.nullable,
        )


def _create_guards(database: sqlite_utils.Database) -> None:
    with database.atomic():
        for table in TABLES:
            for columns in table.unique:
                among = f" WHERE {table.unique_among}" if table.unique_among else ""
                database.execute(
                    f"CREATE UNIQUE INDEX IF NOT EXISTS idx_{table.name}_{'_'.join(columns)} "
                    f"ON {table.name} ({', '.join(columns)}){among}"
                )


def _create_indexes(database: sqlite_utils.Database) -> None:
    with database.atomic():
        for table in TABLES:
            for name, definition in table.indexes:
                columns, _, condition = definition.partition(" WHERE ")
                where = f" WHERE {condition}" if condition else ""
                database.execute(f"CREATE INDEX {name} ON {table.name} ({columns}){where}")


def _refuse_what_is_no_database(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            header = stream.read(len(_HEADER))
    except FileNotFoundError:
        raise ViewsMissingError(path) from None
    except OSError as error:
        raise ViewsUnavailableError(f"Cannot open the views {path}: {error.strerror}.") from error
    if not header:
        raise ViewsMissingError(path)
    if header != _HEADER:
        raise NotViewsError(path, "it is no SQLite file")


def _recognise(path: Path, connection: sqlite3.Connection) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != _APPLICATION_ID:
        raise NotViewsError(path, "it is a database of something else")
    try:
        progress = read_progress(connection)
    except (sqlite3.OperationalError, TypeError, msgspec.ValidationError) as error:
        if "locked" in str(error):
            raise
        raise DamagedViewsError(path, f"its progress cannot be read: {error}") from error
    if progress.schema_version > SCHEMA_VERSION:
        raise NewerViewsError(path, progress.schema_version, SCHEMA_VERSION)
