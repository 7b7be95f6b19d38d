"""What one step of the core leads to: events to commit, effects to carry out afterwards."""

from __future__ import annotations

import msgspec

from domain.effects import Effect
from domain.updates import Change

__all__ = ["Outcome"]


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """`changes` are committed as one group before any of `effects` is carried out. `books` names the markets
    whose order book this input moved (no event: market data is not a fact about an order)."""

    changes: list[Change]
    effects: list[Effect]
    books: tuple[str, ...] = ()
