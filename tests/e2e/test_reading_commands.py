"""`orders`, `open-orders`, `positions`, `fills`, `history`: what a user types, and what comes back."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from adapters.cli import current_views, progress_line
from adapters.cli.main import main
from adapters.storage.ledger import OrderLedger
from domain.enums import OrderType, TradeType
from domain.events import (
    AccountFillBooked,
    AccountFundingBooked,
    OrderCancelled,
    OrderSubmitUnknown,
)
from projections import views_path_for
from projections.views_lock import ViewsLock
from tests.unit.projections.logs import LogBuilder, a_fill

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("orderledger")
LISTS = ("orders", "open-orders", "positions", "fills")

OPEN = "0x018bcfe56800000000010123456789ab"
UNKNOWN = "0x018bcfe56800000000020123456789ab"


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
    """One order half filled, one whose answer was lost, one cancelled and then filled some more."""
    builder = LogBuilder()
    builder.open_order(OPEN, "91490942", venue_order_key="0xfeed", amount=Decimal("1.0"))
    builder.filled(OPEN, fill_key="1", exchange_order_id="91490942", amount=Decimal("0.4"))
    builder.created(UNKNOWN, trade_type=TradeType.SELL, order_type=OrderType.TAKE_PROFIT_MARKET)
    builder.submitted(UNKNOWN)
    builder.add(OrderSubmitUnknown, UNKNOWN, reason_code="timeout", reason="no answer within 5 s")
    builder.open_order("mm-1", "91490955", trading_pair="ETH-USD", price=Decimal("2301.5"))
    builder.add(OrderCancelled, "mm-1", reason_code="requested")
    for number, price in enumerate(("2301.1", "2300.3", "2300.7"), 2):
        builder.filled(
            "mm-1",
            fill_key=str(number),
            exchange_order_id="91490955",
            trading_pair="ETH-USD",
            price=Decimal(price),
            amount=Decimal("0.1"),
        )
    builder.account(
        AccountFundingBooked,
        funding_key="f1",
        trading_pair="BTC-USD",
        amount=Decimal("-0.0125"),
        token="USDC",
        rate=Decimal("0.0000125"),
        position_size=Decimal("0.4"),
    )
    return builder


@pytest.fixture
def ledger(tmp_path: Path, log: LogBuilder) -> Path:
    path = tmp_path / "ledger.db"
    with OrderLedger.open(path) as opened:
        opened.append(log.events)
    return path


# JSON


def test_orders_as_json_are_one_array_with_decimals_as_strings(ask: Ask, ledger: Path) -> None:
    answer = ask("orders", "--json")
    assert (answer.code, answer.err) == (0, "")
    first, unknown, cancelled = answer.json
    assert [order["client_order_id"] for order in answer.json] == [OPEN, UNKNOWN, "mm-1"]
    assert (first["amount"], first["filled_amount"], first["remaining_amount"]) == ("1", "0.4", "0.6")
    assert (first["fees"], first["state"]) == ({"USDC": "1.72"}, "partially_filled")
    assert type(first["created_at_ns"]) is int
    assert (unknown["outcome_unknown"], unknown["reason_code"], unknown["done"]) == (True, "timeout", False)
    assert (cancelled["state"], cancelled["filled_amount"]) == ("cancelled", "0.3")
    assert Decimal(cancelled["average_fill_price"]) == Decimal("2300.7")


@pytest.mark.parametrize("command", [*(f"{name} --json" for name in LISTS), "history mm-1 --json"])
def test_json_holds_no_float_anywhere(ask: Ask, ledger: Path, command: str) -> None:
    def refuse(text: str) -> None:
        raise AssertionError(f"a float: {text}")

    json.loads(ask(*command.split()).out, parse_float=refuse)


@pytest.mark.usefixtures("ledger")
def test_filters_narrow_what_is_shown(ask: Ask) -> None:
    def ids(*arguments: str) -> list[str]:
        return [order["client_order_id"] for order in ask(*arguments, "--json").json]

    assert ids("orders", "--pair", "ETH-USD") == ["mm-1"]
    assert ids("orders", "--state", "cancelled", "--state", "PENDING_SUBMIT") == [UNKNOWN, "mm-1"]
    assert ids("orders", "--limit", "2") == [UNKNOWN, "mm-1"]
    assert ids("open-orders") == [OPEN, UNKNOWN]
    assert ids("open-orders", "--pair", "ETH-USD") == []
    assert [fill["fill_key"] for fill in ask("fills", "--limit", "1", "--json").json] == ["4"]
    assert [row["trading_pair"] for row in ask("positions", "--pair", "BTC-USD", "--json").json] == [
        "BTC-USD"
    ]


def test_positions_carry_fees_and_funding_apart_from_profit(ask: Ask, ledger: Path) -> None:
    bitcoin, ether = ask("positions", "--json").json
    assert (bitcoin["amount"], bitcoin["average_entry"], bitcoin["funding"]) == ("0.4", "43000", "-0.0125")
    assert (ether["amount"], ether["realised_pnl"], ether["fees"]) == ("0.3", "0", {"USDC": "5.16"})


@pytest.mark.parametrize("name", [OPEN, OPEN[:22], "91490942", "9149094", "0xfeed", "0xfe"])
def test_an_order_is_found_by_any_of_its_names_and_by_their_beginning(
    ask: Ask, ledger: Path, name: str
) -> None:
    if name == "9149094":
        with OrderLedger.open(ledger) as opened:
            builder = LogBuilder()
            builder.created("91490")
            opened.append(builder.events)
    history = ask("history", name, "--json").json
    assert history["client_order_id"] == OPEN
    assert [event["state"] for event in history["events"]] == [
        "pending_create",
        "pending_submit",
        "open",
        "partially_filled",
    ]
    assert [fill["fill_key"] for fill in history["fills"]] == ["1"]


# For the eye


@pytest.mark.parametrize("command", [*LISTS, f"history {OPEN}", "history mm-1"])
def test_tables_are_aligned_and_fit_a_hundred_columns(ask: Ask, ledger: Path, command: str) -> None:
    answer = ask(*command.split())
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= 100
    heading = next(at for at, line in enumerate(lines) if re.match(r"[A-Z]{4}", line))
    gaps = [match.end() for match in re.finditer(r"  (?=\S)", lines[heading])]
    if command not in ("positions", "fills"):
        # The last column is set to the left: it begins in the same place on every line.
        for line in lines[heading + 1 :]:
            assert line[gaps[-1] - 2 : gaps[-1]] == "  "
            assert line[gaps[-1]] != " "
    else:
        assert len({len(line) for line in lines[heading:]}) == 1


def test_times_are_utc_with_milliseconds(ask: Ask, ledger: Path) -> None:
    assert "2023-11-14T22:13:20.123Z" in ask("fills").out
    assert ask("orders").out.splitlines()[1].startswith("2023-11-14T22:13:20.000Z")


def test_an_unknown_outcome_is_loud(ask: Ask, ledger: Path) -> None:
    text = " ".join(ask("open-orders").out.split())
    assert "pending_submit, OUTCOME UNKNOWN (timeout)" in text


def test_history_reads_as_what_happened(ask: Ask, ledger: Path) -> None:
    text = " ".join(ask("history", "mm-1").out.split())
    assert "order mm-1 exchange id 91490955 buy 1 ETH-USD, limit at 2301.5" in text
    assert "cancelled (requested): filled 0.3 of 1 at 2300.7, fees 5.16 USDC" in text
    assert "acknowledged by the venue as 91490955" in text
    assert "filled: buy 0.1 at 2301.1 as maker, fee 1.72 USDC" in text


@pytest.mark.parametrize("command", LISTS)
def test_an_empty_ledger_says_so(ask: Ask, tmp_path: Path, command: str) -> None:
    OrderLedger.open(tmp_path / "ledger.db").close()
    assert ask(command) == (0, f"No {command.replace('-', ' ')}.\n", "")
    assert ask(command, "--json").json == []


def test_a_filter_that_matches_nothing_says_so(ask: Ask, ledger: Path) -> None:
    assert ask("orders", "--pair", "DOGE-USD") == (0, "No orders match.\n", "")


def test_a_position_of_two_accounts_names_them(ask: Ask, ledger: Path) -> None:
    with OrderLedger.open(ledger) as opened:
        builder = LogBuilder()
        event = builder.add(AccountFillBooked, "account:hyperliquid:0xother", fill=a_fill(fill_key="77"))
        opened.append([msgspec.structs.replace(event, account="0xother")])
    text = ask("positions").out
    assert "ACCOUNT" in text
    assert "0xother" in text


def test_control_characters_of_a_venue_cannot_move_the_cursor(ask: Ask, tmp_path: Path) -> None:
    builder = LogBuilder()
    builder.open_order("o1", "1")
    builder.add(OrderCancelled, "o1", reason_code="x", reason="\x1b[2Jgone\r\nfake line")
    with OrderLedger.open(tmp_path / "ledger.db") as opened:
        opened.append(builder.events)
    for command in (("orders",), ("history", "o1")):
        text = ask(*command).out
        assert "\x1b" not in text
        assert "\r" not in text
        assert not any(line.startswith("fake") for line in text.splitlines())


# What goes wrong


def test_an_order_nobody_knows_is_not_found(ask: Ask, ledger: Path) -> None:
    answer = ask("history", "nope")
    assert (answer.code, answer.out) == (3, "")
    assert "'nope'" in answer.err


def test_a_beginning_of_several_orders_lists_them(ask: Ask, ledger: Path) -> None:
    answer = ask("history", "0x018b")
    assert (answer.code, answer.out) == (2, "")
    assert f"\n  {OPEN}\n  {UNKNOWN}\n" in answer.err


def test_an_empty_name_is_not_every_order(ask: Ask, ledger: Path) -> None:
    assert ask("history", "").code == 3


@pytest.mark.parametrize("command", [*LISTS, "history x"])
def test_a_missing_ledger_says_what_to_do(ask: Ask, tmp_path: Path, command: str) -> None:
    answer = ask(*command.split())
    assert (answer.code, answer.out) == (3, "")
    assert "ledger.db" in answer.err
    assert "--ledger FILE" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_file_is_refused(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("shopping list")
    answer = ask("orders")
    assert (answer.code, answer.out) == (6, "")
    assert "not a ledger" in answer.err


def test_a_damaged_ledger_is_refused(ask: Ask, ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("DROP TABLE order_keys")
    assert ask("orders").code == 6


def test_a_ledger_of_a_newer_version_is_refused(ask: Ask, ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    answer = ask("orders")
    assert answer.code == 6
    assert "Upgrade" in answer.err


def test_views_of_another_ledger_are_refused(ask: Ask, ledger: Path, tmp_path: Path) -> None:
    assert ask("orders").code == 0
    other = tmp_path / "other.db"
    OrderLedger.open(other).close()
    shutil.copy(views_path_for(ledger), views_path_for(other))
    answer = ask("orders", "--ledger", str(other))
    assert (answer.code, answer.out) == (1, "")
    assert "belong to the ledger" in answer.err


def test_what_could_not_be_folded_is_warned_of(ask: Ask, ledger: Path) -> None:
    builder = LogBuilder()
    builder.created("o9", amount=Decimal("NaN"))
    with OrderLedger.open(ledger) as opened:
        opened.append(builder.events)
    answer = ask("orders", "--json")
    assert (answer.code, len(answer.json)) == (0, 3)
    assert "warning: 1 events could not be folded" in answer.err
    assert "o9" in answer.err
    assert "no state to show" in ask("history", "o9").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("orders", "--state", "flying"),
        ("orders", "--limit", "0"),
        ("orders", "--limit", "many"),
        ("fills", "--limit", "-1"),
        ("positions", "--limit", "1"),
        ("history",),
        ("orders", "extra"),
    ],
)
def test_wrong_usage_ends_with_two(ask: Ask, ledger: Path, arguments: tuple[str, ...]) -> None:
    answer = ask(*arguments)
    assert (answer.code, answer.out) == (2, "")


@pytest.mark.parametrize("command", [*LISTS, "history"])
def test_help_says_what_json_looks_like(ask: Ask, command: str) -> None:
    answer = ask(command, "--help")
    assert answer.code == 0
    assert "decimal strings" in " ".join(answer.out.split())


# Which ledger, and who keeps its views


def test_the_ledger_is_the_configs_when_there_is_one(ask: Ask, ledger: Path, tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    shutil.move(ledger, tmp_path / "books" / "main.db")
    (tmp_path / "orderledger.toml").write_text(
        '[ledger]\npath = "books/main.db"\nviews_path = "books/elsewhere.db"\n'
    )
    assert len(ask("orders", "--json").json) == 3
    assert (tmp_path / "books" / "elsewhere.db").exists()
    (tmp_path / "orderledger.toml").write_text('[ledger]\npath = "books/main.db"\n[venue\n')
    assert ask("orders", "--ledger", "books/main.db").code == 0


def test_views_that_were_deleted_are_built_again(ask: Ask, ledger: Path) -> None:
    before = ask("orders", "--json").out
    views_path_for(ledger).unlink()
    assert ask("orders", "--json").out == before


def test_a_terminal_is_shown_how_far_a_long_build_is(
    ask: Ask, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_line, "_SAY_AFTER_S", -1.0)
    assert "building" not in ask("orders").err
    views_path_for(ledger).unlink()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    shown = ask("orders").err
    assert "building the views: 15 of 15 events (100 %)" in shown
    assert shown.endswith("\r\x1b[K")
    views_path_for(ledger).unlink()
    monkeypatch.setenv("TERM", "dumb")
    assert ask("orders").err == "", "on such a terminal no line can be written over"


def test_a_directory_that_cannot_be_written_is_read_all_the_same(
    ask: Ask, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.W_OK)
    assert len(ask("orders", "--json").json) == 3
    assert not views_path_for(ledger).exists()


def test_a_live_process_is_read_while_it_writes_and_keeps_the_views(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current_views, "_KEEPER_WAIT_S", 60.0)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.projections.keeper_process", tmp_path / "ledger.db", "20"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        while (line := process.stdout.readline()) != "done\n":
            durable = int(line)
            if durable % 20 == 0:
                answer = ask("fills", "--json")
                assert (answer.code, answer.err) == (0, "")
                # Every fill that was durable before the question is in the answer.
                assert len(answer.json) >= durable // 4
        assert len(ask("orders", "--json").json) == 20
    finally:
        process.communicate("\n")
    assert process.returncode == 0


def test_a_keeper_that_does_not_move_is_waited_for_briefly_and_then_said(
    ask: Ask, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current_views, "_KEEPER_WAIT_S", 0.05)
    with ViewsLock(views_path_for(ledger)):
        answer = ask("orders")
        assert answer.code == 1
        assert "being built for the first time" in answer.err
    assert ask("orders").code == 0
    builder = LogBuilder()
    builder.open_order("o9", "9")
    with OrderLedger.open(ledger) as opened:
        opened.append(builder.events)
    with ViewsLock(views_path_for(ledger)):
        answer = ask("orders", "--json")
        assert (answer.code, len(answer.json)) == (0, 3)
        assert "3 events behind the ledger" in answer.err
    assert len(ask("orders", "--json").json) == 4


@pytest.mark.parametrize(
    "arguments", [("orders",), ("fills", "--json"), ("sql", "SELECT * FROM order_timeline", "--json")]
)
def test_a_reader_that_leaves_causes_no_traceback(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    builder = LogBuilder()
    for number in range(2_000):
        builder.open_order(f"o{number}", str(number))
        builder.filled(f"o{number}", fill_key=str(number))
    with OrderLedger.open(tmp_path / "ledger.db") as opened:
        opened.append(builder.events)
    ended = subprocess.run(
        ["sh", "-c", '"$0" "$@" | head -n 1', str(COMMAND), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert len(ended.stdout.splitlines()) == 1
    assert ended.stderr == ""
