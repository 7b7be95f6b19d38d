"""The first frames of subscriptions (sheet 7.2)."""

from __future__ import annotations

from collections.abc import Callable

from . import encoders
from .candles import INTERVALS
from .encoders import Json
from .errors import Unprocessable
from .info import Reads
from .lookup import Lookup
from .markets import Market, PerpMarket
from .parsing import address_member, as_object, optional_flag, text_member
from .state import VenueState
from .stream import channel_of
from .views import Views

FAST_DEPTH = 5
FUNDINGS_IN_SNAPSHOT = 500


class Snapshots:
    """Knows every subscription type that exists, and what its subscribers see first."""

    def __init__(self, state: VenueState, lookup: Lookup, reads: Reads, views: Views) -> None:
        self._state = state
        self._lookup = lookup
        self._reads = reads
        self._views = views
        self._snapshots: dict[str, Callable[[Json], list[tuple[str, object]]]] = {
            "allMids": lambda s: [("allMids", self._views.all_mids(self._lookup.dex(s)))],
            "l2Book": self._book_snapshot,
            "bbo": lambda s: [("bbo", encoders.bbo(self._market(s), self._state.now_ms))],
            "trades": self._trades_snapshot,
            "candle": self._candle_snapshot,
            "activeAssetCtx": self._context_snapshot,
            "orderUpdates": self._order_updates_snapshot,
            "userEvents": self._nothing,
            "notification": self._nothing,
            "userFills": self._fills_snapshot,
            "userFundings": self._fundings_snapshot,
            "userNonFundingLedgerUpdates": self._ledger_snapshot,
            "userTwapSliceFills": self._twap_fills_snapshot,
            "userTwapHistory": self._twap_history_snapshot,
            "userHistoricalOrders": self._history_snapshot,
            "activeAssetData": self._asset_data_snapshot,
            "clearinghouseState": lambda s: [
                ("clearinghouseState", self._views.clearinghouse(_user(s), self._lookup.dex(s)))
            ],
            "openOrders": lambda s: [("openOrders", self._views.open_orders(_user(s), self._lookup.dex(s)))],
            "spotState": lambda s: [("spotState", self._views.spot_state(_user(s)))],
            "twapStates": lambda s: [("twapStates", self._views.twap_states(_user(s), self._lookup.dex(s)))],
            "allDexsClearinghouseState": lambda s: [
                ("allDexsClearinghouseState", self._views.all_clearinghouses(_user(s)))
            ],
            "allDexsAssetCtxs": lambda _: [("allDexsAssetCtxs", self._views.all_contexts())],
            "assetCtxs": lambda s: [("assetCtxs", self._views.contexts(self._lookup.dex(s)))],
            "spotAssetCtxs": lambda _: [("spotAssetCtxs", self._views.spot_contexts())],
            "webData3": lambda s: [("webData3", self._views.web_data(_user(s)))],
        }

    def of(self, subscription: object) -> list[Json]:
        """The frames that follow a subscription. Raises Unprocessable if there is no such type (7.2)."""
        body = as_object(subscription)
        make = self._snapshots.get(text_member(body, "type"))
        if make is None:
            raise Unprocessable
        return [{"channel": channel, "data": data} for channel, data in make(body)]

    def _market(self, subscription: Json) -> Market:
        market = self._lookup.market(subscription)
        if market is None:
            raise Unprocessable
        return market

    def _nothing(self, subscription: Json) -> list[tuple[str, object]]:
        _user(subscription)
        return []

    def _book_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        self._market(subscription)
        depth = FAST_DEPTH if optional_flag(subscription, "fast") else encoders.LEVELS_PER_SIDE
        return [("l2Book", self._reads.markets.l2_book(subscription, depth=depth))]

    def _trades_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        market = self._market(subscription)
        if not self._state.options.trades_snapshot or not market.tape.recent:
            return []
        return [("trades", [trade.encode() for trade in market.tape.recent])]

    def _candle_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        market, interval = self._market(subscription), text_member(subscription, "interval")
        if interval not in INTERVALS:
            raise Unprocessable
        bar = market.tape.current_bar(interval, self._state.now_ms)
        return [] if bar is None else [("candle", bar)]

    def _context_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        market = self._market(subscription)
        return [(channel_of("activeAssetCtx", market.coin), self._views.context(market))]

    def _order_updates_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        account = self._lookup.account(subscription)
        if account is None or not self._state.options.order_updates_snapshot:
            return []
        rows = [
            {
                "order": encoders.open_order(order),
                "status": order.status,
                "statusTimestamp": order.status_time,
            }
            for order in account.live_orders.values()
        ]
        return [("orderUpdates", rows)] if rows else []

    def _fills_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        merge = optional_flag(subscription, "aggregateByTime")
        fills = self._reads.orders.newest_fills(self._lookup.account(subscription), merge=merge)
        return [("userFills", {"isSnapshot": True, "user": _user(subscription), "fills": fills})]

    def _fundings_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        account = self._lookup.account(subscription)
        payments = [] if account is None else account.fundings[-FUNDINGS_IN_SNAPSHOT:]
        rows = [encoders.funding_event(payment, with_samples=True) for payment in reversed(payments)]
        return [("userFundings", {"isSnapshot": True, "user": _user(subscription), "fundings": rows})]

    def _ledger_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        account = self._lookup.account(subscription)
        updates = [] if account is None else account.ledger[-FUNDINGS_IN_SNAPSHOT:]
        data = {
            "isSnapshot": True,
            "user": _user(subscription),
            "nonFundingLedgerUpdates": [update.encode() for update in reversed(updates)],
        }
        return [("userNonFundingLedgerUpdates", data)]

    def _twap_fills_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        account = self._lookup.account(subscription)
        rows = [] if account is None else self._reads.orders.twap_slice_fills(account)
        data = {"isSnapshot": True, "user": _user(subscription), "twapSliceFills": rows}
        return [("userTwapSliceFills", data)]

    def _twap_history_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        account = self._lookup.account(subscription)
        rows = [] if account is None else self._reads.orders.twap_history(account)
        return [("userTwapHistory", {"isSnapshot": True, "user": _user(subscription), "history": rows})]

    def _history_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        data = {
            "isSnapshot": True,
            "user": _user(subscription),
            "orderHistory": self._reads.orders.historical_orders(self._lookup.account(subscription)),
        }
        return [("userHistoricalOrders", data)]

    def _asset_data_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        market = self._market(subscription)
        if not isinstance(market, PerpMarket):
            raise Unprocessable
        return [("activeAssetData", self._views.active_asset_data(_user(subscription), market))]


def _user(subscription: Json) -> str:
    return address_member(subscription, "user")
