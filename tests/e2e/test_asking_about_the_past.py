"""`--at` and the filters of the reading commands: what a user types, and what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapters.cli.main import main
from adapters.storage.ledger import OrderLedger
from domain.events import AccountFundingBooked, OrderCancelled
from tests.unit.projections.logs import ACCOUNT, LogBuilder


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Ask = Callable[..., Answer]


@pytest.fixture
def log() -> LogBuilder:
    """Positions 1 to 4: an order opened and half filled. 5 to 8: another opened, the first one cancelled.
    9: funding. A millisecond apart, from 2023-11-14T22:13:20Z."""
    builder = LogBuilder()
    builder.open_order("first", "71", tag="maker")
    builder.filled("first", exchange_order_id="71", amount=Decimal("0.4"))
    builder.open_order("second", "72", trading_pair="ETH-USD")
    builder.add(OrderCancelled, "first", reason_code="requested")
    builder.account(
        AccountFundingBooked,
        funding_key="f1",
        trading_pair="BTC-USD",
        amount=Decimal("-0.0125"),
        token="USDC",
        rate=Decimal("0.0000125"),
        position_size=Decimal("0.4"),
        exchange_time_ms=1_700_000_000_007,
    )
    return builder


@pytest.fixture
def ask(
    tmp_path: Path, log: LogBuilder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Ask:
    """Run `orderledger …` beside the ledger of `log`."""
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "ORDERLEDGER__LEDGER__PATH"):
        monkeypatch.delenv(name, raising=False)
    with OrderLedger.open(tmp_path / "ledger.db") as opened:
        opened.append(log.events)

    def run(*arguments: str) -> Answer:
        code = main(arguments)
        written = capsys.readouterr()
        return Answer(code, written.out, written.err)

    return run


def states(answer: Answer) -> dict[str, str]:
    return {order["client_order_id"]: order["state"] for order in answer.json}


def test_orders_are_shown_as_they_stood_at_a_position(ask: Ask) -> None:
    assert states(ask("orders", "--json", "--at", "1")) == {"first": "pending_create"}
    assert states(ask("orders", "--json", "--at", "4")) == {"first": "partially_filled"}
    assert states(ask("open-orders", "--json", "--at", "7")) == {
        "first": "partially_filled",
        "second": "open",
    }
    assert states(ask("open-orders", "--json")) == {"second": "open"}


def test_a_time_is_turned_into_a_position_and_that_is_said(ask: Ask) -> None:
    answer = ask("positions", "--json", "--at", "2023-11-14T22:13:20.0039Z")
    assert answer.err == "as of position 4, recorded 2023-11-14T22:13:20.003000000Z\n"
    assert [(row["amount"], row["funding"]) for row in answer.json] == [("0.4", "0")]
    assert [row["funding"] for row in ask("positions", "--json").json] == ["-0.0125"]


def test_a_time_without_a_zone_is_taken_as_utc_and_that_is_said(ask: Ask) -> None:
    answer = ask("fills", "--at", "2023-11-14T22:13:21", "--since", "2023-11-14")
    assert answer.code == 0
    assert "note: 2023-11-14T22:13:21 names no zone: taken as UTC\n" in answer.err
    assert "note: 2023-11-14 names no zone: taken as UTC\n" in answer.err


def test_an_orders_history_ends_at_the_moment_asked_for(ask: Ask) -> None:
    answer = ask("history", "first", "--json", "--at", "3").json
    assert [event["position"] for event in answer["events"]] == [1, 2, 3]
    assert (answer["order"]["state"], answer["fills"]) == ("open", [])
    assert "open: filled 0 of 1" in ask("history", "first", "--at", "3").out


def test_an_order_that_did_not_exist_yet_is_not_found(ask: Ask) -> None:
    answer = ask("history", "second", "--at", "4")
    assert answer.code == 3
    assert "It may be younger than position 4." in answer.err


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("2023-11-14T22:13:19Z", "it began at 2023-11-14T22:13:20.000000000Z"),
        ("0", "positions begin at 1"),
        ("10", "the views stand at 9"),
    ],
)
def test_a_moment_of_which_the_ledger_knows_nothing_is_refused(ask: Ask, at: str, said: str) -> None:
    for command in (["orders"], ["open-orders"], ["positions"], ["fills"], ["history", "first"]):
        answer = ask(*command, "--at", at)
        assert (answer.code, answer.out) == (3, "")
        assert said in answer.err


def test_what_is_no_moment_is_a_usage_error_that_shows_one(ask: Ask) -> None:
    answer = ask("orders", "--at", "noon")
    assert answer.code == 2
    assert "not a time: 'noon' (such as 2026-01-31" in answer.err


def test_filters_narrow_what_is_shown(ask: Ask) -> None:
    def ids(*arguments: str) -> list[str]:
        return list(states(ask(*arguments, "--json")))

    assert ids("orders", "--tag", "maker") == ["first"]
    assert ids("orders", "--venue", "elsewhere") == []
    assert ids("orders", "--account", ACCOUNT.upper().replace("0X", "0x")) == ["first", "second"]
    assert ids("orders", "--since", "2023-11-14T22:13:20.000000001Z") == ["second"]
    assert ids("orders", "--until", "2023-11-14T22:13:20.004Z") == ["first"]
    assert ids("open-orders", "--state", "partially_filled", "--at", "7") == ["first"]
    assert len(ask("fills", "--json", "--tag", "maker", "--until", "2024-01-01").json) == 1
    assert ask("positions", "--json", "--until", "2023-11-14T22:13:20Z").json == []
    events = ask("history", "first", "--state", "cancelled", "--json").json["events"]
    assert [event["topic"] for event in events] == ["order.cancelled"]
    assert ask("orders", "--tag", "taker").out == "No orders match.\n"
