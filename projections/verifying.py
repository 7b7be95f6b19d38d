"""Whether a ledger folds, and whether its views are what the fold gives: everything built again and compared.

Nothing is written but a file in a temporary directory. The views may be live: what is compared is what they
held at one moment, against a rebuild up to the position they then stood at.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path

import msgspec

from domain.events import LedgerEvent
from domain.money import ZERO, decimal_text
from projections.building import OnProgress
from projections.canonical import views_digest
from projections.errors import ViewsError, ViewsMissingError, ViewsUnavailableError
from projections.event_source import EventSource, EventSubscription, OnUnreadable, PositionedEvent
from projections.follower import LOAD_BATCH, Follower
from projections.order_fold import Row
from projections.position_fold import is_claim
from projections.position_sums import MarketKey, joined, noted, position_sums
from projections.proving import StretchProof, Unproven, WholeViews, conclude
from projections.queries import ParkedRow
from projections.tables import CLAIMS, PARKED, POSITIONS, SCHEMA_VERSION, TABLES, Table
from projections.views_file import (
    EVENT_VOCABULARY,
    Progress,
    ViewsFile,
    connect_for_reading,
    read_progress,
    translated,
)

__all__ = ["PositionMismatch", "ViewsReport", "ViewsVerdict", "proven_report", "verify_views"]

_PATIENCE_S = 10.0


class ViewsVerdict(StrEnum):
    """What the views are, measured by a rebuild. Only `DIFFER` and `UNREADABLE` say that something is wrong:
    the other kinds are brought up to date, or built, by whoever next asks."""

    EQUAL = "equal"
    DIFFER = "differ"
    ABSENT = "absent"
    OUTDATED = "outdated"
    """Made by other folds than the ones known here."""
    UNREADABLE = "unreadable"


class PositionMismatch(msgspec.Struct, frozen=True, kw_only=True):
    """A market whose folded position is not what its opening balance and its fills add up to (base units)."""

    venue: str
    account: str
    trading_pair: str
    folded: Decimal
    fills: Decimal


class ViewsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What building everything again showed.

    `position` is how far was built, `digest` what the rebuilt views come to there. `parked` are the events
    that would not fold, in log order. `claims` counts the positions that the venue stated for checking,
    `contradicted` are those that the events up to there do not come to. `views_position` is where the
    compared views stood, `difference` the first place where they differ, or why they cannot be compared.
    """

    position: int
    digest: str
    markets: int
    parked: tuple[ParkedRow, ...]
    claims: int
    contradicted: tuple[ParkedRow, ...]
    mismatches: tuple[PositionMismatch, ...]
    views: ViewsVerdict
    views_position: int | None = None
    difference: str = ""

    @property
    def events_fold(self) -> bool:
        """Whether every event could be taken by every view that is made of it."""
        return not self.parked

    @property
    def views_ok(self) -> bool:
        """Whether nothing is wrong with the views; they may be absent or behind."""
        return self.views not in (ViewsVerdict.DIFFER, ViewsVerdict.UNREADABLE)


def verify_views(source: EventSource, views: Path, on_progress: OnProgress | None = None) -> ViewsReport:
    """Build the views of a ledger anew, check what came of it, and compare it with the views at a path.

    The rebuild goes as far as the ledger stands now. Raises `ViewsUnavailableError` when there is no room for
    it in the temporary directory.
    """
    with _kept(views) as (kept, found, why_not):
        views_position = None
        if kept is not None:
            with translated(views):
                progress = read_progress(kept)
            views_position = progress.position
            found, why_not = _comparable(progress, source)
        target = source.max_position
        with tempfile.TemporaryDirectory(prefix="orderledger-") as directory:
            built = Path(directory, views.name)
            notes: list[PositionedEvent] = []
            report_progress = on_progress or _nobody
            difference = why_not
            with ViewsFile.create(built, source.ledger_id) as file:
                if kept is not None and views_position is not None and found is ViewsVerdict.EQUAL:
                    _follow(source, file, views_position, notes, report_progress, target)
                    difference = _first_difference(views, kept, built)
                    if difference:
                        found = ViewsVerdict.DIFFER
                _follow(source, file, target, notes, report_progress, target)
            with closing(connect_for_reading(built)) as rebuilt, translated(built):
                parked = _parked(rebuilt)
                not_folded = [row for row in parked if row.view != CLAIMS]
                positions = _positions(rebuilt)
                not_moved = {row.position for row in parked if row.view == POSITIONS.name}
                mismatches = _mismatches(positions, position_sums(rebuilt, notes, not_moved))
            return ViewsReport(
                position=target,
                digest=views_digest(built),
                markets=len(positions),
                parked=tuple(not_folded),
                claims=_claims(notes),
                contradicted=tuple(row for row in parked if row.view == CLAIMS),
                mismatches=mismatches,
                views=found,
                views_position=views_position,
                difference=difference,
            )


def proven_report(
    views: Path, source: EventSource, whole: WholeViews, proofs: Sequence[StretchProof]
) -> ViewsReport:
    """What `verify_views` would say of views that stand where the ledger does, from the proofs of all their
    stretches and what they are as a whole (`projections.proving`), without building anything.

    Raises `Unproven` when it takes `verify_views` to tell, and the errors of a file that cannot be read.
    """
    with closing(connect_for_reading(views)) as kept, translated(views):
        kept.execute("BEGIN")
        progress = read_progress(kept)
        found, why_not = _comparable(progress, source)
        if found is not ViewsVerdict.EQUAL:
            raise Unproven(why_not)
        digest = conclude(whole, progress.position, proofs)
        positions = _positions(kept)
        notes = [at for proof in proofs for at in proof.notes]
        return ViewsReport(
            position=progress.position,
            digest=digest,
            markets=len(positions),
            parked=(),
            claims=_claims(notes),
            contradicted=(),
            mismatches=_mismatches(positions, joined(proof.sums for proof in proofs)),
            views=found,
            views_position=progress.position,
        )


@contextmanager
def _kept(views: Path) -> Iterator[tuple[sqlite3.Connection | None, ViewsVerdict, str]]:
    """The views as they are at this moment, for as long as the comparison takes."""
    try:
        connection = connect_for_reading(views)
    except ViewsMissingError:
        yield None, ViewsVerdict.ABSENT, ""
        return
    except ViewsError as error:
        yield None, ViewsVerdict.UNREADABLE, str(error)
        return
    with closing(connection):
        with translated(views):
            connection.execute("BEGIN")
        yield connection, ViewsVerdict.EQUAL, ""


def _comparable(progress: Progress, source: EventSource) -> tuple[ViewsVerdict, str]:
    """`EQUAL` as far as what the views were made from goes, else why a comparison would tell nothing."""
    if (progress.schema_version, progress.event_vocabulary) != (SCHEMA_VERSION, EVENT_VOCABULARY):
        return ViewsVerdict.OUTDATED, "made by another version of this program"
    if progress.ledger_id != source.ledger_id:
        return ViewsVerdict.DIFFER, f"made from another ledger, {progress.ledger_id}"
    if progress.position > source.max_position:
        return (
            ViewsVerdict.DIFFER,
            f"they stand at position {progress.position}, the ledger ends at {source.max_position}",
        )
    if source.hash_at(progress.position) != progress.log_hash:
        return ViewsVerdict.DIFFER, f"made from another log: its hash at {progress.position} is another one"
    return ViewsVerdict.EQUAL, ""


# Building, and what is noted while the events go by


class _Bounded:
    """A ledger up to one position, each of whose events is shown to somebody else on its way."""

    def __init__(
        self, source: EventSource, target: int, seen: Callable[[Sequence[PositionedEvent]], None]
    ) -> None:
        self._source = source
        self._target = target
        self._seen = seen
        self.ledger_id = source.ledger_id
        self.max_position = target

    def hash_at(self, position: int) -> str:
        return self._source.hash_at(position)

    def events_of(self, originator_id: str, before_version: int) -> Sequence[LedgerEvent]:
        return self._source.events_of(originator_id, before_version)

    def subscribe(
        self, after_position: int, *, batch_size: int, on_unreadable: OnUnreadable
    ) -> EventSubscription:
        room = max(1, min(batch_size, self._target - after_position))
        return _BoundedSubscription(
            self._source.subscribe(after_position, batch_size=room, on_unreadable=on_unreadable),
            self._target,
            self._seen,
        )


class _BoundedSubscription:
    def __init__(
        self,
        subscription: EventSubscription,
        target: int,
        seen: Callable[[Sequence[PositionedEvent]], None],
    ) -> None:
        self._subscription = subscription
        self._target = target
        self._seen = seen

    def next_batch(self, timeout: float | None = None) -> Sequence[PositionedEvent]:
        batch = self._subscription.next_batch(timeout)
        if batch and batch[-1][0] > self._target:
            batch = [(position, event) for position, event in batch if position <= self._target]
        self._seen(batch)
        return batch

    @property
    def closed(self) -> bool:
        return self._subscription.closed

    def close(self) -> None:
        self._subscription.close()


def _nobody(_position: int, _target: int) -> None:
    """For whom nobody watches."""


def _follow(
    source: EventSource,
    file: ViewsFile,
    until: int,
    notes: list[PositionedEvent],
    on_progress: OnProgress,
    target: int,
) -> None:
    bounded = _Bounded(source, until, lambda batch: notes.extend(noted(batch)))
    with Follower(bounded, file, batch_size=LOAD_BATCH) as follower:
        while follower.position < until:
            if not follower.step(_PATIENCE_S):
                raise ViewsUnavailableError(
                    f"The ledger gave no events after position {follower.position}, "
                    f"although it reached {until}."
                )
            on_progress(follower.position, target)


# Comparing


def _first_difference(views: Path, kept: sqlite3.Connection, built: Path) -> str:
    """The first row in which the views differ from what was built, in words; empty when none does."""
    with closing(connect_for_reading(built)) as rebuilt, translated(views):
        for table in TABLES:
            for kept_row, rebuilt_row in zip_longest(_rows(kept, table), _rows(rebuilt, table)):
                if kept_row != rebuilt_row:
                    return _difference(table, kept_row, rebuilt_row)
    return ""


def _rows(connection: sqlite3.Connection, table: Table) -> Iterable[Row]:
    return connection.execute(
        f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {', '.join(table.key)}"
    )


def _difference(table: Table, kept: Row | None, rebuilt: Row | None) -> str:
    columns = tuple(table.columns)

    def key_of(row: Row) -> tuple[object, ...]:
        return tuple(row[columns.index(name)] for name in table.key)

    def named(row: Row) -> str:
        return ", ".join(f"{name} {value}" for name, value in zip(table.key, key_of(row), strict=True))

    if kept is not None and rebuilt is not None and key_of(kept) == key_of(rebuilt):
        for name, has, should in zip(columns, kept, rebuilt, strict=True):
            if has != should:
                return f"{table.name}, {named(rebuilt)}: {name} is {has!r} and should be {should!r}"
    if rebuilt is not None and (kept is None or key_of(rebuilt) < key_of(kept)):
        return f"{table.name}: the row of {named(rebuilt)} is missing"
    assert kept is not None, "two rows that differ are not both absent"
    return f"{table.name}: the row of {named(kept)} should not be there"


# Fills and positions


def _parked(connection: sqlite3.Connection) -> list[ParkedRow]:
    return [
        ParkedRow(position=position, view=view, aggregate=aggregate, reason=reason)
        for position, view, aggregate, reason in _rows(connection, PARKED)
    ]


def _claims(notes: Iterable[PositionedEvent]) -> int:
    return sum(is_claim(event) for _, event in notes)


def _positions(connection: sqlite3.Connection) -> dict[MarketKey, Decimal]:
    rows = connection.execute(f"SELECT venue, account, trading_pair, amount FROM {POSITIONS.name}")
    return {(venue, account, pair): Decimal(amount) for venue, account, pair, amount in rows}


def _mismatches(
    positions: dict[MarketKey, Decimal], sums: dict[MarketKey, Decimal]
) -> tuple[PositionMismatch, ...]:
    return tuple(
        PositionMismatch(venue=key[0], account=key[1], trading_pair=key[2], folded=folded, fills=fills)
        for key in sorted(positions.keys() | sums.keys())
        if decimal_text(folded := positions.get(key, ZERO)) != decimal_text(fills := sums.get(key, ZERO))
    )
