"""Numbers: prices, sizes, fees and nonces to the last digit."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

from adapters.simulator.command import development_account
from adapters.simulator.engine.options import FeeRates, FeeTier
from domain.enums import PositionAction
from tests.support.corpus.elsewhere import exchange, move_to_spot
from tests.support.corpus.world import AMOUNT, ASK, BELOW, BID, SMALL_VENUE, Scenario, World, scenario
from tests.support.live import PAIR

SCENARIOS: dict[str, Scenario] = {}


@scenario("The integer price 123456 is valid with six figures, and is sent as 123456.", into=SCENARIOS)
async def integer_price_123456(world: World) -> None:
    async with world.session():
        world.sim.set_oracle_price("BTC", Decimal(100_000))
        world.sim.set_mark_price("BTC", Decimal(100_000))
        world.connector.sell(PAIR, AMOUNT, Decimal(123_456), client_order_id="ask")
        await world.until_state("ask", "open")
        await world.settled()


@scenario(
    "The mark price is a round 98.0; a price with all its decimals, 97.531, still goes out as it is.",
    into=SCENARIOS,
)
async def round_mark_price(world: World) -> None:
    async with world.session(trading_pairs=(PAIR, "SOL-USD")):
        world.sim.set_mark_price("SOL", Decimal(98))
        world.connector.buy("SOL-USD", Decimal(1), Decimal("97.531"), client_order_id="bid")
        await world.until_state("bid", "open")
        await world.settled()


@scenario("0.29 and 0.57 stay whole steps; 0.0119999 goes down to 0.01199, never up.", into=SCENARIOS)
async def sizes_that_floats_lose(world: World) -> None:
    async with world.session():
        for amount in ("0.29", "0.57", "0.0119999"):
            world.connector.buy(PAIR, Decimal(amount), BELOW, client_order_id=amount)
            await world.until_state(amount, "open")
        await world.settled()


@scenario(
    "A taker's fee is paid and a maker's rebate received; entry and exit give the venue's own profit.",
    into=SCENARIOS,
    venue=replace(
        SMALL_VENUE,
        fee_tiers=(
            FeeTier(
                Decimal(0),
                FeeRates(
                    cross=Decimal("0.00045"),
                    add=Decimal("-0.00003"),
                    spot_cross=Decimal("0.0007"),
                    spot_add=Decimal("0.0004"),
                ),
            ),
        ),
    ),
)
async def fee_paid_and_rebate_received(world: World) -> None:
    async with world.session():
        connector = world.connector
        connector.buy(PAIR, AMOUNT, ASK, client_order_id="taken")
        await world.until_state("taken", "filled")
        connector.sell(PAIR, AMOUNT, ASK + 80, client_order_id="made", position_action=PositionAction.CLOSE)
        await world.until_state("made", "open")
        world.fill("made")
        await world.until_state("made", "filled")
        await world.settled()


@scenario("A spot buy pays its fee in the token it buys.", into=SCENARIOS)
async def spot_fee_in_the_base_token(world: World) -> None:
    async with world.session():
        connector = world.connector
        await asyncio.to_thread(move_to_spot, world)
        world.sim.trade("PURR/USDC", is_buy=False, size=Decimal(1_000), price=Decimal("0.19"))
        connector.buy("PURR-USDC", Decimal(100), Decimal("0.19"), client_order_id="spot")
        await world.until_state("spot", "filled")


@scenario("A builder's fee is part of the fee that was paid, and is told apart.", into=SCENARIOS)
async def builder_fee(world: World) -> None:
    async with world.session():
        await asyncio.to_thread(_buy_through_a_builder, world)
        await world.until("its fill is booked", lambda: world.connector.position(PAIR).amount == AMOUNT)
        await world.settled()


def _buy_through_a_builder(world: World) -> None:
    builder = development_account(98).address.lower()
    client = exchange(world)
    assert client.approve_builder_fee(builder, "0.1%")["status"] == "ok"
    terms = {"limit": {"tif": "Ioc"}}
    answer = client.order("BTC", True, float(AMOUNT), float(ASK), terms, builder={"b": builder, "f": 50})
    assert answer["status"] == "ok", answer


@scenario("One order fills in thirty parts at three prices: its average price is exact.", into=SCENARIOS)
async def average_over_thirty_fills(world: World) -> None:
    async with world.session():
        sim = world.sim
        for number in range(30):
            size = Decimal("0.00100") + Decimal("0.00001") * (number % 7)
            sim.trade("BTC", is_buy=True, size=size, price=BID + 1 + number % 3)
        world.connector.sell(PAIR, Decimal("0.03"), BID + 1, client_order_id="ask")
        await world.until_state("ask", "filled")
        await world.settled()


@scenario("Twenty orders within one millisecond: every request has a nonce of its own.", into=SCENARIOS)
async def twenty_orders_in_a_millisecond(world: World) -> None:
    async with world.session():
        for number in range(20):
            world.connector.buy(PAIR, AMOUNT, BELOW - number, client_order_id=f"bid {number}")
        for number in range(20):
            await world.until_state(f"bid {number}", "open")
        await world.settled()


@scenario("A fill of kPEPE is booked: the coin's name is not upper-cased.", into=SCENARIOS)
async def kpepe_keeps_its_k(world: World) -> None:
    world.sim.trade("kPEPE", is_buy=False, size=Decimal(100_000), price=Decimal("0.00157"))
    world.sim.trade("kPEPE", is_buy=True, size=Decimal(100_000), price=Decimal("0.00156"))
    async with world.session(trading_pairs=(PAIR, "kPEPE-USD")):
        world.connector.buy("kPEPE-USD", Decimal(20_000), Decimal("0.00157"), client_order_id="bid")
        await world.until_state("bid", "filled")
        await world.settled()
