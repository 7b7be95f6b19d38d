"""States as the stream shows them: the `data` members that first frames and later ones share (sheet 7.3)."""

from __future__ import annotations

from . import encoders
from .encoders import Json
from .info import Reads
from .markets import Market, PerpMarket, SpotMarket
from .state import VenueState
from .twap import TwapDesk


class Views:
    def __init__(self, state: VenueState, reads: Reads, twaps: TwapDesk) -> None:
        self._state = state
        self._reads = reads
        self._twaps = twaps

    def dexes(self, user: str) -> list[str]:
        account = self._state.account(user)
        return [""] if account is None else list(account.wallets)

    def full_book(self, market: Market) -> Json:
        return encoders.l2_book(market, self._state.now_ms)

    def current_bar(self, market: Market, interval: str) -> Json | None:
        return market.tape.current_bar(interval, self._state.now_ms)

    def all_mids(self, dex: str) -> Json:
        mids: Json = {"mids": self._reads.markets.all_mids(dex)}
        return {**mids, "dex": dex} if dex else mids

    def context(self, market: Market) -> Json:
        if isinstance(market, PerpMarket):
            context = self._reads.markets.perp_context(market, self._state.now_ms)
        else:
            assert isinstance(market, SpotMarket)
            context = self._reads.markets.spot_context(market)
        return {"coin": market.coin, "ctx": context}

    def contexts(self, dex: str) -> Json:
        return {"dex": dex, "ctxs": self._reads.markets.perp_contexts(dex)}

    def all_contexts(self) -> Json:
        return {
            "ctxs": [
                [dex, self._reads.markets.perp_contexts(dex)] for dex in self._state.universe.perps_by_dex
            ]
        }

    def clearinghouse(self, user: str, dex: str) -> Json:
        state = self._reads.accounts.clearinghouse_state(self._state.account(user), dex)
        return {"dex": dex, "user": user, "clearinghouseState": state}

    def all_clearinghouses(self, user: str) -> Json:
        account = self._state.account(user)
        states = [[dex, self._reads.accounts.clearinghouse_state(account, dex)] for dex in self.dexes(user)]
        return {"user": user, "clearinghouseStates": states}

    def open_orders(self, user: str, dex: str) -> Json:
        orders = self._reads.orders.frontend_open_orders(self._state.account(user), dex)
        return {"dex": dex, "user": user, "orders": orders}

    def spot_state(self, user: str) -> Json:
        return {"user": user, "spotState": self._reads.accounts.spot_state(user)}

    def twap_states(self, user: str, dex: str) -> Json:
        account = self._state.account(user)
        twaps = [] if account is None else self._twaps.running(account)
        states = [[twap.twap_id, twap.encode()] for twap in twaps if twap.market.dex == dex]
        return {"dex": dex, "user": user, "states": states}

    def web_data(self, user: str) -> Json:
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
                {"totalVaultEquity": "0.0", "perpsAtOpenInterestCap": self._reads.markets.capped(dex)}
                for dex in self._state.universe.perps_by_dex
            ],
        }

    def active_asset_data(self, user: str, market: PerpMarket) -> Json:
        return self._reads.accounts.active_asset_data(user, market)

    def spot_contexts(self) -> list[Json]:
        return self._reads.markets.spot_contexts()
