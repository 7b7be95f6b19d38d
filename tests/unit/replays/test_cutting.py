"""Excerpts: what concerns the chosen orders and nothing else, and it replays by itself."""

from __future__ import annotations

import json

import pytest

from adapters.hyperliquid.replaying import make_core
from adapters.hyperliquid.rewriting import HyperliquidRewriter
from domain.connector_base import ConnectorBase, OrderRequest
from domain.enums import TradeType
from domain.event_codec import encode_events
from domain.inputs import (
    AmendOrder,
    CancelOrders,
    Input,
    PlaceOrders,
    RequestAnswered,
    Started,
    StreamConnected,
    StreamFrame,
    TimerFired,
)
from domain.money import parse_decimal
from domain.outcome import Outcome
from replays.cores import MakeCore
from replays.cutting import Lives, OrderNotRecordedError, cut_orders, cut_until, derived_header
from replays.inspecting import kind_of
from replays.order_keys import OrderKeys
from replays.recording import RecordedInput, SessionHeader
from replays.replaying import MemoryRecording, NotFromTheStartError, Replay
from replays.rewriting import Rewriter, RewritingError
from tests.support.core import CoreSession
from tests.support.recordings import busy_session, recording_of


def cut(
    recording: MemoryRecording, *orders: str, make_core: MakeCore = make_core
) -> tuple[MemoryRecording, Rewriter]:
    """An excerpt, in memory, and how it was made."""
    lives = Lives(recording, make_core)
    header = derived_header(recording.header, f"cut to {', '.join(orders)}")
    rewriter = cut_orders(
        recording, header, make_core, HyperliquidRewriter(), lives, [lives.of(order) for order in orders]
    )
    return MemoryRecording(header, rewriter), rewriter


def orders_in(recording: MemoryRecording) -> set[str]:
    """Every order that an event of the recording is of."""
    keys = OrderKeys()
    for each in recording:
        keys.learn(each)
    return set(keys.orders)


def topics(recording: MemoryRecording, order: str) -> list[str]:
    """The events of an order, by name."""
    keys = OrderKeys()
    return [
        event[0]
        for each in recording
        for event in each.events
        if order in keys.learn(RecordedInput(TimerFired(), (event,)))
    ]


def batch(session: CoreSession, count: int) -> tuple[str, ...]:
    """Orders placed in one request."""
    ids = session.connector.place(
        [
            OrderRequest(
                trading_pair="BTC-USD",
                trade_type=TradeType.BUY,
                amount=parse_decimal("1"),
                price=parse_decimal("43210"),
            )
            for _ in range(count)
        ]
    )
    session.step_commands()
    return ids


def test_an_excerpt_has_the_events_of_its_order_and_of_no_other() -> None:
    session = CoreSession().ready()
    first, second = session.open(1001), session.open(1002)
    session.fill(1001, 1, "0.4", cloid=session.order(first).venue_order_key)
    session.fill(1002, 2, "1", cloid=session.order(second).venue_order_key)
    session.cancel(first)
    session.answer_cancels("success")
    session.status(1001, "canceled", cloid=session.order(first).venue_order_key)
    recording = recording_of(session)
    excerpt, rewriter = cut(recording, first)
    assert Replay(excerpt).run().identical
    assert orders_in(excerpt) == {first}
    assert topics(excerpt, first) == topics(recording, first)
    assert len(excerpt) < len(recording)
    assert (rewriter.answers_without_request, rewriter.requests_without_answer) == (0, 0)
    kinds = {kind_of(each.item) for each in excerpt}
    assert {"started", "stream_connected", "request_answered", "place_orders", "cancel_orders"} <= kinds


@pytest.mark.parametrize("name", ["client order id", "venue key", "exchange id"])
def test_an_order_is_chosen_by_any_of_its_names(name: str) -> None:
    session = CoreSession().ready()
    order = session.open(1001, client_order_id="my order 1")
    session.open(1002)
    names = {
        "client order id": order,
        "venue key": session.order(order).venue_order_key,
        "exchange id": "1001",
    }
    excerpt, _ = cut(recording_of(session), str(names[name]))
    assert orders_in(excerpt) == {order}


def test_of_a_batch_the_chosen_order_keeps_its_own_result() -> None:
    session = CoreSession().ready()
    first, second, third = batch(session, 3)
    session.answer_orders(
        {"resting": {"oid": 11}}, {"error": "Insufficient margin"}, {"resting": {"oid": 13}}
    )
    recording = recording_of(session)
    for order, expected in ((first, "open"), (second, "failed"), (third, "open")):
        excerpt, rewriter = cut(recording, order)
        replay = Replay(excerpt)
        assert replay.run().identical
        kept = replay.core.order(order)
        assert kept is not None
        assert kept.state == expected
        assert rewriter.answers_without_request == 0
    excerpt, _ = cut(recording, third, first)
    [placed] = [each.item for each in excerpt if isinstance(each.item, PlaceOrders)]
    assert [params.client_order_id for params in placed.orders] == [first, third]


def test_answers_meet_their_requests_although_the_request_ids_are_others() -> None:
    session = CoreSession().ready()
    others = [session.buy() for _ in range(5)]
    sends = [session.take_send() for _ in others]
    chosen = session.buy()
    request = session.take_send()
    session.answer_orders({"resting": {"oid": 77}}, request=request)
    for number, each in enumerate(sends):
        session.answer_orders({"resting": {"oid": 80 + number}}, request=each)
    excerpt, _ = cut(recording_of(session), chosen)
    replay = Replay(excerpt)
    assert replay.run().identical
    assert replay.core.order(chosen).state == "open"  # type: ignore[union-attr]
    answers = [each.item.request_id for each in excerpt if isinstance(each.item, RequestAnswered)]
    assert request.request_id not in answers
    assert request.request_id - len(others) in answers
    told = [each.answers.request_id for each in excerpt if each.answers is not None]
    assert told == answers


def test_rows_of_other_orders_are_taken_out_of_shared_frames() -> None:
    session = CoreSession().ready()
    first, second = session.open(1001), session.open(1002)
    keys = [str(session.order(order).venue_order_key) for order in (first, second)]
    rows = [
        session.status_row(oid, "canceled", cloid=key) for oid, key in zip((1001, 1002), keys, strict=True)
    ]
    session.frame("orderUpdates", rows)
    excerpt, _ = cut(recording_of(session), second)
    shared = [each.item for each in excerpt if isinstance(each.item, StreamFrame)][-1]
    assert [row["order"]["oid"] for row in json.loads(shared.data)["data"]] == [1002]
    assert b"1001" not in b"".join(encoded(each) for each in excerpt)


def test_a_position_that_other_orders_made_is_not_looked_into() -> None:
    session = CoreSession().ready()
    first, second = session.open(1001, amount="3"), session.open(1002)
    session.fill(1001, 1, "3", cloid=session.order(first).venue_order_key, startPosition="0.0")
    session.fill(1002, 2, "1", cloid=session.order(second).venue_order_key, startPosition="3.0")
    session.advance(5)
    recording = recording_of(session)
    excerpt, rewriter = cut(recording, second)
    assert rewriter.requests_without_answer == 0
    assert topics(excerpt, second) == topics(recording, second)
    whole, _ = cut(recording, first, second)
    assert whole.inputs == recording.inputs, "with every order the position is the same one"


def test_market_data_is_kept_while_a_chosen_order_lived_and_the_first_of_each_kind() -> None:
    session = CoreSession().ready()
    for _ in range(20):
        session.best("BTC")
    order = session.open(1001)
    for _ in range(5):
        session.best("BTC", "43200.0", "43202.0")
    session.cancel(order)
    session.answer_cancels("success")
    for _ in range(20):
        session.best("ETH", "2000.0", "2001.0")
    excerpt, _ = cut(recording_of(session), order)
    market = [each.item for each in excerpt if getattr(each.item, "stream", "") == "market"]
    assert sum(isinstance(item, StreamConnected) for item in market) == 1
    frames = [json.loads(item.data) for item in market if isinstance(item, StreamFrame)]
    assert [frame["data"]["coin"] for frame in frames] == ["BTC", "ETH", *["BTC"] * 5]


def test_orders_of_earlier_sessions_are_left_out_of_the_start() -> None:
    before = CoreSession().ready()
    first, second = before.open(1001), before.open(1002)
    stored = tuple(encode_events(before.stored[order]) for order in (first, second))
    started = Started(
        session_id="0000000000ee",
        ledger_position=12,
        books_begin_ms=1,
        account_version=1,
        open_orders=stored,
    )
    session = CoreSession(started=started, session_id=0xEE, ledger=before.stored).ready()
    session.fill(1001, 1, "1", cloid=before.order(first).venue_order_key)
    session.fill(1002, 2, "1", cloid=before.order(second).venue_order_key)
    excerpt, _ = cut(recording_of(session), second)
    kept = excerpt.inputs[0].item
    assert isinstance(kept, Started)
    assert kept.open_orders == stored[1:]
    assert Replay(excerpt).run().identical
    assert orders_in(excerpt) == {second}


def test_commands_about_several_orders_keep_the_chosen_ones() -> None:
    session = CoreSession().ready()
    first, second = session.open(1001), session.open(1002)
    session.amend(first, "43000", "1")
    session.step(CancelOrders(client_order_ids=(first, second)))
    excerpt, _ = cut(recording_of(session), second)
    commands = [each.item for each in excerpt if isinstance(each.item, AmendOrder | CancelOrders)]
    assert [command.client_order_ids for command in commands] == [(second,)]  # type: ignore[union-attr]


def test_an_excerpt_can_be_cut_again() -> None:
    session = CoreSession().ready()
    orders = [session.open(1000 + number) for number in range(4)]
    once, _ = cut(recording_of(session), *orders[:2])
    twice, _ = cut(once, orders[0])
    direct, _ = cut(recording_of(session), orders[0])
    assert twice.inputs == direct.inputs
    assert twice.header.derived_from == (
        f"session 000000abcdef; cut to {orders[0]}, {orders[1]}; cut to {orders[0]}"
    )


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_a_busy_session_can_be_cut_out(seed: int) -> None:
    recording = recording_of(busy_session(600, seed=seed))
    lives = Lives(recording, make_core)
    for order in list(lives.keys.orders)[:: 1 + len(list(lives.keys.orders)) // 5]:
        excerpt, _ = cut(recording, order)
        assert Replay(excerpt).run().identical
        assert orders_in(excerpt) == {order}
        assert topics(excerpt, order) == topics(recording, order)


@pytest.mark.parametrize("seed", range(3))
def test_all_orders_together_are_the_whole_session(seed: int) -> None:
    recording = recording_of(busy_session(400, seed=seed))
    excerpt, rewriter = cut(recording, *Lives(recording, make_core).keys.orders)
    assert (rewriter.answers_without_request, rewriter.requests_without_answer) == (0, 0)
    assert [each for each in excerpt if not is_market_data(each)] == [
        each for each in recording if not is_market_data(each)
    ]


def test_a_shortened_recording_is_the_beginning_unchanged() -> None:
    recording = recording_of(busy_session(300))
    short = list(cut_until(recording, 120))
    assert short == list(recording)[:120]
    assert Replay(MemoryRecording(derived_header(recording.header, "up to 120"), short)).run().identical


def test_orders_are_chosen_by_when_they_lived() -> None:
    session = CoreSession().ready()
    first = session.open(1001)
    session.cancel(first)
    session.answer_cancels("success")
    session.advance(30)
    middle_ns = session.now_ns
    second = session.open(1002)
    session.advance(10)
    third = session.open(1003)
    session.cancel(third)
    session.answer_cancels("success")
    end_ns = session.now_ns
    lives = Lives(recording_of(session), make_core)
    assert lives.between(0, middle_ns - 1) == (first,)
    assert lives.between(middle_ns, middle_ns) == (second,)
    assert lives.between(middle_ns, end_ns) == (second, third)
    assert lives.between(end_ns + 1, end_ns + 2) == (second,), "it is still open"


def test_an_order_the_recording_does_not_hold_is_said() -> None:
    with pytest.raises(OrderNotRecordedError, match="no order nobody"):
        cut(recording_of(CoreSession().ready()), "nobody")


def test_a_recording_that_this_version_does_not_repeat_is_not_rewritten() -> None:
    session = CoreSession().ready()
    order = session.open(1001)
    recording = recording_of(session)
    at = next(n for n, each in enumerate(recording.inputs) if isinstance(each.item, PlaceOrders))
    inputs = list(recording.inputs)
    inputs[at] = RecordedInput(inputs[at].item, (), inputs[at].effects_digest)
    changed = MemoryRecording(recording.header, inputs)
    with pytest.raises(RewritingError, match=f"on input {inputs[at].item.sequence}: "):
        cut(changed, order)


def test_a_recording_without_its_beginning_is_not_rewritten() -> None:
    session = CoreSession().ready()
    order = session.open(1001)
    recording = recording_of(session)
    lives = Lives(recording, make_core)
    rest = MemoryRecording(recording.header, recording.inputs[3:])
    with pytest.raises(NotFromTheStartError):
        list(cut_orders(rest, rest.header, make_core, HyperliquidRewriter(), lives, [order]))


def test_the_failure_a_session_ended_with_stays_its_end() -> None:
    session = CoreSession().ready()
    order = session.open(1001)
    session.open(1002)
    recording = recording_of(session)
    failing = TimerFired(sequence=len(recording) + 1, at_ns=session.now_ns)

    class Failing:
        """The core of a version with a mistake: it fails on that input."""

        def __call__(self, header: SessionHeader) -> ConnectorBase:
            core = make_core(header)
            step = core.step

            def fail(item: Input) -> Outcome:
                if item.sequence == failing.sequence:
                    raise KeyError("gone")
                return step(item)

            core.step = fail  # type: ignore[method-assign]
            return core

    failure = "KeyError: 'gone'"
    broken = MemoryRecording(recording.header, [*recording.inputs, RecordedInput(failing, failure=failure)])
    excerpt, _ = cut(broken, order, make_core=Failing())
    assert excerpt.inputs[-1] == broken.inputs[-1]
    assert Replay(excerpt, Failing()).run().failure == failure
    with pytest.raises(RewritingError, match="did not when it was recorded"):
        cut(
            MemoryRecording(broken.header, [*recording.inputs, RecordedInput(failing)]),
            order,
            make_core=Failing(),
        )


def is_market_data(each: RecordedInput) -> bool:
    return bool(HyperliquidRewriter().market_of(each.item))


def encoded(each: RecordedInput) -> bytes:
    return repr(each).encode()
