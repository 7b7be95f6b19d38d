"""The other side: an account with deep pockets that trades when a test or a fault needs somebody to."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Any

from adapters.simulator.assets import Asset, Assets
from adapters.simulator.chain import Chain
from adapters.simulator.engine import ActionError, Exchange, Unprocessable

COUNTERPARTY = "0x00000000000000000000000000000000c0de0001"
"""The account these trades are booked on."""

_POCKETS = Decimal(10) ** 12
_AGGRESSION = Decimal("0.5")
"""How far through the mid a market order is priced: well inside the venue's 80 % band (sheet 4.6)."""

_MOST_ROUNDS = 64
_ARITHMETIC = Context(prec=48)


class CannotTrade(ValueError):
    """The exchange did not let the counterparty trade as asked; the message is its reason."""


@dataclass(frozen=True, slots=True)
class _Resting:
    coin: str
    is_buy: bool
    limit_px: Decimal
    remaining: Decimal


def wire(value: Decimal) -> str:
    """A number as an action carries it (sheet 2.2)."""
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def tick_aligned(asset: Asset, price: Decimal) -> Decimal:
    """The nearest legal price: five significant figures, the market's decimals, any integer (sheet 2.1)."""
    with localcontext(_ARITHMETIC):
        finest = max(price.adjusted() - 4, -asset.price_decimals)
        return price.quantize(Decimal(1).scaleb(min(finest, 0)), rounding=ROUND_HALF_EVEN)


class Counterparty:
    """Places orders as `COUNTERPARTY`, through the same engine and rules as everybody."""

    def __init__(self, chain: Chain, assets: Assets, *, address: str = COUNTERPARTY) -> None:
        self._chain = chain
        self._assets = assets
        self._address = address
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

        Orders ahead of it in the book are filled on the way. Raises CannotTrade if it is not resting.
        """
        resting = self._resting(user, oid)
        if resting is None:
            raise CannotTrade(f"order {oid} of {user} is not resting on a book")
        asset = self._assets.by_coin(resting.coin)
        with localcontext(_ARITHMETIC):
            wanted = (resting.remaining * fraction).quantize(asset.lot, rounding=ROUND_DOWN)
            wanted = min(max(wanted, asset.lot), resting.remaining)
            target = resting.remaining - wanted
            left = resting.remaining
            for _ in range(_MOST_ROUNDS):
                if left <= target:
                    break
                self._order(asset, not resting.is_buy, resting.limit_px, left - target, "Ioc")
                now_resting = self._resting(user, oid)
                left = now_resting.remaining if now_resting is not None else Decimal(0)
            return resting.remaining - left

    def _order(self, asset: Asset, is_buy: bool, price: Decimal, size: Decimal, tif: str) -> dict[str, Any]:
        entry = {
            "a": asset.id,
            "b": is_buy,
            "p": wire(price),
            "s": wire(size),
            "r": False,
            "t": {"limit": {"tif": tif}},
        }
        answer = self._apply(
            lambda exchange, now: exchange.execute(
                self._address,
                {"type": "order", "orders": [entry], "grouping": "na"},
                signer=self._address,
                now_ms=now,
            )
        )
        if answer["status"] != "ok":
            raise CannotTrade(str(answer["response"]))
        status = answer["response"]["data"]["statuses"][0]
        if "error" in status:
            raise CannotTrade(str(status["error"]))
        return dict(status)

    def _apply(self, change: Callable[[Exchange, int], Any]) -> Any:
        if not self._is_open:
            self._chain.apply(
                lambda exchange, _: exchange.create_account(
                    self._address, usdc=_POCKETS, is_venue_operated=True
                )
            )
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
            return tick_aligned(asset, best * (1 + _AGGRESSION if is_buy else 1 - _AGGRESSION))

    def _resting(self, user: str, oid: int | str) -> _Resting | None:
        found = self._chain.read({"type": "orderStatus", "user": user, "oid": oid})
        if found["status"] != "order" or found["order"]["status"] != "open":
            return None
        row = found["order"]["order"]
        if row["isTrigger"]:
            return None
        return _Resting(row["coin"], row["side"] == "B", Decimal(row["limitPx"]), Decimal(row["sz"]))
