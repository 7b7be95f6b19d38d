"""A background market: bots that quote around a random walk and trade with whoever rests in the book.

Everything follows from the seed and the number of ticks (and from what others do to the book): no clock, no
global randomness. Prices are random walks per coin; each tick moves oracle and mark prices along, replaces
the makers' quotes and now and then sends a taker. Quotes are Gtc orders, so a walk that moves through
somebody's resting order fills it.
"""

from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal, localcontext
from random import Random
from typing import Any

from adapters.simulator.assets import Asset, Assets, wire
from adapters.simulator.chain import Chain
from adapters.simulator.engine import Exchange
from adapters.simulator.house import open_house_accounts

MAKER = "0x00000000000000000000000000000000b07a0001"
TAKER = "0x00000000000000000000000000000000b07a0002"
"""The accounts of the bots."""

_LEAST_USD = Decimal(20)
"""Safely above the venue's minimum order value (sheet 9.4)."""

_BPS = Decimal("0.0001")
_ARITHMETIC = Context(prec=48)


@dataclass(frozen=True, slots=True)
class MarketOptions:
    """How lively the background market is.

    `tick_ms` is the time between two ticks. Distances are in basis points of the price: `half_spread_bps`
    from the walk to the best quote, `step_bps` between quotes, `volatility_bps` is the standard deviation
    of one tick's move. `quote_usd` and `take_usd` are the notional of one quote and the most of one taker
    trade; `take_probability` is the chance, per coin and tick, that a taker trades.
    """

    coins: tuple[str, ...] = ("BTC", "ETH", "SOL")
    tick_ms: int = 250
    levels: int = 5
    half_spread_bps: Decimal = Decimal(2)
    step_bps: Decimal = Decimal(2)
    volatility_bps: Decimal = Decimal(3)
    quote_usd: Decimal = Decimal(20_000)
    take_usd: Decimal = Decimal(5_000)
    take_probability: float = 0.3


class BackgroundMarket:
    """The bots, and the prices they believe in."""

    def __init__(self, chain: Chain, assets: Assets, options: MarketOptions, *, seed: int) -> None:
        self.options = options
        self.is_running = True
        self._chain = chain
        self._random = Random(f"{seed}/market")
        self._assets = [assets.by_coin(coin) for coin in options.coins]
        self._prices: dict[str, Decimal] = {}
        self._quotes: dict[str, list[int]] = {}

    def open(self) -> None:
        """Fund the bots and quote for the first time."""
        self._chain.apply(self._open)

    def tick(self) -> None:
        """Move every price one step, replace the quotes, and perhaps trade; nothing while not running.

        All of it is one block to those who watch: nobody sees the book between two sets of quotes.
        """
        if self.is_running:
            self._chain.apply(self._tick)

    def price(self, coin: str) -> Decimal:
        """Where the walk of a coin stands."""
        return self._prices[coin]

    def _open(self, exchange: Exchange, now_ms: int) -> None:
        open_house_accounts(exchange, now_ms, MAKER, TAKER)
        for asset in self._assets:
            self._prices[asset.coin] = exchange.mark_price(asset.coin)
            self._quote(exchange, now_ms, asset)

    def _tick(self, exchange: Exchange, now_ms: int) -> None:
        for asset in self._assets:
            self._move(exchange, asset)
            self._quote(exchange, now_ms, asset)
            if self._random.random() < self.options.take_probability:
                self._take(exchange, now_ms, asset)

    def _move(self, exchange: Exchange, asset: Asset) -> None:
        shock = Decimal(repr(round(self._random.gauss(0.0, 1.0), 6)))
        with localcontext(_ARITHMETIC):
            moved = self._prices[asset.coin] * (1 + shock * self.options.volatility_bps * _BPS)
            price = asset.tick_aligned(moved)
            if price <= 0:
                return
            # the walk keeps its own precision: rounding each step to the tick would stop a slow one for good
            self._prices[asset.coin] = moved.quantize(Decimal("1e-12"))
        exchange.set_oracle_price(asset.coin, price)
        exchange.set_mark_price(asset.coin, price)

    def _quote(self, exchange: Exchange, now_ms: int, asset: Asset) -> None:
        old = self._quotes.pop(asset.coin, [])
        if old:
            cancels = [{"a": asset.id, "o": oid} for oid in old]
            _act(exchange, now_ms, MAKER, {"type": "cancel", "cancels": cancels})
        orders = [
            self._order(asset, is_buy, level)
            for level in range(self.options.levels)
            for is_buy in (True, False)
        ]
        statuses = _act(exchange, now_ms, MAKER, {"type": "order", "orders": orders, "grouping": "na"})
        self._quotes[asset.coin] = [status["resting"]["oid"] for status in statuses if "resting" in status]

    def _order(self, asset: Asset, is_buy: bool, level: int) -> dict[str, Any]:
        options = self.options
        with localcontext(_ARITHMETIC):
            middle = self._prices[asset.coin]
            distance = (options.half_spread_bps + level * options.step_bps) * _BPS
            price = asset.tick_aligned(middle * (1 - distance if is_buy else 1 + distance))
            scale = Decimal(self._random.randrange(50, 151)) / 100
            size = (options.quote_usd * scale / price).quantize(asset.lot, rounding=ROUND_DOWN)
        return _entry(asset, is_buy, price, max(size, asset.lot), "Gtc")

    def _take(self, exchange: Exchange, now_ms: int, asset: Asset) -> None:
        is_buy = self._random.random() < 0.5
        part = Decimal(self._random.randrange(1, 101)) / 100
        book: Any = exchange.info({"type": "l2Book", "coin": asset.coin}, now_ms=now_ms)
        levels = book["levels"][1 if is_buy else 0]
        if not levels:
            return
        with localcontext(_ARITHMETIC):
            best = Decimal(levels[0]["px"])
            limit = asset.tick_aligned(best * (1 + 10 * _BPS if is_buy else 1 - 10 * _BPS))
            usd = max(self.options.take_usd * part, _LEAST_USD)
            size = max((usd / best).quantize(asset.lot, rounding=ROUND_DOWN), asset.lot)
        order = _entry(asset, is_buy, limit, size, "Ioc")
        _act(exchange, now_ms, TAKER, {"type": "order", "orders": [order], "grouping": "na"})


def _act(exchange: Exchange, now_ms: int, bot: str, action: dict[str, Any]) -> list[dict[str, Any]]:
    body = exchange.execute(bot, action, signer=bot, now_ms=now_ms)
    if body["status"] != "ok":
        return []
    return [status for status in body["response"]["data"]["statuses"] if isinstance(status, dict)]


def _entry(asset: Asset, is_buy: bool, price: Decimal, size: Decimal, tif: str) -> dict[str, Any]:
    kind = {"limit": {"tif": tif}}
    return {"a": asset.id, "b": is_buy, "p": wire(price), "s": wire(size), "r": False, "t": kind}
