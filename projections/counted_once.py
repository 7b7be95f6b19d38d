"""That no two fills of one key count at the same time: what the guard of the table cannot see once the fills
that counted no longer do."""

from __future__ import annotations

import sqlite3
from itertools import pairwise
from operator import itemgetter

from projections.tables import FILL_BOOKINGS

__all__ = ["booked_again"]


def booked_again(connection: sqlite3.Connection) -> int | None:
    """How many fills of views have a key that another fill had before them, which then counted no more. None
    when two of a key count at the same time, unless neither was ever corrected."""
    # Not from an index, whose agreement with the table nobody may have looked at.
    table = f"{FILL_BOOKINGS.name} NOT INDEXED"
    rows = connection.execute(
        f"SELECT fill_key, account, venue, position, corrected_position FROM {table} WHERE fill_key IN "
        f"(SELECT fill_key FROM {table} WHERE corrected_position IS NOT NULL)"
    ).fetchall()
    again = 0
    for (*earlier, _, until), (*later, begin, _) in pairwise(sorted(rows, key=itemgetter(0, 1, 2, 3))):
        if earlier == later:
            again += 1
            if until is None or until > begin:
                return None
    return again
