"""Recordings named on a command line: opened, or refused with an exit code and a message."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from adapters.cli.chosen_ledger import refuse_no_file
from adapters.cli.exit_codes import CommandError, ExitCode
from replays.errors import EmptyRecordingError, RecordingError, SessionChainError
from replays.session_file import SessionParts, read_sessions

__all__ = ["input_number", "open_recording", "refused_recording"]


def open_recording(paths: Sequence[Path]) -> SessionParts:
    """The recording that these files are, one or all its parts.

    Raises `CommandError`: NOT_FOUND for a file that is missing, empty or not to be read, USAGE for files that
    do not belong together, LEDGER_DAMAGED for one that is damaged from its beginning on, or no recording.
    """
    for path in paths:
        refuse_no_file(path, "recording")
    try:
        return read_sessions(paths)
    except RecordingError as error:
        raise refused_recording(error) from None
    except FileNotFoundError as error:
        raise CommandError(
            f"There is no recording {error.filename}. `orderledger run` writes them into sessions/ beside "
            "its ledger.",
            ExitCode.NOT_FOUND,
        ) from None
    except OSError as error:
        raise CommandError(
            f"{error.filename} cannot be read: {error.strerror}.", ExitCode.NOT_FOUND
        ) from None


def input_number(text: str) -> int:
    """The sequence number of an input, for `argparse`."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"not the number of an input: {text!r}")
    return int(text)


def refused_recording(error: RecordingError) -> CommandError:
    """What a command ends with because of this."""
    if isinstance(error, SessionChainError):
        return CommandError(str(error), ExitCode.USAGE)
    if isinstance(error, EmptyRecordingError):
        return CommandError(str(error), ExitCode.NOT_FOUND)
    return CommandError(str(error), ExitCode.LEDGER_DAMAGED)
