"""What the views held at an earlier position of the log: only what has changed since is folded again.

A row that no event has touched since stands there as it was. The orders that were in flight then are found by
`projections.spans` and folded from their own events; the positions from their last checkpoint, with at most
one stretch of the log. Neither depends on how far back the position lies.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from domain.in_flight_order import InFlightOrder
from projections.errors import TimeBeforeLedgerError, ViewsUnavailableError
from projections.event_source import PastEventSource, PositionedEvent, UnreadableEvent
from projections.filters import Condition
from projections.order_fold import order_row
from projections.position_fold import PositionFold, moved_market
from projections.rows import OrderRow, PositionRow, typed_row
from projections.spans import nodes_around
from projections.tables import CHECKPOINT_EVERY, FILLS, FUNDING, ORDERS, POSITIONS

__all__ = ["OrderKey", "Past", "position_at", "recorded_at"]

OrderKey = tuple[int, str]
"""The position of an order's first event, and its client order id."""

_ORDERS_PER_LOOK = 500
_PATIENCE_S = 10.0


class Past:
    """The views of a connection as they stood at a position, which they have reached or passed.

    Used within one transaction of the connection: the rows must not move while it is asked.
    """

    def __init__(
        self, connection: sqlite3.Connection, source: PastEventSource, position: int, views_position: int
    ) -> None:
        self._connection = connection
        self._source = source
        self.position = position
        self._views_position = views_position
        self._folded: dict[int, OrderRow] = {}

    def in_flight(self, conditions: Sequence[Condition] = ()) -> list[OrderKey]:
        """The orders that had an event by then and another one since, newest first; of these, those that met
        conditions (`projections.filters.past_order_conditions`)."""
        nodes = list(nodes_around(self.position, self._views_position))
        terms = [
            # This term and the index's name: there are no statistics by which SQLite would choose it.
            ("span_node <> 0", []),
            (f"span_node IN ({', '.join('?' * len(nodes))})", nodes),
            ("created_position <= ? AND last_position > ?", [self.position, self.position]),
            *conditions,
        ]
        return self._connection.execute(
            "SELECT created_position, client_order_id FROM orders INDEXED BY orders_by_span "
            f"WHERE {' AND '.join(term for term, _ in terms)} ORDER BY created_position DESC",
            [value for _, values in terms for value in values],
        ).fetchall()

    def orders(self, keys: Sequence[OrderKey]) -> Iterator[OrderRow]:
        """Some of those `in_flight`, as they were then, in the same order. Folded as they are taken."""
        for start in range(0, len(keys), _ORDERS_PER_LOOK):
            part = keys[start : start + _ORDERS_PER_LOOK]
            missing = [client_order_id for created, client_order_id in part if created not in self._folded]
            events = self._source.events_until(missing, self.position) if missing else {}
            for created_position, client_order_id in part:
                row = self._folded.get(created_position)
                if row is None:
                    row = _folded(created_position, events[client_order_id])
                    self._folded[created_position] = row
                yield row

    @cached_property
    def positions(self) -> list[PositionRow]:
        """Every market that had been held by then, by venue, account and trading pair."""
        kept = self._checkpointed_rows()
        last = {key: row[-1] for key, row in kept.items()}
        fold = PositionFold(kept.values())
        stretch = self.position // CHECKPOINT_EVERY * CHECKPOINT_EVERY
        parked = self._parked_from(stretch)
        for position, event in self._events(max(stretch - 1, 0)):
            market = moved_market(event)
            if market is None or position in parked:
                continue
            if position > last.get((event.venue, event.account, market), 0):
                fold.apply(position, event)
        kept.update((row[:3], row) for row in fold.take_rows())
        return [
            typed_row(PositionRow, dict(zip(POSITIONS.columns, row, strict=True)))
            for _, row in sorted(kept.items())
        ]

    def _checkpointed_rows(self) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        """The last row of each market that stands at or before the position and is written down."""
        columns = ", ".join(POSITIONS.columns)
        kept = {}
        for row in self._connection.execute(f"SELECT {columns} FROM positions").fetchall():
            then = row
            if row[-1] > self.position:
                then = self._connection.execute(
                    f"SELECT {columns} FROM position_checkpoints WHERE venue = ? AND account = ? "
                    "AND trading_pair = ? AND last_position <= ? ORDER BY last_position DESC LIMIT 1",
                    (*row[:3], self.position),
                ).fetchone()
            if then is not None:
                kept[then[:3]] = then
        return kept

    def _parked_from(self, position: int) -> set[int]:
        """Where the stretch holds events that moved no position, because they could not be booked."""
        rows = self._connection.execute(
            "SELECT position FROM parked WHERE position BETWEEN ? AND ? AND view IN (?, ?, ?)",
            (position, self.position, FILLS, FUNDING.name, POSITIONS.name),
        )
        return {row[0] for row in rows}

    def _events(self, after: int) -> Iterator[PositionedEvent]:
        """The readable events after a position, up to this one."""
        lost: list[UnreadableEvent] = []
        subscription = self._source.subscribe(after, batch_size=CHECKPOINT_EVERY, on_unreadable=lost.append)
        try:
            reached = after
            while reached < self.position:
                batch = subscription.next_batch(_PATIENCE_S)
                if not batch and not lost:
                    raise ViewsUnavailableError(f"The ledger gave no events after position {reached}.")
                reached = max(
                    [reached, *(event.position or 0 for event in lost), *(at for at, _ in batch[-1:])]
                )
                lost.clear()
                yield from (positioned for positioned in batch if positioned[0] <= self.position)
        finally:
            subscription.close()


def _folded(created_position: int, events: Sequence[PositionedEvent]) -> OrderRow:
    order = InFlightOrder.fold([event for _, event in events])
    row = order_row(order, created_position, events[-1][0])
    return typed_row(OrderRow, dict(zip(ORDERS.columns, row, strict=True)))


def position_at(connection: sqlite3.Connection, time_ns: int, views_position: int) -> int:
    """The last position before the first event that was recorded after a time (nanoseconds UTC).

    So events stamped alike go together, and nothing in the answer is stamped later than the time asked for,
    also where our clock was once ahead and set back. Raises `TimeBeforeLedgerError`.
    """
    (stretch,) = connection.execute(
        "SELECT min(stretch) FROM log_clock WHERE latest_recorded_at_ns > ?", (time_ns,)
    ).fetchone()
    if stretch is None:
        position = views_position
    else:
        first = stretch * CHECKPOINT_EVERY
        bounds = (first, first + CHECKPOINT_EVERY - 1, time_ns)
        (later,) = connection.execute(
            "SELECT min(position) FROM (SELECT position FROM order_timeline WHERE position BETWEEN ?1 AND ?2 "
            "AND recorded_at_ns > ?3 UNION ALL SELECT position FROM account_events "
            "WHERE position BETWEEN ?1 AND ?2 AND recorded_at_ns > ?3)",
            bounds,
        ).fetchone()
        position = min(later - 1, views_position)
    if position < 1:
        raise TimeBeforeLedgerError(time_ns, recorded_at(connection, 1))
    return position


def recorded_at(connection: sqlite3.Connection, position: int) -> int | None:
    """When the event at a position was recorded (nanoseconds UTC); None where none can be read."""
    row: tuple[int] | None = connection.execute(
        "SELECT recorded_at_ns FROM order_timeline WHERE position = ?1 "
        "UNION ALL SELECT recorded_at_ns FROM account_events WHERE position = ?1",
        (position,),
    ).fetchone()
    return None if row is None else row[0]
