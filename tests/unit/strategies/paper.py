"""A connector core whose venue is a page of paper: it answers every request at once, as told.

The core, its tracker, books and positions are the real ones; only the venue's protocol is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from domain.enums import Liquidity, OrderType, TradeType
from domain.event_codec import decode_event
from domain.events import Fill
from domain.in_flight_order import InFlightOrder
from domain.inputs import (
    Input,
    RequestAnswered,
    RequestFailed,
    Started,
    StreamConnected,
    StreamFrame,
    StreamLost,
)
from domain.listeners import Committed
from domain.money import decimal_text
from domain.order_book import BookLevel, OrderBook
from domain.perpetual_derivative_base import PerpetualDerivativeBase
from domain.trading_rule import SignificantFigures, TradingRule
from domain.updates import Change, OrderUpdate, TradeUpdate, UpdateStatus

PAIR = "BTC-USD"


class PaperConnector(PerpetualDerivativeBase):
    """Requests take effect when `settle` is called. `unanswered` leaves new orders without an answer,
    `refuses_amends` refuses every change."""

    def __init__(self) -> None:
        super().__init__(
            venue="paper", network="paper", account="0x1", session_id=1, decode_event=decode_event
        )
        self.trading_rules[PAIR] = TradingRule(
            trading_pair=PAIR,
            instrument="BTC",
            asset_id=0,
            amount_step=Decimal("0.001"),
            min_order_size=Decimal("0.001"),
            price_rule=SignificantFigures(figures=5, max_decimals=1),
            quote_token="USD",
            collateral_token="USDC",
            max_leverage=10,
            min_notional=Decimal(10),
        )
        self.order_books[PAIR] = OrderBook(PAIR)
        self.unanswered = False
        self.refuses_amends = False
        self.requests: list[str] = []
        self._commands: list[Input] = []
        self._position = 0
        self._exchange_ids = 0
        self.attach(self._commands.append)
        self._step(Started(session_id="1", ledger_position=0))

    # -- what a test does ----------------------------------------------------------------------------------

    def quote(self, bid: str, ask: str) -> None:
        """The market's best prices."""
        book = self.order_books[PAIR]
        size = Decimal(5)
        book.apply_snapshot([BookLevel(Decimal(bid), size)], [BookLevel(Decimal(ask), size)], 0)

    def settle(self) -> None:
        """Handle every command given so far, as the runtime would."""
        while self._commands:
            self._step(self._commands.pop(0))

    def fill(self, client_order_id: str, amount: str) -> None:
        """Somebody trades with an order."""
        order = self.tracker.get(client_order_id)
        assert order is not None
        self._fill(order, Decimal(amount))
        changes = self.tracker.take_changes()
        self._after_changes(changes)
        self._commit(changes)

    def _step(self, item: Input) -> None:
        self._commit(self.step(item).changes)

    def _commit(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._position += 1
            self.notify_committed(
                Committed(self._position, change.event, change.view, change.repeats), self._raise
            )

    @staticmethod
    def _raise(_listener: object, error: Exception) -> None:
        raise error

    # -- the venue -----------------------------------------------------------------------------------------

    def _next_id(self) -> str:
        self._exchange_ids += 1
        return str(self._exchange_ids)

    def _fill(self, order: InFlightOrder, amount: Decimal) -> None:
        number = self._next_id()
        fill = Fill(
            fill_key=number,
            trade_id=number,
            exchange_order_id=order.exchange_order_id or number,
            trading_pair=PAIR,
            trade_type=order.trade_type,
            price=order.price,
            amount=amount,
            fee=Decimal(0),
            fee_token="USDC",
            liquidity=Liquidity.MAKER,
            exchange_time_ms=0,
        )
        self.tracker.process_trade_update(TradeUpdate(fill=fill, venue_order_key=order.venue_order_key))

    def _send_orders(self, orders: Sequence[InFlightOrder]) -> None:
        for order in orders:
            created = order.created
            self.requests.append(f"{created.trade_type} {decimal_text(created.amount)} at {created.price}")
            self.tracker.submitted(order, 1, None)
            if self.unanswered:
                self.tracker.submit_unknown(order, "timeout", "")
                continue
            self.tracker.process_order_update(
                OrderUpdate(
                    status=UpdateStatus.OPEN,
                    venue_order_key=order.venue_order_key,
                    exchange_order_id=self._next_id(),
                )
            )
            if order.is_immediate:
                self._fill(order, order.amount)

    def _send_cancels(self, orders: Sequence[InFlightOrder], reason_code: str) -> None:
        for order in orders:
            self.requests.append(f"cancel {order.trade_type} at {order.price}")
            self.tracker.cancel_requested(order, 1, reason_code)
            self.tracker.cancelled(order, reason_code)

    def _send_amend(self, order: InFlightOrder, price: Decimal, amount: Decimal) -> None:
        self.requests.append(f"amend {order.trade_type} from {order.price} to {price}")
        self.tracker.amend_requested(
            order, price=price, amount=amount, leg_amount=amount, nonce=1, expires_at_ms=None
        )
        if self.refuses_amends:
            self.tracker.amend_refused(order, "too_late", "")
        else:
            self.tracker.amended(order, self._next_id())

    def _on_started(self, started: Started) -> None:
        self._settled("start")

    def _venue_order_key(self, client_order_id: str) -> str:
        return client_order_id

    def _market_price(
        self, rule: TradingRule, side: TradeType, reference: Decimal, order_type: OrderType
    ) -> Decimal:
        return reference

    def _before_outcome(self) -> None:
        """Everything is answered at once, nothing is queued."""

    def _on_stream_connected(self, connected: StreamConnected) -> None:
        """There is no stream on paper."""

    def _on_stream_lost(self, lost: StreamLost) -> None:
        """There is no stream on paper."""

    def _on_stream_frame(self, frame: StreamFrame) -> None:
        """There is no stream on paper."""

    def _on_request_answered(self, answered: RequestAnswered) -> None:
        """There are no requests on paper."""

    def _on_request_failed(self, failed: RequestFailed) -> None:
        """There are no requests on paper."""

    def _on_nothing_stored(self, key: str) -> None:
        """Nothing is ever looked up."""

    def _on_deadline(self, name: str, key: str) -> None:
        """There are no deadlines on paper."""
