"""What a fill costs: tier by 14-day volume, truncation, builder fee (sheet 8 and 10.4)."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from .accounts import Account
from .markets import Market, PerpMarket, SpotMarket
from .numbers import MICRO_USDC, SPOT_UNIT, ZERO, truncated
from .options import FeeRates, VenueOptions
from .orders import BuilderFee

TENTH_BP = Decimal("0.00001")
MAX_BUILDER_PERP = 100
MAX_BUILDER_SPOT = 1000


class FeeCharge(NamedTuple):
    """`total` includes `builder`; None means that no builder takes part. In units of `token`."""

    total: Decimal
    builder: Decimal | None
    token: str


def rates_of(account: Account, options: VenueOptions, day: int) -> FeeRates:
    """The account's own rates if it has any, else those of its volume of the last 14 full days."""
    if account.fee_rates is not None:
        return account.fee_rates
    tiers = options.fee_tiers
    rates = tiers[0].rates
    if len(tiers) > 1:
        volume = account.volume_of_14_days(day)
        for tier in tiers:
            if volume >= tier.volume:
                rates = tier.rates
    return rates


def charge(
    rates: FeeRates,
    market: Market,
    builder: BuilderFee | None,
    *,
    is_buy: bool,
    size: Decimal,
    notional: Decimal,
    crossed: bool,
) -> FeeCharge:
    """The fee of one side of one trade. Spot buys pay in the base token, everything else in the quote token.

    Builders are paid in the quote token and therefore not on spot buys.
    """
    if isinstance(market, PerpMarket):
        rate = (rates.cross if crossed else rates.add) * market.fee_multiplier
        fee = truncated(notional * rate, MICRO_USDC)
        unit, token = MICRO_USDC, "USDC"
    else:
        assert isinstance(market, SpotMarket)
        rate = rates.spot_cross if crossed else rates.spot_add
        if is_buy:
            return FeeCharge(truncated(size * rate, SPOT_UNIT), None, market.base.name)
        fee = truncated(notional * rate, SPOT_UNIT)
        unit, token = SPOT_UNIT, market.quote.name
    if builder is None:
        return FeeCharge(fee, None, token)
    extra = truncated(notional * builder.tenths_bp * TENTH_BP, unit)
    return FeeCharge(fee + extra, extra, token)


FREE = FeeCharge(ZERO, None, "USDC")
"""Backstop and auto-deleveraging fills cost nothing."""
