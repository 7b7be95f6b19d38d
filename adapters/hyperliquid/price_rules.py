"""Which prices and sizes a market takes, and how to round to one of them (sheet 2.1, 2.3).

There is no fixed tick per market: a price has at most five significant figures and at most `6 - szDecimals`
decimals (8 on spot), and whole numbers are always valid. The tick therefore follows from the magnitude of the
price itself, and from nothing else: mark, oracle and mid prices are not tick aligned.
"""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from enum import StrEnum

from adapters.hyperliquid.wire_numbers import WIRE_DECIMALS_MAX, WIRE_INTEGER_DIGITS_MAX
from domain.enums import TradeType
from domain.money import MONEY

SIGNIFICANT_FIGURES_MAX = 5
"""Most significant figures of a price that is not a whole number."""

SLIPPAGE_MAX = Decimal("0.8")
"""The venue refuses prices this far, or farther, from the reference (sheet 4.6: 80 %, 95 % on some
markets)."""

_ONE = Decimal(1)


class MarketKind(StrEnum):
    """What is traded: it sets how many decimals a price may have."""

    PERP = "perp"
    SPOT = "spot"

    @property
    def price_decimals_max(self) -> int:
        """MAX_DECIMALS of the sheet, from which the size decimals are subtracted."""
        return 6 if self is MarketKind.PERP else 8


class PriceRuleError(ValueError):
    """A price, size or slippage from which no valid order price can be made."""


def tick_size(price: Decimal, sz_decimals: int, kind: MarketKind) -> Decimal:
    """The distance between valid prices at the magnitude of `price`: a power of ten, never above 1."""
    _require_positive("price", price)
    return _power_of_ten(_tick_exponent(price, sz_decimals, kind))


def is_valid_price(price: Decimal, sz_decimals: int, kind: MarketKind) -> bool:
    """Whether the venue takes `price` as it is; the same rule binds limit and trigger prices."""
    if not _is_positive(price):
        return False
    return _decimals(price) <= -_tick_exponent(price, sz_decimals, kind)


def is_valid_size(size: Decimal, sz_decimals: int) -> bool:
    """Whether `size` is above zero and has no more decimals than the market's lot allows."""
    return _is_positive(size) and _decimals(size) <= _checked_decimals(sz_decimals)


def quantize_size(size: Decimal, sz_decimals: int) -> Decimal:
    """The largest valid size that is not above `size`; zero when it is less than one lot.

    Raises PriceRuleError for a negative, infinite or absurdly large size.
    """
    if isinstance(size, Decimal) and size.is_zero():
        return Decimal(0)
    _require_positive("size", size)
    return _quantize(size, -_checked_decimals(sz_decimals), ROUND_DOWN)


def round_price(price: Decimal, side: TradeType, sz_decimals: int, kind: MarketKind) -> Decimal:
    """The valid price nearest to `price` on the safe side: a buy never pays more, a sell never takes less.

    For trigger prices the same directions are safe too: a stop loss fires no later than asked (a sell stop
    rounds up towards the mark above it, a buy stop down), a take profit never for less than asked.
    Raises PriceRuleError when `price` is not above zero, or when a buy would be rounded down to zero.
    """
    _require_positive("price", price)
    rounding = ROUND_FLOOR if side == TradeType.BUY else ROUND_CEILING
    rounded = _quantize(price, _tick_exponent(price, sz_decimals, kind), rounding)
    if rounded.is_zero():
        raise PriceRuleError(
            f"a buy at {price} is below the market's smallest price; nothing valid is under it"
        )
    return rounded


def market_order_price(
    reference: Decimal, side: TradeType, slippage: Decimal, sz_decimals: int, kind: MarketKind
) -> Decimal:
    """The price of the immediate-or-cancel order that stands for a market order (sheet 2.3).

    `reference` is the mid, or the trigger price of a market stop; `slippage` is a fraction, `0.05` for 5 %.
    Rounds as the official SDK does (half even, five figures, then the market's decimals), which can exceed
    the asked slippage by half a tick: this price is a protection, not a target. Raises PriceRuleError for a
    slippage that is not between 0 and 0.8, both excluded, or when nothing above zero remains.
    """
    _require_positive("reference price", reference)
    if not (_is_positive(slippage) and slippage < SLIPPAGE_MAX):
        raise PriceRuleError(
            f"slippage must be a fraction between 0 and {SLIPPAGE_MAX}, such as 0.05 for 5 %; got {slippage}"
        )
    factor = MONEY.add(_ONE, slippage) if side == TradeType.BUY else MONEY.subtract(_ONE, slippage)
    limit = MONEY.multiply(reference, factor)
    figures = _quantize(limit, limit.adjusted() - (SIGNIFICANT_FIGURES_MAX - 1), ROUND_HALF_EVEN)
    price = _quantize(figures, _tick_exponent(figures, sz_decimals, kind), ROUND_HALF_EVEN)
    if price.is_zero():
        raise PriceRuleError(f"{slippage} off {reference} is below the market's smallest price")
    return price


def _tick_exponent(price: Decimal, sz_decimals: int, kind: MarketKind) -> int:
    finest = -max(kind.price_decimals_max - _checked_decimals(sz_decimals), 0)
    return min(max(price.adjusted() - (SIGNIFICANT_FIGURES_MAX - 1), finest), 0)


def _quantize(value: Decimal, exponent: int, rounding: str) -> Decimal:
    """`value` rounded to a multiple of ten to the `exponent`, with no exponent above 0 in the result."""
    rounded = value.quantize(_power_of_ten(exponent), rounding=rounding, context=MONEY)
    return rounded if exponent <= 0 else rounded.quantize(_ONE, context=MONEY)


def _power_of_ten(exponent: int) -> Decimal:
    return Decimal((0, (1,), exponent))


def _decimals(value: Decimal) -> int:
    """How many decimals a finite number has, trailing zeros not counted."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int), "a finite decimal has an integer exponent"
    zeros = 0
    for digit in reversed(digits):
        if digit:
            break
        zeros += 1
    return max(0, -(exponent + zeros))


def _checked_decimals(sz_decimals: int) -> int:
    if not 0 <= sz_decimals <= WIRE_DECIMALS_MAX:
        raise PriceRuleError(f"size decimals must be from 0 to {WIRE_DECIMALS_MAX}, got {sz_decimals}")
    return sz_decimals


def _is_positive(value: object) -> bool:
    return (
        isinstance(value, Decimal)
        and value.is_finite()
        and value > 0
        and value.adjusted() < WIRE_INTEGER_DIGITS_MAX
    )


def _require_positive(name: str, value: Decimal) -> None:
    if not _is_positive(value):
        raise PriceRuleError(
            f"{name} must be a Decimal above 0 with at most {WIRE_INTEGER_DIGITS_MAX} digits, got {value!r}"
        )
