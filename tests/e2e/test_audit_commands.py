"""`verify`, `seal`, `backup`, `rebuild`, `sql`: what an auditor types, and what comes back."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapters.cli import progress_line
from adapters.cli.ledger_source import LedgerEventSource
from adapters.cli.main import main
from adapters.storage.ledger import OrderLedger
from domain.events import (
    AccountFillBooked,
    AccountPositionAsserted,
    OrderCancelled,
    OrderSubmitUnknown,
)
from domain.position import Position
from projections import ProjectionRunner, views_path_for
from tests.unit.projections.logs import LogBuilder, a_fill
from tests.unit.storage.tampering import tamper


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Ask = Callable[..., Answer]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run `orderledger …` in an empty directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "ORDERLEDGER__LEDGER__PATH"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Answer:
        code = main(arguments)
        written = capsys.readouterr()
        return Answer(code, written.out, written.err)

    return run


@pytest.fixture
def log() -> LogBuilder:
    """An opening balance, an order half filled, one whose answer was lost, one cancelled, a liquidation."""
    builder = LogBuilder()
    builder.account(
        AccountPositionAsserted,
        trading_pair="BTC-USD",
        amount=Decimal("0.5"),
        entry_price=Decimal(42_000),
        opening=True,
    )
    builder.open_order("half", "91490942", amount=Decimal("1.0"))
    builder.filled("half", fill_key="1", exchange_order_id="91490942", amount=Decimal("0.4"))
    builder.created("lost")
    builder.submitted("lost")
    builder.add(OrderSubmitUnknown, "lost", reason_code="timeout", reason="no answer within 5 s")
    builder.open_order("gone", "91490955", trading_pair="ETH-USD")
    builder.add(OrderCancelled, "gone", reason_code="requested")
    builder.account(
        AccountFillBooked, fill=a_fill(fill_key="2", trading_pair="ETH-USD", amount=Decimal("0.1"))
    )
    return builder


@pytest.fixture
def ledger(tmp_path: Path, log: LogBuilder) -> Path:
    path = tmp_path / "ledger.db"
    with OrderLedger.open(path) as opened:
        opened.append(log.events)
    return path


def checks(answer: Answer) -> dict[str, tuple[bool | None, str]]:
    return {check["name"]: (check["ok"], check["detail"]) for check in answer.json["checks"]}


# verify


def test_an_intact_ledger_is_said_to_be(ask: Ask, ledger: Path) -> None:
    ask("orders")
    answer = ask("verify", "--json")
    assert (answer.code, answer.err) == (0, "")
    assert answer.json["ok"] is True
    assert (answer.json["events"], answer.json["last_position"]) == (13, 13)
    assert {name: ok for name, (ok, _) in checks(answer).items()} == dict.fromkeys(
        ("events", "fold", "positions", "claims", "views"), True
    )
    assert checks(answer)["positions"][1].endswith("(markets: 2)")
    text = ask("verify", "--ledger", str(ledger))
    assert text.out.endswith("Intact.\n")
    assert answer.json["head"] in text.out


def test_a_position_that_the_venue_stated_and_the_events_contradict_is_named(
    ask: Ask, ledger: Path, log: LogBuilder
) -> None:
    statement = {"trading_pair": "BTC-USD", "entry_price": None}
    log.account(AccountPositionAsserted, amount=Decimal("0.9"), **statement)
    log.account(AccountPositionAsserted, amount=Decimal("1.5"), **statement)
    with OrderLedger.open(ledger) as opened:
        opened.append(log.events[13:])
    answer = ask("verify", "--json")
    reason = "the venue stated a position of 1.5 BTC-USD; the events up to there come to 0.9"
    assert (answer.code, answer.json["first_bad_position"], answer.json["reason"]) == (6, 15, reason)
    assert checks(answer)["claims"] == (
        False,
        f"1 of 2 statements of the venue are contradicted, first at position 15: {reason}",
    )
    assert checks(answer)["fold"][0] is True
    assert "warning: 1 positions that the venue stated are contradicted" in ask("positions").err


def test_views_that_are_absent_or_behind_are_said_and_no_fault(
    ask: Ask, ledger: Path, log: LogBuilder
) -> None:
    absent = ask("verify", "--json")
    assert (absent.code, checks(absent)["views"][0]) == (0, True)
    assert "none yet" in checks(absent)["views"][1]
    assert not views_path_for(ledger).exists(), "verify changes nothing"
    ask("orders")
    with OrderLedger.open(ledger) as opened:
        opened.append([log.filled("half", fill_key="3", exchange_order_id="91490942")])
    behind = ask("verify", "--json")
    assert behind.code == 0
    assert checks(behind)["views"] == (
        True,
        "equal to a rebuild at position 13, 1 events behind the ledger",
    )


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        (
            "UPDATE orders SET filled_amount = '0.5' WHERE client_order_id = 'half'",
            "orders, created_position 2: filled_amount is '0.5' and should be '0.4'",
        ),
        ("DELETE FROM fill_bookings WHERE position = 5", "fill_bookings: the row of position 5 is missing"),
        (
            "INSERT INTO parked VALUES (3, 'orders', 'half', 'nothing')",
            "parked: the row of position 3, view orders should not be there",
        ),
        ("UPDATE progress SET log_hash = 'ff'", "made from another log"),
        ("UPDATE progress SET ledger_id = 'ff'", "made from another ledger, ff"),
        ("UPDATE progress SET position = 99", "they stand at position 99, the ledger ends at 13"),
    ],
)
def test_views_that_were_changed_differ_and_the_ledger_is_intact(
    ask: Ask, ledger: Path, statement: str, difference: str
) -> None:
    ask("orders")
    with closing(sqlite3.connect(views_path_for(ledger), isolation_level=None)) as connection:
        connection.execute(statement)
    answer = ask("verify", "--json")
    assert (answer.code, answer.json["first_bad_position"]) == (1, None)
    assert difference in answer.json["reason"]
    assert checks(answer)["events"][0] is True
    assert "A check failed." in ask("verify").out


@pytest.mark.usefixtures("ledger")
def test_views_of_another_format_are_not_compared(ask: Ask, ledger: Path) -> None:
    ask("orders")
    with closing(sqlite3.connect(views_path_for(ledger), isolation_level=None)) as connection:
        connection.execute("UPDATE progress SET event_vocabulary = 'older'")
    answer = ask("verify", "--json")
    assert answer.code == 0
    assert "another version" in checks(answer)["views"][1]


def test_a_file_that_is_no_views_file_is_a_failed_check(ask: Ask, ledger: Path) -> None:
    views_path_for(ledger).write_text("a text that somebody put where the views go")
    answer = ask("verify", "--json")
    assert (answer.code, checks(answer)["views"][0]) == (1, False)
    assert "not a views file" in answer.json["reason"]


@pytest.mark.parametrize("position", [1, 5, 13])
def test_a_changed_event_is_named_and_the_rest_not_looked_at(ask: Ask, ledger: Path, position: int) -> None:
    tamper(ledger, f"UPDATE stored_events SET state = x'80' WHERE position = {position}")
    answer = ask("verify", "--json")
    assert (answer.code, answer.json["first_bad_position"]) == (6, position)
    assert answer.json["events"] == position - 1
    assert checks(answer)["fold"][0] is None
    text = ask("verify")
    assert text.code == 6
    assert text.out.endswith(f"The ledger is damaged; first bad position: {position}.\n")


def test_a_damaged_key_index_is_damage_that_blames_no_event(ask: Ask, ledger: Path) -> None:
    tamper(ledger, "DELETE FROM order_keys WHERE key = 'oid:91490955'")
    answer = ask("verify", "--json")
    assert (answer.code, answer.json["first_bad_position"]) == (6, None)
    assert "oid:91490955" in answer.json["reason"]


def test_an_event_that_does_not_fold_is_named(ask: Ask, ledger: Path, log: LogBuilder) -> None:
    with OrderLedger.open(ledger) as opened:
        opened.append([log.filled("half", fill_key="1", exchange_order_id="91490942")])
    answer = ask("verify", "--json")
    assert (answer.code, answer.json["first_bad_position"]) == (6, 14)
    assert "booked already" in answer.json["reason"]
    assert checks(answer)["events"][0] is True


@pytest.mark.usefixtures("ledger")
def test_a_position_that_its_fills_do_not_add_up_to_is_named(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Position.apply_fill

    def forgets_a_part(position: Position, price: Decimal, amount: Decimal, *rest: Any) -> Any:
        return book(position, price, amount - Decimal("0.01"), *rest)

    monkeypatch.setattr(Position, "apply_fill", forgets_a_part)
    answer = ask("verify", "--json")
    assert answer.code == 1
    assert "in 2 markets" in answer.json["reason"]
    assert "BTC-USD" in answer.json["reason"]
    assert answer.json["reason"].endswith("0.89 folded, 0.9 by its fills")


def test_what_is_no_ledger_is_not_verified(ask: Ask, tmp_path: Path) -> None:
    assert ask("verify").code == 3
    (tmp_path / "ledger.db").write_text("a text, long enough to be looked at, that is no ledger")
    assert ask("verify").code == 6


@pytest.mark.usefixtures("ledger")
def test_progress_is_shown_on_a_terminal(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask("verify").err == ""
    monkeypatch.setattr(progress_line, "_SAY_AFTER_S", -1.0)
    monkeypatch.setattr(progress_line, "_SAY_EVERY_S", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    shown = ask("verify").err
    assert "checking the chain: 13 of 13 events (100 %)" in shown
    assert "building the views again: 13 of 13 events" in shown
    assert shown.endswith("\r\x1b[K")


# seal


def test_seals_are_json_lines_that_verify_takes(ask: Ask, ledger: Path, log: LogBuilder) -> None:
    printed = ask("seal")
    assert (printed.code, printed.json["position"]) == (0, 13)
    assert ask("seal", "-o", "seals.jsonl").code == 0
    with OrderLedger.open(ledger) as opened:
        opened.append([log.filled("half", fill_key="3", exchange_order_id="91490942")])
    assert "sealed position 14" in ask("seal", "-o", "seals.jsonl").out
    answer = ask("verify", "--seal", "seals.jsonl", "--json")
    assert answer.code == 0
    assert checks(answer)["seals"] == (True, "seals that fit: 2, the last at position 14")


def test_a_ledger_that_does_not_fit_its_seals_is_damaged_and_not_sealed_again(
    ask: Ask, ledger: Path, tmp_path: Path
) -> None:
    ask("seal", "-o", "seals.jsonl")
    ledger.unlink()
    other = LogBuilder()
    other.open_order("another", "1")
    with OrderLedger.open(ledger) as opened:
        opened.append(other.events)
    answer = ask("verify", "--seal", "seals.jsonl", "--json")
    assert (answer.code, checks(answer)["seals"][0]) == (6, False)
    before = (tmp_path / "seals.jsonl").read_bytes()
    refused = ask("seal", "-o", "seals.jsonl")
    assert (refused.code, (tmp_path / "seals.jsonl").read_bytes()) == (6, before)
    assert "Nothing was added" in refused.err


@pytest.mark.usefixtures("ledger")
def test_files_that_hold_no_seals_are_refused(ask: Ask, tmp_path: Path) -> None:
    assert ask("verify", "--seal", "nothing.jsonl").code == 3
    (tmp_path / "empty.jsonl").write_text("")
    assert ask("verify", "--seal", "empty.jsonl").code == 3
    (tmp_path / "text.jsonl").write_text("no seal\n")
    assert ask("verify", "--seal", "text.jsonl").code == 6
    assert ask("seal", "-o", "text.jsonl").code == 2
    assert ask("seal", "-o", "no/such/place.jsonl").code == 2


def test_a_broken_chain_is_not_sealed(ask: Ask, ledger: Path, tmp_path: Path) -> None:
    tamper(ledger, "UPDATE stored_events SET state = x'80' WHERE position = 4")
    for arguments in ((), ("-o", "seals.jsonl")):
        refused = ask("seal", *arguments)
        assert (refused.code, refused.out) == (6, "")
        assert "damaged at position 4" in refused.err
        assert "Nothing was sealed" in refused.err
    assert not (tmp_path / "seals.jsonl").exists()


@pytest.mark.usefixtures("ledger")
def test_a_file_without_an_end_is_no_file_of_seals(ask: Ask) -> None:
    refused = ask("seal", "-o", "/dev/zero")
    assert (refused.code, "line 1 is not a seal" in refused.err) == (2, True)


# backup


def test_a_backup_verifies_and_replaces_nothing(ask: Ask, ledger: Path, tmp_path: Path) -> None:
    answer = ask("backup", "-o", "copy.db")
    assert answer.code == 0
    assert "13 events, verified" in answer.out
    assert ask("verify", "--ledger", "copy.db", "--json").json["head"] in answer.out
    again = ask("backup", "-o", "copy.db")
    assert (again.code, "replaces nothing" in again.err) == (2, True)
    assert ask("backup", "-o", "no/such/place.db").code == 2
    tamper(ledger, "UPDATE stored_events SET state = x'80' WHERE position = 4")
    damaged = ask("backup", "-o", "another.db")
    assert (damaged.code, "position 4" in damaged.err) == (6, True)
    assert not (tmp_path / "another.db").exists()


# rebuild


def test_views_that_differ_are_found_and_made_anew(ask: Ask, ledger: Path) -> None:
    assert ask("rebuild", "--check").code == 3
    assert ask("rebuild").out.endswith("built anew, at position 13\n")
    assert ask("rebuild", "--check").code == 0
    with closing(sqlite3.connect(views_path_for(ledger), isolation_level=None)) as connection:
        connection.execute("UPDATE fill_bookings SET price = '1' WHERE position = 5")
    differs = ask("rebuild", "--check")
    assert differs.code == 1
    assert "fill_bookings, position 5: price is '1' and should be '43000'" in differs.err
    assert ask("rebuild").code == 0
    assert "equal to a rebuild at position 13" in ask("rebuild", "--check").out


def test_a_live_process_takes_rebuilt_views_over(ask: Ask, ledger: Path, log: LogBuilder) -> None:
    with (
        OrderLedger.open(ledger) as live,
        ProjectionRunner(LedgerEventSource(live), views_path_for(ledger)) as keeper,
    ):
        assert keeper.wait_for(13, 60)
        assert ask("rebuild").code == 0
        live.append([log.filled("half", fill_key="3", exchange_order_id="91490942")])
        assert keeper.wait_for(14, 60)
        assert "equal to a rebuild at position 14" in ask("rebuild", "--check").out


def test_an_event_that_does_not_fold_is_said_after_a_rebuild(ask: Ask, ledger: Path, log: LogBuilder) -> None:
    with OrderLedger.open(ledger) as opened:
        opened.append([log.filled("half", fill_key="1", exchange_order_id="91490942")])
    answer = ask("rebuild")
    assert answer.code == 0
    assert "1 events could not be folded; the first is at position 14" in answer.err


# sql


@pytest.mark.usefixtures("ledger")
def test_sql_answers_as_a_table_and_as_json(ask: Ask) -> None:
    question = (
        "SELECT trading_pair, decimal_sum(amount) AS sold, count(*) AS n FROM fills GROUP BY 1 ORDER BY 1"
    )
    assert ask("sql", question).out == (
        "trading_pair  sold  n\nBTC-USD       0.4   1\nETH-USD       0.1   1\n"
    )
    assert ask("sql", question, "--json").json == [
        {"trading_pair": "BTC-USD", "sold": "0.4", "n": 1},
        {"trading_pair": "ETH-USD", "sold": "0.1", "n": 1},
    ]
    nothing = "SELECT amount FROM fills WHERE 0"
    assert ask("sql", nothing, "--json").json == []
    assert ask("sql", nothing).out == "No rows.\n"
    assert ask("sql", "SELECT NULL AS a, x'0a' AS b", "--json").json == [{"a": None, "b": "0a"}]


@pytest.mark.usefixtures("ledger")
def test_sql_that_would_write_or_makes_no_sense_is_a_usage_error(ask: Ask) -> None:
    refused = ask("sql", "DELETE FROM orders")
    assert (refused.code, refused.out) == (2, "")
    assert "Only reading is allowed here: DELETE from orders is refused." in refused.err
    assert ask("sql", "SELCT").code == 2
    assert ask("sql", "SELECT count(*) AS n FROM fills", "--json").json == [{"n": 2}]
    assert ask("sql", "SELECT 1", "--ledger", "elsewhere.db").code == 3


# --salvage


def test_what_is_intact_of_a_damaged_ledger_stays_readable(ask: Ask, ledger: Path) -> None:
    tamper(
        ledger,
        "UPDATE stored_events SET state = x'80' WHERE position = 4",
        "DELETE FROM stored_events WHERE position = 13",
    )
    question = "SELECT client_order_id, state FROM orders ORDER BY 1"
    assert ask("sql", question).code == 6
    answer = ask("sql", question, "--json", "--salvage")
    assert answer.code == 0
    assert [(row["client_order_id"], row["state"]) for row in answer.json] == [
        ("gone", "cancelled"),
        ("half", "pending_submit"),
        ("lost", "pending_submit"),
    ]
    assert "position 4 (half): event at position 4: it does not fit its hash" in answer.err
    assert not views_path_for(ledger).exists(), "the views of the whole ledger are left alone"
    why = ask("why", "half", "--salvage")
    assert why.code == 0
    assert "event at position 4" in why.out
    assert ask("why", "gone", "--salvage").out.endswith("Nothing about it is unknown.\n")


@pytest.mark.usefixtures("ledger")
def test_salvage_of_an_intact_ledger_leaves_nothing_out(ask: Ask) -> None:
    answer = ask("sql", "SELECT count(*) AS n FROM order_timeline", "--json", "--salvage")
    assert (answer.code, answer.json) == (0, [{"n": 11}])
    assert "nothing is left out" in answer.err
    assert ask("why", "half", "--salvage", "--ledger", "elsewhere.db").code == 3


@pytest.mark.parametrize("command", ["orders", "open-orders", "positions", "fills", "history half"])
def test_every_reading_command_can_salvage(ask: Ask, ledger: Path, command: str) -> None:
    tamper(ledger, "DELETE FROM stored_events WHERE position = 13")
    assert ask(*command.split()).code == 6
    answer = ask(*command.split(), "--json", "--salvage")
    assert answer.code == 0
    assert answer.json
