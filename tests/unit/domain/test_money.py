"""The one decimal context, and what may enter it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from domain.money import MAX_AMOUNT, decimal_text, is_usable, parse_decimal, round_down_to_step


@pytest.mark.parametrize("text", ["0", "0.0", "-0.0213", "43210.0", "00012.50", "9" * 60])
def test_a_venue_number_is_read_exactly(text: str) -> None:
    assert parse_decimal(text) == Decimal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        ".5",
        "5.",
        "-.5",
        "+1",
        "1e5",
        "NaN",
        "Infinity",
        " 1",
        "1 ",
        "1_000",
        "1,5",
        "٣",
        "1" * 65,
        "--1",
    ],
)
def test_anything_else_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="not a decimal string"):
        parse_decimal(text)


def test_what_is_not_text_is_no_number() -> None:
    with pytest.raises(ValueError, match="not a decimal string"):
        parse_decimal(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "text"),
    [("1E+2", "100"), ("1.500", "1.5"), ("-0.0", "0"), ("9E-8", "0.00000009"), ("100", "100"), ("0E+9", "0")],
)
def test_a_number_has_one_text(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text


@pytest.mark.parametrize("value", ["0", "-0", "9e-8", "1e15", "-1e15", "0E+999999"])
def test_numbers_that_trade_are_usable(value: str) -> None:
    assert is_usable(Decimal(value))


@pytest.mark.parametrize(
    "value", ["NaN", "sNaN", "Infinity", "-Infinity", "1e21", "1E+9999999", "-1E+9999999", "1e-400000"]
)
def test_absurd_numbers_are_not_usable_and_cost_nothing(value: str) -> None:
    assert not is_usable(Decimal(value))


def test_the_largest_amount_is_usable_and_the_next_is_not() -> None:
    assert is_usable(MAX_AMOUNT)
    assert not is_usable(MAX_AMOUNT.next_plus())


def test_rounding_to_a_step_is_towards_zero() -> None:
    assert round_down_to_step(Decimal("1.2399"), Decimal("0.01")) == Decimal("1.23")
    assert round_down_to_step(Decimal("-1.2399"), Decimal("0.01")) == Decimal("-1.23")
