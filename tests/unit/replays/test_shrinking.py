"""Shrinking: what is left shows the same thing, is in causal order, and nothing more can be missed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from msgspec.structs import replace

from adapters.hyperliquid.replaying import make_core
from domain.client_order_tracker import ClientOrderTracker
from domain.effects import Query, SendAction
from domain.events import OrderCreated
from domain.in_flight_order import InFlightOrder
from domain.inputs import RequestAnswered, Started
from domain.updates import TradeUpdate
from replays.causality import Step
from replays.properties import UnknownPropertyError, property_named
from replays.recording import RecordedInput
from replays.replaying import DivergenceKind, MemoryRecording, Replay, replay
from replays.reporting import headline
from replays.shrinking import NothingToShrinkError, Shrinker, Shrunk, UnsteadyError, first_divergence
from replays.wanted import AsItIs, CommandFails, SameDivergence, ShowsProperty
from tests.support.core import CoreSession
from tests.support.recordings import busy_session, recording_of


@pytest.fixture(scope="module")
def busy() -> MemoryRecording:
    """Five thousand inputs, some hundred orders."""
    return recording_of(busy_session(5_000))


@pytest.fixture
def late_fills_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """One decision of the tracker, changed: a fill of an order that is done counts for nothing."""
    book = ClientOrderTracker.process_trade_update

    def drop_late_fills(self: ClientOrderTracker, update: TradeUpdate) -> InFlightOrder | None:
        order = self.find(update.venue_order_key, update.fill.exchange_order_id)
        return order if order is not None and order.is_done else book(self, update)

    monkeypatch.setattr(ClientOrderTracker, "process_trade_update", drop_late_fills)


def shrunk_divergence(recording: MemoryRecording) -> Shrunk:
    divergence = first_divergence(recording, make_core)
    assert divergence is not None
    shrinker = Shrinker(recording, make_core)
    return shrinker.shrink(SameDivergence(shrinker.session, divergence), headline(divergence))


def shrunk_property(recording: MemoryRecording, name: str) -> MemoryRecording:
    wanted = ShowsProperty(property_named(name))
    return Shrinker(recording, make_core).shrink(wanted, name).recording


# -- divergences ---------------------------------------------------------------------------------------------


def test_five_thousand_inputs_shrink_to_a_few_that_still_diverge_in_the_same_way(
    busy: MemoryRecording, monkeypatch: pytest.MonkeyPatch, late_fills_dropped: None
) -> None:
    whole = first_divergence(busy, make_core)
    assert whole is not None
    small = shrunk_divergence(busy).recording
    assert len(busy) >= 5_000
    assert len(small) < 30
    again = first_divergence(small, make_core)
    assert again is not None
    assert again.sequence == whole.sequence
    assert headline(again) == headline(whole)
    # With the mistake put right, the small recording is a test that passes.
    monkeypatch.undo()
    assert Replay(small, make_core).run().identical


def test_a_late_divergence_shrinks_as_well(busy: MemoryRecording, monkeypatch: pytest.MonkeyPatch) -> None:
    target = [
        event.originator_id
        for _, events, _ in replay(busy, make_core)
        for event in events
        if event.topic == "order.cancelled"
    ][-1]
    cancelled = ClientOrderTracker.cancelled

    def forget(self: ClientOrderTracker, order: InFlightOrder, reason_code: str) -> None:
        if order.id != target:
            cancelled(self, order, reason_code)

    monkeypatch.setattr(ClientOrderTracker, "cancelled", forget)
    divergence = first_divergence(busy, make_core)
    assert divergence is not None
    assert divergence.sequence > 4_500
    assert len(shrunk_divergence(busy).recording) < 30


def test_a_core_that_fails_shrinks_to_the_failure(
    busy: MemoryRecording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: ClientOrderTracker, order: InFlightOrder, *_: object) -> None:
        raise RuntimeError(f"nobody cancels {order.id}")

    monkeypatch.setattr(ClientOrderTracker, "cancel_requested", fail)
    small = shrunk_divergence(busy).recording
    again = first_divergence(small, make_core)
    assert again is not None
    assert again.failure.startswith("RuntimeError: nobody cancels")
    assert len(small) < 10
    monkeypatch.undo()
    assert Replay(small, make_core).run().identical


def test_other_effects_shrink_to_the_input_that_has_them(busy: MemoryRecording) -> None:
    at = max(at for at, kept in enumerate(busy.inputs) if "order.cancel_requested" in dict(kept.events))
    other = replace(busy.inputs[at], effects_digest=b"x" * 16)
    changed = MemoryRecording(busy.header, (*busy.inputs[:at], other, *busy.inputs[at + 1 :]))
    small = shrunk_divergence(changed).recording
    assert len(small) < 30
    again = first_divergence(small, make_core)
    assert again is not None
    assert again.sequence == other.item.sequence


def test_an_answer_to_something_else_shrinks_to_it_and_to_who_asked(busy: MemoryRecording) -> None:
    at = max(at for at, kept in enumerate(busy.inputs) if isinstance(kept.answers, SendAction))
    number = busy.inputs[at].item.request_id  # type: ignore[union-attr]
    other = replace(busy.inputs[at], answers=Query(request_id=number, body={"type": "meta"}))
    changed = MemoryRecording(busy.header, (*busy.inputs[:at], other, *busy.inputs[at + 1 :]))
    small = shrunk_divergence(changed).recording
    assert len(small) < 30
    again = first_divergence(small, make_core)
    assert again is not None
    assert (again.kind, again.sequence) == (DivergenceKind.ANSWER, other.item.sequence)


def test_a_recording_that_does_not_show_it_is_refused(busy: MemoryRecording) -> None:
    with pytest.raises(NothingToShrinkError, match="overfilled"):
        shrunk_property(busy, "overfilled")


# -- properties ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["unknown-outcome", "event:order.expired", "state:cancelled", "alert:stream_lost"]
)
def test_a_property_shrinks_to_a_recording_that_replays_identical_and_shows_it(name: str) -> None:
    session = busy_session(400)
    taking = session.buy("1", "43300", time_in_force="ioc")
    session.answer_orders({"error": "Order could not immediately match against any resting orders."})
    assert session.state(taking) == "expired"
    session.lose_stream()
    small = shrunk_property(recording_of(session), name)
    assert len(small) < 12
    holds = property_named(name)
    shown = [holds(replayed.core, replayed.outcome) for replayed in replay(small, make_core)]
    assert shown[-1]
    assert not any(shown[:-1])
    assert Replay(small, make_core).run().identical


def test_a_gap_in_the_fills_shrinks_to_the_fill_after_it() -> None:
    session = busy_session(300)
    order = session.open(777)
    cloid = session.order(order).venue_order_key
    session.fill(777, 1, "0.1", cloid=cloid, startPosition="123.5")
    small = shrunk_property(recording_of(session), "position-mismatch")
    assert len(small) < 8


def test_trading_that_halts_shrinks_to_why() -> None:
    session = CoreSession()
    session.answers["userRole"] = {"role": "agent", "data": {"user": "0x" + "11" * 20}}
    session.begin()
    small = shrunk_property(recording_of(session), "halted")
    assert small.inputs[0].item.sequence == 1
    assert len(small) <= 3


def test_overfilled_orders_are_found() -> None:
    session = CoreSession().ready()
    order = session.open(1001)
    cloid = session.order(order).venue_order_key
    for number in (1, 2):
        session.fill(1001, number, "0.7", cloid=cloid)
    small = shrunk_property(recording_of(session), "overfilled")
    assert len(small) < 8
    with pytest.raises(NothingToShrinkError):
        shrunk_property(recording_of(session), "negative-remaining")


def test_an_unknown_property_is_refused_with_the_known_ones() -> None:
    for name in ("nonsense", "event:nonsense", "state:nonsense", "alert:"):
        with pytest.raises(UnknownPropertyError, match="overfilled"):
            property_named(name)


# -- causality -----------------------------------------------------------------------------------------------


def test_no_input_about_an_order_stays_without_what_created_it(busy: MemoryRecording) -> None:
    small = shrunk_property(busy, "state:cancelled")
    created: set[str] = set()
    for _, events, _ in replay(small, make_core):
        for event in events:
            if isinstance(event, OrderCreated):
                created.add(event.originator_id)
            assert event.originator_id in created


def test_nothing_that_is_left_can_be_missed(busy: MemoryRecording) -> None:
    small = shrunk_property(busy, "state:cancelled")
    for at in range(1, len(small)):
        less = MemoryRecording(small.header, small.inputs[:at] + small.inputs[at + 1 :])
        with pytest.raises(NothingToShrinkError):
            Shrinker(less, make_core).shrink(ShowsProperty(property_named("state:cancelled")), "cancelled")


def test_answers_get_the_number_that_their_request_has_now(busy: MemoryRecording) -> None:
    small = shrunk_property(busy, "state:cancelled")
    numbers = {kept.item.sequence: kept.item for kept in busy}
    moved = [
        (kept.item.request_id, numbers[kept.item.sequence].request_id)  # type: ignore[union-attr]
        for kept in small
        if isinstance(kept.item, RequestAnswered)
    ]
    assert any(now != before for now, before in moved)
    told = [kept.answers.request_id for kept in small if kept.answers is not None]
    assert told == [now for now, _ in moved]


def test_what_the_session_began_with_is_reduced_too() -> None:
    first = CoreSession().ready()
    kept, other = first.open(1001), first.open(1002)
    started = Started(
        session_id="000000abcdef",
        ledger_position=len(first.events),
        books_begin_ms=first.connector.books_begin_ms,
        account_version=first.connector.account.version,
        open_orders=tuple(_stored(first, order) for order in (kept, other)),
        recent_fill_keys=("BTC:1:1", "BTC:1:2"),
        positions=tuple(first.connector.positions.values()),
    )
    second = CoreSession(started=started, ledger=first.stored).begin()
    second.connect()
    second.books()
    second.status(1001, "canceled", cloid=first.order(kept).venue_order_key)
    small = shrunk_property(recording_of(second), "state:cancelled")
    begins = small.inputs[0].item
    assert isinstance(begins, Started)
    assert len(begins.open_orders) == 1
    assert begins.recent_fill_keys == ()


def _stored(session: CoreSession, order: str) -> tuple[tuple[str, bytes], ...]:
    from domain.event_codec import encode_events

    return encode_events(session.stored[order])


# -- commands ------------------------------------------------------------------------------------------------


def test_a_command_that_fails_is_enough(tmp_path: Path) -> None:
    recording = recording_of(busy_session(60))
    script = tmp_path / "check.py"
    script.write_text(
        "import sys\n"
        "from replays.session_file import read_sessions\n"
        "kinds = [type(kept.item).__name__ for kept in read_sessions(sys.argv[1:])]\n"
        "sys.exit(kinds.count('PlaceOrders') >= 2)\n"
    )
    shrinker = Shrinker(recording, make_core)
    wanted = CommandFails(f"{sys.executable} {script} {{}}", shrinker.derived_header("two orders"), AsItIs())
    small = shrinker.shrink(wanted, "two orders").recording
    kinds = [type(kept.item).__name__ for kept in small]
    assert kinds.count("PlaceOrders") == 2
    assert len(kinds) <= 5


def test_a_command_that_cannot_be_run_is_not_taken_for_one_that_fails() -> None:
    shrinker = Shrinker(recording_of(busy_session(30)), make_core)
    wanted = CommandFails("/nowhere/at-all {}", shrinker.header, AsItIs())
    with pytest.raises(OSError, match="status 127"):
        shrinker.shrink(wanted, "nothing")


def test_what_comes_and_goes_is_refused() -> None:
    class Moody:
        needed = None
        asked: ClassVar[set[int]] = set()

        def shown_at(self, steps: Iterator[Step]) -> int | None:
            """Shows the first time a number of inputs is tried, and never again."""
            tried = [step.at for step in steps]
            is_new = len(tried) not in self.asked
            self.asked.add(len(tried))
            return tried[-1] if is_new else None

    with pytest.raises(UnsteadyError, match="does not depend on the recording alone"):
        Shrinker(recording_of(busy_session(200)), make_core).shrink(Moody(), "a mood")


def test_the_result_says_what_it_comes_from(busy: MemoryRecording) -> None:
    small = shrunk_property(busy, "state:cancelled")
    assert small.header.derived_from == f"session {busy.header.session_id}, shrunk (state:cancelled)"
    assert all(isinstance(kept, RecordedInput) for kept in small)
