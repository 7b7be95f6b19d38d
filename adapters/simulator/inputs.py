"""Reading what an operator sends to the control endpoints, with errors that say what to do."""

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

Reader = Callable[[Any], Any]
"""Checks one member and returns its value; raises BadInput."""

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_MOST_MS = 366 * 24 * 3600 * 1000
DIGITS_MAX = 12
"""Less than 10 to this power: more than there is of anything, and products of it stay exact."""
DECIMALS_MAX = 18


class BadInput(ValueError):
    """Something an operator asked for that cannot be done; the message says what to change."""


def duration_ms(value: Any) -> int:
    """A number of milliseconds, up to a year."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_MS:
        raise BadInput(f"expected a number of milliseconds from 0 to {_MOST_MS}")
    return value


def count(value: Any) -> int:
    """A number of things."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadInput("expected an integer, 0 or more")
    return value


def at_least_one(value: Any) -> int:
    """A number of things, of which there must be one."""
    if count(value) < 1:
        raise BadInput("expected an integer, 1 or more")
    return int(value)


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise BadInput("expected true or false")
    return value


def text(value: Any) -> str:
    """Any string."""
    if not isinstance(value, str):
        raise BadInput("expected a string")
    return value


def decimal(value: Any) -> Decimal:
    """A decimal in a string, so that no digit is lost on the way."""
    try:
        found = Decimal(value) if isinstance(value, str) else Decimal("NaN")
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite():
        raise BadInput('expected a decimal in a string, such as "0.5"')
    exponent = found.as_tuple().exponent
    assert isinstance(exponent, int)
    # Compared by its exponent first: a number of a billion digits is never written out.
    if found and (exponent < -DECIMALS_MAX or found.adjusted() >= DIGITS_MAX):
        raise BadInput(f"expected less than 10^{DIGITS_MAX}, with at most {DECIMALS_MAX} decimals")
    return found


def positive(value: Any) -> Decimal:
    """A decimal above zero, in a string."""
    found = decimal(value)
    if found <= 0:
        raise BadInput("expected a decimal above 0")
    return found


def fraction(value: Any) -> Decimal:
    """A decimal above zero and at most one, in a string."""
    found = positive(value)
    if found > 1:
        raise BadInput("expected a decimal above 0 and at most 1")
    return found


def address(value: Any) -> str:
    """An account's address, lower-cased."""
    lowered = text(value).lower()
    if not _ADDRESS.fullmatch(lowered):
        raise BadInput("expected an address: 0x and 40 hex digits")
    return lowered


def oid_or_cloid(value: Any) -> int | str:
    """An order id: the venue's integer or the client's 0x text."""
    return text(value).lower() if isinstance(value, str) else count(value)


def word(*words: str | int) -> Reader:
    """One of a fixed set."""

    def read(value: Any) -> Any:
        if isinstance(value, bool) or value not in words:
            raise BadInput(f"expected one of {', '.join(map(str, words))}")
        return value

    return read
