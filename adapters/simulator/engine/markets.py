"""The markets of the venue and how they are found: by asset id in actions, by coin in reads (sheet 1.2)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from .book import OrderBook
from .candles import Tape
from .numbers import ONE, PERP_MAX_DECIMALS, SPOT_MAX_DECIMALS, ZERO
from .options import DexSpec, MarginTier, PerpSpec, SpotPairSpec, TokenSpec, VenueOptions

if TYPE_CHECKING:
    from .accounts import Account
    from .orders import Order

FIRST_SPOT_ASSET = 10_000
FIRST_DEX_ASSET = 100_000
ASSETS_PER_DEX = 10_000


class TriggerIndex:
    """Armed triggers of one market, sorted by price so that the due ones are found without a scan."""

    def __init__(self) -> None:
        self._rising: list[tuple[Decimal, int, Order]] = []
        self._falling: list[tuple[Decimal, int, Order]] = []

    def _list(self, order: Order) -> list[tuple[Decimal, int, Order]]:
        assert order.trigger is not None
        return self._rising if order.trigger.fires_when_rising(order.is_buy) else self._falling

    def add(self, order: Order) -> None:
        assert order.trigger is not None
        insort(self._list(order), (order.trigger.price, order.oid, order))

    def remove(self, order: Order) -> None:
        assert order.trigger is not None
        entries = self._list(order)
        del entries[bisect_left(entries, (order.trigger.price, order.oid))]

    def next_due(self, mark: Decimal) -> Order | None:
        """One order whose condition the mark price meets, nearest trigger price first."""
        if self._rising and self._rising[0][0] <= mark:
            return self._rising[0][2]
        if self._falling and self._falling[-1][0] >= mark:
            return self._falling[-1][2]
        return None


class Market:
    """What perps and spot pairs have in common: a book, a tape, a mark price and number rules."""

    max_decimals: int

    def __init__(self, coin: str, asset: int, sz_decimals: int, mark_px: Decimal) -> None:
        self.coin = coin
        self.asset = asset
        self.sz_decimals = sz_decimals
        self.lot = ONE.scaleb(-sz_decimals)
        self.price_decimals = self.max_decimals - sz_decimals
        self.mark_px = mark_px
        self.oracle_px = mark_px
        self.first_mark_px = mark_px
        self.is_halted = False
        self.book = OrderBook()
        self.tape = Tape(coin)
        self.triggers = TriggerIndex()

    @property
    def mid_or_last(self) -> Decimal:
        """What `allMids` shows: the mid; without one the last trade, before any trade the mark."""
        mid = self.book.mid()
        if mid is not None:
            return mid
        return self.tape.last_px if self.tape.last_px is not None else self.mark_px

    def prev_day_px(self, now: int) -> Decimal:
        price = self.tape.price_a_day_ago(now)
        return self.first_mark_px if price is None else price


class PerpMarket(Market):
    """A perpetual. `open_interest` is the sum of all long positions, in base units."""

    max_decimals = PERP_MAX_DECIMALS

    def __init__(
        self, spec: PerpSpec, index: int, offset: int, dex: DexSpec | None, tiers: tuple[MarginTier, ...]
    ) -> None:
        coin = spec.name if dex is None else f"{dex.name}:{spec.name}"
        super().__init__(coin, offset + index, spec.sz_decimals, spec.mark_px)
        self.spec = spec
        self.dex = "" if dex is None else dex.name
        self.fee_multiplier = ONE if dex is None else dex.fee_multiplier
        self.tiers = tiers
        self.is_halted = spec.is_delisted
        self.holders: dict[str, Account] = {}
        self.open_interest = ZERO
        self.premium_sum = ZERO
        self.premium_samples = 0
        self.funding_history: list[tuple[int, Decimal, Decimal]] = []
        """(time ms, hourly rate, premium), oldest first."""

    @property
    def max_leverage(self) -> int:
        return self.spec.max_leverage

    def tier_leverage(self, notional: Decimal) -> int:
        """Highest leverage allowed for a position of this notional in USD."""
        allowed = self.tiers[0].max_leverage
        for tier in self.tiers:
            if notional >= tier.lower_bound:
                allowed = tier.max_leverage
        return allowed

    def premium(self) -> Decimal | None:
        """How far the impact prices are off the oracle (sheet 10.3); None if the book is too thin."""
        impact_bid = self.book.impact_price(False, self.spec.impact_ntl)
        impact_ask = self.book.impact_price(True, self.spec.impact_ntl)
        if impact_bid is None or impact_ask is None:
            return None
        above = max(impact_bid - self.oracle_px, ZERO)
        below = max(self.oracle_px - impact_ask, ZERO)
        return (above - below) / self.oracle_px


class SpotMarket(Market):
    """A spot pair: sizes follow the base token's `szDecimals` (sheet 1.2)."""

    max_decimals = SPOT_MAX_DECIMALS

    def __init__(self, spec: SpotPairSpec, base: TokenSpec, quote: TokenSpec) -> None:
        super().__init__(spec.coin, FIRST_SPOT_ASSET + spec.index, base.sz_decimals, spec.mark_px)
        self.spec = spec
        self.base = base
        self.quote = quote


class Universe:
    """All markets and tokens, built once from the options."""

    def __init__(self, options: VenueOptions) -> None:
        self.dexes: tuple[DexSpec, ...] = options.dexes
        self.tokens: dict[int, TokenSpec] = {token.index: token for token in options.tokens}
        self.perps_by_dex: dict[str, list[PerpMarket]] = {"": []}
        self.spot_markets: list[SpotMarket] = []
        self.by_asset: dict[int, Market] = {}
        self.by_coin: dict[str, Market] = {}
        self._add_perps(options.perps, 0, None, options)
        for position, dex in enumerate(options.dexes, start=1):
            self._add_perps(dex.perps, FIRST_DEX_ASSET + position * ASSETS_PER_DEX, dex, options)
        for pair in options.spot_pairs:
            market = SpotMarket(pair, self.tokens[pair.base], self.tokens[pair.quote])
            self.spot_markets.append(market)
            self._register(market)

    def _add_perps(
        self, specs: tuple[PerpSpec, ...], offset: int, dex: DexSpec | None, options: VenueOptions
    ) -> None:
        markets = self.perps_by_dex.setdefault("" if dex is None else dex.name, [])
        for index, spec in enumerate(specs):
            table = None if spec.margin_table_id is None else options.margin_tables.get(spec.margin_table_id)
            tiers = table.tiers if table is not None else (MarginTier(ZERO, spec.max_leverage),)
            market = PerpMarket(spec, index, offset, dex, tiers)
            markets.append(market)
            self._register(market)

    def _register(self, market: Market) -> None:
        self.by_asset[market.asset] = market
        self.by_coin[market.coin] = market

    def perps(self) -> Iterator[PerpMarket]:
        for markets in self.perps_by_dex.values():
            yield from markets

    def perp_by_asset(self, asset: int) -> PerpMarket | None:
        market = self.by_asset.get(asset)
        return market if isinstance(market, PerpMarket) else None

    def token_by_wire_name(self, text: str) -> TokenSpec | None:
        """`NAME:0x<tokenId>` as in `spotSend` (sheet 3.4); the plain name is understood too."""
        name, _, token_id = text.partition(":")
        for token in self.tokens.values():
            if token.name == name and (not token_id or token.token_id == token_id.lower()):
                return token
        return None
