"""Three poor traders on four markets who do anything at random, and what must hold all the while."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from random import Random

from adapters.simulator.engine import VenueOptions
from adapters.simulator.engine.state import LIQUIDATOR
from tests.unit.simulator.engine.venue import (
    ALICE,
    BOB,
    BTC,
    CAROL,
    ETH,
    HYPE_SPOT,
    NTRN,
    Json,
    Venue,
    cloid,
    limit,
    trigger,
)

TRADERS = (ALICE, BOB, CAROL)
EVERYBODY = (*TRADERS, LIQUIDATOR)
COINS = {BTC: "BTC", ETH: "ETH", NTRN: "NTRN", HYPE_SPOT: "@107"}
PERPS = {BTC: "BTC", ETH: "ETH", NTRN: "NTRN"}
MIDDLES = {BTC: Decimal(43210), ETH: Decimal(2298), NTRN: Decimal("0.4512"), HYPE_SPOT: Decimal("31.25")}
TICKS = {BTC: Decimal(5), ETH: Decimal("0.5"), NTRN: Decimal("0.0001"), HYPE_SPOT: Decimal("0.01")}
SIZES = {
    BTC: ("0.0002", "0.05", "0.1", "0.25", "0.4"),
    ETH: ("0.005", "1", "2.5", "4", "8"),
    NTRN: ("30", "1000", "4000"),
    HYPE_SPOT: ("0.4", "5", "17.31"),
}
DEPOSIT = Decimal(3000)
SPOT_USDC = Decimal(1500)
SPOT_HYPE = Decimal(50)
ALIVE = ("open", "triggered")


class Crowd:
    """`step` lets something happen, `check` asserts every invariant through the venue's reads."""

    def __init__(self, options: VenueOptions, seed: int) -> None:
        self.random = Random(seed)
        self.venue = Venue(options, seed=seed, usdc=str(DEPOSIT))
        for user in TRADERS:
            self.venue.exchange.create_account(user, spot={"USDC": SPOT_USDC, "HYPE": SPOT_HYPE})
        self.cloids = 0
        self.last_status: dict[int, str] = {}
        self.seen: set[str] = set()
        """Statuses and fill texts that came up: a run that sees little proves little."""

    # -- what happens -------------------------------------------------------------------------------------

    def step(self) -> None:
        happening: tuple[tuple[int, Callable[[], None]], ...] = (
            (30, self.place),
            (20, self.trade),
            (6, self.arm),
            (8, self.place_family),
            (3, self.protect_position),
            (8, self.cancel),
            (8, self.modify),
            (12, self.nudge_mark),
            (2, self.crash),
            (3, self.set_leverage),
            (2, self.settle_funding),
            (2, self.wait),
            (1, self.start_twap),
            (2, self.enrich),
        )
        weights = [weight for weight, _ in happening]
        self.random.choices([act for _, act in happening], weights)[0]()

    def user(self) -> str:
        return self.random.choice(TRADERS)

    def asset(self) -> int:
        return self.random.choice((BTC, BTC, ETH, NTRN, HYPE_SPOT))

    def perp(self) -> int:
        return self.random.choice((BTC, BTC, ETH, NTRN))

    def side(self) -> bool:
        return self.random.random() < 0.5

    def price(self, asset: int, *, spread: int = 6) -> str:
        return str(MIDDLES[asset] + TICKS[asset] * self.random.randint(-spread, spread))

    def size(self, asset: int) -> str:
        return self.random.choice(SIZES[asset])

    def place(self) -> None:
        asset = self.asset()
        self.cloids += 1
        entry = limit(
            asset,
            self.side(),
            self.price(asset),
            self.size(asset),
            self.random.choice(("Gtc", "Gtc", "Ioc", "Alo", "FrontendMarket")),
            reduce_only=asset != HYPE_SPOT and self.random.random() < 0.3,
            cloid=cloid(self.cloids) if self.side() else None,
        )
        self.venue.orders(self.user(), entry)

    def trade(self) -> None:
        asset, is_buy = self.asset(), self.side()
        price, size = self.price(asset), self.size(asset)
        self.venue.orders(self.user(), limit(asset, not is_buy, price, size))
        self.venue.orders(self.user(), limit(asset, is_buy, price, size, "Ioc"))

    def arm(self) -> None:
        asset = self.perp()
        entry = trigger(
            asset,
            self.side(),
            self.price(asset, spread=20),
            self.size(asset),
            self.random.choice(("tp", "sl")),
            is_market=self.side(),
            reduce_only=self.side(),
        )
        self.venue.orders(self.user(), entry)

    def place_family(self) -> None:
        asset, is_buy = self.perp(), self.side()
        size = self.size(asset)
        low, entry, high = sorted((self.price(asset, spread=12) for _ in range(3)), key=Decimal)
        tp, sl = (high, low) if is_buy else (low, high)
        self.venue.orders(
            self.user(),
            limit(asset, is_buy, entry, size, self.random.choice(("Gtc", "Gtc", "Ioc"))),
            trigger(asset, not is_buy, tp, size, "tp"),
            trigger(asset, not is_buy, sl, size, "sl"),
            grouping="normalTpsl",
        )

    def protect_position(self) -> None:
        asset, user = self.perp(), self.user()
        is_long = Decimal(self.venue.szi(user, PERPS[asset])) > 0
        entry = trigger(
            asset, not is_long, self.price(asset, spread=20), "0", self.random.choice(("tp", "sl"))
        )
        self.venue.orders(user, entry, grouping="positionTpsl")

    def cancel(self) -> None:
        user = self.user()
        rows = self.venue.info("openOrders", user=user)
        if rows:
            row = self.random.choice(rows)
            assert self.venue.cancel(user, asset_of(row), row["oid"]) == "success"

    def modify(self) -> None:
        user = self.user()
        rows = self.live(user)
        if not rows:
            return
        row = self.random.choice(rows)
        asset, is_buy = asset_of(row), row["side"] == "B"
        if row["isPositionTpsl"]:
            return
        if row["isTrigger"]:
            entry = trigger(asset, is_buy, self.price(asset, spread=20), self.size(asset), "tp")
        else:
            entry = limit(asset, is_buy, self.price(asset), self.size(asset), reduce_only=row["reduceOnly"])
        change = {"oid": row["oid"], "order": entry}
        self.venue.act(user, {"type": "batchModify", "modifies": [change], "a": True})
        assert self.venue.status(user, row["oid"]) == "canceled"

    def nudge_mark(self) -> None:
        asset = self.perp()
        self.venue.mark(COINS[asset], self.price(asset, spread=20))

    def crash(self) -> None:
        asset = self.perp()
        factor = Decimal(self.random.choice(("0.96", "0.95", "0.9", "0.8", "1.04", "1.05", "1.1", "1.25")))
        self.venue.exchange.set_mark_price(COINS[asset], MIDDLES[asset] * factor)

    def set_leverage(self) -> None:
        action = {
            "type": "updateLeverage",
            "asset": self.perp(),
            "isCross": self.side(),
            "leverage": self.random.choice((2, 3, 20)),
        }
        self.venue.act(self.user(), action)

    def settle_funding(self) -> None:
        rate = Decimal(self.random.randint(-5000, 5000)) / 10_000_000
        self.venue.exchange.settle_funding(now_ms=self.venue.now, rates={COINS[self.perp()]: rate})

    def wait(self) -> None:
        self.venue.exchange.advance(self.venue.now + self.random.randint(1, 40) * 60_000)

    def start_twap(self) -> None:
        twap = {"a": BTC, "b": self.side(), "s": "0.3", "r": self.side(), "m": 5, "t": self.side()}
        self.venue.act(self.user(), {"type": "twapOrder", "twap": twap})

    def enrich(self) -> None:
        """Money from outside: without it the crowd is broke before long."""
        self.venue.exchange.create_account(self.user(), usdc=Decimal(500))

    # -- what must hold -----------------------------------------------------------------------------------

    def check(self) -> None:
        self.fills = {user: self.venue.fills(user) for user in EVERYBODY}
        self.no_book_is_crossed_and_each_is_the_sum_of_its_orders()
        self.money_is_neither_made_nor_lost()
        self.positions_are_the_sum_of_their_fills_and_cancel_out()
        self.every_trade_has_a_buyer_and_a_seller()
        self.reduce_only_orders_never_exceed_their_position()
        self.orders_are_found_by_every_id_and_end_once()
        self.an_order_is_filled_by_its_fills()
        self.holds_are_those_of_the_open_orders()

    def live(self, user: str) -> list[Json]:
        rows: list[Json] = self.venue.info("frontendOpenOrders", user=user)
        return rows

    def no_book_is_crossed_and_each_is_the_sum_of_its_orders(self) -> None:
        resting: dict[tuple[str, str, str], tuple[Decimal, int]] = defaultdict(lambda: (Decimal(0), 0))
        for row in self.resting():
            key = (row["coin"], row["side"], row["limitPx"])
            size, count = resting[key]
            resting[key] = (size + Decimal(row["sz"]), count + 1)
        for coin in COINS.values():
            bids, asks = self.venue.info("l2Book", coin=coin)["levels"]
            assert not bids or not asks or Decimal(bids[0]["px"]) < Decimal(asks[0]["px"])
            for side, shown in (("B", bids), ("A", asks)):
                for level in shown:
                    expected = (Decimal(level["sz"]), level["n"])
                    assert resting.pop((coin, side, level["px"])) == expected
                assert len(shown) == 20 or not any(key[:2] == (coin, side) for key in resting)

    def resting(self) -> Iterator[Json]:
        for user in EVERYBODY:
            for row in self.live(user):
                if not row["isTrigger"]:
                    yield row

    def money_is_neither_made_nor_lost(self) -> None:
        usdc = hype = Decimal(0)
        deposits = Decimal(0)
        for user in EVERYBODY:
            state = self.venue.info("clearinghouseState", user=user)
            usdc += Decimal(state["marginSummary"]["totalRawUsd"]) + Decimal(
                self.venue.spot(user, "USDC")["total"]
            )
            hype += Decimal(self.venue.spot(user, "HYPE")["total"])
            for fill in self.fills[user]:
                if fill["feeToken"] == "HYPE":
                    hype += Decimal(fill["fee"])
                else:
                    usdc += Decimal(fill["fee"])
            for row in self.venue.info("userFunding", user=user, startTime=0):
                usdc -= Decimal(row["delta"]["usdc"])
            for row in self.venue.info("userNonFundingLedgerUpdates", user=user, startTime=0):
                deposits += Decimal(row["delta"].get("usdc", 0))
        assert usdc == deposits + len(TRADERS) * SPOT_USDC
        assert hype == len(TRADERS) * SPOT_HYPE

    def positions_are_the_sum_of_their_fills_and_cancel_out(self) -> None:
        totals: dict[str, Decimal] = defaultdict(Decimal)
        longs: dict[str, Decimal] = defaultdict(Decimal)
        for user in EVERYBODY:
            sums: dict[str, Decimal] = defaultdict(Decimal)
            for fill in self.fills[user]:
                self.seen.add(fill["dir"])
                if fill["coin"] == "@107":
                    continue
                assert Decimal(fill["startPosition"]) == sums[fill["coin"]]
                sums[fill["coin"]] += Decimal(fill["sz"]) * (1 if fill["side"] == "B" else -1)
            for coin in PERPS.values():
                assert Decimal(self.venue.szi(user, coin)) == sums[coin]
                totals[coin] += sums[coin]
                longs[coin] += max(sums[coin], Decimal(0))
        assert not any(totals.values())
        meta, contexts = self.venue.info("metaAndAssetCtxs")
        for market, context in zip(meta["universe"], contexts, strict=True):
            assert Decimal(context["openInterest"]) == longs[market["name"]]

    def every_trade_has_a_buyer_and_a_seller(self) -> None:
        pairs: dict[int, list[tuple[str, str, str, str]]] = defaultdict(list)
        for user in EVERYBODY:
            for fill in self.fills[user]:
                pairs[fill["tid"]].append((fill["side"], fill["coin"], fill["px"], fill["sz"]))
        for pair in pairs.values():
            assert sorted(side for side, *_ in pair) == ["A", "B"]
            assert pair[0][1:] == pair[1][1:]

    def reduce_only_orders_never_exceed_their_position(self) -> None:
        for user in TRADERS:
            totals: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
            for row in self.live(user):
                if row["reduceOnly"] and not row["isTrigger"]:
                    totals[row["coin"], row["side"]] += Decimal(row["sz"])
            for (coin, side), total in totals.items():
                szi = Decimal(self.venue.szi(user, coin))
                assert total <= (szi if side == "A" else -szi)

    def orders_are_found_by_every_id_and_end_once(self) -> None:
        updates = [m for m in self.venue.exchange.drain() if m.frame() and m.kind == "orderUpdates"]
        for message in updates:
            assert isinstance(message.data, list)
            for row in message.data:
                oid, status = row["order"]["oid"], row["status"]
                assert self.last_status.get(oid, "open") in ALIVE
                self.last_status[oid] = status
                self.seen.add(status)
        for user in TRADERS:
            rows = self.live(user)
            assert len({row["oid"] for row in rows}) == len(rows)
            for row in rows:
                assert self.venue.order_row(user, row["oid"]) == row
                assert self.venue.status(user, row["oid"]) == self.last_status[row["oid"]]
                assert self.last_status[row["oid"]] in ALIVE
                assert Decimal(row["sz"]) > 0 or row["isPositionTpsl"]
                if row["cloid"] is not None:
                    assert self.venue.order_row(user, row["cloid"]) == row

    def an_order_is_filled_by_its_fills(self) -> None:
        for user in TRADERS:
            filled: dict[int, Decimal] = defaultdict(Decimal)
            for fill in self.fills[user]:
                filled[fill["oid"]] += Decimal(fill["sz"])
            for oid, size in filled.items():
                row = self.venue.order_row(user, oid)
                accounted = size + Decimal(row["sz"])
                assert (
                    accounted == Decimal(row["origSz"])
                    or (row["reduceOnly"] and accounted < Decimal(row["origSz"]))
                    or row["isPositionTpsl"]
                )

    def holds_are_those_of_the_open_orders(self) -> None:
        for user in TRADERS:
            holds: dict[str, Decimal] = defaultdict(Decimal)
            for row in self.live(user):
                if row["coin"] == "@107":
                    size = Decimal(row["sz"])
                    if row["side"] == "B":
                        holds["USDC"] += size * Decimal(row["limitPx"])
                    else:
                        holds["HYPE"] += size
            for token in ("USDC", "HYPE"):
                balance = self.venue.spot(user, token)
                assert Decimal(balance["hold"]) == holds[token] <= Decimal(balance["total"])


def asset_of(row: Json) -> int:
    (asset,) = (asset for asset, coin in COINS.items() if coin == row["coin"])
    return asset
