"""What the comparisons of a live session weigh, of the request weight that the venue grants (sheet 9.1)."""

from __future__ import annotations

from adapters.hyperliquid.info_requests import WEIGHT_DEFAULT, WEIGHT_LIGHT
from adapters.hyperliquid.limits import WeightWindow

__all__ = ["shortest_period_s", "weight_per_minute"]

_MONEY = 2 * WEIGHT_DEFAULT
"""Funding and transfers. What the rows of answers weigh comes on top, everywhere."""


def weight_per_minute(every_s: int, thorough_every_s: int, dexes: int) -> int:
    """The questions alone: open orders and the account's state on each dex, the fills, the venue's clock; and
    in thorough comparisons funding and transfers."""
    light = dexes * (WEIGHT_DEFAULT + WEIGHT_LIGHT) + WEIGHT_DEFAULT + WEIGHT_LIGHT
    # Rounded up.
    return -(-60 * light // every_s) - (-60 * _MONEY // max(every_s, thorough_every_s))


def shortest_period_s(thorough_every_s: int, dexes: int, granted: int) -> int:
    """The least `every_s` with which the comparisons fit into a granted weight per minute."""
    every_s, for_reads = 1, WeightWindow(weight_per_minute=granted).read_limit
    while weight_per_minute(every_s, thorough_every_s, dexes) > for_reads:
        every_s += 1
    return every_s
