"""A book of its own for some of an account's fills: what they come to alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from domain.position import Position
from projections.position_fold import position_row
from projections.rows import FillBooking, PositionRow, typed_row
from projections.tables import POSITIONS

__all__ = ["book_of"]


def book_of(fills: Iterable[FillBooking], until: int | None = None) -> list[PositionRow]:
    """The positions that these fills make from nothing, by venue, account and trading pair: booked, and taken
    back, in the order of the log. Corrections after the position `until` have not been made yet.

    `updated_at_ns` and `last_position` are those of a market's last fill or correction. Funding is paid for
    what the whole account holds and stays out, as does leverage.
    """
    books: dict[tuple[str, str, str], tuple[Position, int, int]] = {}
    for at, at_ns, is_booked, fill in sorted(_steps(fills, until), key=lambda step: step[:3]):
        key = (fill.venue, fill.account, fill.trading_pair)
        position = books[key][0] if key in books else Position(trading_pair=fill.trading_pair)
        change = position.apply_fill if is_booked else position.undo_fill
        change(fill.price, fill.amount, fill.trade_type, fill.fee, fill.fee_token)
        books[key] = (position, at_ns, at)
    rows = [
        position_row(venue, account, position, at_ns, at)
        for (venue, account, _), (position, at_ns, at) in sorted(books.items())
    ]
    return [typed_row(PositionRow, dict(zip(POSITIONS.columns, row, strict=True))) for row in rows]


def _steps(fills: Iterable[FillBooking], until: int | None) -> Iterator[tuple[int, int, bool, FillBooking]]:
    """Position, time, whether it is booked or taken back. What replaces a fill comes after it is taken back,
    at the same position."""
    for fill in fills:
        yield fill.position, fill.recorded_at_ns, True, fill
        if fill.corrected_position is not None and (until is None or fill.corrected_position <= until):
            yield fill.corrected_position, fill.corrected_at_ns or 0, False, fill
