"""Reads of a command that runs beside the live process: paced by the weight limit, repeated a bounded number
of times (sheet 4.4, 5, 9.1)."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from random import Random
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from adapters.hyperliquid.backoff import BackOff
from adapters.hyperliquid.http_client import HttpAnswer, PostFailed, PostProgress, VenueHttp, open_session
from adapters.hyperliquid.info_requests import InfoRequest
from adapters.hyperliquid.limits import Charge, RequestKind, WeightWindow
from adapters.hyperliquid.unreadable import UNREADABLE

__all__ = ["InfoClient", "InfoClientOptions", "Unanswered"]

_BODY_BYTES_MAX = 32 * 1024 * 1024


class Unanswered(Exception):
    """A read that has no usable answer after all attempts; the text tells what came back the last time."""


class InfoClientOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Patience and bounds. The n-th repetition waits a random time of at most `retry_base_seconds` doubled n
    times, and never more than `retry_cap_seconds`."""

    attempts_max: int = 6
    timeout_seconds: float = 15.0
    connect_timeout_seconds: float = 5.0
    retry_base_seconds: float = 0.5
    retry_cap_seconds: float = 20.0
    concurrent_max: int = 4


class InfoClient:
    """`async with InfoClient(url) as client: body = await client.ask(request)`.

    `window` counts the weight; give one whose share leaves room where a live process uses the same address.
    """

    def __init__(
        self,
        http_url: str,
        *,
        window: WeightWindow | None = None,
        options: InfoClientOptions | None = None,
        rng: Random | None = None,
    ) -> None:
        self._http_url = http_url
        self._window = window or WeightWindow()
        self._options = options or InfoClientOptions()
        self._rng = rng or Random()
        self._slots = asyncio.Semaphore(self._options.concurrent_max)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = open_session()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, request: InfoRequest) -> bytes:
        """The body of a good answer. Raises `Unanswered`: a failed query is never an empty answer.

        Repeated are lost connections, 429 and 5xx. What the venue calls wrong (another 4xx) stays wrong.
        """
        options = self._options
        delays = BackOff(
            base_seconds=options.retry_base_seconds, cap_seconds=options.retry_cap_seconds, rng=self._rng
        )
        kind = request.body["type"]
        for attempt in range(1, options.attempts_max + 1):
            try:
                answer = await self._post(request)
            except PostFailed as error:
                why, is_final = str(error), error.is_final
            else:
                if answer.status == HTTPStatus.OK:
                    return answer.body
                why = f"HTTP {answer.status}"
                is_final = answer.status != HTTPStatus.TOO_MANY_REQUESTS and answer.status < 500
            if is_final or attempt == options.attempts_max:
                break
            await asyncio.sleep(delays.next_delay())
        raise Unanswered(f"{kind} was not answered after {attempt} attempts ({why})")

    async def _post(self, request: InfoRequest) -> HttpAnswer:
        assert self._session is not None, "asked inside `async with`"
        http = VenueHttp(self._session, self._http_url, body_bytes_max=_BODY_BYTES_MAX)
        async with self._slots:
            charge = await self._admitted(request)
            answer = await http.post(
                "/info",
                request.encode(),
                timeout_seconds=self._options.timeout_seconds,
                connect_seconds=self._options.connect_timeout_seconds,
                progress=PostProgress(),
            )
        rows = 0
        if answer.status == HTTPStatus.OK and request.rows_per_weight:
            rows = _rows_in(answer.body)
        self._window.settle(charge, request.weight, request.row_weight(rows), time.monotonic_ns())
        return answer

    async def _admitted(self, request: InfoRequest) -> Charge:
        """Wait until the limit permits the read with the longest answer it can have, and count it."""
        weight = min(request.weight_max, self._window.most(RequestKind.INFO))
        while True:
            now_ns = time.monotonic_ns()
            wait_ns = self._window.wait_ns(RequestKind.INFO, weight, now_ns)
            if not wait_ns:
                return self._window.charge(RequestKind.INFO, weight, now_ns)
            await asyncio.sleep(wait_ns / 1e9)


def _rows_in(body: bytes) -> int:
    try:
        return len(msgspec.json.decode(body, type=list[msgspec.Raw]))
    except UNREADABLE:
        return 0
