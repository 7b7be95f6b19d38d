"""Views that need no state of their own: a row per fill, per funding payment, per event."""

from __future__ import annotations

from domain.events import (
    AccountDiscrepancyFound,
    AccountEvent,
    AccountFillBooked,
    AccountFillCorrected,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    AccountLeverageChanged,
    AccountLiquidationNoticed,
    AccountMessageKept,
    AccountPositionAsserted,
    OrderEvent,
    OrderFilled,
)
from projections.order_fold import Row
from projections.summaries import summarise
from projections.texts import number_text, optional_text

__all__ = ["account_event_row", "fill_row", "funding_row", "timeline_row"]


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


def fill_row(position: int, event: OrderFilled | AccountFillBooked) -> Row:
    """A fill as a row of `projections.tables.FILLS`."""
    fill = event.fill
    return (
        position,
        event.venue,
        event.account,
        fill.fill_key,
        fill.trade_id,
        event.originator_id if type(event) is OrderFilled else None,
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
