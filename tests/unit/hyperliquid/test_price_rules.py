"""Prices and sizes are rounded to what the venue takes, never to the side that costs money."""

from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adapters.hyperliquid.price_rules import (
    MarketKind,
    PriceRuleError,
    is_valid_price,
    is_valid_size,
    market_order_price,
    quantize_size,
    round_price,
    tick_size,
)
from domain.enums import TradeType

PERP, SPOT = MarketKind.PERP, MarketKind.SPOT
BUY, SELL = TradeType.BUY, TradeType.SELL


@pytest.mark.parametrize(
    ("kind", "sz_decimals", "price", "valid"),
    [
        (PERP, 1, "1234.5", True),
        (PERP, 1, "1234.56", False),
        (PERP, 0, "123456", True),
        (PERP, 5, "123456", True),
        (PERP, 0, "12345.6", False),
        (PERP, 5, "12345.6", False),
        (PERP, 0, "0.001234", True),
        (PERP, 0, "0.0012345", False),
        (PERP, 1, "0.01234", True),
        (PERP, 1, "0.012345", False),
        (SPOT, 0, "0.0001234", True),
        (SPOT, 1, "0.0001234", True),
        (SPOT, 2, "0.0001234", False),
        (PERP, 5, "75951.3", False),
        (PERP, 5, "75951", True),
        (PERP, 5, "9999.5", True),
        (PERP, 4, "1998.09", False),
        (PERP, 4, "1998.1", True),
        (PERP, 4, "12.35", True),
        (PERP, 4, "12.345", False),
        # Trailing zeros do not count.
        (PERP, 4, "12.3500000", True),
        (PERP, 5, "75951.000", True),
        (PERP, 5, "1E+5", True),
        (PERP, 0, "0", False),
        (PERP, 0, "-1", False),
        (PERP, 0, "NaN", False),
        (PERP, 0, "Infinity", False),
        (PERP, 0, "1E+400", False),
        (PERP, 0, "1E-400", False),
    ],
)
def test_price_validity(kind: MarketKind, sz_decimals: int, price: str, valid: bool) -> None:
    assert is_valid_price(Decimal(price), sz_decimals, kind) is valid


@pytest.mark.parametrize(
    ("kind", "sz_decimals", "price", "tick"),
    [
        (PERP, 5, "123456", "1"),
        (PERP, 5, "75951.3", "1"),
        (PERP, 5, "9999.95", "0.1"),
        (PERP, 4, "1998.09", "0.1"),
        (PERP, 4, "12.345", "0.01"),
        (PERP, 0, "0.0012345", "0.000001"),
        (SPOT, 0, "0.0001234", "0.00000001"),
        (SPOT, 2, "1", "0.0001"),
        # More size decimals than price decimals leave whole numbers.
        (PERP, 7, "0.5", "1"),
    ],
)
def test_the_tick_follows_the_magnitude_of_the_price(
    kind: MarketKind, sz_decimals: int, price: str, tick: str
) -> None:
    assert tick_size(Decimal(price), sz_decimals, kind) == Decimal(tick)


@pytest.mark.parametrize(
    ("price", "side", "kind", "sz_decimals", "rounded"),
    [
        ("1234.56", BUY, PERP, 1, "1234.5"),
        ("1234.56", SELL, PERP, 1, "1234.6"),
        ("75951.3", BUY, PERP, 5, "75951"),
        ("75951.3", SELL, PERP, 5, "75952"),
        ("123456", BUY, PERP, 5, "123456"),
        ("123456.7", SELL, PERP, 5, "123457"),
        ("12.345", BUY, PERP, 4, "12.34"),
        ("12.345", SELL, PERP, 4, "12.35"),
        # Rounding up into the next magnitude still gives a valid price.
        ("9.99996", SELL, PERP, 0, "10.0000"),
        ("9999.95", SELL, PERP, 5, "10000.0"),
        ("99999.5", SELL, PERP, 5, "100000"),
        ("0.0000001", SELL, PERP, 0, "0.000001"),
        ("0.00012345", BUY, SPOT, 1, "0.0001234"),
        ("1234.5" + "0" * 60 + "1", SELL, PERP, 1, "1234.6"),
    ],
)
def test_a_buy_rounds_down_and_a_sell_rounds_up(
    price: str, side: TradeType, kind: MarketKind, sz_decimals: int, rounded: str
) -> None:
    assert str(round_price(Decimal(price), side, sz_decimals, kind)) == rounded


@pytest.mark.parametrize("side", [BUY, SELL])
def test_a_price_of_zero_is_refused(side: TradeType) -> None:
    with pytest.raises(PriceRuleError, match="above 0"):
        round_price(Decimal(0), side, 0, PERP)


def test_a_buy_below_the_smallest_price_is_refused_not_sent_at_zero() -> None:
    with pytest.raises(PriceRuleError, match="smallest price"):
        round_price(Decimal("0.0000005"), BUY, 0, PERP)


NONSENSE: list[Any] = [Decimal(text) for text in ("-1", "NaN", "sNaN", "Infinity", "1E+400")]
NONSENSE += [1.5, None, "1"]


@pytest.mark.parametrize("price", NONSENSE, ids=repr)
def test_nonsense_is_refused_everywhere_with_a_typed_error(price: Any) -> None:
    with pytest.raises(PriceRuleError):
        round_price(price, BUY, 0, PERP)
    with pytest.raises(PriceRuleError):
        tick_size(price, 0, PERP)
    with pytest.raises(PriceRuleError):
        market_order_price(price, BUY, Decimal("0.05"), 0, PERP)
    with pytest.raises(PriceRuleError):
        quantize_size(price, 0)
    assert not is_valid_price(price, 0, PERP)
    assert not is_valid_size(price, 0)


@pytest.mark.parametrize("sz_decimals", [-1, 9])
def test_impossible_size_decimals_are_refused(sz_decimals: int) -> None:
    with pytest.raises(PriceRuleError, match="size decimals"):
        quantize_size(Decimal(1), sz_decimals)
    with pytest.raises(PriceRuleError, match="size decimals"):
        round_price(Decimal(1), BUY, sz_decimals, PERP)


magnitudes = st.integers(-9, 12)
any_price = st.builds(
    lambda digits, exponent: Decimal((0, tuple(digits), exponent - len(digits))),
    st.lists(st.integers(0, 9), min_size=1, max_size=14).filter(any),
    magnitudes,
)
markets = st.tuples(st.integers(0, 6), st.sampled_from(MarketKind))
sides = st.sampled_from([BUY, SELL])


@given(any_price, sides, markets)
@settings(deadline=None, max_examples=300)
def test_rounding_is_valid_safe_idempotent_and_within_a_tick(
    price: Decimal, side: TradeType, market: tuple[int, MarketKind]
) -> None:
    tick = tick_size(price, *market)
    assume(side == SELL or price >= tick)
    rounded = round_price(price, side, *market)
    assert is_valid_price(rounded, *market)
    assert rounded <= price if side == BUY else rounded >= price
    assert abs(rounded - price) < tick
    assert round_price(rounded, side, *market) == rounded
    if is_valid_price(price, *market):
        assert rounded == price


@given(any_price, markets)
@settings(deadline=None, max_examples=300)
def test_validity_is_the_rule_of_figures_and_decimals(price: Decimal, market: tuple[int, MarketKind]) -> None:
    sz_decimals, kind = market
    plain = format(price, "f")
    whole, _, decimals = plain.partition(".")
    decimals = decimals.rstrip("0")
    figures = len((whole + decimals).lstrip("0"))
    expected = not decimals or (figures <= 5 and len(decimals) <= (6 if kind is PERP else 8) - sz_decimals)
    assert is_valid_price(price, sz_decimals, kind) is expected


@given(st.integers(1, 10**25), sides, markets)
@settings(deadline=None, max_examples=150)
def test_whole_prices_are_always_valid_and_never_moved(
    price: int, side: TradeType, market: tuple[int, MarketKind]
) -> None:
    assert is_valid_price(Decimal(price), *market)
    assert round_price(Decimal(price), side, *market) == price


@given(any_price, st.integers(0, 8))
@settings(deadline=None, max_examples=150)
def test_a_size_is_cut_to_whole_lots_and_never_raised(size: Decimal, sz_decimals: int) -> None:
    lot = Decimal(1).scaleb(-sz_decimals)
    cut = quantize_size(size, sz_decimals)
    assert 0 <= size - cut < lot
    assert cut == 0 or is_valid_size(cut, sz_decimals)
    assert is_valid_size(size, sz_decimals) == (cut == size)


def test_sizes_by_example() -> None:
    assert quantize_size(Decimal("0.123456789"), 5) == Decimal("0.12345")
    assert quantize_size(Decimal("0.999"), 0) == 0
    assert quantize_size(Decimal("0"), 3) == 0
    assert is_valid_size(Decimal("0.12345"), 5)
    assert is_valid_size(Decimal("0.1234500"), 5)
    assert not is_valid_size(Decimal("0.123456"), 5)


@pytest.mark.parametrize(
    ("reference", "side", "slippage", "kind", "sz_decimals", "price"),
    [
        ("43210.5", BUY, "0.05", PERP, 5, "45371"),
        ("43210.5", SELL, "0.05", PERP, 5, "41050"),
        ("2298.45", BUY, "0.05", PERP, 4, "2413.4"),
        ("104730", BUY, "0.05", PERP, 5, "109970"),
        ("0.00012345", BUY, "0.05", SPOT, 0, "0.00012962"),
        ("31.255", SELL, "0.05", SPOT, 2, "29.692"),
        ("0.0785", SELL, "0.08", PERP, 0, "0.07222"),
        ("1.23456", BUY, "0.01", PERP, 2, "1.2469"),
    ],
)
def test_market_order_prices_equal_the_official_sdk(
    reference: str, side: TradeType, slippage: str, kind: MarketKind, sz_decimals: int, price: str
) -> None:
    got = market_order_price(Decimal(reference), side, Decimal(slippage), sz_decimals, kind)
    assert got == Decimal(price)


@given(any_price, sides, st.decimals("0.001", "0.5", places=3), markets)
@settings(deadline=None, max_examples=150)
def test_a_market_order_price_is_valid_and_through_the_reference(
    reference: Decimal, side: TradeType, slippage: Decimal, market: tuple[int, MarketKind]
) -> None:
    assume(reference * slippage > 10 * tick_size(reference, *market))
    price = market_order_price(reference, side, slippage, *market)
    assert is_valid_price(price, *market)
    assert price > reference if side == BUY else price < reference


@pytest.mark.parametrize("slippage", ["0", "-0.05", "0.8", "5", "NaN", "Infinity"])
def test_a_slippage_outside_the_venues_band_is_refused(slippage: str) -> None:
    with pytest.raises(PriceRuleError, match="slippage"):
        market_order_price(Decimal(100), BUY, Decimal(slippage), 0, PERP)


def test_a_market_sell_that_would_round_to_zero_is_refused() -> None:
    with pytest.raises(PriceRuleError, match="smallest price"):
        market_order_price(Decimal("0.0000005"), SELL, Decimal("0.5"), 0, PERP)


def test_the_ambient_decimal_context_has_no_influence() -> None:
    with localcontext(prec=2):
        assert round_price(Decimal("1234.56"), SELL, 1, PERP) == Decimal("1234.6")
        assert market_order_price(Decimal("43210.5"), BUY, Decimal("0.05"), 5, PERP) == 45371
        assert quantize_size(Decimal("123.456789"), 5) == Decimal("123.45678")
        assert is_valid_price(Decimal("123456"), 5, PERP)
