"""What the exit status of `orderledger` says, and the error that carries one to it."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CommandError", "ExitCode"]


class ExitCode(IntEnum):
    """Scripts rely on these: a meaning is never changed, a number never reused."""

    OK = 0
    CHECK_FAILED = 1
    """Something differs, views among it; or the work could not be ended: a full disk, another process."""
    USAGE = 2
    """The command line cannot be meant; or what is to be written cannot be, or is there already."""
    NOT_FOUND = 3
    """What is asked for is not there: an order, a moment; a file that is missing, empty, a directory, or not
    to be read."""
    CONFIG = 4
    """What the config says cannot be, its signing key included."""
    UNREACHABLE = 5
    """The venue did not answer, or not everything."""
    LEDGER_DAMAGED = 6
    """A ledger, a recording or a file of seals is not what was written, or is something else."""
    OUTCOME_UNKNOWN = 7
    """The process ended and the fate of something it sent is not known."""
    INTERRUPTED = 130
    """Ctrl-C, as a shell reports a program ended by SIGINT."""
    OUTPUT_CLOSED = 141
    """Whoever read our output (`head`, a pager) left, as a shell reports SIGPIPE."""


class CommandError(Exception):
    """A command cannot go on. The message is all the user sees: what was tried, what came back, what to do.

    `exit_code` is what the process ends with.
    """

    exit_code: ExitCode = ExitCode.CHECK_FAILED

    def __init__(self, message: str, exit_code: ExitCode | None = None) -> None:
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code
