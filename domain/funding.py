"""Funding of one perpetual market: the present rate, when it is next paid, and what it will cost."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from domain.money import MONEY

__all__ = ["FUNDING_INTERVAL_MS", "FundingInfo", "next_funding_time_ms"]

FUNDING_INTERVAL_MS = 3_600_000
"""Funding is paid every hour on the hour (protocol sheet, section 10.3)."""


class FundingInfo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """As the venue last told. `rate` is a fraction per hour (0.0000125 = 0.00125 %), not per eight hours.

    Prices are in quote units; `index_price` is the oracle price that payments are computed with.
    """

    trading_pair: str
    rate: Decimal
    mark_price: Decimal
    index_price: Decimal
    next_funding_time_ms: int

    def payment(self, position_amount: Decimal) -> Decimal:
        """Cash effect of the next payment on a signed position, at the present rate: negative = to be paid.

        With a positive rate longs pay and shorts receive.
        """
        return MONEY.minus(MONEY.multiply(MONEY.multiply(position_amount, self.index_price), self.rate))


def next_funding_time_ms(now_ms: int) -> int:
    """The first payment after `now_ms` (milliseconds UTC)."""
    return (now_ms // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS
