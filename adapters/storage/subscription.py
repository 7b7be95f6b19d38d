"""Following a ledger: what is recorded, then what is committed as it comes, nothing missed or twice.

Every row is read from the store, at positions above the last one delivered; a wake-up only says when to
look. So a wake-up lost or doubled costs time at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

from eventsourcing.persistence import ApplicationRecorder, Notification, Subscription

from adapters.storage.errors import EventNotReadableError
from adapters.storage.mapper import MessagePackMapper
from adapters.storage.records import EventRow
from domain.events import LedgerEvent

if TYPE_CHECKING:
    from adapters.storage.sqlite import SQLiteLedgerRecorder

__all__ = [
    "LedgerSubscription",
    "OnUnreadable",
    "PumpedSubscription",
    "RowSource",
    "SQLiteSubscription",
]

OnUnreadable: TypeAlias = Callable[[EventNotReadableError], None]


class RowSource(Protocol):
    """What delivers the rows of a subscription."""

    @property
    def stopped(self) -> bool: ...

    def next_rows(self, timeout: float | None) -> list[EventRow]:
        """The next rows in order; none after `timeout` seconds without any, and none once stopped."""

    def stop(self) -> None:
        """End the subscription; whoever waits in `next_rows` returns."""


class SQLiteSubscription(Subscription["SQLiteLedgerRecorder"]):
    """The subscription of `SQLiteLedgerRecorder`: notifications for the library, rows for the ledger."""

    def __init__(
        self,
        recorder: SQLiteLedgerRecorder,
        gt: int | None = None,
        topics: Sequence[str] = (),
        *,
        batch_size: int = 500,
    ) -> None:
        super().__init__(recorder, gt, topics)
        self._position = gt or 0
        self._batch_size = batch_size
        self._waiting_rows: deque[EventRow] = deque()

    @property
    def stopped(self) -> bool:
        return self._has_been_stopped

    def next_rows(self, timeout: float | None) -> list[EventRow]:
        deadline = None if timeout is None else monotonic() + timeout
        while not self._has_been_stopped:
            remaining = None if deadline is None else max(0.0, deadline - monotonic())
            committed = self._recorder.wait_for_position_above(self._position, remaining, self._is_stopped)
            if self._recorder.closed:
                self._has_been_stopped = True
                break
            if committed <= self._position:
                break
            rows = self._recorder.select_rows(
                self._position, self._batch_size, stop=committed, topics=self._topics
            )
            # With topics, fewer rows than asked for means there is nothing of interest up to `committed`.
            self._position = rows[-1][0] if len(rows) == self._batch_size else committed
            if rows:
                return rows
        return []

    def __next__(self) -> Notification:
        if not self._waiting_rows:
            self._waiting_rows.extend(self.next_rows(None))
        if self._has_been_stopped:
            raise StopIteration
        position, originator_id, originator_version, topic, state = self._waiting_rows.popleft()
        return Notification(originator_id, originator_version, topic, state, position)

    def stop(self) -> None:
        super().stop()
        self._recorder.wake()

    def _is_stopped(self) -> bool:
        return self._has_been_stopped


class PumpedSubscription:
    """Any of the library's subscriptions as a source of rows: a thread iterates, this hands over."""

    def __init__(self, subscription: Subscription[ApplicationRecorder], *, batch_size: int = 500) -> None:
        self._subscription = subscription
        self._batch_size = batch_size
        self._rows: deque[EventRow] = deque()
        self._changed = Condition()
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = Thread(target=self._pump, name="ledger-subscription", daemon=True)
        self._thread.start()

    @property
    def stopped(self) -> bool:
        return self._stopped

    def next_rows(self, timeout: float | None) -> list[EventRow]:
        with self._changed:
            self._changed.wait_for(lambda: self._rows or self._stopped, timeout)
            if self._error is not None:
                raise self._error
            if self._stopped:
                return []
            rows = [self._rows.popleft() for _ in range(min(len(self._rows), self._batch_size))]
            self._changed.notify_all()
            return rows

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._subscription.stop()

    def _pump(self) -> None:
        try:
            with self._subscription:
                for stored in self._subscription:
                    row = (
                        stored.id,
                        str(stored.originator_id),
                        stored.originator_version,
                        stored.topic,
                        stored.state,
                    )
                    with self._changed:
                        # Bounded: a slow consumer holds back the reading, not the memory.
                        self._changed.wait_for(
                            lambda: len(self._rows) < 2 * self._batch_size or self._stopped
                        )
                        if self._stopped:
                            return
                        self._rows.append(row)
                        self._changed.notify_all()
        except BaseException as error:
            # The thread has nobody to raise to; the consumer has.
            self._error = error
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()


class LedgerSubscription:
    """The events of a ledger from a position on, decoded.

    Iterate for `(position, event)` one by one, or take `next_batch(timeout)`. An event that cannot be decoded
    goes to `on_unreadable` and is passed over; without it, it raises its `EventNotReadableError`.
    `close` (from any thread) ends the iteration; the end of a `with` block and of the ledger do too.
    """

    def __init__(
        self, source: RowSource, mapper: MessagePackMapper, *, on_unreadable: OnUnreadable | None = None
    ) -> None:
        self._source = source
        self._mapper = mapper
        self._on_unreadable = on_unreadable

    @property
    def closed(self) -> bool:
        return self._source.stopped

    def next_batch(self, timeout: float | None = None) -> list[tuple[int, LedgerEvent]]:
        """The next events; waits for one. Empty after `timeout` seconds without any, or when closed."""
        return self._mapper.to_events(self._source.next_rows(timeout), self._on_unreadable)

    def batches(self) -> Iterator[list[tuple[int, LedgerEvent]]]:
        """Batch after batch until closed."""
        while not self.closed:
            if batch := self.next_batch():
                yield batch

    def __iter__(self) -> Iterator[tuple[int, LedgerEvent]]:
        for batch in self.batches():
            yield from batch

    def close(self) -> None:
        """End it. May be called again, from any thread."""
        self._source.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()
