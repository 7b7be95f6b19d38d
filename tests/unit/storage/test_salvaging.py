"""Salvage: what is intact of a damaged ledger is read, and what is not is said with its position."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from adapters.storage.ledger import OrderLedger
from adapters.storage.ledger_file import LedgerFile
from adapters.storage.mapper import MessagePackMapper
from adapters.storage.salvaging import SalvagedLedger
from domain.events import LedgerEvent
from tests.contract.storage.samples import life, order_id
from tests.unit.storage.tampering import tamper

EVENTS = [event for number in range(1_500) for event in life(number)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with OrderLedger.open(path) as ledger:
        ledger.append(EVENTS)
    return path


def salvaged(path: Path, batch_size: int = 700) -> tuple[dict[int, LedgerEvent], list[int | None]]:
    lost: list[Any] = []
    found: dict[int, LedgerEvent] = {}
    with LedgerFile.open_for_reading(path, check_tail=False) as file:
        ledger = SalvagedLedger(file, MessagePackMapper())
        with ledger.subscribe(0, batch_size=batch_size, on_unreadable=lost.append) as events:
            while events.position < ledger.max_position:
                found.update(events.next_batch())
    assert all(EVENTS[position - 1] == event for position, event in found.items())
    return found, [each.position for each in lost]


def test_nothing_is_lost_of_an_intact_ledger(path: Path) -> None:
    found, lost = salvaged(path)
    assert (len(found), lost) == (4_500, [])


@pytest.mark.parametrize(
    ("statement", "missing", "said"),
    [
        ("UPDATE stored_events SET state = x'80' WHERE position = 17", [17], [17]),
        ("UPDATE stored_events SET topic = 'order.triggered' WHERE position = 17", [17], [17]),
        ("UPDATE stored_events SET topic = CAST(x'ff' AS TEXT) WHERE position = 17", [17], [17]),
        ("UPDATE stored_events SET state = 5 WHERE position = 17", [17], [17]),
        ("UPDATE stored_events SET hash = x'00' WHERE position = 17", [17, 18], [17, 18]),
        ("DELETE FROM stored_events WHERE position BETWEEN 1401 AND 1500", range(1_401, 1_501), [1_401]),
        ("DELETE FROM stored_events WHERE position > 4400", range(4_401, 4_501), []),
    ],
)
def test_what_was_changed_is_left_out_and_the_rest_is_read(
    path: Path, statement: str, missing: Any, said: list[int]
) -> None:
    tamper(path, statement)
    found, lost = salvaged(path)
    assert sorted(set(range(1, 4_501)) - found.keys()) == list(missing)
    assert lost == said


def test_pages_that_cannot_be_read_are_read_around(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    rows = connection.execute("SELECT position, state FROM stored_events").fetchall()
    connection.close()
    content = bytearray(path.read_bytes())
    page = content.find(rows[3_000][1]) // 4096
    on_page = [position for position, state in rows if content.find(state) // 4096 == page]
    content[page * 4096 : (page + 1) * 4096] = bytes(4096)
    path.write_bytes(content)
    found, lost = salvaged(path)
    assert sorted(set(range(1, 4_501)) - found.keys()) == on_page
    assert lost[0] == on_page[0]


def test_the_life_of_one_order_is_found_without_the_index(path: Path) -> None:
    tamper(path, "UPDATE stored_events SET state = x'80' WHERE position = 3002")
    lost: list[Any] = []
    with LedgerFile.open_for_reading(path, check_tail=False) as file:
        ledger = SalvagedLedger(file, MessagePackMapper())
        history = ledger.history_of(order_id(1_000), on_unreadable=lost.append)
        assert [position for position, _ in history] == [3_001, 3_003]
        assert [each.position for each in lost] == [3_002]
        assert [event.originator_version for event in ledger.events_of(order_id(7), 3)] == [1, 2]
