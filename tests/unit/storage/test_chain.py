"""The hash chain: its definition, and that verification notices every kind of change."""

from __future__ import annotations

import sqlite3
from hashlib import sha256
from pathlib import Path

import pytest

from adapters.storage.chain import GENESIS, links, verify_chain
from adapters.storage.errors import ForeignLedgerError, LedgerNotFoundError
from adapters.storage.ledger import OrderLedger
from adapters.storage.mapper import MessagePackMapper
from domain.events import EVENT_TYPES
from tests.contract.storage.samples import created, filled, life, order_id
from tests.unit.storage.tampering import tamper


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed ledger of ten orders, thirty events."""
    path = tmp_path / "ledger.db"
    with OrderLedger.open(path) as ledger:
        for number in range(10):
            ledger.append(life(number))
    return path


def test_the_chain_is_what_the_documentation_says(path: Path) -> None:
    previous = bytes(32)
    rows = sqlite3.connect(path).execute(
        "SELECT position, topic, originator_id, originator_version, state, hash FROM stored_events"
        " ORDER BY position"
    )
    count = 0
    for position, topic, originator_id, version, state, recorded in rows:
        content = previous
        content += position.to_bytes(8, "big")
        content += len(topic.encode()).to_bytes(4, "big") + topic.encode()
        content += len(originator_id.encode()).to_bytes(4, "big") + originator_id.encode()
        content += version.to_bytes(8, "big")
        content += state
        previous = sha256(content).digest()
        assert recorded == previous
        count += 1
    assert count == 30
    assert verify_chain(path).head == previous.hex()


def test_an_intact_ledger_verifies(path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = verify_chain(path, lambda checked, total: seen.append((checked, total)))
    assert report.ok
    assert (report.events, report.last_position) == (30, 30)
    assert (report.first_bad_position, report.reason) == (None, "")
    assert len(report.ledger_id) == 32
    assert seen[-1] == (30, 30)


def test_an_empty_ledger_verifies(tmp_path: Path) -> None:
    OrderLedger.open(tmp_path / "ledger.db").close()
    report = verify_chain(tmp_path / "ledger.db")
    assert report.ok
    assert report.head == GENESIS.hex()


def test_the_chain_goes_on_across_restarts_and_single_saves(path: Path) -> None:
    for number in range(10, 13):
        with OrderLedger.open(path) as ledger:
            ledger.append([created(number)])
            ledger.save(filled(number, 2))
    assert verify_chain(path).events == 36
    assert verify_chain(path).ok


def test_what_another_tool_appended_properly_is_continued_and_not_overwritten(path: Path) -> None:
    with OrderLedger.open(path) as ledger:
        ledger.append([created(10)])
        record = MessagePackMapper().to_record(created(11))
        other = sqlite3.connect(path, isolation_level=None)
        (last_hash,) = other.execute("SELECT hash FROM stored_events WHERE position = 31").fetchone()
        (own_hash,) = links(last_hash, 32, [record])
        other.execute("INSERT INTO stored_events VALUES (32, ?, ?, ?, ?, ?)", (*record[:4], own_hash))
        other.close()
        assert list(ledger.append([created(12)]).positions) == [33]
        assert ledger.submit([created(11)]).exception() is not None
        assert list(ledger.append([created(13)]).positions) == [34]
    assert verify_chain(path).events == 34
    assert verify_chain(path).ok


def test_the_head_of_a_prefix_stays_the_same_while_the_ledger_grows(path: Path) -> None:
    before = verify_chain(path).head
    with OrderLedger.open(path) as ledger:
        ledger.append(life(11))
    assert verify_chain(path).head != before
    (stored,) = sqlite3.connect(path).execute("SELECT hash FROM stored_events WHERE position = 30").fetchone()
    assert stored.hex() == before


def test_a_ledger_can_be_verified_while_it_is_written(path: Path) -> None:
    with OrderLedger.open(path) as ledger:
        ledger.append(life(20))
        assert verify_chain(path).events == 33


@pytest.mark.parametrize(
    ("statement", "position", "reason"),
    [
        ("UPDATE stored_events SET state = state || x'00' WHERE position = 14", 14, "hash"),
        ("UPDATE stored_events SET hash = zeroblob(32) WHERE position = 14", 14, "hash"),
        ("UPDATE stored_events SET topic = 'order.expired' WHERE position = 14", 14, "hash"),
        ("UPDATE stored_events SET originator_id = 'x' WHERE position = 14", 14, "hash"),
        ("UPDATE stored_events SET originator_version = 7 WHERE position = 14", 14, "hash"),
        ("UPDATE stored_events SET state = 5 WHERE position = 14", 14, "wrong type"),
        ("UPDATE stored_events SET originator_version = -1 WHERE position = 14", 14, "wrong type"),
        ("UPDATE stored_events SET originator_version = 'two' WHERE position = 14", 14, "wrong type"),
        ("UPDATE stored_events SET topic = CAST(x'ff' AS TEXT) WHERE position = 14", 14, "hash"),
        ("DELETE FROM stored_events WHERE position = 14", 14, "missing"),
        ("DELETE FROM stored_events WHERE position BETWEEN 5 AND 8", 5, "positions 5 to 8 are missing"),
        ("DELETE FROM stored_events WHERE position = 1", 1, "missing"),
        ("DELETE FROM stored_events WHERE position > 28", 29, "30 were recorded"),
        ("DELETE FROM stored_events", 1, "30 were recorded"),
        ("UPDATE stored_events SET position = 99 WHERE position = 30", 30, "missing"),
        ("UPDATE stored_events SET position = 0 WHERE position = 1", 1, "missing"),
    ],
)
def test_any_change_is_found_at_its_position(path: Path, statement: str, position: int, reason: str) -> None:
    tamper(path, statement)
    report = verify_chain(path)
    assert not report.ok
    assert report.first_bad_position == position
    assert reason in report.reason
    assert report.events == position - 1


@pytest.mark.parametrize("seq", ["5", "-1", "'many'", "NULL"])
def test_a_wrong_count_of_positions_is_found_and_blames_no_event(path: Path, seq: str) -> None:
    tamper(path, f"UPDATE sqlite_sequence SET seq = {seq}")
    report = verify_chain(path)
    assert not report.ok
    assert (report.events, report.first_bad_position) == (30, None)


def test_an_index_that_misses_events_is_found_and_blames_no_event(path: Path) -> None:
    # The definition of the index is hidden while the rows go, so that they stay behind in the table.
    tamper(
        path,
        "CREATE TABLE aside AS SELECT * FROM stored_events WHERE position = 30",
        "DELETE FROM stored_events WHERE position = 30",
        "PRAGMA writable_schema = ON",
        "CREATE TABLE kept AS SELECT * FROM sqlite_master WHERE name = 'sqlite_autoindex_stored_events_1'",
    )
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA writable_schema = ON")
    (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'stored_events'").fetchone()
    without = sql.replace(", UNIQUE (originator_id, originator_version)", "")
    connection.execute("DELETE FROM sqlite_master WHERE name = 'sqlite_autoindex_stored_events_1'")
    connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'stored_events'", (without,))
    connection.close()
    tamper(path, "INSERT INTO stored_events SELECT * FROM aside")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("INSERT INTO sqlite_master SELECT * FROM kept")
    connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'stored_events'", (sql,))
    connection.close()
    report = verify_chain(path)
    assert (report.events, report.first_bad_position) == (30, None)
    assert "29 of 30" in report.reason


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM order_keys WHERE key = 'oid:10000003'", "oid:10000003"),
        ("UPDATE order_keys SET originator_id = 'x' WHERE key = 'oid:10000003'", "another order"),
        ("UPDATE order_keys SET key = 'oid:5' WHERE key = 'oid:10000003'", "oid:10000003"),
        ("INSERT INTO order_keys VALUES ('oid:5', 'x')", "no event named"),
    ],
)
def test_an_index_of_keys_that_differs_from_the_events_is_found(
    path: Path, statement: str, reason: str
) -> None:
    assert verify_chain(path, mapper=MessagePackMapper()).ok
    tamper(path, statement)
    assert verify_chain(path).ok
    report = verify_chain(path, mapper=MessagePackMapper())
    assert reason in report.reason
    assert (report.ok, report.events, report.first_bad_position) == (False, 30, None)


def test_keys_of_events_nobody_can_decode_are_not_held_against_the_index(path: Path) -> None:
    fewer_types = {topic: kind for topic, kind in EVENT_TYPES.items() if topic != "order.filled"}
    assert verify_chain(path, mapper=MessagePackMapper(event_types=fewer_types)).ok


def test_exchanged_events_are_found(path: Path) -> None:
    tamper(
        path,
        "UPDATE stored_events SET position = 100 WHERE position = 4",
        "UPDATE stored_events SET position = 4 WHERE position = 7",
        "UPDATE stored_events SET position = 7 WHERE position = 100",
    )
    assert verify_chain(path).first_bad_position == 4


def test_an_inserted_event_is_found(path: Path) -> None:
    tamper(
        path,
        "INSERT INTO stored_events (originator_id, originator_version, topic, state, hash)"
        " SELECT 'x', 1, topic, state, hash FROM stored_events WHERE position = 30",
    )
    assert verify_chain(path).first_bad_position == 31


def test_a_hole_in_the_versions_of_an_order_is_found(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with OrderLedger.open(path) as ledger:
        ledger.append([*life(1), created(2), filled(2, 4)])
    report = verify_chain(path)
    assert report.first_bad_position == 5
    assert "versions are missing" in report.reason
    assert order_id(2) in report.reason


def test_an_order_that_begins_in_the_middle_is_found(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with OrderLedger.open(path) as ledger:
        ledger.append([created(1), filled(2, 3)])
    assert verify_chain(path).first_bad_position == 2


def test_versions_recorded_in_the_wrong_order_are_found(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with OrderLedger.open(path) as ledger:
        ledger.append([created(1), filled(2, 2), created(2)])
    report = verify_chain(path)
    assert report.first_bad_position == 2
    assert "before version 1" in report.reason


def test_a_ledger_of_several_batches_is_checked_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with OrderLedger.open(path) as ledger:
        for number in range(0, 3000, 500):
            ledger.append([event for each in range(number, number + 500) for event in life(each)])
    assert verify_chain(path).events == 9000
    tamper(path, "UPDATE stored_events SET state = x'80' WHERE position = 8999")
    assert verify_chain(path).first_bad_position == 8999


def test_what_is_not_a_ledger_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(LedgerNotFoundError):
        verify_chain(tmp_path / "nothing.db")
    (tmp_path / "other").write_text("some text that is long enough to be looked at")
    with pytest.raises(ForeignLedgerError):
        verify_chain(tmp_path / "other")
