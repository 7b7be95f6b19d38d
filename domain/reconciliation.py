"""Comparing the books with the venue: what differs, why, and what would mend it.

Pure: the same books and the same report give the same findings in the same order, whatever the order of the
report's rows. Nothing is asked here and nothing is written; `domain.repairs` turns findings into events.

Each part of the comparison reckons with what the parts before it found, so that one cause is found once: an
order is judged after the repair of its fills, a position after that of all fills, the cash after everything.
Repairs are made in the same order.
"""

from __future__ import annotations

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

__all__ = ["find_discrepancies"]


def find_discrepancies(books: Books, report: VenueReport, *, grace_ms: int = 5_000) -> list[Discrepancy]:
    """Every difference between the books and what the venue says, explained, with what would repair it.

    What the venue did not tell is not judged: a part of the report that is None says nothing about anything.
    Nor is what happened less than `grace_ms` before the report was begun, on either side, nor a position or
    the cash while something so young could explain it. Takes time linear in the sizes of both (sorting
    aside).
    """
    scope = Scope(books, report, grace_ms)
    fills = compare_fills(scope)
    fundings = compare_fundings(scope)
    transfers = compare_transfers(scope)
    holdings = Holdings(scope, fills)
    return [
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
