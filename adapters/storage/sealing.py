"""Seals: heads of a ledger's hash chain, noted where whoever can rewrite the ledger cannot write.

The chain alone shows every change by someone who does not recompute it. Who does recompute it cannot make it
end in a hash that was noted before. A file of seals has one JSON object per line and only ever grows.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

import msgspec

from adapters.storage.chain import verify_chain
from adapters.storage.errors import DamagedLedgerError, LedgerError
from adapters.storage.ledger_file import LedgerFile, extent
from adapters.storage.mapper import MessagePackMapper

__all__ = [
    "Seal",
    "SealFileError",
    "SealReport",
    "append_seal",
    "check_seals",
    "read_seals",
    "seal_head",
]


_LINE_BYTES_MAX = 4_096


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a ledger's chain at one moment: the last position and its hash (hex; empty for position 0).

    `sealed_at_ns` is this machine's clock, nanoseconds UTC.
    """

    ledger_id: str
    position: int
    hash: str
    sealed_at_ns: int


class SealFileError(LedgerError):
    """A file of seals that cannot be read or written as one."""


class SealReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a ledger compares with its seals. `reason` is empty when it holds what every one of them says.

    What was changed stands after `last_good_position` and not after `first_bad_position`.
    """

    seals: int
    last_good_position: int = 0
    first_bad_position: int | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether every seal fits."""
        return not self.reason


def seal_head(
    file: LedgerFile,
    progress: Callable[[int, int], None] | None = None,
    *,
    mapper: MessagePackMapper | None = None,
) -> Seal:
    """The seal of the ledger as it stands now, its chain checked from the first event to the one sealed.

    Whoever has a seal takes what it covers for what was recorded: raises `DamagedLedgerError`, saying where
    and why, for a chain that does not check. `progress` and `mapper` are those of `verify_chain`.
    """
    report = verify_chain(file, progress, mapper=mapper)
    if not report.ok:
        where = "" if report.first_bad_position is None else f" at position {report.first_bad_position}"
        raise DamagedLedgerError(
            f"the ledger {file.path} is damaged{where}: {report.reason}. Nothing was sealed; `verify` says "
            "up to where it is intact"
        )
    return Seal(
        ledger_id=file.ledger_id,
        position=report.last_position,
        hash=report.head if report.last_position else "",
        sealed_at_ns=time.time_ns(),
    )


def append_seal(path: str | PathLike[str], seal: Seal) -> None:
    """Add a seal to a file, made if need be, and bring it to the disk. Raises `SealFileError`."""
    path = Path(path)
    line = msgspec.json.encode(seal) + b"\n"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                # A line that a crash or a full disk cut short stays a line of its own.
                line = b"\n" + line
            written = os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SealFileError(f"cannot add a seal to {path}: {error.strerror}") from error
    if written != len(line):
        raise SealFileError(f"cannot add a seal to {path}: the disk took only a part of it")


def read_seals(path: str | PathLike[str]) -> list[Seal]:
    """The seals of a file in their order. Raises `SealFileError` for a line that is none, naming it."""
    path = Path(path)
    seals = []
    try:
        with path.open("rb") as stream:
            # Line by line and none longer than any seal: a file of something else may have no end.
            for number, line in enumerate(iter(lambda: stream.readline(_LINE_BYTES_MAX), b""), 1):
                if line.strip():
                    seals.append(_seal(path, number, line))
    except OSError as error:
        raise SealFileError(f"cannot read the seals {path}: {error.strerror}") from error
    return seals


def _seal(path: Path, number: int, line: bytes) -> Seal:
    try:
        return msgspec.json.decode(line, type=Seal)
    except msgspec.MsgspecError as error:
        raise SealFileError(f"{path}, line {number} is not a seal: {error}") from None


def check_seals(file: LedgerFile, seals: Sequence[Seal]) -> SealReport:
    """Compare the hashes that stand in a ledger with the ones noted.

    Says nothing about what lies between: for that the chain is recomputed (`verify_chain`), and both together
    prove that nothing up to the last seal was changed since it was made.
    """
    good = 0
    bad: int | None = None
    reason = ""
    with file.reading() as connection:
        last, _ = extent(connection)
        for seal in sorted(seals, key=lambda each: each.position):
            if seal.ledger_id != file.ledger_id:
                bad, reason = None, f"a seal is of another ledger, {seal.ledger_id}"
            elif seal.position > last:
                bad = last + 1
                reason = (
                    f"it ends at position {last}, but position {seal.position} was sealed: its end is gone"
                )
            elif _hash_at(connection, seal.position) != seal.hash:
                bad = seal.position
                reason = (
                    f"the hash at position {seal.position} is not the one that was sealed: the chain was "
                    f"rewritten, from somewhere after position {good}"
                )
            else:
                good = seal.position
                continue
            break
    return SealReport(seals=len(seals), last_good_position=good, first_bad_position=bad, reason=reason)


def _hash_at(connection: sqlite3.Connection, position: int) -> str:
    row = connection.execute("SELECT hash FROM stored_events WHERE position = ?", (position,)).fetchone()
    return "" if row is None else bytes(row[0]).hex()
