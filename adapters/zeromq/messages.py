"""What a subscriber receives: the topic of an event, and the body that goes with it.

Topics are `orders.<venue>.<event type>`, and the event type is the body's `event_type` too:

| event type | published for |
|---|---|
| `created` | `order.created`: the order exists here; nothing was sent yet |
| `partial_fill` | `order.filled` that does not complete the order (one beyond its amount included) |
| `filled` | the `order.filled` with which the filled amount reaches the order's amount |
| `cancelled`, `failed`, `expired` | `order.cancelled`, `order.failed`, `order.expired` |
| `update` | everything else: acknowledged, requests and their unknown outcomes, amendments, audit notes |

So each fill comes exactly once, as `partial_fill` or `filled`. An order that the venue calls filled before
its fills are known (`order.reported_filled`) is an `update` whose `order_state` is `filled` and whose
`remaining_amount` is not zero; the missing fills follow. A fill may follow `cancelled`, `failed` or
`expired`: what counts is `order_state`.

Numbers that are prices, amounts or fees are decimal strings without exponent; times are integer nanoseconds
UTC (`timestamp`, `*_ns`) or the venue's milliseconds (`exchange_time_ms`). In MessagePack the same document
is encoded, with the same strings.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from domain.enums import Liquidity, OrderState, OrderType, PositionAction, TradeType
from domain.events import (
    Fill,
    LedgerEvent,
    OrderCancelled,
    OrderCreated,
    OrderExpired,
    OrderFailed,
    OrderFilled,
)
from domain.in_flight_order import OrderView
from domain.money import MONEY, decimal_text

__all__ = ["EventType", "FillData", "Heartbeat", "OrderData", "OrderMessage", "event_type_of", "order_data"]


class EventType(StrEnum):
    """The last part of a topic."""

    CREATED = "created"
    UPDATE = "update"
    PARTIAL_FILL = "partial_fill"
    FILLED = "filled"
    CANCELLED = "cancelled"
    FAILED = "failed"
    EXPIRED = "expired"


class FillData(msgspec.Struct, frozen=True, gc=False):
    """The execution that a `partial_fill` or `filled` message is about.

    `fee` is positive when paid and negative when received.
    """

    fill_key: str
    trade_id: str
    exchange_order_id: str
    price: str
    amount: str
    fee: str
    fee_token: str
    liquidity: Liquidity
    exchange_time_ms: int


class OrderData(msgspec.Struct, frozen=True, gc=False):
    """The order right after the event. `ledger_event` is the event's name in the ledger, such as
    `order.cancel_requested`; `fees` maps each token to what was paid in it so far."""

    client_order_id: str
    exchange_order_id: str | None
    venue: str
    account: str
    trading_pair: str
    order_type: OrderType
    trade_type: TradeType
    position_action: PositionAction
    price: str
    trigger_price: str | None
    amount: str
    filled_amount: str
    remaining_amount: str
    average_fill_price: str | None
    fees: dict[str, str]
    order_state: OrderState
    outcome_unknown: bool
    reason_code: str
    reason: str
    external: bool
    tag: str
    created_at_ns: int
    updated_at_ns: int
    version: int
    ledger_event: str
    exchange_time_ms: int | None
    fill: FillData | None


class OrderMessage(msgspec.Struct, frozen=True, gc=False):
    """The body of an order event.

    `position` is the event's place in the ledger: it only ever grows, but not by ones (events of the account
    take positions too). `sequence` does grow by ones over all messages of one `session` (one run of the
    publisher), and `topic_sequence` over those of one topic: a step of more than one is a gap, to be read
    from the ledger after the last position that arrived; so is a new session.
    """

    event_type: EventType
    timestamp: int
    position: int
    session: str
    sequence: int
    topic_sequence: int
    data: OrderData


class Heartbeat(msgspec.Struct, frozen=True, gc=False, tag_field="event_type", tag="heartbeat"):
    """The body under the topic `heartbeat.<venue>`, sent at intervals.

    `position` is the last one of the ledger, `sequence` that of the last order message, and `topic_sequences`
    the last one of each topic: who has these is current. No heartbeat for some intervals: the publisher is
    gone.
    """

    timestamp: int
    position: int
    session: str
    sequence: int
    topic_sequences: dict[str, int]


_CLOSING: dict[type[LedgerEvent], tuple[EventType, OrderState]] = {
    OrderCancelled: (EventType.CANCELLED, OrderState.CANCELLED),
    OrderFailed: (EventType.FAILED, OrderState.FAILED),
    OrderExpired: (EventType.EXPIRED, OrderState.EXPIRED),
}


def event_type_of(event: LedgerEvent, view: OrderView) -> EventType:
    """Which topic an order event goes to, `view` being the order right after it."""
    if isinstance(event, OrderFilled):
        before = MONEY.subtract(view.filled_amount, event.fill.amount)
        completes = before < view.amount <= view.filled_amount
        return EventType.FILLED if completes else EventType.PARTIAL_FILL
    if isinstance(event, OrderCreated):
        return EventType.CREATED
    event_type, state = _CLOSING.get(type(event), (EventType.UPDATE, view.state))
    # An end that other evidence outweighs did not end the order that way.
    return event_type if view.state is state else EventType.UPDATE


def order_data(event: LedgerEvent, view: OrderView) -> OrderData:
    """The body's `data`."""
    return OrderData(
        view.client_order_id,
        view.exchange_order_id,
        view.venue,
        view.account,
        view.trading_pair,
        view.order_type,
        view.trade_type,
        view.position_action,
        decimal_text(view.price),
        _optional_text(view.trigger_price),
        decimal_text(view.amount),
        decimal_text(view.filled_amount),
        decimal_text(view.remaining_amount),
        _optional_text(view.average_fill_price),
        {token: decimal_text(paid) for token, paid in view.fees.items()},
        view.state,
        view.outcome_unknown,
        view.reason_code,
        view.reason,
        view.external,
        view.tag,
        view.created_at_ns,
        view.updated_at_ns,
        view.version,
        event.topic,
        event.exchange_time_ms,
        _fill_data(event.fill) if isinstance(event, OrderFilled) else None,
    )


def _fill_data(fill: Fill) -> FillData:
    return FillData(
        fill.fill_key,
        fill.trade_id,
        fill.exchange_order_id,
        decimal_text(fill.price),
        decimal_text(fill.amount),
        decimal_text(fill.fee),
        fill.fee_token,
        fill.liquidity,
        fill.exchange_time_ms,
    )


def _optional_text(value: Decimal | None) -> str | None:
    return None if value is None else decimal_text(value)
