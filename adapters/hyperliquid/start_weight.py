"""What is asked at a start has its weight too, and under a low limit that takes minutes (sheet 9.1)."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.dexes import dexes_of
from adapters.hyperliquid.info_requests import InfoRequest
from adapters.hyperliquid.limits import WeightWindow
from adapters.hyperliquid.read_times import all_asked_ns

__all__ = ["start_waits_s"]

_ANYONE = "0x" + "0" * 40
"""What a question weighs does not depend on the account."""

_SECOND_NS = 1_000_000_000


def start_waits_s(weight_per_minute: int, trading_pairs: Sequence[str]) -> int:
    """How many seconds a start waits for the weight limit alone, for an account without much history; 0 when
    all that is asked fits into the first minute. Raises LimitError when something can never be asked."""
    window = WeightWindow(weight_per_minute=weight_per_minute)
    return -(-all_asked_ns(window, _questions(dexes_of(trading_pairs)), 0) // _SECOND_NS)


def _questions(dexes: Sequence[str]) -> list[InfoRequest]:
    """In the order in which they are asked, with those that only an agent asks, or a restart with orders that
    have ended meanwhile."""
    markets = [info_requests.meta(dex) for dex in dexes]
    if len(dexes) > 1:
        markets.insert(1, info_requests.perp_dexs())
    return [
        *markets,
        info_requests.spot_meta(),
        info_requests.exchange_status(),
        info_requests.user_role(_ANYONE),
        info_requests.user_rate_limit(_ANYONE),
        info_requests.user_role(_ANYONE),
        *(info_requests.clearinghouse_state(_ANYONE, dex) for dex in dexes),
        *(info_requests.frontend_open_orders(_ANYONE, dex) for dex in dexes),
        info_requests.user_fills_by_time(_ANYONE, 0),
        info_requests.user_funding(_ANYONE, 0),
        info_requests.user_non_funding_ledger_updates(_ANYONE, 0),
        info_requests.historical_orders(_ANYONE),
    ]
