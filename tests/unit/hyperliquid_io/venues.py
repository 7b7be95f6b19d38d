"""Small real servers on loopback that answer as a test tells them to, and what collects the inputs."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from aiohttp import WSMsgType, web

from domain.inputs import Input

HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SocketHandler = Callable[[web.WebSocketResponse, int], Awaitable[None]]
TcpHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
I = TypeVar("I", bound=Input)  # noqa: E741

# Long enough for a busy machine; a test that reaches it has failed.
PATIENCE_SECONDS = 60.0


class Inbox:
    """What a gateway or stream delivered, in order; waits for conditions instead of times."""

    def __init__(self) -> None:
        self.inputs: list[Input] = []
        self._changed = asyncio.Event()

    def deliver(self, delivered: Input) -> None:
        self.inputs.append(delivered)
        self._changed.set()

    def of(self, kind: type[I]) -> list[I]:
        return [delivered for delivered in self.inputs if isinstance(delivered, kind)]

    async def until(self, condition: Callable[["Inbox"], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def wait_for(self, kind: type[I], count: int = 1) -> list[I]:
        await self.until(lambda inbox: len(inbox.of(kind)) >= count)
        return self.of(kind)


@dataclass
class Venue:
    """A running server; `requests` counts what reached each path."""

    http_url: str
    requests: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ws_url(self) -> str:
        return self.http_url.replace("http", "ws", 1) + "/ws"


@asynccontextmanager
async def http_venue(
    *, exchange: HttpHandler | None = None, info: HttpHandler | None = None, ws: SocketHandler | None = None
) -> AsyncIterator[Venue]:
    """`ws` is called with each accepted socket and its number, counted from 0."""
    venue = Venue("")
    sockets = 0

    def recorded(handler: HttpHandler) -> HttpHandler:
        async def handle(request: web.Request) -> web.StreamResponse:
            venue.requests.append(request.path)
            venue.bodies.append(await request.json())
            return await handler(request)

        return handle

    async def websocket(request: web.Request) -> web.StreamResponse:
        nonlocal sockets
        venue.requests.append(request.path)
        number, sockets = sockets, sockets + 1
        accepted = web.WebSocketResponse(timeout=0.1)
        await accepted.prepare(request)
        assert ws is not None
        with suppress(ConnectionResetError):
            await ws(accepted, number)
        return accepted

    app = web.Application(client_max_size=64 * 1024 * 1024)
    for path, handler in (("/exchange", exchange), ("/info", info)):
        if handler is not None:
            app.router.add_post(path, recorded(handler))
    if ws is not None:
        app.router.add_get("/ws", websocket)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    venue.http_url = f"http://127.0.0.1:{port}"
    try:
        yield venue
    finally:
        await runner.cleanup()


@asynccontextmanager
async def tcp_venue(handle: TcpHandler) -> AsyncIterator[Venue]:
    """A server below HTTP, for answers that no HTTP library would produce."""
    venue = Venue("")
    tasks: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handle(reader, writer)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    venue.http_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield venue
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One HTTP request with its whole body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    return head + await reader.readexactly(length)


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends the connection with a TCP reset."""
    cast(asyncio.Transport, writer.transport).abort()


async def acknowledge(socket: web.WebSocketResponse, *, pongs: bool = True, count: int | None = None) -> None:
    """Answers subscriptions (and pings) as the venue does, until the socket ends or `count` subscriptions."""
    seen = 0
    async for message in socket:
        if message.type is not WSMsgType.TEXT:
            continue
        request = json.loads(message.data)
        if request["method"] == "ping":
            if pongs:
                await socket.send_str('{"channel":"pong"}')
        else:
            subscription = request["subscription"] | {"dex": ""}
            if "user" in subscription:
                subscription["user"] = subscription["user"].lower()
            await socket.send_json(
                {
                    "channel": "subscriptionResponse",
                    "data": {"method": request["method"], "subscription": subscription},
                }
            )
            seen += 1
            if seen == count:
                return


@contextmanager
def refusing_port() -> Iterator[socket.socket]:
    """A port that refuses connections and that nobody else is given: it is bound, and nothing listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved


def url_of(reserved: socket.socket, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{reserved.getsockname()[1]}"
