"""What becomes of an order: every answer of the venue, every way an answer can fail to come."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from domain.enums import OrderType, PositionAction, RequestState, TimeInForce
from domain.events import OrderFailed, OrderFilled, OrderNotFound, OrderSubmitted
from domain.inputs import AmendOrder
from tests.support.core import (
    SECOND,
    START_MS,
    CoreSession,
    fill_row,
    open_order_row,
    order_status_answer,
)


@pytest.fixture
def core() -> Iterator[CoreSession]:
    session = CoreSession().ready()
    yield session
    session.assert_consistent()


def reason(core: CoreSession, order: str) -> tuple[str, str]:
    return core.state(order), core.view(order).reason_code


# -- placing -------------------------------------------------------------------------------------------------


def test_an_order_leaves_with_its_client_id_its_nonce_and_its_expiry(core: CoreSession) -> None:
    order = core.buy("0.5", "43210.0")
    sent = core.take_send()
    assert sent.action == {
        "type": "order",
        "orders": [
            {
                "a": 0,
                "b": True,
                "p": "43210",
                "s": "0.5",
                "r": False,
                "t": {"limit": {"tif": "Gtc"}},
                "c": order,
            }
        ],
        "grouping": "na",
    }
    (submitted,) = core.events_of(OrderSubmitted)
    assert (submitted.nonce, submitted.expires_at_ms) == (sent.nonce, sent.expires_at_ms)
    assert sent.expires_at_ms == core.now_ms + 10_000
    assert not sent.urgent


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        ({"order_type": OrderType.LIMIT_MAKER}, {"limit": {"tif": "Alo"}}),
        ({"time_in_force": TimeInForce.IOC}, {"limit": {"tif": "Ioc"}}),
        ({"order_type": OrderType.MARKET}, {"limit": {"tif": "Ioc"}}),
        (
            {"order_type": OrderType.STOP_LIMIT, "trigger_price": Decimal(43000)},
            {"trigger": {"isMarket": False, "triggerPx": "43000", "tpsl": "sl"}},
        ),
        (
            {"order_type": OrderType.TAKE_PROFIT_MARKET, "trigger_price": Decimal(44000)},
            {"trigger": {"isMarket": True, "triggerPx": "44000", "tpsl": "tp"}},
        ),
    ],
)
def test_each_kind_of_order_is_sent_as_its_kind(
    core: CoreSession, options: dict[str, Any], terms: dict[str, Any]
) -> None:
    core.buy(**options)
    assert core.take_send().action["orders"][0]["t"] == terms


def test_closing_a_position_is_sent_as_reduce_only(core: CoreSession) -> None:
    core.sell(position_action=PositionAction.CLOSE)
    entry = core.take_send().action["orders"][0]
    assert (entry["r"], entry["b"]) == (True, False)


def test_a_market_order_is_priced_through_the_book_by_the_slippage(core: CoreSession) -> None:
    order = core.connector.buy("BTC-USD", Decimal("0.1"), order_type=OrderType.MARKET)
    core.step_commands()
    assert core.view(order).price == Decimal(45370)  # 43210 × 1.05, towards the safe side, on the tick
    assert core.stored[order][0].reference_price == Decimal(43210)


def test_a_resting_answer_opens_the_order(core: CoreSession) -> None:
    order = core.buy()
    core.answer_orders({"resting": {"oid": 77738308, "cloid": order}})
    assert (core.state(order), core.view(order).exchange_order_id) == ("open", "77738308")


def test_a_filled_answer_ends_the_order_and_its_fills_are_waited_for(core: CoreSession) -> None:
    order = core.buy("1")
    core.answer_orders({"filled": {"totalSz": "1.0", "avgPx": "43209.5", "oid": 5}})
    assert core.state(order) == "filled"
    assert core.order(order).missing_fill_amount == 1
    assert core.connector.position("BTC-USD").amount == 0
    core.fill(5, 1, "1.0", cloid=order)
    assert core.order(order).missing_fill_amount == 0
    assert core.connector.position("BTC-USD").amount == 1


def test_a_filled_answer_that_executed_only_a_part_leaves_a_resting_order_open(core: CoreSession) -> None:
    order = core.buy("1")
    core.answer_orders({"filled": {"totalSz": "0.4", "avgPx": "43209.5", "oid": 5}})
    assert core.state(order) == "open"
    core.fill(5, 1, "0.4", cloid=order)
    assert core.state(order) == "partially_filled"


def test_what_an_immediate_order_leaves_unfilled_is_expired(core: CoreSession) -> None:
    order = core.buy("1", time_in_force=TimeInForce.IOC)
    core.answer_orders({"filled": {"totalSz": "0.4", "avgPx": "43209.5", "oid": 5}})
    core.fill(5, 1, "0.4", cloid=order)
    assert reason(core, order) == ("expired", "ioc_remainder")
    assert core.view(order).filled_amount == Decimal("0.4")


@pytest.mark.parametrize("status", ["canceled", "filled"])
def test_an_immediate_order_whose_answer_was_lost_expires_by_its_status(
    core: CoreSession, status: str
) -> None:
    order = core.buy("1", time_in_force=TimeInForce.IOC)
    core.fail(core.take_send())
    core.fill(5, 1, "0.4", cloid=order)
    core.status(5, status, cloid=order, remaining="0.6")
    assert core.state(order) == "expired"


def test_an_immediate_order_called_filled_without_its_rest_expires_once_no_fill_is_found(
    core: CoreSession,
) -> None:
    order = core.buy("1", time_in_force=TimeInForce.IOC)
    core.fail(core.take_send())
    core.fill(5, 1, "0.4", cloid=order)
    core.answer(
        core.take_query("orderStatus"), order_status_answer(5, "filled", cloid=order, remaining="0.0")
    )
    assert core.state(order) == "filled"
    core.advance(30)
    assert reason(core, order) == ("expired", "ioc_remainder")
    assert "missing_fills" not in core.alert_codes()


def test_a_child_order_waits_without_an_exchange_id_until_the_stream_tells_it(core: CoreSession) -> None:
    order = core.buy(order_type=OrderType.STOP_LIMIT, trigger_price=Decimal(44000))
    core.answer_orders("waitingForTrigger")
    assert (core.state(order), core.view(order).exchange_order_id) == ("open", None)
    core.status(9, "triggered", cloid=order)
    assert (core.state(order), core.view(order).exchange_order_id) == ("open", "9")
    assert core.topics(order)[-1] == "order.triggered"


@pytest.mark.parametrize(
    ("text", "state", "code"),
    [
        ("Price must be divisible by tick size. asset=0", "failed", "tick_size"),
        ("Order must have minimum value of $10. asset=0", "failed", "min_notional"),
        ("Insufficient margin to place order. asset=0", "failed", "insufficient_margin"),
        ("Reduce only order would increase position. asset=0", "failed", "reduce_only_would_increase"),
        (
            "Post only order would have immediately matched, bbo was 1923.1@1923.2. asset=1",
            "failed",
            "post_only_would_cross",
        ),
        (
            "Order could not immediately match against any resting orders. asset=0",
            "expired",
            "ioc_no_match",
        ),
        ("Order has invalid size.", "failed", "invalid_size"),
        ("Something the venue has never said before", "failed", "venue_other"),
    ],
)
def test_a_refused_order_ends_with_our_code_and_the_venues_text(
    core: CoreSession, text: str, state: str, code: str
) -> None:
    order = core.buy()
    core.answer_orders({"error": text})
    assert reason(core, order) == (state, code)
    assert core.view(order).reason == text


def test_entries_of_a_batch_are_answered_one_by_one(core: CoreSession) -> None:
    orders = core.place("1", "2", "3")
    sent = core.take_send()
    assert len(sent.action["orders"]) == 3
    core.answer_orders(
        {"resting": {"oid": 1}},
        {"error": "Order must have minimum value of $10. asset=0"},
        {"filled": {"totalSz": "3.0", "avgPx": "43210.0", "oid": 3}},
        request=sent,
    )
    assert [core.state(order) for order in orders] == ["open", "failed", "filled"]


def test_a_single_error_for_a_batch_is_the_error_of_every_entry(core: CoreSession) -> None:
    orders = core.place("1", "2", "3")
    core.answer_orders({"error": "Order has zero size."})
    assert [reason(core, order) for order in orders] == [("failed", "zero_size")] * 3


def test_a_top_level_error_is_the_error_of_every_entry(core: CoreSession) -> None:
    orders = core.place("1", "2")
    core.answer_error("Action already expired")
    assert [reason(core, order) for order in orders] == [("expired", "action_expired")] * 2


def test_fewer_answers_than_entries_leave_the_rest_unknown(core: CoreSession) -> None:
    orders = core.place("1", "2")
    core.answer_orders({"resting": {"oid": 1}})
    assert core.state(orders[0]) == "open"
    assert reason(core, orders[1]) == ("pending_submit", "truncated_answer")
    assert core.order(orders[1]).outcome_unknown


@pytest.mark.parametrize("status", [400, 415, 422])
def test_an_answer_that_says_nothing_happened_fails_the_order(core: CoreSession, status: int) -> None:
    order = core.buy()
    core.answer_raw(core.take_send(), b"Failed to deserialize the JSON body", status=status)
    assert reason(core, order) == ("failed", "malformed_request")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_answer_from_the_way_to_the_venue_leaves_the_outcome_unknown(
    core: CoreSession, status: int
) -> None:
    order = core.buy()
    core.answer_raw(core.take_send(), b"<html>", status=status)
    assert reason(core, order) == ("pending_submit", f"http_{status}")
    assert core.order(order).outcome_unknown
    assert core.take_query("orderStatus").body["oid"] == order


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"\xff\xfe",
        b'{"status":"ok"}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":"?"}}}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":[{"resting":{"oid":true}}]}}}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":[{"resting":{"oid":-5}}]}}}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":[{"filled":{"oid":5,"totalSz":"NaN"}}]}}}',
        b'{"status":"ok","response":{"type":"default"}}',
    ],
)
def test_an_answer_that_cannot_be_read_leaves_the_outcome_unknown(core: CoreSession, body: bytes) -> None:
    order = core.buy()
    core.answer_raw(core.take_send(), body)
    assert core.state(order) == "pending_submit"
    assert core.order(order).outcome_unknown


def test_a_request_that_never_left_fails_the_order_and_nothing_is_unknown(core: CoreSession) -> None:
    order = core.buy()
    core.fail(core.take_send(), "connection refused", sent=False)
    assert reason(core, order) == ("failed", "not_sent")
    assert core.queries == []


def test_an_answer_that_comes_after_the_stream_said_more_changes_nothing(core: CoreSession) -> None:
    order = core.buy("1")
    core.status(5, "canceled", cloid=order)
    count = len(core.events)
    core.answer_orders({"resting": {"oid": 5}})
    assert core.state(order) == "cancelled"
    assert len(core.events) == count


# -- unknown outcomes ----------------------------------------------------------------------------------------


def lost_order(core: CoreSession) -> str:
    order = core.buy()
    core.fail(core.take_send(), "timed out after 10 s")
    assert reason(core, order) == ("pending_submit", "no_answer")
    return order


def test_a_lost_answer_is_resolved_by_asking_for_the_client_id(core: CoreSession) -> None:
    order = lost_order(core)
    query = core.take_query("orderStatus")
    assert query.body["oid"] == order
    core.answer(query, order_status_answer(5, "open", cloid=order))
    assert (core.state(order), core.view(order).exchange_order_id) == ("open", "5")
    assert not core.order(order).outcome_unknown
    assert core.connector.status()["open_cases"] == 0
    assert core.sends == []


def test_an_order_whose_answer_was_lost_and_that_filled_is_found_filled_with_its_fills(
    core: CoreSession,
) -> None:
    order = lost_order(core)
    core.fills = [fill_row(5, 1, "1.0", cloid=order)]
    core.answer(
        core.take_query("orderStatus"), order_status_answer(5, "filled", cloid=order, remaining="0.0")
    )
    assert core.state(order) == "filled"
    core.advance(2)
    assert core.order(order).missing_fill_amount == 0


def test_an_order_the_venue_does_not_know_yet_is_not_failed_before_its_expiry_has_passed(
    core: CoreSession,
) -> None:
    order = lost_order(core)
    core.answers["orderStatus"] = {"status": "unknownOid"}
    core.advance(14)
    assert core.state(order) == "pending_submit"
    assert core.order(order).outcome_unknown
    assert core.order(order).not_found_count > 1
    assert core.sends == []


def test_absence_is_proven_by_the_venues_own_clock_and_by_its_fills(core: CoreSession) -> None:
    order = lost_order(core)
    core.answers["orderStatus"] = {"status": "unknownOid"}
    core.advance(40)
    assert reason(core, order) == ("failed", "absence_proven")
    assert core.sends == []
    assert core.connector.status()["open_cases"] == 0


def test_absence_is_not_proven_while_the_venues_clock_stands_before_the_expiry(core: CoreSession) -> None:
    order = lost_order(core)
    core.answers["orderStatus"] = {"status": "unknownOid"}
    core.answers["exchangeStatus"] = {"time": START_MS}
    core.advance(300)
    assert core.state(order) == "pending_submit"


def test_absence_is_not_proven_while_the_fills_cannot_be_read(core: CoreSession) -> None:
    order = lost_order(core)
    core.answers["orderStatus"] = {"status": "unknownOid"}
    core.answers["userFillsByTime"] = None
    core.advance(120)
    assert core.state(order) == "pending_submit"
    core.answers["userFillsByTime"] = []
    core.advance(30)
    assert core.state(order) == "failed"


def test_a_fill_found_while_proving_absence_shows_that_the_order_lived(core: CoreSession) -> None:
    order = lost_order(core)
    core.answers["orderStatus"] = {"status": "unknownOid"}
    core.fills = [fill_row(5, 1, "0.4", cloid=order)]
    core.advance(30)
    assert core.view(order).filled_amount == Decimal("0.4")
    assert core.state(order) != "failed"


def test_an_order_thought_absent_lives_again_when_it_fills(core: CoreSession) -> None:
    order = lost_order(core)
    core.answers["orderStatus"] = {"status": "unknownOid"}
    core.advance(40)
    assert core.state(order) == "failed"
    del core.answers["orderStatus"]
    core.fill(5, 1, "0.4", cloid=order)
    assert core.state(order) == "partially_filled"
    assert core.take_query("orderStatus").body["oid"] == 5


def test_a_failed_order_that_fills_is_asked_about(core: CoreSession) -> None:
    order = core.buy()
    core.answer_orders({"error": "Insufficient margin to place order. asset=0"})
    core.fill(5, 1, "0.4", cloid=order)
    assert core.state(order) == "partially_filled"
    core.answer(core.take_query("orderStatus"), order_status_answer(5, "canceled", cloid=order))
    assert core.state(order) == "cancelled"


def test_a_query_that_fails_counts_for_nothing(core: CoreSession) -> None:
    order = lost_order(core)
    core.answers["orderStatus"] = None
    core.advance(60)
    assert core.order(order).not_found_count == 0
    assert core.state(order) == "pending_submit"
    core.answers["orderStatus"] = {"status": "what"}
    core.advance(20)
    assert core.order(order).not_found_count == 0
    assert "unreadable_answer" in core.alert_codes()


def test_asking_backs_off_and_never_multiplies(core: CoreSession) -> None:
    order = lost_order(core)
    asked: list[int] = []

    def status(body: dict[str, Any]) -> None:
        asked.append(core.now_ms)

    core.answers["orderStatus"] = status
    core.answer_reads()
    core.advance(59)
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert gaps == [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]
    assert core.order(order).outcome_unknown


def test_a_duplicate_nonce_proves_nothing_and_the_order_is_asked_for(core: CoreSession) -> None:
    order = core.buy()
    core.answer_error("Invalid nonce: duplicate nonce 1700000000000")
    assert core.order(order).outcome_unknown
    assert core.take_query("orderStatus").body["oid"] == order


def test_an_order_without_any_outcome_is_looked_into_after_a_while(core: CoreSession) -> None:
    order = core.buy()
    core.advance(4.9)
    assert core.queries == []
    core.advance(0.2)
    assert core.take_query("orderStatus").body["oid"] == order


# -- an order that was acknowledged, and that the venue does not know any more -------------------------------


def forgotten(core: CoreSession, **options: Any) -> str:
    """An open order of which the venue knows nothing any more, from its next list on."""
    order = core.open(5, **options)
    core.answers["orderStatus"] = {"status": "unknownOid"}
    core.answers["historicalOrders"] = []
    core.open_orders = []
    return order


def not_found_seconds(core: CoreSession, order: str) -> list[float]:
    """When the venue did not know it, in seconds after the first time."""
    times = [event.recorded_at_ns for event in core.stored[order] if isinstance(event, OrderNotFound)]
    return [(time_ns - times[0]) / SECOND for time_ns in times]


def test_a_live_order_the_venue_forgets_is_taken_for_gone_after_a_while_and_that_is_said(
    core: CoreSession,
) -> None:
    order = forgotten(core)
    core.advance(60 + 29)
    assert core.state(order) == "open"
    assert "order_gone" not in core.alert_codes()
    core.advance(5)
    assert reason(core, order) == ("cancelled", "not_found")
    assert not_found_seconds(core, order) == [0, 0.25, 0.75, 1.75, 3.75, 7.75, 15.75, 30.75]
    (alert,) = [alert for alert in core.alerts if alert.code == "order_gone"]
    assert (alert.level, alert.client_order_id) == ("error", order)
    assert "30 s (8 answers)" in alert.message
    assert core.connector.status()["open_cases"] == 0
    core.assert_consistent()


def test_a_node_that_lags_for_some_seconds_after_a_reconnect_takes_no_order(core: CoreSession) -> None:
    order = forgotten(core)
    core.lose_stream()
    core.connect()
    core.advance(3)
    assert core.order(order).not_found_count
    core.open_orders = [open_order_row(5, cloid=order)]
    core.answers["orderStatus"] = order_status_answer(5, "open", cloid=order)
    core.advance(600)
    assert core.state(order) == "open"
    assert core.order(order).not_found_count == 0
    assert core.alert_codes() == ["stream_lost"]
    assert core.connector.status()["open_cases"] == 0


def test_lists_that_lack_an_order_again_and_again_do_not_hasten_the_answers(core: CoreSession) -> None:
    order = forgotten(core)
    for _ in range(10):
        core.lose_stream()
        core.connect()
        core.advance(0.1)
    assert not_found_seconds(core, order) == [0, 0.25, 0.75]
    assert core.state(order) == "open"


def test_an_order_missing_since_an_earlier_session_is_given_the_whole_time_again(core: CoreSession) -> None:
    order = forgotten(core)
    core.advance(75)
    assert core.order(order).not_found_count > 3
    again = core.restarted()
    for kind in ("orderStatus", "historicalOrders"):
        again.answers[kind] = core.answers[kind]
    again.ready()
    again.advance(29)
    assert again.state(order) == "open"
    again.advance(5)
    assert reason(again, order) == ("cancelled", "not_found")


def test_an_order_the_venue_only_lists_among_the_former_ones_ends_as_it_says(core: CoreSession) -> None:
    order = forgotten(core)
    core.answers["historicalOrders"] = [
        order_status_answer(5, status, cloid=order, time_ms=time_ms)["order"]
        for status, time_ms in (("marginCanceled", START_MS + 9), ("open", START_MS))
    ]
    core.advance(95)
    assert reason(core, order) == ("cancelled", "insufficient_margin")
    assert "order_gone" not in core.alert_codes()
    assert core.connector.status()["open_cases"] == 0


def test_an_order_that_is_open_by_the_list_of_former_ones_is_not_gone(core: CoreSession) -> None:
    order = forgotten(core)
    core.answers["historicalOrders"] = [order_status_answer(5, "open", cloid=order)["order"]]
    core.advance(600)
    assert core.state(order) == "open"
    assert "order_gone" not in core.alert_codes()
    core.answers["historicalOrders"] = []
    core.advance(95)
    assert reason(core, order) == ("cancelled", "not_found")


def test_the_leg_that_an_amend_ended_does_not_show_that_the_order_lives(core: CoreSession) -> None:
    order = forgotten(core)
    core.amend(order, "43000", "1")
    core.answer_orders({"resting": {"oid": 6}})
    core.answers["historicalOrders"] = [
        order_status_answer(5, status, cloid=order)["order"] for status in ("canceled", "open")
    ]
    core.advance(95)
    assert reason(core, order) == ("cancelled", "not_found")


def forgotten_while_amending(core: CoreSession, *former: dict[str, Any]) -> str:
    """The answer to an amend was lost, and the venue knows the order only in the list of former ones."""
    order = forgotten(core)
    core.amend(order, "43000", "2")
    core.fail(core.take_send())
    core.answers["historicalOrders"] = [
        order_status_answer(cloid=order, **({"oid": 5, "time_ms": START_MS + 9} | row))["order"]
        for row in former
    ]
    return order


def test_an_amend_is_not_open_for_ever_because_a_list_tells_of_the_leg_it_was_to_replace(
    core: CoreSession,
) -> None:
    order = forgotten_while_amending(core, {"status": "canceled"})
    core.advance(45)
    assert core.order(order).is_amending, (
        "its expiry was not known to have passed when the list was asked for"
    )
    core.advance(75)
    assert not core.order(order).is_amending
    assert reason(core, order) == ("cancelled", "cancelled_by_user")
    assert core.topics(order)[-2:] == ["order.amend_refused", "order.cancelled"]
    assert "order_gone" not in core.alert_codes(), "that is told, not concluded"
    assert core.connector.status()["open_cases"] == 0
    core.assert_consistent()


def test_an_amend_did_not_happen_when_the_list_of_former_orders_still_shows_the_old_terms_at_work(
    core: CoreSession,
) -> None:
    order = forgotten_while_amending(core, {"status": "open"})
    core.advance(120)
    assert (core.state(order), core.order(order).is_amending) == ("open", False)
    assert core.view(order).price == 43210


def test_an_amend_whose_new_leg_is_in_the_list_of_former_orders_took_place(core: CoreSession) -> None:
    new = {"oid": 6, "price": "43000.0", "size": "2.0", "timestamp": START_MS + 9}
    order = forgotten_while_amending(core, new | {"status": "open"}, {"status": "canceled"})
    core.advance(45)
    assert (core.state(order), core.order(order).is_amending) == ("open", False)
    assert (core.view(order).exchange_order_id, core.view(order).price) == ("6", 43000)


@pytest.mark.parametrize("venue_time", [None, {"time": START_MS}])
def test_the_list_of_former_orders_ends_no_amend_before_its_expiry_by_the_venue_s_clock(
    core: CoreSession, venue_time: object
) -> None:
    order = forgotten_while_amending(core, {"status": "canceled"})
    core.answers["exchangeStatus"] = venue_time
    core.advance(300)
    assert core.order(order).is_amending
    core.answers["exchangeStatus"] = lambda body: {"time": core.now_ms}
    core.advance(90)
    assert reason(core, order) == ("cancelled", "cancelled_by_user")


def test_an_order_whose_former_status_this_version_does_not_know_is_not_gone(core: CoreSession) -> None:
    order = forgotten(core)
    core.answers["historicalOrders"] = [order_status_answer(5, "frobnicated", cloid=order)["order"]]
    core.advance(600)
    assert core.state(order) == "open"
    assert core.alert_codes() == ["unknown_status"]


@pytest.mark.parametrize("unheard", ["historicalOrders", "userFillsByTime"])
def test_an_order_is_not_gone_while_the_last_look_has_no_answer(core: CoreSession, unheard: str) -> None:
    order = forgotten(core)
    core.advance(70)
    core.answers[unheard] = None
    core.advance(60)
    assert core.state(order) == "open"
    core.answers[unheard] = []
    core.advance(30)
    assert reason(core, order) == ("cancelled", "not_found")


def test_a_list_of_former_orders_that_cannot_be_read_proves_nothing(core: CoreSession) -> None:
    order = forgotten(core)
    core.answers["historicalOrders"] = {"not": "a list"}
    core.advance(120)
    assert core.state(order) == "open"
    assert "unreadable_answer" in core.alert_codes()


def test_a_fill_found_by_the_last_look_shows_that_the_order_lived(core: CoreSession) -> None:
    order = forgotten(core)
    core.advance(70)
    core.fills = [fill_row(5, 1, "0.4", cloid=order, time_ms=core.now_ms)]
    core.advance(25)
    assert (core.state(order), core.view(order).filled_amount) == ("partially_filled", Decimal("0.4"))
    assert "order_gone" not in core.alert_codes()


def test_one_last_look_is_enough_for_all_orders_that_are_missing(core: CoreSession) -> None:
    asked: list[str] = []

    def former(body: dict[str, Any]) -> list[Any]:
        asked.append(body["type"])
        return []

    orders = [core.open(oid) for oid in range(1, 11)]
    core.answers["orderStatus"] = {"status": "unknownOid"}
    core.answers["historicalOrders"] = former
    core.open_orders = []
    core.advance(100)
    assert [core.state(order) for order in orders] == ["cancelled"] * 10
    assert len(asked) == 1
    assert core.alert_codes() == ["order_gone"] * 10


def test_an_order_placed_elsewhere_that_is_gone_is_a_warning(core: CoreSession) -> None:
    core.status(7, "open")
    order = "external:hyperliquid:7"
    core.answers["orderStatus"] = {"status": "unknownOid"}
    core.answers["historicalOrders"] = []
    core.advance(100)
    assert reason(core, order) == ("cancelled", "not_found")
    assert [(alert.code, alert.level) for alert in core.alerts] == [("order_gone", "warning")]


def test_the_time_that_an_order_must_be_missing_can_be_chosen() -> None:
    core = CoreSession(options={"not_found_span_ns": 300 * SECOND}).ready()
    order = forgotten(core)
    core.advance(60 + 299)
    assert core.state(order) == "open"
    core.advance(20)
    assert reason(core, order) == ("cancelled", "not_found")


def test_without_a_span_answers_alone_count_as_in_versions_that_had_none() -> None:
    core = CoreSession(options={"not_found_span_ns": 0}).ready()
    order = forgotten(core)
    core.advance(62)
    assert reason(core, order) == ("cancelled", "not_found")
    assert not_found_seconds(core, order) == [0, 0.25, 0.75]
    assert core.alerts == []
    assert not any(query["type"] == "historicalOrders" for query in (each.body for each in core.queries))


def test_another_order_under_the_same_exchange_id_says_nothing_about_mine(core: CoreSession) -> None:
    """A venue that was set up anew begins its ids anew, as testnets do."""
    mine = core.open(5)
    later = core.open(5)

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if body["oid"] in (5, later):
            return order_status_answer(5, "open", cloid=later)
        return {"status": "unknownOid"}

    core.answers["orderStatus"] = answer
    core.answers["historicalOrders"] = [order_status_answer(5, "open", cloid=later)["order"]]
    core.open_orders = [open_order_row(5, cloid=later)]
    core.advance(95)
    assert reason(core, mine) == ("cancelled", "not_found")
    assert core.state(later) == "open"


def test_a_live_order_missing_from_one_list_is_found_by_its_status(core: CoreSession) -> None:
    order = core.open(5)
    core.open_orders = []
    core.answers["orderStatus"] = lambda body: order_status_answer(5, "open", cloid=order)
    core.advance(200)
    assert core.state(order) == "open"


def test_a_sweep_whose_list_cannot_be_read_cancels_nothing(core: CoreSession) -> None:
    order = core.open(5)
    core.open_orders = [{"coin": "BTC", "garbage": True}]
    core.advance(200)
    assert core.state(order) == "open"
    assert not any(query.body["type"] == "orderStatus" for query in core.queries)


# -- cancelling ----------------------------------------------------------------------------------------------


def test_a_cancel_leaves_by_client_id_and_urgently(core: CoreSession) -> None:
    order = core.open(5)
    core.cancel(order)
    sent = core.take_send()
    assert sent.action == {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": order}]}
    assert sent.urgent
    assert core.state(order) == "pending_cancel"
    core.answer_cancels("success", request=sent)
    assert reason(core, order) == ("cancelled", "cancelled_by_user")


def test_a_cancelled_immediate_order_is_expired(core: CoreSession) -> None:
    order = core.buy(time_in_force=TimeInForce.IOC)
    core.cancel(order)
    core.answer_cancels("success")
    assert core.state(order) == "expired"


def test_a_cancel_refused_because_it_just_filled_asks_for_the_status_and_the_fills(
    core: CoreSession,
) -> None:
    order = core.open(5)
    core.cancel(order)
    core.answer_cancels({"error": "Order was never placed, already canceled, or filled. asset=0"})
    assert core.state(order) == "open"
    core.fills = [fill_row(5, 1, "1.0", cloid=order)]
    core.answer(
        core.take_query("orderStatus"), order_status_answer(5, "filled", cloid=order, remaining="0.0")
    )
    core.advance(1)
    assert core.state(order) == "filled"
    assert core.order(order).missing_fill_amount == 0


def test_a_cancel_without_an_answer_is_sent_again_while_the_order_is_open(core: CoreSession) -> None:
    order = core.open(5)
    core.cancel(order)
    first = core.take_send()
    core.fail(first)
    assert core.state(order) == "pending_cancel"
    assert core.order(order).outcome_unknown
    core.answer(core.take_query("orderStatus"), order_status_answer(5, "open", cloid=order))
    second = core.take_send("cancelByCloid")
    assert second.nonce > first.nonce
    core.answer_cancels("success", request=second)
    assert core.state(order) == "cancelled"


def test_a_cancel_that_overtook_its_order_is_sent_again_once_the_order_shows(core: CoreSession) -> None:
    """Within a block the venue takes cancels before orders (protocol sheet, section 4.7)."""
    order = core.buy()
    placed = core.take_send()
    core.cancel(order)
    core.answer_cancels({"error": "Order was never placed, already canceled, or filled. asset=0"})
    core.answer(core.take_query("orderStatus"), {"status": "unknownOid"})
    core.answer_orders({"resting": {"oid": 5}}, request=placed)
    core.answers["orderStatus"] = lambda body: order_status_answer(5, "open", cloid=order)
    core.advance(2)
    core.answer_cancels("success")
    assert core.state(order) == "cancelled"


def test_a_cancel_the_venue_keeps_missing_is_given_up_loudly(core: CoreSession) -> None:
    order = core.open(5)
    core.answers["orderStatus"] = lambda body: order_status_answer(5, "open", cloid=order)
    core.cancel(order)
    sent = 0
    while core.sends:
        sent += 1
        assert sent < 20
        core.answer_cancels({"error": "Order was never placed, already canceled, or filled. asset=0"})
    assert sent == 6
    assert core.alert_codes().count("cancel_fails") == 1
    assert core.state(order) == "open"


def test_a_cancel_before_the_order_left_ends_it_without_a_request(core: CoreSession) -> None:
    core.exhaust_budget()
    order = core.buy()
    assert core.sends == []
    core.cancel(order)
    assert reason(core, order) == ("cancelled", "cancelled_before_sent")
    core.advance(70)
    assert core.sends == []


def test_a_cancel_of_a_sent_order_needs_no_exchange_id(core: CoreSession) -> None:
    order = core.buy()
    core.cancel(order)
    assert core.take_send("cancelByCloid").action["cancels"] == [{"asset": 0, "cloid": order}]


def test_a_partial_fill_while_a_cancel_is_pending_keeps_the_cancel_pending(core: CoreSession) -> None:
    order = core.open(5)
    core.cancel(order)
    core.fill(5, 1, "0.4", cloid=order)
    core.status(5, "open", cloid=order, remaining="0.6")
    assert core.state(order) == "pending_cancel"
    core.answer_cancels("success")
    assert (core.state(order), core.view(order).filled_amount) == ("cancelled", Decimal("0.4"))


def test_an_end_by_the_venue_itself_is_asked_about(core: CoreSession) -> None:
    order = core.open(5)
    core.frame("user", {"nonUserCancel": [{"coin": "BTC", "oid": 5}, {"coin": "BTC", "oid": 6}]})
    core.answer(core.take_query("orderStatus"), order_status_answer(5, "marginCanceled", cloid=order))
    assert reason(core, order) == ("cancelled", "insufficient_margin")


# -- amending ------------------------------------------------------------------------------------------------


def amending(core: CoreSession, price: str = "43000", amount: str = "2") -> str:
    order = core.open(5)
    core.amend(order, price, amount)
    return order


def test_an_amend_replaces_the_present_leg_by_what_is_left_of_the_new_total(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "0.4", cloid=order)
    core.amend(order, "43000", "2")
    action = core.take_send().action
    assert action["type"] == "batchModify"
    (modify,) = action["modifies"]
    assert modify["oid"] == 5
    assert (modify["order"]["p"], modify["order"]["s"], modify["order"]["c"]) == ("43000", "1.6", order)


def test_a_resting_answer_puts_the_new_terms_in_force(core: CoreSession) -> None:
    order = amending(core)
    core.answer_orders({"resting": {"oid": 6}})
    view = core.view(order)
    assert (view.price, view.amount, view.exchange_order_id, view.state) == (43000, 2, "6", "open")


def test_a_filled_answer_to_an_amend_ends_the_order(core: CoreSession) -> None:
    order = amending(core)
    core.answer_orders({"filled": {"totalSz": "2.0", "avgPx": "43000.0", "oid": 6}})
    assert core.state(order) == "filled"
    assert core.order(order).missing_fill_amount == 2
    core.fill(6, 1, "2.0", cloid=order)
    assert core.order(order).missing_fill_amount == 0


def test_a_replacement_that_executed_a_part_at_once_goes_on(core: CoreSession) -> None:
    order = amending(core)
    core.answer_orders({"filled": {"totalSz": "0.5", "avgPx": "43000.0", "oid": 6}})
    assert core.state(order) == "open"


def test_an_amend_that_lost_against_the_end_asks_how_the_order_ended(core: CoreSession) -> None:
    order = amending(core)
    core.answer_orders({"error": "Cannot modify canceled or filled order"})
    assert core.state(order) == "open"
    core.fills = [fill_row(5, 1, "1.0", cloid=order)]
    core.answer(
        core.take_query("orderStatus"), order_status_answer(5, "filled", cloid=order, remaining="0.0")
    )
    core.advance(1)
    assert (core.state(order), core.view(order).price) == ("filled", 43210)


def test_a_refused_replacement_means_that_the_old_order_is_gone(core: CoreSession) -> None:
    order = amending(core)
    core.answer_orders(
        {
            "error": "Error placing new order during modify: Post only order would have immediately "
            "matched, bbo was 1@2."
        }
    )
    assert reason(core, order) == ("cancelled", "post_only_would_cross")
    assert core.topics(order)[-2:] == ["order.amend_refused", "order.cancelled"]
    core.status(5, "canceled", cloid=order)
    core.status(6, "badAloPxRejected", cloid=order)
    assert core.state(order) == "cancelled"


def test_an_amend_that_never_left_is_refused_and_the_order_lives(core: CoreSession) -> None:
    order = amending(core)
    core.fail(core.take_send(), "connection refused", sent=False)
    assert core.state(order) == "open"
    assert core.order(order).amend is RequestState.REFUSED


def test_a_lost_amend_is_settled_by_the_new_leg(core: CoreSession) -> None:
    order = amending(core)
    core.fail(core.take_send())
    assert core.order(order).outcome_unknown
    query = core.take_query("orderStatus")
    assert query.body["oid"] == order  # the exchange id is in question, the client id is not
    core.answer(
        query, order_status_answer(6, "open", cloid=order, price="43000.0", size="2.0", time_ms=START_MS + 9)
    )
    assert (core.view(order).price, core.view(order).amount, core.state(order)) == (43000, 2, "open")


def test_a_lost_amend_whose_old_leg_lives_beyond_the_expiry_did_not_happen(core: CoreSession) -> None:
    order = amending(core)
    core.fail(core.take_send())
    core.answers["orderStatus"] = lambda body: order_status_answer(5, "open", cloid=order)
    core.advance(14)
    assert core.order(order).is_amending
    core.advance(30)
    assert (core.state(order), core.order(order).is_amending, core.view(order).price) == (
        "open",
        False,
        43210,
    )


def test_a_lost_amend_whose_old_leg_ended_is_settled_by_fills_and_open_orders(core: CoreSession) -> None:
    order = amending(core)
    core.fail(core.take_send())
    core.answers["orderStatus"] = lambda body: order_status_answer(5, "canceled", cloid=order)
    core.advance(40)
    assert reason(core, order) == ("cancelled", "cancelled_by_user")
    assert not core.order(order).is_amending
    assert core.connector.status()["open_cases"] == 0


def test_a_lost_amend_whose_new_leg_is_listed_goes_on_with_it(core: CoreSession) -> None:
    order = amending(core)
    core.fail(core.take_send())
    core.answers["orderStatus"] = lambda body: order_status_answer(5, "canceled", cloid=order)
    core.open_orders = [open_order_row(6, cloid=order, price="43000.0", size="2.0", timestamp=START_MS + 9)]
    core.advance(40)
    assert (core.state(order), core.view(order).exchange_order_id) == ("open", "6")
    assert core.connector.status()["open_cases"] == 0


def test_a_lost_amend_whose_new_leg_has_filled_goes_on_with_it(core: CoreSession) -> None:
    order = amending(core)
    core.fail(core.take_send())
    core.answers["orderStatus"] = lambda body: order_status_answer(5, "canceled", cloid=order)
    core.fills = [fill_row(6, 1, "2.0", cloid=order)]
    core.advance(40)
    assert (core.state(order), core.view(order).amount) == ("filled", 2)


def test_a_lost_amend_is_not_settled_while_the_open_orders_cannot_be_read(core: CoreSession) -> None:
    order = amending(core)
    core.fail(core.take_send())
    core.answers["orderStatus"] = lambda body: order_status_answer(5, "canceled", cloid=order)
    core.open_orders = [{"garbage": True}]
    core.advance(60)
    assert core.order(order).is_amending
    core.open_orders = []
    core.advance(30)
    assert core.state(order) == "cancelled"


def test_a_late_answer_to_an_amend_thought_lost_still_counts(core: CoreSession) -> None:
    order = amending(core)
    late = core.take_send()
    core.answers["orderStatus"] = lambda body: order_status_answer(5, "open", cloid=order)
    core.advance(40)
    assert not core.order(order).is_amending
    core.answer_orders({"resting": {"oid": 6}}, request=late)
    assert (core.view(order).exchange_order_id, core.view(order).price, core.view(order).amount) == (
        "6",
        43000,
        2,
    )


def test_a_late_answer_to_the_first_amend_is_not_taken_for_the_second(core: CoreSession) -> None:
    order = amending(core, "43000", "2")
    first = core.take_send()
    core.status(6, "open", cloid=order, price="43000.0", size="2.0", time_ms=START_MS + 9)
    core.amend(order, "42000", "3")
    second = core.take_send()
    core.answer_orders({"filled": {"totalSz": "2.0", "avgPx": "1", "oid": 6}}, request=first)
    assert core.order(order).amend is RequestState.REQUESTED
    assert core.view(order).price == 43000
    core.answer_orders({"resting": {"oid": 7}}, request=second)
    assert (core.view(order).price, core.view(order).amount) == (42000, 3)


def test_a_second_amend_waits_until_the_first_is_settled(core: CoreSession) -> None:
    order = core.open(5)
    core.step(AmendOrder(client_order_id=order, price=Decimal(43000), amount=Decimal(2)))
    core.step(AmendOrder(client_order_id=order, price=Decimal(42000), amount=Decimal(3)))
    assert len(core.sends) == 1
    assert core.stored[order][-1].why == "amend_while_amending"


def test_of_two_amends_that_wait_for_the_limits_only_the_first_leaves(core: CoreSession) -> None:
    order = core.open(5)
    core.exhaust_budget()
    core.advance(6)
    core.amend(order, "43000", "2")
    core.amend(order, "42000", "3")
    assert core.sends == []
    core.advance(61)
    assert len([sent for sent in core.sends if sent.action["type"] == "batchModify"]) == 1


def test_an_order_is_not_amended_before_it_is_acknowledged(core: CoreSession) -> None:
    order = core.buy()
    sent = core.take_send()
    core.step(AmendOrder(client_order_id=order, price=Decimal(43000), amount=Decimal(2)))
    assert core.stored[order][-1].why == "amend_before_acknowledged"
    core.answer_orders({"resting": {"oid": 5}}, request=sent)
    assert core.state(order) == "open"


def test_an_amend_to_less_than_has_executed_is_not_sent(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "0.4", cloid=order)
    core.amend(order, "43000", "0.4")
    assert core.sends == []
    assert core.stored[order][-1].why == "amend_below_filled"


def test_an_order_that_ends_while_its_amend_waits_is_not_amended(core: CoreSession) -> None:
    order = core.open(5)
    core.exhaust_budget()
    core.amend(order, "43000", "2")
    core.status(5, "canceled", cloid=order)
    core.advance(30)
    assert core.sends == []
    assert core.state(order) == "cancelled"


def test_a_cancel_overtaking_an_amend_ends_whatever_leg_is_left(core: CoreSession) -> None:
    order = amending(core)
    modify = core.take_send()
    core.cancel(order)
    core.answer_cancels("success")
    core.status(6, "canceled", cloid=order, time_ms=START_MS + 20)
    core.answer_orders({"resting": {"oid": 6}}, request=modify)
    core.status(5, "canceled", cloid=order, time_ms=START_MS + 10)
    assert (core.state(order), core.view(order).exchange_order_id) == ("cancelled", "6")
    assert not core.order(order).is_amending


# -- fills ---------------------------------------------------------------------------------------------------


def test_the_same_fill_over_four_ways_is_booked_once(core: CoreSession) -> None:
    order = core.open(5)
    core.fill(5, 1, "0.4", cloid=order)
    core.fill(5, 1, "0.4", cloid=order, channel="userFills")
    core.show_fills(core.fills, channel="userFills")
    core.lose_stream()
    core.open_orders = [open_order_row(5, cloid=order)]
    core.connect()
    assert core.view(order).filled_amount == Decimal("0.4")
    assert core.connector.position("BTC-USD").amount == Decimal("0.4")
    assert core.connector.status()["duplicates_ignored"] >= 3


def test_a_fill_before_the_answer_is_booked_at_once(core: CoreSession) -> None:
    order = core.buy()
    core.fill(5, 1, "0.4", cloid=order)
    assert core.state(order) == "partially_filled"
    core.answer_orders({"resting": {"oid": 5}})
    assert core.topics(order).count("order.acknowledged") == 1


def test_a_fill_without_a_client_id_before_the_answer_finds_its_order(core: CoreSession) -> None:
    order = core.buy()
    core.fill(5, 1, "0.4")
    assert core.view(order).filled_amount == 0
    core.answer_orders({"resting": {"oid": 5}})
    assert core.view(order).filled_amount == Decimal("0.4")
    assert core.connector.tracker.get("external:hyperliquid:5") is None


def test_a_fill_without_a_client_id_is_ours_when_its_status_tells_our_client_id(core: CoreSession) -> None:
    order = core.buy()
    core.fail(core.take_send())
    core.queries.clear()
    core.fill(5, 1, "0.4")
    core.answer(core.take_query("orderStatus"), order_status_answer(5, "open", cloid=order))
    assert core.view(order).filled_amount == Decimal("0.4")
    assert core.connector.tracker.get("external:hyperliquid:5") is None


def test_a_filled_status_whose_fill_the_stream_lost_is_backfilled(core: CoreSession) -> None:
    order = core.open(5)
    core.fills = [fill_row(5, 1, "1.0", cloid=order)]
    core.status(5, "filled", cloid=order, remaining="0.0")
    assert core.order(order).missing_fill_amount == 1
    core.advance(3)
    assert (core.state(order), core.order(order).missing_fill_amount) == ("filled", 0)
    assert core.connector.position("BTC-USD").amount == 1


def test_a_fill_that_never_shows_is_an_error_to_look_at(core: CoreSession) -> None:
    order = core.open(5)
    core.status(5, "filled", cloid=order, remaining="0.0")
    core.advance(120)  # longer than a finished order stays: somebody has to go on looking
    assert core.order(order).missing_fill_amount == 1
    assert [alert.level for alert in core.alerts if alert.code == "missing_fills"] == ["error"]
    assert core.connector.position("BTC-USD").amount == 0


def test_a_reduce_only_order_that_the_venue_shrank_is_cancelled_for_the_rest(core: CoreSession) -> None:
    order = core.sell("1", position_action=PositionAction.CLOSE)
    core.answer_orders({"resting": {"oid": 5}})
    core.fill(5, 1, "0.4", cloid=order, side="A")
    core.status(5, "filled", cloid=order, side="A", remaining="0.0")
    core.advance(30)
    assert reason(core, order) == ("cancelled", "reduce_only_shrunk")
    assert "missing_fills" not in core.alert_codes()


def test_a_break_in_the_chain_of_positions_leads_to_the_missing_fill_however_old_it_is(
    core: CoreSession,
) -> None:
    order = core.open(5, "10")
    first = START_MS + 1_000
    core.fill(5, 1, "1.0", cloid=order, startPosition="0.0", time_ms=first)
    core.fills.append(fill_row(5, 2, "2.0", cloid=order, startPosition="1.0", time_ms=first + 5_000))
    core.now_ns += 50_000_000_000
    core.fill(5, 3, "3.0", cloid=order, startPosition="3.0", time_ms=START_MS + 50_000)
    core.now_ns += 600_000_000_000
    core.fills.append(fill_row(5, 4, "1.0", cloid=order, startPosition="6.0", time_ms=START_MS + 55_000))
    core.fill(5, 5, "1.0", cloid=order, startPosition="7.0", time_ms=core.now_ms)
    core.advance(1)
    assert core.view(order).filled_amount == 8
    assert core.connector.position("BTC-USD").amount == 8


def test_positions_come_from_fills_alone(core: CoreSession) -> None:
    order = core.buy("2")
    core.answer_orders({"filled": {"totalSz": "2.0", "avgPx": "43000.0", "oid": 5}})
    core.status(5, "filled", cloid=order)
    assert core.connector.position("BTC-USD").amount == 0
    core.fill(5, 1, "2.0", cloid=order, price="43100.0", fee="-0.003")
    position = core.connector.position("BTC-USD")
    assert (position.amount, position.average_entry) == (2, 43100)
    assert position.fees.of("USDC") == Decimal("-0.003")


def test_events_say_over_which_way_they_came(core: CoreSession) -> None:
    order = core.buy()
    core.answer_orders({"resting": {"oid": 5}})
    core.fill(5, 1, "0.4", cloid=order)
    core.cancel(order)
    core.fail(core.take_send("cancelByCloid"))
    core.answer(core.take_query("orderStatus"), order_status_answer(5, "canceled", cloid=order))
    sources = {event.topic: event.source.value for event in core.stored[order]}
    assert sources == {
        "order.created": "command",
        "order.submitted": "command",
        "order.acknowledged": "http",
        "order.filled": "stream",
        "order.cancel_requested": "command",
        "order.cancel_unknown": "http",
        "order.cancelled": "query",
    }
    assert all(event.causation.startswith("000000abcdef:") for event in core.stored[order])


def test_a_refusal_keeps_the_order_out_of_the_position_and_out_of_memory_in_time(core: CoreSession) -> None:
    order = core.buy()
    core.answer_orders({"error": "Insufficient margin to place order. asset=0"})
    assert len(core.events_of(OrderFailed)) == 1
    core.advance(61)
    assert core.connector.tracker.get(order) is None


def test_a_late_fill_of_an_order_that_left_memory_is_booked_to_it(core: CoreSession) -> None:
    order = core.open(5)
    core.cancel(order)
    core.answer_cancels("success")
    core.advance(61)
    assert core.connector.tracker.get(order) is None
    core.fill(5, 1, "0.4", cloid=order)
    assert (core.state(order), core.view(order).filled_amount) == ("cancelled", Decimal("0.4"))
    assert [event.source.value for event in core.events_of(OrderFilled)] == ["reconciliation"]
