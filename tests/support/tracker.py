"""A `ClientOrderTracker` driven by hand: commands and venue updates in, events out."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from domain.client_order_tracker import ClientOrderTracker
from domain.enums import Liquidity, OrderType, Source, TradeType
from domain.event_codec import decode_event, encode_events
from domain.events import Fill, LedgerEvent
from domain.in_flight_order import InFlightOrder
from domain.order_params import OrderParams
from domain.updates import OrderDetails, OrderUpdate, Stamp, TradeUpdate, UpdateStatus
from tests.support.core import facts_of

__all__ = ["START_MS", "TrackerSession", "a_fill", "details"]

START_MS = 1_700_000_000_000


def a_fill(
    key: str,
    amount: str | Decimal,
    *,
    oid: str = "1",
    price: str = "100",
    fee: str = "0.01",
    fee_token: str = "USDC",
    time_ms: int = START_MS,
    trade_type: TradeType = TradeType.BUY,
) -> Fill:
    return Fill(
        fill_key=key,
        trade_id=key,
        exchange_order_id=oid,
        trading_pair="BTC-USD",
        trade_type=trade_type,
        price=Decimal(price),
        amount=Decimal(amount),
        fee=Decimal(fee),
        fee_token=fee_token,
        liquidity=Liquidity.MAKER,
        exchange_time_ms=time_ms,
    )


def details(amount: str | Decimal, price: str | Decimal = "100", **members: Any) -> OrderDetails:
    return OrderDetails(
        trading_pair="BTC-USD",
        instrument="BTC",
        trade_type=TradeType.BUY,
        price=Decimal(price),
        amount=Decimal(amount),
        **members,
    )


class TrackerSession:
    """One tracker, its clock, and the events it made."""

    def __init__(self, **options: Any) -> None:
        self.tracker = ClientOrderTracker(venue="hyperliquid", account="0xaa", **options)
        self.events: dict[str, list[LedgerEvent]] = {}
        self.log: list[LedgerEvent] = []
        self.now_ns = START_MS * 1_000_000
        self.inputs = 0
        self.stamp()

    def stamp(self, source: Source = Source.STREAM) -> None:
        self.inputs += 1
        self.tracker.stamp = Stamp(self.now_ns, source, f"test:{self.inputs}")

    def collect(self) -> list[LedgerEvent]:
        """What came out since the last call, as a ledger would take it: no version twice, none left out."""
        new = [change.event for change in self.tracker.take_changes()]
        for event in new:
            kept = self.events.setdefault(event.originator_id, [])
            assert event.originator_version == len(kept) + 1, f"{event.topic} of {event.originator_id}"
            kept.append(event)
        self.log += new
        return new

    # -- orders --------------------------------------------------------------------------------------------

    def create(
        self,
        client_order_id: str = "ol-1",
        amount: str | Decimal = "10",
        *,
        price: str = "100",
        order_type: OrderType = OrderType.LIMIT,
        venue_order_key: str | None = None,
        **members: Any,
    ) -> InFlightOrder:
        self.stamp(Source.COMMAND)
        order = self.tracker.create(
            OrderParams(
                client_order_id=client_order_id,
                venue_order_key=venue_order_key or f"key-{client_order_id}",
                trading_pair="BTC-USD",
                instrument="BTC",
                order_type=order_type,
                trade_type=TradeType.BUY,
                amount=Decimal(amount),
                price=Decimal(price),
                **members,
            )
        )
        self.collect()
        return order

    def sent(
        self, client_order_id: str = "ol-1", amount: str | Decimal = "10", **members: Any
    ) -> InFlightOrder:
        order = self.create(client_order_id, amount, **members)
        self.tracker.submitted(order, nonce=self.inputs, expires_at_ms=START_MS + 10_000)
        self.collect()
        return order

    def opened(
        self, client_order_id: str = "ol-1", amount: str | Decimal = "10", *, oid: str = "1", **members: Any
    ) -> InFlightOrder:
        order = self.sent(client_order_id, amount, **members)
        self.status(UpdateStatus.OPEN, oid, order=order)
        return order

    def not_found(self, order: InFlightOrder, times: int = 1) -> list[LedgerEvent]:
        """So many answers, a second apart, that the venue does not know the order."""
        for _ in range(times):
            self.advance(1)
            self.stamp(Source.QUERY)
            self.tracker.not_found(order)
        return self.collect()

    def gone(self, order: InFlightOrder) -> list[LedgerEvent]:
        """Not found often enough, and taken for gone."""
        events = self.not_found(order, self.tracker.not_found_limit)
        self.tracker.gone(order)
        return events + self.collect()

    def amending(self, order: InFlightOrder, amount: str | Decimal, price: str = "101") -> Decimal:
        """A requested amend; returns the amount the replacement is sent with."""
        self.stamp(Source.COMMAND)
        leg_amount = Decimal(amount) - order.filled_amount
        self.tracker.amend_requested(
            order,
            price=Decimal(price),
            amount=Decimal(amount),
            leg_amount=leg_amount,
            nonce=self.inputs,
            expires_at_ms=START_MS + 10_000,
        )
        self.collect()
        return leg_amount

    # -- the venue -----------------------------------------------------------------------------------------

    def update(self, update: OrderUpdate) -> list[LedgerEvent]:
        self.stamp()
        self.tracker.process_order_update(update)
        return self.collect()

    def status(
        self,
        status: UpdateStatus,
        oid: str | None = "1",
        *,
        order: InFlightOrder | None = None,
        time_ms: int | None = START_MS + 1,
        reason_code: str = "",
        remaining: str | None = None,
        terms: OrderDetails | None = None,
        key: str | None = None,
    ) -> list[LedgerEvent]:
        return self.update(
            OrderUpdate(
                status=status,
                exchange_order_id=oid,
                venue_order_key=key if order is None else order.venue_order_key,
                exchange_time_ms=time_ms,
                reason_code=reason_code or ("" if status is UpdateStatus.OPEN else f"venue_{status}"),
                remaining_amount=None if remaining is None else Decimal(remaining),
                details=terms,
            )
        )

    def fill(
        self, key: str, amount: str | Decimal, *, order: InFlightOrder | None = None, **members: Any
    ) -> list[LedgerEvent]:
        venue_key = members.pop("venue_key", None if order is None else order.venue_order_key)
        self.stamp()
        self.tracker.process_trade_update(
            TradeUpdate(fill=a_fill(key, amount, **members), venue_order_key=venue_key)
        )
        return self.collect()

    # -- memory --------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1_000_000_000)
        self.stamp(Source.TIMER)

    def reload(self, client_order_id: str) -> InFlightOrder:
        """Hand an order back from the ledger, through its stored form."""
        self.stamp(Source.RECONCILIATION)
        packed = encode_events(self.events[client_order_id])
        order = self.tracker.restore([decode_event(topic, state) for topic, state in packed])
        self.collect()
        return order

    def assert_folds(self) -> None:
        """Every order in memory is the fold of its events, through MessagePack and back."""
        for client_order_id, events in self.events.items():
            order = self.tracker.get(client_order_id)
            if order is not None:
                folded = InFlightOrder.fold(decode_event(*packed) for packed in encode_events(events))
                assert facts_of(folded) == facts_of(order)


def topics(events: Iterable[LedgerEvent]) -> list[str]:
    return [event.topic for event in events]
