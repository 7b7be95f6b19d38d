"""What two outcomes of one input differ in: events side by side, member by member."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Literal

import msgspec

from domain.errors import VersionError
from domain.event_codec import EncodedEvents, decode_event

__all__ = ["EventDifference", "MemberDifference", "event_differences", "plain_members"]

_ALIGNED_MAX = 2_000
"""Longer lists are compared place by place: aligning them would take longer than anybody waits."""


class MemberDifference(msgspec.Struct, frozen=True):
    """One member of an event that differs. Values are plain: decimals and enumerations as text."""

    name: str
    expected: Any
    actual: Any


class EventDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One place where the events differ. `place` counts the events of the input from 1.

    `missing` was recorded and did not come again, `unexpected` came and was not recorded; of a `changed`
    event `members` tells what differs. `expected` and `actual` are all members of the event, plain, `topic`
    included.
    """

    what: Literal["changed", "missing", "unexpected"]
    place: int
    originator_id: str
    expected: dict[str, Any] | None = None
    actual: dict[str, Any] | None = None
    members: tuple[MemberDifference, ...] = ()

    @property
    def topics(self) -> tuple[str, str]:
        """The topic that was recorded and the one that came; empty for none."""
        return (
            "" if self.expected is None else str(self.expected["topic"]),
            "" if self.actual is None else str(self.actual["topic"]),
        )


def event_differences(expected: EncodedEvents, actual: EncodedEvents) -> tuple[EventDifference, ...]:
    """Where two lists of events differ, in their order; empty when they are the same bytes."""
    begin = 0
    while begin < min(len(expected), len(actual)) and expected[begin] == actual[begin]:
        begin += 1
    return tuple(_differences(expected[begin:], actual[begin:], begin + 1))


def _differences(
    expected: EncodedEvents, actual: EncodedEvents, first_place: int
) -> Iterator[EventDifference]:
    theirs = [plain_members(*event) for event in expected]
    ours = [plain_members(*event) for event in actual]
    for begin, end, our_begin, our_end in _differing_ranges(expected, actual):
        yield from _paired(theirs[begin:end], ours[our_begin:our_end], first_place + begin)


def _differing_ranges(expected: EncodedEvents, actual: EncodedEvents) -> Iterator[tuple[int, int, int, int]]:
    if max(len(expected), len(actual)) > _ALIGNED_MAX:
        for at in range(max(len(expected), len(actual))):
            if expected[at : at + 1] != actual[at : at + 1]:
                yield at, min(at + 1, len(expected)), at, min(at + 1, len(actual))
        return
    for tag, begin, end, our_begin, our_end in SequenceMatcher(
        None, expected, actual, autojunk=False
    ).get_opcodes():
        if tag != "equal":
            yield begin, end, our_begin, our_end


def _paired(
    theirs: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]], first_place: int
) -> Iterator[EventDifference]:
    """Set events of one aggregate side by side; what has no counterpart is missing or unexpected."""
    left = list(ours)
    for place, expected in enumerate(theirs, first_place):
        counterpart = _counterpart(expected, left)
        if counterpart is None:
            yield EventDifference(
                what="missing", place=place, originator_id=expected["originator_id"], expected=expected
            )
            continue
        left.remove(counterpart)
        yield EventDifference(
            what="changed",
            place=place,
            originator_id=expected["originator_id"],
            expected=expected,
            actual=counterpart,
            members=tuple(_member_differences(expected, counterpart)),
        )
    for place, actual in enumerate(left, first_place + len(theirs)):
        yield EventDifference(
            what="unexpected", place=place, originator_id=actual["originator_id"], actual=actual
        )


def _counterpart(expected: Mapping[str, Any], candidates: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    own = [actual for actual in candidates if actual["originator_id"] == expected["originator_id"]]
    same = (actual for actual in own if actual["topic"] == expected["topic"])
    return next(same, next(iter(own), None))


def _member_differences(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> Iterator[MemberDifference]:
    for name in dict.fromkeys((*expected, *actual)):
        theirs, ours = expected.get(name), actual.get(name)
        if theirs == ours:
            continue
        if isinstance(theirs, dict) and isinstance(ours, dict):
            for inner in _member_differences(theirs, ours):
                yield MemberDifference(f"{name}.{inner.name}", inner.expected, inner.actual)
        else:
            yield MemberDifference(name, theirs, ours)


def plain_members(topic: str, state: bytes) -> dict[str, Any]:
    """An event as plain data, `topic` first. One that this version cannot read is shown as far as it goes."""
    try:
        event = decode_event(topic, state)
    except VersionError:
        return {"topic": topic, "originator_id": "?", **_unreadable(state)}
    return {"topic": topic, **_plain_struct(event)}


def _plain_struct(struct: msgspec.Struct) -> dict[str, Any]:
    """Every member, those with their default included: what is left out in one state may stand in another."""
    members = {name: getattr(struct, name) for name in struct.__struct_fields__}
    return {
        name: _plain_struct(value) if isinstance(value, msgspec.Struct) else msgspec.to_builtins(value)
        for name, value in members.items()
    }


def _unreadable(state: bytes) -> dict[str, Any]:
    try:
        members = msgspec.msgpack.decode(state, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {"state": state.hex()}
    return members
