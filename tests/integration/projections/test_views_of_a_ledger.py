"""Views over a real ledger file: live, killed, restarted, rebuilt, and with damage in the ledger itself."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.cli.ledger_source import LedgerEventSource
from adapters.storage.ledger import OrderLedger
from domain.events import OrderCancelled
from projections import (
    ProjectionRunner,
    Views,
    catch_up,
    rebuild,
    views_digest,
    views_path_for,
)
from tests.unit.projections.logs import LogBuilder

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60.0


@pytest.fixture
def ledger_path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def _digest_from_nothing(ledger_path: Path) -> str:
    views = ledger_path.with_name("from-nothing.db")
    with OrderLedger.open(ledger_path, writer=False) as ledger:
        catch_up(LedgerEventSource(ledger), views)
    return views_digest(views)


def test_what_is_committed_shows_in_the_views_while_both_are_open(ledger_path: Path) -> None:
    with OrderLedger.open(ledger_path) as ledger:
        source = LedgerEventSource(ledger)
        with ProjectionRunner(source, views_path_for(ledger_path)) as runner:
            builder = LogBuilder()
            builder.open_order("o1", "77")
            assert runner.wait_for(ledger.append(builder.events).positions[-1], PATIENCE_S)
            with Views(runner.path) as asked:
                assert [order.client_order_id for order in asked.open_orders()] == ["o1"]
                builder.add(OrderCancelled, "o1", reason_code="requested")
                assert runner.wait_for(ledger.append(builder.events[-1:]).positions[-1], PATIENCE_S)
                assert asked.open_orders() == []


def test_a_reader_of_the_ledger_keeps_views_of_what_another_process_writes(ledger_path: Path) -> None:
    builder = LogBuilder()
    builder.open_order("o1", "77")
    with (
        OrderLedger.open(ledger_path) as writing,
        OrderLedger.open(ledger_path, writer=False) as reading,
        ProjectionRunner(LedgerEventSource(reading), views_path_for(ledger_path)) as runner,
    ):
        assert runner.wait_for(writing.append(builder.events).positions[-1], PATIENCE_S)


def test_views_of_an_open_ledger_are_rebuilt_while_it_grows(ledger_path: Path) -> None:
    views = views_path_for(ledger_path)
    with OrderLedger.open(ledger_path) as ledger:
        source = LedgerEventSource(ledger)
        with ProjectionRunner(source, views) as runner:
            stop = threading.Event()

            def write() -> None:
                number = 0
                while not stop.is_set():
                    builder = LogBuilder()
                    builder.open_order(f"o{number}", str(number))
                    ledger.append(builder.events)
                    number += 1

            writer = threading.Thread(target=write)
            writer.start()
            assert runner.wait_for(300, PATIENCE_S)
            positions = []
            with Views(views) as asked:
                for _ in range(3):
                    rebuild(source, views)
                    positions.append(asked.position)
            stop.set()
            writer.join()
            assert runner.wait_for(ledger.max_position, PATIENCE_S)
    assert positions == sorted(positions)
    assert views_digest(views) == _digest_from_nothing(ledger_path)


def test_views_survive_a_kill_at_any_moment_and_end_up_as_if_nothing_happened(ledger_path: Path) -> None:
    """Each round kills the process that writes and projects, somewhere between two commits or inside one."""
    views = views_path_for(ledger_path)
    randomness = random.Random(7)
    durable = 0
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.projections.keeper_process", ledger_path, "100000"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for _ in range(randomness.randrange(1, 120)):
            durable = int(process.stdout.readline())
        process.kill()
        process.communicate()
        if views.exists():
            with Views(views) as asked:
                # Whatever the moment: rows and position belong together.
                assert sum(len(asked.timeline(o.client_order_id)) for o in asked.orders()) == asked.position
    with OrderLedger.open(ledger_path, writer=False) as ledger:
        assert ledger.max_position >= durable
        catch_up(LedgerEventSource(ledger), views)
    assert views_digest(views) == _digest_from_nothing(ledger_path)


def test_an_event_damaged_in_the_ledger_parks_its_order_alone(ledger_path: Path) -> None:
    builder = LogBuilder()
    builder.open_order("o1", "77")
    builder.open_order("o2", "78")
    builder.filled("o1", fill_key="1", amount=Decimal("0.1"))
    builder.filled("o2", fill_key="2", amount=Decimal("0.2"))
    with OrderLedger.open(ledger_path) as ledger:
        ledger.append(builder.events)
    with closing(sqlite3.connect(ledger_path)) as connection, connection:
        connection.execute("DROP TRIGGER stored_events_refuse_update")
        connection.execute("UPDATE stored_events SET state = x'c1' WHERE position = 3")
    views = views_path_for(ledger_path)
    with OrderLedger.open(ledger_path, writer=False) as ledger:
        # A restart right before the damage, so that what came earlier is read again from the ledger.
        for _ in range(2):
            catch_up(LedgerEventSource(ledger), views)
    with Views(views) as asked:
        (parked,) = asked.parked()
        assert (parked.aggregate, parked.position) == ("o1", 3)
        first, second = asked.orders()
        assert (first.version, first.filled_amount) == (2, Decimal(0))
        assert (second.version, second.filled_amount) == (4, Decimal("0.2"))
        assert [fill.fill_key for fill in asked.fills()] == ["1", "2"]


def test_an_order_is_read_again_from_the_ledger_after_a_restart(ledger_path: Path) -> None:
    builder = LogBuilder()
    builder.open_order("o1", "77")
    views = views_path_for(ledger_path)
    with OrderLedger.open(ledger_path) as ledger:
        ledger.append(builder.events)
        catch_up(LedgerEventSource(ledger), views)
    builder.filled("o1")
    with OrderLedger.open(ledger_path) as ledger:
        ledger.append(builder.events[-1:])
        # Read again up to the event at hand, although the damage of a later one is there already.
        builder.add(OrderCancelled, "o1", reason_code="requested")
        ledger.append(builder.events[-1:])
    with closing(sqlite3.connect(ledger_path)) as connection, connection:
        connection.execute("DROP TRIGGER stored_events_refuse_update")
        connection.execute("UPDATE stored_events SET state = x'c1' WHERE position = 5")
    with OrderLedger.open(ledger_path, writer=False) as ledger:
        catch_up(LedgerEventSource(ledger), views)
    with Views(views) as asked:
        order = asked.order("o1")
        assert order is not None
        assert (order.version, order.filled_amount, asked.position) == (4, Decimal("0.4"), 5)
