"""Reads about orders and fills: open, past, by id; newest and by time (sheet 5.2 to 5.5)."""

from __future__ import annotations

from collections.abc import Callable

from . import encoders
from .accounts import Account
from .encoders import Json
from .fills import PAGE, aggregated
from .lookup import Lookup
from .markets import Market, PerpMarket
from .parsing import as_oid_or_cloid, count_member, member, optional_count, optional_flag
from .state import VenueState
from .twap import TwapDesk


class OrderReads:
    def __init__(self, state: VenueState, lookup: Lookup, twaps: TwapDesk) -> None:
        self._state = state
        self._lookup = lookup
        self._twaps = twaps
        self.handlers: dict[str, Callable[[Json], object]] = {
            "openOrders": self._open_orders,
            "frontendOpenOrders": self._frontend_open_orders,
            "orderStatus": self._order_status,
            "historicalOrders": self._historical_orders,
            "userFills": self._user_fills,
            "userFillsByTime": self._user_fills_by_time,
            "userTwapSliceFills": self._twap_slice_fills,
            "userTwapSliceFillsByTime": self._twap_slice_fills_by_time,
            "twapHistory": self._twap_history,
        }

    def _open_orders(self, request: Json) -> object:
        account, dex = self._lookup.account(request), self._lookup.dex(request)
        if account is None:
            return []
        return [
            encoders.open_order(order)
            for order in reversed(account.live_orders.values())
            if _belongs(order.market, dex)
        ]

    def _frontend_open_orders(self, request: Json) -> object:
        return self.frontend_open_orders(self._lookup.account(request), self._lookup.dex(request))

    def frontend_open_orders(self, account: Account | None, dex: str) -> list[Json]:
        """Newest first. A waiting child appears in its parent and as a row of its own (sheet 5.2)."""
        if account is None:
            return []
        return [
            encoders.frontend_order(order)
            for order in reversed(account.live_orders.values())
            if _belongs(order.market, dex)
        ]

    def _order_status(self, request: Json) -> object:
        account = self._lookup.account(request)
        target = as_oid_or_cloid(member(request, "oid"))
        if account is None:
            return {"status": "unknownOid"}
        if isinstance(target, str):
            order = account.orders_by_cloid.get(target)
        else:
            order = self._state.orders.get(target)
            if order is not None and order.account is not account:
                order = None
        if order is None:
            return {"status": "unknownOid"}
        frozen = self._state.options.order_status_size == "last_status_change" or not order.is_live
        return {
            "status": "order",
            "order": {
                "order": encoders.frontend_order(order, order.status_size if frozen else None),
                "status": order.status,
                "statusTimestamp": order.status_time,
            },
        }

    def _historical_orders(self, request: Json) -> object:
        return self.historical_orders(self._lookup.account(request))

    def historical_orders(self, account: Account | None) -> list[Json]:
        return [] if account is None else [encoders.history_row(row) for row in reversed(account.history)]

    def _user_fills(self, request: Json) -> object:
        merge = optional_flag(request, "aggregateByTime")
        account = self._lookup.account(request)
        return self.newest_fills(account, merge=merge)

    def newest_fills(self, account: Account | None, *, merge: bool) -> list[Json]:
        """Up to 2000, newest first; the fills of one block stay in execution order."""
        if account is None:
            return []
        fills = account.fills.newest()
        if merge:
            fills = aggregated(fills)
        return [fill.encode() for fill in sorted(fills, key=lambda fill: -fill.time)]

    def _user_fills_by_time(self, request: Json) -> object:
        account = self._lookup.account(request)
        start, end = count_member(request, "startTime"), optional_count(request, "endTime")
        merge, newest_first = optional_flag(request, "aggregateByTime"), optional_flag(request, "reversed")
        if account is None:
            return []
        fills = account.fills.between(start, end)
        if newest_first:
            fills = fills[-PAGE:] if not merge else aggregated(fills)[-PAGE:]
            return [fill.encode() for fill in sorted(fills, key=lambda fill: -fill.time)]
        fills = aggregated(fills)[:PAGE] if merge else fills[:PAGE]
        return [fill.encode() for fill in fills]

    def _twap_slice_fills(self, request: Json) -> object:
        account = self._lookup.account(request)
        return [] if account is None else self.twap_slice_fills(account)

    def twap_slice_fills(self, account: Account) -> list[Json]:
        rows = [fill for fill in account.fills.newest() if fill.twap_id is not None]
        return [{"fill": fill.encode(), "twapId": fill.twap_id} for fill in reversed(rows)]

    def _twap_slice_fills_by_time(self, request: Json) -> object:
        account = self._lookup.account(request)
        start, end = count_member(request, "startTime"), optional_count(request, "endTime")
        if account is None:
            return []
        rows = [fill for fill in account.fills.between(start, end) if fill.twap_id is not None]
        return [{"fill": fill.encode(), "twapId": fill.twap_id} for fill in rows[:PAGE]]

    def _twap_history(self, request: Json) -> object:
        account = self._lookup.account(request)
        return [] if account is None else self.twap_history(account)

    def twap_history(self, account: Account) -> list[Json]:
        """One row per status of each TWAP, newest first."""
        return self._twaps.history(account)


def _belongs(market: Market, dex: str) -> bool:
    """Spot orders are shown with the first dex (sheet 1.2)."""
    return market.dex == dex if isinstance(market, PerpMarket) else not dex
