"""An order's life in words: what each fact says after what came before it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from domain.enums import OrderState, Source
from domain.events import (
    OrderAcknowledged,
    OrderAmended,
    OrderAmendRefused,
    OrderAmendRequested,
    OrderAmendUnknown,
    OrderCancelled,
    OrderCancelRefused,
    OrderCancelRequested,
    OrderCancelUnknown,
    OrderExpired,
    OrderFailed,
    OrderFillCorrected,
    OrderFilled,
    OrderNotFound,
    OrderObserved,
    OrderReopened,
    OrderReportedFilled,
    OrderSubmitted,
    OrderSubmitUnknown,
)
from projections.errors import UnfoldableEventError
from projections.explaining import Doubt, Explanation, explain
from tests.unit.projections.logs import LogBuilder, Unreadable, a_fill, logs

ID = "an-order"


@pytest.fixture
def log() -> LogBuilder:
    builder = LogBuilder()
    builder.created(ID, reference_price=Decimal("43010.5"))
    return builder


def explained(log: LogBuilder) -> Explanation:
    return explain(list(enumerate(log.events, 1)))


def last(log: LogBuilder) -> tuple[str, str]:
    step = explained(log).steps[-1]
    return step.text, step.inferred_from


def sent(log: LogBuilder) -> None:
    log.add(OrderSubmitted, ID, source=Source.COMMAND, attempt=1, nonce=77, expires_at_ms=1_700_000_005_250)


def lost(log: LogBuilder) -> None:
    sent(log)
    log.add(OrderSubmitUnknown, ID, source=Source.HTTP, reason_code="no_answer", reason="connection_lost")


def live(log: LogBuilder) -> None:
    sent(log)
    log.add(OrderAcknowledged, ID, source=Source.HTTP, exchange_order_id="77")


def test_the_usual_life_is_told_from_the_intent_to_the_fill(log: LogBuilder) -> None:
    live(log)
    log.filled(ID, amount=Decimal("1.0"), liquidity="maker")
    story = explained(log)
    assert [step.text for step in story.steps] == [
        "the intent: buy 1 BTC-USD, limit at 43000, decided at a mid of 43010.5; nothing is sent before this "
        "is on disk",
        "durable, then signed with nonce 77 and sent; the venue refuses it if it arrives after 22:13:25.250",
        "answered: the venue took the order as 77",
        "filled: buy 1 at 43000 as maker, fee 1.72 USDC; 1 of 1 filled",
    ]
    assert [step.state for step in story.steps] == ["pending_create", "pending_submit", "open", "filled"]
    assert [step.since_previous_ns for step in story.steps] == [None, 1_000_000, 1_000_000, 1_000_000]
    assert [step.causation for step in story.steps] == ["s1:0", "s1:1", "s1:2", "s1:3"]
    assert (story.state, story.done, story.unknown) == (OrderState.FILLED, True, ())
    assert (story.decided_by, story.doubts) == (4, ())
    assert all(not step.inferred and not step.inferred_from for step in story.steps)


def test_what_was_committed_with_the_intent_is_said_to_be(log: LogBuilder) -> None:
    log.submitted(ID)
    log.events[-1] = msgspec.structs.replace(log.events[-1], causation=log.events[0].causation)
    assert last(log)[0].startswith("durable together with the intent, then signed")


def test_a_lost_answer_that_was_found_is_told_as_what_was_concluded(log: LogBuilder) -> None:
    lost(log)
    assert last(log)[0].startswith("no answer (connection lost): the order may or may not have arrived")
    log.add(OrderAcknowledged, ID, source=Source.QUERY, exchange_order_id="77")
    text, inferred_from = last(log)
    assert text == "asked, the venue has the order as 77: the request had arrived, only its answer was lost"
    assert explained(log).steps[-1].inferred == "the request had arrived, only its answer was lost"
    assert inferred_from == f"the venue knows the order by {ID}, which it can only have from that request"
    assert explained(log).doubts == (Doubt(from_position=3, to_position=4, lasted_ns=1_000_000),)


def test_while_an_answer_is_lost_the_unknown_is_named(log: LogBuilder) -> None:
    lost(log)
    (unknown,) = explained(log).unknown
    assert unknown == (
        "Whether the venue has it, and so whether it can fill; one that arrives after 22:13:25.250 is refused"
    )
    assert explained(log).outcome_unknown
    assert explained(log).doubts == (Doubt(from_position=3, to_position=None, lasted_ns=None),)


def test_the_fact_that_decided_the_state_is_the_first_that_shows_it(log: LogBuilder) -> None:
    live(log)
    log.add(OrderCancelRequested, ID, source=Source.COMMAND, nonce=78)
    log.add(OrderCancelled, ID, reason_code="cancelled_by_user", reason="canceled")
    log.add(OrderObserved, ID, why="end_confirmed")
    assert explained(log).decided_by == 5
    assert explained(log).steps[4].text == (
        "cancelled, as we asked (cancelled by user; the venue's word: canceled)"
    )


def test_a_proof_of_absence_names_its_evidence_and_stays_refutable(log: LogBuilder) -> None:
    lost(log)
    log.add(OrderNotFound, ID, source=Source.QUERY, count=1)
    assert last(log)[0] == "asked, the venue does not know the order; alone that proves nothing"
    log.add(OrderFailed, ID, source=Source.QUERY, reason_code="absence_proven")
    text, inferred_from = last(log)
    assert text == "concluded: failed (absence proven)"
    assert "expiry" in inferred_from
    assert "any sign of life would refute it" in explained(log).unknown[0]
    log.filled(ID)
    assert "that refutes that it was failed, absence proven: the order lives" in last(log)[0]
    assert explained(log).unknown == ()


def test_an_order_that_the_venue_forgot_is_a_conclusion(log: LogBuilder) -> None:
    live(log)
    for count in (1, 2, 3):
        log.add(OrderNotFound, ID, source=Source.QUERY, count=count)
    log.add(OrderCancelled, ID, source=Source.QUERY, reason_code="not_found")
    text, inferred_from = last(log)
    assert text == "concluded: cancelled (not found)"
    assert inferred_from.startswith("the venue did not know it 3 times in a row")


def test_a_fill_before_the_acknowledgement_is_evidence(log: LogBuilder) -> None:
    sent(log)
    log.filled(ID)
    assert explained(log).steps[-1].inferred == "the venue took the order"
    assert last(log)[1] == "a fill of it came before any acknowledgement"


def test_a_late_fill_after_the_end_is_told_as_one(log: LogBuilder) -> None:
    live(log)
    log.add(OrderCancelled, ID, reason_code="cancelled_by_user")
    assert last(log)[0] == "cancelled, without our asking (cancelled by user)"
    log.filled(ID)
    assert "it came after the end (cancelled, cancelled by user) and is booked all the same" in last(log)[0]


def test_what_a_cancel_left_filled_is_said(log: LogBuilder) -> None:
    live(log)
    log.filled(ID)
    log.add(OrderCancelRequested, ID, source=Source.COMMAND, nonce=78, reason_code="requested")
    log.add(OrderCancelUnknown, ID, source=Source.HTTP, reason_code="timeout", reason="5 s")
    assert explained(log).unknown == ("Whether the cancel took effect: its answer was lost",)
    log.add(OrderCancelled, ID, reason_code="cancelled_by_user")
    assert last(log)[0] == ("cancelled, as we asked (cancelled by user); 0.4 stay filled, 0.6 will not be")


def test_fills_that_are_missing_are_unknown(log: LogBuilder) -> None:
    live(log)
    log.add(OrderReportedFilled, ID)
    assert last(log)[0] == "the venue calls it filled; fills of 1 are missing and asked for"
    assert explained(log).unknown[0].startswith("The fills of 1")
    log.add(OrderFilled, ID, source=Source.QUERY, fill=a_fill(amount=Decimal("1.5"), exchange_order_id="77"))
    assert last(log)[0].startswith("found by asking for fills, filled: buy 1.5")
    assert last(log)[0].endswith("1.5 of 1 filled, more than was ordered")


def test_what_a_reconciliation_repaired_is_told_with_its_finding(log: LogBuilder) -> None:
    live(log)
    log.filled(ID, exchange_order_id="77")
    booked = a_fill(exchange_order_id="77")
    taken_back = {"source": Source.RECONCILIATION, "reason_code": "phantom_fill", "discrepancy_id": "d1"}
    log.add(OrderFillCorrected, ID, was=booked, **taken_back)
    text, inferred_from = last(log)
    assert text.startswith("the reconciliation takes back a fill, finding d1: ")
    assert text.endswith("; 0 of 1 filled")
    assert explained(log).steps[-1].inferred == "the fill that was booked did not happen"
    assert inferred_from == "the venue's own history says so"
    log.add(OrderCancelled, ID, reason_code="cancelled_by_user")
    log.add(
        OrderReopened, ID, source=Source.RECONCILIATION, reason_code="state_mismatch", discrepancy_id="d2"
    )
    assert last(log)[0] == (
        "the reconciliation refutes the end (cancelled, cancelled by user), finding d2: state mismatch"
    )
    assert explained(log).state is OrderState.OPEN


@pytest.mark.parametrize(
    ("event_type", "members", "text", "inferred"),
    [
        (
            OrderCancelRefused,
            {"reason_code": "order_not_found_or_done", "reason": "already filled"},
            "the venue did not cancel it (order not found or done: already filled), which does not say that "
            "it lives",
            False,
        ),
        (
            OrderAmendRequested,
            {"price": Decimal(42_900), "amount": Decimal(1), "leg_amount": Decimal(1), "nonce": 79},
            "change to 1 at 42900 wanted: durable, then signed with nonce 79 and sent",
            False,
        ),
        (
            OrderAmendRefused,
            {"reason_code": "absence_proven", "reason": "expired"},
            "the change did not happen (absence proven: expired)",
            True,
        ),
        (
            OrderAmendUnknown,
            {"reason_code": "timeout"},
            "no answer to the change (timeout): either terms may be in force; the venue is asked",
            False,
        ),
        (
            OrderAmended,
            {"price": Decimal(42_900), "leg_amount": Decimal(1), "exchange_order_id": "78"},
            "amended: works 1 at 42900 as 78",
            False,
        ),
        (
            OrderExpired,
            {"reason_code": "ioc_remainder", "source": Source.QUERY},
            "concluded: expired (ioc remainder)",
            True,
        ),
        (
            OrderExpired,
            {"reason_code": "ioc_remainder", "source": Source.HTTP},
            "expired, without our asking (ioc remainder)",
            False,
        ),
        (
            OrderFailed,
            {"reason_code": "insufficient_margin"},
            "the venue refused it (insufficient margin)",
            False,
        ),
        (
            OrderObserved,
            {"why": "after_terminal", "status": "open", "exchange_order_id": "77"},
            "the venue said 'open' for 77: the order has ended, and a late message does not open it again; "
            "kept, it changes nothing",
            False,
        ),
        (
            OrderAcknowledged,
            {"exchange_order_id": "77"},
            "the venue's stream shows the order live as 77",
            False,
        ),
    ],
)
def test_each_kind_of_fact_has_its_words(
    log: LogBuilder, event_type: Any, members: dict[str, Any], text: str, inferred: bool
) -> None:
    sent(log)
    log.add(event_type, ID, **members)
    said, inferred_from = last(log)
    assert (said, bool(inferred_from)) == (text, inferred)


def test_an_order_refused_here_was_never_sent() -> None:
    log = LogBuilder()
    log.created(ID)
    assert explained(log).unknown == (
        "Whether it will be sent: it was decided, and waits for the venue's limits",
    )
    log.add(OrderFailed, ID, source=Source.COMMAND, reason_code="below_min_notional")
    assert last(log)[0] == "failed here, nothing was sent (below min notional)"


def test_what_cannot_be_read_or_folded_is_unknown_and_the_rest_is_told(log: LogBuilder) -> None:
    live(log)
    log.filled(ID)
    history = list(enumerate(log.events, 1))
    story = explain(history[:2] + history[3:], [Unreadable(log.events[2], 3)])
    assert [step.state for step in story.steps] == ["pending_create", "pending_submit", None]
    assert story.unknown[0].startswith("What event at position 3")
    log.filled(ID, fill_key="2", amount=Decimal("NaN"))
    assert any("event at position 5" in each for each in explained(log).unknown)


def test_nothing_is_said_about_an_order_without_its_beginning(log: LogBuilder) -> None:
    live(log)
    with pytest.raises(UnfoldableEventError, match=r"order\.created"):
        explain(list(enumerate(log.events, 1))[1:])


@given(logs())
@settings(max_examples=60, deadline=None)
def test_any_life_can_be_told(events: list[Any]) -> None:
    by_order: dict[str, list[Any]] = {}
    for position, event in enumerate(events, 1):
        by_order.setdefault(event.originator_id, []).append((position, event))
    for history in by_order.values():
        try:
            story = explain(history)
        except UnfoldableEventError:
            assert history[0][1].topic != "order.created"
        else:
            assert len(story.steps) == len(history)
            assert all(step.text for step in story.steps)
