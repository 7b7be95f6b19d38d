"""Recordings that are no incident: where sessions made in code begin, and one of every kind of input."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from domain.inputs import OrderLookedUp
from tests.support.corpus.elsewhere import cancel_elsewhere
from tests.support.corpus.world import AMOUNT, BELOW, Scenario, World, scenario
from tests.support.live import PAIR

SCENARIOS: dict[str, Scenario] = {}
FORMATS: dict[str, Scenario] = {}


@scenario(
    "A new account, a quiet market, ready to trade: what sessions made in code begin with.", into=SCENARIOS
)
async def ready_to_trade(world: World) -> None:
    async with world.session(trading_pairs=(PAIR, "ETH-USD"), order_ttl_ms=10_000):
        pass


@scenario(
    "Every kind of input there is, as format 1 of recordings holds it. Kept for ever, never rewritten.",
    into=FORMATS,
)
async def format_1(world: World) -> None:
    async with world.session():
        await world.rest("kept")
        await world.rest("cancelled by hand", BELOW - 10)
        by_hand = world.oid("cancelled by hand")
    await asyncio.to_thread(cancel_elsewhere, world, by_hand)
    async with world.session(retention_ns=200_000_000):
        connector = world.connector
        await world.until_state("cancelled by hand", "cancelled")
        connector.set_leverage(PAIR, 10)
        connector.schedule_cancel(None)
        connector.amend("kept", BELOW - 20, AMOUNT)
        await world.until_topic("kept", "order.amended")
        world.inject("answer_lost", action="order")
        world.inject("fill_before_cancel", params={"fraction": "0.5", "stream_delay_ms": 1_500})
        connector.buy(PAIR, AMOUNT, BELOW + 30, client_order_id="in doubt")
        await world.until_state("in doubt", "open")
        connector.cancel("in doubt")
        await world.until_state("in doubt", "cancelled")
        await world.until("its fill was late", lambda: bool(world.inputs(OrderLookedUp)))
        await world.until_topic("in doubt", "order.filled")
        connector.update_isolated_margin(PAIR, Decimal(1))
        world.runtime.stalled(OSError("No space left on device"))
        world.runtime.resumed()
        world.sim.drop_sockets(world.account)
        await world.until("the loss is noticed", lambda: connector.reconnects > 0)
        await world.until("it is ready again", lambda: connector.ready)
        connector.cancel_all()
        await world.until_state("kept", "cancelled")
        await world.settled()
