"""How trading went, per market: how much filled, how fast the venue answered, what execution cost, and why
orders were refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Unpack

import msgspec

from domain.enums import OrderState, TradeType
from domain.money import MONEY, ZERO
from projections.filters import Filter
from projections.queries import Views
from projections.rows import OrderRow

__all__ = ["Latency", "StatsRow", "stats"]

_BASIS_POINTS = Decimal(10_000)


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in nanoseconds of `count` cases; a percentile is the smallest one that so many do not
    exceed."""

    count: int
    median_ns: int
    p99_ns: int
    max_ns: int


class StatsRow(msgspec.Struct, frozen=True, kw_only=True):
    """Orders of one market, or of all (`trading_pair` None). Orders placed elsewhere are only counted
    (`external_orders`): nothing is known of their decision.

    `fill_ratio` is what filled of what was ordered, in base units, over the orders that are done: None
    without any, and over more than one market, whose units do not add up; `filled_orders` of `done_orders`
    tells there. `slippage` compares fills with the mid price when the order was decided, in quote units,
    positive when it was worse than mid; `slippage_bps` is the same per value at mid, in hundredths of a
    percent. `reject_reasons` counts the refused orders by reason code, `fees` maps a token to what was paid.
    """

    venue: str | None
    account: str | None
    trading_pair: str | None
    orders: int
    done_orders: int
    filled_orders: int
    unknown_orders: int
    external_orders: int
    fill_ratio: Decimal | None
    volume: Decimal
    slippage: Decimal | None
    slippage_bps: Decimal | None
    fees: dict[str, Decimal]
    acknowledgement: Latency | None
    reject_reasons: dict[str, int]


def stats(views: Views, **wanted: Unpack[Filter]) -> list[StatsRow]:
    """One row per market in the order of venue, account and trading pair, then one for all of them. The
    filters are those of the orders. Empty without orders."""
    with views.frozen():
        orders = views.orders(**wanted)
        elapsed_ns = views.acknowledgement_times_ns()
    if not orders:
        return []
    markets: dict[tuple[str, str, str], list[OrderRow]] = {}
    for order in orders:
        markets.setdefault((order.venue, order.account, order.trading_pair), []).append(order)
    rows = [_row(key, markets[key], elapsed_ns) for key in sorted(markets)]
    return [*rows, _row((None, None, None), orders, elapsed_ns)]


def _row(
    market: tuple[str, str, str] | tuple[None, None, None],
    orders: Sequence[OrderRow],
    elapsed_ns: Mapping[str, int],
) -> StatsRow:
    venue, account, trading_pair = market
    own = [order for order in orders if not order.external]
    done = [order for order in own if order.done]
    slippage, value_at_mid = _slippage(own)
    rejected = sorted(order.reason_code for order in own if order.state is OrderState.FAILED)
    return StatsRow(
        venue=venue,
        account=account,
        trading_pair=trading_pair,
        orders=len(own),
        done_orders=len(done),
        filled_orders=sum(order.state is OrderState.FILLED for order in done),
        unknown_orders=sum(order.outcome_unknown for order in own),
        external_orders=len(orders) - len(own),
        fill_ratio=_fill_ratio(done) if trading_pair is not None else None,
        volume=_sum(_value(order, order.average_fill_price) for order in own),
        slippage=slippage if value_at_mid else None,
        slippage_bps=(
            MONEY.divide(MONEY.multiply(slippage, _BASIS_POINTS), value_at_mid) if value_at_mid else None
        ),
        fees=_fees(own),
        acknowledgement=_latency(
            elapsed_ns[order.client_order_id] for order in own if order.client_order_id in elapsed_ns
        ),
        reject_reasons={code: rejected.count(code) for code in dict.fromkeys(rejected)},
    )


def _fill_ratio(orders: Iterable[OrderRow]) -> Decimal | None:
    orders = list(orders)
    ordered = _sum(order.amount for order in orders)
    return MONEY.divide(_sum(order.filled_amount for order in orders), ordered) if ordered else None


def _slippage(orders: Iterable[OrderRow]) -> tuple[Decimal, Decimal]:
    """What fills cost above mid, and their value at mid, over the orders whose mid is known."""
    slippage = value_at_mid = ZERO
    for order in orders:
        if order.reference_price is None or not order.filled_amount:
            continue
        paid, at_mid = _value(order, order.average_fill_price), _value(order, order.reference_price)
        worse = MONEY.subtract(paid, at_mid)
        slippage = MONEY.add(slippage, worse if order.trade_type is TradeType.BUY else worse.copy_negate())
        value_at_mid = MONEY.add(value_at_mid, at_mid)
    return slippage, value_at_mid


def _value(order: OrderRow, price: Decimal | None) -> Decimal:
    return ZERO if price is None else MONEY.multiply(price, order.filled_amount)


def _fees(orders: Iterable[OrderRow]) -> dict[str, Decimal]:
    totals: dict[str, Decimal] = {}
    for order in orders:
        for token, fee in order.fees.items():
            totals[token] = MONEY.add(totals.get(token, ZERO), fee)
    return dict(sorted(totals.items()))


def _latency(elapsed_ns: Iterable[int]) -> Latency | None:
    ordered = sorted(elapsed_ns)
    if not ordered:
        return None
    return Latency(
        count=len(ordered),
        median_ns=_percentile(ordered, 50),
        p99_ns=_percentile(ordered, 99),
        max_ns=ordered[-1],
    )


def _percentile(ordered: Sequence[int], percent: int) -> int:
    return ordered[-(-len(ordered) * percent // 100) - 1]


def _sum(values: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for value in values:
        total = MONEY.add(total, value)
    return total
