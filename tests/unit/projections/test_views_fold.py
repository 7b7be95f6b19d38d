"""What each view says about a log, by example."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from domain.enums import OrderState, PositionAction, Source, TradeType
from domain.errors import VersionError
from domain.events import (
    AccountFillBooked,
    AccountFundingBooked,
    AccountLeverageChanged,
    AccountPositionAsserted,
    OrderAmended,
    OrderCancelled,
    OrderFailed,
    OrderFilled,
    OrderObserved,
    OrderSubmitUnknown,
)
from projections import Views
from projections.errors import UnfoldableEventError
from projections.follower import Follower
from projections.views_file import ViewsFile
from tests.unit.projections.logs import ACCOUNT, VENUE, LogBuilder, MemoryLog, a_fill

OpenViews = Callable[..., Views]


@pytest.fixture
def log() -> LogBuilder:
    return LogBuilder()


# Orders


def test_an_order_row_holds_everything_a_trader_asks_for(log: LogBuilder, views_of: OpenViews) -> None:
    log.created(
        "o1",
        price=Decimal("43000.50"),
        amount=Decimal("1.000"),
        position_action=PositionAction.CLOSE,
        tag="maker",
        venue_order_key="0xabc",
        reference_price=Decimal("43001"),
    )
    log.submitted("o1")
    log.acknowledged("o1", "77")
    log.filled("o1", amount=Decimal("0.4"), price=Decimal("43000"))
    order = views_of(log.events).order("o1")
    assert order is not None
    assert (order.venue, order.account) == (VENUE, ACCOUNT)
    assert (order.exchange_order_id, order.venue_order_key) == ("77", "0xabc")
    assert (order.trade_type, order.position_action) == (TradeType.BUY, PositionAction.CLOSE)
    assert (str(order.price), str(order.amount), order.reference_price) == ("43000.5", "1", Decimal("43001"))
    assert (str(order.filled_amount), str(order.remaining_amount)) == ("0.4", "0.6")
    assert order.average_fill_price == Decimal("43000")
    assert order.fees == {"USDC": Decimal("1.72")}
    assert (order.state, order.done, order.outcome_unknown) == (OrderState.PARTIALLY_FILLED, False, False)
    assert (order.created_position, order.last_position, order.version) == (1, 4, 4)
    assert order.updated_at_ns > order.created_at_ns
    assert order.tag == "maker"


def test_small_amounts_keep_every_digit(log: LogBuilder, views_of: OpenViews) -> None:
    log.created("o1", amount=Decimal("9E-8"), price=Decimal("0.000000012345"))
    order = views_of(log.events).order("o1")
    assert order is not None
    assert (order.amount, order.price) == (Decimal("0.00000009"), Decimal("0.000000012345"))


def test_an_order_with_unknown_outcome_is_open_and_says_why(log: LogBuilder, views_of: OpenViews) -> None:
    log.created("o1")
    log.submitted("o1")
    log.add(OrderSubmitUnknown, "o1", reason_code="timeout", reason="no answer in 5 s")
    (order,) = views_of(log.events).open_orders()
    assert (order.state, order.outcome_unknown) == (OrderState.PENDING_SUBMIT, True)
    assert order.reason_code == "timeout"


def test_a_fill_after_a_failure_brings_the_order_back_among_the_open_ones(
    log: LogBuilder, views_of: OpenViews
) -> None:
    log.created("o1")
    log.submitted("o1")
    log.add(OrderFailed, "o1", reason_code="unknown_rejection", reason="?")
    log.filled("o1")
    assert [order.client_order_id for order in views_of(log.events).open_orders()] == ["o1"]


def test_a_cancelled_order_is_no_longer_open_and_keeps_its_reason(
    log: LogBuilder, views_of: OpenViews
) -> None:
    log.open_order("o1", "77")
    log.add(OrderCancelled, "o1", reason_code="margin", reason="marginCanceled")
    views = views_of(log.events)
    assert views.open_orders() == []
    (order,) = views.orders()
    assert (order.state, order.reason_code, order.reason) == (
        OrderState.CANCELLED,
        "margin",
        "marginCanceled",
    )


def test_an_amended_order_is_found_by_every_exchange_id_it_had(log: LogBuilder, views_of: OpenViews) -> None:
    log.open_order("o1", "77", venue_order_key="0xabc")
    log.add(OrderAmended, "o1", price=Decimal("42000"), leg_amount=Decimal("1"), exchange_order_id="88")
    views = views_of(log.events)
    assert {views.find_order(key) for key in ("77", "88", "0xabc", "o1")} == {"o1"}
    order = views.order("o1")
    assert order is not None
    assert (order.exchange_order_id, order.price) == ("88", Decimal("42000"))


# Fills


def test_a_fill_row_names_its_order_and_keeps_the_venues_own_figures(
    log: LogBuilder, views_of: OpenViews
) -> None:
    log.open_order("o1", "77")
    log.filled("o1", closed_pnl=Decimal("-1.5"), start_position=Decimal("0.20"), fee=Decimal("-0.3"))
    (fill,) = views_of(log.events).fills()
    assert (fill.client_order_id, fill.exchange_order_id, fill.position) == ("o1", "77", 4)
    assert (fill.closed_pnl, fill.start_position, fill.fee) == (
        Decimal("-1.5"),
        Decimal("0.2"),
        Decimal("-0.3"),
    )


def test_a_liquidation_is_a_fill_without_an_order(log: LogBuilder, views_of: OpenViews) -> None:
    log.account(AccountFillBooked, fill=a_fill(liquidation=True, trade_type=TradeType.SELL))
    views = views_of(log.events)
    (fill,) = views.fills()
    assert (fill.client_order_id, fill.liquidation) == (None, True)
    assert views.positions()[0].amount == Decimal("-0.4")


def test_the_same_fill_key_on_two_accounts_is_two_fills(log: LogBuilder, views_of: OpenViews) -> None:
    log.open_order("o1", "77")
    log.filled("o1")
    other = msgspec.structs.replace(
        log.events[-1], originator_id="account:x", originator_version=1, account="0xother"
    )
    log.events.append(
        AccountFillBooked(
            originator_id="account:x",
            originator_version=1,
            recorded_at_ns=other.recorded_at_ns,
            venue=VENUE,
            account="0xother",
            source=Source.STREAM,
            fill=a_fill(),
        )
    )
    views = views_of(log.events)
    assert [fill.account for fill in views.fills()] == [ACCOUNT, "0xother"]
    assert len(views.positions()) == 2


# Positions


def test_a_position_comes_from_fills_alone(log: LogBuilder, views_of: OpenViews) -> None:
    log.open_order("o1", "77", amount=Decimal("2"))
    log.filled("o1", fill_key="1", amount=Decimal("1"), price=Decimal("100"), fee=Decimal("0.1"))
    log.open_order("o2", "78", amount=Decimal("3"), trade_type=TradeType.SELL)
    log.filled(
        "o2",
        fill_key="2",
        amount=Decimal("3"),
        price=Decimal("110"),
        trade_type=TradeType.SELL,
        fee=Decimal("0.2"),
        exchange_order_id="78",
    )
    log.account(
        AccountFundingBooked,
        funding_key="f1",
        trading_pair="BTC-USD",
        amount=Decimal("-0.25"),
        token="USDC",
        rate=Decimal("0.0001"),
        position_size=Decimal("-2"),
    )
    log.account(AccountLeverageChanged, trading_pair="BTC-USD", leverage=5, is_cross=False)
    (position,) = views_of(log.events).positions()
    assert position.amount == Decimal("-2")
    assert position.average_entry == Decimal("110")
    assert position.realised_pnl == Decimal("10")
    assert position.fees == {"USDC": Decimal("0.3")}
    assert position.funding == Decimal("-0.25")
    assert position.volume == Decimal("430")
    assert (position.leverage, position.is_cross) == (5, False)
    assert position.last_position == len(log.events)


def test_an_opening_balance_is_where_a_position_starts_and_a_later_statement_changes_nothing(
    log: LogBuilder, views_of: OpenViews
) -> None:
    market = {"trading_pair": "BTC-USD", "entry_price": Decimal("90")}
    log.account(AccountPositionAsserted, amount=Decimal("2"), opening=True, **market)
    log.account(AccountPositionAsserted, amount=Decimal("7"), **market)
    (position,) = views_of(log.events).positions()
    assert (position.amount, position.average_entry, position.last_position) == (
        Decimal("2"),
        Decimal("90"),
        1,
    )


# The timeline


def test_a_timeline_has_a_line_per_event_with_the_state_after_it(
    log: LogBuilder, views_of: OpenViews
) -> None:
    log.open_order("o1", "77")
    log.filled("o1", amount=Decimal("1"))
    lines = views_of(log.events).timeline("o1")
    assert [(line.position, line.version, line.state) for line in lines] == [
        (1, 1, OrderState.PENDING_CREATE),
        (2, 2, OrderState.PENDING_SUBMIT),
        (3, 3, OrderState.OPEN),
        (4, 4, OrderState.FILLED),
    ]
    assert lines[2].summary == "acknowledged by the venue as 77"
    assert (lines[0].source, lines[0].causation) == (Source.COMMAND, "s1:0")


# What cannot be folded


def test_a_poison_event_parks_its_order_and_the_rest_goes_on(log: LogBuilder, views_of: OpenViews) -> None:
    log.open_order("o1", "77")
    log.filled("o1", fill_key="1", amount=Decimal("0.1"))
    log.filled("o1", fill_key="1", amount=Decimal("0.1"))
    log.filled("o1", fill_key="2", amount=Decimal("0.2"))
    log.open_order("o2", "78")
    views = views_of(log.events)
    by_view = {row.view: row for row in views.parked()}
    assert set(by_view) == {"orders", "fills"}
    assert (by_view["orders"].aggregate, by_view["orders"].position) == ("o1", 5)
    assert "a fill is booked once" in by_view["orders"].reason
    parked, other = views.orders()
    assert (parked.last_position, parked.filled_amount) == (4, Decimal("0.1"))
    assert other.state is OrderState.OPEN
    # Law 3: what was really filled is booked and held, whatever became of the order.
    assert [fill.fill_key for fill in views.fills()] == ["1", "2"]
    assert views.positions()[0].amount == Decimal("0.3")
    assert [line.state for line in views.timeline("o1")][-3:] == [OrderState.PARTIALLY_FILLED, None, None]


def test_an_event_that_failed_half_way_leaves_no_trace_in_the_order(
    log: LogBuilder, views_of: OpenViews
) -> None:
    log.created("o1")
    log.filled("o1", fill_key="1", amount=Decimal("0.1"))
    log.add(OrderFailed, "o1", reason_code="margin", reason="Insufficient margin")
    # Refutes the failure before it is refused for being booked twice.
    log.filled("o1", fill_key="1", amount=Decimal("0.1"))
    (order,) = views_of(log.events).orders()
    assert (order.state, order.reason_code, order.version) == (OrderState.FAILED, "margin", 3)


def test_a_fill_key_booked_for_two_orders_counts_once(log: LogBuilder, views_of: OpenViews) -> None:
    log.open_order("o1", "77")
    log.filled("o1", fill_key="1")
    log.open_order("o2", "78")
    log.filled("o2", fill_key="1")
    views = views_of(log.events)
    (parked,) = views.parked()
    assert (parked.view, parked.aggregate, parked.position) == ("fills", "o2", 8)
    assert views.positions()[0].amount == Decimal("0.4")


def test_an_order_whose_beginning_is_missing_is_parked(log: LogBuilder, views_of: OpenViews) -> None:
    log.submitted("o1")
    views = views_of(log.events)
    (parked,) = views.parked()
    assert parked.reason == "order.submitted version 1 comes before any order.created"
    assert views.orders() == []
    assert views.find_order("o1") == "o1"
    assert len(views.history("o1").events) == 1


def test_a_hole_in_an_orders_versions_parks_it(log: LogBuilder, views_of: OpenViews) -> None:
    log.open_order("o1", "77")
    del log.events[1]
    (parked,) = views_of(log.events).parked()
    assert (parked.view, parked.position) == ("orders", 2)
    assert "does not follow version 1" in parked.reason


def test_a_reason_is_the_same_text_in_every_process_and_under_every_test_runner(
    log: LogBuilder, views_of: OpenViews
) -> None:
    log.open_order("o1", "77")
    log.filled("o1", fill_key="1")
    log.filled("o1", fill_key="1")
    log.created("o2")
    log.created("o2")
    reasons = {row.aggregate: row.reason for row in views_of(log.events).parked() if row.view == "orders"}
    # An assertion is extended by pytest with the values it saw, addresses of objects among them.
    assert reasons == {
        "o1": "AssertionError: a fill is booked once",
        "o2": "order.created comes a second time",
    }


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            AssertionError("booked once\n  + where {} = <Order at 0x7f1818f18b80>.fills"),
            "AssertionError: booked once",
        ),
        (VersionError("version 3 does not follow"), "VersionError: version 3 does not follow"),
        (KeyError(object()), "KeyError"),
        (TypeError(f"unsupported operand: {object()}"), "TypeError"),
    ],
)
def test_a_reason_has_the_domains_own_words_and_no_others(error: Exception, reason: str) -> None:
    assert UnfoldableEventError.of(error).reason == reason


@pytest.mark.parametrize("absurd", ["NaN", "Infinity", "1e400"])
def test_absurd_numbers_are_parked_where_they_come_in(
    log: LogBuilder, views_of: OpenViews, absurd: str
) -> None:
    log.open_order("o1", "77")
    log.filled("o1", price=Decimal(absurd))
    log.account(
        AccountFundingBooked,
        funding_key="f1",
        trading_pair="BTC-USD",
        amount=Decimal(absurd),
        token="USDC",
        rate=Decimal("0"),
        position_size=Decimal("0"),
    )
    views = views_of(log.events)
    assert [(row.view, row.position) for row in views.parked()] == [
        ("fills", 4),
        ("orders", 4),
        ("funding", 5),
    ]
    assert views.positions() == []


def test_an_unreadable_event_parks_its_order_and_the_rest_goes_on(
    log: LogBuilder, views_of: OpenViews
) -> None:
    log.open_order("o1", "77")
    log.open_order("o2", "78")
    log.add(OrderObserved, "o2", why="still_open")
    views = views_of(log.events, unreadable={3})
    (parked,) = views.parked()
    assert (parked.view, parked.aggregate, parked.position) == ("all", "o1", 3)
    first, second = views.orders()
    assert (first.version, second.version) == (2, 4)
    assert views.position == 7


def test_an_unreadable_last_event_still_moves_the_views(log: LogBuilder, views_of: OpenViews) -> None:
    log.open_order("o1", "77")
    assert views_of(log.events, unreadable={3}).position == 3


def test_a_position_that_cannot_take_an_event_stays_as_it_was(log: LogBuilder, views_of: OpenViews) -> None:
    log.open_order("o1", "77")
    log.filled("o1")
    log.account(AccountLeverageChanged, trading_pair="BTC-USD", leverage=0, is_cross=True)
    views = views_of(log.events)
    (parked,) = views.parked()
    assert parked.view == "positions"
    assert "leverage must be at least 1" in parked.reason
    assert (views.positions()[0].leverage, views.positions()[0].last_position) == (None, 4)


def test_a_late_event_of_an_order_that_left_memory_is_folded_into_it(tmp_path: Path, log: LogBuilder) -> None:
    for number in range(20):
        log.open_order(f"o{number}", str(number))
        log.add(OrderCancelled, f"o{number}", reason_code="requested")
    log.add(OrderFilled, "o0", fill=a_fill(exchange_order_id="0"))
    source = MemoryLog(log.events)
    path = tmp_path / "v.db"
    ViewsFile.create(path, source.ledger_id).complete()
    with (
        ViewsFile.open(path) as views,
        Follower(source, views, batch_size=8, done_orders_kept=2) as follower,
    ):
        while follower.step(0):
            assert follower.orders_in_memory <= 2 + 8
    with Views(path) as asked:
        order = asked.order("o0")
    assert order is not None
    assert (order.state, order.filled_amount, order.created_position) == (
        OrderState.CANCELLED,
        Decimal("0.4"),
        1,
    )
