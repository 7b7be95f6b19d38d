"""The life of orders, from admission to end: resting, armed or waiting, alone or in families (4.7, 6)."""

from __future__ import annotations

from decimal import Decimal

from .accounts import Account
from .errors import Refusal
from .markets import Market, PerpMarket, SpotMarket
from .numbers import ZERO
from .orders import Order, Place, StatusRow
from .state import VenueState

CANCELLED_BY_VENUE = frozenset(
    {
        "marginCanceled",
        "liquidatedCanceled",
        "selfTradeCanceled",
        "siblingFilledCanceled",
        "scheduledCancel",
        "delistedCanceled",
    }
)
"""Ends that also come as `nonUserCancel`. `reduceOnlyCanceled` comes on `orderUpdates` alone (sheet 7.3)."""


class OrderDesk:
    """Keeps every index that knows an order consistent with where the order lives."""

    def __init__(self, state: VenueState) -> None:
        self._state = state
        self.armed_markets: dict[str, Market] = {}
        """Markets where a trigger was armed since the triggers were last looked at."""

    # -- admission ----------------------------------------------------------------------------------------

    def admit(self, order: Order) -> None:
        """From now on the order can be found by its ids."""
        self._state.orders[order.oid] = order
        if order.cloid is not None:
            order.account.orders_by_cloid[order.cloid] = order

    def refuse(self, order: Order, refusal: Refusal) -> None:
        """Records an order that was refused: it has an oid and a history row all the same (sheet 6)."""
        self.admit(order)
        order.place = Place.GONE
        self.set_status(order, refusal.status, announced=self._state.options.rejected_on_order_updates)
        self._forget_oldest(order)

    def rest(self, order: Order) -> None:
        """Puts an order on the book, behind all others at its price."""
        account = order.account
        order.place = Place.BOOK
        account.live_orders[order.oid] = order
        order.market.book.side(order.is_buy).add(order)
        self._state.journal.book_changed(order.market.coin)
        if order.reduce_only:
            account.resting_reduce_only.setdefault(order.market.coin, {})[order.oid] = order
        if isinstance(order.market, SpotMarket):
            self._hold(order, order.size * (order.limit_px if order.is_buy else 1))

    def arm(self, order: Order) -> None:
        """Lets a trigger order watch the mark price."""
        account = order.account
        order.place = Place.ARMED
        account.live_orders[order.oid] = order
        order.market.triggers.add(order)
        self.armed_markets[order.market.coin] = order.market
        if order.reduce_only:
            account.armed_reduce_only.setdefault(order.market.coin, {})[order.oid] = order

    def wait_for_parent(self, order: Order) -> None:
        """Admits a TP/SL child and parks it until its parent is filled."""
        self.admit(order)
        order.place = Place.WAITING
        order.account.live_orders[order.oid] = order
        self.set_status(order, "open")

    # -- changes ------------------------------------------------------------------------------------------

    def set_status(
        self, order: Order, status: str, *, size: Decimal | None = None, announced: bool = True
    ) -> None:
        """Adds a status row: to the history, and unless hidden to `orderUpdates`."""
        order.status = status
        order.status_time = self._state.now_ms
        order.status_size = order.size if size is None else size
        row = StatusRow(order, status, order.status_time, order.status_size, order.oid)
        order.account.history.append(row)
        self._state.journal.order_changed(row, announced=announced)

    def take_off(self, order: Order) -> None:
        """Removes a live order from the place it lives in, without a status."""
        account, coin = order.account, order.market.coin
        if order.place is Place.BOOK:
            order.market.book.side(order.is_buy).remove(order)
            self._state.journal.book_changed(coin)
            account.resting_reduce_only.get(coin, {}).pop(order.oid, None)
            if order.hold:
                self._release(order, order.hold)
        elif order.place is Place.ARMED:
            order.market.triggers.remove(order)
            account.armed_reduce_only.get(coin, {}).pop(order.oid, None)
        account.live_orders.pop(order.oid, None)
        order.place = Place.NEW

    def end(self, order: Order, status: str) -> None:
        """Ends an order and draws the consequences for its TP/SL children."""
        self.take_off(order)
        order.place = Place.GONE
        self.set_status(order, status)
        if status in CANCELLED_BY_VENUE:
            self._state.journal.order_cancelled_by_venue(order.account.address, order.market.coin, order.oid)
        for sibling in order.siblings:
            sibling.siblings.remove(order)
        order.siblings = []
        if order.parent is not None:
            order.parent.children.remove(order)
            order.parent = None
        if order.children:
            self._release_children(order)
        self._forget_oldest(order)

    def _release_children(self, parent: Order) -> None:
        # Children arm when the parent is filled, or when lack of margin cut short one filled in part.
        arms = parent.status == "filled" or (parent.status == "marginCanceled" and parent.filled > 0)
        children, parent.children = parent.children, []
        for child in children:
            child.parent = None
        for child in children:
            is_new = child.place is Place.NEW  # the parent ended within its own action
            if is_new:
                self.admit(child)
            if not arms:
                self.end(child, "canceled")
                continue
            child.siblings = [other for other in children if other is not child]
            self.arm(child)
            if is_new:
                self.set_status(child, "open")

    def executed(self, order: Order, size: Decimal, notional: Decimal) -> None:
        """Counts an execution; the first one ends the order's one-cancels-other siblings."""
        order.filled += size
        order.filled_ntl += notional
        for sibling in list(order.siblings):
            if sibling.is_live:
                self.end(sibling, "siblingFilledCanceled")

    def shrink(self, order: Order, by: Decimal) -> None:
        """Takes `by` off a resting order, which keeps its place in the queue."""
        order.market.book.side(order.is_buy).shrink(order, by)
        self._state.journal.book_changed(order.market.coin)
        self._state.journal.open_orders[order.account.address] = None
        if order.hold:
            self._release(order, by * (order.limit_px if order.is_buy else 1))

    # -- reduce-only --------------------------------------------------------------------------------------

    def make_room_for_reduce_only(self, order: Order) -> None:
        """A new reduce-only order displaces older ones that with it exceed the position (sheet 4.7)."""
        assert isinstance(order.market, PerpMarket)
        resting = order.account.resting_reduce_only.get(order.market.coin)
        if not resting:
            return
        older = [other for other in resting.values() if other.is_buy is order.is_buy]
        position = abs(order.account.position_size(order.market))
        total = sum((other.size for other in older), order.size)
        for other in older:
            if total <= position:
                break
            total -= other.size
            self.end(other, "reduceOnlyCanceled")

    def follow_position(self, account: Account, market: PerpMarket, before: Decimal) -> None:
        """Lets reduce-only orders follow a position that shrank, the oldest first (sheet 4.7)."""
        szi = account.position_size(market)
        resting = account.resting_reduce_only.get(market.coin)
        if resting:
            closing_side = szi < 0
            left = abs(szi)
            for order in reversed(list(resting.values())):
                if not order.size:
                    continue  # being filled by the very trade that moved the position
                allowed = min(order.size, left) if order.is_buy is closing_side else ZERO
                left -= allowed
                if not allowed:
                    self.end(order, "reduceOnlyCanceled")
                elif allowed < order.size:
                    self.shrink(order, order.size - allowed)
        armed = account.armed_reduce_only.get(market.coin)
        if armed and (szi == 0 or (szi > 0) is not (before > 0)):
            closed_by_buying = before < 0
            for order in list(armed.values()):
                if order.is_buy is closed_by_buying and order.is_live:
                    self.end(order, "reduceOnlyCanceled")

    # -- spot holds ---------------------------------------------------------------------------------------

    def _hold(self, order: Order, amount: Decimal) -> None:
        assert isinstance(order.market, SpotMarket)
        token = order.market.quote if order.is_buy else order.market.base
        order.hold += amount
        order.account.balance(token.index).hold += amount
        self._state.journal.account_changed(order.account.address)

    def _release(self, order: Order, amount: Decimal) -> None:
        assert isinstance(order.market, SpotMarket)
        token = order.market.quote if order.is_buy else order.market.base
        order.hold -= amount
        order.account.balance(token.index).hold -= amount
        self._state.journal.account_changed(order.account.address)

    # -- memory -------------------------------------------------------------------------------------------

    def _forget_oldest(self, order: Order) -> None:
        account = order.account
        account.finished_orders.append(order)
        if len(account.finished_orders) > self._state.options.finished_orders_kept:
            forgotten = account.finished_orders.popleft()
            self._state.orders.pop(forgotten.oid, None)
            if forgotten.cloid is not None and account.orders_by_cloid.get(forgotten.cloid) is forgotten:
                del account.orders_by_cloid[forgotten.cloid]
