"""What the errors of ledger and views come to at the end of a command: a message and an exit code."""

from __future__ import annotations

from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.storage.errors import (
    DamagedLedgerError,
    EventNotReadableError,
    ForeignLedgerError,
    LedgerNotFoundError,
    NewerLedgerError,
)
from adapters.storage.errors import LedgerError as StorageError
from domain.errors import LedgerError
from projections import (
    AmbiguousOrderError,
    OrderNotInViewsError,
    PositionNotInViewsError,
    TimeBeforeLedgerError,
    ViewsError,
)

__all__ = ["refusal_of"]

_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (OrderNotInViewsError, ExitCode.NOT_FOUND),
    (PositionNotInViewsError, ExitCode.NOT_FOUND),
    (TimeBeforeLedgerError, ExitCode.NOT_FOUND),
    (AmbiguousOrderError, ExitCode.USAGE),
    (ViewsError, ExitCode.CHECK_FAILED),
    (DamagedLedgerError, ExitCode.LEDGER_DAMAGED),
    (ForeignLedgerError, ExitCode.LEDGER_DAMAGED),
    (NewerLedgerError, ExitCode.LEDGER_DAMAGED),
    (EventNotReadableError, ExitCode.LEDGER_DAMAGED),
    (StorageError, ExitCode.CHECK_FAILED),
    (LedgerError, ExitCode.CHECK_FAILED),
)
"""The first type that fits counts. Views that cannot be used harm nothing: the ledger makes them anew."""


def refusal_of(error: Exception) -> CommandError | None:
    """The error as a command ends with it; None for one that nobody raises on purpose: a fault of ours."""
    if isinstance(error, LedgerNotFoundError):
        return CommandError(
            f"No ledger to read: {error}. `orderledger run` and `orderledger demo` make one; "
            "--ledger FILE names another.",
            ExitCode.NOT_FOUND,
        )
    for kind, code in _CODES:
        if isinstance(error, kind):
            return CommandError(str(error), code)
    return None
