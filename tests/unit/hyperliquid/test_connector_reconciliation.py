"""A live core compares its books with the venue: what it finds, what it mends, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from adapters.hyperliquid.pass_weights import pass_questions
from domain.discrepancies import DiscrepancyKind, discrepancy_id_of
from domain.effects import Query
from domain.enums import Source
from domain.events import (
    AccountBalanceAsserted,
    AccountDiscrepancyFound,
    AccountDiscrepancyRepaired,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    AccountLeverageChanged,
    AccountMessageKept,
    AccountPositionAsserted,
    OrderFilled,
)
from domain.inputs import OrderLookedUp, StreamConnected
from tests.support.core import (
    BOOKS_BEGIN_MS,
    START_MS,
    CoreSession,
    fill_row,
    funding_row,
    open_order_row,
    order_status_answer,
    transfer_row,
)

PASS_S = 61
"""After so long a pass has been made since whatever happened."""


def found(core: CoreSession) -> list[tuple[str, str]]:
    """Kind and subject of every finding."""
    return [(event.kind, event.subject) for event in core.events_of(AccountDiscrepancyFound)]


def kinds(core: CoreSession) -> list[str]:
    return [kind for kind, _ in found(core)]


def repaired(core: CoreSession) -> list[AccountDiscrepancyRepaired]:
    return core.events_of(AccountDiscrepancyRepaired)


def topics_since(core: CoreSession, count: int) -> list[str]:
    return [event.topic for event in core.events[count:]]


def held(coin: str, amount: str, **members: Any) -> dict[str, Any]:
    """A position as the account's state lists it."""
    return {"coin": coin, "szi": amount, "entryPx": "43000.0", **members}


def asked(core: CoreSession, kind: str) -> list[dict[str, Any]]:
    """Every read of this type, as it was asked."""
    return [
        effect.body for effect in core.effects if isinstance(effect, Query) and effect.body["type"] == kind
    ]


def finds_nothing_more(core: CoreSession) -> None:
    """Further passes write nothing, and a replay does the same."""
    before = len(core.events)
    core.advance(3 * PASS_S)
    assert core.events[before:] == []
    core.assert_consistent()


@pytest.fixture
def core() -> CoreSession:
    """A core that trades, twenty seconds after its start."""
    session = CoreSession().ready()
    session.advance(20)
    return session


# -- fills ---------------------------------------------------------------------------------------------------


def test_a_fill_that_the_stream_withheld_is_found_booked_and_recorded_as_such(core: CoreSession) -> None:
    order = core.open(5)
    core.fills.append(fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms))
    before = len(core.events)
    core.advance(PASS_S)
    assert found(core) == [("missing_fill", "BTC:5:1")]
    assert topics_since(core, before)[:3] == [
        "account.discrepancy_found",
        "order.filled",
        "account.discrepancy_repaired",
    ]
    (fill,) = core.events_of(OrderFilled)
    assert fill.source is Source.RECONCILIATION
    (mended,) = repaired(core)
    assert mended.repairs == (f"order.filled {order} {fill.originator_version}",)
    assert mended.actor == "live process"
    assert core.connector.position("BTC-USD").amount == Decimal("0.4")
    assert core.alert_codes().count("discrepancy") == 1
    finds_nothing_more(core)


def test_a_fill_that_is_young_when_it_is_asked_for_is_booked_and_no_discrepancy(core: CoreSession) -> None:
    order = core.open(5)
    core.advance(37)
    core.fills.append(fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms))
    core.advance(4)
    assert core.view(order).filled_amount == Decimal("0.4")
    assert found(core) == []


def test_what_was_missed_while_the_stream_was_down_is_no_discrepancy(core: CoreSession) -> None:
    order = core.open(5)
    core.lose_stream()
    core.advance(30)
    core.fills.append(fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms - 20_000))
    core.step(StreamConnected(stream="user"))
    assert core.view(order).filled_amount == Decimal("0.4")
    assert found(core) == []
    assert core.connector.ready
    finds_nothing_more(core)


def test_a_fill_older_than_the_newest_one_is_found_as_well(core: CoreSession) -> None:
    order = core.open(5)
    core.fills.append(fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms))
    core.advance(10)
    core.fill(5, 2, "0.1", cloid=order, time_ms=core.now_ms)
    core.advance(PASS_S)
    assert found(core) == [("missing_fill", "BTC:5:1")]
    assert core.view(order).filled_amount == Decimal("0.5")


def test_a_missing_fill_of_an_order_that_left_memory_is_booked_to_it(core: CoreSession) -> None:
    order = core.open(5)
    core.status(5, "canceled", cloid=order, time_ms=core.now_ms)
    core.advance(200)
    assert core.connector.tracker.get(order) is None
    core.fills.append(fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms - 30_000))
    core.advance(PASS_S)
    assert found(core) == [("missing_fill", "BTC:5:1")]
    assert [mended.repairs for mended in repaired(core)] == [(f"order.filled {order} 5",)]
    assert core.view(order).filled_amount == Decimal("0.4")
    finds_nothing_more(core)


def test_a_fill_that_the_ledger_holds_but_memory_forgot_is_no_discrepancy() -> None:
    core = CoreSession().ready()
    order = core.open(5)
    core.fill(5, 1, "0.4", cloid=order)
    again = core.restarted(recent_fill_keys=(), open_orders=())
    again.open_orders = [open_order_row(5, cloid=order, remaining="0.6")]
    again.ready()
    again.advance(PASS_S)
    assert kinds(again) == []
    assert again.connector.position("BTC-USD").amount == Decimal("0.4")


def test_a_manual_trade_that_the_stream_withheld_is_found_with_its_order(core: CoreSession) -> None:
    core.answers["orderStatus"] = lambda body: order_status_answer(77, "filled", size="0.3", remaining="0.0")
    core.fills.append(fill_row(77, 9, "0.3", time_ms=core.now_ms))
    core.advance(PASS_S)
    assert found(core) == [("external_fill", "BTC:77:9")]
    assert len(repaired(core)) == 1
    assert core.state("external:hyperliquid:77") == "filled"
    assert core.connector.position("BTC-USD").amount == Decimal("0.3")
    finds_nothing_more(core)


def test_a_liquidation_that_the_stream_withheld_is_booked_to_the_account(core: CoreSession) -> None:
    row = fill_row(
        80,
        3,
        "0.2",
        side="A",
        time_ms=core.now_ms,
        dir="Liquidated Cross Long",
        liquidation={"liquidatedUser": core.account, "markPx": "43000.0", "method": "market"},
    )
    core.fills.append(row)
    core.advance(PASS_S)
    assert found(core) == [("liquidation", "BTC:80:3")]
    assert core.connector.position("BTC-USD").amount == Decimal("-0.2")
    finds_nothing_more(core)


# -- fills that the venue's list does not hold ---------------------------------------------------------------


def test_a_fill_that_the_venue_does_not_tell_again_is_taken_back(core: CoreSession) -> None:
    order = core.open(5)
    core.show_fills([fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms, startPosition="0.0")])
    assert core.connector.position("BTC-USD").amount == Decimal("0.4")
    core.advance(PASS_S)
    assert found(core) == [("phantom_fill", "BTC:5:1")]
    assert core.topics(order)[-1] == "order.fill_corrected"
    assert core.view(order).filled_amount == 0
    assert core.connector.position("BTC-USD").amount == 0
    assert len(repaired(core)) == 1
    finds_nothing_more(core)
    again = core.restarted().ready()
    again.advance(2 * PASS_S)
    assert found(again) == []


def test_a_fill_that_was_taken_back_is_booked_when_the_venue_tells_it_after_all(core: CoreSession) -> None:
    order = core.open(5)
    row = fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms, startPosition="0.0")
    core.show_fills([row])
    core.advance(PASS_S)
    core.fills.append(row)
    core.advance(PASS_S)
    assert kinds(core) == ["phantom_fill", "missing_fill"]
    assert core.connector.position("BTC-USD").amount == Decimal("0.4")
    finds_nothing_more(core)


UNTIL_PASS_S = 40
"""From the fixture to the first pass."""


def of_a_while_ago(core: CoreSession, lag_ms: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The account's state as a server tells it that lags behind."""
    told = core.answers["clearinghouseState"]
    return lambda body: {**told(body), "time": core.now_ms - lag_ms}


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("age_s", [1, 4, 5, 6, 9])
def test_a_server_that_lags_behind_takes_no_fill_back(core: CoreSession, age_s: int, is_first: bool) -> None:
    """State and list are ten seconds old, and the stream has told a fill since."""
    order = core.open(5)
    before = Decimal(0)
    if not is_first:
        before = Decimal("0.1")
        first = fill_row(5, 9, "0.1", cloid=order, time_ms=core.now_ms, startPosition="0.0")
        core.fills.append(first)
        core.show_fills([first])
    core.advance(UNTIL_PASS_S - age_s)
    row = fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms, startPosition=str(before))
    core.show_fills([row])
    up_to_date = core.answers["clearinghouseState"]
    core.answers["clearinghouseState"] = of_a_while_ago(core, 10_000)
    core.advance(age_s + 1)
    assert core.connector.status()["reconciliations"] == 1
    core.answers["clearinghouseState"] = up_to_date
    core.fills.append(row)
    core.advance(2 * PASS_S)
    assert found(core) == []
    assert core.view(order).filled_amount == before + Decimal("0.4")
    core.assert_consistent()


def round_trip(core: CoreSession) -> list[dict[str, Any]]:
    """An order is bought and another sold: on the stream, and not in the list of fills."""
    bought, sold = core.open(5), core.open(6)
    rows = [
        fill_row(5, 1, "0.4", cloid=bought, time_ms=core.now_ms - 1, startPosition="0.0"),
        fill_row(6, 2, "0.4", cloid=sold, side="A", time_ms=core.now_ms, startPosition="0.4"),
    ]
    core.show_fills(rows)
    return rows


def test_one_answer_without_a_round_trip_takes_nothing_back(core: CoreSession) -> None:
    """The list is old and the state is not: their position is the same."""
    core.advance(UNTIL_PASS_S - 8)
    rows = round_trip(core)
    before = len(core.events)
    core.advance(9)
    assert core.connector.status()["reconciliations"] == 1
    core.fills += rows
    core.advance(2 * PASS_S)
    assert found(core) == []
    assert core.events[before:] == []
    core.assert_consistent()


def test_an_answer_that_is_given_again_and_again_takes_nothing_back(core: CoreSession) -> None:
    """By our clock time goes by; by the venue's dates it is one and the same answer."""
    core.advance(UNTIL_PASS_S - 8)
    rows = round_trip(core)
    core.advance(7)
    up_to_date = core.answers["clearinghouseState"]
    core.answers["clearinghouseState"] = up_to_date({})
    core.advance(30)
    core.answers["clearinghouseState"] = up_to_date
    core.fills += rows
    core.advance(2 * PASS_S)
    assert found(core) == []


def test_a_fill_whose_numbers_differ_in_one_answer_keeps_them(core: CoreSession) -> None:
    order = core.open(5)
    row = fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms, startPosition="0.0")
    core.show_fills([row])
    core.fills.append({**row, "sz": "0.5"})
    core.advance(UNTIL_PASS_S + 1)
    core.fills[:] = [{**row, "sz": "0.3"}]
    core.advance(10)
    core.fills[:] = [row]
    core.advance(2 * PASS_S)
    assert found(core) == []
    assert core.view(order).filled_amount == Decimal("0.4")


def test_an_order_that_the_ledger_did_not_find_is_looked_up_again(core: CoreSession) -> None:
    order = core.open(5)
    core.show_fills([fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms, startPosition="0.0")])
    core.status(5, "canceled", cloid=order, time_ms=core.now_ms)
    told, core.answers["userFillsByTime"] = core.answers["userFillsByTime"], lambda body: None
    core.advance(130)
    assert core.connector.tracker.get(order) is None
    core.answers["userFillsByTime"] = told
    core.answer_lookups = False
    core.advance(PASS_S)
    assert set(core.lookups) == {"oid:5"}
    while core.lookups:
        core.step(OrderLookedUp(key=core.lookups.pop(), events=()))
    assert found(core) == []
    core.answer_lookups = True
    core.advance(PASS_S)
    assert found(core) == [("phantom_fill", "BTC:5:1")]
    assert core.connector.position("BTC-USD").amount == 0
    finds_nothing_more(core)


def test_a_fill_of_an_order_that_left_memory_is_taken_back_from_it(core: CoreSession) -> None:
    order = core.open(5)
    core.show_fills([fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms, startPosition="0.0")])
    core.status(5, "canceled", cloid=order, time_ms=core.now_ms)
    told, core.answers["userFillsByTime"] = core.answers["userFillsByTime"], lambda body: None
    core.advance(130)
    assert core.connector.tracker.get(order) is None
    core.answers["userFillsByTime"] = told
    core.advance(2 * PASS_S)
    assert found(core) == [("phantom_fill", "BTC:5:1")]
    assert core.connector.position("BTC-USD").amount == 0
    finds_nothing_more(core)


def test_a_fill_that_is_young_is_not_taken_back(core: CoreSession) -> None:
    order = core.open(5)
    core.advance(38)
    core.show_fills([row := fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms, startPosition="0.0")])
    core.advance(4)
    core.fills.append(row)
    core.advance(2 * PASS_S)
    assert found(core) == []


def test_a_list_that_does_not_lead_to_the_venues_position_takes_nothing_back(core: CoreSession) -> None:
    order = core.open(5)
    core.show_fills([row := fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms, startPosition="0.0")])
    core.positions = [held("BTC", "0.4")]
    core.unexplained_cash = -Decimal(row["px"]) * Decimal(row["sz"]) - Decimal(row["fee"])
    core.advance(3 * PASS_S)
    assert found(core) == []
    core.fills.append(row)
    core.positions = []
    core.unexplained_cash = Decimal(0)
    finds_nothing_more(core)


def test_a_list_with_a_row_that_cannot_be_read_takes_nothing_back(core: CoreSession) -> None:
    order = core.open(5)
    row = fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms, startPosition="0.0")
    core.show_fills([row])
    core.answers["userFillsByTime"] = [{**row, "px": "much"}]
    core.positions = [held("BTC", "0.4")]
    core.advance(2 * PASS_S)
    assert found(core) == []
    assert core.view(order).filled_amount == Decimal("0.4")


def test_a_fill_that_the_venue_tells_with_other_numbers_takes_these(core: CoreSession) -> None:
    order = core.open(5)
    row = fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms, startPosition="0.0")
    core.show_fills([row])
    core.fills.append({**row, "px": "43111.0", "sz": "0.5", "fee": "9.5"})
    core.advance(PASS_S)
    assert kinds(core) == ["quantity_mismatch"]
    assert core.view(order).filled_amount == Decimal("0.5")
    assert core.connector.position("BTC-USD").average_entry == Decimal(43_111)
    finds_nothing_more(core)


# -- orders --------------------------------------------------------------------------------------------------


def test_an_order_that_ended_silently_at_the_venue_is_found_and_its_end_taken_over(core: CoreSession) -> None:
    order = core.open(5)
    ended_ms = core.now_ms
    core.answers["orderStatus"] = lambda body: order_status_answer(
        5, "canceled", cloid=order, time_ms=ended_ms
    )
    core.advance(PASS_S)
    assert found(core) == [("state_mismatch", order)]
    assert core.state(order) == "cancelled"
    assert core.topics(order)[-1] == "order.cancelled"
    assert core.stored[order][-1].source is Source.RECONCILIATION
    finds_nothing_more(core)


def test_an_order_that_ended_while_nobody_listened_is_no_discrepancy(core: CoreSession) -> None:
    order = core.open(5)
    core.lose_stream()
    core.advance(30)
    ended_ms = core.now_ms - 20_000
    core.step(StreamConnected(stream="user"))
    core.answer(
        core.take_query("orderStatus"), order_status_answer(5, "canceled", cloid=order, time_ms=ended_ms)
    )
    assert core.state(order) == "cancelled"
    assert found(core) == []


def test_an_unknown_outcome_that_is_cleared_up_is_no_discrepancy_of_the_books(core: CoreSession) -> None:
    order = core.buy()
    core.fail(core.take_send())
    placed_ms = core.now_ms
    core.answers["orderStatus"] = lambda body: order_status_answer(5, "open", cloid=order, time_ms=placed_ms)
    core.advance(15)
    assert core.state(order) == "open"
    assert found(core) == []


def test_an_order_placed_elsewhere_that_the_stream_withheld_is_found(core: CoreSession) -> None:
    core.open_orders = [open_order_row(88, size="0.5", timestamp=core.now_ms)]
    core.advance(PASS_S)
    assert found(core) == [("external_order", "88")]
    assert core.state("external:hyperliquid:88") == "open"
    assert len(repaired(core)) == 1
    finds_nothing_more(core)


def ended_but_listed(core: CoreSession) -> str:
    order = core.open(5)
    core.status(5, "canceled", cloid=order, time_ms=core.now_ms)
    core.open_orders = [open_order_row(5, cloid=order)]
    return order


def test_an_order_that_counts_as_ended_and_lives_at_the_venue_is_reopened(core: CoreSession) -> None:
    order = ended_but_listed(core)
    core.answers["orderStatus"] = lambda body: order_status_answer(5, "open", cloid=order)
    core.advance(2 * PASS_S)
    assert found(core) == [("state_mismatch", order)]
    assert "order.reopened" in core.topics(order)
    assert core.state(order) == "open"
    finds_nothing_more(core)


def test_an_ended_order_in_an_old_list_stays_ended(core: CoreSession) -> None:
    order = ended_but_listed(core)
    core.answers["orderStatus"] = lambda body: order_status_answer(5, "canceled", cloid=order)
    core.advance(2 * PASS_S)
    assert found(core) == []
    assert core.state(order) == "cancelled"


# -- funding and leverage ------------------------------------------------------------------------------------


def test_a_funding_payment_that_the_stream_withheld_is_found_and_booked(core: CoreSession) -> None:
    core.fundings.append(funding_row(core.now_ms, "-1.25"))
    core.advance(PASS_S)
    assert kinds(core) == ["unbooked_funding"]
    (payment,) = core.events_of(AccountFundingBooked)
    assert (payment.amount, payment.source) == (Decimal("-1.25"), Source.RECONCILIATION)
    finds_nothing_more(core)


def show_transfers(core: CoreSession, *rows: dict[str, Any]) -> None:
    """Transfers on the stream; the venue's own list has them too."""
    core.transfers += [row for row in rows if row not in core.transfers]
    core.frame("userNonFundingLedgerUpdates", {"user": core.account, "nonFundingLedgerUpdates": list(rows)})


def transfers(core: CoreSession) -> list[tuple[str, Decimal | None, Source]]:
    """Kind, amount and source of every transfer that was booked."""
    return [(event.kind, event.amount, event.source) for event in core.events_of(AccountLedgerUpdateBooked)]


def test_a_deposit_is_booked_when_the_stream_tells_it_and_is_no_discrepancy(core: CoreSession) -> None:
    show_transfers(core, transfer_row(core.now_ms, "250.0"))
    assert transfers(core) == [("deposit", Decimal(250), Source.STREAM)]
    core.advance(PASS_S)
    assert found(core) == []
    finds_nothing_more(core)


def test_a_deposit_that_the_stream_withheld_is_found_and_booked_once(core: CoreSession) -> None:
    row = transfer_row(core.now_ms, "250.0")
    core.transfers.append(row)
    before = len(core.events)
    core.advance(PASS_S)
    assert kinds(core) == ["unbooked_transfer"]
    assert topics_since(core, before) == [
        "account.discrepancy_found",
        "account.transfer",
        "account.discrepancy_repaired",
    ]
    assert transfers(core) == [("deposit", Decimal(250), Source.RECONCILIATION)]
    show_transfers(core, row)
    finds_nothing_more(core)
    again = core.restarted().ready()
    show_transfers(again, row)
    again.advance(PASS_S)
    assert transfers(again) == found(again) == []


def test_a_deposit_that_is_young_when_it_is_asked_for_is_booked_and_no_discrepancy(
    core: CoreSession,
) -> None:
    core.advance(37)
    core.transfers.append(transfer_row(core.now_ms, "250.0"))
    core.advance(4)
    assert transfers(core) == [("deposit", Decimal(250), Source.QUERY)]
    assert found(core) == []


def test_a_deposit_of_the_time_without_a_stream_or_without_a_process_is_no_discrepancy(
    core: CoreSession,
) -> None:
    core.lose_stream()
    core.transfers.append(transfer_row(core.now_ms, "250.0"))
    core.advance(30)
    core.step(StreamConnected(stream="user"))
    core.advance(PASS_S)
    core.transfers.append(transfer_row(core.now_ms, "50.0", "withdraw", fee="1.0"))
    again = core.restarted().ready()
    assert [*transfers(core), *transfers(again)] == [
        ("deposit", Decimal(250), Source.QUERY),
        ("withdraw", Decimal(50), Source.QUERY),
    ]
    assert found(core) == found(again) == []


def test_transfers_of_before_the_books_are_in_the_opening_balance() -> None:
    core = CoreSession()
    row = transfer_row(BOOKS_BEGIN_MS - 1_000, "250.0")
    core.begin()
    show_transfers(core, row)
    core.connect()
    core.books()
    show_transfers(core, row)
    core.advance(2 * PASS_S)
    assert transfers(core) == found(core) == []


def test_a_transfer_that_names_others_is_kept_and_not_booked(core: CoreSession) -> None:
    others = {"user": "0x" + "1" * 40, "destination": "0x" + "2" * 40}
    show_transfers(core, transfer_row(core.now_ms, "250.0", "internalTransfer", **others))
    core.unexplained_cash = Decimal(250)
    core.advance(2 * PASS_S)
    assert transfers(core) == found(core) == []
    assert [event.why for event in core.events_of(AccountMessageKept)] == [
        "a transfer between other accounts"
    ]


def test_more_transfers_than_one_answer_lists_are_asked_for_page_by_page(core: CoreSession) -> None:
    core.transfers += [transfer_row(core.now_ms + number // 2, f"{number}.5") for number in range(750)]
    core.answers["userNonFundingLedgerUpdates"] = lambda body: [
        row for row in core.transfers if row["time"] >= body["startTime"]
    ][:500]
    core.advance(PASS_S)
    assert len(transfers(core)) == 750
    assert kinds(core) == ["unbooked_transfer"] * 750
    finds_nothing_more(core)


def test_funding_and_transfers_are_asked_for_less_often_than_positions_where_told_so() -> None:
    options = {"reconcile_every_ns": 10 * 10**9, "thorough_every_ns": 60 * 10**9}
    core = CoreSession(options=options).ready()
    questions = ("clearinghouseState", "userFunding", "userNonFundingLedgerUpdates")
    before = [len(asked(core, kind)) for kind in questions]
    core.advance(121)
    assert [len(asked(core, kind)) - many for kind, many in zip(questions, before, strict=True)] == [12, 2, 2]


def test_comparisons_weigh_what_they_are_said_to_weigh() -> None:
    every_s, thorough_every_s = 10, 60
    core = CoreSession(
        options={"reconcile_every_ns": every_s * 10**9, "thorough_every_ns": thorough_every_s * 10**9}
    ).ready()
    before = len(core.effects)
    core.advance(240)
    weights = {"clearinghouseState": 2, "exchangeStatus": 2}
    weight = sum(
        weights.get(effect.body["type"], 20) for effect in core.effects[before:] if isinstance(effect, Query)
    )
    light, thorough = (
        sum(question.weight for question in pass_questions(1, is_thorough=is_thorough))
        for is_thorough in (False, True)
    )
    assert weight == 4 * (5 * light + thorough)


def test_leverage_that_was_changed_elsewhere_is_found_and_taken_over(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "1", cloid=order, time_ms=core.now_ms)
    core.positions = [held("BTC", "1.0", leverage={"type": "cross", "value": 20})]
    core.advance(PASS_S)
    assert kinds(core) == [], "nobody had told the leverage before"
    assert core.connector.position("BTC-USD").leverage == 20
    core.positions = [held("BTC", "1.0", leverage={"type": "isolated", "value": 3})]
    core.advance(PASS_S)
    assert kinds(core) == ["leverage_changed"]
    position = core.connector.position("BTC-USD")
    assert (position.leverage, position.is_cross) == (3, False)
    finds_nothing_more(core)


def test_leverage_of_a_request_that_is_under_way_is_no_discrepancy(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "1", cloid=order, time_ms=core.now_ms)
    core.positions = [held("BTC", "1.0", leverage={"type": "cross", "value": 20})]
    core.advance(98)
    assert core.connector.position("BTC-USD").leverage == 20
    core.connector.set_leverage("BTC-USD", 5)
    core.step_commands()
    core.positions = [held("BTC", "1.0", leverage={"type": "cross", "value": 5})]
    core.advance(5)
    assert core.connector.status()["reconciliations"] == 2
    core.answer(core.take_send("updateLeverage"), {"status": "ok", "response": {"type": "default"}})
    assert [event.leverage for event in core.events_of(AccountLeverageChanged)] == [20, 5]
    assert kinds(core) == []


# -- cash ----------------------------------------------------------------------------------------------------


def test_cash_that_nothing_explains_is_taken_over_when_it_stays(core: CoreSession) -> None:
    show_transfers(core, transfer_row(core.now_ms, "250.0"))
    order = core.open(5)
    core.fill(5, 1, "0.4", cloid=order, time_ms=core.now_ms)
    core.fundings.append(funding_row(core.now_ms, "-1.25"))
    core.advance(2 * PASS_S)
    assert kinds(core) == ["unbooked_funding"]
    core.unexplained_cash = Decimal("-7.5")
    core.advance(PASS_S)
    assert kinds(core) == ["unbooked_funding"], "seen once"
    core.advance(PASS_S)
    assert found(core)[1:] == [("balance_drift", "USDC")]
    adjusted = core.events_of(AccountBalanceAsserted)[-1]
    assert (adjusted.adjustment, adjusted.amount) == (True, core.cash)
    assert core.alert_codes().count("balance_adjusted") == 1
    finds_nothing_more(core)
    again = core.restarted().ready()
    again.advance(3 * PASS_S)
    assert found(again) == []
    again.unexplained_cash = Decimal(1)
    again.advance(3 * PASS_S)
    assert kinds(again) == ["balance_drift"]


def test_cash_that_differs_for_a_moment_is_no_discrepancy(core: CoreSession) -> None:
    for amount in ("3", "0", "4", "0"):
        core.unexplained_cash = Decimal(amount)
        core.advance(PASS_S)
    assert found(core) == []


def test_the_cash_of_an_account_that_keeps_it_elsewhere_is_not_compared(core: CoreSession) -> None:
    core.answers["userAbstraction"] = "unifiedAccount"
    core.unexplained_cash = Decimal(-900)
    core.advance(5 * PASS_S)
    assert found(core) == []
    assert len(asked(core, "userAbstraction")) == 1


@pytest.mark.parametrize("failing", [lambda body: None, {"mode": 1}], ids=["no answer", "unreadable"])
def test_a_question_about_the_account_s_mode_that_fails_adjusts_no_cash(
    core: CoreSession, failing: object
) -> None:
    core.answers["userAbstraction"] = failing
    core.unexplained_cash = Decimal(-9)
    core.advance(5 * PASS_S)
    assert found(core) == []
    core.answers["userAbstraction"] = "default"
    core.advance(2 * PASS_S)
    assert kinds(core) == ["balance_drift"]
    finds_nothing_more(core)


def test_one_question_about_the_cash_is_out_at_a_time(core: CoreSession) -> None:
    mode = core.answers.pop("userAbstraction")
    for amount in ("-9", "-8", "-9"):
        core.unexplained_cash = Decimal(amount)
        core.advance(2 * PASS_S)
    assert len(asked(core, "userAbstraction")) == 1
    core.answer(core.take_query("userAbstraction"), mode)
    core.answers["userAbstraction"] = mode
    core.advance(PASS_S)
    assert found(core) == []
    assert len(asked(core, "userAbstraction")) == 2
    core.advance(PASS_S)
    assert kinds(core) == ["balance_drift"]


def test_cash_is_not_adjusted_while_money_lies_on_a_dex_that_is_not_followed(core: CoreSession) -> None:
    core.answers["perpDexs"] = [None, {"name": "flx"}, {"name": "xyz"}]
    followed = core.answers["clearinghouseState"]
    money = {"flx": "0.0", "xyz": "500.0"}

    def state(body: dict[str, Any]) -> dict[str, Any]:
        if "dex" not in body:
            return followed(body)
        summary = {"accountValue": money[body["dex"]], "totalRawUsd": money[body["dex"]]}
        return {"marginSummary": summary, "assetPositions": [], "time": core.now_ms}

    core.answers["clearinghouseState"] = state
    core.unexplained_cash = Decimal(-9)
    core.advance(5 * PASS_S)
    assert found(core) == []
    assert core.alert_codes().count("cash_elsewhere") == 1
    assert len(asked(core, "perpDexs")) == 1
    money["xyz"] = "0.0"
    core.lose_stream()
    core.connect()
    core.advance(4 * PASS_S)
    assert kinds(core) == ["balance_drift"]


@pytest.mark.parametrize("kind", ["perpDexs", "clearinghouseState"])
@pytest.mark.parametrize("failing", [None, {"unreadable": 1}], ids=["no answer", "unreadable"])
def test_cash_is_not_adjusted_while_a_dex_does_not_tell(
    core: CoreSession, kind: str, failing: object
) -> None:
    followed = core.answers["clearinghouseState"]
    core.answers["perpDexs"] = [None, {"name": "xyz"}] if kind != "perpDexs" else lambda body: failing
    core.answers["clearinghouseState"] = lambda body: failing if "dex" in body else followed(body)
    core.unexplained_cash = Decimal(-9)
    core.advance(5 * PASS_S)
    assert found(core) == []
    empty = {"accountValue": "0.0", "totalRawUsd": "0.0"}
    nothing = {"marginSummary": empty, "assetPositions": [], "time": core.now_ms}
    core.answers["perpDexs"] = [None, {"name": "xyz"}]
    core.answers["clearinghouseState"] = lambda body: nothing if "dex" in body else followed(body)
    core.advance(2 * PASS_S)
    assert kinds(core) == ["balance_drift"]


def test_a_difference_of_the_cash_that_was_waived_is_left(core: CoreSession) -> None:
    core.unexplained_cash = Decimal(-9)
    waived = discrepancy_id_of(DiscrepancyKind.BALANCE_DRIFT, "USDC", "1000", "991")
    again = core.restarted(unsettled_discrepancies=(waived,), waived_discrepancies=(waived,)).ready()
    again.advance(4 * PASS_S)
    order = again.open(5)
    again.fill(5, 1, "0.4", cloid=order, time_ms=again.now_ms)
    again.advance(4 * PASS_S)
    assert found(again) == []


def test_after_a_transfer_of_unknown_effect_the_cash_is_not_compared(core: CoreSession) -> None:
    show_transfers(core, {**transfer_row(core.now_ms, "250.0"), "delta": {"type": "novelty", "usdc": "5"}})
    core.unexplained_cash = Decimal(50)
    core.advance(4 * PASS_S)
    assert found(core) == []
    show_transfers(core, {**transfer_row(core.now_ms, "1.0"), "delta": {"type": "novelty", "usdc": "5"}})
    assert core.alert_codes().count("cash_unknown") == 1, "from the first one on nothing is compared"


# -- positions -----------------------------------------------------------------------------------------------


def test_a_position_that_no_fill_explains_is_recorded_first_and_adjusted_when_it_stays(
    core: CoreSession,
) -> None:
    core.positions = [held("BTC", "2.5")]
    core.advance(41)
    assert found(core) == [("position_drift", "BTC-USD")]
    assert repaired(core) == []
    assert core.connector.position("BTC-USD").amount == 0
    assert core.connector.status()["discrepancies_open"] == 1
    core.advance(10)
    assert [mended.repairs for mended in repaired(core)] == [
        (f"account.position_asserted {core.connector.account.id} {core.connector.account.version - 1}",)
    ]
    adjusted = core.events_of(AccountPositionAsserted)[-1]
    assert (adjusted.adjustment, adjusted.amount) == (True, Decimal("2.5"))
    assert core.connector.position("BTC-USD").amount == Decimal("2.5")
    assert core.connector.position("BTC-USD").average_entry == Decimal(43_000)
    levels = [(alert.code, alert.level) for alert in core.alerts if alert.level == "error"]
    assert levels == [("discrepancy", "error"), ("position_adjusted", "error")]
    status = core.connector.status()
    assert [status[f"discrepancies_{what}"] for what in ("found", "repaired", "open")] == [1, 1, 0]
    finds_nothing_more(core)


def test_a_position_on_the_other_side_is_a_flip(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "1", cloid=order, time_ms=core.now_ms)
    core.positions = [held("BTC", "-1.0")]
    core.advance(PASS_S)
    assert kinds(core) == ["side_flip"]
    assert core.connector.position("BTC-USD").amount == -1
    finds_nothing_more(core)


def test_a_position_that_an_old_fill_explains_is_not_adjusted(core: CoreSession) -> None:
    order = core.open(5)
    core.fills.append(fill_row(5, 1, "0.7", cloid=order, time_ms=core.now_ms))
    withheld, core.answers["userFillsByTime"] = core.answers["userFillsByTime"], []
    core.advance(41)
    assert kinds(core) == ["position_drift"]
    core.answers["userFillsByTime"] = withheld
    core.advance(10)
    assert kinds(core) == ["position_drift", "missing_fill"]
    assert [mended.repairs != () for mended in repaired(core)] == [True, False]
    assert core.connector.position("BTC-USD").amount == Decimal("0.7")
    assert not any(event.adjustment for event in core.events_of(AccountPositionAsserted))
    finds_nothing_more(core)


def test_a_position_is_not_adjusted_while_the_market_trades(core: CoreSession) -> None:
    """What the state says of a market that trades is not what holds at the end of the log."""
    order = core.open(5, amount="50")
    core.positions = [held("BTC", "2.5")]
    core.advance(41)
    assert kinds(core) == ["position_drift"]
    state = core.answers.pop("clearinghouseState")
    core.advance(7)
    asked = core.take_query("clearinghouseState")
    told = state(asked.body)
    core.fill(5, 1, "1", cloid=order, time_ms=core.now_ms + 1)
    core.answer(asked, told)
    assert repaired(core) == []
    core.answers["clearinghouseState"] = state
    core.positions = [held("BTC", "3.5")]
    core.advance(30)
    assert core.connector.position("BTC-USD").amount == Decimal("3.5")
    assert kinds(core) == ["position_drift"]
    finds_nothing_more(core)


def test_a_position_is_not_adjusted_before_the_grace_time_whoever_asks_again(core: CoreSession) -> None:
    order = core.open(5, amount="50")
    core.advance(36.5)
    core.positions = [held("BTC", "4.0")]
    core.fill(5, 1, "1", cloid=order, time_ms=core.now_ms, startPosition="3.0")
    core.advance(3.2)
    assert kinds(core) == ["position_drift"]
    passes = core.connector.status()["reconciliations"]
    core.advance(1)
    assert core.connector.status()["reconciliations"] == passes + 1
    assert repaired(core) == []
    core.advance(10)
    assert core.connector.position("BTC-USD").amount == 4


def test_a_fill_of_which_it_is_not_known_whether_the_state_contains_it_leaves_the_position_unjudged(
    core: CoreSession,
) -> None:
    order = core.open(5)
    core.advance(38)
    core.positions = [held("ETH", "0.0")]
    core.fill(5, 1, "1", cloid=order, time_ms=core.now_ms + 2_000)
    core.advance(2)
    assert core.connector.status()["reconciliations"] == 1
    assert kinds(core) == []


def test_a_difference_that_becomes_another_one_is_judged_anew(core: CoreSession) -> None:
    core.positions = [held("BTC", "2.5")]
    core.advance(41)
    core.positions = [held("BTC", "2.0")]
    core.advance(10)
    assert kinds(core) == ["position_drift", "position_drift"]
    assert core.connector.position("BTC-USD").amount == 0
    core.advance(20)
    assert core.connector.position("BTC-USD").amount == 2
    assert len(repaired(core)) == 2
    finds_nothing_more(core)


def test_fills_that_arrive_before_the_answer_about_the_position_are_reckoned_with(core: CoreSession) -> None:
    order = core.open(5)
    state = core.answers.pop("clearinghouseState")
    core.advance(41)
    asked = core.take_query("clearinghouseState")
    told = state(asked.body)
    core.advance(1)
    core.fill(5, 1, "0.4", cloid=order, time_ms=core.now_ms)
    core.answer(asked, told)
    assert kinds(core) == []
    assert core.connector.status()["reconciliations"] == 1


def test_a_spot_balance_is_not_compared_with_positions(core: CoreSession) -> None:
    core.fill(9, 1, "5", coin="@1", time_ms=core.now_ms)
    core.answer(core.take_query("orderStatus"), order_status_answer(9, "filled", coin="@1", size="5"))
    core.advance(PASS_S)
    assert kinds(core) == []


def test_a_gap_in_the_chain_of_fills_leads_to_a_comparison_soon(core: CoreSession) -> None:
    order = core.open(5, amount="50")
    core.fill(5, 1, "1", cloid=order, time_ms=core.now_ms, startPosition="3.0")
    core.positions = [held("BTC", "4.0")]
    core.advance(5)
    assert "position_gap" in core.alert_codes()
    assert kinds(core) == ["position_drift"]
    core.advance(10)
    assert core.connector.position("BTC-USD").amount == 4


# -- claims --------------------------------------------------------------------------------------------------


def claims(core: CoreSession) -> list[tuple[str, Decimal]]:
    return [
        (event.trading_pair, event.amount)
        for event in core.events_of(AccountPositionAsserted)
        if not event.opening and not event.adjustment
    ]


def test_what_the_venue_says_a_position_is_goes_on_record_once_an_hour_and_only_if_it_moved(
    core: CoreSession,
) -> None:
    order = core.open(5, amount="50")
    core.fill(5, 1, "1", cloid=order, time_ms=core.now_ms)
    core.advance(PASS_S)
    assert claims(core) == [("BTC-USD", Decimal(1))]
    core.fill(5, 2, "1", cloid=order, time_ms=core.now_ms)
    core.advance(PASS_S)
    assert claims(core) == [("BTC-USD", Decimal(1))]
    core.advance(3_600)
    assert claims(core) == [("BTC-USD", Decimal(1)), ("BTC-USD", Decimal(2))]
    core.advance(7_200)
    assert len(claims(core)) == 2
    core.assert_consistent()


def test_the_cash_that_the_books_begin_with_is_on_record() -> None:
    core = CoreSession().ready()
    (cash,) = core.events_of(AccountBalanceAsserted)
    assert (cash.token, cash.amount, cash.opening) == ("USDC", Decimal("1000.0"), True)


@pytest.mark.parametrize("raw", ["0.0", None])
def test_cash_that_the_state_does_not_tell_is_not_on_record(raw: str | None) -> None:
    core = CoreSession()
    summary = {"accountValue": "0.0"} if raw is None else {"accountValue": "0.0", "totalRawUsd": raw}
    core.answers["clearinghouseState"] = lambda body: core.account_state() | {"marginSummary": summary}
    core.ready()
    assert core.events_of(AccountBalanceAsserted) == []


# -- the start -----------------------------------------------------------------------------------------------


def with_position() -> CoreSession:
    core = CoreSession().ready()
    order = core.open(5)
    core.fill(5, 1, "1", cloid=order)
    return core


def test_a_start_whose_books_agree_asks_nothing_more_than_before() -> None:
    again = with_position().restarted().ready()
    assert len(asked(again, "clearinghouseState")) == 1
    assert len(asked(again, "userFillsByTime")) == 1
    assert claims(again) == [("BTC-USD", Decimal(1))]


def test_trading_begins_only_when_the_books_agree_or_are_mended() -> None:
    again = with_position().restarted()
    again.positions = [held("BTC", "1.5")]
    again.begin()
    again.connect()
    again.books()
    assert again.connector.readiness == ("reconciliation",)
    assert kinds(again) == ["position_drift"]
    again.advance(10)
    assert again.connector.ready
    assert again.connector.position("BTC-USD").amount == Decimal("1.5")
    finds_nothing_more(again)


def test_a_start_whose_position_differs_asks_for_every_fill_since_the_books_began() -> None:
    core = with_position()
    core.advance(600)
    again = core.restarted(last_fill_time_ms=START_MS + 600_000)
    again.positions = [held("BTC", "1.5")]
    again.begin()
    again.connect()
    again.advance(10)
    starts = [query["startTime"] for query in asked(again, "userFillsByTime")]
    assert starts[0] == START_MS + 600_000 - 60_000
    assert starts[-1] == BOOKS_BEGIN_MS - 60_000


def test_trading_does_not_begin_while_the_position_cannot_be_asked_for() -> None:
    again = with_position().restarted()
    again.positions = [held("BTC", "1.5")]
    again.begin()
    state = again.answers["clearinghouseState"]
    told = [state({})]
    again.answers["clearinghouseState"] = lambda body: told.pop() if told else None
    again.connect()
    again.books()
    again.advance(120)
    assert again.connector.readiness == ("reconciliation",)
    assert found(again) == []
    assert "reconciliation_unanswered" in again.alert_codes()
    again.answers["clearinghouseState"] = state
    again.advance(30)
    assert again.connector.ready


def test_a_reconnect_does_not_take_readiness_away_for_a_difference(core: CoreSession) -> None:
    core.lose_stream()
    core.positions = [held("BTC", "1.5")]
    core.step(StreamConnected(stream="user"))
    assert core.connector.ready
    assert kinds(core) == ["position_drift"]


def test_a_difference_known_from_an_earlier_session_is_not_recorded_again() -> None:
    core = CoreSession().ready()
    core.advance(20)
    core.positions = [held("BTC", "2.5")]
    core.advance(41)
    (known,) = core.connector.account.unsettled_discrepancies
    again = core.restarted(unsettled_discrepancies=(known,))
    again.positions = core.positions
    again.begin()
    again.connect()
    again.books()
    assert found(again) == []
    again.advance(10)
    assert [event.discrepancy_id for event in repaired(again)] == [known]
    assert again.connector.ready
    assert again.connector.account.unsettled_discrepancies == ()
    finds_nothing_more(again)


# -- failures ------------------------------------------------------------------------------------------------

FAILING: dict[str, Callable[[CoreSession], None]] = {
    "no answer about the position": lambda core: core.answers.update(clearinghouseState=lambda body: None),
    "an unreadable position": lambda core: core.answers.update(clearinghouseState={"assetPositions": 1}),
    "no answer about fills": lambda core: core.answers.update(userFillsByTime=lambda body: None),
    "no answer about funding": lambda core: core.answers.update(userFunding=lambda body: None),
    "no answer about transfers": lambda core: core.answers.update(
        userNonFundingLedgerUpdates=lambda body: None
    ),
    "no list of orders": lambda core: core.answers.update(frontendOpenOrders=lambda body: None),
}


@pytest.mark.parametrize("failing", FAILING)
def test_a_failed_question_is_never_an_empty_answer(core: CoreSession, failing: str) -> None:
    order = core.open(5)
    core.open_orders = [open_order_row(5, cloid=order)]
    core.fill(5, 1, "0.4", cloid=order, time_ms=core.now_ms)
    good = dict(core.answers)
    FAILING[failing](core)
    before = len(core.events)
    core.advance(4 * 60)
    assert all(event.topic == "account.position_asserted" for event in core.events[before:])
    assert core.state(order) == "partially_filled"
    core.answers = good
    core.advance(2 * PASS_S)
    assert found(core) == []
    assert core.connector.status()["reconciliations"]
    core.assert_consistent()


def test_a_pass_that_gets_no_answer_is_said_aloud_and_not_begun_again(core: CoreSession) -> None:
    core.answers["clearinghouseState"] = lambda body: None
    core.advance(3 * 60)
    assert core.alert_codes().count("reconciliation_unanswered") == 1
    assert core.alert_codes().count("reconciliation_late") == 2


def test_nothing_is_compared_while_the_stream_is_down(core: CoreSession) -> None:
    core.lose_stream()
    before = len(asked(core, "clearinghouseState"))
    core.advance(300)
    assert len(asked(core, "clearinghouseState")) == before


def test_many_findings_of_one_answer_are_one_alert(core: CoreSession) -> None:
    order = core.open(5, amount="50")
    core.fills += [fill_row(5, number, "0.1", cloid=order, time_ms=core.now_ms) for number in range(1, 41)]
    core.advance(PASS_S)
    assert len(found(core)) == 40
    assert core.alert_codes().count("discrepancy") == 1
    (alert,) = [alert for alert in core.alerts if alert.code == "discrepancy"]
    assert "39 more" in alert.message
