"""Questions to the views, answered with typed rows: what the reading commands show, for any program.

`Views` reads a file that another process may be writing. Each answer is from one moment; answers that must be
from the same moment are asked within `with views.frozen():`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from projections.as_of import Past, position_at, recorded_at
from projections.errors import (
    AmbiguousOrderError,
    OrderNotInViewsError,
    OtherLedgerError,
    PositionNotInViewsError,
    TimeBeforeLedgerError,
)
from projections.event_source import PastEventSource
from projections.filters import (
    Condition,
    Filter,
    discrepancy_conditions,
    fill_conditions,
    funding_conditions,
    order_conditions,
    past_order_conditions,
    position_matches,
    timeline_conditions,
)
from projections.rows import (
    SOURCE_OF,
    DiscrepancyRow,
    FillBooking,
    FillRow,
    FundingRow,
    OrderHistory,
    OrderRow,
    ParkedRow,
    PositionRow,
    Row,
    TimelineRow,
    json_columns,
    row_decoder,
)
from projections.strategy_book import book_of
from projections.tables import CLAIMS, discrepancies_select
from projections.views_file import connect_for_reading, read_progress, translated

__all__ = [
    "DiscrepancyRow",
    "FillRow",
    "FundingRow",
    "OrderHistory",
    "OrderRow",
    "ParkedRow",
    "PositionRow",
    "TimelineRow",
    "Views",
]

_CANDIDATES = 10
_LAST_CHARACTER = "\U0010ffff"


class Views:
    """A views file, open for questions. Any thread may use it, one at a time."""

    def __init__(self, path: Path) -> None:
        """Raises `ViewsMissingError`, `NotViewsError`, `NewerViewsError`, `DamagedViewsError`."""
        self.path = path
        self._connection = connect_for_reading(path)
        self._past: Past | None = None

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Answer everything asked inside from the same moment. May be nested."""
        if self._connection.in_transaction:
            yield
            return
        with translated(self.path):
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            with translated(self.path):
                self._connection.execute("COMMIT")

    @contextmanager
    def at(self, position: int, source: PastEventSource) -> Iterator[Views]:
        """The views as they stood at a position of the log, for the length of the block: every answer is what
        views of the events up to there would give. `source` is the ledger they were made from.

        An order can still be asked for by the ids it was given later. Raises `PositionNotInViewsError`, and
        `OtherLedgerError` for the wrong ledger.
        """
        with self.frozen():
            end = self.position
            with translated(self.path):
                last = read_progress(self._connection).position
            if self.ledger_id != source.ledger_id:
                raise OtherLedgerError(self.path, self.ledger_id, source.ledger_id)
            if not 1 <= position <= end:
                raise PositionNotInViewsError(position, end)
            then = copy(self)
            then._past = Past(self._connection, source, position, last)
            yield then

    @property
    def ledger_id(self) -> str:
        """Which ledger the views were made from."""
        with translated(self.path):
            return read_progress(self._connection).ledger_id

    @property
    def position(self) -> int:
        """The position of the log that the views stand at, or stood at (`at`)."""
        if self._past is not None:
            return self._past.position
        with translated(self.path):
            return read_progress(self._connection).position

    def position_at(self, time_ns: int) -> int:
        """The position a time (nanoseconds UTC) means: the last before the first event that was recorded
        after it. Log order is the authority: nothing up to there is stamped later.

        Raises `TimeBeforeLedgerError` for a time before the first event.
        """
        with self.frozen(), translated(self.path):
            return position_at(self._connection, time_ns, self.position)

    def position_before(self, time_ns: int) -> int:
        """The last position before the first event that was recorded at a time (nanoseconds UTC) or later; 0
        when nothing had been recorded before it."""
        with self.frozen(), translated(self.path):
            try:
                return position_at(self._connection, time_ns - 1, self.position)
            except TimeBeforeLedgerError:
                return 0

    def recorded_at(self, position: int) -> int | None:
        """When the event at a position was recorded (nanoseconds UTC); None where none can be read."""
        with translated(self.path):
            return recorded_at(self._connection, position)

    def orders(self, *, limit: int | None = None, **wanted: Unpack[Filter]) -> list[OrderRow]:
        """Orders, oldest first; with a `limit` the newest ones."""
        return self._orders([], limit, wanted)

    def open_orders(self, *, limit: int | None = None, **wanted: Unpack[Filter]) -> list[OrderRow]:
        """Orders that are not done, oldest first: also those whose outcome is unknown."""
        return self._orders([], limit, wanted, only_open=True)

    def fills(
        self, *, client_order_id: str | None = None, limit: int | None = None, **wanted: Unpack[Filter]
    ) -> list[FillRow]:
        """The fills that count, in the order they were booked (what corrects another one: when it did); with
        a `limit` the latest ones. `states` has no meaning."""
        conditions = [self._counts(), *fill_conditions(**wanted)]
        if client_order_id is not None:
            conditions.append(("client_order_id = ?", [client_order_id]))
        return self._select(FillRow, self._until_now(conditions), "position", limit)

    def fills_taken_back(self, **wanted: Unpack[Filter]) -> list[FillRow]:
        """The fills that were booked and count no more, because the venue's history says otherwise. With
        `after_position` those that counted at that position."""
        after = wanted.pop("after_position", None)
        conditions: list[Condition] = [("corrected_position IS NOT NULL", []), *fill_conditions(**wanted)]
        if self._past is not None:
            conditions.append(("corrected_position <= ?", [self._past.position]))
        if after is not None:
            conditions.append(("position <= ? AND corrected_position > ?", [after, after]))
        return self._select(FillRow, conditions, "position", None)

    def discrepancies(
        self, *, only_open: bool = False, limit: int | None = None, **wanted: Unpack[Filter]
    ) -> list[DiscrepancyRow]:
        """What reconciliations found, in the order of the log, and what became of it; with a `limit` the
        latest findings. `only_open`: neither repaired nor waived. `states` and `tag` have no meaning."""
        conditions = discrepancy_conditions(**wanted)
        if only_open:
            conditions.append(("status = 'open'", []))
        source = None if self._past is None else f"({discrepancies_select(self._past.position)})"
        return self._select(DiscrepancyRow, conditions, "found_position", limit, source=source)

    def funding(self, *, limit: int | None = None, **wanted: Unpack[Filter]) -> list[FundingRow]:
        """Funding payments in the order they were booked; with a `limit` the latest ones. `states` and `tag`
        have no meaning."""
        return self._select(FundingRow, self._until_now(funding_conditions(**wanted)), "position", limit)

    def positions(self, **wanted: Unpack[Filter]) -> list[PositionRow]:
        """Every market that was ever held, also those that are flat now; with a `tag`, what the fills of its
        orders come to alone, without funding. `states` has no meaning."""
        if wanted.get("tag") is not None:
            # All fills of the tag: times are those of the position that they make.
            conditions = fill_conditions(tag=wanted["tag"], trading_pair=wanted.get("trading_pair"))
            bookings = self._select(FillBooking, self._until_now(conditions), "position", None)
            rows = book_of(bookings, None if self._past is None else self._past.position)
        elif self._past is None:
            rows = self._select(PositionRow, [], "venue, account, trading_pair", None)
        else:
            with translated(self.path):
                rows = self._past.positions
        return [row for row in rows if position_matches(row, **wanted)]

    def earlier(self, orders: Iterable[OrderRow]) -> dict[str, OrderRow]:
        """Of a moment in the past (`at`): these orders, which had further events since, as they were then, by
        client order id. Those that did not exist yet are left out."""
        if self._past is None:
            return {}
        keys = [
            (order.created_position, order.client_order_id)
            for order in orders
            if order.created_position <= self._past.position
        ]
        with translated(self.path):
            return {order.client_order_id: order for order in self._past.orders(keys)}

    def acknowledgement_times_ns(self) -> dict[str, int]:
        """By client order id, how long it took from when the first request was about to leave until the venue
        was first heard to have the order (acknowledged, or filled at once), by our clock."""
        sent, heard = "topic = 'order.submitted'", "topic IN ('order.acknowledged', 'order.filled')"
        conditions = "" if self._past is None else f" AND position <= {self._past.position}"
        with translated(self.path):
            rows = self._connection.execute(
                f"SELECT client_order_id, min(recorded_at_ns) FILTER (WHERE {heard}) "
                f"- min(recorded_at_ns) FILTER (WHERE {sent}) AS elapsed_ns FROM order_timeline "
                f"WHERE ({sent} OR {heard}){conditions} GROUP BY client_order_id HAVING elapsed_ns >= 0"
            )
            return dict(rows.fetchall())

    def order(self, client_order_id: str) -> OrderRow | None:
        """One order by its client id; None when there is none."""
        rows = self._orders([("client_order_id = ?", [client_order_id])], None, {})
        return rows[0] if rows else None

    def timeline(self, client_order_id: str, **wanted: Unpack[Filter]) -> list[TimelineRow]:
        """Every event of one order, first to last. Of the filters, `states` (after the event) and times
        count."""
        conditions = [("client_order_id = ?", [client_order_id]), *timeline_conditions(**wanted)]
        return self._select(TimelineRow, self._until_now(conditions), "version", None)

    def history(self, client_order_id: str, **wanted: Unpack[Filter]) -> OrderHistory:
        """One order with its events and fills, from one moment. Filters as for `timeline` and `fills`."""
        with self.frozen():
            return OrderHistory(
                client_order_id=client_order_id,
                order=self.order(client_order_id),
                events=self.timeline(client_order_id, **wanted),
                fills=self.fills(client_order_id=client_order_id, **wanted),
            )

    def parked(self) -> list[ParkedRow]:
        """What could not be folded, in log order. Empty unless something is wrong with an event."""
        return self._select(ParkedRow, self._until_now([("view <> ?", [CLAIMS])]), "position, view", None)

    def contradicted(self) -> list[ParkedRow]:
        """The positions that the venue stated and that are not what the events up to there come to, in log
        order. Empty unless something is missing from the log."""
        return self._select(ParkedRow, self._until_now([("view = ?", [CLAIMS])]), "position", None)

    def find_order(self, key: str) -> str:
        """The client order id meant by a client id, an exchange id, a venue's order key, or by the beginning
        of one. What matches whole goes before what only begins so.

        Raises `OrderNotInViewsError`, and `AmbiguousOrderError` when more than one order is meant.
        """
        found = self._ids_where("= ?", [key]) if key else []
        if not found and key:
            found = self._ids_where("BETWEEN ? AND ?", [key, key + _LAST_CHARACTER])
        if not found:
            raise OrderNotInViewsError(key, None if self._past is None else self._past.position)
        if len(found) > 1:
            raise AmbiguousOrderError(key, tuple(found[:_CANDIDATES]), more=len(found) > _CANDIDATES)
        return found[0]

    def _ids_where(self, condition: str, parameters: list[object]) -> list[str]:
        statement = (
            f"SELECT client_order_id FROM orders WHERE client_order_id {condition} "
            f"UNION SELECT client_order_id FROM order_keys WHERE key {condition} "
            f"UNION SELECT aggregate FROM parked WHERE view IN ('orders', 'all') AND aggregate {condition} "
        )
        parameters = 3 * parameters
        if self._past is not None:
            statement = (
                f"SELECT client_order_id FROM ({statement}) AS named WHERE EXISTS (SELECT 1 FROM "
                "order_timeline WHERE client_order_id = named.client_order_id AND position <= ?) "
                "OR EXISTS (SELECT 1 FROM parked WHERE aggregate = named.client_order_id AND position <= ?) "
            )
            parameters = [*parameters, self._past.position, self._past.position]
        statement += f"ORDER BY client_order_id LIMIT {_CANDIDATES + 1}"
        with translated(self.path):
            return [row[0] for row in self._connection.execute(statement, parameters)]

    def _counts(self) -> Condition:
        if self._past is None:
            return "corrected_position IS NULL", []
        return "(corrected_position IS NULL OR corrected_position > ?)", [self._past.position]

    def _until_now(self, conditions: list[Condition]) -> list[Condition]:
        if self._past is None:
            return conditions
        return [*conditions, ("position <= ?", [self._past.position])]

    def _orders(
        self, lasting: list[Condition], limit: int | None, wanted: Filter, *, only_open: bool = False
    ) -> list[OrderRow]:
        conditions = [*lasting, *order_conditions(**wanted)]
        if only_open:
            conditions.append(("done = 0", []))
        if self._past is None:
            return self._select(OrderRow, conditions, "created_position", limit)
        now = self._past.position
        conditions.append(("created_position <= ? AND last_position <= ?", [now, now]))
        settled = self._select(OrderRow, conditions, "created_position", limit)
        with translated(self.path):
            keys = self._past.in_flight([*lasting, *past_order_conditions(now, **wanted)])
            if limit is not None and len(settled) >= limit:
                # An older one would not be among the newest.
                keys = [key for key in keys if key[0] > settled[-limit].created_position]
            moving = (order for order in self._past.orders(keys) if not (only_open and order.done))
            rows = sorted([*settled, *islice(moving, limit)], key=lambda order: order.created_position)
        return rows if limit is None else rows[-limit:]

    def _select(
        self,
        kind: type[Row],
        conditions: Sequence[Condition],
        order_by: str,
        limit: int | None,
        *,
        source: str | None = None,
    ) -> list[Row]:
        statement = f"SELECT {json_columns(kind)} FROM {source or SOURCE_OF[kind]}"
        if conditions:
            statement += f" WHERE {' AND '.join(condition for condition, _ in conditions)}"
        parameters: list[object] = [value for _, values in conditions for value in values]
        if limit is None:
            statement += f" ORDER BY {order_by}"
        else:
            statement += f" ORDER BY {order_by} DESC LIMIT ?"
            parameters.append(limit)
        with translated(self.path):
            rows = self._connection.execute(statement, parameters).fetchall()
        if limit is not None:
            rows.reverse()
        decode = row_decoder(kind)
        return [decode(row) for (row,) in rows]
