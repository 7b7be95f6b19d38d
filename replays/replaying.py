"""Replaying: a fresh core goes through the recorded inputs, and what it does is compared with what it did.

Lazy and in flat memory: one input is read, stepped, compared and let go of. A replay ends at the first
divergence, because after it the core is in another state than the recording speaks of.
"""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from hashlib import blake2b
from itertools import islice
from typing import Any, Protocol

import msgspec

from domain.connector_base import ConnectorBase
from domain.effects import Effect, Query, SendAction
from domain.errors import LedgerError
from domain.event_codec import EncodedEvents, decode_event, encode_events
from domain.events import LedgerEvent
from domain.inputs import OrderLookedUp, RequestAnswered, RequestFailed, Started
from domain.outcome import Outcome
from replays.cores import MakeCore
from replays.cores import make_core as installed_core
from replays.differences import EventDifference, event_differences
from replays.errors import RecordingError
from replays.recording import (
    EFFECTS_NOT_KNOWN,
    AnyInput,
    AnyRequest,
    RecordedInput,
    SessionHeader,
    effects_digest,
)
from replays.requests import OpenRequests, question
from replays.state import ReplayState, StateFollower

__all__ = [
    "Check",
    "Divergence",
    "DivergenceKind",
    "MemoryRecording",
    "NotFromTheStartError",
    "Recording",
    "Replay",
    "ReplayReport",
    "Replayed",
    "Story",
    "StoryEvent",
    "compare",
    "failure_text",
    "replay",
]

_SWEEP_EVENTS = 1_024
"""After so many events the stories of orders that have left memory are forgotten."""

_ACCOUNT_STORY_MAX = 20
_PROGRESS_EVERY = 1_024
_LOOK_AHEAD = 20_000
"""So many inputs are read, at most, to find what the recording tells of a request."""

_FRAMES_SHOWN = 6


class Recording(Protocol):
    """Where inputs come from: a recording file, a chain of its parts, or one made in code."""

    @property
    def header(self) -> SessionHeader: ...

    def __iter__(self) -> Iterator[RecordedInput]: ...


class MemoryRecording:
    """A recording that is no file: for tests, for excerpts, and to try things in a notebook."""

    def __init__(self, header: SessionHeader, inputs: Iterable[RecordedInput]) -> None:
        self.header = header
        self.inputs = tuple(inputs)

    def __iter__(self) -> Iterator[RecordedInput]:
        return iter(self.inputs)

    def __len__(self) -> int:
        return len(self.inputs)


class NotFromTheStartError(LedgerError):
    """The recording does not begin with its session, and what came before decides what comes now."""

    def __init__(self, part: int, sequence: int) -> None:
        what = f"part {part} of its session" if part > 1 else f"input {sequence}"
        super().__init__(
            f"The recording begins with {what}, and a replay needs everything from the start: "
            "name the earlier parts too."
        )


class DivergenceKind(StrEnum):
    """In what a replay can differ from its recording."""

    EVENTS = "events"
    """Other events, or the same with other members; perhaps other effects too."""
    EFFECTS = "effects"
    """The same events, but other requests, timers or alerts."""
    RAISED = "raised"
    """The core failed on an input that it once went through."""
    DID_NOT_RAISE = "did_not_raise"
    """The recording ends with a failure of the core, which does not fail (in this way) any more."""
    ANSWER = "answer"
    """The answer is to something else than what is asked now."""
    LEDGER = "ledger"
    """The events do not stand in the ledger as they were computed."""


class StoryEvent(msgspec.Struct, frozen=True):
    """One event of an order before a divergence; `sequence` 0 stands for an earlier session."""

    sequence: int
    event: LedgerEvent


class Story(msgspec.Struct, frozen=True):
    """What had happened to an order or account until the input that diverged."""

    originator_id: str
    events: tuple[StoryEvent, ...]


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """The first input whose outcome is not the recorded one, and everything needed to see why.

    `answered` is the request that the input answers, where it is an answer. `effects` are those that came
    now. Of the recorded ones only the digest is kept, so `effects_differ` says nearly all there is to say;
    `requests` are those that the recording names further on, with their answers, and that have the numbers of
    requests made now (or the next number, when none is made). Of an answer to something else, `answered` is
    what the recording says and `effects` the request that has this number now. `failure` is what the core
    raised (type and message) and `raised_at` where, innermost last. `remark` is for checks against something
    else than the recording.
    """

    kind: DivergenceKind
    item: AnyInput
    differences: tuple[EventDifference, ...] = ()
    effects_differ: bool = False
    effects: tuple[Effect, ...] = ()
    requests: tuple[AnyRequest, ...] = ()
    expected_failure: str = ""
    failure: str = ""
    raised_at: tuple[str, ...] = ()
    remark: str = ""
    answered: AnyRequest | None = None
    stories: tuple[Story, ...] = ()
    session_id: str = ""
    command: str = ""

    @property
    def sequence(self) -> int:
        """The number of the input that diverged."""
        return self.item.sequence


class Replayed(msgspec.Struct, frozen=True):
    """One input that was replayed. Unpacks as `input, events, state`.

    `state` is what stood after it, and does not change any more; `core` is the live one and does.
    """

    recorded: RecordedInput
    outcome: Outcome
    state: ReplayState
    core: ConnectorBase
    divergence: Divergence | None = None

    @property
    def input(self) -> AnyInput:
        return self.recorded.item

    @property
    def events(self) -> tuple[LedgerEvent, ...]:
        return tuple(change.event for change in self.outcome.changes)

    @property
    def effects(self) -> Sequence[Effect]:
        return self.outcome.effects

    def __iter__(self) -> Iterator[Any]:
        return iter((self.input, self.events, self.state))


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a replay went. `digest` (hex) covers everything the core did: two replays that agree in it did the
    same. `failure` is the recorded failure of the core, if the session ended with one and it came again."""

    inputs: int
    events: int
    last_sequence: int
    digest: str
    failure: str = ""
    divergence: Divergence | None = None

    @property
    def identical(self) -> bool:
        return self.divergence is None


Check = Callable[[RecordedInput, Outcome], Divergence | None]
"""A further comparison, of every input on which the recording was found to be repeated."""


def compare(recorded: RecordedInput, outcome: Outcome) -> Divergence | None:
    """What an outcome differs in from the recorded one; None when it is the same, byte for byte."""
    events = encode_events(change.event for change in outcome.changes) if outcome.changes else ()
    digest = effects_digest(outcome.effects)
    if events == recorded.events and digest == recorded.effects_digest and not recorded.failure:
        return None
    return _divergence(recorded, outcome, events, digest)


def _divergence(
    recorded: RecordedInput, outcome: Outcome, events: EncodedEvents, digest: bytes
) -> Divergence | None:
    differences = event_differences(recorded.events, events)
    effects_differ = digest != recorded.effects_digest and recorded.effects_digest != EFFECTS_NOT_KNOWN
    if recorded.failure:
        kind = DivergenceKind.DID_NOT_RAISE
    elif differences:
        kind = DivergenceKind.EVENTS
    elif effects_differ:
        kind = DivergenceKind.EFFECTS
    else:
        return None
    return Divergence(
        kind=kind,
        item=recorded.item,
        differences=differences,
        effects_differ=effects_differ,
        effects=tuple(outcome.effects),
        expected_failure=recorded.failure,
    )


def failure_text(error: BaseException) -> str:
    """An exception as recordings name it."""
    return f"{type(error).__name__}: {error}"


class Replay:
    """One pass of a fresh core through a recording.

    Iterate to see every input (`for input, events, state in replay(...)`), or `run()` for the result alone,
    which is several times faster. Either may be done once. `until` ends the replay after the input with
    this number (or the last before it).

    Iterating raises what reading the recording raises (`DamagedRecordingError`, ...), after everything before
    the damage was replayed; `NotFromTheStartError` when the recording does not begin with its session.
    What the core raises is a divergence, or, where the recording knows it, the expected end.
    """

    def __init__(
        self,
        recording: Recording,
        make_core: MakeCore | None = None,
        *,
        until: int | None = None,
        check: Check | None = None,
        on_progress: Callable[[int], None] | None = None,
        files: Sequence[object] = (),
    ) -> None:
        self.recording = recording
        self.header = recording.header
        self.core = (make_core or installed_core)(self.header)
        self.inputs = 0
        self.events = 0
        self.last_sequence = 0
        self.failure = ""
        self.divergence: Divergence | None = None
        self._until = until
        self._check = check
        self._on_progress = on_progress
        self._files = tuple(files)
        self._digest = blake2b(digest_size=16)
        self._stories = _Stories(self.core)
        self._requests = OpenRequests()
        self._inputs = iter(self.recording)

    def run(self) -> ReplayReport:
        """Replay to the end, to `until` or to the first divergence."""
        for _ in self._steps():
            pass
        return self.report

    @property
    def report(self) -> ReplayReport:
        """How it went so far."""
        return ReplayReport(
            inputs=self.inputs,
            events=self.events,
            last_sequence=self.last_sequence,
            digest=self._digest.hexdigest(),
            failure=self.failure,
            divergence=self.divergence,
        )

    def __iter__(self) -> Iterator[Replayed]:
        follower = StateFollower(self.core)
        for recorded, outcome in self._steps():
            yield Replayed(
                recorded, outcome, follower.after(recorded.item, outcome), self.core, self.divergence
            )

    def _steps(self) -> Iterator[tuple[RecordedInput, Outcome]]:
        core, until, on_progress = self.core, self._until, self._on_progress
        step, stories, digest = core.step, self._stories, self._digest
        for recorded in self._inputs:
            item = recorded.item
            if until is not None and item.sequence > until:
                return
            if not self.inputs and not isinstance(item, Started):
                raise NotFromTheStartError(self.header.part, item.sequence)
            self.inputs += 1
            self.last_sequence = item.sequence
            if recorded.answers is not None and not self._is_for_us(recorded):
                yield recorded, Outcome([], [])
                return
            try:
                outcome = step(item)
            except Exception as error:
                self._raised(recorded, error)
                yield recorded, Outcome(core.tracker.take_changes(), [])
                return
            changes, effects = outcome.changes, outcome.effects
            if changes or effects or recorded.events or recorded.effects_digest or recorded.failure:
                events = encode_events([change.event for change in changes]) if changes else ()
                effects_hash = effects_digest(effects)
                digest.update(_encode((item.sequence, events, effects_hash)))
                self.events += len(events)
                if events != recorded.events or effects_hash != recorded.effects_digest or recorded.failure:
                    self._diverged(_divergence(recorded, outcome, events, effects_hash))
                if effects:
                    self._requests.note(effects)
                if changes:
                    stories.add(item, outcome)
            if self._check is not None and self.divergence is None:
                self._diverged(self._check(recorded, outcome))
            if type(item) in _NEEDING_NOTES:
                self._note(item)
            yield recorded, outcome
            if self.divergence is not None:
                return
            if on_progress is not None and not self.inputs % _PROGRESS_EVERY:
                on_progress(self.inputs)

    def _note(self, item: AnyInput) -> None:
        """Keep what a story or an explanation of a later input needs of this one."""
        if isinstance(item, RequestAnswered | RequestFailed):
            self._requests.take(item)
        elif isinstance(item, Started):
            self._stories.restore(item.open_orders)
        elif isinstance(item, OrderLookedUp) and item.events:
            self._stories.restore((item.events,))

    def _is_for_us(self, recorded: RecordedInput) -> bool:
        """Whether an answer is to what this core asked; where it is not, that is the divergence."""
        own, answers = self._requests.of(recorded.item), recorded.answers
        if own == answers or answers is None or (own is not None and question(own) == question(answers)):
            return True
        now = () if own is None else (own,)
        self._diverged(
            Divergence(kind=DivergenceKind.ANSWER, item=recorded.item, effects=now, answered=answers)
        )
        return False

    def _raised(self, recorded: RecordedInput, error: Exception) -> None:
        failure = failure_text(error)
        if recorded.failure == failure:
            self.failure = failure
            return
        self._diverged(
            Divergence(
                kind=DivergenceKind.DID_NOT_RAISE if recorded.failure else DivergenceKind.RAISED,
                item=recorded.item,
                differences=event_differences(recorded.events, ()) if recorded.events else (),
                expected_failure=recorded.failure,
                failure=failure,
                raised_at=_frames(error),
            )
        )

    def _diverged(self, divergence: Divergence | None) -> None:
        if divergence is None:
            return
        item = divergence.item
        concerned = dict.fromkeys(difference.originator_id for difference in divergence.differences)
        self.divergence = msgspec.structs.replace(
            divergence,
            requests=self._recorded_requests(divergence.effects) if divergence.effects_differ else (),
            answered=divergence.answered or self._requests.of(item),
            stories=tuple(self._stories.of(originator_id) for originator_id in concerned),
            session_id=self.header.session_id,
            command=self._command(item.sequence),
        )

    def _recorded_requests(self, effects: Sequence[Effect]) -> tuple[AnyRequest, ...]:
        """What the recording tells further on of requests with the numbers of those made now, where they
        differ from these."""
        made = {effect.request_id: effect for effect in effects if isinstance(effect, SendAction | Query)}
        numbers = made.keys() or {self._requests.last + 1}
        found: dict[int, AnyRequest] = {}
        try:
            for recorded in islice(self._inputs, _LOOK_AHEAD):
                answers = recorded.answers
                if answers is not None and answers.request_id in numbers:
                    found[answers.request_id] = answers
                if len(found) == len(numbers):
                    break
        except RecordingError:
            pass  # there is a divergence to tell of; the damage is told by whoever reads that far
        return tuple(
            request
            for number, request in sorted(found.items())
            if _encode(request) != _encode(made.get(number))
        )

    def _command(self, sequence: int) -> str:
        if not self._files:
            return ""
        return shlex.join(
            ["orderledger", "replay", *(str(file) for file in self._files), "--until", str(sequence)]
        )


def replay(
    recording: Recording,
    make_core: MakeCore | None = None,
    *,
    until: int | None = None,
    files: Sequence[object] = (),
) -> Replay:
    """Replay a recording: iterate the result, or `run()` it.

        for input, events, state in replay(read_sessions(["incident.session"])):
            ...

    `make_core` is the connector to replay with, by default the installed one of the recording's venue;
    `files` name the recording in the command that reproduces a divergence.
    """
    return Replay(recording, make_core, until=until, files=files)


class _Stories:
    """The events of the orders in memory, in the order they came; of the account the latest."""

    def __init__(self, core: ConnectorBase) -> None:
        self._core = core
        self._events: dict[str, list[StoryEvent]] = {}
        self._since_sweep = 0

    def add(self, item: AnyInput, outcome: Outcome) -> None:
        for change in outcome.changes:
            event = change.event
            told = self._events.get(event.originator_id)
            if told is None:
                told = self._events[event.originator_id] = []
            told.append(StoryEvent(item.sequence, event))
            if change.view is None and len(told) > 2 * _ACCOUNT_STORY_MAX:
                del told[:-_ACCOUNT_STORY_MAX]
        self._since_sweep += len(outcome.changes)
        if self._since_sweep > _SWEEP_EVENTS:
            self._since_sweep = 0
            self._forget()

    def restore(self, orders: Iterable[EncodedEvents]) -> None:
        for encoded in orders:
            events = [decode_event(topic, state) for topic, state in encoded]
            earlier = [StoryEvent(0, event) for event in events]
            known = self._events.get(events[0].originator_id, ())
            fresh = [told for told in known if told.event.originator_version > len(events)]
            self._events[events[0].originator_id] = earlier + fresh

    def of(self, originator_id: str) -> Story:
        events = self._events.get(originator_id, [])
        if originator_id == self._core.account.id:
            events = events[-_ACCOUNT_STORY_MAX:]
        return Story(originator_id, tuple(events))

    def _forget(self) -> None:
        tracker, account_id = self._core.tracker, self._core.account.id
        self._events = {
            originator_id: told
            for originator_id, told in self._events.items()
            if originator_id == account_id or tracker.get(originator_id) is not None
        }


_NEEDING_NOTES = frozenset({RequestAnswered, RequestFailed, Started, OrderLookedUp})
_encode = msgspec.msgpack.Encoder().encode


def _frames(error: BaseException) -> tuple[str, ...]:
    """Where it was raised, innermost last: `module/file.py:line in function`."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_SHOWN:]
    return tuple(
        f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno} in {frame.name}" for frame in frames
    )
