"""How the core establishes the truth: start-up, whose account it is, recovery, and restarts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from domain.effects import ConnectStreams
from domain.errors import NotReadyError, TradingHaltedError
from domain.event_codec import encode_events
from domain.events import (
    AccountFundingBooked,
    AccountLeverageChanged,
    AccountOpened,
    AccountPositionAsserted,
    OrderFilled,
)
from tests.support.core import (
    ACCOUNT,
    BOOKS_BEGIN_MS,
    MASTER,
    META,
    START_MS,
    TRADER,
    CoreSession,
    fill_row,
    open_order_row,
    order_status_answer,
)


def position(coin: str, size: str, entry: str | None = "40000.0", leverage: int = 10) -> dict[str, Any]:
    return {"coin": coin, "szi": size, "entryPx": entry, "leverage": {"type": "cross", "value": leverage}}


# -- start-up ------------------------------------------------------------------------------------------------


def test_a_core_becomes_ready_once_market_account_streams_books_and_recovery_are_there() -> None:
    core = CoreSession()
    assert core.connector.readiness == ("start",)
    core.begin()
    assert set(core.connector.readiness) == {
        *("user_stream", "recovery", "reconciliation"),
        *("book of BTC-USD", "book of ETH-USD"),
    }
    core.connect()
    assert set(core.connector.readiness) == {"book of BTC-USD", "book of ETH-USD"}
    core.best("BTC")
    assert core.connector.readiness == ("book of ETH-USD",)
    core.best("ETH")
    assert core.connector.ready
    core.assert_consistent()


def test_streams_are_subscribed_for_the_account_and_every_market() -> None:
    core = CoreSession().begin()
    assert core.streams["user"] == tuple(
        {"type": kind, "user": ACCOUNT}
        for kind in (
            "orderUpdates",
            "userEvents",
            "userFills",
            "userFundings",
            "userNonFundingLedgerUpdates",
        )
    )
    assert {"type": "bbo", "coin": "ETH"} in core.streams["market"]
    assert sum(isinstance(effect, ConnectStreams) for effect in core.effects) == 1


def test_orders_are_refused_until_the_truth_is_established() -> None:
    core = CoreSession().begin()
    with pytest.raises(NotReadyError, match="recovery"):
        core.buy()
    assert core.events_of(OrderFilled) == []


def test_an_agent_given_as_account_halts_and_names_the_account_to_use() -> None:
    core = CoreSession(account=TRADER, signer=TRADER)
    core.answers["userRole"] = {"role": "agent", "data": {"user": MASTER}}
    core.begin()
    core.connect()
    core.books()
    assert not core.connector.ready
    assert MASTER in core.connector.halted_because
    with pytest.raises(TradingHaltedError, match=MASTER):
        core.buy()
    assert core.alerts[0].level == "error"


def test_an_agent_of_the_account_may_sign_for_it() -> None:
    roles = {ACCOUNT: {"role": "user"}, TRADER: {"role": "agent", "data": {"user": ACCOUNT}}}
    core = CoreSession(signer=TRADER)
    core.answers["userRole"] = lambda body: roles[body["user"]]
    core.ready()
    core.buy()
    assert core.take_send().acting_for is None


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ({"role": "agent", "data": {"user": MASTER}}, f"an agent of {MASTER}"),
        ({"role": "missing"}, "no approved agent"),
        ({"role": "user"}, "no approved agent"),
    ],
)
def test_a_signer_that_may_not_trade_for_the_account_halts_and_says_why(
    role: dict[str, Any], said: str
) -> None:
    roles = {ACCOUNT: {"role": "user"}, TRADER: role}
    core = CoreSession(signer=TRADER)
    core.answers["userRole"] = lambda body: roles[body["user"]]
    core.begin()
    assert said in core.connector.halted_because
    assert TRADER in core.connector.halted_because


def test_orders_of_a_sub_account_say_whom_they_are_for() -> None:
    core = CoreSession(signer=MASTER)
    core.answers["userRole"] = {"role": "subAccount", "data": {"master": MASTER}}
    core.ready()
    order = core.buy()
    assert core.take_send().acting_for == ACCOUNT
    core.cancel(order)
    assert core.take_send("cancelByCloid").acting_for == ACCOUNT


def test_a_vault_is_traded_by_its_leader_or_an_agent() -> None:
    for leader in ({"role": "user"}, {"role": "agent", "data": {"user": MASTER}}):
        roles = {ACCOUNT: {"role": "vault"}, TRADER: leader}
        core = CoreSession(signer=TRADER)
        core.answers["userRole"] = lambda body, roles=roles: roles[body["user"]]
        core.ready()
        core.buy()
        assert core.take_send().acting_for == ACCOUNT


def test_an_account_the_venue_does_not_know_is_said_loudly_and_watched_all_the_same() -> None:
    core = CoreSession()
    core.answers["userRole"] = {"role": "missing"}
    core.ready()
    assert [alert.code for alert in core.alerts if alert.level == "error"] == ["account_missing"]


def test_a_market_the_venue_does_not_list_halts_and_names_what_is_near() -> None:
    core = CoreSession(pairs=("BTC-USDC",))
    core.begin()
    assert "BTC-USDC (near: BTC-USD)" in core.connector.halted_because


def test_a_core_without_a_signer_watches() -> None:
    core = CoreSession(signer=None).ready()
    assert core.connector.ready


def test_reads_without_an_answer_are_asked_again_until_there_is_one() -> None:
    core = CoreSession()
    payloads = iter([None, "no meta at all", META])
    core.answers["meta"] = lambda body: next(payloads)
    core.begin()
    assert "metadata" in core.connector.readiness
    core.advance(2)
    assert "unreadable_metadata" in core.alert_codes()
    core.advance(2)
    assert "metadata" not in core.connector.readiness
    core.assert_consistent()


def test_one_unreadable_metadata_answer_does_not_leave_the_core_waiting_for_ever() -> None:
    core = CoreSession(pairs=("BTC-USD",))
    first = iter(["nonsense"])
    core.answers["meta"] = lambda body: next(first, META)
    core.begin()
    core.advance(4)
    assert core.streams


def test_a_clock_far_from_the_venues_is_an_alert() -> None:
    core = CoreSession()
    core.answers["exchangeStatus"] = lambda body: {"time": core.now_ms - 5_000}
    core.ready()
    assert "clock_skew" in core.alert_codes()
    core.buy()
    assert core.take_send().expires_at_ms == core.now_ms - 5_000 + 10_000


# -- opening the books ---------------------------------------------------------------------------------------


def test_a_new_ledger_opens_with_what_the_account_holds() -> None:
    core = CoreSession()
    core.positions = [position("BTC", "-0.5"), position("kPEPE", "1000.0", None)]
    core.ready()
    (opened,) = core.events_of(AccountOpened)
    assert opened.exchange_time_ms == BOOKS_BEGIN_MS
    asserted = core.events_of(AccountPositionAsserted)
    assert [(event.trading_pair, event.amount, event.opening) for event in asserted] == [
        ("BTC-USD", Decimal("-0.5"), True),
        ("kPEPE-USD", Decimal("1000.0"), True),
    ]
    assert core.connector.position("BTC-USD").amount == Decimal("-0.5")
    assert core.connector.position("BTC-USD").leverage == 10
    core.assert_consistent()


def test_fills_and_funding_from_before_the_books_are_not_booked() -> None:
    core = CoreSession()
    core.fills = [fill_row(5, 1, "0.1", time_ms=BOOKS_BEGIN_MS - 10), fill_row(5, 2, "0.2")]
    core.begin()
    core.show_fills(core.fills, channel="userFills")  # before anybody knows when the books begin
    core.connect()
    core.books()
    assert core.connector.ready
    assert [query.body["oid"] for query in core.queries] == [5]
    core.answer(core.take_query("orderStatus"), {"status": "unknownOid"})
    booked = core.events_of(OrderFilled)
    assert [event.fill.trade_id for event in booked] == ["2"]


def test_a_message_kept_before_the_books_open_does_not_stop_them_from_opening() -> None:
    core = CoreSession().begin()
    core.raw_frame(b"\xff garbage")
    core.connect()
    assert core.account_topics() == [
        "account.message_kept",
        "account.opened",
        "account.balance_asserted",
    ]


def test_an_account_on_several_dexes_opens_with_the_positions_of_all() -> None:
    core = CoreSession(pairs=("BTC-USD", "xyz:TSLA-USD"))
    tesla = {"universe": [{"name": "xyz:TSLA", "szDecimals": 3, "maxLeverage": 10}]}
    held = {"": [position("BTC", "1.0")], "xyz": [position("xyz:TSLA", "2.0")]}
    core.answers["perpDexs"] = [None, {"name": "xyz"}]
    core.answers["meta"] = lambda body: tesla if body.get("dex") == "xyz" else META

    def state(body: dict[str, Any]) -> dict[str, Any]:
        core.positions = held[body.get("dex", "")]
        return core.account_state()

    core.answers["clearinghouseState"] = state
    core.begin()
    core.connect()
    assert core.connector.position("BTC-USD").amount == 1
    assert core.connector.position("xyz:TSLA-USD").amount == 2
    assert len(core.events_of(AccountOpened)) == 1


def test_the_history_of_a_new_ledger_is_asked_for_from_where_its_books_begin() -> None:
    core = CoreSession()
    starts: list[int] = []
    core.answers["userFillsByTime"] = lambda body: starts.append(body["startTime"]) or []
    core.ready()
    assert starts == [BOOKS_BEGIN_MS - 60_000]


def test_leverage_found_to_differ_is_recorded_once() -> None:
    core = CoreSession()
    core.positions = [position("BTC", "1.0", leverage=7)]
    core.ready()
    core.lose_stream()
    core.connect()
    assert [(e.trading_pair, e.leverage) for e in core.events_of(AccountLeverageChanged)] == [("BTC-USD", 7)]


# -- a stream is lost ----------------------------------------------------------------------------------------


def test_a_lost_user_stream_stops_trading_until_the_gap_is_recovered() -> None:
    core = CoreSession().ready()
    del core.answers["frontendOpenOrders"]
    core.lose_stream()
    assert "stream_lost" in core.alert_codes()
    with pytest.raises(NotReadyError, match="user_stream"):
        core.buy()
    core.connect()
    assert core.connector.readiness == ("recovery",)
    core.answer(core.take_query("frontendOpenOrders"), [])
    assert core.connector.ready
    assert core.connector.status()["reconnects"] == 1


def test_an_answer_to_a_recovery_that_was_interrupted_does_not_count() -> None:
    core = CoreSession().ready()
    del core.answers["frontendOpenOrders"]
    core.lose_stream()
    core.connect()
    stale = core.take_query("frontendOpenOrders")
    core.lose_stream()
    core.connect()
    core.answer(stale, [])
    assert core.connector.readiness == ("recovery",)
    core.answer(core.take_query("frontendOpenOrders"), [])
    assert core.connector.ready


def test_a_lost_market_stream_makes_its_prices_count_as_unknown_until_they_come_again() -> None:
    core = CoreSession().ready()
    core.lose_stream("market")
    assert set(core.connector.readiness) == {"book of BTC-USD", "book of ETH-USD"}
    with pytest.raises(NotReadyError, match="book of BTC-USD"):
        core.buy()
    core.books()
    assert core.connector.ready


def test_fills_of_the_gap_are_asked_for_even_when_the_newest_came_first() -> None:
    core = CoreSession().ready()
    order = core.open(1001)
    core.fill(1001, 1, "0.1", time_ms=START_MS + 1_000)
    core.lose_stream()
    missed = fill_row(1001, 2, "0.2", time_ms=START_MS + 100_000)
    core.fills.append(missed)
    core.now_ns += 400_000_000_000
    # After the reconnect the stream tells a new fill before the recovery has asked for anything.
    core.fill(1001, 3, "0.3", time_ms=START_MS + 399_000)
    core.open_orders = [open_order_row(1001, cloid=order)]
    core.connect()
    assert core.order(order).filled_amount == Decimal("0.6")
    assert core.connector.ready


def test_fills_are_paged_past_the_two_thousand_rows_the_venue_answers_at_most() -> None:
    core = CoreSession()
    core.answers["orderStatus"] = {"status": "unknownOid"}
    rows = [fill_row(5, tid, "0.001", time_ms=START_MS + tid // 3) for tid in range(4_500)]
    starts: list[int] = []

    def page(body: dict[str, Any]) -> list[dict[str, Any]]:
        starts.append(body["startTime"])
        return [row for row in rows if row["time"] >= body["startTime"]][:2_000]

    core.answers["userFillsByTime"] = page
    core.now_ns += 10_000_000_000
    core.ready()
    assert len(core.events_of(OrderFilled)) == 4_500
    # Each page begins at the last instant of the one before, because many fills share one.
    assert starts == [BOOKS_BEGIN_MS - 60_000, START_MS + 666, START_MS + 1_332]


def test_a_full_page_of_one_instant_does_not_stop_the_paging() -> None:
    core = CoreSession()
    core.answers["orderStatus"] = {"status": "unknownOid"}
    rows = [fill_row(5, tid, "0.001", time_ms=START_MS) for tid in range(2_000)]
    rows.append(fill_row(5, 9_999, "0.001", time_ms=START_MS + 1))

    def page(body: dict[str, Any]) -> list[dict[str, Any]]:
        return [row for row in rows if row["time"] >= body["startTime"]][:2_000]

    core.answers["userFillsByTime"] = page
    core.ready()
    assert len(core.events_of(OrderFilled)) == 2_001


@pytest.mark.parametrize(
    "kind",
    [
        "frontendOpenOrders",
        "userFillsByTime",
        "userFunding",
        "userNonFundingLedgerUpdates",
        "clearinghouseState",
    ],
)
@pytest.mark.parametrize("answer", [None, {"unexpected": True}])
def test_a_failed_read_is_never_an_empty_answer(kind: str, answer: object) -> None:
    core = CoreSession()
    good = core.answers.pop(kind)
    core.begin()
    core.connect()
    core.books()
    query = core.take_query(kind)
    if answer is None:
        core.fail(query, "connection reset")
    else:
        core.answer(query, answer)
        assert "unreadable_answer" in core.alert_codes()
    assert core.connector.readiness == ("recovery", "reconciliation")
    core.answers[kind] = good
    core.advance(2)
    assert core.connector.ready


def test_a_positions_query_that_failed_is_not_taken_for_flat() -> None:
    core = CoreSession()
    core.positions = [position("BTC", "1.5")]
    core.ready()
    core.answers["clearinghouseState"] = None
    core.lose_stream()
    del core.answers["clearinghouseState"]
    core.connect()
    core.fail(core.take_query("clearinghouseState"))
    assert core.connector.position("BTC-USD").amount == Decimal("1.5")
    assert not core.connector.ready


# -- restarts ------------------------------------------------------------------------------------------------


def test_an_order_that_was_never_sent_fails_at_the_restart_and_is_not_placed_again() -> None:
    core = CoreSession().ready()
    core.exhaust_budget()
    order = core.buy()
    assert core.state(order) == "pending_create"
    again = core.restarted().ready()
    assert again.topics(order)[-1] == "order.failed"
    assert again.view(order).reason_code == "not_sent_restart"
    assert again.sends == []
    again.assert_consistent()


def test_a_submit_without_an_answer_is_unknown_after_a_restart_and_asked_about() -> None:
    core = CoreSession().ready()
    order = core.buy()
    again = core.restarted()
    again.answers["orderStatus"] = lambda body: order_status_answer(1001, "open", cloid=order)
    again.ready()
    assert again.topics(order)[-2:] == ["order.submit_unknown", "order.acknowledged"]
    assert again.state(order) == "open"
    assert again.sends == []
    again.assert_consistent()


def test_an_open_order_is_open_after_a_restart_and_nothing_is_invented_about_it() -> None:
    core = CoreSession().ready()
    order = core.open(1001)
    core.fill(1001, 1, "0.4")
    again = core.restarted()
    again.open_orders = [open_order_row(1001, cloid=order, remaining="0.6")]
    again.ready()
    assert [event.topic for event in again.events] == ["account.position_asserted"]
    assert again.view(order).filled_amount == Decimal("0.4")
    assert again.connector.position("BTC-USD").amount == Decimal("0.4")


def test_an_order_that_filled_while_the_process_was_down_is_found_filled() -> None:
    core = CoreSession().ready()
    order = core.open(1001)
    core.fill(1001, 1, "0.4")
    again = core.restarted()
    again.fills.append(fill_row(1001, 2, "0.6", time_ms=START_MS + 30_000))
    again.ready()
    assert again.state(order) == "filled"
    assert again.connector.position("BTC-USD").amount == 1


def test_an_order_called_filled_before_the_restart_gets_its_missing_fill_searched() -> None:
    core = CoreSession().ready()
    order = core.open(1001)
    core.fill(1001, 1, "0.4", time_ms=START_MS + 900)
    core.status(1001, "filled", cloid=order, remaining="0.0")
    core.fill(1002, 7, "1", time_ms=START_MS + 500_000)
    core.answer(core.take_query("orderStatus"), order_status_answer(1002, "filled", remaining="0.0"))
    again = core.restarted(
        open_orders=(encode_events(core.stored[order]),), last_fill_time_ms=START_MS + 500_000
    )
    again.fills.append(fill_row(1001, 2, "0.6", cloid=order, time_ms=START_MS + 1_000))
    again.now_ns += 600_000_000_000
    again.ready()
    assert again.order(order).missing_fill_amount == 0


def test_an_order_cancelled_while_the_process_was_down_is_found_cancelled() -> None:
    core = CoreSession().ready()
    order = core.open(1001)
    again = core.restarted()
    again.answers["orderStatus"] = lambda body: order_status_answer(1001, "marginCanceled", cloid=order)
    again.ready()
    assert (again.state(order), again.view(order).reason_code) == ("cancelled", "insufficient_margin")


def test_a_cancel_under_way_at_the_crash_is_sent_again_when_the_order_is_still_open() -> None:
    core = CoreSession().ready()
    order = core.open(1001)
    core.cancel(order)
    again = core.restarted()
    again.open_orders = [open_order_row(1001, cloid=order)]
    again.answers["orderStatus"] = lambda body: order_status_answer(1001, "open", cloid=order)
    again.ready()
    assert "order.cancel_unknown" in again.topics(order)
    assert again.take_send("cancelByCloid").action["cancels"] == [{"asset": 0, "cloid": order}]
    assert again.state(order) == "pending_cancel"


def test_an_amend_under_way_at_the_crash_is_settled_by_what_the_venue_shows() -> None:
    core = CoreSession().ready()
    order = core.open(1001)
    core.amend(order, "43000", "2")
    again = core.restarted()
    again.open_orders = [open_order_row(1002, cloid=order, price="43000.0", size="2.0")]
    again.answers["orderStatus"] = lambda body: order_status_answer(1002, "open", cloid=order)
    again.ready()
    assert (again.state(order), again.view(order).price, again.view(order).amount) == ("open", 43000, 2)
    assert not again.order(order).outcome_unknown


def test_an_order_placed_elsewhere_is_known_again_after_a_restart() -> None:
    core = CoreSession().ready()
    core.status(7, "open", cloid="0x" + "9" * 32)
    external = "external:hyperliquid:7"
    again = core.restarted()
    again.open_orders = [open_order_row(7, cloid="0x" + "9" * 32)]
    again.ready()
    assert again.events == []
    assert again.state(external) == "open"


def test_fills_of_orders_that_left_memory_long_ago_are_not_booked_again_after_a_restart() -> None:
    core = CoreSession().ready()
    order = core.open(1001)
    core.fill(1001, 1, "1", cloid=order)
    foreign = fill_row(7, 2, "0.5", cloid="0x" + "9" * 32)
    core.fills.append(foreign)
    core.show_fills([foreign])
    core.answer(core.take_query("orderStatus"), order_status_answer(7, "filled", size="0.5", remaining="0.0"))
    assert core.state("external:hyperliquid:7") == "filled"
    again = core.restarted(recent_fill_keys=())
    again.answers["orderStatus"] = lambda body: order_status_answer(
        7, "filled", size="0.5", remaining="0.0", cloid="0x" + "9" * 32
    )
    again.begin()
    again.show_fills(again.fills, channel="userFills")
    again.connect()
    again.books()
    assert again.connector.ready
    assert again.events_of(OrderFilled) == []
    assert again.connector.position("BTC-USD").amount == Decimal("1.5")


def test_funding_of_an_earlier_session_is_booked_once() -> None:
    funding = {
        "time": START_MS + 3_600_000,
        "coin": "BTC",
        "usdc": "-1.5",
        "szi": "1.0",
        "fundingRate": "0.0000125",
    }
    core = CoreSession().ready()
    core.frame("user", {"funding": funding})
    (booked,) = core.events_of(AccountFundingBooked)
    again = core.restarted(
        recent_funding_keys=(booked.funding_key,),
        last_funding_time_ms=booked.exchange_time_ms,
    ).ready()
    again.frame("userFundings", {"user": ACCOUNT, "isSnapshot": True, "fundings": [funding]})
    assert again.events_of(AccountFundingBooked) == []


def test_a_nonce_is_never_used_twice_across_restarts() -> None:
    core = CoreSession().ready()
    core.buy()
    nonce = core.take_send().nonce
    again = core.restarted()
    again.now_ns = core.now_ns - 10_000_000_000
    again.answers["orderStatus"] = None
    again.ready()
    again.buy()
    assert again.take_send("order").nonce > nonce
