"""Since when the books of the account are kept, what of all the venue tells comes into them, and up to when
they are complete.

What is told before the account's first state is held back: it is not known yet whether the opening balance
contains it (see `opening`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from adapters.hyperliquid.context import Context
from adapters.hyperliquid.messages import AccountState, TransferUpdate
from adapters.hyperliquid.opening import Opening
from adapters.hyperliquid.transfer_effects import is_of_others
from domain.events import Fill
from domain.inputs import Started
from domain.money import MONEY, ZERO
from domain.position import Position
from domain.updates import FundingUpdate, OrderUpdate, TradeUpdate

__all__ = ["COLLATERAL", "LiveBooks"]

COLLATERAL = "USDC"


class LiveBooks:
    """`position` is what the books hold in a market; `is_catching_up` says whether a recovery is under way.

    `begin_ms` is the venue time at which the books begin, 0 while that is not known; `were_opened` whether
    that was since the stream connected last. `fills_from_ms`, `funding_from_ms` and `transfers_from_ms` are
    until when everything is booked: what the next recovery asks from. They stand still while one is under
    way, since the stream may have told the newest before what was missed.
    """

    def __init__(
        self,
        context: Context,
        *,
        network: str,
        signer: str,
        position: Callable[[str], Position],
        is_catching_up: Callable[[], bool],
    ) -> None:
        self._context = context
        self._network = network
        self._signer = signer
        self._position = position
        self._is_catching_up = is_catching_up
        self.begin_ms = 0
        self.were_opened = False
        self.fills_from_ms = 0
        self.funding_from_ms = 0
        self.transfers_from_ms = 0
        self._newest_fill_ms = 0
        self._newest_funding_ms = 0
        self._newest_transfer_ms = 0
        self._opening: Opening | None = None
        self._held_back: list[OrderUpdate | TradeUpdate | FundingUpdate | TransferUpdate] = []

    def restore(self, started: Started) -> None:
        """Go on with the books that the ledger keeps."""
        self.begin_ms = started.books_begin_ms
        self._newest_fill_ms = max(started.last_fill_time_ms, started.books_begin_ms)
        self._newest_funding_ms = max(started.last_funding_time_ms, started.books_begin_ms)
        self._newest_transfer_ms = max(started.last_transfer_time_ms, started.books_begin_ms)
        self.move_marks()

    # -- where they begin ----------------------------------------------------------------------------------

    def take_state(self, states: Mapping[str, AccountState]) -> None:
        """The state of every dex the account is followed on: the first one opens the books."""
        if not self.begin_ms:
            self._open(states)
        for update in (position for state in states.values() for position in state.positions):
            held = self._position(update.trading_pair)
            if update.leverage is not None and (update.leverage, update.is_cross) != (
                held.leverage,
                held.is_cross,
            ):
                self._context.account.leverage_changed(update.trading_pair, update.leverage, update.is_cross)

    def _open(self, states: Mapping[str, AccountState]) -> None:
        """A new ledger: what the account holds now is its opening balance, and the past is not ours."""
        account = self._context.account
        held_back, self._held_back = self._held_back, []
        fills = [item.fill for item in held_back if isinstance(item, TradeUpdate)]
        self.were_opened = True
        opening = self._opening = Opening(states, fills, self._context.venue_now_ms)
        self.begin_ms = begin_ms = opening.begin_ms
        account.open(self._network, self._signer, begin_ms)
        for update in opening.positions:
            account.assert_position(update, opening=True)
        self._open_cash(states, begin_ms)
        self._newest_fill_ms = max(self._newest_fill_ms, begin_ms)
        self._newest_funding_ms = max(self._newest_funding_ms, begin_ms)
        self._newest_transfer_ms = max(self._newest_transfer_ms, begin_ms)
        self.move_marks()
        for item in held_back:
            self._context.take(item)

    def _open_cash(self, states: Mapping[str, AccountState], begin_ms: int) -> None:
        """The cash that the books begin with. A state without any may be that of a unified account, whose
        collateral is told elsewhere (sheet 5.6)."""
        cash = ZERO
        for state in states.values():
            if state.cash is None:
                return
            cash = MONEY.add(cash, state.cash)
        if cash:
            self._context.account.assert_balance(COLLATERAL, cash, opening=True, exchange_time_ms=begin_ms)

    # -- what comes into them ------------------------------------------------------------------------------

    def has_room_for(self, item: TradeUpdate | FundingUpdate | TransferUpdate, time_ms: int) -> bool:
        """Whether it happened after the books began; held back while their beginning is not known yet."""
        if not self.begin_ms:
            self._held_back.append(item)
            return False
        if self._opening is not None and isinstance(item, TradeUpdate):
            return self._opening.is_followed_by(item.fill)
        return time_ms > self.begin_ms

    def rest_of(self, update: OrderUpdate) -> OrderUpdate | None:
        """What is said of an order nobody knew, as far as the opening balance does not contain it; None while
        the beginning of the books is not known yet."""
        if not self.begin_ms:
            self._held_back.append(update)
            return None
        return update if self._opening is None else self._opening.rest_of(update)

    def take_funding(self, update: FundingUpdate) -> None:
        """A funding payment, from whichever channel it comes."""
        if self.has_room_for(update, update.exchange_time_ms) and self._context.account.book_funding(update):
            self._newest_funding_ms = self._later(self._newest_funding_ms, update.exchange_time_ms)
            self.move_marks()

    def take_transfer(self, update: TransferUpdate) -> None:
        """A movement of money, from whichever channel it comes."""
        context = self._context
        if is_of_others(context.account_address, update.detail):
            if context.account.keep_message("a transfer between other accounts", update.detail):
                context.alert("message_kept", f"The venue tells a transfer of others: {update.detail:.200}")
            return
        if self.has_room_for(update, update.exchange_time_ms) and context.account.book_ledger_update(
            update_key=update.update_key,
            kind=update.kind,
            amount=update.amount,
            token=update.token,
            detail=update.detail,
            exchange_time_ms=update.exchange_time_ms,
        ):
            self._newest_transfer_ms = self._later(self._newest_transfer_ms, update.exchange_time_ms)
            self.move_marks()

    # -- up to when they are complete ----------------------------------------------------------------------

    def booked_fill(self, fill: Fill) -> None:
        """A fill is in the books now."""
        self._newest_fill_ms = self._later(self._newest_fill_ms, fill.exchange_time_ms)
        self.move_marks()

    def _later(self, mark_ms: int, time_ms: int) -> int:
        """The later of both, but never the future: a garbled time must not hide what really comes next."""
        return max(mark_ms, min(time_ms, self._context.venue_now_ms))

    def move_marks(self) -> None:
        """What is booked is complete up to its latest time, unless a recovery is under way."""
        if not self._is_catching_up() or not self.fills_from_ms:
            self.fills_from_ms = self._newest_fill_ms
            self.funding_from_ms = self._newest_funding_ms
            self.transfers_from_ms = self._newest_transfer_ms
