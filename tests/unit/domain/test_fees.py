from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.enums import TradeType
from domain.fees import NO_FEES, UnpricedFeeError, received_amount

BUY, SELL = TradeType.BUY, TradeType.SELL


def test_fees_of_different_tokens_are_kept_apart() -> None:
    fees = NO_FEES.plus("USDC", Decimal("0.5")).plus("HYPE", Decimal("0.01")).plus("USDC", Decimal("-0.2"))
    assert fees.of("USDC") == Decimal("0.3")
    assert fees.of("HYPE") == Decimal("0.01")
    assert fees.of("BTC") == 0


def test_adding_gives_a_new_total_and_leaves_the_old_one() -> None:
    before = NO_FEES.plus("USDC", Decimal(1))
    before.plus("USDC", Decimal(1))
    assert before.of("USDC") == 1
    assert NO_FEES.totals == ()


def test_fees_are_worth_what_their_tokens_cost() -> None:
    fees = NO_FEES.plus("USDC", Decimal(2)).plus("HYPE", Decimal("0.1"))
    assert fees.value_in("USDC", {"HYPE": Decimal(30)}) == 5


def test_a_fee_without_a_price_is_not_taken_for_nothing() -> None:
    fees = NO_FEES.plus("HYPE", Decimal("0.1"))
    with pytest.raises(UnpricedFeeError, match="HYPE"):
        fees.value_in("USDC", {})
    assert fees.plus("HYPE", Decimal("-0.1")).value_in("USDC", {}) == 0


def test_a_spot_buy_receives_less_by_its_fee_and_nothing_else_does() -> None:
    amount, fee = Decimal(10), Decimal("0.007")
    assert received_amount(BUY, amount, fee, "HYPE", "HYPE") == Decimal("9.993")
    assert received_amount(BUY, amount, fee, "USDC", "HYPE") == 10
    assert received_amount(SELL, amount, fee, "USDC", "HYPE") == 10


@given(
    st.lists(st.tuples(st.sampled_from(["USDC", "HYPE", "A"]), st.decimals(-10, 10, places=8)), max_size=12),
    st.data(),
)
@settings(deadline=None, max_examples=100)
def test_the_order_in_which_fees_arrive_is_irrelevant(
    charges: list[tuple[str, Decimal]], data: st.DataObject
) -> None:
    one = other = NO_FEES
    for token, amount in charges:
        one = one.plus(token, amount)
    for token, amount in data.draw(st.permutations(charges)):
        other = other.plus(token, amount)
    assert one == other
    assert hash(one) == hash(other)
