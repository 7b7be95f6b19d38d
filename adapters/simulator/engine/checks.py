"""Whether an order may be placed: what its payload and what the venue's state decide (sheet 4.5, 4.6)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from . import errors
from .accounts import Account
from .errors import OrderRefused, Refusal
from .margin import can_carry, spendable
from .markets import Market, PerpMarket, SpotMarket
from .numbers import LARGEST, TEN, ZERO, decimals_of, is_valid_price, wire_text
from .orders import ALO, IMMEDIATE, Order, OrderRequest
from .state import VenueState

OPEN_ORDERS_FOR_REDUCE_ONLY = 1000
VOLUME_PER_EXTRA_ORDER = Decimal(5_000_000)


def payload_refusal(
    request: OrderRequest, market: Market | None, *, is_position_tpsl: bool
) -> Refusal | None:
    """What is wrong with the numbers of one order, whatever the venue's state; None if nothing is."""
    if market is None:
        return errors.UNKNOWN_ASSET
    if request.limit_px <= 0 or request.limit_px >= LARGEST:
        return errors.INVALID_PRICE
    if request.size < 0 or request.size >= LARGEST or decimals_of(request.size) > market.sz_decimals:
        return errors.INVALID_SIZE
    if request.size == 0 and not is_position_tpsl:
        return errors.ZERO_SIZE
    prices = [request.limit_px]
    if request.trigger is not None:
        if request.trigger.price <= 0 or request.trigger.price >= LARGEST:
            return errors.INVALID_PRICE
        prices.append(request.trigger.price)
    if not all(is_valid_price(price, market.price_decimals) for price in prices):
        return errors.TICK
    return None


def early_refusals(
    request: OrderRequest, market: Market | None, *, is_position_tpsl: bool
) -> Iterator[Refusal]:
    """All that can be said against an order before it reaches the engine: pre-validation (4.5)."""
    refusal = payload_refusal(request, market, is_position_tpsl=is_position_tpsl)
    if refusal is not None:
        yield refusal
    elif market is not None:
        if not request.reduce_only and request.size * request.limit_px < TEN:
            if isinstance(market, SpotMarket):
                yield errors.min_spot_notional(market.quote.name)
            else:
                yield errors.MIN_NOTIONAL
        if request.trigger is not None and request.trigger.is_met(request.is_buy, market.mark_px):
            yield errors.BAD_TRIGGER


class LiveChecks:
    """The refusals that depend on the venue's state, in the order the venue is assumed to look at them."""

    def __init__(self, state: VenueState) -> None:
        self._state = state

    def check(self, order: Order) -> None:
        """Raises OrderRefused. Shrinks a reduce-only order to the position it closes (sheet 4.7)."""
        if order.market.is_halted:
            raise OrderRefused(errors.HALTED)
        if self._state.now_ms < self._state.post_only_until_ms and order.tif != ALO:
            raise OrderRefused(errors.POST_ONLY_PERIOD)
        self._check_cloid(order)
        self._check_open_orders(order)
        self._check_price_band(order)
        if order.trigger is not None:
            self._check_trigger(order)
        elif isinstance(order.market, PerpMarket):
            self._check_perp(order, order.market)
        else:
            self._check_notional(order, ZERO)
            self._check_spot(order)

    def _check_cloid(self, order: Order) -> None:
        if order.cloid is None or self._state.options.duplicate_cloid == "accept":
            return
        other = order.account.orders_by_cloid.get(order.cloid)
        if other is not None and other.is_live:
            raise OrderRefused(errors.DUPLICATE_CLOID)

    def _check_open_orders(self, order: Order) -> None:
        account = order.account
        if account.is_venue_operated or order.tif in IMMEDIATE:
            return
        count = len(account.live_orders)
        if count >= open_order_limit(account, self._state):
            raise OrderRefused(errors.TOO_MANY_OPEN_ORDERS)
        if count >= OPEN_ORDERS_FOR_REDUCE_ONLY and (order.reduce_only or order.trigger is not None):
            raise OrderRefused(errors.TOO_MANY_OPEN_ORDERS)

    def _check_price_band(self, order: Order) -> None:
        if order.trigger is not None:
            return
        percent = self._state.options.price_band_percent
        is_perp = isinstance(order.market, PerpMarket)
        reference = order.market.oracle_px if is_perp else order.market.mark_px
        if abs(order.limit_px - reference) * 100 > percent * reference:
            raise OrderRefused(errors.too_far_from_reference(percent))

    def _check_notional(self, order: Order, closes: Decimal) -> None:
        """`closes`: the position that the order would close; closing all of it is exempt (sheet 4.7)."""
        if order.is_position_tpsl or (closes and order.size >= closes):
            return
        if order.size * order.limit_px < TEN:
            if isinstance(order.market, SpotMarket):
                raise OrderRefused(errors.min_spot_notional(order.market.quote.name))
            raise OrderRefused(errors.MIN_NOTIONAL)

    def _check_trigger(self, order: Order) -> None:
        assert order.trigger is not None
        if isinstance(order.market, SpotMarket):
            raise OrderRefused(errors.BAD_TRIGGER)
        assert isinstance(order.market, PerpMarket)
        szi = order.account.position_size(order.market)
        reduces = szi != 0 and (szi > 0) is not order.is_buy
        self._check_notional(order, abs(szi) if order.reduce_only and reduces else ZERO)
        if order.parent is None and order.trigger.is_met(order.is_buy, order.market.mark_px):
            raise OrderRefused(errors.BAD_TRIGGER)
        if order.is_position_tpsl and not reduces:
            raise OrderRefused(errors.REDUCE_ONLY)

    def _check_perp(self, order: Order, market: PerpMarket) -> None:
        account = order.account
        szi = account.position_size(market)
        if order.reduce_only:
            if not szi or (szi > 0) is order.is_buy:
                raise OrderRefused(errors.REDUCE_ONLY)
            self._check_notional(order, abs(szi))
            order.size = min(order.size, abs(szi))
            return
        self._check_notional(order, ZERO)
        signed = order.size if order.is_buy else -order.size
        after = szi + signed
        flips = szi * after < 0
        if flips or abs(after) > abs(szi):
            self._check_open_interest(market, szi != 0 and (szi > 0) is not order.is_buy)
            allowed = market.tier_leverage(abs(after) * market.mark_px)
            if abs(after) > abs(szi) and allowed < account.leverage_for(market).value:
                raise OrderRefused(errors.MARGIN_TIER)
        best = market.book.opposite(order.is_buy).best()
        crosses = best is not None and market.book.would_match(order.is_buy, order.limit_px)
        price = best.price if best is not None and crosses else order.limit_px
        if not can_carry(account, market, signed, price):
            raise OrderRefused(errors.INSUFFICIENT_MARGIN)

    def _check_open_interest(self, market: PerpMarket, flips: bool) -> None:
        cap = market.spec.open_interest_cap
        if cap is None or market.open_interest * market.mark_px < cap:
            return
        raise OrderRefused(errors.OPEN_INTEREST_CAP_FLIP if flips else errors.OPEN_INTEREST_CAP)

    def _check_spot(self, order: Order) -> None:
        market = order.market
        assert isinstance(market, SpotMarket)
        token = market.quote if order.is_buy else market.base
        needed = order.size * order.limit_px if order.is_buy else order.size
        if needed > spendable(order.account, token.index):
            raise OrderRefused(errors.INSUFFICIENT_SPOT)


def open_order_limit(account: Account, state: VenueState) -> int:
    """1000 + 1 per 5M USD of volume, up to 5000 (sheet 9.3)."""
    options = state.options
    return min(
        options.open_orders_max, options.open_orders_base + int(account.volume // VOLUME_PER_EXTRA_ORDER)
    )


def alo_refusal(market: Market) -> Refusal:
    """The post-only refusal with the book it would have met."""
    bid, ask = market.book.bids.best(), market.book.asks.best()
    return errors.post_only_would_match(
        wire_text(bid.price if bid is not None else ZERO), wire_text(ask.price if ask is not None else ZERO)
    )
