"""Law 5: deleting the views and folding the log again gives the same views, byte for byte."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.events import AccountFillBooked, LedgerEvent, OrderEvent, OrderFilled
from domain.in_flight_order import InFlightOrder
from domain.money import is_usable
from projections import Views, catch_up, rebuild, views_digest
from projections.follower import Follower
from projections.order_fold import order_row
from projections.tables import ORDERS
from projections.views_file import ViewsFile, connect_for_reading
from tests.unit.projections.logs import MemoryLog, logs

many = settings(max_examples=40, deadline=None)


def digest_of(log: MemoryLog, directory: Path) -> str:
    views = directory / "reference.db"
    catch_up(log, views)
    return views_digest(views)


@many
@given(data=st.data(), events=logs())
def test_any_batches_any_restarts_and_any_memory_give_the_same_views(
    data: st.DataObject, events: list[LedgerEvent]
) -> None:
    log = MemoryLog(events)
    log.unreadable = data.draw(st.sets(st.integers(1, len(events)), max_size=2))
    with tempfile.TemporaryDirectory() as name:
        expected = digest_of(log, Path(name))

        path = Path(name, "pieces.db")
        views = ViewsFile.create(path, log.ledger_id)
        views.complete()
        position = 0
        while position < log.max_position:
            with ViewsFile.open(path) as views:
                batch_size = data.draw(st.integers(1, 12), label="batch size")
                batches = data.draw(st.integers(1, 4), label="batches before the restart")
                kept = data.draw(st.sampled_from([0, 1, 10_000]), label="done orders kept")
                with Follower(log, views, batch_size=batch_size, done_orders_kept=kept) as follower:
                    for _ in range(batches):
                        follower.step(0)
                position = views.progress.position

        assert views_digest(path) == expected


@many
@given(events=logs(), cut=st.integers(0, 40))
def test_a_rebuild_gives_what_following_gave(events: list[LedgerEvent], cut: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        views = Path(name, "l.views.db")
        log = MemoryLog(events[:cut])
        catch_up(log, views)
        log.append(*events[cut:])
        catch_up(log, views)
        followed = views_digest(views)

        rebuild(log, views)

        assert views_digest(views) == followed


@many
@given(events=logs(poisoned=False))
def test_each_order_row_is_the_domains_own_fold_of_its_events(events: list[LedgerEvent]) -> None:
    log = MemoryLog(events)
    with tempfile.TemporaryDirectory() as name:
        views = Path(name, "l.views.db")
        catch_up(log, views)
        with Views(views) as asked:
            parked = {row.aggregate for row in asked.parked() if row.view == "orders"}
        connection = connect_for_reading(views)
        rows = connection.execute(f"SELECT {', '.join(ORDERS.columns)} FROM orders").fetchall()
        connection.close()
    expected = []
    order_events = [event for event in events if isinstance(event, OrderEvent)]
    for order_id in {event.originator_id for event in order_events} - parked:
        order = InFlightOrder.fold(event for event in order_events if event.originator_id == order_id)
        positions = [at for at, event in enumerate(events, 1) if event.originator_id == order_id]
        expected.append(order_row(order, positions[0], positions[-1]))
    assert sorted(row for row in rows if row[1] not in parked) == sorted(expected)


@many
@given(events=logs())
def test_every_fill_key_is_in_the_fills_exactly_once_whatever_became_of_its_order(
    events: list[LedgerEvent],
) -> None:
    log = MemoryLog(events)
    with tempfile.TemporaryDirectory() as name:
        views = Path(name, "l.views.db")
        catch_up(log, views)
        with Views(views) as asked:
            booked = [fill.fill_key for fill in asked.fills()]
    sensible = {
        event.fill.fill_key
        for event in events
        if isinstance(event, OrderFilled | AccountFillBooked)
        and is_usable(event.fill.price)
        and event.fill.price >= 0
    }
    assert sorted(booked) == sorted(sensible)
