"""The publisher and real subscribers, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from adapters.zeromq.errors import PublisherAddressInUseError, PublisherBindError
from adapters.zeromq.publisher import ZMQOrderEventPublisher
from domain.events import AccountFundingBooked, OrderAcknowledged, OrderCancelled
from domain.listeners import Committed
from tests.unit.zeromq.orders import STARTED_NS, OrderUnderTest, envelope

_PATIENCE_MS = 60_000
_LOOPBACK = "tcp://127.0.0.1:0"


class Subscriber:
    """A ZeroMQ SUB as any program would open it."""

    def __init__(self, endpoint: str, *prefixes: str, **options: int) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.SUB)
        for name, value in options.items():
            self.socket.setsockopt(getattr(zmq, name.upper()), value)
        self.socket.connect(endpoint)
        # Once connected, subscriptions travel in this order: who gets the last one's messages has them all.
        for prefix in prefixes or ("",):
            self.socket.subscribe(prefix)

    def frames(self) -> list[bytes]:
        assert self.socket.poll(_PATIENCE_MS), "nothing arrived"
        return self.socket.recv_multipart()

    def next(self) -> tuple[str, dict[str, Any]]:
        topic, body = self.frames()
        return topic.decode(), _document(body)

    def next_order_message(self) -> dict[str, Any]:
        """The next body that is no heartbeat."""
        while True:
            topic, body = self.next()
            if not topic.startswith("heartbeat."):
                return body

    def close(self) -> None:
        self._context.destroy(linger=0)


def _document(body: bytes) -> dict[str, Any]:
    """A body of either encoding: JSON alone begins with a brace."""
    document: dict[str, Any] = (json.loads if body.startswith(b"{") else msgspec.msgpack.decode)(body)
    return document


class CountedPublisher(ZMQOrderEventPublisher):
    """A publisher whose heartbeats are told apart: the timestamp of each is its number."""

    def __init__(self, bind: str, **options: Any) -> None:
        self.beats = 0
        super().__init__(bind, venue="hyperliquid", clock_ns=self._count, **options)

    def _count(self) -> int:
        self.beats += 1
        return self.beats


@contextmanager
def _publisher(bind: str = _LOOPBACK, **options: Any) -> Iterator[CountedPublisher]:
    publisher = CountedPublisher(bind, **options)
    try:
        yield publisher
    finally:
        publisher.close(linger_ms=0)


@contextmanager
def _subscriber(publisher: CountedPublisher, *prefixes: str, **options: int) -> Iterator[Subscriber]:
    """A subscriber whose subscriptions have arrived, with every heartbeat sent so far behind it."""
    subscriber = Subscriber(publisher.endpoint, *(prefixes or ("orders.",)), "heartbeat.", **options)
    try:
        _catch_up(subscriber, publisher)
        yield subscriber
    finally:
        subscriber.close()


def _catch_up(subscriber: Subscriber, publisher: CountedPublisher) -> dict[str, Any]:
    """Send heartbeats until the last one sent arrives, and return its body."""
    for _ in range(_PATIENCE_MS // 10):
        # One of them may find a full queue and be lost, the last one as well.
        publisher.heartbeat()
        while subscriber.socket.poll(10):
            _, body = subscriber.next()
            if body["timestamp"] == publisher.beats:
                return body
    pytest.fail("the subscription never arrived")


def test_a_message_is_a_topic_and_a_json_body() -> None:
    order = OrderUnderTest("my order", amount="2", first_position=41)
    with _publisher() as publisher, _subscriber(publisher) as subscriber:
        publisher.publish([order.created, order.fill("0.5")])
        topic, body = subscriber.next()
        assert topic == "orders.hyperliquid.created"
        assert (body["event_type"], body["timestamp"], body["position"]) == ("created", STARTED_NS + 1, 41)
        data = body["data"]
        assert (data["client_order_id"], data["exchange_order_id"]) == ("my order", None)
        assert (data["trading_pair"], data["order_type"], data["trade_type"]) == ("BTC-USD", "limit", "buy")
        assert (data["price"], data["amount"], data["filled_amount"]) == ("43210.5", "2", "0")
        assert (data["average_fill_price"], data["order_state"]) == (None, "pending_create")
        topic, body = subscriber.next()
        assert topic == "orders.hyperliquid.partial_fill"
        assert (body["position"], body["data"]["average_fill_price"]) == (42, "43210")
        assert body["data"]["fill"]["amount"] == "0.5"


def test_messagepack_bodies_hold_the_same_document() -> None:
    order = OrderUnderTest(amount="2")
    events = [order.created, order.fill("0.5")]
    documents = []
    for encoding in ("json", "msgpack"):
        with _publisher(encoding=encoding) as publisher, _subscriber(publisher) as subscriber:
            publisher.publish(events)
            frames = [subscriber.frames()[1] for _ in events]
            assert all(frame.startswith(b"{") == (encoding == "json") for frame in frames)
            bodies = [_document(frame) for frame in frames]
            for body in bodies:
                assert body.pop("session") == publisher.session
            documents.append(bodies)
    assert documents[0] == documents[1]


def test_messages_come_in_log_order_with_unbroken_sequences() -> None:
    order = OrderUnderTest(amount="100")
    events = [order.created, *(order.fill("1") for _ in range(100))]
    with _publisher() as publisher, _subscriber(publisher) as subscriber:
        publisher.publish(events[:60])
        publisher.publish(events[60:])
        received = [subscriber.next_order_message() for _ in events]
    assert [body["position"] for body in received] == list(range(1, 102))
    assert [body["sequence"] for body in received] == list(range(1, 102))
    assert [body["data"]["version"] for body in received] == list(range(1, 102))
    assert received[-1]["event_type"] == "filled"


def test_a_subscriber_of_one_topic_gets_that_topic_and_its_own_sequence() -> None:
    with _publisher() as publisher, _subscriber(publisher, "orders.hyperliquid.filled") as subscriber:
        for number in range(5):
            order = OrderUnderTest(f"order {number}", amount="1", first_position=1 + 2 * number)
            publisher.publish([order.created, order.fill("1")])
        received = [subscriber.next_order_message() for _ in range(5)]
    assert [body["topic_sequence"] for body in received] == [1, 2, 3, 4, 5]
    assert [body["position"] for body in received] == [2, 4, 6, 8, 10]


def test_events_of_the_account_move_the_position_that_heartbeats_tell() -> None:
    funding = AccountFundingBooked(
        **envelope("account:hyperliquid:0x1", 1),
        funding_key="1",
        trading_pair="BTC-USD",
        amount=Decimal("-0.5"),
        token="USDC",
        rate=Decimal("0.0000125"),
        position_size=Decimal(1),
    )
    with _publisher(last_position=7) as publisher, _subscriber(publisher) as subscriber:
        publisher.heartbeat()
        beat = publisher.beats
        quiet = {"event_type": "heartbeat", "timestamp": beat, "session": publisher.session, "sequence": 0}
        assert subscriber.next() == (
            "heartbeat.hyperliquid",
            {**quiet, "position": 7, "topic_sequences": {}},
        )
        publisher.publish([Committed(8, funding, None), OrderUnderTest(first_position=9).created])
        publisher.publish([Committed(10, funding, None)])
        publisher.heartbeat()
        assert subscriber.next()[1]["position"] == 9
        assert subscriber.next()[1] == {
            **quiet,
            "timestamp": beat + 1,
            "position": 10,
            "sequence": 1,
            "topic_sequences": {"orders.hyperliquid.created": 1},
        }


def test_heartbeats_go_on_by_themselves_until_the_publisher_is_closed() -> None:
    with _publisher(last_position=3) as publisher, _subscriber(publisher) as subscriber:

        async def scenario() -> None:
            beating = asyncio.create_task(publisher.run_heartbeats(0.001))
            for _ in range(3):
                # Read in a thread: this loop has the heartbeats to send.
                topic, _ = await asyncio.to_thread(subscriber.next)
                assert topic == "heartbeat.hyperliquid"
            publisher.close()
            await asyncio.wait_for(beating, _PATIENCE_MS / 1000)

        asyncio.run(scenario())


def test_without_any_subscriber_publishing_goes_on_and_a_late_one_notices() -> None:
    order = OrderUnderTest(amount="10000")
    with _publisher(queue_size=10) as publisher:
        publisher.publish([order.created, *(order.fill("1") for _ in range(3000))])
        assert publisher.overruns == 0
        with _subscriber(publisher) as subscriber:
            publisher.publish([order.fill("1")])
            body = subscriber.next_order_message()
    # Its first message is not the first of the session: what came before is in the ledger.
    assert (body["sequence"], body["position"]) == (3002, 3002)


def test_a_subscriber_that_does_not_read_loses_messages_alone_and_can_notice() -> None:
    order = OrderUnderTest(amount="1000000")
    total, slice_size = 12_000, 100
    with (
        _publisher(queue_size=2 * slice_size) as publisher,
        _subscriber(publisher) as fast,
        _subscriber(publisher, rcvhwm=1, rcvbuf=4096) as slow,
    ):
        seen: list[int] = []
        for _ in range(total // slice_size):
            # A publisher that waited for the slow one would never come back from here.
            publisher.publish([order.fill("1") for _ in range(slice_size)])
            seen += [fast.next_order_message()["sequence"] for _ in range(slice_size)]
        assert seen == list(range(1, total + 1))
        assert publisher.overruns > 0

        # It wakes up and reads what was kept for it, until a heartbeat tells it where it should be.
        kept: list[int] = []
        behind = True
        while behind:
            publisher.heartbeat()
            while slow.socket.poll(10):
                topic, body = slow.next()
                if topic == "heartbeat.hyperliquid":
                    assert body["sequence"] == total
                    behind = False
                else:
                    kept.append(body["sequence"])
    assert kept == sorted(set(kept))
    steps = {later - earlier for earlier, later in pairwise([0, *kept, total + 1])}
    assert max(steps) > 1, "a gap shows as a step of more than one"


def test_a_subscriber_that_vanishes_does_no_harm() -> None:
    order = OrderUnderTest(amount="1000000")
    with _publisher(queue_size=10) as publisher, _subscriber(publisher) as staying:
        with _subscriber(publisher):
            publisher.publish([order.created])
        assert staying.next_order_message()["sequence"] == 1
        for number in range(2, 50):
            publisher.publish([order.fill("1")])
            assert staying.next_order_message()["sequence"] == number


def test_after_a_restart_subscribers_reconnect_and_see_a_new_session() -> None:
    order = OrderUnderTest(amount="10")
    # One subscription to everything: the order in which a reconnecting subscriber sends several is its own.
    with _publisher() as first, _subscriber(first, "") as subscriber:
        first.publish([order.created])
        before = subscriber.next_order_message()
        endpoint = first.endpoint
        first.close()
        order.then(OrderAcknowledged)  # committed while nobody published
        with _publisher(endpoint, last_position=2) as second:
            heartbeat = _catch_up(subscriber, second)
            second.publish([order.then(OrderCancelled, reason_code="requested")])
            after = subscriber.next_order_message()
    assert before["session"] == first.session != second.session == after["session"]
    assert (heartbeat["session"], heartbeat["position"]) == (second.session, 2)
    assert (after["sequence"], after["position"], after["event_type"]) == (1, 3, "cancelled")


def test_an_address_in_use_is_an_error_that_says_so() -> None:
    with _publisher() as publisher:
        with pytest.raises(PublisherAddressInUseError, match=r"in use.*another port") as raised:
            ZMQOrderEventPublisher(publisher.endpoint, venue="hyperliquid")
        assert raised.value.address == publisher.endpoint


def test_an_address_that_is_not_of_this_machine_is_an_error() -> None:
    with pytest.raises(PublisherBindError, match=r"192\.0\.2\.1"):
        ZMQOrderEventPublisher("tcp://192.0.2.1:0", venue="hyperliquid", allow_remote=True)


def test_a_directory_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PublisherBindError, match="No such file"):
        ZMQOrderEventPublisher(f"ipc://{tmp_path}/missing/orders.sock", venue="hyperliquid")


def test_a_unix_socket_serves_as_well(tmp_path: Path) -> None:
    with _publisher(f"ipc://{tmp_path}/o.sock") as publisher, _subscriber(publisher) as subscriber:
        publisher.publish([OrderUnderTest().created])
        assert subscriber.next_order_message()["event_type"] == "created"


def test_nothing_is_published_after_closing_and_closing_twice_is_fine() -> None:
    publisher = ZMQOrderEventPublisher(_LOOPBACK, venue="hyperliquid")
    publisher.close()
    publisher.close()
    assert publisher.is_closed
    publisher.publish([OrderUnderTest().created])
    publisher.heartbeat()
