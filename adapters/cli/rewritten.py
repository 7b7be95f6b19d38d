"""Writes a recording that was made from another one, and proves that it replays."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.outputs import check_output, refuse_device
from adapters.cli.recordings import open_recording, refused_recording
from domain.errors import VersionError
from replays.errors import CoreNotFoundError, DamagedRecordingError, RecordingError
from replays.recording import RecordedInput, SessionHeader
from replays.replaying import NotFromTheStartError, Replay, ReplayReport
from replays.reporting import divergence_text
from replays.session_file import SessionParts, SessionReader, write_session

__all__ = [
    "Readable",
    "add_output",
    "check_identical",
    "check_recording_output",
    "open_readable",
    "refusals",
    "write_rewritten",
]


class Readable:
    """A recording up to its first damaged place, which `damage` then tells of."""

    def __init__(self, parts: SessionParts) -> None:
        self.header = parts.header
        self.damage: DamagedRecordingError | None = None
        self._parts = parts

    def __iter__(self) -> Iterator[RecordedInput]:
        try:
            yield from self._parts
        except DamagedRecordingError as error:
            self.damage = error

    def raise_damage(self) -> None:
        """End the command with the exit code of a damaged recording if it was one."""
        if self.damage is not None:
            raise refused_recording(self.damage)


def add_output(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where to write."""
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="the file to write")
    parser.add_argument("--force", action="store_true", help="replace OUT if it is there")


def open_readable(files: Sequence[Path], output: Path, *, force: bool) -> Readable:
    """The recording to rewrite. Raises `CommandError`, also when the output is there already."""
    parts = open_recording(files)
    check_recording_output(files, output, force=force)
    return Readable(parts)


def check_recording_output(files: Sequence[Path], output: Path, *, force: bool) -> None:
    """Refuse an output that cannot be written, is there, or is one of the recordings. Raises `CommandError`
    (USAGE)."""
    if os.path.exists(output) and any(output.samefile(path) for path in files):
        raise CommandError(f"{output} is the recording itself: name another file.", ExitCode.USAGE)
    refuse_device(output)
    check_output(output, if_there="" if force else "--force replaces it")


@contextmanager
def refusals() -> Iterator[None]:
    """What makes rewriting impossible ends the command with a message, not with a traceback."""
    try:
        yield
    except RecordingError as error:
        raise refused_recording(error) from None
    except (CoreNotFoundError, NotFromTheStartError, VersionError) as error:
        raise CommandError(str(error), ExitCode.USAGE) from None


def write_rewritten(output: Path, header: SessionHeader, inputs: Iterable[RecordedInput]) -> ReplayReport:
    """Write the new recording and replay it. Raises `CommandError` when the file cannot be written."""
    try:
        write_session(output, header, inputs)
    except OSError as error:
        raise CommandError(f"Cannot write {output}: {error.strerror}.") from None
    return Replay(SessionReader(output), files=[output]).run()


def check_identical(output: Path, report: ReplayReport) -> None:
    """A rewritten recording says what its inputs lead to. Raises `CommandError` where a replay disagrees."""
    if report.divergence is not None:
        raise CommandError(f"{output} does not replay identically:\n{divergence_text(report.divergence)}")
