"""Holds the executions that were booked lately against the venue's list of them: booked and not told, booked
twice, or booked with other numbers. (What is told and not booked is booked as it comes in, see `late_news`.)

One answer takes nothing back: the list may come from a server that lags behind. Only what two passes say
alike, whose states the venue dates a grace time apart, is recorded and mended; until then the market is left
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from adapters.hyperliquid.booked_lately import BookedLately
from adapters.hyperliquid.context import Context
from adapters.hyperliquid.findings import Findings
from adapters.hyperliquid.venue_told import VenueTold
from domain.discrepancies import Books, CorrectFill, Discrepancy, DiscrepancyKind
from domain.effects import LookUpOrder
from domain.fill_comparison import compare_fills
from domain.findings import Scope
from domain.in_flight_order import InFlightOrder

__all__ = ["FillCheck"]

_KINDS = (
    DiscrepancyKind.PHANTOM_FILL,
    DiscrepancyKind.DUPLICATE_FILL,
    DiscrepancyKind.QUANTITY_MISMATCH,
    DiscrepancyKind.PRICE_MISMATCH,
    DiscrepancyKind.FEE_MISMATCH,
    DiscrepancyKind.PRECISION_ONLY,
)


class FillCheck:
    """`amount_step` is the step of a market whose position is followed (None for others); `begin_ms` is when
    the books begin."""

    def __init__(
        self,
        context: Context,
        findings: Findings,
        lately: BookedLately,
        *,
        amount_step: Callable[[str], Decimal | None],
        begin_ms: Callable[[], int],
    ) -> None:
        self._context = context
        self._findings = findings
        self._lately = lately
        self._amount_step = amount_step
        self._begin_ms = begin_ms
        self._suspected_ms: dict[str, int] = {}
        self._waiting: dict[str, list[Discrepancy]] = {}

    def judge(self, told: VenueTold) -> dict[str, None]:
        """Record and mend what differs as it did a grace time ago. Returns the markets whose positions cannot
        be compared yet: a repair moves them or may do so, or an execution on one side only is too young to be
        judged."""
        assert told.fills is not None, "judged when the fills are told"
        fills = self._lately.fills(told.fills.rows)
        books = Books(books_begin_ms=self._begin_ms(), orders={}, fills=fills)
        report = told.report(
            self._context.account_address,
            self._amount_step,
            {booked.fill.trading_pair for booked in fills},
        )
        compared = compare_fills(Scope(books, report, self._findings.grace_ms))
        moving = dict(compared.unsettled_pairs)
        at_ms, before_ms = told.states_at_ms, self._suspected_ms
        # What this pass does not say any more is to be said twice again, and what waited for its order is
        # asked for anew: the look-up before may have found nothing.
        self._suspected_ms, self._waiting = {}, {}
        for found in compared.findings:
            if found.kind not in _KINDS or self._findings.is_waived(found):
                continue
            if found.repair is not None:
                moving[found.trading_pair] = None
                since_ms = before_ms.get(found.discrepancy_id, at_ms)
                self._suspected_ms[found.discrepancy_id] = since_ms
                if at_ms - since_ms >= self._findings.grace_ms:
                    self._mend(found)
            elif found.waiver:
                self._findings.record(found, repair=True)
        return moving

    def _mend(self, found: Discrepancy) -> None:
        """Now, or as soon as the order is in memory."""
        repair = found.repair
        if isinstance(repair, CorrectFill) and not self._is_in_memory(repair.booked.client_order_id):
            waiting = self._waiting.setdefault(repair.booked.client_order_id or "", [])
            if not waiting:
                self._context.effect(LookUpOrder(key=f"oid:{repair.booked.fill.exchange_order_id}"))
            waiting.append(found)
            return
        self._findings.record(found, repair=True)

    def _is_in_memory(self, client_order_id: str | None) -> bool:
        return client_order_id is None or self._context.tracker.get(client_order_id) is not None

    def looked_up(self, order: InFlightOrder) -> None:
        """The ledger brought an order back into memory: what waited for it is mended."""
        for found in self._waiting.pop(order.id, ()):
            self._findings.record(found, repair=True)
