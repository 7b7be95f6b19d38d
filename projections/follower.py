"""Carries a views file forward along the log: take a batch, fold it, write rows and position together."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from projections.event_source import EventSource, UnreadableEvent
from projections.order_fold import DONE_ORDERS_KEPT
from projections.views_file import ViewsFile
from projections.views_fold import ViewsFold

__all__ = ["LIVE_BATCH", "LOAD_BATCH", "Follower"]

LIVE_BATCH = 1_000
"""Events per transaction while following the log."""

LOAD_BATCH = 10_000
"""Events per transaction while building from the beginning: an order's row is written once per batch."""


class Follower:
    """Folds a ledger's events into a views file, from where the file stands.

    After an error its memory may be ahead of the file: drop it and make another one.
    """

    def __init__(
        self,
        source: EventSource,
        views: ViewsFile,
        *,
        batch_size: int = LIVE_BATCH,
        done_orders_kept: int = DONE_ORDERS_KEPT,
    ) -> None:
        self._source = source
        self._views = views
        self._fold = ViewsFold(
            views, source.events_of, views.progress.position, done_orders_kept=done_orders_kept
        )
        self._unreadable: list[UnreadableEvent] = []
        self._subscription = source.subscribe(
            views.progress.position, batch_size=batch_size, on_unreadable=self._unreadable.append
        )

    @property
    def position(self) -> int:
        """The position the views stand at."""
        return self._views.progress.position

    @property
    def orders_in_memory(self) -> int:
        return self._fold.orders_in_memory

    @property
    def ended(self) -> bool:
        """Whether the ledger was closed, so that nothing will follow."""
        return self._subscription.closed

    def step(self, timeout: float) -> bool:
        """Take the next batch into the views, waiting up to `timeout` seconds; whether there was one."""
        batch = self._subscription.next_batch(timeout)
        if not batch and not self._unreadable:
            return False
        changed = self._fold.fold(batch, self._unreadable)
        self._unreadable.clear()
        self._views.write(changed, self._source.hash_at(changed.position))
        return True

    def interrupt(self) -> None:
        """From any thread: end the subscription, so that a waiting `step` returns."""
        self._subscription.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._subscription.close()
