"""The recorder beside the loop: parts, days, the room it may take, and what it keeps of a core that fails."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from adapters.hyperliquid.replaying import make_core
from domain.effects import Query, SendAction
from domain.event_codec import encode_events
from domain.inputs import RequestAnswered, Started, StreamFrame, TimerFired
from domain.outcome import Outcome
from domain.position import Position
from replays.recorder import SessionRecorder, recording_path, recordings_in
from replays.recording import SessionHeader, effects_digest
from replays.session_file import SessionReader, SessionWriter, read_sessions
from tests.support.core import CoreSession
from tests.support.recordings import header_of

DAY_NS = 86_400_000_000_000
NOTHING = Outcome([], [])


class Recording:
    """A recorder, and what it said of its disk."""

    def __init__(
        self, folder: Path, header: SessionHeader, *, file_bytes: int = 1 << 30, total_bytes: int = 1 << 40
    ) -> None:
        self.failures: list[Exception] = []
        self.recoveries = 0
        self.recorder = SessionRecorder(
            folder,
            "ledger",
            header,
            file_bytes_max=file_bytes,
            total_bytes_max=total_bytes,
            on_failure=self.failures.append,
            on_recovery=self._on_recovery,
        )

    def _on_recovery(self) -> None:
        self.recoveries += 1

    def frames(self, first: int, count: int, *, size: int = 2_000, at_ns: int = 0) -> None:
        for sequence in range(first, first + count):
            frame = StreamFrame(sequence=sequence, at_ns=at_ns, stream="market", data=os.urandom(size))
            self.recorder.record(frame, NOTHING)

    def close(self) -> list[Path]:
        assert self.recorder.close(60)
        assert self.failures == []
        return self.recorder.paths


@pytest.fixture
def header() -> SessionHeader:
    return header_of(CoreSession())


def test_a_session_is_recorded_with_everything_it_led_to(tmp_path: Path) -> None:
    session = CoreSession().ready()
    order = session.open(1001)
    session.fill(1001, 1, "1", cloid=session.order(order).venue_order_key)
    session.advance(2)
    header = header_of(session)
    recording = Recording(tmp_path, header)
    core = make_core(header)
    outcomes = []
    for item in session.inputs:
        outcomes.append(core.step(item))
        recording.recorder.record(item, outcomes[-1])
    [path] = recording.close()
    reader = SessionReader(path)
    assert reader.header == header
    read = list(reader)
    assert [recorded.item for recorded in read] == session.inputs
    assert [recorded.events for recorded in read] == [
        encode_events(change.event for change in outcome.changes) for outcome in outcomes
    ]
    assert [recorded.effects_digest for recorded in read] == [
        effects_digest(outcome.effects) for outcome in outcomes
    ]
    asked = {effect.request_id: effect for effect in session.effects if isinstance(effect, Query)}
    answered = [recorded for recorded in read if isinstance(recorded.item, RequestAnswered)]
    assert [recorded.answers for recorded in answered if recorded.answers in asked.values()] == [
        asked[recorded.item.request_id]  # type: ignore[union-attr]
        for recorded in answered
        if recorded.item.request_id in asked  # type: ignore[union-attr]
    ]
    (placed,) = [recorded for recorded in answered if isinstance(recorded.answers, SendAction)]
    assert dict(placed.events).keys() == {"order.acknowledged"}
    assert reader.is_closed


def test_the_input_on_which_the_core_failed_is_the_last_of_the_recording(
    tmp_path: Path, header: SessionHeader
) -> None:
    recording = Recording(tmp_path, header)
    recording.recorder.record(TimerFired(sequence=1), NOTHING)
    recording.recorder.record_failure(TimerFired(sequence=2), KeyError("gone"))
    [path] = recording.close()
    assert [recorded.failure for recorded in SessionReader(path)] == ["", "KeyError: 'gone'"]


def test_a_recording_goes_on_in_a_new_part_when_it_is_large(tmp_path: Path, header: SessionHeader) -> None:
    recording = Recording(tmp_path, header, file_bytes=1_000_000)
    recording.frames(1, 2_000)
    paths = recording.close()
    assert len(paths) >= 4
    assert paths == recordings_in(tmp_path, "ledger")
    # A part ends with the block that fills it.
    assert all(path.stat().st_size < 1_400_000 for path in paths)
    parts = read_sessions(paths)
    assert [recorded.item.sequence for recorded in parts] == list(range(1, 2_001))
    assert [reader.header.part for reader in parts.readers] == list(range(1, len(paths) + 1))
    assert parts.is_closed


def test_a_recording_goes_on_in_a_new_part_when_a_day_begins(tmp_path: Path, header: SessionHeader) -> None:
    begin = header.started_at_ns
    recording = Recording(tmp_path, header)
    for day in range(3):
        recording.frames(day * 5 + 1, 5, at_ns=begin + day * DAY_NS)
    paths = recording.close()
    parts = read_sessions(paths)
    assert [len(list(reader)) for reader in parts.readers] == [5, 5, 5]
    assert [recorded.item.sequence for recorded in parts] == list(range(1, 16))


def test_the_oldest_finished_recordings_of_this_ledger_make_room(
    tmp_path: Path, header: SessionHeader
) -> None:
    kept = [tmp_path / name for name in ("incident.session", "ledger-2.session", "notes.txt")]
    for path in kept:
        path.write_bytes(bytes(3_000_000))
    with SessionWriter(recording_path(tmp_path, "ledger-2", header), header):
        pass
    recording = Recording(tmp_path, header, file_bytes=500_000, total_bytes=2_000_000)
    recording.frames(1, 3_000)
    paths = recording.close()
    left = recordings_in(tmp_path, "ledger")
    assert left == paths[-len(left) :]
    assert 2 <= len(left) < len(paths)
    # The part being written may pass its bound by one block.
    assert sum(path.stat().st_size for path in left) < 2_000_000 + 300_000
    assert all(path.exists() for path in kept)
    assert len(recordings_in(tmp_path, "ledger-2")) == 1


def test_recordings_of_earlier_sessions_go_before_the_current_one(
    tmp_path: Path, header: SessionHeader
) -> None:
    earlier = []
    for number in range(3):
        old = msgspec.structs.replace(
            header, session_id=f"{number:012x}", started_at_ns=header.started_at_ns - (9 - number) * DAY_NS
        )
        path = recording_path(tmp_path, "ledger", old)
        with SessionWriter(path, old) as writer:
            writer.append(StreamFrame(sequence=1, stream="market", data=os.urandom(400_000)))
        earlier.append(path)
    recording = Recording(tmp_path, header, file_bytes=500_000, total_bytes=1_400_000)
    [path] = recording.close()
    assert recordings_in(tmp_path, "ledger") == [*earlier[1:], path]


def test_of_two_sessions_of_one_second_the_elder_goes_first(tmp_path: Path, header: SessionHeader) -> None:
    begun = []
    for number, session_id in enumerate(("f" * 12, "0" * 12)):
        started_at_ns = header.started_at_ns - DAY_NS + 1 + number
        old = msgspec.structs.replace(header, session_id=session_id, started_at_ns=started_at_ns)
        path = recording_path(tmp_path, "ledger", old)
        with SessionWriter(path, old) as writer:
            writer.append(StreamFrame(sequence=1, stream="market", data=os.urandom(400_000)))
        begun.append(path)
    elder, younger = begun
    assert recordings_in(tmp_path, "ledger") == sorted(begun) == [elder, younger]
    recording = Recording(tmp_path, header, file_bytes=500_000, total_bytes=1_000_000)
    [path] = recording.close()
    assert recordings_in(tmp_path, "ledger") == [younger, path]


def test_names_that_tell_the_second_only_are_recordings_too(tmp_path: Path, header: SessionHeader) -> None:
    new = recording_path(tmp_path, "ledger", header)
    second = datetime.fromtimestamp(header.started_at_ns // 1_000_000_000, UTC)
    same = tmp_path / f"ledger-{second:%Y%m%dT%H%M%SZ}-{'f' * 12}-0001.session"
    before = tmp_path / f"ledger-{second - timedelta(seconds=1):%Y%m%dT%H%M%SZ}-{'f' * 12}-0002.session"
    for path in (new, same, before):
        path.write_bytes(b"")
    assert recordings_in(tmp_path, "ledger") == [before, same, new]


def test_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path, header: SessionHeader) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match="file"):
        Recording(blocked / "sessions", header)


def test_stepping_never_changes_an_input() -> None:
    """A recording in memory is replayed many times from the same inputs."""
    started = Started(
        session_id="000000abcdef",
        ledger_position=9,
        books_begin_ms=1,
        positions=(
            Position(
                trading_pair="BTC-USD",
                amount=Decimal("1.5"),
                entry_cost=Decimal(64_500),
                entry_amount=Decimal("1.5"),
            ),
        ),
    )
    before = msgspec.msgpack.encode(started)
    session = CoreSession(started=started)
    session.positions = [{"coin": "BTC", "szi": "1.5", "entryPx": "43000.0"}]
    session.ready()
    order = session.open(2001)
    session.fill(2001, 2, "1", cloid=session.order(order).venue_order_key, startPosition="1.5")
    assert session.connector.position("BTC-USD").amount == Decimal("2.5")
    assert msgspec.msgpack.decode(before, type=Started).positions == started.positions
