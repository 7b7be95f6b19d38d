"""A process that was away while an account lived through a day at the venue: its books after the restart."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.ledger_source import LedgerEventSource
from adapters.simulator.app import Simulator, SimulatorOptions
from adapters.simulator.command import development_account
from adapters.simulator.counterparty import CannotTrade
from adapters.simulator.market import MarketOptions
from adapters.storage.ledger import OrderLedger
from domain.enums import OrderType
from domain.position import Position
from projections import Views
from projections.verifying import ViewsVerdict, verify_views
from tests.support.live import FUNDS, PAIR, Live
from tests.support.raw_client import RawClient

HOUR_MS = 3_600_000
HOURS = 24
PAIRS = (PAIR, "ETH-USD")


class YesterdaysClock:
    """Block time that is a day behind the wall until it is moved.

    Not quite: what is signed by the wall's clock must not lie a whole day ahead (sheet 3.8).
    """

    def __init__(self) -> None:
        self._behind_ms = HOURS * HOUR_MS - 60_000

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 - self._behind_ms

    def shift(self, by_ms: int) -> None:
        self._behind_ms -= by_ms


class Day:
    """What happens to the account while nobody listens: by the market, by hand, and by the venue."""

    def __init__(self, world: Live, by_hand: RawClient, seed: int) -> None:
        self._world = world
        self._by_hand = by_hand
        self._draw = random.Random(seed)
        self._assets: dict[str, int] = {}

    async def live_through(self) -> None:
        markets = (await self._by_hand.info(type="meta"))["universe"]
        self._assets = {market["name"]: index for index, market in enumerate(markets)}
        for hour in range(HOURS):
            for _ in range(14):
                await self._one_thing()
            if hour == HOURS // 2:
                await self._change_leverage()
            self._world.sim.advance(HOUR_MS)
        await self._one_more_order()
        assert self._world.sim.market is not None
        self._world.sim.market.tick()  # somebody has to buy
        self._world.sim.liquidate(self._world.account, "ETH")

    async def _one_thing(self) -> None:
        what = self._draw.random()
        coin = self._draw.choice(("BTC", "ETH"))
        if what < 0.35:
            await self._trade(coin, is_buy=self._draw.random() < 0.6)
        elif what < 0.6:
            await self._rest(coin)
        elif what < 0.85:
            await self._fill_a_resting_order()
        else:
            await self._cancel_a_resting_order()

    async def _trade(self, coin: str, *, is_buy: bool) -> None:
        factor = Decimal("0.97") if is_buy else Decimal("1.03")
        oid = await self._order(coin, is_buy, await self._mid(coin) * factor)
        self._fill(oid)

    async def _rest(self, coin: str) -> None:
        await self._order(coin, True, await self._mid(coin) * Decimal("0.9"))

    async def _one_more_order(self) -> None:
        await self._rest("BTC")

    async def _order(self, coin: str, is_buy: bool, price: Decimal) -> int:
        order = {
            "a": self._assets[coin],
            "b": is_buy,
            "p": str(int(price)),
            "s": "0.003" if coin == "BTC" else "0.05",
            "r": False,
            "t": {"limit": {"tif": "Gtc"}},
        }
        answer = await self._by_hand.act({"type": "order", "orders": [order], "grouping": "na"})
        (entry,) = answer["response"]["data"]["statuses"]
        told: dict[str, Any] = entry.get("resting") or entry["filled"]
        return int(told["oid"])

    async def _fill_a_resting_order(self) -> None:
        resting = await self._resting()
        if resting:
            part = self._draw.choice((Decimal("0.5"), Decimal(1)))
            self._fill(self._draw.choice(resting)["oid"], part)

    def _fill(self, oid: int, part: Decimal = Decimal(1)) -> None:
        with contextlib.suppress(CannotTrade):  # it filled meanwhile, or half of it is too small an order
            self._world.sim.fill_order(self._world.account, oid, part)

    async def _cancel_a_resting_order(self) -> None:
        resting = await self._resting()
        if resting:
            order = self._draw.choice(resting)
            cancel = {"a": self._assets[order["coin"]], "o": order["oid"]}
            await self._by_hand.act({"type": "cancel", "cancels": [cancel]})

    async def _change_leverage(self) -> None:
        answer = await self._by_hand.act(
            {"type": "updateLeverage", "asset": self._assets["BTC"], "isCross": True, "leverage": 7}
        )
        assert answer["status"] == "ok", answer

    async def _resting(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = await self._by_hand.info(
            type="frontendOpenOrders", user=self._world.account
        )
        return rows

    async def _mid(self, coin: str) -> Decimal:
        while True:
            mids = await self._by_hand.info(type="allMids")
            if coin in mids:
                return Decimal(mids[coin])
            await asyncio.sleep(0.05)


async def _keep_moving(sim: Simulator) -> None:
    """With a clock of its own a simulator moves only when told to."""
    while True:
        assert sim.market is not None
        sim.market.tick()
        sim.advance(0)
        await asyncio.sleep(0.05)


async def _everything(client: RawClient, kind: str, account: str, since_ms: int) -> list[dict[str, Any]]:
    """All pages of a list by time; no page of these ends within a millisecond that goes on."""
    rows: dict[str, dict[str, Any]] = {}
    start_ms = since_ms
    while True:
        page = await client.info(type=kind, user=account, startTime=start_ms)
        news = [row for row in page if str(row) not in rows]
        rows |= {str(row): row for row in page}
        if not news:
            return list(rows.values())
        start_ms = max(row["time"] for row in page)


def _held(positions: dict[str, Position]) -> dict[str, tuple[Decimal, Decimal]]:
    return {pair: (held.amount, held.funding) for pair, held in positions.items()}


@pytest.mark.parametrize("seed", [1, 2])
def test_after_a_day_away_the_books_equal_the_venue_to_the_last_digit(seed: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        key = development_account(seed)
        options = SimulatorOptions(seed=seed, accounts={key.address: FUNDS}, market=MarketOptions())
        async with (
            Simulator(options, clock=YesterdaysClock()) as sim,
            RawClient(sim.url, key.private_key) as by_hand,
        ):
            world = Live(sim, tmp_path, seed)
            moving = asyncio.create_task(_keep_moving(sim))
            async with world.session(trading_pairs=PAIRS):
                await world.until(
                    "both markets have two sides",
                    lambda: all(world.connector.order_book(pair).mid_price is not None for pair in PAIRS),
                )
                begin_ms = world.connector.books_begin_ms
                for price in ("0.99", "0.98", "0.97"):
                    order = world.connector.buy(PAIR, Decimal("0.01"), world.price(price))
                    await world.until_state(order, "open")
                taken = world.connector.buy("ETH-USD", Decimal("0.5"), order_type=OrderType.MARKET)
                await world.until_state(taken, "filled")
                before = world.runtime.last_position
            await Day(world, by_hand, seed).live_through()
            fills = await _everything(by_hand, "userFillsByTime", world.account, begin_ms + 1)
            history = await by_hand.info(type="historicalOrders", user=world.account)
            assert len(fills) + len(history) >= 300, (len(fills), len(history))
            async with world.session(trading_pairs=PAIRS):
                # From here on nothing happens any more, so that what is asked one by one belongs together.
                moving.cancel()
                await world.agree()
                assert world.runtime.last_position > before
                state = await by_hand.info(type="clearinghouseState", user=world.account)
                funding = await _everything(by_hand, "userFunding", world.account, begin_ms + 1)
                assert len(funding) >= HOURS
                paid = {pair: Decimal(0) for pair in PAIRS}
                for row in funding:
                    paid[f"{row['delta']['coin']}-USD"] += Decimal(row["delta"]["usdc"])
                held = _held(world.connector.positions)
                assert {pair: held[pair][1] for pair in PAIRS} == paid
                for row in state["assetPositions"]:
                    position = world.connector.positions[f"{row['position']['coin']}-USD"]
                    assert position.amount == Decimal(row["position"]["szi"])
                    assert position.leverage == row["position"]["leverage"]["value"]
                assert any("iquidat" in row["dir"] for row in fills), "the venue liquidated the account"
                with Views(world.views_path) as views:
                    external = [order for order in views.orders() if order.external]
                    assert external, "orders placed by hand are in the books"
        with OrderLedger.open(world.ledger_path, writer=False) as ledger:
            report = verify_views(LedgerEventSource(ledger), world.views_path)
        assert report.views is ViewsVerdict.EQUAL
        assert not report.mismatches

    asyncio.run(scenario())
