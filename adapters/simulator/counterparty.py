"""The other side: accounts with deep pockets that trade when a test or a fault needs somebody to."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_UP, Context, Decimal, localcontext
from typing import Any

from adapters.simulator.assets import Asset, Assets, wire
from adapters.simulator.chain import Chain
from adapters.simulator.engine import ActionError, Exchange, Unprocessable
from adapters.simulator.house import open_house_accounts

BUYER = "0x00000000000000000000000000000000c0de0001"
SELLER = "0x00000000000000000000000000000000c0de0002"
"""Who buys and who sells: two accounts, because nobody trades with himself (sheet 4.7)."""

_AGGRESSION = Decimal("0.5")
"""How far through the mid a market order is priced: well inside the venue's 80 % band (sheet 4.6)."""

_MOST_ROUNDS = 2000
"""How many orders are sent at most to get at one that rests behind others."""

_LEAST_VALUE = Decimal("10.01")
"""What an order must be worth, with a margin for rounding (sheet 9.4)."""

_ARITHMETIC = Context(prec=48)


class CannotTrade(ValueError):
    """The exchange did not let the counterparty trade as asked; the message is its reason."""


@dataclass(frozen=True, slots=True)
class _Resting:
    coin: str
    is_buy: bool
    limit_px: Decimal
    remaining: Decimal


class Counterparty:
    """Places orders as `BUYER` and `SELLER`, through the same engine and rules as everybody."""

    def __init__(self, chain: Chain, assets: Assets) -> None:
        self._chain = chain
        self._assets = assets
        self._is_open = False

    def trade(
        self, coin: str, *, is_buy: bool, size: Decimal, price: Decimal | None = None
    ) -> dict[str, Any]:
        """Place a limit order (Gtc), or without `price` a market order (Ioc); return its entry of `statuses`.

        Raises UnknownCoin, and CannotTrade with the venue's text if the order is refused.
        """
        asset = self._assets.by_coin(coin)
        tif = "Gtc"
        if price is None:
            price, tif = self._aggressive_price(asset, is_buy), "Ioc"
        return self._order(asset, is_buy, price, size, tif)

    def fill(self, user: str, oid: int | str, *, fraction: Decimal = Decimal(1)) -> Decimal:
        """Trade until `fraction` of what remains of somebody's resting order is filled; return how much was.

        Orders ahead of it in the book are filled on the way. A part that is worth less than the venue's
        minimum order value is rounded up to it. Raises CannotTrade if the order is not resting or is too
        small to hit.
        """
        resting = self._resting(user, oid)
        if resting is None:
            raise CannotTrade(f"order {oid} of {user} is not resting on a book")
        asset = self._assets.by_coin(resting.coin)
        with localcontext(_ARITHMETIC):
            least = (_LEAST_VALUE / resting.limit_px).quantize(asset.lot, rounding=ROUND_UP)
            wanted = (resting.remaining * fraction).quantize(asset.lot, rounding=ROUND_DOWN)
            target = resting.remaining - min(max(wanted, least), resting.remaining)
            ahead = self._better_than(resting)
            if ahead:
                self._order(asset, not resting.is_buy, resting.limit_px, ahead, "Ioc")
            left = resting.remaining
            for _ in range(_MOST_ROUNDS):
                if left <= target:
                    break
                self._order(asset, not resting.is_buy, resting.limit_px, left - target, "Ioc")
                now_resting = self._resting(user, oid)
                left = now_resting.remaining if now_resting is not None else Decimal(0)
            return resting.remaining - left

    def _better_than(self, resting: _Resting) -> Decimal:
        """How much rests at better prices than an order."""
        sides = self._chain.read({"type": "l2Book", "coin": resting.coin})["levels"]
        levels = [(Decimal(level["px"]), Decimal(level["sz"])) for level in sides[0 if resting.is_buy else 1]]
        limit_px = resting.limit_px
        better = [size for px, size in levels if (px > limit_px if resting.is_buy else px < limit_px)]
        return sum(better, Decimal(0))

    def _order(self, asset: Asset, is_buy: bool, price: Decimal, size: Decimal, tif: str) -> dict[str, Any]:
        entry = {
            "a": asset.id,
            "b": is_buy,
            "p": wire(price),
            "s": wire(size),
            "r": False,
            "t": {"limit": {"tif": tif}},
        }
        action = {"type": "order", "orders": [entry], "grouping": "na"}
        who = BUYER if is_buy else SELLER
        answer = self._apply(lambda exchange, now: exchange.execute(who, action, signer=who, now_ms=now))
        if answer["status"] != "ok":
            raise CannotTrade(str(answer["response"]))
        status = answer["response"]["data"]["statuses"][0]
        if "error" in status:
            raise CannotTrade(str(status["error"]))
        return dict(status)

    def _apply(self, change: Callable[[Exchange, int], Any]) -> Any:
        if not self._is_open:
            self._chain.apply(lambda exchange, now: open_house_accounts(exchange, now, BUYER, SELLER))
            self._is_open = True
        try:
            return self._chain.apply(change)
        except (ActionError, Unprocessable) as refused:
            raise CannotTrade(refused.text) from refused

    def _aggressive_price(self, asset: Asset, is_buy: bool) -> Decimal:
        data = self._chain.read({"type": "l2Book", "coin": asset.coin})
        levels = data["levels"][1 if is_buy else 0]
        if not levels:
            raise CannotTrade(
                f"nobody {'sells' if is_buy else 'buys'} {asset.coin}: its book has no such side"
            )
        with localcontext(_ARITHMETIC):
            best = Decimal(levels[0]["px"])
            return asset.tick_aligned(best * (1 + _AGGRESSION if is_buy else 1 - _AGGRESSION))

    def _resting(self, user: str, oid: int | str) -> _Resting | None:
        found = self._chain.read({"type": "orderStatus", "user": user, "oid": oid})
        if found["status"] != "order" or found["order"]["status"] != "open":
            return None
        row = found["order"]["order"]
        if row["isTrigger"]:
            return None
        return _Resting(row["coin"], row["side"] == "B", Decimal(row["limitPx"]), Decimal(row["sz"]))
