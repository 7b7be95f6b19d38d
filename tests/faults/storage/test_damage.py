"""Damaged ledgers: every byte of the file may be wrong, and what comes out is the truth or a clear error."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from adapters.storage.chain import verify_chain
from adapters.storage.errors import DamagedLedgerError, LedgerError
from adapters.storage.ledger import OrderLedger
from domain.events import LedgerEvent
from tests.contract.storage.samples import created, life, order_id

_EVENTS: list[LedgerEvent] = [event for number in range(40) for event in life(number)]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("intact") / "ledger.db"
    with OrderLedger.open(path) as ledger:
        ledger.append(_EVENTS)
    return path


def _truth_or_error(path: Path) -> str:
    """What a reader and a verifier make of a file; fails if either believes something untrue."""
    outcome = []
    try:
        with OrderLedger.open(path, writer=False) as ledger:
            events = [event for _, event in ledger.read()]
        # What does not raise is either exact or a beginning whose end the verifier must miss.
        assert events == _EVENTS or not verify_chain(path).ok, "altered events were taken for good"
        outcome.append("read")
    except LedgerError as error:
        outcome.append(type(error).__name__)
    try:
        report = verify_chain(path)
        if report.ok:
            assert outcome == ["read"], f"verified, but reading said {outcome}"
        outcome.append("good" if report.ok else "bad")
    except LedgerError as error:
        outcome.append(type(error).__name__)
    return "/".join(outcome)


def test_a_wrong_byte_anywhere_is_never_taken_for_the_truth(intact: Path, tmp_path: Path) -> None:
    content = intact.read_bytes()
    draw = random.Random(7)
    outcomes: dict[str, int] = {}
    # One byte in each stretch of 223, so that every page and every structure in it is met.
    for start in range(0, len(content), 223):
        offset = min(start + draw.randrange(223), len(content) - 1)
        damaged = bytearray(content)
        damaged[offset] ^= draw.randrange(1, 256)
        path = tmp_path / "damaged.db"
        path.write_bytes(damaged)
        outcome = _truth_or_error(path)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    # Most bytes belong to events: a change there is what the chain is for.
    assert (
        sum(count for outcome, count in outcomes.items() if not outcome.endswith("good"))
        > sum(outcomes.values()) / 2
    ), outcomes


@pytest.mark.parametrize("value", [b"\x00", b"\xff"])
def test_a_wiped_page_is_never_taken_for_the_truth(intact: Path, tmp_path: Path, value: bytes) -> None:
    content = intact.read_bytes()
    for page in range(len(content) // 4096):
        path = tmp_path / f"page-{page}.db"
        path.write_bytes(content[: page * 4096] + value * 4096 + content[(page + 1) * 4096 :])
        _truth_or_error(path)


def test_a_file_that_was_cut_off_is_damaged(intact: Path, tmp_path: Path) -> None:
    content = intact.read_bytes()
    for pages in range(1, len(content) // 4096):
        path = tmp_path / f"cut-{pages}.db"
        path.write_bytes(content[: pages * 4096])
        with pytest.raises(DamagedLedgerError, match="last good copy"):
            OrderLedger.open(path)
    (tmp_path / "header.db").write_bytes(content[:50])
    with pytest.raises(LedgerError):
        OrderLedger.open(tmp_path / "header.db")


def test_an_event_that_cannot_be_read_can_be_passed_over(intact: Path, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    shutil.copy(intact, path)
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER stored_events_refuse_update")
    connection.execute("UPDATE stored_events SET state = x'c1' WHERE position = 5")
    connection.execute("UPDATE stored_events SET topic = 'order.teleported' WHERE position = 8")
    connection.commit()
    connection.close()
    with OrderLedger.open(path, writer=False) as ledger:
        with pytest.raises(LedgerError, match="position 5"):
            list(ledger.read())
        poison: list[int | None] = []
        good = [position for position, _ in ledger.read(on_unreadable=lambda e: poison.append(e.position))]
        assert poison == [5, 8]
        assert good == [position for position in range(1, 121) if position not in (5, 8)]
        poison.clear()
        with ledger.subscribe(on_unreadable=lambda e: poison.append(e.position)) as subscription:
            assert [position for position, _ in subscription.next_batch(timeout=60)] == good
        assert poison == [5, 8]


def test_a_lost_log_of_uncheckpointed_commits_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with OrderLedger.open(path) as ledger:
        ledger.append(life(1))
        with ledger.recorder.maintaining() as connection:  # type: ignore[attr-defined]
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ledger.append(life(2))
        # A copy without the -wal file is an older, complete state: consistent, and shorter than its head.
        head = verify_chain(path).head
        shutil.copy(path, tmp_path / "copy.db")
    report = verify_chain(tmp_path / "copy.db")
    assert report.ok
    assert (report.events, report.head == head) == (3, False)


def test_updates_and_deletes_are_refused_by_the_file_itself(intact: Path, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    shutil.copy(intact, path)
    connection = sqlite3.connect(path)
    for statement in (
        "UPDATE stored_events SET state = x'00'",
        "UPDATE stored_events SET position = position + 1000 WHERE position = 120",
        "DELETE FROM stored_events WHERE position = 120",
        "DELETE FROM stored_events",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()
    assert verify_chain(path).ok


def test_replacing_a_row_is_refused_on_the_ledgers_own_connection(intact: Path, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    shutil.copy(intact, path)
    replace = (
        "INSERT OR REPLACE INTO stored_events"
        " SELECT position, originator_id, originator_version, topic, x'00', hash"
        " FROM stored_events WHERE position = 5"
    )
    with (
        OrderLedger.open(path) as ledger,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
        ledger.recorder.maintaining() as connection,  # type: ignore[attr-defined]
    ):
        connection.execute(replace)
    assert verify_chain(path).ok


def test_vacuum_keeps_every_position(intact: Path, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    shutil.copy(intact, path)
    with OrderLedger.open(path) as ledger:
        before = list(ledger.read())
        with ledger.recorder.maintaining() as connection:  # type: ignore[attr-defined]
            connection.execute("VACUUM")
        assert list(ledger.read()) == before
        assert list(ledger.append([created(50)]).positions) == [121]
    assert verify_chain(path).ok


def test_a_dump_loaded_again_is_the_same_ledger(intact: Path, tmp_path: Path) -> None:
    source, target = sqlite3.connect(intact), sqlite3.connect(tmp_path / "loaded.db")
    target.executescript("\n".join(source.iterdump()))
    source.close()
    target.close()
    before, after = verify_chain(intact), verify_chain(tmp_path / "loaded.db")
    assert after.ok
    assert (after.head, after.events, after.ledger_id) == (before.head, before.events, before.ledger_id)
    with OrderLedger.open(tmp_path / "loaded.db") as ledger:
        assert list(ledger.read()) == list(enumerate(_EVENTS, start=1))
        assert ledger.resolve("oid:10000007") == order_id(7)
        assert list(ledger.append([created(50)]).positions) == [121]
