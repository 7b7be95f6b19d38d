"""The quick verification says that all is well only where the careful one does, and then says the same."""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings

from adapters.cli.chosen_ledger import ChosenLedger
from adapters.cli.ledger_source import LedgerEventSource
from adapters.cli.proof import Proof, prove
from adapters.storage.chain import verify_chain
from adapters.storage.ledger import OrderLedger
from adapters.storage.mapper import MessagePackMapper
from domain.events import (
    AccountEvent,
    AccountFillBooked,
    AccountFundingBooked,
    AccountPositionAsserted,
    Fill,
    LedgerEvent,
    OrderAcknowledged,
    OrderAmended,
    OrderCancelled,
    OrderFilled,
)
from projections import catch_up
from projections.canonical import PORTION
from projections.tables import CHECKPOINT_EVERY, PARKED, TABLES, Table
from projections.verifying import ViewsVerdict, verify_views
from projections.views_file import connect_for_reading, read_progress
from tests.unit.projections.logs import PAIRS, LogBuilder, a_fill, logs


def recorded(directory: Path, events: list[LedgerEvent]) -> ChosenLedger:
    """A ledger of these events, and its views."""
    chosen = ChosenLedger(directory / "ledger.db", directory / "ledger.views.db")
    with OrderLedger.open(chosen.ledger) as ledger:
        for start in range(0, len(events), 4_000):
            ledger.append(events[start : start + 4_000])
        catch_up(LedgerEventSource(ledger), chosen.views)
    return chosen


def proven(chosen: ChosenLedger, *, processes: int = 1) -> Proof | None:
    return prove(chosen, lambda done, total: None, processes=processes, stretch=PORTION)


def looked_at_closely(chosen: ChosenLedger) -> Proof | None:
    """What the careful verification says; None if anything is not as it should be."""
    chain = verify_chain(chosen.ledger, mapper=MessagePackMapper())
    if not chain.ok:
        return None
    with OrderLedger.open(chosen.ledger, writer=False) as ledger:
        views = verify_views(LedgerEventSource(ledger), chosen.views)
    return (
        Proof(chain, views)
        if views.views is ViewsVerdict.EQUAL and views.events_fold and not views.contradicted
        else None
    )


def an_interleaved_log(count: int, *, live: int = 40) -> list[LedgerEvent]:
    """So many events of orders that are worked side by side, some of them filled long after their end."""
    log = LogBuilder()
    log.account(
        AccountPositionAsserted,
        trading_pair=PAIRS[0],
        amount=Decimal("0.5"),
        entry_price=Decimal(42_000),
        opening=True,
    )
    booked: list[LedgerEvent | tuple[str, Fill]] = []
    number = 0
    while len(log.events) < count:
        number += 1
        order, older = f"o{number}", f"o{max(1, number - live)}"
        fill = {
            "fill_key": f"f{number}",
            "trading_pair": PAIRS[number % 2],
            "price": Decimal(100 + number % 7),
        }
        log.created(order, trading_pair=PAIRS[number % 2], venue_order_key=f"0x{number:032x}")
        if number > live:
            log.add(OrderAcknowledged, older, exchange_order_id=str(number - live))
            booked.append(
                log.add(OrderFilled, older, fill=a_fill(exchange_order_id=str(number - live), **fill))
            )
            if number % 3 == 0:
                log.add(
                    OrderAmended,
                    older,
                    price=Decimal(99),
                    leg_amount=Decimal(2),
                    exchange_order_id=f"a{number}",
                )
            log.add(OrderCancelled, older, reason_code="requested")
        if number % 50 == 0 and number > 10 * live:
            done = f"o{number // 5}"
            late = {**fill, "fill_key": f"late-{number}", "exchange_order_id": done[1:]}
            log.add(OrderFilled, done, fill=a_fill(**late))
        if number % 30 == 0 and number > 2 * live:
            _correct(log, booked, number)
        if number % 70 == 0:
            log.account(
                AccountFundingBooked,
                funding_key=str(number),
                trading_pair=PAIRS[1],
                amount=Decimal("-0.01"),
                token="USDC",
                rate=Decimal("0.0001"),
                position_size=Decimal(1),
            )
    return log.events[:count]


def _correct(log: LogBuilder, booked: list[LedgerEvent | tuple[str, Fill]], number: int) -> None:
    """Find that a fill of long ago was another one, or none; then that it happened after all."""
    was = booked.pop(len(booked) // 2)
    owner, fill = was if isinstance(was, tuple) else (was.originator_id, was.fill)  # type: ignore[attr-defined]
    log.found(f"D-{number}")
    if number % 60:
        now = msgspec.structs.replace(fill, price=Decimal(99), amount=Decimal("0.3"))
        log.corrected(was, now, discrepancy_id=f"D-{number}")
        booked.append((owner, now))
    else:
        log.corrected(was, None, discrepancy_id=f"D-{number}")
        booked.append(log.add(OrderFilled, owner, fill=fill))
    if number % 90:
        log.repaired(f"D-{number}", repairs=(f"order.fill_corrected {owner} 7",))
    log.account(AccountPositionAsserted, trading_pair="SOL-USD", amount=Decimal(0), entry_price=None)


@settings(max_examples=20, deadline=None)
@given(events=logs())
def test_what_is_proven_is_what_the_careful_verification_says(events: list[LedgerEvent]) -> None:
    with tempfile.TemporaryDirectory() as name:
        chosen = recorded(Path(name), events)
        careful = looked_at_closely(chosen)
        quick = proven(chosen)
        assert quick is None or quick == careful
        assert quick is not None or careful is None or has_a_contested_key(chosen)


def has_a_contested_key(chosen: ChosenLedger) -> bool:
    """Whether several orders name the same key, which takes the careful way."""
    with OrderLedger.open(chosen.ledger, writer=False) as ledger:
        named: dict[str, set[str]] = {}
        for _, event in ledger.read():
            for key in ledger.mapper.keys_of(event):
                named.setdefault(key, set()).add(event.originator_id)
    return any(len(orders) > 1 for orders in named.values())


def test_stretches_are_proven_each_for_itself(tmp_path: Path) -> None:
    chosen = recorded(tmp_path, an_interleaved_log(2 * PORTION + 77))
    quick = proven(chosen, processes=1)
    assert quick is not None
    assert quick == proven(chosen, processes=2)
    assert quick == looked_at_closely(chosen)


def test_texts_are_the_same_however_sqlite_writes_them_as_json(tmp_path: Path) -> None:
    log = LogBuilder()
    for number, reason in enumerate(("plain", 'quoted "\\/', "\x01\x1f\x7f\n\t\b", "naïve 😀", "a\x00b")):
        log.created(f"o{number}", tag=reason)
        log.add(OrderCancelled, f"o{number}", reason_code="requested", reason=reason)
    chosen = recorded(tmp_path, log.events)
    quick = proven(chosen)
    assert quick is not None
    assert quick == looked_at_closely(chosen)


@pytest.mark.parametrize("length", [1, CHECKPOINT_EVERY - 1, CHECKPOINT_EVERY, PORTION - 1, PORTION])
def test_a_log_of_any_length_is_proven(tmp_path: Path, length: int) -> None:
    chosen = recorded(tmp_path, an_interleaved_log(length))
    quick = proven(chosen)
    assert quick is not None
    assert quick == looked_at_closely(chosen)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> ChosenLedger:
    """A log that leaves checkpoints behind; whoever changes something, changes a copy."""
    return recorded(tmp_path_factory.mktemp("intact"), an_interleaved_log(CHECKPOINT_EVERY + 50))


@pytest.fixture
def copy(intact: ChosenLedger, tmp_path: Path) -> ChosenLedger:
    return ChosenLedger(*(Path(shutil.copy(path, tmp_path)) for path in intact))


def changes_of(table: Table) -> Iterator[str]:
    """Statements that each make another view of it: a column changed in some row, a row less, a row more.

    Rows are compared whole, so the first column, the last and some of those between stand for all.
    """
    some_row = (
        f"rowid = (SELECT rowid FROM {table.name} LIMIT 1 OFFSET (SELECT count(*) / 2 FROM {table.name}))"
    )
    columns_of = list(table.columns.items())
    for column, kind in (*columns_of[:-1:3], columns_of[-1]):
        value = f"coalesce({column}, 0) + 1000000" if kind is int else f"coalesce({column}, '') || '1'"
        yield f"UPDATE {table.name} SET {column} = {value} WHERE {some_row}"
    yield f"DELETE FROM {table.name} WHERE {some_row}"
    columns = ", ".join(table.columns)
    fresh = ", ".join(
        f"{column} + 1000000" if kind is int else f"{column} || '1'" for column, kind in table.columns.items()
    )
    yield f"INSERT INTO {table.name} ({columns}) SELECT {fresh} FROM {table.name} WHERE {some_row}"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_no_change_of_the_views_is_taken_for_well(
    intact: ChosenLedger, copy: ChosenLedger, table: Table
) -> None:
    assert proven(copy) is not None
    held = ["INSERT INTO parked VALUES (3, 'orders', 'o1', 'nothing')"]
    for statement in held if table is PARKED else changes_of(table):
        shutil.copy(intact.views, copy.views)
        with closing(sqlite3.connect(copy.views, isolation_level=None)) as connection:
            for columns in table.unique:
                # A hand that changes rows can take away what would refuse it.
                connection.execute(f"DROP INDEX idx_{table.name}_{'_'.join(columns)}")
            assert connection.execute(statement).rowcount == 1, statement
        assert proven(copy) is None, statement


def test_a_fill_that_is_twice_in_the_log_and_in_the_views_is_not_taken_for_well(tmp_path: Path) -> None:
    def recorded_with(key: str, directory: Path) -> ChosenLedger:
        directory.mkdir()
        log = LogBuilder()
        log.account(AccountFillBooked, fill=a_fill(fill_key="41"))
        log.events += an_interleaved_log(PORTION + 100)[1:]
        log.account(AccountFillBooked, fill=a_fill(fill_key=key))
        events = [
            event
            for event in log.events
            if isinstance(event, AccountFillBooked) or not isinstance(event, AccountEvent)
        ]
        return recorded(directory, events)

    twice, once = recorded_with("41", tmp_path / "twice"), recorded_with("42", tmp_path / "once")
    with closing(connect_for_reading(twice.views)) as connection:
        progress = read_progress(connection)
    # As the views would be that had not noticed.
    shutil.copy(once.views, twice.views)
    with closing(sqlite3.connect(twice.views, isolation_level=None)) as connection:
        connection.execute("DROP INDEX idx_fill_bookings_fill_key_account_venue")
        assert (
            connection.execute("UPDATE fill_bookings SET fill_key = '41' WHERE fill_key = '42'").rowcount == 1
        )
        connection.execute(
            "UPDATE progress SET ledger_id = ?, log_hash = ?", (progress.ledger_id, progress.log_hash)
        )
    assert proven(once) is not None
    assert proven(twice) is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stored_events SET state = state || x'00' WHERE position = 900",
        "UPDATE stored_events SET hash = zeroblob(32) WHERE position = 900",
        "UPDATE stored_events SET topic = 'order.expired' WHERE position = 900",
        "UPDATE stored_events SET originator_version = 77 WHERE position = 900",
        "DELETE FROM stored_events WHERE position = 900",
        "DELETE FROM stored_events WHERE position = (SELECT max(position) FROM stored_events)",
        "UPDATE stored_events SET position = -1 WHERE position = 1",
        "DELETE FROM order_keys WHERE key = (SELECT max(key) FROM order_keys)",
        "INSERT INTO order_keys VALUES ('oid:no such', 'o1')",
        "UPDATE order_keys SET originator_id = 'o2' WHERE key = 'oid:1'",
    ],
)
def test_no_change_of_the_ledger_is_taken_for_well(copy: ChosenLedger, statement: str) -> None:
    with closing(sqlite3.connect(copy.ledger, isolation_level=None)) as connection:
        for name in ("update", "delete"):
            connection.execute(f"DROP TRIGGER stored_events_refuse_{name}")
        assert connection.execute(statement).rowcount == 1
    assert proven(copy) is None


def test_no_damaged_byte_of_the_ledger_is_taken_for_well(copy: ChosenLedger, intact: ChosenLedger) -> None:
    content = intact.ledger.read_bytes()
    rng = random.Random(1)
    quick = 0
    for _ in range(40):
        at = rng.randrange(100, len(content))
        damaged = bytearray(content)
        damaged[at] ^= 1 << rng.randrange(8)
        copy.ledger.write_bytes(damaged)
        if proven(copy) is None:
            continue
        # Bytes that nothing reads: free space within pages.
        quick += 1
        assert looked_at_closely(copy) is not None, f"byte {at}"
    assert quick < 20, "most bytes of a ledger are its events"


def test_views_that_are_behind_are_looked_at_closely(tmp_path: Path) -> None:
    log = LogBuilder()
    log.open_order("o1", "77")
    chosen = recorded(tmp_path, log.events)
    with OrderLedger.open(chosen.ledger) as ledger:
        ledger.append([log.filled("o1", exchange_order_id="77")])
    assert proven(chosen) is None
