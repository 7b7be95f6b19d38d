"""Comparing the books with the venue: what differs, why, and what would mend it.

Pure: the same books and the same report give the same findings in the same order, whatever the order of the
report's rows. Nothing is asked here and nothing is written; `domain.repairs` turns findings into events.

Each part of the comparison reckons with what the parts before it found, so that one cause is found once: an
order is judged after the repair of its fills, a position after that of all fills, the cash after everything.
Repairs are made in the same order.
"""

from __future__ import annotations

import msgspec

from domain.discrepancies import Books, Discrepancy, VenueReport
from domain.fill_comparison import compare_fills
from domain.findings import Scope
from domain.fund_comparison import (
    Holdings,
    compare_cash,
    compare_fundings,
    compare_leverage,
    compare_positions,
    compare_transfers,
    find_truncated_windows,
)
from domain.order_comparison import compare_orders, find_external_orders

__all__ = ["Comparison", "compare", "find_discrepancies"]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What differs, and what could not be judged this time (`left`, in words; what the venue did not tell is
    not among it). `judged_pairs`: the markets whose positions were compared."""

    discrepancies: list[Discrepancy]
    left: tuple[str, ...]
    judged_pairs: frozenset[str]
    is_cash_judged: bool


def find_discrepancies(books: Books, report: VenueReport, *, grace_ms: int = 5_000) -> list[Discrepancy]:
    """Every difference between the books and what the venue says, explained, with what would repair it.

    What the venue did not tell is not judged: a part of the report that is None says nothing about anything.
    Nor is what happened less than `grace_ms` before the report was begun, on either side, nor a position or
    the cash while something so young could explain it. Takes time linear in the sizes of both (sorting
    aside).
    """
    return compare(books, report, grace_ms=grace_ms).discrepancies


def compare(books: Books, report: VenueReport, *, grace_ms: int = 5_000) -> Comparison:
    """`find_discrepancies`, with what was left for the next comparison."""
    scope = Scope(books, report, grace_ms)
    fills = compare_fills(scope)
    fundings = compare_fundings(scope)
    transfers = compare_transfers(scope)
    holdings = Holdings(scope, fills)
    for pair in fills.unsettled_pairs:
        scope.leave(f"{pair}: an execution is too young to be judged, and with it the position")
    found = [
        *find_external_orders(scope, fills),
        *fills.findings,
        *compare_orders(scope, fills),
        *fundings.findings,
        *transfers.findings,
        *compare_positions(scope, fills, holdings),
        *compare_cash(scope, fills, holdings, fundings, transfers),
        *compare_leverage(scope),
        *find_truncated_windows(scope),
    ]
    return Comparison(
        discrepancies=found,
        left=tuple(scope.left),
        judged_pairs=frozenset(scope.judged_pairs),
        is_cash_judged=scope.is_cash_judged,
    )
