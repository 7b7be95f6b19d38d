"""What the core asks for and sends, counted: nothing starves, and no question comes ever more often."""

from __future__ import annotations

from domain.effects import Query, SendAction
from domain.inputs import StreamConnected
from tests.support.core import START_MS, CoreSession, open_order_row

MINUTE = 60


def asked(core: CoreSession, kind: str) -> int:
    return sum(isinstance(effect, Query) and effect.body["type"] == kind for effect in core.effects)


def reconnect(core: CoreSession) -> None:
    core.lose_stream()
    core.step(StreamConnected(stream="user"))


def with_orders(count: int) -> CoreSession:
    """That many open orders, which the venue lists as long as nobody changes `frontendOpenOrders`."""
    core = CoreSession()
    core.answers["userRateLimit"] = {"nRequestsUsed": 0, "nRequestsCap": 1_000_000}
    core.answers["frontendOpenOrders"] = lambda body: [
        open_order_row(int(order.exchange_order_id or 0), cloid=order.venue_order_key)
        for order in core.connector.tracker.live_orders()
        if order.exchange_order_id is not None
    ]
    core.ready()
    oid = 1_000
    for _ in range(count):
        core.buy()
        while core.sends:
            send = core.take_send("order")
            rows = [{"resting": {"oid": (oid := oid + 1)}} for _ in send.action["orders"]]
            core.answer_orders(*rows, request=send)
        core.advance(0.1)
    core.advance(2 * MINUTE)
    assert core.connector.tracker.live_count == count
    assert core.queries == []
    return core


def lose_all_orders(core: CoreSession, history: object = ()) -> None:
    """The venue lists none of the orders any more, and the stream has told nothing."""
    core.answers["frontendOpenOrders"] = []
    core.answers["historicalOrders"] = history
    reconnect(core)


def test_reconnecting_often_does_not_make_the_core_ask_more_often() -> None:
    core = CoreSession().ready()
    for _ in range(20):
        reconnect(core)
        core.advance(1)
    core.advance(2 * MINUTE)
    before = asked(core, "frontendOpenOrders")
    core.advance(10 * MINUTE)
    assert asked(core, "frontendOpenOrders") - before == 10


def test_a_sweep_that_falls_into_an_outage_is_not_the_last() -> None:
    core = CoreSession().ready()
    core.lose_stream()
    core.advance(3 * MINUTE)
    core.step(StreamConnected(stream="user"))
    before = asked(core, "frontendOpenOrders")
    core.advance(3 * MINUTE)
    assert asked(core, "frontendOpenOrders") > before


def test_orders_and_recovery_go_ahead_while_hundreds_of_orders_are_asked_about() -> None:
    core = with_orders(600)
    lose_all_orders(core)
    statuses = asked(core, "orderStatus")
    assert 100 < statuses < 600, "as many as the patient half of the weight permits, not all at once"
    assert core.connector.ready, "recovery did not wait behind them"
    sends = len(core.sends)
    for _ in range(20):
        core.buy()
    assert len(core.sends) > sends, "orders did not wait behind them"
    core.cancel(next(iter(core.connector.tracker.live_orders())).id)
    assert any(isinstance(effect, SendAction) and effect.urgent for effect in core.effects)


def test_the_ends_of_hundreds_of_missing_orders_are_learned_from_one_answer() -> None:
    core = with_orders(200)
    history = [
        core.status_row(
            int(order.exchange_order_id or 0), status, cloid=order.venue_order_key, time_ms=START_MS + 90_000
        )
        for order in list(core.connector.tracker.live_orders())[:190]
        for status in ("scheduledCancel", "open")
    ]
    asked_before = asked(core, "orderStatus")
    lose_all_orders(core, history)
    assert core.connector.tracker.live_count == 10
    assert asked(core, "orderStatus") - asked_before == 10
    core.assert_consistent()


def test_a_history_that_cannot_be_had_leaves_every_order_to_be_asked_about() -> None:
    core = with_orders(70)
    asked_before = asked(core, "orderStatus")
    lose_all_orders(core, None)
    assert asked(core, "orderStatus") - asked_before == 70
    assert core.connector.tracker.live_count == 70


def test_the_count_of_actions_is_the_venue_s_own() -> None:
    core = CoreSession(options={"weight_per_minute": 1_000_000})
    core.answers["userRateLimit"] = {"nRequestsUsed": 12_000, "nRequestsCap": 1_010_000}
    core.ready()
    for _ in range(5):
        core.buy()
    assert len(core.sends) == 5, "ten thousand actions are only what an account begins with"


def test_a_budget_used_up_elsewhere_slows_orders_down_and_is_looked_at_again() -> None:
    core = CoreSession()
    core.answers["userRateLimit"] = {"nRequestsUsed": 10_000, "nRequestsCap": 10_000}
    core.ready()
    for _ in range(3):
        core.buy()
    assert len(core.sends) == 1, "one action in ten seconds"
    before = asked(core, "userRateLimit")
    core.advance(11 * MINUTE)
    assert asked(core, "userRateLimit") == before + 1


def test_the_venue_s_clock_is_read_again_and_again() -> None:
    core = CoreSession().ready()
    core.answers["exchangeStatus"] = lambda body: {"time": core.now_ms + 7_000}
    core.advance(2 * MINUTE)
    core.buy()
    send = core.take_send("order")
    assert send.expires_at_ms == core.now_ms + 7_000 + core.options.order_ttl_ms
    assert core.alert_codes().count("clock_skew") == 1


def test_an_answer_that_was_long_on_its_way_is_not_taken_for_a_clock_that_is_off() -> None:
    core = CoreSession().ready()
    del core.answers["exchangeStatus"]
    core.advance(MINUTE + 1)
    query = core.take_query("exchangeStatus")
    told_ms = core.now_ms
    core.now_ns += 20_000_000_000  # the process was stopped meanwhile
    core.answer(query, {"time": told_ms})
    core.buy()
    assert core.take_send("order").expires_at_ms == core.now_ms + core.options.order_ttl_ms
    assert "clock_skew" not in core.alert_codes()
