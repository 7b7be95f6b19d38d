"""`funding`, `pnl`, `stats`, `diff`, `export`: what a user types, and what comes back."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pyarrow import parquet

from adapters.cli.main import main
from adapters.storage.ledger import OrderLedger
from domain.events import AccountFundingBooked, OrderFailed
from tests.unit.projections.logs import LogBuilder


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
    """Run `orderledger …` beside a ledger: 1 to 4 an order filled in part, 5 funding, 6 and 7 one refused."""
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "ORDERLEDGER__LEDGER__PATH"):
        monkeypatch.delenv(name, raising=False)
    builder = LogBuilder()
    builder.open_order("first", "71", tag='mean, "fast"', reference_price=Decimal("42999"))
    builder.filled("first", exchange_order_id="71", amount=Decimal("0.4"))
    builder.account(
        AccountFundingBooked,
        funding_key="f1",
        trading_pair="BTC-USD",
        amount=Decimal("-0.0000000125"),
        token="USDC",
        rate=Decimal("0.0000125"),
        position_size=Decimal("0.4"),
        exchange_time_ms=1_700_000_000_007,
    )
    builder.created("refused", trading_pair="ETH-USD")
    builder.add(OrderFailed, "refused", reason_code="no_margin")
    with OrderLedger.open(tmp_path / "ledger.db") as opened:
        opened.append(builder.events)

    def run(*arguments: str) -> Answer:
        code = main(arguments)
        written = capsys.readouterr()
        return Answer(code, written.out, written.err)

    return run


def test_funding_is_listed_and_filtered(ask: Ask) -> None:
    (payment,) = ask("funding", "--json").json
    assert (payment["trading_pair"], payment["amount"]) == ("BTC-USD", "-0.0000000125")
    assert "-0.0000000125  USDC" in ask("funding").out
    assert ask("funding", "--pair", "ETH-USD").out == "No funding payments match.\n"
    assert ask("funding", "--at", "4").out == "No funding payments.\n"


def test_profit_is_told_per_market_and_in_all(ask: Ask) -> None:
    market, total = ask("pnl", "--json", "--mark", "BTC-USD=43100").json
    assert (market["trading_pair"], Decimal(market["unrealised_pnl"])) == ("BTC-USD", 40)
    assert (total["trading_pair"], Decimal(total["net_pnl"])) == (
        None,
        Decimal("40") - Decimal("1.72") - Decimal("0.0000000125"),
    )
    shown = ask("pnl").out.splitlines()
    assert shown[1].split()[:3] == ["BTC-USD", "0.4", "-"]
    assert ask("pnl", "--at", "3").out == "No positions.\n"


def test_a_mark_price_of_a_market_that_is_not_there_is_noticed(ask: Ask) -> None:
    answer = ask("pnl", "--json", "--mark", "BTC=43100")
    assert answer.err == "note: there is nothing in BTC here: its mark price is not used\n"
    assert answer.json[0]["unrealised_pnl"] is None


def test_profit_is_told_of_a_time_and_of_a_strategy(ask: Ask) -> None:
    booked = ("--since", "2023-11-14T22:13:20.004Z", "--until", "2023-11-14T22:13:20.005Z")
    answer = ask("pnl", "--json", *booked)
    assert answer.err == "from position 4 to position 5\n"
    market, _ = answer.json
    assert (market["amount"], market["funding"], market["fees"]) == ("0.4", "-0.0000000125", {})
    marked = ("--mark", "BTC-USD=43010", "--opening-mark", "BTC-USD=43000")
    assert ask("pnl", "--json", *booked, *marked).json[0]["net_pnl"] == "3.9999999875"
    early = ask("pnl", "--json", "--until", "2023-11-14T22:13:20Z")
    assert (early.err, early.json) == ("from position 0 to position 0\n", [])
    (own, _) = ask("pnl", "--json", "--tag", 'mean, "fast"').json
    assert (own["amount"], own["fees"], own["funding"]) == ("0.4", {"USDC": "1.72"}, "0")
    assert ask("positions", "--tag", "nobody").out == "No positions match.\n"
    exported = ask("export", "pnl", *booked).out
    assert [row["funding"] for row in csv.DictReader(io.StringIO(exported))] == ["-0.0000000125"]


@pytest.mark.parametrize(
    "command", ["orders", "open-orders", "positions", "fills", "funding", "pnl", "stats"]
)
def test_a_time_that_ends_before_it_begins_is_a_usage_error(ask: Ask, command: str) -> None:
    answer = ask(command, "--since", "2026-01-02T00:00:00Z", "--until", "2026-01-02T01:00:00+01:00")
    assert (answer.code, answer.out) == (2, "")
    assert "nothing can lie in between" in answer.err


@pytest.mark.parametrize("mark", ["BTC-USD", "BTC-USD=", "=5", "BTC-USD=0", "BTC-USD=-1", "BTC-USD=NaN"])
def test_what_is_no_mark_price_is_a_usage_error(ask: Ask, mark: str) -> None:
    answer = ask("pnl", "--mark", mark)
    assert answer.code == 2
    assert "such as BTC-USD=43210.5" in answer.err


def test_statistics_are_told_per_market_and_in_all(ask: Ask) -> None:
    btc, eth, total = ask("stats", "--json").json
    assert (btc["orders"], btc["done_orders"], Decimal(btc["slippage"])) == (1, 0, Decimal("0.4"))
    assert btc["acknowledgement"]["median_ns"] == 1_000_000
    assert eth["reject_reasons"] == {"no_margin": 1}
    assert (total["trading_pair"], total["orders"]) == (None, 2)
    shown = ask("stats").out
    assert "refused, no margin: 1\n" in shown
    assert "1.0 ms" in shown
    assert ask("stats", "--tag", "nobody").out == "No orders match.\n"


def test_what_changed_between_two_points(ask: Ask) -> None:
    answer = ask("diff", "--from", "3", "--to", "5", "--json")
    assert answer.err == "from position 3 to position 5\n"
    (order,) = answer.json["orders"]
    assert (order["before"]["state"], order["after"]["state"]) == ("open", "partially_filled")
    assert [fill["position"] for fill in answer.json["fills"]] == [4]
    shown = ask("diff", "--from", "3").out
    assert "open → partially_filled" in shown
    assert "- → failed" in shown
    assert "0 → 0.4" in shown
    assert shown.endswith("1 fills, 1 funding payments\n")
    assert ask("diff", "--from", "7").out == "Nothing changed.\n"


def test_points_that_cannot_be_compared_are_refused(ask: Ask) -> None:
    assert ask("diff", "--from", "5", "--to", "3").code == 2
    assert ask("diff", "--from", "2020-01-01").code == 3
    assert ask("diff", "--from", "1", "--to", "99").code == 3
    assert ask("diff").code == 2


def test_an_export_as_csv_holds_every_row_with_the_position_it_is_from(ask: Ask) -> None:
    rows = list(csv.DictReader(io.StringIO(ask("export", "orders").out)))
    assert [row["client_order_id"] for row in rows] == ["first", "refused"]
    assert {row["as_of_position"] for row in rows} == {"7"}
    assert (rows[0]["tag"], rows[0]["fees"], rows[0]["done"]) == (
        'mean, "fast"',
        '{"USDC":"1.72"}',
        "false",
    )
    assert rows[1]["exchange_order_id"] == ""
    then = ask("export", "orders", "--at", "2").out
    assert [row["state"] for row in csv.DictReader(io.StringIO(then))] == ["pending_submit"]


def test_an_export_as_json_lines_keeps_every_digit(ask: Ask) -> None:
    lines = ask("export", "funding", "--format", "jsonl").out.splitlines()
    (payment,) = map(json.loads, lines)
    assert payment["as_of_position"] == 7
    assert payment["amount"] == "-0.0000000125"
    (profit,) = map(json.loads, ask("export", "pnl", "--format", "jsonl").out.splitlines())
    assert (profit["fees"], profit["funding"]) == ({"USDC": "1.72"}, "-0.0000000125")


def test_an_export_into_a_file_is_what_was_printed_and_the_same_again(ask: Ask, tmp_path: Path) -> None:
    printed = ask("export", "fills").out
    for name in ("a.csv", "b.csv"):
        answer = ask("export", "fills", "--output", name)
        assert (answer.out, answer.err) == ("", f"1 rows as of position 7 in {name}\n")
        assert (tmp_path / name).read_bytes() == printed.encode()


def test_a_dash_is_standard_output(ask: Ask, tmp_path: Path) -> None:
    assert ask("export", "orders", "-o", "-").out == ask("export", "orders").out
    assert not (tmp_path / "-").exists()


def test_an_export_without_rows_still_names_its_columns(ask: Ask) -> None:
    header, *rows = ask("export", "fills", "--pair", "ETH-USD").out.splitlines()
    assert header.startswith("as_of_position,position,venue,account,fill_key,")
    assert rows == []
    assert ask("export", "fills", "--pair", "ETH-USD", "--format", "jsonl").out == ""


@pytest.mark.parametrize(
    "arguments",
    ["fills --state open", "funding --tag a", "orders --mark BTC-USD=1", "fills --opening-mark BTC-USD=1"],
)
def test_an_option_without_meaning_for_an_export_is_refused_instead_of_ignored(
    ask: Ask, arguments: str
) -> None:
    answer = ask("export", *arguments.split())
    assert answer.code == 2
    assert "has no meaning for" in answer.err


@pytest.mark.parametrize("what", ["orders", "fills", "funding", "pnl"])
def test_an_export_as_parquet_holds_what_the_json_lines_hold(ask: Ask, tmp_path: Path, what: str) -> None:
    for name in ("a.parquet", "b.parquet"):
        assert ask("export", what, "--format", "parquet", "--output", name).code == 0
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.schema.metadata[b"as_of_position"] == b"7"
    rows = [
        {name: dict(value) if name == "fees" else value for name, value in row.items()}
        for row in table.to_pylist()
    ]
    lines = ask("export", what, "--format", "jsonl").out.splitlines()
    assert rows == [json.loads(line) for line in lines] != []


def test_an_export_as_parquet_without_rows_still_has_its_columns(ask: Ask, tmp_path: Path) -> None:
    assert ask("export", "fills", "--pair", "X-USD", "--format", "parquet", "--output", "f.parquet").code == 0
    table = parquet.read_table(tmp_path / "f.parquet")
    assert table.num_rows == 0
    assert table.schema.names[:2] == ["as_of_position", "position"]
    assert table.schema.field("price").metadata == {b"orderledger": b"decimal"}


def test_without_its_extra_parquet_is_refused_with_the_command_that_installs_it(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer = ask("export", "orders", "--format", "parquet", "--output", "orders.parquet")
    assert answer.code == 2
    assert "pip install 'orderledger[parquet]'" in answer.err
    assert not list(tmp_path.glob("orders.parquet*"))


def test_a_terminal_is_not_filled_with_parquet(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    answer = ask("export", "orders", "--format", "parquet")
    assert (answer.code, answer.out) == (2, "")
    assert "--output FILE" in answer.err


def test_an_export_replaces_an_earlier_one_as_a_whole(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("from yesterday")
    assert ask("export", "orders", "--output", "orders.csv").code == 0
    assert (tmp_path / "orders.csv").read_text().startswith("as_of_position,")
    assert [path.name for path in tmp_path.glob("orders.csv*")] == ["orders.csv"]


def test_a_file_that_cannot_be_written_is_said(ask: Ask) -> None:
    answer = ask("export", "orders", "--output", "nowhere/orders.csv")
    assert answer.code == 2
    assert (
        answer.err == "orderledger: There is no directory nowhere to write orders.csv into: make it first.\n"
    )
