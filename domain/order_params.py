"""`OrderParams`: what a caller wants, complete and already within the market's rules."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from domain.enums import OrderType, PositionAction, TimeInForce, TradeType

__all__ = ["OrderParams"]


class OrderParams(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An order as it will be sent: `price` and `amount` quantized, ids assigned.

    `price` is the limit price; for market kinds the protection limit. `venue_order_key` is the id in the
    venue's format. `requested_*` hold what the caller asked for where quantization changed it.
    """

    client_order_id: str
    venue_order_key: str
    trading_pair: str
    instrument: str
    order_type: OrderType
    trade_type: TradeType
    amount: Decimal
    price: Decimal
    position_action: PositionAction = PositionAction.NIL
    time_in_force: TimeInForce = TimeInForce.GTC
    trigger_price: Decimal | None = None
    requested_amount: Decimal | None = None
    requested_price: Decimal | None = None
    reference_price: Decimal | None = None
    parent_id: str | None = None
    tag: str = ""
