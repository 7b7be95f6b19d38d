"""The cash of an account, as its log comes to it: the last balance that was taken over from the venue, and
what executions, funding and transfers did since."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from domain.events import Fill
from domain.money import MONEY, ZERO

__all__ = ["Cash", "cash_effect_of"]


class Cash(msgspec.Struct, kw_only=True):
    """Amounts in units of `token`, changed in place.

    `paid` is the balance that was taken over, with all funding and transfers since; `markets` has, by trading
    pair, what executions did: their value and those of their fees that were paid in the token. `summands` is
    how many executions and payments that were: the venue has rounded each.
    """

    token: str
    paid: Decimal
    markets: dict[str, Decimal] = {}
    summands: int = 0

    def total(self, is_perpetual: Callable[[str], bool]) -> Decimal:
        """What it all comes to. A spot trade moves tokens, which are not in the cash."""
        total = self.paid
        for trading_pair, moved in self.markets.items():
            if is_perpetual(trading_pair):
                total = MONEY.add(total, moved)
        return total

    def pay(self, amount: Decimal) -> None:
        """Funding or a transfer: its signed effect."""
        self.paid = MONEY.add(self.paid, amount)
        self.summands += 1

    def book(self, fill: Fill) -> None:
        """An execution counts."""
        self.move(fill.trading_pair, cash_effect_of(fill, self.token))

    def take_back(self, fill: Fill) -> None:
        """An execution counts no more."""
        self.move(fill.trading_pair, cash_effect_of(fill, self.token).copy_negate())

    def move(self, trading_pair: str, amount: Decimal) -> None:
        """What an execution in a market did."""
        self.markets[trading_pair] = MONEY.add(self.markets.get(trading_pair, ZERO), amount)
        self.summands += 1


def cash_effect_of(fill: Fill, token: str) -> Decimal:
    """What the execution of a perpetual does to the cash in `token`: its value and its fee."""
    value = MONEY.multiply(fill.price, MONEY.multiply(fill.amount, fill.trade_type.sign))
    return MONEY.minus(MONEY.add(value, fill.fee if fill.fee_token == token else ZERO))
