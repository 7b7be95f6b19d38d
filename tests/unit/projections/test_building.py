"""Views that do not fit are built anew beside the old ones; what is somebody else's is left alone."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from projections import (
    NewerViewsError,
    NotViewsError,
    OtherLedgerError,
    ProjectionRunner,
    Views,
    ViewsBusyError,
    ViewsMissingError,
    ViewsUnavailableError,
    are_current,
    catch_up,
    rebuild,
    views_digest,
    views_path_for,
)
from projections.building import offered_path
from projections.tables import SCHEMA_VERSION
from projections.views_lock import ViewsLock
from tests.unit.projections.logs import LogBuilder, MemoryLog


@pytest.fixture
def events() -> LogBuilder:
    builder = LogBuilder()
    for number in range(10):
        builder.open_order(f"o{number}", str(number))
        builder.filled(f"o{number}", fill_key=str(number))
    return builder


@pytest.fixture
def log(events: LogBuilder) -> MemoryLog:
    return MemoryLog(events.events)


@pytest.fixture
def views(tmp_path: Path) -> Path:
    return tmp_path / "ledger.views.db"


def _set(views: Path, **columns: object) -> None:
    with closing(sqlite3.connect(views)) as connection, connection:
        for name, value in columns.items():
            connection.execute(f"UPDATE progress SET {name} = ?", (value,))


def _left_beside(views: Path) -> set[str]:
    return {path.name for path in views.parent.iterdir()} - {
        views.name,
        *(f"{views.name}{suffix}" for suffix in ("-wal", "-shm", ".lock")),
    }


@pytest.mark.parametrize(
    ("ledger", "expected"),
    [("ledger.db", "ledger.views.db"), ("a/b.sqlite", "a/b.views.sqlite"), ("ledger", "ledger.views.db")],
)
def test_views_stand_beside_their_ledger(ledger: str, expected: str) -> None:
    assert views_path_for(ledger) == Path(expected)


def test_views_of_an_empty_ledger_are_empty_and_current(views: Path) -> None:
    log = MemoryLog()
    assert not are_current(log, views)
    assert catch_up(log, views) == 0
    assert are_current(log, views)
    with Views(views) as asked:
        assert (asked.orders(), asked.positions(), asked.position) == ([], [], 0)


def test_catching_up_goes_on_where_the_views_stand(events: LogBuilder, views: Path) -> None:
    log = MemoryLog(events.events[:7])
    assert catch_up(log, views) == 7
    log.append(*events.events[7:])
    assert not are_current(log, views)
    assert catch_up(log, views) == 40
    assert are_current(log, views)
    assert not _left_beside(views)


def test_progress_is_told_while_views_are_built(log: MemoryLog, views: Path) -> None:
    told: list[tuple[int, int]] = []
    catch_up(log, views, lambda position, target: told.append((position, target)))
    assert told == [(40, 40)]


def test_a_ledger_put_back_from_a_copy_has_its_views_built_anew(
    events: LogBuilder, log: MemoryLog, views: Path
) -> None:
    catch_up(log, views)
    shorter = MemoryLog(events.events[:20])
    assert catch_up(shorter, views) == 20
    with Views(views) as asked:
        assert len(asked.orders()) == 5


def test_a_ledger_that_went_on_differently_has_its_views_built_anew(
    events: LogBuilder, log: MemoryLog, views: Path
) -> None:
    catch_up(log, views)
    other = LogBuilder()
    other.events = events.events[:20]
    for number in range(30):
        other.created(f"other{number}")
    assert catch_up(MemoryLog(other.events), views) == 50
    with Views(views) as asked:
        assert len(asked.orders()) == 35


@pytest.mark.parametrize("stale", [{"schema_version": SCHEMA_VERSION - 1}, {"event_vocabulary": "older"}])
def test_views_of_an_older_version_are_built_anew(
    log: MemoryLog, views: Path, stale: dict[str, object]
) -> None:
    catch_up(log, views)
    built = views_digest(views)
    with closing(sqlite3.connect(views)) as connection, connection:
        connection.execute("DELETE FROM fill_bookings")
    _set(views, **stale)
    assert not are_current(log, views)
    catch_up(log, views)
    assert views_digest(views) == built


def test_views_of_a_newer_version_are_left_alone(log: MemoryLog, views: Path) -> None:
    catch_up(log, views)
    _set(views, schema_version=1_000)
    with pytest.raises(NewerViewsError, match="upgrade it"):
        catch_up(log, views)
    with pytest.raises(NewerViewsError):
        Views(views)


def test_views_of_another_ledger_are_left_alone(events: LogBuilder, log: MemoryLog, views: Path) -> None:
    catch_up(log, views)
    before = views_digest(views)
    with pytest.raises(OtherLedgerError, match="give each ledger its own"):
        catch_up(MemoryLog(events.events, ledger_id="b" * 32), views)
    assert views_digest(views) == before


def test_a_file_of_something_else_is_left_alone(log: MemoryLog, views: Path) -> None:
    views.write_text("shopping list\n")
    with pytest.raises(NotViewsError, match="no SQLite file"):
        catch_up(log, views)
    assert views.read_text() == "shopping list\n"


def test_a_database_of_something_else_is_left_alone(log: MemoryLog, views: Path) -> None:
    with closing(sqlite3.connect(views)) as connection, connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    before = views.read_bytes()
    for refuse in (lambda: catch_up(log, views), lambda: Views(views)):
        with pytest.raises(NotViewsError, match="something else"):
            refuse()
    assert views.read_bytes() == before


@pytest.mark.parametrize("content", [None, b""])
def test_missing_views_say_so(views: Path, content: bytes | None) -> None:
    if content is not None:
        views.write_bytes(content)
    with pytest.raises(ViewsMissingError, match="built from the ledger"):
        Views(views)


@pytest.mark.parametrize("damage", ["torn", "progress lost", "first page"])
def test_damaged_views_are_built_anew(log: MemoryLog, views: Path, damage: str) -> None:
    catch_up(log, views)
    built = views_digest(views)
    if damage == "progress lost":
        with closing(sqlite3.connect(views)) as connection, connection:
            connection.execute("DROP TABLE progress")
    else:
        content = bytearray(views.read_bytes())
        if damage == "torn":
            del content[5_000:]
        else:
            content[100:4_096] = bytes(3_996)
        views.write_bytes(content)
    catch_up(log, views)
    assert views_digest(views) == built
    assert not _left_beside(views)


def test_a_log_left_behind_by_deleted_views_is_not_taken_for_the_new_ones(
    log: MemoryLog, events: LogBuilder, views: Path
) -> None:
    other = LogBuilder()
    other.created("stranger")
    runner = ProjectionRunner(MemoryLog(other.events), views)
    runner.start()
    assert runner.wait_for(1, 10)
    leftover = Path(f"{views}-wal").read_bytes()
    runner.stop()
    for path in (views, Path(f"{views}-shm")):
        path.unlink(missing_ok=True)
    Path(f"{views}-wal").write_bytes(leftover)

    catch_up(log, views)

    with Views(views) as asked:
        assert len(asked.orders()) == 10


def test_only_one_process_keeps_the_views(log: MemoryLog, views: Path) -> None:
    with ViewsLock(views), pytest.raises(ViewsBusyError, match=f"process {os.getpid()}"):
        catch_up(log, views)
    assert catch_up(log, views) == 40


def test_a_directory_that_is_not_there_is_said(log: MemoryLog, tmp_path: Path) -> None:
    with pytest.raises(ViewsUnavailableError, match="is their directory there and writable"):
        catch_up(log, tmp_path / "nowhere" / "l.views.db")


# Rebuilding


@pytest.fixture
def keeper(log: MemoryLog, views: Path) -> Iterator[ProjectionRunner]:
    with ProjectionRunner(log, views) as runner:
        assert runner.wait_for(40, 60)
        yield runner


def test_a_rebuild_beside_a_live_keeper_is_taken_over_by_it(
    keeper: ProjectionRunner, events: LogBuilder, log: MemoryLog, views: Path
) -> None:
    with closing(sqlite3.connect(views)) as connection, connection:
        connection.execute("DELETE FROM fill_bookings")
    with Views(views) as asked:
        assert asked.fills() == []
        rebuild(log, views)
        # The connection that was open all the time sees the new views.
        assert len(asked.fills()) == 10
    events.created("later")
    log.append(events.events[-1])
    assert keeper.wait_for(41, 60)
    with Views(views) as asked:
        assert asked.order("later") is not None
    assert not _left_beside(views)


def test_readers_see_the_old_or_the_new_views_and_nothing_between(
    keeper: ProjectionRunner, log: MemoryLog, views: Path
) -> None:
    seen: set[tuple[int, int, int]] = set()
    failures: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            with Views(views) as asked:
                is_last = False
                while not is_last:
                    is_last = done.is_set()
                    with asked.frozen():
                        seen.add((asked.position, len(asked.orders()), len(asked.fills())))
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(5):
        rebuild(log, views)
    done.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert seen == {(40, 10, 10)}


def test_an_offer_made_for_another_ledger_is_thrown_away(
    keeper: ProjectionRunner, events: LogBuilder, log: MemoryLog, views: Path
) -> None:
    foreign = views.with_name("foreign.db")
    catch_up(MemoryLog(events.events[:4], ledger_id="b" * 32), foreign)
    before = views_digest(views)
    foreign.replace(offered_path(views))
    events.created("later")
    log.append(events.events[-1])
    assert keeper.wait_for(41, 60)
    rebuild(log, views)
    assert not offered_path(views).exists()
    catch_up(MemoryLog(events.events[:40]), views.with_name("reference.db"))
    assert views_digest(views.with_name("reference.db")) == before


def test_what_a_killed_builder_left_behind_is_removed(log: MemoryLog, views: Path) -> None:
    abandoned = views.with_name(f"{views.name}.0a1b2c3d.building")
    abandoned.write_bytes(b"half of it")
    rebuild(log, views)
    assert not _left_beside(views)


def test_a_rebuild_where_there_are_no_views_makes_them(log: MemoryLog, views: Path) -> None:
    rebuild(log, views)
    assert are_current(log, views)
