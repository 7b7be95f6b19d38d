"""Three kinds of "no", each answered in its own place of the protocol (sheet 4.4 to 4.6)."""

from __future__ import annotations

from typing import NamedTuple


class Unprocessable(Exception):
    """The request does not deserialise into any known type: HTTP 422 with a plain text (sheet 4.4)."""

    def __init__(self, text: str = "Failed to deserialize the JSON body into the target type") -> None:
        super().__init__(text)
        self.text = text


class ActionError(Exception):
    """The action as a whole is refused: HTTP 200 with `{"status":"err","response":text}` (sheet 4.3)."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Refusal(NamedTuple):
    """Why one order is refused: the status that is recorded (sheet 6) and the text that is sent (4.6)."""

    status: str
    text: str


class OrderRefused(Exception):
    """One entry of an action is refused; its neighbours go on (sheet 4.5, live errors)."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


TICK = Refusal("tickRejected", "Price must be divisible by tick size.")
MIN_NOTIONAL = Refusal("minTradeNtlRejected", "Order must have minimum value of $10.")
INSUFFICIENT_MARGIN = Refusal("perpMarginRejected", "Insufficient margin to place order.")
REDUCE_ONLY = Refusal("reduceOnlyRejected", "Reduce only order would increase position.")
IOC_CANCEL = Refusal("iocCancelRejected", "Order could not immediately match against any resting orders.")
BAD_TRIGGER = Refusal("badTriggerPxRejected", "Invalid TP/SL price.")
NO_LIQUIDITY = Refusal("marketOrderNoLiquidityRejected", "No liquidity available for market order.")
OPEN_INTEREST_CAP = Refusal(
    "positionIncreaseAtOpenInterestCapRejected",
    "Order would increase open interest while open interest is capped",
)
OPEN_INTEREST_CAP_FLIP = Refusal(
    "positionFlipAtOpenInterestCapRejected",
    "Order would increase open interest while open interest is capped",
)
INSUFFICIENT_SPOT = Refusal("insufficientSpotBalanceRejected", "Insufficient spot balance")
MARGIN_TIER = Refusal(
    "perpMaxPositionRejected",
    "Order would cause position to exceed margin tier limit at current leverage",
)
INVALID_PRICE = Refusal("rejected", "Order has invalid price.")
INVALID_SIZE = Refusal("rejected", "Order has invalid size.")
ZERO_SIZE = Refusal("rejected", "Order has zero size.")
UNKNOWN_ASSET = Refusal("rejected", "Unknown asset.")
HALTED = Refusal("rejected", "Trading is halted.")
POST_ONLY_PERIOD = Refusal("rejected", "Only post-only orders allowed immediately after a network upgrade")
TRIGGER_COUNT = Refusal("rejected", "Unexpected number of trigger orders")
DUPLICATE_CLOID = Refusal("rejected", "Duplicate cloid")
TPSL_NOT_REDUCE_ONLY = Refusal("rejected", "TP/SL orders must be reduce-only")
TOO_MANY_OPEN_ORDERS = Refusal("tooManyOpenOrdersRejected", "Too many open orders")

MISSING_ORDER_TEXT = "Order was never placed, already canceled, or filled."
CANNOT_MODIFY_TEXT = "Cannot modify canceled or filled order"
MODIFY_LEG_FAILED_TEXT = "Error placing new order during modify: "


def post_only_would_match(bid: str, ask: str) -> Refusal:
    """The Alo refusal, which quotes the best bid and offer."""
    return Refusal(
        "badAloPxRejected",
        f"Post only order would have immediately matched, bbo was {bid}@{ask}.",
    )


def min_spot_notional(quote_token: str) -> Refusal:
    """The spot minimum is ten units of the quote token (sheet 9.4)."""
    return Refusal("minTradeSpotNtlRejected", f"Order must have minimum value of 10 {quote_token}.")


def too_far_from_reference(percent: int) -> Refusal:
    """The price band around the reference price (sheet 2.3 and 4.6)."""
    return Refusal(
        "oracleRejected", f"Order price cannot be more than {percent}% away from the reference price"
    )
