"""What every part of a reconciliation needs: what is old enough to be judged, whose an update is, and how a
finding is put into words."""

from __future__ import annotations

import msgspec

from domain.discrepancies import (
    Books,
    Discrepancy,
    DiscrepancyKind,
    Repair,
    VenueReport,
    Window,
    discrepancy_id_of,
)
from domain.events import Fill
from domain.in_flight_order import InFlightOrder
from domain.money import decimal_text

__all__ = ["Scope", "evidence_of", "fill_text", "finding"]

_NS_PER_MS = 1_000_000


class Scope:
    """The books and the report that are compared, and what may be judged.

    What happened less than the grace time before the report was begun may be on its way still, on either
    side: it is left for the next comparison. `left` says in words what was, each once; `judged_pairs` has the
    markets whose positions were held side by side, and `is_cash_judged` whether the cash was.
    """

    __slots__ = (
        "_by_exchange_id",
        "_by_venue_key",
        "_quiet_since_ns",
        "books",
        "is_cash_judged",
        "judged_pairs",
        "left",
        "report",
        "settled_ms",
    )

    def __init__(self, books: Books, report: VenueReport, grace_ms: int) -> None:
        self.books = books
        self.report = report
        self.settled_ms = report.taken_at_ms - grace_ms
        self.left: dict[str, None] = {}
        self.judged_pairs: dict[str, None] = {}
        self.is_cash_judged = False
        begun_ns = report.taken_at_ms * _NS_PER_MS if books.clock_ns is None else books.clock_ns
        self._quiet_since_ns = begun_ns - grace_ms * _NS_PER_MS
        self._by_venue_key: dict[str, InFlightOrder] = {}
        self._by_exchange_id: dict[str, InFlightOrder] = {}
        for order in books.orders.values():
            if not order.is_external:
                self._by_venue_key[order.venue_order_key] = order
            for exchange_order_id in order.exchange_order_ids:
                self._by_exchange_id[exchange_order_id] = order

    def order_of(self, venue_order_key: str | None, exchange_order_id: str | None) -> InFlightOrder | None:
        """The order in the books that an update is about: by the client id it repeats, else by the exchange
        id."""
        order = None if venue_order_key is None else self._by_venue_key.get(venue_order_key)
        if order is None and exchange_order_id is not None:
            order = self._by_exchange_id.get(exchange_order_id)
        return order

    def leave(self, what: str) -> None:
        """This is not judged, for a reason that another comparison may not have."""
        self.left[what] = None

    def is_settled(self, exchange_time_ms: int) -> bool:
        """Whether this venue time is older than the grace time."""
        return exchange_time_ms <= self.settled_ms

    def is_quiet(self, order: InFlightOrder) -> bool:
        """Whether nothing was recorded about the order within the grace time (by our own clock)."""
        return order.updated_at_ns <= self._quiet_since_ns

    def is_told(self, exchange_time_ms: int, window: Window | None) -> bool:
        """Whether both sides tell of this venue time: it is after the books began, and the venue's list is
        complete there. What lies at the very millisecond of the opening is divided where the books are
        opened."""
        return exchange_time_ms > self.books.books_begin_ms and (
            window is None or window.complete_from_ms <= exchange_time_ms
        )

    def reaches_positions(self, window: Window | None) -> bool:
        """Whether a list is complete towards the time that positions and cash were told for. One that claims
        to be complete until the report was begun was asked for after them, and is."""
        at_ms = min(self.report.positions_at_ms, self.report.taken_at_ms)
        return window is not None and window.complete_from_ms <= at_ms <= window.until_ms

    def venue_ms_of(self, recorded_at_ns: int) -> int:
        """The venue's time when our clock showed this."""
        if self.books.clock_ns is None:
            return recorded_at_ns // _NS_PER_MS
        return self.report.taken_at_ms - (self.books.clock_ns - recorded_at_ns) // _NS_PER_MS


def finding(
    kind: DiscrepancyKind,
    subject: str,
    *,
    trading_pair: str,
    ours: str,
    theirs: str,
    explanation: str,
    evidence: str = "",
    repair: Repair | None = None,
    waiver: str = "",
    identity: tuple[str, str] | None = None,
) -> Discrepancy:
    """A discrepancy under its id. `identity` takes the place of `ours` and `theirs` in the id where these
    tell more than what makes it the same difference."""
    return Discrepancy(
        discrepancy_id=discrepancy_id_of(kind, subject, *(identity or (ours, theirs))),
        kind=kind,
        subject=subject,
        trading_pair=trading_pair,
        ours=ours,
        theirs=theirs,
        explanation=explanation,
        evidence=evidence,
        repair=repair,
        waiver=waiver,
    )


def evidence_of(question: str, answer: object, window: Window | None = None) -> str:
    """What the venue answered to which question, as JSON; `window` where it is the list that proves."""
    told: dict[str, object] = {"question": question, "answer": answer}
    if window is not None:
        told["complete_from_ms"] = window.complete_from_ms
        told["until_ms"] = window.until_ms
    return msgspec.json.encode(told).decode()


def fill_text(fill: Fill) -> str:
    """An execution in a few words."""
    return (
        f"{fill.trade_type} {decimal_text(fill.amount)} at {decimal_text(fill.price)}, "
        f"fee {decimal_text(fill.fee)} {fill.fee_token}"
    )
