"""Every state an order can be in, met with every piece of evidence there is: what it is in afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from domain.enums import ClosingKind, OrderState
from domain.in_flight_order import InFlightOrder
from domain.updates import UpdateStatus
from tests.support.tracker import START_MS, TrackerSession

Do = Callable[[TrackerSession, InFlightOrder], object]

LATER = START_MS + 50


def _status(status: UpdateStatus) -> Do:
    return lambda session, order: session.status(status, "1", order=order, time_ms=LATER)


def _fill(amount: str) -> Do:
    return lambda session, order: session.fill(f"fill-{order.version}", amount, order=order, oid="1")


def _cancel_requested(session: TrackerSession, order: InFlightOrder) -> None:
    session.tracker.cancel_requested(order, 1, "requested")


STATES: dict[str, tuple[Do, ...]] = {
    "pending_create": (),
    "pending_submit": (),
    "open": (_status(UpdateStatus.OPEN),),
    "partially_filled": (_status(UpdateStatus.OPEN), _fill("4")),
    "pending_cancel": (_status(UpdateStatus.OPEN), _cancel_requested),
    "filled": (_status(UpdateStatus.OPEN), _fill("10")),
    "cancelled": (_status(UpdateStatus.OPEN), _status(UpdateStatus.CANCELLED)),
    "failed": (lambda session, order: session.tracker.refused(order, ClosingKind.FAILED, "x", ""),),
    "expired": (_status(UpdateStatus.OPEN), _status(UpdateStatus.EXPIRED)),
}
"""How an order of 10 gets into each state; all but the first begin with a request that has left."""

EVIDENCE: dict[str, Do] = {
    "open": _status(UpdateStatus.OPEN),
    "triggered": _status(UpdateStatus.TRIGGERED),
    "fill of a part": _fill("3"),
    "fill of all": _fill("10"),
    "status filled": _status(UpdateStatus.FILLED),
    "status cancelled": _status(UpdateStatus.CANCELLED),
    "status expired": _status(UpdateStatus.EXPIRED),
    "status failed": _status(UpdateStatus.FAILED),
    "submit unknown": lambda session, order: session.tracker.submit_unknown(order, "no_answer", ""),
    "refused": lambda session, order: session.tracker.refused(order, ClosingKind.FAILED, "refusal", ""),
    "cancel asked": _cancel_requested,
    "cancel unknown": lambda session, order: session.tracker.cancel_unknown(order, "no_answer", ""),
    "cancel refused": lambda session, order: session.tracker.cancel_refused(order, "missing", ""),
    "cancel confirmed": lambda session, order: session.tracker.cancelled(order, "cancelled_by_user"),
    "not found once": lambda session, order: session.tracker.not_found(order),
    "absence proven": lambda session, order: session.tracker.absent(order, "proof"),
}

SHORT = {
    "c": "pending_create",
    "s": "pending_submit",
    "o": "open",
    "p": "partially_filled",
    "x": "pending_cancel",
    "F": "filled",
    "C": "cancelled",
    "X": "failed",
    "E": "expired",
}

TABLE = """
                  c  s  o  p  x  F  C  X  E
open              o  o  o  p  x  F  C  X  E
triggered         o  o  o  p  x  F  C  X  E
fill of a part    p  p  p  p  x  F  C  p  E
fill of all       F  F  F  F  F  F  F  F  F
status filled     F  F  F  F  F  F  C  F  E
status cancelled  C  C  C  C  C  F  C  C  C
status expired    E  E  E  E  E  F  C  E  E
status failed     X  X  X  p  X  F  C  X  E
submit unknown    c  s  o  p  x  F  C  X  E
refused           X  X  X  p  X  F  C  X  E
cancel asked      x  x  x  x  x  F  C  X  E
cancel unknown    c  s  o  p  x  F  C  X  E
cancel refused    c  s  o  p  o  F  C  X  E
cancel confirmed  C  C  C  C  C  F  C  C  C
not found once    c  s  o  p  x  F  C  X  E
absence proven    X  X  o  p  x  F  C  X  E
"""
"""Columns: the state before. Where rows and columns meet: the state after."""


def _cases() -> list[tuple[str, str, str]]:
    header, *rows = TABLE.strip("\n").splitlines()
    columns = header.split()
    cases = []
    for row in rows:
        name, marks = row[:18].strip(), row[18:].split()
        assert len(marks) == len(columns), row
        cases += [(SHORT[before], name, SHORT[after]) for before, after in zip(columns, marks, strict=True)]
    return cases


def test_the_table_is_complete() -> None:
    cases = {(before, evidence) for before, evidence, _ in _cases()}
    assert cases == {(state.value, evidence) for state in OrderState for evidence in EVIDENCE}
    assert set(STATES) == {state.value for state in OrderState}


@pytest.mark.parametrize(("before", "evidence", "after"), _cases())
def test_evidence_leads_from_state_to_state(before: str, evidence: str, after: str) -> None:
    session = TrackerSession()
    order = session.create() if before == "pending_create" else session.sent()
    for step in STATES[before]:
        session.stamp()
        step(session, order)
    session.collect()
    assert order.state.value == before
    filled = order.filled_amount
    for _ in range(2):
        session.stamp()
        EVIDENCE[evidence](session, order)
        session.collect()
        if evidence.startswith("fill"):
            break  # told again it would be another fill
        assert order.state.value == after
    assert order.state.value == after
    expected = {"fill of a part": 3, "fill of all": 10}.get(evidence, 0)
    assert order.filled_amount == filled + expected
    session.assert_folds()
