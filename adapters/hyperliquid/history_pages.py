"""A list of an account's past, read page by page until it is complete (sheet 5.5).

A page begins at the time of the last row of the page before it, because several rows share a millisecond, and
what was told before is recognised by its key. A row that cannot be read may be any row: what is older than
its neighbours is then not known to be complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from adapters.hyperliquid.messages import Item, Kept

__all__ = ["History", "HistoryPages"]

_Row = TypeVar("_Row")


class History(msgspec.Struct, Generic[_Row]):
    """What the pages told, oldest first and each row once.

    `complete_from_ms` is the venue time from which nothing is missing; None when there is no such time,
    because the last row could not be read. `defects` says in words what could not be read or paged.
    """

    rows: list[_Row]
    complete_from_ms: int | None
    defects: list[str]


class HistoryPages(Generic[_Row]):
    """A list while it is read. `from_ms` is where the next page begins; one with less than `page_rows` rows
    is the last. `row_of` picks out what is looked for.
    """

    def __init__(
        self,
        row_of: Callable[[Item], _Row | None],
        key_of: Callable[[_Row], str],
        time_of: Callable[[_Row], int],
        *,
        start_ms: int,
        page_rows: int,
    ) -> None:
        self.from_ms = start_ms
        self._row_of = row_of
        self._key_of = key_of
        self._time_of = time_of
        self._page_rows = page_rows
        self._found: dict[str, _Row] = {}
        self._complete_from_ms = start_ms
        self._unreadable: dict[str, str] = {}
        self._defects: list[str] = []
        self._hole = False

    @property
    def row_count(self) -> int:
        """How many rows were told so far."""
        return len(self._found)

    def take(self, items: Sequence[Item]) -> bool:
        """Take in the page that begins at `from_ms`, oldest row first; returns whether there is another."""
        times: list[int] = []
        for item in items:
            row = self._row_of(item)
            if row is not None:
                time_ms = self._time_of(row)
                if self._hole:
                    self._complete_from_ms, self._hole = max(self._complete_from_ms, time_ms + 1), False
                times.append(time_ms)
                self._found.setdefault(self._key_of(row), row)
            elif isinstance(item, Kept):
                self._hole = True
                self._unreadable.setdefault(item.message, item.why)
        if len(items) < self._page_rows:
            return False
        if not times:
            self._defects.append(f"none of the {len(items)} rows from {self.from_ms} on can be read")
            self._hole = True
            return False
        last_ms = max(times)
        if last_ms > self.from_ms:
            self.from_ms = last_ms
        else:
            self._defects.append(
                f"more than {self._page_rows} rows share the time {last_ms}: not all of them are told"
            )
            self.from_ms += 1
            self._complete_from_ms = max(self._complete_from_ms, self.from_ms)
        return True

    def history(self) -> History[_Row]:
        """What the pages told."""
        unreadable = [
            f"a row cannot be read ({why}): {message:.200}" for message, why in self._unreadable.items()
        ]
        rows = sorted(self._found.values(), key=self._time_of)
        return History(rows, None if self._hole else self._complete_from_ms, [*self._defects, *unreadable])
