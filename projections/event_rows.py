"""Views that need no state of their own: a row per fill, per funding payment, per event."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from domain.events import (
    AccountDiscrepancyFound,
    AccountDiscrepancyRepaired,
    AccountDiscrepancyWaived,
    AccountEvent,
    AccountFillBooked,
    AccountFillCorrected,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    AccountLeverageChanged,
    AccountLiquidationNoticed,
    AccountMessageKept,
    AccountPositionAsserted,
    Fill,
    OrderEvent,
    OrderFillCorrected,
    OrderFilled,
)
from projections.order_fold import Row
from projections.summaries import summarise
from projections.tables import FILL_BOOKINGS
from projections.texts import number_text, optional_text

__all__ = [
    "REPAIRED",
    "WAIVED",
    "Booking",
    "Correction",
    "account_event_row",
    "corrected_fill_row",
    "discrepancy_row",
    "fill_row",
    "funding_row",
    "is_booked_as",
    "settlement_row",
    "timeline_row",
]

Correction: TypeAlias = OrderFillCorrected | AccountFillCorrected
"""What takes back a fill, or puts another in its place."""

Booking: TypeAlias = OrderFilled | AccountFillBooked | Correction
"""What may bring a fill."""

REPAIRED, WAIVED = "repaired", "waived"
"""What became of a discrepancy, in `projections.tables.DISCREPANCY_SETTLEMENTS`."""


def timeline_row(position: int, event: OrderEvent, state: str | None) -> Row:
    """An event of an order, and its state after it, as a row of `projections.tables.ORDER_TIMELINE`."""
    return (
        position,
        event.originator_id,
        event.originator_version,
        event.topic,
        event.recorded_at_ns,
        event.exchange_time_ms,
        str(event.source),
        event.causation,
        event.correlation_id,
        summarise(event),
        state,
    )


def fill_row(position: int, event: Booking, fill: Fill) -> Row:
    """The fill that an event books, as a row of `projections.tables.FILL_BOOKINGS` that counts."""
    return (
        position,
        event.venue,
        event.account,
        fill.fill_key,
        fill.trade_id,
        event.originator_id if isinstance(event, OrderEvent) else None,
        fill.exchange_order_id,
        fill.trading_pair,
        str(fill.trade_type),
        number_text(fill.price),
        number_text(fill.amount),
        number_text(fill.fee),
        fill.fee_token,
        optional_text(fill.builder_fee),
        str(fill.liquidity),
        optional_text(fill.closed_pnl),
        optional_text(fill.start_position),
        fill.direction,
        1 if fill.liquidation else 0,
        fill.transaction_hash,
        fill.exchange_time_ms,
        event.recorded_at_ns,
        str(event.source),
        None,
        None,
    )


def corrected_fill_row(row: Row, position: int, event: Correction) -> Row:
    """The row of a fill that counts no more from a position on."""
    return (*row[: -len(FILL_BOOKINGS.changing)], position, event.recorded_at_ns)


def is_booked_as(row: Row, event: Correction) -> bool:
    """Whether the row of a fill has what the event says was booked, as far as anything is counted by it."""
    was = fill_row(0, event, event.was)
    return all(row[column] == was[column] for column in _COUNTED_COLUMNS)


_COUNTED_COLUMNS = tuple(
    list(FILL_BOOKINGS.columns).index(name)
    for name in ("client_order_id", "trading_pair", "trade_type", "price", "amount", "fee", "fee_token")
)


def funding_row(position: int, event: AccountFundingBooked) -> Row:
    """A payment as a row of `projections.tables.FUNDING`."""
    return (
        position,
        event.venue,
        event.account,
        event.trading_pair,
        event.funding_key,
        number_text(event.amount),
        event.token,
        number_text(event.rate),
        number_text(event.position_size),
        event.exchange_time_ms,
        event.recorded_at_ns,
        str(event.source),
    )


def discrepancy_row(position: int, event: AccountDiscrepancyFound) -> Row:
    """A finding as a row of `projections.tables.DISCREPANCIES_FOUND`."""
    return (
        position,
        event.venue,
        event.account,
        event.discrepancy_id,
        event.kind,
        event.subject,
        event.trading_pair or None,
        event.ours,
        event.theirs,
        event.explanation,
        event.evidence,
        event.recorded_at_ns,
    )


def settlement_row(position: int, event: AccountDiscrepancyRepaired | AccountDiscrepancyWaived) -> Row:
    """A repair or a waiver as a row of `projections.tables.DISCREPANCY_SETTLEMENTS`."""
    repairs = event.repairs if isinstance(event, AccountDiscrepancyRepaired) else None
    return (
        position,
        event.venue,
        event.account,
        event.discrepancy_id,
        WAIVED if repairs is None else REPAIRED,
        event.reason,
        event.actor,
        msgspec.json.encode(repairs or ()).decode(),
        event.recorded_at_ns,
    )


def account_event_row(position: int, event: AccountEvent) -> Row:
    """An event of an account as a row of `projections.tables.ACCOUNT_EVENTS`."""
    trading_pair: str | None = None
    detail = ""
    if isinstance(event, AccountFillBooked):
        trading_pair = event.fill.trading_pair
    elif isinstance(event, AccountFillCorrected):
        trading_pair = event.was.trading_pair
    elif isinstance(event, AccountDiscrepancyFound):
        trading_pair = event.trading_pair or None
        detail = event.evidence
    elif isinstance(event, AccountFundingBooked | AccountLeverageChanged | AccountPositionAsserted):
        trading_pair = event.trading_pair
    elif isinstance(event, AccountLedgerUpdateBooked | AccountLiquidationNoticed):
        detail = event.detail
    elif isinstance(event, AccountMessageKept):
        detail = event.message
    return (
        position,
        event.originator_id,
        event.originator_version,
        event.topic,
        event.venue,
        event.account,
        trading_pair,
        event.recorded_at_ns,
        event.exchange_time_ms,
        str(event.source),
        event.causation,
        event.correlation_id,
        summarise(event),
        detail,
    )
