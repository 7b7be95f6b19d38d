"""What a starting process needs from the views to continue where the log stands."""

from __future__ import annotations

from pathlib import Path

import msgspec

from domain.position import Position
from projections.position_fold import position_from_row
from projections.tables import POSITIONS
from projections.views_file import connect_for_reading, translated

__all__ = ["RECENT_ROWS", "SessionState", "read_session_state"]

RECENT_ROWS = 20_000
"""How many of the latest fills and funding payments are remembered by key: more than the venue hands out
again (sheet 5.5: the last 10,000 fills), so that no snapshot of the past is booked twice."""

_MISSING_FILLS_ROWS = 1_000


class SessionState(msgspec.Struct, frozen=True, kw_only=True):
    """Open orders (by client id), positions, and the keys of what was booked last, of one account.

    `last_*_time_ms` are venue times, 0 where nothing was booked.
    """

    unfinished_order_ids: tuple[str, ...]
    positions: tuple[Position, ...]
    recent_fill_keys: tuple[str, ...]
    recent_funding_keys: tuple[str, ...]
    last_fill_time_ms: int
    last_funding_time_ms: int


def read_session_state(views: Path, *, venue: str, account: str) -> SessionState:
    """Read it, from one moment. The views must stand at the end of the log.

    Orders that the venue calls filled while fills are missing count as unfinished: somebody has to go on
    looking for them. Raises the errors of `projections.errors` for a file that cannot be read.
    """
    whose = (venue, account)
    connection = connect_for_reading(views)
    try:
        with translated(views):
            connection.execute("BEGIN")
            open_ids = connection.execute(
                "SELECT client_order_id FROM orders WHERE done = 0 AND venue = ? AND account = ? "
                "ORDER BY created_position",
                whose,
            ).fetchall()
            incomplete = connection.execute(
                "SELECT client_order_id, missing_fill_amount FROM orders WHERE state = 'filled' "
                "AND venue = ? AND account = ? ORDER BY created_position DESC LIMIT ?",
                (*whose, _MISSING_FILLS_ROWS),
            ).fetchall()
            positions = connection.execute(
                f"SELECT {', '.join(POSITIONS.columns)} FROM positions WHERE venue = ? AND account = ? "
                "ORDER BY trading_pair",
                whose,
            ).fetchall()
            fills = connection.execute(
                "SELECT fill_key, exchange_time_ms FROM fills WHERE venue = ? AND account = ? "
                "ORDER BY position DESC LIMIT ?",
                (*whose, RECENT_ROWS),
            ).fetchall()
            fundings = connection.execute(
                "SELECT funding_key, exchange_time_ms FROM funding WHERE venue = ? AND account = ? "
                "ORDER BY position DESC LIMIT ?",
                (*whose, RECENT_ROWS),
            ).fetchall()
            connection.execute("COMMIT")
    finally:
        connection.close()
    fill_keys, last_fill = _recent(fills)
    funding_keys, last_funding = _recent(fundings)
    return SessionState(
        unfinished_order_ids=tuple(row[0] for row in open_ids)
        + tuple(row[0] for row in reversed(incomplete) if row[1] != "0"),
        positions=tuple(position_from_row(row) for row in positions),
        recent_fill_keys=fill_keys,
        recent_funding_keys=funding_keys,
        last_fill_time_ms=last_fill,
        last_funding_time_ms=last_funding,
    )


def _recent(rows: list[tuple[str, int | None]]) -> tuple[tuple[str, ...], int]:
    """The keys, oldest first, and the latest time."""
    return tuple(key for key, _ in reversed(rows)), max((time or 0 for _, time in rows), default=0)
