"""What is in a recording: counted, shown input by input, searched, and two of them compared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, get_args

import msgspec

from domain.inputs import Input
from replays.differences import event_differences, plain_members
from replays.order_keys import OrderKeys
from replays.recording import AnyInput, RecordedInput, SessionHeader, encode_recorded
from replays.reporting import decoded_input

__all__ = [
    "INPUT_KINDS",
    "Comparison",
    "Search",
    "Selection",
    "Tally",
    "compare_recordings",
    "header_data",
    "input_data",
    "kind_of",
]


INPUT_KINDS: dict[str, type[Input]] = {str(kind.__struct_config__.tag): kind for kind in get_args(AnyInput)}
"""Every kind of input by its name."""


def kind_of(item: Input) -> str:
    """What an input is, in one word."""
    return str(type(item).__struct_config__.tag)


def header_data(header: SessionHeader) -> dict[str, Any]:
    """Every member of a header as plain data, those with their default too."""
    return {name: msgspec.to_builtins(getattr(header, name)) for name in header.__struct_fields__}


def input_data(recorded: RecordedInput) -> dict[str, Any]:
    """An input with what it led to, as plain data: bytes parsed where they are JSON, events decoded."""
    data = decoded_input(recorded.item)
    if recorded.answers is not None:
        data["answers"] = msgspec.to_builtins(recorded.answers)
    data["events"] = [plain_members(*event) for event in recorded.events]
    data["effects_digest"] = recorded.effects_digest.hex()
    if recorded.failure:
        data["failure"] = recorded.failure
    return data


class Tally:
    """Counts of a recording, taken in passing."""

    def __init__(self) -> None:
        self.inputs = 0
        self.events = 0
        self.kinds: Counter[str] = Counter()
        self.topics: Counter[str] = Counter()
        self.sessions: list[str] = []
        self.first_sequence = 0
        self.last_sequence = 0
        self.first_at_ns = 0
        self.last_at_ns = 0
        self.failure = ""

    def add(self, recorded: RecordedInput) -> None:
        item = recorded.item
        if not self.inputs:
            self.first_sequence, self.first_at_ns = item.sequence, item.at_ns
        self.inputs += 1
        self.last_sequence, self.last_at_ns = item.sequence, item.at_ns
        self.kinds[kind_of(item)] += 1
        self.events += len(recorded.events)
        for topic, _ in recorded.events:
            self.topics[topic] += 1
        self.failure = recorded.failure


class Selection:
    """Which inputs to show: of some orders, of a range of sequence numbers, of some kinds.

    An input is of an order when it names it, when an event it led to is of it, or when its bytes hold an id
    of it that the recording had told of by then. `found` are the wanted orders that were met.
    """

    def __init__(
        self,
        *,
        orders: Iterable[str] = (),
        first: int = 0,
        last: int | None = None,
        kinds: Iterable[str] = (),
    ) -> None:
        self._orders = frozenset(orders)
        self._first = first
        self._last = last
        self._kinds = frozenset(kinds)
        self._keys = OrderKeys()
        self._names = _Names()

    @property
    def found(self) -> frozenset[str]:
        return frozenset(order for order in self._orders if self._keys.keys(order))

    def is_over(self, recorded: RecordedInput) -> bool:
        """Whether nothing from here on can be selected."""
        return self._last is not None and recorded.item.sequence > self._last

    def takes(self, recorded: RecordedInput) -> bool:
        """Whether to show this input. Has to be asked about every input, in order."""
        item = recorded.item
        of_order = not self._orders or self._is_of_order(recorded)
        return of_order and item.sequence >= self._first and (not self._kinds or kind_of(item) in self._kinds)

    def _is_of_order(self, recorded: RecordedInput) -> bool:
        named = not self._orders.isdisjoint(self._keys.learn(recorded))
        self._names.expect(key for order in self._orders for key in self._keys.keys(order))
        return named or self._names.are_in(_raw(recorded.item))


class Search:
    """Finds a text in the raw bytes and the commands of a recording.

    An order id also finds what the venue calls that order, from where the recording tells of it.
    """

    def __init__(self, text: str, *, ignore_case: bool = False) -> None:
        self._text = text
        self._ignore_case = ignore_case
        self._needle = self._folded(text.encode())
        self._keys = OrderKeys()
        self._names = _Names()

    def finds(self, recorded: RecordedInput) -> bool:
        """Whether the text is in this input. Has to be asked about every input, in order."""
        self._keys.learn(recorded)
        self._names.expect(self._keys.keys(self._text))
        raw = _raw(recorded.item)
        return self._needle in self._folded(raw) or self._names.are_in(raw)

    def _folded(self, data: bytes) -> bytes:
        return data.lower() if self._ignore_case else data


class _Names:
    """Finds ids as whole words: the exchange id 1001 is not in 21001."""

    def __init__(self) -> None:
        self._known: tuple[str, ...] = ()
        self._pattern: re.Pattern[bytes] | None = None

    def expect(self, keys: Iterable[str]) -> None:
        known = tuple(keys)
        if known != self._known:
            self._known = known
            either = b"|".join(re.escape(key.encode()) for key in known)
            self._pattern = re.compile(rb"(?<![0-9A-Za-z])(?:" + either + rb")(?![0-9A-Za-z])")

    def are_in(self, data: bytes) -> bool:
        return self._pattern is not None and self._pattern.search(data) is not None


def _raw(item: Input) -> bytes:
    """The bytes that came in; of an input without any, its own encoding, which holds every text as it is."""
    raw: bytes | None = getattr(item, "data", None) or getattr(item, "body", None)
    return raw if raw is not None else msgspec.msgpack.encode(item)


class Comparison(msgspec.Struct, kw_only=True):
    """Two recordings side by side, input by input, matched by sequence number."""

    header: dict[str, tuple[Any, Any]]
    same: int = 0
    different: int = 0
    only_in_first: int = 0
    only_in_second: int = 0
    first_difference: dict[str, Any] | None = None

    @property
    def identical(self) -> bool:
        """Whether every input and everything it led to is the same; headers may differ."""
        return self.first_difference is None


def compare_recordings(
    first_header: SessionHeader,
    first: Iterable[RecordedInput],
    second_header: SessionHeader,
    second: Iterable[RecordedInput],
) -> Comparison:
    """What two recordings differ in. Both are read once, side by side, in flat memory."""
    result = Comparison(header=_header_differences(first_header, second_header))
    for left, right in _matched(iter(first), iter(second)):
        if left is not None and right is not None:
            if encode_recorded(left) == encode_recorded(right):
                result.same += 1
                continue
            result.different += 1
        elif left is not None:
            result.only_in_first += 1
        else:
            result.only_in_second += 1
        if result.first_difference is None:
            result.first_difference = _difference(left, right)
    return result


def _matched(
    first: Iterator[RecordedInput], second: Iterator[RecordedInput]
) -> Iterator[tuple[RecordedInput | None, RecordedInput | None]]:
    left, right = next(first, None), next(second, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left.item.sequence < right.item.sequence):
            yield left, None
            left = next(first, None)
        elif left is None or right.item.sequence < left.item.sequence:
            yield None, right
            right = next(second, None)
        else:
            yield left, right
            left, right = next(first, None), next(second, None)


def _difference(left: RecordedInput | None, right: RecordedInput | None) -> dict[str, Any]:
    """Where two inputs of one number differ, both in full."""
    some = left or right
    assert some is not None, "one of them is there"
    data: dict[str, Any] = {"sequence": some.item.sequence}
    if left is not None and right is not None:
        data["in"] = [
            name
            for name, differs in (
                ("input", left.item != right.item),
                ("events", left.events != right.events),
                ("effects", left.effects_digest != right.effects_digest),
                ("failure", left.failure != right.failure),
                ("answers", left.answers != right.answers),
            )
            if differs
        ]
        data["events"] = msgspec.to_builtins(event_differences(left.events, right.events))
    data["first"] = None if left is None else input_data(left)
    data["second"] = None if right is None else input_data(right)
    return data


def _header_differences(first: SessionHeader, second: SessionHeader) -> dict[str, tuple[Any, Any]]:
    left, right = header_data(first), header_data(second)
    return {name: (left[name], right[name]) for name in left if left[name] != right[name]}
