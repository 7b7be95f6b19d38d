"""What is asked at a start has its weight too, and under a low limit that takes minutes (sheet 9.1)."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.hyperliquid.dexes import dexes_of
from adapters.hyperliquid.limits import WeightWindow

__all__ = ["start_waits_s"]

_START_WEIGHT = 350
"""Markets, roles, state, orders, fills, funding and transfers; lists count with their longest answer until
they are there."""

_FURTHER_DEX_WEIGHT = 45
"""Markets, orders and state of each dex but the venue's own."""

_MINUTE_S = 60


def start_waits_s(weight_per_minute: int, trading_pairs: Sequence[str]) -> int:
    """How many seconds a start waits for the weight limit alone, for an account without much history; 0 when
    all that is asked fits into the first minute. Raises LimitError when nothing can ever be asked."""
    weight = _START_WEIGHT + _FURTHER_DEX_WEIGHT * (len(dexes_of(trading_pairs)) - 1)
    per_minute = WeightWindow(weight_per_minute=weight_per_minute).read_limit
    return _MINUTE_S * ((weight - 1) // per_minute)
