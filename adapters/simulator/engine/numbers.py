"""The venue's decimal arithmetic: context, price and size rules (sheet 2.1), printing (sheet 2.2)."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from decimal import ROUND_DOWN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext

from .errors import Unprocessable

ZERO = Decimal(0)
ONE = Decimal(1)
TEN = Decimal(10)

MICRO_USDC = Decimal("0.000001")
"""The smallest amount of perp collateral: fees, funding and realised PnL are multiples of it."""

SPOT_UNIT = Decimal("0.00000001")
"""The smallest amount of a spot balance."""

LARGEST = Decimal(10) ** 15
"""Prices and sizes from here on are refused as invalid, like on the venue, whose integers would overflow."""

PERP_MAX_DECIMALS = 6
SPOT_MAX_DECIMALS = 8
SIGNIFICANT_FIGURES = 5

CONTEXT = Context(prec=48, traps=[DivisionByZero, InvalidOperation, Overflow])
"""Wide enough that products and sums of legal prices and sizes are exact; only quotients are rounded."""

_WIRE_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")


def arithmetic() -> AbstractContextManager[Context]:
    """The engine's own decimal context, for the length of one call, whatever the caller's context is."""
    return localcontext(CONTEXT)


def parse_number(text: object) -> Decimal:
    """A number of an action: a string of decimal digits. Raises Unprocessable for anything else."""
    if not isinstance(text, str) or _WIRE_NUMBER.fullmatch(text) is None:
        raise Unprocessable
    return Decimal(text)


def wire_text(value: Decimal) -> str:
    """Canonical form, as in actions and error texts: `43210`, `0.00025`; no exponent, no trailing zero."""
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def read_text(value: Decimal) -> str:
    """The style of reads: at least one decimal (`43210.0`, `0.0`, `-0.0213`), no exponent."""
    text = wire_text(value)
    return text if "." in text else text + ".0"


def truncated(value: Decimal, unit: Decimal) -> Decimal:
    """Cut towards zero to a multiple of a power of ten: what the venue does to fees and funding (sheet 8)."""
    return value.quantize(unit, rounding=ROUND_DOWN)


def rounded(value: Decimal, unit: Decimal = MICRO_USDC) -> Decimal:
    """Rounded half to even to a multiple of a power of ten."""
    return value.quantize(unit)


def decimals_of(value: Decimal) -> int:
    """How many decimals the number needs: trailing zeros do not count."""
    exponent = value.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def is_valid_price(price: Decimal, max_decimals: int) -> bool:
    """Sheet 2.1: an integer, or at most five significant figures and `max_decimals` decimals."""
    _, digits, exponent = price.normalize().as_tuple()
    assert isinstance(exponent, int)
    return exponent >= 0 or (len(digits) <= SIGNIFICANT_FIGURES and -exponent <= max_decimals)
