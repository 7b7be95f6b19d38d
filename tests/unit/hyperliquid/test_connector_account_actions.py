"""Requests that concern the account and no order: announced, settled, and for the right account."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.mark.parametrize("is_first_lost", [True, False])
def test_a_change_accepted_beside_a_lost_one_leaves_open_which_took_effect_last(is_first_lost: bool) -> None:
    core = CoreSession().ready()
    for leverage in (7, 5):
        core.connector.set_leverage("BTC-USD", leverage)
    core.step_commands()
    first, second = core.take_send("updateLeverage"), core.take_send("updateLeverage")
    lost, accepted = (first, second) if is_first_lost else (second, first)
    core.fail(lost, sent=True)
    core.answer(accepted, DONE)
    core.answers["activeAssetData"] = asset_data("cross", 5)
    core.advance(60)
    assert core.connector.position("BTC-USD").leverage == 5
    assert core.alert_codes() == ["account_action_unknown", "leverage_settled"]
    core.assert_consistent()


def test_a_lost_change_is_asked_about_between_an_acceptance_and_a_refusal() -> None:
    story = LeverageStory()
    for name in ("send", "send", "lost", "send", "accepted"):
        story.move(name, 0)
    story.end("refused")
    assert (story.open_since, story.settled) == ([], 1)


class LeverageStory:
    """Changes of one market's leverage in any order of sending, answers and questions.

    `open_since` are the times at which changes were lost that nothing has settled yet: neither a change that
    was sent later and accepted, nor an answer of the venue.
    """

    def __init__(self) -> None:
        self.core = CoreSession().ready()
        self.under_way: list[tuple[SendAction, int]] = []
        self.open_since: list[tuple[int, int]] = []
        self.settled = 0
        self.moves = 0

    def move(self, name: str, index: int) -> None:
        self.moves += 1
        if name == "send":
            self.core.connector.set_leverage("BTC-USD", 2 + self.moves % 20)
            self.core.step_commands()
        elif name in ("lost", "accepted", "refused"):
            if self.under_way:
                getattr(self, name)(*self.under_way.pop(index % len(self.under_way)))
        elif name == "told":
            self.told(asset_data("cross", 2 + index))
        elif name == "not told":
            self.told(None)
        else:
            self.core.advance(index * 4)
        self.look()

    def lost(self, sent: SendAction, sent_at: int) -> None:
        self.core.fail(sent, sent=True)
        self.open_since.append((self.moves, self.core.now_ms))

    def accepted(self, sent: SendAction, sent_at: int) -> None:
        self.core.answer(sent, DONE)
        self.open_since = [since for since in self.open_since if since[0] > sent_at]

    def refused(self, sent: SendAction, sent_at: int) -> None:
        self.core.answer_error("Cannot switch leverage type with open position.", request=sent)

    def told(self, payload: object) -> None:
        questions = [query for query in self.core.queries if query.body["type"] == "activeAssetData"]
        if questions:
            self.core.queries.remove(questions[0])
            if payload is None:
                self.core.fail(questions[0])
            else:
                self.core.answer(questions[0], payload)

    def look(self) -> None:
        """What has left, and what the core says is settled: never before it can no longer take effect."""
        self.under_way += [(sent, self.moves) for sent in self.core.sends]
        self.core.sends.clear()
        settled = self.core.alert_codes().count("leverage_settled")
        if settled > self.settled:
            assert all(self.core.now_ms - at_ms >= 15_000 for _, at_ms in self.open_since)
            self.open_since.clear()
        self.settled = settled

    def end(self, last: str) -> None:
        """All that is still under way ends so, and the venue tells what it is asked."""
        while self.under_way:
            self.move(last, 0)
        self.core.answers["activeAssetData"] = asset_data("cross", 9)
        self.core.answer_reads()
        self.core.advance(60)
        self.look()


_ANSWERS = st.sampled_from(["lost", "accepted", "refused"])
_MOVES = st.sampled_from(["send", "lost", "accepted", "refused", "told", "not told", "time passes"])


@settings(deadline=None, max_examples=150)
@given(moves=st.lists(st.tuples(_MOVES, st.integers(0, 5)), min_size=4, max_size=25), last=_ANSWERS)
def test_every_lost_change_of_leverage_is_settled_however_they_interleave(
    moves: list[tuple[str, int]], last: str
) -> None:
    story = LeverageStory()
    story.move("send", 0)
    story.move("send", 0)
    for name, index in moves:
        story.move(name, index)
    story.end(last)
    assert story.open_since == []
    assert story.core.queries == []
    story.core.assert_consistent()


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
