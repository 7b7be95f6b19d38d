from __future__ import annotations

from decimal import Context, Decimal, localcontext

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.enums import TradeType
from domain.errors import InvalidOrderError
from domain.money import MONEY
from domain.trading_rule import (
    FixedTick,
    PriceRule,
    RefusalCode,
    SignificantFigures,
    TradingRule,
    step_of_decimals,
)

BUY, SELL = TradeType.BUY, TradeType.SELL
PERP_DECIMALS = 6
SPOT_DECIMALS = 8


def rule(size_decimals: int = 5, price_rule: PriceRule | None = None, **changes: object) -> TradingRule:
    step = step_of_decimals(size_decimals)
    settings: dict[str, object] = {
        "trading_pair": "BTC-USD",
        "instrument": "BTC",
        "asset_id": 0,
        "amount_step": step,
        "min_order_size": step,
        "price_rule": price_rule or SignificantFigures(5, PERP_DECIMALS - size_decimals),
        "quote_token": "USDC",
        "collateral_token": "USDC",
        "max_leverage": 40,
        "min_notional": Decimal(10),
    }
    return msgspec.convert({**settings, **changes}, TradingRule)


RULE = rule()

price_rules = st.one_of(
    st.builds(SignificantFigures, st.integers(3, 7), st.integers(0, 8)),
    st.sampled_from(["0.5", "0.01", "0.25", "0.3", "5"]).map(lambda tick: FixedTick(Decimal(tick))),
)
prices = st.decimals(min_value="0.000000001", max_value="1000000000", places=9)
amounts = st.decimals(min_value="0.000000001", max_value="1000000", places=9)


@pytest.mark.parametrize(
    ("size_decimals", "max_decimals", "price", "allowed"),
    [
        (1, PERP_DECIMALS, "1234.5", True),
        (1, PERP_DECIMALS, "1234.56", False),
        (1, PERP_DECIMALS, "123456", True),
        (1, PERP_DECIMALS, "123456.00", True),
        (1, PERP_DECIMALS, "12345.6", False),
        (0, PERP_DECIMALS, "0.001234", True),
        (0, PERP_DECIMALS, "0.0012345", False),
        (1, PERP_DECIMALS, "0.01234", True),
        (1, PERP_DECIMALS, "0.012345", False),
        (0, SPOT_DECIMALS, "0.0001234", True),
        (1, SPOT_DECIMALS, "0.0001234", True),
        (2, SPOT_DECIMALS, "0.0001234", False),
        (5, PERP_DECIMALS, "75951.3", False),
        (5, PERP_DECIMALS, "75951", True),
        (4, PERP_DECIMALS, "1998.09", False),
        (4, PERP_DECIMALS, "1998.1", True),
        (4, PERP_DECIMALS, "12.35", True),
        (4, PERP_DECIMALS, "12.345", False),
    ],
)
def test_prices_are_judged_as_the_venue_does(
    size_decimals: int, max_decimals: int, price: str, allowed: bool
) -> None:
    market = rule(size_decimals, SignificantFigures(5, max_decimals - size_decimals), min_notional=Decimal(0))
    refusal = market.check(Decimal(price), Decimal(100))
    if allowed:
        assert refusal is None
    else:
        assert refusal is not None
        assert refusal.code is RefusalCode.PRICE_NOT_ON_TICK


@pytest.mark.parametrize(
    ("size_decimals", "price", "buy", "sell"),
    [
        (5, "123456", "123456", "123456"),
        (5, "123456.7", "123456", "123457"),
        (5, "45371.025", "45371", "45372"),
        (4, "2413.3725", "2413.3", "2413.4"),
        (0, "0.07222", "0.07222", "0.07222"),
        (0, "0.0722219", "0.072221", "0.072222"),
        (2, "9999.96", "9999.9", "10000"),
        (2, "9.99999", "9.9999", "10"),
        (0, "0.0000001", "0", "0.000001"),
    ],
)
def test_a_buy_never_pays_more_and_a_sell_never_gets_less(
    size_decimals: int, price: str, buy: str, sell: str
) -> None:
    market = rule(size_decimals)
    assert market.quantize_price(Decimal(price), BUY) == Decimal(buy)
    assert market.quantize_price(Decimal(price), SELL) == Decimal(sell)


def test_a_price_below_the_lowest_becomes_zero_for_a_buy_and_is_then_refused() -> None:
    price = RULE.quantize_price(Decimal("0.01"), BUY)
    refusal = RULE.check(price, Decimal(1))
    assert refusal is not None
    assert refusal.code is RefusalCode.PRICE_NOT_POSITIVE


def test_an_amount_is_rounded_down_and_never_up() -> None:
    assert RULE.quantize_amount(Decimal("0.000129999")) == Decimal("0.00012")
    assert RULE.quantize_amount(Decimal("0.3")) == Decimal("0.3")
    assert RULE.quantize_amount(Decimal("0.000009")) == 0
    assert rule(0).quantize_amount(Decimal("17.99")) == 17


@given(price_rules, prices, st.sampled_from(TradeType))
@settings(deadline=None, max_examples=250)
def test_a_quantized_price_is_allowed_on_the_safe_side_and_within_one_step(
    price_rule: PriceRule, price: Decimal, trade_type: TradeType
) -> None:
    market = rule(0, price_rule)
    quantized = market.quantize_price(price, trade_type)
    assert quantized <= price if trade_type is BUY else quantized >= price
    assert MONEY.subtract(quantized, price).copy_abs() < price_rule.step_at(price)
    if quantized > 0:
        assert market.quantize_price(quantized, BUY) == quantized
        assert market.quantize_price(quantized, SELL) == quantized
        refusal = market.check(quantized, Decimal(1000))
        assert refusal is None or refusal.code is RefusalCode.NOTIONAL_BELOW_MINIMUM
    else:
        assert trade_type is BUY


@given(prices, st.integers(0, 6))
@settings(deadline=None, max_examples=150)
def test_no_allowed_price_lies_between_the_two_that_a_price_is_rounded_to(
    price: Decimal, decimals: int
) -> None:
    price_rule = SignificantFigures(5, decimals)
    below, above = price_rule.round_down(price), price_rule.round_up(price)
    if below == above:
        return
    middle = MONEY.divide(MONEY.add(below, above), 2)
    digits = MONEY.normalize(middle).as_tuple()
    figures, exponent = len(digits.digits), digits.exponent
    assert isinstance(exponent, int)
    assert exponent < 0
    assert figures > 5 or -exponent > decimals


@given(amounts, st.integers(0, 8))
@settings(deadline=None, max_examples=150)
def test_a_quantized_amount_is_a_multiple_of_the_step_and_less_than_one_step_away(
    amount: Decimal, size_decimals: int
) -> None:
    market = rule(size_decimals, SignificantFigures(5, 2))
    quantized = market.quantize_amount(amount)
    assert 0 <= MONEY.subtract(amount, quantized) < market.amount_step
    assert MONEY.remainder(quantized, market.amount_step) == 0
    if quantized:
        assert market.quantize_amount(quantized) == quantized


ABSURD = [
    ("NaN", "not_finite", "not_finite"),
    ("-NaN", "not_finite", "not_finite"),
    ("sNaN", "not_finite", "not_finite"),
    ("Infinity", "not_finite", "not_finite"),
    ("-Infinity", "not_finite", "not_finite"),
    ("1e21", "price_too_large", "amount_too_large"),
    ("1E+400000", "price_too_large", "amount_too_large"),
    ("1E+999999999999", "price_too_large", "amount_too_large"),
    ("1" * 50_000, "price_too_large", "amount_too_large"),
    ("0", "price_not_positive", "amount_not_positive"),
    ("-0", "price_not_positive", "amount_not_positive"),
    ("-0E+400000", "price_not_positive", "amount_not_positive"),
    ("-1", "price_not_positive", "amount_not_positive"),
    ("-1E+400000", "price_not_positive", "amount_not_positive"),
]


@pytest.mark.parametrize(("text", "price_code", "amount_code"), ABSURD)
def test_an_absurd_number_is_refused_with_its_reason(text: str, price_code: str, amount_code: str) -> None:
    absurd = Decimal(text)
    for refusal, code in (
        (RULE.check(absurd, Decimal(1)), price_code),
        (RULE.check(Decimal(50000), absurd), amount_code),
    ):
        assert refusal is not None
        assert refusal.code == code
        assert len(refusal.message) < 200
    for trade_type in TradeType:
        with pytest.raises(InvalidOrderError) as raised:
            RULE.quantize_price(absurd, trade_type)
        assert raised.value.reason_code == price_code
    with pytest.raises(InvalidOrderError) as raised:
        RULE.quantize_amount(absurd)
    assert raised.value.reason_code == amount_code


@pytest.mark.parametrize("text", ["1e-400000", "1E-999999999999", "0." + "1" * 50_000])
def test_a_number_of_too_many_decimals_rounds_like_any_other_and_is_refused_unrounded(text: str) -> None:
    number = Decimal(text)
    assert RULE.quantize_price(number, BUY) <= number <= RULE.quantize_price(number, SELL)
    assert RULE.quantize_amount(number) <= number
    on_price, on_amount = RULE.check(number, Decimal(1)), RULE.check(Decimal(50000), number)
    assert on_price is not None
    assert on_price.code is RefusalCode.PRICE_NOT_ON_TICK
    assert on_amount is not None
    assert on_amount.code is RefusalCode.AMOUNT_NOT_ON_STEP
    assert max(len(on_price.message), len(on_amount.message)) < 200


@pytest.mark.parametrize("value", [0.1, 1, "0.1", None, True])
def test_anything_but_a_decimal_is_refused(value: object) -> None:
    refusal = RULE.check(Decimal(50000), value)  # type: ignore[arg-type]
    assert refusal is not None
    assert refusal.code is RefusalCode.NOT_A_DECIMAL
    with pytest.raises(InvalidOrderError, match="give a Decimal"):
        RULE.quantize_price(value, BUY)  # type: ignore[arg-type]


def test_a_refusal_names_the_market_the_number_and_the_limit() -> None:
    refusal = RULE.check(Decimal(50000), Decimal("0.00019"))
    assert refusal is not None
    assert refusal.code is RefusalCode.NOTIONAL_BELOW_MINIMUM
    assert "BTC-USD" in refusal.message
    assert "9.5 USDC" in refusal.message
    assert "minimum of 10" in refusal.message


def test_the_minimum_value_does_not_bind_an_order_that_closes_the_whole_position() -> None:
    small = Decimal("0.00001")
    assert RULE.check(Decimal(50000), small, reduce_only_closes_all=True) is None
    assert RULE.check(Decimal(50000), small) is not None
    assert RULE.check(Decimal(50000), Decimal("0.0002")) is None


def test_sizes_and_values_outside_the_limits_are_refused() -> None:
    market = rule(
        min_order_size=Decimal("0.01"),
        max_order_size=Decimal(10),
        max_notional=Decimal(300_000),
        max_market_notional=Decimal(30_000),
    )
    price = Decimal(50_000)

    def code(amount: str, **kinds: bool) -> RefusalCode | None:
        refusal = market.check(price, Decimal(amount), **kinds)
        return refusal.code if refusal else None

    assert code("0.009") is RefusalCode.AMOUNT_BELOW_MINIMUM
    assert code("0.01") is None
    assert code("10.00001") is RefusalCode.AMOUNT_TOO_LARGE
    assert code("10") is RefusalCode.NOTIONAL_TOO_LARGE
    assert code("6") is None
    assert code("6", is_market=True) is RefusalCode.NOTIONAL_TOO_LARGE
    assert code("0.6", is_market=True) is None
    assert code("0.010001") is RefusalCode.AMOUNT_NOT_ON_STEP


def test_a_delisted_market_takes_no_orders_whatever_the_numbers() -> None:
    refusal = rule(is_delisted=True).check(Decimal("NaN"), Decimal(1))
    assert refusal is not None
    assert refusal.code is RefusalCode.DELISTED


@pytest.mark.parametrize("leverage", [0, -1, 41, 10**30, True, 2.0, Decimal(3), "x" * 1000])
def test_leverage_the_market_does_not_take_is_refused(leverage: object) -> None:
    refusal = RULE.check_leverage(leverage)  # type: ignore[arg-type]
    assert refusal is not None
    assert refusal.code is RefusalCode.LEVERAGE_OUT_OF_RANGE
    assert len(refusal.message) < 200


def test_leverage_up_to_the_maximum_is_taken() -> None:
    assert RULE.check_leverage(1) is None
    assert RULE.check_leverage(40) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_step": Decimal(0)},
        {"amount_step": Decimal("NaN")},
        {"amount_step": Decimal("1E-31")},
        {"min_order_size": Decimal(-1)},
        {"max_order_size": Decimal("Infinity")},
        {"min_notional": Decimal("sNaN")},
        {"max_leverage": 0},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        rule(**changes)  # type: ignore[arg-type]


def test_a_price_rule_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError):
        FixedTick(Decimal(-1))
    with pytest.raises(ValueError):
        SignificantFigures(0, 1)
    with pytest.raises(ValueError):
        SignificantFigures(5, -1)
    with pytest.raises(ValueError):
        step_of_decimals(31)


@pytest.mark.parametrize("price_rule", [FixedTick(Decimal("0.5")), SignificantFigures(5, 1)])
def test_a_rule_survives_being_written_and_read(price_rule: PriceRule) -> None:
    market = rule(price_rule=price_rule, max_order_size=Decimal(100))
    assert msgspec.json.decode(msgspec.json.encode(market), type=TradingRule) == market


def test_the_ambient_decimal_context_has_no_influence() -> None:
    with localcontext(Context(prec=2, traps=[])):
        assert str(RULE.quantize_price(Decimal("12345.67"), SELL)) == "12346"
        assert str(RULE.quantize_amount(Decimal("1.234567"))) == "1.23456"


@given(
    price=st.decimals("0.00001", "1000000", allow_nan=False, places=5),
    amount=st.decimals("0.000001", "100000", allow_nan=False, places=6),
    side=st.sampled_from(TradeType),
    is_market=st.booleans(),
    closes_all=st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_quantized_numbers_are_judged_the_same_without_looking_at_ticks_again(
    price: Decimal, amount: Decimal, side: TradeType, is_market: bool, closes_all: bool
) -> None:
    rule = TradingRule(
        trading_pair="BTC-USD",
        instrument="BTC",
        asset_id=0,
        amount_step=Decimal("0.001"),
        min_order_size=Decimal("0.001"),
        price_rule=SignificantFigures(figures=5, max_decimals=3),
        quote_token="USD",
        collateral_token="USDC",
        max_leverage=40,
        min_notional=Decimal(10),
        max_market_notional=Decimal(1_000_000),
    )
    quantized = rule.quantize_price(price, side), rule.quantize_amount(amount)
    options = {"is_market": is_market, "reduce_only_closes_all": closes_all}
    full, quick = rule.check(*quantized, **options), rule.check_quantized(*quantized, **options)
    assert (full is None) == (quick is None)
