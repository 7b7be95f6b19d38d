"""A copy of a ledger as it stood at one moment, made while it may be written to.

SQLite's backup reads within one snapshot, so the writer is not held up and the copy is consistent. It comes
into being under another name, is verified from its first event to its last, and only then gets its own.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from adapters.storage.chain import ChainReport, verify_chain
from adapters.storage.errors import DamagedLedgerError, LedgerError, LedgerUnavailableError
from adapters.storage.ledger_file import LedgerFile, translated
from adapters.storage.mapper import MessagePackMapper

__all__ = ["BackupExistsError", "back_up"]

_PAGES_PER_STEP = 4_096
"""16 MB between two reports of progress."""


class BackupExistsError(LedgerError):
    """Something stands where the backup is to go. It was left as it is."""


def back_up(
    file: LedgerFile,
    target: str | PathLike[str],
    *,
    on_copied: Callable[[int, int], None] | None = None,
    on_verified: Callable[[int, int], None] | None = None,
    mapper: MessagePackMapper | None = None,
) -> ChainReport:
    """Copy a ledger to `target` and verify the copy (its key index too, with a `mapper`); returns what the
    verification found.

    `on_copied` is told pages, `on_verified` events: how many of how many. Raises `BackupExistsError`,
    `LedgerUnavailableError` when the copy cannot be written, and `DamagedLedgerError` when what was copied
    does not verify, after which nothing is left at `target`.
    """
    target = Path(target)
    if os.path.lexists(target):
        raise _exists(target)
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.unfinished")
    try:
        try:
            os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise LedgerUnavailableError(f"cannot write the backup {target}: {error.strerror}") from error
        _copy(file, unfinished, on_copied)
        report = verify_chain(unfinished, on_verified, mapper=mapper)
        if not report.ok:
            position = report.first_bad_position
            where = "" if position is None else f" at position {position}"
            raise DamagedLedgerError(
                f"what was copied from {file.path} does not verify{where}: {report.reason}. "
                "No backup was made"
            )
        _bring_to_disk(unfinished)
        try:
            # Unlike a rename, a link never replaces what somebody else has put there meanwhile.
            os.link(unfinished, target)
        except FileExistsError:
            raise _exists(target) from None
        except OSError as error:
            raise LedgerUnavailableError(f"cannot write the backup {target}: {error.strerror}") from error
        _bring_to_disk(target.parent)
    finally:
        for suffix in ("-wal", "-shm", ""):
            unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
    return report


def _copy(file: LedgerFile, unfinished: Path, on_copied: Callable[[int, int], None] | None) -> None:
    def report(_status: int, remaining: int, total: int) -> None:
        if on_copied is not None:
            on_copied(total - remaining, total)

    with file.separate_reading(bytes) as source, translated(unfinished, "writing a backup"):
        # The snapshot: without it, each commit of the writer would begin the copy again.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM meta").fetchone()
        copy = sqlite3.connect(unfinished, isolation_level=None)
        try:
            source.backup(copy, pages=_PAGES_PER_STEP, progress=report)
            # One file without a log beside it: it can be verified, sent and read as it is.
            copy.execute("PRAGMA journal_mode = DELETE")
        finally:
            copy.close()


def _bring_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exists(target: Path) -> BackupExistsError:
    return BackupExistsError(f"there is something at {target} already; a backup replaces nothing")
