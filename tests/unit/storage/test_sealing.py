"""Seals: what they say, how their file grows, and that they notice a chain rewritten as a whole."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from adapters.storage.chain import GENESIS, links, verify_chain
from adapters.storage.ledger import OrderLedger
from adapters.storage.ledger_file import LedgerFile
from adapters.storage.sealing import (
    Seal,
    SealFileError,
    SealReport,
    append_seal,
    check_seals,
    read_seals,
    seal_head,
)
from tests.contract.storage.samples import life
from tests.unit.storage.tampering import tamper


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with OrderLedger.open(path) as ledger:
        ledger.append(life(1))
    return path


def sealed(path: Path) -> Seal:
    with LedgerFile.open_for_reading(path) as file:
        return seal_head(file)


def checked(path: Path, *seals: Seal) -> SealReport:
    with LedgerFile.open_for_reading(path, check_tail=False) as file:
        return check_seals(file, seals)


def grow(path: Path, number: int) -> None:
    with OrderLedger.open(path) as ledger:
        ledger.append(life(number))


def rewrite(path: Path, position: int, state: bytes) -> None:
    """Change an event and recompute every hash from there on, as somebody would who knows the format."""
    tamper(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE stored_events SET state = ? WHERE position = ?", (state, position))
    rows = connection.execute(
        "SELECT originator_id, originator_version, topic, state, '' FROM stored_events ORDER BY position"
    ).fetchall()
    for at, new_hash in enumerate(links(GENESIS, 1, rows), 1):
        connection.execute("UPDATE stored_events SET hash = ? WHERE position = ?", (new_hash, at))
    connection.close()


def test_a_seal_is_the_head_of_the_chain(path: Path) -> None:
    report = verify_chain(path)
    seal = sealed(path)
    assert (seal.ledger_id, seal.position, seal.hash) == (report.ledger_id, 3, report.head)


def test_an_empty_ledger_can_be_sealed(tmp_path: Path) -> None:
    OrderLedger.open(tmp_path / "ledger.db").close()
    seal = sealed(tmp_path / "ledger.db")
    assert (seal.position, seal.hash) == (0, "")
    grow(tmp_path / "ledger.db", 1)
    assert checked(tmp_path / "ledger.db", seal).ok


def test_seals_go_on_fitting_while_the_ledger_grows(path: Path) -> None:
    first = sealed(path)
    grow(path, 2)
    second = sealed(path)
    grow(path, 3)
    report = checked(path, second, first)
    assert (report.ok, report.seals, report.last_good_position) == (True, 2, 6)


def test_a_rewritten_chain_fits_itself_and_not_its_seals(path: Path) -> None:
    first = sealed(path)
    grow(path, 2)
    second = sealed(path)
    rewrite(path, 5, b"\x80")
    assert verify_chain(path).ok, "recomputed as a whole, the chain alone shows nothing"
    report = checked(path, first, second)
    assert (report.last_good_position, report.first_bad_position) == (3, 6)
    assert "rewritten, from somewhere after position 3" in report.reason


def test_a_cut_off_end_is_noticed_by_a_seal(path: Path) -> None:
    seal = sealed(path)
    tamper(
        path,
        "DELETE FROM stored_events WHERE position = 3",
        "UPDATE sqlite_sequence SET seq = 2 WHERE name = 'stored_events'",
    )
    assert verify_chain(path).ok
    report = checked(path, seal)
    assert (report.first_bad_position, report.ok) == (3, False)
    assert "its end is gone" in report.reason


def test_a_seal_of_another_ledger_does_not_fit(path: Path, tmp_path: Path) -> None:
    with OrderLedger.open(tmp_path / "other.db") as ledger:
        ledger.append(life(1))
    report = checked(path, sealed(tmp_path / "other.db"))
    assert not report.ok
    assert "another ledger" in report.reason


def test_a_file_of_seals_only_grows(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "seals.jsonl"
    first, second = sealed(path), sealed(path)
    append_seal(file, first)
    before = file.read_bytes()
    append_seal(file, second)
    assert file.read_bytes().startswith(before)
    assert read_seals(file) == [first, second]
    assert msgspec.json.decode(before)["position"] == 3


def test_a_line_cut_short_is_named_and_never_grown_into(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "seals.jsonl"
    append_seal(file, sealed(path))
    file.write_bytes(file.read_bytes()[:-20])
    append_seal(file, sealed(path))
    with pytest.raises(SealFileError, match="line 1 is not a seal"):
        read_seals(file)
    assert msgspec.json.decode(file.read_bytes().splitlines()[1], type=Seal).position == 3


def test_seals_that_cannot_be_read_or_written_are_an_error(path: Path, tmp_path: Path) -> None:
    with pytest.raises(SealFileError, match="cannot read"):
        read_seals(tmp_path / "nothing")
    with pytest.raises(SealFileError, match="cannot add"):
        append_seal(tmp_path / "no" / "such" / "place", sealed(path))
