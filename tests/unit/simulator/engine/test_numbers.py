"""How the venue prints numbers and which prices it accepts (sheet 2)."""

from decimal import Decimal

import pytest

from adapters.simulator.engine import Unprocessable
from adapters.simulator.engine.numbers import (
    arithmetic,
    decimals_of,
    is_valid_price,
    parse_number,
    read_text,
    wire_text,
)


@pytest.mark.parametrize(
    ("kind", "sz_decimals", "price", "valid"),
    [
        ("perp", 1, "1234.5", True),
        ("perp", 1, "1234.56", False),
        ("perp", 3, "123456", True),
        ("perp", 0, "12345.6", False),
        ("perp", 0, "0.001234", True),
        ("perp", 0, "0.0012345", False),
        ("perp", 1, "0.01234", True),
        ("perp", 1, "0.012345", False),
        ("spot", 0, "0.0001234", True),
        ("spot", 1, "0.0001234", True),
        ("spot", 2, "0.0001234", False),
        ("perp", 5, "75951.3", False),
        ("perp", 5, "75951", True),
        ("perp", 5, "9999.5", True),
        ("perp", 4, "1998.09", False),
        ("perp", 4, "1998.1", True),
        ("perp", 4, "12.35", True),
        ("perp", 4, "12.345", False),
        ("perp", 1, "1234.500", True),
    ],
)
def test_the_price_examples_of_the_sheet(kind: str, sz_decimals: int, price: str, valid: bool) -> None:
    max_decimals = {"perp": 6, "spot": 8}[kind] - sz_decimals
    assert is_valid_price(Decimal(price), max_decimals) is valid


@pytest.mark.parametrize(
    ("value", "wire", "read"),
    [
        ("43210", "43210", "43210.0"),
        ("43210.0", "43210", "43210.0"),
        ("0", "0", "0.0"),
        ("-0.0", "0", "0.0"),
        ("0.00025", "0.00025", "0.00025"),
        ("1E+2", "100", "100.0"),
        ("1E-8", "0.00000001", "0.00000001"),
        ("-0.02130", "-0.0213", "-0.0213"),
    ],
)
def test_numbers_read_with_a_decimal_and_are_canonical_on_the_wire(value: str, wire: str, read: str) -> None:
    assert wire_text(Decimal(value)) == wire
    assert read_text(Decimal(value)) == read


@pytest.mark.parametrize(
    "text", ["", "abc", "NaN", "Infinity", "1e5", "1E21", "+1", ".5", "5.", " 1", 1, None, "١"]
)
def test_what_is_not_a_decimal_string_does_not_deserialise(text: object) -> None:
    with pytest.raises(Unprocessable):
        parse_number(text)


def test_trailing_zeros_are_not_decimals() -> None:
    assert decimals_of(Decimal("1.500")) == 1
    assert decimals_of(Decimal(100)) == 0


def test_the_engine_computes_in_its_own_context() -> None:
    from decimal import localcontext

    with localcontext() as callers:
        callers.prec = 3
        with arithmetic():
            assert Decimal("43210.5") * 3 == Decimal("129631.5")
