"""Recordings named on a command line: opened, or refused with an exit code and a message."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adapters.cli.exit_codes import CommandError, ExitCode
from replays.errors import RecordingError, SessionChainError
from replays.session_file import SessionParts, read_sessions

__all__ = ["open_recording", "refused_recording"]


def open_recording(paths: Sequence[Path]) -> SessionParts:
    """The recording that these files are, one or all its parts.

    Raises `CommandError`: NOT_FOUND for a file that is missing, USAGE for files that do not belong together,
    LEDGER_DAMAGED for one that is damaged from its beginning on, or no recording.
    """
    try:
        return read_sessions(paths)
    except RecordingError as error:
        raise refused_recording(error) from None
    except FileNotFoundError as error:
        raise CommandError(f"There is no recording {error.filename}.", ExitCode.NOT_FOUND) from None
    except OSError as error:
        raise CommandError(
            f"{error.filename} cannot be read: {error.strerror}.", ExitCode.NOT_FOUND
        ) from None


def refused_recording(error: RecordingError) -> CommandError:
    """What a command ends with because of this."""
    code = ExitCode.USAGE if isinstance(error, SessionChainError) else ExitCode.LEDGER_DAMAGED
    return CommandError(str(error), code)
