"""A limit order book with price-time priority. Knows prices and queues, nothing of accounts or margin."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator
from decimal import Decimal

from .numbers import ZERO
from .orders import Order


class Level:
    """The queue at one price, oldest first, and its total size."""

    __slots__ = ("orders", "price", "size")

    def __init__(self, price: Decimal) -> None:
        self.price = price
        # Unlike a dict, an OrderedDict finds its first entry in constant time after many removals.
        self.orders: OrderedDict[int, Order] = OrderedDict()
        self.size = ZERO

    def first(self) -> Order:
        return next(iter(self.orders.values()))


class BookSide:
    """One side: price levels in a sorted list (ascending), each with its queue."""

    __slots__ = ("is_bid", "levels", "prices")

    def __init__(self, *, is_bid: bool) -> None:
        self.is_bid = is_bid
        self.prices: list[Decimal] = []
        self.levels: dict[Decimal, Level] = {}

    def best(self) -> Level | None:
        if not self.prices:
            return None
        return self.levels[self.prices[-1] if self.is_bid else self.prices[0]]

    def add(self, order: Order) -> None:
        level = self.levels.get(order.limit_px)
        if level is None:
            level = self.levels[order.limit_px] = Level(order.limit_px)
            insort(self.prices, order.limit_px)
        level.orders[order.oid] = order
        level.size += order.size

    def remove(self, order: Order) -> None:
        level = self.levels[order.limit_px]
        del level.orders[order.oid]
        level.size -= order.size
        if not level.orders:
            del self.levels[order.limit_px]
            del self.prices[bisect_left(self.prices, order.limit_px)]

    def shrink(self, order: Order, by: Decimal) -> None:
        """Takes `by` off a resting order, which keeps its place in the queue."""
        order.size -= by
        self.levels[order.limit_px].size -= by

    def from_best(self) -> Iterator[Level]:
        for price in reversed(self.prices) if self.is_bid else self.prices:
            yield self.levels[price]


class OrderBook:
    """Both sides of one market."""

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids = BookSide(is_bid=True)
        self.asks = BookSide(is_bid=False)

    def side(self, is_buy: bool) -> BookSide:
        """Where orders of that direction rest."""
        return self.bids if is_buy else self.asks

    def opposite(self, is_buy: bool) -> BookSide:
        """What orders of that direction trade against."""
        return self.asks if is_buy else self.bids

    def would_match(self, is_buy: bool, price: Decimal) -> bool:
        best = self.opposite(is_buy).best()
        if best is None:
            return False
        return price >= best.price if is_buy else price <= best.price

    def mid(self) -> Decimal | None:
        """Half way between best bid and ask; None if a side is empty."""
        bid, ask = self.bids.best(), self.asks.best()
        return None if bid is None or ask is None else (bid.price + ask.price) / 2

    def impact_price(self, is_buy: bool, notional: Decimal) -> Decimal | None:
        """Average price of trading `notional` USD at once; None if the book is too thin."""
        size = ZERO
        left = notional
        for level in self.opposite(is_buy).from_best():
            available = level.price * level.size
            if available >= left:
                return notional / (size + left / level.price)
            size += level.size
            left -= available
        return None
