"""The SQLite file of a ledger: how it is created, opened and recognised, and its connections.

Many may read while one writes (write-ahead log). A commit is on the disk when it returns
(`synchronous=FULL`).
"""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from adapters.storage.errors import (
    DamagedLedgerError,
    ForeignLedgerError,
    LedgerClosedError,
    LedgerConflictError,
    LedgerError,
    LedgerNotFoundError,
    LedgerUnavailableError,
    NewerLedgerError,
)

__all__ = ["SCHEMA_VERSION", "LedgerFile", "extent", "translated"]

SCHEMA_VERSION = 1

_APPLICATION_ID = 0x4F4C6467
"""In the header of each ledger ("OLdg"), so that `file` and others can tell what it is."""

_FORMAT = "orderledger"
_HEADER = b"SQLite format 3\x00"
_IDLE_CONNECTIONS = 8

_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE stored_events ("
    " position INTEGER PRIMARY KEY AUTOINCREMENT,"
    " originator_id TEXT NOT NULL,"
    " originator_version INTEGER NOT NULL,"
    " topic TEXT NOT NULL,"
    " state BLOB NOT NULL,"
    " hash BLOB NOT NULL,"
    " UNIQUE (originator_id, originator_version))",
    "CREATE TABLE order_keys (key TEXT PRIMARY KEY, originator_id TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TRIGGER stored_events_refuse_update BEFORE UPDATE ON stored_events"
    " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a recorded event cannot be changed'); END",
    "CREATE TRIGGER stored_events_refuse_delete BEFORE DELETE ON stored_events"
    " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a recorded event cannot be deleted'); END",
)

_ADVICE = (
    "Nothing was changed. Keep the file with its -wal and -shm files as they are, "
    "and continue from the last good copy; `verify` says up to where this one is intact"
)


@contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """Turn SQLite's errors into the ledger's own, with what was being done and what to do about it."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise LedgerConflictError(f"the ledger {path}: {doing}: refused ({error})") from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if _means_damage(error):
            raise DamagedLedgerError(f"the ledger {path} is damaged: {doing}: {error}. {_ADVICE}") from error
        raise LedgerUnavailableError(f"the ledger {path}: {doing}: {error}") from error


def _means_damage(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether the file's content is to blame, and not the disk or another process."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Python's own: a text, or a message quoting one, that is not text.
        return isinstance(error, UnicodeDecodeError) or "UTF-8" in str(error)
    primary = code & 0xFF
    # ERROR: a statement that has always worked does not fit the schema any more.
    return primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def extent(connection: sqlite3.Connection) -> tuple[int, int]:
    """The last position, and the last one ever given out (SQLite keeps it when rows vanish); 0 if none."""
    # One statement, so that both come from the same moment of a ledger that grows.
    last, given_out = connection.execute(
        "SELECT (SELECT max(position) FROM stored_events),"
        " (SELECT seq FROM sqlite_sequence WHERE name = 'stored_events')"
    ).fetchone()
    return last or 0, given_out or 0


class LedgerFile:
    """An opened ledger file. One connection writes (if any), others read; all are closed together.

    Made by `open_for_writing` and `open_for_reading`, which refuse what is not a ledger:
    `LedgerNotFoundError`, `ForeignLedgerError`, `NewerLedgerError`, `DamagedLedgerError`,
    `LedgerUnavailableError`.
    """

    def __init__(self, path: Path, *, writable: bool, lock_timeout: float) -> None:
        self.path = path.absolute()
        self.writable = writable
        self.ledger_id = ""
        self._lock_timeout = lock_timeout
        self._immutable = False
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False

    @classmethod
    def open_for_writing(cls, path: Path, *, create: bool = True, lock_timeout: float = 5.0) -> Self:
        """Open, or create if `create` and nothing is there (an empty file counts as nothing).

        The caller holds the `WriterGuard`.
        """
        file = cls(path, writable=True, lock_timeout=lock_timeout)
        exists = path.exists()
        if not exists and not create:
            raise LedgerNotFoundError(f"there is no ledger at {path}")
        if exists:
            # Looked at first without the right to write: another program's file must stay as it is.
            try:
                file._look(create=create)
            except LedgerUnavailableError:
                if not path.with_name(path.name + "-journal").exists():
                    raise
                # A crash while the file was made: SQLite undoes that, for which it must write.
                file._undo_interrupted_change()
                file._look(create=create)
        with translated(path, "opening for writing"):
            connection = file.connect_for_writing()
            try:
                if file._is_empty(connection):
                    file._create(connection)
                file._recognise(connection)
                # Lost by a dump and reload; the names in `meta` are not.
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                file._check_tail(connection)
            finally:
                connection.close()
        return file

    @classmethod
    def open_for_reading(cls, path: Path, *, lock_timeout: float = 5.0, check_tail: bool = True) -> Self:
        """Open a ledger that another process may be writing to. Never changes the file."""
        file = cls(path, writable=False, lock_timeout=lock_timeout)
        if not path.exists():
            raise LedgerNotFoundError(f"there is no ledger at {path}")
        # On a read-only medium the shared index of the log cannot be made; without a log there is no need.
        wal = path.with_name(path.name + "-wal")
        file._immutable = not os.access(path.parent, os.W_OK) and not wal.exists()
        file._look(create=False, check_tail=check_tail)
        return file

    def connect_for_writing(self) -> sqlite3.Connection:
        """A new connection for the one writer. Any thread may use it, one at a time."""
        connection = sqlite3.connect(
            self.path, timeout=self._lock_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            (journal_mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if journal_mode != "wal":
                raise LedgerUnavailableError(
                    f"the file system of {self.path} cannot share memory between processes, as a ledger's "
                    "write-ahead log needs it; keep the ledger on a local disk"
                )
            connection.execute("PRAGMA synchronous = FULL")
            # A delete trigger fires for the rows that INSERT OR REPLACE removes only under this setting.
            connection.execute("PRAGMA recursive_triggers = ON")
            # Fold the log back every 16 MB instead of every 4: fewer, larger writes to the main file.
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute("PRAGMA cache_size = -65536")
        except BaseException:
            connection.close()
            raise
        return connection

    def connect_for_reading(self) -> sqlite3.Connection:
        """A new connection that cannot write."""
        uri = f"file:{quote(str(self.path))}?mode=ro" + ("&immutable=1" if self._immutable else "")
        return sqlite3.connect(
            uri, uri=True, timeout=self._lock_timeout, isolation_level=None, check_same_thread=False
        )

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection that can only read. Errors come out translated."""
        with translated(self.path, "reading"):
            try:
                connection = self._idle.pop()
            except IndexError:
                if self._closed:
                    raise LedgerClosedError(f"the ledger {self.path} is closed") from None
                connection = self.connect_for_reading()
            try:
                yield connection
            finally:
                self._idle.append(connection)
                # Looked at after the append: a close that ran in between has not seen this one.
                if self._closed:
                    self._close_idle()
                elif len(self._idle) > _IDLE_CONNECTIONS:
                    with suppress(IndexError):
                        self._idle.popleft().close()

    @contextmanager
    def separate_reading(self, texts_as: type[str] | type[bytes]) -> Iterator[sqlite3.Connection]:
        """A reading connection of one's own, for long work; damaged texts can only be had as bytes."""
        connection = self.connect_for_reading()
        connection.text_factory = texts_as
        try:
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        """Close the reading connections. May be called again."""
        self._closed = True
        self._close_idle()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _look(self, *, create: bool, check_tail: bool = True) -> None:
        self._refuse_foreign_header()
        with self.reading() as connection:
            if not self._is_empty(connection):
                self._recognise(connection)
                if check_tail:
                    self._check_tail(connection)
            elif not create:
                raise LedgerNotFoundError(f"{self.path} is empty: no ledger was ever written to it")

    def _undo_interrupted_change(self) -> None:
        with translated(self.path, "undoing an interrupted change"):
            connection = sqlite3.connect(self.path, timeout=self._lock_timeout, isolation_level=None)
            try:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            finally:
                connection.close()

    def _refuse_foreign_header(self) -> None:
        try:
            with self.path.open("rb") as stream:
                header = stream.read(len(_HEADER))
        except FileNotFoundError:
            return
        except OSError as error:
            raise LedgerUnavailableError(f"cannot open the ledger {self.path}: {error.strerror}") from error
        # Zeros are nobody's: a file of ours that was never finished, or that was wiped. SQLite tells which.
        if header.strip(b"\0") and header != _HEADER:
            raise ForeignLedgerError(
                f"{self.path} is not a ledger: it does not begin as an SQLite file. "
                "Check the path; if it was a ledger, its first page is destroyed: restore a copy"
            )

    @staticmethod
    def _is_empty(connection: sqlite3.Connection) -> bool:
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        tables: tuple[int] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return application_id == 0 and tables[0] == 0

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.executemany(
            "INSERT INTO meta (name, value) VALUES (?, ?)",
            [
                ("format", _FORMAT),
                ("schema_version", str(SCHEMA_VERSION)),
                ("ledger_id", uuid.uuid4().hex),
                ("created_at_ns", str(time.time_ns())),
            ],
        )
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute("COMMIT")
        # The file's own name must survive a power cut too, or what is written into it is lost with it.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _recognise(self, connection: sqlite3.Connection) -> None:
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if application_id not in (0, _APPLICATION_ID) or (application_id == 0 and "meta" not in names):
            raise self._foreign()
        if "meta" not in names:
            raise DamagedLedgerError(
                f"the ledger {self.path} is damaged: its table meta is missing. {_ADVICE}"
            )
        try:
            meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
        except sqlite3.OperationalError:
            raise self._foreign() from None
        if application_id == 0 and meta.get("format") != _FORMAT:
            raise self._foreign()
        version = meta.get("schema_version", "")
        if not version.isdecimal():
            raise DamagedLedgerError(
                f"the ledger {self.path} is damaged: its schema version is {version!r}. {_ADVICE}"
            )
        if int(version) > SCHEMA_VERSION:
            raise NewerLedgerError(
                f"the ledger {self.path} was written by a newer version of orderledger "
                f"(schema {version}, known up to {SCHEMA_VERSION}). Upgrade this program; nothing was changed"
            )
        missing = {"stored_events", "order_keys", "sqlite_sequence"} - names
        if missing:
            raise DamagedLedgerError(
                f"the ledger {self.path} is damaged: {', '.join(sorted(missing))} is missing. {_ADVICE}"
            )
        self.ledger_id = meta.get("ledger_id", "")

    def _check_tail(self, connection: sqlite3.Connection) -> None:
        """Notice a cut-off end at once: appending after it would hide the loss."""
        last, recorded = extent(connection)
        if last != recorded:
            raise DamagedLedgerError(
                f"the ledger {self.path} is damaged: it ends at position {last}, "
                f"but {recorded} were recorded. {_ADVICE}"
            )

    def _foreign(self) -> LedgerError:
        return ForeignLedgerError(
            f"{self.path} is an SQLite file of another program, not a ledger. "
            "Check the path; nothing was changed"
        )
