"""Questions to the views, answered with typed rows: what the reading commands show, for any program.

`Views` reads a file that another process may be writing. Each answer is from one moment; answers that must be
from the same moment are asked within `with views.frozen():`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from domain.enums import (
    Liquidity,
    OrderState,
    OrderType,
    PositionAction,
    Source,
    TimeInForce,
    TradeType,
)
from projections.errors import AmbiguousOrderError, OrderNotInViewsError
from projections.tables import FILLS, ORDER_TIMELINE, ORDERS, PARKED, POSITIONS, Table
from projections.views_file import connect_for_reading, read_progress, translated

__all__ = [
    "FillRow",
    "OrderHistory",
    "OrderRow",
    "ParkedRow",
    "PositionRow",
    "TimelineRow",
    "Views",
]

_CANDIDATES = 10
_LAST_CHARACTER = "\U0010ffff"


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the views hold it. Amounts in base units, prices in quote units per base unit; `fees` maps
    a token to what was paid (negative: received). Times are integer nanoseconds UTC.

    `missing_fill_amount`: what the venue says was filled and no fill has shown yet. `outcome_unknown`: a
    request about it is out with an unknown fate. `created_position` and `last_position` are the places of its
    first and last event in the log.
    """

    client_order_id: str
    exchange_order_id: str | None
    venue_order_key: str
    venue: str
    account: str
    trading_pair: str
    instrument: str
    order_type: OrderType
    trade_type: TradeType
    position_action: PositionAction
    time_in_force: TimeInForce
    price: Decimal
    trigger_price: Decimal | None
    amount: Decimal
    filled_amount: Decimal
    average_fill_price: Decimal | None
    remaining_amount: Decimal
    missing_fill_amount: Decimal
    fees: dict[str, Decimal]
    state: OrderState
    done: bool
    outcome_unknown: bool
    triggered: bool
    reason_code: str
    reason: str
    tag: str
    parent_id: str | None
    external: bool
    reference_price: Decimal | None
    created_at_ns: int
    updated_at_ns: int
    version: int
    created_position: int
    last_position: int


class FillRow(msgspec.Struct, frozen=True, kw_only=True):
    """One execution. `fee` is positive when paid. `client_order_id` is None when it belongs to no order.

    `closed_pnl` and `start_position` are the venue's own figures; `exchange_time_ms` is its time.
    """

    position: int
    venue: str
    account: str
    fill_key: str
    trade_id: str
    client_order_id: str | None
    exchange_order_id: str
    trading_pair: str
    trade_type: TradeType
    price: Decimal
    amount: Decimal
    fee: Decimal
    fee_token: str
    builder_fee: Decimal | None
    liquidity: Liquidity
    closed_pnl: Decimal | None
    start_position: Decimal | None
    direction: str
    liquidation: bool
    transaction_hash: str
    exchange_time_ms: int
    recorded_at_ns: int
    source: Source


class PositionRow(msgspec.Struct, frozen=True, kw_only=True):
    """What an account holds of one market: signed base units (negative: short), average entry and realised
    profit before fees and funding in quote units.

    `average_entry` is None when flat or not known. `unpriced_amount` was closed at an entry that nobody told,
    so its profit is not in `realised_pnl`. `entry_cost / entry_amount` is the average entry, unrounded.
    """

    venue: str
    account: str
    trading_pair: str
    amount: Decimal
    average_entry: Decimal | None
    realised_pnl: Decimal
    fees: dict[str, Decimal]
    funding: Decimal
    volume: Decimal
    leverage: int | None
    is_cross: bool
    entry_cost: Decimal | None
    entry_amount: Decimal
    unpriced_amount: Decimal
    updated_at_ns: int
    last_position: int


class TimelineRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event of an order: where it stands in the log, what it says, and the order's state after it (None
    from an event on that could not be folded)."""

    position: int
    client_order_id: str
    version: int
    topic: str
    recorded_at_ns: int
    exchange_time_ms: int | None
    source: Source
    causation: str
    correlation_id: str
    summary: str
    state: OrderState | None


class ParkedRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a view could not take. An order parked in the view `orders` stays as it was before it."""

    position: int
    view: str
    aggregate: str
    reason: str


class OrderHistory(msgspec.Struct, frozen=True, kw_only=True):
    """An order and all that happened to it. `order` is None when not even its first event could be folded."""

    client_order_id: str
    order: OrderRow | None
    events: list[TimelineRow]
    fills: list[FillRow]


_Row = TypeVar("_Row", OrderRow, FillRow, PositionRow, TimelineRow, ParkedRow)

_TABLE_OF: dict[type[msgspec.Struct], Table] = {
    OrderRow: ORDERS,
    FillRow: FILLS,
    PositionRow: POSITIONS,
    TimelineRow: ORDER_TIMELINE,
    ParkedRow: PARKED,
}


class Views:
    """A views file, open for questions. Any thread may use it, one at a time."""

    def __init__(self, path: Path) -> None:
        """Raises `ViewsMissingError`, `NotViewsError`, `NewerViewsError`, `DamagedViewsError`."""
        self.path = path
        self._connection = connect_for_reading(path)

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
        """Answer everything asked inside from the same moment."""
        with translated(self.path):
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            with translated(self.path):
                self._connection.execute("COMMIT")

    @property
    def ledger_id(self) -> str:
        """Which ledger the views were made from."""
        with translated(self.path):
            return read_progress(self._connection).ledger_id

    @property
    def position(self) -> int:
        """The position of the log that the views stand at."""
        with translated(self.path):
            return read_progress(self._connection).position

    def orders(
        self,
        *,
        trading_pair: str | None = None,
        states: Iterable[OrderState] = (),
        limit: int | None = None,
    ) -> list[OrderRow]:
        """Orders, oldest first; with a `limit` the newest ones. `states` empty: every state."""
        conditions: list[tuple[str, Sequence[object]]] = []
        if trading_pair is not None:
            conditions.append(("trading_pair = ?", [trading_pair]))
        if wanted := [str(state) for state in states]:
            conditions.append((f"state IN ({', '.join('?' * len(wanted))})", wanted))
        return self._select(OrderRow, conditions, "created_position", limit)

    def open_orders(self, *, trading_pair: str | None = None, limit: int | None = None) -> list[OrderRow]:
        """Orders that are not done, oldest first: also those whose outcome is unknown."""
        conditions: list[tuple[str, Sequence[object]]] = [("done = 0", ())]
        if trading_pair is not None:
            conditions.append(("trading_pair = ?", [trading_pair]))
        return self._select(OrderRow, conditions, "created_position", limit)

    def fills(
        self,
        *,
        trading_pair: str | None = None,
        client_order_id: str | None = None,
        limit: int | None = None,
    ) -> list[FillRow]:
        """Fills in the order they were booked; with a `limit` the latest ones."""
        conditions: list[tuple[str, Sequence[object]]] = []
        if trading_pair is not None:
            conditions.append(("trading_pair = ?", [trading_pair]))
        if client_order_id is not None:
            conditions.append(("client_order_id = ?", [client_order_id]))
        return self._select(FillRow, conditions, "position", limit)

    def positions(self, *, trading_pair: str | None = None) -> list[PositionRow]:
        """Every market that was ever held, also those that are flat now."""
        conditions: list[tuple[str, Sequence[object]]] = []
        if trading_pair is not None:
            conditions.append(("trading_pair = ?", [trading_pair]))
        return self._select(PositionRow, conditions, "venue, account, trading_pair", None)

    def order(self, client_order_id: str) -> OrderRow | None:
        """One order by its client id; None when there is none."""
        rows = self._select(OrderRow, [("client_order_id = ?", [client_order_id])], "created_position", None)
        return rows[0] if rows else None

    def timeline(self, client_order_id: str) -> list[TimelineRow]:
        """Every event of one order, first to last."""
        return self._select(TimelineRow, [("client_order_id = ?", [client_order_id])], "version", None)

    def history(self, client_order_id: str) -> OrderHistory:
        """One order with its events and fills, from one moment."""
        with self.frozen():
            return OrderHistory(
                client_order_id=client_order_id,
                order=self.order(client_order_id),
                events=self.timeline(client_order_id),
                fills=self.fills(client_order_id=client_order_id),
            )

    def parked(self) -> list[ParkedRow]:
        """What could not be folded, in log order. Empty unless something is wrong with an event."""
        return self._select(ParkedRow, [], "position, view", None)

    def find_order(self, key: str) -> str:
        """The client order id meant by a client id, an exchange id, a venue's order key, or by the beginning
        of one. What matches whole goes before what only begins so.

        Raises `OrderNotInViewsError`, and `AmbiguousOrderError` when more than one order is meant.
        """
        found = self._ids_where("= ?", [key]) if key else []
        if not found and key:
            found = self._ids_where("BETWEEN ? AND ?", [key, key + _LAST_CHARACTER])
        if not found:
            raise OrderNotInViewsError(key)
        if len(found) > 1:
            raise AmbiguousOrderError(key, tuple(found[:_CANDIDATES]), more=len(found) > _CANDIDATES)
        return found[0]

    def _ids_where(self, condition: str, parameters: list[str]) -> list[str]:
        statement = (
            f"SELECT client_order_id FROM orders WHERE client_order_id {condition} "
            f"UNION SELECT client_order_id FROM order_keys WHERE key {condition} "
            f"UNION SELECT aggregate FROM parked WHERE view IN ('orders', 'all') AND aggregate {condition} "
            f"ORDER BY client_order_id LIMIT {_CANDIDATES + 1}"
        )
        with translated(self.path):
            return [row[0] for row in self._connection.execute(statement, 3 * parameters)]

    def _select(
        self,
        kind: type[_Row],
        conditions: Sequence[tuple[str, Sequence[object]]],
        order_by: str,
        limit: int | None,
    ) -> list[_Row]:
        table = _TABLE_OF[kind]
        statement = f"SELECT {', '.join(table.columns)} FROM {table.name}"
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
        names = tuple(table.columns)
        return [_typed(kind, dict(zip(names, row, strict=True))) for row in rows]


def _typed(kind: type[_Row], named: dict[str, Any]) -> _Row:
    fees = named.get("fees")
    if fees is not None:
        named["fees"] = msgspec.json.decode(fees)
    return msgspec.convert(named, kind, strict=False)
