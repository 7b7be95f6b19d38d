"""What every position must be: its last stated balance and the fills after it, bought minus sold.

Of a purchase that pays its fee in what is bought (spot), the rest arrives.

Taken from the rows of fills and from the few events that state a balance, it shares nothing with the fold of
`projections.position_fold` that it is compared with.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

from domain.enums import TradeType
from domain.events import AccountPositionAsserted
from domain.money import MONEY, ZERO
from projections.event_source import PositionedEvent
from projections.tables import FILL_BOOKINGS

__all__ = ["MarketKey", "noted", "position_sums"]

MarketKey = tuple[str, str, str]
"""Venue, account, trading pair."""

_KEPT = (
    f"CASE WHEN trade_type = '{TradeType.BUY}' AND fee_token <> '' "
    "AND substr(trading_pair, 1, length(fee_token) + 1) = fee_token || '-' "
    "AND instr(substr(trading_pair, length(fee_token) + 2), '-') = 0 THEN fee ELSE '0' END"
)


def noted(batch: Sequence[PositionedEvent]) -> list[PositionedEvent]:
    """The events of a batch that state a position; there are few."""
    return [at for at in batch if type(at[1]) is AccountPositionAsserted]


def position_sums(
    connection: sqlite3.Connection, notes: Iterable[PositionedEvent], not_moved: Collection[int]
) -> dict[MarketKey, Decimal]:
    """Per market, in base units. `notes` are the events that state positions (`noted`), `not_moved` says
    where events stand that no position could take."""
    begins: dict[MarketKey, int] = {}
    sums: dict[MarketKey, Decimal] = {}
    for position, event in notes:
        if position in not_moved:
            continue
        if isinstance(event, AccountPositionAsserted) and (event.opening or event.adjustment):
            key = (event.venue, event.account, event.trading_pair)
            begins[key], sums[key] = position, event.amount
    for (*market, trade_type, amount, kept), count in _fills(connection, begins, not_moved).items():
        venue, account, trading_pair = market
        key = (venue, account, trading_pair)
        sums[key] = MONEY.fma(_signed(trade_type, amount, kept), count, sums.get(key, ZERO))
    return sums


def _signed(trade_type: str, amount: str, kept: str) -> Decimal:
    if trade_type == TradeType.BUY:
        return MONEY.subtract(Decimal(amount), Decimal(kept))
    return Decimal(amount).copy_negate()


def _fills(
    connection: sqlite3.Connection, begins: dict[MarketKey, int], not_moved: Collection[int]
) -> Counter[tuple[str, ...]]:
    """How often each amount was bought or sold in each market since its last stated balance, less how often
    it was taken back since then; with the fee that a purchase paid in what was bought, else 0."""
    found: Counter[tuple[str, ...]] = Counter()
    for since, count in (("position", found.update), ("corrected_position", found.subtract)):
        rows = connection.execute(
            f"SELECT venue, account, trading_pair, trade_type, amount, {_KEPT}, {since} "
            f"FROM {FILL_BOOKINGS.name} WHERE {since} IS NOT NULL"
        )
        while part := rows.fetchmany(8_192):
            if begins or not_moved:
                part = [row for row in part if row[6] > begins.get(row[:3], 0) and row[6] not in not_moved]
            count([row[:6] for row in part])
    return found
