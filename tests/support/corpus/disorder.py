"""Out of order, twice, never: what a venue's messages do on their way."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

from adapters.hyperliquid.streams import StreamOptions
from domain.enums import TimeInForce
from tests.support.corpus.world import AMOUNT, ASK, BELOW, Scenario, World, scenario
from tests.support.live import PAIR

SCENARIOS: dict[str, Scenario] = {}


@scenario("FILLED by the answer, then a stale OPEN and FILLED twice: completed once.", into=SCENARIOS)
async def filled_stale_open_filled(world: World) -> None:
    async with world.session():
        world.inject("stream_delay", channel="orderUpdates", params={"ms": 400})
        world.inject("stream_duplicate", channel="orderUpdates")
        world.connector.buy(PAIR, AMOUNT, ASK, client_order_id="bid")
        await world.until_state("bid", "filled")
        await world.until("the old news came", lambda: world.statuses().count("filled") == 2)
        await world.settled()


@scenario("CANCELED by the answer, then a stale OPEN and CANCELED twice: cancelled once.", into=SCENARIOS)
async def cancelled_stale_open_cancelled(world: World) -> None:
    async with world.session():
        world.inject("stream_delay", channel="orderUpdates", count=2, params={"ms": 400})
        world.inject("stream_duplicate", channel="orderUpdates", nth=2)
        world.connector.buy(PAIR, AMOUNT, BELOW, client_order_id="bid")
        await world.until_state("bid", "open")
        world.connector.cancel("bid")
        await world.until_state("bid", "cancelled")
        await world.until("the old news came", lambda: world.statuses().count("canceled") == 2)
        await world.settled()


@scenario("The fill arrives before any word that the order is open.", into=SCENARIOS)
async def fill_before_open(world: World) -> None:
    async with world.session():
        world.inject("stream_reorder", params={"first": "fills"})
        world.inject("answer_delay", action="order", params={"ms": 400})
        world.connector.buy(PAIR, AMOUNT, ASK, client_order_id="bid")
        await world.until_state("bid", "filled")
        await world.until("the answer came", lambda: _answers(world, '"filled"') == 1)
        await world.settled()


def _answers(world: World, text: str) -> int:
    """How many HTTP answers with this text were handled in this session."""
    bodies = (getattr(recorded.item, "body", b"") for recorded in world.kept[-1].inputs)
    return sum(text.encode() in body for body in bodies)


@scenario(
    "The venue calls the order filled while its fills are withheld; they are asked for.", into=SCENARIOS
)
async def filled_before_its_fills(world: World) -> None:
    async with world.session():
        world.inject("fill_withheld", user=world.account, count=None)
        world.connector.buy(PAIR, AMOUNT, ASK, client_order_id="bid")
        await world.until_state("bid", "filled")
        await world.until("the fill is found", lambda: world.view("bid").filled_amount == AMOUNT)
        world.sim.faults.clear()
        world.sim.release_fills()
        await world.settled()


@scenario(
    "A fill just before the cancel arrives half a second behind its confirmation: booked.", into=SCENARIOS
)
async def late_fill_after_cancel(world: World) -> None:
    async with world.session():
        await world.rest("bid")
        world.inject("fill_before_cancel", params={"fraction": "0.5", "stream_delay_ms": 500})
        world.connector.cancel("bid")
        await world.until_topic("bid", "order.filled")
        await world.until_state("bid", "cancelled")
        await world.settled()


@scenario(
    "The venue denies an order past its expiry: failed. Then its fill arrives: booked, no longer failed.",
    into=SCENARIOS,
)
async def late_fill_after_failure(world: World) -> None:
    async with world.session():
        world.inject("answer_lost", action="order")
        world.inject("stream_lost", channel="orderUpdates", count=None)
        world.inject("fill_withheld", user=world.account, count=None, params={"reads": "hide"})
        world.inject("unknown_oid", count=None)
        world.connector.buy(PAIR, AMOUNT, ASK, client_order_id="bid")
        await world.until_state("bid", "failed")
        world.sim.faults.clear()
        world.sim.release_fills()
        await world.until_state("bid", "filled")
        await world.settled()


@scenario("What an immediate-or-cancel order filled arrives after it expired: booked.", into=SCENARIOS)
async def late_fill_after_expiry(world: World) -> None:
    async with world.session():
        world.inject("stream_delay", channel="userFills", params={"ms": 400})
        world.inject("stream_delay", channel="userEvents", params={"ms": 400})
        world.connector.buy(PAIR, Decimal(8), ASK, client_order_id="bid", time_in_force=TimeInForce.IOC)
        await world.until_state("bid", "expired")
        await world.until_topic("bid", "order.filled")
        await world.settled()


@scenario("Half of the order fills while its cancel is on the way: still being cancelled.", into=SCENARIOS)
async def partial_fill_during_pending_cancel(world: World) -> None:
    async with world.session():
        await world.rest("bid")
        world.inject("request_delay", action="cancelByCloid", params={"ms": 500})
        world.connector.cancel("bid")
        await world.until_topic("bid", "order.cancel_requested")
        world.fill("bid", "0.5")
        await world.until_topic("bid", "order.filled")
        await world.until_state("bid", "cancelled")
        await world.settled()


@scenario(
    "One element of a batch cannot be read, another has an unknown status: the rest counts, these are kept.",
    into=SCENARIOS,
)
async def garbage_among_good_messages(world: World) -> None:
    async with world.session():
        world.inject("garbage_element", channel="orderUpdates")
        world.inject("unknown_status", channel="orderUpdates", nth=2)
        world.inject("garbage_element", channel="userFills")
        world.inject("unknown_dir", channel="userFills")
        world.inject("non_json_frame", channel="userFills")
        await world.rest("bid")
        world.fill("bid")
        await world.until_state("bid", "filled")
        await world.until("its fill is booked", lambda: world.view("bid").filled_amount == AMOUNT)
        await world.settled()


@scenario(
    "One fill over two streams, each twice, in a new connection's snapshot and in the query: booked once.",
    into=SCENARIOS,
)
async def same_fill_over_and_over(world: World) -> None:
    async with world.session():
        connector = world.connector
        world.inject("stream_duplicate", count=None)
        await world.rest("bid")
        world.fill("bid")
        await world.until_state("bid", "filled")
        world.inject("snapshot_again", user=world.account)
        world.sim.drop_sockets(world.account)
        await world.until("the loss is noticed", lambda: connector.reconnects > 0)
        await world.until("it is ready again", lambda: connector.ready)
        world.sim.faults.clear()
        await world.settled()


@scenario(
    "Half filled, amended to a new exchange id with the legs in the wrong order, then the rest fills.",
    into=SCENARIOS,
)
async def amend_changes_the_exchange_id(world: World) -> None:
    async with world.session():
        connector = world.connector
        await world.rest("bid")
        old = world.oid("bid")
        world.inject("stream_delay", channel="userFills", params={"ms": 500})
        world.inject("stream_delay", channel="userEvents", params={"ms": 500})
        world.inject("answer_delay", action="batchModify", params={"ms": 300})
        world.fill("bid", "0.5")
        connector.amend("bid", BELOW + 100, AMOUNT)
        await world.until("it has a new id", lambda: world.oid("bid") != old)
        await world.until_topic("bid", "order.filled")
        world.fill("bid")
        await world.until_state("bid", "filled")
        await world.until("all of it is booked", lambda: world.view("bid").remaining_amount == 0)
        await world.settled()


@scenario("An order fills while the socket is down: found when it is up again.", into=SCENARIOS)
async def filled_while_disconnected(world: World) -> None:
    async with world.session():
        connector = world.connector
        await world.rest("bid")
        world.inject("refuse_connections", params={"ms": 500})
        world.sim.drop_sockets(world.account)
        await world.until("the loss is noticed", lambda: connector.reconnects > 0)
        world.fill("bid")
        await world.until_state("bid", "filled")
        await world.until("it is ready again", lambda: connector.ready)
        await world.settled()


@scenario(
    "The stream answers pings and says nothing else while an order fills: dropped, connected anew, found.",
    into=SCENARIOS,
)
async def connected_but_silent(world: World) -> None:
    world.user_stream_options = StreamOptions(data_silence_seconds=1.5, reconnect_base_seconds=0.1)
    async with world.session():
        connector = world.connector
        await world.rest("bid")
        world.inject("silent_sockets", user=world.account, params={"ms": 60_000})
        world.fill("bid")
        await world.until("the silence is noticed", lambda: connector.reconnects > 0)
        world.inject("silent_sockets", user=world.account, params={"ms": 0})
        await world.until_state("bid", "filled")
        await world.until("it is ready again", lambda: connector.ready)
        await world.settled()


@scenario(
    "Two orders fill in 2,060 parts unheard, more than one answer lists: page by page all are booked.",
    into=SCENARIOS,
)
async def more_fills_than_one_answer_lists(world: World) -> None:
    parts, size = 1_030, Decimal("0.00024")
    async with world.session():
        world.inject("stream_lost", channel="userFills", count=None)
        world.inject("stream_lost", channel="userEvents", count=None)
        for name in ("first", "second"):
            for _ in range(parts):
                world.sim.trade("BTC", is_buy=False, size=size, price=ASK - 1)
            world.connector.buy(PAIR, parts * size, ASK - 1, client_order_id=name)
            await world.until_state(name, "filled")
        for name in ("first", "second"):
            await world.until(f"the fills of {name} are booked", partial(_is_filled, world, name))
        await world.settled()


def _is_filled(world: World, client_order_id: str) -> bool:
    """Whether its fills are booked, all of them."""
    return world.view(client_order_id).remaining_amount == 0
