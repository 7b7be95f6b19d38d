"""Positions by average cost, flips, realised PnL (sheet 10.2), cash of cross and isolated margin (10.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from .markets import PerpMarket
from .numbers import MICRO_USDC, ZERO, rounded


class PositionChange(NamedTuple):
    """What one fill did to a position: the numbers its fill row shows (sheet 8)."""

    start: Decimal
    closed_pnl: Decimal
    direction: str
    shrank: bool
    """True if some of the old position was closed: resting reduce-only orders may have to follow."""


@dataclass(slots=True)
class Position:
    """One coin of one account. `isolated_usd` is its own `rawUsd`, always zero for cross margin.

    `entry_px` is not rounded. Funding sums are positive when paid.
    """

    market: PerpMarket
    is_cross: bool
    leverage: int
    szi: Decimal = ZERO
    entry_px: Decimal = ZERO
    isolated_usd: Decimal = ZERO
    funding_since_open: Decimal = ZERO
    funding_since_change: Decimal = ZERO
    liquidation_pause_until: int = 0

    @property
    def value(self) -> Decimal:
        """|szi| × mark, in USD."""
        return abs(self.szi) * self.market.mark_px

    @property
    def unrealized_pnl(self) -> Decimal:
        return self.szi * (self.market.mark_px - self.entry_px)

    @property
    def isolated_value(self) -> Decimal:
        """What an isolated position is worth at mark: its margin plus its PnL."""
        return self.isolated_usd + self.szi * self.market.mark_px

    @property
    def maintenance_margin(self) -> Decimal:
        return self.value / (2 * self.market.tier_leverage(self.value))


@dataclass(slots=True)
class PerpWallet:
    """Collateral and positions of one account on one perp dex. `cash` is the cross `rawUsd`."""

    dex: str
    cash: Decimal = ZERO
    positions: dict[str, Position] = field(default_factory=dict)
    funding_all_time: dict[str, Decimal] = field(default_factory=dict)

    def trade(self, position: Position, signed: Decimal, price: Decimal) -> PositionChange:
        """Books a fill of `signed` base units (positive = bought) into position, entry and cash."""
        start = position.szi
        closed_pnl = ZERO
        closing = ZERO
        if start and (start > 0) is not (signed > 0):
            closing = signed if abs(signed) <= abs(start) else -start
            closed_pnl = rounded(-closing * (price - position.entry_px))
            self._close(position, closing, price)
        opening = signed - closing
        if opening:
            self._open(position, opening, price)
        position.funding_since_change = ZERO
        if not position.szi or (start and (position.szi > 0) is not (start > 0)):
            position.funding_since_open = ZERO
        return PositionChange(start, closed_pnl, _direction(start, position.szi), bool(closing))

    def _close(self, position: Position, closing: Decimal, price: Decimal) -> None:
        before = position.szi
        flow = -closing * price
        position.szi += closing
        if position.is_cross:
            self.cash += flow
        else:
            # The closed share of the margin, valued at the fill price, goes back to the cross side.
            equity = position.isolated_usd + before * price
            released = equity if not position.szi else rounded(equity * closing / -before, MICRO_USDC)
            position.isolated_usd += flow - released
            self.cash += released
        if not position.szi:
            position.entry_px = ZERO

    def _open(self, position: Position, opening: Decimal, price: Decimal) -> None:
        flow = -opening * price
        held = abs(position.szi)
        added = abs(opening)
        position.entry_px = (held * position.entry_px + added * price) / (held + added) if held else price
        position.szi += opening
        if position.is_cross:
            self.cash += flow
        else:
            margin = rounded(added * price / position.leverage)
            position.isolated_usd += flow + margin
            self.cash -= margin

    def pay_funding(self, position: Position, paid: Decimal) -> None:
        """Takes a funding payment (negative: receives one) from where the position's margin lives."""
        if position.is_cross:
            self.cash -= paid
        else:
            position.isolated_usd -= paid
        position.funding_since_open += paid
        position.funding_since_change += paid
        coin = position.market.coin
        self.funding_all_time[coin] = self.funding_all_time.get(coin, ZERO) + paid


def _direction(start: Decimal, end: Decimal) -> str:
    if start >= 0 and end > start:
        return "Open Long"
    if start <= 0 and end < start:
        return "Open Short"
    if start > 0:
        return "Close Long" if end >= 0 else "Long > Short"
    return "Close Short" if end <= 0 else "Short > Long"
