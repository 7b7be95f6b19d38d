"""What the exit status of `orderledger` says, and the error that carries one to it."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CommandError", "ExitCode"]


class ExitCode(IntEnum):
    """Scripts rely on these: a meaning is never changed, a number never reused."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFIG = 4
    UNREACHABLE = 5
    LEDGER_DAMAGED = 6
    OUTCOME_UNKNOWN = 7
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
