"""A divergence in words (for a terminal, for pytest) and as plain data (for programs)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from domain.effects import Effect
from domain.enums import OrderState
from domain.event_codec import encode_events
from domain.events import LedgerEvent, OrderCreated, OrderEvent
from domain.in_flight_order import InFlightOrder
from domain.inputs import Input
from replays.differences import EventDifference, plain_members
from replays.replaying import Divergence, DivergenceKind, Story

__all__ = [
    "decoded_input",
    "divergence_data",
    "divergence_text",
    "effect_line",
    "event_line",
    "headline",
    "input_line",
]

_WIDTH = 110
_BYTES_SHOWN = 1_200
_LINE_SHOWN = 200
_STORY_SHOWN = 25
_EFFECTS_SHOWN = 8

_STATE_WIDTH = max(len(state) for state in OrderState)

_ENVELOPE = frozenset(
    {
        "topic",
        "originator_id",
        "originator_version",
        "recorded_at_ns",
        "venue",
        "account",
        "causation",
        "transaction_hash",
    }
)
"""Members of an event that say nothing about what happened; shown only where they differ."""

_SAID = {
    DivergenceKind.EVENTS: "other events than recorded",
    DivergenceKind.EFFECTS: "the recorded events, but other effects",
    DivergenceKind.RAISED: "the core fails",
    DivergenceKind.DID_NOT_RAISE: "the core does not fail as recorded",
    DivergenceKind.ANSWER: "the answer is to something else",
    DivergenceKind.LEDGER: "the ledger holds something else",
}


# -- one line ------------------------------------------------------------------------------------------------


def headline(divergence: Divergence) -> str:
    """The divergence in one line: where, on what input, and what is different."""
    return f"diverged at input {divergence.sequence} ({_subject(divergence)}): {_what_differs(divergence)}"


def _what_differs(divergence: Divergence) -> str:
    if divergence.kind is DivergenceKind.RAISED:
        return f"the core raised {divergence.failure}"
    if divergence.kind is DivergenceKind.DID_NOT_RAISE:
        now = f"raised {divergence.failure}" if divergence.failure else "went on"
        return f"the core once raised {divergence.expected_failure}, and now {now}"
    if divergence.kind is DivergenceKind.ANSWER:
        return _other_answer(divergence)
    if divergence.remark:
        return divergence.remark
    if not divergence.differences:
        return _SAID[divergence.kind]
    first, *others = divergence.differences
    more = f" (and {len(others)} more)" if others else ""
    return _difference_line(first) + more


def _other_answer(divergence: Divergence) -> str:
    assert divergence.answered is not None, "only an answer whose request is known is found to be another's"
    number = f"request {divergence.answered.request_id}"
    now = f"is now: {effect_line(divergence.effects[0])}" if divergence.effects else "is now not asked"
    return f"it answers {number}, which was: {effect_line(divergence.answered)}; {number} {now}"


def _difference_line(difference: EventDifference) -> str:
    expected, actual = difference.topics
    of = f"of {difference.originator_id}"
    if difference.what == "missing":
        return f"{expected} {of} did not come"
    if difference.what == "unexpected":
        return f"{actual} {of} came unexpectedly"
    if expected != actual:
        return f"{actual} {of} came instead of {expected}"
    members = ", ".join(
        f"{member.name} is {_value(member.actual)}, was {_value(member.expected)}"
        for member in difference.members[:3]
    )
    return f"{expected} {of}: {members}"


def input_line(item: Input) -> str:
    """An input in one line: number, kind and what it holds."""
    members = {
        name: value
        for name, value in decoded_input(item).items()
        if name not in ("kind", "sequence", "at_ns")
    }
    return _cut(f"{item.sequence} {_kind(item)} {_members_line(members)}", _LINE_SHOWN)


def event_line(event: LedgerEvent) -> str:
    """An event in one line: its topic and what it says, without the envelope."""
    (encoded,) = encode_events([event])
    members = plain_members(*encoded)
    return _cut(f"{event.topic} {_members_line(members)}", _LINE_SHOWN)


def effect_line(effect: Effect) -> str:
    """An effect in one line: its kind and what it holds."""
    members = msgspec.to_builtins(effect)
    kind = members.pop("kind")
    return _cut(f"{kind} {_members_line(members)}", _LINE_SHOWN)


# -- the whole report ----------------------------------------------------------------------------------------


def divergence_text(divergence: Divergence) -> str:
    """The report a person reads: the input, what was expected and what came, the story, the command."""
    return "\n".join(_lines(divergence)) + "\n"


def _lines(divergence: Divergence) -> Iterator[str]:
    yield headline(divergence)
    yield ""
    yield "The input:"
    yield from _indented(_input_lines(divergence))
    if divergence.raised_at:
        yield ""
        yield f"It raised {divergence.failure}, at:"
        yield from _indented(divergence.raised_at)
    if divergence.expected_failure:
        yield ""
        yield f"Recorded was: {divergence.expected_failure}"
    if divergence.differences:
        yield ""
        yield "Expected is what was recorded, actual what this version does:"
        for difference in divergence.differences:
            yield from _indented(_difference_lines(difference))
    if divergence.effects_differ:
        yield ""
        yield "The effects are not the recorded ones (of which only a digest is kept). They are now:"
        yield from _indented(_effect_lines(divergence.effects))
    if divergence.requests:
        yield ""
        yield "Of the recorded requests with these numbers, the answers further on say that they were:"
        yield from _indented(_effect_lines(divergence.requests))
    for story in divergence.stories:
        if story.events:
            yield ""
            yield f"The story of {story.originator_id} so far:"
            yield from _indented(_story_lines(story))
    if divergence.command:
        yield ""
        yield "To see it again:"
        yield f"  {divergence.command}"


def _input_lines(divergence: Divergence) -> Iterator[str]:
    decoded = decoded_input(divergence.item)
    for name, value in decoded.items():
        text = value if isinstance(value, str) else _json(value)
        yield from _wrapped(f"{name}: ", _cut(text, _BYTES_SHOWN))
    if divergence.answered is not None:
        yield from _wrapped("answers: ", _cut(_json(msgspec.to_builtins(divergence.answered)), _BYTES_SHOWN))


def _difference_lines(difference: EventDifference) -> Iterator[str]:
    expected, actual = difference.topics
    if difference.what == "changed" and expected == actual:
        yield f"event {difference.place}: {expected} of {difference.originator_id}"
        width = max(len(member.name) for member in difference.members)
        for member in difference.members:
            yield f"  {member.name.ljust(width)}  expected {_value(member.expected)}"
            yield f"  {' ' * width}  actual   {_value(member.actual)}"
        return
    yield f"event {difference.place} of {difference.originator_id}"
    yield from _wrapped("  expected  ", _event_text(difference.expected))
    yield from _wrapped("  actual    ", _event_text(difference.actual))


def _event_text(members: Mapping[str, Any] | None) -> str:
    if members is None:
        return "nothing"
    return f"{members['topic']} (version {members.get('originator_version')}) {_members_line(members)}"


def _effect_lines(effects: Sequence[Effect]) -> Iterator[str]:
    if not effects:
        yield "none"
    for effect in effects[:_EFFECTS_SHOWN]:
        yield effect_line(effect)
    if len(effects) > _EFFECTS_SHOWN:
        yield f"... and {len(effects) - _EFFECTS_SHOWN} more"


def _story_lines(story: Story) -> Iterator[str]:
    states = _states(story)
    skipped = len(story.events) - _STORY_SHOWN
    for at, told in enumerate(story.events):
        if skipped > 0 and 3 <= at < 3 + skipped:
            if at == 3:
                yield f"... {skipped} events left out ..."
            continue
        when = f"input {told.sequence}" if told.sequence else "before"
        state = f"{states[at].ljust(_STATE_WIDTH)} " if states else ""
        yield _cut(f"{when.ljust(12)} {state}{event_line(told.event)}", _LINE_SHOWN)


def _states(story: Story) -> list[str]:
    """The state of the order after each event; empty for an account, or where the beginning is not known."""
    events = [told.event for told in story.events]
    if not events or not isinstance(events[0], OrderCreated):
        return []
    order = InFlightOrder(events[0])
    states = [order.state.value]
    for event in events[1:]:
        if not isinstance(event, OrderEvent) or event.originator_version != order.version + 1:
            return []
        order.apply(event)
        states.append(order.state.value)
    return states


# -- plain data ----------------------------------------------------------------------------------------------


def divergence_data(divergence: Divergence) -> dict[str, Any]:
    """The divergence as plain data for JSON: nothing cut, decimals as text, bytes as JSON or text."""
    return {
        "kind": divergence.kind.value,
        "sequence": divergence.sequence,
        "at_ns": divergence.item.at_ns,
        "session_id": divergence.session_id,
        "summary": headline(divergence),
        "input": decoded_input(divergence.item),
        "answers": None if divergence.answered is None else msgspec.to_builtins(divergence.answered),
        "differences": [msgspec.to_builtins(difference) for difference in divergence.differences],
        "effects_differ": divergence.effects_differ,
        "effects": [msgspec.to_builtins(effect) for effect in divergence.effects],
        "requests": [msgspec.to_builtins(request) for request in divergence.requests],
        "expected_failure": divergence.expected_failure,
        "failure": divergence.failure,
        "raised_at": list(divergence.raised_at),
        "remark": divergence.remark,
        "stories": [
            {
                "originator_id": story.originator_id,
                "events": [
                    {"sequence": told.sequence, **plain_members(*encode_events([told.event])[0])}
                    for told in story.events
                ],
            }
            for story in divergence.stories
        ],
        "command": divergence.command,
    }


def decoded_input(item: Input) -> dict[str, Any]:
    """An input as plain data: bytes are parsed as JSON where they are JSON, else shown as text; stored events
    are decoded."""
    decoded: dict[str, Any] = {"kind": _kind(item), "sequence": item.sequence, "at_ns": item.at_ns}
    for name in item.__struct_fields__:
        value = getattr(item, name)
        if name in decoded:
            continue
        if isinstance(value, bytes):
            decoded[name] = _decoded_bytes(value)
        elif name == "events":
            decoded[name] = [plain_members(*event) for event in value]
        elif name == "open_orders":
            decoded[name] = [[plain_members(*event) for event in order] for order in value]
        else:
            decoded[name] = msgspec.to_builtins(value)
    return decoded


def _decoded_bytes(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return data.decode("utf-8", "backslashreplace")


# -- words ---------------------------------------------------------------------------------------------------


def _kind(item: Input) -> str:
    return str(type(item).__struct_config__.tag)


def _subject(divergence: Divergence) -> str:
    """The kind of the input; of frames also the stream and channel, of answers what they answer."""
    item = divergence.item
    about = [getattr(item, "stream", ""), _channel(getattr(item, "data", b"")), _asked(divergence.answered)]
    return " ".join([_kind(item), *(part for part in about if part)])


def _asked(request: Effect | None) -> str:
    """What a request asks for, where it says its type."""
    asked = getattr(request, "action", None) or getattr(request, "body", None) or {}
    return f"to {asked['type']}" if isinstance(asked.get("type"), str) else ""


def _channel(data: bytes) -> str:
    """The channel of a frame, where its JSON has one."""
    found = _decoded_bytes(data) if data else None
    channel = found.get("channel") if isinstance(found, dict) else None
    return channel if isinstance(channel, str) else ""


def _members_line(members: Mapping[str, Any]) -> str:
    """`name=value` of what is set and not of the envelope; nested members in braces."""
    return " ".join(
        f"{name}={_value(value)}"
        for name, value in members.items()
        if name not in _ENVELOPE and value is not None and value not in ("", [], {}, False, 0)
    )


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "{" + _members_line(value) + "}"
    if isinstance(value, str):
        return value if value and " " not in value else f'"{value}"'
    return _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _cut(text: str, length: int) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable if len(printable) <= length else f"{printable[: length - 1]}…"


def _wrapped(label: str, text: str) -> Iterator[str]:
    lines = textwrap.wrap(text, _WIDTH - len(label), break_on_hyphens=False) or [""]
    yield label + lines[0]
    for line in lines[1:]:
        yield " " * len(label) + line


def _indented(lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield f"  {line}"
