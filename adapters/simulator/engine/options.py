"""What can be configured: markets, fees, limits, and every point that the sheet marks [?]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Literal

BASE_FIRST_OID = 390_478_339_309
"""Above 2^32 on purpose: a client that keeps ids in 32 bits or in floats shows at once (sheet 1.1)."""


@dataclass(frozen=True, slots=True)
class PerpSpec:
    """One perpetual of a dex, in the order of `meta.universe` (sheet 5.1).

    `mark_px` is where mark and oracle start. `open_interest_cap` is in USD of one side, None for no cap.
    `impact_ntl` is the notional in USD of the impact prices that the premium is computed from.
    """

    name: str
    sz_decimals: int
    max_leverage: int
    mark_px: Decimal
    margin_table_id: int | None = None
    is_delisted: bool = False
    only_isolated: bool = False
    open_interest_cap: Decimal | None = None
    impact_ntl: Decimal = Decimal(6000)


@dataclass(frozen=True, slots=True)
class DexSpec:
    """A builder-deployed perp dex (HIP-3): coins `<name>:<perp>`, asset ids from 110000 (sheet 1.2)."""

    name: str
    full_name: str
    deployer: str
    perps: tuple[PerpSpec, ...]
    fee_multiplier: Decimal = Decimal(2)


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """A spot token; addressed by its `index` field (sheet 1.2)."""

    name: str
    index: int
    sz_decimals: int
    wei_decimals: int
    token_id: str
    full_name: str | None = None


@dataclass(frozen=True, slots=True)
class SpotPairSpec:
    """A spot pair: asset id `10000 + index`, coin `@<index>` unless it has a name of its own (sheet 1.2)."""

    index: int
    base: int
    quote: int
    mark_px: Decimal
    name: str | None = None

    @property
    def coin(self) -> str:
        return self.name if self.name is not None else f"@{self.index}"


@dataclass(frozen=True, slots=True)
class FeeRates:
    """Fractions of the notional: `cross` is the taker's, `add` the maker's; a negative one is a rebate."""

    cross: Decimal
    add: Decimal
    spot_cross: Decimal
    spot_add: Decimal


@dataclass(frozen=True, slots=True)
class FeeTier:
    """Rates that hold from a 14-day volume in USD on."""

    volume: Decimal
    rates: FeeRates


@dataclass(frozen=True, slots=True)
class MarginTier:
    """From this notional in USD on, leverage is limited to `max_leverage`."""

    lower_bound: Decimal
    max_leverage: int


@dataclass(frozen=True, slots=True)
class MarginTable:
    """A row of `meta.marginTables` (sheet 5.1)."""

    description: str
    tiers: tuple[MarginTier, ...]


def _rates(cross: str, add: str, spot_cross: str, spot_add: str) -> FeeRates:
    return FeeRates(Decimal(cross), Decimal(add), Decimal(spot_cross), Decimal(spot_add))


BASE_FEE_TIERS = (
    FeeTier(Decimal(0), _rates("0.00045", "0.00015", "0.0007", "0.0004")),
    FeeTier(Decimal(5_000_000), _rates("0.0004", "0.00012", "0.0006", "0.0003")),
    FeeTier(Decimal(25_000_000), _rates("0.00035", "0.00008", "0.0005", "0.0002")),
    FeeTier(Decimal(100_000_000), _rates("0.0003", "0.00004", "0.0004", "0.0001")),
    FeeTier(Decimal(500_000_000), _rates("0.00028", "0", "0.00035", "0")),
    FeeTier(Decimal(2_000_000_000), _rates("0.00026", "0", "0.0003", "0")),
    FeeTier(Decimal(7_000_000_000), _rates("0.00024", "0", "0.00025", "0")),
)
"""The base schedule of sheet 10.4."""

MAKER_REBATES = (
    (Decimal("0.005"), Decimal("-0.00001")),
    (Decimal("0.015"), Decimal("-0.00002")),
    (Decimal("0.03"), Decimal("-0.00003")),
)
"""Share of the maker volume and the rate it earns (sheet 10.4), as `userFees` lists them."""


def _tiered(description: str, *tiers: tuple[int, int]) -> MarginTable:
    return MarginTable(description, tuple(MarginTier(Decimal(bound), leverage) for bound, leverage in tiers))


MARGIN_TABLES: Mapping[int, MarginTable] = MappingProxyType(
    {
        53: _tiered("tiered 10x (3)", (0, 10), (3_000_000, 5)),
        54: _tiered("tiered 20x", (0, 20), (70_000_000, 10)),
        55: _tiered("tiered 25x", (0, 25), (100_000_000, 15)),
        56: _tiered("tiered 40x", (0, 40), (150_000_000, 20)),
    }
)
"""Ids below 50 that are not listed mean a single tier with that leverage (sheet 5.1)."""


def _perp(name: str, sz_decimals: int, max_leverage: int, mark_px: str, table: int | None = None) -> PerpSpec:
    return PerpSpec(name, sz_decimals, max_leverage, Decimal(mark_px), table)


_BTC = PerpSpec("BTC", 5, 40, Decimal(43210), 56, impact_ntl=Decimal(20000))
_ETH = PerpSpec("ETH", 4, 25, Decimal("2298.4"), 55, impact_ntl=Decimal(20000))
_SOL = _perp("SOL", 2, 20, "98.76", 54)
_MATIC = PerpSpec("MATIC", 1, 20, Decimal("0.3781"), 20, is_delisted=True)

MAINNET_PERPS = (
    _BTC,
    _ETH,
    _perp("ATOM", 2, 5, "9.338"),
    _MATIC,
    _perp("DYDX", 1, 5, "2.1131"),
    _SOL,
    _perp("AVAX", 2, 10, "36.42"),
    _perp("BNB", 3, 10, "306.75"),
    _perp("ARB", 1, 10, "1.1795"),
    _perp("DOGE", 0, 10, "0.07928"),
    _perp("SUI", 1, 10, "1.3189"),
    _perp("kPEPE", 0, 10, "0.001565"),
    _perp("LINK", 1, 10, "14.302"),
    PerpSpec("NTRN", 0, 3, Decimal("0.4512"), only_isolated=True),
    _perp("HYPE", 2, 10, "31.255", 53),
)
"""Ids as on mainnet for BTC 0, ETH 1, the delisted MATIC 3, SOL 5 (sheet 1.2)."""

TESTNET_PERPS = (
    _SOL,
    _perp("APT", 2, 10, "8.771"),
    MAINNET_PERPS[2],
    _BTC,
    _ETH,
    _MATIC,
    *MAINNET_PERPS[6:],
)
"""Ids as on testnet for SOL 0, BTC 3, ETH 4 (sheet 1.2)."""

USDC = TokenSpec("USDC", 0, 8, 8, "0x6d1e7cde53ba9467b783cb7c530ce054")

TOKENS = (
    USDC,
    TokenSpec("PURR", 1, 0, 5, "0xc1fb593aeffbeb02f85e0308e9956a90"),
    TokenSpec("HYPE", 150, 2, 8, "0x0d01dc56dcaaca66ad901c959b4011ec", "Hyperliquid"),
    TokenSpec("UBTC", 197, 5, 10, "0x8f254b963e8468305d409b33aa137c67", "Unit Bitcoin"),
)

SPOT_PAIRS = (
    SpotPairSpec(0, base=1, quote=0, mark_px=Decimal("0.18362"), name="PURR/USDC"),
    SpotPairSpec(107, base=150, quote=0, mark_px=Decimal("31.255")),
    SpotPairSpec(142, base=197, quote=0, mark_px=Decimal(43210)),
)

DEXES = (
    DexSpec(
        "xyz",
        "XYZ markets",
        "0x88806a71d74ad0a510b350545c9ae490912f0888",
        (
            PerpSpec("TSLA", 3, 10, Decimal("248.42"), only_isolated=True),
            PerpSpec("XYZ100", 4, 20, Decimal(24310), only_isolated=True),
        ),
    ),
)

PRE_VALIDATED = frozenset(
    {
        "Price must be divisible by tick size.",
        "Order has invalid price.",
        "Order has invalid size.",
        "Order has zero size.",
        "Unknown asset.",
        "TP/SL orders must be reduce-only",
        "Unexpected number of trigger orders",
    }
)
"""Refusals that are a function of the payload alone and therefore reject a whole action by default."""

Abstraction = Literal["disabled", "default", "unifiedAccount", "portfolioMargin", "dexAbstraction"]


@dataclass(frozen=True, slots=True)
class VenueOptions:
    """Everything a test may want to choose. The defaults follow the sheet; each switch names what it decides.

    Points marked [?] in the sheet:

    - `duplicate_cloid`: a cloid that a live order of the account has is refused or accepted (11.2).
    - `partial_gtc_answer`: a Gtc that executes partly and rests answers `resting` or `filled` (4.3).
    - `order_updates_snapshot`, `trades_snapshot`: whether these subscriptions start with one (7.2).
    - `trigger_keeps_oid`: a fired trigger order executes under its own oid or under a new one (4.7).
    - `ioc_remainder_status`: what a partly filled IOC ends as, `canceled` or `filled` (11.2).
    - `pre_validated`, `pre_validation_answer`: which refusal texts reject the whole action, and whether the
      single error comes as `statuses` of length 1 or as top-level `err` (4.5).
    - `strict_modify`: without `a:true` a replacement may not be a trigger or execute at once (4.2).
    - `open_before_immediate_end`: an order that ends within its own action first shows as `open` (7.5).
    - `rejected_on_order_updates`: refused orders also appear on `orderUpdates` (6).
    - `order_status_size`: `sz` of `orderStatus` is the live size or that of the last status change (5.3).
    - `price_band_percent`: how far from the reference price an order may be, 80 or 95 have been seen (4.6).

    Limits: volumes are in USD of lifetime volume; 0 turns a requirement off. `address_budget` None turns the
    per-address budget off (9.2). `fills_kept` is how many fills of an account exist for reads (5.5);
    `finished_orders_kept` how many ended orders `orderStatus` knows before it says `unknownOid` (5.3).
    """

    perps: tuple[PerpSpec, ...] = MAINNET_PERPS
    dexes: tuple[DexSpec, ...] = DEXES
    tokens: tuple[TokenSpec, ...] = TOKENS
    spot_pairs: tuple[SpotPairSpec, ...] = SPOT_PAIRS
    margin_tables: Mapping[int, MarginTable] = field(default_factory=lambda: MARGIN_TABLES)
    fee_tiers: tuple[FeeTier, ...] = BASE_FEE_TIERS

    first_oid: int = BASE_FIRST_OID
    default_leverage: int = 20
    abstraction: Abstraction = "disabled"

    duplicate_cloid: Literal["reject", "accept"] = "reject"
    partial_gtc_answer: Literal["resting", "filled"] = "resting"
    order_updates_snapshot: bool = False
    trades_snapshot: bool = False
    trigger_keeps_oid: bool = True
    ioc_remainder_status: Literal["canceled", "filled"] = "canceled"
    pre_validated: frozenset[str] = PRE_VALIDATED
    pre_validation_answer: Literal["single_status", "top_level"] = "single_status"
    strict_modify: bool = True
    open_before_immediate_end: bool = True
    rejected_on_order_updates: bool = True
    order_status_size: Literal["live", "last_status_change"] = "live"
    price_band_percent: int = 80

    entries_per_action: int = 200
    address_budget: int | None = 10_000
    open_orders_base: int = 1000
    open_orders_max: int = 5000
    schedule_cancel_volume: Decimal = Decimal(0)
    sub_account_volume: Decimal = Decimal(0)
    fills_kept: int = 10_000
    finished_orders_kept: int = 20_000

    automatic_funding: bool = True
    automatic_liquidation: bool = True
    mark_follows_book: bool = False
