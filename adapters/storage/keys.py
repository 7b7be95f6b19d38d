"""Lookup keys: the names besides its client order id that an order can be found by.

`oid:<exchange order id>` for each id the venue gave it, `key:<venue order key>` where the venue knows it
under a client id that is not ours. A key, once taken, keeps pointing at the order that took it first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from domain.events import (
    LedgerEvent,
    OrderAcknowledged,
    OrderAmended,
    OrderCancelled,
    OrderCreated,
    OrderExpired,
    OrderFailed,
    OrderFilled,
    OrderReportedFilled,
    OrderTriggered,
)

__all__ = ["EXCHANGE_ID_PREFIX", "VENUE_KEY_PREFIX", "KeysOf", "lookup_keys"]

EXCHANGE_ID_PREFIX = "oid:"
VENUE_KEY_PREFIX = "key:"

KeysOf: TypeAlias = Callable[[LedgerEvent], tuple[str, ...]]
"""What tells a store which keys an event adds."""

_WithExchangeId: TypeAlias = (
    OrderAcknowledged
    | OrderAmended
    | OrderTriggered
    | OrderReportedFilled
    | OrderCancelled
    | OrderFailed
    | OrderExpired
)


def _of_created(event: OrderCreated) -> tuple[str, ...]:
    key = event.venue_order_key
    return (VENUE_KEY_PREFIX + key,) if key and key != event.originator_id else ()


def _of_filled(event: OrderFilled) -> tuple[str, ...]:
    return (EXCHANGE_ID_PREFIX + event.fill.exchange_order_id,) if event.fill.exchange_order_id else ()


def _of_exchange_id(event: _WithExchangeId) -> tuple[str, ...]:
    return (EXCHANGE_ID_PREFIX + event.exchange_order_id,) if event.exchange_order_id else ()


_KEYS_BY_TYPE: dict[type[LedgerEvent], Callable[..., tuple[str, ...]]] = {
    OrderCreated: _of_created,
    OrderFilled: _of_filled,
    OrderAcknowledged: _of_exchange_id,
    OrderAmended: _of_exchange_id,
    OrderTriggered: _of_exchange_id,
    OrderReportedFilled: _of_exchange_id,
    OrderCancelled: _of_exchange_id,
    OrderFailed: _of_exchange_id,
    OrderExpired: _of_exchange_id,
}


def lookup_keys(event: LedgerEvent) -> tuple[str, ...]:
    """The keys that this event makes its order findable by; most events add none."""
    keys_of = _KEYS_BY_TYPE.get(type(event))
    return keys_of(event) if keys_of is not None else ()
