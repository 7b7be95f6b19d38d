"""The WebSocket endpoint: control frames, subscriptions, posts, broken connections (protocol sheet 7)."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from adapters.simulator.answers import Answer, Fate
from adapters.simulator.engine import Unprocessable
from adapters.simulator.gateway import Gateway
from adapters.simulator.hub import Hub, frame
from adapters.simulator.limits import IpLimits, Meter
from adapters.simulator.sockets import reset
from adapters.simulator.subscriptions import InvalidSubscription, normalised

Snapshot = Callable[[dict[str, Any]], list[dict[str, Any]]]
"""The first frames of a normalised subscription; raises Unprocessable if its coin or dex does not exist."""

_log = logging.getLogger(__name__)

_PONG = '{"channel":"pong"}'
_GREETING = "Websocket connection established."
_CLOSE_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class WebSocketOptions:
    """How connections are treated.

    `idle_close_s` closes a connection to which nothing was sent for so long (the venue: 60). `queue_frames`
    is how far a client may fall behind before it is dropped. `greeting` sends the plain-text first frame
    that the venue sometimes sends.
    """

    idle_close_s: float = 60.0
    queue_frames: int = 10_000
    greeting: bool = False


class WebSocketEndpoint:
    """Accepts connections, enforces the limits per address, and can silence, drop and refuse connections."""

    def __init__(
        self,
        gateway: Gateway,
        hub: Hub,
        snapshot: Snapshot,
        limits: IpLimits,
        options: WebSocketOptions,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self.gateway = gateway
        self.hub = hub
        self.snapshot = snapshot
        self.limits = limits
        self.options = options
        self._now_ms = now_ms
        self._arrivals = Meter(limits.new_connections_per_minute)
        self._messages = Meter(limits.messages_per_minute)
        self._connections: dict[Connection, None] = {}
        self._refuse_until = 0.0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection from its handshake to its end."""
        ip = request.remote or ""
        if asyncio.get_running_loop().time() < self._refuse_until:
            return web.Response(status=502, text="Bad Gateway")
        many = sum(connection.ip == ip for connection in self._connections)
        if (
            self.limits.connections is not None and many >= self.limits.connections
        ) or not self._arrivals.charge(ip, 1, now_ms=self._now_ms()):
            return web.Response(status=429, text="null", content_type="application/json")
        socket = web.WebSocketResponse(compress=False, timeout=_CLOSE_WAIT_S)
        await socket.prepare(request)
        connection = Connection(self, request, socket, ip)
        self._connections[connection] = None
        try:
            await connection.run()
        finally:
            del self._connections[connection]
        return socket

    def may_send(self, ip: str) -> bool:
        """Count one more message from `ip`; False if it has sent too many within a minute."""
        return self._messages.charge(ip, 1, now_ms=self._now_ms())

    def subscriptions_of(self, ip: str) -> int:
        """How many subscriptions an address has, over all its connections."""
        return sum(len(connection.subscriptions) for connection in self._connections if connection.ip == ip)

    def users_of(self, ip: str) -> set[str]:
        """The users an address watches, over all its connections."""
        return {
            subscription["user"]
            for connection in self._connections
            if connection.ip == ip
            for subscription in connection.subscriptions
            if "user" in subscription
        }

    def connection_count(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def subscription_counts(self) -> dict[str, int]:
        """How many subscriptions of each type there are."""
        return dict(
            Counter(
                subscription["type"]
                for connection in self._connections
                for subscription in connection.subscriptions
            )
        )

    def drop(self, user: str | None = None) -> int:
        """Reset all connections, or those that watch `user`; return how many."""
        concerned = self._concerned(user)
        for connection in concerned:
            connection.abort()
        return len(concerned)

    def silence(self, ms: int, user: str | None = None) -> int:
        """Let all connections, or those that watch `user`, carry pongs only for so long; return how many."""
        until = asyncio.get_running_loop().time() + ms / 1000
        concerned = self._concerned(user)
        for connection in concerned:
            connection.silent_until = until
        return len(concerned)

    def refuse(self, ms: int) -> None:
        """Answer new connections with 502 for so long."""
        self._refuse_until = asyncio.get_running_loop().time() + ms / 1000

    def snapshot_again(self, user: str | None = None) -> int:
        """Send first frames once more to every subscription that has them; return how many."""
        sent = 0
        for connection in self._concerned(user):
            for subscription in connection.subscriptions:
                if user is None or subscription.get("user") == user:
                    sent += connection.send_snapshot(subscription)
        return sent

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(connection.close() for connection in list(self._connections)))

    def _concerned(self, user: str | None) -> list["Connection"]:
        return [
            connection
            for connection in self._connections
            if user is None
            or any(subscription.get("user") == user for subscription in connection.subscriptions)
        ]


class Connection:
    """One client: a reader that obeys, a writer that nobody waits for, and a timer for idleness."""

    def __init__(
        self, endpoint: WebSocketEndpoint, request: web.Request, socket: web.WebSocketResponse, ip: str
    ) -> None:
        self.ip = ip
        self.subscriptions: list[dict[str, Any]] = []
        self.silent_until = 0.0
        self._endpoint = endpoint
        self._request = request
        self._socket = socket
        self._queue: asyncio.Queue[str | None] = asyncio.Queue(endpoint.options.queue_frames)
        self._posts: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._last_sent = self._loop.time()

    async def run(self) -> None:
        """Serve until the client leaves, idleness closes the connection, or it is aborted."""
        helpers = [asyncio.create_task(self._write()), asyncio.create_task(self._close_when_idle())]
        try:
            if self._endpoint.options.greeting:
                self.push(_GREETING)
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    self._obey(message.data)
                elif message.type is WSMsgType.BINARY:
                    self._obey(message.data.decode(errors="replace"))
        finally:
            for subscription in self.subscriptions:
                self._endpoint.hub.remove(self, subscription)
            tasks = [*helpers, *self._posts]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def push(self, text: str) -> None:
        """Queue one frame, unless the connection is silent; a client that does not keep up is dropped."""
        if self._loop.time() >= self.silent_until:
            self._enqueue(text)

    def abort(self) -> None:
        """Reset the connection without notice."""
        reset(self._request.transport)

    def hang_up(self) -> None:
        """End the connection without a close handshake once the frames queued so far are sent."""
        self._enqueue(None)

    async def close(self) -> None:
        """Close the connection in good order."""
        await self._socket.close()

    def send_snapshot(self, subscription: dict[str, Any]) -> int:
        """Queue the first frames of a subscription and return their number."""
        frames = self._endpoint.snapshot(subscription)
        for first in frames:
            self.push(frame(first["channel"], first["data"]))
        return len(frames)

    def _enqueue(self, text: str | None) -> None:
        try:
            self._queue.put_nowait(text)
        except asyncio.QueueFull:
            self.abort()

    async def _write(self) -> None:
        try:
            while (text := await self._queue.get()) is not None:
                await self._socket.send_str(text)
                self._last_sent = self._loop.time()
            if self._request.transport is not None:
                self._request.transport.close()
        except ConnectionError:
            return  # the reader sees the end of the connection too, and cleans up

    async def _close_when_idle(self) -> None:
        idle_close_s = self._endpoint.options.idle_close_s
        left_s = idle_close_s
        while left_s > 0:
            await asyncio.sleep(left_s)
            left_s = self._last_sent + idle_close_s - self._loop.time()
        await self._socket.close()

    def _obey(self, text: str) -> None:
        if not self._endpoint.may_send(self.ip):
            self.abort()
            return
        try:
            message = msgspec.json.decode(text)
        except (ValueError, RecursionError):
            message = None
        method = message.get("method") if isinstance(message, dict) else None
        match method:
            case "ping":
                self._enqueue(_PONG)
            case "subscribe":
                self._subscribe(message.get("subscription"))
            case "unsubscribe":
                self._unsubscribe(message.get("subscription"))
            case "post" if _is_post(message):
                self._post(message["id"], message["request"])
            case _:
                self._refuse(f"Error parsing JSON into valid websocket request: {text}")

    def _subscribe(self, asked: Any) -> None:
        endpoint = self._endpoint
        try:
            subscription = normalised(asked)
            first = endpoint.snapshot(subscription)
        except (InvalidSubscription, Unprocessable):
            self._refuse(f"Invalid subscription {_quoted(asked)}")
            return
        if subscription in self.subscriptions:
            self._refuse(f"Already subscribed: {_quoted(subscription)}")
            return
        user, limits = subscription.get("user"), endpoint.limits
        if user is not None and limits.tracked_users is not None:
            users = endpoint.users_of(self.ip)
            if user not in users and len(users) >= limits.tracked_users:
                self._refuse(f"Cannot track more than {limits.tracked_users} total users.")
                return
        if limits.subscriptions is not None and endpoint.subscriptions_of(self.ip) >= limits.subscriptions:
            self._refuse(f"Cannot have more than {limits.subscriptions} subscriptions.")
            return
        self.subscriptions.append(subscription)
        endpoint.hub.add(self, subscription)
        self._acknowledge("subscribe", subscription)
        for one in first:
            self.push(frame(one["channel"], one["data"]))

    def _unsubscribe(self, asked: Any) -> None:
        try:
            subscription = normalised(asked)
        except InvalidSubscription:
            self._refuse(f"Invalid subscription {_quoted(asked)}")
            return
        if subscription not in self.subscriptions:
            self._refuse(f"Already unsubscribed: {_quoted(subscription)}")
            return
        self.subscriptions.remove(subscription)
        self._endpoint.hub.remove(self, subscription)
        self._acknowledge("unsubscribe", subscription)

    def _acknowledge(self, method: str, subscription: dict[str, Any]) -> None:
        self.push(frame("subscriptionResponse", {"method": method, "subscription": subscription}))

    def _refuse(self, text: str) -> None:
        self.push(frame("error", text))

    def _post(self, post_id: int, request: Mapping[str, Any]) -> None:
        most = self._endpoint.limits.posts_in_flight
        if most is not None and len(self._posts) >= most:
            self._refuse(f"too many pending post requests id={post_id}")
            return
        task = asyncio.create_task(self._answer_post(post_id, request["type"], request["payload"]))
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)

    async def _answer_post(self, post_id: int, kind: str, payload: Any) -> None:
        gateway = self._endpoint.gateway
        try:
            answer = await (gateway.act if kind == "action" else gateway.read)(payload, ip=self.ip)
        except Exception:
            _log.exception("a post failed inside the simulator")
            answer = Answer.from_edge(500)  # as aiohttp answers a failed HTTP request
        if answer.fate is Fate.RESET:
            self.abort()
        elif answer.fate is Fate.HANGS:
            await asyncio.Event().wait()  # occupies one of the posts in flight until the connection ends
        else:
            response = _post_response(kind, payload, answer)
            self.push(frame("post", {"id": post_id, "response": response}))


def _is_post(message: Mapping[str, Any]) -> bool:
    post_id, request = message.get("id"), message.get("request")
    return (
        isinstance(post_id, int)
        and not isinstance(post_id, bool)
        and post_id >= 0
        and isinstance(request, dict)
        and request.get("type") in ("action", "info")
        and "payload" in request
    )


def _post_response(kind: str, payload: Any, answer: Answer) -> dict[str, Any]:
    if answer.status != 200:
        detail = "" if answer.is_json else f": {answer.text}"
        return {"type": "error", "payload": f"{answer.headline}{detail}"}
    if kind == "action":
        return {"type": "action", "payload": msgspec.Raw(answer.text.encode())}
    return {"type": "info", "payload": {"type": payload["type"], "data": msgspec.Raw(answer.text.encode())}}


def _quoted(value: Any) -> str:
    return msgspec.json.encode(value).decode()
