"""`ZMQOrderEventPublisher`: order events for other programs, over ZeroMQ PUB, after they are durable.

Each message is two frames, topic and body (see `adapters.zeromq.messages`). Nothing here waits: ZeroMQ's own
thread does the sending, each subscriber has its own queue of bounded length there, and a message that does
not fit into one is lost to that subscriber alone. It notices by `sequence`, and reads what it missed from the
ledger, which has it all.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec
import zmq

from adapters.zeromq.bind_address import checked_bind_address, is_ipv6
from adapters.zeromq.errors import PublisherAddressInUseError, PublisherBindError
from adapters.zeromq.messages import Heartbeat, OrderMessage, event_type_of, order_data
from domain.events import OrderEvent
from domain.in_flight_order import OrderView
from domain.listeners import Committed

__all__ = ["Encoding", "ZMQOrderEventPublisher"]

_log = logging.getLogger(__name__)


class Encoding(StrEnum):
    """How bodies are written. Topics are UTF-8 text in both."""

    JSON = "json"
    MSGPACK = "msgpack"


class ZMQOrderEventPublisher:
    """Publishes committed order events in log order. For one thread, the one that calls `publish`.

    Publishing happens where it is called, without a queue and a thread of our own: encoding and handing over
    one event costs 10 to 25 microseconds, no more than handing it to a thread would, and PUB never blocks.
    """

    def __init__(
        self,
        bind: str,
        *,
        venue: str,
        encoding: Encoding | str = Encoding.JSON,
        last_position: int = 0,
        allow_remote: bool = False,
        queue_size: int = 10_000,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Bind and be ready.

        `bind` is `tcp://address:port` (port 0: any free one, see `endpoint`) or `ipc:///path`, loopback only
        unless `allow_remote`. `last_position` is where the ledger stands, for heartbeats before the first
        event. `queue_size` is how many messages are kept for a subscriber that is behind. Raises
        `BindAddressError`, `PublisherAddressInUseError` or `PublisherBindError`.
        """
        address = checked_bind_address(bind, allow_remote=allow_remote)
        encode = msgspec.json.encode if Encoding(encoding) is Encoding.JSON else msgspec.msgpack.encode
        self._encode: Callable[[OrderMessage | Heartbeat], bytes] = encode
        self._clock_ns = clock_ns
        self.venue = venue
        self.session = os.urandom(8).hex()
        self.sequence = 0
        """How many order messages were published."""
        self.last_position = last_position
        self.overruns = 0
        """How often a subscriber's queue filled, so that it began to lose messages."""
        self._topic_sequences: dict[str, int] = {}
        self._heartbeat_topic = f"heartbeat.{venue}".encode()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.sndhwm = queue_size
        self._socket.ipv6 = is_ipv6(address)
        # Send reports a full queue before it loses anything: see `_send`.
        self._socket.setsockopt(zmq.XPUB_NODROP, 1)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            if error.errno == zmq.EADDRINUSE:
                raise PublisherAddressInUseError(address) from None
            raise PublisherBindError(address, error.strerror or str(error)) from None
        self.endpoint: str = self._socket.get_string(zmq.LAST_ENDPOINT)
        """Where subscribers connect, with the port that was taken."""

    @property
    def is_closed(self) -> bool:
        return self._socket.closed

    def publish(self, committed: Sequence[Committed]) -> None:
        """Send one message per order event, in this order. Never blocks, never raises; nothing after `close`.

        Events of the account have no topic; they only move the position that heartbeats tell.
        """
        for entry in committed:
            self.last_position = entry.position
            if entry.view is not None and isinstance(entry.event, OrderEvent):
                self._publish(entry.position, entry.event, entry.view)

    def _publish(self, position: int, event: OrderEvent, view: OrderView) -> None:
        event_type = event_type_of(event, view)
        topic = f"orders.{view.venue}.{event_type.value}"
        self.sequence += 1
        topic_sequence = self._topic_sequences[topic] = self._topic_sequences.get(topic, 0) + 1
        message = OrderMessage(
            event_type,
            event.recorded_at_ns,
            position,
            self.session,
            self.sequence,
            topic_sequence,
            order_data(event, view),
        )
        self._send(topic.encode(), self._encode(message))

    def heartbeat(self) -> None:
        """Tell subscribers what the last position and sequences are, so that each knows whether it is
        current.
        """
        body = Heartbeat(
            self._clock_ns(), self.last_position, self.session, self.sequence, dict(self._topic_sequences)
        )
        self._send(self._heartbeat_topic, self._encode(body))

    async def run_heartbeats(self, interval_s: float) -> None:
        """Send heartbeats until cancelled or closed."""
        while not self.is_closed:
            self.heartbeat()
            await asyncio.sleep(interval_s)

    def close(self, linger_ms: int = 500) -> None:
        """Stop. Waits at most `linger_ms` for what subscribers have not taken yet; may be called again."""
        if not self._socket.closed:
            self._socket.close(linger=linger_ms)
            self._context.term()

    def _send(self, topic: bytes, body: bytes) -> None:
        if self._socket.closed:
            return
        frames = (topic, body)
        if self._fits(frames):
            return
        # ZeroMQ looks only about once a millisecond whether subscribers have read on; asking makes it look.
        self._socket.get(zmq.EVENTS)
        if self._fits(frames):
            return
        # A subscriber's queue is full. It loses messages from here on, until it has caught up halfway; the
        # others must not, so send without the condition that nobody loses any.
        self.overruns += 1
        if self.overruns.bit_count() == 1:
            # The first, second, fourth, eighth … time: one that is always too slow does not fill the log.
            _log.warning(
                "a subscriber is too slow and loses messages; it can notice by their sequence",
                extra={"position": self.last_position, "overruns": self.overruns},
            )
        self._socket.setsockopt(zmq.XPUB_NODROP, 0)
        self._socket.send_multipart(frames, zmq.NOBLOCK)
        self._socket.setsockopt(zmq.XPUB_NODROP, 1)

    def _fits(self, frames: tuple[bytes, bytes]) -> bool:
        """Send, unless a subscriber's queue is full: then nobody gets anything yet."""
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True
