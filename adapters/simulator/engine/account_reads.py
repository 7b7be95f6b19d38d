"""Reads about accounts: balances, positions, money, fees, limits, roles (sheet 5.6 to 5.9)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from . import encoders, fees, margin
from .accounts import USDC_INDEX, Account, VaultShares
from .agents import Agents
from .encoders import Json
from .errors import Unprocessable
from .lookup import Lookup, slice_by_time
from .markets import PerpMarket
from .numbers import ZERO, read_text
from .options import MAKER_REBATES, FeeTier
from .parsing import address_member as address
from .parsing import count_member, optional_count
from .portfolio import Portfolio
from .state import DAY_MS, VenueState

ROWS_PER_READ = 500


class AccountReads:
    def __init__(self, state: VenueState, lookup: Lookup, agents: Agents, portfolio: Portfolio) -> None:
        self._state = state
        self._lookup = lookup
        self._agents = agents
        self._portfolio = portfolio
        self.handlers: dict[str, Callable[[Json], object]] = {
            "clearinghouseState": self._clearinghouse_state,
            "spotClearinghouseState": lambda request: self.spot_state(address(request, "user")),
            "activeAssetData": self._active_asset_data,
            "userFunding": self._user_funding,
            "userNonFundingLedgerUpdates": self._ledger_updates,
            "userFees": self._user_fees,
            "userRateLimit": self._user_rate_limit,
            "userRole": self._user_role,
            "extraAgents": self._extra_agents,
            "subAccounts": self._sub_accounts,
            "maxBuilderFee": self._max_builder_fee,
            "userAbstraction": self._user_abstraction,
            "userVaultEquities": self._vault_equities,
            "vaultDetails": self._vault_details,
            "portfolio": lambda request: self._portfolio.read(self._lookup.account(request)),
            "referral": self._referral,
        }

    def _clearinghouse_state(self, request: Json) -> object:
        return self.clearinghouse_state(self._lookup.account(request), self._lookup.dex(request))

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
        market = self._lookup.market(request)
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

    def _user_funding(self, request: Json) -> object:
        account = self._lookup.account(request)
        start, end = count_member(request, "startTime"), optional_count(request, "endTime")
        if account is None:
            return []
        rows = slice_by_time(account.fundings, start, end, lambda row: row.time)
        return [encoders.funding_row(row) for row in rows[:ROWS_PER_READ]]

    def _ledger_updates(self, request: Json) -> object:
        account = self._lookup.account(request)
        start, end = count_member(request, "startTime"), optional_count(request, "endTime")
        if account is None:
            return []
        rows = slice_by_time(account.ledger, start, end, lambda row: row.time)
        return [row.encode() for row in rows[:ROWS_PER_READ]]

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
        account = self._lookup.account(request)
        if account is None:
            return []
        return [
            {"name": agent.name, "address": agent.address, "validUntil": agent.valid_until_ms}
            for agent in account.agents.values()
            if agent.name is not None and not self._agents.is_expired(agent)
        ]

    def _sub_accounts(self, request: Json) -> object:
        account = self._lookup.account(request)
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
        account = self._lookup.account(request)
        builder = address(request, "builder")
        return 0 if account is None else account.builder_fees.get(builder, 0)

    def _user_abstraction(self, request: Json) -> object:
        account = self._lookup.account(request)
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

    def _referral(self, request: Json) -> object:
        account = self._lookup.account(request)
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
