"""What an operator may send to the control endpoints."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from adapters.simulator.inputs import BadInput, decimal


@pytest.mark.parametrize("number", ["1e12", "-1e12", "1e500", "1e999999999", "1e-19", "1e-999999999"])
def test_a_number_that_nothing_could_be_computed_with_is_refused(number: str) -> None:
    with pytest.raises(BadInput, match=r"less than 10\^12, with at most 18 decimals"):
        decimal(number)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "x", "", 1, 0.5, None, ["1"]])
def test_what_is_no_decimal_in_a_string_is_refused(value: Any) -> None:
    with pytest.raises(BadInput, match="decimal in a string"):
        decimal(value)


@pytest.mark.parametrize("number", ["0", "0e99", "-0.5", "999999999999.999999", "1e-18", "1e11"])
def test_numbers_of_this_world_are_read_as_they_are(number: str) -> None:
    assert decimal(number) == Decimal(number)
