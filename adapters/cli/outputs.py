"""Files that commands write: looked at before the work begins, and there as a whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from adapters.cli.exit_codes import CommandError, ExitCode

__all__ = ["check_output", "refuse_device", "replaced"]


def check_output(
    output: Path, *, if_there: str = "", in_place: bool = False, makes_folders: bool = False
) -> None:
    """Refuse a file that cannot be written, before work begins that takes long or changes something.

    `if_there` says why an existing file is in the way, and what to do; without it, the file is replaced, or
    written on when `in_place`. `makes_folders`: the directories above it are made later. Leaves nothing
    behind. Raises `CommandError` (USAGE).
    """
    try:
        if output.is_dir():
            raise _refused(f"{output} is a directory: name a file in it.")
        if if_there and os.path.lexists(output):
            raise _refused(f"{output} is there already; {if_there}.")
        folder = output.parent
        while makes_folders and not os.path.lexists(folder):
            folder = folder.parent
        if not os.path.lexists(folder):
            raise _refused(f"There is no directory {folder} to write {output.name} into: make it first.")
        if not folder.is_dir():
            raise _refused(f"{folder} is no directory: {output} cannot be written. Name another file.")
        _try(output, folder, in_place=in_place)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise CommandError(f"Cannot write {output}: {error.strerror}.") from None
        raise _refused(f"Cannot write {output}: {error.strerror}. Name another file.") from None


def refuse_device(output: Path) -> None:
    """Refuse to put a file in the place of a device or a pipe. Raises `CommandError` (USAGE)."""
    if os.path.exists(output) and not os.path.isfile(output) and not os.path.isdir(output):
        raise _refused(f"{output} is no file, and would be replaced by one: name another.")


@contextmanager
def replaced(output: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes become the file when all of them are written: half a file looks like a whole one.
    What is no file (a device, a pipe) is written as it goes. Raises `CommandError` when the disk refuses."""
    try:
        if output.exists() and not output.is_file():
            with output.open("wb") as stream:
                yield stream
            return
        unfinished = output.with_name(f"{output.name}.unfinished")
        try:
            with unfinished.open("wb") as stream:
                yield stream
            unfinished.replace(output)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"Cannot write {output}: {error.strerror or error}.") from error


def _try(output: Path, folder: Path, *, in_place: bool) -> None:
    """Raise the `OSError` that writing the file would."""
    # A pipe is not tried: without a reader it would be waited for.
    if output.exists() and not output.is_fifo():
        os.close(os.open(output, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    if not output.exists() or (output.is_file() and not in_place):
        probe = folder / f".{output.name}.{os.getpid()}.probe"
        try:
            os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        finally:
            probe.unlink(missing_ok=True)


def _refused(message: str) -> CommandError:
    return CommandError(message, ExitCode.USAGE)
