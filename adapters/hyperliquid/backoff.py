"""How long to wait before trying again, and how often a connection may be opened at all (sheet 7.1)."""

from collections import deque
from random import Random

__all__ = ["BackOff", "ConnectionBudget"]

_EXPONENT_MAX = 32


class BackOff:
    """Exponential back-off with full jitter: many clients cut off together do not come back together.

    The n-th delay is drawn evenly from 0 to min(`cap_seconds`, `base_seconds` * 2^n).
    """

    __slots__ = ("_base_seconds", "_cap_seconds", "_failures", "_rng")

    def __init__(self, *, base_seconds: float, cap_seconds: float, rng: Random) -> None:
        self._base_seconds = base_seconds
        self._cap_seconds = cap_seconds
        self._rng = rng
        self._failures = 0

    def next_delay(self) -> float:
        """Seconds to wait after one more failure."""
        ceiling = self._base_seconds * 2.0 ** min(self._failures, _EXPONENT_MAX)
        self._failures += 1
        return self._rng.uniform(0.0, min(self._cap_seconds, ceiling))

    def reset(self) -> None:
        """It worked: the next failure is a first one."""
        self._failures = 0


class ConnectionBudget:
    """At most `connections_max` new connections in any `window_seconds`.

    The venue counts per address of the machine (sheet 9.5), so all streams of a process share one budget.
    Times are seconds of any one monotonic clock.
    """

    __slots__ = ("_opened", "_window_seconds", "connections_max")

    def __init__(self, *, connections_max: int = 30, window_seconds: float = 60.0) -> None:
        if connections_max < 1:
            raise ValueError(f"at least one connection must be allowed, got {connections_max}")
        self.connections_max = connections_max
        self._window_seconds = window_seconds
        self._opened: deque[float] = deque(maxlen=connections_max)

    def take(self, now: float) -> float:
        """Counts a connection opened now and returns 0.0; or, too early, the seconds to wait."""
        if len(self._opened) == self.connections_max:
            wait = self._opened[0] + self._window_seconds - now
            if wait > 0.0:
                return wait
        self._opened.append(now)
        return 0.0
