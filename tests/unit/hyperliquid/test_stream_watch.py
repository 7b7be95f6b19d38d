"""A stream that answers pings and says nothing else is noticed by what it should have said."""

from __future__ import annotations

from domain.effects import ReconnectStream
from domain.inputs import StreamConnected
from tests.support.core import CoreSession, fill_row, order_status_answer


def reconnects(core: CoreSession) -> list[ReconnectStream]:
    return [effect for effect in core.effects if isinstance(effect, ReconnectStream)]


def test_a_stream_that_told_nothing_of_a_fill_of_a_minute_ago_is_replaced() -> None:
    core = CoreSession().ready()
    order = core.open(5)
    core.advance(20)
    core.fills.append(fill_row(5, 1, "1.0", cloid=order, time_ms=core.now_ms))
    core.advance(50)
    (asked,) = reconnects(core)
    assert asked.stream == "user"
    assert "learned by asking" in asked.reason
    assert "stream_deaf" in core.alert_codes()
    assert core.view(order).filled_amount == 1


def test_a_stream_that_told_nothing_of_an_end_is_replaced() -> None:
    core = CoreSession().ready()
    order = core.open(5)
    core.advance(20)
    ended_ms = core.now_ms
    core.advance(45)
    core.answer(
        core.take_query("orderStatus"), order_status_answer(5, "canceled", cloid=order, time_ms=ended_ms)
    )
    assert core.state(order) == "cancelled"
    assert len(reconnects(core)) == 1


def test_a_stream_that_speaks_is_kept_though_it_lost_a_message() -> None:
    core = CoreSession().ready()
    order = core.open(5)
    core.advance(20)
    core.fills.append(fill_row(5, 1, "0.5", cloid=order, time_ms=core.now_ms))
    core.advance(1)
    core.fill(5, 2, "0.1", cloid=order, time_ms=core.now_ms)
    core.advance(60)
    assert core.view(order).filled_amount == core.view(order).amount * 6 / 10
    assert reconnects(core) == []


def test_news_that_are_young_prove_nothing() -> None:
    core = CoreSession().ready()
    core.advance(55)
    order = core.open(5)
    core.fills.append(fill_row(5, 1, "1.0", cloid=order, time_ms=core.now_ms))
    core.advance(8)
    assert core.view(order).filled_amount == 1
    assert reconnects(core) == []


def test_what_happened_while_there_was_no_stream_proves_nothing() -> None:
    core = CoreSession().ready()
    order = core.open(5)
    core.lose_stream()
    core.fills.append(fill_row(5, 1, "1.0", cloid=order, time_ms=core.now_ms + 1_000))
    core.advance(60)
    core.step(StreamConnected(stream="user"))
    assert core.view(order).filled_amount == 1
    assert reconnects(core) == []


def test_it_is_asked_for_once_until_it_is_connected_again() -> None:
    core = CoreSession().ready()
    order = core.open(5)
    core.advance(20)
    for number in range(1, 4):
        core.fills.append(fill_row(5, number, "0.1", cloid=order, time_ms=core.now_ms))
        core.advance(60)
    assert len(reconnects(core)) == 1
