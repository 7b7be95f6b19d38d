"""The fold of orders: which rows a batch of events changes."""

from __future__ import annotations

from decimal import Decimal

from domain.events import OrderAmended, OrderEvent
from projections.order_fold import OrderFold, Row
from tests.unit.projections.logs import LogBuilder


def amended(log: LogBuilder, exchange_order_id: str) -> None:
    terms = {"price": Decimal(101), "leg_amount": Decimal(1)}
    log.add(OrderAmended, "o1", exchange_order_id=exchange_order_id, **terms)


def key_rows(fold: OrderFold, log: LogBuilder, begin: int) -> list[Row]:
    for position, event in enumerate(log.events[begin:], begin + 1):
        assert isinstance(event, OrderEvent)
        fold.apply(position, event)
    return fold.take_rows()[1]


def test_an_amend_gives_a_row_to_the_id_it_brings_and_none_to_those_that_have_theirs() -> None:
    log = LogBuilder()
    fold = OrderFold(lambda _id, _version: (), lambda _id: 1)
    log.created("o1", venue_order_key="0xabc")
    log.acknowledged("o1", "1")
    assert key_rows(fold, log, 0) == [("0xabc", "o1", "venue_order_key"), ("1", "o1", "exchange_order_id")]
    for number in range(2, 50):
        begin = len(log.events)
        amended(log, str(number))
        assert key_rows(fold, log, begin) == [(str(number), "o1", "exchange_order_id")]
    begin = len(log.events)
    amended(log, "50")
    amended(log, "51")
    assert [row[0] for row in key_rows(fold, log, begin)] == ["50", "51"]


def test_an_order_that_was_read_back_gives_no_row_to_ids_that_have_theirs() -> None:
    log = LogBuilder()
    log.created("o1", venue_order_key="0xabc")
    log.acknowledged("o1", "1")
    amended(log, "2")
    stored = list(log.events)
    fold = OrderFold(lambda _id, version: stored[: version - 1], lambda _id: 1)
    amended(log, "3")
    assert [row[0] for row in key_rows(fold, log, len(stored))] == ["3"]
