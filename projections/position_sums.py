"""What every position must be: its last stated balance and the fills after it, bought minus sold.

Of a purchase that pays its fee in what is bought (spot), the rest arrives.

Taken from the rows of fills and from the few events that state a balance, it shares nothing with the fold of
`projections.position_fold` that it is compared with. `position_sums` reads all the rows there are; where rows
go by anyway, stretch after stretch of the log, `StretchSums` adds them up and `joined` puts them together.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter

import msgspec

from domain.enums import TradeType
from domain.events import AccountPositionAsserted
from domain.money import MONEY, ZERO
from projections.event_source import PositionedEvent
from projections.order_fold import Row
from projections.tables import FILL_BOOKINGS

__all__ = ["MarketKey", "MarketSum", "StretchSums", "joined", "noted", "position_sums"]

MarketKey = tuple[str, str, str]
"""Venue, account, trading pair."""

_FIGURES = ("venue", "account", "trading_pair", "trade_type", "amount", "fee", "fee_token")
"""What counts of a fill."""

_Move = tuple[str, str, str, str, str, str]
"""Venue, account, trading pair, side and amount of a fill, and the fee that a purchase paid in what was
bought, else 0. Of these there are far fewer than fills."""


def noted(batch: Sequence[PositionedEvent]) -> list[PositionedEvent]:
    """The events of a batch that state a position; there are few."""
    return [at for at in batch if type(at[1]) is AccountPositionAsserted]


def position_sums(
    connection: sqlite3.Connection, notes: Iterable[PositionedEvent], not_moved: Collection[int]
) -> dict[MarketKey, Decimal]:
    """Per market, in base units. `notes` are the events that state positions (`noted`), `not_moved` says
    where events stand that no position could take."""
    begins, sums = _balances(at for at in notes if at[0] not in not_moved)
    _add_up(sums, _fills(connection, begins, not_moved))
    return sums


class MarketSum(msgspec.Struct, frozen=True):
    """What a stretch of the log does to a market, in base units: `amount` bought minus sold, counted from
    where its balance was `stated`, or, where it was not (None), from where the stretch begins."""

    stated: Decimal | None
    amount: Decimal


class StretchSums:
    """Adds up a stretch of the log, batch after batch. No event in it is one that no position could take."""

    def __init__(self) -> None:
        self._stated: dict[MarketKey, Decimal] = {}
        self._moves: Counter[_Move] = Counter()

    def add(self, booked: Sequence[Row], taken_back: Sequence[Row], notes: Sequence[PositionedEvent]) -> None:
        """Rows of the fills that a batch books and of those that it takes back, and its `noted` events."""
        begins, stated = _balances(notes)
        if begins:
            self._stated |= stated
            self._moves = Counter({move: n for move, n in self._moves.items() if move[:3] not in begins})
            booked = [row for row in booked if row[0] > begins.get(_market_of(row), 0)]
            taken_back = [row for row in taken_back if row[_TAKEN_BACK] > begins.get(_market_of(row), 0)]
        self._moves.update(_moves(map(_figures_of, booked)))
        self._moves.subtract(_moves(map(_figures_of, taken_back)))

    def result(self) -> dict[MarketKey, MarketSum]:
        """What it comes to."""
        sums = dict.fromkeys(self._stated, ZERO)
        _add_up(sums, self._moves)
        return {key: MarketSum(self._stated.get(key), amount) for key, amount in sums.items()}


def joined(stretches: Iterable[Mapping[MarketKey, MarketSum]]) -> dict[MarketKey, Decimal]:
    """Per market, in base units, what all stretches of a log come to, one after the other: what
    `position_sums` says of it."""
    sums: dict[MarketKey, Decimal] = {}
    for stretch in stretches:
        for key, added in stretch.items():
            before = sums.get(key, ZERO) if added.stated is None else added.stated
            sums[key] = MONEY.add(before, added.amount)
    return sums


_COLUMNS = list(FILL_BOOKINGS.columns)
_TAKEN_BACK = _COLUMNS.index("corrected_position")
_figures_of: Callable[[Row], tuple[str, ...]] = itemgetter(*map(_COLUMNS.index, _FIGURES))
_market_of: Callable[[Row], MarketKey] = itemgetter(*map(_COLUMNS.index, _FIGURES[:3]))


def _balances(notes: Iterable[PositionedEvent]) -> tuple[dict[MarketKey, int], dict[MarketKey, Decimal]]:
    """Where the balance of each market was stated last, and what it was."""
    begins: dict[MarketKey, int] = {}
    stated: dict[MarketKey, Decimal] = {}
    for position, event in notes:
        if isinstance(event, AccountPositionAsserted) and (event.opening or event.adjustment):
            key = (event.venue, event.account, event.trading_pair)
            begins[key], stated[key] = position, event.amount
    return begins, stated


def _moves(figures: Iterable[tuple[str, ...]]) -> Iterator[_Move]:
    buy = TradeType.BUY.value
    for venue, account, trading_pair, trade_type, amount, fee, fee_token in figures:
        in_what_is_bought = trade_type == buy and fee_token and trading_pair.rpartition("-")[0] == fee_token
        yield venue, account, trading_pair, trade_type, amount, fee if in_what_is_bought else "0"


def _add_up(sums: dict[MarketKey, Decimal], moves: Mapping[_Move, int]) -> None:
    for (venue, account, trading_pair, trade_type, amount, kept), count in moves.items():
        key = (venue, account, trading_pair)
        sums[key] = MONEY.fma(_signed(trade_type, amount, kept), count, sums.get(key, ZERO))


def _signed(trade_type: str, amount: str, kept: str) -> Decimal:
    if trade_type == TradeType.BUY:
        return MONEY.subtract(Decimal(amount), Decimal(kept))
    return Decimal(amount).copy_negate()


def _fills(
    connection: sqlite3.Connection, begins: dict[MarketKey, int], not_moved: Collection[int]
) -> Counter[_Move]:
    """How often each amount was bought or sold in each market since its last stated balance, less how often
    it was taken back since then."""
    found: Counter[_Move] = Counter()
    for since, count in (("position", found.update), ("corrected_position", found.subtract)):
        rows = connection.execute(
            f"SELECT {', '.join(_FIGURES)}, {since} FROM {FILL_BOOKINGS.name} WHERE {since} IS NOT NULL"
        )
        while part := rows.fetchmany(8_192):
            if begins or not_moved:
                part = [row for row in part if row[-1] > begins.get(row[:3], 0) and row[-1] not in not_moved]
            count(_moves(row[:-1] for row in part))
    return found
