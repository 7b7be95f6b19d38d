"""Hourly funding: premium samples, rates, and the payments between longs and shorts (sheet 10.3)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from .accounts import FundingPayment
from .encoders import RATE_UNIT
from .markets import PerpMarket
from .numbers import MICRO_USDC, ZERO, rounded, truncated
from .state import VenueState

HOUR_MS = 3_600_000
SAMPLE_MS = 5_000
INTEREST_8H = Decimal("0.0001")
CLAMP = Decimal("0.0005")
HOURS = Decimal(8)
CAP_PER_HOUR = Decimal("0.04")
LATEST_STAMP_MS = 100


def hourly_rate(premium: Decimal) -> Decimal:
    """(premium + clamp(0.0001 − premium, ±0.0005)) / 8, capped at 4 % per hour."""
    clamped = max(-CLAMP, min(CLAMP, INTEREST_8H - premium))
    return max(-CAP_PER_HOUR, min(CAP_PER_HOUR, (premium + clamped) / HOURS))


class Funding:
    def __init__(self, state: VenueState) -> None:
        self._state = state

    def sample(self, until_ms: int) -> None:
        """Takes the premium samples due until `until_ms`; to be called before time moves."""
        count = until_ms // SAMPLE_MS - self._state.now_ms // SAMPLE_MS
        if count <= 0:
            return
        for market in self._state.universe.perps():
            if market.is_halted:
                continue
            premium = market.premium()
            market.premium_sum += count * (ZERO if premium is None else premium)
            market.premium_samples += count

    def average_premium(self, market: PerpMarket) -> Decimal:
        if not market.premium_samples:
            return ZERO
        return rounded(market.premium_sum / market.premium_samples, RATE_UNIT)

    def current_rate(self, market: PerpMarket) -> Decimal:
        """The hourly rate that would be settled now."""
        return ZERO if market.is_halted else rounded(hourly_rate(self.average_premium(market)), RATE_UNIT)

    def next_settlement_ms(self) -> int:
        return self._state.now_ms - self._state.now_ms % HOUR_MS + HOUR_MS

    def settle(self, rates: Mapping[str, Decimal] | None = None) -> None:
        """Settles all markets at their own rates, or the named coins at the given hourly rates."""
        state = self._state
        state.next_transaction()
        for market in state.universe.perps():
            if rates is not None and market.coin not in rates:
                continue
            if market.is_halted:
                continue
            rate = self.current_rate(market) if rates is None else rates[market.coin]
            stamp = state.now_ms + state.random_below(LATEST_STAMP_MS)
            if market.funding_history:
                stamp = max(stamp, market.funding_history[-1][0])
            market.funding_history.append((stamp, rate, self.average_premium(market)))
            market.premium_sum, market.premium_samples = ZERO, 0
            self._pay(market, rate)
            state.journal.price_changed(market.coin)

    def _pay(self, market: PerpMarket, rate: Decimal) -> None:
        """Each holder's `usdc` is −szi × oracle × rate in whole micro-USDC; none of zero."""
        state = self._state
        for account in market.holders.values():
            wallet = account.wallet(market.dex)
            position = wallet.positions[market.coin]
            usdc = truncated(-position.szi * market.oracle_px * rate, MICRO_USDC)
            if not usdc:
                continue
            wallet.pay_funding(position, -usdc)
            state.funding_residue -= usdc
            payment = FundingPayment(state.now_ms, state.tx_hash(), market.coin, usdc, position.szi, rate)
            account.fundings.append(payment)
            state.journal.funding_paid(account.address, payment)
