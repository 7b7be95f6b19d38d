"""Posting to the venue over HTTP: one attempt, its whole answer or the reason why there is none (sheet 4.4).

What matters about a failure is whether the request can have reached the venue. It can from the moment a
connection was there to write to; before that (name lookup, connect, TLS, waiting) it certainly did not.
"""

import asyncio
import errno
import socket
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec

__all__ = ["HttpAnswer", "PostFailed", "PostProgress", "RedirectRefused", "VenueHttp", "open_session"]

_HEADERS = {"Content-Type": "application/json"}


class HttpAnswer(msgspec.Struct, frozen=True, gc=False):
    """What the venue answered, whatever the status."""

    status: int
    body: bytes


class PostProgress:
    """How far a request got. `may_have_left` stays true once a byte can have been written."""

    __slots__ = ("may_have_left",)

    def __init__(self) -> None:
        self.may_have_left = False


class PostFailed(Exception):
    """There is no usable answer. `code` is stable; the text adds detail. `is_final`: repeating it is
    pointless."""

    def __init__(self, code: str, detail: str = "", *, is_final: bool = False) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.is_final = is_final


class RedirectRefused(aiohttp.ClientError):
    """The venue never redirects; a signed request does not follow somebody else's wish to be elsewhere."""


def open_session(*, keep_alive_seconds: float = 30.0) -> aiohttp.ClientSession:
    """The one session of a gateway, for requests and streams. Must be called in the event loop.

    No cookies, no proxies or netrc from the environment, and no limit of its own on connections: the lanes
    of the gateway bound them, and a pool that queues would let an order wait in front of a cancel.
    """
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(_note_connection)
    trace.on_connection_reuseconn.append(_note_connection)
    trace.on_request_redirect.append(_refuse_redirect)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=keep_alive_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        trace_configs=[trace],
        headers={"User-Agent": "orderledger"},
    )


class VenueHttp:
    """Posts JSON to one base URL over a session made by `open_session`."""

    __slots__ = ("_base_url", "_body_bytes_max", "_session")

    def __init__(self, session: aiohttp.ClientSession, base_url: str, *, body_bytes_max: int) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._body_bytes_max = body_bytes_max

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        timeout_seconds: float,
        connect_seconds: float,
        progress: PostProgress,
    ) -> HttpAnswer:
        """One attempt, never repeated here. Raises PostFailed.

        `timeout_seconds` covers all of it, the answer's body included; `connect_seconds` ends the attempt
        while nothing has been written yet. `progress` is kept up to date also when the task is cancelled.
        """
        try:
            async with self._session.post(
                self._base_url + path,
                data=body,
                headers=_HEADERS,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_seconds, connect=connect_seconds),
                trace_request_ctx=progress,
            ) as response:
                if 300 <= response.status < 400:
                    where = response.headers.get("Location", "")[:200]
                    raise PostFailed("redirect_refused", f"{response.status} to {where!r}", is_final=True)
                return HttpAnswer(response.status, await self._read(response))
        except (aiohttp.ClientError, OSError) as error:
            raise _failure(error, progress) from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        announced = response.content_length
        if announced is not None and announced > self._body_bytes_max:
            response.close()
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > self._body_bytes_max:
                # Closed and not released: the rest of the body must not be read for the sake of reuse.
                response.close()
                raise self._too_large()
            chunks.append(chunk)
        return b"".join(chunks)

    def _too_large(self) -> PostFailed:
        return PostFailed("answer_too_large", f"more than {self._body_bytes_max} bytes", is_final=True)


async def _note_connection(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
    progress = context.trace_request_ctx
    if isinstance(progress, PostProgress):
        progress.may_have_left = True


async def _refuse_redirect(
    _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestRedirectParams
) -> None:
    raise RedirectRefused(f"redirected by {params.url} with status {params.response.status}")


def _failure(error: Exception, progress: PostProgress) -> PostFailed:
    """The reason code of an exception of the HTTP library, told apart by how far the request got."""
    detail = str(error) or type(error).__name__
    if not progress.may_have_left:
        if isinstance(error, TimeoutError):
            return PostFailed("connect_timeout")
        if isinstance(error, aiohttp.ClientConnectorDNSError | socket.gaierror):
            return PostFailed("dns_failure", detail)
        if isinstance(error, aiohttp.ClientSSLError):
            return PostFailed("tls_failure", detail)
        if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
            return PostFailed("connection_refused", detail)
        return PostFailed("connect_failed", detail)
    if isinstance(error, TimeoutError):
        return PostFailed("timeout")
    if isinstance(error, aiohttp.ClientPayloadError):
        return PostFailed("truncated_answer", detail)
    if isinstance(error, aiohttp.ClientConnectionError | asyncio.IncompleteReadError | OSError):
        return PostFailed("connection_lost", detail)
    return PostFailed("invalid_answer", detail)
