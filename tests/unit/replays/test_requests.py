"""Answers find the request that asks what they answer, also in a core that asks something else besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.hyperliquid.connector import HyperliquidPerpetualConnector
from adapters.hyperliquid.info_requests import InfoRequest
from adapters.hyperliquid.replaying import make_core
from domain.effects import Query, SendAction
from domain.inputs import RequestAnswered, RequestFailed, Started, TimerFired
from replays.recording import AnyRequest
from replays.regression import check, update
from replays.replaying import DivergenceKind, MemoryRecording, Replay
from replays.reporting import divergence_data, divergence_text, headline
from replays.requests import OpenRequests, question
from replays.session_builder import SessionBuilder
from replays.session_file import SessionReader, write_session
from replays.session_run import run_session
from tests.support.core import CoreSession
from tests.support.recordings import recording_of

EXTRA: dict[str, object] = {"type": "userFees", "user": "somebody"}


def order_at(nonce: int, **members: Any) -> SendAction:
    return SendAction(request_id=members.pop("number", 7), action={"type": "order"} | members, nonce=nonce)


def asks_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of the connector that begins with one question more."""
    start = HyperliquidPerpetualConnector._on_started

    def start_with_a_question(self: HyperliquidPerpetualConnector, started: Started) -> None:
        self._queries.ask(InfoRequest(body=EXTRA, weight=20), lambda body: None)
        start(self, started)

    monkeypatch.setattr(HyperliquidPerpetualConnector, "_on_started", start_with_a_question)


def a_session() -> CoreSession:
    session = CoreSession()
    session.answers["userFees"] = {}
    session.ready()
    order = session.open(1001)
    session.fill(1001, 1, "0.4", cloid=session.order(order).venue_order_key)
    session.cancel(order)
    session.answer_cancels("success")
    return session


@pytest.fixture
def recording() -> MemoryRecording:
    return recording_of(a_session())


def diverged_text(recording: MemoryRecording) -> str:
    divergence = Replay(recording, make_core).run().divergence
    assert divergence is not None
    return divergence_text(divergence)


# -- requests ------------------------------------------------------------------------------------------------


def test_every_answer_is_kept_with_what_it_answers(recording: MemoryRecording) -> None:
    kept = [(each.item, each.answers) for each in recording]
    answers = [(item, request) for item, request in kept if isinstance(item, RequestAnswered)]
    assert len(answers) > 5
    for item, request in answers:
        assert request is not None
        assert request.request_id == item.request_id
    assert {type(request) for _, request in answers} == {Query, SendAction}
    assert all(request is None for item, request in kept if not isinstance(item, RequestAnswered))


def test_an_answer_to_nothing_answers_nothing() -> None:
    requests = OpenRequests()
    requests.note([order_at(1)])
    assert requests.take(RequestFailed(request_id=8, reason="timeout", sent=True)) is None
    assert requests.take(TimerFired()) is None
    assert requests.take(RequestFailed(request_id=7, reason="timeout", sent=True)) == order_at(1)
    assert list(requests) == []


def test_a_question_is_the_same_whatever_its_number_and_nonce() -> None:
    assert question(order_at(1, number=7)) == question(order_at(2, number=8))
    assert question(order_at(1)) != question(replace(order_at(1), acting_for="a sub-account"))
    assert question(order_at(1, oid=5)) != question(order_at(1, oid=6))
    assert question(order_at(1)) != question(Query(request_id=7, body={"type": "order"}))


def test_a_question_is_the_same_at_another_time_where_times_do_not_matter() -> None:
    one, other = (Query(request_id=1, body={"startTime": 10**12 + hour}) for hour in (1, 2))
    assert question(one) != question(other)
    assert question(one, times=False) == question(other, times=False)


@pytest.mark.parametrize(
    ("now", "number"),
    [
        pytest.param([order_at(1, number=7)], 7, id="the same"),
        pytest.param([order_at(1, number=7, oid=5), order_at(1, number=8)], 8, id="another number"),
        pytest.param([order_at(1, number=9), order_at(1, number=7)], 7, id="asked twice: its own"),
        pytest.param([order_at(1, number=9), order_at(1, number=8)], 9, id="asked twice: the oldest"),
        pytest.param([order_at(1, number=7, oid=5)], None, id="not asked"),
        pytest.param([], None, id="nothing asked"),
    ],
)
def test_an_answer_goes_to_who_asks_what_it_answers(now: list[AnyRequest], number: int | None) -> None:
    requests = OpenRequests()
    requests.note(now)
    addressed = requests.addressed(RequestAnswered(request_id=7, status=200, body=b"{}"), order_at(1))
    assert getattr(addressed, "request_id", None) == number


def test_what_is_asked_exactly_comes_before_what_is_asked_at_another_time() -> None:
    requests = OpenRequests()
    early, late = (Query(request_id=n, body={"startTime": 10**12 + n}) for n in (1, 2))
    requests.note([early, late])
    item = RequestAnswered(request_id=1, status=200, body=b"[]")
    assert requests.addressed(item, replace(late, request_id=1)) == replace(item, request_id=2)
    requests.take(replace(item, request_id=2))
    assert requests.addressed(item, replace(late, request_id=1)) == item


def test_without_knowing_what_it_answers_the_number_has_to_do() -> None:
    requests = OpenRequests()
    item = RequestAnswered(request_id=7, status=200, body=b"{}")
    assert requests.addressed(item, None) is item


# -- a core that asks more -----------------------------------------------------------------------------------


def test_a_new_question_is_a_divergence_that_shows_what_was_asked_and_is_now(
    recording: MemoryRecording, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks_more(monkeypatch)
    divergence = Replay(recording, make_core).run().divergence
    assert divergence is not None
    assert (divergence.kind, divergence.sequence) == (DivergenceKind.EFFECTS, 1)
    first = next(each.answers for each in recording if each.answers is not None)
    assert divergence.requests[0] == first
    now, then = divergence_text(divergence).split("the answers further on say that they were:")
    assert "userFees" in now
    assert "userFees" not in then
    assert f"request_id={first.request_id}" in then
    assert divergence_data(divergence)["requests"][0]["request_id"] == first.request_id


def test_a_question_that_is_not_asked_any_more_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        asks_more(patch)
        recording = recording_of(a_session())
    _, then = diverged_text(recording).split("the answers further on say that they were:")
    assert "userFees" in then


def test_a_run_with_a_new_question_gives_every_answer_to_its_own(
    recording: MemoryRecording, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run_session(recording, make_core)
    asks_more(monkeypatch)
    run = run_session(recording, make_core)
    assert not run.identical
    assert run.orders == before.orders
    assert run.core.ready
    assert [request.body for request in run.open_requests if isinstance(request, Query)] == [EXTRA]


def test_a_session_is_continued_by_a_version_with_a_new_question(
    recording: MemoryRecording, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asks_more(monkeypatch)
    session = SessionBuilder.continuing(recording, make_core)
    session.given.buy("BTC-USD", "0.01", "43000", client_order_id="bid")
    session.then("order.created", "order.submitted")
    assert Replay(SessionReader(session.save(tmp_path / "continued.session")), make_core).run().identical


def test_a_run_passes_over_an_answer_that_nobody_asks_for_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        asks_more(patch)
        recording = recording_of(a_session())
    run = run_session(recording, make_core)
    assert len(run.inputs) == len(recording) - 1
    assert run.core.ready
    assert list(run.open_requests) == []


def test_an_update_gives_the_answers_their_new_numbers_and_tells_of_questions_without_one(
    recording: MemoryRecording, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "old.session"
    write_session(path, recording.header, recording)
    asks_more(monkeypatch)
    *_, last = update(path, make_core).changes
    assert last.startswith("asked, and nothing in the recording answers it: query")
    assert "userFees" in last
    assert check([path], make_core=make_core) == ""
    renumbered = [each for each in SessionReader(path) if isinstance(each.item, RequestAnswered)]
    assert all(
        each.answers is not None and each.answers.request_id == each.item.request_id  # type: ignore[union-attr]
        for each in renumbered
    )


def test_an_update_leaves_out_answers_that_nobody_asks_for_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "old.session"
    with monkeypatch.context() as patch:
        asks_more(patch)
        recording = recording_of(a_session())
        write_session(path, recording.header, recording)
    changes = update(path, make_core).changes
    assert sum("left out, nothing asks any more for what it answers" in line for line in changes) == 1
    assert check([path], make_core=make_core) == ""
    reader = SessionReader(path)
    assert len(list(reader)) == len(recording) - 1
    assert "without answers to what is not asked any more" in reader.header.derived_from


# -- an answer to something else -----------------------------------------------------------------------------


def test_an_answer_to_something_else_is_not_taken_for_an_answer(recording: MemoryRecording) -> None:
    at, answered = next(
        (at, each) for at, each in enumerate(recording.inputs) if isinstance(each.answers, Query)
    )
    other = Query(request_id=answered.answers.request_id, body={"type": "spotMeta"})  # type: ignore[union-attr]
    inputs = (*recording.inputs[:at], replace(answered, answers=other), *recording.inputs[at + 1 :])
    report = Replay(MemoryRecording(recording.header, inputs), make_core).run()
    divergence = report.divergence
    assert divergence is not None
    assert (divergence.kind, divergence.sequence) == (DivergenceKind.ANSWER, at + 1)
    number = f"request {other.request_id}"
    said = headline(divergence)
    assert f"(request_answered to spotMeta): it answers {number}, which was: query" in said
    assert f"{number} is now: query" in said


def test_an_answer_to_what_was_never_asked_is_said_to_be_one(recording: MemoryRecording) -> None:
    last = recording.inputs[-1].item
    stray = RequestAnswered(
        sequence=last.sequence + 1, at_ns=last.at_ns, request_id=10_000, status=200, body=b"{}"
    )
    asked = Query(request_id=10_000, body={"type": "meta"})
    extended = replace(recording.inputs[-1], item=stray, events=(), effects_digest=b"", answers=asked)
    divergence = (
        Replay(MemoryRecording(recording.header, (*recording.inputs, extended)), make_core).run().divergence
    )
    assert divergence is not None
    assert headline(divergence).endswith("request 10000 is now not asked")
