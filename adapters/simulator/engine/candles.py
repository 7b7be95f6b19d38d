"""The trade history of one market: recent trades, bars of any interval, daily volume (sheet 5.1)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from .numbers import ZERO, read_text

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

INTERVALS_MS: dict[str, int] = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": 7 * DAY_MS,
}
INTERVALS = (*INTERVALS_MS, "1M")
LONGEST_SNAPSHOT = 5000
RECENT_TRADES = 100
_MONDAY_MS = 4 * DAY_MS
"""1970-01-05, the first Monday: where week bars are anchored."""


class Trade(NamedTuple):
    """One match as the public tape shows it (sheet 7.3). `is_buy` is the aggressor's side."""

    coin: str
    is_buy: bool
    price: Decimal
    size: Decimal
    tx_hash: str
    time: int
    tid: int
    buyer: str
    seller: str

    def encode(self) -> dict[str, Any]:
        return {
            "coin": self.coin,
            "side": "B" if self.is_buy else "A",
            "px": read_text(self.price),
            "sz": read_text(self.size),
            "hash": self.tx_hash,
            "time": self.time,
            "tid": self.tid,
            "users": [self.buyer, self.seller],
        }


@dataclass(slots=True)
class Bar:
    """Open, high, low, close, volume in base units and number of trades from `start` (ms) on."""

    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    notional: Decimal
    count: int

    def absorb(self, later: Bar) -> None:
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.volume += later.volume
        self.notional += later.notional
        self.count += later.count

    def flat_successor(self, start: int) -> Bar:
        return Bar(start, self.close, self.close, self.close, self.close, ZERO, ZERO, 0)

    def copy(self, start: int) -> Bar:
        return Bar(start, self.open, self.high, self.low, self.close, self.volume, self.notional, self.count)


def bar_start(time: int, interval: str) -> int:
    """First millisecond of the bar that `time` falls into (UTC)."""
    if interval == "1M":
        month = datetime.fromtimestamp(time / 1000, UTC).replace(
            day=1, hour=0, minute=0, second=0, microsecond=0
        )
        return int(month.timestamp()) * 1000
    length = INTERVALS_MS[interval]
    anchor = _MONDAY_MS if interval == "1w" else 0
    return time - (time - anchor) % length


def next_bar_start(start: int, interval: str) -> int:
    if interval == "1M":
        return bar_start(start + 32 * DAY_MS, interval)
    return start + INTERVALS_MS[interval]


class Tape:
    """Trades of one market, kept as minute bars; longer bars are folded from them when asked for."""

    def __init__(self, coin: str) -> None:
        self.coin = coin
        self.recent: deque[Trade] = deque(maxlen=RECENT_TRADES)
        self.last_px: Decimal | None = None
        self._minutes: list[Bar] = []
        self._starts: list[int] = []

    def add(self, trade: Trade) -> None:
        self.recent.append(trade)
        self.last_px = trade.price
        start = trade.time - trade.time % MINUTE_MS
        notional = trade.price * trade.size
        bar = Bar(start, trade.price, trade.price, trade.price, trade.price, trade.size, notional, 1)
        if self._starts and self._starts[-1] == start:
            self._minutes[-1].absorb(bar)
        else:
            self._minutes.append(bar)
            self._starts.append(start)

    def bars(self, interval: str, start: int, end: int) -> list[dict[str, Any]]:
        """Bars that begin in [start, end], oldest first, the newest 5000; quiet bars repeat the close."""
        first = bisect_left(self._starts, bar_start(start, interval)) if start > 0 else 0
        last = bisect_right(self._starts, end)
        folded: list[Bar] = []
        for minute in self._minutes[first:last]:
            begin = bar_start(minute.start, interval)
            while folded and (following := next_bar_start(folded[-1].start, interval)) < begin:
                folded.append(folded[-1].flat_successor(following))
            if folded and folded[-1].start == begin:
                folded[-1].absorb(minute)
            else:
                folded.append(minute.copy(begin))
        chosen = [bar for bar in folded if start <= bar.start <= end]
        return [self._encode(bar, interval) for bar in chosen[-LONGEST_SNAPSHOT:]]

    def current_bar(self, interval: str, now: int) -> dict[str, Any] | None:
        """The bar that is being built; None before the first trade."""
        if not self._minutes:
            return None
        start = bar_start(now, interval)
        bars = self.bars(interval, start, now)
        if bars:
            return bars[-1]
        return self._encode(self._minutes[-1].flat_successor(start), interval)

    def day_volume(self, now: int) -> tuple[Decimal, Decimal]:
        """Notional in USD and base volume of the last 24 hours."""
        first = bisect_right(self._starts, now - DAY_MS)
        notional = base = ZERO
        for bar in self._minutes[first:]:
            notional += bar.notional
            base += bar.volume
        return notional, base

    def price_a_day_ago(self, now: int) -> Decimal | None:
        """Last trade price 24 hours ago; the first one if the tape is younger; None without trades."""
        if not self._minutes:
            return None
        index = bisect_right(self._starts, now - DAY_MS) - 1
        return self._minutes[index].close if index >= 0 else self._minutes[0].open

    def _encode(self, bar: Bar, interval: str) -> dict[str, Any]:
        return {
            "t": bar.start,
            "T": next_bar_start(bar.start, interval) - 1,
            "s": self.coin,
            "i": interval,
            "o": read_text(bar.open),
            "c": read_text(bar.close),
            "h": read_text(bar.high),
            "l": read_text(bar.low),
            "v": read_text(bar.volume),
            "n": bar.count,
        }
