"""What the venue told in one pass of a live session, as a report to compare the books with."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from adapters.hyperliquid.history_pages import History
from adapters.hyperliquid.info_requests import FILLS_KEPT
from adapters.hyperliquid.live_books import COLLATERAL
from adapters.hyperliquid.messages import AccountState, TransferUpdate
from adapters.hyperliquid.transfer_effects import transfer_of
from domain.discrepancies import VenueReport, Window
from domain.money import MONEY, ZERO
from domain.updates import FundingUpdate, TradeUpdate

__all__ = ["VenueTold"]

_Row = TypeVar("_Row")


@dataclass(slots=True)
class VenueTold:
    """`asked_at_ms` is the venue's clock before the first question; `states` the account's by dex. A list
    that was not asked for, or is not there yet, is None."""

    asked_at_ms: int
    states: dict[str, AccountState] = field(default_factory=dict)
    fills: History[TradeUpdate] | None = None
    fundings: History[FundingUpdate] | None = None
    transfers: History[TransferUpdate] | None = None

    @property
    def states_at_ms(self) -> int:
        """When the account was in this state: on several dexes, in the earliest of them."""
        return min(state.exchange_time_ms or self.asked_at_ms for state in self.states.values())

    @property
    def is_of_one_time(self) -> bool:
        """Whether nothing is told to have happened between the states of several dexes."""
        at_ms = self.states_at_ms
        latest_ms = max(state.exchange_time_ms or self.asked_at_ms for state in self.states.values())
        rows = () if self.fills is None else self.fills.rows
        return not any(at_ms < update.fill.exchange_time_ms <= latest_ms for update in rows)

    @property
    def cash(self) -> Decimal | None:
        """The collateral on the dexes that were asked about; None where one does not tell it."""
        total = ZERO
        for state in self.states.values():
            if state.cash is None:
                return None
            total = MONEY.add(total, state.cash)
        return total

    def report(
        self, account: str, amount_step: Callable[[str], Decimal | None], markets: Collection[str]
    ) -> VenueReport:
        """`amount_step` is the step of a market whose position is followed, None for others; `markets` are
        those of the books."""
        at_ms = self.states_at_ms
        fills = () if self.fills is None else self.fills.rows
        positions = [update for state in self.states.values() for update in state.positions]
        pairs = {*markets, *(update.trading_pair for update in positions)}
        pairs |= {update.fill.trading_pair for update in fills}
        steps = {pair: step for pair in sorted(pairs) if (step := amount_step(pair)) is not None}
        transfers = () if self.transfers is None else self.transfers.rows
        return VenueReport(
            taken_at_ms=self.asked_at_ms,
            fills=None if self.fills is None else fills,
            fills_window=self._window(self.fills, is_cut_off=len(fills) >= FILLS_KEPT),
            fundings=None if self.fundings is None else self.fundings.rows,
            fundings_window=self._window(self.fundings),
            transfers=None
            if self.transfers is None
            else [transfer_of(account, update) for update in transfers],
            transfers_window=self._window(self.transfers),
            positions=[update for update in positions if update.trading_pair in steps],
            positions_at_ms=at_ms,
            cash=self.cash if self.is_of_one_time else None,
            cash_token=COLLATERAL,
            steps=steps,
        )

    def _window(self, history: History[_Row] | None, *, is_cut_off: bool = False) -> Window | None:
        """Where a list is complete: nowhere when its last row could not be read, or when the venue may have
        let go of what was before.

        It was asked for after the states and reaches to their time. That our own clock has gone on since
        proves nothing: whoever answers may lag behind.
        """
        if history is None:
            return None
        nowhere_ms = max(self.asked_at_ms, self.states_at_ms) + 1
        from_ms = nowhere_ms if is_cut_off else history.complete_from_ms
        from_ms = nowhere_ms if from_ms is None else from_ms
        return Window(from_ms, from_ms, self.states_at_ms)
