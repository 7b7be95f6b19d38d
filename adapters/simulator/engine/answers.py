"""The bodies of answers to actions (sheet 4.3)."""

from __future__ import annotations

from .matching import Outcome
from .numbers import SPOT_UNIT, read_text, rounded
from .options import VenueOptions
from .parsing import Json


def statuses(kind: str, entries: list[object]) -> Json:
    return {"status": "ok", "response": {"type": kind, "data": {"statuses": entries}}}


def default_answer() -> Json:
    return {"status": "ok", "response": {"type": "default"}}


def entry_error(text: str, asset: int | None = None) -> Json:
    """A per-entry error; live ones name the asset (sheet 4.5)."""
    return {"error": text if asset is None else f"{text} asset={asset}"}


def placed(outcome: Outcome, options: VenueOptions) -> object:
    """The status of one placed order (sheet 4.3)."""
    order = outcome.order
    if outcome.refusal is not None:
        return entry_error(outcome.refusal.text, order.market.asset)
    named: Json = {} if order.cloid is None else {"cloid": order.cloid}
    if order.filled and (not order.is_live or options.partial_gtc_answer == "filled"):
        average = rounded(order.filled_ntl / order.filled, SPOT_UNIT)
        filled = {"totalSz": read_text(order.filled), "avgPx": read_text(average), "oid": order.oid}
        return {"filled": {**filled, **named}}
    return {"resting": {"oid": order.oid, **named}}
