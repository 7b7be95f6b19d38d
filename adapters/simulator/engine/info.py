"""Reads: every request type of `/info` (sheet 5). Unknown accounts read as empty, never as an error."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from . import encoders, fees, margin
from .accounts import USDC_INDEX, Account, VaultShares
from .agents import Agents
from .candles import INTERVALS
from .encoders import Json
from .errors import Unprocessable
from .fills import PAGE, aggregated
from .funding import Funding
from .markets import Market, PerpMarket, SpotMarket
from .numbers import ZERO, read_text
from .options import MAKER_REBATES, FeeTier
from .parsing import address_member as address
from .parsing import (
    as_object,
    as_oid_or_cloid,
    count_member,
    member,
    optional_count,
    optional_flag,
    optional_text,
    text_member,
)
from .portfolio import Portfolio
from .state import DAY_MS, VenueState

if TYPE_CHECKING:
    from .twap import TwapDesk

Row = TypeVar("Row")

ROWS_PER_READ = 500
RECENT_TRADES_SHOWN = 10
PREDICTION_VENUES = ("BinPerp", "HlPerp", "BybitPerp")


class Reads:
    """Answers `/info` requests from the venue's state; changes nothing."""

    def __init__(
        self, state: VenueState, funding: Funding, agents: Agents, twaps: TwapDesk, portfolio: Portfolio
    ) -> None:
        self._state = state
        self._funding = funding
        self._agents = agents
        self._twaps = twaps
        self._portfolio = portfolio
        self._handlers: dict[str, Callable[[Json], object]] = {
            "meta": self._meta,
            "metaAndAssetCtxs": self._meta_and_contexts,
            "allPerpMetas": self._all_perp_metas,
            "perpDexs": self._perp_dexs,
            "spotMeta": lambda _: self.spot_meta(),
            "spotMetaAndAssetCtxs": lambda _: [self.spot_meta(), self.spot_contexts()],
            "allMids": lambda request: self.all_mids(self._dex(request)),
            "l2Book": self._l2_book,
            "recentTrades": self._recent_trades,
            "candleSnapshot": self._candle_snapshot,
            "exchangeStatus": lambda _: {"time": self._state.now_ms, "specialStatuses": None},
            "openOrders": self._open_orders,
            "frontendOpenOrders": self._frontend_open_orders,
            "orderStatus": self._order_status,
            "historicalOrders": self._historical_orders,
            "userFills": self._user_fills,
            "userFillsByTime": self._user_fills_by_time,
            "userTwapSliceFills": self._twap_slice_fills,
            "userTwapSliceFillsByTime": self._twap_slice_fills_by_time,
            "twapHistory": self._twap_history,
            "clearinghouseState": self._clearinghouse_state,
            "spotClearinghouseState": lambda request: self.spot_state(address(request, "user")),
            "userFunding": self._user_funding,
            "fundingHistory": self._funding_history,
            "predictedFundings": lambda _: self._predicted_fundings(),
            "userFees": self._user_fees,
            "userNonFundingLedgerUpdates": self._ledger_updates,
            "userRateLimit": self._user_rate_limit,
            "userRole": self._user_role,
            "extraAgents": self._extra_agents,
            "subAccounts": self._sub_accounts,
            "activeAssetData": self._active_asset_data,
            "maxBuilderFee": self._max_builder_fee,
            "userAbstraction": self._user_abstraction,
            "userVaultEquities": self._vault_equities,
            "vaultDetails": self._vault_details,
            "perpsAtOpenInterestCap": lambda request: self.capped(self._dex(request)),
            "portfolio": lambda request: self._portfolio.read(self._account(request)),
            "referral": self._referral,
        }

    def answer(self, request: object) -> object:
        """The JSON answer. Raises Unprocessable for an unknown type or a missing or mistyped member."""
        body = as_object(request)
        handler = self._handlers.get(text_member(body, "type"))
        if handler is None:
            raise Unprocessable
        return handler(body)

    # -- members of requests ------------------------------------------------------------------------------

    def _account(self, request: Json) -> Account | None:
        return self._state.account(address(request, "user"))

    def _dex(self, request: Json) -> str:
        dex = optional_text(request, "dex")
        if dex not in self._state.universe.perps_by_dex:
            raise Unprocessable
        return dex

    def _market(self, request: Json) -> Market | None:
        return self._state.universe.by_coin.get(text_member(request, "coin"))

    # -- markets (5.1) ------------------------------------------------------------------------------------

    def _meta(self, request: Json) -> Json:
        return self.meta(self._dex(request))

    def meta(self, dex: str) -> Json:
        markets = self._state.universe.perps_by_dex[dex]
        universe = []
        used_tables: dict[int, None] = {}
        for market in markets:
            spec = market.spec
            table = spec.max_leverage if spec.margin_table_id is None else spec.margin_table_id
            used_tables[table] = None
            row: Json = {
                "szDecimals": spec.sz_decimals,
                "name": market.coin,
                "maxLeverage": spec.max_leverage,
                "marginTableId": table,
            }
            if spec.only_isolated:
                row["onlyIsolated"] = True
                row["marginMode"] = "strictIsolated"
            if spec.is_delisted:
                row["isDelisted"] = True
            universe.append(row)
        return {
            "universe": universe,
            "marginTables": [
                [
                    number,
                    {
                        "description": table.description,
                        "marginTiers": [
                            {"lowerBound": read_text(tier.lower_bound), "maxLeverage": tier.max_leverage}
                            for tier in table.tiers
                        ],
                    },
                ]
                for number, table in self._state.options.margin_tables.items()
                if number in used_tables
            ],
            "collateralToken": USDC_INDEX,
        }

    def perp_contexts(self, dex: str) -> list[Json]:
        now = self._state.now_ms
        return [self.perp_context(market, now) for market in self._state.universe.perps_by_dex[dex]]

    def perp_context(self, market: PerpMarket, now_ms: int) -> Json:
        return encoders.perp_context(market, self._funding.current_rate(market), now_ms)

    def _meta_and_contexts(self, request: Json) -> object:
        dex = self._dex(request)
        return [self.meta(dex), self.perp_contexts(dex)]

    def _all_perp_metas(self, _: Json) -> object:
        return [self.meta(dex) for dex in self._state.universe.perps_by_dex]

    def _perp_dexs(self, _: Json) -> object:
        rows: list[Json | None] = [None]
        rows += [
            {
                "name": dex.name,
                "fullName": dex.full_name,
                "deployer": dex.deployer,
                "oracleUpdater": None,
                "feeRecipient": dex.deployer,
                "assetToStreamingOiCap": [],
            }
            for dex in self._state.universe.dexes
        ]
        return rows

    def spot_meta(self) -> Json:
        universe = self._state.universe
        return {
            "universe": [
                {
                    "tokens": [market.base.index, market.quote.index],
                    "name": market.coin,
                    "index": market.spec.index,
                    "isCanonical": market.spec.name is not None,
                }
                for market in universe.spot_markets
            ],
            "tokens": [
                {
                    "name": token.name,
                    "szDecimals": token.sz_decimals,
                    "weiDecimals": token.wei_decimals,
                    "index": token.index,
                    "tokenId": token.token_id,
                    "isCanonical": token.index <= 1,
                    "evmContract": None,
                    "fullName": token.full_name,
                }
                for token in universe.tokens.values()
            ],
        }

    def spot_context(self, market: SpotMarket) -> Json:
        supply = sum(
            (
                balance.total
                for account in self._state.accounts.values()
                if (balance := account.spot.get(market.base.index)) is not None
            ),
            ZERO,
        )
        return encoders.spot_context(market, supply, self._state.now_ms)

    def spot_contexts(self) -> list[Json]:
        return [self.spot_context(market) for market in self._state.universe.spot_markets]

    def all_mids(self, dex: str) -> dict[str, str]:
        """Spot mids come with the first dex only (sheet 1.2). Delisted perps have none."""
        universe = self._state.universe
        markets: list[Market] = [m for m in universe.perps_by_dex[dex] if not m.is_halted]
        if not dex:
            markets += universe.spot_markets
        return {market.coin: read_text(market.mid_or_last) for market in markets}

    def _l2_book(self, request: Json) -> object:
        return self.l2_book(request)

    def l2_book(self, request: Json, *, depth: int = encoders.LEVELS_PER_SIDE) -> object:
        """Also serves subscriptions: their objects have the same members."""
        market = self._market(request)
        figures = optional_count(request, "nSigFigs")
        mantissa = optional_count(request, "mantissa")
        if figures is not None and not 2 <= figures <= 5:
            raise Unprocessable
        if mantissa is not None and (figures != 5 or mantissa not in (1, 2, 5)):
            raise Unprocessable
        if market is None:
            return None
        return encoders.l2_book(market, self._state.now_ms, figures=figures, mantissa=mantissa, depth=depth)

    def _recent_trades(self, request: Json) -> object:
        market = self._market(request)
        return [] if market is None else self.recent_trades(market)

    def recent_trades(self, market: Market) -> list[Json]:
        """Newest first."""
        return [trade.encode() for trade in islice(reversed(market.tape.recent), RECENT_TRADES_SHOWN)]

    def _candle_snapshot(self, request: Json) -> object:
        spec = as_object(member(request, "req"))
        market = self._market(spec)
        interval = text_member(spec, "interval")
        if interval not in INTERVALS:
            raise Unprocessable
        start = count_member(spec, "startTime")
        end = optional_count(spec, "endTime")
        if market is None:
            return []
        return market.tape.bars(interval, start, self._state.now_ms if end is None else end)

    # -- orders (5.2 to 5.4) ------------------------------------------------------------------------------

    def _open_orders(self, request: Json) -> object:
        account, dex = self._account(request), self._dex(request)
        if account is None:
            return []
        return [
            encoders.open_order(order)
            for order in reversed(account.live_orders.values())
            if _belongs(order.market, dex)
        ]

    def _frontend_open_orders(self, request: Json) -> object:
        return self.frontend_open_orders(self._account(request), self._dex(request))

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
        account = self._account(request)
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
        return self.historical_orders(self._account(request))

    def historical_orders(self, account: Account | None) -> list[Json]:
        return [] if account is None else [encoders.history_row(row) for row in reversed(account.history)]

    # -- fills (5.5) --------------------------------------------------------------------------------------

    def _user_fills(self, request: Json) -> object:
        merge = optional_flag(request, "aggregateByTime")
        account = self._account(request)
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
        account = self._account(request)
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
        account = self._account(request)
        return [] if account is None else self.twap_slice_fills(account)

    def twap_slice_fills(self, account: Account) -> list[Json]:
        rows = [fill for fill in account.fills.newest() if fill.twap_id is not None]
        return [{"fill": fill.encode(), "twapId": fill.twap_id} for fill in reversed(rows)]

    def _twap_slice_fills_by_time(self, request: Json) -> object:
        account = self._account(request)
        start, end = count_member(request, "startTime"), optional_count(request, "endTime")
        if account is None:
            return []
        rows = [fill for fill in account.fills.between(start, end) if fill.twap_id is not None]
        return [{"fill": fill.encode(), "twapId": fill.twap_id} for fill in rows[:PAGE]]

    def _twap_history(self, request: Json) -> object:
        account = self._account(request)
        return [] if account is None else self._twaps.history(account)

    # -- balances and positions (5.6, 5.7) ----------------------------------------------------------------

    def _clearinghouse_state(self, request: Json) -> object:
        return self.clearinghouse_state(self._account(request), self._dex(request))

    def clearinghouse_state(self, account: Account | None, dex: str) -> Json:
        return encoders.clearinghouse_state(account, dex, self._state.now_ms)

    def spot_state(self, user: str) -> Json:
        """In unified mode USDC carries the perps' equity, and on hold their margin (sheet 5.6)."""
        account = self._state.account(user)
        if account is None:
            return {"balances": []}
        rows = []
        if account.is_unified:
            account.balance(USDC_INDEX)
        for index, balance in account.spot.items():
            total, hold = balance.total, balance.hold
            if index == USDC_INDEX and account.is_unified:
                for wallet in account.wallets.values():
                    total += margin.account_value(wallet)
                    hold += margin.total_margin_used(wallet)
            if not total and not hold:
                continue
            rows.append(
                {
                    "coin": self._state.universe.tokens[index].name,
                    "token": index,
                    "total": read_text(total),
                    "hold": read_text(hold),
                    "entryNtl": read_text(balance.entry_ntl),
                }
            )
        return {"balances": rows}

    def active_asset_data(self, user: str, market: PerpMarket) -> Json:
        account = self._state.account(user) or self._empty_account(user)
        setting = account.leverage_for(market)
        position = account.position(market)
        if position is not None:
            leverage = encoders.leverage(position)
        elif setting.is_cross:
            leverage = {"type": "cross", "value": setting.value}
        else:
            leverage = {"type": "isolated", "value": setting.value, "rawUsd": "0.0"}
        sizes, available = margin.max_trade_sizes(account, market)
        return {
            "user": user,
            "coin": market.coin,
            "leverage": leverage,
            "maxTradeSzs": [read_text(size) for size in sizes],
            "availableToTrade": [encoders.usd(amount) for amount in available],
            "markPx": read_text(market.mark_px),
        }

    def _active_asset_data(self, request: Json) -> object:
        market = self._market(request)
        if not isinstance(market, PerpMarket):
            raise Unprocessable
        return self.active_asset_data(address(request, "user"), market)

    def _empty_account(self, user: str) -> Account:
        options = self._state.options
        return Account(
            user,
            fills_kept=1,
            abstraction=options.abstraction,
            default_leverage=options.default_leverage,
        )

    # -- funding and fees (5.8) ---------------------------------------------------------------------------

    def _user_funding(self, request: Json) -> object:
        account = self._account(request)
        start, end = count_member(request, "startTime"), optional_count(request, "endTime")
        if account is None:
            return []
        rows = _slice_by_time(account.fundings, start, end, lambda row: row.time)
        return [encoders.funding_row(row) for row in rows[:ROWS_PER_READ]]

    def _funding_history(self, request: Json) -> object:
        market = self._market(request)
        start, end = count_member(request, "startTime"), optional_count(request, "endTime")
        if not isinstance(market, PerpMarket):
            return []
        rows = _slice_by_time(market.funding_history, start, end, lambda row: row[0])
        return [
            {
                "coin": market.coin,
                "fundingRate": read_text(rate),
                "premium": read_text(premium),
                "time": time,
            }
            for time, rate, premium in rows[:ROWS_PER_READ]
        ]

    def _predicted_fundings(self) -> object:
        """Other venues' rates are not known here: null, as the venue answers for coins they do not list."""
        due = self._funding.next_settlement_ms()
        rows: list[Any] = []
        for market in self._state.universe.perps_by_dex[""]:
            if market.is_halted:
                continue
            own = {
                "fundingRate": read_text(self._funding.current_rate(market)),
                "nextFundingTime": due,
                "fundingIntervalHours": 1,
            }
            rows.append(
                [market.coin, [[name, own if name == "HlPerp" else None] for name in PREDICTION_VENUES]]
            )
        return rows

    def _user_fees(self, request: Json) -> object:
        user = address(request, "user")
        account = self._state.account(user) or self._empty_account(user)
        options, today = self._state.options, self._state.day
        rates = fees.rates_of(account, options, today)
        base = options.fee_tiers[0].rates
        daily = []
        for day in range(today - 14, today + 1):
            volume = account.daily_volume.get(day)
            daily.append(
                {
                    "date": _date_text(day),
                    "userCross": read_text(ZERO if volume is None else volume.cross),
                    "userAdd": read_text(ZERO if volume is None else volume.add),
                    "exchange": read_text(self._exchange_volume(day)),
                }
            )
        return {
            "dailyUserVlm": daily,
            "feeSchedule": {
                "cross": read_text(base.cross),
                "add": read_text(base.add),
                "spotCross": read_text(base.spot_cross),
                "spotAdd": read_text(base.spot_add),
                "tiers": {
                    "vip": [_vip_tier(tier) for tier in options.fee_tiers[1:]],
                    "mm": [
                        {"makerFractionCutoff": read_text(share), "add": read_text(rate)}
                        for share, rate in MAKER_REBATES
                    ],
                },
                "referralDiscount": "0.04",
                "stakingDiscountTiers": [{"bpsOfMaxSupply": "0.0", "discount": "0.0"}],
            },
            "userCrossRate": read_text(rates.cross),
            "userAddRate": read_text(rates.add),
            "userSpotCrossRate": read_text(rates.spot_cross),
            "userSpotAddRate": read_text(rates.spot_add),
            "activeReferralDiscount": "0.0",
            "trial": None,
            "feeTrialEscrow": "0.0",
            "nextTrialAvailableTimestamp": None,
            "stakingLink": None,
            "activeStakingDiscount": {"bpsOfMaxSupply": "0.0", "discount": "0.0"},
        }

    def _exchange_volume(self, day: int) -> Decimal:
        # Every trade counts once as taker volume, whoever made it.
        return sum(
            (
                volume.cross
                for account in self._state.accounts.values()
                if (volume := account.daily_volume.get(day)) is not None
            ),
            ZERO,
        )

    def _ledger_updates(self, request: Json) -> object:
        account = self._account(request)
        start, end = count_member(request, "startTime"), optional_count(request, "endTime")
        if account is None:
            return []
        rows = _slice_by_time(account.ledger, start, end, lambda row: row.time)
        return [row.encode() for row in rows[:ROWS_PER_READ]]

    # -- account meta (5.9) -------------------------------------------------------------------------------

    def _user_rate_limit(self, request: Json) -> object:
        user = address(request, "user")
        account = self._state.account(user) or self._empty_account(user)
        base = self._state.options.address_budget
        cap = (0 if base is None else base) + int(account.volume) + account.requests_bought
        return {
            "cumVlm": read_text(account.volume),
            "nRequestsUsed": account.requests_used,
            "nRequestsCap": cap,
            "nRequestsSurplus": max(0, account.requests_bought - account.requests_used),
        }

    def _user_role(self, request: Json) -> object:
        user = address(request, "user")
        account = self._state.account(user)
        if account is not None:
            if account.vault is not None:
                return {"role": "vault"}
            if account.master is not None:
                return {"role": "subAccount", "data": {"master": account.master}}
            return {"role": "user"}
        master = self._agents.master_of(user)
        if master is not None:
            return {"role": "agent", "data": {"user": master}}
        return {"role": "missing"}

    def _extra_agents(self, request: Json) -> object:
        account = self._account(request)
        if account is None:
            return []
        return [
            {"name": agent.name, "address": agent.address, "validUntil": agent.valid_until_ms}
            for agent in account.agents.values()
            if agent.name is not None and not self._agents.is_expired(agent)
        ]

    def _sub_accounts(self, request: Json) -> object:
        account = self._account(request)
        if account is None or not account.sub_accounts:
            return None
        return [
            {
                "name": self._state.accounts[sub].name,
                "subAccountUser": sub,
                "master": account.address,
                "clearinghouseState": self.clearinghouse_state(self._state.accounts[sub], ""),
                "spotState": self.spot_state(sub),
            }
            for sub in account.sub_accounts
        ]

    def _max_builder_fee(self, request: Json) -> object:
        account = self._account(request)
        builder = address(request, "builder")
        return 0 if account is None else account.builder_fees.get(builder, 0)

    def _user_abstraction(self, request: Json) -> object:
        account = self._account(request)
        return self._state.options.abstraction if account is None else account.abstraction

    def _vault_equities(self, request: Json) -> object:
        user = address(request, "user")
        rows = []
        for account in self._state.accounts.values():
            if account.vault is not None and account.vault.shares.get(user):
                equity = _equities(account, account.vault)[user]
                rows.append({"vaultAddress": account.address, "equity": encoders.usd(equity)})
        return rows

    def _vault_details(self, request: Json) -> object:
        vault = self._state.account(address(request, "vaultAddress"))
        if vault is None or vault.vault is None:
            return None
        return {
            "name": vault.vault.name,
            "vaultAddress": vault.address,
            "leader": vault.vault.leader,
            "portfolio": self._portfolio.read(vault),
            "followers": [
                {"user": user, "vaultEquity": encoders.usd(equity)}
                for user, equity in _equities(vault, vault.vault).items()
            ],
        }

    def capped(self, dex: str) -> list[str]:
        """Coins whose open interest has reached its cap."""
        return [
            market.coin
            for market in self._state.universe.perps_by_dex[dex]
            if market.spec.open_interest_cap is not None
            and market.open_interest * market.mark_px >= market.spec.open_interest_cap
        ]

    def _referral(self, request: Json) -> object:
        account = self._account(request)
        code = None if account is None else account.referral_code
        return {
            "referredBy": None if code is None else {"referrer": None, "code": code},
            "cumVlm": read_text(ZERO if account is None else account.volume),
            "unclaimedRewards": "0.0",
            "claimedRewards": "0.0",
            "builderRewards": "0.0",
            "referrerState": {"stage": "needToTrade", "data": {"required": "10000.0"}},
            "rewardHistory": [],
            "tokenToState": [],
        }


def _equities(account: Account, vault: VaultShares) -> dict[str, Decimal]:
    """What each depositor's shares are worth in USD."""
    value, total = margin.account_value(account.wallet("")), vault.total
    return {user: value * shares / total for user, shares in vault.shares.items() if shares}


def _belongs(market: Market, dex: str) -> bool:
    """Spot orders are shown with the first dex (sheet 1.2)."""
    return market.dex == dex if isinstance(market, PerpMarket) else not dex


def _vip_tier(tier: FeeTier) -> Json:
    return {
        "ntlCutoff": read_text(tier.volume),
        "cross": read_text(tier.rates.cross),
        "add": read_text(tier.rates.add),
        "spotCross": read_text(tier.rates.spot_cross),
        "spotAdd": read_text(tier.rates.spot_add),
    }


def _date_text(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_MS / 1000, UTC).strftime("%Y-%m-%d")


def _slice_by_time(rows: list[Row], start: int, end: int | None, key: Callable[[Row], int]) -> list[Row]:
    """Rows with start <= time <= end from a list in time order."""
    first = bisect_left(rows, start, key=key)
    last = len(rows) if end is None else bisect_right(rows, end, key=key)
    return rows[first:last]
