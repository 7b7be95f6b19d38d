from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal, localcontext

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.enums import TradeType
from domain.money import MONEY
from domain.position import Position, maintenance_rate_of

BUY, SELL = TradeType.BUY, TradeType.SELL
EXACT = Context(prec=2000)
TOLERANCE = Decimal("1e-25")

Trade = tuple[Decimal, Decimal, TradeType]

prices = st.decimals(min_value="0.000001", max_value="200000", places=6)
amounts = st.decimals(min_value="0.00001", max_value="5000", places=5)
trades = st.tuples(prices, amounts, st.sampled_from(TradeType))


def fold(trades: Sequence[Trade], position: Position | None = None) -> Position:
    position = position or Position(trading_pair="BTC-USD")
    for price, amount, trade_type in trades:
        position.apply_fill(price, amount, trade_type)
    return position


def trade(price: str, amount: str, trade_type: TradeType) -> Trade:
    return Decimal(price), Decimal(amount), trade_type


def close_to(left: Decimal, right: Decimal) -> bool:
    scale = max(Decimal(1), left.copy_abs(), right.copy_abs())
    return EXACT.subtract(left, right).copy_abs() <= EXACT.multiply(TOLERANCE, scale)


def test_the_worked_example_of_the_venue_comes_out_as_written() -> None:
    position = fold([trade("100", "2", BUY), trade("130", "1", BUY)])
    assert position.average_entry == 110

    closing = position.apply_fill(Decimal(125), Decimal(1), SELL)
    assert closing.closed_pnl == 15
    assert position.average_entry == 110
    assert position.amount == 2

    flipping = position.apply_fill(Decimal(90), Decimal(3), SELL)
    assert flipping.start_amount == 2
    assert flipping.closed_amount == 2
    assert flipping.closed_pnl == -40
    assert flipping.end_amount == position.amount == -1
    assert position.average_entry == 90
    assert position.realised_pnl == -25


def test_a_short_earns_when_it_is_bought_back_lower() -> None:
    position = fold([trade("50", "4", SELL)])
    assert position.apply_fill(Decimal(45), Decimal(4), BUY).closed_pnl == 20
    assert position.amount == 0
    assert position.average_entry is None
    assert position.unrealised_pnl(Decimal(1000)) == 0
    assert position.notional(Decimal(1000)) == 0


def test_a_decrease_leaves_the_average_entry_as_it_is_to_the_last_digit() -> None:
    position = fold([trade("100", "1", BUY), trade("101", "2", BUY)])
    before = position.average_entry
    for _ in range(29):
        position.apply_fill(Decimal(99), Decimal("0.1"), SELL)
    assert position.amount == Decimal("0.1")
    assert position.average_entry == before


def test_an_average_that_no_decimal_can_write_does_not_drift_over_many_round_trips() -> None:
    position = fold([trade("100", "1", BUY), trade("101", "2", BUY)])
    for _ in range(20_000):
        position.apply_fill(Decimal("100.7"), Decimal(1), SELL)
        position.apply_fill(Decimal("100.7"), Decimal(1), BUY)
    cost = EXACT.add(Decimal(302), position.realised_pnl)
    assert position.amount == 3
    assert close_to(position.entry_notional or Decimal(0), cost)


def test_fees_and_funding_never_enter_the_profit() -> None:
    position = Position(trading_pair="BTC-USD")
    position.apply_fill(Decimal(100), Decimal(1), BUY, Decimal("0.045"), "USDC")
    position.apply_funding(Decimal("-0.05625"))
    position.apply_fill(Decimal(110), Decimal(1), SELL, Decimal("-0.001"), "USDC")
    assert position.realised_pnl == 10
    assert position.fees.of("USDC") == Decimal("0.044")
    assert position.funding == Decimal("-0.05625")
    assert position.volume == 210


def test_a_fee_in_what_is_bought_leaves_less_of_it_for_the_same_money() -> None:
    position = Position(trading_pair="HYPE-USDC")
    position.apply_fill(Decimal(25), Decimal(4), BUY, Decimal("0.0028"), "HYPE")
    assert position.amount == Decimal("3.9972")
    assert position.entry_notional == 100
    sold = position.apply_fill(Decimal(27), Decimal("1.5"), SELL, Decimal("0.02835"), "USDC")
    assert position.amount == Decimal("2.4972")
    assert sold.closed_pnl is not None
    # As the venue reckons it: the cost of the balance, released in proportion.
    assert round(sold.closed_pnl, 8) == Decimal("2.97373161")
    assert position.volume == Decimal("140.5")
    assert position.fees.totals == (("HYPE", Decimal("0.0028")), ("USDC", Decimal("0.02835")))


def test_a_fee_in_a_token_whose_name_only_begins_like_the_market_is_a_fee_beside_it() -> None:
    position = Position(trading_pair="HYPER-USDC")
    position.apply_fill(Decimal(25), Decimal(4), BUY, Decimal("0.0028"), "HYPE")
    assert position.amount == 4


def test_a_fee_that_leaves_nothing_of_a_purchase_is_no_fill() -> None:
    position = Position(trading_pair="HYPE-USDC")
    with pytest.raises(ValueError, match="leaves nothing"):
        position.apply_fill(Decimal(25), Decimal(4), BUY, Decimal(4), "HYPE")
    assert position == Position(trading_pair="HYPE-USDC")


def test_the_readings_of_an_account_answer_are_reproduced() -> None:
    position = Position(trading_pair="BTC-USD")
    position.apply_leverage(10, is_cross=True)
    mark = Decimal(83926)
    entry = Decimal("81285.042998444444444444")
    position.assert_opening(Decimal("4.5"), entry)
    assert position.notional(mark) == Decimal("377667.0")
    assert position.margin_used(mark) == Decimal("37766.7")
    unrealised = position.unrealised_pnl(mark)
    roe = position.return_on_equity(mark)
    assert unrealised is not None
    assert roe is not None
    assert round(unrealised, 6) == Decimal("11884.306507")
    assert round(roe, 4) == Decimal("0.3249")
    assert MONEY.multiply(position.notional(mark), maintenance_rate_of(40)) == Decimal("4720.8375")


def test_readings_that_need_the_leverage_say_none_until_it_is_known() -> None:
    position = fold([trade("100", "1", BUY)])
    assert position.margin_used(Decimal(100)) is None
    assert position.return_on_equity(Decimal(110)) is None
    position.apply_leverage(5, is_cross=False)
    assert position.margin_used(Decimal(100)) == 20
    assert position.return_on_equity(Decimal(110)) == Decimal("0.5")
    assert position.is_cross is False


def test_a_losing_short_has_a_negative_return_on_equity() -> None:
    position = fold([trade("100", "2", SELL)])
    position.apply_leverage(4, is_cross=True)
    assert position.return_on_equity(Decimal(110)) == Decimal("-0.4")


@given(
    amount=amounts,
    trade_type=st.sampled_from(TradeType),
    mark=st.decimals(min_value=1, max_value=100_000, places=2),
    share=st.decimals(min_value="0.02", max_value=3, places=3),
    max_leverage=st.integers(3, 50),
)
@settings(deadline=None, max_examples=60)
def test_at_the_liquidation_price_the_account_is_worth_its_maintenance_margin(
    amount: Decimal, trade_type: TradeType, mark: Decimal, share: Decimal, max_leverage: int
) -> None:
    position = fold([(mark, amount, trade_type)])
    rate = maintenance_rate_of(max_leverage)
    account_value = MONEY.multiply(position.notional(mark), share)
    maintenance = MONEY.multiply(position.notional(mark), rate)
    price = position.liquidation_price(mark, account_value, maintenance, rate)
    distance = position.distance_to_liquidation(mark, account_value, maintenance, rate)
    if price is None:
        assert distance is None
        assert trade_type is BUY
        assert share >= 1
        return
    then = EXACT.add(account_value, EXACT.multiply(position.amount, EXACT.subtract(price, mark)))
    assert close_to(then, EXACT.multiply(position.notional(price), rate))
    assert distance is not None
    assert (distance > 0) is (share > rate)


def test_a_flat_position_has_no_liquidation_price() -> None:
    position = Position(trading_pair="BTC-USD")
    figures = (Decimal(100), Decimal(1000), Decimal(0), maintenance_rate_of(40))
    assert position.liquidation_price(*figures) is None
    assert position.distance_to_liquidation(*figures) is None
    position.apply_leverage(3, is_cross=True)
    assert position.return_on_equity(Decimal(100)) is None


def test_an_opening_balance_without_entry_counts_what_it_cannot_price() -> None:
    position = Position(trading_pair="BTC-USD")
    assert position.assert_opening(Decimal(3), None) == 3
    assert position.average_entry is None
    assert position.unrealised_pnl(Decimal(100)) is None
    assert position.apply_fill(Decimal(100), Decimal(1), BUY).closed_pnl == 0
    assert position.apply_fill(Decimal(100), Decimal(1), SELL).closed_pnl is None
    assert position.unpriced_amount == 1
    assert position.realised_pnl == 0
    assert position.average_entry is None
    # Through zero: the three that are left cannot be priced either, the new short can.
    assert position.apply_fill(Decimal(100), Decimal(5), SELL).closed_pnl is None
    assert position.unpriced_amount == 4
    assert position.amount == -2
    assert position.average_entry == 100


def test_an_unknown_entry_is_forgotten_once_the_position_was_flat() -> None:
    position = Position(trading_pair="BTC-USD")
    position.assert_opening(Decimal(3), None)
    assert position.apply_fill(Decimal(100), Decimal(3), SELL).closed_pnl is None
    assert position.unrealised_pnl(Decimal(100)) == 0
    position.apply_fill(Decimal(90), Decimal(1), SELL)
    assert position.average_entry == 90


@pytest.mark.parametrize(
    ("opening", "side", "venue_closed_pnl", "entry"),
    [(5, SELL, 20, 90), (-5, BUY, 20, 110), (5, SELL, -4, 102)],
)
def test_the_venue_s_own_profit_of_a_close_tells_an_entry_that_was_not_known(
    opening: int, side: TradeType, venue_closed_pnl: int, entry: int
) -> None:
    position = Position(trading_pair="BTC-USD")
    position.assert_opening(Decimal(opening), None)
    applied = position.apply_fill(Decimal(100), Decimal(2), side, venue_closed_pnl=Decimal(venue_closed_pnl))
    assert applied.closed_pnl == position.realised_pnl == venue_closed_pnl
    assert position.average_entry == entry
    assert position.amount.copy_abs() == 3
    assert position.unpriced_amount == 0


def test_the_venue_s_profit_is_not_taken_where_ours_is_known() -> None:
    position = fold([trade("100", "1", BUY)])
    applied = position.apply_fill(Decimal(110), Decimal(1), SELL, venue_closed_pnl=Decimal(999))
    assert applied.closed_pnl == 10


def test_an_opening_balance_replaces_the_amount_and_tells_the_difference() -> None:
    position = fold([trade("100", "2", BUY), trade("110", "1", SELL)])
    assert position.assert_opening(Decimal(-4), Decimal(80)) == -5
    assert position.amount == -4
    assert position.average_entry == 80
    assert position.realised_pnl == 10
    assert position.assert_opening(Decimal(0), Decimal(80)) == 4
    assert position.average_entry is None


@pytest.mark.parametrize(
    ("price", "amount"),
    [
        ("1", "0"),
        ("1", "-1"),
        ("-1", "1"),
        ("NaN", "1"),
        ("1", "sNaN"),
        ("Infinity", "1"),
        ("1", "1E+400000"),
    ],
)
def test_numbers_no_fill_can_have_are_refused_and_change_nothing(price: str, amount: str) -> None:
    position = fold([trade("100", "2", BUY)])
    before = msgspec.structs.replace(position)
    with pytest.raises(ValueError, match="not a fill"):
        position.apply_fill(Decimal(price), Decimal(amount), BUY)
    assert position == before


@pytest.mark.parametrize("number", ["NaN", "sNaN", "-Infinity", "1E+400000"])
def test_a_fee_or_a_funding_payment_that_is_no_number_is_refused(number: str) -> None:
    position = fold([trade("100", "2", BUY)])
    before = msgspec.structs.replace(position)
    with pytest.raises(ValueError, match="not a fill"):
        position.apply_fill(Decimal(1), Decimal(1), SELL, Decimal(number), "USDC")
    with pytest.raises(ValueError, match="not a funding payment"):
        position.apply_funding(Decimal(number))
    assert position == before


@pytest.mark.parametrize(("amount", "entry"), [("NaN", "1"), ("1", "Infinity"), ("1", "-1"), ("1E+99", None)])
def test_numbers_no_position_can_have_are_refused(amount: str, entry: str | None) -> None:
    position = Position(trading_pair="BTC-USD")
    with pytest.raises(ValueError, match="not a position"):
        position.assert_opening(Decimal(amount), None if entry is None else Decimal(entry))
    assert position == Position(trading_pair="BTC-USD")


def test_leverage_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="leverage"):
        Position(trading_pair="BTC-USD").apply_leverage(0, is_cross=True)
    with pytest.raises(ValueError, match="leverage"):
        maintenance_rate_of(0)


@given(st.lists(trades, max_size=30))
@settings(deadline=None, max_examples=150)
def test_the_amount_is_the_sum_of_the_signed_fills(fills: list[Trade]) -> None:
    expected = Decimal(0)
    for _, amount, trade_type in fills:
        expected = EXACT.add(expected, amount if trade_type is BUY else amount.copy_negate())
    assert fold(fills).amount == expected


@given(st.lists(trades, max_size=30), prices)
@settings(deadline=None, max_examples=150)
def test_realised_and_unrealised_profit_are_the_cash_that_moved_plus_what_is_held(
    fills: list[Trade], mark: Decimal
) -> None:
    position = fold(fills)
    cash = Decimal(0)
    for price, amount, trade_type in fills:
        cost = EXACT.multiply(price, amount)
        cash = EXACT.subtract(cash, cost) if trade_type is BUY else EXACT.add(cash, cost)
    worth = EXACT.add(cash, EXACT.multiply(position.amount, mark))
    unrealised = position.unrealised_pnl(mark)
    assert unrealised is not None
    assert close_to(EXACT.add(position.realised_pnl, unrealised), worth)


@given(st.lists(trades, max_size=20))
@settings(deadline=None, max_examples=100)
def test_the_mirror_image_of_all_fills_gives_the_mirror_image_of_the_position(fills: list[Trade]) -> None:
    position = fold(fills)
    mirror = fold([(price, amount, SELL if side is BUY else BUY) for price, amount, side in fills])
    assert mirror.amount == position.amount.copy_negate()
    assert mirror.realised_pnl == position.realised_pnl.copy_negate()
    assert mirror.average_entry == position.average_entry
    assert mirror.volume == position.volume


@given(st.lists(trades, max_size=10), prices, amounts, amounts, st.sampled_from(TradeType))
@settings(deadline=None, max_examples=100)
def test_one_fill_in_two_parts_is_the_same_fill(
    before: list[Trade], price: Decimal, part: Decimal, rest: Decimal, side: TradeType
) -> None:
    whole = fold([*before, (price, EXACT.add(part, rest), side)])
    parts = fold([*before, (price, part, side), (price, rest, side)])
    assert parts.amount == whole.amount
    assert close_to(parts.realised_pnl, whole.realised_pnl)
    assert close_to(parts.entry_notional or Decimal(0), whole.entry_notional or Decimal(0))


@given(st.lists(trades, min_size=1, max_size=12), st.data())
@settings(deadline=None, max_examples=60)
def test_fills_of_one_side_may_be_booked_in_any_order(fills: list[Trade], data: st.DataObject) -> None:
    bought = [(price, amount, BUY) for price, amount, _ in fills]
    assert fold(data.draw(st.permutations(bought))) == fold(bought)


@given(st.lists(trades, min_size=1, max_size=20), st.integers(0, 20))
@settings(deadline=None, max_examples=60)
def test_a_fold_resumed_from_its_stored_fields_ends_the_same(fills: list[Trade], cut: int) -> None:
    stored = msgspec.msgpack.encode(fold(fills[:cut]))
    resumed = fold(fills[cut:], msgspec.msgpack.decode(stored, type=Position))
    assert resumed == fold(fills)


def test_the_ambient_decimal_context_has_no_influence() -> None:
    fills = [trade("100.1", "1.00001", BUY), trade("101.7", "2", BUY), trade("99.3", "4.5", SELL)]
    expected = fold(fills)
    with localcontext(Context(prec=3, traps=[])):
        position = fold(fills)
    assert position == expected
    assert str(position.average_entry) == str(expected.average_entry)


@settings(deadline=None, max_examples=50)
@given(
    before=st.lists(st.tuples(st.integers(1, 200), st.integers(1, 9), st.booleans()), max_size=5),
    after=st.lists(st.tuples(st.integers(1, 200), st.integers(1, 9), st.booleans()), max_size=5),
    wrong=st.tuples(st.integers(1, 200), st.integers(1, 9), st.booleans()),
    fee_token=st.sampled_from(("USDC", "HYPE")),
)
def test_an_execution_taken_back_leaves_amount_volume_fees_and_total_profit_as_without_it(
    before: list[tuple[int, int, bool]],
    after: list[tuple[int, int, bool]],
    wrong: tuple[int, int, bool],
    fee_token: str,
) -> None:
    def book(position: Position, trade: tuple[int, int, bool]) -> None:
        price, amount, is_buy = trade
        side = TradeType.BUY if is_buy else TradeType.SELL
        position.apply_fill(Decimal(price), Decimal(amount), side, Decimal(amount) / 8, fee_token)

    with_it, without = Position(trading_pair="HYPE-USDC"), Position(trading_pair="HYPE-USDC")
    for trade in (*before, wrong, *after):
        book(with_it, trade)
    for trade in (*before, *after):
        book(without, trade)
    price, amount, is_buy = wrong
    side = TradeType.BUY if is_buy else TradeType.SELL
    with_it.undo_fill(Decimal(price), Decimal(amount), side, Decimal(amount) / 8, fee_token)
    assert (with_it.amount, with_it.volume) == (without.amount, without.volume)
    assert with_it.fees.of(fee_token) == without.fees.of(fee_token)
    mark = Decimal(123)
    totals = [each.realised_pnl + (each.unrealised_pnl(mark) or 0) for each in (with_it, without)]
    assert abs(totals[0] - totals[1]) < Decimal("1e-30")
