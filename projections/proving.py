"""Whether views are what the log gives, stretch by stretch, each looked at for itself.

A stretch of the log is folded on from what the views say they held where it begins, and every row that comes
of it is compared with theirs. If each stretch leads from the views to the views, and they begin with nothing,
then they are the fold of the whole log. So stretches can be proven in any order, and by several processes.

What is found here is only that all is well. Where it is not, `Unproven` says little, and
`projections.verifying` folds from the beginning to tell what is wrong.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from operator import itemgetter
from pathlib import Path

import msgspec

from projections.canonical import (
    PORTION,
    Portion,
    combined_digest,
    digest_if_equal,
    is_by_position,
    portion_digest,
    portion_digests,
    portions_between,
)
from projections.counted_once import booked_again
from projections.event_source import PositionedEvent
from projections.order_fold import EventsOf, Row
from projections.position_sums import MarketKey, MarketSum, StretchSums, noted
from projections.tables import (
    ACCOUNT_EVENTS,
    CHECKPOINT_EVERY,
    DISCREPANCIES_FOUND,
    DISCREPANCY_SETTLEMENTS,
    FILL_BOOKINGS,
    FUNDING,
    LOG_CLOCK,
    ORDER_KEYS,
    ORDER_TIMELINE,
    ORDERS,
    PARKED,
    POSITION_CHECKPOINTS,
    POSITIONS,
    TABLES,
    Table,
)
from projections.views_file import connect_for_reading, read_progress
from projections.views_fold import BookedKey, ViewsFold

__all__ = [
    "STRETCH",
    "StretchProof",
    "Unproven",
    "WholeViews",
    "conclude",
    "look_at_whole",
    "prove_stretch",
    "stretches",
]

STRETCH = 16 * PORTION
"""Positions per stretch, unless the log is shorter."""

_KEYS_PER_LOOK = 500

_ROW_PER_EVENT = (FUNDING, ORDER_TIMELINE, ACCOUNT_EVENTS, DISCREPANCIES_FOUND, DISCREPANCY_SETTLEMENTS)
"""The tables whose rows are written once, keyed by the position of their event."""

_CORRECTED = f"{FILL_BOOKINGS.name} corrected"
"""In the counts of a proof: the fills that it corrects."""

_COUNTED = (ORDERS, ORDER_KEYS, POSITION_CHECKPOINTS, LOG_CLOCK)
"""The tables of which the proof needs to know that they hold nothing else."""


class Unproven(Exception):
    """Not everything is well: something differs, or an event is of a kind that takes a closer look."""


class StretchProof(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the log, from after one position to another, leads from the views to the views.

    `positions` and `clock` are what the views held at its ends: the rows of `positions`, and the latest time
    of `log_clock`. `counts` says how many of the views' rows it accounts for, `portions` are the digests of
    those it read, `sums` is what its fills add up to, and `notes` are the events that
    `projections.verifying` wants to see besides.
    """

    after: int
    last: int
    positions: tuple[tuple[Row, ...], tuple[Row, ...]]
    clock: tuple[int, int]
    counts: dict[str, int]
    portions: dict[Portion, str]
    sums: dict[MarketKey, MarketSum]
    notes: tuple[PositionedEvent, ...]


class WholeViews(msgspec.Struct, frozen=True, kw_only=True):
    """What can only be seen in all of the views at once: the rows of `positions` that they end with, how many
    rows they hold (`counts`, as in `StretchProof`), and the digests of what is not keyed by position."""

    positions: tuple[Row, ...]
    counts: dict[str, int]
    portions: dict[Portion, str]


def stretches(position: int, length: int = STRETCH) -> list[tuple[int, int]]:
    """The stretches to prove of views that stand at a position: after which position, and the last one.

    `length` is a multiple of `projections.canonical.PORTION`.
    """
    assert length % PORTION == 0, "a stretch is made of whole portions"
    ends = [*range(length - 1, position, length), position]
    return list(zip([0, *ends], ends, strict=False))


class _ViewsAsOf:
    """What the views held at the end of a stretch, as the fold resumes from it; no order is parked."""

    def __init__(self, connection: sqlite3.Connection, position: int) -> None:
        assert position == 0 or (position + 1) % CHECKPOINT_EVERY == 0, "not where checkpoints are kept"
        self._connection = connection
        self._position = position

    def created_position(self, client_order_id: str) -> int | None:
        row: tuple[int] | None = self._connection.execute(
            "SELECT created_position FROM orders WHERE client_order_id = ?", (client_order_id,)
        ).fetchone()
        return None if row is None else row[0]

    def parked_orders(self) -> Iterable[str]:
        return ()

    def position_rows(self) -> list[Row]:
        kept: dict[Row, Row] = {}
        *columns, last = POSITIONS.columns
        for table in (POSITIONS, POSITION_CHECKPOINTS):
            # With max(), SQLite takes the other columns from the row that has it.
            for row in self._connection.execute(
                f"SELECT {', '.join(columns)}, max({last}) FROM {table.name} WHERE {last} <= ? "
                f"GROUP BY {', '.join(POSITIONS.key)}",
                (self._position,),
            ):
                if row[:3] not in kept or kept[row[:3]][-1] < row[-1]:
                    kept[row[:3]] = row
        return [row for _, row in sorted(kept.items())]

    def latest_recorded_at_ns(self) -> int:
        row: tuple[int] | None = self._connection.execute(
            "SELECT latest_recorded_at_ns FROM log_clock WHERE stretch = ? AND ? > 0",
            (self._position // CHECKPOINT_EVERY, self._position),
        ).fetchone()
        return 0 if row is None else row[0]

    def booked(self, table: Table, keys: Collection[BookedKey]) -> set[BookedKey]:
        # That none is booked twice, `conclude` sees in the rows.
        return set()

    def counted_fills(self, keys: Mapping[BookedKey, str]) -> dict[BookedKey, Row]:
        """Those that counted where the batch begins which is folded next (`advance`)."""
        columns = list(FILL_BOOKINGS.columns)
        (identity,) = FILL_BOOKINGS.unique
        places = [columns.index(name) for name in identity]
        found: dict[BookedKey, Row] = {}
        wanted = list(keys)
        for start in range(0, len(wanted), _KEYS_PER_LOOK):
            part = wanted[start : start + _KEYS_PER_LOOK]
            # Two statements: each uses the index that holds just its rows.
            for then in ("corrected_position IS NULL", f"corrected_position > {self._position}"):
                for row in self._connection.execute(
                    f"SELECT {', '.join(columns)} FROM {FILL_BOOKINGS.name} WHERE fill_key IN "
                    f"({', '.join('?' * len(part))}) AND position <= ? AND {then}",
                    (*(key[0] for key in part), self._position),
                ):
                    key, account, venue = (row[place] for place in places)
                    if (key, account, venue) in found:
                        raise Unproven("a fill counts twice")
                    found[key, account, venue] = _uncorrected(row)
        return {key: row for key, row in found.items() if key in keys}

    def advance(self, position: int) -> None:
        """Let the fold be at this position."""
        self._position = position


def prove_stretch(
    views: Path,
    position: int,
    events_of: EventsOf,
    batches: Iterable[Sequence[PositionedEvent]],
    after: int,
    last: int,
) -> StretchProof:
    """Fold a stretch (one of `stretches`) of the log and compare it with views that stand at `position`.

    `batches` are its events, a portion of positions (`projections.canonical.PORTION`) at a time. Raises
    `Unproven`, and the errors of a views file that cannot be read.
    """
    with _standing_at(views, position) as connection:
        return _Stretch(connection, events_of, after, last).prove(batches)


@contextmanager
def _standing_at(views: Path, position: int) -> Iterator[sqlite3.Connection]:
    """Views as they are at one moment, in which they stand at a position."""
    with closing(connect_for_reading(views)) as connection:
        connection.execute("BEGIN")
        if read_progress(connection).position != position:
            raise Unproven("the views have moved")
        yield connection


class _Stretch:
    def __init__(self, connection: sqlite3.Connection, events_of: EventsOf, after: int, last: int) -> None:
        self._connection = connection
        self._views = views = _ViewsAsOf(connection, after)
        self._after = after
        self._last = last
        self._clock_before = views.latest_recorded_at_ns()
        self._positions_before = views.position_rows()
        self._positions = {row[:3]: row for row in self._positions_before}
        self._fold = ViewsFold(views, events_of, after)
        self._counts = dict.fromkeys((*(table.name for table in _COUNTED), _CORRECTED), 0)
        self._portions: dict[Portion, str] = {}
        self._clock = self._clock_before
        self._sums = StretchSums()
        self._notes: list[PositionedEvent] = []
        self._orders: dict[int, Row] = {}
        """Of the orders with events in the stretch, by where they were created: the row they ended with."""

    def prove(self, batches: Iterable[Sequence[PositionedEvent]]) -> StretchProof:
        first = self._after + 1
        for batch in batches:
            last = min((first // PORTION + 1) * PORTION - 1, self._last)
            if len(batch) != last - first + 1 or batch[-1][0] != last:
                raise Unproven("a batch that is not complete")
            self._views.advance(first - 1)
            changed = {table.name: rows for table, rows in self._fold.fold(batch).rows}
            notes = noted(batch)
            self._notes += notes
            self._compare(changed, notes, first, last)
            first = last + 1
        if first != self._last + 1:
            raise Unproven("the log ends before the views")
        self._compare_orders()
        return StretchProof(
            after=self._after,
            last=self._last,
            positions=(
                tuple(self._positions_before),
                tuple(row for _, row in sorted(self._positions.items())),
            ),
            clock=(self._clock_before, self._clock),
            counts=self._counts,
            portions=self._portions,
            sums=self._sums.result(),
            notes=tuple(self._notes),
        )

    def _compare(
        self, changed: dict[str, list[Row]], notes: list[PositionedEvent], first: int, last: int
    ) -> None:
        if changed[PARKED.name]:
            raise Unproven("an event is parked")
        for table in _ROW_PER_EVENT:
            rows = changed[table.name]
            if not self._is_portion(table, rows, first, last):
                _expect_equal(table, rows, self._between(table, "position", first, last))
                self._portions[table.name, first // PORTION] = portion_digest(rows)
        self._compare_fills(changed[FILL_BOOKINGS.name], notes, first, last)
        self._orders.update((row[0], row) for row in changed[ORDERS.name])
        kept_keys = set(self._with_keys(ORDER_KEYS, [row[0] for row in changed[ORDER_KEYS.name]]))
        if not kept_keys.issuperset(changed[ORDER_KEYS.name]):
            raise Unproven("a key of an order differs")
        clock = self._between(LOG_CLOCK, "stretch", first // CHECKPOINT_EVERY, last // CHECKPOINT_EVERY)
        _expect_equal(LOG_CLOCK, changed[LOG_CLOCK.name], clock)
        self._clock = clock[-1][1]
        for row in changed[POSITION_CHECKPOINTS.name]:
            _expect_equal(POSITION_CHECKPOINTS, [row], self._checkpoint(row))
        self._positions.update((row[:3], row) for row in changed[POSITIONS.name])
        for table in (ORDER_KEYS, LOG_CLOCK, POSITION_CHECKPOINTS):
            self._counts[table.name] += len(changed[table.name])

    def _compare_fills(self, rows: list[Row], notes: list[PositionedEvent], first: int, last: int) -> None:
        """Of the fills booked in between, those that were corrected later are compared as they were until
        then; the stretch of the correction compares them as they are."""
        if self._is_portion(FILL_BOOKINGS, rows, first, last):
            # The most frequent: nothing was corrected, neither here nor later.
            self._sums.add(rows, (), notes)
            return
        written = {row[0]: row for row in rows}
        kept = self._between(FILL_BOOKINGS, "position", first, last)
        if kept:
            self._portions[FILL_BOOKINGS.name, first // PORTION] = portion_digest(kept)
        then = [
            row if row[_CORRECTED_AT] is None or row[_CORRECTED_AT] <= last else _uncorrected(row)
            for row in kept
        ]
        booked = [written[position] for position in sorted(written) if position >= first]
        _expect_equal(FILL_BOOKINGS, booked, then)
        earlier = [written[position] for position in sorted(written) if position < first]
        there = self._with_keys(FILL_BOOKINGS, [row[0] for row in earlier])
        _expect_equal(FILL_BOOKINGS, earlier, sorted(there, key=itemgetter(0)))
        corrected = [row for row in written.values() if row[_CORRECTED_AT] is not None]
        self._counts[_CORRECTED] += len(corrected)
        self._sums.add(booked, corrected, notes)

    def _compare_orders(self) -> None:
        by_portion: dict[int, list[Row]] = {}
        for created, row in sorted(self._orders.items()):
            by_portion.setdefault(created // PORTION if created > self._after else -1, []).append(row)
        self._compare_some_orders(by_portion.pop(-1, []))
        for first, last in portions_between(self._after, self._last):
            rows = by_portion.get(first // PORTION, [])
            if self._is_portion(ORDERS, rows, first, last):
                self._counts[ORDERS.name] += len(rows)  # All of them ended where the stretch did, or before.
            else:
                self._compare_some_orders(rows)
                self._portions |= portion_digests(self._connection, (ORDERS,), first - 1, last)

    def _compare_some_orders(self, rows: list[Row]) -> None:
        """A row is compared once it is as the views have it: after the order's last event. Before that, it
        must at least be on its way there."""
        columns = list(ORDERS.columns)
        created, last = columns.index("created_position"), columns.index("last_position")
        kept = {row[created]: row for row in self._with_keys(ORDERS, [row[created] for row in rows])}
        for row in rows:
            there = kept.get(row[created])
            if there is None or there[last] < row[last]:
                raise Unproven("an order is missing, or was changed since")
            if there[last] == row[last]:
                _expect_equal(ORDERS, [row], [there])
                self._counts[ORDERS.name] += 1

    def _is_portion(self, table: Table, rows: list[Row], first: int, last: int) -> bool:
        """Whether these are the rows that a table holds in a portion; if so, their digest is noted."""
        digest = digest_if_equal(self._connection, table, first, last, rows)
        if digest is not None and rows:
            self._portions[table.name, first // PORTION] = digest
        return digest is not None

    def _between(self, table: Table, key: str, first: int, last: int) -> list[Row]:
        return self._connection.execute(
            f"SELECT {', '.join(table.columns)} FROM {table.name} WHERE {key} BETWEEN ? AND ? ORDER BY {key}",
            (first, last),
        ).fetchall()

    def _with_keys(self, table: Table, keys: list[object]) -> list[Row]:
        rows: list[Row] = []
        for start in range(0, len(keys), _KEYS_PER_LOOK):
            part = keys[start : start + _KEYS_PER_LOOK]
            rows += self._connection.execute(
                f"SELECT {', '.join(table.columns)} FROM {table.name} "
                f"WHERE {table.key[0]} IN ({', '.join('?' * len(part))})",
                part,
            )
        return rows

    def _checkpoint(self, row: Row) -> list[Row]:
        return self._connection.execute(
            f"SELECT {', '.join(POSITION_CHECKPOINTS.columns)} FROM {POSITION_CHECKPOINTS.name} "
            f"WHERE {' AND '.join(f'{column} = ?' for column in POSITION_CHECKPOINTS.key)}",
            (*row[:3], row[-1]),
        ).fetchall()


_CORRECTED_AT = list(FILL_BOOKINGS.columns).index("corrected_position")


def _uncorrected(row: Row) -> Row:
    """The row of a fill as long as it counted."""
    return (*row[:_CORRECTED_AT], *(None for _ in FILL_BOOKINGS.changing))


def _expect_equal(table: Table, rows: list[Row], kept: list[Row]) -> None:
    if rows != kept:
        raise Unproven(f"{table.name} differs")


def look_at_whole(views: Path, position: int) -> WholeViews:
    """Count and compare what no stretch can, of views that stand at a position. Raises `Unproven`, and the
    errors of a views file that cannot be read."""
    with _standing_at(views, position) as connection:
        corrected = connection.execute(
            f"SELECT count(*) FROM {FILL_BOOKINGS.name} NOT INDEXED WHERE corrected_position IS NOT NULL"
        ).fetchone()[0]
        _refuse_outside(connection, position)
        _refuse_twice(connection, some_corrected=bool(corrected))
        held = connection.execute(f"SELECT {', '.join(POSITIONS.columns)} FROM {POSITIONS.name}").fetchall()
        return WholeViews(
            positions=tuple(sorted(held)),
            counts={_CORRECTED: corrected}
            | {table.name: _count(connection, table.name) for table in _COUNTED},
            portions=portion_digests(
                connection, (table for table in TABLES if not is_by_position(table)), 0, position
            ),
        )


def _refuse_outside(views: sqlite3.Connection, position: int) -> None:
    for table in (*_ROW_PER_EVENT, FILL_BOOKINGS, PARKED):
        outside = "position < 1 OR position > ?" if table is not PARKED else "? > 0"
        if views.execute(f"SELECT 1 FROM {table.name} WHERE {outside} LIMIT 1", (position,)).fetchone():
            raise Unproven(f"{table.name} has rows that nothing accounts for")


def _refuse_twice(views: sqlite3.Connection, *, some_corrected: bool) -> None:
    for table in (FILL_BOOKINGS, FUNDING):
        (identity,) = table.unique
        distinct = f"(SELECT DISTINCT {', '.join(identity)} FROM {table.name} NOT INDEXED)"
        again = booked_again(views) if table is FILL_BOOKINGS and some_corrected else 0
        if again is None:
            raise Unproven("a fill counts twice")
        if (
            _count(views, table.name) - again
            != views.execute(f"SELECT count(*) FROM {distinct}").fetchone()[0]
        ):
            raise Unproven(f"{table.name} has one and the same twice")


def conclude(whole: WholeViews, position: int, proofs: Sequence[StretchProof]) -> str:
    """That views at a position hold what their stretches account for, and nothing else; returns their digest.

    `proofs` are those of all `stretches`, in their order. Raises `Unproven`.
    """
    positions: tuple[Row, ...] = ()
    clock = after = 0
    for proof in proofs:
        if (proof.after, proof.positions[0], proof.clock[0]) != (after, positions, clock):
            raise Unproven("a stretch does not begin where the one before it ends")
        after, positions, clock = proof.last, proof.positions[1], proof.clock[1]
    if after != position or whole.positions != positions:
        raise Unproven("the stretches do not end where the views stand")
    for name, held in whole.counts.items():
        if held != sum(proof.counts[name] for proof in proofs):
            raise Unproven(f"{name}: there are rows that nothing accounts for")
    portions = dict(whole.portions)
    for proof in proofs:
        portions |= proof.portions
    return combined_digest(position, portions)


def _count(views: sqlite3.Connection, table: str) -> int:
    # Not from an index, whose agreement with the table nobody has looked at.
    count: int = views.execute(f"SELECT count(*) FROM {table} NOT INDEXED").fetchone()[0]
    return count
