"""How much faster an order is signed than by the official SDK, in one process, on the same orders."""

import gc
import json
import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from eth_account import Account
from hyperliquid.utils.signing import sign_l1_action

from adapters.hyperliquid.actions import Action, limit, order, order_entry
from adapters.hyperliquid.auth import HyperliquidAuth

KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"
RATIO_REQUIRED = 4.0

_ROUNDS = 30
_SIGNATURES_PER_ROUND = 40
_NONCE = 1_700_000_000_000
_EXPIRES_AFTER = _NONCE + 15_000


def run() -> dict[str, Any]:
    """Median microseconds per signature of both, and their ratio.

    Rounds of the two alternate, so that whatever else the machine does meets both alike; every round signs
    the same orders under fresh nonces, and both must come to the same signatures.
    """
    ours = HyperliquidAuth(KEY, is_mainnet=True)
    theirs = Account.from_key(KEY)
    action = _an_order()

    def sign_ours(nonce: int) -> tuple[int, int, int]:
        signature = ours.sign_l1_action(action, nonce, expires_after=_EXPIRES_AFTER)
        return int(signature.r, 16), int(signature.s, 16), signature.v

    def sign_theirs(nonce: int) -> tuple[int, int, int]:
        signature = sign_l1_action(theirs, action, None, nonce, _EXPIRES_AFTER, True)
        return int(signature["r"], 16), int(signature["s"], 16), signature["v"]

    _round(sign_ours, _NONCE)
    _round(sign_theirs, _NONCE)
    ours_us, theirs_us = [], []
    gc.disable()
    try:
        for index in range(_ROUNDS):
            nonce = _NONCE + index * _SIGNATURES_PER_ROUND
            our_us, our_signatures = _round(sign_ours, nonce)
            their_us, their_signatures = _round(sign_theirs, nonce)
            if our_signatures != their_signatures:
                raise AssertionError("the two do not sign alike: the comparison is void")
            ours_us.append(our_us)
            theirs_us.append(their_us)
    finally:
        gc.enable()
    ratio = statistics.median(their / our for our, their in zip(ours_us, theirs_us, strict=True))
    return {
        "signatures": _ROUNDS * _SIGNATURES_PER_ROUND,
        "ours_us": round(statistics.median(ours_us), 1),
        "sdk_us": round(statistics.median(theirs_us), 1),
        "ratio": round(ratio, 2),
        "ratio_required": RATIO_REQUIRED,
        "ok": ratio >= RATIO_REQUIRED,
    }


def _an_order() -> Action:
    """What the connector sends most: one post-only order with a cloid."""
    entry = order_entry(
        asset=0,
        is_buy=True,
        price=Decimal("43210"),
        size=Decimal("0.00025"),
        reduce_only=False,
        order_type=limit("Alo"),
        cloid="0x5e1f00000000000000000000000000a1",
    )
    return order([entry])


def _round(
    sign: Callable[[int], tuple[int, int, int]], nonce: int
) -> tuple[float, list[tuple[int, int, int]]]:
    """Microseconds per signature, and the signatures."""
    begin = time.perf_counter_ns()
    signatures = [sign(nonce + offset) for offset in range(_SIGNATURES_PER_ROUND)]
    return (time.perf_counter_ns() - begin) / _SIGNATURES_PER_ROUND / 1000, signatures


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
