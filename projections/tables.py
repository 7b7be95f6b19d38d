"""The tables of the views: their columns, keys and indexes, and the statements that write them.

Numbers are canonical decimal texts (`domain.money.decimal_text`), times are integers in the unit that ends
their name, flags are 0 or 1, and fees are a JSON object of token to decimal text. Nothing is a float.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "ACCOUNT_EVENTS",
    "CHECKPOINT_EVERY",
    "CLAIMS",
    "DISCREPANCIES_FOUND",
    "DISCREPANCY_SETTLEMENTS",
    "FILLS",
    "FILL_BOOKINGS",
    "FUNDING",
    "LOG_CLOCK",
    "ORDERS",
    "ORDER_KEYS",
    "ORDER_TIMELINE",
    "PARKED",
    "POSITIONS",
    "POSITION_CHECKPOINTS",
    "SCHEMA_VERSION",
    "TABLES",
    "VIEWS",
    "Table",
    "discrepancies_select",
]

SCHEMA_VERSION = 5
"""Raised with every change of a table or of what a fold writes into it; older views are then built again."""

CHECKPOINT_EVERY = 1_024
"""Into stretches of how many positions the log is divided for questions about the past: none of them folds
more of the log than one stretch, besides the events of the orders that were in flight."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One table. A row is a tuple in the order of `columns`; its text and integer types are given there.

    Rows of a table with `changing` columns are written again under the same `key`, and only those columns
    change; of any other table rows are inserted once. `unique` guards the folds' own promises, among the rows
    that meet the condition `unique_among` (empty: all). `indexes` serve the queries and are made last when
    many rows are loaded at once: name, then columns, with ` WHERE …` for a partial one.
    """

    name: str
    columns: dict[str, type[str] | type[int]]
    nullable: frozenset[str] = frozenset()
    key: tuple[str, ...]
    changing: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    unique_among: str = ""
    indexes: tuple[tuple[str, str], ...] = ()

    def write_statement(self, rows: int = 1) -> str:
        """The statement that writes this many rows."""
        row = f"({', '.join('?' * len(self.columns))})"
        statement = f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES {', '.join([row] * rows)}"
        if self.changing:
            sets = ", ".join(f"{column} = excluded.{column}" for column in self.changing)
            statement += f" ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {sets}"
        return statement


ORDERS = Table(
    name="orders",
    columns={
        "created_position": int,
        "client_order_id": str,
        "exchange_order_id": str,
        "venue_order_key": str,
        "venue": str,
        "account": str,
        "trading_pair": str,
        "instrument": str,
        "order_type": str,
        "trade_type": str,
        "position_action": str,
        "time_in_force": str,
        "price": str,
        "trigger_price": str,
        "amount": str,
        "filled_amount": str,
        "average_fill_price": str,
        "remaining_amount": str,
        "missing_fill_amount": str,
        "fees": str,
        "state": str,
        "done": int,
        "outcome_unknown": int,
        "triggered": int,
        "reason_code": str,
        "reason": str,
        "tag": str,
        "parent_id": str,
        "external": int,
        "reference_price": str,
        "created_at_ns": int,
        "updated_at_ns": int,
        "version": int,
        "last_position": int,
        "span_node": int,
    },
    nullable=frozenset(
        {"exchange_order_id", "trigger_price", "average_fill_price", "parent_id", "reference_price"}
    ),
    key=("created_position",),
    changing=(
        "exchange_order_id",
        "price",
        "amount",
        "filled_amount",
        "average_fill_price",
        "remaining_amount",
        "missing_fill_amount",
        "fees",
        "state",
        "done",
        "outcome_unknown",
        "triggered",
        "reason_code",
        "reason",
        "updated_at_ns",
        "version",
        "last_position",
        "span_node",
    ),
    unique=(("client_order_id",),),
    indexes=(
        ("orders_live", "created_position, trading_pair WHERE done = 0"),
        ("orders_by_pair", "trading_pair, created_position"),
        ("orders_by_state", "state, created_position"),
        ("orders_by_tag", "tag, created_position WHERE tag <> ''"),
        ("orders_by_time", "created_at_ns"),
        ("orders_by_span", "span_node, created_position, last_position WHERE span_node <> 0"),
    ),
)
"""One row per order, as it stands at the views' position.

`span_node` files the positions from its first event to its last (`projections.spans`): by it the orders are
found that were different at a position in the past.
"""

ORDER_KEYS = Table(
    name="order_keys",
    columns={"key": str, "client_order_id": str, "kind": str},
    key=("key", "client_order_id"),
    changing=("kind",),
)
"""The ids an order can be found by besides its client id: all its exchange ids, and the venue's order key."""

FILL_BOOKINGS = Table(
    name="fill_bookings",
    columns={
        "position": int,
        "venue": str,
        "account": str,
        "fill_key": str,
        "trade_id": str,
        "client_order_id": str,
        "exchange_order_id": str,
        "trading_pair": str,
        "trade_type": str,
        "price": str,
        "amount": str,
        "fee": str,
        "fee_token": str,
        "builder_fee": str,
        "liquidity": str,
        "closed_pnl": str,
        "start_position": str,
        "direction": str,
        "liquidation": int,
        "transaction_hash": str,
        "exchange_time_ms": int,
        "recorded_at_ns": int,
        "source": str,
        "corrected_position": int,
        "corrected_at_ns": int,
    },
    nullable=frozenset(
        {
            "client_order_id",
            "builder_fee",
            "closed_pnl",
            "start_position",
            "corrected_position",
            "corrected_at_ns",
        }
    ),
    key=("position",),
    changing=("corrected_position", "corrected_at_ns"),
    unique=(("fill_key", "account", "venue"),),
    unique_among="corrected_position IS NULL",
    indexes=(
        ("fills_by_order", "client_order_id, position"),
        ("fills_by_pair", "trading_pair, position"),
        ("fills_by_time", "exchange_time_ms"),
        ("fills_corrected", "fill_key, position WHERE corrected_position IS NOT NULL"),
    ),
)
"""Every execution as it was booked, and from which position on it counts no more (NULL: it still counts),
because the venue's history says otherwise. What takes its place is a row of its own, at the position of the
correction. No two rows of one fill key count at the same time.

`client_order_id` is NULL for one that belongs to no order (liquidation, settlement). `closed_pnl` and
`start_position` are the venue's own figures, kept for checking.
"""

FILLS = "fills"
"""The view of the fills that count: one row per fill key."""

_FILLS_VIEW = (
    f"CREATE VIEW {FILLS} AS SELECT "
    + ", ".join(column for column in FILL_BOOKINGS.columns if not column.startswith("corrected_"))
    + f" FROM {FILL_BOOKINGS.name} WHERE corrected_position IS NULL"
)

POSITIONS = Table(
    name="positions",
    columns={
        "venue": str,
        "account": str,
        "trading_pair": str,
        "amount": str,
        "average_entry": str,
        "realised_pnl": str,
        "fees": str,
        "funding": str,
        "volume": str,
        "leverage": int,
        "is_cross": int,
        "entry_cost": str,
        "entry_amount": str,
        "unpriced_amount": str,
        "updated_at_ns": int,
        "last_position": int,
    },
    nullable=frozenset({"average_entry", "leverage", "entry_cost"}),
    key=("venue", "account", "trading_pair"),
    changing=(
        "amount",
        "average_entry",
        "realised_pnl",
        "fees",
        "funding",
        "volume",
        "leverage",
        "is_cross",
        "entry_cost",
        "entry_amount",
        "unpriced_amount",
        "updated_at_ns",
        "last_position",
    ),
)
"""One row per market of an account, with all that a `domain.position.Position` keeps, to resume from."""

POSITION_CHECKPOINTS = Table(
    name="position_checkpoints",
    columns=POSITIONS.columns,
    nullable=POSITIONS.nullable,
    key=("venue", "account", "trading_pair", "last_position"),
)
"""Rows of `positions` as they stood at the end of each stretch of the log that changed them, once a later
stretch changed them again. A position of the past is the latest of these before it, and what came after."""

LOG_CLOCK = Table(
    name="log_clock",
    columns={"stretch": int, "latest_recorded_at_ns": int},
    key=("stretch",),
    changing=("latest_recorded_at_ns",),
)
"""Per stretch of the log, the latest `recorded_at_ns` up to its end: never falls, so that a time finds its
position also where our clock was set back."""

FUNDING = Table(
    name="funding",
    columns={
        "position": int,
        "venue": str,
        "account": str,
        "trading_pair": str,
        "funding_key": str,
        "amount": str,
        "token": str,
        "rate": str,
        "position_size": str,
        "exchange_time_ms": int,
        "recorded_at_ns": int,
        "source": str,
    },
    nullable=frozenset({"exchange_time_ms"}),
    key=("position",),
    unique=(("funding_key", "account", "venue"),),
    indexes=(("funding_by_pair", "trading_pair, position"), ("funding_by_time", "exchange_time_ms")),
)
"""One row per funding payment; `amount` is the signed cash effect (negative: paid)."""

ORDER_TIMELINE = Table(
    name="order_timeline",
    columns={
        "position": int,
        "client_order_id": str,
        "version": int,
        "topic": str,
        "recorded_at_ns": int,
        "exchange_time_ms": int,
        "source": str,
        "causation": str,
        "correlation_id": str,
        "summary": str,
        "state": str,
    },
    nullable=frozenset({"exchange_time_ms", "state"}),
    key=("position",),
    indexes=(("order_timeline_by_order", "client_order_id, version"),),
)
"""One row per event of an order. `state` is the order's state after it; NULL once the order is parked."""

ACCOUNT_EVENTS = Table(
    name="account_events",
    columns={
        "position": int,
        "originator_id": str,
        "version": int,
        "topic": str,
        "venue": str,
        "account": str,
        "trading_pair": str,
        "recorded_at_ns": int,
        "exchange_time_ms": int,
        "source": str,
        "causation": str,
        "correlation_id": str,
        "summary": str,
        "detail": str,
    },
    nullable=frozenset({"exchange_time_ms", "trading_pair"}),
    key=("position",),
    indexes=(("account_events_by_topic", "topic, position"),),
)
"""One row per event of an account. `detail` is the venue's own record where the event carries one."""

DISCREPANCIES_FOUND = Table(
    name="discrepancies_found",
    columns={
        "position": int,
        "venue": str,
        "account": str,
        "discrepancy_id": str,
        "kind": str,
        "subject": str,
        "trading_pair": str,
        "ours": str,
        "theirs": str,
        "explanation": str,
        "evidence": str,
        "recorded_at_ns": int,
    },
    nullable=frozenset({"trading_pair"}),
    key=("position",),
    indexes=(("discrepancies_by_id", "discrepancy_id, position"),),
)
"""One row per finding: that the books and the venue differ. The same id comes again when the same difference
does, after it was repaired."""

DISCREPANCY_SETTLEMENTS = Table(
    name="discrepancy_settlements",
    columns={
        "position": int,
        "venue": str,
        "account": str,
        "discrepancy_id": str,
        "status": str,
        "reason": str,
        "actor": str,
        "repairs": str,
        "recorded_at_ns": int,
    },
    key=("position",),
    indexes=(("settlements_by_id", "discrepancy_id, position"),),
)
"""One row per repair or waiver of a finding; `repairs` names the events of a repair (a JSON array)."""


def discrepancies_select(until: int | None = None) -> str:
    """The statement that gives every finding with what became of it: by the last settlement of it before it
    was found again. `until` is the last position that counts; None for now."""
    found, settled, again = (
        "" if until is None else f" AND {name}.position <= {until}" for name in ("found", "settled", "again")
    )
    return f"""\
SELECT found.discrepancy_id, found.venue, found.account, found.kind, found.subject, found.trading_pair,
    found.ours, found.theirs, found.explanation, found.evidence, found.position AS found_position,
    found.recorded_at_ns AS found_at_ns, coalesce(settlement.status, 'open') AS status,
    settlement.position AS settled_position, settlement.recorded_at_ns AS settled_at_ns,
    coalesce(settlement.reason, '') AS reason, coalesce(settlement.actor, '') AS actor,
    coalesce(settlement.repairs, '[]') AS repairs
FROM {DISCREPANCIES_FOUND.name} AS found
LEFT JOIN {DISCREPANCY_SETTLEMENTS.name} AS settlement ON settlement.position = (
    SELECT max(settled.position) FROM {DISCREPANCY_SETTLEMENTS.name} AS settled
    WHERE settled.discrepancy_id = found.discrepancy_id AND settled.account = found.account
        AND settled.venue = found.venue AND settled.position > found.position{settled}
        AND NOT EXISTS (
            SELECT 1 FROM {DISCREPANCIES_FOUND.name} AS again
            WHERE again.discrepancy_id = found.discrepancy_id AND again.account = found.account
                AND again.venue = found.venue AND again.position > found.position
                AND again.position < settled.position{again}))
WHERE true{found}"""


VIEWS: tuple[str, ...] = (
    "CREATE VIEW open_orders AS SELECT * FROM orders WHERE done = 0",
    _FILLS_VIEW,
    f"CREATE VIEW discrepancies AS {discrepancies_select()}",
)
"""What the tables are asked for most: the orders that are not done (also those with an unknown outcome), the
fills that count, the findings with what became of them."""

PARKED = Table(
    name="parked",
    columns={"position": int, "view": str, "aggregate": str, "reason": str},
    key=("position", "view"),
)
"""Events that a view could not take, and why. A parked order stays as it was before that event."""

CLAIMS = "claims"
"""In `parked.view`: the venue stated a position that is not what the events up to there make it."""

TABLES: tuple[Table, ...] = (
    ORDERS,
    ORDER_KEYS,
    FILL_BOOKINGS,
    POSITIONS,
    FUNDING,
    ORDER_TIMELINE,
    ACCOUNT_EVENTS,
    DISCREPANCIES_FOUND,
    DISCREPANCY_SETTLEMENTS,
    PARKED,
    POSITION_CHECKPOINTS,
    LOG_CLOCK,
)
