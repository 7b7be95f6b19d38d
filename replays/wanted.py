"""What a shrunk recording must still show, and what its inputs should lead to."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from domain.event_codec import EncodedEvents, decode_event, encode_events
from replays.causality import Step, WholeSession, originators
from replays.differences import EventDifference, event_differences
from replays.properties import Property
from replays.recording import (
    EFFECTS_NOT_KNOWN,
    SESSION_SUFFIX,
    AnyRequest,
    RecordedInput,
    SessionHeader,
    effects_digest,
)
from replays.replaying import Divergence, DivergenceKind
from replays.rerouting import timeless
from replays.session_file import write_session

__all__ = ["AsItIs", "CommandFails", "Expectations", "SameDivergence", "ShowsProperty", "Wanted"]


class Wanted(Protocol):
    """What must still show."""

    @property
    def needed(self) -> int | None:
        """The index of an input without which it cannot show, if there is one."""

    def shown_at(self, steps: Iterator[Step]) -> int | None:
        """The index of the input on which it showed, None when it did not. Takes the steps it needs."""


class Expectations(Protocol):
    """What an input of the result should lead to."""

    def expected(self, step: Step) -> RecordedInput: ...


class AsItIs:
    """What this version of the core does is what should be done."""

    def expected(self, step: Step) -> RecordedInput:
        digest = effects_digest(step.outcome.effects)
        return RecordedInput(step.item, _events_of(step), digest, step.failure, step.answers)


class ShowsProperty:
    """An input after which a property holds."""

    def __init__(self, holds: Property) -> None:
        self._holds = holds

    @property
    def needed(self) -> int | None:
        return None

    def shown_at(self, steps: Iterator[Step]) -> int | None:
        for step in steps:
            if not step.failure and self._holds(step.core, step.outcome):
                return step.at
        return None


class CommandFails:
    """A shell command that ends with another status than 0, given the recording so far.

    `{}` in the command is the file's name; without it the name is added at the end. A command that cannot be
    found (status 126 or 127) fails for another reason, and raises `OSError`.
    """

    def __init__(self, command: str, header: SessionHeader, expectations: Expectations) -> None:
        self._command = command
        self._header = header
        self._expectations = expectations

    @property
    def needed(self) -> int | None:
        return None

    def shown_at(self, steps: Iterator[Step]) -> int | None:
        at = 0
        kept: list[RecordedInput] = []
        for step in steps:
            at = step.at
            kept.append(self._expectations.expected(step))
        with tempfile.TemporaryDirectory(prefix="orderledger-shrink-") as folder:
            path = Path(folder, f"candidate{SESSION_SUFFIX}")
            write_session(path, self._header, kept)
            return at if self._fails(path) else None

    def _fails(self, path: Path) -> bool:
        command = self._command
        command = command.replace("{}", str(path)) if "{}" in command else f"{command} {path}"
        status = subprocess.run(
            command,
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"ORDERLEDGER_CANDIDATE": str(path)},
        ).returncode
        if status in (126, 127):
            raise OSError(f"the shell cannot run the command (status {status}): {self._command}")
        return status != 0


class SameDivergence:
    """The divergence that the whole recording shows: on the same input, in the same way.

    Which events would be right for what is left of a session nobody has computed: the version that recorded
    it is gone. So the divergence counts as the same when the order it is about had the same story before, and
    differs from its recorded events in the same members; and only these recorded events stay expectations,
    while for everything else what this version does is taken for right.
    """

    def __init__(self, session: WholeSession, divergence: Divergence) -> None:
        self._divergence = divergence
        self._at = next(
            at for at, kept in enumerate(session.recorded) if kept.item.sequence == divergence.sequence
        )
        self._recorded = session.recorded[self._at]
        self._culprit = divergence.differences[0].originator_id if divergence.differences else ""
        self._signature = _signature(
            difference for difference in divergence.differences if difference.originator_id == self._culprit
        )
        self._is_order = any(self._culprit in orders for orders in session.about)
        self._story = [topic for kept in session.recorded[: self._at] for topic in self._topics(kept.events)]

    @property
    def needed(self) -> int | None:
        return self._at

    def shown_at(self, steps: Iterator[Step]) -> int | None:
        told: list[str] = []
        for step in steps:
            if step.at == self._at:
                same_story = not self._is_order or told == self._story
                return self._at if same_story and self._is_same(step) else None
            if step.failure:
                return None
            if step.outcome.changes:
                told += self._topics(_events_of(step))
        return None

    def _is_same(self, step: Step) -> bool:
        kind = self._divergence.kind
        if kind in (DivergenceKind.RAISED, DivergenceKind.DID_NOT_RAISE):
            return _type_of(step.failure) == _type_of(self._divergence.failure)
        if step.failure:
            return False
        if kind is DivergenceKind.ANSWER:
            now = () if step.answers is None else (step.answers,)
            return [timeless(request) for request in now] == [
                timeless(effect) for effect in self._divergence.effects
            ]
        if kind is DivergenceKind.EFFECTS:
            return [timeless(effect) for effect in step.outcome.effects] == [
                timeless(effect) for effect in self._divergence.effects
            ]
        actual = _events_of(step)
        return _signature(event_differences(self._right(step, actual), self._own(actual))) == self._signature

    def expected(self, step: Step) -> RecordedInput:
        if step.at != self._at:
            return AsItIs().expected(step)
        recorded, kind = self._recorded, self._divergence.kind
        if kind is not DivergenceKind.EVENTS:
            digest = EFFECTS_NOT_KNOWN if kind is DivergenceKind.RAISED else recorded.effects_digest
            return RecordedInput(step.item, recorded.events, digest, recorded.failure, self._answers(step))
        events = _events_of(step)
        own = self._own(events)
        place = events.index(own[0]) if own else len(events)
        others = tuple(event for event in events if event not in own)
        right = self._right(step, events)
        events = (*others[:place], *right, *others[place:])
        return RecordedInput(step.item, events, EFFECTS_NOT_KNOWN, answers=step.answers)

    def _answers(self, step: Step) -> AnyRequest | None:
        """What the input answers; where just that is not as recorded, what it answered then."""
        recorded = self._recorded.answers
        if self._divergence.kind is not DivergenceKind.ANSWER or recorded is None or step.answers is None:
            return step.answers
        return replace(recorded, request_id=step.answers.request_id)

    def _right(self, step: Step, actual: EncodedEvents) -> EncodedEvents:
        """The recorded events of the order or account concerned, with the versions they would have now.

        An order with the same story has the same versions; an account may have lost events before.
        """
        own = self._own(self._recorded.events)
        account = step.core.account
        if not own or self._culprit != account.id:
            return own
        version = account.version - len(self._own(actual))
        events = [decode_event(*event) for event in own]
        return encode_events(
            replace(event, originator_version=version + number) for number, event in enumerate(events, 1)
        )

    def _own(self, events: EncodedEvents) -> EncodedEvents:
        if not events or not self._culprit:
            return ()
        whose = originators(events)
        return tuple(event for event, name in zip(events, whose, strict=True) if name == self._culprit)

    def _topics(self, events: EncodedEvents) -> list[str]:
        return [topic for topic, _ in self._own(events)]


_INCIDENTAL = frozenset({"nonce", "expires_at_ms", "originator_version"})
"""Members that may differ because less happened before."""


def _signature(differences: Iterable[EventDifference]) -> tuple[object, ...]:
    """In what way events differ, without the values."""
    found: list[object] = []
    for difference in differences:
        expected, actual = difference.topics
        members = sorted({member.name for member in difference.members} - _INCIDENTAL)
        if difference.what != "changed" or expected != actual:
            found.append((difference.what, expected, actual))
        elif members:
            found.append((difference.what, expected, tuple(members)))
    return tuple(found)


def _events_of(step: Step) -> EncodedEvents:
    return encode_events(change.event for change in step.outcome.changes)


def _type_of(failure: str) -> str:
    return failure.partition(":")[0]
