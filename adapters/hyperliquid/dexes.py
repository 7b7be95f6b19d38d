"""Which dexes a session follows (sheet 2)."""

from collections.abc import Sequence

__all__ = ["dexes_of"]


def dexes_of(trading_pairs: Sequence[str]) -> tuple[str, ...]:
    """The dexes that these markets are on: the venue's own (the empty name) first, whether or not one is."""
    return ("", *dict.fromkeys(pair.partition(":")[0] for pair in trading_pairs if ":" in pair))
