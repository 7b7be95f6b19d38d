"""A book of its own for some of an account's fills: what they come to alone."""

from __future__ import annotations

from collections.abc import Iterable

from domain.position import Position
from projections.position_fold import position_row
from projections.rows import FillRow, PositionRow, typed_row
from projections.tables import POSITIONS

__all__ = ["book_of"]


def book_of(fills: Iterable[FillRow]) -> list[PositionRow]:
    """The positions that these fills make from nothing, by venue, account and trading pair.

    `updated_at_ns` and `last_position` are those of a market's last fill. Funding is paid for what the whole
    account holds and stays out, as does leverage.
    """
    books: dict[tuple[str, str, str], tuple[Position, FillRow]] = {}
    for fill in fills:
        key = (fill.venue, fill.account, fill.trading_pair)
        position = books[key][0] if key in books else Position(trading_pair=fill.trading_pair)
        position.apply_fill(fill.price, fill.amount, fill.trade_type, fill.fee, fill.fee_token)
        books[key] = (position, fill)
    rows = [
        position_row(venue, account, position, last.recorded_at_ns, last.position)
        for (venue, account, _), (position, last) in sorted(books.items())
    ]
    return [typed_row(PositionRow, dict(zip(POSITIONS.columns, row, strict=True))) for row in rows]
