"""Block time: milliseconds since the epoch, never going backwards, from the wall or from the test's hand."""

import time
from typing import Protocol


class BlockClock(Protocol):
    """What the shell asks for the time of the block an action lands in."""

    def now_ms(self) -> int:
        """Return the current block time in milliseconds since the epoch."""

    def shift(self, by_ms: int) -> None:
        """Move block time forward by `by_ms` milliseconds; raises ValueError if negative."""


class ManualClock:
    """Block time that moves only when told to: what a reproducible test uses."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        """Return the current block time in milliseconds since the epoch."""
        return self._now_ms

    def shift(self, by_ms: int) -> None:
        """Move block time forward by `by_ms` milliseconds; raises ValueError if negative."""
        _refuse_backwards(by_ms)
        self._now_ms += by_ms


class WallClock:
    """The host's clock, plus whatever was skipped by `shift`; a host clock set back does not move it back."""

    def __init__(self) -> None:
        self._offset_ms = 0
        self._last_ms = 0

    def now_ms(self) -> int:
        """Return the current block time in milliseconds since the epoch."""
        self._last_ms = max(self._last_ms, time.time_ns() // 1_000_000 + self._offset_ms)
        return self._last_ms

    def shift(self, by_ms: int) -> None:
        """Move block time forward by `by_ms` milliseconds; raises ValueError if negative."""
        _refuse_backwards(by_ms)
        self._offset_ms += by_ms


def _refuse_backwards(by_ms: int) -> None:
    if by_ms < 0:
        raise ValueError(f"block time cannot go back (asked to move it by {by_ms} ms)")
