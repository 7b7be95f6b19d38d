"""What a live session has that compares thoroughly: it follows transfers, and holds the executions that were
booked lately, and the cash, against what the venue tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from adapters.hyperliquid.booked_lately import BookedLately
from adapters.hyperliquid.context import Context
from adapters.hyperliquid.fill_check import FillCheck
from adapters.hyperliquid.findings import Findings
from adapters.hyperliquid.history_search import TransferSearch
from adapters.hyperliquid.live_cash import LiveCash
from adapters.hyperliquid.queries import Queries
from domain.events import LedgerEvent
from domain.position import Position

__all__ = ["Thorough"]


@dataclass(slots=True, frozen=True)
class Thorough:
    """One per core; a session that does none of this has none. `every_ns` is how often, at most, it asks for
    funding and transfers."""

    every_ns: int
    transfers: TransferSearch
    lately: BookedLately
    fills: FillCheck
    cash: LiveCash

    @classmethod
    def of(
        cls,
        context: Context,
        queries: Queries,
        findings: Findings,
        *,
        every_ns: int,
        positions: Callable[[], Mapping[str, Position]],
        amount_step: Callable[[str], Decimal | None],
        begin_ms: Callable[[], int],
    ) -> Self | None:
        """None where `every_ns` is 0. The functions are as in `Reconciler`."""
        if not every_ns:
            return None
        lately = BookedLately(context)
        return cls(
            every_ns=every_ns,
            transfers=TransferSearch(context, queries),
            lately=lately,
            fills=FillCheck(context, findings, lately, amount_step=amount_step, begin_ms=begin_ms),
            cash=LiveCash(
                context,
                queries,
                findings,
                lately,
                positions=positions,
                amount_step=amount_step,
                begin_ms=begin_ms,
            ),
        )

    def take(self, event: LedgerEvent) -> None:
        """An event of the step that ends now."""
        self.lately.take(event)
        self.cash.take(event)
