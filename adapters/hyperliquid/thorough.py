"""What a live session has that compares thoroughly: it follows transfers, and holds the executions that were
booked lately, and the cash, against what the venue tells."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.hyperliquid.booked_lately import BookedLately
from adapters.hyperliquid.fill_check import FillCheck
from adapters.hyperliquid.history_search import TransferSearch
from adapters.hyperliquid.live_cash import LiveCash
from domain.events import LedgerEvent

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

    def take(self, event: LedgerEvent) -> None:
        """An event of the step that ends now."""
        self.lately.take(event)
        self.cash.take(event)
