"""Unknown taken for failed: an answer that does not come is no refusal."""

from __future__ import annotations

from decimal import Decimal

from domain.connector_base import OrderRequest
from domain.enums import TradeType
from tests.support.corpus.world import AMOUNT, BELOW, Scenario, World, scenario
from tests.support.live import PAIR

SCENARIOS: dict[str, Scenario] = {}


@scenario(
    "The submit's answer never comes and no status either; the order is found open, then it fills.",
    into=SCENARIOS,
)
async def submit_timed_out_then_filled(world: World) -> None:
    async with world.session():
        world.inject("answer_lost", action="order", params={"how": "hang"})
        world.inject("stream_lost", channel="orderUpdates")
        world.connector.buy(PAIR, AMOUNT, BELOW, client_order_id="bid")
        await world.until_topic("bid", "order.submit_unknown")
        await world.until_state("bid", "open")
        world.fill("bid")
        await world.until_state("bid", "filled")
        await world.settled()


@scenario(
    "Six orders in one request; its answer, both sockets and the status queries are gone. All six are found.",
    into=SCENARIOS,
)
async def six_orders_accepted_in_an_outage(world: World) -> None:
    async with world.session():
        connector = world.connector
        world.inject("answer_lost", action="order")
        world.inject("stream_lost", channel="orderUpdates", count=None)
        world.inject("request_lost", info="orderStatus", count=30)
        world.inject("refuse_connections", params={"ms": 400})
        requests = [order_request(f"bid {number}", BELOW - 10 * number) for number in range(1, 7)]
        names = connector.place(requests)
        await world.until_topic(names[-1], "order.submit_unknown")
        world.sim.drop_sockets(world.account)
        await world.until("the loss is noticed", lambda: connector.reconnects > 0)
        await world.until("it is connected again", lambda: connector.ready)
        for name in names:
            await world.until_state(name, "open")
        world.sim.faults.clear()
        await world.settled()


def order_request(client_order_id: str, price: Decimal) -> OrderRequest:
    return OrderRequest(
        trading_pair=PAIR,
        trade_type=TradeType.BUY,
        amount=AMOUNT,
        price=price,
        client_order_id=client_order_id,
    )


@scenario(
    "The status of an order in doubt is refused with 500s, then twice 'unknown', then found: never failed.",
    into=SCENARIOS,
)
async def failed_status_query_is_not_a_not_found(world: World) -> None:
    async with world.session(order_ttl_ms=60_000):
        world.inject("answer_lost", action="order")
        world.inject("stream_lost", channel="orderUpdates")
        world.inject("http_status", info="orderStatus", count=5, params={"status": 500})
        world.inject("unknown_oid", nth=6, count=2)
        world.connector.buy(PAIR, AMOUNT, BELOW, client_order_id="bid")
        await world.until_topic("bid", "order.not_found", 2)
        await world.until_state("bid", "open")
        await world.settled()


@scenario(
    "The cancel never arrives and its outcome is unknown: the order is found alive and cancelled again.",
    into=SCENARIOS,
)
async def cancel_timed_out_order_alive(world: World) -> None:
    async with world.session():
        await world.rest("bid")
        world.inject("request_lost", action="cancelByCloid", params={"how": "hang"})
        world.connector.cancel("bid")
        await world.until_topic("bid", "order.cancel_unknown")
        await world.until_state("bid", "cancelled")
        await world.settled()


@scenario(
    "The answer to the cancel is lost although the order is gone: cancelled once, by the venue's word.",
    into=SCENARIOS,
)
async def cancel_timed_out_order_gone(world: World) -> None:
    async with world.session():
        await world.rest("bid")
        world.inject("stream_lost", channel="orderUpdates")
        world.inject("answer_lost", action="cancelByCloid")
        world.connector.cancel("bid")
        await world.until_topic("bid", "order.cancel_unknown")
        await world.until_state("bid", "cancelled")
        await world.settled()


@scenario(
    "The whole action is answered with a top-level err: the order has failed at once, with its reason.",
    into=SCENARIOS,
)
async def top_level_error_answer(world: World) -> None:
    async with world.session():
        world.inject(
            "rejection",
            action="order",
            params={"text": "Insufficient margin to place order.", "level": "action"},
        )
        world.connector.buy(PAIR, AMOUNT, BELOW, client_order_id="bid")
        await world.until_state("bid", "failed")
        await world.settled()
