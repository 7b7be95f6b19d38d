"""The `positions` view: one row per market of an account, folded with `domain.position.Position`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from decimal import Decimal

from domain.events import (
    AccountFillBooked,
    AccountFillCorrected,
    AccountFundingBooked,
    AccountLeverageChanged,
    AccountPositionAsserted,
    LedgerEvent,
    OrderFillCorrected,
    OrderFilled,
)
from domain.fees import Fees
from domain.money import ZERO
from domain.position import Position
from projections.errors import UnfoldableEventError
from projections.order_fold import Row
from projections.tables import CHECKPOINT_EVERY, POSITIONS
from projections.texts import fees_from_text, fees_text, number_text, optional_decimal, optional_text

__all__ = [
    "CONCERN_POSITIONS",
    "PositionFold",
    "is_claim",
    "moved_market",
    "position_from_row",
    "position_row",
]

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
        self._checkpoints: list[Row] = []

    def apply(self, position: int, event: LedgerEvent) -> None:
        """Fold in an event that `moved_market` names a market for, or hold one against the fold that claims
        what the position is (`is_claim`).

        Raises `UnfoldableEventError` when it cannot be folded in, or when the claim is contradicted; the
        position then stands as it did.
        """
        market_of = _MARKET_OF.get(type(event))
        trading_pair = None if market_of is None else market_of(event)
        if trading_pair is None:
            self._check(event)
            return
        key = (event.venue, event.account, trading_pair)
        folded = self._folded.get(key)
        changed = Position(trading_pair=trading_pair) if folded is None else copy(folded.position)
        try:
            _CHANGE[type(event)](changed, event)
        except Exception as error:
            raise UnfoldableEventError.of(error) from error
        if folded is None:
            folded = self._folded[key] = _Folded(changed)
        elif folded.last_position // CHECKPOINT_EVERY != position // CHECKPOINT_EVERY:
            self._checkpoints.append(_row_of(key, folded))
        folded.position = changed
        folded.last_position = position
        folded.updated_at_ns = event.recorded_at_ns
        self._changed[key] = folded

    def _check(self, event: LedgerEvent) -> None:
        assert isinstance(event, AccountPositionAsserted), f"{event.topic} says nothing of a position"
        folded = self._folded.get((event.venue, event.account, event.trading_pair))
        ours, theirs = (
            number_text(ZERO if folded is None else folded.position.amount),
            number_text(event.amount),
        )
        if ours != theirs:
            raise UnfoldableEventError(
                f"the venue stated a position of {theirs} {event.trading_pair}; the events up to there come "
                f"to {ours}"
            )

    def take_rows(self) -> list[Row]:
        """Rows for `positions` of what changed since the last call."""
        rows = [_row_of(key, folded) for key, folded in self._changed.items()]
        self._changed = {}
        return rows

    def take_checkpoints(self) -> list[Row]:
        """Rows for `position_checkpoints`: those that the first event of a stretch replaced, since the last
        call."""
        rows, self._checkpoints = self._checkpoints, []
        return rows


def moved_market(event: LedgerEvent) -> str | None:
    """The market whose position an event changes; None when it changes none.

    A position that the venue states is where a market's fold starts if it is the opening balance, and where
    it goes on from if it is an adjustment; any other statement is there to check the fold against.
    """
    market_of = _MARKET_OF.get(type(event))
    return None if market_of is None else market_of(event)


def is_claim(event: LedgerEvent) -> bool:
    """Whether an event states what a position is, without setting it."""
    return type(event) is AccountPositionAsserted and not (event.opening or event.adjustment)


def _fill(position: Position, event: OrderFilled | AccountFillBooked) -> None:
    fill = event.fill
    position.apply_fill(fill.price, fill.amount, fill.trade_type, fill.fee, fill.fee_token, fill.closed_pnl)


def _correction(position: Position, event: OrderFillCorrected | AccountFillCorrected) -> None:
    was, now = event.was, event.now
    position.undo_fill(was.price, was.amount, was.trade_type, was.fee, was.fee_token)
    if now is not None:
        position.apply_fill(now.price, now.amount, now.trade_type, now.fee, now.fee_token, now.closed_pnl)


def _funding(position: Position, event: AccountFundingBooked) -> None:
    position.apply_funding(event.amount)


def _leverage(position: Position, event: AccountLeverageChanged) -> None:
    position.apply_leverage(event.leverage, event.is_cross)


def _opening(position: Position, event: AccountPositionAsserted) -> None:
    position.assert_opening(event.amount, event.entry_price)


_MARKET_OF: dict[type[LedgerEvent], Callable[..., str | None]] = {
    OrderFilled: lambda event: event.fill.trading_pair,
    AccountFillBooked: lambda event: event.fill.trading_pair,
    AccountFundingBooked: lambda event: event.trading_pair,
    AccountLeverageChanged: lambda event: event.trading_pair,
    AccountPositionAsserted: lambda event: event.trading_pair if event.opening or event.adjustment else None,
    OrderFillCorrected: lambda event: event.was.trading_pair,
    AccountFillCorrected: lambda event: event.was.trading_pair,
}

CONCERN_POSITIONS = frozenset(_MARKET_OF)
"""The events that change a position, or claim what it is."""

_CHANGE: dict[type[LedgerEvent], Callable[..., None]] = {
    OrderFilled: _fill,
    AccountFillBooked: _fill,
    AccountFundingBooked: _funding,
    AccountLeverageChanged: _leverage,
    AccountPositionAsserted: _opening,
    OrderFillCorrected: _correction,
    AccountFillCorrected: _correction,
}


def _row_of(key: MarketKey, folded: _Folded) -> Row:
    venue, account, _ = key
    return position_row(venue, account, folded.position, folded.updated_at_ns, folded.last_position)


def position_row(venue: str, account: str, position: Position, updated_at_ns: int, last_position: int) -> Row:
    """The position as a row of `projections.tables.POSITIONS`."""
    return (
        venue,
        account,
        position.trading_pair,
        number_text(position.amount),
        optional_text(position.average_entry),
        number_text(position.realised_pnl),
        fees_text(position.fees.totals),
        number_text(position.funding),
        number_text(position.volume),
        position.leverage,
        1 if position.is_cross else 0,
        optional_text(position.entry_cost),
        number_text(position.entry_amount),
        number_text(position.unpriced_amount),
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
