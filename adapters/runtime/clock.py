"""The clock inputs are stamped with."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["SteadyClock"]


class SteadyClock:
    """UTC in nanoseconds that neither goes back nor stands still, whatever is done to the system's clock.

    The core never lets its time go back, so a clock that was set back by an hour would stop its deadlines and
    its counting of request weight for that hour. Here the time goes on at half speed instead until the
    system's clock has caught up. A step forward is taken over at once: after a suspended machine wakes it is
    the truth. Not thread-safe; `wall_ns` and `monotonic_ns` are for tests.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._told_ns = 0
        self._told_at_ns = monotonic_ns()

    def now_ns(self) -> int:
        """The time now; later than the last one told by at least half of what has passed since."""
        at_ns = self._monotonic_ns()
        earliest_ns = self._told_ns + (at_ns - self._told_at_ns) // 2
        self._told_ns = max(self._wall_ns(), earliest_ns)
        self._told_at_ns = at_ns
        return self._told_ns
