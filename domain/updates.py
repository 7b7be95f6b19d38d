"""What a venue's messages say, in the ledger's words: status and fills kept apart.

A venue's codec turns raw bytes into these; `ClientOrderTracker` turns them into events. `OrderUpdate` never
carries a filled quantity: quantity comes from fills alone.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from domain.enums import OrderType, PositionAction, Source, TimeInForce, TradeType
from domain.events import AccountFundingBooked, Fill, LedgerEvent
from domain.in_flight_order import OrderView

__all__ = [
    "Change",
    "FundingUpdate",
    "OrderDetails",
    "OrderUpdate",
    "PositionUpdate",
    "Stamp",
    "TradeUpdate",
    "UpdateStatus",
]


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """When and from what an input came: the envelope of every event it leads to."""

    at_ns: int
    source: Source
    causation: str


class UpdateStatus(StrEnum):
    """What a venue can say about one leg of an order."""

    OPEN = "open"
    TRIGGERED = "triggered"
    FILLED = "filled"
    CANCELLED = "cancelled"
    FAILED = "failed"
    EXPIRED = "expired"


class OrderDetails(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The terms of an order as the venue lists them: enough to track an order placed elsewhere."""

    trading_pair: str
    instrument: str
    trade_type: TradeType
    price: Decimal
    amount: Decimal
    order_type: OrderType = OrderType.LIMIT
    time_in_force: TimeInForce = TimeInForce.GTC
    position_action: PositionAction = PositionAction.NIL
    trigger_price: Decimal | None = None


class OrderUpdate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One status of one leg. At least one of the two ids is set.

    `remaining_amount` is the leg's own figure where the venue gives it (base units): what it still works,
    never used as quantity.
    """

    status: UpdateStatus
    exchange_order_id: str | None = None
    venue_order_key: str | None = None
    exchange_time_ms: int | None = None
    reason_code: str = ""
    reason: str = ""
    remaining_amount: Decimal | None = None
    details: OrderDetails | None = None


class TradeUpdate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One fill, with the client id where the venue repeats it. `ownerless` marks the kinds that no order of
    anybody's explains: liquidation, auto-deleveraging, settlement."""

    fill: Fill
    venue_order_key: str | None = None
    ownerless: bool = False


class FundingUpdate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A funding payment; `amount` is the signed cash effect (negative: the account paid)."""

    funding_key: str
    trading_pair: str
    amount: Decimal
    token: str
    rate: Decimal
    position_size: Decimal
    exchange_time_ms: int

    @classmethod
    def of_booked(cls, event: AccountFundingBooked) -> FundingUpdate:
        """The payment as it is booked."""
        return cls(
            funding_key=event.funding_key,
            trading_pair=event.trading_pair,
            amount=event.amount,
            token=event.token,
            rate=event.rate,
            position_size=event.position_size,
            exchange_time_ms=event.exchange_time_ms or 0,
        )


class PositionUpdate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the venue says the position is now. `amount` is signed base units."""

    trading_pair: str
    amount: Decimal
    entry_price: Decimal | None
    leverage: int | None = None
    is_cross: bool = True


class Change(msgspec.Struct, frozen=True, gc=False):
    """One new event and, for an order event, the order right after it. `repeats` marks an acknowledgement of
    an order that was acknowledged before: it refutes an end, or tells the exchange id."""

    event: LedgerEvent
    view: OrderView | None
    repeats: bool = False
