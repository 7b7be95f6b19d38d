"""Opening a ledger: modes, and files that are none, are newer, or belong to somebody else."""

from __future__ import annotations

import gc
import hashlib
import os
import sqlite3
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from eventsourcing.persistence import NotSupportedError

from adapters.storage.errors import (
    DamagedLedgerError,
    ForeignLedgerError,
    LedgerClosedError,
    LedgerError,
    LedgerInUseError,
    LedgerNotFoundError,
    LedgerReadOnlyError,
    LedgerUnavailableError,
    NewerLedgerError,
)
from adapters.storage.ledger import OrderLedger
from tests.contract.storage.samples import created, life, order_id
from tests.unit.storage.tampering import tamper

MODES = pytest.mark.parametrize("writer", [True, False], ids=["for writing", "for reading"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with OrderLedger.open(path) as ledger:
        ledger.append(life(1))
    return path


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_ledger_is_created_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with OrderLedger.open(path) as ledger:
        ledger.append(life(1))
    with OrderLedger.open(path) as ledger:
        assert ledger.events_of(order_id(1)) == life(1)
        assert list(ledger.append([created(2)]).positions) == [4]


def test_the_ledger_file_stands_alone_once_it_is_closed(path: Path) -> None:
    assert sorted(each.name for each in path.parent.iterdir()) == ["ledger.db", "ledger.db.lock"]


@MODES
def test_a_missing_ledger_is_not_created_unless_asked(tmp_path: Path, writer: bool) -> None:
    with pytest.raises(LedgerNotFoundError, match="no ledger at"):
        OrderLedger.open(tmp_path / "no.db", writer=writer, create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_never_creates_a_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerNotFoundError):
        OrderLedger.open(tmp_path / "no.db", writer=False)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_becomes_a_ledger_for_a_writer(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with OrderLedger.open(tmp_path / "empty.db") as ledger:
        ledger.append(life(1))
    with OrderLedger.open(tmp_path / "empty.db", writer=False) as ledger:
        assert ledger.max_position == 3


@MODES
def test_an_empty_file_is_no_ledger_unless_it_may_be_created(tmp_path: Path, writer: bool) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(LedgerNotFoundError, match="empty"):
        OrderLedger.open(tmp_path / "empty.db", writer=writer, create=False)
    assert (tmp_path / "empty.db").stat().st_size == 0


@MODES
def test_a_file_that_is_no_database_is_foreign_and_left_as_it_is(tmp_path: Path, writer: bool) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("remember the milk\n" * 1000)
    before = _digest(path)
    with pytest.raises(ForeignLedgerError, match="Check the path"):
        OrderLedger.open(path, writer=writer)
    assert _digest(path) == before


@MODES
@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE customers (name TEXT)",
        "PRAGMA application_id = 1234; CREATE TABLE stored_events (x)",
        "CREATE TABLE meta (name TEXT, value TEXT); CREATE TABLE stored_events (x)",
        "CREATE TABLE meta (something TEXT)",
    ],
)
def test_another_programs_database_is_foreign_and_left_as_it_is(
    tmp_path: Path, script: str, writer: bool
) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.executescript(script)
    other.close()
    before = _digest(path)
    with pytest.raises(ForeignLedgerError, match="another program"):
        OrderLedger.open(path, writer=writer)
    assert _digest(path) == before


@MODES
def test_a_ledger_of_a_newer_version_is_refused_and_left_as_it_is(path: Path, writer: bool) -> None:
    tamper(path, "UPDATE meta SET value = '2' WHERE name = 'schema_version'")
    before = _digest(path)
    with pytest.raises(NewerLedgerError, match="Upgrade"):
        OrderLedger.open(path, writer=writer)
    assert _digest(path) == before


@MODES
@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE order_keys",
        "DROP TABLE meta",
        "DELETE FROM meta WHERE name = 'schema_version'",
        "UPDATE meta SET value = 'one' WHERE name = 'schema_version'",
        "DELETE FROM stored_events WHERE position = 3",
        "DELETE FROM stored_events",
    ],
)
def test_a_ledger_with_something_missing_is_damaged(path: Path, statement: str, writer: bool) -> None:
    tamper(path, statement)
    before = _digest(path)
    with pytest.raises(DamagedLedgerError, match="last good copy"):
        OrderLedger.open(path, writer=writer)
    assert _digest(path) == before


@MODES
def test_a_directory_is_no_ledger(tmp_path: Path, writer: bool) -> None:
    with pytest.raises(LedgerUnavailableError):
        OrderLedger.open(tmp_path, writer=writer)


def test_a_second_writer_is_refused_and_the_first_goes_on(path: Path) -> None:
    with OrderLedger.open(path) as ledger:
        with pytest.raises(LedgerInUseError):
            OrderLedger.open(path)
        ledger.append(life(2))
    OrderLedger.open(path).close()


def test_an_opening_that_fails_lets_go_of_the_lock(path: Path) -> None:
    tamper(path, "UPDATE meta SET value = '2' WHERE name = 'schema_version'")
    with pytest.raises(NewerLedgerError):
        OrderLedger.open(path)
    tamper(path, "UPDATE meta SET value = '1' WHERE name = 'schema_version'")
    OrderLedger.open(path).close()


def test_a_reader_beside_the_writer_sees_each_commit(path: Path) -> None:
    with OrderLedger.open(path) as writer, OrderLedger.open(path, writer=False) as reader:
        writer.append(life(2))
        assert reader.max_position == 6
        assert reader.events_of(order_id(2)) == life(2)
        assert reader.resolve("oid:10000002") == order_id(2)


def test_a_reader_cannot_write(path: Path) -> None:
    with OrderLedger.open(path, writer=False) as reader:
        for write in (
            lambda: reader.submit(life(2)),
            lambda: reader.enqueue(life(2)),
            lambda: reader.append(life(2)),
            lambda: reader.save(created(2)),
        ):
            with pytest.raises(LedgerReadOnlyError):
                write()
        assert (reader.backlog, reader.stalled, reader.writable) == (0, None, False)
        with reader.recorder.file.reading() as connection, pytest.raises(sqlite3.OperationalError):  # type: ignore[attr-defined]
            connection.execute("DELETE FROM order_keys")


def test_a_reader_works_where_nothing_may_be_written() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        with OrderLedger.open(path) as ledger:
            ledger.append(life(1))
        path.chmod(0o444)
        path.parent.chmod(0o555)
        try:
            assert _as_nobody(lambda: _read_and_fail_to_write(path))
        finally:
            path.parent.chmod(0o755)


def _read_and_fail_to_write(path: Path) -> None:
    with OrderLedger.open(path, writer=False) as reader:
        assert reader.events_of(order_id(1)) == life(1)
    with pytest.raises(LedgerUnavailableError, match="must exist and be writable"):
        OrderLedger.open(path)


def _as_nobody(check: Callable[[], None]) -> bool:
    """Whether a check passes in a process that is not the superuser, who may write everywhere."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            check()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def test_a_closed_ledger_says_so(path: Path) -> None:
    ledger = OrderLedger.open(path)
    ledger.close()
    with pytest.raises(LedgerClosedError):
        ledger.events_of(order_id(1))
    with pytest.raises(LedgerClosedError):
        ledger.save(created(2))


def test_a_ledger_that_is_dropped_without_closing_records_what_it_took(path: Path) -> None:
    ledger = OrderLedger.open(path)
    for number in range(2, 200):
        ledger.enqueue(life(number))
    del ledger
    gc.collect()
    with OrderLedger.open(path) as again:
        assert again.max_position == 3 + 198 * 3


def test_settings_of_the_environment_never_lead_to_another_file(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for prefix in ("", "ORDERLEDGER_"):
        monkeypatch.setenv(f"{prefix}SQLITE_DBNAME", str(tmp_path / "elsewhere.db"))
        monkeypatch.setenv(f"{prefix}PERSISTENCE_MODULE", "eventsourcing.popo")
    with OrderLedger.open(path) as ledger:
        assert ledger.max_position == 3
    assert not (tmp_path / "elsewhere.db").exists()


def test_the_librarys_environment_leads_to_a_ledger_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLITE_DBNAME", str(tmp_path / "ledger.db"))
    with OrderLedger() as ledger:
        ledger.append(life(1))
    monkeypatch.setenv("LEDGER_READ_ONLY", "y")
    with OrderLedger() as ledger:
        assert ledger.max_position == 3
        assert not ledger.writable


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, "SQLITE_DBNAME"),
        ({"SQLITE_DBNAME": ":memory:"}, "eventsourcing.popo"),
        ({"SQLITE_DBNAME": "file:x?mode=memory"}, "file on disk"),
        ({"SQLITE_DBNAME": "x.db", "SQLITE_LOCK_TIMEOUT": "soon"}, "number of seconds"),
    ],
)
def test_settings_that_name_no_file_are_refused(env: dict[str, str], message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        OrderLedger(env)


def test_another_mapper_is_refused(path: Path) -> None:
    with pytest.raises(LedgerError, match="MAPPER_TOPIC"):
        OrderLedger.open(path, env={"MAPPER_TOPIC": "eventsourcing.persistence:Mapper"})
    OrderLedger.open(path).close()


def test_a_ledger_file_keeps_events_and_nothing_else(path: Path) -> None:
    with OrderLedger.open(path) as ledger:
        factory = ledger.factory
        assert factory.aggregate_recorder() is ledger.recorder
        for ask in (
            lambda: factory.aggregate_recorder("snapshots"),
            factory.tracking_recorder,
            factory.process_recorder,
        ):
            with pytest.raises(NotSupportedError):
                ask()
