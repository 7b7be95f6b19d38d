"""A list of an account's past, asked for page by page until it is complete (sheet 5.5).

A page begins at the time of the last row of the page before it, because several rows share a millisecond, and
what was told before is recognised by its key. A row that cannot be read may be any row: what is older than
its neighbours is then not known to be complete.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from adapters.hyperliquid.messages import Item, Kept

__all__ = ["History", "read_history"]

_Row = TypeVar("_Row")


class History(msgspec.Struct, Generic[_Row]):
    """What the pages told, oldest first and each row once.

    `complete_from_ms` is the venue time from which nothing is missing; None when there is no such time,
    because the last row could not be read. `defects` says in words what could not be read or paged.
    """

    rows: list[_Row]
    complete_from_ms: int | None
    defects: list[str]


async def read_history(
    ask_page: Callable[[int], Awaitable[Sequence[Item]]],
    row_of: Callable[[Item], _Row | None],
    key_of: Callable[[_Row], str],
    time_of: Callable[[_Row], int],
    *,
    start_ms: int,
    page_rows: int,
    on_rows: Callable[[int], None],
) -> History[_Row]:
    """Ask from `start_ms` on, until a page has less than `page_rows` rows.

    `ask_page(start_ms)` gives the rows from that time on, oldest first; what it raises ends the reading.
    `row_of` picks out what is looked for. `on_rows` is told how many rows there are so far.
    """
    found: dict[str, _Row] = {}
    complete_from_ms = start_ms
    unreadable: dict[str, str] = {}
    defects: list[str] = []
    page_from_ms = start_ms
    hole = False
    while True:
        items = await ask_page(page_from_ms)
        times: list[int] = []
        for item in items:
            row = row_of(item)
            if row is not None:
                time_ms = time_of(row)
                if hole:
                    complete_from_ms, hole = max(complete_from_ms, time_ms + 1), False
                times.append(time_ms)
                found.setdefault(key_of(row), row)
            elif isinstance(item, Kept):
                hole = True
                unreadable.setdefault(item.message, item.why)
        on_rows(len(found))
        if len(items) < page_rows:
            break
        if not times:
            defects.append(f"none of the {len(items)} rows from {page_from_ms} on can be read")
            hole = True
            break
        last_ms = max(times)
        if last_ms > page_from_ms:
            page_from_ms = last_ms
        else:
            defects.append(f"more than {page_rows} rows share the time {last_ms}: not all of them are told")
            page_from_ms = last_ms + 1
            complete_from_ms = max(complete_from_ms, page_from_ms)
    defects += [f"a row cannot be read ({why}): {message:.200}" for message, why in unreadable.items()]
    rows = sorted(found.values(), key=time_of)
    return History(rows, None if hole else complete_from_ms, defects)
