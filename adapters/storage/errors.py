"""The ways a ledger can refuse, each a type whose message says what was tried and what to do about it."""

from __future__ import annotations

from eventsourcing.domain import EventSourcingError
from eventsourcing.persistence import (
    DatabaseError,
    IntegrityError,
    MapperDeserialisationError,
    NotSupportedError,
    OperationalError,
)

__all__ = [
    "BacklogFullError",
    "DamagedLedgerError",
    "EventMismatchError",
    "EventNotReadableError",
    "ForeignLedgerError",
    "LedgerClosedError",
    "LedgerConflictError",
    "LedgerError",
    "LedgerInUseError",
    "LedgerNotFoundError",
    "LedgerReadOnlyError",
    "LedgerUnavailableError",
    "NewerEventError",
    "NewerLedgerError",
    "UndecodableEventError",
    "UnflushedEventsError",
    "UnknownTopicError",
    "UnregisteredEventError",
]


class LedgerError(EventSourcingError):
    """Base of everything the ledger's storage raises on purpose."""


class LedgerNotFoundError(LedgerError):
    """There is no ledger at the path, and none was to be created."""


class ForeignLedgerError(LedgerError):
    """The file is something else: another program's database, or no database at all."""


class NewerLedgerError(LedgerError):
    """The file was written by a newer version of the program."""


class DamagedLedgerError(LedgerError, DatabaseError):
    """The file cannot be read as it was written."""


class LedgerInUseError(LedgerError):
    """Another writer holds the ledger. `pid` is its process, where it could be read."""

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class LedgerReadOnlyError(LedgerError, NotSupportedError):
    """Something was to be written to a ledger that was opened for reading."""


class LedgerUnavailableError(LedgerError, OperationalError):
    """The disk or the file system refused: full, failing, read-only, locked. Nothing was recorded."""


class LedgerConflictError(LedgerError, IntegrityError):
    """An event with this originator id and version is already recorded; nothing of the submission was."""


class LedgerClosedError(LedgerError):
    """The ledger was closed before this was asked of it."""


class BacklogFullError(LedgerError):
    """Too many events wait for the disk. Nothing of the submission was taken; the caller still has it."""


class UnflushedEventsError(LedgerError):
    """The ledger was closed while the disk refused; these events are not recorded. `count` says how many."""

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


class UnregisteredEventError(LedgerError, TypeError):
    """An object was to be recorded whose type is not in the registry of event types."""


class EventNotReadableError(LedgerError, MapperDeserialisationError):
    """A recorded event that cannot become an event again. The others around it can."""

    def __init__(
        self, why: str, *, topic: str, originator_id: str, originator_version: int, position: int | None
    ) -> None:
        where = f"position {position}" if position is not None else "unknown position"
        super().__init__(f"event at {where} ({topic!r}, {originator_id!r} v{originator_version}): {why}")
        self.topic = topic
        self.originator_id = originator_id
        self.originator_version = originator_version
        self.position = position


class UnknownTopicError(EventNotReadableError):
    """No event type has this topic: written by a newer version, or by another program."""


class NewerEventError(EventNotReadableError):
    """The event's `class_version` is above the one known here: written by a newer version."""


class UndecodableEventError(EventNotReadableError):
    """The stored bytes are not what the topic promises: damaged, or under another cipher or compressor."""


class EventMismatchError(EventNotReadableError):
    """The row's originator id or version differs from the ones inside its state."""
