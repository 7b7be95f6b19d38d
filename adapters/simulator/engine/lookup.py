"""Finding what a read names: accounts, dexes, coins, spans of time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import TypeVar

from .accounts import Account
from .errors import Unprocessable
from .markets import Market
from .parsing import Json, address_member, optional_text, text_member
from .state import VenueState

Row = TypeVar("Row")


class Lookup:
    """Resolves members of requests and subscriptions; raises Unprocessable for missing and mistyped ones."""

    def __init__(self, state: VenueState) -> None:
        self._state = state

    def account(self, request: Json) -> Account | None:
        """The account of `user`; None if nobody ever heard of it."""
        return self._state.account(address_member(request, "user"))

    def dex(self, request: Json) -> str:
        """The perp dex of `dex`; the first one, `""`, if absent. Raises Unprocessable for an unknown one."""
        dex = optional_text(request, "dex")
        if dex not in self._state.universe.perps_by_dex:
            raise Unprocessable
        return dex

    def market(self, request: Json) -> Market | None:
        """The market of `coin`; None for an unknown coin."""
        return self._state.universe.by_coin.get(text_member(request, "coin"))


def slice_by_time(rows: list[Row], start: int, end: int | None, key: Callable[[Row], int]) -> list[Row]:
    """Rows with start <= time <= end from a list in time order."""
    first = bisect_left(rows, start, key=key)
    last = len(rows) if end is None else bisect_right(rows, end, key=key)
    return rows[first:last]
