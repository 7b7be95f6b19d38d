"""How an account keeps its collateral (`userAbstraction`, sheet 5.6)."""

__all__ = ["SEPARATE_MODES"]

SEPARATE_MODES = frozenset({"disabled", "default", "dexAbstraction"})
"""Modes in which the perps' cash is the account's own. In the others it is what the positions happen to use
of a balance elsewhere."""
