"""Decimal arithmetic with an explicit context; the only arithmetic used on amounts, prices and fees.

The operators of `Decimal` use the thread's ambient context, which anybody may have changed. Every operation
here names its context instead, so that the same inputs give the same digits in every thread and process.
"""

from __future__ import annotations

from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)

__all__ = ["MAX_AMOUNT", "MONEY", "ZERO", "decimal_text", "is_usable", "parse_decimal", "round_down_to_step"]

MONEY = Context(
    prec=50,
    rounding=ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    capitals=1,
    clamp=0,
    traps=[InvalidOperation, DivisionByZero, Overflow],
)
"""Fifty digits: products of two venue numbers are exact; only divisions round, always the same way."""

ZERO = Decimal(0)

MAX_AMOUNT = Decimal("1e15")
"""Nothing that trades is larger; a bigger number is a unit mistake and is refused."""

_MAX_TEXT = 64
_SMALLEST_EXPONENT = -30
_LARGEST_EXPONENT = MAX_AMOUNT.adjusted()


def parse_decimal(text: str) -> Decimal:
    """Read a venue's decimal string (`"43210.0"`, `"-0.0213"`) exactly.

    Raises `ValueError` for anything but an optional sign, digits and one point: no exponent, no NaN, no
    infinity, no separators, and no more than 64 characters (a longer one is not a venue's number).
    """
    if type(text) is not str or not 0 < len(text) <= _MAX_TEXT:
        raise ValueError(f"not a decimal string: {text!r:.80}")
    body = text[1:] if text[0] == "-" else text
    whole, point, fraction = body.partition(".")
    if not (whole.isascii() and whole.isdigit()) or (
        point and not (fraction.isascii() and fraction.isdigit())
    ):
        raise ValueError(f"not a decimal string: {text!r:.80}")
    return Decimal(text)


def decimal_text(value: Decimal) -> str:
    """The one canonical text of a number: no exponent, no trailing zeros, no negative zero."""
    if not value:
        return "0"
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text


def is_usable(value: Decimal) -> bool:
    """Whether a number from outside may enter arithmetic: finite and of a magnitude that trades."""
    if not value.is_finite():
        return False
    # The exponents first: comparing or rounding an absurd number would already be work, or overflow.
    exponent = value.adjusted()
    if _SMALLEST_EXPONENT <= exponent < _LARGEST_EXPONENT:
        return True
    return not value or (exponent == _LARGEST_EXPONENT and value.copy_abs() <= MAX_AMOUNT)


def round_down_to_step(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` not beyond `value` (towards zero), exactly."""
    multiples = MONEY.divide_int(value, step)
    return MONEY.multiply(multiples, step)
