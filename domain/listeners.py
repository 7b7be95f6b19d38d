"""Who hears about committed events: in log order, once each, never before they are durable."""

from __future__ import annotations

from typing import Protocol

import msgspec

from domain.events import LedgerEvent, OrderFilled
from domain.in_flight_order import OrderView

__all__ = ["Committed", "ErrorEventListener", "OrderEventListener", "TradeEventListener"]


class Committed(msgspec.Struct, frozen=True, gc=False):
    """A durable event, its place in the log, and (order events) the order right after it. `repeats` marks an
    acknowledgement of an order that was acknowledged before: it refutes an end, or tells the exchange id."""

    position: int
    event: LedgerEvent
    view: OrderView | None
    repeats: bool = False


class OrderEventListener:
    """Override what you need. A listener that raises is logged and counted; it cannot stop the ledger."""

    def on_order_created(self, order: OrderView) -> None:
        """The venue has acknowledged the order (or a first sign of life stood in for that). Once for each
        order, also for one whose end was refuted: `on_order_update` tells that it lives again."""

    def on_order_completed(self, order: OrderView) -> None:
        """All fills are in."""

    def on_order_cancelled(self, order: OrderView) -> None:
        """The order ended before it filled completely."""

    def on_order_failed(self, order: OrderView) -> None:
        """The order never became live."""

    def on_order_expired(self, order: OrderView) -> None:
        """Its lifetime ended it."""

    def on_order_update(self, committed: Committed) -> None:
        """Any committed event of any order, before the specific call."""


class TradeEventListener:
    """Hears each fill of each order."""

    def on_order_filled(self, order: OrderView, filled: OrderFilled) -> None:
        """One fill, once."""


class ErrorEventListener(Protocol):
    """Hears alerts: what a person should look at."""

    def on_alert(self, code: str, message: str, client_order_id: str) -> None:
        """`code` is stable; `message` says what was tried and what to do."""
