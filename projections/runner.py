"""Keeps the views of a live ledger up to date, in a thread of its own: milliseconds behind each commit.

Each batch is in the views completely or not at all, together with its position, so a process that is killed
goes on where it stopped. A failure of the disk is reported, and tried again until it works; trading does not
depend on it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from projections.building import adopt_offer, offered_path, open_fitting
from projections.errors import DamagedViewsError, ViewsError
from projections.event_source import EventSource
from projections.follower import Follower
from projections.views_lock import ViewsLock

__all__ = ["ProjectionRunner"]

_log = logging.getLogger(__name__)

_LOOK_AROUND_S = 0.25
"""How long to wait for an event before looking whether a rebuild offers its result."""

_FIRST_RETRY_S = 0.1
_LONGEST_RETRY_S = 5.0


class _StoppedError(Exception):
    """Leaves a build that nobody waits for any more."""


class ProjectionRunner:
    """The views of one ledger at one path, and the thread that keeps them.

    `on_failure` hears, in that thread, of each failure that stops the views for a while. Views that do not
    fit the ledger (an older format, or a ledger since put back from a copy) are built anew beside the old.
    """

    def __init__(
        self,
        source: EventSource,
        views: Path,
        *,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        self._source = source
        self.path = views
        self._on_failure = on_failure
        self._lock: ViewsLock | None = None
        self._thread = threading.Thread(target=self._run, name="projections", daemon=True)
        self._stopping = threading.Event()
        self._moved = threading.Condition()
        self._position = 0
        self._follower: Follower | None = None
        self._failure: Exception | None = None
        self._damaged = False

    @property
    def position(self) -> int:
        """The position the views stand at, as far as this process brought them."""
        return self._position

    @property
    def failure(self) -> Exception | None:
        """Why the views do not move at present; None while they do."""
        return self._failure

    @property
    def lag(self) -> int:
        """How many events the views are behind the ledger."""
        return max(0, self._source.max_position - self._position)

    def start(self) -> None:
        """Take the views and begin. Raises `ViewsBusyError` when another process keeps them."""
        self._lock = ViewsLock(self.path)
        self._thread.start()

    def wait_for(self, position: int, timeout: float | None = None) -> bool:
        """Wait until the views stand at a position or beyond; False after `timeout` seconds without that."""
        with self._moved:
            return self._moved.wait_for(lambda: self._position >= position, timeout)

    def stop(self, timeout: float = 10.0) -> None:
        """Fold in what the ledger holds now, for at most `timeout` seconds, and let go of the views.

        May be called again. Call it before the ledger is closed.
        """
        if self._lock is None:
            return
        if self._failure is None:
            self.wait_for(self._source.max_position, timeout)
        self._stopping.set()
        if self._follower is not None:
            self._follower.interrupt()
        self._thread.join(timeout)
        if not self._thread.is_alive():
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        delay = _FIRST_RETRY_S
        while not self._stopping.is_set():
            before = self._position
            try:
                self._keep()
                return
            except Exception as error:
                if self._stopping.is_set():
                    return
                self._report(error)
                self._damaged = isinstance(error, DamagedViewsError)
            if self._position > before:
                delay = _FIRST_RETRY_S
            self._stopping.wait(delay)
            delay = min(2 * delay, _LONGEST_RETRY_S)

    def _report(self, error: Exception) -> None:
        before, self._failure = self._failure, error
        if before is None or str(before) != str(error):
            # Once, not at every attempt; a traceback only for what this package did not foresee.
            _log.error(
                "views %s stand still: %s", self.path, error, exc_info=not isinstance(error, ViewsError)
            )
            if self._on_failure is not None:
                self._on_failure(error)

    def _keep(self) -> None:
        with open_fitting(self._source, self.path, self._while_building, anew=self._damaged) as views:
            self._damaged = False
            while not self._stopping.is_set():
                with Follower(self._source, views) as follower:
                    self._follower = follower
                    if not self._follow(follower):
                        return
                adopt_offer(self._source, views)

    def _follow(self, follower: Follower) -> bool:
        """Follow the log until a rebuild offers its result (True) or this ends (False)."""
        self._move_to(follower.position)
        while not self._stopping.is_set() and not follower.ended:
            if follower.step(_LOOK_AROUND_S):
                self._move_to(follower.position)
            if offered_path(self.path).exists():
                return True
        return False

    def _while_building(self, _position: int, _target: int) -> None:
        if self._stopping.is_set():
            raise _StoppedError

    def _move_to(self, position: int) -> None:
        # Opening the file is no sign that it can be written: an event more is, or that none is left.
        if self._failure is not None and (position > self._position or position >= self._source.max_position):
            self._failure = None
            _log.info("views %s move again, at position %d", self.path, position)
        with self._moved:
            self._position = position
            self._moved.notify_all()
