"""A recording as a test: does this version still do what was recorded, and what would be recorded now.

What makes a file no test at all (unreadable, without an end, without inputs or expectations) is a failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec
from msgspec.structs import replace

from domain.effects import Query, SendAction
from domain.errors import LedgerError
from domain.event_codec import encode_events
from domain.outcome import Outcome
from replays.cores import MakeCore
from replays.cores import make_core as installed_core
from replays.cutting import derived_header
from replays.errors import RecordingError
from replays.recording import FORMAT_VERSION, AnyInput, AnyRequest, RecordedInput, effects_digest
from replays.replaying import Replay, compare, failure_text
from replays.reporting import divergence_text, effect_line, headline, input_line
from replays.requests import OpenRequests
from replays.session_file import SessionParts, SessionReader, read_sessions, write_session

__all__ = ["NoTestError", "Update", "check", "parts_of", "update"]


class NoTestError(LedgerError):
    """A file that can be read and that proves nothing."""


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """What rewriting the expectations of a recording came to: a line for each input that differs now."""

    path: Path
    inputs: int
    changes: tuple[str, ...] = ()
    was_open: bool = False

    @property
    def is_changed(self) -> bool:
        return bool(self.changes) or self.was_open


def parts_of(path: Path) -> tuple[Path, ...]:
    """The files that a recording is replayed from: itself, and for a first part those that follow it in the
    same folder. Empty for a part that is replayed with the first one, which lies beside it.

    Raises what `SessionReader` raises for `path` itself; unreadable neighbours are no parts of anything.
    """
    header = SessionReader(path).header
    parts = {header.part: path}
    for neighbour in sorted(path.parent.glob(f"*{path.suffix}")):
        if neighbour == path:
            continue
        try:
            other = SessionReader(neighbour).header
        except (RecordingError, OSError):
            continue
        if other.derived_from or (other.session_id, other.account) != (header.session_id, header.account):
            continue
        parts.setdefault(other.part, neighbour)
    if header.part > 1:
        return () if 1 in parts and not header.derived_from else (path,)
    chain = [path]
    while not header.derived_from and len(chain) + 1 in parts:
        chain.append(parts[len(chain) + 1])
    return tuple(chain)


def check(paths: Sequence[Path], shown_as: Sequence[object] = (), make_core: MakeCore | None = None) -> str:
    """Replay a recording (all its parts). Gives the report of the divergence, empty when there is none.

    `shown_as` are the names of the files in the command that reproduces it. Raises `NoTestError`, what
    reading a recording raises, and `CoreNotFoundError` or `VersionError` when no core can be made for it.
    """
    recording = read_sessions(paths)
    expecting = _Expecting(recording)
    replay = Replay(expecting, make_core, files=shown_as or paths)
    report = replay.run()
    if report.divergence is not None and expecting.expects_anything():
        return divergence_text(report.divergence)
    if not report.inputs:
        raise NoTestError("It holds no input, so there is nothing to replay.")
    if not expecting.expects_anything():
        raise NoTestError(
            f"None of its {expecting.inputs} inputs says what it led to, so a replay proves nothing. "
            "Once the behaviour of this version is what you want: pytest --sessions-update"
        )
    if left := expecting.left():
        raise NoTestError(
            f"The session ends with input {report.last_sequence}, on which the core fails as recorded; "
            f"{left} recorded inputs after it have nothing to be compared with."
        )
    if not recording.is_closed:
        raise NoTestError(
            f"It has no end after input {report.last_sequence}: its process was killed or still runs, or the "
            "copy is not complete. To test what there is, give it an end: pytest --sessions-update"
        )
    return ""


def update(path: Path, make_core: MakeCore | None = None) -> Update:
    """Let this version go through the inputs and write what they lead to into the file, as the expectation.

    The inputs stay as they are, but for the numbers of requests where these are others now; a file in which
    nothing changes is not touched. Raises what `check` raises, and `NoTestError` for a part of a longer
    session and for an older format (such a file is kept as it is).
    """
    recording = read_sessions([path])
    header = recording.header
    format_version = recording.readers[0].format_version
    if format_version < FORMAT_VERSION:
        raise NoTestError(
            f"It is kept as an example of format {format_version} and is never rewritten. To test "
            "the new behaviour, record the session anew."
        )
    if header.part > 1 or len(parts_of(path)) > 1:
        raise NoTestError(
            "It is one of several parts of a session. Make one file of them first: orderledger session cut"
        )
    rerun = _Rerun(recording, make_core or installed_core)
    inputs = tuple(rerun)
    if not inputs:
        raise NoTestError("It holds no input, so there is nothing to replay.")
    updated = Update(
        path=path, inputs=len(inputs), changes=tuple(rerun.changes), was_open=not recording.is_closed
    )
    if updated.is_changed:
        header = replace(header, package_version=version("orderledger"))
        if rerun.left_out:
            header = derived_header(header, "without answers to what is not asked any more")
        write_session(path, header, inputs)
    return updated


class _Rerun:
    """What this version does on the inputs of a recording. Iterate to get what would be recorded now.

    Answers go to the requests that ask what they answer, also where these have other numbers now; what
    answers nothing any more is left out. `changes` says what differs, a line each.
    """

    def __init__(self, recording: SessionParts, make_core: MakeCore) -> None:
        self.changes: list[str] = []
        self.left_out = 0
        self._recording = recording
        self._core = make_core(recording.header)
        self._requests = OpenRequests()
        self._new: dict[int, AnyRequest] = {}

    def __iter__(self) -> Iterator[RecordedInput]:
        for recorded in self._recording:
            item = self._requests.addressed(recorded.item, recorded.answers)
            if item is None:
                self.left_out += 1
                self.changes.append(
                    f"{input_line(recorded.item)}: left out, nothing asks any more for what it answers"
                )
                continue
            answers = self._requests.take(item)
            try:
                outcome = self._core.step(item)
            except Exception as error:
                failure = failure_text(error)
                if failure != recorded.failure:
                    raise NoTestError(
                        f"The core fails on input {item.sequence} ({failure}). That is no expectation: "
                        "nothing was rewritten."
                    ) from error
                yield replace(recorded, item=item, answers=answers)
                return
            self._requests.note(outcome.effects)
            yield self._compared(recorded, item, answers, outcome)
        self._tell_of_unanswered()

    def _compared(
        self, recorded: RecordedInput, item: AnyInput, answers: AnyRequest | None, outcome: Outcome
    ) -> RecordedInput:
        divergence = compare(recorded, outcome)
        if divergence is None:
            return replace(recorded, item=item, answers=answers)
        self.changes.append(headline(divergence).removeprefix("diverged at "))
        if divergence.effects_differ:
            self._new |= {
                effect.request_id: effect
                for effect in outcome.effects
                if isinstance(effect, SendAction | Query)
            }
        events = encode_events(change.event for change in outcome.changes)
        return RecordedInput(item, events, effects_digest(outcome.effects), answers=answers)

    def _tell_of_unanswered(self) -> None:
        for request in self._requests:
            if request.request_id in self._new:
                self.changes.append(f"asked, and nothing in the recording answers it: {effect_line(request)}")


class _Expecting:
    """A recording of which is counted, in passing, what it holds."""

    def __init__(self, recording: SessionParts) -> None:
        self.header = recording.header
        self.inputs = 0
        self._expectations = 0
        self._iterator = self._counted(recording)

    def __iter__(self) -> Iterator[RecordedInput]:
        return self._iterator

    def left(self) -> int:
        """How many inputs nobody has asked for; they are consumed thereby."""
        return sum(1 for _ in self._iterator)

    def expects_anything(self) -> bool:
        """Whether any input says what it led to. What nobody has asked for is looked at only if need be."""
        if not self._expectations:
            self.left()
        return self._expectations > 0

    def _counted(self, recording: SessionParts) -> Iterator[RecordedInput]:
        for recorded in recording:
            self.inputs += 1
            if recorded.events or recorded.effects_digest or recorded.failure:
                self._expectations += 1
            yield recorded
