"""What is due at a later block time: scheduled cancels, TWAP slices, liquidation pauses."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count


class Timers:
    """A heap of (time, callback). Timers are not withdrawn: a callback looks whether it is still wanted."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = count()

    def at(self, time_ms: int, callback: Callable[[], None]) -> None:
        heappush(self._heap, (time_ms, next(self._sequence), callback))

    def next_due(self, now_ms: int) -> tuple[int, Callable[[], None]] | None:
        """Takes out the earliest timer that is due at `now_ms`, with its time."""
        if not self._heap or self._heap[0][0] > now_ms:
            return None
        time, _, callback = heappop(self._heap)
        return time, callback
