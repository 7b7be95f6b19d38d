"""Fills that turned out otherwise, positions that the venue stated, and what reconciliations found."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from domain.enums import TradeType
from domain.events import AccountFillBooked, AccountPositionAsserted, Fill, LedgerEvent
from projections import DiscrepancyStatus, Views, differences
from projections.sql import SqlViews
from tests.unit.projections.conftest import OpenViews
from tests.unit.projections.logs import ACCOUNT_ID, LogBuilder, MemoryLog, a_fill


@pytest.fixture
def log() -> LogBuilder:
    """An order with two fills (positions 4 and 5: 0.4 and 0.6 of a bitcoin) and a liquidation (6: 0.1)."""
    builder = LogBuilder()
    builder.open_order("o1", "77", amount=Decimal(1), tag="maker")
    builder.filled("o1", fill_key="a", amount=Decimal("0.4"), price=Decimal(100))
    builder.filled("o1", fill_key="b", amount=Decimal("0.6"), price=Decimal(110))
    builder.account(AccountFillBooked, fill=a_fill(fill_key="c", amount=Decimal("0.1"), price=Decimal(120)))
    return builder


def fill_of(log: LogBuilder, position: int) -> Fill:
    fill: Fill = log.events[position - 1].fill  # type: ignore[attr-defined]
    return fill


def counted(views: Views) -> list[tuple[int, str, Decimal]]:
    return [(fill.position, fill.fill_key, fill.amount) for fill in views.fills()]


def held(views: Views, **wanted: str) -> Decimal:
    (position,) = views.positions(**wanted)  # type: ignore[arg-type]
    return position.amount


def reasons(views: Views) -> list[tuple[int, str, str]]:
    return [(row.position, row.view, row.reason) for row in [*views.parked(), *views.contradicted()]]


def test_a_corrected_fill_counts_from_the_correction_on_and_the_old_one_before(
    views_of: OpenViews, log: LogBuilder
) -> None:
    was = fill_of(log, 4)
    log.corrected(log.events[3], msgspec.structs.replace(was, amount=Decimal("0.3"), price=Decimal(101)))
    views = views_of(log.events)
    b, c = (5, "b", Decimal("0.6")), (6, "c", Decimal("0.1"))
    assert counted(views) == [b, c, (7, "a", Decimal("0.3"))]
    assert held(views) == Decimal("1.0")
    with views.at(6, MemoryLog(log.events)) as then:
        assert counted(then) == [(4, "a", Decimal("0.4")), b, c]
        assert held(then) == Decimal("1.1")


def test_a_fill_that_is_taken_back_counts_no_more_and_can_be_booked_after_all(
    views_of: OpenViews, log: LogBuilder
) -> None:
    was = fill_of(log, 5)
    log.corrected(log.events[4], None)
    log.filled("o1", **msgspec.structs.asdict(was))
    views = views_of(log.events)
    assert reasons(views) == []
    assert [position for position, key, _ in counted(views) if key == "b"] == [8]
    with views.at(7, MemoryLog(log.events)) as then:
        assert [key for _, key, _ in counted(then)] == ["a", "c"]
        assert [fill.fill_key for fill in then.fills_taken_back()] == ["b"]


def test_a_fill_without_an_order_is_corrected_too(views_of: OpenViews, log: LogBuilder) -> None:
    log.corrected(log.events[5], None)
    views = views_of(log.events)
    assert reasons(views) == []
    assert [key for _, key, _ in counted(views)] == ["a", "b"]
    assert held(views) == Decimal("1.0")


def test_one_correction_may_follow_another(views_of: OpenViews, log: LogBuilder) -> None:
    first = msgspec.structs.replace(fill_of(log, 4), amount=Decimal("0.3"))
    second = msgspec.structs.replace(first, amount=Decimal("0.2"))
    log.corrected(log.events[3], first)
    log.corrected(("o1", first), second)
    log.corrected(("o1", second), None)
    views = views_of(log.events)
    assert reasons(views) == []
    source = MemoryLog(log.events)
    amounts = []
    for position in range(6, 10):
        with views.at(position, source) as then:
            amounts.append([amount for _, key, amount in counted(then) if key == "a"])
    assert amounts == [[Decimal("0.4")], [Decimal("0.3")], [Decimal("0.2")], []]


def test_a_correction_may_give_a_fill_another_key(views_of: OpenViews, log: LogBuilder) -> None:
    log.corrected(log.events[3], msgspec.structs.replace(fill_of(log, 4), fill_key="a2"))
    views = views_of(log.events)
    assert reasons(views) == []
    assert [key for _, key, _ in counted(views)] == ["b", "c", "a2"]


@pytest.mark.parametrize(
    ("owner", "position", "was", "now", "reason"),
    [
        ("o1", 4, {"fill_key": "x"}, None, "'x' is to be corrected and is not booked"),
        ("o1", 4, {"amount": Decimal("0.5")}, None, "'a' is booked otherwise than the correction says"),
        (ACCOUNT_ID, 4, {}, None, "'a' is booked otherwise than the correction says"),
        ("o1", 6, {}, None, "'c' is booked otherwise than the correction says"),
        ("o1", 4, {}, {"fill_key": "b"}, "'b' is booked already, at an earlier position"),
        ("o1", 4, {}, {"trading_pair": "ETH-USD"}, "'a' cannot be corrected to another market"),
        ("o1", 4, {}, {"amount": Decimal(-1)}, "not a fill: -1 at 100, fee 1.72"),
    ],
)
def test_a_correction_that_does_not_fit_what_is_booked_changes_nothing_and_says_why(
    views_of: OpenViews,
    log: LogBuilder,
    owner: str,
    position: int,
    was: dict[str, object],
    now: dict[str, object] | None,
    reason: str,
) -> None:
    before = [(4, "a", Decimal("0.4")), (5, "b", Decimal("0.6")), (6, "c", Decimal("0.1"))]
    fill = fill_of(log, position)
    log.corrected(
        (owner, msgspec.structs.replace(fill, **was)),
        None if now is None else msgspec.structs.replace(fill, **now),
    )
    views = views_of(log.events)
    assert (7, "fills", reason) in reasons(views)
    assert counted(views) == before
    assert held(views) == Decimal("1.1")


def test_the_view_of_fills_for_sql_holds_what_counts(views_of: OpenViews, log: LogBuilder) -> None:
    log.corrected(log.events[3], None)
    with SqlViews(views_of(log.events).path) as sql:
        assert list(sql.ask("SELECT decimal_sum(amount) FROM fills")) == [("0.7",)]
        assert list(sql.ask("SELECT fill_key, corrected_position FROM fill_bookings ORDER BY 1")) == [
            ("a", 7),
            ("b", None),
            ("c", None),
        ]


def test_a_strategys_book_is_corrected_as_the_position_is(views_of: OpenViews) -> None:
    log = LogBuilder()
    log.open_order("o1", "77", amount=Decimal(3), tag="maker")
    was = log.filled("o1", fill_key="a", amount=Decimal(1), price=Decimal(100))
    log.filled("o1", fill_key="b", amount=Decimal(2), price=Decimal(110))
    log.open_order("o2", "78", amount=Decimal(2), tag="maker")
    log.filled("o2", fill_key="c", exchange_order_id="78", trade_type=TradeType.SELL, amount=Decimal(2))
    now = a_fill(fill_key="a", amount=Decimal(2), price=Decimal(90))
    log.corrected(was, now)
    log.corrected(("o1", now), None)
    views = views_of(log.events)
    source = MemoryLog(log.events)
    for position in range(4, len(log.events) + 1):
        with views.at(position, source) as then:
            assert then.positions(tag="maker") == then.positions()


def test_a_difference_between_two_points_names_what_was_taken_back(
    views_of: OpenViews, log: LogBuilder
) -> None:
    log.corrected(log.events[3], None)
    views, source = views_of(log.events), MemoryLog(log.events)
    found = differences(views, source, 6, 7)
    assert ([fill.fill_key for fill in found.fills_taken_back], found.fills) == (["a"], [])
    assert differences(views, source, 3, 7).fills_taken_back == [], "it did not count at either end"


# What the venue stated


def stated(log: LogBuilder, amount: str, **members: object) -> LedgerEvent:
    return log.account(
        AccountPositionAsserted,
        **{"trading_pair": "BTC-USD", "amount": Decimal(amount), "entry_price": None, **members},
    )


def test_a_stated_position_that_the_events_come_to_is_no_news(views_of: OpenViews, log: LogBuilder) -> None:
    stated(log, "1.10")
    stated(log, "0", trading_pair="ETH-USD")
    assert reasons(views_of(log.events)) == []


def test_a_stated_position_that_the_events_contradict_is_named(views_of: OpenViews, log: LogBuilder) -> None:
    stated(log, "1.5")
    log.filled("o1", fill_key="d", amount=Decimal("0.4"))
    stated(log, "1.5")
    views = views_of(log.events)
    assert reasons(views) == [
        (
            7,
            "claims",
            "the venue stated a position of 1.5 BTC-USD; the events up to there come to 1.1",
        )
    ]
    assert held(views) == Decimal("1.5")


def test_a_statement_is_held_against_what_was_known_then(views_of: OpenViews, log: LogBuilder) -> None:
    stated(log, "1.1")
    log.corrected(log.events[3], None)
    stated(log, "0.7")
    assert reasons(views_of(log.events)) == []


def test_an_adjustment_sets_the_position_and_is_no_claim(views_of: OpenViews, log: LogBuilder) -> None:
    stated(log, "3", adjustment=True)
    log.corrected(log.events[3], None)
    views = views_of(log.events)
    assert reasons(views) == []
    assert held(views) == Decimal("2.6")


# What reconciliations found


def standing(views: Views) -> list[tuple[str, DiscrepancyStatus, int | None, str]]:
    return [
        (row.discrepancy_id, row.status, row.settled_position, row.actor) for row in views.discrepancies()
    ]


def test_a_discrepancy_is_open_until_it_is_settled(views_of: OpenViews) -> None:
    log = LogBuilder()
    log.found("D-1")
    log.found("D-2", trading_pair="")
    log.waived("D-2")
    log.repaired("D-1", repairs=("order.fill_corrected o1 7",))
    log.repaired("D-2", actor="ann")
    views, source = views_of(log.events), MemoryLog(log.events)
    repaired, waived, unsettled = DiscrepancyStatus.REPAIRED, DiscrepancyStatus.WAIVED, DiscrepancyStatus.OPEN
    assert standing(views) == [("D-1", repaired, 4, "reconciliation"), ("D-2", repaired, 5, "ann")]
    first, second = views.discrepancies()
    assert (first.repairs, second.repairs) == (["order.fill_corrected o1 7"], [])
    assert (first.trading_pair, second.trading_pair) == ("BTC-USD", None)
    assert views.discrepancies(only_open=True) == []
    with views.at(3, source) as then:
        assert standing(then) == [("D-1", unsettled, None, ""), ("D-2", waived, 3, "maria")]
        assert [row.discrepancy_id for row in then.discrepancies(only_open=True)] == ["D-1"]


def test_a_difference_that_comes_back_is_a_finding_of_its_own(views_of: OpenViews) -> None:
    log = LogBuilder()
    log.found("D-1")
    log.repaired("D-1")
    log.found("D-1")
    views = views_of(log.events)
    assert [(row.found_position, row.status) for row in views.discrepancies()] == [
        (1, DiscrepancyStatus.REPAIRED),
        (3, DiscrepancyStatus.OPEN),
    ]
    assert [row.found_position for row in views.discrepancies(limit=1)] == [3]
    with SqlViews(views.path) as sql:
        assert list(sql.ask("SELECT found_position FROM discrepancies WHERE status = 'open'")) == [(3,)]
