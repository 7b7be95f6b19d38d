"""The WebSocket endpoint as any client meets it: echoes, snapshots, posts, limits, and its end (sheet 7)."""

import asyncio
import json
import socket as socketlib
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from adapters.simulator.app import Simulator
from adapters.simulator.limits import IpLimits
from adapters.simulator.websocket import WebSocketOptions
from tests.support.raw_client import RawClient, RawSocket
from tests.support.venue import (
    ADDRESS,
    BTC,
    ETH,
    OTHER_KEY,
    START_MS,
    cancel,
    cloid,
    limit,
    order,
    statuses,
    until,
    venue,
)

Scenario = Callable[[Simulator, RawClient, RawSocket], Awaitable[None]]

MIXED_CASE = "0x14791697260E4c9A71f18484C9f997B308e59325"


class HeldTime(asyncio.SelectorEventLoop):
    """A loop whose time stands still until it is moved: what comes over sockets is handled, timers wait."""

    _now_s = 0.0

    def time(self) -> float:
        return self._now_s

    def move(self, seconds: float) -> None:
        self._now_s += seconds


def connected(
    scenario: Scenario, *, loop: Callable[[], asyncio.AbstractEventLoop] | None = None, **options: Any
) -> None:
    """Run a scenario with one open connection."""

    async def run() -> None:
        async with venue(**options) as (sim, client):
            socket = await client.connect()
            await scenario(sim, client, socket)
            await socket.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


def test_a_ping_is_answered_with_a_pong() -> None:
    async def scenario(_: Simulator, __: RawClient, socket: RawSocket) -> None:
        await socket.say(method="ping")
        await socket.until(lambda: socket.frames == [{"channel": "pong"}])

    connected(scenario)


def test_the_echo_of_a_subscription_is_normalised() -> None:
    async def scenario(_: Simulator, __: RawClient, socket: RawSocket) -> None:
        await socket.subscribe(type="userFills", user=MIXED_CASE, comment="mine")
        subscription = {"type": "userFills", "user": ADDRESS, "aggregateByTime": False}
        assert socket.on("subscriptionResponse") == [{"method": "subscribe", "subscription": subscription}]

    connected(scenario)


def test_user_fills_begin_with_a_snapshot_and_go_on_without() -> None:
    async def scenario(sim: Simulator, client: RawClient, socket: RawSocket) -> None:
        sim.trade("BTC", is_buy=False, size=Decimal("1"), price=Decimal(43000))
        await client.act(order(limit(BTC, True, "43000", "0.01", tif="Ioc")))
        await socket.subscribe(type="userFills", user=ADDRESS)
        await client.act(order(limit(BTC, True, "43000", "0.02", tif="Ioc")))
        await socket.until(lambda: len(socket.on("userFills")) == 2)
        snapshot, later = socket.on("userFills")
        assert snapshot["isSnapshot"] is True
        assert [fill["sz"] for fill in snapshot["fills"]] == ["0.01"]
        assert later.get("isSnapshot", False) is False
        assert [fill["sz"] for fill in later["fills"]] == ["0.02"]
        assert later["user"] == ADDRESS

    connected(scenario)


def test_user_events_arrive_on_the_channel_user_and_carry_fills_without_orders() -> None:
    async def scenario(sim: Simulator, client: RawClient, socket: RawSocket) -> None:
        await socket.subscribe(type="userEvents", user=ADDRESS)
        await socket.subscribe(type="orderUpdates", user=ADDRESS)
        placed = await client.act(order(limit(BTC, True, "43000", "0.01", cloid=cloid(9))))
        oid = statuses(placed)[0]["resting"]["oid"]
        sim.trade("BTC", is_buy=False, size=Decimal("0.01"), price=Decimal(43000))
        await socket.until(lambda: bool(socket.on("user")))
        (event,) = socket.on("user")
        assert list(event) == ["fills"]
        assert (event["fills"][0]["oid"], event["fills"][0]["cloid"]) == (oid, cloid(9))
        updates = [update for frame in socket.on("orderUpdates") for update in frame]
        assert [update["status"] for update in updates] == ["open", "filled"]
        assert {update["order"]["oid"] for update in updates} == {oid}

    connected(scenario)


def test_market_data_goes_to_those_who_asked_for_that_coin() -> None:
    async def scenario(sim: Simulator, client: RawClient, socket: RawSocket) -> None:
        other = await client.connect()
        await socket.subscribe(type="bbo", coin="BTC")
        await socket.subscribe(type="l2Book", coin="BTC")
        await socket.subscribe(type="trades", coin="BTC")
        await other.subscribe(type="bbo", coin="ETH")
        sim.trade("BTC", is_buy=False, size=Decimal("1"), price=Decimal(43000))
        sim.trade("BTC", is_buy=True, size=Decimal("0.25"))
        await socket.until(lambda: bool(socket.on("trades")))
        await socket.sync()
        await other.sync()
        (trades,) = socket.on("trades")
        assert [(trade["px"], trade["sz"], trade["side"]) for trade in trades] == [("43000.0", "0.25", "B")]
        assert socket.on("bbo")[-1]["bbo"] == [None, {"px": "43000.0", "sz": "0.75", "n": 1}]
        assert socket.on("l2Book")[-1]["levels"] == [[], [{"px": "43000.0", "sz": "0.75", "n": 1}]]
        assert len(other.on("bbo")) == 1, "its first frame only"
        await other.close()

    connected(scenario)


def test_a_subscription_with_options_of_its_own_gets_its_own_form() -> None:
    async def scenario(sim: Simulator, client: RawClient, socket: RawSocket) -> None:
        plain = await client.connect()
        await socket.subscribe(type="l2Book", coin="BTC", nSigFigs=2)
        await socket.subscribe(type="userFills", user=ADDRESS, aggregateByTime=True)
        await plain.subscribe(type="l2Book", coin="BTC")
        await plain.subscribe(type="userFills", user=ADDRESS)
        for price in (43210, 43220, 43230):
            sim.trade("BTC", is_buy=False, size=Decimal("0.01"), price=Decimal(price))
        await plain.sync()
        assert [level["px"] for level in plain.on("l2Book")[-1]["levels"][1]] == [
            "43210.0",
            "43220.0",
            "43230.0",
        ]
        await socket.sync()
        assert [level["n"] for level in socket.on("l2Book")[-1]["levels"][1]] == [3]
        await client.act(order(limit(BTC, True, "44000", "0.03", tif="Ioc")))
        await socket.sync()
        await plain.sync()
        assert len(plain.on("userFills")[-1]["fills"]) == 3
        (merged,) = socket.on("userFills")[-1]["fills"]
        assert merged["sz"] == "0.03"
        await plain.close()

    connected(scenario)


def test_a_fast_book_has_five_levels() -> None:
    async def scenario(sim: Simulator, _: RawClient, socket: RawSocket) -> None:
        await socket.subscribe(type="l2Book", coin="BTC", fast=True)
        for price in range(43000, 43008):
            sim.trade("BTC", is_buy=False, size=Decimal("0.01"), price=Decimal(price))
        await socket.sync()
        assert len(socket.on("l2Book")[-1]["levels"][1]) == 5

    connected(scenario)


def test_candles_reach_the_subscribers_of_their_interval() -> None:
    async def scenario(sim: Simulator, _: RawClient, socket: RawSocket) -> None:
        await socket.subscribe(type="candle", coin="BTC", interval="5m")
        sim.trade("BTC", is_buy=False, size=Decimal("1"), price=Decimal(43000))
        sim.trade("BTC", is_buy=True, size=Decimal("0.5"))
        await socket.until(lambda: bool(socket.on("candle")))
        await socket.sync()
        assert {candle["i"] for candle in socket.on("candle")} == {"5m"}
        assert socket.on("candle")[-1]["v"] == "0.5"

    connected(scenario)


def test_nothing_arrives_after_unsubscribing() -> None:
    async def scenario(sim: Simulator, _: RawClient, socket: RawSocket) -> None:
        await socket.subscribe(type="trades", coin="BTC")
        await socket.say(method="unsubscribe", subscription={"type": "trades", "coin": "BTC", "extra": 1})
        await socket.until(lambda: len(socket.on("subscriptionResponse")) == 2)
        assert socket.on("subscriptionResponse")[1]["method"] == "unsubscribe"
        sim.trade("BTC", is_buy=False, size=Decimal("1"), price=Decimal(43000))
        sim.trade("BTC", is_buy=True, size=Decimal("0.5"))
        await socket.sync()
        assert socket.on("trades") == []

    connected(scenario)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("hello", "Error parsing JSON into valid websocket request: hello"),
        ("[1]", "Error parsing JSON into valid websocket request: [1]"),
        ('{"method":"dance"}', 'Error parsing JSON into valid websocket request: {"method":"dance"}'),
        (
            '{"method":"post","id":"a"}',
            'Error parsing JSON into valid websocket request: {"method":"post","id":"a"}',
        ),
        ('{"method":"subscribe"}', "Invalid subscription null"),
        (
            '{"method":"subscribe","subscription":{"type":"user","user":"0x12"}}',
            'Invalid subscription {"type":"user","user":"0x12"}',
        ),
        (
            '{"method":"subscribe","subscription":{"type":"trades","coin":"NOPE"}}',
            'Invalid subscription {"type":"trades","coin":"NOPE"}',
        ),
        (
            '{"method":"unsubscribe","subscription":{"type":"trades","coin":"BTC"}}',
            'Already unsubscribed: {"type":"trades","coin":"BTC"}',
        ),
    ],
)
def test_a_frame_that_is_wrong_is_answered_with_the_venues_text(text: str, error: str) -> None:
    async def scenario(_: Simulator, __: RawClient, socket: RawSocket) -> None:
        await socket.socket.send_str(text)
        await socket.until(lambda: socket.on("error") == [error])

    connected(scenario)


def test_subscribing_twice_is_an_error_that_leaves_the_subscription_alone() -> None:
    async def scenario(sim: Simulator, _: RawClient, socket: RawSocket) -> None:
        await socket.subscribe(type="trades", coin="BTC")
        await socket.say(method="subscribe", subscription={"type": "trades", "coin": "BTC"})
        await socket.until(
            lambda: socket.on("error") == ['Already subscribed: {"type":"trades","coin":"BTC"}']
        )
        sim.trade("BTC", is_buy=False, size=Decimal("1"), price=Decimal(43000))
        sim.trade("BTC", is_buy=True, size=Decimal("0.5"))
        await socket.sync()
        assert len(socket.on("trades")) == 1

    connected(scenario)


def test_an_info_post_is_wrapped_once_more() -> None:
    async def scenario(_: Simulator, client: RawClient, socket: RawSocket) -> None:
        request = {"type": "info", "payload": {"type": "openOrders", "user": ADDRESS}}
        await client.act(order(limit(BTC, True, "43000", "0.01")))
        await socket.say(method="post", id=17, request=request)
        await socket.until(lambda: bool(socket.on("post")))
        listed = await client.info(type="openOrders", user=ADDRESS)
        response = {"type": "info", "payload": {"type": "openOrders", "data": listed}}
        assert socket.on("post") == [{"id": 17, "response": response}]

    connected(scenario)


def test_an_action_post_answers_exactly_the_http_body() -> None:
    async def scenario(_: Simulator, client: RawClient, socket: RawSocket) -> None:
        body = client.signed(order(limit(BTC, True, "43000", "0.01", cloid=cloid(3))), START_MS)
        await socket.say(method="post", id=18, request={"type": "action", "payload": body})
        await socket.until(lambda: bool(socket.on("post")))
        (answer,) = socket.on("post")
        assert answer["id"] == 18
        assert answer["response"]["type"] == "action"
        (status,) = statuses(answer["response"]["payload"])
        assert status["resting"]["cloid"] == cloid(3)
        assert len(await client.info(type="openOrders", user=ADDRESS)) == 1

    connected(scenario)


@pytest.mark.parametrize(
    ("request_type", "payload", "starts"),
    [
        ("info", {"type": "noSuchRead"}, "422 Unprocessable Entity"),
        ("info", [], "422 Unprocessable Entity"),
        ("action", {"action": {"type": "noop"}}, "422 Unprocessable Entity: "),
    ],
)
def test_a_post_that_cannot_be_read_is_an_error_response_with_its_code(
    request_type: str, payload: Any, starts: str
) -> None:
    async def scenario(_: Simulator, __: RawClient, socket: RawSocket) -> None:
        await socket.say(method="post", id=19, request={"type": request_type, "payload": payload})
        await socket.until(lambda: bool(socket.on("post")))
        (answer,) = socket.on("post")
        assert answer["id"] == 19
        assert answer["response"]["type"] == "error"
        assert answer["response"]["payload"].startswith(starts)

    connected(scenario)


def test_too_many_posts_in_flight_are_refused_by_id() -> None:
    async def scenario(sim: Simulator, client: RawClient, socket: RawSocket) -> None:
        _, pinned = await client.operate(
            "faults",
            op="add",
            fault={"kind": "answer_lost", "info": "meta", "count": None, "params": {"how": "hang"}},
        )
        for number in range(101):
            await socket.say(method="post", id=number, request={"type": "info", "payload": {"type": "meta"}})
        await socket.until(lambda: socket.on("error") == ["too many pending post requests id=100"])
        assert pinned["id"] == 1

    connected(scenario)


def test_no_more_than_fifteen_users_are_tracked() -> None:
    async def scenario(_: Simulator, client: RawClient, socket: RawSocket) -> None:
        second = await client.connect()
        for number in range(15):
            await (socket if number % 2 else second).subscribe(type="userFills", user=f"0x{number:040x}")
        await socket.subscribe(type="orderUpdates", user=f"0x{3:040x}")
        await socket.say(method="subscribe", subscription={"type": "userFills", "user": f"0x{99:040x}"})
        await socket.until(lambda: socket.on("error") == ["Cannot track more than 15 total users."])
        await second.close()

    connected(scenario)


def test_a_connection_to_which_nothing_is_sent_is_closed() -> None:
    async def scenario(_: Simulator, __: RawClient, socket: RawSocket) -> None:
        await socket.until_closed()
        assert socket.texts == []

    connected(scenario, websocket=WebSocketOptions(idle_close_s=0.05))


def test_pings_keep_a_quiet_connection_open() -> None:
    async def scenario(_: Simulator, __: RawClient, socket: RawSocket) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, HeldTime)
        for _ in range(4):
            loop.move(59.0)
            await socket.sync()
        assert not socket.closed.is_set()
        loop.move(61.0)
        await socket.until_closed()

    connected(scenario, loop=HeldTime)


def test_a_greeting_that_is_not_json_may_come_first() -> None:
    async def scenario(_: Simulator, __: RawClient, socket: RawSocket) -> None:
        await socket.sync()
        assert socket.texts[0] == "Websocket connection established."

    connected(scenario, websocket=WebSocketOptions(greeting=True))


def test_a_client_that_does_not_read_is_dropped_and_slows_nobody() -> None:
    async def scenario(sim: Simulator, client: RawClient, socket: RawSocket) -> None:
        slow = socketlib.socket()
        slow.setsockopt(socketlib.SOL_SOCKET, socketlib.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", sim.port))
        reader, writer = await asyncio.open_connection(sock=slow, limit=4096)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        subscribe = json.dumps({"method": "subscribe", "subscription": {"type": "allMids"}}).encode()
        writer.write(b"\x81" + bytes([0x80 | len(subscribe)]) + b"\0\0\0\0" + subscribe)
        await writer.drain()
        await until(lambda: sim.status()["subscriptions"] == {"allMids": 1})
        await socket.subscribe(type="bbo", coin="BTC")
        price = 0
        while sim.status()["connections"] == 2:
            price += 1
            for coin in ("BTC", "ETH", "SOL"):
                sim.set_mark_price(coin, Decimal(40_000 + price % 2))
            await asyncio.sleep(0)
        sim.trade("BTC", is_buy=False, size=Decimal("1"), price=Decimal(43000))
        await socket.until(lambda: len(socket.on("bbo")) == 2)
        writer.close()

    connected(scenario, websocket=WebSocketOptions(queue_frames=50))


def test_the_venues_limits_count_connections_and_messages() -> None:
    async def scenario() -> None:
        async with venue(limits=IpLimits.venue()) as (sim, client):
            sockets = [await client.connect() for _ in range(10)]
            async with client.session.get(f"{sim.url}/ws", headers={"Upgrade": "websocket"}) as response:
                assert response.status == 429
            for _ in range(2001):
                await sockets[0].say(method="ping")
            await sockets[0].until_closed()
            for socket in sockets:
                await socket.close()

    asyncio.run(scenario())


def test_fills_of_one_account_do_not_reach_the_subscriber_of_another() -> None:
    async def scenario(sim: Simulator, client: RawClient, socket: RawSocket) -> None:
        async with RawClient(sim.url, OTHER_KEY) as other:
            sim.create_account(other.address, Decimal(100_000))
            await socket.subscribe(type="userFills", user=ADDRESS)
            placed = await other.act(order(limit(ETH, True, "2200", "0.1")))
            sim.trade("ETH", is_buy=False, size=Decimal("0.1"), price=Decimal(2200))
            await other.act(cancel(ETH, statuses(placed)[0]["resting"]["oid"]))
            await socket.sync()
            assert [data["isSnapshot"] for data in socket.on("userFills")] == [True]

    connected(scenario)


def test_funding_arrives_as_one_object_on_user_and_in_a_list_on_user_fundings() -> None:
    async def scenario(sim: Simulator, client: RawClient, socket: RawSocket) -> None:
        sim.trade("ETH", is_buy=False, size=Decimal("2"), price=Decimal(2300))
        await client.act(order(limit(ETH, True, "2300", "1.5", tif="Ioc")))
        await socket.subscribe(type="userEvents", user=ADDRESS)
        await socket.subscribe(type="userFundings", user=ADDRESS)
        sim.set_oracle_price("ETH", Decimal(3000))
        sim.settle_funding({"ETH": Decimal("0.0000125")})
        await socket.until(lambda: len(socket.on("userFundings")) == 2)
        await socket.until(lambda: bool(socket.on("user")))
        assert socket.on("user")[0]["funding"]["usdc"] == "-0.05625"
        assert socket.on("userFundings")[0]["isSnapshot"] is True
        assert socket.on("userFundings")[1]["fundings"][0]["usdc"] == "-0.05625"

    connected(scenario)
