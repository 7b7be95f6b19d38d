"""What becomes of a finding: recorded once, repaired through the ordinary doors, or left open."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from domain.account import Account
from domain.client_order_tracker import ClientOrderTracker, external_order_id
from domain.discrepancies import (
    AdjustBalance,
    AdjustPosition,
    BookedFill,
    BookFill,
    BookFunding,
    BookTransfer,
    CorrectFill,
    Discrepancy,
    DiscrepancyKind,
    ProveAbsent,
    Reopen,
    Repair,
    TakeLeverage,
    TakeOrderUpdate,
    Transfer,
    discrepancy_id_of,
)
from domain.enums import Source, TradeType
from domain.events import (
    AccountBalanceAsserted,
    AccountDiscrepancyFound,
    AccountDiscrepancyRepaired,
    AccountDiscrepancyWaived,
    AccountPositionAsserted,
    LedgerEvent,
    OrderFillCorrected,
    OrderReopened,
)
from domain.repairs import apply_discrepancy, is_known_and_left
from domain.updates import (
    Change,
    FundingUpdate,
    OrderUpdate,
    PositionUpdate,
    Stamp,
    TradeUpdate,
    UpdateStatus,
)
from tests.support.reconciling import BEGIN_MS, NOW_MS, Bookkeeper, VenueHistory, VenueOrder
from tests.support.tracker import a_fill, details

K = DiscrepancyKind
FOUND, REPAIRED, WAIVED = (
    "account.discrepancy_found",
    "account.discrepancy_repaired",
    "account.discrepancy_waived",
)


def a_finding(repair: Repair | None, kind: DiscrepancyKind = K.MISSING_FILL, waiver: str = "") -> Discrepancy:
    return Discrepancy(
        discrepancy_id=discrepancy_id_of(kind, "subject", "ours", "theirs"),
        kind=kind,
        subject="subject",
        trading_pair="BTC-USD",
        ours="ours",
        theirs="theirs",
        explanation="They differ.",
        evidence="{}",
        repair=repair,
        waiver=waiver,
    )


@pytest.fixture
def keeper() -> Bookkeeper:
    return Bookkeeper()


@pytest.fixture
def order(keeper: Bookkeeper) -> VenueOrder:
    """An order of ours that is open, with one fill."""
    venue = VenueHistory()
    order = venue.place()
    keeper.placed(order)
    keeper.filled(venue.fill(order, "3"))
    return order


def apply(keeper: Bookkeeper, found: Discrepancy, **options: Any) -> list[LedgerEvent]:
    keeper.at(NOW_MS, Source.RECONCILIATION)
    apply_discrepancy(found, keeper.tracker, keeper.account, **options)
    return keeper.collect()


def topics(events: Sequence[LedgerEvent]) -> list[str]:
    return [event.topic for event in events]


def a_trade(order: VenueOrder, key: str = "new", amount: str = "2", **members: Any) -> TradeUpdate:
    fill = a_fill(key, amount, oid=order.oid, time_ms=BEGIN_MS + 60_000)
    return TradeUpdate(fill=msgspec.structs.replace(fill, **members), venue_order_key=order.key)


# -- a finding in the log ----------------------------------------------------------------------------------


def test_a_finding_is_recorded_then_repaired_then_said_to_be_by_whom_and_with_which_events(
    keeper: Bookkeeper, order: VenueOrder
) -> None:
    found = a_finding(BookFill(a_trade(order), "ol-1"))
    begun, booked, ended = apply(keeper, found, actor="an auditor")
    assert isinstance(begun, AccountDiscrepancyFound)
    assert (begun.kind, begun.subject, begun.ours, begun.theirs) == (
        "missing_fill",
        "subject",
        "ours",
        "theirs",
    )
    assert (begun.explanation, begun.evidence) == ("They differ.", "{}")
    assert booked.topic == "order.filled"
    assert isinstance(ended, AccountDiscrepancyRepaired)
    assert ended.repairs == (f"order.filled ol-1 {booked.originator_version}",)
    assert (ended.actor, bool(ended.reason)) == ("an auditor", True)
    assert {event.source for event in (begun, booked, ended)} == {Source.RECONCILIATION}
    assert not keeper.account.is_unsettled(found.discrepancy_id)


def test_the_actor_is_the_reconciliation_where_nobody_else_is_named(
    keeper: Bookkeeper, order: VenueOrder
) -> None:
    *_, ended = apply(keeper, a_finding(BookFill(a_trade(order), "ol-1")))
    assert isinstance(ended, AccountDiscrepancyRepaired)
    assert ended.actor == "reconciliation"


def test_a_finding_can_be_recorded_alone_and_repaired_later(keeper: Bookkeeper, order: VenueOrder) -> None:
    found = a_finding(BookFill(a_trade(order), "ol-1"))
    assert topics(apply(keeper, found, repair=False)) == [FOUND]
    assert apply(keeper, found, repair=False) == []
    assert topics(apply(keeper, found)) == ["order.filled", REPAIRED]


def test_what_is_repaired_and_differs_again_is_found_again(keeper: Bookkeeper) -> None:
    found = a_finding(TakeLeverage("BTC-USD", 5, is_cross=False), K.LEVERAGE_CHANGED)
    once = topics(apply(keeper, found))
    assert once == [FOUND, "account.leverage_changed", REPAIRED]
    assert topics(apply(keeper, found)) == once


def test_a_finding_that_may_stay_is_waived_once(keeper: Bookkeeper) -> None:
    found = a_finding(None, K.PRECISION_ONLY, waiver="it does no harm")
    assert not is_known_and_left(found, keeper.account)
    _, waived = apply(keeper, found, actor="an auditor")
    assert isinstance(waived, AccountDiscrepancyWaived)
    assert (waived.reason, waived.actor) == ("it does no harm", "an auditor")
    assert is_known_and_left(found, keeper.account)
    assert apply(keeper, found) == []


def test_a_finding_without_repair_and_waiver_stays_open_for_a_person(keeper: Bookkeeper) -> None:
    found = a_finding(None, K.STATE_MISMATCH)
    assert topics(apply(keeper, found)) == [FOUND]
    assert keeper.account.is_unsettled(found.discrepancy_id)
    assert apply(keeper, found) == []


def test_tracker_and_account_must_collect_their_changes_in_one_list(keeper: Bookkeeper) -> None:
    changes: list[Change] = []
    account = Account(venue="hyperliquid", address="0xaa", changes=changes)
    account.stamp = Stamp(NOW_MS, Source.RECONCILIATION, "test")
    with pytest.raises(AssertionError, match="one list"):
        apply_discrepancy(a_finding(None), keeper.tracker, account)


# -- repairs that cannot be made ---------------------------------------------------------------------------


ELSEWHERE = OrderUpdate(status=UpdateStatus.OPEN, exchange_order_id="77")


@pytest.mark.parametrize(
    "repair",
    [
        BookFill(TradeUpdate(fill=a_fill("k", "1")), "ol-9"),
        BookFill(TradeUpdate(fill=a_fill("k", "1", oid="77"))),
        CorrectFill(BookedFill(a_fill("k", "1"), "ol-9"), None),
        CorrectFill(BookedFill(a_fill("k", "1"), None), None),
        CorrectFill(BookedFill(a_fill("never booked", "1"), "ol-1"), None),
        TakeOrderUpdate(ELSEWHERE),
        TakeOrderUpdate(ELSEWHERE, "ol-9"),
        Reopen("ol-9", ELSEWHERE),
        ProveAbsent("ol-9", "a reason"),
    ],
)
def test_a_repair_that_cannot_be_made_leaves_the_finding_open_and_says_why_once(
    keeper: Bookkeeper, order: VenueOrder, repair: Repair
) -> None:
    found = a_finding(repair)
    (event,) = apply(keeper, found)
    assert isinstance(event, AccountDiscrepancyFound)
    assert event.explanation.startswith("They differ. Not ")
    assert keeper.account.is_unsettled(found.discrepancy_id)
    assert keeper.tracker.held_count == 0
    assert apply(keeper, found) == []


def test_a_finding_about_an_order_is_repaired_once_the_order_is_in_memory(keeper: Bookkeeper) -> None:
    order = VenueHistory().place()
    found = a_finding(BookFill(a_trade(order), "ol-1"))
    assert topics(apply(keeper, found)) == [FOUND]
    keeper.placed(order)
    assert topics(apply(keeper, found)) == ["order.filled", REPAIRED]


def test_a_door_that_refuses_has_repaired_nothing(keeper: Bookkeeper, order: VenueOrder) -> None:
    assert topics(apply(keeper, a_finding(ProveAbsent("ol-1", "a reason")))) == [FOUND]
    held = keeper.tracker.get("ol-1")
    assert held is not None
    assert held.state == "partially_filled"


def test_an_update_that_is_only_kept_for_audit_has_repaired_nothing(
    keeper: Bookkeeper, order: VenueOrder
) -> None:
    keeper.told(
        OrderUpdate(
            status=UpdateStatus.OPEN,
            exchange_order_id="2000",
            venue_order_key=order.key,
            exchange_time_ms=NOW_MS - 60_000,
            details=details("7"),
        )
    )
    ended = OrderUpdate(
        status=UpdateStatus.CANCELLED,
        exchange_order_id=order.oid,
        venue_order_key=order.key,
        exchange_time_ms=NOW_MS - 50_000,
    )
    found = a_finding(TakeOrderUpdate(ended, "ol-1"), K.STATE_MISMATCH)
    assert topics(apply(keeper, found)) == [FOUND, "order.observed"]
    assert apply(keeper, found) == []


def test_a_payment_that_is_booked_by_now_is_not_repaired(keeper: Bookkeeper) -> None:
    payment = VenueHistory().pay_funding()
    keeper.paid(payment)
    assert topics(apply(keeper, a_finding(BookFunding(payment), K.UNBOOKED_FUNDING))) == [FOUND]


def test_what_was_mended_by_something_else_is_not_found_any_more(
    keeper: Bookkeeper, order: VenueOrder
) -> None:
    trade = a_trade(order)
    assert keeper.account.book_fill(trade.fill)
    keeper.collect()
    for repair in (BookFill(trade, "ol-1"), BookFill(TradeUpdate(fill=order.fills[0]), "ol-1")):
        assert apply(keeper, a_finding(repair)) == []
    assert apply(keeper, a_finding(Reopen("ol-1", order.update()))) == []
    assert topics(apply(keeper, a_finding(BookFill(trade, "ol-1")), repair=False)) == [FOUND]


def test_what_was_found_and_then_mended_by_something_else_is_settled(
    keeper: Bookkeeper, order: VenueOrder
) -> None:
    trade = a_trade(order)
    found = a_finding(BookFill(trade, "ol-1"))
    apply(keeper, found, repair=False)
    keeper.filled(trade.fill)
    (event,) = apply(keeper, found)
    assert isinstance(event, AccountDiscrepancyRepaired)
    assert event.repairs == ()
    assert apply(keeper, found) == []


def test_an_order_that_ended_by_now_is_not_proven_absent(keeper: Bookkeeper) -> None:
    order = VenueHistory().place()
    keeper.sent(order)
    keeper.told(OrderUpdate(status=UpdateStatus.FAILED, venue_order_key=order.key))
    assert apply(keeper, a_finding(ProveAbsent("ol-1", "a reason"))) == []


# -- each repair -------------------------------------------------------------------------------------------


def test_a_missing_fill_shows_that_an_unanswered_order_lives(keeper: Bookkeeper) -> None:
    order = VenueHistory().place()
    keeper.sent(order)
    events = apply(keeper, a_finding(BookFill(a_trade(order), "ol-1")))
    assert topics(events) == [FOUND, "order.acknowledged", "order.filled", REPAIRED]
    assert isinstance(events[-1], AccountDiscrepancyRepaired)
    assert events[-1].repairs == ("order.acknowledged ol-1 3", "order.filled ol-1 4")


def test_fills_of_an_order_placed_elsewhere_adopt_it_once(keeper: Bookkeeper) -> None:
    order = VenueHistory().place(None)
    first, second = a_trade(order, "a", "2"), a_trade(order, "b", "3")
    terms = details("10")
    ended = msgspec.structs.replace(order.update(), status=UpdateStatus.CANCELLED, exchange_time_ms=NOW_MS)
    assert topics(apply(keeper, a_finding(BookFill(first, None, terms)))) == [
        FOUND,
        "order.created",
        "order.acknowledged",
        "order.filled",
        REPAIRED,
    ]
    assert topics(apply(keeper, a_finding(BookFill(second, None, terms, ended)))) == [
        FOUND,
        "order.filled",
        "order.cancelled",
        REPAIRED,
    ]
    adopted = keeper.tracker.get(external_order_id("hyperliquid", order.oid))
    assert adopted is not None
    assert (adopted.is_external, adopted.filled_amount, adopted.amount) == (True, Decimal(5), Decimal(10))


@pytest.mark.parametrize("key", [None, "a-foreign-key"])
def test_what_was_held_for_an_unknown_order_is_booked_with_it(keeper: Bookkeeper, key: str | None) -> None:
    order = VenueHistory().place(None)
    trades = [msgspec.structs.replace(a_trade(order, name, "2"), venue_order_key=key) for name in ("a", "b")]
    for trade in trades:
        keeper.tracker.process_trade_update(trade)
    assert keeper.tracker.held_count == 2
    events = apply(keeper, a_finding(BookFill(trades[0], None, details("4")), K.EXTERNAL_FILL))
    assert topics(events).count("order.filled") == 2
    assert events[-1].topic == REPAIRED
    assert keeper.tracker.held_count == 0
    assert apply(keeper, a_finding(BookFill(trades[1], None, details("4")), K.EXTERNAL_FILL)) == []


def test_an_execution_that_no_order_explains_is_booked_to_the_account(keeper: Bookkeeper) -> None:
    order = VenueHistory().place(None)
    trade = msgspec.structs.replace(a_trade(order, liquidation=True), ownerless=True)
    assert topics(apply(keeper, a_finding(BookFill(trade), K.LIQUIDATION))) == [
        FOUND,
        "account.fill",
        REPAIRED,
    ]


def test_a_fill_is_corrected_in_the_name_of_its_finding(keeper: Bookkeeper, order: VenueOrder) -> None:
    was = order.fills[0]
    now = msgspec.structs.replace(was, amount=Decimal(4))
    found = a_finding(CorrectFill(BookedFill(was, "ol-1"), now), K.QUANTITY_MISMATCH)
    _, corrected, repaired = apply(keeper, found)
    assert isinstance(corrected, OrderFillCorrected)
    assert (corrected.was, corrected.now) == (was, now)
    assert (corrected.reason_code, corrected.discrepancy_id) == ("quantity_mismatch", found.discrepancy_id)
    assert repaired.topic == REPAIRED
    held = keeper.tracker.get("ol-1")
    assert held is not None
    assert held.filled_amount == 4


def test_a_fill_that_was_taken_back_can_be_booked_again(keeper: Bookkeeper, order: VenueOrder) -> None:
    fill = order.fills[0]
    apply(keeper, a_finding(CorrectFill(BookedFill(fill, "ol-1"), None), K.PHANTOM_FILL))
    keeper.filled(fill)
    assert keeper.log[-1].topic == "order.filled"


def test_a_fill_of_the_account_is_corrected_there(keeper: Bookkeeper) -> None:
    fill = VenueHistory().fill_without_order("BTC-USD", TradeType.SELL, "2", liquidation=True)
    keeper.filled(fill)
    found = a_finding(CorrectFill(BookedFill(fill, None), None), K.PHANTOM_FILL)
    assert topics(apply(keeper, found)) == [FOUND, "account.fill_corrected", REPAIRED]


def test_an_order_that_the_venue_lists_is_reopened_in_the_name_of_its_finding(
    keeper: Bookkeeper, order: VenueOrder
) -> None:
    keeper.told(OrderUpdate(status=UpdateStatus.CANCELLED, exchange_order_id=order.oid))
    found = a_finding(Reopen("ol-1", order.update()), K.STATE_MISMATCH)
    _, reopened, repaired = apply(keeper, found)
    assert isinstance(reopened, OrderReopened)
    assert reopened.discrepancy_id == found.discrepancy_id
    assert repaired.topic == REPAIRED
    held = keeper.tracker.get("ol-1")
    assert held is not None
    assert held.state == "partially_filled"


def test_an_order_that_its_fills_complete_is_not_reopened(keeper: Bookkeeper, order: VenueOrder) -> None:
    keeper.told(OrderUpdate(status=UpdateStatus.CANCELLED, exchange_order_id=order.oid))
    keeper.filled(a_trade(order, amount="7").fill)
    assert topics(apply(keeper, a_finding(Reopen("ol-1", order.update()), K.STATE_MISMATCH))) == [FOUND]


def test_an_order_that_never_lived_is_closed(keeper: Bookkeeper) -> None:
    keeper.sent(VenueHistory().place())
    found = a_finding(ProveAbsent("ol-1", "the venue does not know it"), K.UNKNOWN_OUTCOME)
    assert topics(apply(keeper, found)) == [FOUND, "order.failed", REPAIRED]


def test_an_order_placed_elsewhere_is_adopted_with_its_status(keeper: Bookkeeper) -> None:
    update = OrderUpdate(status=UpdateStatus.TRIGGERED, exchange_order_id="77", details=details("5"))
    assert topics(apply(keeper, a_finding(TakeOrderUpdate(update), K.EXTERNAL_ORDER))) == [
        FOUND,
        "order.created",
        "order.acknowledged",
        "order.triggered",
        REPAIRED,
    ]


def test_an_adopted_order_that_is_known_by_now_is_not_adopted_again(keeper: Bookkeeper) -> None:
    update = OrderUpdate(status=UpdateStatus.OPEN, exchange_order_id="77", details=details("5"))
    found = a_finding(TakeOrderUpdate(update), K.EXTERNAL_ORDER)
    apply(keeper, found)
    assert apply(keeper, found) == []


def test_requests_that_changed_nothing_are_settled_by_what_the_venue_lists(
    keeper: Bookkeeper, order: VenueOrder
) -> None:
    held = keeper.tracker.get("ol-1")
    assert held is not None
    keeper.tracker.cancel_requested(held, 1, "requested")
    keeper.tracker.amend_requested(
        held,
        price=Decimal(101),
        amount=Decimal(12),
        leg_amount=Decimal(9),
        nonce=2,
        expires_at_ms=BEGIN_MS + 90_000,
    )
    keeper.collect()
    repair = TakeOrderUpdate(order.update(), "ol-1", settles_requests=True)
    assert topics(apply(keeper, a_finding(repair, K.STUCK_IN_FLIGHT))) == [
        FOUND,
        "order.amend_refused",
        "order.cancel_refused",
        REPAIRED,
    ]
    assert held.state == "partially_filled"


def test_an_amend_is_in_force_when_the_venue_lists_its_terms_under_the_same_id(
    keeper: Bookkeeper, order: VenueOrder
) -> None:
    held = keeper.tracker.get("ol-1")
    assert held is not None
    keeper.tracker.amend_requested(
        held, price=Decimal(101), amount=Decimal(12), leg_amount=Decimal(9), nonce=2, expires_at_ms=None
    )
    keeper.collect()
    order.price, order.amount = Decimal(101), Decimal(9)
    repair = TakeOrderUpdate(order.update(), "ol-1", settles_requests=True)
    assert topics(apply(keeper, a_finding(repair, K.STUCK_IN_FLIGHT))) == [FOUND, "order.amended", REPAIRED]
    assert held.price == 101


def test_a_position_and_the_cash_go_on_from_what_the_venue_said_at_its_time(keeper: Bookkeeper) -> None:
    update = PositionUpdate(trading_pair="BTC-USD", amount=Decimal("1.5"), entry_price=Decimal(99))
    found = a_finding(AdjustPosition(update, NOW_MS), K.POSITION_DRIFT)
    _, asserted, _ = apply(keeper, found)
    assert isinstance(asserted, AccountPositionAsserted)
    assert (asserted.adjustment, asserted.opening, asserted.amount) == (True, False, Decimal("1.5"))
    assert (asserted.discrepancy_id, asserted.exchange_time_ms) == (found.discrepancy_id, NOW_MS)
    found = a_finding(AdjustBalance("USDC", Decimal(7), NOW_MS), K.BALANCE_DRIFT)
    _, balance, _ = apply(keeper, found)
    assert isinstance(balance, AccountBalanceAsserted)
    assert (balance.adjustment, balance.opening, balance.amount) == (True, False, Decimal(7))
    assert (balance.discrepancy_id, balance.exchange_time_ms) == (found.discrepancy_id, NOW_MS)


@pytest.mark.parametrize(
    ("repair", "topic"),
    [
        (
            BookFunding(
                FundingUpdate(
                    funding_key="BTC:1",
                    trading_pair="BTC-USD",
                    amount=Decimal(-1),
                    token="USDC",
                    rate=Decimal(0),
                    position_size=Decimal(1),
                    exchange_time_ms=BEGIN_MS + 1,
                )
            ),
            "account.funding",
        ),
        (
            BookTransfer(Transfer("k", "deposit", Decimal(5), "USDC", "{}", BEGIN_MS + 1)),
            "account.transfer",
        ),
    ],
)
def test_payments_are_booked_as_told(keeper: Bookkeeper, repair: Repair, topic: str) -> None:
    assert topics(apply(keeper, a_finding(repair))) == [FOUND, topic, REPAIRED]


def test_a_tracker_that_was_restored_from_the_log_repairs_alike(
    keeper: Bookkeeper, order: VenueOrder
) -> None:
    changes: list[Change] = []
    tracker = ClientOrderTracker(venue="hyperliquid", account="0xaa", changes=changes)
    account = Account(venue="hyperliquid", address="0xaa", changes=changes)
    tracker.stamp = account.stamp = Stamp(NOW_MS * 1_000_000, Source.RECONCILIATION, f"test:{NOW_MS}")
    tracker.restore([event for event in keeper.log if event.originator_id == "ol-1"])
    account.restore(keeper.account.version, (), (), is_open=True)
    found = a_finding(BookFill(a_trade(order), "ol-1"))
    apply_discrepancy(found, tracker, account)
    assert [change.event for change in changes] == apply(keeper, found)
