"""One line on a terminal's standard error that says how far long work is."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Self

__all__ = ["ProgressLine", "can_rewrite_lines"]

_SAY_AFTER_S = 1.0
_SAY_EVERY_S = 0.1


def can_rewrite_lines() -> bool:
    """Whether standard error is a terminal on which a line can be written over."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class ProgressLine:
    """Shows `what: done of total` from when the work takes long enough to notice; gone when left.

    Nothing is written where no line can be written over.
    """

    def __init__(self, what: str, unit: str = "events") -> None:
        self._what = what
        self._unit = unit
        self._next = time.monotonic() + _SAY_AFTER_S
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self._next or not can_rewrite_lines():
            return
        self._shown = True
        self._next = now + _SAY_EVERY_S
        percent = 100 * done // total if total else 100
        sys.stderr.write(f"\r\x1b[K{self._what}: {done:,} of {total:,} {self._unit} ({percent} %)")
        sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
