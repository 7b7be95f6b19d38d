"""Comparing the books with the venue: what differs, why, and what would mend it.

Pure: the same books and the same report give the same findings in the same order. Nothing is asked here, and
nothing is written; `domain.repairs` turns findings into events.
"""

from __future__ import annotations

import msgspec

from domain.discrepancies import (
    BookFill,
    Books,
    Discrepancy,
    DiscrepancyKind,
    VenueReport,
    discrepancy_id_of,
)
from domain.money import decimal_text

__all__ = ["find_discrepancies"]


def find_discrepancies(books: Books, report: VenueReport, *, grace_ms: int = 5_000) -> list[Discrepancy]:
    """Every difference between the books and what the venue says, with its repair.

    What is younger than `grace_ms` at the time of the report is not judged.
    """
    found: list[Discrepancy] = []
    by_key = {order.venue_order_key: order for order in books.orders.values() if not order.is_external}
    by_id = {oid: order for order in books.orders.values() for oid in order.exchange_order_ids}
    booked = {fill.fill.fill_key for fill in books.fills}
    for update in sorted(report.fills or (), key=lambda update: update.fill.fill_key):
        fill = update.fill
        if fill.fill_key in booked or not (
            books.books_begin_ms < fill.exchange_time_ms <= report.taken_at_ms - grace_ms
        ):
            continue
        order = by_key.get(update.venue_order_key or "") or by_id.get(fill.exchange_order_id)
        if order is None or order.has_fill(fill.fill_key):
            continue
        kind = DiscrepancyKind.EXTERNAL_FILL if order.is_external else DiscrepancyKind.MISSING_FILL
        theirs = f"{fill.trade_type} {decimal_text(fill.amount)} at {decimal_text(fill.price)}"
        found.append(
            Discrepancy(
                discrepancy_id=discrepancy_id_of(kind, fill.fill_key, "", theirs),
                kind=kind,
                subject=fill.fill_key,
                trading_pair=fill.trading_pair,
                ours="",
                theirs=theirs,
                explanation=f"The venue's fills hold {theirs}, which is not booked. It is booked to its order.",
                evidence=msgspec.json.encode({"question": "fills", "answer": update}).decode(),
                repair=BookFill(update, order.id),
            )
        )
    return found
