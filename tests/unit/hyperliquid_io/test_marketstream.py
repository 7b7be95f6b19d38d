"""Market data from somebody else's stream looks like our own, and its faults are noticed and told."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hyperliquid.gateway import HyperliquidGateway
from adapters.hyperliquid.marketstream import (
    FeedMessage,
    HyperliquidMarketstreamAdapter,
    InterruptibleFeed,
    MarketFeed,
    MarketstreamOptions,
)
from adapters.hyperliquid.zmq_market_feed import ZMQMarketFeed
from domain.effects import ConnectStreams, ReconnectStream
from domain.inputs import StreamConnected, StreamFrame, StreamLost
from tests.unit.hyperliquid_io.venues import PATIENCE_SECONDS, Inbox

BOOKS: tuple[dict[str, Any], ...] = (
    {"type": "bbo", "coin": "BTC"},
    {"type": "l2Book", "coin": "BTC"},
    {"type": "trades", "coin": "BTC"},
)
PATIENT = MarketstreamOptions(silence_seconds=3_600.0)


def bbo(time_ms: int = 1, coin: str = "BTC") -> dict[str, Any]:
    return {"channel": "bbo", "data": {"coin": coin, "time": time_ms, "bbo": [None, None]}}


def book(time_ms: int = 1) -> dict[str, Any]:
    return {"channel": "l2Book", "data": {"coin": "BTC", "time": time_ms, "levels": [[], []]}}


class Desk:
    """A market-data process with callbacks, as a user has one."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[FeedMessage], None]] = []
        self.taken_up = 0
        self.was_taken_up = asyncio.Event()

    def add_callback(self, callback: Callable[[FeedMessage], None]) -> None:
        self.taken_up += 1
        self.was_taken_up.set()
        self.callbacks.append(callback)

    def remove_callback(self, callback: Callable[[FeedMessage], None]) -> None:
        self.callbacks.remove(callback)

    def publish(self, *messages: Any) -> None:
        for message in messages:
            for callback in list(self.callbacks):
                callback(message)


@asynccontextmanager
async def adapter_on(
    feed: MarketFeed,
    inbox: Inbox,
    options: MarketstreamOptions = PATIENT,
    subscriptions: tuple[dict[str, Any], ...] = BOOKS,
) -> AsyncIterator[HyperliquidMarketstreamAdapter]:
    adapter = HyperliquidMarketstreamAdapter(feed, options=options, clock_ns=lambda: 42)
    adapter.start(subscriptions, inbox.deliver)
    try:
        yield adapter
    finally:
        await adapter.stop()


def frames_of(inbox: Inbox) -> list[Any]:
    return [json.loads(frame.data) for frame in inbox.of(StreamFrame)]


def test_whole_frames_pass_through_untouched_after_the_stream_is_said_to_be_connected() -> None:
    raw = b'{ "channel":"bbo", "data":{"coin":"BTC","time":1,"bbo":[null,null],"new":1}}'

    async def scenario() -> None:
        inbox, desk = Inbox(), Desk()
        async with adapter_on(desk, inbox) as adapter:
            desk.publish(raw, raw.decode(), json.loads(raw))
            await inbox.wait_for(StreamFrame, 3)
            assert inbox.inputs[:3] == [
                StreamConnected(stream="market"),
                StreamFrame(stream="market", data=raw),
                StreamFrame(stream="market", data=raw),
            ]
            assert frames_of(inbox)[2] == json.loads(raw)
            assert adapter.is_connected
            assert adapter.last_data_ns == 42
        assert desk.callbacks == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("data", "channel", "subscription"),
    [
        (bbo()["data"], "bbo", {"type": "bbo", "coin": "BTC"}),
        (book()["data"], "l2Book", {"type": "l2Book", "coin": "BTC"}),
        ([{"coin": "BTC", "px": "1.0", "sz": "2.0", "tid": 3}], "trades", {"type": "trades", "coin": "BTC"}),
        ([7, {"coin": "BTC", "px": "1.0", "sz": "2.0"}], "trades", {"type": "trades", "coin": "BTC"}),
        ({"mids": {"BTC": "1.5"}}, "allMids", {"type": "allMids"}),
        ({"coin": "BTC", "ctx": {}}, "activeAssetCtx", {"type": "activeAssetCtx", "coin": "BTC"}),
        ({"coin": "@107", "ctx": {}}, "activeSpotAssetCtx", {"type": "activeAssetCtx", "coin": "@107"}),
        (
            {"t": 1, "T": 2, "s": "BTC", "i": "1m", "o": "1.0", "c": "1.0"},
            "candle",
            {"type": "candle", "coin": "BTC", "interval": "1m"},
        ),
    ],
)
def test_data_alone_gets_its_channel_back(data: Any, channel: str, subscription: dict[str, Any]) -> None:
    async def scenario() -> None:
        inbox, desk = Inbox(), Desk()
        async with adapter_on(desk, inbox, subscriptions=(subscription,)) as adapter:
            desk.publish("\n " + json.dumps(data))
            desk.publish({"channel": channel, "data": data})
            await inbox.wait_for(StreamFrame, 2)
            assert frames_of(inbox) == [{"channel": channel, "data": data}] * 2
            assert adapter.health.bad == 0

    asyncio.run(scenario())


def test_what_nobody_subscribed_is_left_out() -> None:
    async def scenario() -> None:
        inbox, desk = Inbox(), Desk()
        async with adapter_on(desk, inbox) as adapter:
            desk.publish(
                bbo(coin="ETH"),
                {"channel": "pong"},
                {"channel": "subscriptionResponse", "data": {}},
                {"channel": "userFills", "data": {"user": "0x1", "fills": []}},
                {"channel": "allMids", "data": {"mids": {}}},
                bbo(),
            )
            await inbox.wait_for(StreamFrame)
            assert frames_of(inbox) == [bbo()]
            assert (adapter.health.received, adapter.health.unwanted, adapter.health.bad) == (6, 5, 0)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "message",
    [
        b"",
        "Websocket connection established.",
        b'{"channel":"bbo","data":{"coin":"BTC"',
        b"\xff\xfe",
        "\ud800",
        b"null",
        b"[]",
        b"[1,2]",
        {},
        {"channel": "bbo", "data": 7},
        {"channel": "bbo", "data": {"coin": 5, "time": 1, "bbo": []}},
        {"channel": "bbo", "data": {"coin": "BTC", "time": "late", "bbo": []}},
        {"channel": "l2Book", "data": {"coin": "BTC", "time": 1, "bbo": []}},
        {"channel": 5},
        {"px": object()},
        {5: Decimal(1)},
        None,
        17,
        b'{"channel":"bbo","data":{"coin":"BTC","time":1,"bbo":"' + b"x" * 2_000 + b'"}}',
    ],
)
def test_a_bad_message_is_counted_and_dropped_and_the_next_one_passes(message: Any) -> None:
    async def scenario() -> None:
        inbox, desk = Inbox(), Desk()
        options = MarketstreamOptions(silence_seconds=3_600.0, message_bytes_max=1_000)
        async with adapter_on(desk, inbox, options) as adapter:
            desk.publish(message, bbo())
            await inbox.wait_for(StreamFrame)
            assert frames_of(inbox) == [bbo()]
            assert adapter.health.bad == 1

    asyncio.run(scenario())


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.binary(max_size=40)
        | st.text(max_size=40)
        | st.recursive(
            st.none() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["channel", "data", "coin", "time", "bbo", "levels"]), inner
                )
            ),
            max_leaves=6,
        ),
        max_size=12,
    )
)
def test_no_message_whatsoever_raises_into_the_feed(messages: list[Any]) -> None:
    async def scenario() -> None:
        inbox, desk = Inbox(), Desk()
        async with adapter_on(desk, inbox):
            desk.publish(*messages)
            desk.publish(bbo(2**60))
            await inbox.until(lambda inbox: bbo(2**60) in frames_of(inbox))

    asyncio.run(scenario())


def test_an_older_price_never_replaces_a_newer_one() -> None:
    async def scenario() -> None:
        inbox, desk = Inbox(), Desk()
        async with adapter_on(desk, inbox) as adapter:
            desk.publish(bbo(5), bbo(4), book(3), bbo(5), bbo(6))
            await inbox.wait_for(StreamFrame, 4)
            assert frames_of(inbox) == [bbo(5), book(3), bbo(5), bbo(6)]
            assert adapter.health.outdated == 1

    asyncio.run(scenario())


def test_missing_books_are_told_as_a_gap() -> None:
    async def scenario() -> None:
        inbox, desk = Inbox(), Desk()
        async with adapter_on(desk, inbox) as adapter:
            desk.publish(book(1_000), book(6_000), bbo(6_001), book(26_000), bbo(99_000))
            await inbox.wait_for(StreamFrame, 5)
            kinds = [type(delivered).__name__ for delivered in inbox.inputs]
            assert (
                kinds
                == ["StreamConnected", *["StreamFrame"] * 3, "StreamLost", "StreamConnected"]
                + ["StreamFrame"] * 2
            )
            (lost,) = inbox.of(StreamLost)
            assert lost.reason == "gap: no book of BTC for 20000 ms of the venue's time"
            assert adapter.health.gaps == 1

    asyncio.run(scenario())


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop for which time passes also when a test says so."""

    skipped_seconds = 0.0

    def time(self) -> float:
        return super().time() + self.skipped_seconds


def test_silence_is_told_once_and_the_feed_taken_up_again_until_it_speaks() -> None:
    loop = SkippingLoop()

    async def scenario() -> None:
        inbox, desk = Inbox(), Desk()
        async with adapter_on(desk, inbox) as adapter:
            desk.publish(bbo(5), bbo(6))
            await inbox.wait_for(StreamFrame, 2)
            loop.skipped_seconds += PATIENT.silence_seconds
            await inbox.wait_for(StreamLost)
            for _ in range(2):
                desk.was_taken_up.clear()
                loop.skipped_seconds += PATIENT.silence_seconds
                await asyncio.wait_for(desk.was_taken_up.wait(), PATIENCE_SECONDS)
            assert len(inbox.of(StreamLost)) == 1
            assert not adapter.is_connected
            # What comes after a silence is the newest there is, whatever its time.
            desk.publish(bbo(2))
            await inbox.wait_for(StreamConnected, 2)
            await inbox.wait_for(StreamFrame, 3)
        assert inbox.of(StreamLost)[0].reason == "silent: no data for 3600 s although subscribed"
        assert frames_of(inbox)[-1] == bbo(2)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(scenario())


def test_a_feed_that_never_says_anything_is_told() -> None:
    async def scenario() -> None:
        inbox = Inbox()
        async with adapter_on(Desk(), inbox, MarketstreamOptions(silence_seconds=0.02)):
            await inbox.wait_for(StreamLost)
            assert len(inbox.inputs) == 1

    asyncio.run(scenario())


def test_a_feed_faster_than_the_loop_keeps_the_newest_and_says_so() -> None:
    async def scenario() -> None:
        inbox, desk = Inbox(), Desk()
        options = MarketstreamOptions(silence_seconds=3_600.0, waiting_max=10)
        async with adapter_on(desk, inbox, options) as adapter:
            desk.publish(*[bbo(time_ms) for time_ms in range(25)])
            await inbox.wait_for(StreamFrame, 10)
            assert frames_of(inbox) == [bbo(time_ms) for time_ms in range(15, 25)]
            assert [lost.reason.split(":")[0] for lost in inbox.of(StreamLost)] == ["overflow"]
            assert adapter.health.overflowed == 15

    asyncio.run(scenario())


def test_messages_from_several_threads_all_arrive_in_the_thread_of_the_loop() -> None:
    count = 2_000

    async def scenario() -> None:
        inbox, desk = Inbox(), Desk()
        threads_seen: set[int] = set()

        def deliver(delivered: Any) -> None:
            threads_seen.add(threading.get_ident())
            inbox.deliver(delivered)

        adapter = HyperliquidMarketstreamAdapter(desk, options=PATIENT)
        adapter.start(BOOKS, deliver)

        def publish(name: int) -> None:
            for number in range(count):
                desk.publish(
                    {"channel": "trades", "data": [{"coin": "BTC", "px": str(number), "sz": str(name)}]}
                )

        threads = [threading.Thread(target=publish, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        await inbox.wait_for(StreamFrame, 4 * count)
        for thread in threads:
            thread.join()
        await adapter.stop()
        assert threads_seen == {threading.get_ident()}
        for name in range(4):
            own = [
                frame["data"][0]["px"] for frame in frames_of(inbox) if frame["data"][0]["sz"] == str(name)
            ]
            assert own == [str(number) for number in range(count)]

    asyncio.run(scenario())


def test_a_reconnect_takes_the_feed_up_anew() -> None:
    async def scenario() -> None:
        inbox, desk = Inbox(), Desk()
        async with adapter_on(desk, inbox) as adapter:
            adapter.reconnect("nothing to drop yet")
            desk.publish(bbo())
            await inbox.wait_for(StreamFrame)
            adapter.reconnect("prices look old")
            assert inbox.of(StreamLost) == [StreamLost(stream="market", reason="dropped: prices look old")]
            assert desk.taken_up == 2
            assert len(desk.callbacks) == 1
            desk.publish(bbo())
            await inbox.wait_for(StreamConnected, 2)

    asyncio.run(scenario())


def test_nothing_is_delivered_after_stop_even_by_a_feed_that_goes_on() -> None:
    async def scenario() -> list[Callable[[FeedMessage], None]]:
        inbox, desk = Inbox(), Desk()
        async with adapter_on(desk, inbox) as adapter:
            kept = list(desk.callbacks)
            desk.publish(bbo())
        kept[0](bbo())
        for _ in range(10):
            await asyncio.sleep(0)
        assert inbox.inputs == []
        await adapter.stop()
        return kept

    (callback,) = asyncio.run(scenario())
    callback(bbo())


def test_a_feed_that_cannot_be_taken_up_is_a_lost_stream() -> None:
    class Broken(Desk):
        def add_callback(self, callback: Callable[[FeedMessage], None]) -> None:
            raise ConnectionError("no such feed")

    async def scenario() -> None:
        inbox = Inbox()
        async with adapter_on(Broken(), inbox):
            assert inbox.inputs == [StreamLost(stream="market", reason="feed_failed: no such feed")]

    asyncio.run(scenario())


def test_a_gateway_takes_the_adapter_for_its_market_stream() -> None:
    async def scenario() -> None:
        inbox, desk = Inbox(), Desk()
        adapter = HyperliquidMarketstreamAdapter(desk, options=PATIENT)
        gateway = HyperliquidGateway(
            http_url="http://127.0.0.1:1", ws_url="ws://127.0.0.1:1/ws", auth=None, market_source=adapter
        )
        await gateway.start(inbox.deliver)
        gateway.perform(ConnectStreams(streams={"market": BOOKS}))
        desk.publish(bbo())
        await inbox.wait_for(StreamFrame)
        gateway.perform(ReconnectStream(stream="market", reason="prices look old"))
        await gateway.stop()
        assert inbox.inputs == [
            StreamConnected(stream="market"),
            StreamFrame(stream="market", data=json.dumps(bbo(), separators=(",", ":")).encode()),
            StreamLost(stream="market", reason="dropped: prices look old"),
        ]
        assert desk.callbacks == []

    asyncio.run(scenario())


# -- over ZeroMQ -------------------------------------------------------------------------------------------


class Publisher:
    """A PUB socket that knows when a subscriber is there (an XPUB hears subscriptions)."""

    def __init__(self, port: int | None = None) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        if port is None:
            self.port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        else:
            self.port = port
            self._socket.bind(f"tcp://127.0.0.1:{port}")
        self.address = f"tcp://127.0.0.1:{self.port}"

    async def until_subscribed(self) -> None:
        assert await asyncio.to_thread(self._socket.poll, int(PATIENCE_SECONDS * 1_000))
        assert self._socket.recv().startswith(b"\x01")

    def publish(self, *frames: Any) -> None:
        self._socket.send_multipart(
            [frame if isinstance(frame, bytes) else json.dumps(frame).encode() for frame in frames]
        )

    def close(self) -> None:
        self._context.destroy(linger=0)


def test_a_zeromq_feed_hands_over_payloads_with_and_without_topic_and_survives_garbage() -> None:
    async def scenario() -> None:
        inbox, publisher = Inbox(), Publisher()
        async with adapter_on(ZMQMarketFeed(publisher.address), inbox) as adapter:
            await publisher.until_subscribed()
            publisher.publish(b"bbo.BTC", bbo(1))
            publisher.publish(bbo(2)["data"])
            publisher.publish(b"\xff\x00garbage")
            publisher.publish(b"one", b"too", b"many")
            publisher.publish(b"bbo.BTC", b"")
            publisher.publish(b"bbo.BTC", bbo(3)["data"])
            await inbox.wait_for(StreamFrame, 3)
            assert frames_of(inbox) == [bbo(1), bbo(2), bbo(3)]
            assert adapter.health.bad == 2
        publisher.close()

    asyncio.run(scenario())


def test_only_the_topics_asked_for_are_received() -> None:
    async def scenario() -> None:
        inbox, publisher = Inbox(), Publisher()
        feed = ZMQMarketFeed(publisher.address, topics=(b"bbo.BTC",))
        async with adapter_on(feed, inbox) as adapter:
            await publisher.until_subscribed()
            publisher.publish(b"bbo.ETH", bbo(1))
            publisher.publish(b"bbo.BTC", bbo(2))
            await inbox.wait_for(StreamFrame)
            assert frames_of(inbox) == [bbo(2)]
            assert adapter.health.received == 1
        publisher.close()

    asyncio.run(scenario())


def test_a_publisher_that_goes_away_interrupts_the_stream_and_one_that_returns_resumes_it() -> None:
    async def scenario() -> None:
        inbox, publisher = Inbox(), Publisher()
        feed = ZMQMarketFeed(publisher.address)
        assert isinstance(feed, InterruptibleFeed)
        async with adapter_on(feed, inbox):
            await publisher.until_subscribed()
            publisher.publish(bbo(5))
            await inbox.wait_for(StreamFrame)
            publisher.close()
            (lost,) = await inbox.wait_for(StreamLost)
            assert lost.reason == f"interrupted: the publisher at {feed.address} disconnected"
            publisher = Publisher(publisher.port)
            await publisher.until_subscribed()
            publisher.publish(bbo(4))
            await inbox.wait_for(StreamConnected, 2)
            await inbox.wait_for(StreamFrame, 2)
        publisher.close()

    asyncio.run(scenario())


def test_a_stopped_zeromq_feed_leaves_no_thread_behind() -> None:
    async def scenario() -> None:
        inbox, publisher = Inbox(), Publisher()
        async with adapter_on(ZMQMarketFeed(publisher.address), inbox):
            await publisher.until_subscribed()
            readers = [thread for thread in threading.enumerate() if thread.name == "market data feed"]
        for reader in readers:
            reader.join(PATIENCE_SECONDS)
            assert not reader.is_alive()
        publisher.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("address", ["", "127.0.0.1:5556", "http://127.0.0.1:5556", "inproc://feed"])
def test_an_address_that_is_no_zeromq_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(ValueError, match="tcp://"):
        ZMQMarketFeed(address)


def test_an_address_that_cannot_be_connected_to_is_a_lost_stream() -> None:
    async def scenario() -> None:
        inbox = Inbox()
        async with adapter_on(ZMQMarketFeed("tcp://127.0.0.1:no-port"), inbox):
            (lost,) = inbox.of(StreamLost)
            assert lost.reason.startswith("feed_failed: ")

    asyncio.run(scenario())
