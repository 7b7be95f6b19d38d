"""The rules of one market: which prices and amounts its venue accepts, and rounding that never harms.

A rule refuses with a code and a sentence before anything is sent. Every number is examined before any
arithmetic, so an absurd one (NaN, infinity, 1E+400000) costs no more than a good one.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum

import msgspec

from domain.enums import TradeType
from domain.errors import InvalidOrderError
from domain.money import MAX_AMOUNT, MONEY, decimal_text, round_down_to_step

__all__ = [
    "FixedTick",
    "PriceRule",
    "Refusal",
    "RefusalCode",
    "SignificantFigures",
    "TradingRule",
    "step_of_decimals",
]

_MAX_DECIMALS = 30
_SHOWN_CHARACTERS = 40


class RefusalCode(StrEnum):
    """Why an order is refused before it is sent. Stable texts: they are written to the log."""

    DELISTED = "delisted"
    NOT_A_DECIMAL = "not_a_decimal"
    NOT_FINITE = "not_finite"
    PRICE_NOT_POSITIVE = "price_not_positive"
    PRICE_TOO_LARGE = "price_too_large"
    PRICE_NOT_ON_TICK = "price_not_on_tick"
    AMOUNT_NOT_POSITIVE = "amount_not_positive"
    AMOUNT_BELOW_MINIMUM = "amount_below_minimum"
    AMOUNT_TOO_LARGE = "amount_too_large"
    AMOUNT_NOT_ON_STEP = "amount_not_on_step"
    NOTIONAL_BELOW_MINIMUM = "notional_below_minimum"
    NOTIONAL_TOO_LARGE = "notional_too_large"
    LEVERAGE_OUT_OF_RANGE = "leverage_out_of_range"


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """Why not: a stable code, and a sentence that says what was tried and what to do."""

    code: RefusalCode
    message: str


class FixedTick(msgspec.Struct, frozen=True, tag="fixed_tick", gc=False):
    """Prices are multiples of `tick` (quote units)."""

    tick: Decimal

    def __post_init__(self) -> None:
        _require_step("tick", self.tick)

    def step_at(self, price: Decimal) -> Decimal:
        """The distance between neighbouring prices."""
        return self.tick

    def round_down(self, price: Decimal) -> Decimal:
        """The highest allowed price not above `price` (positive)."""
        return round_down_to_step(price, self.tick)

    def round_up(self, price: Decimal) -> Decimal:
        """The lowest allowed price not below `price` (positive)."""
        below = round_down_to_step(price, self.tick)
        return below if below == price else MONEY.add(below, self.tick)


class SignificantFigures(msgspec.Struct, frozen=True, tag="significant_figures", gc=False):
    """At most `figures` significant figures and `max_decimals` decimals; integers are always valid.

    Hyperliquid: 5 figures; 6 less the size decimals for perpetuals, 8 less for spot (protocol sheet,
    section 2.1). The tick follows the price: `10^max(floor(log10 price) - figures + 1, -max_decimals)`,
    never coarser than 1.
    """

    figures: int
    max_decimals: int

    def __post_init__(self) -> None:
        if not (1 <= self.figures <= _MAX_DECIMALS and 0 <= self.max_decimals <= _MAX_DECIMALS):
            raise ValueError(f"not a price rule: {self.figures} figures, {self.max_decimals} decimals")

    def step_at(self, price: Decimal) -> Decimal:
        """The distance between neighbouring prices around `price` (positive)."""
        return _TENTHS[-self._exponent_at(price)]

    def round_down(self, price: Decimal) -> Decimal:
        """The highest allowed price not above `price` (positive); zero when there is none."""
        return price.quantize(self.step_at(price), ROUND_FLOOR, MONEY)

    def round_up(self, price: Decimal) -> Decimal:
        """The lowest allowed price not below `price` (positive)."""
        return price.quantize(self.step_at(price), ROUND_CEILING, MONEY)

    def _exponent_at(self, price: Decimal) -> int:
        return min(0, max(price.adjusted() - self.figures + 1, -self.max_decimals))


PriceRule = FixedTick | SignificantFigures


class TradingRule(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue accepts in one market.

    `trading_pair` is our name (`BTC-USD`), `instrument` the venue's symbol and `asset_id` its number for it.
    Sizes and `amount_step` are in base units, notionals in `quote_token`, margin in `collateral_token`.
    A limit that is None does not exist or is not known. `max_market_notional` binds orders that execute at
    the market, `max_notional` all others. Raises `ValueError` when a limit makes no sense.
    """

    trading_pair: str
    instrument: str
    asset_id: int
    amount_step: Decimal
    min_order_size: Decimal
    price_rule: PriceRule
    quote_token: str
    collateral_token: str
    max_leverage: int
    min_notional: Decimal = Decimal(0)
    max_order_size: Decimal | None = None
    max_notional: Decimal | None = None
    max_market_notional: Decimal | None = None
    only_isolated: bool = False
    is_delisted: bool = False

    def __post_init__(self) -> None:
        _require_step("amount_step", self.amount_step)
        for name in (
            "min_order_size",
            "min_notional",
            "max_order_size",
            "max_notional",
            "max_market_notional",
        ):
            limit: Decimal | None = getattr(self, name)
            if limit is not None and not (limit.is_finite() and limit >= 0):
                raise ValueError(f"{self.trading_pair}: {name} must be finite and not negative, not {limit}")
        if self.max_leverage < 1:
            raise ValueError(f"{self.trading_pair}: max_leverage must be at least 1, not {self.max_leverage}")

    # ------------------------------------------------------------------------------------- rounding

    def quantize_price(self, price: Decimal, trade_type: TradeType) -> Decimal:
        """The nearest allowed price on the safe side: a buy never pays more, a sell never gets less.

        The same rule serves trigger prices: a stop then fires no later than asked, a take-profit at no
        worse price. A buy below the lowest price of the market becomes zero, which `check` refuses.
        Raises `InvalidOrderError`.
        """
        refusal = self._refuse_price(price)
        if refusal is not None:
            raise InvalidOrderError(refusal.code, refusal.message)
        if trade_type is TradeType.BUY:
            return self.price_rule.round_down(price)
        return self.price_rule.round_up(price)

    def quantize_amount(self, amount: Decimal) -> Decimal:
        """The largest multiple of the step not above `amount`; zero (refused by `check`) when there is none.

        Never rounds up. Raises `InvalidOrderError`.
        """
        refusal = self._refuse_amount(amount)
        if refusal is not None:
            raise InvalidOrderError(refusal.code, refusal.message)
        return round_down_to_step(amount, self.amount_step)

    # ------------------------------------------------------------------------------------- checking

    def check(
        self,
        price: Decimal,
        amount: Decimal,
        *,
        reduce_only_closes_all: bool = False,
        is_market: bool = False,
    ) -> Refusal | None:
        """Why an order with exactly these numbers would be refused; None when it may be sent.

        `reduce_only_closes_all` says that it closes the whole position: then the minimum value does not bind
        (protocol sheet, section 4.7). `is_market` says that `price` is only a protection limit. Never raises.
        """
        return (
            self._refuse_market()
            or self._refuse_price(price)
            or self._refuse_amount(amount)
            or self._refuse_steps(price, amount)
            or self._refuse_size(amount)
            or self._refuse_notional(price, amount, reduce_only_closes_all, is_market)
        )

    def check_quantized(
        self,
        price: Decimal,
        amount: Decimal,
        *,
        reduce_only_closes_all: bool = False,
        is_market: bool = False,
    ) -> Refusal | None:
        """`check` for numbers that `quantize_price` and `quantize_amount` gave: without looking at ticks and
        steps again, which is half of the time it takes to place an order."""
        return (
            self._refuse_market()
            or (self._refuse_price(price) if price <= 0 else None)
            or self._refuse_size(amount)
            or self._refuse_notional(price, amount, reduce_only_closes_all, is_market)
        )

    def check_leverage(self, leverage: int) -> Refusal | None:
        """Why the market does not take this leverage; None when it does."""
        if type(leverage) is int and 1 <= leverage <= self.max_leverage:
            return None
        return self._refuse(
            RefusalCode.LEVERAGE_OUT_OF_RANGE,
            f"leverage {leverage!r:.{_SHOWN_CHARACTERS}} is not a whole number from 1 to {self.max_leverage}",
        )

    def _refuse(self, code: RefusalCode, why: str) -> Refusal:
        return Refusal(code, f"{self.trading_pair}: {why}")

    def _refuse_market(self) -> Refusal | None:
        if self.is_delisted:
            return self._refuse(RefusalCode.DELISTED, "the market is delisted and takes no orders")
        return None

    def _refuse_price(self, price: Decimal) -> Refusal | None:
        refusal = self._refuse_number("price", price)
        if refusal is not None:
            return refusal
        if price <= 0:
            return self._refuse(RefusalCode.PRICE_NOT_POSITIVE, f"price {_shown(price)} is not positive")
        if price > MAX_AMOUNT:
            return self._refuse(
                RefusalCode.PRICE_TOO_LARGE,
                f"price {_shown(price)} is beyond {_shown(MAX_AMOUNT)}: wrong units?",
            )
        return None

    def _refuse_amount(self, amount: Decimal) -> Refusal | None:
        refusal = self._refuse_number("amount", amount)
        if refusal is not None:
            return refusal
        if amount <= 0:
            return self._refuse(RefusalCode.AMOUNT_NOT_POSITIVE, f"amount {_shown(amount)} is not positive")
        if amount > MAX_AMOUNT:
            return self._refuse(
                RefusalCode.AMOUNT_TOO_LARGE,
                f"amount {_shown(amount)} is beyond {_shown(MAX_AMOUNT)}: wrong units?",
            )
        return None

    def _refuse_number(self, name: str, value: object) -> Refusal | None:
        if not isinstance(value, Decimal):
            return self._refuse(
                RefusalCode.NOT_A_DECIMAL,
                f"{name} {value!r:.{_SHOWN_CHARACTERS}} is a {type(value).__name__}; give a Decimal",
            )
        if not value.is_finite():
            return self._refuse(RefusalCode.NOT_FINITE, f"{name} {_shown(value)} is not a finite number")
        return None

    def _refuse_steps(self, price: Decimal, amount: Decimal) -> Refusal | None:
        if self.price_rule.round_down(price) != price:
            below, above = self.price_rule.round_down(price), self.price_rule.round_up(price)
            return self._refuse(
                RefusalCode.PRICE_NOT_ON_TICK,
                f"price {_shown(price)} is not allowed; the nearest are {_shown(below)} and {_shown(above)}",
            )
        if round_down_to_step(amount, self.amount_step) != amount:
            return self._refuse(
                RefusalCode.AMOUNT_NOT_ON_STEP,
                f"amount {_shown(amount)} is not a multiple of {_shown(self.amount_step)}",
            )
        return None

    def _refuse_size(self, amount: Decimal) -> Refusal | None:
        if amount < self.min_order_size:
            return self._refuse(
                RefusalCode.AMOUNT_BELOW_MINIMUM,
                f"amount {_shown(amount)} is below the minimum of {_shown(self.min_order_size)}",
            )
        if self.max_order_size is not None and amount > self.max_order_size:
            return self._refuse(
                RefusalCode.AMOUNT_TOO_LARGE,
                f"amount {_shown(amount)} is above the maximum of {_shown(self.max_order_size)}",
            )
        return None

    def _refuse_notional(
        self, price: Decimal, amount: Decimal, reduce_only_closes_all: bool, is_market: bool
    ) -> Refusal | None:
        notional = MONEY.multiply(price, amount)
        if notional < self.min_notional and not reduce_only_closes_all:
            return self._refuse(
                RefusalCode.NOTIONAL_BELOW_MINIMUM,
                f"order value {_shown(notional)} {self.quote_token} is below the minimum of"
                f" {_shown(self.min_notional)}; raise the amount, or close the whole position",
            )
        limit = self.max_market_notional if is_market else self.max_notional
        if limit is not None and notional > limit:
            return self._refuse(
                RefusalCode.NOTIONAL_TOO_LARGE,
                f"order value {_shown(notional)} {self.quote_token} is above the maximum of {_shown(limit)};"
                " split the order",
            )
        return None


def step_of_decimals(decimals: int) -> Decimal:
    """The step of a number with so many decimals: 5 gives 0.00001. Raises `ValueError` outside 0 to 30."""
    if not 0 <= decimals <= _MAX_DECIMALS:
        raise ValueError(f"a number of decimals is from 0 to {_MAX_DECIMALS}, not {decimals}")
    return _TENTHS[decimals]


_TENTHS = tuple(Decimal((0, (1,), -decimals)) for decimals in range(_MAX_DECIMALS + 1))


def _require_step(name: str, step: Decimal) -> None:
    if not (step.is_finite() and step > 0 and step.adjusted() >= -_MAX_DECIMALS and step <= MAX_AMOUNT):
        raise ValueError(f"{name} must be positive, with at most {_MAX_DECIMALS} decimals, not {step}")


def _shown(value: Decimal) -> str:
    """A number for a message, short whatever it is: plain notation would spell out all of 1E+400000."""
    if value.is_finite() and -_MAX_DECIMALS <= value.adjusted() <= _MAX_DECIMALS:
        return decimal_text(value)[:_SHOWN_CHARACTERS]
    return str(value)[:_SHOWN_CHARACTERS]
