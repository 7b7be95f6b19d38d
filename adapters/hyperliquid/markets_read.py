"""All markets of a network, read anew: names, steps and collateral of every dex (sheet 1.2, 2, 5.1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal

import msgspec

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.info_requests import InfoRequest
from adapters.hyperliquid.price_rules import MarketKind
from adapters.hyperliquid.symbols import SymbolError, SymbolMap
from adapters.hyperliquid.unreadable import UNREADABLE

__all__ = ["MarketsRead", "read_markets"]


class MarketsRead(msgspec.Struct, frozen=True):
    """`collateral`: the token index in which each dex keeps its money; "" is the venue's own dex. `steps`:
    the amount step, in base units, of each trading pair that has positions: perpetuals, not spot."""

    symbols: SymbolMap
    collateral: Mapping[str, int]
    steps: Mapping[str, Decimal]

    @property
    def perps(self) -> frozenset[str]:
        """The pairs that have positions."""
        return frozenset(self.steps)


class _Collateral(msgspec.Struct, rename="camel"):
    collateral_token: int = 0


class _Dex(msgspec.Struct):
    name: str


async def read_markets(ask: Callable[[InfoRequest], Awaitable[bytes]]) -> MarketsRead:
    """Ask for everything. Raises what `ask` raises, and `SymbolError` for an answer that cannot be read:
    with half of the names the other half of the account would look like somebody else's."""
    meta = await ask(info_requests.meta())
    perp_dexs = await ask(info_requests.perp_dexs())
    try:
        names = [
            dex.name for dex in msgspec.json.decode(perp_dexs, type=list[_Dex | None]) if dex is not None
        ]
        metas = {name: await ask(info_requests.meta(name)) for name in names}
        collateral = {
            name: msgspec.json.decode(body, type=_Collateral).collateral_token
            for name, body in {"": meta, **metas}.items()
        }
    except UNREADABLE as error:
        raise SymbolError(f"the venue's dexes cannot be read: {error}") from None
    symbols = SymbolMap.from_json(
        meta,
        perp_dexs=perp_dexs,
        dex_metas=metas,
        spot_meta=await ask(info_requests.spot_meta()),
    )
    return MarketsRead(
        symbols,
        collateral,
        {
            market.trading_pair: Decimal(1).scaleb(-market.sz_decimals)
            for market in symbols
            if market.kind is MarketKind.PERP
        },
    )
