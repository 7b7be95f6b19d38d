"""`discrepancies`, and what the other commands say of a fill that was taken back."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapters.cli.main import main
from adapters.storage.ledger import OrderLedger
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
    """Run `orderledger …` beside a ledger: 4 and 5 fills; 6 to 8 a fill found and taken back; 9 and 10 a
    difference that is waived, 11 one that is open."""
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "ORDERLEDGER__LEDGER__PATH"):
        monkeypatch.delenv(name, raising=False)
    log = LogBuilder()
    log.open_order("first", "71", tag="maker")
    log.filled("first", fill_key="1", exchange_order_id="71", amount=Decimal("0.4"))
    phantom = log.filled("first", fill_key="2", exchange_order_id="71", amount=Decimal("0.1"))
    log.found("D-1", subject="2", ours="buy 0.1 at 43000")
    log.corrected(phantom, None)
    log.repaired("D-1", repairs=("order.fill_corrected first 6",), actor="ann")
    log.found("D-2", kind="precision_only", subject="BTC-USD")
    log.waived("D-2")
    log.found("D-3", kind="position_drift", subject="ETH-USD", trading_pair="ETH-USD")
    with OrderLedger.open(tmp_path / "ledger.db") as opened:
        opened.append(log.events)

    def run(*arguments: str) -> Answer:
        code = main(arguments)
        written = capsys.readouterr()
        return Answer(code, written.out, written.err)

    return run


def test_findings_are_told_with_what_became_of_them(ask: Ask) -> None:
    shown = ask("discrepancies").out
    assert shown.startswith("2023-11-14T22:13:20.005Z  position 6  D-1\n  phantom fill of 2, BTC-USD\n")
    assert "    ours    buy 0.1 at 43000\n    theirs  nothing\n" in shown
    assert "    repaired by ann at position 8: Taken back.\n      order.fill_corrected first 6\n\n" in shown
    assert "  precision only of BTC-USD\n" in shown
    assert "    waived by maria at position 10: It does no harm.\n" in shown
    assert shown.endswith("    open\n")


def test_findings_are_narrowed_and_told_as_of_then(ask: Ask) -> None:
    def ids(*arguments: str) -> list[str]:
        return [row["discrepancy_id"] for row in ask("discrepancies", "--json", *arguments).json]

    assert ids() == ["D-1", "D-2", "D-3"]
    assert ids("--open") == ["D-3"]
    assert ids("--at", "9") == ["D-1", "D-2"]
    assert ids("--at", "9", "--open") == ["D-2"]
    assert ids("--pair", "ETH-USD") == ["D-3"]
    assert ids("--limit", "1") == ["D-3"]
    assert ids("--since", "2023-11-14T22:13:20.006Z") == ["D-2", "D-3"]
    assert ask("discrepancies", "--at", "5").out == "No discrepancies.\n"
    assert ask("discrepancies", "--open", "--pair", "X-USD").out == "No open discrepancies match.\n"


def test_a_finding_as_json_has_its_evidence_and_its_repair(ask: Ask) -> None:
    repaired, _, unsettled = ask("discrepancies", "--json").json
    assert (repaired["status"], repaired["settled_position"]) == ("repaired", 8)
    assert (repaired["evidence"], repaired["repairs"]) == ("[]", ["order.fill_corrected first 6"])
    assert (unsettled["status"], unsettled["settled_position"], unsettled["actor"]) == ("open", None, "")


def test_a_fill_that_was_taken_back_is_in_no_answer_from_then_on(ask: Ask) -> None:
    assert [fill["fill_key"] for fill in ask("fills", "--json").json] == ["1"]
    assert [fill["fill_key"] for fill in ask("fills", "--json", "--at", "6").json] == ["1", "2"]
    assert len(ask("export", "fills").out.splitlines()) == 2
    assert len(ask("export", "fills", "--at", "6").out.splitlines()) == 3
    own, whole = ask("positions", "--json", "--tag", "maker").json, ask("positions", "--json").json
    assert own == whole
    assert whole[0]["amount"] == "0.4"
    assert ask("verify").code == 0


def test_a_difference_between_two_points_says_what_was_taken_back(ask: Ask) -> None:
    (taken_back,) = ask("diff", "--from", "6", "--json").json["fills_taken_back"]
    assert taken_back["fill_key"] == "2"
    assert ask("diff", "--from", "6").out.endswith("0 fills (1 taken back), 0 funding payments\n")
