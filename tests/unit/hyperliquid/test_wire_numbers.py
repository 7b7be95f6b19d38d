"""Numbers written into actions are canonical or refused; numbers read from the venue are exact or refused."""

import json
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest
from hyperliquid.utils.signing import float_to_wire
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hyperliquid.wire_numbers import (
    WireNumberError,
    from_micro_usdc,
    parse_decimal,
    to_micro_usdc,
    to_wire,
)

RECORDED = Path(__file__).parents[4] / "shared/data/hyperliquid/info"


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        ("43210.0", "43210"),
        ("0.00025", "0.00025"),
        ("100", "100"),
        ("1E+2", "100"),
        ("1.10", "1.1"),
        ("1e-05", "0.00001"),
        ("123456.0", "123456"),
        ("1e22", "10000000000000000000000"),
        ("1e-08", "0.00000001"),
        ("1.00000001", "1.00000001"),
        ("0.3", "0.3"),
        ("-0.0", "0"),
        ("0", "0"),
        ("0E+400", "0"),
        ("0E-400", "0"),
        ("-1.50", "-1.5"),
        ("1." + "0" * 400, "1"),
        ("9" * 30, "9" * 30),
    ],
)
def test_the_wire_form_is_canonical(value: str, wire: str) -> None:
    assert to_wire(Decimal(value)) == wire


@pytest.mark.parametrize(
    "value",
    [
        "1e-09",
        "0.123456789",
        "1.000000001",
        "1E+400",
        "-1E+400",
        "1E+999999",
        "1E-999999",
        "1e30",
        "NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
    ],
)
def test_what_the_venue_cannot_take_is_refused_and_never_rounded(value: str) -> None:
    with pytest.raises(WireNumberError):
        to_wire(Decimal(value))


@pytest.mark.parametrize("value", [1.5, 1, "1.5", None, True])
def test_only_decimals_are_written(value: Any) -> None:
    with pytest.raises(WireNumberError, match="Decimal"):
        to_wire(value)


@given(st.decimals(min_value="-99999", max_value="99999", places=8))
@settings(deadline=None, max_examples=150)
def test_the_wire_form_keeps_the_value_and_is_unique(value: Decimal) -> None:
    wire = to_wire(value)
    assert Decimal(wire) == value
    assert wire == to_wire(Decimal(wire)) == to_wire(value * Decimal("1.000"))
    assert "E" not in wire
    assert not (("." in wire) and wire.endswith(("0", ".")))


@given(st.decimals(min_value="0.0001", max_value="99999", places=4))
@settings(deadline=None, max_examples=150)
def test_the_wire_form_equals_the_official_sdk(value: Decimal) -> None:
    assert to_wire(value) == float_to_wire(float(value))


def test_the_ambient_decimal_context_has_no_influence() -> None:
    with localcontext(prec=1):
        assert to_wire(Decimal("43210.12345678")) == "43210.12345678"
        assert parse_decimal("43210.12345678") == Decimal("43210.12345678")
        assert to_micro_usdc(Decimal("1234567.891234")) == 1234567891234
        assert str(from_micro_usdc(1234567891234)) == "1234567.891234"


@pytest.mark.parametrize(
    ("text", "value"),
    [("43210.0", "43210.0"), ("0.0", "0.0"), ("-0.0213", "-0.0213"), ("-0.0", "0.0"), ("7", "7")],
)
def test_the_style_of_reads_is_parsed_exactly(text: str, value: str) -> None:
    assert str(parse_decimal(text)) == value


@pytest.mark.parametrize(
    "text",
    [
        "", " 1", "1 ", "1\n", "+1", "1e5", "1E-7", "NaN", "-Infinity", "inf", "1_000", "1,5", "1.", ".5",
        "00.5", "--1", "0x10", "٣", "1" * 65, 1, 1.5, None, True, ["1"], Decimal(1),
    ],
)  # fmt: skip
def test_anything_else_from_the_venue_is_refused_by_name(text: Any) -> None:
    with pytest.raises(WireNumberError, match="limitPx"):
        parse_decimal(text, "limitPx")


@pytest.mark.parametrize(
    ("amount", "millionths"),
    [("2.5", 2_500_000), ("-2.5", -2_500_000), ("0.000001", 1), ("0", 0), ("1E+3", 10**9)],
)
def test_usdc_amounts_are_whole_millionths(amount: str, millionths: int) -> None:
    assert to_micro_usdc(Decimal(amount)) == millionths
    assert from_micro_usdc(millionths) == Decimal(amount)


@pytest.mark.parametrize("amount", ["0.0000001", "2.5000001", "NaN", "1E+400", "Infinity"])
def test_a_fraction_of_a_millionth_is_refused(amount: str) -> None:
    with pytest.raises(WireNumberError):
        to_micro_usdc(Decimal(amount))


NUMBER_FIELDS = {
    "px", "sz", "startPosition", "closedPnl", "fee", "limitPx", "origSz", "usdc", "szi", "fundingRate",
    "premium", "entryPx", "liquidationPx", "marginUsed", "positionValue", "returnOnEquity", "unrealizedPnl",
    "accountValue", "totalMarginUsed", "totalNtlPos", "totalRawUsd", "withdrawable", "rawUsd", "allTime",
    "sinceOpen", "sinceChange", "cumVlm",
}  # fmt: skip


def number_strings(value: Any, field: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in number_strings(inner, key)]
    if isinstance(value, list):
        return [found for inner in value for found in number_strings(inner, field)]
    return [(field, value)] if field in NUMBER_FIELDS and isinstance(value, str) else []


@pytest.mark.skipif(
    not RECORDED.is_dir(), reason="the recorded answers of the venue are not beside this checkout"
)
def test_every_number_of_the_recorded_answers_is_read() -> None:
    found = [
        number
        for path in sorted(RECORDED.glob("*.json"))
        for number in number_strings(json.loads(path.read_text()))
    ]
    assert len(found) > 1000
    for field, text in found:
        assert parse_decimal(text, field) == Decimal(text)
