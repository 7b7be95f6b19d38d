"""Building the views of a long log by several processes: some fold stretches of it, one writes the rows.

What a stretch needs of the log before it, it reads there: an order that began earlier is folded from its own
events. What depends on all that came before is left to the one that writes: positions, the clock that never
falls, that no fill is booked twice. Where an event cannot be read or folded, `NotSharedError` says so, and
the log is folded from its beginning one event after the other.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from domain.event_codec import EncodedEvents, decode_event, encode_events
from domain.events import (
    AccountFillBooked,
    AccountFillCorrected,
    LedgerEvent,
    OrderFillCorrected,
    OrderFilled,
)
from projections.canonical import PORTION
from projections.errors import UnfoldableEventError, ViewsError
from projections.event_rows import fill_row
from projections.event_source import EventSource, PastEventSource, UnreadableEvent
from projections.order_fold import Row
from projections.position_fold import PositionFold
from projections.proving import stretches
from projections.tables import (
    FILL_BOOKINGS,
    LOG_CLOCK,
    ORDERS,
    PARKED,
    POSITION_CHECKPOINTS,
    POSITIONS,
    TABLES,
    Table,
)
from projections.views_file import ViewsFile, packed
from projections.views_fold import BookedKey, ChangedRows, ViewsFold

__all__ = ["Helpers", "NotSharedError", "build_shared"]

_PATIENCE_S = 10.0

_FROM_BEFORE = frozenset(
    table.name for table in (ORDERS, FILL_BOOKINGS, POSITIONS, POSITION_CHECKPOINTS, LOG_CLOCK)
)
"""The tables that may have rows which were there before a stretch, or depend on what was."""


class Helpers(NamedTuple):
    """Who may help with a build: how another process opens the ledger (a function that can be pickled), how
    many of them there are, and how many positions each takes at a time (a multiple of `PORTION`)."""

    open_source: Callable[[], AbstractContextManager[PastEventSource]]
    processes: int
    stretch: int = 4 * PORTION

    def are_of_use(self, events: int) -> bool:
        """Whether a log is long enough to be worth starting processes for."""
        return self.processes > 1 and events > 2 * self.stretch


class NotSharedError(ViewsError):
    """The log holds what can only be folded in the knowledge of all before it."""


class _Folded(NamedTuple):
    """What a stretch comes to: the rows that begin with it (`projections.views_file.packed`), by table those
    that were there before it or depend on what was, and the events in it that move a position."""

    last: int
    new: bytes
    rows: dict[str, list[Row]]
    moves_at: list[int]
    moves: EncodedEvents


def build_shared(
    file: ViewsFile,
    source: EventSource,
    target: int,
    helpers: Helpers,
    on_progress: Callable[[int, int], None],
) -> None:
    """Fold a ledger up to a position into a file that is empty yet. Raises `NotSharedError`, after which the
    file is of no use."""
    writer = _Writer(file, source)
    pieces = iter(stretches(target, helpers.stretch))
    with ProcessPoolExecutor(
        helpers.processes, multiprocessing.get_context("spawn"), initializer=_begin_to_help
    ) as pool:
        running: deque[Future[_Folded]] = deque()
        try:
            while True:
                # One more than can be worked on: no process waits while rows are written.
                while len(running) <= helpers.processes and (piece := next(pieces, None)) is not None:
                    running.append(pool.submit(_fold_stretch, helpers.open_source, *piece))
                if not running:
                    break
                writer.write(running.popleft().result())
                on_progress(file.progress.position, target)
        except BrokenExecutor as error:
            raise NotSharedError("a process that helped is gone") from error
        finally:
            pool.shutdown(cancel_futures=True)
    with _booked_once():
        file.guard()
    if file.counts_twice():
        raise NotSharedError("something was booked twice, before it was corrected")


def _begin_to_help() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and tells
    # Rows and events make no cycles: to look for some among them would cost a tenth of the whole.
    gc.disable()


@contextmanager
def _booked_once() -> Iterator[None]:
    try:
        yield
    except ViewsError as error:
        if isinstance(error.__cause__, sqlite3.IntegrityError):
            raise NotSharedError("something is booked twice") from error
        raise


class _Writer:
    """Takes the stretches in their order."""

    def __init__(self, file: ViewsFile, source: EventSource) -> None:
        self._file = file
        self._source = source
        self._positions = PositionFold()
        self._latest_ns = 0

    def write(self, folded: _Folded) -> None:
        try:
            for position, (topic, state) in zip(folded.moves_at, folded.moves, strict=True):
                self._positions.apply(position, decode_event(topic, state))
        except UnfoldableEventError as error:
            raise NotSharedError("an event that no position takes") from error
        rows = folded.rows
        rows[POSITIONS.name] = self._positions.take_rows()
        rows[POSITION_CHECKPOINTS.name] = self._positions.take_checkpoints()
        rows[LOG_CLOCK.name] = [(stretch, max(ns, self._latest_ns)) for stretch, ns in rows[LOG_CLOCK.name]]
        self._latest_ns = rows[LOG_CLOCK.name][-1][1]
        changed = ChangedRows(folded.last)
        changed.rows = [(table, rows[table.name]) for table in TABLES if table.name in rows]
        with _booked_once():
            self._file.write(changed, self._source.hash_at(folded.last), folded.new)


class _Before:
    """The views before a stretch, as far as the log itself can tell them (`views_fold.FoldedViews`)."""

    def __init__(self, source: PastEventSource, position: int) -> None:
        self._source = source
        self._position = position

    def created_position(self, client_order_id: str) -> int | None:
        events = self._source.events_until([client_order_id], self._position)[client_order_id]
        return events[0][0] if events else None

    def parked_orders(self) -> Iterable[str]:
        return ()

    def position_rows(self) -> Iterable[Row]:
        return ()

    def latest_recorded_at_ns(self) -> int:
        return 0

    def booked(self, table: Table, keys: Collection[BookedKey]) -> set[BookedKey]:
        return set()

    def counted_fills(self, keys: Mapping[BookedKey, str]) -> dict[BookedKey, Row]:
        counted: dict[BookedKey, Row] = {}
        for history in self._source.events_until(sorted(set(keys.values())), self._position).values():
            for position, event in history:
                if isinstance(event, OrderFilled | AccountFillBooked):
                    key = (event.fill.fill_key, event.account, event.venue)
                    counted[key] = fill_row(position, event, event.fill)
                elif isinstance(event, OrderFillCorrected | AccountFillCorrected):
                    counted.pop((event.was.fill_key, event.account, event.venue), None)
                    if event.now is not None:
                        key = (event.now.fill_key, event.account, event.venue)
                        counted[key] = fill_row(position, event, event.now)
        return {key: row for key, row in counted.items() if key in keys}


class _Moves(PositionFold):
    """Keeps the events that move positions for the one who folds them."""

    def __init__(self) -> None:
        super().__init__()
        self.positions: list[int] = []
        self.events: list[LedgerEvent] = []

    def apply(self, position: int, event: LedgerEvent) -> None:
        self.positions.append(position)
        self.events.append(event)


def _fold_stretch(
    open_source: Callable[[], AbstractContextManager[PastEventSource]], after: int, last: int
) -> _Folded:
    with open_source() as source:
        moves = _Moves()
        fold = ViewsFold(_Before(source, after), source.events_of, after, positions=moves)
        subscription = source.subscribe(after, batch_size=last - after, on_unreadable=_refuse)
        try:
            batch = subscription.next_batch(_PATIENCE_S)
        finally:
            subscription.close()
        if len(batch) != last - after or batch[-1][0] != last:
            raise NotSharedError("the log has holes")
        rows = {table.name: rows for table, rows in fold.fold(batch).rows}
    if rows[PARKED.name]:
        raise NotSharedError("an event that cannot be folded")
    new = [(table, rows.pop(table.name)) for table in TABLES if table.name not in _FROM_BEFORE]
    for table in (ORDERS, FILL_BOOKINGS):
        written = rows[table.name]
        rows[table.name] = [row for row in written if row[0] <= after]
        new.append((table, [row for row in written if row[0] > after] if rows[table.name] else written))
    return _Folded(last, packed(new), rows, moves.positions, encode_events(moves.events))


def _refuse(unreadable: UnreadableEvent) -> None:
    raise NotSharedError("an event that cannot be read")
