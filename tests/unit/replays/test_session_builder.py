"""Sessions made in code: what is given, and what `then` says when it is not as expected."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from domain.errors import UnknownOrderError
from domain.inputs import LedgerStalled
from replays.recording import SessionHeader
from replays.replaying import Replay
from replays.session_builder import SessionBuilder
from replays.session_file import SessionReader
from replays.session_run import SessionRun

Build = Callable[..., SessionBuilder]


def answer(*statuses: Any) -> dict[str, Any]:
    """A venue's answer to an order action."""
    return {"status": "ok", "response": {"type": "order", "data": {"statuses": list(statuses)}}}


def status_of(session: SessionBuilder, status: str, oid: int = 77) -> dict[str, Any]:
    """A frame that says how an order of 0.01 BTC stands."""
    return {
        "channel": "orderUpdates",
        "data": [
            {
                "order": {
                    "coin": "BTC",
                    "side": "B",
                    "limitPx": "43000.0",
                    "sz": "0.0",
                    "oid": oid,
                    "timestamp": session.now_ns // 1_000_000,
                    "origSz": "0.01",
                },
                "status": status,
                "statusTimestamp": session.now_ns // 1_000_000,
            }
        ],
    }


def fills_of(session: SessionBuilder, *fills: tuple[str, int, str]) -> dict[str, Any]:
    """A frame with fills (side, exchange id of the order, amount) of one trade at 43,000."""
    rows = [
        {
            "coin": "BTC",
            "px": "43000.0",
            "sz": amount,
            "side": side,
            "time": session.now_ns // 1_000_000,
            "dir": "Open Long" if side == "B" else "Open Short",
            "closedPnl": "0.0",
            "hash": "0x" + "ab" * 32,
            "oid": oid,
            "crossed": False,
            "fee": "0.02",
            "tid": 4711,
            "feeToken": "USDC",
        }
        for side, oid, amount in fills
    ]
    return {"channel": "userFills", "data": {"user": session.header.account, "fills": rows}}


def resting(build: Build, **options: Any) -> SessionBuilder:
    """A session with one order that rests."""
    session = build(**options)
    session.given.buy("BTC-USD", "0.01", "43000", client_order_id="bid")
    session.given.answer("order", answer({"resting": {"oid": 77}}))
    session.then("order.created", "order.submitted", "order.acknowledged")
    return session


def test_an_order_from_command_to_cancel(session_builder: Build) -> None:
    session = resting(session_builder)
    session.then.order("bid", state="open", amount="0.01", filled_amount=0)
    session.given.cancel("bid")
    session.given.answer("cancelByCloid", answer("success"))
    session.then("order.cancel_requested", "order.cancelled", reason_code="cancelled_by_user")
    session.then.sent("order", "cancelByCloid")
    session.then.nothing()
    session.then.position("BTC-USD", 0)


def test_what_the_venue_says_arrives_as_frames(session_builder: Build) -> None:
    session = resting(session_builder)
    session.given.frame(status_of(session, "canceled"))
    session.then("order.cancelled", exchange_order_id="77")


def test_one_trade_id_on_two_orders_is_two_fills(session_builder: Build) -> None:
    session = resting(session_builder)
    session.given.sell("BTC-USD", "0.01", "43000", client_order_id="ask")
    session.given.answer("order", answer({"resting": {"oid": 78}}))
    session.then("order.created", "order.submitted", "order.acknowledged")
    both = fills_of(session, ("B", 77, "0.01"), ("A", 78, "0.01"))
    session.given.frame(both)
    session.then("order.filled", "order.filled")
    session.given.frame(both)
    session.then.nothing()
    for order in ("bid", "ask"):
        session.then.order(order, state="filled", filled_amount="0.01")
    session.then.position("BTC-USD", 0)


def test_frames_may_be_text_as_it_came(session_builder: Build) -> None:
    session = session_builder()
    session.given.frame("not JSON at all")
    session.then("account.message_kept")
    session.then.alert("message_kept")


def test_time_passes_and_wakes_the_connector_when_it_wants_to_be(session_builder: Build) -> None:
    session = session_builder()
    session.given.buy("BTC-USD", "0.01", "43000", client_order_id="bid")
    session.given.no_answer("order", "timeout")
    session.then("order.created", "order.submitted", "order.submit_unknown")
    began_ns = session.now_ns
    for _ in range(3):
        session.given.answer("orderStatus", {"status": "unknownOid"})
        session.given.answer("exchangeStatus", {"time": session.now_ns // 1_000_000, "specialStatuses": None})
        session.given.elapse(5)
    assert session.now_ns - began_ns >= 15_000_000_000
    session.then("order.not_found", "order.not_found", "order.not_found", count=3)
    session.then.order("bid", state="pending_submit", outcome_unknown=True)


def test_an_order_that_left_memory_is_read_from_the_ledger(session_builder: Build) -> None:
    session = resting(session_builder, retention_ns=1_000_000_000)
    session.given.frame(status_of(session, "canceled"))
    session.then("order.cancelled")
    session.given.elapse(2)
    session.given.lost("market")
    assert session.run.core.order("bid") is None
    session.given.frame(fills_of(session, ("B", 77, "0.004")))
    session.then("order.filled")
    session.then.order("bid", state="cancelled", filled_amount="0.004")
    session.then.position("BTC-USD", "0.004")


def test_orders_of_an_earlier_session_are_in_the_ledger_too(session_builder: Build) -> None:
    session = session_builder("restart-with-open-orders.session", retention_ns=1_000_000_000)
    session.given.elapse(5)
    session.given.lost("market")
    assert session.run.core.order("filled") is None, "it has left memory"
    (oid,) = {fill.exchange_order_id for fill in session.run.fills("filled")}
    session.given.frame(status_of(session, "filled", int(oid)))
    assert session.run.core.order("filled") is not None, "read again"
    session.then.nothing()


def test_a_refusal_of_the_connector_is_raised_and_is_no_input(session_builder: Build) -> None:
    session = session_builder()
    inputs = len(session.recording)
    with pytest.raises(UnknownOrderError):
        session.given.cancel("nobody")
    assert len(session.recording) == inputs


def test_inputs_may_be_given_as_they_are(session_builder: Build) -> None:
    session = session_builder()
    session.given(LedgerStalled(reason="disk full"))
    session.then.alert("trading_halted")
    session.given(LedgerStalled(reason=""))
    session.given.sell("BTC-USD", "0.01", "44000", client_order_id="ask")
    session.then("order.created", "order.submitted")


def test_a_session_begins_anywhere_in_a_recording(session_builder: Build) -> None:
    name = "submit-timed-out-then-filled.session"
    whole = session_builder(name)
    assert whole.run.orders["bid"].state == "filled"
    unknown = next(
        event for event in whole.run.events if event.topic == "order.submit_unknown"
    ).causation.rpartition(":")[2]
    session = session_builder(name, until=int(unknown))
    session.then.nothing()
    session.then.order("bid", state="pending_submit", outcome_unknown=True)
    session.given.answer("orderStatus", {"status": "unknownOid"})
    session.then("order.not_found")


def test_a_session_runs_under_other_options(
    session_builder: Build, replay_session: Callable[..., SessionRun]
) -> None:
    assert session_builder(order_ttl_ms=5_000).run.core.options.order_ttl_ms == 5_000  # type: ignore[attr-defined]
    name = "submit-timed-out-then-filled.session"
    assert replay_session(name).identical
    patient = replay_session(name, order_ttl_ms=60_000)
    assert patient.first_difference is not None, "the order expires later"
    assert patient.first_difference.effects_differ
    assert patient.orders["bid"].state == "filled"
    assert patient.orders["bid"].filled_amount == Decimal("0.01")
    with pytest.raises(TypeError, match=r"has no option patience; it has: .*order_ttl_ms"):
        replay_session(name, patience=1)


def test_a_session_from_nothing_is_given_its_own_start(session_builder: Build) -> None:
    header = session_builder().header
    fresh = SessionHeader(
        package_version="1",
        config_fingerprint="",
        venue=header.venue,
        network=header.network,
        account=header.account,
        signer=header.signer,
        session_id="0123456789ab",
        core_options=header.core_options,
        started_at_ns=header.started_at_ns,
    )
    session = SessionBuilder(fresh)
    start = next(recorded.item for recorded in session_builder().recording)
    session.given(start)
    assert session.recording.inputs[0].item.sequence == 1
    assert {query.body["type"] for query in session.run.queries} >= {"meta", "userRole"}


def test_a_session_that_was_saved_replays(session_builder: Build, tmp_path: Path) -> None:
    session = resting(session_builder)
    path = session.save(tmp_path / "resting.session", note="An order rests.")
    reader = SessionReader(path)
    assert reader.header.note == "An order rests."
    assert Replay(reader).run().identical
    assert reader.is_closed
    assert session_builder(path).run.orders["bid"].state == "open"


def test_a_recording_that_is_not_there_is_said_with_where_it_was_looked_for(session_builder: Build) -> None:
    with pytest.raises(FileNotFoundError, match=r"no tonight\.session in .*replays/sessions"):
        session_builder("tonight.session")


# -- what `then` says ----------------------------------------------------------------------------------------


def complaint(call: Callable[..., Any], *arguments: Any, **members: Any) -> str:
    with pytest.raises(AssertionError) as raised:
        call(*arguments, **members)
    return str(raised.value)


def test_other_events_than_expected_are_shown_side_by_side(session_builder: Build) -> None:
    session = session_builder()
    session.given.buy("BTC-USD", "0.01", "43000", client_order_id="bid")
    said = complaint(session.then, "order.created")
    assert said.startswith("expected:\n  order.created\ncame:\n  order.created ")
    assert "\n  order.submitted source=command attempt=1 " in said
    assert "came:\n  nothing" in complaint(session.then, "order.acknowledged")


def test_a_member_that_differs_is_named(session_builder: Build) -> None:
    session = resting(session_builder)
    order = session.then.order
    assert complaint(order, "bid", state="filled", amount="0.01") == (
        "of order 'bid' state is open, expected filled"
    )
    assert "there is no order 'ask'; there are: bid" in complaint(order, "ask")
    assert "has no filled; it has:" in complaint(order, "bid", filled=1)
    assert "is 0, expected 1" in complaint(session.then.position, "BTC-USD", 1)
    assert "raised were: none" in complaint(session.then.alert, "trading_halted")
    assert complaint(session.then.sent) == "sent were ['order'], expected none"
    session.given.cancel("bid")
    assert "nonce is" in complaint(session.then, "order.cancel_requested", nonce=1)
    assert "no event that they could stand in" in complaint(session.then, nonce=1)


def test_answering_what_was_not_asked_says_what_was(session_builder: Build) -> None:
    session = session_builder()
    session.given.buy("BTC-USD", "0.01", "43000")
    assert "No 'cancelByCloid' waits for an answer; what waits is: " in complaint(
        session.given.answer, "cancelByCloid", {}
    )
    assert "order" in complaint(session.given.no_answer, "cancelByCloid")
