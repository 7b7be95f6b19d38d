"""Which numbers of an event may enter a view: finite, of a magnitude that trades, possible for their kind."""

from __future__ import annotations

from domain.events import (
    AccountFillBooked,
    AccountFundingBooked,
    Fill,
    LedgerEvent,
    OrderAmended,
    OrderCreated,
    OrderFilled,
)
from domain.money import is_usable

__all__ = ["impossible_numbers"]


def impossible_numbers(event: LedgerEvent) -> str:
    """What is wrong with the numbers an event brings, the same text in every run; empty when nothing is.

    Looked at once, before any fold: further on, every sum and quotient is defined.
    """
    kind = type(event)
    if kind is OrderFilled or kind is AccountFillBooked:
        fill: Fill = event.fill  # type: ignore[attr-defined]
        price, amount = fill.price, fill.amount
        if is_usable(price) and is_usable(amount) and is_usable(fill.fee) and amount > 0 and price >= 0:
            return ""
        return f"not a fill: {amount:.12} at {price:.12}, fee {fill.fee:.12}"
    if isinstance(event, OrderCreated):
        if is_usable(event.price) and is_usable(event.amount):
            return ""
        return f"not an order: {event.amount:.12} at {event.price:.12}"
    if isinstance(event, OrderAmended):
        if is_usable(event.price) and is_usable(event.leg_amount):
            return ""
        return f"not an order: {event.leg_amount:.12} at {event.price:.12}"
    if isinstance(event, AccountFundingBooked) and not is_usable(event.amount):
        return f"not a payment: {event.amount:.12}"
    return ""
