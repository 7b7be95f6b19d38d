"""Backups: consistent while the ledger is written to, verified, and never in place of anything."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from adapters.storage.backing_up import BackupExistsError, back_up
from adapters.storage.chain import verify_chain
from adapters.storage.errors import DamagedLedgerError, LedgerUnavailableError
from adapters.storage.ledger import OrderLedger
from adapters.storage.ledger_file import LedgerFile
from adapters.storage.mapper import MessagePackMapper
from tests.contract.storage.samples import life, order_id
from tests.unit.storage.tampering import tamper


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with OrderLedger.open(path) as ledger:
        ledger.append([event for number in range(100) for event in life(number)])
    return path


def test_a_backup_is_the_ledger_and_goes_on_as_one(path: Path, tmp_path: Path) -> None:
    copied: list[tuple[int, int]] = []
    verified: list[tuple[int, int]] = []
    with LedgerFile.open_for_reading(path) as file:
        report = back_up(
            file,
            tmp_path / "copy.db",
            on_copied=lambda *so_far: copied.append(so_far),
            on_verified=lambda *so_far: verified.append(so_far),
            mapper=MessagePackMapper(),
        )
    original = verify_chain(path)
    assert (report.events, report.head, report.ledger_id) == (300, original.head, original.ledger_id)
    assert copied[-1][0] == copied[-1][1]
    assert verified[-1] == (300, 300)
    with OrderLedger.open(tmp_path / "copy.db") as copy:
        assert len(copy.events_of(order_id(7))) == 3
        assert list(copy.append(life(1_000)).positions) == [301, 302, 303]
    assert sorted(each.name for each in tmp_path.iterdir() if "unfinished" in each.name) == []


def test_a_backup_of_a_ledger_that_is_written_to_is_of_one_moment(path: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    with OrderLedger.open(path) as ledger:

        def write() -> None:
            number = 1_000
            while not stop.is_set():
                ledger.append(life(number))
                number += 1

        writing = threading.Thread(target=write)
        writing.start()
        try:
            with LedgerFile.open_for_reading(path) as file:
                for at in range(5):
                    report = back_up(file, tmp_path / f"copy-{at}.db", mapper=MessagePackMapper())
                    assert report.ok
                    assert report.events % 3 == 0, "orders are committed whole"
        finally:
            stop.set()
            writing.join()
    assert verify_chain(path).ok


def test_a_backup_replaces_nothing(path: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with LedgerFile.open_for_reading(path) as file:
        for name in ("precious", "dangling", "ledger.db"):
            with pytest.raises(BackupExistsError, match=name):
                back_up(file, tmp_path / name)
        with pytest.raises(LedgerUnavailableError, match="No such file"):
            back_up(file, tmp_path / "no" / "such" / "place")
    assert (tmp_path / "precious").read_text() == "precious"


def test_what_somebody_puts_there_meanwhile_stays(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"

    def interfere(_done: int, _total: int) -> None:
        target.write_text("precious")

    with LedgerFile.open_for_reading(path) as file, pytest.raises(BackupExistsError):
        back_up(file, target, on_verified=interfere)
    assert target.read_text() == "precious"


def test_a_damaged_ledger_gives_no_backup(path: Path, tmp_path: Path) -> None:
    tamper(path, "UPDATE stored_events SET state = x'80' WHERE position = 17")
    before = sorted(each.name for each in tmp_path.iterdir())
    with (
        LedgerFile.open_for_reading(path) as file,
        pytest.raises(DamagedLedgerError, match="does not verify at position 17"),
    ):
        back_up(file, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    assert [name for name in before if "unfinished" in name] == []
    assert not [each for each in tmp_path.iterdir() if "unfinished" in each.name]
