"""Views that several processes build are the views that one builds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from adapters.cli.ledger_source import LedgerEventSource
from adapters.storage.ledger import OrderLedger
from domain.events import (
    AccountEvent,
    AccountFillBooked,
    AccountLeverageChanged,
    LedgerEvent,
    OrderFilled,
)
from projections import Helpers, Views, catch_up, rebuild, views_digest
from projections.canonical import PORTION
from projections.shared_building import NotSharedError, build_shared
from projections.views_file import ViewsFile
from tests.integration.projections.test_proof import an_interleaved_log
from tests.unit.projections.logs import ACCOUNT_ID, LogBuilder, a_fill

LENGTH = 2 * PORTION + 500


@contextmanager
def opened(ledger: Path) -> Iterator[LedgerEventSource]:
    with OrderLedger.open(ledger, writer=False, create=False) as reading:
        yield LedgerEventSource(reading)


def helpers_for(ledger: Path) -> Helpers:
    return Helpers(partial(opened, ledger), processes=2, stretch=PORTION)


def record(ledger: Path, events: list[LedgerEvent]) -> None:
    with OrderLedger.open(ledger) as writing:
        for start in range(0, len(events), 4_000):
            writing.append(events[start : start + 4_000])


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    record(path, an_interleaved_log(LENGTH))
    return path


def test_views_built_by_several_are_those_built_by_one(ledger: Path, tmp_path: Path) -> None:
    steps: list[int] = []
    with opened(ledger) as source:
        catch_up(source, tmp_path / "alone.db")
        catch_up(
            source, tmp_path / "together.db", lambda done, _: steps.append(done), helpers=helpers_for(ledger)
        )
        assert len(steps) == 3, "one stretch after the other, each in one piece"
        assert views_digest(tmp_path / "together.db") == views_digest(tmp_path / "alone.db")

        rebuild(source, tmp_path / "alone.db", helpers=helpers_for(ledger))
        assert views_digest(tmp_path / "together.db") == views_digest(tmp_path / "alone.db")


def _booked_twice(log: LogBuilder) -> None:
    log.account(AccountFillBooked, fill=a_fill(fill_key="f41"))


def _never_created(log: LogBuilder) -> None:
    log.submitted("never created")


def _no_position_takes_it(log: LogBuilder) -> None:
    log.account(AccountLeverageChanged, trading_pair="BTC-USD", leverage=0, is_cross=True)


def test_what_was_booked_twice_before_it_was_corrected_is_built_by_one(tmp_path: Path) -> None:
    events = an_interleaved_log(LENGTH)
    booked = next(
        event for event in events if isinstance(event, OrderFilled) and event.fill.fill_key == "f41"
    )
    again, correction = LogBuilder(), LogBuilder()
    again.open_order("another", "7041")
    again.filled("another", fill_key="f41", exchange_order_id="7041")
    correction._versions["o1"] = sum(event.originator_id == "o1" for event in events)
    correction.corrected(booked, None)
    ledger = tmp_path / "ledger.db"
    middle = PORTION + 100
    record(ledger, events[:middle] + again.events + events[middle:] + correction.events)
    with opened(ledger) as source:
        catch_up(source, tmp_path / "alone.db")
        catch_up(source, tmp_path / "views.db", helpers=helpers_for(ledger))
        assert views_digest(tmp_path / "views.db") == views_digest(tmp_path / "alone.db")
        with Views(tmp_path / "views.db") as views:
            assert [row.position for row in views.parked()] == [middle + 4]


def _not_to_be_read(ledger: Path, position: int) -> None:
    with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER stored_events_refuse_update")
        connection.execute("UPDATE stored_events SET state = x'80' WHERE position = ?", (position,))


def odd_ledger(directory: Path, length: int, odd: Callable[[LogBuilder], None] | None) -> Path:
    """A ledger that ends with something that takes the knowledge of all before it."""
    events = an_interleaved_log(length)
    log = LogBuilder()
    log._versions[ACCOUNT_ID] = sum(isinstance(event, AccountEvent) for event in events)
    if odd is not None:
        odd(log)
    ledger = directory / "ledger.db"
    record(ledger, events + log.events)
    if odd is None:
        _not_to_be_read(ledger, length - 10)
    return ledger


@pytest.mark.parametrize("odd", [_booked_twice, _never_created, _no_position_takes_it, None])
def test_what_takes_the_knowledge_of_all_before_is_not_shared(
    tmp_path: Path, odd: Callable[[LogBuilder], None] | None
) -> None:
    ledger = odd_ledger(tmp_path, PORTION + 100, odd)
    with (
        opened(ledger) as source,
        ViewsFile.create(tmp_path / "views.db", source.ledger_id, guarded=False) as file,
        pytest.raises(NotSharedError),
    ):
        build_shared(file, source, source.max_position, helpers_for(ledger), lambda done, total: None)


def test_it_is_then_built_by_one(tmp_path: Path) -> None:
    ledger = odd_ledger(tmp_path, LENGTH, _booked_twice)
    with opened(ledger) as source:
        catch_up(source, tmp_path / "alone.db")
        catch_up(source, tmp_path / "views.db", helpers=helpers_for(ledger))
        assert views_digest(tmp_path / "views.db") == views_digest(tmp_path / "alone.db")
        with Views(tmp_path / "views.db") as views:
            assert [row.position for row in views.parked()] == [source.max_position]
