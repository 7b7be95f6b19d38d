"""Whether the index of lookup keys says what the events say."""

from __future__ import annotations

import sqlite3

from adapters.storage.errors import EventNotReadableError
from adapters.storage.ledger_file import LedgerFile
from adapters.storage.mapper import MessagePackMapper

__all__ = ["key_index_problem"]

_BATCH = 2_000
_DIFFERENCE = "SELECT key FROM (SELECT * FROM {one} EXCEPT SELECT * FROM {other}) LIMIT 1"


def key_index_problem(file: LedgerFile, mapper: MessagePackMapper) -> str:
    """Build the index anew from the events, beside the ledger, and compare. Empty if they are the same.

    An event that cannot be decoded may have added keys that nobody can tell: then keys too many are let be.
    """
    with file.separate_reading(str) as connection:
        try:
            # In SQLite's own temporary file: the ledger is not written to, and memory does not grow with it.
            connection.execute(
                "CREATE TEMP TABLE expected_keys (key TEXT PRIMARY KEY, originator_id TEXT) WITHOUT ROWID"
            )
            position, all_readable = _expect(connection, mapper, 0)
            # The rest, and the comparison, at one moment of a ledger that may still grow.
            connection.execute("BEGIN")
            _, rest_readable = _expect(connection, mapper, position)
            missing = _first_key(connection, "expected_keys", "order_keys")
            if missing is not None:
                return f"the index of lookup keys lacks {missing!r} or gives it to another order"
            if all_readable and rest_readable:
                extra = _first_key(connection, "order_keys", "expected_keys")
                if extra is not None:
                    return f"the index of lookup keys has {extra!r}, which no event named"
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            return f"the index of lookup keys cannot be read: {error}"
    return ""


def _expect(connection: sqlite3.Connection, mapper: MessagePackMapper, position: int) -> tuple[int, bool]:
    """Collect the keys of all events after a position; where it ended, and whether all could be decoded."""
    all_readable = True
    while rows := connection.execute(
        "SELECT position, originator_id, originator_version, topic, state FROM stored_events"
        " WHERE position > ? ORDER BY position LIMIT ?",
        (position, _BATCH),
    ).fetchall():
        keys: list[tuple[str, str]] = []
        for _, originator_id, originator_version, topic, state in rows:
            try:
                event = mapper.to_event(originator_id, originator_version, topic, state)
            except EventNotReadableError:
                all_readable = False
            else:
                keys += [(key, originator_id) for key in mapper.keys_of(event)]
        position = rows[-1][0]
        connection.executemany("INSERT OR IGNORE INTO expected_keys VALUES (?, ?)", keys)
    return position, all_readable


def _first_key(connection: sqlite3.Connection, one: str, other: str) -> str | None:
    row = connection.execute(_DIFFERENCE.format(one=one, other=other)).fetchone()
    return None if row is None else row[0]
