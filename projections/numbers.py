"""Which numbers of an event may enter a view: finite, of a magnitude that trades, possible for their kind."""

from __future__ import annotations

from collections.abc import Callable

from domain.events import (
    AccountFillBooked,
    AccountFundingBooked,
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
    judge = _JUDGE.get(type(event))
    return "" if judge is None else judge(event)


def _fill(event: OrderFilled | AccountFillBooked) -> str:
    fill = event.fill
    price, amount, fee = fill.price, fill.amount, fill.fee
    if is_usable(price) and is_usable(amount) and is_usable(fee) and amount > 0 and price >= 0:
        return ""
    return f"not a fill: {amount:.12} at {price:.12}, fee {fee:.12}"


def _created(event: OrderCreated) -> str:
    if is_usable(event.price) and is_usable(event.amount):
        return ""
    return f"not an order: {event.amount:.12} at {event.price:.12}"


def _amended(event: OrderAmended) -> str:
    if is_usable(event.price) and is_usable(event.leg_amount):
        return ""
    return f"not an order: {event.leg_amount:.12} at {event.price:.12}"


def _funding(event: AccountFundingBooked) -> str:
    return "" if is_usable(event.amount) else f"not a payment: {event.amount:.12}"


_JUDGE: dict[type[LedgerEvent], Callable[..., str]] = {
    OrderFilled: _fill,
    AccountFillBooked: _fill,
    OrderCreated: _created,
    OrderAmended: _amended,
    AccountFundingBooked: _funding,
}
