"""Market data as one liquid market sends it: a book that drifts, a few of its levels changed at a time.

Per second eight changes of the best prices and one line of figures about the market, every five seconds the
whole book (protocol sheet, 7.3).
"""

import json
import random
from collections.abc import Iterator

__all__ = ["Market"]

_LEVELS = 20
_BOOK_EVERY_SECONDS = 5


class Market:
    """One market whose prices go for a walk. Frames are what stands between two line ends on the socket."""

    def __init__(self, coin: str, *, seed: int, mid: int = 43_210) -> None:
        self._coin = coin
        self._draw = random.Random(seed)
        self._mid = mid
        self._sizes: dict[int, tuple[str, int]] = {}
        self._funding = "0.0000125"

    def second(self, began_ms: int) -> Iterator[tuple[int, bytes]]:
        """The frames of one second, in their order, with when (ms) each comes."""
        kinds = ["bbo"] * 8 + ["activeAssetCtx"]
        if began_ms // 1_000 % _BOOK_EVERY_SECONDS == 0:
            kinds.append("l2Book")
        self._draw.shuffle(kinds)
        for number, kind in enumerate(kinds):
            at_ms = began_ms + 1_000 * number // len(kinds)
            self._move()
            data = {"bbo": self._best, "l2Book": self._book, "activeAssetCtx": self._figures}[kind](at_ms)
            yield at_ms, json.dumps({"channel": kind, "data": data}, separators=(",", ":")).encode()

    def book(self, at_ms: int) -> bytes:
        """A snapshot by itself."""
        self._move()
        data = self._book(at_ms)
        return json.dumps({"channel": "l2Book", "data": data}, separators=(",", ":")).encode()

    def _move(self) -> None:
        self._mid += self._draw.choice((-1, 0, 0, 0, 1))
        for _ in range(self._draw.randint(1, 5)):
            price = self._mid + self._draw.randint(-_LEVELS, _LEVELS)
            self._sizes.pop(price, None)

    def _level(self, price: int) -> dict[str, object]:
        size, count = self._sizes.setdefault(
            price, (f"{self._draw.randint(1, 900_000) / 100_000:.5f}", self._draw.randint(1, 30))
        )
        return {"px": f"{price}.0", "sz": size, "n": count}

    def _best(self, at_ms: int) -> dict[str, object]:
        return {
            "coin": self._coin,
            "time": at_ms,
            "bbo": [self._level(self._mid - 1), self._level(self._mid + 1)],
        }

    def _book(self, at_ms: int) -> dict[str, object]:
        bids = [self._level(self._mid - 1 - step) for step in range(_LEVELS)]
        asks = [self._level(self._mid + 1 + step) for step in range(_LEVELS)]
        return {"coin": self._coin, "time": at_ms, "levels": [bids, asks]}

    def _figures(self, at_ms: int) -> dict[str, object]:
        return {
            "coin": self._coin,
            "ctx": {
                "dayNtlVlm": "1169046.29406",
                "funding": self._funding,
                "impactPxs": [f"{self._mid - 1}.3", f"{self._mid + 1}.7"],
                "markPx": f"{self._mid}.0",
                "midPx": f"{self._mid}.5",
                "openInterest": "688.11",
                "oraclePx": f"{self._mid + 3}.0",
                "premium": "0.00031774",
                "prevDayPx": "15.322",
            },
        }
