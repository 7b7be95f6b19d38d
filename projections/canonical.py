"""The views as canonical bytes, to say whether two files hold the same.

Two files of the same views differ byte for byte (pages depend on how the rows came); their canonical bytes do
not. They are taken in portions, of one table and one stretch of the log each, so that whoever has looked at a
stretch can tell the digest of its portions without reading all the others.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import msgspec

from projections.order_fold import Row
from projections.tables import CHECKPOINT_EVERY, TABLES, Table
from projections.views_file import connect_for_reading, read_progress, translated

__all__ = [
    "PORTION",
    "Portion",
    "combined_digest",
    "digest_if_equal",
    "is_by_position",
    "portion_digest",
    "portion_digests",
    "portions_between",
    "views_digest",
]

PORTION = 8 * CHECKPOINT_EVERY
"""How many positions a portion of a table spans whose rows are keyed by position."""

Portion = tuple[str, int]
"""A table, and which of its portions: `position // PORTION`, or 0 where the key is no position."""

_encode_lines = msgspec.json.Encoder().encode_lines


def portion_digest(rows: Sequence[Row]) -> str:
    """The SHA-256 (hex) of the rows of a portion as JSON lines, in the order of their key."""
    return sha256(_encode_lines(rows)).hexdigest()


def digest_if_equal(
    connection: sqlite3.Connection, table: Table, first: int, last: int, rows: Sequence[Row]
) -> str | None:
    """The `portion_digest` of rows, if they are those that a table keyed by position holds in a portion, from
    one position to another; None if they are not, or look different to SQLite as JSON.

    One text is read in a fraction of the time that all its columns take, each a call and an object.
    """
    (key, *_) = table.key
    expected = _encode_lines(rows)
    try:
        (kept,) = connection.execute(
            "SELECT CAST(group_concat(line, char(10)) AS BLOB) FROM ("
            f"SELECT json_array({', '.join(table.columns)}) AS line FROM {table.name} "
            f"WHERE {key} BETWEEN ? AND ? ORDER BY {key})",
            (first, last),
        ).fetchone()
    except sqlite3.DataError:
        return None  # More than SQLite holds in one text.
    return sha256(expected).hexdigest() if expected[:-1] == (kept or b"") else None


def is_by_position(table: Table) -> bool:
    """Whether the rows of a table are keyed by one position of the log."""
    return table.key[0] in ("position", "created_position")


def portions_between(after: int, last: int) -> list[tuple[int, int]]:
    """The first and the last position of every portion from after one position to another, both at the ends
    of portions (or of the views)."""
    return [
        (max(portion * PORTION, after + 1), min((portion + 1) * PORTION - 1, last))
        for portion in range((after + 1) // PORTION, last // PORTION + 1)
    ]


def portion_digests(
    connection: sqlite3.Connection, tables: Iterable[Table], after: int, last: int
) -> dict[Portion, str]:
    """The digests of what the tables hold from after one position to another, both at the ends of portions
    (or of the views), and of all that is not keyed by position. Portions without a row have none."""
    found: dict[Portion, str] = {}
    for table in tables:
        select = f"SELECT {', '.join(table.columns)} FROM {table.name}"
        order = f" ORDER BY {', '.join(table.key)}"
        if not is_by_position(table):
            if rows := connection.execute(select + order).fetchall():
                found[table.name, 0] = portion_digest(rows)
            continue
        for bounds in portions_between(after, last):
            rows = connection.execute(
                f"{select} WHERE {table.key[0]} BETWEEN ? AND ?{order}", bounds
            ).fetchall()
            if rows:
                found[table.name, bounds[0] // PORTION] = portion_digest(rows)
    return found


def combined_digest(position: int, portions: Mapping[Portion, str]) -> str:
    """The digest (hex) of views that stand at a position, from those of all their portions."""
    lines = [["position", position], *([*portion, portions[portion]] for portion in sorted(portions))]
    return sha256(_encode_lines(lines)).hexdigest()


def views_digest(views: Path) -> str:
    """The digest (SHA-256, hex) of a views file, all of it from one moment."""
    with closing(connect_for_reading(views)) as connection, translated(views):
        connection.execute("BEGIN")
        position = read_progress(connection).position
        return combined_digest(position, portion_digests(connection, TABLES, 0, position))
