"""Market data from a stream that already exists, instead of a socket of our own.

A desk often runs one market-data process for all its strategies. `HyperliquidMarketstreamAdapter` takes the
venue's messages from it (an object with callbacks, or a `ZMQMarketFeed`) and offers them as the market-data
source of a connector: the messages pass through unread, the connection's state is told by what arrives.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import msgspec

from adapters.hyperliquid.subscriptions import SubscriptionKey, decode_frame, subscription_type
from domain.inputs import Input, StreamConnected, StreamFrame, StreamLost

__all__ = [
    "FeedMessage",
    "HyperliquidMarketstreamAdapter",
    "InterruptibleFeed",
    "MarketFeed",
    "MarketstreamHealth",
    "MarketstreamOptions",
]

_log = logging.getLogger(__name__)

FeedMessage: TypeAlias = str | bytes | dict[str, Any]
"""One message of the venue in JSON, or that JSON decoded: the whole frame, or just its `data` (sheet 7.3)."""


class MarketFeed(Protocol):
    """Anything that calls back with market data, from whichever thread. Callbacks neither block nor raise."""

    def add_callback(self, callback: Callable[[FeedMessage], None], /) -> None: ...

    def remove_callback(self, callback: Callable[[FeedMessage], None], /) -> None: ...


@runtime_checkable
class InterruptibleFeed(MarketFeed, Protocol):
    """A feed that knows when messages may have been missed, and says why."""

    def add_interruption_callback(self, callback: Callable[[str], None], /) -> None: ...

    def remove_interruption_callback(self, callback: Callable[[str], None], /) -> None: ...


class MarketstreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and patience.

    `silence_seconds`: no message that was subscribed arrived; the feed is given up and taken up again.
    `gap_seconds`: two consecutive books of a market are this far apart by the venue's time although they
    come every few seconds, so some in between were lost.
    """

    silence_seconds: float = 30.0
    gap_seconds: float = 20.0
    waiting_max: int = 10_000
    message_bytes_max: int = 16 * 1024 * 1024


class MarketstreamHealth:
    """What came of the messages since the start. `last_data_ns` as in `StreamDataSource`."""

    __slots__ = ("bad", "delivered", "gaps", "last_data_ns", "outdated", "overflowed", "received", "unwanted")

    def __init__(self) -> None:
        self.received = 0
        self.delivered = 0
        self.bad = 0
        self.unwanted = 0
        self.outdated = 0
        self.overflowed = 0
        self.gaps = 0
        self.last_data_ns: int | None = None


class _Message(NamedTuple):
    """A whole frame of the venue, the type and coin of its subscription, and the venue's time where a newer
    message replaces an older one."""

    type: str
    coin: str | None
    time_ms: int | None
    data: bytes


_TYPES = frozenset({"l2Book", "bbo", "trades", "activeAssetCtx", "allMids", "candle"})
# Each message of these is complete and replaces the one before.
_SNAPSHOTS = frozenset({"l2Book", "bbo"})
_ABSENT = msgspec.Raw(b"")
_DRAIN_MAX = 500


class _BadMessage(ValueError):
    """The feed holds something that is no market data of this venue."""


class HyperliquidMarketstreamAdapter:
    """An `OrderBookTrackerDataSource` over somebody else's market data.

    `StreamConnected` comes with the first message that was subscribed, `StreamLost` when the feed falls
    silent, is interrupted, leaves out messages, or comes faster than it can be handled (the oldest waiting
    messages then give way). Every book is a full one (sheet 7.2), so the next message makes up for a loss.
    """

    def __init__(
        self,
        feed: MarketFeed,
        *,
        name: str = "market",
        options: MarketstreamOptions | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._feed = feed
        self._name = name
        self._options = options or MarketstreamOptions()
        self._clock_ns = clock_ns
        self._wanted: frozenset[tuple[str, str | None]] = frozenset()
        self._deliver: Callable[[Input], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watcher: asyncio.Task[None] | None = None
        # Shared with the feed's thread, under the lock; all the rest belongs to the loop.
        self._lock = threading.Lock()
        # A text among the messages is an interruption at that place, with its reason.
        self._waiting: deque[_Message | str] = deque()
        self._overflow = 0
        self._is_drain_due = False
        self._is_connected = False
        self._is_loss_told = False
        self._heard_at = 0.0
        self._last_time_ms: dict[tuple[str, str | None], int] = {}
        self.health = MarketstreamHealth()

    @property
    def name(self) -> str:
        return self._name

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    @property
    def last_data_ns(self) -> int | None:
        return self.health.last_data_ns

    def start(self, subscriptions: Sequence[dict[str, Any]], deliver: Callable[[Input], None]) -> None:
        keys = map(SubscriptionKey.of, subscriptions)
        self._wanted = frozenset((key.type, key.coin) for key in keys)
        self._deliver = deliver
        if self._watcher is None:
            self._loop = asyncio.get_running_loop()
            self._heard_at = self._loop.time()
            self._watcher = self._loop.create_task(self._watch(), name=f"marketstream {self._name}")
            self._take_up()

    def reconnect(self, reason: str) -> None:
        if self._is_connected:
            self._lose(f"dropped: {reason}")
            self._give_up()
            self._take_up()

    async def stop(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is None:
            return
        self._deliver = None
        self._is_connected = False
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
        self._give_up()

    # -- in the loop ---------------------------------------------------------------------------------------

    def _take_up(self) -> None:
        try:
            self._feed.add_callback(self._on_message)
            if isinstance(self._feed, InterruptibleFeed):
                self._feed.add_interruption_callback(self._on_interruption)
        except Exception as error:
            _log.exception("market data feed cannot be taken up")
            self._lose(f"feed_failed: {error}")

    def _give_up(self) -> None:
        try:
            if isinstance(self._feed, InterruptibleFeed):
                self._feed.remove_interruption_callback(self._on_interruption)
            self._feed.remove_callback(self._on_message)
        except Exception:
            _log.exception("market data feed cannot be given up")
        with self._lock:
            self._waiting.clear()
            self._overflow = 0
        self._last_time_ms.clear()

    async def _watch(self) -> None:
        silence_seconds = self._options.silence_seconds
        loop = asyncio.get_running_loop()
        while True:
            remaining = self._heard_at + silence_seconds - loop.time()
            if remaining > 0.0:
                await asyncio.sleep(remaining)
                continue
            self._lose(f"silent: no data for {silence_seconds:g} s although subscribed")
            self._give_up()
            self._take_up()
            self._heard_at = loop.time()

    def _lose(self, reason: str) -> None:
        """Tells a loss once, until there is data again."""
        if self._deliver is not None and (self._is_connected or not self._is_loss_told):
            _log.warning("stream %s lost (%s)", self._name, reason)
            self._is_connected = False
            self._is_loss_told = True
            self._deliver(StreamLost(stream=self._name, reason=reason))

    def _drain(self) -> None:
        """Handles what waits, a part at a time so that the loop's other work gets its turn."""
        with self._lock:
            count = min(len(self._waiting), _DRAIN_MAX)
            part = [self._waiting.popleft() for _ in range(count)]
            overflow, self._overflow = self._overflow, 0
            self._is_drain_due = bool(self._waiting)
        if self._deliver is None or self._loop is None:
            return
        if self._is_drain_due:
            self._loop.call_soon(self._drain)
        if overflow:
            self.health.overflowed += overflow
            self._lose(f"overflow: {overflow} messages came faster than they could be handled")
        now = self._loop.time()
        for item in part:
            if isinstance(item, str):
                self._lose(f"interrupted: {item}")
                # Who comes back after an interruption may be another venue, with another clock.
                self._last_time_ms.clear()
            else:
                self._pass_on(item, self._deliver, now)

    def _pass_on(self, message: _Message, deliver: Callable[[Input], None], now: float) -> None:
        if message.time_ms is not None:
            key = (message.type, message.coin)
            last_ms = self._last_time_ms.get(key, message.time_ms)
            if message.time_ms < last_ms:
                self.health.outdated += 1
                return
            self._last_time_ms[key] = message.time_ms
            gap_ms = message.time_ms - last_ms
            if message.type == "l2Book" and gap_ms >= self._options.gap_seconds * 1_000:
                self.health.gaps += 1
                self._lose(f"gap: no book of {message.coin} for {gap_ms} ms of the venue's time")
        if not self._is_connected:
            self._is_connected = True
            deliver(StreamConnected(stream=self._name))
        self._heard_at = now
        self.health.delivered += 1
        self.health.last_data_ns = self._clock_ns()
        deliver(StreamFrame(stream=self._name, data=message.data))

    # -- in the feed's thread ------------------------------------------------------------------------------

    def _on_message(self, message: FeedMessage) -> None:
        """Takes one message, in whichever thread. Never raises: a feed is not ended by what it carries."""
        try:
            read = _read(message, self._options.message_bytes_max)
        except (ValueError, TypeError, RecursionError) as error:
            with self._lock:
                self.health.received += 1
                self.health.bad += 1
                bad = self.health.bad
            if bad & (bad - 1) == 0:
                # The 1st, 2nd, 4th, 8th ...: a feed of garbage must not become a log of garbage.
                _log.warning("market data feed: message %d that cannot be read: %s", bad, error)
            return
        with self._lock:
            self.health.received += 1
            if (read.type, read.coin) not in self._wanted and (read.type, None) not in self._wanted:
                self.health.unwanted += 1
                return
            self._wait(read)
        self._wake_loop()

    def _on_interruption(self, reason: str) -> None:
        with self._lock:
            self._wait(reason)
        self._wake_loop()

    def _wait(self, item: _Message | str) -> None:
        """Bounded: the oldest gives way, for the newest prices are the ones that matter. Under the lock."""
        if len(self._waiting) >= self._options.waiting_max:
            self._waiting.popleft()
            self._overflow += 1
        self._waiting.append(item)

    def _wake_loop(self) -> None:
        with self._lock:
            if self._is_drain_due or self._loop is None:
                return
            self._is_drain_due = True
        # A feed may outlive the loop; then there is nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._drain)


class _Data(msgspec.Struct, gc=False):
    """What tells the kinds of market data apart (sheet 7.3), what they are about, and when."""

    coin: str | None = None
    s: str | None = None
    time: int | None = None
    levels: msgspec.Raw = _ABSENT
    bbo: msgspec.Raw = _ABSENT
    ctx: msgspec.Raw = _ABSENT
    mids: msgspec.Raw = _ABSENT
    o: msgspec.Raw = _ABSENT

    @property
    def type(self) -> str:
        """The subscription type whose messages look like this, empty for none."""
        if self.levels is not _ABSENT:
            return "l2Book"
        if self.bbo is not _ABSENT:
            return "bbo"
        if self.ctx is not _ABSENT:
            return "activeAssetCtx"
        if self.mids is not _ABSENT:
            return "allMids"
        return "candle" if self.s is not None and self.o is not _ABSENT else ""


class _Trade(msgspec.Struct, gc=False):
    coin: str
    px: str
    sz: str


_decode_data = msgspec.json.Decoder(_Data).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_trade = msgspec.json.Decoder(_Trade).decode


def _read(message: FeedMessage, bytes_max: int) -> _Message:
    """The message in the venue's own form; data that came alone gets its channel back.

    Raises ValueError or TypeError for what is no market data.
    """
    raw = _bytes(message)
    if len(raw) > bytes_max:
        raise _BadMessage(f"{len(raw)} bytes, more than {bytes_max}")
    try:
        frame = decode_frame(raw)
    except msgspec.ValidationError:
        raw = raw.strip()
        kind, coin, time_ms = _recognise(raw)
        channel = "activeSpotAssetCtx" if kind == "activeAssetCtx" and _is_spot(coin) else kind
        whole = b'{"channel":"' + channel.encode() + b'","data":' + raw + b"}"
        return _Message(kind, coin, time_ms, whole)
    expected = subscription_type(frame.channel)
    if expected not in _TYPES:
        # Pongs, acknowledgements and other people's subscriptions: nothing that was subscribed here.
        return _Message(expected, None, None, raw)
    kind, coin, time_ms = _recognise(frame.data)
    if kind != expected:
        raise _BadMessage(f"channel {frame.channel} carries {kind}")
    return _Message(kind, coin, time_ms, raw)


def _bytes(message: FeedMessage) -> bytes:
    match message:
        case bytes():
            return message
        case str():
            return message.encode()
        case dict():
            return msgspec.json.encode(message)
    raise _BadMessage(f"a {type(message).__name__} is no message")


def _recognise(data: bytes | msgspec.Raw) -> tuple[str, str | None, int | None]:
    """The type, the coin and, for kinds of which a newer message replaces the older, the time in ms."""
    if bytes(memoryview(data)[:1]) == b"[":
        for entry in _decode_list(data):
            # One bad trade does not discard its neighbours: any good one tells whose they are.
            with contextlib.suppress(ValueError):
                return "trades", _decode_trade(entry).coin, None
        raise _BadMessage("a list without a single trade in it")
    about = _decode_data(data)
    if not about.type:
        raise _BadMessage("no known kind of market data")
    return about.type, about.coin or about.s, about.time if about.type in _SNAPSHOTS else None


def _is_spot(coin: str | None) -> bool:
    """Whether a coin is a spot pair's (sheet 1.2)."""
    return coin is not None and (coin.startswith("@") or "/" in coin)
