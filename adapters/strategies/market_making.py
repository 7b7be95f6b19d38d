"""`MarketMakingSample`: a small market maker that shows how a strategy is written. It is not meant to earn
money.

It keeps one post-only quote on each side of the mid price, moves a quote that has drifted by amending it,
stops quoting the side that would make its position too large, and closes a position that became too large all
the same.
"""

from __future__ import annotations

import logging
from decimal import Decimal

from adapters.strategies.strategy import Strategy
from domain.enums import OrderState, OrderType, PositionAction, TimeInForce, TradeType
from domain.errors import NotReadyError, OrderRefusedError
from domain.events import OrderAmended, OrderAmendRefused, OrderFilled
from domain.in_flight_order import DONE_STATES, OrderView
from domain.listeners import Committed
from domain.money import MONEY
from domain.order_book import OrderBook
from domain.perpetual_derivative_base import PerpetualDerivativeBase
from domain.trading_rule import TradingRule

__all__ = ["MarketMakingSample", "drift_bps", "quote_prices"]

_log = logging.getLogger(__name__)

_BPS = Decimal(10_000)
_TWO = Decimal(2)
_NS_PER_S = 1_000_000_000
_CHANGEABLE = frozenset({OrderState.OPEN, OrderState.PARTIALLY_FILLED})


class MarketMakingSample(Strategy):
    """Quotes `order_amount` base units on both sides of `trading_pair`.

    `spread_bps` is the distance between the two quotes, in basis points of the mid price; a quote that is
    further than `reprice_bps` from where it should be is moved, looked at every `refresh_interval_s` seconds.
    The position is kept within `max_position` base units either way (default: ten orders); beyond that it is
    closed with an immediate order that accepts `flatten_slippage_bps` from the mid. Orders carry `tag`, by
    which they are known again after a restart. Raises `ValueError` for parameters that make no sense.
    """

    def __init__(
        self,
        *,
        trading_pair: str,
        order_amount: Decimal | int | str,
        spread_bps: Decimal | int | str = 20,
        reprice_bps: Decimal | int | str = 5,
        max_position: Decimal | int | str | None = None,
        refresh_interval_s: Decimal | int | str = 1,
        flatten_slippage_bps: Decimal | int | str = 50,
        tag: str = "market-making",
    ) -> None:
        self.trading_pair = trading_pair
        self.order_amount = _positive("order_amount", order_amount)
        self.spread_bps = _positive("spread_bps", spread_bps)
        self.reprice_bps = _positive("reprice_bps", reprice_bps)
        self.max_position = (
            MONEY.multiply(self.order_amount, Decimal(10))
            if max_position is None
            else _positive("max_position", max_position)
        )
        if self.max_position < self.order_amount:
            raise ValueError(
                f"max_position {self.max_position} is less than one order of {self.order_amount}"
            )
        if self.spread_bps >= _BPS:
            raise ValueError(f"spread_bps {self.spread_bps} is the whole price")
        self.flatten_slippage_bps = _positive("flatten_slippage_bps", flatten_slippage_bps)
        if self.flatten_slippage_bps >= _BPS:
            raise ValueError(f"flatten_slippage_bps {self.flatten_slippage_bps} is the whole price")
        self.refresh_interval_ns = int(
            MONEY.multiply(_positive("refresh_interval_s", refresh_interval_s), Decimal(_NS_PER_S))
        )
        self.tag = tag
        self.fills = 0
        self._flatten_tag = f"{tag}:flatten"
        self._refreshed_at_ns = 0
        # Placed, and not seen committed yet: `open_orders` may not show them.
        self._on_their_way: dict[str, TradeType] = {}
        self._amending: set[str] = set()
        self._not_amendable: set[str] = set()
        self._complained_of = ""

    # -- called by the process
    # ---------------------------------------------------------------------------------

    def on_tick(self, now_ns: int) -> None:
        if now_ns - self._refreshed_at_ns < self.refresh_interval_ns or not self.connector.ready:
            return
        self._refreshed_at_ns = now_ns
        try:
            self._refresh(self.connector)
            self._complained_of = ""
        except NotReadyError:
            # The connection was lost in the meantime; it is said elsewhere, and comes back.
            return
        except OrderRefusedError as error:
            if error.reason_code != self._complained_of:
                self._complained_of = error.reason_code
                _log.warning("cannot quote %s: %s", self.trading_pair, error)

    def on_order_update(self, committed: Committed) -> None:
        view = committed.view
        if view is None or view.tag not in (self.tag, self._flatten_tag):
            return
        client_order_id = view.client_order_id
        self._on_their_way.pop(client_order_id, None)
        done = view.state in DONE_STATES
        if done or isinstance(committed.event, OrderAmended | OrderAmendRefused):
            self._amending.discard(client_order_id)
        if done:
            self._not_amendable.discard(client_order_id)
        elif isinstance(committed.event, OrderAmendRefused):
            self._not_amendable.add(client_order_id)

    def on_order_filled(self, order: OrderView, filled: OrderFilled) -> None:
        if order.tag in (self.tag, self._flatten_tag):
            self.fills += 1

    # -- deciding
    # ----------------------------------------------------------------------------------------------

    def _refresh(self, connector: PerpetualDerivativeBase) -> None:
        book = connector.order_book(self.trading_pair)
        rule = connector.trading_rules[self.trading_pair]
        prices = quote_prices(book, rule, self.spread_bps)
        if prices is None:
            return
        position = connector.position(self.trading_pair).amount
        own = [
            order
            for order in connector.open_orders(self.trading_pair)
            if order.tag in (self.tag, self._flatten_tag)
        ]
        if MONEY.abs(position) > self.max_position:
            self._cancel(connector, [order for order in own if order.tag == self.tag])
            self._flatten(connector, book, position, own)
            return
        for side, price in prices.items():
            quotes = [order for order in own if order.tag == self.tag and order.trade_type is side]
            # What the position could become if the quote fills completely.
            reach = MONEY.add(MONEY.multiply(position, Decimal(side.sign)), self.order_amount)
            if reach > self.max_position:
                self._cancel(connector, quotes)
            elif quotes:
                self._keep(connector, quotes[0], price)
                self._cancel(connector, quotes[1:])
            elif side not in self._on_their_way.values():
                self._quote(connector, side, price)

    def _quote(self, connector: PerpetualDerivativeBase, side: TradeType, price: Decimal) -> None:
        place = connector.buy if side is TradeType.BUY else connector.sell
        placed = place(self.trading_pair, self.order_amount, price, OrderType.LIMIT_MAKER, tag=self.tag)
        self._on_their_way[placed] = side

    def _keep(self, connector: PerpetualDerivativeBase, quote: OrderView, price: Decimal) -> None:
        """Leave a quote where it is, move it, or (what cannot be moved) cancel it to place another later."""
        if not self._may_change(quote) or drift_bps(quote.price, price) <= self.reprice_bps:
            return
        if quote.client_order_id in self._not_amendable:
            connector.cancel(quote.client_order_id)
            return
        connector.amend(quote.client_order_id, price, quote.amount)
        self._amending.add(quote.client_order_id)

    def _cancel(self, connector: PerpetualDerivativeBase, orders: list[OrderView]) -> None:
        for order in orders:
            if self._may_change(order):
                connector.cancel(order.client_order_id)

    def _may_change(self, order: OrderView) -> bool:
        """Whether nothing is under way with it. What has an unknown outcome is asked for, and left alone."""
        return (
            order.state in _CHANGEABLE
            and not order.outcome_unknown
            and order.client_order_id not in self._amending
        )

    def _flatten(
        self,
        connector: PerpetualDerivativeBase,
        book: OrderBook,
        position: Decimal,
        own: list[OrderView],
    ) -> None:
        """Close the position with an immediate, reduce-only order, unless one is on its way."""
        side = TradeType.SELL if position > 0 else TradeType.BUY
        mid = book.mid_price
        if mid is None or side in self._on_their_way.values():
            return
        if any(order.tag == self._flatten_tag for order in own):
            return
        place = connector.buy if side is TradeType.BUY else connector.sell
        placed = place(
            self.trading_pair,
            MONEY.abs(position),
            _away(mid, self.flatten_slippage_bps, side.sign),
            time_in_force=TimeInForce.IOC,
            position_action=PositionAction.CLOSE,
            tag=self._flatten_tag,
        )
        self._on_their_way[placed] = side


def quote_prices(book: OrderBook, rule: TradingRule, spread_bps: Decimal) -> dict[TradeType, Decimal] | None:
    """Where the two quotes belong: half the spread from the mid, and never where they would trade at once.

    None while the book has no mid price.
    """
    mid, bid, ask = book.mid_price, book.best_bid, book.best_ask
    if mid is None or bid is None or ask is None:
        return None
    half = MONEY.divide(spread_bps, _TWO)
    below_ask = MONEY.subtract(ask.price, rule.price_rule.step_at(ask.price))
    above_bid = MONEY.add(bid.price, rule.price_rule.step_at(bid.price))
    buy = min(_away(mid, half, -1), below_ask)
    sell = max(_away(mid, half, 1), above_bid)
    return {
        TradeType.BUY: rule.quantize_price(buy, TradeType.BUY),
        TradeType.SELL: rule.quantize_price(sell, TradeType.SELL),
    }


def drift_bps(price: Decimal, wanted: Decimal) -> Decimal:
    """How far apart two prices are, in basis points of the wanted one."""
    return MONEY.divide(MONEY.multiply(MONEY.abs(MONEY.subtract(price, wanted)), _BPS), wanted)


def _away(price: Decimal, bps: Decimal, direction: int) -> Decimal:
    """A price so many basis points above (1) or below (-1) another."""
    distance = MONEY.divide(MONEY.multiply(price, bps), _BPS)
    return MONEY.add(price, distance) if direction > 0 else MONEY.subtract(price, distance)


def _positive(name: str, value: Decimal | int | str) -> Decimal:
    try:
        number = MONEY.create_decimal(value)
    except (ArithmeticError, TypeError):
        raise ValueError(f"{name} must be a number, not {value!r}") from None
    if not number.is_finite() or number <= 0:
        raise ValueError(f"{name} must be above zero, not {value}")
    return number
