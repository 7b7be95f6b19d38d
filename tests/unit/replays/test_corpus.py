"""What each recording of the corpus proves, told apart from what it expects byte for byte.

An expectation can be rewritten; what stands here cannot be by accident. The same is asserted of recordings
made anew against the simulator (`make soak`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import replays
from domain.enums import Liquidity
from domain.events import (
    AccountDiscrepancyFound,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    AccountMessageKept,
    OrderCreated,
    OrderSubmitted,
)
from domain.inputs import (
    OrderLookedUp,
    PlaceOrders,
    RequestAnswered,
    RequestFailed,
    Started,
    StreamFrame,
    StreamLost,
)
from replays.session_file import SessionReader
from replays.session_run import SessionRun, run_session
from tests.support.corpus import FORMATS, SCENARIOS
from tests.support.corpus.page import page
from tests.support.corpus.world import order_statuses, record

SESSIONS = Path(replays.__path__[0]) / "sessions"
PAIR = "BTC-USD"

Corpus = Callable[[str], SessionRun]


@pytest.fixture(params=["as committed", pytest.param("made anew", marks=pytest.mark.soak)])
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> Corpus:
    """Runs a recording by its name."""

    def run(name: str) -> SessionRun:
        path = SESSIONS / f"{name}.session"
        if request.param == "made anew":
            path = record(SCENARIOS[name], tmp_path)
        return run_session(SessionReader(path))

    return run


def sent(run: SessionRun) -> list[str]:
    """The types of the actions that went out."""
    return [request.action["type"] for request in run.requests]


def asked(run: SessionRun, kind: str) -> int:
    """How often the venue was asked for something."""
    return sum(query.body["type"] == kind for query in run.queries)


def statuses(run: SessionRun) -> list[str]:
    """What the stream said of orders."""
    return order_statuses(item for item in run.inputs if isinstance(item, StreamFrame))


def given(run: SessionRun, kind: type[Any]) -> int:
    return sum(isinstance(item, kind) for item in run.inputs)


def state(run: SessionRun, client_order_id: str) -> tuple[str, Decimal]:
    order = run.orders[client_order_id]
    return order.state.value, order.filled_amount


def booked_once(run: SessionRun, client_order_id: str) -> bool:
    """Whether no fill of an order was booked twice and its quantity is that of its fills."""
    fills = run.fills(client_order_id)
    amount = sum((fill.amount for fill in fills), Decimal(0))
    distinct = len({fill.fill_key for fill in fills}) == len(fills)
    return distinct and amount == run.orders[client_order_id].filled_amount


# -- unknown taken for failed --------------------------------------------------------------------------------


def test_a_submit_that_timed_out_is_one_order_that_fills_once(corpus: Corpus) -> None:
    run = corpus("submit-timed-out-then-filled")
    assert sent(run) == ["order"]
    assert run.topics("bid")[:4] == [
        "order.created",
        "order.submitted",
        "order.submit_unknown",
        "order.acknowledged",
    ]
    assert "order.failed" not in run.topics("bid")
    assert state(run, "bid") == ("filled", Decimal("0.01"))
    assert booked_once(run, "bid")
    assert run.positions[PAIR].amount == Decimal("0.01")


def test_six_orders_accepted_in_an_outage_are_all_found(corpus: Corpus) -> None:
    run = corpus("six-orders-accepted-in-an-outage")
    assert sent(run) == ["order"]
    assert given(run, StreamLost) >= 1
    for number in range(1, 7):
        topics = run.topics(f"bid {number}")
        assert topics[:3] == ["order.created", "order.submitted", "order.submit_unknown"]
        assert topics.count("order.acknowledged") == 1
        assert state(run, f"bid {number}") == ("open", Decimal(0))


def test_a_failed_status_query_does_not_count_as_not_found(corpus: Corpus) -> None:
    run = corpus("failed-status-query-is-not-a-not-found")
    assert given(run, RequestFailed) >= 2
    assert run.topics("bid").count("order.not_found") == 2, (
        "two answers said so; the failed query says nothing"
    )
    assert run.topics("bid")[-1] == "order.acknowledged"
    assert state(run, "bid") == ("open", Decimal(0))
    assert sent(run) == ["order"]


def test_a_cancel_that_timed_out_leaves_the_order_alive_until_a_second_one(corpus: Corpus) -> None:
    run = corpus("cancel-timed-out-order-alive")
    assert sent(run) == ["order", "cancelByCloid", "cancelByCloid"]
    topics = run.topics("bid")
    assert topics.index("order.cancel_unknown") < topics.index("order.cancelled")
    assert topics.count("order.cancel_requested") == 2
    assert topics.count("order.cancelled") == 1


def test_a_cancel_that_timed_out_and_worked_is_not_sent_again(corpus: Corpus) -> None:
    run = corpus("cancel-timed-out-order-gone")
    assert sent(run) == ["order", "cancelByCloid"]
    assert run.topics("bid")[-2:] == ["order.cancel_unknown", "order.cancelled"]


def test_a_top_level_error_fails_the_order_at_once(corpus: Corpus) -> None:
    run = corpus("top-level-error-answer")
    assert run.topics("bid") == ["order.created", "order.submitted", "order.failed"]
    assert run.orders["bid"].reason_code == "insufficient_margin"
    assert run.orders["bid"].reason == "Insufficient margin to place order."


# -- out of order, twice, never ------------------------------------------------------------------------------


def test_filled_stale_open_filled_completes_once(corpus: Corpus) -> None:
    run = corpus("filled-stale-open-filled")
    assert statuses(run) == ["open", "filled", "open", "filled"]
    assert state(run, "bid") == ("filled", Decimal("0.01"))
    assert run.topics("bid").count("order.reported_filled") == 1
    assert run.topics("bid").count("order.filled") == 1


def test_cancelled_stale_open_cancelled_ends_once(corpus: Corpus) -> None:
    run = corpus("cancelled-stale-open-cancelled")
    assert statuses(run) == ["open", "canceled", "canceled"]
    assert run.topics("bid").count("order.cancelled") == 1
    assert run.topics("bid").count("order.acknowledged") == 1
    assert state(run, "bid") == ("cancelled", Decimal(0))


def test_a_fill_before_the_open_is_booked(corpus: Corpus) -> None:
    run = corpus("fill-before-open")
    assert run.topics("bid")[:4] == ["order.created", "order.submitted", "order.acknowledged", "order.filled"]
    assert state(run, "bid") == ("filled", Decimal("0.01"))
    assert booked_once(run, "bid")


def test_an_order_called_filled_gets_its_missing_fills(corpus: Corpus) -> None:
    run = corpus("filled-before-its-fills")
    topics = run.topics("bid")
    assert topics.index("order.reported_filled") < topics.index("order.filled")
    assert asked(run, "userFillsByTime") >= 2, "one at the start, one for what is missing"
    assert state(run, "bid") == ("filled", Decimal("0.01"))
    assert booked_once(run, "bid")


def test_a_late_fill_after_cancel_is_booked(corpus: Corpus) -> None:
    run = corpus("late-fill-after-cancel")
    topics = run.topics("bid")
    assert topics.index("order.cancelled") < topics.index("order.filled")
    assert state(run, "bid") == ("cancelled", Decimal("0.005"))
    assert run.positions[PAIR].amount == Decimal("0.005")


def test_a_late_fill_after_failure_is_booked_and_refutes_it(corpus: Corpus) -> None:
    run = corpus("late-fill-after-failure")
    topics = run.topics("bid")
    assert topics.index("order.failed") < topics.index("order.filled")
    assert state(run, "bid") == ("filled", Decimal("0.01"))
    assert run.positions[PAIR].amount == Decimal("0.01")
    assert sent(run) == ["order"]


def test_a_late_fill_after_expiry_is_booked(corpus: Corpus) -> None:
    run = corpus("late-fill-after-expiry")
    topics = run.topics("bid")
    assert topics.index("order.expired") < topics.index("order.filled")
    assert state(run, "bid") == ("expired", Decimal(5))
    assert run.orders["bid"].reason_code == "ioc_remainder"


def test_a_partial_fill_does_not_erase_the_pending_cancel(corpus: Corpus) -> None:
    run = corpus("partial-fill-during-pending-cancel")
    topics = run.topics("bid")
    requested, filled, cancelled = (
        topics.index(f"order.{topic}") for topic in ("cancel_requested", "filled", "cancelled")
    )
    assert requested < filled < cancelled
    assert sent(run) == ["order", "cancelByCloid"]
    assert state(run, "bid") == ("cancelled", Decimal("0.005"))


def test_garbage_discards_nothing_but_itself(corpus: Corpus) -> None:
    run = corpus("garbage-among-good-messages")
    kept = [event for event in run.events if isinstance(event, AccountMessageKept)]
    assert kept
    assert all("not a number" in event.message for event in kept)
    assert "frozenByCommittee" in statuses(run)
    assert {alert.code for alert in run.alerts} >= {"message_kept", "unknown_status"}
    assert state(run, "bid") == ("filled", Decimal("0.01"))


def test_a_fill_that_comes_six_times_is_booked_once(corpus: Corpus) -> None:
    run = corpus("same-fill-over-and-over")
    tid = run.fills("bid")[0].trade_id.encode()
    assert sum(tid in getattr(item, "data", getattr(item, "body", b"")) for item in run.inputs) >= 6
    assert len(run.fills("bid")) == 1
    assert run.positions[PAIR].amount == Decimal("0.01")


def test_an_amended_order_is_one_order_under_two_exchange_ids(corpus: Corpus) -> None:
    run = corpus("amend-changes-the-exchange-id")
    topics = run.topics("bid")
    assert topics.count("order.amended") == 1
    assert "order.cancelled" not in topics, "the old leg's end is not the order's"
    assert len({fill.exchange_order_id for fill in run.fills("bid")}) == 2
    assert state(run, "bid")[0] == "filled"
    assert booked_once(run, "bid")
    assert [name for name in run.orders if run.orders[name].external] == []


def test_a_fill_of_the_gap_is_found_after_the_reconnect(corpus: Corpus) -> None:
    run = corpus("filled-while-disconnected")
    assert given(run, StreamLost) == 1
    assert "filled" not in statuses(run), "the stream never said so"
    assert state(run, "bid") == ("filled", Decimal("0.01"))
    assert booked_once(run, "bid")


def test_a_stream_that_only_answers_pings_is_not_healthy(corpus: Corpus) -> None:
    run = corpus("connected-but-silent")
    (lost,) = (item for item in run.inputs if isinstance(item, StreamLost))
    assert "silent" in lost.reason
    assert state(run, "bid") == ("filled", Decimal("0.01"))


def test_more_fills_than_one_answer_lists_are_all_booked(corpus: Corpus) -> None:
    run = corpus("more-fills-than-one-answer-lists")
    assert len(run.fills("first")) + len(run.fills("second")) == 2_060
    assert booked_once(run, "first")
    assert booked_once(run, "second")
    assert run.positions[PAIR].amount == 2_060 * Decimal("0.00024")


# -- restart and storage -------------------------------------------------------------------------------------


def test_a_crash_before_the_answer_leaves_no_orphan(corpus: Corpus) -> None:
    run = corpus("crash-before-the-answer")
    (started,) = (item for item in run.inputs if isinstance(item, Started))
    assert [topic for topic, _ in started.open_orders[0]] == ["order.created", "order.submitted"]
    assert run.topics("bid") == ["order.submit_unknown", "order.acknowledged"]
    assert state(run, "bid") == ("open", Decimal(0))
    assert sent(run) == []


def test_a_crash_before_the_request_places_nothing_late(corpus: Corpus) -> None:
    run = corpus("crash-before-the-order-was-sent")
    assert run.topics("bid")[0] == "order.submit_unknown"
    assert state(run, "bid") == ("failed", Decimal(0))
    assert run.orders["bid"].reason_code == "absence_proven"
    assert sent(run) == []


def test_nothing_is_sent_while_the_ledger_cannot_write(corpus: Corpus) -> None:
    run = corpus("ledger-cannot-write-for-a-while")
    assert run.topics("too late") == ["order.created", "order.failed"]
    assert run.orders["too late"].reason_code == "not_sent_halted"
    assert state(run, "bid") == ("filled", Decimal("0.01")), "what fills meanwhile is booked all the same"
    assert state(run, "after it") == ("open", Decimal(0))
    assert [alert.code for alert in run.alerts] == ["trading_halted", "trading_resumed"]


def test_a_rejected_order_is_not_taken_up_again(corpus: Corpus) -> None:
    run = corpus("rejected-order-after-a-restart")
    (started,) = (item for item in run.inputs if isinstance(item, Started))
    assert started.ledger_position > 0
    assert started.open_orders == ()
    assert run.orders == {}
    assert (sent(run), asked(run, "orderStatus")) == ([], 0)


def test_a_warm_restart_neither_doubles_nor_flattens_a_position(corpus: Corpus) -> None:
    run = corpus("restart-with-a-position")
    assert run.positions[PAIR].amount == Decimal("0.01")
    assert [event.topic for event in run.events if "fill" in event.topic] == []
    assert sent(run) == []


def test_a_restart_places_nothing_again_and_finds_what_happened(corpus: Corpus) -> None:
    run = corpus("restart-with-open-orders")
    assert sent(run) == []
    assert state(run, "filled") == ("filled", Decimal("0.01"))
    assert state(run, "cancelled") == ("cancelled", Decimal(0))
    assert run.topics("kept") == []
    kept = run.core.order("kept")
    assert kept is not None
    assert kept.state == "open"


def test_more_than_two_thousand_orders_are_recovered(corpus: Corpus) -> None:
    run = corpus("restart-with-2100-orders")
    assert len(run.core.open_orders()) == 2_100
    assert Counter(order.state.value for order in run.core.open_orders()) == {"open": 2_100}
    assert (sent(run), asked(run, "orderStatus")) == ([], 0), "each is in the venue's list"


def test_nine_hundred_millionths_are_kept(corpus: Corpus) -> None:
    run = corpus("amount-of-9e-8")
    assert run.positions["RARE-USDC"].amount == Decimal("0.00000009")


def test_two_fundings_at_one_time_are_two(corpus: Corpus) -> None:
    run = corpus("two-fundings-at-one-time")
    fundings = [event for event in run.events if isinstance(event, AccountFundingBooked)]
    assert sorted(event.trading_pair for event in fundings) == ["BTC-USD", "ETH-USD"]
    assert len({event.exchange_time_ms for event in fundings}) == 1
    assert all(event.amount < 0 for event in fundings), "longs pay while the rate is positive"


def test_a_message_for_an_order_that_left_memory_is_booked(corpus: Corpus) -> None:
    run = corpus("message-for-an-order-that-left-memory")
    looked_up = [item for item in run.inputs if isinstance(item, OrderLookedUp)]
    assert [bool(item.events) for item in looked_up] == [True]
    assert run.topics("bid").index("order.cancelled") < run.topics("bid").index("order.filled")
    assert state(run, "bid") == ("cancelled", Decimal("0.005"))


# -- numbers -------------------------------------------------------------------------------------------------


def test_an_integer_price_keeps_all_its_figures(corpus: Corpus) -> None:
    run = corpus("integer-price-123456")
    assert run.requests[0].action["orders"][0]["p"] == "123456"
    assert state(run, "ask") == ("open", Decimal(0))


def test_the_tick_does_not_follow_the_decimals_of_the_mark_price(corpus: Corpus) -> None:
    run = corpus("round-mark-price")
    assert run.requests[0].action["orders"][0]["p"] == "97.531"
    assert state(run, "bid") == ("open", Decimal(0))


def test_sizes_lose_no_step_and_are_never_rounded_up(corpus: Corpus) -> None:
    run = corpus("sizes-that-floats-lose")
    assert [request.action["orders"][0]["s"] for request in run.requests] == ["0.29", "0.57", "0.01199"]


def test_a_fee_is_a_cost_and_a_rebate_a_gain(corpus: Corpus) -> None:
    run = corpus("fee-paid-and-rebate-received")
    (taken,), (made,) = run.fills("taken"), run.fills("made")
    assert (taken.liquidity, made.liquidity) == (Liquidity.TAKER, Liquidity.MAKER)
    assert taken.fee == Decimal("0.19449"), "0.045 % of 432.20"
    assert made.fee == Decimal("-0.01299"), "0.003 % of 433.00, received"
    position = run.positions[PAIR]
    assert position.amount == 0
    assert position.realised_pnl == Decimal("0.80")
    assert dict(position.fees.totals) == {"USDC": Decimal("0.1815")}


def test_a_spot_buy_pays_in_the_base_token(corpus: Corpus) -> None:
    run = corpus("spot-fee-in-the-base-token")
    (fill,) = run.fills("spot")
    assert fill.fee_token == "PURR"
    assert run.orders["spot"].fees == {"PURR": fill.fee}
    assert fill.fee > 0


def test_a_builders_fee_is_part_of_the_fee(corpus: Corpus) -> None:
    run = corpus("builder-fee")
    (order,) = run.orders.values()
    (fill,) = run.fills(order.client_order_id)
    assert fill.builder_fee == Decimal("0.2161"), "5 basis points of 432.20"
    assert fill.fee == fill.builder_fee + Decimal("0.19449")


def test_an_average_over_thirty_fills_is_exact(corpus: Corpus) -> None:
    run = corpus("average-over-thirty-fills")
    fills = run.fills("ask")
    assert len(fills) == 30
    value = sum((fill.price * fill.amount for fill in fills), Decimal(0))
    average = run.orders["ask"].average_fill_price
    assert average is not None
    assert abs(average - value / Decimal("0.03")) < Decimal("1e-20")
    assert run.positions[PAIR].average_entry == average


def test_no_two_requests_have_the_same_nonce(corpus: Corpus) -> None:
    run = corpus("twenty-orders-in-a-millisecond")
    nonces = [request.nonce for request in run.requests]
    assert len(nonces) == len(set(nonces)) >= 9
    assert nonces == sorted(nonces)
    assert {event.nonce for event in run.events if isinstance(event, OrderSubmitted)} == set(nonces)
    commands = [item for item in run.inputs if isinstance(item, PlaceOrders)]
    assert len(commands) == 20
    assert Counter(order.state.value for order in run.orders.values()) == {"open": 20}


def test_kpepe_keeps_its_k(corpus: Corpus) -> None:
    run = corpus("kpepe-keeps-its-k")
    assert state(run, "bid") == ("filled", Decimal(20_000))
    assert run.positions["kPEPE-USD"].amount == Decimal(20_000)


# -- reconciliation ------------------------------------------------------------------------------------------


def test_repairs_are_the_same_in_every_run(corpus: Corpus) -> None:
    run = corpus("repairs-after-a-night-off")
    assert run.identical, "ids and all"
    assert state(run, "bid") == ("filled", Decimal("0.01"))
    assert state(run, "lower bid") == ("partially_filled", Decimal("0.005"))
    assert len(run.fills("bid")) == 2
    assert sum(isinstance(event, AccountFundingBooked) for event in run.events) == 1


def test_deposits_are_booked_once(corpus: Corpus) -> None:
    run = corpus("deposits-over-a-restart")
    booked = [event for event in run.events if isinstance(event, AccountLedgerUpdateBooked)]
    assert [event.amount for event in booked] == [200, 300]
    found = [event for event in run.events if isinstance(event, AccountDiscrepancyFound)]
    assert [event.kind for event in found] == ["unbooked_transfer"]
    assert run.core.account.unsettled_discrepancies == ()


def test_what_the_venue_does_not_tell_again_is_taken_back(corpus: Corpus) -> None:
    run = corpus("told-and-never-happened")
    found = [event.kind for event in run.events if isinstance(event, AccountDiscrepancyFound)]
    assert found == ["phantom_fill", "balance_drift"]
    assert run.topics("bid")[-1] == "order.fill_corrected"
    assert state(run, "bid") == ("open", Decimal(0))
    assert run.positions[PAIR].amount == 0
    assert run.core.account.unsettled_discrepancies == ()


def test_a_failed_position_query_is_not_flat(corpus: Corpus) -> None:
    run = corpus("position-query-fails")
    assert given(run, RequestFailed) >= 1
    assert asked(run, "clearinghouseState") >= 3
    assert run.positions[PAIR].amount == Decimal("0.01")
    assert [event.topic for event in run.events].count("order.filled") == 1
    assert run.core.readiness == ()


def test_a_manual_trade_is_noticed(corpus: Corpus) -> None:
    run = corpus("manual-trade-on-the-venue")
    assert all(order.external for order in run.orders.values())
    assert sorted(order.state.value for order in run.orders.values()) == ["filled", "open"]
    assert run.positions[PAIR].amount == Decimal("0.02")
    assert sent(run) == []


def test_an_order_that_a_list_lacks_is_asked_for_and_not_cancelled(corpus: Corpus) -> None:
    run = corpus("open-orders-list-lacks-a-live-order")
    assert asked(run, "orderStatus") >= 1
    assert "order.cancelled" not in run.topics("bid")
    assert state(run, "bid") == ("open", Decimal(0))


def test_an_order_that_a_lagging_server_does_not_know_for_a_while_stays_open(corpus: Corpus) -> None:
    run = corpus("server-lags-behind-after-a-reconnect")
    assert run.topics("bid").count("order.not_found") == 4
    assert "order.cancelled" not in run.topics("bid")
    assert state(run, "bid") == ("open", Decimal(0))


def test_fills_of_another_bot_are_not_ours(corpus: Corpus) -> None:
    run = corpus("another-bot-on-the-account")
    created = [event for event in run.events if isinstance(event, OrderCreated)]
    assert [event.external for event in created] == [False, True]
    theirs = created[1].originator_id
    assert state(run, theirs) == ("filled", Decimal("0.03"))
    assert state(run, "bid") == ("filled", Decimal("0.01"))
    assert not {fill.fill_key for fill in run.fills("bid")} & {fill.fill_key for fill in run.fills(theirs)}


def test_an_agent_wallet_as_the_account_stops_everything(corpus: Corpus) -> None:
    run = corpus("agent-wallet-as-the-account")
    assert "is an agent" in run.core.halted_because
    assert "set venue.account to 0x" in run.core.halted_because
    assert not run.core.ready


def test_orders_of_a_sub_account_are_sent_for_it(corpus: Corpus) -> None:
    run = corpus("orders-of-a-sub-account")
    assert [request.acting_for for request in run.requests] == [run.core.account_address]
    assert state(run, "bid") == ("filled", Decimal("0.01"))


def test_a_session_that_is_ready_has_asked_and_heard_everything(corpus: Corpus) -> None:
    run = corpus("ready-to-trade")
    assert run.core.readiness == ()
    assert run.core.halted_because == ""
    assert (run.orders, sent(run), run.alerts) == ({}, [], [])


# -- the corpus as a whole -----------------------------------------------------------------------------------


def test_every_recording_can_be_made_again_and_its_outcome_is_asserted_here() -> None:
    committed = {path.stem for path in SESSIONS.glob("*.session")}
    asserted = set(re.findall(r'corpus\(\s*"([a-z0-9-]+)"', Path(__file__).read_text()))
    assert committed == SCENARIOS.keys() | FORMATS.keys()
    assert asserted == SCENARIOS.keys()


@pytest.mark.parametrize("path", sorted(SESSIONS.glob("*.session")), ids=lambda path: path.stem)
def test_a_recording_says_what_it_holds(path: Path) -> None:
    reader = SessionReader(path)
    scenario = (SCENARIOS | FORMATS)[path.stem]
    assert reader.header.note == scenario.holds


@pytest.mark.parametrize("path", sorted(SESSIONS.glob("*.session")), ids=lambda path: path.stem)
def test_an_answer_is_recorded_with_what_it_answers(path: Path) -> None:
    answers = [kept for kept in SessionReader(path) if isinstance(kept.item, RequestAnswered | RequestFailed)]
    assert answers
    assert all(kept.answers is not None for kept in answers)
    assert all(kept.answers.request_id == kept.item.request_id for kept in answers if kept.answers)  # type: ignore[union-attr]


def test_recordings_are_small() -> None:
    sizes = {path.stem: path.stat().st_size for path in SESSIONS.glob("*.session")}
    by_nature = {"restart-with-2100-orders", "more-fills-than-one-answer-lists"}
    large = {name for name, size in sizes.items() if size > 8_000}
    assert large <= by_nature
    assert sum(sizes.values()) < 500_000


def test_the_page_about_the_corpus_is_the_one_that_is_made_of_it() -> None:
    assert (SESSIONS / "README.md").read_text() == page(SCENARIOS | FORMATS)
