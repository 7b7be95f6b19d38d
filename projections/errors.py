"""What can go wrong with the views, as types. None of it can harm the ledger: views are made from it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from domain.errors import LedgerError

__all__ = [
    "AmbiguousOrderError",
    "DamagedViewsError",
    "NewerViewsError",
    "NotViewsError",
    "OrderNotInViewsError",
    "OtherLedgerError",
    "PositionNotInViewsError",
    "TimeBeforeLedgerError",
    "UnfoldableEventError",
    "ViewsBusyError",
    "ViewsError",
    "ViewsMissingError",
    "ViewsUnavailableError",
]


class ViewsError(LedgerError):
    """Base of every error of a views file."""


class ViewsBusyError(ViewsError):
    """Another process keeps these views up to date."""

    def __init__(self, path: Path, owner: str) -> None:
        by = f" (process {owner})" if owner else ""
        super().__init__(
            f"The views {path} are kept by another process{by}; read them, or stop that process first."
        )


class ViewsMissingError(ViewsError):
    """There is no views file, or nothing has been written into it yet."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"There are no views at {path} yet; they are built from the ledger.")


class NotViewsError(ViewsError):
    """The file holds something else, or is too damaged to be recognised."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path} is not a views file ({why}). It is left as it is: move it away, or delete it, "
            "and the views are built again from the ledger."
        )


class DamagedViewsError(ViewsError):
    """The file was a views file and cannot be read as it was written."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"The views {path} are damaged ({why}). The ledger is not: delete the file, and they are built "
            "again from it."
        )


class ViewsUnavailableError(ViewsError):
    """The disk or the file system refused: full, read-only, locked."""


class NewerViewsError(ViewsError):
    """The views were written by a newer version of this program."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            f"The views {path} have format {found}, this program knows {known}: upgrade it, or delete the "
            "file to have the views built again from the ledger."
        )


class OtherLedgerError(ViewsError):
    """The views were made from another ledger."""

    def __init__(self, path: Path, found: str, expected: str) -> None:
        super().__init__(
            f"The views {path} belong to the ledger {found}, not to {expected}: give each ledger its own "
            "views file, or delete this one to have it built again."
        )


class UnfoldableEventError(ViewsError):
    """An event that a view cannot take. `reason` is the same text in every run."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    @classmethod
    def of(cls, error: Exception) -> UnfoldableEventError:
        """What a fold raised, as the reason of its event; lack of memory is nobody's fault and goes on.

        A reason is a row of a view, so it keeps nothing that may differ between two folds of one event: of
        the domain's own errors and assertions the first line (test runners append the values of an assertion,
        with the addresses of objects), of any other error its type alone, since Python's wording changes.
        """
        if isinstance(error, MemoryError):
            raise error
        if isinstance(error, cls):
            return error
        name = type(error).__name__
        own = isinstance(error, LedgerError | ValueError | AssertionError)
        words = str(error).partition("\n")[0] if own else ""
        return cls(f"{name}: {words}" if words else name)


class PositionNotInViewsError(ViewsError, LookupError):
    """The log has no such position, or the views have not reached it."""

    def __init__(self, position: int, end: int) -> None:
        reached = f"the views stand at {end}" if end else "there is no event yet"
        super().__init__(f"There is no position {position} to look at: positions begin at 1, and {reached}.")
        self.position = position
        self.end = end


class TimeBeforeLedgerError(ViewsError, LookupError):
    """Nothing had been recorded by then. `began_ns` is when the first event was; None if it says nothing."""

    def __init__(self, time_ns: int, began_ns: int | None) -> None:
        super().__init__(
            f"The ledger holds nothing from before {_utc(time_ns)}"
            + (f": it began at {_utc(began_ns)}." if began_ns is not None else ".")
        )
        self.time_ns = time_ns
        self.began_ns = began_ns


class OrderNotInViewsError(ViewsError, LookupError):
    """No order has this client id, exchange id, or prefix of either."""

    def __init__(self, key: str, as_of: int | None = None) -> None:
        then = "" if as_of is None else f" It may be younger than position {as_of}."
        super().__init__(
            f"No order has the client id or exchange id {key!r}, or one that begins with it.{then}"
        )
        self.key = key


class AmbiguousOrderError(ViewsError, LookupError):
    """More than one order fits. `candidates` are client order ids; `more` says that the list was cut."""

    def __init__(self, key: str, candidates: tuple[str, ...], more: bool) -> None:
        listed = "".join(f"\n  {candidate}" for candidate in candidates) + ("\n  …" if more else "")
        super().__init__(f"{key!r} fits more than one order; give more of the id:{listed}")
        self.key = key
        self.candidates = candidates
        self.more = more


def _utc(ns: int) -> str:
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
