"""An order whose committed events a publisher can be given, one after the other."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from domain.enums import Liquidity, OrderType, Source, TradeType
from domain.events import Fill, LedgerEvent, OrderCreated, OrderEvent, OrderFilled
from domain.in_flight_order import InFlightOrder
from domain.listeners import Committed

ACCOUNT = "0x1719884eb866cb12b2287399b15f7db5e7d775ea"
STARTED_NS = 1_700_000_000_000_000_000


def envelope(originator_id: str, version: int) -> dict[str, Any]:
    """What every event carries; the time grows with the version."""
    return {
        "originator_id": originator_id,
        "originator_version": version,
        "recorded_at_ns": STARTED_NS + version,
        "venue": "hyperliquid",
        "account": ACCOUNT,
        "source": Source.STREAM,
    }


class OrderUnderTest:
    """Makes the events of one order and folds them, counting log positions."""

    def __init__(
        self, client_order_id: str = "ol-1", *, amount: str = "1.5", first_position: int = 1
    ) -> None:
        created = OrderCreated(
            **envelope(client_order_id, 1),
            trading_pair="BTC-USD",
            instrument="BTC",
            order_type=OrderType.LIMIT,
            trade_type=TradeType.BUY,
            amount=Decimal(amount),
            price=Decimal("43210.50"),
        )
        self.order = InFlightOrder(created)
        self.position = first_position
        self.created = Committed(first_position, created, self.order.view())

    def then(self, kind: type[OrderEvent], **members: Any) -> Committed:
        """The next event of the order, committed at the next position."""
        return self.committed(kind(**envelope(self.order.id, self.order.version + 1), **members))

    def fill(self, amount: str, price: str = "43210", fee: str = "0.0120") -> Committed:
        number = self.order.version + 1
        return self.then(
            OrderFilled,
            fill=Fill(
                fill_key=f"fill-{number}",
                trade_id=str(number),
                exchange_order_id="77738308",
                trading_pair="BTC-USD",
                trade_type=TradeType.BUY,
                price=Decimal(price),
                amount=Decimal(amount),
                fee=Decimal(fee),
                fee_token="USDC",
                liquidity=Liquidity.MAKER,
                exchange_time_ms=1_700_000_000_123,
            ),
            exchange_time_ms=1_700_000_000_123,
        )

    def committed(self, event: LedgerEvent) -> Committed:
        self.order.apply(event)
        self.position += 1
        return Committed(self.position, event, self.order.view())
