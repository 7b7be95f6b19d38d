"""`EarlyNews`: what a connector tells before the strategy's `on_start`, kept until right after it.

A start learns what happened while the process was away (fills above all) before it reports ready, and a
strategy can do nothing with news before it has its connector.
"""

from __future__ import annotations

from collections.abc import Callable

from adapters.strategies.strategy import Strategy
from domain.events import OrderFilled
from domain.in_flight_order import OrderView
from domain.listeners import Committed, OrderEventListener, TradeEventListener

__all__ = ["EarlyNews"]


class EarlyNews(OrderEventListener, TradeEventListener):
    """Listens in a strategy's place; `calls` are what the strategy is to be called with, in their order."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self.calls: list[tuple[Callable[..., None], tuple[object, ...]]] = []

    def on_order_update(self, committed: Committed) -> None:
        self.calls.append((self._strategy.on_order_update, (committed,)))

    def on_order_created(self, order: OrderView) -> None:
        self.calls.append((self._strategy.on_order_created, (order,)))

    def on_order_completed(self, order: OrderView) -> None:
        self.calls.append((self._strategy.on_order_completed, (order,)))

    def on_order_cancelled(self, order: OrderView) -> None:
        self.calls.append((self._strategy.on_order_cancelled, (order,)))

    def on_order_failed(self, order: OrderView) -> None:
        self.calls.append((self._strategy.on_order_failed, (order,)))

    def on_order_expired(self, order: OrderView) -> None:
        self.calls.append((self._strategy.on_order_expired, (order,)))

    def on_order_filled(self, order: OrderView, filled: OrderFilled) -> None:
        self.calls.append((self._strategy.on_order_filled, (order, filled)))

    def on_alert(self, code: str, message: str, client_order_id: str) -> None:
        heard = getattr(self._strategy, "on_alert", None)
        if heard is not None:
            self.calls.append((heard, (code, message, client_order_id)))
