"""Profit and loss of markets and accounts, to the last digit."""

from __future__ import annotations

from decimal import Decimal

from domain.enums import TradeType
from domain.events import AccountFundingBooked, AccountPositionAsserted
from projections import pnl, pnl_between, pnl_totals
from tests.unit.projections.conftest import OpenViews
from tests.unit.projections.logs import START_NS, LogBuilder, MemoryLog


def a_day() -> LogBuilder:
    """Bought 0.4 BTC at 43,000, sold 0.1 at 43,100; sold 2 ETH short at 2,300; paid funding."""
    builder = LogBuilder()
    builder.open_order("a", "77")
    builder.filled("a", fill_key="1", amount=Decimal("0.4"), fee=Decimal("1.72"))
    builder.filled(
        "a",
        fill_key="2",
        amount=Decimal("0.1"),
        price=Decimal("43100"),
        trade_type=TradeType.SELL,
        fee=Decimal("-0.22"),
    )
    builder.open_order("b", "78", trading_pair="ETH-USD", trade_type=TradeType.SELL)
    builder.filled(
        "b",
        fill_key="3",
        exchange_order_id="78",
        trading_pair="ETH-USD",
        trade_type=TradeType.SELL,
        amount=Decimal("2"),
        price=Decimal("2300"),
        fee=Decimal("1"),
    )
    builder.account(
        AccountFundingBooked,
        funding_key="f",
        trading_pair="BTC-USD",
        amount=Decimal("-0.5"),
        token="USDC",
        rate=Decimal("0.1"),
        position_size=Decimal("1"),
    )
    return builder


def test_realised_unrealised_fees_and_funding_add_up_to_the_net_profit(views_of: OpenViews) -> None:
    rows = pnl(
        views_of(a_day().events).positions(), {"BTC-USD": Decimal("43200"), "ETH-USD": Decimal("2310")}
    )
    btc, eth = rows
    assert (btc.realised_pnl, btc.unrealised_pnl, btc.fees, btc.funding) == (
        Decimal("10"),
        Decimal("60"),
        {"USDC": Decimal("1.5")},
        Decimal("-0.5"),
    )
    assert btc.net_pnl == Decimal("68")
    assert (eth.unrealised_pnl, eth.net_pnl) == (Decimal("-20"), Decimal("-21"))
    (total,) = pnl_totals(rows)
    assert (total.trading_pair, total.realised_pnl, total.unrealised_pnl) == (None, Decimal(10), Decimal(40))
    assert (total.fees, total.net_pnl) == ({"USDC": Decimal("2.5")}, Decimal(47))


def test_without_a_mark_there_is_no_unrealised_and_no_net_profit(views_of: OpenViews) -> None:
    rows = pnl(views_of(a_day().events).positions(), {"BTC-USD": Decimal("43200")})
    assert [row.unrealised_pnl is None for row in rows] == [False, True]
    (total,) = pnl_totals(rows)
    assert (total.realised_pnl, total.unrealised_pnl, total.net_pnl) == (Decimal(10), None, None)


def test_figures_carry_no_zeros_that_say_nothing(views_of: OpenViews) -> None:
    marks = {"BTC-USD": Decimal("43200.00"), "ETH-USD": Decimal("2310.0")}
    btc, eth = pnl(views_of(a_day().events).positions(), marks)
    (total,) = pnl_totals([btc, eth])
    assert [str(row.unrealised_pnl) for row in (btc, eth, total)] == ["60", "-20", "40"]
    assert [str(row.net_pnl) for row in (btc, eth, total)] == ["68", "-21", "47"]
    assert str(btc.mark_price) == "43200"


def test_a_flat_market_needs_no_mark(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.open_order("a", "77")
    builder.filled("a", fill_key="1")
    builder.filled("a", fill_key="2", trade_type=TradeType.SELL, price=Decimal("43001"))
    (row,) = pnl(views_of(builder.events).positions())
    assert (row.unrealised_pnl, row.net_pnl) == (Decimal(0), Decimal("0.4") - Decimal("3.44"))


def test_an_entry_that_nobody_told_leaves_the_profit_open(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.account(
        AccountPositionAsserted,
        trading_pair="BTC-USD",
        amount=Decimal("1"),
        entry_price=None,
        opening=True,
    )
    (row,) = pnl(views_of(builder.events).positions(), {"BTC-USD": Decimal("43000")})
    assert (row.amount, row.unrealised_pnl, row.net_pnl) == (Decimal(1), None, None)


def test_a_fee_in_what_was_bought_is_in_the_entry_and_not_taken_off_again(views_of: OpenViews) -> None:
    builder = a_day()
    builder.open_order("c", "79", trading_pair="HYPE-USDC")
    spot = {"exchange_order_id": "79", "trading_pair": "HYPE-USDC"}
    builder.filled(
        "c", fill_key="4", amount=Decimal(10), price=Decimal(20), fee=Decimal(2), fee_token="HYPE", **spot
    )
    builder.filled(
        "c",
        fill_key="5",
        trade_type=TradeType.SELL,
        amount=Decimal(4),
        price=Decimal(30),
        fee=Decimal(3),
        **spot,
    )
    marks = {"BTC-USD": Decimal("43200"), "ETH-USD": Decimal("2310"), "HYPE-USDC": Decimal("30")}
    rows = pnl(views_of(builder.events).positions(), marks)
    hype = rows[-1]
    # 8 arrived for 200, at 25 each; half of them was sold at 30.
    assert (hype.amount, hype.average_entry, hype.realised_pnl) == (Decimal(4), Decimal(25), Decimal(20))
    assert (hype.unrealised_pnl, hype.fees) == (Decimal(20), {"HYPE": Decimal(2), "USDC": Decimal(3)})
    assert hype.net_pnl == Decimal(37)
    (total,) = pnl_totals(rows)
    assert total.net_pnl == Decimal(47) + Decimal(37)


def test_fees_in_two_tokens_are_not_added_up(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.open_order("a", "77")
    builder.filled("a", fill_key="1")
    builder.filled("a", fill_key="2", fee_token="HYPE")
    (row,) = pnl(views_of(builder.events).positions(), {"BTC-USD": Decimal("43000")})
    assert (sorted(row.fees), row.net_pnl) == (["HYPE", "USDC"], None)


# Of a stretch of the log


def test_a_stretch_came_to_what_its_ends_differ_by(views_of: OpenViews) -> None:
    log = MemoryLog(a_day().events)
    views = views_of(a_day().events)
    (btc,) = pnl_between(
        views, log, 4, 5, {"BTC-USD": Decimal("43200")}, {"BTC-USD": Decimal("43050")}, trading_pair="BTC-USD"
    )
    assert (btc.amount, btc.mark_price, btc.realised_pnl) == (Decimal("0.3"), Decimal("43200"), Decimal("10"))
    assert (btc.fees, btc.funding, btc.volume) == ({"USDC": Decimal("-0.22")}, Decimal(0), Decimal("4310"))
    # 0.3 at 43,200 are worth 60 more than they cost; at the beginning 0.4 were worth 20 more.
    assert (btc.unrealised_pnl, btc.net_pnl) == (Decimal("40"), Decimal("50.22"))
    (unmarked,) = pnl_between(views, log, 4, 5, {"BTC-USD": Decimal("43200")})
    assert (unmarked.realised_pnl, unmarked.unrealised_pnl, unmarked.net_pnl) == (Decimal("10"), None, None)


def test_stretches_add_up_to_the_whole(views_of: OpenViews) -> None:
    log = MemoryLog(a_day().events)
    views = views_of(a_day().events)
    marks = {"BTC-USD": Decimal("43200"), "ETH-USD": Decimal("2310")}
    for middle in range(views.position + 1):
        parts = [
            *pnl_between(views, log, 0, middle, marks, marks),
            *pnl_between(views, log, middle, views.position, marks, marks),
        ]
        (whole,) = pnl_totals(pnl(views.positions(), marks))
        (total,) = pnl_totals(parts)
        assert total == whole


def test_a_stretch_names_no_market_that_was_neither_moved_nor_held(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.open_order("a", "77")
    builder.filled("a", fill_key="1")
    builder.filled("a", fill_key="2", trade_type=TradeType.SELL)
    builder.open_order("b", "78", trading_pair="ETH-USD")
    builder.filled("b", fill_key="3", trading_pair="ETH-USD")
    views, log = views_of(builder.events), MemoryLog(builder.events)
    assert [row.trading_pair for row in pnl_between(views, log, 5, 9)] == ["ETH-USD"]
    assert [row.trading_pair for row in pnl_between(views, log, 5, 8)] == []
    assert pnl_between(views, log, 0, 0) == []


def test_the_position_before_a_time_is_zero_before_the_ledger_began(views_of: OpenViews) -> None:
    views = views_of(a_day().events)
    second = START_NS + 1_000_000
    assert [views.position_before(at) for at in (START_NS, second, second + 1, 2**62)] == [0, 1, 2, 10]


# Of a strategy


def test_a_strategy_has_a_book_of_its_own_fills(views_of: OpenViews) -> None:
    builder = LogBuilder()
    builder.open_order("mine", "77", tag="maker")
    builder.open_order("other", "78", tag="taker")
    builder.filled("mine", fill_key="1", amount=Decimal("1"), fee=Decimal("1"))
    builder.filled("other", fill_key="2", amount=Decimal("1"), price=Decimal("44000"), fee=Decimal("2"))
    builder.filled(
        "mine",
        fill_key="3",
        amount=Decimal("1"),
        price=Decimal("43100"),
        trade_type=TradeType.SELL,
        fee=Decimal("1"),
    )
    builder.account(
        AccountFundingBooked,
        funding_key="f",
        trading_pair="BTC-USD",
        amount=Decimal("-0.5"),
        token="USDC",
        rate=Decimal("0.1"),
        position_size=Decimal("1"),
    )
    views, log = views_of(builder.events), MemoryLog(builder.events)
    (mine,) = pnl(views.positions(tag="maker"))
    assert (mine.amount, mine.realised_pnl, mine.funding) == (Decimal(0), Decimal(100), Decimal(0))
    assert (mine.fees, mine.net_pnl) == ({"USDC": Decimal(2)}, Decimal(98))
    (other,) = views.positions(tag="taker")
    assert (other.amount, other.average_entry, other.last_position) == (Decimal(1), Decimal(44000), 8)
    assert views.positions(tag="nobody") == []
    with views.at(8, log) as then:
        assert [row.amount for row in then.positions(tag="maker")] == [Decimal(1)]
    (closing,) = pnl_between(views, log, 8, 10, tag="maker", opening_marks={"BTC-USD": Decimal(43000)})
    assert (closing.realised_pnl, closing.net_pnl) == (Decimal(100), Decimal(99))
