from __future__ import annotations

import json
from decimal import Context, Decimal, localcontext
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.enums import TradeType
from domain.order_book import BookLevel, OrderBook

BUY, SELL = TradeType.BUY, TradeType.SELL
RECORDED = Path(__file__).parents[4] / "shared/data/hyperliquid/info/get_l2_snapshot.json"


def level(price: str, amount: str) -> BookLevel:
    return BookLevel(Decimal(price), Decimal(amount))


def levels(*pairs: tuple[str, str]) -> list[BookLevel]:
    return [level(price, amount) for price, amount in pairs]


def book() -> OrderBook:
    book = OrderBook("BTC-USD")
    book.apply_snapshot(
        levels(("99", "1"), ("98", "2"), ("95", "5")), levels(("101", "1"), ("102", "3"), ("110", "4")), 1000
    )
    return book


def test_best_mid_and_spread_of_a_snapshot() -> None:
    full = book()
    assert full.best_bid == BookLevel(Decimal(99), Decimal(1))
    assert full.best_ask == BookLevel(Decimal(101), Decimal(1))
    assert full.mid_price == 100
    assert full.spread_bps == 200
    assert full.exchange_time_ms == 1000
    assert not full.is_crossed


def test_levels_in_any_order_and_empty_ones_give_the_same_book() -> None:
    shuffled = OrderBook("BTC-USD")
    shuffled.apply_snapshot(
        levels(("95", "5"), ("99", "1"), ("97", "0"), ("98", "2")),
        levels(("110", "4"), ("101", "1"), ("102", "3")),
        1000,
    )
    assert (shuffled.bids, shuffled.asks) == (book().bids, book().asks)


def test_a_stale_snapshot_and_a_stale_best_price_are_ignored_and_counted() -> None:
    full = book()
    before = (full.bids, full.asks)
    assert full.apply_snapshot(levels(("50", "1")), levels(("60", "1")), 999) is False
    assert full.apply_best(None, None, 999) is False
    assert (full.bids, full.asks) == before
    assert full.exchange_time_ms == 1000
    assert full.stale_updates == 2


def test_an_update_of_the_same_block_is_taken_in() -> None:
    full = book()
    assert full.apply_best(level("99.5", "7"), None, 1000) is True
    assert full.best_bid == BookLevel(Decimal("99.5"), Decimal(7))
    assert full.best_ask is None
    assert full.stale_updates == 0


def test_a_better_best_bid_stands_before_the_known_levels() -> None:
    full = book()
    full.apply_best(level("100", "3"), level("101", "2"), 1001)
    assert [each.price for each in full.bids] == [100, 99, 98, 95]
    assert full.best_ask == BookLevel(Decimal(101), Decimal(2))


def test_a_worse_best_price_removes_the_levels_that_it_proves_gone() -> None:
    full = book()
    full.apply_best(level("97", "3"), level("102", "9"), 1001)
    assert full.bids == tuple(levels(("97", "3"), ("95", "5")))
    assert full.asks == tuple(levels(("102", "9"), ("110", "4")))


def test_a_one_sided_book_has_a_best_price_but_no_mid() -> None:
    one_sided = OrderBook("BTC-USD")
    one_sided.apply_snapshot(levels(("99", "1")), [], 1)
    assert one_sided.best_bid is not None
    assert one_sided.best_ask is None
    assert one_sided.mid_price is None
    assert one_sided.spread_bps is None
    assert one_sided.depth_within_bps(SELL, Decimal(100)) == 0
    assert one_sided.vwap(SELL, Decimal(1)) == 99
    assert one_sided.vwap(BUY, Decimal(1)) is None
    assert one_sided.sweep(BUY, Decimal(1)).amount == 0


def test_an_empty_book_answers_every_question() -> None:
    empty = OrderBook("BTC-USD")
    assert empty.exchange_time_ms == -1
    assert empty.best_bid is None
    assert empty.mid_price is None
    assert not empty.is_crossed
    sweep = empty.sweep(BUY, Decimal(1))
    assert (sweep.average_price, sweep.worst_price, sweep.is_complete) == (None, None, False)
    assert empty.price_for_amount(SELL, Decimal(1)) is None


def test_no_price_is_taken_from_a_crossed_book() -> None:
    crossed = OrderBook("BTC-USD")
    crossed.apply_snapshot(levels(("102", "1")), levels(("101", "1")), 1)
    assert crossed.is_crossed
    assert crossed.mid_price is None
    assert crossed.spread_bps is None
    locked = OrderBook("BTC-USD")
    locked.apply_snapshot(levels(("101", "1")), levels(("101", "1")), 1)
    assert not locked.is_crossed
    assert locked.mid_price == 101
    assert locked.spread_bps == 0


def test_depth_counts_what_lies_within_the_distance_from_the_mid() -> None:
    full = book()
    assert full.depth_within_bps(BUY, Decimal(99)) == 0
    assert full.depth_within_bps(BUY, Decimal(100)) == 1
    assert full.depth_within_bps(BUY, Decimal(200)) == 4
    assert full.depth_within_bps(SELL, Decimal(200)) == 3
    assert full.depth_within_bps(SELL, Decimal(10_000)) == 8


def test_taking_through_several_levels_gives_their_weighted_price() -> None:
    full = book()
    assert full.vwap(BUY, Decimal(2)) == Decimal("101.5")
    assert full.price_for_amount(BUY, Decimal(2)) == 102
    assert full.price_for_amount(BUY, Decimal(1)) == 101
    assert full.vwap(SELL, Decimal(8)) == Decimal("96.25")


def test_too_little_depth_is_said_and_what_is_there_is_priced() -> None:
    sweep = book().sweep(SELL, Decimal(100))
    assert not sweep.is_complete
    assert sweep.amount == 8
    assert sweep.average_price == Decimal("96.25")
    assert sweep.worst_price == 95
    assert book().vwap(SELL, Decimal(100)) is None
    assert book().price_for_amount(SELL, Decimal(100)) is None


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "sNaN", "Infinity"])
def test_an_amount_that_cannot_be_taken_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        book().sweep(BUY, Decimal(amount))


@pytest.mark.parametrize(
    ("price", "amount"), [("0", "1"), ("-1", "1"), ("NaN", "1"), ("1", "-1"), ("1", "Infinity")]
)
def test_a_broken_level_is_refused_and_the_book_kept(price: str, amount: str) -> None:
    full = book()
    before = (full.bids, full.asks)
    broken = levels((price, amount))
    with pytest.raises(ValueError, match="not a level"):
        full.apply_snapshot(broken, [], 2000)
    with pytest.raises(ValueError, match="not a level"):
        full.apply_best(None, broken[0], 2000)
    assert (full.bids, full.asks) == before
    assert full.exchange_time_ms == 1000


prices = st.decimals(min_value="0.01", max_value=100_000, places=2)
amounts = st.decimals(min_value="0.00001", max_value=1000, places=5)
sides = st.lists(st.tuples(prices, amounts), max_size=20, unique_by=lambda pair: pair[0]).map(
    lambda pairs: [BookLevel(price, amount) for price, amount in pairs]
)


@given(sides, sides, amounts, st.sampled_from(TradeType))
@settings(deadline=None, max_examples=150)
def test_the_average_lies_between_the_best_and_the_worst_price_taken(
    bids: list[BookLevel], asks: list[BookLevel], amount: Decimal, trade_type: TradeType
) -> None:
    generated = OrderBook("BTC-USD")
    generated.apply_snapshot(bids, asks, 1)
    sweep = generated.sweep(trade_type, amount)
    taken_from = generated.asks if trade_type is BUY else generated.bids
    assert sweep.amount == min(amount, sum((each.amount for each in taken_from), Decimal(0)))
    assert sweep.is_complete is (sweep.amount == amount)
    if sweep.average_price is None or sweep.worst_price is None:
        assert not taken_from
        return
    best = taken_from[0].price
    rounding = Decimal("1e-40")
    low, high = sorted((best, sweep.worst_price))
    assert low - rounding <= sweep.average_price <= high + rounding


@given(sides, sides, st.lists(st.tuples(prices, amounts, prices, amounts), max_size=10))
@settings(deadline=None, max_examples=100)
def test_after_any_updates_both_sides_stand_in_price_order_without_repeats(
    bids: list[BookLevel], asks: list[BookLevel], updates: list[tuple[Decimal, Decimal, Decimal, Decimal]]
) -> None:
    generated = OrderBook("BTC-USD")
    generated.apply_snapshot(bids, asks, 0)
    for time_ms, (bid, bid_amount, ask, ask_amount) in enumerate(updates):
        best_bid, best_ask = BookLevel(bid, bid_amount), BookLevel(ask, ask_amount)
        assert generated.apply_best(best_bid, best_ask, time_ms)
        assert (generated.best_bid, generated.best_ask) == (best_bid, best_ask)
        bid_prices = [each.price for each in generated.bids]
        ask_prices = [each.price for each in generated.asks]
        assert bid_prices == sorted(set(bid_prices), reverse=True)
        assert ask_prices == sorted(set(ask_prices))


def test_the_ambient_decimal_context_has_no_influence() -> None:
    full = OrderBook("BTC-USD")
    full.apply_snapshot(levels(("99999.1", "1.23456")), levels(("99999.4", "9.87654")), 1)
    with localcontext(Context(prec=3, traps=[])):
        assert str(full.mid_price) == "99999.25"
        assert str(full.vwap(BUY, Decimal("9.87654"))) == "99999.4"


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded answers of the venue are not on this machine")
def test_a_recorded_snapshot_of_the_venue_is_already_in_order() -> None:
    answer = json.loads(RECORDED.read_text())[0]["response"]
    bids, asks = (
        [BookLevel(Decimal(each["px"]), Decimal(each["sz"]), each["n"]) for each in side]
        for side in answer["levels"]
    )
    recorded = OrderBook(answer["coin"])
    assert recorded.apply_snapshot(bids, asks, answer["time"])
    assert recorded.bids == tuple(bids)
    assert recorded.asks == tuple(asks)
    assert not recorded.is_crossed
    assert recorded.depth_within_bps(SELL, Decimal(10_000)) == sum((bid.amount for bid in bids), Decimal(0))
