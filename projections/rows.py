"""The rows that answers come in, typed: one struct per table of the views."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from domain.enums import (
    Liquidity,
    OrderState,
    OrderType,
    PositionAction,
    Source,
    TimeInForce,
    TradeType,
)
from projections.tables import FILL_BOOKINGS, FUNDING, ORDER_TIMELINE, ORDERS, PARKED, POSITIONS

__all__ = [
    "SOURCE_OF",
    "DiscrepancyRow",
    "DiscrepancyStatus",
    "FillBooking",
    "FillRow",
    "FundingRow",
    "OrderHistory",
    "OrderRow",
    "ParkedRow",
    "PositionRow",
    "Row",
    "TimelineRow",
    "json_columns",
    "row_decoder",
    "typed_row",
]


class OrderRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order as the views hold it. Amounts in base units, prices in quote units per base unit; `fees` maps
    a token to what was paid (negative: received). Times are integer nanoseconds UTC.

    `missing_fill_amount`: what the venue says was filled and no fill has shown yet. `outcome_unknown`: a
    request about it is out with an unknown fate. `created_position` and `last_position` are the places of its
    first and last event in the log.
    """

    client_order_id: str
    exchange_order_id: str | None
    venue_order_key: str
    venue: str
    account: str
    trading_pair: str
    instrument: str
    order_type: OrderType
    trade_type: TradeType
    position_action: PositionAction
    time_in_force: TimeInForce
    price: Decimal
    trigger_price: Decimal | None
    amount: Decimal
    filled_amount: Decimal
    average_fill_price: Decimal | None
    remaining_amount: Decimal
    missing_fill_amount: Decimal
    fees: dict[str, Decimal]
    state: OrderState
    done: bool
    outcome_unknown: bool
    triggered: bool
    reason_code: str
    reason: str
    tag: str
    parent_id: str | None
    external: bool
    reference_price: Decimal | None
    created_at_ns: int
    updated_at_ns: int
    version: int
    created_position: int
    last_position: int


class FillRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One execution. `fee` is positive when paid. `client_order_id` is None when it belongs to no order.

    `closed_pnl` and `start_position` are the venue's own figures; `exchange_time_ms` is its time.
    """

    position: int
    venue: str
    account: str
    fill_key: str
    trade_id: str
    client_order_id: str | None
    exchange_order_id: str
    trading_pair: str
    trade_type: TradeType
    price: Decimal
    amount: Decimal
    fee: Decimal
    fee_token: str
    builder_fee: Decimal | None
    liquidity: Liquidity
    closed_pnl: Decimal | None
    start_position: Decimal | None
    direction: str
    liquidation: bool
    transaction_hash: str
    exchange_time_ms: int
    recorded_at_ns: int
    source: Source


class FillBooking(FillRow, frozen=True, kw_only=True):
    """An execution as it was booked. From `corrected_position` of the log on it counts no more, because the
    venue's history says otherwise; None: it counts."""

    corrected_position: int | None
    corrected_at_ns: int | None


class FundingRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One funding payment: `amount` is the signed cash effect in `token`, negative when the account paid.

    `rate` is the rate of the interval and `position_size` the signed base units it was paid for, both as the
    venue gave them.
    """

    position: int
    venue: str
    account: str
    trading_pair: str
    funding_key: str
    amount: Decimal
    token: str
    rate: Decimal
    position_size: Decimal
    exchange_time_ms: int | None
    recorded_at_ns: int
    source: Source


class PositionRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an account holds of one market: signed base units (negative: short), average entry and realised
    profit before fees and funding in quote units.

    `average_entry` is None when flat or not known. `unpriced_amount` was closed at an entry that nobody told,
    so its profit is not in `realised_pnl`. `entry_cost / entry_amount` is the average entry, unrounded.
    """

    venue: str
    account: str
    trading_pair: str
    amount: Decimal
    average_entry: Decimal | None
    realised_pnl: Decimal
    fees: dict[str, Decimal]
    funding: Decimal
    volume: Decimal
    leverage: int | None
    is_cross: bool
    entry_cost: Decimal | None
    entry_amount: Decimal
    unpriced_amount: Decimal
    updated_at_ns: int
    last_position: int


class TimelineRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event of an order: where it stands in the log, what it says, and the order's state after it (None
    from an event on that could not be folded)."""

    position: int
    client_order_id: str
    version: int
    topic: str
    recorded_at_ns: int
    exchange_time_ms: int | None
    source: Source
    causation: str
    correlation_id: str
    summary: str
    state: OrderState | None


class DiscrepancyStatus(StrEnum):
    """What became of a finding."""

    OPEN = "open"
    REPAIRED = "repaired"
    WAIVED = "waived"


class DiscrepancyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A difference between the books and the venue that a reconciliation found, and what became of it.

    `kind` is one of `domain.discrepancies.DiscrepancyKind`, `subject` what it is about (an order id, a fill
    key, a trading pair), `ours` and `theirs` the two sides, `evidence` the venue's own words (JSON).
    `settled_position` and `settled_at_ns` are None, `reason` (why the settlement is right) and `actor` (who
    made it) empty while it is open. `repairs` names the events of a repair, `<topic> <aggregate> <version>`.
    """

    discrepancy_id: str
    venue: str
    account: str
    kind: str
    subject: str
    trading_pair: str | None
    ours: str
    theirs: str
    explanation: str
    evidence: str
    found_position: int
    found_at_ns: int
    status: DiscrepancyStatus
    settled_position: int | None
    settled_at_ns: int | None
    reason: str
    actor: str
    repairs: list[str]


class ParkedRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a view could not take. An order parked in the view `orders` stays as it was before it.
    In the view `claims`: a position that the venue stated and that the events up to there contradict."""

    position: int
    view: str
    aggregate: str
    reason: str


class OrderHistory(msgspec.Struct, frozen=True, kw_only=True):
    """An order and all that happened to it. `order` is None when not even its first event could be folded."""

    client_order_id: str
    order: OrderRow | None
    events: list[TimelineRow]
    fills: list[FillRow]


Row = TypeVar(
    "Row", OrderRow, FillRow, FillBooking, FundingRow, PositionRow, TimelineRow, DiscrepancyRow, ParkedRow
)

SOURCE_OF: dict[type[msgspec.Struct], str] = {
    OrderRow: ORDERS.name,
    FillRow: FILL_BOOKINGS.name,
    FillBooking: FILL_BOOKINGS.name,
    FundingRow: FUNDING.name,
    PositionRow: POSITIONS.name,
    TimelineRow: ORDER_TIMELINE.name,
    DiscrepancyRow: "discrepancies",
    ParkedRow: PARKED.name,
}
"""The table or view that a kind of rows stands in. It may have columns that are of no interest to who
asks."""

_JSON_COLUMNS = frozenset({"fees", "repairs"})


def json_columns(kind: type[Row]) -> str:
    """The columns of a kind of row, as a SELECT gives them in one JSON object, for `row_decoder`.

    SQLite writes it and msgspec reads it in half the time that a row takes which is handed over value by
    value.
    """
    members = (
        f"'{name}', {f'json({name})' if name in _JSON_COLUMNS else name}" for name in kind.__struct_fields__
    )
    return f"json_object({', '.join(members)})"


def row_decoder(kind: type[Row]) -> Callable[[str], Row]:
    """What makes a row of its `json_columns`."""
    # Not strict: SQLite's flags are 0 and 1.
    return msgspec.json.Decoder(kind, strict=False).decode


def typed_row(kind: type[Row], named: dict[str, Any]) -> Row:
    """A row from its columns by name; those the kind does not have are left out."""
    fees = named.get("fees")
    if fees is not None:
        named["fees"] = msgspec.json.decode(fees)
    return msgspec.convert(named, kind, strict=False)
