"""A replay against a ledger: the same bytes at the same positions, and what else may stand there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.cli.replay import ledger_rows
from adapters.hyperliquid.replaying import make_core
from adapters.storage.ledger import OrderLedger
from domain.event_codec import decode_event, encode_events
from domain.events import LedgerEvent, OrderFilled
from replays.against import LedgerCheck
from replays.replaying import Divergence, DivergenceKind, MemoryRecording, Replay
from replays.reporting import headline
from tests.support.core import CoreSession
from tests.support.recordings import recording_of


@pytest.fixture(scope="module")
def recording() -> MemoryRecording:
    session = CoreSession().ready()
    order = session.open(1001)
    session.fill(1001, 1, "0.4", cloid=session.order(order).venue_order_key)
    session.cancel(order)
    session.answer_cancels("success")
    return recording_of(session)


@pytest.fixture(scope="module")
def events(recording: MemoryRecording) -> list[LedgerEvent]:
    return [decode_event(*event) for kept in recording for event in kept.events]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[OrderLedger]:
    with OrderLedger.open(tmp_path / "ledger.db") as ledger:
        yield ledger


def check(
    ledger: OrderLedger, recording: MemoryRecording, *, is_closed: bool = True
) -> tuple[LedgerCheck, Divergence | None]:
    check = LedgerCheck(ledger_rows(ledger), recording.header.session_id, is_closed=is_closed)
    divergence = Replay(recording, make_core, check=check).run().divergence
    return check, divergence or check.finish()


def of_another_session(event: LedgerEvent) -> LedgerEvent:
    return replace(event, causation="00000000beef:7")


def test_the_ledger_of_the_session_holds_its_events(
    ledger: OrderLedger, recording: MemoryRecording, events: list[LedgerEvent]
) -> None:
    ledger.append(events)
    found, divergence = check(ledger, recording)
    assert divergence is None
    assert (found.compared, found.last_position) == (len(events), len(events))
    assert (found.uncommitted, found.unrecorded) == (0, 0)


def test_a_session_begins_where_earlier_ones_ended(
    ledger: OrderLedger, recording: MemoryRecording, events: list[LedgerEvent]
) -> None:
    earlier = [
        replace(of_another_session(event), originator_id=f"earlier {event.originator_id}") for event in events
    ]
    ledger.append(earlier)
    ledger.append(events)
    started = replace(
        recording.inputs[0], item=replace(recording.inputs[0].item, ledger_position=len(earlier))
    )
    later = MemoryRecording(recording.header, (started, *recording.inputs[1:]))
    found, divergence = check(ledger, later)
    assert divergence is None
    assert found.last_position == 2 * len(events)


def test_an_event_that_was_stored_otherwise_is_shown_member_by_member(
    ledger: OrderLedger, recording: MemoryRecording, events: list[LedgerEvent]
) -> None:
    at = next(at for at, event in enumerate(events) if isinstance(event, OrderFilled))
    filled = events[at]
    assert isinstance(filled, OrderFilled)
    ledger.append([*events[:at], replace(filled, fill=replace(filled.fill, trade_id="2")), *events[at + 1 :]])
    _, divergence = check(ledger, recording)
    assert divergence is not None
    assert divergence.kind is DivergenceKind.LEDGER
    ((member,),) = [difference.members for difference in divergence.differences]
    assert (member.name, member.expected, member.actual) == ("fill.trade_id", "2", "1")
    assert f"something else at position {at + 1}" in headline(divergence)


def test_an_event_the_ledger_lacks_is_a_divergence_when_the_session_ended_in_order(
    ledger: OrderLedger, recording: MemoryRecording, events: list[LedgerEvent]
) -> None:
    ledger.append(events[:-1])
    _, divergence = check(ledger, recording)
    assert divergence is not None
    assert headline(divergence).endswith("order.cancelled is not in the ledger: the ledger ends before it")


def test_events_that_a_killed_process_did_not_commit_any_more_are_counted(
    ledger: OrderLedger, recording: MemoryRecording, events: list[LedgerEvent]
) -> None:
    ledger.append(events[:-2])
    found, divergence = check(ledger, recording, is_closed=False)
    assert divergence is None
    assert (found.compared, found.uncommitted) == (len(events) - 2, 2)


def test_after_a_kill_the_ledger_may_go_on_with_another_session(
    ledger: OrderLedger, recording: MemoryRecording, events: list[LedgerEvent]
) -> None:
    ledger.append(events[:-1])
    ledger.append([of_another_session(events[-1])])
    found, divergence = check(ledger, recording, is_closed=False)
    assert divergence is None
    assert (found.uncommitted, found.unrecorded) == (1, 0)


def test_events_that_no_recorded_input_leads_to_are_a_divergence(
    ledger: OrderLedger, recording: MemoryRecording, events: list[LedgerEvent]
) -> None:
    ledger.append(events)
    shorter = MemoryRecording(recording.header, recording.inputs[:-1])
    _, divergence = check(ledger, shorter)
    assert divergence is not None
    assert f"1 more events of this session, from position {len(events)} on" in headline(divergence)


def test_inputs_that_a_killed_process_did_not_record_any_more_are_counted(
    ledger: OrderLedger, recording: MemoryRecording, events: list[LedgerEvent]
) -> None:
    ledger.append(events)
    shorter = MemoryRecording(recording.header, recording.inputs[:-1])
    found, divergence = check(ledger, shorter, is_closed=False)
    assert divergence is None
    assert found.unrecorded == 1


def test_bytes_are_compared_and_not_meanings(
    ledger: OrderLedger, recording: MemoryRecording, events: list[LedgerEvent]
) -> None:
    at = next(at for at, event in enumerate(events) if isinstance(event, OrderFilled))
    filled = events[at]
    assert isinstance(filled, OrderFilled)
    same_number = replace(filled, fill=replace(filled.fill, amount=type(filled.fill.amount)("0.40")))
    assert same_number == filled
    assert encode_events([same_number]) != encode_events([filled])
    ledger.append([*events[:at], same_number, *events[at + 1 :]])
    _, divergence = check(ledger, recording)
    assert divergence is not None
