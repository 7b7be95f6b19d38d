"""Market data from a ZeroMQ publisher: venue messages in JSON, one per ZeroMQ message.

Frames are `[payload]` or `[topic, payload]`; the topic only serves to subscribe. The payload is a message as
it came off the venue's socket, or just its `data`.
"""

import logging
import threading
from collections.abc import Callable, Sequence

import zmq
from zmq.utils.monitor import recv_monitor_message

from adapters.hyperliquid.marketstream import FeedMessage

__all__ = ["ZMQMarketFeed"]

_log = logging.getLogger(__name__)

_TRANSPORTS = ("tcp://", "ipc://")
_POLL_MS = 100
_BATCH_MAX = 100
_FRAMES_MAX = 2
_HEARTBEAT_MS = 5_000
_HEARTBEAT_TIMEOUT_MS = 15_000
_RECONNECT_MS = 100
_RECONNECT_MS_MAX = 5_000


class ZMQMarketFeed:
    """An `InterruptibleFeed` that reads a SUB socket in a thread of its own, from `add_callback` to
    `remove_callback`. One callback at a time.

    ZeroMQ reconnects by itself; what was published in between is lost, which is told as an interruption. A
    publisher drops messages for a subscriber that is too slow without a word: no subscriber can know.
    """

    def __init__(
        self,
        address: str,
        *,
        topics: Sequence[bytes] = (b"",),
        waiting_max: int = 10_000,
        message_bytes_max: int = 16 * 1024 * 1024,
    ) -> None:
        """`address` is `tcp://host:port` or `ipc://path`; `topics` are prefixes, the empty one takes all.
        Raises ValueError."""
        if not address.startswith(_TRANSPORTS):
            raise ValueError(
                f"a ZeroMQ feed has an address like tcp://127.0.0.1:5556 or ipc:///path, got {address!r}"
            )
        self.address = address
        self._topics = tuple(topics)
        self._waiting_max = waiting_max
        self._message_bytes_max = message_bytes_max
        self._on_interruption: Callable[[str], None] | None = None
        self._reader: _Reader | None = None

    def add_callback(self, callback: Callable[[FeedMessage], None], /) -> None:
        """Connects and begins to read. Raises zmq.ZMQError for an address that cannot be used, RuntimeError
        for a second callback."""
        if self._reader is not None:
            raise RuntimeError("the feed has its callback already")
        context = zmq.Context()
        try:
            socket = self._connected_socket(context)
        except BaseException:
            context.destroy(linger=0)
            raise
        self._reader = _Reader(context, socket, callback, self._interrupted)
        self._reader.start()

    def remove_callback(self, callback: Callable[[FeedMessage], None], /) -> None:
        """Ends the reading. Does not wait for it: one more call may be under way."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.retired.set()

    def add_interruption_callback(self, callback: Callable[[str], None], /) -> None:
        self._on_interruption = callback

    def remove_interruption_callback(self, callback: Callable[[str], None], /) -> None:
        self._on_interruption = None

    def _connected_socket(self, context: "zmq.Context[zmq.Socket[bytes]]") -> "zmq.Socket[bytes]":
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, self._waiting_max)
        socket.setsockopt(zmq.MAXMSGSIZE, self._message_bytes_max)
        # Heartbeats find the half-open connections that TCP alone would keep for hours.
        socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MS_MAX)
        for topic in self._topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic)
        socket.connect(self.address)
        return socket

    def _interrupted(self) -> None:
        if self._on_interruption is not None:
            self._on_interruption(f"the publisher at {self.address} disconnected")


class _Reader(threading.Thread):
    """Reads one socket until it is retired. The sockets belong to this thread once it runs."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        socket: "zmq.Socket[bytes]",
        on_message: Callable[[FeedMessage], None],
        on_interruption: Callable[[], None],
    ) -> None:
        super().__init__(name="market data feed", daemon=True)
        self._context = context
        self._socket = socket
        self._monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._on_message = on_message
        self._on_interruption = on_interruption
        self._malformed = 0
        self.retired = threading.Event()

    def run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        try:
            while not self.retired.is_set():
                ready = dict(poller.poll(_POLL_MS))
                # Messages first: those that were received before the connection broke come before the break.
                if self._socket in ready:
                    self._read_batch()
                if self._monitor in ready:
                    recv_monitor_message(self._monitor)
                    self._on_interruption()
        finally:
            self._socket.disable_monitor()
            self._context.destroy(linger=0)

    def _read_batch(self) -> None:
        for _ in range(_BATCH_MAX):
            if self.retired.is_set():
                return
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(frames) <= _FRAMES_MAX:
                self._on_message(frames[-1])
                continue
            self._malformed += 1
            if self._malformed & (self._malformed - 1) == 0:
                # The 1st, 2nd, 4th, 8th ...
                _log.warning("market data feed: message %d with %d frames", self._malformed, len(frames))
