"""The HTTP endpoints ``/info`` and ``/exchange`` and the route to ``/ws`` (protocol sheet 1.1, 4.4)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from adapters.simulator.answers import Answer, Fate
from adapters.simulator.gateway import Gateway
from adapters.simulator.sockets import reset
from adapters.simulator.websocket import WebSocketEndpoint

_MOST_BYTES = 4 * 1024 * 1024


class UnreadableBody(Exception):
    """The body is no JSON, or not declared as such; carries the answer to give."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


class Server:
    """Routes of the venue's own API. `stopping` ends requests that are held without an answer."""

    def __init__(self, gateway: Gateway, websocket: WebSocketEndpoint, stopping: asyncio.Event) -> None:
        self._gateway = gateway
        self._websocket = websocket
        self._stopping = stopping

    def application(self) -> web.Application:
        """A new aiohttp application with the routes of the API."""
        app = web.Application(client_max_size=_MOST_BYTES)
        app.router.add_post("/exchange", self._exchange)
        app.router.add_post("/info", self._info)
        app.router.add_get("/ws", self._websocket.handle)
        return app

    async def _exchange(self, request: web.Request) -> web.StreamResponse:
        return await self._answered(request, self._gateway.act)

    async def _info(self, request: web.Request) -> web.StreamResponse:
        return await self._answered(request, self._gateway.read)

    async def _answered(
        self, request: web.Request, respond: Callable[..., Awaitable[Answer]]
    ) -> web.StreamResponse:
        try:
            answer = await respond(await json_body(request), ip=request.remote or "")
        except UnreadableBody as unreadable:
            answer = unreadable.answer
        if answer.fate is Fate.HANGS:
            await self._stopping.wait()
        if answer.fate is not Fate.ARRIVES:
            reset(request.transport)
        return http_response(answer)


async def json_body(request: web.Request) -> Any:
    """Decode the body of a request; raises UnreadableBody with 415 or 400 (sheet 4.4)."""
    if request.content_type != "application/json":
        text = "Expected request with `Content-Type: application/json`"
        raise UnreadableBody(Answer(415, text, is_json=False))
    try:
        return msgspec.json.decode(await request.read())
    except (ValueError, RecursionError) as broken:
        text = f"Failed to parse the request body as JSON: {broken}"
        raise UnreadableBody(Answer(400, text, is_json=False)) from broken


def http_response(answer: Answer) -> web.Response:
    """An answer as aiohttp sends it."""
    is_page = answer.text.startswith("<html>")
    kind = "application/json" if answer.is_json else "text/html" if is_page else "text/plain"
    return web.Response(status=answer.status, text=answer.text, content_type=kind)
