"""Lanes: bounded concurrency per kind of request, so that a slow kind never holds back another."""

import asyncio
from types import TracebackType

__all__ = ["Lane", "LaneFullError"]


class LaneFullError(Exception):
    """Too many requests already wait in this lane."""


class Lane:
    """At most `concurrent_max` holders at a time, in order of arrival, and at most `waiting_max` waiting.

    Used as `async with lane:`; entering raises LaneFullError.
    """

    __slots__ = ("_name", "_semaphore", "_waiting", "_waiting_max")

    def __init__(self, name: str, *, concurrent_max: int, waiting_max: int) -> None:
        self._name = name
        self._semaphore = asyncio.Semaphore(concurrent_max)
        self._waiting = 0
        self._waiting_max = waiting_max

    async def __aenter__(self) -> None:
        if self._semaphore.locked() and self._waiting >= self._waiting_max:
            raise LaneFullError(f"{self._waiting} requests already wait in the lane for {self._name}")
        self._waiting += 1
        try:
            await self._semaphore.acquire()
        finally:
            self._waiting -= 1

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._semaphore.release()
