"""Trading pairs, the venue's coins and its asset ids (sheet 1.2).

The venue knows a market under two names: the coin, in everything that is read (`BTC`, `xyz:TSLA`, `@107`),
and a number, in every action. Both come from the metadata of the network one is connected to; the numbers
differ between mainnet and testnet. This module adds the third name, the trading pair (`BTC-USD`,
`HYPE-USDC`), and resolves each of the three to a `Market`. Letter case is part of a name: `kPEPE` is not
`KPEPE`.
"""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches  # deterministic: pure, and only for the text of an error
from typing import Annotated, TypeVar

import msgspec

from adapters.hyperliquid.price_rules import MarketKind
from adapters.hyperliquid.unreadable import UNREADABLE

__all__ = [
    "Market",
    "SymbolError",
    "SymbolMap",
    "UnknownAsset",
    "UnknownCoin",
    "UnknownTradingPair",
    "dex_names",
    "unlisted_pair",
]

PERP_QUOTE = "USD"
"""Quote of every perp's trading pair: prices and PnL of perps are in dollars, whatever the collateral."""

SPOT_ASSET_BASE = 10_000
BUILDER_DEX_ASSET_BASE = 100_000
BUILDER_DEX_ASSET_STRIDE = 10_000

_NEAR_MATCHES_MAX = 3
_NEAR_MATCH_LENGTH_MAX = 40


class SymbolError(ValueError):
    """The venue's metadata cannot be read."""


class _UnknownName(KeyError):
    """A name no market has. A `KeyError` whose text is the message itself, not its repr."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class UnknownTradingPair(_UnknownName):
    """No market has this trading pair; `near_matches` are the pairs that may have been meant."""

    def __init__(self, trading_pair: str, near_matches: tuple[str, ...]) -> None:
        hint = f"; did you mean {' or '.join(near_matches)}?" if near_matches else ""
        super().__init__(f"no market with trading pair {trading_pair!r}{hint}")
        self.trading_pair = trading_pair
        self.near_matches = near_matches


class UnknownCoin(_UnknownName):
    """The venue named a coin that its metadata did not list: the metadata is older than the market."""

    def __init__(self, coin: str) -> None:
        super().__init__(f"no market with coin {coin!r}; read the venue's metadata again")
        self.coin = coin


class UnknownAsset(_UnknownName):
    """No market has this asset id."""

    def __init__(self, asset: int) -> None:
        super().__init__(f"no market with asset id {asset}; read the venue's metadata again")
        self.asset = asset


class Market(msgspec.Struct, frozen=True):
    """One market: its three names and what binds its orders.

    `asset` is the id in actions. `dex` is the builder-deployed dex, empty for the venue's own perps and for
    spot. `max_leverage` is None on spot. A delisted market keeps its names and its id; only orders are
    refused.
    """

    trading_pair: str
    coin: str
    asset: int
    kind: MarketKind
    base: str
    quote: str
    sz_decimals: int
    dex: str = ""
    max_leverage: int | None = None
    only_isolated: bool = False
    is_delisted: bool = False


class SymbolMap:
    """Every market of one network, found by trading pair, coin or asset id. Never changes once built."""

    __slots__ = ("_by_asset", "_by_coin", "_by_pair", "markets", "unreadable")

    def __init__(self, markets: Iterable[Market], unreadable: Iterable[str] = ()) -> None:
        """`unreadable` tells, one text each, which entries of the metadata had to be left out and why."""
        self.markets: tuple[Market, ...] = tuple(markets)
        self.unreadable: tuple[str, ...] = tuple(unreadable)
        self._by_pair = {market.trading_pair: market for market in self.markets}
        self._by_coin = {market.coin: market for market in self.markets}
        self._by_asset = {market.asset: market for market in self.markets}

    @classmethod
    def from_json(
        cls,
        meta: bytes,
        *,
        perp_dexs: bytes | None = None,
        dex_metas: Mapping[str, bytes] | None = None,
        spot_meta: bytes | None = None,
    ) -> "SymbolMap":
        """Builds the map from raw `/info` answers: `meta`, `perpDexs`, `meta` of each dex wanted, `spotMeta`.

        `dex_metas` is keyed by the dex name and needs `perp_dexs`, whose order gives the asset ids. An entry
        that cannot be read keeps its slot, is left out and is told in `unreadable`; its neighbours are kept.
        Raises SymbolError when a whole answer cannot be read, or a dex is not listed by the venue.
        """
        unreadable: list[str] = []
        markets = list(_perp_markets(_decode("meta", meta, _PerpMeta), "", 0, unreadable))
        if dex_metas:
            listed = _dex_indexes(perp_dexs)
            for dex in sorted(dex_metas, key=lambda name: listed.get(name, 0)):
                if dex not in listed:
                    raise SymbolError(f"perpDexs does not list the dex {dex!r}; listed: {', '.join(listed)}")
                first_asset = BUILDER_DEX_ASSET_BASE + BUILDER_DEX_ASSET_STRIDE * listed[dex]
                dex_meta = _decode(f"meta of dex {dex}", dex_metas[dex], _PerpMeta)
                markets += _perp_markets(dex_meta, dex, first_asset, unreadable)
        if spot_meta is not None:
            markets += _spot_markets(_decode("spotMeta", spot_meta, _SpotMeta), unreadable)
        return cls(markets, unreadable)

    def __contains__(self, trading_pair: object) -> bool:
        return trading_pair in self._by_pair

    def __iter__(self) -> Iterator[Market]:
        return iter(self.markets)

    def __len__(self) -> int:
        return len(self.markets)

    def market(self, trading_pair: str) -> Market:
        """The market of a trading pair. Raises UnknownTradingPair, which names near matches."""
        found = self._by_pair.get(trading_pair)
        if found is None:
            raise UnknownTradingPair(trading_pair, self._near_matches(trading_pair))
        return found

    def by_coin(self, coin: str) -> Market:
        """The market of a venue's coin, as in fills, books and positions. Raises UnknownCoin."""
        found = self._by_coin.get(coin)
        if found is None:
            raise UnknownCoin(coin)
        return found

    def by_asset(self, asset: int) -> Market:
        """The market of an asset id, as at the end of error texts (`asset=1`). Raises UnknownAsset."""
        found = self._by_asset.get(asset)
        if found is None:
            raise UnknownAsset(asset)
        return found

    def _near_matches(self, trading_pair: str) -> tuple[str, ...]:
        """Pairs that may have been meant: the same in another letter case, of that base or coin, or
        similar."""
        wanted = trading_pair[:_NEAR_MATCH_LENGTH_MAX].casefold()
        names = {market.trading_pair: market.trading_pair.casefold() for market in self.markets}
        same = [
            market.trading_pair
            for market in self.markets
            if wanted in (names[market.trading_pair], market.base.casefold(), market.coin.casefold())
        ]
        by_name: dict[str, list[str]] = {}
        for pair, name in names.items():
            by_name.setdefault(name, []).append(pair)
        similar = get_close_matches(
            wanted,
            by_name,
            n=_NEAR_MATCHES_MAX,
            cutoff=0.7,  # deterministic: compared with a ratio of two counts
        )
        near = dict.fromkeys(same + [pair for name in similar for pair in by_name[name]])
        return tuple(near)[:_NEAR_MATCHES_MAX]


_SzDecimals = Annotated[int, msgspec.Meta(ge=0, le=8)]
_Name = Annotated[str, msgspec.Meta(min_length=1)]


class _PerpMeta(msgspec.Struct):
    universe: list[msgspec.Raw]


class _PerpEntry(msgspec.Struct, rename="camel"):
    name: _Name
    sz_decimals: _SzDecimals
    max_leverage: Annotated[int, msgspec.Meta(ge=1)]
    only_isolated: bool | None = None
    is_delisted: bool | None = None


class _SpotMeta(msgspec.Struct):
    tokens: list[msgspec.Raw]
    universe: list[msgspec.Raw]


class _Token(msgspec.Struct, rename="camel"):
    name: _Name
    sz_decimals: _SzDecimals
    index: Annotated[int, msgspec.Meta(ge=0)]


class _SpotEntry(msgspec.Struct, rename="camel"):
    name: _Name
    tokens: tuple[int, int]
    index: Annotated[int, msgspec.Meta(ge=0)]
    is_canonical: bool | None = None


class _PerpDex(msgspec.Struct):
    name: _Name


_T = TypeVar("_T")


def _decode(what: str, raw: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except UNREADABLE as error:
        raise SymbolError(f"the venue's {what} answer cannot be read: {error}") from error


def _decode_entries(
    what: str, entries: Iterable[msgspec.Raw], kind: type[_T], unreadable: list[str]
) -> Iterator[tuple[int, _T]]:
    """The readable entries with their positions, which count the unreadable ones too."""
    for position, raw in enumerate(entries):
        try:
            yield position, msgspec.json.decode(raw, type=kind)
        except UNREADABLE as error:
            unreadable.append(f"{what} entry {position}: {error}")


def _dex_indexes(perp_dexs: bytes | None) -> dict[str, int]:
    """Position of each builder dex in `perpDexs`; position 0 is null and stands for the venue's own perps."""
    if perp_dexs is None:
        raise SymbolError("asset ids of builder dexes need the perpDexs answer")
    dexes = _decode("perpDexs", perp_dexs, list[_PerpDex | None])
    return {dex.name: index for index, dex in enumerate(dexes) if dex is not None}


def dex_names(perp_dexs: bytes) -> tuple[str, ...]:
    """The builder dexes that `perpDexs` lists. Raises SymbolError when it cannot be read."""
    return tuple(_dex_indexes(perp_dexs))


def unlisted_pair(coin: str) -> str:
    """The trading pair of a coin that the metadata does not list.

    A perpetual is called by its coin alone, so one listed after the metadata was read has its name already;
    the name of a spot market follows from its tokens (sheet 1.2), and until they are known its coin stands
    for it.
    """
    is_spot = "/" in coin or not coin[:1].isalnum()
    return coin if is_spot else f"{coin}-{PERP_QUOTE}"


def _perp_markets(meta: _PerpMeta, dex: str, first_asset: int, unreadable: list[str]) -> Iterator[Market]:
    what = f"meta of dex {dex}" if dex else "meta"
    prefix = f"{dex}:" if dex else ""
    for position, entry in _decode_entries(what, meta.universe, _PerpEntry, unreadable):
        coin = entry.name if entry.name.startswith(prefix) else prefix + entry.name
        yield Market(
            trading_pair=f"{coin}-{PERP_QUOTE}",
            coin=coin,
            # Delisted markets keep their slots, so the position counts them (sheet 1.2).
            asset=first_asset + position,
            kind=MarketKind.PERP,
            base=coin.removeprefix(prefix),
            quote=PERP_QUOTE,
            sz_decimals=entry.sz_decimals,
            dex=dex,
            max_leverage=entry.max_leverage,
            only_isolated=bool(entry.only_isolated),
            is_delisted=bool(entry.is_delisted),
        )


def _spot_markets(meta: _SpotMeta, unreadable: list[str]) -> Iterator[Market]:
    tokens = {
        token.index: token for _, token in _decode_entries("spotMeta token", meta.tokens, _Token, unreadable)
    }
    entries = [
        entry for _, entry in _decode_entries("spotMeta universe", meta.universe, _SpotEntry, unreadable)
    ]
    # Token names are not unique for ever: the venue's own pair, else the oldest, keeps the name, so that a
    # later namesake can neither take it over nor rename it.
    entries.sort(key=lambda entry: (not entry.is_canonical, entry.index))
    taken: set[str] = set()
    markets: list[Market] = []
    for entry in entries:
        base, quote = (tokens.get(index) for index in entry.tokens)
        if base is None or quote is None:
            unreadable.append(f"spotMeta universe {entry.name}: tokens {entry.tokens} are not listed")
            continue
        base_name = base.name if f"{base.name}-{quote.name}" not in taken else entry.name
        taken.add(f"{base_name}-{quote.name}")
        markets.append(
            Market(
                trading_pair=f"{base_name}-{quote.name}",
                coin=entry.name,
                asset=SPOT_ASSET_BASE + entry.index,
                kind=MarketKind.SPOT,
                base=base_name,
                quote=quote.name,
                sz_decimals=base.sz_decimals,
            )
        )
    markets.sort(key=lambda market: market.asset)
    return iter(markets)
