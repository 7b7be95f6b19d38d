"""Accounts: collateral, balances, leverage settings, agents, sub-accounts, and what each of them did."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from .fills import FillLog
from .markets import Market, PerpMarket
from .numbers import ZERO
from .options import FeeRates
from .orders import Order, StatusRow
from .positions import PerpWallet, Position

HISTORY_ROWS = 2000
DAY_MS = 86_400_000
ZERO_ADDRESS = "0x" + 40 * "0"
USDC_INDEX = 0


@dataclass(slots=True)
class SpotBalance:
    """`total` includes `hold`, which open orders tie up; `entry_ntl` is the cost basis (sheet 5.7)."""

    total: Decimal = ZERO
    hold: Decimal = ZERO
    entry_ntl: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class LeverageSetting:
    is_cross: bool
    value: int


@dataclass(frozen=True, slots=True)
class Agent:
    """An approved API wallet; `name` None for the unnamed one (sheet 3.5)."""

    address: str
    name: str | None
    valid_until_ms: int | None


@dataclass(slots=True)
class DailyVolume:
    """Notional in USD of one UTC day; `cross` as taker, `add` as maker."""

    cross: Decimal = ZERO
    add: Decimal = ZERO


@dataclass(slots=True)
class VaultShares:
    """Who owns a vault: shares by depositor."""

    leader: str
    name: str
    shares: dict[str, Decimal] = field(default_factory=dict)

    @property
    def total(self) -> Decimal:
        return sum(self.shares.values(), ZERO)


@dataclass(frozen=True, slots=True)
class FundingPayment:
    """A row of `userFunding`; `usdc` is the cash effect, negative when paid (sheet 5.8)."""

    time: int
    tx_hash: str
    coin: str
    usdc: Decimal
    szi: Decimal
    rate: Decimal


@dataclass(frozen=True, slots=True)
class LedgerUpdate:
    """A row of `userNonFundingLedgerUpdates`; `delta` is already in wire form (sheet 5.8)."""

    time: int
    tx_hash: str
    delta: dict[str, Any]

    def encode(self) -> dict[str, Any]:
        return {"time": self.time, "hash": self.tx_hash, "delta": self.delta}


class Account:
    """Everything the venue knows of one address. `is_venue_operated` lifts budgets and order-count limits."""

    def __init__(self, address: str, *, fills_kept: int, abstraction: str, default_leverage: int) -> None:
        self.address = address
        self.abstraction = abstraction
        self.default_leverage = default_leverage
        self.is_venue_operated = False
        self.wallets: dict[str, PerpWallet] = {"": PerpWallet("")}
        self.spot: dict[int, SpotBalance] = {}
        self.leverage: dict[str, LeverageSetting] = {}
        self.fee_rates: FeeRates | None = None

        self.master: str | None = None
        self.name: str | None = None
        self.sub_accounts: list[str] = []
        self.vault: VaultShares | None = None
        self.agents: dict[str | None, Agent] = {}
        self.agent_removal_until_ms = 0
        self.builder_fees: dict[str, int] = {}
        self.referral_code: str | None = None

        self.live_orders: dict[int, Order] = {}
        self.orders_by_cloid: dict[str, Order] = {}
        self.finished_orders: deque[Order] = deque()
        self.resting_reduce_only: dict[str, dict[int, Order]] = {}
        self.armed_reduce_only: dict[str, dict[int, Order]] = {}
        self.history: deque[StatusRow] = deque(maxlen=HISTORY_ROWS)

        self.fills = FillLog(fills_kept)
        self.fundings: list[FundingPayment] = []
        self.ledger: list[LedgerUpdate] = []
        self.net_deposits = ZERO
        self.volume = ZERO
        self.daily_volume: dict[int, DailyVolume] = {}
        self.requests_used = 0
        self.requests_bought = 0
        self.last_over_budget_ms: int | None = None

        self.scheduled_cancel: int | None = None
        self.scheduled_cancel_firings: tuple[int, int] = (0, 0)
        """(UTC day, how often the dead man's switch fired on it)."""

    @property
    def is_unified(self) -> bool:
        """Collateral of perps sits in the spot USDC balance (sheet 5.6)."""
        return self.abstraction in ("unifiedAccount", "portfolioMargin")

    @property
    def is_pooled(self) -> bool:
        """The perps of all dexes share one collateral: spot USDC if unified, else that of the first dex."""
        return self.is_unified or self.abstraction == "dexAbstraction"

    def wallet(self, dex: str) -> PerpWallet:
        wallet = self.wallets.get(dex)
        if wallet is None:
            wallet = self.wallets[dex] = PerpWallet(dex)
        return wallet

    def balance(self, token: int) -> SpotBalance:
        balance = self.spot.get(token)
        if balance is None:
            balance = self.spot[token] = SpotBalance()
        return balance

    def position(self, market: PerpMarket) -> Position | None:
        """The open position, None when flat."""
        wallet = self.wallets.get(market.dex)
        return None if wallet is None else wallet.positions.get(market.coin)

    def position_size(self, market: PerpMarket) -> Decimal:
        position = self.position(market)
        return ZERO if position is None else position.szi

    def leverage_for(self, market: PerpMarket) -> LeverageSetting:
        """What was set for the market, or the default: cross, unless the market is isolated only."""
        setting = self.leverage.get(market.coin)
        if setting is None:
            value = min(self.default_leverage, market.max_leverage)
            setting = LeverageSetting(not market.spec.only_isolated, value)
        return setting

    def add_volume(self, market: Market, notional: Decimal, day: int, *, crossed: bool) -> None:
        """Counts a fill towards lifetime volume and the fee tier, there spot twice (sheet 10.4)."""
        self.volume += notional
        weight = 1 if isinstance(market, PerpMarket) else 2
        daily = self.daily_volume.setdefault(day, DailyVolume())
        if crossed:
            daily.cross += weight * notional
        else:
            daily.add += weight * notional

    def volume_of_14_days(self, day: int) -> Decimal:
        """Weighted volume of the 14 UTC days before `day`."""
        return sum(
            (v.cross + v.add for d in range(day - 14, day) if (v := self.daily_volume.get(d)) is not None),
            ZERO,
        )
