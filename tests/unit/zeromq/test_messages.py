"""Which topic each event goes to, and what its body says."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.zeromq.messages import EventType, event_type_of, order_data
from domain.enums import OrderState
from domain.events import (
    ORDER_EVENTS,
    OrderAcknowledged,
    OrderAmended,
    OrderAmendRefused,
    OrderAmendRequested,
    OrderAmendUnknown,
    OrderCancelled,
    OrderCancelRefused,
    OrderCancelRequested,
    OrderCancelUnknown,
    OrderCreated,
    OrderEvent,
    OrderExpired,
    OrderFailed,
    OrderFillCorrected,
    OrderFilled,
    OrderNotFound,
    OrderObserved,
    OrderReopened,
    OrderReportedFilled,
    OrderSubmitted,
    OrderSubmitUnknown,
    OrderTriggered,
)
from domain.listeners import Committed
from domain.money import MONEY
from tests.unit.zeromq.orders import ACCOUNT, STARTED_NS, OrderUnderTest


def _type(committed: Committed) -> EventType:
    assert committed.view is not None
    return event_type_of(committed.event, committed.view)


_NEW_TERMS: dict[str, Any] = {"price": MONEY.create_decimal(1), "leg_amount": MONEY.create_decimal(1)}
_UPDATES: dict[type[OrderEvent], dict[str, Any]] = {
    OrderSubmitted: {"attempt": 1, "nonce": 5},
    OrderSubmitUnknown: {"reason_code": "timeout"},
    OrderAcknowledged: {"exchange_order_id": "77738308"},
    OrderReportedFilled: {},
    OrderTriggered: {},
    OrderCancelRequested: {"nonce": 6},
    OrderCancelUnknown: {"reason_code": "timeout"},
    OrderCancelRefused: {"reason_code": "already_filled"},
    OrderAmendRequested: {**_NEW_TERMS, "amount": MONEY.create_decimal(1), "nonce": 7},
    OrderAmendUnknown: {"reason_code": "timeout"},
    OrderAmended: _NEW_TERMS,
    OrderAmendRefused: {"reason_code": "too_late"},
    OrderNotFound: {"count": 1},
    OrderObserved: {"why": "after_terminal"},
    OrderReopened: {"reason_code": "listed_as_open", "discrepancy_id": "d"},
}
_OWN_TOPICS = {OrderCreated, OrderFilled, OrderCancelled, OrderFailed, OrderExpired}
_UPDATES_OF_FILLS = {OrderFillCorrected}


def test_every_order_event_has_a_topic() -> None:
    assert set(_UPDATES) | _OWN_TOPICS | _UPDATES_OF_FILLS == set(ORDER_EVENTS)


def test_a_new_order_is_created() -> None:
    assert _type(OrderUnderTest().created) is EventType.CREATED


@pytest.mark.parametrize("kind", _UPDATES)
def test_events_that_neither_fill_nor_end_an_order_are_updates(kind: type[OrderEvent]) -> None:
    assert _type(OrderUnderTest().then(kind, **_UPDATES[kind])) is EventType.UPDATE


def test_a_fill_taken_back_is_an_update_with_the_amounts_as_they_are_without_it() -> None:
    order = OrderUnderTest(amount="1.5")
    event = order.fill("0.5").event
    assert isinstance(event, OrderFilled)
    taken_back = order.then(
        OrderFillCorrected, was=event.fill, reason_code="phantom_fill", discrepancy_id="d"
    )
    assert _type(taken_back) is EventType.UPDATE
    assert taken_back.view is not None
    assert taken_back.view.filled_amount == 0


def test_the_fill_that_completes_the_order_and_no_other_is_filled() -> None:
    order = OrderUnderTest(amount="1.5")
    assert [_type(order.fill(amount)) for amount in ("0.5", "0.9", "0.1", "0.1")] == [
        EventType.PARTIAL_FILL,
        EventType.PARTIAL_FILL,
        EventType.FILLED,
        EventType.PARTIAL_FILL,  # overfilled: the order was complete before
    ]


def test_an_order_reported_filled_is_only_filled_once_its_fills_are_in() -> None:
    order = OrderUnderTest(amount="1")
    reported = order.then(OrderReportedFilled)
    assert reported.view is not None
    assert (_type(reported), reported.view.state) == (EventType.UPDATE, OrderState.FILLED)
    assert _type(order.fill("0.4")) is EventType.PARTIAL_FILL
    assert _type(order.fill("0.6")) is EventType.FILLED


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (OrderCancelled, EventType.CANCELLED),
        (OrderFailed, EventType.FAILED),
        (OrderExpired, EventType.EXPIRED),
    ],
)
def test_an_end_has_its_own_topic(kind: type[OrderEvent], expected: EventType) -> None:
    order = OrderUnderTest()
    assert _type(order.then(kind, reason_code="because")) is expected


def test_an_end_that_is_outweighed_is_an_update() -> None:
    order = OrderUnderTest()
    order.then(OrderCancelled, reason_code="requested")
    assert _type(order.then(OrderFailed, reason_code="refused")) is EventType.UPDATE


def test_a_late_fill_after_a_cancel_is_a_partial_fill_of_a_cancelled_order() -> None:
    order = OrderUnderTest()
    order.then(OrderCancelled, reason_code="requested")
    late = order.fill("0.5")
    assert late.view is not None
    assert (_type(late), order_data(late.event, late.view).order_state) == (
        EventType.PARTIAL_FILL,
        OrderState.CANCELLED,
    )


def test_the_body_tells_the_order_and_the_fill_in_canonical_decimal_strings() -> None:
    order = OrderUnderTest(amount="1.50")
    order.then(OrderAcknowledged, exchange_order_id="77738308")
    committed = order.fill("0.00000009", price="43210.0", fee="-0.0100")
    assert committed.view is not None
    data = order_data(committed.event, committed.view)
    assert (data.client_order_id, data.exchange_order_id, data.account) == ("ol-1", "77738308", ACCOUNT)
    assert (data.price, data.amount) == ("43210.5", "1.5")
    assert (data.filled_amount, data.remaining_amount) == ("0.00000009", "1.49999991")
    assert (data.average_fill_price, data.trigger_price) == ("43210", None)
    assert data.fees == {"USDC": "-0.01"}
    assert (data.ledger_event, data.exchange_time_ms) == ("order.filled", 1_700_000_000_123)
    assert (data.created_at_ns, data.updated_at_ns) == (STARTED_NS + 1, STARTED_NS + 3)
    assert data.fill is not None
    assert (data.fill.price, data.fill.amount, data.fill.fee) == ("43210", "0.00000009", "-0.01")


def test_only_a_fill_carries_a_fill() -> None:
    created = OrderUnderTest().created
    assert created.view is not None
    assert order_data(created.event, created.view).fill is None
