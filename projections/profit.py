"""Profit and loss: what the fills and funding of each market came to, and the sum over an account.

Realised profit and funding come from the views alone. Unrealised profit needs a mark price, which is no fact
of the ledger: whoever asks brings it. What a stretch of the log came to is the difference between its ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Unpack

import msgspec

from domain.money import MONEY, ZERO
from domain.position import Position
from projections.event_source import PastEventSource
from projections.filters import Filter
from projections.queries import Views
from projections.rows import PositionRow
from projections.texts import number_text

__all__ = ["PnlRow", "pnl", "pnl_between", "pnl_totals"]


class PnlRow(msgspec.Struct, frozen=True, kw_only=True):
    """Profit and loss of one market, or of all markets of an account (`trading_pair` None), in quote units.

    `realised_pnl` is before fees and funding; `fees` maps a token to what was paid (negative: received);
    `funding` is the signed cash effect. `unrealised_pnl` is None where something is held and its mark or its
    entry is not known. `net_pnl` is realised and unrealised profit and funding less fees, a unit of the fees'
    token taken for a unit of the quote: None when there are fees in more than one token, or no unrealised
    profit. Fees that purchases paid in what was bought are in the entry, and not taken off again.
    `unpriced_amount` (None in a sum) was closed at an entry nobody told: its profit is in no figure.

    Of a stretch of the log (`pnl_between`), `amount`, `average_entry` and `mark_price` are those at its end,
    and everything else is what was added within: `unrealised_pnl` the change of it, which needs a mark at
    each end where something was held.
    """

    venue: str
    account: str
    trading_pair: str | None
    amount: Decimal | None
    average_entry: Decimal | None
    mark_price: Decimal | None
    realised_pnl: Decimal
    unrealised_pnl: Decimal | None
    fees: dict[str, Decimal]
    funding: Decimal
    net_pnl: Decimal | None
    volume: Decimal
    unpriced_amount: Decimal | None


def pnl(positions: Iterable[PositionRow], marks: Mapping[str, Decimal] | None = None) -> list[PnlRow]:
    """Profit and loss per market, in the order of the positions. `marks`: trading pair to mark price."""
    return [
        _canonical(_of_market(position, (marks or {}).get(position.trading_pair))) for position in positions
    ]


def pnl_between(
    views: Views,
    source: PastEventSource,
    begin: int,
    end: int,
    marks: Mapping[str, Decimal] | None = None,
    opening_marks: Mapping[str, Decimal] | None = None,
    **wanted: Unpack[Filter],
) -> list[PnlRow]:
    """What the events after position `begin` (0: from the first), up to and with `end`, came to, per market:
    those that were moved in between, or hold something at the end. `opening_marks` are the mark prices at the
    beginning. Raises as `Views.at`."""
    with views.frozen():
        before = _positions_at(begin, views, source, wanted)
        after = _positions_at(end, views, source, wanted)
    opening = {_market(row): _of_market(row, (opening_marks or {}).get(row.trading_pair)) for row in before}
    rows = []
    for position in after:
        if position.amount or position.last_position > begin:
            row = _of_market(position, (marks or {}).get(position.trading_pair))
            earlier = opening.get(_market(position))
            rows.append(_canonical(row if earlier is None else _minus(row, earlier)))
    return rows


def pnl_totals(rows: Iterable[PnlRow]) -> list[PnlRow]:
    """The sums per venue and account, in their order. An unrealised profit that one market lacks, the sum
    lacks too."""
    accounts: dict[tuple[str, str], list[PnlRow]] = {}
    for row in rows:
        accounts.setdefault((row.venue, row.account), []).append(row)
    totals = []
    for _, markets in sorted(accounts.items()):
        total = _as_total(markets[0])
        for row in markets[1:]:
            total = _plus(total, row)
        totals.append(_canonical(msgspec.structs.replace(total, net_pnl=_net_of(markets))))
    return totals


def _positions_at(position: int, views: Views, source: PastEventSource, wanted: Filter) -> list[PositionRow]:
    if position == 0:
        return []
    with views.at(position, source) as then:
        return then.positions(**wanted)


def _market(row: PositionRow) -> tuple[str, str, str]:
    return row.venue, row.account, row.trading_pair


def _of_market(row: PositionRow, mark: Decimal | None) -> PnlRow:
    unrealised: Decimal | None = ZERO
    if row.amount:
        held = Position(
            trading_pair=row.trading_pair,
            amount=row.amount,
            entry_cost=row.entry_cost,
            entry_amount=row.entry_amount,
        )
        unrealised = None if mark is None else held.unrealised_pnl(mark)
    return PnlRow(
        venue=row.venue,
        account=row.account,
        trading_pair=row.trading_pair,
        amount=row.amount,
        average_entry=row.average_entry,
        mark_price=mark,
        realised_pnl=row.realised_pnl,
        unrealised_pnl=unrealised,
        fees=row.fees,
        funding=row.funding,
        net_pnl=_net(row.trading_pair, row.realised_pnl, unrealised, row.fees, row.funding),
        volume=row.volume,
        unpriced_amount=row.unpriced_amount,
    )


def _as_total(row: PnlRow) -> PnlRow:
    return msgspec.structs.replace(
        row, trading_pair=None, amount=None, average_entry=None, mark_price=None, unpriced_amount=None
    )


def _plus(total: PnlRow, row: PnlRow) -> PnlRow:
    unrealised = None
    if total.unrealised_pnl is not None and row.unrealised_pnl is not None:
        unrealised = MONEY.add(total.unrealised_pnl, row.unrealised_pnl)
    fees = dict(total.fees)
    for token, fee in row.fees.items():
        fees[token] = MONEY.add(fees.get(token, ZERO), fee)
    return msgspec.structs.replace(
        total,
        realised_pnl=MONEY.add(total.realised_pnl, row.realised_pnl),
        unrealised_pnl=unrealised,
        fees=dict(sorted(fees.items())),
        funding=MONEY.add(total.funding, row.funding),
        volume=MONEY.add(total.volume, row.volume),
    )


def _canonical(row: PnlRow) -> PnlRow:
    """The same figures as the views would write them: sums and products carry zeros that say nothing."""
    figures: dict[str, Decimal | dict[str, Decimal]] = {
        "fees": {token: Decimal(number_text(fee)) for token, fee in row.fees.items()}
    }
    for name in row.__struct_fields__:
        value = getattr(row, name)
        if isinstance(value, Decimal):
            figures[name] = Decimal(number_text(value))
    return msgspec.structs.replace(row, **figures)


def _minus(row: PnlRow, earlier: PnlRow) -> PnlRow:
    unrealised = None
    if row.unrealised_pnl is not None and earlier.unrealised_pnl is not None:
        unrealised = MONEY.subtract(row.unrealised_pnl, earlier.unrealised_pnl)
    paid = {token: MONEY.subtract(fee, earlier.fees.get(token, ZERO)) for token, fee in row.fees.items()}
    fees = {token: fee for token, fee in paid.items() if fee}
    realised = MONEY.subtract(row.realised_pnl, earlier.realised_pnl)
    funding = MONEY.subtract(row.funding, earlier.funding)
    return msgspec.structs.replace(
        row,
        realised_pnl=realised,
        unrealised_pnl=unrealised,
        fees=fees,
        funding=funding,
        net_pnl=_net(row.trading_pair, realised, unrealised, fees, funding),
        volume=MONEY.subtract(row.volume, earlier.volume),
        unpriced_amount=MONEY.subtract(row.unpriced_amount or ZERO, earlier.unpriced_amount or ZERO),
    )


def _net(
    trading_pair: str | None,
    realised: Decimal,
    unrealised: Decimal | None,
    fees: Mapping[str, Decimal],
    funding: Decimal,
) -> Decimal | None:
    charged = _charged(trading_pair, fees)
    if unrealised is None or len(charged) > 1:
        return None
    gained = MONEY.add(MONEY.add(realised, unrealised), funding)
    return MONEY.subtract(gained, next(iter(charged.values()), ZERO))


def _net_of(markets: Iterable[PnlRow]) -> Decimal | None:
    total = ZERO
    tokens: dict[str, None] = {}
    for row in markets:
        tokens |= dict.fromkeys(_charged(row.trading_pair, row.fees))
        if row.net_pnl is None or len(tokens) > 1:
            return None
        total = MONEY.add(total, row.net_pnl)
    return total


def _charged(trading_pair: str | None, fees: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """The fees that are not in the entry."""
    base, _, _ = (trading_pair or "").rpartition("-")
    return {token: fee for token, fee in fees.items() if token != base}
