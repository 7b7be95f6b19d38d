"""The group commit against a store that refuses, loses the answer, or takes its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, get_ident
from time import monotonic, sleep
from typing import Any

import pytest
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder

from adapters.storage.errors import (
    BacklogFullError,
    LedgerClosedError,
    LedgerConflictError,
    LedgerUnavailableError,
    UnflushedEventsError,
)
from adapters.storage.group_commit import Committed, GroupCommitWriter, Refused
from adapters.storage.mapper import MessagePackMapper
from adapters.storage.records import EventRecord, LibraryRecordStore
from tests.contract.storage.samples import created, filled, life, order_id, submitted


class _Recorder(POPOApplicationRecorder):
    """A recorder that can lose its answer: it records, and then raises the next of `lost_answers`."""

    def __init__(self) -> None:
        super().__init__()
        self.lost_answers: list[BaseException] = []

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        positions = super().insert_events(stored_events, **kwargs)
        if self.lost_answers:
            raise self.lost_answers.pop(0)
        return positions


class Disk:
    """A store in memory that can be told to refuse, to lose its answer, and to wait."""

    def __init__(self) -> None:
        self.recorder = _Recorder()
        self.store = LibraryRecordStore(self.recorder)
        self.refuse: BaseException | None = None
        self.open_gate = Event()
        self.open_gate.set()
        self.at_gate = Event()
        self.transactions: list[int] = []
        self.attempts = 0

    def insert_records(self, records: Sequence[EventRecord]) -> Sequence[int]:
        self.at_gate.set()
        assert self.open_gate.wait(60)
        self.attempts += 1
        refusal = self.refuse
        if refusal is not None:
            raise refusal
        positions = self.store.insert_records(records)
        self.transactions.append(len(records))
        return positions

    def positions_of(self, records: Sequence[EventRecord]) -> Sequence[int] | None:
        return self.store.positions_of(records)

    def has_version(self, originator_id: str, originator_version: int) -> bool:
        return self.store.has_version(originator_id, originator_version)

    def identities(self) -> list[tuple[str, int]]:
        stored = self.recorder.select_notifications(None, 100_000)
        return [(str(each.originator_id), each.originator_version) for each in stored]


@contextmanager
def _writing(disk: Disk, **options: Any) -> Iterator[GroupCommitWriter]:
    options = {"first_retry_seconds": 0.001, "last_retry_seconds": 0.01, **options}
    writer = GroupCommitWriter(disk, MessagePackMapper().to_record, **options)
    try:
        yield writer
    finally:
        disk.refuse = None
        disk.open_gate.set()
        writer.close()


def _full() -> LedgerUnavailableError:
    return LedgerUnavailableError("database or disk is full")


def test_what_waits_while_the_disk_is_busy_goes_in_one_transaction() -> None:
    disk = Disk()
    disk.open_gate.clear()
    with _writing(disk) as writer:
        first = writer.submit(life(0))
        assert disk.at_gate.wait(60)
        rest = [writer.submit(life(number)) for number in range(1, 101)]
        assert writer.backlog == 303
        disk.open_gate.set()
        assert list(first.result(60).positions) == [1, 2, 3]
        assert [list(each.result(60).positions) for each in rest][-1] == [301, 302, 303]
        assert writer.backlog == 0
    assert disk.transactions == [3, 300]


def test_a_transaction_is_bounded_but_a_submission_is_never_divided() -> None:
    disk = Disk()
    disk.open_gate.clear()
    with _writing(disk, max_batch_events=10) as writer:
        writer.enqueue(life(0))
        assert disk.at_gate.wait(60)
        for number in range(1, 6):
            writer.enqueue(life(number))
        writer.enqueue([event for number in range(6, 11) for event in life(number)])
        writer.enqueue(life(11))
        disk.open_gate.set()
    assert disk.transactions == [3, 9, 6, 15, 3]


def test_submitting_never_waits_for_the_disk() -> None:
    disk = Disk()
    disk.open_gate.clear()
    with _writing(disk) as writer:
        futures = [writer.submit(life(number)) for number in range(100)]
        assert not any(future.done() for future in futures)


def test_while_the_disk_refuses_nothing_is_called_durable_and_nothing_is_lost() -> None:
    disk = Disk()
    stalls: list[BaseException] = []
    stalled, resumed = Event(), Event()
    told: list[Committed] = []

    def on_stall(error: BaseException) -> None:
        stalls.append(error)
        stalled.set()

    with _writing(disk, on_stall=on_stall, on_resume=resumed.set, on_committed=told.extend) as writer:
        disk.refuse = _full()
        futures = [writer.submit(life(number)) for number in range(20)]
        assert stalled.wait(60)
        _until(lambda: writer.stalled is disk.refuse)
        assert writer.backlog == 60
        _until(lambda: disk.attempts > 5)
        assert not any(future.done() for future in futures)
        assert told == []
        assert not resumed.is_set()
        disk.refuse = None
        assert [future.result(60).positions[0] for future in futures] == list(range(1, 61, 3))
        assert resumed.wait(60)
        _until(lambda: writer.stalled is None)
    assert len(stalls) == 1
    assert disk.identities() == [(order_id(number), version) for number in range(20) for version in (1, 2, 3)]


@pytest.mark.parametrize(
    "error", [_full(), OperationalError("connection lost"), OSError(5, "I/O"), MemoryError()]
)
def test_every_kind_of_refusal_is_waited_out(error: BaseException) -> None:
    disk = Disk()
    with _writing(disk) as writer:
        disk.refuse = error
        future = writer.submit(life(1))
        _until(lambda: writer.stalled is error)
        disk.refuse = None
        assert list(future.result(60).positions) == [1, 2, 3]


def test_a_commit_whose_answer_was_lost_is_recognised_and_not_a_conflict() -> None:
    disk = Disk()
    disk.recorder.lost_answers = [OperationalError("server closed the connection")]
    with _writing(disk) as writer:
        writer.submit(life(7)).result(60)
        disk.recorder.lost_answers = [OperationalError("server closed the connection")]
        assert list(writer.submit(life(8)).result(60).positions) == [4, 5, 6]
    assert len(disk.identities()) == 6


def test_a_conflict_is_still_a_conflict_after_a_lost_answer() -> None:
    disk = Disk()
    with _writing(disk) as writer:
        writer.submit(life(1)).result(60)
        disk.open_gate.clear()
        disk.at_gate.clear()
        blocker = writer.submit(life(50))
        assert disk.at_gate.wait(60)
        disk.recorder.lost_answers = [OperationalError("connection lost")]
        good, bad = writer.submit(life(2)), writer.submit([created(1, 1, venue_order_key="other")])
        disk.open_gate.set()
        assert list(blocker.result(60).positions) == [4, 5, 6]
        assert list(good.result(60).positions) == [7, 8, 9]
        assert isinstance(bad.exception(60), IntegrityError)


def test_a_conflict_costs_its_neighbours_nothing() -> None:
    disk = Disk()
    refused: list[Refused] = []
    with _writing(disk, on_refused=refused.extend) as writer:
        writer.submit(life(1)).result(60)
        disk.open_gate.clear()
        disk.at_gate.clear()
        writer.enqueue(life(90))
        assert disk.at_gate.wait(60)
        futures = [writer.submit(life(number)) for number in range(2, 34)]
        futures[20:20] = [writer.submit([submitted(1)])]
        disk.open_gate.set()
        assert isinstance(futures.pop(20).exception(60), IntegrityError)
        assert all(future.exception(60) is None for future in futures)
    assert [each.events for each in refused] == [[submitted(1)]]


def test_an_error_that_is_nobodys_refusal_is_isolated_to_its_submission() -> None:
    class Choking(Disk):
        def insert_records(self, records: Sequence[EventRecord]) -> Sequence[int]:
            if any(record[0] == order_id(13) for record in records):
                raise OverflowError("Python int too large to convert to SQLite INTEGER")
            return super().insert_records(records)

    disk = Choking()
    disk.open_gate.clear()
    with _writing(disk) as writer:
        writer.enqueue(life(0))
        futures = [writer.submit(life(number)) for number in range(10, 20)]
        disk.open_gate.set()
        failed = [future.exception(60) for future in futures]
    assert isinstance(failed.pop(3), OverflowError)
    assert failed == [None] * 9


def test_what_continues_a_refused_event_is_refused_until_the_hole_is_filled() -> None:
    disk = Disk()
    with _writing(disk) as writer:
        writer.submit([created(1), created(2)]).result(60)
        refused = writer.submit([submitted(1), created(2)])
        assert isinstance(refused.exception(60), IntegrityError)
        behind = writer.submit([filled(1)])
        assert isinstance(behind.exception(60), LedgerConflictError)
        assert writer.submit([submitted(1), filled(1)]).exception(60) is None
        assert writer.submit([filled(1, 4)]).exception(60) is None
    assert disk.identities() == [
        (order_id(1), 1),
        (order_id(2), 1),
        (order_id(1), 2),
        (order_id(1), 3),
        (order_id(1), 4),
    ]


def test_a_store_that_cannot_say_what_is_recorded_is_asked_again() -> None:
    class Mute(Disk):
        mute = 0

        def has_version(self, originator_id: str, originator_version: int) -> bool:
            if self.mute:
                self.mute -= 1
                raise OperationalError("connection lost")
            return super().has_version(originator_id, originator_version)

    disk = Mute()
    with _writing(disk) as writer:
        writer.submit([created(1), created(2)]).result(60)
        assert writer.submit([submitted(1), submitted(2), created(2)]).exception(60) is not None
        disk.mute = 3
        behind = [writer.submit([filled(1)]), writer.submit([filled(2)])]
        assert [type(each.exception(60)) for each in behind] == [LedgerConflictError] * 2
        assert writer.submit([submitted(1)]).exception(60) is None
    assert disk.mute == 0


def test_a_full_backlog_takes_nothing_and_says_so() -> None:
    disk = Disk()
    disk.open_gate.clear()
    with _writing(disk, max_backlog_events=9) as writer:
        for number in range(3):
            writer.enqueue(life(number))
        with pytest.raises(BacklogFullError, match="stop taking input"):
            writer.submit(life(3))
        assert writer.backlog == 9
        disk.open_gate.set()
        _until(lambda: writer.backlog == 0)
        writer.submit(life(3)).result(60)
    assert len(disk.identities()) == 12


def test_a_listener_that_raises_cannot_stop_the_ledger() -> None:
    disk = Disk()

    def broken(*_: object) -> None:
        raise RuntimeError("a listener's own bug")

    with _writing(disk, on_committed=broken, on_refused=broken) as writer:
        writer.submit(life(1)).result(60)
        assert writer.submit(life(1)).exception(60) is not None
        writer.submit(life(2)).result(60)
        assert writer.listener_errors == 3


def test_a_writer_that_breaks_down_is_not_taken_for_one_that_works() -> None:
    class Exit(BaseException):
        pass

    def leave(_: list[Committed]) -> None:
        raise Exit("out of the thread")

    stalls: list[BaseException] = []
    disk = Disk()
    disk.open_gate.clear()
    writer = GroupCommitWriter(
        disk, MessagePackMapper().to_record, on_committed=leave, on_stall=stalls.append
    )
    first = writer.submit(life(1))
    assert disk.at_gate.wait(60)
    second = writer.submit(life(2))
    disk.open_gate.set()
    assert isinstance(first.exception(60), UnflushedEventsError)
    assert isinstance(second.exception(60), UnflushedEventsError)
    assert [type(error) for error in stalls] == [Exit]
    with pytest.raises(LedgerClosedError):
        writer.submit(life(3))
    with pytest.raises(UnflushedEventsError):
        writer.close()


def test_listeners_are_called_from_the_writers_thread_before_the_futures_end() -> None:
    disk = Disk()
    told: list[Committed] = []
    threads: set[int] = set()

    def on_committed(batch: list[Committed]) -> None:
        threads.add(get_ident())
        told.extend(batch)

    with _writing(disk, on_committed=on_committed) as writer:
        writer.submit(life(1), context="mine").result(60)
        assert [each.context for each in told] == ["mine"]
    assert get_ident() not in threads


def test_closing_while_the_disk_refuses_gives_up_after_its_timeout_and_says_what_is_lost() -> None:
    disk = Disk()
    disk.refuse = _full()
    with _writing(disk) as writer:
        futures = [writer.submit(life(number)) for number in range(3)]
        _until(lambda: writer.stalled is not None)
        with pytest.raises(UnflushedEventsError, match="9 events") as caught:
            writer.close(timeout=0.01)
        assert caught.value.count == 9
        for future in futures:
            assert isinstance(future.exception(60), UnflushedEventsError)
        with pytest.raises(LedgerClosedError):
            writer.submit(life(4))
    assert disk.identities() == []


def test_closing_waits_for_a_disk_that_recovers() -> None:
    disk = Disk()
    disk.refuse = _full()
    recovered = Event()

    def on_stall(_: BaseException) -> None:
        disk.refuse = None
        recovered.set()

    writer = GroupCommitWriter(
        disk, MessagePackMapper().to_record, on_stall=on_stall, first_retry_seconds=0.001
    )
    writer.enqueue(life(1))
    writer.close(timeout=None)
    assert recovered.is_set()
    assert len(disk.identities()) == 3


def test_a_future_of_a_submission_cannot_be_cancelled() -> None:
    disk = Disk()
    disk.open_gate.clear()
    with _writing(disk) as writer:
        future = writer.submit(life(1))
        assert not future.cancel()
        disk.open_gate.set()
        assert future.result(60).events == life(1)


def test_positions_after_a_lost_answer_are_found_among_many_others() -> None:
    recorder = POPOApplicationRecorder()
    recorder.insert_events([StoredEvent("other", version, "t", b"") for version in range(1, 1501)])
    store = LibraryRecordStore(recorder)
    records = [MessagePackMapper().to_record(event) for event in life(1)]
    assert store.positions_of(records) is None
    recorder.insert_events([StoredEvent("other", version, "t", b"") for version in range(1501, 3001)])
    recorder.insert_events([StoredEvent(*record[:4]) for record in records])
    assert store.positions_of(records) == [3001, 3002, 3003]
    assert store.positions_of([(order_id(1), 1, "order.created", b"different", ())]) is None


def _until(condition: Callable[[], bool]) -> None:
    gives_up_at = monotonic() + 60
    while not condition():
        assert monotonic() < gives_up_at, "waited in vain"
        sleep(0.001)
