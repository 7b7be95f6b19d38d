"""Where fills are missing: each fill says what the venue held before it (sheet 8, 11.3).

A position that is not what the last fill left means that a fill in between was not told. It is searched for,
once for each difference; one that no fill explains is said aloud, and not searched for again at every fill.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from adapters.hyperliquid.context import SECOND, Context
from adapters.hyperliquid.history_search import OVERLAP_MS, FillSearch
from domain.enums import TradeType
from domain.events import Fill
from domain.money import MONEY, decimal_text

__all__ = ["PositionChain"]

CHECK_NS = SECOND
"""Fills of one block may come out of order; so long they get to close a gap by themselves."""

FUTURE_MS = 3_600_000
"""No fill is so far ahead of the venue's clock."""

_JUDGE = "judge"


@dataclass(slots=True, frozen=True)
class _Link:
    """The newest fill of a market: when, and what the venue held before and after it."""

    time_ms: int
    before: Decimal
    after: Decimal


class PositionChain:
    """`held` is what the books say is held in a market, `is_followed` whether fills alone move it (a spot
    balance moves by transfers and fees as well). `begin_ms` is when the books begin. `doubt` asks for a
    comparison with the account's state."""

    def __init__(
        self,
        context: Context,
        fills: FillSearch,
        *,
        held: Callable[[str], Decimal],
        is_followed: Callable[[str], bool],
        begin_ms: Callable[[], int],
        doubt: Callable[[], None],
    ) -> None:
        self._context = context
        self._fills = fills
        self._held = held
        self._is_followed = is_followed
        self._begin_ms = begin_ms
        self._doubt = doubt
        self._newest: dict[str, _Link] = {}
        self._known_gaps: dict[str, Decimal] = {}
        self._search_from_ms: int | None = None
        self._to_judge: dict[str, None] = {}

    def booked(self, fill: Fill) -> None:
        """A fill is in the books now."""
        pair = fill.trading_pair
        time_ms = fill.exchange_time_ms
        if fill.start_position is None or not self._is_followed(pair):
            return
        if time_ms > self._context.venue_now_ms + FUTURE_MS:
            return  # a garbled time must not pass for the newest for ever
        change = fill.amount if fill.trade_type is TradeType.BUY else fill.amount.copy_negate()
        link = _Link(time_ms, fill.start_position, MONEY.add(fill.start_position, change))
        before = self._newest.get(pair)
        if before is None or self._follows(before, link):
            self._newest[pair] = link
        gap = self._gap(pair)
        if not gap:
            self._known_gaps.pop(pair, None)
        elif self._known_gaps.get(pair) != gap:
            self._known_gaps[pair] = gap
            # What is missing was executed after the fill before this one, however long ago that was.
            self._search(self._begin_ms() if before is None else min(before.time_ms, time_ms))

    @staticmethod
    def _follows(before: _Link, link: _Link) -> bool:
        if link.time_ms == before.time_ms:
            return link.after != before.before
        return link.time_ms > before.time_ms

    def _gap(self, pair: str) -> Decimal:
        return MONEY.subtract(self._newest[pair].after, self._held(pair))

    def _search(self, from_ms: int) -> None:
        if self._search_from_ms is None:
            self._search_from_ms = from_ms
            self._context.set_deadline(CHECK_NS, "chain")
        self._search_from_ms = min(self._search_from_ms, from_ms)

    def on_deadline(self, key: str) -> None:
        """Look for what is missing, if it still is; later, judge what came of that."""
        if key == _JUDGE:
            self._judge()
            return
        from_ms, self._search_from_ms = self._search_from_ms, None
        suspected = [pair for pair in self._known_gaps if self._gap(pair)]
        if suspected and from_ms is not None:
            self._fills.search(max(0, from_ms - OVERLAP_MS), lambda: self._searched(suspected))

    def _searched(self, suspected: list[str]) -> None:
        # Positions take in what was found at the end of the step, so they are looked at in a later one.
        self._to_judge |= dict.fromkeys(suspected)
        self._context.set_deadline(CHECK_NS, "chain", _JUDGE)

    def _judge(self) -> None:
        suspected, self._to_judge = self._to_judge, {}
        for pair in suspected:
            gap = self._gap(pair)
            if not gap:
                self._known_gaps.pop(pair, None)
                continue
            self._known_gaps[pair] = gap
            venue, ours = self._newest[pair].after, self._held(pair)
            self._context.alert(
                "position_gap",
                f"After the last fill of {pair} the venue held {decimal_text(venue)}, the books "
                f"{decimal_text(ours)}, and no fill explains it. The position is compared with the "
                "account's state next.",
                level="error",
            )
            self._doubt()
