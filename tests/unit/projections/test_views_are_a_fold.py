"""Law 5: deleting the views and folding the log again gives the same views, byte for byte."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.enums import TradeType
from domain.events import (
    AccountFillBooked,
    AccountFillCorrected,
    AccountPositionAsserted,
    Fill,
    LedgerEvent,
    OrderEvent,
    OrderFillCorrected,
    OrderFilled,
)
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
def test_every_fill_key_counts_exactly_once_as_it_was_booked_or_corrected_last(
    events: list[LedgerEvent],
) -> None:
    log = MemoryLog(events)
    with tempfile.TemporaryDirectory() as name:
        views = Path(name, "l.views.db")
        catch_up(log, views)
        with Views(views) as asked:
            counted = {fill.fill_key: (fill.price, fill.amount, fill.fee) for fill in asked.fills()}
            assert len(counted) == len(asked.fills())
    assert counted == {
        key: (fill.price, fill.amount, fill.fee) for key, (_, fill) in as_booked(events).items()
    }


def as_booked(events: list[LedgerEvent]) -> dict[str, tuple[str, Fill]]:
    """By fill key, what counts of it and to which aggregate it belongs, gone through event by event."""
    counted: dict[str, tuple[str, Fill]] = {}
    for event in events:
        owner = event.originator_id
        if isinstance(event, OrderFilled | AccountFillBooked):
            fill = event.fill
            if fill.fill_key not in counted and is_usable(fill.price) and fill.price >= 0:
                counted[fill.fill_key] = (owner, fill)
        elif isinstance(event, OrderFillCorrected | AccountFillCorrected):
            was, now = event.was, event.now
            others = {key: held for key, held in counted.items() if key != was.fill_key}
            if len(others) == len(counted) or not is_same(counted[was.fill_key], (owner, was)):
                continue
            if now is None:
                counted = others
            elif now.fill_key not in others and now.trading_pair == was.trading_pair:
                counted = others | {now.fill_key: (owner, now)}
    return counted


def is_same(one: tuple[str, Fill], other: tuple[str, Fill]) -> bool:
    def figures(fill: Fill) -> tuple[object, ...]:
        return fill.trading_pair, fill.trade_type, fill.price, fill.amount, fill.fee, fill.fee_token

    return one[0] == other[0] and figures(one[1]) == figures(other[1])


@many
@given(events=logs(poisoned=False))
def test_the_fills_that_count_add_up_to_the_position_at_any_time(events: list[LedgerEvent]) -> None:
    log = MemoryLog([event for event in events if not isinstance(event, AccountPositionAsserted)])
    with tempfile.TemporaryDirectory() as name:
        views = Path(name, "l.views.db")
        catch_up(log, views)
        with Views(views) as asked:
            for position in range(1, log.max_position + 1):
                with asked.at(position, log) as then:
                    sums = {row.trading_pair: Decimal(0) for row in then.positions()}
                    for fill in then.fills():
                        sign = 1 if fill.trade_type is TradeType.BUY else -1
                        sums[fill.trading_pair] += sign * fill.amount
                    assert sums == {row.trading_pair: row.amount for row in then.positions()}
