"""Replaying: what is repeated is said to be identical, and the first thing that is not is shown."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.hyperliquid.replaying import make_core
from domain.client_order_tracker import ClientOrderTracker
from domain.events import OrderFilled
from domain.in_flight_order import InFlightOrder
from domain.inputs import RequestAnswered, Started
from domain.updates import TradeUpdate
from replays.recording import EFFECTS_NOT_KNOWN, RecordedInput, effects_digest
from replays.replaying import (
    Divergence,
    DivergenceKind,
    MemoryRecording,
    NotFromTheStartError,
    Replay,
    compare,
    replay,
)
from replays.reporting import divergence_data, divergence_text, headline
from replays.session_file import SessionReader, write_session
from tests.support.core import CoreSession
from tests.support.recordings import busy_session, recording_of


@pytest.fixture(scope="module")
def late_fill() -> tuple[MemoryRecording, str]:
    """A session in which an order is cancelled and then fills, and that order."""
    session = CoreSession().ready()
    order = session.open(1001)
    session.open(1002)
    cloid = session.order(order).venue_order_key
    session.fill(1001, 1, "0.4", cloid=cloid)
    session.cancel(order)
    session.answer_cancels("success")
    session.fill(1001, 2, "0.2", cloid=cloid)
    session.status(1001, "canceled", cloid=cloid)
    return recording_of(session), order


@pytest.fixture
def late_fills_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """One decision of the tracker, changed: a fill of an order that is done counts for nothing."""
    book = ClientOrderTracker.process_trade_update

    def drop_late_fills(self: ClientOrderTracker, update: TradeUpdate) -> InFlightOrder | None:
        order = self.find(update.venue_order_key, update.fill.exchange_order_id)
        return order if order is not None and order.is_done else book(self, update)

    monkeypatch.setattr(ClientOrderTracker, "process_trade_update", drop_late_fills)


def diverged(recording: MemoryRecording, **options: Any) -> Divergence:
    divergence = Replay(recording, make_core, **options).run().divergence
    assert divergence is not None
    return divergence


def altered(
    recording: MemoryRecording, at: int, change: Callable[[RecordedInput], RecordedInput]
) -> MemoryRecording:
    """The recording with one of its inputs (by index) changed."""
    inputs = list(recording.inputs)
    inputs[at] = change(inputs[at])
    return MemoryRecording(recording.header, inputs)


def index_of(recording: MemoryRecording, topic: str) -> int:
    """The index of the last input that led to an event of this kind."""
    return max(at for at, kept in enumerate(recording.inputs) if topic in dict(kept.events))


# -- identical -----------------------------------------------------------------------------------------------


def test_a_recording_is_repeated(late_fill: tuple[MemoryRecording, str]) -> None:
    recording, _ = late_fill
    report = Replay(recording, make_core).run()
    assert report.identical
    assert report.inputs == len(recording)
    assert report.events == sum(len(kept.events) for kept in recording)
    assert report.last_sequence == recording.inputs[-1].item.sequence


def test_two_replays_have_one_digest_and_another_session_has_another() -> None:
    one, other = recording_of(busy_session(300, seed=1)), recording_of(busy_session(300, seed=2))
    digests = [Replay(recording, make_core).run().digest for recording in (one, one, other)]
    assert digests[0] == digests[1] != digests[2]


def test_the_installed_core_of_the_venue_is_used_when_none_is_given(
    late_fill: tuple[MemoryRecording, str],
) -> None:
    assert Replay(late_fill[0]).run().identical


def test_a_replay_ends_where_it_is_told(late_fill: tuple[MemoryRecording, str]) -> None:
    report = Replay(late_fill[0], make_core, until=5).run()
    assert (report.inputs, report.last_sequence) == (5, 5)


def test_a_replay_reads_no_further_than_it_is_looked_at(late_fill: tuple[MemoryRecording, str]) -> None:
    recording, read = late_fill[0], []

    class Watched(MemoryRecording):
        def __iter__(self) -> Iterator[RecordedInput]:
            for kept in self.inputs:
                read.append(kept.item.sequence)
                yield kept

    steps = iter(replay(Watched(recording.header, recording), make_core))
    for _ in itertools.islice(steps, 3):
        pass
    assert read == [1, 2, 3]


def test_a_part_without_what_came_before_is_refused(late_fill: tuple[MemoryRecording, str]) -> None:
    recording, _ = late_fill
    rest = MemoryRecording(replace(recording.header, part=2), recording.inputs[4:])
    with pytest.raises(NotFromTheStartError, match=r"part 2 of its session.*earlier parts"):
        Replay(rest, make_core).run()


def test_progress_is_told(late_fill: tuple[MemoryRecording, str]) -> None:
    heard: list[int] = []
    Replay(recording_of(busy_session(2_100)), make_core, on_progress=heard.append).run()
    assert heard == [1_024, 2_048]


# -- input, events, state ------------------------------------------------------------------------------------


def test_a_notebook_gets_input_events_and_state(late_fill: tuple[MemoryRecording, str]) -> None:
    recording, order = late_fill
    seen = [(item, events, state) for item, events, state in replay(recording, make_core)]
    assert [item for item, _, _ in seen] == [kept.item for kept in recording]
    filled = [events[0] for _, events, _ in seen if events and isinstance(events[0], OrderFilled)]
    assert [str(event.fill.amount) for event in filled] == ["0.4", "0.2"]
    states = [
        [view.state.value for view in state.open_orders if view.client_order_id == order]
        for _, _, state in seen
    ]
    assert [key for key, _ in itertools.groupby(states)] == [
        [],
        ["pending_submit"],
        ["open"],
        ["partially_filled"],
        ["pending_cancel"],
        [],
    ]


def test_states_stay_as_they_were_when_the_replay_goes_on(late_fill: tuple[MemoryRecording, str]) -> None:
    kept = [state for _, _, state in replay(late_fill[0], make_core)]
    amounts = [str(state.positions[0].amount) if state.positions else "" for state in kept]
    assert [key for key, _ in itertools.groupby(amounts)] == ["", "0.4", "0.6"]
    assert not kept[0].positions
    assert "user_stream" in kept[0].waiting_for
    assert kept[-1].waiting_for == ()


def test_an_order_of_an_earlier_session_is_open_from_the_start() -> None:
    first = CoreSession().ready()
    order = first.open(1001)
    started = Started(
        session_id="000000abcdef",
        ledger_position=len(first.events),
        books_begin_ms=first.connector.books_begin_ms,
        account_version=first.connector.account.version,
        open_orders=(tuple(recording_of(first).inputs[-2].events + recording_of(first).inputs[-1].events),),
    )
    second = CoreSession(started=started, ledger=first.stored).begin()
    (_, _, state), *_ = replay(recording_of(second), make_core)
    assert [view.client_order_id for view in state.open_orders] == [order]


# -- divergences ---------------------------------------------------------------------------------------------


def test_a_changed_decision_diverges_at_the_input_where_it_matters(
    late_fill: tuple[MemoryRecording, str], late_fills_dropped: None
) -> None:
    recording, order = late_fill
    divergence = diverged(recording, files=["last night.session"])
    assert divergence.sequence == recording.inputs[index_of(recording, "order.filled")].item.sequence
    assert divergence.kind is DivergenceKind.EVENTS
    assert headline(divergence) == (
        f"diverged at input {divergence.sequence} (stream_frame user user): "
        f"order.filled of {order} did not come"
    )
    text = divergence_text(divergence)
    assert '"sz":"0.2"' in text, "the input, decoded"
    assert "amount=0.2" in text, "the event that is missing"
    assert "cancelled        order.cancelled" in text, "how the order stood, and why"
    assert f"orderledger replay 'last night.session' --until {divergence.sequence}" in text


def test_the_story_ends_before_the_input_that_diverged(
    late_fill: tuple[MemoryRecording, str], late_fills_dropped: None
) -> None:
    recording, order = late_fill
    (story,) = diverged(recording).stories
    assert story.originator_id == order
    assert [told.event.topic for told in story.events] == [
        "order.created",
        "order.submitted",
        "order.acknowledged",
        "order.filled",
        "order.cancel_requested",
        "order.cancelled",
    ]


def test_the_story_begins_in_earlier_sessions(late_fills_dropped: None) -> None:
    first = CoreSession().ready()
    order = first.open(1001)
    stored = recording_of(first).inputs
    started = Started(
        session_id="000000abcdef",
        ledger_position=len(first.events),
        books_begin_ms=first.connector.books_begin_ms,
        account_version=first.connector.account.version,
        open_orders=((*stored[-2].events, *stored[-1].events),),
    )
    second = CoreSession(started=started, ledger=first.stored)
    cloid = first.order(order).venue_order_key
    second.open_orders = []
    second.begin()
    second.connect()
    second.books()
    second.status(1001, "canceled", cloid=cloid)
    recording = recording_of(second)
    extra = replace(recording.inputs[-1], events=(*recording.inputs[-1].events, *recording.inputs[-1].events))
    (story,) = diverged(MemoryRecording(recording.header, (*recording.inputs[:-1], extra))).stories
    assert [told.sequence for told in story.events[:3]] == [0, 0, 0]
    assert story.events[0].event.topic == "order.created"


def test_a_member_that_differs_is_named_with_both_values(late_fill: tuple[MemoryRecording, str]) -> None:
    recording, order = late_fill
    at = index_of(recording, "order.filled")
    (topic, state), *_ = recording.inputs[at].events
    other = altered(
        recording,
        at,
        lambda kept: replace(kept, events=((topic, state.replace(b"\xa30.2", b"\xa30.3")),)),
    )
    divergence = diverged(other)
    ((member,),) = [difference.members for difference in divergence.differences]
    assert (member.name, member.expected, member.actual) == ("fill.amount", "0.3", "0.2")
    assert headline(divergence).endswith(f"order.filled of {order}: fill.amount is 0.2, was 0.3")


def test_an_event_that_was_not_recorded_is_unexpected(late_fill: tuple[MemoryRecording, str]) -> None:
    recording, order = late_fill
    at = index_of(recording, "order.filled")
    divergence = diverged(altered(recording, at, lambda kept: replace(kept, events=())))
    assert [difference.what for difference in divergence.differences] == ["unexpected"]
    assert headline(divergence).endswith(f"order.filled of {order} came unexpectedly")


def test_one_event_in_place_of_another_is_said_as_such(late_fill: tuple[MemoryRecording, str]) -> None:
    recording, order = late_fill
    at = index_of(recording, "order.cancelled")
    other = recording.inputs[index_of(recording, "order.cancel_requested")].events
    divergence = diverged(altered(recording, at, lambda kept: replace(kept, events=other)))
    assert headline(divergence).endswith(f"order.cancelled of {order} came instead of order.cancel_requested")


def test_an_expectation_that_is_left_over_is_a_failure(late_fill: tuple[MemoryRecording, str]) -> None:
    recording, _ = late_fill
    more = recording.inputs[index_of(recording, "order.filled")].events
    divergence = diverged(altered(recording, 12, lambda kept: replace(kept, events=more)))
    assert divergence.sequence == recording.inputs[12].item.sequence
    assert [difference.what for difference in divergence.differences] == ["missing"]


def test_other_effects_are_a_divergence_and_are_shown(late_fill: tuple[MemoryRecording, str]) -> None:
    recording, _ = late_fill
    at = index_of(recording, "order.cancel_requested")
    divergence = diverged(altered(recording, at, lambda kept: replace(kept, effects_digest=b"x" * 16)))
    assert divergence.kind is DivergenceKind.EFFECTS
    assert not divergence.differences
    assert "send_action" in divergence_text(divergence)


def test_effects_that_nobody_knows_are_not_compared(late_fill: tuple[MemoryRecording, str]) -> None:
    recording, _ = late_fill
    at = index_of(recording, "order.cancel_requested")
    unknown = altered(recording, at, lambda kept: replace(kept, effects_digest=EFFECTS_NOT_KNOWN))
    assert Replay(unknown, make_core).run().identical


def test_an_answer_is_shown_with_what_it_answers(late_fill: tuple[MemoryRecording, str]) -> None:
    recording, _ = late_fill
    at = index_of(recording, "order.cancelled")
    divergence = diverged(altered(recording, at, lambda kept: replace(kept, events=())))
    assert isinstance(divergence.item, RequestAnswered)
    assert divergence.answered is not None
    assert "cancelByCloid" in divergence_text(divergence)


def test_compare_judges_one_input_by_itself(late_fill: tuple[MemoryRecording, str]) -> None:
    recording, _ = late_fill
    core = make_core(recording.header)
    for kept in recording:
        outcome = core.step(kept.item)
        assert compare(kept, outcome) is None
        assert compare(replace(kept, effects_digest=effects_digest([]) or b"x"), outcome) is not None


def test_a_divergence_is_plain_data_for_programs(
    late_fill: tuple[MemoryRecording, str], late_fills_dropped: None
) -> None:
    recording, order = late_fill
    data = json.loads(json.dumps(divergence_data(diverged(recording))))
    assert data["input"]["data"]["data"]["fills"][0]["sz"] == "0.2"
    assert data["differences"][0]["expected"]["fill"]["amount"] == "0.2"
    assert data["stories"][0]["originator_id"] == order


def test_an_event_of_an_unknown_kind_is_shown_as_far_as_it_can_be_read(
    late_fill: tuple[MemoryRecording, str],
) -> None:
    recording, order = late_fill
    at = index_of(recording, "order.filled")
    (_, state), *_ = recording.inputs[at].events
    newer = altered(recording, at, lambda kept: replace(kept, events=(("order.teleported", state),)))
    text = divergence_text(diverged(newer))
    assert "order.teleported" in text
    assert order in text


# -- a core that fails ---------------------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: ClientOrderTracker, update: TradeUpdate) -> None:
        raise KeyError(update.fill.fill_key)

    monkeypatch.setattr(ClientOrderTracker, "process_trade_update", fail)


def test_a_core_that_fails_is_a_divergence_and_no_traceback(
    late_fill: tuple[MemoryRecording, str], failing: None
) -> None:
    divergence = diverged(late_fill[0])
    assert divergence.kind is DivergenceKind.RAISED
    assert divergence.failure == "KeyError: 'BTC:1001:1'"
    assert divergence.raised_at[-1].endswith("in fail")
    assert "It raised KeyError" in divergence_text(divergence)


def test_a_failure_that_was_recorded_is_repeated(
    late_fill: tuple[MemoryRecording, str], failing: None
) -> None:
    recording, _ = late_fill
    at = min(at for at, kept in enumerate(recording.inputs) if "order.filled" in dict(kept.events))
    failed = RecordedInput(recording.inputs[at].item, failure="KeyError: 'BTC:1001:1'")
    report = Replay(MemoryRecording(recording.header, (*recording.inputs[:at], failed)), make_core).run()
    assert report.identical
    assert report.failure == "KeyError: 'BTC:1001:1'"


def test_a_recorded_failure_that_does_not_come_again_is_a_divergence(
    late_fill: tuple[MemoryRecording, str],
) -> None:
    recording, _ = late_fill
    at = index_of(recording, "order.filled")
    divergence = diverged(altered(recording, at, lambda kept: replace(kept, failure="KeyError: 'x'")))
    assert divergence.kind is DivergenceKind.DID_NOT_RAISE
    assert "once raised KeyError: 'x', and now went on" in headline(divergence)


# -- memory --------------------------------------------------------------------------------------------------


def test_what_a_replay_remembers_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    """Stories and requests are let go of with the orders; here the tracker forgets them soon."""
    peaks = []
    for orders in (400, 1_200):
        session = CoreSession(options={"retention_ns": 10_000_000, "weight_per_minute": 10**9}).ready()
        for number in range(orders):
            order = session.open(10_000 + number)
            session.cancel(order)
            session.answer_cancels("success")
            session.advance(1)
        recording = recording_of(session)
        path = tmp_path / f"{orders}.session"
        write_session(path, recording.header, recording)
        del session, recording
        tracemalloc.start()
        assert Replay(SessionReader(path), make_core).run().identical
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
