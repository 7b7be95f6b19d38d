"""Everything that is pushed: messages of each block, first frames of subscriptions (sheet 7.2, 7.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import encoders
from .accounts import Account, FundingPayment, LedgerUpdate
from .candles import INTERVALS, Trade
from .encoders import Json
from .errors import Unprocessable
from .fills import Fill
from .info import Reads
from .journal import Block
from .markets import Market, PerpMarket, SpotMarket
from .numbers import arithmetic
from .orders import StatusRow
from .parsing import address_member, as_object, optional_flag, optional_text, text_member
from .state import VenueState
from .twap import TwapDesk

FAST_DEPTH = 5
FUNDINGS_IN_SNAPSHOT = 500


class StreamMessage:
    """One message for the subscribers of `kind` (a subscription type), of a user or a coin.

    `data` is the complete `data` member of the frame. It is encoded when it is first read, so that messages
    nobody subscribed to cost nothing; messages that show a state (books, accounts) show it as it is then.
    """

    __slots__ = ("_args", "_data", "_make", "coin", "dex", "kind", "user")

    def __init__(
        self,
        kind: str,
        make: Callable[..., object],
        *args: object,
        user: str | None = None,
        coin: str | None = None,
        dex: str = "",
    ) -> None:
        self.kind = kind
        self.user = user
        self.coin = coin
        self.dex = dex
        self._make: Callable[..., object] | None = make
        self._args = args
        self._data: object = None

    @property
    def data(self) -> object:
        if self._make is not None:
            with arithmetic():
                self._data = self._make(*self._args)
            self._make, self._args = None, ()
        return self._data

    @property
    def channel(self) -> str:
        """The `channel` of the frame, which is not always the subscription type."""
        return channel_of(self.kind, self.coin)

    def frame(self) -> Json:
        return {"channel": self.channel, "data": self.data}

    def __repr__(self) -> str:
        return f"StreamMessage({self.kind!r}, user={self.user!r}, coin={self.coin!r}, data={self.data!r})"


def channel_of(kind: str, coin: str | None) -> str:
    """`userEvents` arrive on `user`, contexts of spot pairs on `activeSpotAssetCtx` (sheet 7.2)."""
    if kind == "userEvents":
        return "user"
    if kind == "activeAssetCtx" and coin is not None and ("/" in coin or coin.startswith("@")):
        return "activeSpotAssetCtx"
    return kind


class Stream:
    def __init__(self, state: VenueState, reads: Reads, twaps: TwapDesk) -> None:
        self._state = state
        self._reads = reads
        self._twaps = twaps
        self._queue: list[StreamMessage] = []
        self._sent_bbo: dict[str, object] = {}
        self._snapshots: dict[str, Callable[[Json], list[tuple[str, object]]]] = {
            "allMids": lambda s: [("allMids", self._all_mids(self._dex(s)))],
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
                ("clearinghouseState", self._clearinghouse(_user(s), self._dex(s)))
            ],
            "openOrders": lambda s: [("openOrders", self._open_orders(_user(s), self._dex(s)))],
            "spotState": lambda s: [("spotState", self._spot_state(_user(s)))],
            "twapStates": lambda s: [("twapStates", self._twap_states(_user(s), self._dex(s)))],
            "allDexsClearinghouseState": lambda s: [
                ("allDexsClearinghouseState", self._all_clearinghouses(_user(s)))
            ],
            "allDexsAssetCtxs": lambda _: [("allDexsAssetCtxs", self._all_contexts())],
            "assetCtxs": lambda s: [("assetCtxs", self._contexts(self._dex(s)))],
            "spotAssetCtxs": lambda _: [("spotAssetCtxs", self._reads.spot_contexts())],
            "webData3": lambda s: [("webData3", self._web_data(_user(s)))],
        }

    # -- what happened ------------------------------------------------------------------------------------

    def close_block(self) -> None:
        """Queues the messages of the block that just ended."""
        block = self._state.journal.take_block()
        for user, rows in block.order_rows.items():
            self._add("orderUpdates", _each, encoders.order_update, rows, user=user)
            self._add("userHistoricalOrders", _order_history, user, rows, user=user)
        self._queue_fills(block)
        for user, cancelled in block.cancelled_by_venue.items():
            self._add("userEvents", _non_user_cancel, cancelled, user=user)
        for user, event in block.user_events:
            self._add("userEvents", _as_is, event, user=user)
        self._queue_money(block)
        for user, history in block.twap_history.items():
            self._add("userEvents", _as_is, {"twapHistory": history}, user=user)
            self._add("userTwapHistory", _as_is, {"user": user, "history": history}, user=user)
        for user, text in block.notifications:
            self._add("notification", _as_is, {"notification": text}, user=user)
        for coin, trades in block.trades.items():
            self._add("trades", _each, Trade.encode, trades, coin=coin)

    def _queue_fills(self, block: Block) -> None:
        for user, fills in block.fills.items():
            self._add("userFills", _user_fills, user, fills, user=user)
            self._add("userEvents", _fills_event, fills, user=user)
            slices = [fill for fill in fills if fill.twap_id is not None]
            if slices:
                rows = [{"fill": fill.encode(), "twapId": fill.twap_id} for fill in slices]
                self._add("userEvents", _as_is, {"twapSliceFills": rows}, user=user)
                self._add("userTwapSliceFills", _as_is, {"user": user, "twapSliceFills": rows}, user=user)

    def _queue_money(self, block: Block) -> None:
        for user, payments in block.fundings.items():
            self._add("userFundings", _user_fundings, user, payments, user=user)
            for payment in payments:
                self._add("userEvents", _funding_event, payment, user=user)
        for user, updates in block.ledger.items():
            self._add("userNonFundingLedgerUpdates", _ledger_updates, user, updates, user=user)

    def _add(
        self,
        kind: str,
        make: Callable[..., object],
        *args: object,
        user: str | None = None,
        coin: str | None = None,
        dex: str = "",
    ) -> None:
        self._queue.append(StreamMessage(kind, make, *args, user=user, coin=coin, dex=dex))

    def drain(self) -> list[StreamMessage]:
        """Events since the last drain in block order, then the states that changed, each once."""
        self._queue_account_states()
        self._queue_market_states()
        queue, self._queue = self._queue, []
        return queue

    def _queue_account_states(self) -> None:
        journal = self._state.journal
        for user in journal.open_orders:
            for dex in self._dexes(user):
                self._add("openOrders", self._open_orders, user, dex, user=user, dex=dex)
        for user in journal.accounts:
            for dex in self._dexes(user):
                self._add("clearinghouseState", self._clearinghouse, user, dex, user=user, dex=dex)
                self._add("twapStates", self._twap_states, user, dex, user=user, dex=dex)
            self._add("allDexsClearinghouseState", self._all_clearinghouses, user, user=user)
            self._add("spotState", self._spot_state, user, user=user)
            self._add("webData3", self._web_data, user, user=user)
        for user, coin in journal.leverage:
            market = self._state.universe.by_coin[coin]
            self._add("activeAssetData", self._reads.active_asset_data, user, market, user=user, coin=coin)
        journal.open_orders, journal.accounts, journal.leverage = {}, {}, {}

    def _queue_market_states(self) -> None:
        journal, universe = self._state.journal, self._state.universe
        for coin in journal.books:
            market = universe.by_coin[coin]
            self._add("l2Book", self._full_book, market, coin=coin)
            quote = encoders.bbo(market, self._state.now_ms)
            if self._sent_bbo.get(coin) != quote["bbo"]:
                self._sent_bbo[coin] = quote["bbo"]
                self._add("bbo", _as_is, quote, coin=coin)
        changed = {**journal.books, **journal.prices}
        for coin in changed:
            self._add("activeAssetCtx", self._context, universe.by_coin[coin], coin=coin)
        for coin in journal.candles:
            for interval in INTERVALS:
                self._add("candle", self._current_bar, universe.by_coin[coin], interval, coin=coin)
        dexes = dict.fromkeys(_dex_of(universe.by_coin[coin]) for coin in changed)
        for dex in dexes:
            self._add("allMids", self._all_mids, dex, dex=dex)
            self._add("assetCtxs", self._contexts, dex, dex=dex)
        if dexes:
            self._add("spotAssetCtxs", self._reads.spot_contexts)
            self._add("allDexsAssetCtxs", self._all_contexts)
        journal.books, journal.prices, journal.candles = {}, {}, {}

    def _full_book(self, market: Market) -> Json:
        return encoders.l2_book(market, self._state.now_ms)

    def _current_bar(self, market: Market, interval: str) -> Json | None:
        return market.tape.current_bar(interval, self._state.now_ms)

    # -- first frames -------------------------------------------------------------------------------------

    def snapshot(self, subscription: object) -> list[Json]:
        """The frames that follow a subscription. Raises Unprocessable if there is no such type (7.2)."""
        body = as_object(subscription)
        make = self._snapshots.get(text_member(body, "type"))
        if make is None:
            raise Unprocessable
        return [{"channel": channel, "data": data} for channel, data in make(body)]

    def _market(self, subscription: Json) -> Market:
        market = self._state.universe.by_coin.get(text_member(subscription, "coin"))
        if market is None:
            raise Unprocessable
        return market

    def _dex(self, subscription: Json) -> str:
        dex = optional_text(subscription, "dex")
        if dex not in self._state.universe.perps_by_dex:
            raise Unprocessable
        return dex

    def _dexes(self, user: str) -> list[str]:
        account = self._state.account(user)
        return [""] if account is None else list(account.wallets)

    def _nothing(self, subscription: Json) -> list[tuple[str, object]]:
        _user(subscription)
        return []

    def _book_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        self._market(subscription)
        depth = FAST_DEPTH if optional_flag(subscription, "fast") else encoders.LEVELS_PER_SIDE
        return [("l2Book", self._reads.l2_book(subscription, depth=depth))]

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
        return [(channel_of("activeAssetCtx", market.coin), self._context(market))]

    def _order_updates_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        account = self._account(subscription)
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

    def _account(self, subscription: Json) -> Account | None:
        return self._state.account(_user(subscription))

    def _fills_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        merge = optional_flag(subscription, "aggregateByTime")
        fills = self._reads.newest_fills(self._account(subscription), merge=merge)
        return [("userFills", {"isSnapshot": True, "user": _user(subscription), "fills": fills})]

    def _fundings_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        account = self._account(subscription)
        payments = [] if account is None else account.fundings[-FUNDINGS_IN_SNAPSHOT:]
        rows = [encoders.funding_event(payment, with_samples=True) for payment in reversed(payments)]
        return [("userFundings", {"isSnapshot": True, "user": _user(subscription), "fundings": rows})]

    def _ledger_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        account = self._account(subscription)
        updates = [] if account is None else account.ledger[-FUNDINGS_IN_SNAPSHOT:]
        data = {
            "isSnapshot": True,
            "user": _user(subscription),
            "nonFundingLedgerUpdates": [update.encode() for update in reversed(updates)],
        }
        return [("userNonFundingLedgerUpdates", data)]

    def _twap_fills_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        account = self._account(subscription)
        rows = [] if account is None else self._reads.twap_slice_fills(account)
        data = {"isSnapshot": True, "user": _user(subscription), "twapSliceFills": rows}
        return [("userTwapSliceFills", data)]

    def _twap_history_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        account = self._account(subscription)
        rows = [] if account is None else self._twaps.history(account)
        return [("userTwapHistory", {"isSnapshot": True, "user": _user(subscription), "history": rows})]

    def _history_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        data = {
            "isSnapshot": True,
            "user": _user(subscription),
            "orderHistory": self._reads.historical_orders(self._account(subscription)),
        }
        return [("userHistoricalOrders", data)]

    def _asset_data_snapshot(self, subscription: Json) -> list[tuple[str, object]]:
        market = self._market(subscription)
        if not isinstance(market, PerpMarket):
            raise Unprocessable
        return [("activeAssetData", self._reads.active_asset_data(_user(subscription), market))]

    # -- states -------------------------------------------------------------------------------------------

    def _all_mids(self, dex: str) -> Json:
        mids: Json = {"mids": self._reads.all_mids(dex)}
        return {**mids, "dex": dex} if dex else mids

    def _context(self, market: Market) -> Json:
        if isinstance(market, PerpMarket):
            context = self._reads.perp_context(market, self._state.now_ms)
        else:
            assert isinstance(market, SpotMarket)
            context = self._reads.spot_context(market)
        return {"coin": market.coin, "ctx": context}

    def _contexts(self, dex: str) -> Json:
        return {"dex": dex, "ctxs": self._reads.perp_contexts(dex)}

    def _all_contexts(self) -> Json:
        return {"ctxs": [[dex, self._reads.perp_contexts(dex)] for dex in self._state.universe.perps_by_dex]}

    def _clearinghouse(self, user: str, dex: str) -> Json:
        state = self._reads.clearinghouse_state(self._state.account(user), dex)
        return {"dex": dex, "user": user, "clearinghouseState": state}

    def _all_clearinghouses(self, user: str) -> Json:
        account = self._state.account(user)
        states = [[dex, self._reads.clearinghouse_state(account, dex)] for dex in self._dexes(user)]
        return {"user": user, "clearinghouseStates": states}

    def _open_orders(self, user: str, dex: str) -> Json:
        orders = self._reads.frontend_open_orders(self._state.account(user), dex)
        return {"dex": dex, "user": user, "orders": orders}

    def _spot_state(self, user: str) -> Json:
        return {"user": user, "spotState": self._reads.spot_state(user)}

    def _twap_states(self, user: str, dex: str) -> Json:
        account = self._state.account(user)
        twaps = [] if account is None else self._twaps.running(account)
        states = [[twap.twap_id, twap.encode()] for twap in twaps if twap.market.dex == dex]
        return {"dex": dex, "user": user, "states": states}

    def _web_data(self, user: str) -> Json:
        """The account summary that the web client shows; trading state has subscriptions of its own."""
        account = self._state.account(user)
        agent = None if account is None else account.agents.get(None)
        return {
            "userState": {
                "abstraction": self._state.options.abstraction if account is None else account.abstraction,
                "agentAddress": None if agent is None else agent.address,
                "agentValidUntil": None if agent is None else agent.valid_until_ms,
                "cumLedger": encoders.usd(account.net_deposits) if account is not None else "0.0",
                "serverTime": self._state.now_ms,
                "isVault": account is not None and account.vault is not None,
                "user": user,
            },
            "perpDexStates": [
                {"totalVaultEquity": "0.0", "perpsAtOpenInterestCap": self._reads.capped(dex)}
                for dex in self._state.universe.perps_by_dex
            ],
        }


def _user(subscription: Json) -> str:
    return address_member(subscription, "user")


def _dex_of(market: Market) -> str:
    return market.dex if isinstance(market, PerpMarket) else ""


def _each(encode: Callable[[Any], Json], rows: Iterable[object]) -> list[Json]:
    return [encode(row) for row in rows]


def _as_is(data: object) -> object:
    return data


def _order_history(user: str, rows: list[StatusRow]) -> Json:
    return {"user": user, "orderHistory": _each(encoders.history_row, rows)}


def _non_user_cancel(cancelled: list[tuple[str, int]]) -> Json:
    return {"nonUserCancel": [{"coin": coin, "oid": oid} for coin, oid in cancelled]}


def _user_fills(user: str, fills: list[Fill]) -> Json:
    return {"user": user, "fills": _each(Fill.encode, fills)}


def _fills_event(fills: list[Fill]) -> Json:
    return {"fills": _each(Fill.encode, fills)}


def _user_fundings(user: str, payments: list[FundingPayment]) -> Json:
    rows = [encoders.funding_event(payment, with_samples=True) for payment in payments]
    return {"user": user, "fundings": rows}


def _funding_event(payment: FundingPayment) -> Json:
    """One object, not an array (sheet 7.3)."""
    return {"funding": encoders.funding_event(payment, with_samples=False)}


def _ledger_updates(user: str, updates: list[LedgerUpdate]) -> Json:
    return {"user": user, "nonFundingLedgerUpdates": _each(LedgerUpdate.encode, updates)}
