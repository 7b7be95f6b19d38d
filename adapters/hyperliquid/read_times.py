"""How long reads take that have to wait for the request weight, with nothing else going on (sheet 9.1)."""

from __future__ import annotations

from collections.abc import Iterable

from adapters.hyperliquid.info_requests import InfoRequest
from adapters.hyperliquid.limits import RequestKind, WeightWindow

__all__ = ["all_asked_ns"]


def all_asked_ns(window: WeightWindow, requests: Iterable[InfoRequest], begin_ns: int) -> int:
    """When the last of these reads may leave, each answered at once and with few rows. Counts them.

    Raises LimitError when one of them can never leave.
    """
    now_ns = begin_ns
    for request in requests:
        weight = window.in_advance(request.weight, request.weight_max)
        now_ns += window.wait_ns(RequestKind.INFO, weight, now_ns)
        charge = window.charge(RequestKind.INFO, weight, now_ns)
        window.settle(charge, request.weight, 0, now_ns)
    return now_ns
