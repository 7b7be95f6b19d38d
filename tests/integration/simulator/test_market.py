"""The background market: two-sided, alive, and the same every time (seed and ticks decide everything)."""

import asyncio
from decimal import Decimal
from typing import Any

from adapters.simulator.app import Simulator, SimulatorOptions
from adapters.simulator.clock import ManualClock
from adapters.simulator.market import BackgroundMarket, MarketOptions
from tests.support.raw_client import RawClient
from tests.support.venue import ADDRESS, BTC, KEY, START_MS, limit, order, statuses, until, venue


def background(sim: Simulator) -> BackgroundMarket:
    assert sim.market is not None
    return sim.market


def books_after(seed: int, ticks: int) -> list[Any]:
    """Every book and price after so many ticks."""

    async def scenario() -> list[Any]:
        async with venue(seed=seed, market=MarketOptions()) as (sim, client):
            for _ in range(ticks):
                sim.advance(250)
                background(sim).tick()
            books = [await client.info(type="l2Book", coin=coin) for coin in ("BTC", "ETH", "SOL")]
            trades = [await client.info(type="recentTrades", coin=coin) for coin in ("BTC", "ETH", "SOL")]
            return [books, trades, await client.info(type="allMids")]

    return asyncio.run(scenario())


def test_the_same_seed_makes_the_same_market() -> None:
    assert books_after(11, 40) == books_after(11, 40)


def test_another_seed_makes_another_market() -> None:
    assert books_after(11, 5) != books_after(12, 5)


def test_there_are_always_two_sides_that_do_not_cross_around_a_moving_price() -> None:
    async def scenario() -> None:
        async with venue(market=MarketOptions(coins=("BTC", "kPEPE", "PURR/USDC"))) as (sim, client):
            prices = set()
            for _ in range(60):
                background(sim).tick()
                for coin in ("BTC", "kPEPE", "PURR/USDC"):
                    bids, asks = (await client.info(type="l2Book", coin=coin))["levels"]
                    assert bids
                    assert asks
                    assert Decimal(bids[0]["px"]) < Decimal(asks[0]["px"])
                prices.add(background(sim).price("BTC"))
            assert len(prices) == 60
            assert await client.info(type="recentTrades", coin="BTC") != []

    asyncio.run(scenario())


def test_a_resting_order_in_the_way_is_filled() -> None:
    async def scenario() -> None:
        market = MarketOptions(coins=("BTC",), take_probability=1.0)
        async with venue(market=market) as (sim, client):
            best = Decimal((await client.info(type="l2Book", coin="BTC"))["levels"][0][0]["px"])
            (status,) = statuses(await client.act(order(limit(BTC, True, str(int(best) + 1), "0.001"))))
            for _ in range(200):
                if not await client.info(type="openOrders", user=ADDRESS):
                    break
                background(sim).tick()
            (fill,) = await client.info(type="userFills", user=ADDRESS)
            assert (fill["oid"], fill["crossed"]) == (status["resting"]["oid"], False)

    asyncio.run(scenario())


def test_between_two_sets_of_quotes_nobody_sees_an_empty_book() -> None:
    async def scenario() -> None:
        async with venue(market=MarketOptions(coins=("BTC",))) as (sim, client):
            socket = await client.connect()
            await socket.subscribe(type="bbo", coin="BTC")
            for _ in range(30):
                background(sim).tick()
            await socket.sync()
            assert len(socket.on("bbo")) > 10
            assert all(side is not None for frame in socket.on("bbo") for side in frame["bbo"])

    asyncio.run(scenario())


def test_the_bots_never_run_out_of_requests_or_money() -> None:
    async def scenario() -> None:
        async with venue(market=MarketOptions(coins=("ETH",), take_probability=0.0)) as (sim, client):
            for _ in range(600):
                background(sim).tick()
            bids, asks = (await client.info(type="l2Book", coin="ETH"))["levels"]
            assert (len(bids), len(asks)) == (5, 5)

    asyncio.run(scenario())


def test_on_the_wall_clock_blocks_and_ticks_follow_each_other_by_themselves() -> None:
    async def scenario() -> None:
        options = SimulatorOptions(
            accounts={ADDRESS: Decimal(1000)}, market=MarketOptions(tick_ms=1), block_ms=1
        )
        async with Simulator(options) as sim, RawClient(sim.url, KEY) as client:
            start = (await client.info(type="exchangeStatus"))["time"]
            price = background(sim).price("BTC")
            await until(lambda: background(sim).price("BTC") != price)
            await until(lambda: sim.exchange.now_ms > start)

    asyncio.run(scenario())


def test_a_market_that_fails_is_reported_when_the_simulator_stops() -> None:
    async def scenario() -> None:
        sim = Simulator(SimulatorOptions(market=MarketOptions(tick_ms=1)))
        await sim.start()
        background(sim).tick = None  # type: ignore[method-assign,assignment]
        await until(lambda: not sim.is_healthy)
        try:
            await sim.stop()
        except TypeError:
            return
        raise AssertionError("the failure of the market was swallowed")

    asyncio.run(scenario())


def test_on_a_manual_clock_nothing_moves_by_itself() -> None:
    async def scenario() -> None:
        sim = Simulator(
            SimulatorOptions(market=MarketOptions(tick_ms=1), block_ms=1), clock=ManualClock(START_MS)
        )
        async with sim:
            price = background(sim).price("BTC")
            async with RawClient(sim.url, KEY) as client:
                for _ in range(20):
                    assert (await client.info(type="exchangeStatus"))["time"] == START_MS
            assert background(sim).price("BTC") == price

    asyncio.run(scenario())
