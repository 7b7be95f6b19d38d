"""The venue's order statuses, and how each one ends an order (sheet 6).

A status never tells how much was filled: quantity comes from fills alone. Statuses whose name is not in the
table are read by their ending, because the venue adds new ones; what has no known ending is typed as
unknown, for the caller to record.
"""

from enum import StrEnum

import msgspec

from adapters.hyperliquid.reason_codes import VENUE_OTHER
from domain.enums import ClosingKind

__all__ = ["OrderStatus", "Reading", "read_order_status"]


class Reading(StrEnum):
    """How a status was understood."""

    LISTED = "listed"
    """By the table of the sheet."""

    SUFFIX = "suffix"
    """By its ending: a status the venue has added since."""

    UNKNOWN = "unknown"
    """Not at all. It closes nothing and proves nothing; record it and ask again."""


class OrderStatus(msgspec.Struct, frozen=True):
    """What a status says. `closing` is None while the order may still execute, and for unknown statuses.

    `is_alive` is true when the status proves that the order is on the book or executing. `reason` is the
    reason code of a closing, the same as that of the error text with the same cause; empty where there is
    none.
    """

    status: str
    closing: ClosingKind | None
    reason: str
    is_alive: bool
    reading: Reading


_CANCELLED, _FAILED, _EXPIRED = ClosingKind.CANCELLED, ClosingKind.FAILED, ClosingKind.EXPIRED

_TABLE: dict[str, tuple[ClosingKind | None, str]] = {
    "open": (None, ""),
    "triggered": (None, ""),
    "filled": (ClosingKind.FILLED, ""),
    "canceled": (_CANCELLED, "cancelled_by_user"),
    "rejected": (_FAILED, VENUE_OTHER),
    "marginCanceled": (_CANCELLED, "insufficient_margin"),
    "vaultWithdrawalCanceled": (_CANCELLED, "vault_withdrawal"),
    "openInterestCapCanceled": (_CANCELLED, "open_interest_cap"),
    "selfTradeCanceled": (_CANCELLED, "self_trade"),
    "reduceOnlyCanceled": (_CANCELLED, "reduce_only_position_closed"),
    "siblingFilledCanceled": (_CANCELLED, "sibling_filled"),
    "delistedCanceled": (_CANCELLED, "market_delisted"),
    "liquidatedCanceled": (_CANCELLED, "account_liquidated"),
    "outcomeSettledCanceled": (_CANCELLED, "outcome_settled"),
    "internalCancel": (_CANCELLED, "venue_internal"),
    "scheduledCancel": (_EXPIRED, "scheduled_cancel"),
    "iocCancelRejected": (_EXPIRED, "ioc_no_match"),
    "tickRejected": (_FAILED, "tick_size"),
    "minTradeNtlRejected": (_FAILED, "min_notional"),
    "minTradeSpotNtlRejected": (_FAILED, "min_notional"),
    "perpMarginRejected": (_FAILED, "insufficient_margin"),
    "perpMaxPositionRejected": (_FAILED, "margin_tier_limit"),
    "insufficientSpotBalanceRejected": (_FAILED, "insufficient_spot_balance"),
    "oracleRejected": (_FAILED, "price_too_far"),
    "marketOrderNoLiquidityRejected": (_FAILED, "no_liquidity"),
    "tooManyOpenOrdersRejected": (_FAILED, "too_many_open_orders"),
    "reduceOnlyRejected": (_FAILED, "reduce_only_would_increase"),
    "badAloPxRejected": (_FAILED, "post_only_would_cross"),
    "badTriggerPxRejected": (_FAILED, "trigger_price_on_wrong_side"),
    "positionIncreaseAtOpenInterestCapRejected": (_FAILED, "open_interest_cap"),
    "positionFlipAtOpenInterestCapRejected": (_FAILED, "open_interest_cap"),
    "tooAggressiveAtOpenInterestCapRejected": (_FAILED, "open_interest_cap_price"),
    "openInterestIncreaseRejected": (_FAILED, "open_interest_too_fast"),
}

_SUFFIXES = (("Canceled", _CANCELLED), ("Cancel", _CANCELLED), ("Rejected", _FAILED))


def read_order_status(status: str, *, is_ioc: bool = False) -> OrderStatus:
    """What a venue's order status means; `is_ioc` tells that the order was immediate-or-cancel.

    The unfilled rest of an immediate-or-cancel order is `canceled` by its own lifetime, hence EXPIRED. An
    immediate-or-cancel order that is `filled` short of its amount ends so too, but only its fills can tell.
    `unknownOid` is no status of an order but the answer that the venue does not know one; it reads as
    unknown.
    """
    listed = _TABLE.get(status)
    if listed is not None:
        closing, reason = listed
        if status == "canceled" and is_ioc:
            closing, reason = ClosingKind.EXPIRED, "ioc_remainder"
        return OrderStatus(status, closing, reason, closing is None, Reading.LISTED)
    for suffix, closing in _SUFFIXES:
        if status.endswith(suffix):
            return OrderStatus(status, closing, VENUE_OTHER, False, Reading.SUFFIX)
    return OrderStatus(status, None, "", False, Reading.UNKNOWN)
