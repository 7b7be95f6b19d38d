"""The `positions` view: one row per market of an account, folded with `domain.position.Position`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from decimal import Decimal

from domain.events import (
    AccountFillBooked,
    AccountFundingBooked,
    AccountLeverageChanged,
    AccountPositionAsserted,
    LedgerEvent,
    OrderFilled,
)
from domain.fees import Fees
from domain.money import decimal_text
from domain.position import Position
from projections.errors import UnfoldableEventError
from projections.order_fold import Row
from projections.tables import POSITIONS
from projections.texts import (
    check_fill,
    check_usable,
    fees_from_text,
    fees_text,
    optional_decimal,
    optional_text,
)

__all__ = ["MOVES_POSITION", "PositionFold", "position_from_row", "position_row"]

MarketKey = tuple[str, str, str]
"""Venue, account, trading pair."""


class _Folded:
    __slots__ = ("last_position", "position", "updated_at_ns")

    def __init__(self, position: Position, last_position: int = 0, updated_at_ns: int = 0) -> None:
        self.position = position
        self.last_position = last_position
        self.updated_at_ns = updated_at_ns


class PositionFold:
    """Every market's position (there are as many as markets were ever traded), and which changed."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        """`rows` are those of the view, to resume from."""
        self._folded: dict[MarketKey, _Folded] = {}
        for row in rows:
            named = dict(zip(POSITIONS.columns, row, strict=True))
            self._folded[named["venue"], named["account"], named["trading_pair"]] = _Folded(
                position_from_row(row), named["last_position"], named["updated_at_ns"]
            )
        self._changed: dict[MarketKey, _Folded] = {}

    def apply(self, position: int, event: LedgerEvent) -> None:
        """Fold in an event of a type in `MOVES_POSITION`.

        Raises `UnfoldableEventError` when it cannot be; the position then stands as it did.
        """
        trading_pair, change = MOVES_POSITION[type(event)](event)
        if change is None:
            return
        key = (event.venue, event.account, trading_pair)
        folded = self._folded.get(key)
        changed = Position(trading_pair=trading_pair) if folded is None else copy.copy(folded.position)
        try:
            change(changed)
        except Exception as error:
            raise UnfoldableEventError.of(error) from error
        if folded is None:
            folded = self._folded[key] = _Folded(changed)
        folded.position = changed
        folded.last_position = position
        folded.updated_at_ns = event.recorded_at_ns
        self._changed[key] = folded

    def take_rows(self) -> list[Row]:
        """Rows for `positions` of what changed since the last call."""
        rows = [
            position_row(venue, account, folded.position, folded.updated_at_ns, folded.last_position)
            for (venue, account, _), folded in self._changed.items()
        ]
        self._changed = {}
        return rows


Change = Callable[[Position], object]


def _by_fill(event: OrderFilled | AccountFillBooked) -> tuple[str, Change]:
    fill = event.fill

    def change(position: Position) -> None:
        check_fill(fill)
        position.apply_fill(
            fill.price, fill.amount, fill.trade_type, fill.fee, fill.fee_token, fill.closed_pnl
        )

    return fill.trading_pair, change


def _by_funding(event: AccountFundingBooked) -> tuple[str, Change]:
    def change(position: Position) -> None:
        check_usable(event.amount)
        position.apply_funding(event.amount)

    return event.trading_pair, change


def _by_leverage(event: AccountLeverageChanged) -> tuple[str, Change]:
    return event.trading_pair, lambda position: position.apply_leverage(event.leverage, event.is_cross)


def _by_assertion(event: AccountPositionAsserted) -> tuple[str, Change | None]:
    """Only an opening balance moves the fold; any later statement is there to check it against."""
    if not event.opening:
        return event.trading_pair, None
    return event.trading_pair, lambda position: position.assert_opening(event.amount, event.entry_price)


MOVES_POSITION: dict[type[LedgerEvent], Callable[..., tuple[str, Change | None]]] = {
    OrderFilled: _by_fill,
    AccountFillBooked: _by_fill,
    AccountFundingBooked: _by_funding,
    AccountLeverageChanged: _by_leverage,
    AccountPositionAsserted: _by_assertion,
}
"""The events that change a position, each with the market it is about and what it does to it."""


def position_row(venue: str, account: str, position: Position, updated_at_ns: int, last_position: int) -> Row:
    """The position as a row of `projections.tables.POSITIONS`."""
    return (
        venue,
        account,
        position.trading_pair,
        decimal_text(position.amount),
        optional_text(position.average_entry),
        decimal_text(position.realised_pnl),
        fees_text(position.fees.totals),
        decimal_text(position.funding),
        decimal_text(position.volume),
        position.leverage,
        1 if position.is_cross else 0,
        optional_text(position.entry_cost),
        decimal_text(position.entry_amount),
        decimal_text(position.unpriced_amount),
        updated_at_ns,
        last_position,
    )


def position_from_row(row: Row) -> Position:
    """The position that a row of `projections.tables.POSITIONS` holds, exactly."""
    named = dict(zip(POSITIONS.columns, row, strict=True))
    return Position(
        trading_pair=named["trading_pair"],
        amount=Decimal(named["amount"]),
        entry_cost=optional_decimal(named["entry_cost"]),
        entry_amount=Decimal(named["entry_amount"]),
        realised_pnl=Decimal(named["realised_pnl"]),
        unpriced_amount=Decimal(named["unpriced_amount"]),
        fees=Fees(tuple(sorted(fees_from_text(named["fees"]).items()))),
        funding=Decimal(named["funding"]),
        volume=Decimal(named["volume"]),
        leverage=named["leverage"],
        is_cross=bool(named["is_cross"]),
    )
