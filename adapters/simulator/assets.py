"""Coins by asset id and back, as a client learns them from the venue's own metadata (protocol sheet 1.2)."""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Any

from adapters.simulator.engine import Exchange

_ARITHMETIC = Context(prec=48)


def wire(value: Decimal) -> str:
    """A number as an action carries it (sheet 2.2)."""
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


class UnknownCoin(ValueError):
    """No market of this exchange has that name."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One market: its id in actions, its name in reads, and how many decimals its sizes have."""

    id: int
    coin: str
    size_decimals: int
    is_spot: bool
    is_delisted: bool
    max_leverage: int

    @property
    def lot(self) -> Decimal:
        """The smallest size."""
        return Decimal(1).scaleb(-self.size_decimals)

    def tick_aligned(self, price: Decimal) -> Decimal:
        """The nearest legal price: five significant figures, the decimals allowed (sheet 2.1)."""
        with localcontext(_ARITHMETIC):
            finest = max(price.adjusted() - 4, -self.price_decimals)
            return price.quantize(Decimal(1).scaleb(min(finest, 0)), rounding=ROUND_HALF_EVEN)

    @property
    def price_decimals(self) -> int:
        """How many decimals a price may have at most (sheet 2.1)."""
        return (8 if self.is_spot else 6) - self.size_decimals


class Assets:
    """All markets of an exchange."""

    def __init__(self, exchange: Exchange, *, now_ms: int) -> None:
        self._by_coin: dict[str, Asset] = {}
        for index, dex in enumerate(_read(exchange, now_ms, "perpDexs")):
            offset = 0 if dex is None else 100_000 + 10_000 * index
            meta = _read(exchange, now_ms, "meta", dex="" if dex is None else dex["name"])
            for position, entry in enumerate(meta["universe"]):
                self._add(
                    Asset(
                        id=offset + position,
                        coin=entry["name"],
                        size_decimals=entry["szDecimals"],
                        is_spot=False,
                        is_delisted=bool(entry.get("isDelisted")),
                        max_leverage=entry["maxLeverage"],
                    )
                )
        spot = _read(exchange, now_ms, "spotMeta")
        decimals = {token["index"]: token["szDecimals"] for token in spot["tokens"]}
        for pair in spot["universe"]:
            self._add(
                Asset(
                    id=10_000 + pair["index"],
                    coin=pair["name"],
                    size_decimals=decimals[pair["tokens"][0]],
                    is_spot=True,
                    is_delisted=False,
                    max_leverage=1,
                )
            )
        self._by_id = {asset.id: asset for asset in self._by_coin.values()}

    def _add(self, asset: Asset) -> None:
        self._by_coin[asset.coin] = asset

    def by_coin(self, coin: str) -> Asset:
        """The market called `coin`; raises UnknownCoin."""
        try:
            return self._by_coin[coin]
        except KeyError:
            raise UnknownCoin(
                f"no market is called {coin!r}; there are: {', '.join(self._by_coin)}"
            ) from None

    def by_id(self, asset_id: int) -> Asset | None:
        """The market with this id, or None."""
        return self._by_id.get(asset_id)

    def __contains__(self, coin: object) -> bool:
        return coin in self._by_coin


def _read(exchange: Exchange, now_ms: int, kind: str, **members: str) -> Any:
    return exchange.info({"type": kind, **members}, now_ms=now_ms)
