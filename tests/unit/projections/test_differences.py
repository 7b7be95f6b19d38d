"""What changed between two points of the log."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.enums import OrderState
from domain.events import LedgerEvent, OrderCancelled
from projections import Views, catch_up, differences
from tests.unit.projections.conftest import OpenViews
from tests.unit.projections.logs import LogBuilder, MemoryLog, logs


def test_an_order_is_shown_before_and_after(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.open_order("untouched", "70")
    builder.open_order("filled", "71")
    builder.filled("filled", exchange_order_id="71")
    builder.created("new", tag="maker")
    builder.add(OrderCancelled, "filled", reason_code="requested")
    views = views_of(builder.events)
    found = differences(views, MemoryLog(builder.events), 6, 8)
    assert [
        (change.before and change.before.state, change.after.client_order_id, change.after.state)
        for change in found.orders
    ] == [
        (OrderState.OPEN, "filled", OrderState.PARTIALLY_FILLED),
        (None, "new", OrderState.PENDING_CREATE),
    ]
    assert [(change.before, change.after.amount) for change in found.positions] == [
        (None, found.fills[0].amount)
    ]
    narrowed = differences(views, MemoryLog(builder.events), 6, 8, tag="maker")
    assert [change.after.client_order_id for change in narrowed.orders] == ["new"]


def test_between_a_point_and_itself_nothing_changed(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.open_order("a", "71")
    found = differences(views_of(builder.events), MemoryLog(builder.events), 2, 2)
    assert (found.orders, found.positions, found.fills, found.funding) == ([], [], [], [])


def test_points_the_wrong_way_round_are_refused(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.open_order("a", "71")
    with pytest.raises(ValueError, match="position 2 comes after position 1"):
        differences(views_of(builder.events), MemoryLog(builder.events), 2, 1)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), events=logs())
def test_the_state_before_and_the_changes_give_the_state_after(
    data: st.DataObject, events: list[LedgerEvent]
) -> None:
    end = data.draw(st.integers(1, len(events)))
    begin = data.draw(st.integers(1, end))
    log = MemoryLog(events)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "l.views.db")
        catch_up(log, path)
        with Views(path) as views:
            found = differences(views, log, begin, end)
            with views.at(begin, log) as then:
                before = {order.client_order_id: order for order in then.orders()}
                positions = {position.trading_pair: position for position in then.positions()}
                fills, funding = then.fills(), then.funding()
            with views.at(end, log) as later:
                after = {order.client_order_id: order for order in later.orders()}
                later_positions = {position.trading_pair: position for position in later.positions()}
                kept = [fill for fill in fills if fill not in found.fills_taken_back]
                assert len(kept) + len(found.fills_taken_back) == len(fills)
                assert kept + found.fills == later.fills()
                assert funding + found.funding == later.funding()
    for order in found.orders:
        assert order.before == before.get(order.after.client_order_id) != order.after
    for position in found.positions:
        assert position.before == positions.get(position.after.trading_pair) != position.after
    assert before | {order.after.client_order_id: order.after for order in found.orders} == after
    assert positions | {change.after.trading_pair: change.after for change in found.positions} == (
        later_positions
    )
