"""What can be wrong with a recording: typed, naming the file, the place in it and what to do."""

from __future__ import annotations

from pathlib import Path

from domain.errors import LedgerError

__all__ = [
    "CoreNotFoundError",
    "DamagedRecordingError",
    "EmptyRecordingError",
    "ForeignRecordingError",
    "NewerRecordingError",
    "RecordingError",
    "SessionChainError",
]


class RecordingError(LedgerError):
    """A recording cannot be used. `path` is the file that it is about."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


class ForeignRecordingError(RecordingError):
    """The file is no recording at all, or an empty one."""


class EmptyRecordingError(ForeignRecordingError):
    """Nothing stands in the file: who began it ended before the first write, or it was never a recording."""


class NewerRecordingError(RecordingError):
    """A later version of this package wrote it."""


class DamagedRecordingError(RecordingError):
    """The bytes are not those that were written.

    `offset` is where in the file the block begins that does not check; `frame` how many inputs were read
    before it (all of which are good); `sequence` the number of the last of them, 0 for none.
    """

    def __init__(self, path: Path, message: str, *, offset: int, frame: int = 0, sequence: int = 0) -> None:
        after = f"after input {sequence}" if sequence else "before the first input"
        super().__init__(path, f"damaged at byte {offset}, {after} ({frame} read before it): {message}")
        self.offset = offset
        self.frame = frame
        self.sequence = sequence


class SessionChainError(RecordingError):
    """Files given together do not follow each other: another session, a gap, an overlap, a missing part."""


class CoreNotFoundError(LedgerError):
    """No installed package knows how to make the core that a recording was made with."""
