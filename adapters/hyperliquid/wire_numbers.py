"""Decimal numbers as the venue writes and reads them.

Inside an action a number is a canonical string (sheet 2.2): the venue rebuilds the signed bytes from its own
formatting, so `43210.0` in place of `43210` is not a tick error but a signature by a stranger. Reads use
another style (`"43210.0"`, `"-0.0213"`); `parse_decimal` takes those, `to_wire` writes the former, and no
string ever goes from one to the other without passing through a Decimal.
"""

import re
from decimal import Decimal

WIRE_DECIMALS_MAX = 8
"""Most decimals a number inside an action may have (sheet 2.2)."""

WIRE_INTEGER_DIGITS_MAX = 30
"""Most digits before the point. Far above any price, size or balance; stops `1E+400` before it is spelled
out."""

READ_LENGTH_MAX = 64
"""Longest decimal string accepted from the venue, in characters."""

_MICRO_USDC_DECIMALS = 6
_READ_GRAMMAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")


class WireNumberError(ValueError):
    """A number cannot be written in, or read from, the venue's form."""


def to_wire(value: Decimal) -> str:
    """The canonical string of `value` inside an action: no exponent, no trailing zeros, no `-0`.

    Raises WireNumberError when it is no Decimal, not finite, needs more than 8 decimals or has more than 30
    digits before the point. Nothing is ever rounded, whatever the ambient decimal context.
    """
    _require_decimal(value)
    if not value.is_finite():
        raise WireNumberError(f"{value} is not a number the venue can take")
    if not value:
        return "0"
    magnitude = value.adjusted()
    if magnitude >= WIRE_INTEGER_DIGITS_MAX:
        raise WireNumberError(
            f"{value!r} is too large: more than {WIRE_INTEGER_DIGITS_MAX} digits before the point"
        )
    if magnitude < -WIRE_DECIMALS_MAX:
        raise WireNumberError(
            f"{value!r} has more than {WIRE_DECIMALS_MAX} decimals; round it before sending"
        )
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").removesuffix(".")
        _, _, decimals = text.partition(".")
        if len(decimals) > WIRE_DECIMALS_MAX:
            raise WireNumberError(
                f"{value!r} has more than {WIRE_DECIMALS_MAX} decimals; round it before sending"
            )
    return text


def parse_decimal(text: object, field: str = "value") -> Decimal:
    """The number in a venue's decimal string; `field` names it in the error.

    Takes plain notation only (`"43210.0"`, `"-0.0213"`, `"0.0"`): no sign `+`, exponent, `NaN`, blank,
    leading zero or digit outside ASCII, and no JSON number, which would have passed through a float on its
    way. A negative zero becomes zero. Raises WireNumberError otherwise.
    """
    if not isinstance(text, str):
        raise WireNumberError(f"{field}: expected a decimal string, got {type(text).__name__}")
    if len(text) > READ_LENGTH_MAX:
        raise WireNumberError(
            f"{field}: a decimal string of {len(text)} characters is no number of the venue"
        )
    if _READ_GRAMMAR.fullmatch(text) is None:
        raise WireNumberError(f"{field}: {text!r} is not a plain decimal number")
    value = Decimal(text)
    return value if value else value.copy_abs()


def to_micro_usdc(amount: Decimal) -> int:
    """An amount of USDC as the integer of millionths that `ntli` and `usd` fields carry (sheet 2.2).

    Raises WireNumberError when the amount is not finite, is absurdly large or has a fraction of a millionth.
    """
    _, _, decimals = to_wire(amount).partition(".")
    if len(decimals) > _MICRO_USDC_DECIMALS:
        raise WireNumberError(f"{amount} USDC has a fraction of a millionth; round it to 6 decimals")
    # Within the bounds that to_wire has checked, scaling the exponent is exact and needs no context.
    sign, digits, exponent = amount.as_tuple()
    assert isinstance(exponent, int), "a finite decimal has an integer exponent"
    return int(Decimal((sign, digits, exponent + _MICRO_USDC_DECIMALS)))


def from_micro_usdc(millionths: int) -> Decimal:
    """The amount of USDC that an integer of millionths stands for, exactly."""
    sign, digits, _ = Decimal(millionths).as_tuple()
    return Decimal((sign, digits, -_MICRO_USDC_DECIMALS))


def _require_decimal(value: object) -> None:
    if not isinstance(value, Decimal):
        raise WireNumberError(f"expected a Decimal, got {type(value).__name__}: {value!r}")
