"""Any byte of any stored event changed behind the ledger's back: verification names its position."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from adapters.storage.chain import verify_chain
from adapters.storage.ledger import OrderLedger
from tests.contract.storage.samples import life
from tests.unit.storage.tampering import tamper

COLUMNS = ("originator_id", "topic", "state", "hash")


def a_ledger(path: Path, orders: int) -> Path:
    with OrderLedger.open(path) as ledger:
        ledger.append([event for number in range(orders) for event in life(number)])
    tamper(path)  # Its triggers go, so that what follows can be done.
    return path


def changed(connection: sqlite3.Connection, position: int, column: str, at: int, flip: int) -> bytes:
    """Flip bits of one byte of one column; returns what stood there."""
    (before,) = connection.execute(
        f"SELECT CAST({column} AS BLOB) FROM stored_events WHERE position = ?", (position,)
    ).fetchone()
    after = bytearray(before)
    after[at] ^= flip
    put(connection, position, column, bytes(after))
    return bytes(before)


def put(connection: sqlite3.Connection, position: int, column: str, value: bytes) -> None:
    as_type = "BLOB" if column in ("state", "hash") else "TEXT"
    connection.execute(
        f"UPDATE stored_events SET {column} = CAST(? AS {as_type}) WHERE position = ?", (value, position)
    )


def test_every_byte_of_every_event_counts(tmp_path: Path) -> None:
    path = a_ledger(tmp_path / "ledger.db", 2)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    tried = 0
    for position in range(1, 7):
        for column in COLUMNS:
            (length,) = connection.execute(
                f"SELECT length(CAST({column} AS BLOB)) FROM stored_events WHERE position = ?", (position,)
            ).fetchone()
            for at in range(length):
                before = changed(connection, position, column, at, 0x40)
                report = verify_chain(path)
                assert (report.first_bad_position, report.events) == (position, position - 1), (column, at)
                put(connection, position, column, before)
                tried += 1
    connection.close()
    assert tried > 1_500
    assert verify_chain(path).ok


def test_a_byte_anywhere_in_a_larger_ledger_counts(tmp_path: Path) -> None:
    path = a_ledger(tmp_path / "ledger.db", 1_500)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    draw = random.Random(11)
    for _ in range(40):
        position, column = draw.randint(1, 4_500), draw.choice(COLUMNS)
        (length,) = connection.execute(
            f"SELECT length(CAST({column} AS BLOB)) FROM stored_events WHERE position = ?", (position,)
        ).fetchone()
        before = changed(connection, position, column, draw.randrange(length), draw.randint(1, 255))
        assert verify_chain(path).first_bad_position == position
        put(connection, position, column, before)
    connection.close()
    assert verify_chain(path).ok


@pytest.mark.parametrize("position", [1, 700, 2_222, 4_500])
def test_a_byte_changed_in_the_file_itself_counts(tmp_path: Path, position: int) -> None:
    path = a_ledger(tmp_path / "ledger.db", 1_500)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (state,) = connection.execute(
        "SELECT state FROM stored_events WHERE position = ?", (position,)
    ).fetchone()
    connection.close()
    content = bytearray(path.read_bytes())
    at = content.find(state)
    assert at > 0
    assert content.find(state, at + 1) < 0, "the bytes of this event stand in one place"
    content[at + len(state) // 2] ^= 0x10
    path.write_bytes(content)
    assert verify_chain(path).first_bad_position == position


def test_an_event_is_named_also_where_its_page_cannot_be_read(tmp_path: Path) -> None:
    path = a_ledger(tmp_path / "ledger.db", 1_500)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    rows = connection.execute("SELECT position, state FROM stored_events ORDER BY position").fetchall()
    connection.close()
    content = bytearray(path.read_bytes())
    page = content.find(rows[3_000][1]) // 4096
    on_page = [position for position, state in rows if content.find(state) // 4096 == page]
    content[page * 4096 : (page + 1) * 4096] = bytes(4096)
    path.write_bytes(content)
    report = verify_chain(path)
    assert report.first_bad_position == on_page[0]
    assert "cannot be read" in report.reason
