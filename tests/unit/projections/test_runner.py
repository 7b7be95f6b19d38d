"""The thread that keeps the views of a live ledger."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from projections import (
    DamagedViewsError,
    NotViewsError,
    ProjectionRunner,
    Views,
    ViewsBusyError,
    ViewsUnavailableError,
)
from projections.follower import Follower
from projections.views_file import ViewsFile
from tests.unit.projections.logs import LogBuilder, MemoryLog


@pytest.fixture
def events() -> LogBuilder:
    return LogBuilder()


@pytest.fixture
def views(tmp_path: Path) -> Path:
    return tmp_path / "ledger.views.db"


def until(condition: Callable[[], bool]) -> None:
    gives_up_at = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < gives_up_at, "waited in vain"
        time.sleep(0.001)


def test_an_event_is_in_the_views_once_the_runner_says_so(events: LogBuilder, views: Path) -> None:
    log = MemoryLog()
    with ProjectionRunner(log, views) as runner:
        for number in range(50):
            events.created(f"o{number}")
            log.append(events.events[-1])
            assert runner.wait_for(number + 1, 60)
            with Views(views) as asked:
                assert asked.order(f"o{number}") is not None
        assert (runner.position, runner.lag, runner.failure) == (50, 0, None)


def test_stopping_folds_in_what_the_ledger_holds(events: LogBuilder, views: Path) -> None:
    for number in range(3_000):
        events.created(f"o{number}")
    log = MemoryLog(events.events[:1])
    runner = ProjectionRunner(log, views)
    runner.start()
    log.append(*events.events[1:])
    runner.stop()
    runner.stop()
    with Views(views) as asked:
        assert asked.position == 3_000


def test_a_second_runner_is_refused_until_the_first_one_stops(events: LogBuilder, views: Path) -> None:
    events.created("o1")
    log = MemoryLog(events.events)
    first, second = ProjectionRunner(log, views), ProjectionRunner(log, views)
    first.start()
    with pytest.raises(ViewsBusyError):
        second.start()
    first.stop()
    second.start()
    assert second.wait_for(1, 60)
    second.stop()


def test_stopping_one_that_never_started_does_nothing(views: Path) -> None:
    ProjectionRunner(MemoryLog(), views).stop()


def test_waiting_for_what_has_not_happened_ends_with_its_timeout(views: Path) -> None:
    with ProjectionRunner(MemoryLog(), views) as runner:
        assert not runner.wait_for(1, 0.01)


def test_a_disk_that_refuses_is_reported_once_and_nothing_is_lost(
    events: LogBuilder, views: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The real failure: another program holds the views' write lock for longer than a writer waits."""
    monkeypatch.setattr("projections.views_file.BUSY_TIMEOUT_S", 0.01)
    heard: list[Exception] = []
    intruders: list[sqlite3.Connection] = []

    def on_failure(error: Exception) -> None:
        heard.append(error)
        # In the runner's own thread, so that the very next attempt finds the lock free.
        intruders[0].execute("ROLLBACK")

    log = MemoryLog()
    with (
        caplog.at_level(logging.INFO, "projections"),
        ProjectionRunner(log, views, on_failure=on_failure) as runner,
    ):
        events.created("o1")
        log.append(events.events[-1])
        assert runner.wait_for(1, 60)
        with closing(sqlite3.connect(views, isolation_level=None, check_same_thread=False)) as intruder:
            intruders.append(intruder)
            intruder.execute("BEGIN IMMEDIATE")
            events.submitted("o1")
            log.append(events.events[-1])
            assert runner.wait_for(2, 60)
        assert runner.failure is None
    assert [type(error) for error in heard] == [ViewsUnavailableError]
    told = [record.levelname for record in caplog.records if record.name.startswith("projections")]
    assert told == ["ERROR", "INFO"]
    with Views(views) as asked:
        assert len(asked.timeline("o1")) == 2


def test_a_disk_that_goes_on_refusing_is_reported_once_however_often_it_is_tried(
    events: LogBuilder, views: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("projections.views_file.BUSY_TIMEOUT_S", 0.01)
    monkeypatch.setattr("projections.runner._LONGEST_RETRY_S", 0.001)
    heard: list[Exception | None] = []
    log = MemoryLog()
    runner = ProjectionRunner(log, views, on_failure=lambda _: heard.append(runner.failure))
    with caplog.at_level(logging.INFO, "projections"), runner:
        events.created("o1")
        log.append(events.events[-1])
        assert runner.wait_for(1, 60)
        with closing(sqlite3.connect(views, isolation_level=None)) as intruder:
            intruder.execute("BEGIN IMMEDIATE")
            events.submitted("o1")
            log.append(events.events[-1])
            until(lambda: runner.failure is not None)
            failures = set()
            for _ in range(20):
                first = runner.failure
                until(lambda: runner.failure is not first)  # noqa: B023
                failures.add(type(runner.failure))
            intruder.execute("ROLLBACK")
        assert runner.wait_for(2, 60)
    assert failures == {ViewsUnavailableError}
    assert [type(failure) for failure in heard] == [ViewsUnavailableError]
    told = [record.levelname for record in caplog.records if record.name.startswith("projections")]
    assert told == ["ERROR", "INFO"]


def test_a_file_in_the_way_is_said_and_the_views_come_once_it_is_gone(
    events: LogBuilder, views: Path
) -> None:
    views.write_text("not views")
    heard: list[Exception] = []
    failed = threading.Event()

    def on_failure(error: Exception) -> None:
        heard.append(error)
        failed.set()

    events.created("o1")
    with ProjectionRunner(MemoryLog(events.events), views, on_failure=on_failure) as runner:
        assert failed.wait(60)
        until(lambda: isinstance(runner.failure, NotViewsError))
        views.unlink()
        assert runner.wait_for(1, 60)
        assert runner.failure is None
    assert isinstance(heard[0], NotViewsError)


def test_damage_that_shows_only_later_has_the_views_built_anew(events: LogBuilder, views: Path) -> None:
    for number in range(200):
        events.open_order(f"o{number}", str(number))
    log = MemoryLog(events.events)
    with ProjectionRunner(log, views) as runner:
        assert runner.wait_for(600, 60)
    with closing(sqlite3.connect(views)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'fill_bookings'"
        ).fetchone()
    content = bytearray(views.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = bytes(4096)
    views.write_bytes(content)
    events.filled("o1")
    log.append(events.events[-1])
    heard: list[Exception] = []
    with ProjectionRunner(log, views, on_failure=heard.append) as runner:
        assert runner.wait_for(601, 60)
    assert [type(error) for error in heard] == [DamagedViewsError]
    with Views(views) as asked:
        assert (len(asked.orders()), len(asked.fills())) == (200, 1)


def test_a_batch_is_written_with_its_position_or_not_at_all(events: LogBuilder, views: Path) -> None:
    events.open_order("o1", "77")
    log = MemoryLog(events.events)
    with ProjectionRunner(log, views) as runner:
        assert runner.wait_for(3, 60)
    with closing(sqlite3.connect(views)) as connection, connection:
        connection.execute("CREATE TRIGGER t BEFORE UPDATE ON progress BEGIN SELECT RAISE(ABORT, 'no'); END")
    events.filled("o1")
    log.append(events.events[-1])
    with (
        ViewsFile.open(views) as file,
        Follower(log, file) as follower,
        pytest.raises(ViewsUnavailableError),
    ):
        follower.step(0)
    with Views(views) as asked:
        assert (asked.position, asked.fills(), len(asked.timeline("o1"))) == (3, [], 3)
