"""One writer per views file: an operating-system lock that a crash releases and reading never needs."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from projections.errors import ViewsBusyError, ViewsUnavailableError

__all__ = ["ViewsLock"]


class ViewsLock:
    """Holds `<views>.lock` from construction until `release`.

    Raises `ViewsBusyError`, naming the process that holds it, and `ViewsUnavailableError` where no lock file
    can be made. The file stays when the lock is released: removing it would race with the next holder.
    """

    def __init__(self, views: Path) -> None:
        path = Path(os.path.realpath(views))
        try:
            descriptor = os.open(
                path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
        except OSError as error:
            raise ViewsUnavailableError(
                f"Cannot write the views {views}: {error.strerror}; is their directory there and writable?"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise ViewsBusyError(views, holder) from None
        except OSError as error:
            os.close(descriptor)
            raise ViewsUnavailableError(f"Cannot lock the views {views}: {error.strerror}.") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor: int | None = descriptor

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
