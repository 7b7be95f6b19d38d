"""A stream connects, subscribes, hands over what comes, and notices every way in which a socket can die."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, cast

import msgspec
import pytest
from aiohttp import WSCloseCode, web

from adapters.hyperliquid.backoff import ConnectionBudget
from adapters.hyperliquid.http_client import open_session
from adapters.hyperliquid.streams import (
    HyperliquidOrderBookDataSource,
    HyperliquidUserStreamDataSource,
    StreamOptions,
)
from domain.inputs import Input, StreamConnected, StreamFrame, StreamLost
from tests.unit.hyperliquid_io.venues import (
    PATIENCE_SECONDS,
    Inbox,
    SocketHandler,
    acknowledge,
    http_venue,
    refusing_port,
    tcp_venue,
    url_of,
)

pytestmark = pytest.mark.usefixtures("each_event_loop")

USER = "0x" + "Ab" * 20
ACCOUNT: tuple[dict[str, Any], ...] = (
    {"type": "orderUpdates", "user": USER},
    {"type": "userEvents", "user": USER},
    {"type": "userFills", "user": USER},
)
BOOK: tuple[dict[str, Any], ...] = ({"type": "bbo", "coin": "BTC"}, {"type": "l2Book", "coin": "BTC"})
BBO = '{"channel":"bbo","data":{"coin":"BTC","time":1,"bbo":[null,null]}}'
L2 = '{"channel":"l2Book","data":{"coin":"BTC","time":1,"levels":[[],[]]}}'
PATIENT = StreamOptions(
    connect_timeout_seconds=PATIENCE_SECONDS,
    acknowledge_timeout_seconds=PATIENCE_SECONDS,
    reconnect_base_seconds=0.0,
    close_timeout_seconds=0.1,
)
NEVER = 3_600.0


def with_options(**changes: Any) -> StreamOptions:
    return msgspec.structs.replace(PATIENT, **changes)


@asynccontextmanager
async def stream_to(
    ws_url: str,
    inbox: Inbox,
    *,
    subscriptions: tuple[dict[str, Any], ...] = ACCOUNT,
    options: StreamOptions = PATIENT,
    budget: ConnectionBudget | None = None,
    kind: type[HyperliquidUserStreamDataSource]
    | type[HyperliquidOrderBookDataSource] = HyperliquidUserStreamDataSource,
) -> AsyncIterator[HyperliquidUserStreamDataSource | HyperliquidOrderBookDataSource]:
    session = open_session()
    stream = kind(
        name="user",
        ws_url=ws_url,
        session=session,
        budget=budget or ConnectionBudget(connections_max=1_000),
        options=options,
        rng=Random(1),
        clock_ns=lambda: 42,
    )
    stream.start(subscriptions, inbox.deliver)
    try:
        yield stream
    finally:
        await stream.stop()
        await session.close()


async def first_loss(handler: SocketHandler, **arguments: Any) -> tuple[list[Input], str]:
    """All inputs up to the first loss, and its reason."""
    inbox = Inbox()
    async with http_venue(ws=handler) as venue, stream_to(venue.ws_url, inbox, **arguments):
        await inbox.wait_for(StreamLost)
    until = inbox.inputs.index(inbox.of(StreamLost)[0])
    return inbox.inputs[:until], inbox.of(StreamLost)[0].reason


def test_a_stream_is_connected_once_every_subscription_is_acknowledged() -> None:
    async def scenario() -> None:
        release = asyncio.Event()

        async def venue_socket(socket: web.WebSocketResponse, _number: int) -> None:
            await socket.send_str("Websocket connection established.")
            await acknowledge(socket, count=2)
            await socket.send_str('{"channel":"pong"}')
            await socket.send_str('{"channel":"orderUpdates","data":[]}')
            await release.wait()
            await acknowledge(socket)

        inbox = Inbox()
        async with http_venue(ws=venue_socket) as venue, stream_to(venue.ws_url, inbox) as stream:
            await inbox.wait_for(StreamFrame)
            assert inbox.of(StreamConnected) == []
            states = [stream.is_connected]
            release.set()
            await inbox.wait_for(StreamConnected)
            states.append(stream.is_connected)
            assert inbox.inputs == [
                StreamFrame(stream="user", data=b'{"channel":"orderUpdates","data":[]}'),
                StreamConnected(stream="user"),
            ]
            assert stream.health.ignored_texts == 1
            assert stream.last_data_ns == 42
        states.append(stream.is_connected)
        assert states == [False, True, False]

    asyncio.run(scenario())


def test_data_stands_in_for_an_acknowledgement() -> None:
    async def scenario() -> None:
        async def venue_socket(socket: web.WebSocketResponse, _number: int) -> None:
            for text in (BBO, L2):
                await socket.send_str(text)
            async for _message in socket:
                pass

        inbox = Inbox()
        async with (
            http_venue(ws=venue_socket) as venue,
            stream_to(
                venue.ws_url,
                inbox,
                subscriptions=BOOK,
                options=with_options(acknowledge_timeout_seconds=NEVER),
            ),
        ):
            await inbox.wait_for(StreamConnected)
            assert inbox.inputs == [
                StreamFrame(stream="user", data=BBO.encode()),
                StreamFrame(stream="user", data=L2.encode()),
                StreamConnected(stream="user"),
            ]

    asyncio.run(scenario())


def test_frames_are_handed_over_untouched_whatever_they_hold() -> None:
    frames = [
        '{"channel":"orderUpdates","data":[{"order":{"coin":"BTC"},"status":"neverHeardOf"}]}',
        '{ "channel" : "userFills", "data": {"user":"0x1","fills":[]} , "new":null}',
        '{"channel":"neverHeardOf","data":1}',
        '{"no":"channel"}',
        "[1,2,3]",
        '{"channel":"userFills","data":{"fills":[{"px":"1',
        '{"channel":"notification","data":{"notification":"é \\ud83d\\ude00"}}',
    ]

    async def scenario() -> None:
        async def venue_socket(socket: web.WebSocketResponse, _number: int) -> None:
            await acknowledge(socket, count=len(ACCOUNT))
            for text in frames:
                await socket.send_str(text)
            await socket.send_bytes(b"\xff\x00")
            await socket.send_str("")
            await socket.send_bytes(b'{"channel":"user","data":{"fills":[]}}')
            await acknowledge(socket)

        inbox = Inbox()
        async with http_venue(ws=venue_socket) as venue, stream_to(venue.ws_url, inbox) as stream:
            await inbox.wait_for(StreamFrame, len(frames) + 1)
            expected = [text.encode() for text in frames] + [b'{"channel":"user","data":{"fills":[]}}']
            assert [frame.data for frame in inbox.of(StreamFrame)] == expected
            assert stream.health.ignored_texts == 2

    asyncio.run(scenario())


def test_a_refused_subscription_is_handed_over_and_does_not_keep_the_others_waiting() -> None:
    refusal = {
        "channel": "error",
        "data": 'Invalid subscription {"type":"userEvents","user":"' + USER.lower() + '"}',
    }

    async def scenario() -> None:
        async def venue_socket(socket: web.WebSocketResponse, _number: int) -> None:
            async for message in socket:
                subscription = json.loads(message.data)["subscription"]
                if subscription["type"] == "userEvents":
                    await socket.send_json(refusal)
                else:
                    await socket.send_json(
                        {
                            "channel": "subscriptionResponse",
                            "data": {"method": "subscribe", "subscription": subscription},
                        }
                    )

        inbox = Inbox()
        options = with_options(acknowledge_timeout_seconds=NEVER)
        async with (
            http_venue(ws=venue_socket) as venue,
            stream_to(venue.ws_url, inbox, options=options) as stream,
        ):
            await inbox.wait_for(StreamConnected)
            (frame,) = inbox.of(StreamFrame)
            assert json.loads(frame.data) == refusal
            assert stream.health.error_frames == 1
            assert stream.last_data_ns is None

    asyncio.run(scenario())


def test_a_subscription_that_is_never_settled_does_not_keep_the_stream_from_working() -> None:
    async def scenario() -> None:
        async def venue_socket(socket: web.WebSocketResponse, _number: int) -> None:
            await acknowledge(socket, count=1)
            async for _message in socket:
                pass

        inbox = Inbox()
        options = with_options(acknowledge_timeout_seconds=0.05)
        async with http_venue(ws=venue_socket) as venue, stream_to(venue.ws_url, inbox, options=options):
            await inbox.wait_for(StreamConnected)
            # On a machine that is slow just then, the one acknowledgement comes too late at first.
            *before, connected = inbox.inputs
            assert connected == StreamConnected(stream="user")
            assert all(
                isinstance(lost, StreamLost) and lost.reason.startswith("no_answer: ") for lost in before
            )

    asyncio.run(scenario())


def test_a_server_that_accepts_and_never_answers_is_given_up() -> None:
    async def mute(socket: web.WebSocketResponse, _number: int) -> None:
        await socket.send_str("Websocket connection established.")
        async for _message in socket:
            pass

    before, reason = asyncio.run(first_loss(mute, options=with_options(acknowledge_timeout_seconds=0.05)))
    assert before == []
    assert reason.startswith("no_answer: ")


def test_a_socket_on_which_nothing_arrives_any_more_is_given_up() -> None:
    async def half_open(socket: web.WebSocketResponse, _number: int) -> None:
        await acknowledge(socket, pongs=False)

    before, reason = asyncio.run(first_loss(half_open, options=with_options(dead_after_seconds=0.5)))
    assert before == [StreamConnected(stream="user")]
    assert reason == "dead: nothing received for 0.5 s"


def test_pongs_keep_a_user_stream_that_has_nothing_to_say() -> None:
    pings = 45

    async def scenario() -> None:
        async def venue_socket(socket: web.WebSocketResponse, _number: int) -> None:
            await acknowledge(socket, count=len(ACCOUNT))
            for _ in range(pings):
                assert await socket.receive_json() == {"method": "ping"}
                await socket.send_str('{"channel":"pong"}')
            await socket.send_str('{"channel":"user","data":{"fills":[]}}')
            await acknowledge(socket)

        inbox = Inbox()
        # Without the pongs it would be dead before the last ping: 45 pings take 2.25 s at least. A machine
        # that stands still for 2 s loses the connection all the same; the pings are then counted anew.
        options = with_options(ping_seconds_min=0.05, ping_seconds_max=0.05, dead_after_seconds=2.0)
        async with (
            http_venue(ws=venue_socket) as venue,
            stream_to(venue.ws_url, inbox, options=options) as stream,
        ):
            await inbox.wait_for(StreamFrame)
            assert stream.health.pongs >= pings

    asyncio.run(scenario())


def test_pongs_do_not_keep_a_market_stream_that_has_gone_silent() -> None:
    async def silent_with_pongs(socket: web.WebSocketResponse, _number: int) -> None:
        await socket.send_str(BBO)
        await acknowledge(socket)

    options = with_options(ping_seconds_min=0.01, ping_seconds_max=0.02, data_silence_seconds=0.5)
    before, reason = asyncio.run(
        first_loss(
            silent_with_pongs, options=options, subscriptions=BOOK, kind=HyperliquidOrderBookDataSource
        )
    )
    assert StreamConnected(stream="user") in before
    assert reason == "silent: no data for 0.5 s although subscribed"


def test_market_data_is_expected_unless_told_otherwise() -> None:
    assert HyperliquidOrderBookDataSource.default_options.data_silence_seconds == 30.0
    assert HyperliquidUserStreamDataSource.default_options.data_silence_seconds is None


def test_after_a_loss_everything_is_subscribed_again() -> None:
    async def scenario() -> None:
        subscribed: list[list[str]] = []

        async def venue_socket(socket: web.WebSocketResponse, number: int) -> None:
            subscribed.append([])
            for _ in ACCOUNT:
                request = await socket.receive_json()
                subscribed[number].append(request["subscription"]["type"])
                await socket.send_json({"channel": "subscriptionResponse", "data": request})
            await socket.send_json({"channel": "userFills", "data": {"user": USER, "fills": [], "n": number}})
            if number < 2:
                await socket.close(code=WSCloseCode.SERVICE_RESTART, message=b"upgrade")
            else:
                await acknowledge(socket)

        inbox = Inbox()
        async with http_venue(ws=venue_socket) as venue, stream_to(venue.ws_url, inbox) as stream:
            await inbox.wait_for(StreamFrame, 3)
            await inbox.wait_for(StreamConnected, 3)
            assert stream.is_connected
            assert stream.health.connections == 3
        assert subscribed == [["orderUpdates", "userEvents", "userFills"]] * 3
        assert [lost.reason for lost in inbox.of(StreamLost)] == ["closed_by_venue: code 1012, upgrade"] * 2
        kinds = [type(delivered) for delivered in inbox.inputs if not isinstance(delivered, StreamFrame)]
        assert kinds == [StreamConnected, StreamLost, StreamConnected, StreamLost, StreamConnected]

    asyncio.run(scenario())


def test_a_socket_that_breaks_in_the_middle_of_a_frame_is_lost_and_its_half_frame_with_it() -> None:
    async def breaking(socket: web.WebSocketResponse, _number: int) -> None:
        await acknowledge(socket, count=len(ACCOUNT))
        transport = cast(asyncio.Transport, socket._req.transport)  # type: ignore[union-attr]
        text = b'{"channel":"userFills","data":{}}'
        transport.write(bytes([0x81, len(text)]) + text + bytes([0x81, len(text)]) + text[:10])
        transport.close()

    before, reason = asyncio.run(first_loss(breaking))
    assert [delivered.data for delivered in before if isinstance(delivered, StreamFrame)] == [
        b'{"channel":"userFills","data":{}}'
    ]
    assert reason.startswith("closed_by_venue: ")


def test_a_frame_beyond_all_measure_ends_the_connection_and_not_the_process() -> None:
    async def oversized(socket: web.WebSocketResponse, _number: int) -> None:
        await acknowledge(socket, count=len(ACCOUNT))
        await socket.send_str('{"channel":"userFills","data":"' + "x" * 100_000 + '"}')
        await acknowledge(socket)

    before, reason = asyncio.run(first_loss(oversized, options=with_options(frame_bytes_max=50_000)))
    assert not any(isinstance(delivered, StreamFrame) for delivered in before)
    assert reason.startswith("socket_error: ")


def test_a_flood_is_handed_over_completely_and_in_order() -> None:
    count = 20_000

    async def scenario() -> None:
        async def flood(socket: web.WebSocketResponse, _number: int) -> None:
            await acknowledge(socket, count=len(ACCOUNT))
            for number in range(count):
                await socket.send_str(f'{{"channel":"trades","data":{number}}}')
            await acknowledge(socket)

        inbox = Inbox()
        async with http_venue(ws=flood) as venue, stream_to(venue.ws_url, inbox):
            await inbox.wait_for(StreamFrame, count)
        assert [json.loads(frame.data)["data"] for frame in inbox.of(StreamFrame)] == list(range(count))

    asyncio.run(scenario())


def test_a_reconnect_on_demand_drops_the_connection_and_makes_a_new_one() -> None:
    async def scenario() -> None:
        async def venue_socket(socket: web.WebSocketResponse, _number: int) -> None:
            await acknowledge(socket)

        inbox = Inbox()
        async with http_venue(ws=venue_socket) as venue, stream_to(venue.ws_url, inbox) as stream:
            await inbox.wait_for(StreamConnected)
            stream.reconnect("order 7 filled and nothing was said")
            stream.reconnect("and again")
            await inbox.wait_for(StreamConnected, 2)
            assert inbox.inputs == [
                StreamConnected(stream="user"),
                StreamLost(stream="user", reason="dropped: order 7 filled and nothing was said"),
                StreamConnected(stream="user"),
            ]
        stream.reconnect("stopped by now")

    asyncio.run(scenario())


def test_new_subscriptions_replace_the_old_ones_on_a_new_connection() -> None:
    async def scenario() -> None:
        seen: list[str] = []

        async def venue_socket(socket: web.WebSocketResponse, _number: int) -> None:
            async for message in socket:
                request = json.loads(message.data)
                seen.append(request["subscription"]["type"])
                await socket.send_json({"channel": "subscriptionResponse", "data": request})

        inbox = Inbox()
        async with http_venue(ws=venue_socket) as venue, stream_to(venue.ws_url, inbox) as stream:
            await inbox.wait_for(StreamConnected)
            stream.start(ACCOUNT, inbox.deliver)
            stream.start(BOOK, inbox.deliver)
            await inbox.wait_for(StreamConnected, 2)
        assert seen == ["orderUpdates", "userEvents", "userFills", "bbo", "l2Book"]

    asyncio.run(scenario())


def test_an_outage_is_told_once_and_outlasted() -> None:
    async def scenario() -> None:
        restored = asyncio.Event()

        async def venue_socket(socket: web.WebSocketResponse, number: int) -> None:
            if number == 1:
                await acknowledge(socket, count=len(ACCOUNT))
            elif number in (0, 2, 3):
                return
            else:
                restored.set()
                await acknowledge(socket)

        inbox = Inbox()
        async with http_venue(ws=venue_socket) as venue, stream_to(venue.ws_url, inbox) as stream:
            await asyncio.wait_for(restored.wait(), PATIENCE_SECONDS)
            await inbox.wait_for(StreamConnected, 2)
            kinds = [type(delivered) for delivered in inbox.inputs]
            assert kinds == [StreamLost, StreamConnected, StreamLost, StreamConnected]
            assert (stream.health.attempts, stream.health.connections) == (5, 2)

    asyncio.run(scenario())


def test_an_unreachable_venue_is_tried_again_and_again() -> None:
    async def scenario() -> None:
        inbox = Inbox()
        with refusing_port() as reserved:
            async with stream_to(url_of(reserved, "ws") + "/ws", inbox) as stream:
                (lost,) = await inbox.wait_for(StreamLost)
                assert lost.reason.startswith("connect_failed: ")
                stream.reconnect("there is no connection to drop")
                came = asyncio.Event()
                server = await asyncio.start_server(lambda _reader, _writer: came.set(), sock=reserved)
                await asyncio.wait_for(came.wait(), PATIENCE_SECONDS)
                server.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", "connect_failed: 429"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/ws\r\nContent-Length: 0\r\n\r\n",
            "connect_failed: redirected",
        ),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "connect_failed: 101"),
        (b"nonsense\r\n\r\n", "connect_failed: "),
        (b"", "connect_timeout"),
    ],
    ids=["limited", "redirected", "half-hearted", "another protocol", "never answered"],
)
def test_a_handshake_that_fails_is_a_failed_attempt(answer: bytes, reason: str) -> None:
    async def scenario() -> None:
        async def venue_socket(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            if not answer:
                await reader.read()

        inbox = Inbox()
        options = with_options(connect_timeout_seconds=PATIENCE_SECONDS if answer else 0.1)
        async with tcp_venue(venue_socket) as venue, stream_to(venue.ws_url, inbox, options=options):
            (lost,) = await inbox.wait_for(StreamLost)
        assert lost.reason.startswith(reason)
        assert inbox.of(StreamConnected) == []

    asyncio.run(scenario())


def test_connections_are_never_opened_faster_than_the_venue_allows() -> None:
    async def scenario() -> None:
        reached = asyncio.Event()

        async def slamming(_socket: web.WebSocketResponse, number: int) -> None:
            if number == 2:
                reached.set()

        inbox = Inbox()
        budget = ConnectionBudget(connections_max=3, window_seconds=NEVER)
        async with (
            http_venue(ws=slamming) as venue,
            stream_to(venue.ws_url, inbox, budget=budget) as first,
            stream_to(venue.ws_url, inbox, budget=budget) as second,
        ):
            await asyncio.wait_for(reached.wait(), PATIENCE_SECONDS)
            # A fourth attempt would follow without delay, so the others have had every chance to make it.
            for _ in range(1_000):
                await asyncio.sleep(0)
            assert first.health.attempts + second.health.attempts == 3
            assert venue.requests == ["/ws"] * 3

    asyncio.run(scenario())


def test_a_stopped_stream_says_nothing_more_and_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        closed = asyncio.Event()

        async def venue_socket(socket: web.WebSocketResponse, _number: int) -> None:
            await acknowledge(socket)
            closed.set()

        inbox = Inbox()
        async with http_venue(ws=venue_socket) as venue:
            async with stream_to(venue.ws_url, inbox) as stream:
                await inbox.wait_for(StreamConnected)
                await stream.stop()
                await asyncio.wait_for(closed.wait(), PATIENCE_SECONDS)
            assert inbox.inputs == [StreamConnected(stream="user")]
            # The venue's own task for the connection may need another turn to end.
            if others := asyncio.all_tasks() - {asyncio.current_task()}:
                _, left = await asyncio.wait(others, timeout=PATIENCE_SECONDS)
                assert not left

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", [HyperliquidUserStreamDataSource, HyperliquidOrderBookDataSource])
def test_a_stream_without_subscriptions_connects(kind: type[HyperliquidOrderBookDataSource]) -> None:
    async def scenario() -> None:
        async def venue_socket(socket: web.WebSocketResponse, _number: int) -> None:
            await acknowledge(socket)

        inbox = Inbox()
        async with (
            http_venue(ws=venue_socket) as venue,
            stream_to(venue.ws_url, inbox, subscriptions=(), kind=kind),
        ):
            await inbox.wait_for(StreamConnected)

    asyncio.run(scenario())
