"""Group commit: one thread writes for everybody, and one fsync makes whatever was waiting durable.

Each submission is recorded all or nothing, and submissions in the order they were made. Nothing is called
durable that the disk has not confirmed: while it refuses, everything is kept in memory and tried again,
and `stalled` says so, on which trading halts.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Condition, Thread, current_thread
from time import monotonic
from typing import TypeAlias

import msgspec
from eventsourcing.persistence import IntegrityError, PersistenceError

from adapters.storage.errors import (
    BacklogFullError,
    LedgerClosedError,
    LedgerConflictError,
    UnflushedEventsError,
)
from adapters.storage.records import EventRecord, RecordStore
from domain.events import LedgerEvent

__all__ = ["Committed", "GroupCommitWriter", "Refused"]

logger = logging.getLogger(__name__)


class Committed(msgspec.Struct, frozen=True):
    """A submission that is on the disk. `positions` runs along `events`; `context` is the caller's."""

    events: Sequence[LedgerEvent]
    positions: Sequence[int]
    context: object = None


class Refused(msgspec.Struct, frozen=True):
    """A submission that cannot be recorded, ever: nothing of it was."""

    events: Sequence[LedgerEvent]
    error: Exception
    context: object = None


OnCommitted: TypeAlias = Callable[[list[Committed]], None]
OnRefused: TypeAlias = Callable[[list[Refused]], None]


class _Submission:
    __slots__ = ("context", "events", "future", "records")

    def __init__(
        self,
        events: Sequence[LedgerEvent],
        records: list[EventRecord],
        future: Future[Committed] | None,
        context: object,
    ) -> None:
        self.events = events
        self.records = records
        self.future = future
        self.context = context


class GroupCommitWriter:
    """Records submissions in groups, from its own thread, until closed.

    `on_committed(batch)` is called once per transaction with all that it made durable, in order; `on_refused`
    likewise with what can never be recorded. `on_stall(error)` when the store begins to refuse, `on_resume()`
    when it takes events again. All are called from the writer's thread and must return soon; an exception
    of theirs is logged and counted in `listener_errors`, it cannot stop the ledger.

    A conflict (the version is already recorded) refuses its submission alone; and then those that would
    continue a refused event, which would leave a hole in the versions of an originator.
    """

    def __init__(
        self,
        store: RecordStore,
        to_record: Callable[[LedgerEvent], EventRecord],
        *,
        on_committed: OnCommitted | None = None,
        on_refused: OnRefused | None = None,
        on_stall: Callable[[BaseException], None] | None = None,
        on_resume: Callable[[], None] | None = None,
        max_batch_events: int = 4_096,
        max_backlog_events: int = 100_000,
        first_retry_seconds: float = 0.05,
        last_retry_seconds: float = 2.0,
    ) -> None:
        self.max_batch_events = max_batch_events
        self.max_backlog_events = max_backlog_events
        self.listener_errors = 0
        self._store = store
        self._to_record = to_record
        self._on_committed = on_committed
        self._on_refused = on_refused
        self._on_stall = on_stall
        self._on_resume = on_resume
        self._first_retry_seconds = first_retry_seconds
        self._last_retry_seconds = last_retry_seconds
        self._condition = Condition()
        self._queue: deque[_Submission] = deque()
        self._backlog = 0
        self._idle = False
        self._closing = False
        self._give_up_at: float | None = None
        self._given_up = 0
        self._stalled_by: BaseException | None = None
        self._refused_originators: set[str] = set()
        self._thread = Thread(target=self._run, name="ledger-group-commit", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """Events submitted and not yet durable. Near `max_backlog_events`, stop taking more input."""
        return self._backlog

    @property
    def stalled(self) -> BaseException | None:
        """Why the store refuses at present; None while it takes events."""
        return self._stalled_by

    def submit(self, events: Sequence[LedgerEvent], context: object = None) -> Future[Committed]:
        """Queue events that are recorded together, and return at once.

        The future ends with `Committed`, or with `LedgerConflictError`, or with `UnflushedEventsError` if
        the ledger is closed while the disk refuses. Raises `BacklogFullError` (nothing was taken),
        `LedgerClosedError`, or what makes an event impossible to encode.
        """
        future: Future[Committed] = Future()
        # Running futures cannot be cancelled: what was submitted will be recorded.
        future.set_running_or_notify_cancel()
        self._enqueue(events, future, context)
        return future

    def enqueue(self, events: Sequence[LedgerEvent], context: object = None) -> None:
        """`submit` without a future: the outcome comes to `on_committed` or `on_refused`."""
        self._enqueue(events, None, context)

    def close(self, timeout: float | None = 10.0) -> None:
        """Record what is waiting and stop. May be called again.

        After `timeout` seconds (None: for ever) it gives up, ends the remaining futures with
        `UnflushedEventsError`, and raises it.
        """
        with self._condition:
            self._closing = True
            if timeout is not None:
                self._give_up_at = monotonic() + timeout
            self._condition.notify_all()
        if current_thread() is self._thread:
            return
        self._thread.join(timeout)
        with self._condition:
            self._give_up_at = monotonic()
            self._condition.notify_all()
        self._thread.join(1.0)
        unflushed, self._given_up = self._given_up or self._backlog, 0
        if unflushed:
            raise self._unflushed(unflushed)

    def _enqueue(
        self, events: Sequence[LedgerEvent], future: Future[Committed] | None, context: object
    ) -> None:
        # Encoded here: what cannot be encoded fails its caller, and is read before anybody can change it.
        submission = _Submission(events, list(map(self._to_record, events)), future, context)
        with self._condition:
            if self._closing:
                raise LedgerClosedError("the ledger is closed: nothing can be recorded any more")
            if self._backlog + len(events) > self.max_backlog_events:
                raise BacklogFullError(
                    f"{self._backlog} events wait for the disk (at most {self.max_backlog_events} may); "
                    f"stop taking input until they are recorded{self._why_stalled()}"
                )
            self._backlog += len(events)
            self._queue.append(submission)
            if self._idle:
                self._idle = False
                self._condition.notify_all()

    # The writer's thread

    def _run(self) -> None:
        while batch := self._gather():
            try:
                self._settle(batch)
            except BaseException as error:
                # A defect. Without this thread nothing is recorded any more, and nobody must think it is.
                with self._condition:
                    self._closing = True
                self._stall(error)
                self._give_up(batch)
                return

    def _gather(self) -> list[_Submission]:
        """What is waiting, up to a batch; waits for something. Empty when closing and all is done."""
        with self._condition:
            while not self._queue:
                if self._closing:
                    return []
                self._idle = True
                self._condition.wait()
            batch = [self._queue.popleft()]
            size = len(batch[0].records)
            while self._queue and size + len(self._queue[0].records) <= self.max_batch_events:
                batch.append(self._queue.popleft())
                size += len(batch[-1].records)
            return batch

    def _settle(self, batch: list[_Submission]) -> None:
        """Bring every submission of the batch to its end, however long the store refuses."""
        work = deque([batch])
        in_doubt = False
        retry_seconds = self._first_retry_seconds
        while work:
            try:
                group = work[0] = self._admitted(work[0])
                positions = self._recorded(group, in_doubt=in_doubt)
            except (PersistenceError, OSError, MemoryError) as error:
                if isinstance(error, IntegrityError):
                    self._divide(work, error)
                    continue
                # Whether this transaction was recorded is not known now: look before calling it a conflict.
                in_doubt = True
                self._stall(error)
                if not self._wait_for_retry(retry_seconds):
                    self._give_up([submission for group in work for submission in group])
                    return
                retry_seconds = min(2 * retry_seconds, self._last_retry_seconds)
            except Exception as error:
                self._divide(work, error)
            else:
                work.popleft()
                self._resume()
                self._confirm(group, positions)

    def _recorded(self, group: list[_Submission], *, in_doubt: bool) -> Sequence[int]:
        records = [record for submission in group for record in submission.records]
        if in_doubt:
            positions = self._store.positions_of(records)
            if positions is not None:
                return positions
        return self._store.insert_records(records)

    def _divide(self, work: deque[list[_Submission]], error: Exception) -> None:
        """Something in the first group cannot be recorded: halve the group until that stands alone."""
        group = work.popleft()
        self._resume()
        if len(group) == 1:
            self._refuse(group[0], error)
        else:
            middle = len(group) // 2
            work.extendleft((group[middle:], group[:middle]))

    def _admitted(self, group: list[_Submission]) -> list[_Submission]:
        """Refuse what would leave a hole in an originator's versions, where a refused submission belonged."""
        if not self._refused_originators:
            return group
        admitted: list[_Submission] = []
        refused: list[tuple[_Submission, tuple[str, int]]] = []
        coming: set[tuple[str, int]] = set()
        for submission in group:
            own = {(record[0], record[1]) for record in submission.records}
            hole = next((each for each in own if self._leaves_hole(each, coming | own)), None)
            if hole is None:
                admitted.append(submission)
                coming |= own
            else:
                refused.append((submission, hole))
        # Only after the last question to the store: one that it does not answer leaves the group as it was.
        for submission, (originator_id, version) in refused:
            message = f"{originator_id!r} v{version} continues an event that could not be recorded"
            self._refuse(submission, LedgerConflictError(message))
        return admitted

    def _leaves_hole(self, identity: tuple[str, int], coming: set[tuple[str, int]]) -> bool:
        originator_id, version = identity
        return (
            originator_id in self._refused_originators
            and version > 1
            and (originator_id, version - 1) not in coming
            and not self._store.has_version(originator_id, version - 1)
        )

    def _confirm(self, group: list[_Submission], positions: Sequence[int]) -> None:
        batch: list[Committed] = []
        start = 0
        for submission in group:
            end = start + len(submission.records)
            batch.append(Committed(submission.events, positions[start:end], submission.context))
            start = end
        if self._refused_originators:
            self._refused_originators.difference_update(
                record[0] for submission in group for record in submission.records
            )
        self._release(start)
        if self._on_committed is not None and batch:
            self._tell(self._on_committed, batch)
        for submission, committed in zip(group, batch, strict=True):
            if submission.future is not None:
                submission.future.set_result(committed)

    def _refuse(self, submission: _Submission, error: Exception) -> None:
        self._refused_originators.update(record[0] for record in submission.records)
        self._release(len(submission.records))
        if self._on_refused is not None:
            self._tell(self._on_refused, [Refused(submission.events, error, submission.context)])
        if submission.future is not None:
            submission.future.set_exception(error)

    def _release(self, events: int) -> None:
        with self._condition:
            self._backlog -= events

    def _stall(self, error: BaseException) -> None:
        first = self._stalled_by is None
        self._stalled_by = error
        if first:
            logger.error("the ledger cannot record: %s; %d events wait", error, self._backlog)
            if self._on_stall is not None:
                self._tell(self._on_stall, error)

    def _resume(self) -> None:
        if self._stalled_by is not None:
            self._stalled_by = None
            logger.warning("the ledger records again")
            if self._on_resume is not None:
                self._tell(self._on_resume)

    def _wait_for_retry(self, seconds: float) -> bool:
        """Wait, and say whether to go on trying."""
        until = monotonic() + seconds
        with self._condition:
            while (now := monotonic()) < until:
                if self._give_up_at is not None and now >= self._give_up_at:
                    return False
                end = until if self._give_up_at is None else min(until, self._give_up_at)
                self._condition.wait(end - now)
        return True

    def _give_up(self, unsettled: list[_Submission]) -> None:
        with self._condition:
            unsettled.extend(self._queue)
            self._queue.clear()
            self._given_up, self._backlog = self._backlog, 0
        error = self._unflushed(self._given_up)
        for submission in unsettled:
            if submission.future is not None and not submission.future.done():
                submission.future.set_exception(error)

    def _unflushed(self, count: int) -> UnflushedEventsError:
        return UnflushedEventsError(
            f"closed with {count} events that are not recorded{self._why_stalled()}. "
            "They exist in this process alone",
            count,
        )

    def _why_stalled(self) -> str:
        return "" if self._stalled_by is None else f" (the store refuses: {self._stalled_by})"

    def _tell(self, listener: Callable[..., None], *arguments: object) -> None:
        try:
            listener(*arguments)
        except Exception:
            self.listener_errors += 1
            logger.exception("a listener of the group commit failed")
