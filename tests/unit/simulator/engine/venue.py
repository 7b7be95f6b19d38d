"""A venue to test on: the engine with a few funded accounts, and short ways to say what traders do."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from adapters.simulator.engine import Exchange, StreamMessage, VenueOptions

ALICE = "0x" + "a1" * 20
BOB = "0x" + "b0" * 20
CAROL = "0x" + "ca" * 20
STRANGER = "0x" + "57" * 20

BTC, ETH, MATIC, SOL, KPEPE, NTRN, HYPE = 0, 1, 3, 5, 11, 13, 14
PURR_SPOT, HYPE_SPOT = 10000, 10107
TSLA = 110000

START_MS = 1_700_000_100_000
HOUR_MS = 3_600_000
NEXT_HOUR_MS = START_MS - START_MS % HOUR_MS + HOUR_MS

Json = dict[str, Any]


def limit(
    asset: int,
    is_buy: bool,
    px: str,
    sz: str,
    tif: str = "Gtc",
    *,
    reduce_only: bool = False,
    cloid: str | None = None,
) -> Json:
    entry: Json = {
        "a": asset,
        "b": is_buy,
        "p": px,
        "s": sz,
        "r": reduce_only,
        "t": {"limit": {"tif": tif}},
    }
    if cloid is not None:
        entry["c"] = cloid
    return entry


def trigger(
    asset: int,
    is_buy: bool,
    trigger_px: str,
    sz: str,
    tpsl: str,
    *,
    px: str | None = None,
    is_market: bool = True,
    reduce_only: bool = True,
    cloid: str | None = None,
) -> Json:
    entry: Json = {
        "a": asset,
        "b": is_buy,
        "p": trigger_px if px is None else px,
        "s": sz,
        "r": reduce_only,
        "t": {"trigger": {"isMarket": is_market, "triggerPx": trigger_px, "tpsl": tpsl}},
    }
    if cloid is not None:
        entry["c"] = cloid
    return entry


def cloid(number: int) -> str:
    return f"0x{number:032x}"


class Venue:
    """Every action comes one millisecond after the one before it."""

    def __init__(
        self,
        options: VenueOptions | None = None,
        *,
        seed: int = 1,
        usdc: str = "1000000",
        start_ms: int = START_MS,
    ) -> None:
        self.exchange = Exchange(options or VenueOptions(), seed=seed, start_ms=start_ms)
        for address in (ALICE, BOB, CAROL):
            self.exchange.create_account(address, usdc=Decimal(usdc))
        self.exchange.drain()

    @property
    def now(self) -> int:
        return self.exchange.now_ms

    def act(self, user: str, action: Json, **members: Any) -> Json:
        return self.exchange.execute(user, {**action, **members}, signer=user, now_ms=self.now + 1)

    def orders(
        self, user: str, *entries: Json, grouping: object = "na", builder: Json | None = None
    ) -> list[Any]:
        """The statuses of one order action."""
        action: Json = {"type": "order", "orders": list(entries), "grouping": grouping}
        if builder is not None:
            action["builder"] = builder
        answer = self.act(user, action)
        assert answer["status"] == "ok", answer
        assert answer["response"]["type"] == "order"
        statuses: list[Any] = answer["response"]["data"]["statuses"]
        return statuses

    def order(self, user: str, entry: Json) -> Any:
        """The status of a single order."""
        (status,) = self.orders(user, entry)
        return status

    def rest(self, user: str, entry: Json) -> int:
        """Places an order that must rest; its oid."""
        status = self.order(user, entry)
        assert "resting" in status, status
        oid: int = status["resting"]["oid"]
        return oid

    def buy(self, user: str, asset: int, px: str, sz: str, tif: str = "Gtc") -> Any:
        return self.order(user, limit(asset, True, px, sz, tif))

    def sell(self, user: str, asset: int, px: str, sz: str, tif: str = "Gtc") -> Any:
        return self.order(user, limit(asset, False, px, sz, tif))

    def trade(self, buyer: str, seller: str, asset: int, px: str, sz: str) -> None:
        """The seller rests, the buyer takes."""
        self.rest(seller, limit(asset, False, px, sz))
        status = self.order(buyer, limit(asset, True, px, sz, "Ioc"))
        assert "filled" in status, status

    def open_long(self, user: str, asset: int, px: str, sz: str, *, against: str = CAROL) -> None:
        self.trade(user, against, asset, px, sz)

    def open_short(self, user: str, asset: int, px: str, sz: str, *, against: str = CAROL) -> None:
        self.trade(against, user, asset, px, sz)

    def cancel(self, user: str, asset: int, oid: int) -> Any:
        answer = self.act(user, {"type": "cancel", "cancels": [{"a": asset, "o": oid}]})
        return answer["response"]["data"]["statuses"][0]

    def info(self, kind: str, **members: Any) -> Any:
        return self.exchange.info({"type": kind, **members}, now_ms=self.now)

    def status(self, user: str, oid: int | str) -> str:
        """The status of an order by oid or cloid."""
        found = self.info("orderStatus", user=user, oid=oid)
        return str(found["order"]["status"] if found["status"] == "order" else found["status"])

    def order_row(self, user: str, oid: int | str) -> Json:
        row: Json = self.info("orderStatus", user=user, oid=oid)["order"]["order"]
        return row

    def open_oids(self, user: str) -> list[int]:
        return [row["oid"] for row in self.info("openOrders", user=user)]

    def fills(self, user: str) -> list[Json]:
        """In execution order."""
        rows: list[Json] = self.info("userFillsByTime", user=user, startTime=0)
        return rows

    def position(self, user: str, coin: str) -> Json | None:
        """The `position` of a coin, None when flat."""
        dex = coin.partition(":")[0] if ":" in coin else ""
        for row in self.info("clearinghouseState", user=user, dex=dex)["assetPositions"]:
            if row["position"]["coin"] == coin:
                found: Json = row["position"]
                return found
        return None

    def szi(self, user: str, coin: str) -> str:
        position = self.position(user, coin)
        return "0.0" if position is None else position["szi"]

    def account_value(self, user: str) -> Decimal:
        return Decimal(self.info("clearinghouseState", user=user)["marginSummary"]["accountValue"])

    def spot(self, user: str, coin: str) -> Json:
        for row in self.info("spotClearinghouseState", user=user)["balances"]:
            if row["coin"] == coin:
                found: Json = row
                return found
        return {"total": "0.0", "hold": "0.0", "entryNtl": "0.0"}

    def mark(self, coin: str, price: str) -> None:
        self.exchange.set_mark_price(coin, Decimal(price))

    def drained(self, kind: str, *, user: str | None = None, coin: str | None = None) -> list[Any]:
        """The data of all messages of a kind since the last drain."""
        return [message.data for message in self.messages(kind, user=user, coin=coin)]

    def messages(self, kind: str, *, user: str | None = None, coin: str | None = None) -> list[StreamMessage]:
        return [
            message
            for message in self.exchange.drain()
            if message.kind == kind and message.user == user and (coin is None or message.coin == coin)
        ]

    def events(self, user: str) -> list[Json]:
        """What came on the `user` channel since the last drain."""
        return self.drained("userEvents", user=user)

    def updates(self, user: str) -> list[tuple[int, str]]:
        """(oid, status) of all order updates since the last drain."""
        return [
            (row["order"]["oid"], row["status"])
            for data in self.drained("orderUpdates", user=user)
            for row in data
        ]
