"""Fees, kept per token: what was charged, what it is worth in quote, and what it leaves of a spot purchase.

A fee is signed: positive when paid, negative when received (a rebate). Fees in different tokens are never
added to each other; only a price turns one into the other, and the caller gives that price.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from domain.enums import TradeType
from domain.errors import LedgerError
from domain.money import MONEY, ZERO

__all__ = ["NO_FEES", "Fees", "UnpricedFeeError", "received_amount"]


class UnpricedFeeError(LedgerError, LookupError):
    """A fee was charged in a token whose price was not given."""


class Fees(msgspec.Struct, frozen=True):
    """Totals per token, in units of that token. Immutable: `plus` gives a new total.

    `totals` is sorted by token, so that two accumulators fed the same fees in any order are equal. A token
    that was charged stays listed even when charges and rebates cancel out.
    """

    totals: tuple[tuple[str, Decimal], ...] = ()

    def plus(self, token: str, amount: Decimal) -> Fees:
        """These fees and one more: `amount` of `token`, positive when paid, negative when received."""
        totals = self.totals
        if len(totals) == 1 and totals[0][0] == token:
            return Fees(((token, MONEY.add(totals[0][1], amount)),))
        for index, (known, total) in enumerate(totals):
            if known == token:
                return Fees((*totals[:index], (token, MONEY.add(total, amount)), *totals[index + 1 :]))
        return Fees(tuple(sorted((*totals, (token, amount)))))

    def of(self, token: str) -> Decimal:
        """The total in one token; zero when it was never charged."""
        for known, total in self.totals:
            if known == token:
                return total
        return ZERO

    def value_in(self, quote_token: str, prices: Mapping[str, Decimal]) -> Decimal:
        """What all fees together are worth in `quote_token`, at `prices` (quote units per unit of a token).

        Raises `UnpricedFeeError` when a token with a non-zero total has no price.
        """
        value = ZERO
        for token, total in self.totals:
            if token == quote_token:
                value = MONEY.add(value, total)
            elif total:
                price = prices.get(token)
                if price is None:
                    raise UnpricedFeeError(
                        f"a fee of {total} {token} has no price in {quote_token}: give the price of {token}"
                    )
                value = MONEY.add(value, MONEY.multiply(total, price))
        return value


NO_FEES = Fees()
"""The accumulator to start from."""


def received_amount(
    trade_type: TradeType, amount: Decimal, fee: Decimal, fee_token: str, base_token: str
) -> Decimal:
    """How much of the base token changes hands for the account, in base units.

    A spot buy pays its fee in the base token, so less than `amount` arrives (protocol sheet, section 8);
    in every other case it is `amount`. Selling the ordered amount afterwards would exceed the balance.
    """
    if trade_type is TradeType.BUY and fee_token == base_token:
        return MONEY.subtract(amount, fee)
    return amount
