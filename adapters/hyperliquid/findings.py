"""What a live session found to differ from the venue: into the log, before a person's eyes, and counted.

What differs and what would mend it is decided in `domain.reconciliation`, how it is mended in
`domain.repairs`. The findings of one step become one alert, however many they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adapters.hyperliquid.context import Context
from domain.discrepancies import Books, Discrepancy, DiscrepancyKind, VenueReport
from domain.enums import Source
from domain.events import AccountDiscrepancyRepaired, LedgerEvent
from domain.reconciliation import find_discrepancies
from domain.repairs import apply_discrepancy

__all__ = ["ACTOR", "Findings"]

ACTOR = "live process"
"""Who repairs what a live session finds."""

_GRAVE = frozenset({DiscrepancyKind.POSITION_DRIFT, DiscrepancyKind.SIDE_FLIP, DiscrepancyKind.BALANCE_DRIFT})


class Findings:
    """Records findings and their repairs. What is younger than `grace_ms` may still be on its way, and is not
    judged."""

    def __init__(self, context: Context, *, grace_ms: int) -> None:
        self._context = context
        self.grace_ms = grace_ms
        self.found_count = 0
        self.repaired_count = 0
        self.waived_ids: frozenset[str] = frozenset()
        """Those that stood waived when the session began."""
        self._to_tell: list[Discrepancy] = []

    def compare(self, books: Books, report: VenueReport) -> list[Discrepancy]:
        """What differs between the two."""
        return find_discrepancies(books, report, grace_ms=self.grace_ms)

    def is_waived(self, discrepancy: Discrepancy) -> bool:
        """Whether it was decided, before this session, to leave this very difference."""
        return discrepancy.discrepancy_id in self.waived_ids

    def record(self, discrepancy: Discrepancy, *, repair: bool) -> None:
        """Put a finding into the log, once, and with `repair` what mends it."""
        context = self._context
        changes = context.tracker.changes
        begin = len(changes)
        if not context.account.is_unsettled(discrepancy.discrepancy_id):
            self.found_count += 1
            self._to_tell.append(discrepancy)
        with self._stamped():
            apply_discrepancy(discrepancy, context.tracker, context.account, actor=ACTOR, repair=repair)
        news = [change.event for change in changes[begin:]]
        self.repaired_count += sum(isinstance(event, AccountDiscrepancyRepaired) for event in news)

    def record_settled(self, discrepancy: Discrepancy, by: LedgerEvent, reason: str) -> None:
        """Record a difference that an event has mended just now."""
        self.record(discrepancy, repair=False)
        self.settle(
            discrepancy.discrepancy_id,
            reason,
            repairs=(f"{by.topic} {by.originator_id} {by.originator_version}",),
        )

    def settle(self, discrepancy_id: str, reason: str, *, repairs: tuple[str, ...] = ()) -> None:
        """A difference that was recorded before is no more."""
        with self._stamped():
            self._context.account.discrepancy_repaired(
                discrepancy_id, reason=reason, actor=ACTOR, repairs=repairs
            )
        self.repaired_count += 1

    @contextmanager
    def _stamped(self) -> Iterator[None]:
        stamp = self._context.tracker.stamp
        assert stamp is not None, "an input stamps the core before anything happens"
        self._context.stamp(Source.RECONCILIATION)
        yield
        self._context.stamp(stamp.source)

    def tell(self) -> None:
        """Say aloud what was found in this step."""
        if not self._to_tell:
            return
        told, self._to_tell = self._to_tell, []
        grave = [found for found in told if found.kind in _GRAVE]
        first = (grave or told)[0]
        more = f" And {len(told) - 1} more, all in the ledger." if len(told) > 1 else ""
        self._context.alert(
            "discrepancy",
            f"{first.kind} {first.discrepancy_id}: {first.explanation}{more}",
            level="error" if grave else "warning",
        )
