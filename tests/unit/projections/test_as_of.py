"""The views at an earlier position: what views of the events up to there would say, wherever it lies."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.enums import OrderState
from domain.events import AccountFundingBooked, LedgerEvent, OrderCancelled
from projections import (
    OrderNotInViewsError,
    OtherLedgerError,
    PositionNotInViewsError,
    TimeBeforeLedgerError,
    Views,
    catch_up,
    position_fold,
    views_fold,
)
from projections import as_of as as_of_module
from projections.follower import Follower
from projections.spans import NO_SPAN, nodes_around, span_node
from projections.views_file import ViewsFile
from tests.unit.projections.conftest import OpenViews
from tests.unit.projections.logs import ACCOUNT, PAIRS, START_NS, VENUE, LogBuilder, MemoryLog, logs

many = settings(max_examples=40, deadline=None)

_MS = 1_000_000


@contextmanager
def stretches_of(length: int) -> Iterator[None]:
    """Short stretches of the log, so that a short log has many of them."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (position_fold, views_fold, as_of_module):
            patch.setattr(module, "CHECKPOINT_EVERY", length)
        yield


def everything(views: Views, **wanted: Any) -> dict[str, Any]:
    order_ids = sorted({f"order-{number}" for number in range(5)})
    return {
        "position": views.position,
        "orders": views.orders(**wanted),
        "last two": views.orders(limit=2, **wanted),
        "open": views.open_orders(**wanted),
        "open, last one": views.open_orders(limit=1, **wanted),
        "fills": views.fills(**wanted),
        "fills taken back": views.fills_taken_back(**wanted),
        "discrepancies": views.discrepancies(**wanted),
        "open discrepancies": views.discrepancies(only_open=True, limit=1, **wanted),
        "funding": views.funding(**wanted),
        "positions": views.positions(**wanted),
        "parked": views.parked(),
        "contradicted": views.contradicted(),
        "histories": [views.history(order_id, **wanted) for order_id in order_ids],
    }


@many
@given(data=st.data(), events=logs() | logs(created=True, poisoned=False))
def test_the_past_is_what_views_of_the_events_up_to_it_hold(
    data: st.DataObject, events: list[LedgerEvent]
) -> None:
    log = MemoryLog(events)
    log.unreadable = data.draw(st.sets(st.integers(1, len(events)), max_size=2))
    position = data.draw(st.integers(1, len(events)), label="position")
    before = MemoryLog(events[:position])
    before.unreadable = {at for at in log.unreadable if at <= position}
    wanted = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                "trading_pair": st.sampled_from(PAIRS),
                "states": st.lists(st.sampled_from(OrderState), max_size=3),
                "tag": st.sampled_from(["", "maker"]),
                "since_ns": st.integers(0, len(events)).map(lambda number: START_NS + number * _MS),
                "until_ns": st.integers(0, len(events)).map(lambda number: START_NS + number * _MS),
            },
        ),
        label="filter",
    )
    length = data.draw(st.sampled_from([1, 2, 5, 1_024]), label="stretch")
    with tempfile.TemporaryDirectory() as name, stretches_of(length):
        path = Path(name, "now.db")
        with ViewsFile.create(path, log.ledger_id) as views:
            views.complete()
        while True:
            with ViewsFile.open(path) as views:
                if views.progress.position == log.max_position:
                    break
                batch_size = data.draw(st.integers(1, 12), label="batch size")
                with Follower(log, views, batch_size=batch_size) as follower:
                    follower.step(0)
        catch_up(before, Path(name, "then.db"))
        with Views(path) as now, Views(Path(name, "then.db")) as then, now.at(position, log) as past:
            assert everything(past, **wanted) == everything(then, **wanted)


@many
@given(
    spans=st.lists(st.tuples(st.integers(1, 300), st.integers(0, 300)), max_size=20),
    position=st.integers(1, 600),
)
def test_a_span_is_filed_where_every_position_in_it_looks(
    spans: list[tuple[int, int]], position: int
) -> None:
    for first, length in spans:
        last = first + length
        around = set(nodes_around(position, max(position, last)))
        assert (span_node(first, last) in around) or not (first <= position < last)
        assert (span_node(first, last) == NO_SPAN) is (length == 0)


def test_looking_back_a_trillion_events_takes_forty_look_ups() -> None:
    assert len(list(nodes_around(1, 10**12))) == 40


# Times


def timed(*offsets: int) -> list[LedgerEvent]:
    """One event after the other, recorded at these nanoseconds after the start."""
    builder = LogBuilder()
    for number, offset in enumerate(offsets):
        builder.created(f"order-{number}")
        builder.events[-1] = msgspec.structs.replace(builder.events[-1], recorded_at_ns=START_NS + offset)
    return builder.events


def test_a_time_means_the_last_event_recorded_by_then_to_the_nanosecond(views_of: OpenViews) -> None:
    views = views_of(timed(0, 10, 20))
    at = [views.position_at(START_NS + offset) for offset in (0, 9, 10, 11, 19, 20, 10**9)]
    assert at == [1, 1, 2, 2, 2, 3, 3]


def test_events_stamped_alike_go_together(views_of: OpenViews) -> None:
    views = views_of(timed(0, 5, 5, 5, 6))
    assert [views.position_at(START_NS + offset) for offset in (4, 5, 6)] == [1, 4, 5]


def test_where_the_clock_was_set_back_nothing_stamped_later_is_shown(views_of: OpenViews) -> None:
    views = views_of(timed(0, 100, 40, 50, 110))
    assert [views.position_at(START_NS + offset) for offset in (45, 99, 100, 109, 110)] == [1, 1, 4, 4, 5]


@many
@given(offsets=st.lists(st.integers(0, 30), min_size=1, max_size=40), asked=st.integers(-1, 31))
def test_any_clock_gives_the_position_before_the_first_later_event(offsets: list[int], asked: int) -> None:
    with tempfile.TemporaryDirectory() as name, stretches_of(4):
        path = Path(name, "l.views.db")
        catch_up(MemoryLog(timed(*offsets)), path)
        expected = next((at for at, offset in enumerate(offsets) if offset > asked), len(offsets))
        with Views(path) as views:
            if expected:
                assert views.position_at(START_NS + asked) == expected
            else:
                with pytest.raises(TimeBeforeLedgerError):
                    views.position_at(START_NS + asked)


def test_a_time_before_the_ledger_began_is_refused_and_says_when_that_was(views_of: OpenViews) -> None:
    views = views_of(timed(7))
    with pytest.raises(TimeBeforeLedgerError, match=r"began at 2023-11-14T22:13:20\.000000007Z") as caught:
        views.position_at(START_NS + 6)
    assert (caught.value.time_ns, caught.value.began_ns) == (START_NS + 6, START_NS + 7)


# What cannot be looked at


@pytest.mark.parametrize("position", [-1, 0, 4])
def test_a_position_outside_the_log_is_refused(views_of: OpenViews, position: int) -> None:
    events = timed(0, 1, 2)
    views = views_of(events)
    with (
        pytest.raises(PositionNotInViewsError, match="positions begin at 1, and the views stand at 3"),
        views.at(position, MemoryLog(events)),
    ):
        raise AssertionError("answered from nowhere")


def test_another_ledger_cannot_explain_the_past(views_of: OpenViews) -> None:
    events = timed(0, 1)
    with pytest.raises(OtherLedgerError), views_of(events).at(1, MemoryLog(events, ledger_id="b" * 32)):
        raise AssertionError("answered from another ledger")


def test_an_order_is_found_by_a_later_id_but_not_before_it_existed(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.created("early")
    builder.created("late")
    builder.acknowledged("early", "77")
    views = views_of(builder.events)
    with views.at(1, MemoryLog(builder.events)) as past:
        assert past.find_order("77") == "early"
        assert past.history("early").order == past.order("early")
        with pytest.raises(OrderNotInViewsError):
            past.find_order("late")


def test_the_present_is_untouched_by_looking_at_the_past(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.open_order("a", "77")
    builder.add(OrderCancelled, "a", reason_code="requested")
    views = views_of(builder.events)
    with views.at(3, MemoryLog(builder.events)) as past:
        assert [order.state for order in past.open_orders()] == [OrderState.OPEN]
        assert views.open_orders() == []
    assert [order.state for order in views.orders()] == [OrderState.CANCELLED]


def test_the_past_of_the_past_is_the_past(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.open_order("long lived", "77")
    for number in range(40):
        builder.created(f"other-{number}")
    builder.add(OrderCancelled, "long lived", reason_code="requested")
    log = MemoryLog(builder.events)
    with views_of(builder.events).at(9, log) as past:
        with past.at(4, log) as earlier:
            assert [order.client_order_id for order in earlier.open_orders()] == ["long lived", "other-0"]
        assert past.position_at(START_NS + 39 * _MS) == 9
        with pytest.raises(PositionNotInViewsError), past.at(10, log):
            raise AssertionError("answered from what had not happened yet")


def test_the_newest_orders_of_then_hold_what_changed_between_those_that_did_not(views_of: OpenViews) -> None:
    builder = LogBuilder()
    for order_id in ("settled", "moved", "also settled"):
        builder.created(order_id)
    builder.submitted("moved")
    with views_of(builder.events).at(3, MemoryLog(builder.events)) as past:
        assert [order.client_order_id for order in past.orders(limit=2)] == ["moved", "also settled"]


# Filters that the generated log cannot tell apart


def test_venue_and_account_filter_every_list(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.open_order("a", "77", tag="maker")
    builder.filled("a")
    builder.account(
        AccountFundingBooked,
        funding_key="f",
        trading_pair="BTC-USD",
        amount=Decimal("-1"),
        token="USDC",
        rate=Decimal("0.1"),
        position_size=Decimal("1"),
    )
    views = views_of(builder.events)
    for ask in (views.orders, views.open_orders, views.fills, views.funding, views.positions):
        for wanted in ({"venue": VENUE}, {"account": ACCOUNT}):
            assert len(ask(**wanted)) == 1
        for wanted in ({"venue": "elsewhere"}, {"account": "0x0"}):
            assert ask(**wanted) == []


def test_fills_and_events_are_narrowed_by_time_tag_and_state(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.open_order("a", "77", tag="maker")
    builder.filled("a", exchange_time_ms=1_700_000_000_500)
    views = views_of(builder.events)
    moment = 1_700_000_000_500 * _MS
    assert len(views.fills(since_ns=moment, until_ns=moment + 1)) == 1
    assert views.fills(since_ns=moment + 1) == [] == views.fills(until_ns=moment)
    assert len(views.fills(tag="maker")) == 1
    assert views.fills(tag="taker") == []
    assert [event.version for event in views.timeline("a", states=[OrderState.OPEN])] == [3]
    assert [
        event.version for event in views.timeline("a", since_ns=START_NS + _MS, until_ns=START_NS + 2 * _MS)
    ] == [2]
