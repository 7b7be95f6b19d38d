"""Restart and storage: what a new session makes of what the last one left."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

from adapters.simulator.engine.options import SpotPairSpec, TokenSpec
from domain.enums import OrderType
from tests.support.corpus.elsewhere import cancel_elsewhere, move_to_spot
from tests.support.corpus.world import AMOUNT, ASK, BELOW, SMALL_VENUE, Scenario, World, scenario
from tests.support.live import PAIR

SCENARIOS: dict[str, Scenario] = {}


@scenario(
    "The process died between sending an order and its answer; the next session finds it open and keeps it.",
    into=SCENARIOS,
)
async def crash_before_the_answer(world: World) -> None:
    async with world.session():
        world.inject("answer_lost", action="order", params={"how": "hang"})
        world.inject("stream_lost", channel="orderUpdates")
        world.connector.buy(PAIR, AMOUNT, BELOW, client_order_id="bid")
        await world.until_topic("bid", "order.submitted")
        await world.until("the venue has it", lambda: bool(world.open_orders()))
        world.keep_disk()
    world.restore_disk()
    async with world.session():
        await world.until_state("bid", "open")
        await world.settled()


@scenario(
    "The process died with an order recorded and not sent: it never was, and is not placed late.",
    into=SCENARIOS,
)
async def crash_before_the_order_was_sent(world: World) -> None:
    async with world.session():
        world.inject("request_lost", action="order", params={"how": "hang"})
        world.connector.buy(PAIR, AMOUNT, BELOW, client_order_id="bid")
        await world.until_topic("bid", "order.submitted")
        world.keep_disk()
    world.restore_disk()
    async with world.session():
        await world.until_state("bid", "failed")
        await world.settled()


@scenario(
    "The ledger cannot write for a while: trading halts, an order placed meanwhile is not sent; it resumes.",
    into=SCENARIOS,
)
async def ledger_cannot_write_for_a_while(world: World) -> None:
    async with world.session():
        connector = world.connector
        await world.rest("bid")
        world.runtime.stalled(OSError("No space left on device"))
        connector.buy(PAIR, AMOUNT, BELOW - 10, client_order_id="too late")
        await world.until_state("too late", "failed")
        world.fill("bid")
        await world.until_state("bid", "filled")
        world.runtime.resumed()
        await world.until("trading resumes", lambda: connector.ready)
        connector.buy(PAIR, AMOUNT, BELOW - 10, client_order_id="after it")
        await world.until_state("after it", "open")
        await world.settled()


@scenario("An order was cleanly rejected, then the process restarted: nobody asks for it.", into=SCENARIOS)
async def rejected_order_after_a_restart(world: World) -> None:
    async with world.session():
        world.connector.buy(PAIR, AMOUNT, ASK + 100, OrderType.LIMIT_MAKER, client_order_id="post only")
        await world.until_state("post only", "failed")
    async with world.session():
        await world.settled()


@scenario("Started again with a position: it is neither doubled nor flattened.", into=SCENARIOS)
async def restart_with_a_position(world: World) -> None:
    async with world.session():
        world.connector.buy(PAIR, AMOUNT, ASK, client_order_id="long")
        await world.until_state("long", "filled")
        await world.settled()
    async with world.session():
        await world.settled()
        assert world.connector.position(PAIR).amount == AMOUNT


@scenario(
    "Three orders rest over a restart; meanwhile one fills and one is cancelled by hand. None is sent again.",
    into=SCENARIOS,
)
async def restart_with_open_orders(world: World) -> None:
    async with world.session():
        for number, name in enumerate(("filled", "kept", "cancelled")):
            await world.rest(name, BELOW - 10 * number)
        oids = {name: world.oid(name) for name in ("filled", "cancelled")}
    world.sim.fill_order(world.account, oids["filled"])
    world.quote()
    await asyncio.to_thread(cancel_elsewhere, world, oids["cancelled"])
    async with world.session():
        await world.until_state("filled", "filled")
        await world.until_state("cancelled", "cancelled")
        await world.settled()


@scenario(
    "2,100 orders rest over a restart: every one is taken up.",
    into=SCENARIOS,
    venue=replace(SMALL_VENUE, open_orders_base=5_000, address_budget=1_000_000),
)
async def restart_with_2100_orders(world: World) -> None:
    async with world.session(weight_per_minute=1_000_000):
        connector = world.connector
        for number in range(2_100):
            connector.buy(PAIR, Decimal("0.001"), Decimal(30_000 + number))
        await world.until(
            "all are open",
            lambda: sum(order.state == "open" for order in connector.open_orders()) == 2_100,
        )
    async with world.session():
        await world.settled()


_RARE = TokenSpec("RARE", 2, 8, 10, "0x" + "1a" * 16)
_RARE_VENUE = replace(
    SMALL_VENUE,
    tokens=(*SMALL_VENUE.tokens, _RARE),
    spot_pairs=(*SMALL_VENUE.spot_pairs, SpotPairSpec(200, base=2, quote=0, mark_px=Decimal(400_000_000))),
)


@scenario(
    "Nine hundred-millionths are bought over a restart: the amount is kept to the last digit.",
    into=SCENARIOS,
    venue=_RARE_VENUE,
)
async def amount_of_9e_8(world: World) -> None:
    await asyncio.to_thread(move_to_spot, world)
    world.sim.trade("@200", is_buy=False, size=Decimal("0.000001"), price=Decimal(400_000_000))
    async with world.session():
        world.connector.buy("RARE-USDC", Decimal("0.00000009"), Decimal(400_000_000), client_order_id="bid")
        await world.until_state("bid", "filled")
    async with world.session():
        assert world.connector.position("RARE-USDC").amount.normalize() != 0
        await world.rest("next bid")


@scenario("Two funding payments at one and the same millisecond: both are booked.", into=SCENARIOS)
async def two_fundings_at_one_time(world: World) -> None:
    async with world.session(trading_pairs=(PAIR, "ETH-USD")):
        connector = world.connector
        for pair, price in ((PAIR, ASK), ("ETH-USD", Decimal(2_299))):
            connector.buy(pair, Decimal("0.1"), price, client_order_id=f"long {pair}")
            await world.until_state(f"long {pair}", "filled")
        world.sim.settle_funding({"BTC": Decimal("0.0001"), "ETH": Decimal("0.0001")})
        positions = [connector.position(pair) for pair in (PAIR, "ETH-USD")]
        await world.until("both are booked", lambda: all(held.funding for held in positions))
        await world.settled()


@scenario(
    "A cancelled order has left memory when a fill of it arrives: read from the ledger again, and booked.",
    into=SCENARIOS,
)
async def message_for_an_order_that_left_memory(world: World) -> None:
    async with world.session(retention_ns=200_000_000):
        connector = world.connector
        await world.rest("bid")
        world.inject("fill_before_cancel", params={"fraction": "0.5", "stream_delay_ms": 1_500})
        connector.cancel("bid")
        await world.until_state("bid", "cancelled")
        await asyncio.sleep(0.5)
        await world.rest("next bid", BELOW - 100)
        assert connector.order("bid") is None, "it has left memory"
        await world.until_topic("bid", "order.filled")
        await world.settled()
