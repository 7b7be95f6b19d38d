"""The venue's two WebSocket streams: connect, subscribe, watch, reconnect (sheet 7.1, 7.5, 9.5).

Frames are handed over as they come; only what keeps the connection going (pongs, acknowledgements) and text
that is no JSON ends here. A socket counts as dead by what does not arrive, not by what the operating system
says about it: half-open connections look healthy for ever.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import aiohttp
import msgspec

from adapters.hyperliquid.backoff import BackOff, ConnectionBudget
from adapters.hyperliquid.subscriptions import PendingSubscriptions, decode_frame
from domain.inputs import Input, StreamConnected, StreamFrame, StreamLost

__all__ = [
    "HyperliquidOrderBookDataSource",
    "HyperliquidUserStreamDataSource",
    "StreamHealth",
    "StreamOptions",
]

_log = logging.getLogger(__name__)

_PING = '{"method":"ping"}'
_EXCERPT_BYTES = 200


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Patience of one stream.

    A JSON ping is sent at an interval drawn from `ping_seconds_min` to `ping_seconds_max`. A connection is
    given up when nothing at all, pongs included, arrived for `dead_after_seconds`, or no data although
    subscribed for `data_silence_seconds` (None: silence is normal here). One that lasted
    `stable_after_seconds` was a good one, after which the back-off starts anew.
    """

    connect_timeout_seconds: float = 10.0
    acknowledge_timeout_seconds: float = 10.0
    close_timeout_seconds: float = 1.0
    ping_seconds_min: float = 30.0
    ping_seconds_max: float = 50.0
    dead_after_seconds: float = 65.0
    data_silence_seconds: float | None = None
    stable_after_seconds: float = 20.0
    reconnect_base_seconds: float = 0.5
    reconnect_cap_seconds: float = 30.0
    frame_bytes_max: int = 16 * 1024 * 1024


class StreamHealth:
    """What a stream has seen since it was started, for health pages and tests. `last_data_ns` as in
    `StreamDataSource`."""

    __slots__ = (
        "attempts",
        "connections",
        "data_frames",
        "error_frames",
        "ignored_texts",
        "last_data_ns",
        "pongs",
    )

    def __init__(self) -> None:
        self.attempts = 0
        self.connections = 0
        self.data_frames = 0
        self.error_frames = 0
        self.pongs = 0
        self.ignored_texts = 0
        self.last_data_ns: int | None = None


class _WebSocketStream:
    """One socket and its subscriptions, kept up from `start` to `stop`. See `StreamDataSource`."""

    default_options = StreamOptions()

    def __init__(
        self,
        *,
        name: str,
        ws_url: str,
        session: aiohttp.ClientSession,
        budget: ConnectionBudget,
        options: StreamOptions | None = None,
        rng: Random | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`session` comes from `http_client.open_session`; `budget` is shared by all streams of a process;
        `clock_ns` is UTC."""
        self._name = name
        self._ws_url = ws_url
        self._session = session
        self._budget = budget
        self._options = options or self.default_options
        self._rng = rng or Random()
        self._clock_ns = clock_ns
        self._subscriptions: tuple[dict[str, Any], ...] = ()
        self._task: asyncio.Task[None] | None = None
        self._connection: _Connection | None = None
        self._loss_is_told = False
        self.health = StreamHealth()

    @property
    def name(self) -> str:
        return self._name

    @property
    def is_connected(self) -> bool:
        return self._connection is not None and self._connection.is_connected

    @property
    def last_data_ns(self) -> int | None:
        return self.health.last_data_ns

    def start(self, subscriptions: Sequence[dict[str, Any]], deliver: Callable[[Input], None]) -> None:
        wanted = tuple(subscriptions)
        changed = wanted != self._subscriptions
        self._subscriptions = wanted
        if self._task is None:
            work = self._run(deliver)
            self._task = asyncio.get_running_loop().create_task(work, name=f"stream {self._name}")
        elif changed:
            self.reconnect("subscriptions changed")

    def reconnect(self, reason: str) -> None:
        if self._connection is not None:
            self._connection.drop(f"dropped: {reason}")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self, deliver: Callable[[Input], None]) -> None:
        loop = asyncio.get_running_loop()
        options = self._options
        back_off = BackOff(
            base_seconds=options.reconnect_base_seconds,
            cap_seconds=options.reconnect_cap_seconds,
            rng=self._rng,
        )
        while True:
            while (wait := self._budget.take(loop.time())) > 0.0:
                _log.warning("stream %s: too many new connections, waiting %.1f s", self._name, wait)
                await asyncio.sleep(wait)
            began = loop.time()
            reason = await self._connect_once(deliver)
            if loop.time() - began >= options.stable_after_seconds:
                back_off.reset()
            delay = back_off.next_delay()
            _log.warning("stream %s lost (%s), connecting again in %.2f s", self._name, reason, delay)
            await asyncio.sleep(delay)

    async def _connect_once(self, deliver: Callable[[Input], None]) -> str:
        """One connection, from the handshake until it is lost and closed; returns why."""
        options = self._options
        self.health.attempts += 1
        socket = None
        was_connected = False
        try:
            try:
                async with asyncio.timeout(options.connect_timeout_seconds):
                    socket = await self._session.ws_connect(
                        self._ws_url,
                        max_msg_size=options.frame_bytes_max,
                        timeout=aiohttp.ClientWSTimeout(ws_close=options.close_timeout_seconds),
                    )
                self._connection = _Connection(
                    socket,
                    name=self._name,
                    subscriptions=self._subscriptions,
                    options=options,
                    ping_seconds=self._rng.uniform(options.ping_seconds_min, options.ping_seconds_max),
                    health=self.health,
                    clock_ns=self._clock_ns,
                    deliver=deliver,
                )
                reason = await self._connection.serve()
            except TimeoutError:
                reason = "connect_timeout"
            except (aiohttp.ClientError, OSError) as error:
                reason = f"connect_failed: {error}"
            except Exception as error:
                # Whatever it was, a stream that stops trying would be worse.
                _log.exception("stream %s: connection ended by a fault", self._name)
                reason = f"internal_error: {type(error).__name__}"
            if self._connection is not None:
                was_connected = self._connection.is_connected
                self._connection = None
            # An outage is told once, when it begins, however many attempts it outlasts.
            if was_connected or not self._loss_is_told:
                self._loss_is_told = True
                deliver(StreamLost(stream=self._name, reason=reason))
        finally:
            self._connection = None
            if socket is not None:
                await _close(socket, options.close_timeout_seconds)
        return reason


class HyperliquidUserStreamDataSource(_WebSocketStream):
    """The account's stream: `orderUpdates`, `userEvents`, `userFills`, `userFundings` (sheet 7.2).

    It may be silent for hours, so a pong is enough to keep the socket; the orders' own watchdogs notice when
    it is silent although something must have happened. One account per socket: order updates do not say
    whose they are (sheet 7.1).
    """


class HyperliquidOrderBookDataSource(_WebSocketStream):
    """The market-data stream: `bbo` and `l2Book` per market (sheet 7.2). Full books come every few seconds,
    so silence means that it is broken, however well pings are answered."""

    default_options = StreamOptions(data_silence_seconds=30.0)


class _Connection:
    """One established socket: what it has been told, what it has said, and when it is given up."""

    def __init__(
        self,
        socket: "aiohttp.ClientWebSocketResponse[bool]",
        *,
        name: str,
        subscriptions: Sequence[dict[str, Any]],
        options: StreamOptions,
        ping_seconds: float,
        health: StreamHealth,
        clock_ns: Callable[[], int],
        deliver: Callable[[Input], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket
        self._name = name
        self._subscriptions = subscriptions
        self._options = options
        self._ping_seconds = ping_seconds
        self._health = health
        self._clock_ns = clock_ns
        self._deliver = deliver
        self._pending = PendingSubscriptions(subscriptions)
        self._settled = asyncio.Event()
        self._dropped: asyncio.Future[str] = self._loop.create_future()
        self._heard_frame = False
        self._heard_at = self._loop.time()
        self._data_at = self._heard_at
        self.is_connected = False

    def drop(self, reason: str) -> None:
        if not self._dropped.done():
            self._dropped.set_result(reason)

    async def serve(self) -> str:
        """Subscribes, reads and watches until the connection has to be given up; returns why."""
        reader = self._loop.create_task(self._read())
        keeper = self._loop.create_task(self._keep())
        try:
            await asyncio.wait((self._dropped, reader, keeper), return_when=asyncio.FIRST_COMPLETED)
            if self._dropped.done():
                return self._dropped.result()
            return reader.result() if reader.done() else keeper.result()
        finally:
            reader.cancel()
            keeper.cancel()
            await asyncio.gather(reader, keeper, return_exceptions=True)

    async def _read(self) -> str:
        while True:
            message = await self._socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                self._on_frame(message.data.encode())
            elif message.type is aiohttp.WSMsgType.BINARY:
                self._on_frame(message.data)
            elif message.type is aiohttp.WSMsgType.ERROR:
                return f"socket_error: {message.data}"
            else:
                return f"closed_by_venue: code {self._socket.close_code}, {message.extra or 'no reason'}"

    def _on_frame(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            frame = decode_frame(data)
        except ValueError:
            if data.lstrip()[:1] not in (b"{", b"["):
                # A greeting or the like (sheet 7.1). Broken JSON is something else: it goes on, so that
                # the core can keep and report what it could not read.
                self._health.ignored_texts += 1
                _log.debug("stream %s: ignored text %r", self._name, data[:_EXCERPT_BYTES])
                return
            self._deliver(StreamFrame(stream=self._name, data=data))
            return
        self._heard_frame = True
        if frame.channel == "pong":
            self._health.pongs += 1
            return
        if frame.channel != "subscriptionResponse":
            if frame.channel == "error":
                self._health.error_frames += 1
                _log.error("stream %s: the venue answers %s", self._name, _excerpt(frame.data))
            else:
                self._health.data_frames += 1
                self._health.last_data_ns = self._clock_ns()
                self._data_at = self._heard_at
            self._deliver(StreamFrame(stream=self._name, data=data))
        self._pending.settle(frame)
        if not self._pending:
            self._settled.set()

    async def _keep(self) -> str:
        """Subscribes, says that the stream is connected, then pings and watches; returns what is missing."""
        try:
            if not await self._subscribe():
                return "no_answer: the venue accepted the connection and acknowledged nothing"
            self.is_connected = True
            self._health.connections += 1
            self._data_at = self._loop.time()
            self._deliver(StreamConnected(stream=self._name))
            return await self._watch()
        except TimeoutError:
            return "dead: a ping could not be sent"
        except (aiohttp.ClientError, OSError) as error:
            return f"connection_lost: {error}"

    async def _subscribe(self) -> bool:
        """Sends the subscriptions and waits until each is settled. False when the venue says nothing at
        all; what it leaves out while it talks is no reason to go without the rest."""
        try:
            async with asyncio.timeout(self._options.acknowledge_timeout_seconds):
                for subscription in self._subscriptions:
                    request = {"method": "subscribe", "subscription": subscription}
                    await self._socket.send_str(msgspec.json.encode(request).decode())
                if self._subscriptions:
                    await self._settled.wait()
        except TimeoutError:
            if not self._heard_frame:
                return False
            _log.error("stream %s: the venue did not acknowledge %s", self._name, self._pending)
        return True

    async def _watch(self) -> str:
        options = self._options
        ping_at = self._loop.time() + self._ping_seconds
        while True:
            now = self._loop.time()
            dead_at = self._heard_at + options.dead_after_seconds
            if now >= dead_at:
                return f"dead: nothing received for {options.dead_after_seconds:g} s"
            wake_at = min(dead_at, ping_at)
            if options.data_silence_seconds is not None and self._subscriptions:
                silent_at = self._data_at + options.data_silence_seconds
                if now >= silent_at:
                    return f"silent: no data for {options.data_silence_seconds:g} s although subscribed"
                wake_at = min(wake_at, silent_at)
            if now >= ping_at:
                # Bounded: into a half-open socket whose buffer is full, a send waits for ever.
                async with asyncio.timeout_at(dead_at):
                    await self._socket.send_str(_PING)
                ping_at = now + self._ping_seconds
            else:
                await asyncio.sleep(wake_at - now)


async def _close(socket: "aiohttp.ClientWebSocketResponse[bool]", timeout_seconds: float) -> None:
    """Says goodbye if the other side listens; gives the socket up in any case."""
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with asyncio.timeout(timeout_seconds):
            await socket.close()


def _excerpt(data: msgspec.Raw) -> str:
    return bytes(memoryview(data)[:_EXCERPT_BYTES]).decode("utf-8", "replace")
