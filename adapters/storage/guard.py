"""One writer per ledger: an operating-system lock that a crash releases and reading never needs."""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from adapters.storage.errors import LedgerInUseError, LedgerUnavailableError

__all__ = ["WriterGuard"]


class _Holder(msgspec.Struct, frozen=True):
    pid: int
    since: str


class WriterGuard:
    """Holds `<ledger>.lock` from construction until `release`.

    The lock belongs to the open file (flock), so a second writer is refused in the same process as well. The
    file's content only serves the message; the file itself stays, since removing it would race with the next
    writer. Raises `LedgerInUseError`, naming the process that holds the lock.
    """

    def __init__(self, ledger: Path) -> None:
        # Through symbolic links, so that two names of one ledger meet at one lock.
        path = Path(os.path.realpath(ledger))
        self.path = path.with_name(path.name + ".lock")
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LedgerUnavailableError(
                f"cannot lock the ledger {ledger} for writing: {error.strerror} ({self.path}); "
                "its directory must exist and be writable"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read_holder(descriptor)
            os.close(descriptor)
            raise _in_use(ledger, holder) from None
        except OSError as error:
            os.close(descriptor)
            raise LedgerUnavailableError(
                f"the file system of {ledger} cannot lock files ({error.strerror}); "
                "keep the ledger on a local disk"
            ) from error
        self._descriptor: int | None = descriptor
        content = msgspec.json.encode(_Holder(os.getpid(), datetime.now(UTC).isoformat(timespec="seconds")))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content + b"\n", 0)

    def release(self) -> None:
        """Let the next writer in. May be called again."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _read_holder(descriptor: int) -> _Holder | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, 4096, 0), type=_Holder)
    except (OSError, msgspec.DecodeError):
        return None  # Taken this instant, its content not yet written.


def _in_use(ledger: Path, holder: _Holder | None) -> LedgerInUseError:
    if holder is None:
        return LedgerInUseError(
            f"the ledger {ledger} is in use: another process has just opened it for writing"
        )
    who = "this process" if holder.pid == os.getpid() else f"process {holder.pid}"
    return LedgerInUseError(
        f"the ledger {ledger} is in use: {who} writes to it since {holder.since}. "
        "Stop that one first, or open the ledger for reading",
        holder.pid,
    )
