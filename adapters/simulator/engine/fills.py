"""Fills of an account: one row per trade, kept in time order for paging (sheet 5.5 and 8)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from .numbers import SPOT_UNIT, read_text, rounded

ZERO_HASH = "0x" + 64 * "0"
PAGE = 2000


@dataclass(frozen=True, slots=True)
class Liquidation:
    """The `liquidation` member of a fill, on both sides of a liquidation trade (sheet 8)."""

    liquidated_user: str
    mark_px: Decimal
    method: str


@dataclass(frozen=True, slots=True)
class Fill:
    """One side of one trade. `fee` is positive when paid and includes `builder_fee`."""

    coin: str
    price: Decimal
    size: Decimal
    is_buy: bool
    time: int
    start_position: Decimal
    direction: str
    closed_pnl: Decimal
    tx_hash: str
    oid: int
    crossed: bool
    fee: Decimal
    tid: int
    fee_token: str
    twap_id: int | None
    cloid: str | None
    builder_fee: Decimal | None
    liquidation: Liquidation | None

    def encode(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "coin": self.coin,
            "px": read_text(self.price),
            "sz": read_text(self.size),
            "side": "B" if self.is_buy else "A",
            "time": self.time,
            "startPosition": read_text(self.start_position),
            "dir": self.direction,
            "closedPnl": read_text(self.closed_pnl),
            "hash": self.tx_hash,
            "oid": self.oid,
            "crossed": self.crossed,
            "fee": read_text(self.fee),
            "tid": self.tid,
        }
        if self.cloid is not None:
            row["cloid"] = self.cloid
        if self.liquidation is not None:
            row["liquidation"] = {
                "liquidatedUser": self.liquidation.liquidated_user,
                "markPx": read_text(self.liquidation.mark_px),
                "method": self.liquidation.method,
            }
        if self.builder_fee is not None:
            row["builderFee"] = read_text(self.builder_fee)
        row["feeToken"] = self.fee_token
        row["twapId"] = self.twap_id
        return row


def aggregated(fills: list[Fill]) -> list[Fill]:
    """Fills of one order in one block merged into one row (`aggregateByTime`, sheet 5.5).

    `fills` are in execution order; the merged row has their average price and the first's start
    position and tid.
    """
    merged: list[Fill] = []
    last_key: tuple[int, int, str] | None = None
    for fill in fills:
        key = (fill.oid, fill.time, fill.tx_hash)
        if key != last_key:
            merged.append(fill)
            last_key = key
            continue
        so_far = merged[-1]
        size = so_far.size + fill.size
        notional = so_far.price * so_far.size + fill.price * fill.size
        builder_fee = so_far.builder_fee
        if builder_fee is not None and fill.builder_fee is not None:
            builder_fee += fill.builder_fee
        merged[-1] = replace(
            so_far,
            price=rounded(notional / size, SPOT_UNIT),
            size=size,
            fee=so_far.fee + fill.fee,
            closed_pnl=so_far.closed_pnl + fill.closed_pnl,
            builder_fee=builder_fee,
        )
    return merged


class FillLog:
    """The newest fills of one account; old ones are forgotten in chunks, so that appending stays cheap."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._fills: list[Fill] = []
        self._times: list[int] = []

    def append(self, fill: Fill) -> None:
        assert not self._times or fill.time >= self._times[-1], "block time never goes back"
        self._fills.append(fill)
        self._times.append(fill.time)
        if len(self._fills) >= 2 * self._kept:
            del self._fills[: -self._kept]
            del self._times[: -self._kept]

    def newest(self, count: int = PAGE) -> list[Fill]:
        """Up to `count` fills, in execution order."""
        return self._fills[-min(count, self._kept) :]

    def between(self, start: int, end: int | None) -> list[Fill]:
        """Fills with start <= time <= end, in execution order, as far back as they are kept."""
        oldest = max(0, len(self._fills) - self._kept)
        first = max(oldest, bisect_left(self._times, start))
        last = len(self._times) if end is None else bisect_right(self._times, end)
        return self._fills[first:last]
