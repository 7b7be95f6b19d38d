"""A whole verification in one reading of the events, shared among as many processes as there are processors.

Each of them takes stretches of the log: recomputes the chain over them, looks for holes in the versions,
compares the lookup keys, and folds the events on to compare the views. Together the stretches say that all is
well, or nothing: what is not well is named by the careful way, which starts from the beginning.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import msgspec

from adapters.cli.chosen_ledger import ChosenLedger
from adapters.cli.ledger_source import LedgerEventSource
from adapters.storage.chain import GENESIS, ChainReport, head_after
from adapters.storage.ledger import OrderLedger
from adapters.storage.ledger_file import LedgerFile, extent
from adapters.storage.mapper import MessagePackMapper
from adapters.storage.records import ChainedRow, EventRow
from domain.events import LedgerEvent
from projections.canonical import PORTION
from projections.proving import (
    STRETCH,
    StretchProof,
    Unproven,
    WholeViews,
    look_at_whole,
    prove_stretch,
    stretches,
)
from projections.verifying import ViewsReport, proven_report
from projections.views_file import connect_for_reading, read_progress

__all__ = ["Proof", "prove"]

_KEYS_PER_LOOK = 500

_WORTH_SHARING = 50_000
"""Events from which on it is worth to start processes."""

_STRETCHES_PER_PROCESS = 16
"""So many that none is idle for long at the end; each begins with looking up what is in flight there."""

_INDEX = "sqlite_autoindex_stored_events_1"
"""The index of versions: the one that SQLite makes for the constraint that they are unique."""


_WITHOUT_HASH: Callable[[ChainedRow], EventRow] = itemgetter(slice(5))


class Proof(NamedTuple):
    """What a verification reports when all is well."""

    chain: ChainReport
    views: ViewsReport


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one stretch of the log comes to. `before` and `head` are the chain's hashes at its ends, `keys`
    how many lookup keys it is the first to name, `weight` the sum of position times version."""

    before: bytes
    head: bytes
    keys: int
    weight: int
    views: StretchProof


def prove(
    chosen: ChosenLedger,
    progress: Callable[[int, int], None],
    *,
    processes: int | None = None,
    stretch: int | None = None,
) -> Proof | None:
    """That a ledger and its views are intact, the views standing where the ledger does; None if it takes a
    closer look. `processes` is how many share the work, by default as many as there are processors, and
    `stretch` how many positions one of them takes at a time, by default as is best."""
    try:
        with LedgerFile.open_for_reading(chosen.ledger, check_tail=False) as file:
            return _prove(file, chosen, progress, processes or len(os.sched_getaffinity(0)), stretch)
    except Exception:
        # Damage can look like anything. The careful way meets it again, and says what and where it is.
        return None


def _prove(
    file: LedgerFile,
    chosen: ChosenLedger,
    progress: Callable[[int, int], None],
    processes: int,
    stretch: int | None,
) -> Proof:
    views = connect_for_reading(chosen.views)
    try:
        position = read_progress(views).position
    finally:
        views.close()
    with file.separate_reading(str) as connection:
        if extent(connection) != (position, position):
            raise Unproven("the views are behind, or the ledger is not whole")
    length = stretch or _fair_length(position, processes)
    parts, weight, whole = _looked_at(chosen, stretches(position, length), processes, progress)
    head = GENESIS
    for part in parts:
        if part.before != head:
            raise Unproven("a stretch of the chain does not begin where the one before it ends")
        head = part.head
    if weight != sum(part.weight for part in parts):
        raise Unproven("the index of versions differs from the events")
    with file.separate_reading(str) as connection:
        connection.execute("BEGIN")
        (keys,) = connection.execute("SELECT count(*) FROM order_keys").fetchone()
        if keys != sum(part.keys for part in parts) or extent(connection) != (position, position):
            raise Unproven("lookup keys that nothing accounts for, or new events")
    with OrderLedger.open(chosen.ledger, writer=False, create=False) as ledger:
        source = LedgerEventSource(ledger)
        report = proven_report(chosen.views, source, whole, [part.views for part in parts])
    if report.position != position:
        raise Unproven("the views have moved")
    chain = ChainReport(
        path=str(file.path),
        ledger_id=file.ledger_id,
        events=position,
        last_position=position,
        head=head.hex(),
    )
    return Proof(chain, report)


def _fair_length(position: int, processes: int) -> int:
    """The positions per stretch that keep all processes at work to the end; one stretch where it is too short
    for a second process to be of use."""
    if position < _WORTH_SHARING:
        return STRETCH
    portions = -(-position // (_STRETCHES_PER_PROCESS * processes * PORTION))
    return min(portions * PORTION, STRETCH)


def _looked_at(
    chosen: ChosenLedger,
    pieces: Sequence[tuple[int, int]],
    processes: int,
    progress: Callable[[int, int], None],
) -> tuple[list[_Part], int, WholeViews]:
    """What each stretch comes to, in their order, the weight of the index of versions, and the views as a
    whole."""
    position = pieces[-1][1]
    if processes == 1 or len(pieces) == 1:
        parts = []
        for after, last in pieces:
            parts.append(_part(chosen, position, after, last))
            progress(last, position)
        return parts, _index_weight(chosen.ledger, position), look_at_whole(chosen.views, position)
    with ProcessPoolExecutor(
        min(processes, len(pieces)), multiprocessing.get_context("spawn"), initializer=_begin_to_help
    ) as pool:
        try:
            # First what takes longest in one piece.
            whole = pool.submit(look_at_whole, chosen.views, position)
            weight = pool.submit(_index_weight, chosen.ledger, position)
            running = [pool.submit(_part, chosen, position, after, last) for after, last in pieces]
            _tell(running, pieces, position, progress)
            return [each.result() for each in running], weight.result(), whole.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _begin_to_help() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and tells
    # Rows and events make no cycles: to look for some among them would cost a tenth of the whole.
    gc.disable()


def _tell(
    running: Sequence[Future[_Part]],
    pieces: Sequence[tuple[int, int]],
    position: int,
    progress: Callable[[int, int], None],
) -> None:
    done = 0
    lengths = {each: last - after for each, (after, last) in zip(running, pieces, strict=True)}
    for each in as_completed(running):
        each.result()
        done += lengths[each]
        progress(done, position)


def _index_weight(ledger: Path, position: int) -> int:
    """The sum of position times version by the index of versions. Raises `Unproven` where one is missing."""
    with (
        LedgerFile.open_for_reading(ledger, check_tail=False) as file,
        file.separate_reading(bytes) as connection,
    ):
        entries, weight, holes = connection.execute(
            "SELECT sum(entries), sum(weight), sum(hole) FROM ("
            " SELECT count(*) AS entries, sum(position * originator_version) AS weight,"
            " min(originator_version) > 1"
            " OR max(originator_version) - min(originator_version) + 1 <> count(*) AS hole"
            f" FROM stored_events INDEXED BY {_INDEX} WHERE position <= ? GROUP BY originator_id)",
            (position,),
        ).fetchone()
    if (entries or 0) != position or holes:
        raise Unproven("the index of versions has holes")
    return weight or 0


def _part(chosen: ChosenLedger, position: int, after: int, last: int) -> _Part:
    with (
        OrderLedger.open(chosen.ledger, writer=False, create=False) as ledger,
        LedgerFile.open_for_reading(chosen.ledger, check_tail=False) as file,
        file.separate_reading(str) as connection,
    ):
        log = _LogStretch(connection, ledger.mapper, after, last)
        before = log.head
        events_of = LedgerEventSource(ledger).events_of
        views = prove_stretch(chosen.views, position, events_of, log.batches(), after, last)
        return _Part(before=before, head=log.head, keys=log.new_keys, weight=log.weight, views=views)


class _LogStretch:
    """A stretch of the log whose events are checked while they are handed on."""

    def __init__(
        self, connection: sqlite3.Connection, mapper: MessagePackMapper, after: int, last: int
    ) -> None:
        self._connection = connection
        self._mapper = mapper
        self._after = after
        self._last = last
        self.head = GENESIS
        if after:
            (self.head,) = connection.execute(
                "SELECT hash FROM stored_events WHERE position = ?", (after,)
            ).fetchone()
        self.new_keys = 0
        self.weight = 0
        self._versions: dict[str, int] = {}
        self._keys: dict[str, str] = {}
        self._earlier_keys: dict[str, set[str]] = {}
        """Of the originators whose first event lies before the stretch: the keys they had named by then."""

    def batches(self) -> Iterator[list[tuple[int, LedgerEvent]]]:
        """The events, a portion at a time. Raises `Unproven` as soon as something is wrong with one."""
        reached = self._after
        while reached < self._last:
            first, reached = reached + 1, min(((reached + 1) // PORTION + 1) * PORTION - 1, self._last)
            rows = self._connection.execute(
                "SELECT position, originator_id, originator_version, topic, state, hash FROM stored_events"
                " WHERE position BETWEEN ? AND ? ORDER BY position",
                (first, reached),
            ).fetchall()
            if len(rows) != reached - first + 1:
                raise Unproven("positions are missing")
            head = head_after(self.head, first, rows)
            if head is None:
                raise Unproven("the chain is broken")
            self.head = head
            self._follow_versions(rows)
            events = self._mapper.to_events(map(_WITHOUT_HASH, rows), None)
            self._look_up_keys(events)
            yield events

    def _follow_versions(self, rows: Sequence[ChainedRow]) -> None:
        versions = self._versions
        reached = versions.get
        weight = 0
        for position, originator_id, version, _, _, _ in rows:
            if version != reached(originator_id, -1) + 1:
                self._begin(originator_id, version)
            versions[originator_id] = version
            weight += position * version
        self.weight += weight

    def _begin(self, originator_id: str, version: int) -> None:
        """A version that does not follow one in this stretch: the first, or the next after one before it."""
        if originator_id in self._versions:
            raise Unproven("versions are missing")
        if version > 1:
            before = self._connection.execute(
                "SELECT position, topic, state FROM stored_events"
                " WHERE originator_id = ? AND originator_version < ? ORDER BY originator_version",
                (originator_id, version),
            ).fetchall()
            if not before or not all(position <= self._after for position, _, _ in before):
                raise Unproven("versions are missing")
            rows = [
                (position, originator_id, version - len(before) + number, topic, state)
                for number, (position, topic, state) in enumerate(before)
            ]
            self._earlier_keys[originator_id] = {
                key for _, event in self._mapper.to_events(rows, None) for key in self._mapper.keys_of(event)
            }

    def _look_up_keys(self, events: Sequence[tuple[int, LedgerEvent]]) -> None:
        keys_of, known = self._mapper.keys_of, self._keys
        new: dict[str, str] = {}
        for _, event in events:
            for key in keys_of(event):
                if key not in known and key not in new:
                    new[key] = event.originator_id
        keys = list(new)
        indexed: dict[str, str] = {}
        for start in range(0, len(keys), _KEYS_PER_LOOK):
            part = keys[start : start + _KEYS_PER_LOOK]
            indexed.update(
                self._connection.execute(
                    f"SELECT key, originator_id FROM order_keys WHERE key IN ({', '.join('?' * len(part))})",
                    part,
                )
            )
        if indexed != new:
            raise Unproven("a lookup key is missing, or leads to another order")
        known |= new
        earlier = self._earlier_keys
        self.new_keys += sum(key not in earlier.get(originator_id, ()) for key, originator_id in new.items())
