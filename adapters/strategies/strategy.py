"""`Strategy`: what decides, in a live process. Derive from it, and name the class in the config.

    [strategy]
    class = "my_bots.grid:Grid"
    [strategy.params]
    trading_pair = "BTC-USD"
    order_amount = 0.01

The parameters are the keyword arguments of the constructor; numbers with a point arrive as `Decimal`.

Every method is called in the thread of the event loop, one at a time, and must return quickly: no waiting, no
I/O (an `asyncio` task or a thread may do that). A method that raises is logged and counted; the process goes
on.
"""

from __future__ import annotations

from domain.listeners import OrderEventListener, TradeEventListener
from domain.order_book import OrderBook
from domain.perpetual_derivative_base import PerpetualDerivativeBase

__all__ = ["Strategy"]


class Strategy(OrderEventListener, TradeEventListener):
    """Override what you need, of these methods and of the two listeners' (`on_order_filled` and so on).

    `self.connector` places and reads orders: `buy`, `sell`, `cancel`, `amend`, `cancel_all`, `open_orders`,
    `order`, `order_book`, `position`, `trading_rules`, and `ready`. Orders are accepted while
    `connector.ready`; otherwise they are refused with a `NotReadyError`, which is no reason to stop.

    After a restart the ledger's open orders are there again under the ids they had: look at `open_orders`
    before placing any, and give yours a `tag` to know them by. An order whose `outcome_unknown` is set may or
    may not be at the venue; it is asked for, so leave it alone and do not place it again.
    """

    connector: PerpetualDerivativeBase

    def on_start(self, connector: PerpetualDerivativeBase) -> None:
        """The process begins to trade; nothing else is called before. An override calls this one first.

        What was learned of orders while the process started (a fill made while it was away) follows at once,
        in the listeners' methods.
        """
        self.connector = connector

    def on_tick(self, now_ns: int) -> None:
        """Called about every 250 milliseconds. `now_ns` is the clock (integer nanoseconds UTC)."""

    def on_book(self, trading_pair: str, book: OrderBook) -> None:
        """The order book of a market has changed. `book` changes in place: copy what is to be kept."""

    def on_stop(self) -> None:
        """The process ends. Orders are refused from here on; `[shutdown]` says whether open ones go."""
