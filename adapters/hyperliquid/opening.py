"""Where the books begin: what the account held then, and what came after it (sheet 5.6, 8, 11.3).

Times of states and fills are block times in milliseconds. A fill of an earlier millisecond than the state is
in the opening balance, one of a later millisecond is not. Of the same millisecond it may be either: what it
says about the position before it decides (its place in the chain from one position to the next).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from adapters.hyperliquid.messages import AccountState
from domain.events import Fill
from domain.fill_chain import fills_after
from domain.money import MONEY, ZERO
from domain.updates import OrderUpdate, UpdateStatus

__all__ = ["Opening"]


class Opening:
    """The opening balance: the account's state on each dex, by the dex's name ("" is the first).

    `fills` are those known around the time of the states, complete as far as the venue tells. `now_ms` is the
    venue's time where a state does not tell its own.
    """

    def __init__(self, states: Mapping[str, AccountState], fills: Iterable[Fill], now_ms: int) -> None:
        self._times_ms = {dex: state.exchange_time_ms or now_ms for dex, state in states.items()}
        self.begin_ms = max(self._times_ms.values())
        self.positions = [position for state in states.values() for position in state.positions]
        known = {fill.fill_key: fill for fill in fills}
        self._after_in_same_ms = frozenset(self._found_after(known.values()))
        self._executed_before: dict[str, Decimal] = {}
        self._executed_after: dict[str, Decimal] = {}
        for fill in known.values():
            sums = self._executed_after if self.is_followed_by(fill) else self._executed_before
            order = fill.exchange_order_id
            sums[order] = MONEY.add(sums.get(order, ZERO), fill.amount)

    def _time_ms(self, trading_pair: str) -> int:
        """When the state of a market was taken; of one that is in no state, when the books begin."""
        dex, found, _ = trading_pair.partition(":")
        return self._times_ms.get(dex if found else "", self.begin_ms)

    def _found_after(self, fills: Iterable[Fill]) -> Iterable[str]:
        amounts = {position.trading_pair: position.amount for position in self.positions}
        markets: dict[str, list[Fill]] = {}
        for fill in fills:
            if fill.start_position is not None:
                markets.setdefault(fill.trading_pair, []).append(fill)
        for pair, of_market in markets.items():
            for fill in fills_after(of_market, amounts.get(pair, ZERO), self._time_ms(pair)):
                yield fill.fill_key

    def is_followed_by(self, fill: Fill) -> bool:
        """Whether a fill came after the opening balance and so is booked on top of it."""
        return fill.exchange_time_ms > self._time_ms(fill.trading_pair) or (
            fill.fill_key in self._after_in_same_ms
        )

    def rest_of(self, update: OrderUpdate) -> OrderUpdate:
        """A sign of life of an order nobody knew, with the amount that it had left when the books began.

        What it executed before is in the opening balance, and is not told twice. As far as its fills are not
        known (an order may be years old), the venue's figure for what is left counts.
        """
        details, remaining = update.details, update.remaining_amount
        if (
            details is None
            or remaining is None
            or update.status not in (UpdateStatus.OPEN, UpdateStatus.TRIGGERED)
            or update.exchange_time_ms is None
            or update.exchange_time_ms > self._time_ms(details.trading_pair)
        ):
            return update
        order = update.exchange_order_id or ""
        executed = MONEY.subtract(details.amount, remaining)
        before = max(
            self._executed_before.get(order, ZERO),
            MONEY.subtract(executed, self._executed_after.get(order, ZERO)),
        )
        if not ZERO < before < details.amount:
            return update
        rest = msgspec.structs.replace(details, amount=MONEY.subtract(details.amount, before))
        return msgspec.structs.replace(update, details=rest)
