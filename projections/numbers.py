"""Which numbers of an event may enter a view: finite, of a magnitude that trades, possible for their kind."""

from __future__ import annotations

from collections.abc import Callable

from domain.events import (
    AccountFillBooked,
    AccountFillCorrected,
    AccountFundingBooked,
    Fill,
    LedgerEvent,
    OrderAmended,
    OrderCreated,
    OrderFillCorrected,
    OrderFilled,
)
from domain.money import ZERO, is_usable

__all__ = ["BRING_NUMBERS", "impossible_numbers"]


def impossible_numbers(event: LedgerEvent) -> str:
    """What is wrong with the numbers an event brings, the same text in every run; empty when nothing is.

    Looked at once, before any fold: further on, every sum and quotient is defined.
    """
    judge = _JUDGE.get(type(event))
    return "" if judge is None else judge(event)


def _booked(event: OrderFilled | AccountFillBooked) -> str:
    return _fill(event.fill)


def _corrected(event: OrderFillCorrected | AccountFillCorrected) -> str:
    return _fill(event.was) or ("" if event.now is None else _fill(event.now))


def _fill(fill: Fill) -> str:
    price, amount, fee = fill.price, fill.amount, fill.fee
    if is_usable(price) and is_usable(amount) and is_usable(fee) and amount > ZERO and price >= ZERO:
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
    OrderFilled: _booked,
    AccountFillBooked: _booked,
    OrderFillCorrected: _corrected,
    AccountFillCorrected: _corrected,
    OrderCreated: _created,
    OrderAmended: _amended,
    AccountFundingBooked: _funding,
}

BRING_NUMBERS = frozenset(_JUDGE)
"""The events that bring any. Most do not, and need no judge."""
