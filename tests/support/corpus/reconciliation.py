"""Reconciliation: what the venue lists, and what is missing from its lists."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

from hyperliquid.utils.types import Cloid

from adapters.simulator.command import development_account
from domain.events import AccountLedgerUpdateBooked
from domain.inputs import StreamFrame
from tests.support.corpus.elsewhere import exchange
from tests.support.corpus.world import AMOUNT, ASK, BELOW, Scenario, World, scenario
from tests.support.live import PAIR

SCENARIOS: dict[str, Scenario] = {}

_OFTEN: dict[str, Any] = {
    "reconcile_every_ns": 400_000_000,
    "thorough_every_ns": 400_000_000,
    "grace_ms": 300,
    "weight_per_minute": 10**6,
}
"""A comparison every part of a second, and weight for as many."""


@scenario(
    "Fills and a funding were missed between two sessions: repaired, and by the same events in every replay.",
    into=SCENARIOS,
)
async def repairs_after_a_night_off(world: World) -> None:
    async with world.session():
        await world.rest("bid")
        await world.rest("lower bid", BELOW - 10)
        oids = [world.oid("bid"), world.oid("lower bid")]
    world.sim.fill_order(world.account, oids[0], Decimal("0.5"))
    world.sim.settle_funding({"BTC": Decimal("0.0001")})
    world.sim.fill_order(world.account, oids[0])
    world.sim.fill_order(world.account, oids[1], Decimal("0.5"))
    world.quote()
    async with world.session():
        await world.until_state("bid", "filled")
        await world.until_state("lower bid", "partially_filled")
        await world.until("the funding is booked", lambda: world.connector.position(PAIR).funding != 0)
        await world.settled()


@scenario(
    "One deposit was booked before a restart, one is made meanwhile, one is withheld: each is booked once.",
    into=SCENARIOS,
)
async def deposits_over_a_restart(world: World) -> None:
    channel = "userNonFundingLedgerUpdates"

    def is_booked(amount: int) -> bool:
        return any(
            isinstance(event, AccountLedgerUpdateBooked) and event.amount == amount
            for _, event in world.ledger.read()
        )

    async with world.session(**_OFTEN):
        world.sim.create_account(world.account, Decimal(100))
        await world.until("it is booked", lambda: is_booked(100))
    world.sim.create_account(world.account, Decimal(200))
    async with world.session(**_OFTEN):
        await world.until("the second is booked", lambda: is_booked(200))
        world.inject("stream_lost", channel=channel, user=world.account, count=None)
        world.inject("http_status", info=channel, count=None, params={"status": 500})
        world.sim.create_account(world.account, Decimal(300))
        old_ms = world.sim.clock.now_ms() + 600
        await world.until("it is old enough to be judged", lambda: world.sim.clock.now_ms() > old_ms)
        world.sim.faults.clear()
        await world.until("the third is booked", lambda: is_booked(300))
        await _compared(world)


@scenario(
    "The stream tells a fill and a deposit that never were: the fill is taken back, the cash the venue's.",
    into=SCENARIOS,
)
async def told_and_never_happened(world: World) -> None:
    async with world.session(**_OFTEN):
        await world.rest("bid")
        now_ms = world.sim.clock.now_ms()
        fill = {"coin": "BTC", "px": str(BELOW), "sz": "0.004", "side": "B", "time": now_ms}
        fill |= {"startPosition": "0.0", "dir": "Open Long", "closedPnl": "0.0", "hash": "0x" + "0" * 64}
        fill |= {"oid": world.oid("bid"), "crossed": False, "fee": "0.02", "tid": 987, "feeToken": "USDC"}
        deposit = {"time": now_ms, "hash": "0x" + "1" * 64, "delta": {"type": "deposit", "usdc": "250.0"}}
        _told_wrongly(world, "userFills", fills=[fill])
        _told_wrongly(world, "userNonFundingLedgerUpdates", nonFundingLedgerUpdates=[deposit])
        await world.until_topic("bid", "order.fill_corrected")
        await world.until("both are mended", lambda: world.connector.status()["discrepancies_repaired"] == 2)
        await _compared(world)


def _told_wrongly(world: World, channel: str, **members: Any) -> None:
    data = json.dumps({"channel": channel, "data": {"user": world.account.lower(), **members}})
    world.runtime.deliver(StreamFrame(stream="user", data=data.encode()))


async def _compared(world: World) -> None:
    """Wait until the books were compared once more, and all that was asked is answered."""
    until = world.connector.status()["reconciliations"] + 2
    await world.until("compared", lambda: world.connector.status()["reconciliations"] >= until)
    await world.settled()


@scenario(
    "With a position, the query for the account's state fails again and again: not taken for flat.",
    into=SCENARIOS,
)
async def position_query_fails(world: World) -> None:
    async with world.session():
        connector = world.connector
        connector.buy(PAIR, AMOUNT, ASK, client_order_id="long")
        await world.until_state("long", "filled")
        world.inject("http_status", info="clearinghouseState", count=7, params={"status": 500})
        world.sim.drop_sockets(world.account)
        await world.until("the loss is noticed", lambda: connector.reconnects > 0)
        await world.until("it is ready again", lambda: connector.ready)
        await world.settled()


@scenario(
    "Somebody trades by hand on the account: found, booked to an order of its own, and the position follows.",
    into=SCENARIOS,
)
async def manual_trade_on_the_venue(world: World) -> None:
    async with world.session():
        await asyncio.to_thread(_trade_by_hand, world)
        await world.until(
            "the position is known", lambda: world.connector.position(PAIR).amount == Decimal("0.02")
        )
        await world.until(
            "the resting order is known",
            lambda: any(order.external for order in world.connector.open_orders()),
        )
        await world.settled()


def _trade_by_hand(world: World) -> None:
    client = exchange(world)
    assert client.market_open("BTC", True, 0.02)["status"] == "ok"
    assert client.order("BTC", True, 0.01, 42_000, {"limit": {"tif": "Gtc"}})["status"] == "ok"


@scenario(
    "The list of open orders is stale and lacks a live order: it is asked for by name and stays open.",
    into=SCENARIOS,
)
async def open_orders_list_lacks_a_live_order(world: World) -> None:
    async with world.session():
        connector = world.connector
        world.inject("stale_open_orders", user=world.account, count=None)
        await world.rest("bid")
        world.sim.drop_sockets(world.account)
        await world.until("the loss is noticed", lambda: connector.reconnects > 0)
        await world.until("it is ready again", lambda: connector.ready)
        await world.until("it was asked for", lambda: connector.status()["open_cases"] == 0)
        world.sim.faults.clear()
        await world.settled()


@scenario(
    "A server lags after a reconnect: four times it does not know an order that rests. It stays open.",
    into=SCENARIOS,
)
async def server_lags_behind_after_a_reconnect(world: World) -> None:
    async with world.session():
        connector = world.connector
        world.inject("stale_open_orders", user=world.account, count=None)
        await world.rest("bid")
        world.inject("unknown_oid", count=4)
        world.sim.drop_sockets(world.account)
        await world.until("the loss is noticed", lambda: connector.reconnects > 0)
        await world.until_topic("bid", "order.not_found", 4)
        await world.until("it was asked for", lambda: connector.status()["open_cases"] == 0)
        world.sim.faults.clear()
        await world.settled()


@scenario(
    "Another bot trades on the account under client ids of its own: its fills are not booked to our orders.",
    into=SCENARIOS,
)
async def another_bot_on_the_account(world: World) -> None:
    async with world.session():
        await world.rest("bid")
        await asyncio.to_thread(_other_bot, world)
        await world.until(
            "its fill is booked", lambda: world.connector.position(PAIR).amount == Decimal("0.03")
        )
        world.fill("bid")
        await world.until_state("bid", "filled")
        await world.settled()


def _other_bot(world: World) -> None:
    client = exchange(world)
    answer = client.order("BTC", True, 0.03, float(ASK), {"limit": {"tif": "Ioc"}}, cloid=Cloid.from_int(7))
    assert answer["status"] == "ok", answer


@scenario(
    "The agent wallet's address is given as the account: trading halts and says whose agent it is.",
    into=SCENARIOS,
)
async def agent_wallet_as_the_account(world: World) -> None:
    agent = development_account(99)
    world.sim.approve_agent(world.account, agent.address, "bot")
    world.account = agent.address
    async with world.session(ready=False, signer=agent.address):
        await world.until("it is halted", lambda: bool(world.connector.halted_because))


@scenario("Orders of a sub-account carry its address; they do not land on the main account.", into=SCENARIOS)
async def orders_of_a_sub_account(world: World) -> None:
    signer, world.account = world.account, await asyncio.to_thread(_open_sub_account, world)
    async with world.session(signer=signer):
        await world.rest("bid")
        world.fill("bid")
        await world.until_state("bid", "filled")
        await world.settled()


def _open_sub_account(world: World) -> str:
    client = exchange(world)
    answer = client.create_sub_account("grid")
    assert answer["status"] == "ok", answer
    address = str(answer["response"]["data"])
    assert client.sub_account_transfer(address, True, 10_000_000_000)["status"] == "ok"
    return address
