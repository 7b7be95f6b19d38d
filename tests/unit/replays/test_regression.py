"""The corpus against a core with one wrong decision: it fails where that shows, and says what it is about."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import replays
from domain.client_order_tracker import ClientOrderTracker
from domain.enums import ClosingKind
from domain.events import LedgerEvent
from domain.in_flight_order import InFlightOrder
from domain.updates import TradeUpdate
from replays.regression import NoTestError, check, parts_of, update
from replays.replaying import Replay
from replays.session_file import SessionReader

CORPUS = sorted((Path(replays.__path__[0]) / "sessions").glob("*.session"))

Events = list[LedgerEvent]


def failures() -> dict[str, str]:
    """The recordings that fail, with their reports."""
    reports = {path.stem: check([path]) for path in CORPUS}
    return {name: report for name, report in reports.items() if report}


def where(name: str, wanted: Callable[[Events, Events], bool]) -> int:
    """The number of the first input of a recording for which its earlier events and its own are `wanted`."""
    path = next(path for path in CORPUS if path.stem == name)
    earlier: Events = []
    for replayed in Replay(SessionReader(path)):
        own = list(replayed.events)
        if wanted(earlier, own):
            return replayed.input.sequence
        earlier += own
    raise AssertionError(f"{name} holds no such input")


def topics(events: Events) -> list[str]:
    return [event.topic for event in events]


def test_fills_that_are_dropped_after_a_cancel_show_where_they_arrive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = where(
        "late-fill-after-cancel",
        lambda earlier, own: "order.cancelled" in topics(earlier) and "order.filled" in topics(own),
    )
    right = ClientOrderTracker.process_trade_update

    def drops_late_fills(tracker: ClientOrderTracker, trade: TradeUpdate) -> InFlightOrder | None:
        order = tracker.find(trade.venue_order_key, trade.fill.exchange_order_id)
        return None if order is not None and order.is_done else right(tracker, trade)

    monkeypatch.setattr(ClientOrderTracker, "process_trade_update", drops_late_fills)
    failed = failures()
    assert {"late-fill-after-cancel", "late-fill-after-expiry", "late-fill-after-failure"} <= failed.keys()
    report = failed["late-fill-after-cancel"]
    assert f"diverged at input {late} (stream_frame user userFills)" in report
    assert "order.filled of bid did not come" in report
    assert re.search(r"cancelled +order.cancelled", report), "the story tells that it was cancelled before"
    assert report.rstrip().endswith(f"late-fill-after-cancel.session --until {late}")


def test_an_unknown_outcome_taken_for_failed_shows_where_no_answer_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent = where("submit-timed-out-then-filled", lambda _, own: "order.submit_unknown" in topics(own))

    def gives_up(tracker: ClientOrderTracker, order: InFlightOrder, code: str, reason: str) -> None:
        tracker.refused(order, ClosingKind.FAILED, code, reason)

    monkeypatch.setattr(ClientOrderTracker, "submit_unknown", gives_up)
    failed = failures()
    assert {"submit-timed-out-then-filled", "six-orders-accepted-in-an-outage"} <= failed.keys()
    assert "late-fill-after-cancel" not in failed, "what it does not concern holds"
    report = failed["submit-timed-out-then-filled"]
    assert f"diverged at input {silent} (request_failed" in report
    assert "order.failed of bid came instead of order.submit_unknown" in report
    assert '"kind":"send_action"' in report, "and what was not answered"


def test_a_core_that_raises_is_a_divergence_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise ZeroDivisionError("nothing to divide by")

    monkeypatch.setattr(ClientOrderTracker, "process_trade_update", fails)
    report = failures()["late-fill-after-cancel"]
    assert "the core raised ZeroDivisionError: nothing to divide by" in report
    assert "test_regression.py" in report


def test_an_update_does_not_make_a_failing_core_the_expectation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*_: Any) -> None:
        raise ZeroDivisionError

    path = tmp_path / "late.session"
    path.write_bytes(next(path for path in CORPUS if path.stem == "late-fill-after-cancel").read_bytes())
    before = path.read_bytes()
    monkeypatch.setattr(ClientOrderTracker, "process_trade_update", fails)
    with pytest.raises(NoTestError, match=r"The core fails on input \d+ \(ZeroDivisionError: \)"):
        update(path)
    assert path.read_bytes() == before


def test_recordings_of_several_sessions_in_a_folder_are_not_parts_of_each_other() -> None:
    assert [parts_of(path) for path in CORPUS] == [(path,) for path in CORPUS]
