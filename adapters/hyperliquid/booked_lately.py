"""What was booked lately, in full: what a pass holds against the venue's own lists.

Of most of what was booked memory keeps the key alone. That is enough to say of a row which the venue tells
that it is booked; what is booked and not told, or told with other numbers, is seen while it is kept here.
"""

from __future__ import annotations

from collections.abc import Iterable

from adapters.hyperliquid.context import Context
from adapters.hyperliquid.messages import TransferUpdate
from adapters.hyperliquid.transfer_effects import collateral_effect, transfer_of
from domain.discrepancies import BookedFill, Transfer
from domain.events import (
    AccountFillBooked,
    AccountFillCorrected,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    Fill,
    LedgerEvent,
    OrderFillCorrected,
    OrderFilled,
)
from domain.updates import FundingUpdate, TradeUpdate

__all__ = ["BookedLately"]


class BookedLately:
    """Times are the venue's, in ms."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._fills: dict[str, BookedFill] = {}
        self._fundings: dict[str, FundingUpdate] = {}
        self._transfers: dict[str, Transfer] = {}

    def take(self, event: LedgerEvent) -> None:
        """An event of the step that ends now."""
        match event:
            case OrderFilled():
                self._book(event.fill, event.originator_id)
            case AccountFillBooked():
                self._book(event.fill, None)
            case OrderFillCorrected() | AccountFillCorrected():
                self._fills.pop(event.was.fill_key, None)
                if event.now is not None:
                    is_of_order = isinstance(event, OrderFillCorrected)
                    self._book(event.now, event.originator_id if is_of_order else None)
            case AccountFundingBooked():
                self._fundings[event.funding_key] = FundingUpdate.of_booked(event)
            case AccountLedgerUpdateBooked():
                self._transfers[event.update_key] = Transfer(
                    update_key=event.update_key,
                    kind=event.kind,
                    amount=event.amount,
                    token=event.token,
                    detail=event.detail,
                    exchange_time_ms=event.exchange_time_ms or 0,
                    cash_effect=collateral_effect(self._context.account_address, event.detail),
                )

    def _book(self, fill: Fill, client_order_id: str | None) -> None:
        self._fills[fill.fill_key] = BookedFill(fill, client_order_id)

    def forget(self, *, fills_before_ms: int, money_before_ms: int) -> None:
        """No pass asks for anything older any more (but for single markets, whose fills are known by key)."""
        self._fills = {
            key: kept for key, kept in self._fills.items() if kept.fill.exchange_time_ms >= fills_before_ms
        }
        self._fundings = {
            key: kept for key, kept in self._fundings.items() if kept.exchange_time_ms >= money_before_ms
        }
        self._transfers = {
            key: kept for key, kept in self._transfers.items() if kept.exchange_time_ms >= money_before_ms
        }

    # -- the books' side of a comparison -------------------------------------------------------------------

    def fills(self, told: Iterable[TradeUpdate]) -> list[BookedFill]:
        """What is kept, and those that the venue tells now and are booked."""
        tracker, account = self._context.tracker, self._context.account
        known = [
            BookedFill(update.fill, None)
            for update in told
            if update.fill.fill_key not in self._fills
            and (tracker.was_booked(update.fill.fill_key) or account.has_fill(update.fill.fill_key))
        ]
        return [*known, *self._fills.values()]

    def fundings(self, told: Iterable[FundingUpdate]) -> list[FundingUpdate]:
        """See `fills`."""
        known = [
            update
            for update in told
            if update.funding_key not in self._fundings
            and self._context.account.has_funding(update.funding_key)
        ]
        return [*known, *self._fundings.values()]

    def transfers(self, told: Iterable[TransferUpdate]) -> list[Transfer]:
        """See `fills`."""
        known = [
            transfer_of(self._context.account_address, update)
            for update in told
            if update.update_key not in self._transfers
            and self._context.account.has_ledger_update(update.update_key)
        ]
        return [*known, *self._transfers.values()]
