"""The cash of the books: what every execution, payment and transfer did, and nothing else."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.cash import Cash, cash_effect_of
from domain.enums import TradeType
from domain.events import Fill
from tests.support.tracker import a_fill

USDC = "USDC"


def execution(key: str = "f1", **members: object) -> Fill:
    return msgspec.structs.replace(
        a_fill(key, "0.5"), **{"price": Decimal(100), "fee": Decimal("0.25"), "fee_token": USDC, **members}
    )


def everywhere(_trading_pair: str) -> bool:
    return True


def test_a_purchase_costs_its_value_and_its_fee_and_a_sale_brings_its_value() -> None:
    assert cash_effect_of(execution(trade_type=TradeType.BUY), USDC) == Decimal("-50.25")
    assert cash_effect_of(execution(trade_type=TradeType.SELL), USDC) == Decimal("49.75")


def test_a_fee_in_another_token_is_not_paid_from_the_cash() -> None:
    assert cash_effect_of(execution(trade_type=TradeType.BUY, fee_token="HYPE"), USDC) == -50


def test_spot_trades_move_tokens_and_leave_the_cash() -> None:
    cash = Cash(token=USDC, paid=Decimal(1_000))
    cash.book(execution("f1", trading_pair="BTC-USD", trade_type=TradeType.BUY))
    cash.book(execution("f2", trading_pair="PURR-USDC", trade_type=TradeType.BUY))
    assert cash.total(lambda pair: pair == "BTC-USD") == Decimal("949.75")


def test_two_books_share_nothing() -> None:
    one, other = Cash(token=USDC, paid=Decimal(0)), Cash(token=USDC, paid=Decimal(0))
    one.book(execution())
    assert (other.markets, other.summands) == ({}, 0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(TradeType), st.integers(1, 10**6), st.integers(1, 10**6), st.integers(-99, 99)
        ),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=40)
def test_what_is_taken_back_in_any_order_leaves_the_cash_as_it_was(
    trades: list[tuple[TradeType, int, int, int]], rng: object
) -> None:
    cash = Cash(token=USDC, paid=Decimal("12.5"))
    fills = [
        execution(
            f"f{number}",
            trade_type=side,
            price=Decimal(price).scaleb(-2),
            amount=Decimal(amount).scaleb(-5),
            fee=Decimal(fee).scaleb(-6),
        )
        for number, (side, price, amount, fee) in enumerate(trades)
    ]
    for fill in fills:
        cash.book(fill)
    rng.shuffle(fills)  # type: ignore[attr-defined]
    for fill in fills:
        cash.take_back(fill)
    assert cash.total(everywhere) == Decimal("12.5")
    assert cash.summands == 2 * len(fills)
