"""The views as one canonical sequence of bytes, to say whether two files hold the same.

Two files of the same views differ byte for byte (pages depend on how the rows came); their dumps do not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import msgspec

from projections.tables import TABLES
from projections.views_file import connect_for_reading, read_progress, translated

__all__ = ["canonical_dump", "views_digest"]


def canonical_dump(connection: sqlite3.Connection) -> Iterator[bytes]:
    """One JSON line for the position, then one per row of every table, in the order of tables and keys."""
    encode = msgspec.json.encode
    yield encode(["progress", read_progress(connection).position]) + b"\n"
    for table in TABLES:
        rows = connection.execute(
            f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {', '.join(table.key)}"
        )
        for row in rows:
            yield encode([table.name, *row]) + b"\n"


def views_digest(views: Path) -> str:
    """SHA-256 (hex) over the canonical dump of a views file, all of it from one moment."""
    digest = sha256()
    with closing(connect_for_reading(views)) as connection, translated(views):
        connection.execute("BEGIN")
        for line in canonical_dump(connection):
            digest.update(line)
    return digest.hexdigest()
