"""The order book of one market as last heard from the venue, and the questions a strategy asks of it.

Fed by whole snapshots and by updates of the best bid and ask; each carries the venue's time, and one older
than what is already known is ignored. There are no deltas on the feeds this serves (protocol sheet, 7.3), so
behind the best prices the book is as fresh as its last snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from operator import attrgetter

import msgspec

from domain.enums import TradeType
from domain.money import MONEY, ZERO

__all__ = ["BookLevel", "OrderBook", "Sweep"]

_TEN_THOUSAND = Decimal(10_000)
_ONE = Decimal(1)
_price_of = attrgetter("price")


class BookLevel(msgspec.Struct, frozen=True, gc=False):
    """All resting orders at one price: their amount in base units and, where the venue says, count."""

    price: Decimal
    amount: Decimal
    order_count: int = 0


class Sweep(msgspec.Struct, frozen=True, gc=False):
    """What taking an amount from the book would give: how much of it is there, and at which prices.

    `average_price` and `worst_price` are None when nothing is there.
    """

    amount: Decimal
    average_price: Decimal | None
    worst_price: Decimal | None
    is_complete: bool


class OrderBook:
    """Bids and asks, best first. Not thread-safe: one loop feeds it and reads it.

    `exchange_time_ms` is the venue's time of the newest update taken in, -1 before the first; `told_at_ns`
    our own (integer nanoseconds UTC), for who asks how old its prices are; None where nobody keeps it.
    """

    __slots__ = ("_asks", "_bids", "_stale_updates", "exchange_time_ms", "told_at_ns", "trading_pair")

    def __init__(self, trading_pair: str) -> None:
        self.trading_pair = trading_pair
        self.exchange_time_ms = -1
        self.told_at_ns: int | None = None
        self._bids: list[BookLevel] = []
        self._asks: list[BookLevel] = []
        self._stale_updates = 0

    # --------------------------------------------------------------------------------------- feeding

    def apply_snapshot(
        self, bids: Iterable[BookLevel], asks: Iterable[BookLevel], exchange_time_ms: int
    ) -> bool:
        """Replace the book. Returns False, and changes nothing, when the book already knows something newer.

        Levels may come in any order; empty ones are left out. Raises `ValueError` for a level without a
        usable price and amount, and changes nothing then either.
        """
        new_bids = self._usable(bids)
        new_asks = self._usable(asks)
        if not self._is_new(exchange_time_ms):
            return False
        new_bids.sort(key=_price_of, reverse=True)
        new_asks.sort(key=_price_of)
        self._bids = new_bids
        self._asks = new_asks
        return True

    def apply_best(
        self, best_bid: BookLevel | None, best_ask: BookLevel | None, exchange_time_ms: int
    ) -> bool:
        """Replace the best bid and ask (None: that side is empty), and drop the levels they prove gone.

        Returns False, and changes nothing, when the book already knows something newer. Raises `ValueError`
        like `apply_snapshot`.
        """
        bid = [] if best_bid is None else self._usable((best_bid,))
        ask = [] if best_ask is None else self._usable((best_ask,))
        if not self._is_new(exchange_time_ms):
            return False
        # Both sides are sorted, best first: what is proven gone stands in front.
        if bid:
            price, behind = bid[0].price, self._bids
            gone = 0
            while gone < len(behind) and behind[gone].price >= price:
                gone += 1
            bid += behind[gone:]
        if ask:
            price, behind = ask[0].price, self._asks
            gone = 0
            while gone < len(behind) and behind[gone].price <= price:
                gone += 1
            ask += behind[gone:]
        self._bids = bid
        self._asks = ask
        return True

    def expect_anew(self) -> None:
        """Take in the next update whatever its time: the feed begins again. Prices stay until then."""
        self.exchange_time_ms = -1

    def _is_new(self, exchange_time_ms: int) -> bool:
        # Equal times are taken in: the snapshot and the best prices of one block carry the same time.
        if exchange_time_ms < self.exchange_time_ms:
            self._stale_updates += 1
            return False
        self.exchange_time_ms = exchange_time_ms
        return True

    def _usable(self, levels: Iterable[BookLevel]) -> list[BookLevel]:
        usable = []
        for level in levels:
            price, amount = level.price, level.amount
            if not (price.is_finite() and amount.is_finite() and price > ZERO and amount >= ZERO):
                raise ValueError(f"{self.trading_pair}: not a level of an order book: {amount} at {price}")
            if amount:
                usable.append(level)
        return usable

    # --------------------------------------------------------------------------------------- reading

    @property
    def bids(self) -> tuple[BookLevel, ...]:
        """What buyers offer, highest price first."""
        return tuple(self._bids)

    @property
    def asks(self) -> tuple[BookLevel, ...]:
        """What sellers ask, lowest price first."""
        return tuple(self._asks)

    @property
    def stale_updates(self) -> int:
        """How many updates were ignored because the book knew something newer."""
        return self._stale_updates

    @property
    def best_bid(self) -> BookLevel | None:
        """The highest bid; None when nobody bids."""
        return self._bids[0] if self._bids else None

    @property
    def best_ask(self) -> BookLevel | None:
        """The lowest ask; None when nobody asks."""
        return self._asks[0] if self._asks else None

    @property
    def is_crossed(self) -> bool:
        """Whether a bid is above an ask: the feed contradicts itself, no price can be taken from it."""
        return bool(self._bids and self._asks) and self._bids[0].price > self._asks[0].price

    @property
    def mid_price(self) -> Decimal | None:
        """Half way between best bid and ask, not tick aligned; None with a side empty or the book crossed."""
        if not self._bids or not self._asks or self.is_crossed:
            return None
        return MONEY.divide(MONEY.add(self._bids[0].price, self._asks[0].price), 2)

    @property
    def spread_bps(self) -> Decimal | None:
        """Best ask less best bid, in hundredths of a percent of the mid; None when there is no mid."""
        mid = self.mid_price
        if mid is None:
            return None
        spread = MONEY.subtract(self._asks[0].price, self._bids[0].price)
        return MONEY.divide(MONEY.multiply(spread, _TEN_THOUSAND), mid)

    def depth_within_bps(self, trade_type: TradeType, bps: Decimal) -> Decimal:
        """The amount (base units) a taker of this side finds within `bps` of the mid; zero without a mid."""
        mid = self.mid_price
        if mid is None:
            return ZERO
        reach = MONEY.divide(bps, _TEN_THOUSAND)
        depth = ZERO
        if trade_type is TradeType.BUY:
            limit = MONEY.multiply(mid, MONEY.add(_ONE, reach))
            for level in self._asks:
                if level.price > limit:
                    break
                depth = MONEY.add(depth, level.amount)
        else:
            limit = MONEY.multiply(mid, MONEY.subtract(_ONE, reach))
            for level in self._bids:
                if level.price < limit:
                    break
                depth = MONEY.add(depth, level.amount)
        return depth

    def sweep(self, trade_type: TradeType, amount: Decimal) -> Sweep:
        """What a taker of `amount` base units would get: a buy takes from the asks, a sell from the bids.

        As far as the known levels reach; `is_complete` is False when they do not hold the amount. Raises
        `ValueError` unless the amount is positive and finite.
        """
        if not (amount.is_finite() and amount > 0):
            raise ValueError(f"{self.trading_pair}: the amount to take must be positive, not {amount}")
        taken = ZERO
        cost = ZERO
        worst: Decimal | None = None
        for level in self._asks if trade_type is TradeType.BUY else self._bids:
            part = min(level.amount, MONEY.subtract(amount, taken))
            taken = MONEY.add(taken, part)
            cost = MONEY.add(cost, MONEY.multiply(part, level.price))
            worst = level.price
            if taken >= amount:
                break
        average = None if worst is None else MONEY.divide(cost, taken)
        return Sweep(taken, average, worst, taken >= amount)

    def vwap(self, trade_type: TradeType, amount: Decimal) -> Decimal | None:
        """Average price of taking the whole amount; None when the known levels do not hold it."""
        sweep = self.sweep(trade_type, amount)
        return sweep.average_price if sweep.is_complete else None

    def price_for_amount(self, trade_type: TradeType, amount: Decimal) -> Decimal | None:
        """The limit price that takes the whole amount at once; None when the known levels do not hold it."""
        sweep = self.sweep(trade_type, amount)
        return sweep.worst_price if sweep.is_complete else None
