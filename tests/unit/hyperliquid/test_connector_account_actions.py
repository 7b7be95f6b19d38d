"""Requests that concern the account and no order: announced, settled, and for the right account."""

from __future__ import annotations

from decimal import Decimal

import pytest

from domain.effects import SendAction
from domain.enums import RequestOutcome, Source
from domain.events import AccountActionRequested, AccountActionSettled, AccountLeverageChanged
from domain.inputs import StreamConnected
from tests.support.core import ACCOUNT, MASTER, START_MS, CoreSession

DONE = {"status": "ok", "response": {"type": "default"}}


def asked_for_leverage() -> tuple[CoreSession, SendAction]:
    core = CoreSession().ready()
    core.connector.set_leverage("BTC-USD", 7, is_cross=False)
    core.step_commands()
    return core, core.take_send("updateLeverage")


def settled(core: CoreSession) -> AccountActionSettled:
    (event,) = core.events_of(AccountActionSettled)
    assert isinstance(event, AccountActionSettled)
    return event


def test_a_change_of_leverage_is_announced_before_it_leaves() -> None:
    core, send = asked_for_leverage()
    (announced,) = core.events_of(AccountActionRequested)
    assert core.effects[-1] == send
    assert announced.action == "updateLeverage"
    assert announced.nonce == send.nonce
    assert announced.expires_at_ms == send.expires_at_ms is not None
    assert announced.detail == '{"type":"updateLeverage","asset":0,"isCross":false,"leverage":7}'


def test_an_accepted_change_is_a_fact() -> None:
    core, send = asked_for_leverage()
    core.answer(send, DONE)
    assert settled(core).outcome is RequestOutcome.ACCEPTED
    (changed,) = core.events_of(AccountLeverageChanged)
    assert (changed.leverage, changed.is_cross) == (7, False)
    assert core.connector.position("BTC-USD").leverage == 7
    core.assert_consistent()


def test_a_refused_change_changes_nothing_and_is_said() -> None:
    core, send = asked_for_leverage()
    core.answer_error("Cannot switch leverage type with open position.", request=send)
    event = settled(core)
    assert (event.outcome, event.reason_code) == (RequestOutcome.REFUSED, "leverage_type_with_position")
    assert core.events_of(AccountLeverageChanged) == []
    assert "account_action_refused" in core.alert_codes()


def test_a_change_without_an_answer_is_unknown_and_not_sent_again() -> None:
    core, send = asked_for_leverage()
    core.fail(send, sent=True)
    assert settled(core).outcome is RequestOutcome.UNKNOWN
    assert "account_action_unknown" in core.alert_codes()
    core.advance(120)
    assert core.sends == []
    core.positions = [
        {"coin": "BTC", "szi": "0.1", "entryPx": "1.0", "leverage": {"type": "isolated", "value": 7}}
    ]
    core.lose_stream()
    core.step(StreamConnected(stream="user"))
    assert core.connector.position("BTC-USD").leverage == 7, "the next look at the account tells"


def asset_data(kind: str, value: int, coin: str = "BTC") -> dict[str, object]:
    return {"user": ACCOUNT, "coin": coin, "leverage": {"type": kind, "value": value}, "markPx": "43210.0"}


def lost_change() -> CoreSession:
    core, send = asked_for_leverage()
    core.fail(send, sent=True)
    return core


def test_the_leverage_of_a_flat_market_is_asked_for_once_a_lost_change_can_no_longer_take_effect() -> None:
    core = lost_change()
    asked: list[int] = []

    def said(body: dict[str, object]) -> object:
        asked.append(core.now_ms - START_MS)
        assert (body["user"], body["coin"]) == (ACCOUNT, "BTC")
        return asset_data("isolated", 7)

    core.answers["activeAssetData"] = said
    core.advance(14.9)
    assert asked == []
    core.advance(600)
    assert asked == [15_000]
    (changed,) = core.events_of(AccountLeverageChanged)
    assert (changed.leverage, changed.is_cross, changed.source) == (7, False, Source.QUERY)
    assert core.connector.position("BTC-USD").leverage == 7
    assert core.alert_codes() == ["account_action_unknown", "leverage_settled"]
    core.assert_consistent()


def test_a_refusal_that_is_no_proof_is_asked_about_as_well() -> None:
    core, send = asked_for_leverage()
    core.answer_error("Invalid nonce: duplicate nonce 1700000000000", request=send)
    core.answers["activeAssetData"] = asset_data("isolated", 7)
    core.advance(30)
    assert core.connector.position("BTC-USD").leverage == 7


def test_a_lost_change_that_changed_nothing_is_settled_without_an_event() -> None:
    core, send = asked_for_leverage()
    core.answer(send, DONE)
    core.connector.set_leverage("BTC-USD", 9)
    core.step_commands()
    core.fail(core.take_send("updateLeverage"), sent=True)
    core.answers["activeAssetData"] = asset_data("isolated", 7)
    core.advance(30)
    assert len(core.events_of(AccountLeverageChanged)) == 1
    assert core.alert_codes()[-1] == "leverage_settled"


@pytest.mark.parametrize("unusable", [None, {"leverage": 7}, asset_data("isolated", 7, coin="ETH")])
def test_a_leverage_that_is_not_told_is_asked_for_again(unusable: object) -> None:
    core = lost_change()
    core.answers["activeAssetData"] = unusable
    core.advance(60)
    assert core.events_of(AccountLeverageChanged) == []
    core.answers["activeAssetData"] = asset_data("cross", 20)
    core.advance(15)
    assert core.connector.position("BTC-USD").leverage == 20


@pytest.mark.parametrize("time_ms", [START_MS, None])
def test_the_leverage_is_not_asked_for_before_the_venue_s_own_clock_has_passed_the_expiry(
    time_ms: int | None,
) -> None:
    core = lost_change()
    core.answers["exchangeStatus"] = None if time_ms is None else {"time": time_ms}
    core.advance(120)
    assert not any(query.body["type"] == "activeAssetData" for query in core.queries)
    core.answers["exchangeStatus"] = lambda body: {"time": core.now_ms}
    core.advance(15)
    assert core.take_query("activeAssetData").body["coin"] == "BTC"


def test_a_later_change_that_is_accepted_settles_a_lost_one() -> None:
    core = lost_change()
    core.advance(15)
    question = core.take_query("activeAssetData")
    core.connector.set_leverage("BTC-USD", 3)
    core.step_commands()
    core.answer(core.take_send("updateLeverage"), DONE)
    core.answer(question, asset_data("isolated", 7))
    core.advance(60)
    assert core.connector.position("BTC-USD").leverage == 3
    assert core.queries == []


def test_a_later_change_that_is_refused_leaves_a_lost_one_to_be_asked_for() -> None:
    core = lost_change()
    core.connector.set_leverage("BTC-USD", 3)
    core.step_commands()
    core.answer_error("Cannot switch leverage type with open position.")
    core.answers["activeAssetData"] = asset_data("isolated", 7)
    core.advance(30)
    assert core.connector.position("BTC-USD").leverage == 7


def test_a_session_of_a_version_that_did_not_ask_for_leverage_is_repeated_without_asking() -> None:
    core = CoreSession(options={"asks_leverage": False}).ready()
    core.connector.set_leverage("BTC-USD", 7)
    core.step_commands()
    core.fail(core.take_send("updateLeverage"), sent=True)
    core.advance(120)
    assert core.queries == []


def test_a_change_that_certainly_did_not_leave_is_refused() -> None:
    core, send = asked_for_leverage()
    core.fail(send, "connection_refused", sent=False)
    event = settled(core)
    assert (event.outcome, event.reason_code) == (RequestOutcome.REFUSED, "not_sent")


def test_an_answer_that_makes_no_sense_leaves_it_unknown() -> None:
    core, send = asked_for_leverage()
    core.answer_orders({"resting": {"oid": 5}}, request=send)
    assert settled(core).outcome is RequestOutcome.UNKNOWN


def test_margin_and_the_dead_man_s_switch_are_announced_as_well() -> None:
    core = CoreSession().ready()
    core.connector.update_isolated_margin("BTC-USD", Decimal("2.5"))
    core.connector.schedule_cancel(core.now_ms + 60_000)
    core.step_commands()
    assert [event.action for event in core.events_of(AccountActionRequested)] == [
        "updateIsolatedMargin",
        "scheduleCancel",
    ]


def test_nothing_leaves_before_it_is_known_for_whom() -> None:
    core = CoreSession(signer=MASTER)
    del core.answers["userRole"]
    core.begin()
    core.connector.set_leverage("BTC-USD", 3)
    core.step_commands()
    assert core.sends == []
    core.answers["userRole"] = {"role": "subAccount", "data": {"master": MASTER}}
    core.answer(core.take_query("userRole"), {"role": "subAccount", "data": {"master": MASTER}})
    assert core.take_send("updateLeverage").acting_for == ACCOUNT


def test_an_order_of_a_market_on_another_dex_stops_no_cancel_of_the_others() -> None:
    core = CoreSession().ready()
    ours = core.open(1001)
    core.status(7, "open", coin="xyz:GOLD")
    assert core.connector.tracker.live_count == 2
    core.connector.cancel_all()
    core.step_commands()
    assert core.take_send("cancelByCloid").action["cancels"] == [
        {"asset": 0, "cloid": core.order(ours).venue_order_key}
    ]
    assert "cancel_impossible" in core.alert_codes()


def test_what_has_to_leave_in_time_goes_by_our_clock_though_the_venue_s_differs() -> None:
    core = CoreSession()
    core.answers["exchangeStatus"] = lambda body: {"time": core.now_ms - 60_000}
    core.ready()
    core.buy()
    send = core.take_send("order")
    ttl_ms = core.options.order_ttl_ms
    assert send.expires_at_ms == core.now_ms - 60_000 + ttl_ms
    assert send.send_before_ns == (core.now_ms + ttl_ms) * 1_000_000
