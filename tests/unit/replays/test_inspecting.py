"""Looking into recordings: what is counted, shown, found, and where two differ."""

from __future__ import annotations

import msgspec
import pytest

from adapters.hyperliquid.replaying import make_core
from domain.inputs import CancelOrders, PlaceOrders, Started, StreamFrame
from replays.inspecting import (
    INPUT_KINDS,
    Comparison,
    Search,
    Selection,
    Tally,
    compare_recordings,
    header_data,
    input_data,
    kind_of,
)
from replays.replaying import MemoryRecording
from tests.support.core import ACCOUNT, CoreSession
from tests.support.recordings import header_of, recording_of


@pytest.fixture
def session() -> CoreSession:
    """Two orders; the first is called `first`, and its exchange id is part of other numbers."""
    session = CoreSession().ready()
    session.open(1001, client_order_id="first")
    session.open(21001, client_order_id="second")
    session.fill(1001, 7, "1", cloid=session.order("first").venue_order_key)
    session.status(21001, "open", cloid=session.order("second").venue_order_key)
    session.cancel("second")
    session.answer_cancels("success")
    return session


def chosen(recording: MemoryRecording, selection: Selection) -> list[int]:
    return [each.item.sequence for each in recording if selection.takes(each)]


def found(recording: MemoryRecording, search: Search) -> list[int]:
    return [each.item.sequence for each in recording if search.finds(each)]


def compared(first: MemoryRecording, second: MemoryRecording) -> Comparison:
    return compare_recordings(first.header, first, second.header, second)


def test_counts_are_those_of_the_inputs(session: CoreSession) -> None:
    recording = recording_of(session)
    tally = Tally()
    for each in recording:
        tally.add(each)
    assert tally.inputs == tally.kinds.total() == len(recording)
    assert tally.events == tally.topics.total() == len(session.events)
    assert tally.topics["order.created"] == tally.kinds["place_orders"] == 2
    assert (tally.first_sequence, tally.last_sequence) == (1, len(recording))
    assert tally.first_at_ns <= tally.last_at_ns == session.inputs[-1].at_ns


def test_an_input_is_shown_decoded_with_its_events(session: CoreSession) -> None:
    recording = recording_of(session)
    [fill] = [
        each for each in recording if isinstance(each.item, StreamFrame) and b'"fills"' in each.item.data
    ]
    data = input_data(fill)
    assert data["data"]["data"]["fills"][0]["oid"] == 1001
    assert data["events"][0]["topic"] == "order.filled"
    assert data["events"][0]["fill"]["amount"] == "1"
    assert "failure" not in data
    assert input_data(msgspec.structs.replace(fill, failure="KeyError: 'x'"))["failure"] == "KeyError: 'x'"
    assert msgspec.json.encode([input_data(each) for each in recording])


def test_the_inputs_of_an_order_are_its_command_its_answers_and_its_frames(session: CoreSession) -> None:
    recording = recording_of(session)
    selection = Selection(orders=["first"])
    kinds = [kind_of(recording.inputs[n - 1].item) for n in chosen(recording, selection)]
    assert kinds == ["place_orders", "request_answered", "stream_frame"]
    assert selection.found == {"first"}


def test_an_exchange_id_is_not_found_within_another(session: CoreSession) -> None:
    recording = recording_of(session)
    selection = Selection(orders=["second"])
    items = [recording.inputs[n - 1].item for n in chosen(recording, selection)]
    assert [type(item) for item in items[:1]] == [PlaceOrders]
    assert sum(isinstance(item, CancelOrders) for item in items) == 1
    assert not any(isinstance(item, StreamFrame) and b'"fills"' in item.data for item in items)


def test_inputs_are_chosen_by_number_and_kind(session: CoreSession) -> None:
    recording = recording_of(session)
    assert chosen(recording, Selection(first=3, last=5)) == [*range(3, len(recording) + 1)]
    selection = Selection(last=5)
    assert [each.item.sequence for each in recording if not selection.is_over(each)] == [1, 2, 3, 4, 5]
    kinds = Selection(kinds=["started", "place_orders"])
    assert [kind_of(recording.inputs[n - 1].item) for n in chosen(recording, kinds)] == [
        "started",
        "place_orders",
        "place_orders",
    ]


def test_an_order_that_is_not_there_is_not_found(session: CoreSession) -> None:
    selection = Selection(orders=["first", "third"])
    chosen(recording_of(session), selection)
    assert selection.found == {"first"}


@pytest.mark.parametrize(
    ("text", "ignore_case", "kinds"),
    [
        ('"fills"', False, ["stream_frame"]),
        ('"FILLS"', False, []),
        ('"FILLS"', True, ["stream_frame"]),
        ("first", False, ["place_orders", "request_answered", "stream_frame"]),
        ("no such text", False, []),
    ],
)
def test_a_text_is_found_in_raw_bytes_and_commands(
    session: CoreSession, text: str, ignore_case: bool, kinds: list[str]
) -> None:
    recording = recording_of(session)
    numbers = found(recording, Search(text, ignore_case=ignore_case))
    assert [kind_of(recording.inputs[n - 1].item) for n in numbers] == kinds


def test_a_recording_is_the_same_as_itself(session: CoreSession) -> None:
    recording = recording_of(session)
    result = compared(recording, recording)
    assert result.identical
    assert (result.same, result.different, result.header) == (len(recording), 0, {})


def test_the_first_input_that_differs_is_shown_with_its_events_side_by_side(session: CoreSession) -> None:
    recording = recording_of(session)
    at = next(n for n, each in enumerate(recording.inputs) if each.events and n > 10)
    changed = list(recording.inputs)
    changed[at] = msgspec.structs.replace(changed[at], events=())
    changed[at + 1] = msgspec.structs.replace(changed[at + 1], effects_digest=b"x" * 16)
    result = compared(recording, MemoryRecording(recording.header, changed))
    assert not result.identical
    assert (result.different, result.same) == (2, len(recording) - 2)
    difference = result.first_difference
    assert difference is not None
    assert difference["sequence"] == at + 1
    assert difference["in"] == ["events"]
    assert difference["events"][0]["what"] == "missing"


def test_an_answer_is_shown_with_what_it_answers(session: CoreSession) -> None:
    recording = recording_of(session)
    shown = {data["sequence"]: data for data in map(input_data, recording)}
    asked = [data["answers"] for data in shown.values() if data["kind"] == "request_answered"]
    assert {"kind": "query", "request_id": 1, "body": {"type": "meta"}} in asked
    assert any(request["kind"] == "send_action" and request["action"]["type"] == "order" for request in asked)
    assert "answers" not in shown[1]


def test_two_recordings_may_differ_in_what_an_answer_answers(session: CoreSession) -> None:
    recording = recording_of(session)
    at = next(at for at, each in enumerate(recording.inputs) if each.answers is not None)
    changed = list(recording.inputs)
    changed[at] = msgspec.structs.replace(changed[at], answers=None)
    difference = compared(recording, MemoryRecording(recording.header, changed)).first_difference
    assert difference is not None
    assert difference["in"] == ["answers"]


def test_inputs_of_only_one_recording_are_counted(session: CoreSession) -> None:
    recording = recording_of(session)
    without = [each for each in recording if kind_of(each.item) != "place_orders"]
    result = compared(recording, MemoryRecording(recording.header, without))
    assert (result.only_in_first, result.only_in_second, result.same) == (2, 0, len(without))
    difference = result.first_difference
    assert difference is not None
    assert difference["first"]["kind"] == "place_orders"
    assert difference["second"] is None
    result = compared(MemoryRecording(recording.header, without), recording)
    assert (result.only_in_first, result.only_in_second) == (0, 2)


def test_headers_that_differ_are_shown_by_member(session: CoreSession) -> None:
    recording = recording_of(session)
    noted = recording_of(session, note="again")
    result = compared(recording, noted)
    assert result.identical
    assert result.header == {"note": ("", "again")}


def test_a_header_is_shown_with_every_member(session: CoreSession) -> None:
    data = header_data(header_of(session))
    assert data["part"] == 1
    assert data["account"] == ACCOUNT
    assert data["core_options"]["slippage"] == "0.05"


def test_every_kind_has_its_name() -> None:
    assert {"started", "stream_frame", "timer_fired", "ledger_stalled"} <= set(INPUT_KINDS)
    assert INPUT_KINDS["started"] is Started
    assert len(INPUT_KINDS) == 17


def test_the_core_of_a_recording_has_its_options(session: CoreSession) -> None:
    core = make_core(header_of(session))
    assert core.options == session.options
    assert core.session_id == session.connector.session_id
