"""What the sample strategy does, driven tick by tick against a real connector core."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.strategies.market_making import MarketMakingSample, drift_bps, quote_prices
from domain.enums import OrderType, PositionAction, TimeInForce, TradeType
from domain.order_book import BookLevel, OrderBook
from domain.trading_rule import SignificantFigures
from tests.unit.strategies.paper import PAIR, PaperConnector

_SECOND_NS = 1_000_000_000


class Desk:
    """A strategy at work: `tick` lets a second pass."""

    def __init__(self, **params: Any) -> None:
        self.connector = PaperConnector()
        settings = {"trading_pair": PAIR, "order_amount": "0.01", "spread_bps": 20, "reprice_bps": 5}
        self.strategy = MarketMakingSample(**{**settings, **params})
        self.connector.add_listener(self.strategy)
        self.strategy.on_start(self.connector)
        self.now_ns = 0

    def tick(self, bid: str = "", ask: str = "") -> list[str]:
        """The requests that reached the venue in this second."""
        if bid:
            self.connector.quote(bid, ask)
        self.connector.requests.clear()
        self.now_ns += _SECOND_NS
        self.strategy.on_tick(self.now_ns)
        self.connector.settle()
        return list(self.connector.requests)

    def order(self, side: TradeType) -> str:
        """The one live order of a side."""
        (found,) = [order for order in self.connector.open_orders(PAIR) if order.trade_type is side]
        return found.client_order_id


def test_it_quotes_both_sides_around_the_mid_price() -> None:
    desk = Desk()
    assert desk.tick("49990", "50010") == ["buy 0.01 at 49950", "sell 0.01 at 50050"]
    for order in desk.connector.open_orders(PAIR):
        assert (order.order_type, order.tag) == (OrderType.LIMIT_MAKER, "market-making")


def test_it_waits_until_there_is_a_market() -> None:
    desk = Desk()
    assert desk.tick() == []
    assert len(desk.tick("49990", "50010")) == 2


def test_it_waits_until_the_connector_is_ready() -> None:
    desk = Desk()
    desk.connector.halt("the ledger cannot write: disk full")
    assert desk.tick("49990", "50010") == []


def test_it_looks_at_its_quotes_once_per_refresh_interval() -> None:
    desk = Desk(refresh_interval_s="2.5")
    assert [len(desk.tick("49990", "50010")) for _ in range(3)] == [0, 0, 2]


def test_a_quote_near_enough_stays() -> None:
    desk = Desk()
    desk.tick("49990", "50010")
    assert desk.tick("49995", "50015") == []


def test_quotes_that_drifted_are_amended() -> None:
    desk = Desk()
    desk.tick("49990", "50010")
    ids = {order.client_order_id for order in desk.connector.open_orders(PAIR)}
    assert desk.tick("50190", "50210") == [
        "amend buy from 49950 to 50149",
        "amend sell from 50050 to 50251",
    ]
    assert {order.client_order_id for order in desk.connector.open_orders(PAIR)} == ids


def test_a_quote_that_cannot_be_amended_is_cancelled_and_placed_again() -> None:
    desk = Desk()
    desk.tick("49990", "50010")
    desk.connector.refuses_amends = True
    assert len(desk.tick("50190", "50210")) == 2
    assert desk.tick() == ["cancel buy at 49950", "cancel sell at 50050"]
    assert desk.tick() == ["buy 0.01 at 50149", "sell 0.01 at 50251"]


def test_a_filled_quote_is_replaced() -> None:
    desk = Desk()
    desk.tick("49990", "50010")
    desk.connector.fill(desk.order(TradeType.BUY), "0.01")
    assert desk.strategy.fills == 1
    assert desk.tick() == ["buy 0.01 at 49950"]


def test_a_partly_filled_quote_stays_and_keeps_its_total_when_it_is_moved() -> None:
    desk = Desk()
    desk.tick("49990", "50010")
    buy = desk.order(TradeType.BUY)
    desk.connector.fill(buy, "0.004")
    assert desk.tick() == []
    desk.tick("50190", "50210")
    order = desk.connector.order(buy)
    assert order is not None
    assert (order.price, order.filled_amount) == (Decimal(50149), Decimal("0.004"))


def test_the_side_that_would_make_the_position_too_large_is_not_quoted() -> None:
    desk = Desk(max_position="0.015")
    desk.tick("49990", "50010")
    desk.connector.fill(desk.order(TradeType.BUY), "0.01")
    assert desk.tick() == []  # another buy could take the position to 0.02
    desk.connector.fill(desk.order(TradeType.SELL), "0.01")
    assert desk.tick() == ["buy 0.01 at 49950", "sell 0.01 at 50050"]


def test_a_position_that_became_too_large_is_closed_at_once_and_only_once() -> None:
    desk = Desk(max_position="0.015")
    desk.connector.quote("49990", "50010")
    bought = desk.connector.buy(PAIR, Decimal("0.1"), Decimal(50000))  # by hand, beside the strategy
    desk.connector.settle()
    desk.connector.fill(bought, "0.1")
    assert desk.tick() == ["sell 0.1 at 49750"]
    assert desk.connector.position(PAIR).amount == 0
    assert desk.strategy.fills == 1
    assert desk.tick() == ["buy 0.01 at 49950", "sell 0.01 at 50050"]


def test_closing_never_opens_a_position_the_other_way() -> None:
    desk = Desk(max_position="0.01")
    desk.connector.quote("49990", "50010")
    sold = desk.connector.sell(PAIR, Decimal("0.05"), Decimal(50000))
    desk.connector.settle()
    desk.connector.fill(sold, "0.05")
    placed: list[Any] = []
    desk.connector.buy = lambda *a, **options: placed.append((a, options)) or "id"  # type: ignore[method-assign]
    desk.tick()
    (_, amount, _), options = placed[0]
    assert amount == Decimal("0.05")
    assert options["position_action"] is PositionAction.CLOSE
    assert options["time_in_force"] is TimeInForce.IOC


def test_an_order_with_an_unknown_outcome_is_left_alone_and_not_placed_again() -> None:
    desk = Desk()
    desk.connector.unanswered = True
    assert len(desk.tick("49990", "50010")) == 2
    assert desk.tick("50190", "50210") == []
    assert desk.tick("50390", "50410") == []


def test_an_order_still_on_its_way_is_not_placed_a_second_time() -> None:
    desk = Desk()
    desk.connector.quote("49990", "50010")
    for _ in range(3):
        desk.now_ns += _SECOND_NS
        desk.strategy.on_tick(desk.now_ns)
    desk.connector.settle()
    assert len(desk.connector.open_orders(PAIR)) == 2


def test_after_a_restart_it_goes_on_with_the_quotes_it_had() -> None:
    desk = Desk()
    desk.tick("49990", "50010")
    desk.strategy = MarketMakingSample(trading_pair=PAIR, order_amount="0.01")
    desk.strategy.on_start(desk.connector)
    assert desk.tick() == []


def test_of_several_quotes_on_one_side_it_keeps_one() -> None:
    desk = Desk()
    desk.connector.quote("49990", "50010")
    for price in (49950, 49900):
        desk.connector.buy(PAIR, Decimal("0.01"), Decimal(price), tag="market-making")
    desk.connector.settle()
    assert desk.tick() == ["cancel buy at 49900", "sell 0.01 at 50050"]


def test_orders_of_others_are_not_touched() -> None:
    desk = Desk()
    desk.connector.quote("49990", "50010")
    desk.connector.buy(PAIR, Decimal("0.01"), Decimal(40000), tag="somebody else's")
    desk.connector.settle()
    assert desk.tick() == ["buy 0.01 at 49950", "sell 0.01 at 50050"]


def test_a_refusal_is_said_once_and_does_not_stop_it(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(order_amount="0.0001")  # below the market's smallest order
    with caplog.at_level(logging.WARNING):
        assert [desk.tick("49990", "50010") for _ in range(3)] == [[], [], []]
    assert len(caplog.records) == 1
    assert "cannot quote BTC-USD" in caplog.text


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"order_amount": "0"}, "order_amount must be above zero"),
        ({"order_amount": Decimal("NaN")}, "order_amount must be above zero"),
        ({"order_amount": "much"}, "order_amount must be a number"),
        ({"spread_bps": -1}, "spread_bps must be above zero"),
        ({"spread_bps": 10_000}, "spread_bps 10000 is the whole price"),
        ({"flatten_slippage_bps": 20_000}, "flatten_slippage_bps 20000 is the whole price"),
        ({"max_position": "0.001"}, "less than one order"),
        ({"refresh_interval_s": 0}, "refresh_interval_s must be above zero"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        MarketMakingSample(**{"trading_pair": PAIR, "order_amount": "0.01", **params})


_prices = st.decimals("0.01", "200000", places=2)


@settings(deadline=None, max_examples=200)
@given(_prices, st.decimals("0.01", "500", places=2), st.decimals("0.1", "500", places=1))
def test_quotes_never_cross_the_market_and_are_always_allowed_prices(
    bid: Decimal, width: Decimal, spread_bps: Decimal
) -> None:
    rule = PaperConnector().trading_rules[PAIR]
    assert isinstance(rule.price_rule, SignificantFigures)
    book = OrderBook(PAIR)
    ask = rule.price_rule.round_up(bid + width)
    bid = rule.price_rule.round_down(bid)
    if bid <= 0:
        return
    book.apply_snapshot([BookLevel(bid, Decimal(1))], [BookLevel(ask, Decimal(1))], 0)
    prices = quote_prices(book, rule, spread_bps)
    assert prices is not None
    assert prices[TradeType.BUY] < ask
    assert prices[TradeType.SELL] > bid
    for price in prices.values():
        assert rule.price_rule.round_down(price) == price


def test_drift_is_measured_against_the_wanted_price() -> None:
    assert drift_bps(Decimal(99), Decimal(100)) == drift_bps(Decimal(101), Decimal(100)) == Decimal(100)
