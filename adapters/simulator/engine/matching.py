"""Placing orders: price-time matching, time in force, self trades, margin at match, triggers (sheet 4.7)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from . import errors
from .accounts import Account
from .checks import LiveChecks, alo_refusal
from .desk import OrderDesk
from .errors import OrderRefused, Refusal
from .margin import can_carry
from .markets import Market, PerpMarket
from .numbers import ONE
from .orders import ALO, FRONTEND_MARKET, GTC, IMMEDIATE, IOC, BuilderFee, Order, OrderRequest, Place
from .settlement import ORDINARY, Settlement, Special
from .state import VenueState

TRIGGER_SLIPPAGE = Decimal("0.1")


class Outcome(NamedTuple):
    """What became of one placed order within its own action."""

    order: Order
    refusal: Refusal | None


class Matcher:
    def __init__(self, state: VenueState, desk: OrderDesk, settlement: Settlement) -> None:
        self._state = state
        self._desk = desk
        self._settlement = settlement
        self._checks = LiveChecks(state)

    def new_order(
        self,
        account: Account,
        market: Market,
        request: OrderRequest,
        *,
        builder: BuilderFee | None = None,
        is_position_tpsl: bool = False,
    ) -> Order:
        """An order with an oid of its own, not placed yet."""
        return Order(
            oid=self._state.next_oid(),
            account=account,
            market=market,
            is_buy=request.is_buy,
            limit_px=request.limit_px,
            size=request.size,
            orig_size=request.size,
            reduce_only=request.reduce_only,
            tif=request.tif,
            cloid=request.cloid,
            time=self._state.now_ms,
            trigger=request.trigger,
            builder=builder,
            is_position_tpsl=is_position_tpsl,
        )

    def place(self, order: Order) -> Outcome:
        """Checks a new order and lets it match, rest or wait for its trigger."""
        try:
            self._checks.check(order)
            if order.trigger is not None:
                self._desk.admit(order)
                self._desk.arm(order)
                self._desk.set_status(order, "open")
            else:
                self.execute(order)
        except OrderRefused as refused:
            self._desk.refuse(order, refused.refusal)
            return Outcome(order, refused.refusal)
        return Outcome(order, None)

    def adopt(self, child: Order, parent: Order) -> Refusal | None:
        """Makes a checked order the TP/SL child of a parent that may not be placed yet."""
        child.parent = parent
        try:
            self._checks.check(child)
        except OrderRefused as refused:
            child.parent = None
            return refused.refusal
        parent.children.append(child)
        return None

    def place_child(self, child: Order, parent: Order) -> Refusal | None:
        """Places a child of a parent that is live already; a refusal leaves the parent alone."""
        refusal = self.adopt(child, parent)
        if refusal is None:
            self._desk.wait_for_parent(child)
        else:
            self._desk.refuse(child, refusal)
        return refusal

    def execute(self, order: Order) -> None:
        """Matches a checked order and rests what may rest. Raises OrderRefused if nothing came of it."""
        market = order.market
        if order.tif == ALO and market.book.would_match(order.is_buy, order.limit_px):
            raise OrderRefused(alo_refusal(market))
        self._desk.admit(order)
        size = order.size
        self.match(order, order.limit_px)
        if order.tif in IMMEDIATE and not order.filled:
            # Only now is it known that the order found nobody but its own account's orders.
            raise OrderRefused(errors.NO_LIQUIDITY if order.tif == FRONTEND_MARKET else errors.IOC_CANCEL)
        ends = not order.size or order.tif in IMMEDIATE
        if ends and self._state.options.open_before_immediate_end:
            self._desk.set_status(order, "open", size=size)
        if not order.size:
            self._desk.end(order, "filled")
        elif order.tif in IMMEDIATE:
            self._desk.end(order, self._state.options.ioc_remainder_status)
        else:
            if order.reduce_only:
                self._desk.make_room_for_reduce_only(order)
            self._desk.rest(order)
            self._desk.set_status(order, "open")

    def match(self, taker: Order, worst_px: Decimal, special: Special = ORDINARY) -> None:
        """Trades against the book, best price and oldest order first, until price or size run out."""
        book = taker.market.book
        opposite = book.opposite(taker.is_buy)
        while taker.size and book.would_match(taker.is_buy, worst_px):
            level = opposite.best()
            assert level is not None
            maker = level.first()
            if maker.account is taker.account:
                self._desk.end(maker, "selfTradeCanceled")
                continue
            size = min(taker.size, maker.size)
            if not self._maker_can_carry(maker, size):
                self._desk.end(maker, "marginCanceled")
                continue
            self._desk.shrink(maker, size)
            taker.size -= size
            self._settlement.trade(taker, maker, level.price, size, special)
            if not maker.size and maker.is_live:
                self._desk.end(maker, "filled")

    def take(self, order: Order, worst_px: Decimal, special: Special = ORDINARY) -> None:
        """Executes an order of the venue's own making (TWAP slice, liquidation) at once and ends it."""
        self._desk.admit(order)
        self.match(order, worst_px, special)
        if not order.size:
            self._desk.end(order, "filled")
        elif order.filled:
            self._desk.end(order, self._state.options.ioc_remainder_status)
        else:
            self._desk.refuse(order, errors.IOC_CANCEL)

    def _maker_can_carry(self, maker: Order, size: Decimal) -> bool:
        if not isinstance(maker.market, PerpMarket):
            return True
        signed = size if maker.is_buy else -size
        return can_carry(maker.account, maker.market, signed, maker.limit_px)

    # -- triggers -----------------------------------------------------------------------------------------

    def run_triggers(self) -> None:
        """Fires what is due among the triggers armed since the last look."""
        while self._desk.armed_markets:
            _, market = self._desk.armed_markets.popitem()
            self.fire_due(market)

    def fire_due(self, market: Market) -> None:
        """Fires every trigger of a market that its mark price meets."""
        while (order := market.triggers.next_due(market.mark_px)) is not None:
            self._fire(order)

    def _fire(self, armed: Order) -> None:
        order = self._triggered(armed)
        assert order.trigger is not None
        assert isinstance(order.market, PerpMarket)
        szi = order.account.position_size(order.market)
        if order.reduce_only:
            if not szi or (szi > 0) is order.is_buy:
                self._desk.end(order, "reduceOnlyCanceled")
                return
            order.size = abs(szi) if order.is_position_tpsl else min(order.size, abs(szi))
        elif not can_carry(
            order.account, order.market, order.size if order.is_buy else -order.size, order.trigger.price
        ):
            self._desk.end(order, "marginCanceled")
            return
        if order.trigger.is_market:
            worst = order.trigger.price * (ONE + TRIGGER_SLIPPAGE if order.is_buy else ONE - TRIGGER_SLIPPAGE)
            order.tif = IOC
        else:
            worst = order.limit_px
            order.tif = GTC
        self.match(order, worst)
        if not order.size:
            self._desk.end(order, "filled")
        elif order.trigger.is_market:
            remainder = self._state.options.ioc_remainder_status
            self._desk.end(order, remainder if order.filled else errors.NO_LIQUIDITY.status)
        else:
            if order.reduce_only:
                self._desk.make_room_for_reduce_only(order)
            self._desk.rest(order)

    def _triggered(self, armed: Order) -> Order:
        """The order that executes: the armed one itself, or its successor under a new oid (sheet 4.7 [?])."""
        self._desk.take_off(armed)
        armed.has_triggered = True
        self._desk.set_status(armed, "triggered")
        if self._state.options.trigger_keeps_oid:
            return armed
        successor = replace(
            armed,
            oid=self._state.next_oid(),
            time=self._state.now_ms,
            siblings=[],
            place=Place.NEW,
        )
        for sibling in armed.siblings:
            sibling.siblings.remove(armed)
            sibling.siblings.append(successor)
        successor.siblings, armed.siblings = armed.siblings, []
        armed.place = Place.GONE
        self._desk.admit(successor)
        self._desk.set_status(successor, "open")
        return successor

    def cancel_all(self, account: Account, status: str, market: Market | None = None) -> None:
        """Ends every live order of an account, or those of one market."""
        for order in list(account.live_orders.values()):
            if order.is_live and (market is None or order.market is market):
                self._desk.end(order, status)
