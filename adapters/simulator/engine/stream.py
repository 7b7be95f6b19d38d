"""What is pushed: the events of each block and the states that changed (sheet 7.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import encoders
from .accounts import FundingPayment, LedgerUpdate
from .candles import INTERVALS, Trade
from .encoders import Json
from .fills import Fill
from .journal import Block
from .markets import Market, PerpMarket
from .numbers import arithmetic
from .orders import StatusRow
from .state import VenueState
from .views import Views


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
    def __init__(self, state: VenueState, views: Views) -> None:
        self._state = state
        self._views = views
        self._queue: list[StreamMessage] = []
        self._sent_bbo: dict[str, object] = {}

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
            for dex in self._views.dexes(user):
                self._add("openOrders", self._views.open_orders, user, dex, user=user, dex=dex)
        for user in journal.accounts:
            for dex in self._views.dexes(user):
                self._add("clearinghouseState", self._views.clearinghouse, user, dex, user=user, dex=dex)
                self._add("twapStates", self._views.twap_states, user, dex, user=user, dex=dex)
            self._add("allDexsClearinghouseState", self._views.all_clearinghouses, user, user=user)
            self._add("spotState", self._views.spot_state, user, user=user)
            self._add("webData3", self._views.web_data, user, user=user)
        for user, coin in journal.leverage:
            market = self._state.universe.by_coin[coin]
            self._add("activeAssetData", self._views.active_asset_data, user, market, user=user, coin=coin)
        journal.open_orders, journal.accounts, journal.leverage = {}, {}, {}

    def _queue_market_states(self) -> None:
        journal, universe = self._state.journal, self._state.universe
        for coin in journal.books:
            market = universe.by_coin[coin]
            self._add("l2Book", self._views.full_book, market, coin=coin)
            quote = encoders.bbo(market, self._state.now_ms)
            if self._sent_bbo.get(coin) != quote["bbo"]:
                self._sent_bbo[coin] = quote["bbo"]
                self._add("bbo", _as_is, quote, coin=coin)
        changed = {**journal.books, **journal.prices}
        for coin in changed:
            self._add("activeAssetCtx", self._views.context, universe.by_coin[coin], coin=coin)
        for coin in journal.candles:
            for interval in INTERVALS:
                self._add("candle", self._views.current_bar, universe.by_coin[coin], interval, coin=coin)
        dexes = dict.fromkeys(_dex_of(universe.by_coin[coin]) for coin in changed)
        for dex in dexes:
            self._add("allMids", self._views.all_mids, dex, dex=dex)
            self._add("assetCtxs", self._views.contexts, dex, dex=dex)
        if dexes:
            self._add("spotAssetCtxs", self._views.spot_contexts)
            self._add("allDexsAssetCtxs", self._views.all_contexts)
        journal.books, journal.prices, journal.candles = {}, {}, {}


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
