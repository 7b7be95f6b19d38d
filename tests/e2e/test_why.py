"""`orderledger why`: what a user types, and the explanation that comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapters.cli.main import main
from adapters.storage.ledger import OrderLedger
from domain.enums import Source
from domain.events import (
    OrderAcknowledged,
    OrderCancelled,
    OrderCancelRequested,
    OrderCancelUnknown,
    OrderFailed,
    OrderSubmitUnknown,
)
from domain.inputs import CancelAll, RequestAnswered, RequestFailed, StreamFrame, TimerFired
from replays.recording import RecordedInput, SessionHeader
from replays.session_file import write_session
from tests.unit.projections.logs import ACCOUNT, LogBuilder
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
    """Run `orderledger why …` in an empty directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "ORDERLEDGER__LEDGER__PATH"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Answer:
        code = main(("why", *arguments))
        written = capsys.readouterr()
        return Answer(code, written.out, written.err)

    return run


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """An order whose answer was lost and found again, one like it, and the recording of it all."""
    log = LogBuilder()
    log.created("lost-1")
    log.submitted("lost-1")
    log.add(OrderSubmitUnknown, "lost-1", source=Source.HTTP, reason_code="no_answer", reason="reset")
    log.add(OrderAcknowledged, "lost-1", source=Source.QUERY, exchange_order_id="91490942")
    log.filled("lost-1", exchange_order_id="91490942")
    log.created("lost-2")
    path = tmp_path / "ledger.db"
    with OrderLedger.open(path) as opened:
        opened.append(log.events)
    # The log's events name the inputs s1:0, s1:1, …
    inputs = (
        TimerFired(sequence=1, at_ns=1),
        RequestFailed(sequence=2, at_ns=2, request_id=7, reason="reset by peer", sent=True),
        RequestAnswered(sequence=3, at_ns=3, request_id=8, status=200, body=b'{"status":"order"}'),
        StreamFrame(sequence=4, at_ns=4, stream="user", data=b'{"channel":"userFills"} \xff'),
        CancelAll(sequence=5, at_ns=5),
    )
    record(tmp_path / "sessions", "s1", inputs[:3])
    record(tmp_path / "sessions", "s1", inputs[3:], part=2, previous_sequence=3)
    record(tmp_path / "sessions", "another", inputs[:1])
    return path


def record(directory: Path, session: str, inputs: Any, **members: Any) -> None:
    directory.mkdir(exist_ok=True)
    header = SessionHeader(
        package_version="0",
        config_fingerprint="0",
        venue="hyperliquid",
        network="testnet",
        account=ACCOUNT,
        signer="",
        session_id=session,
        core_options={},
        started_at_ns=1,
        **members,
    )
    path = directory / f"ledger-{session}-{header.part}.session"
    write_session(path, header, [RecordedInput(item) for item in inputs])


@pytest.mark.usefixtures("ledger")
def test_a_lost_answer_is_explained_line_by_line(ask: Ask) -> None:
    answer = ask("91490942")
    assert (answer.code, answer.err) == (0, "")
    said = " ".join(answer.out.split())
    assert said.startswith("Order lost-1 (exchange id 91490942)")
    assert (
        "It is partially filled (not done) since 2023-11-14T22:13:20.004Z. 0.4 of 1 is filled at 43000, fees "
        "1.72 USDC. The outcome of a request about it was unknown for 1.0 ms: from 22:13:20.002 until the "
        "venue, asked, told it."
    ) in said
    for words in (
        "22:13:20.000 command 0 The intent: buy 1 BTC-USD",
        "22:13:20.002 +1.0 ms http 2 No answer (reset): the order may or may not have arrived",
        "22:13:20.003 +1.0 ms query 3 Asked, the venue has the order as 91490942: the request had arrived",
        "0.4 of 1 filled → partially_filled",
        "Concluded, not told: - 22:13:20.003 That the request had arrived, only its answer was lost. It",
        "INPUT is the recorded input of session s1 that led to the fact; --raw shows what came in. Concluded",
        "Nothing about it is unknown.",
    ):
        assert words in said
    assert all(len(line) <= 100 for line in answer.out.splitlines())


@pytest.mark.usefixtures("ledger")
def test_the_facts_come_as_json(ask: Ask) -> None:
    story = ask("lost-1", "--json").json
    assert (story["client_order_id"], story["filled_amount"], story["amount"]) == ("lost-1", "0.4", "1")
    assert [step["topic"] for step in story["steps"]][2:4] == ["order.submit_unknown", "order.acknowledged"]
    assert story["steps"][3]["causation"] == "s1:3"
    assert story["steps"][3]["since_previous_ns"] == 1_000_000
    assert story["steps"][3]["inferred_from"]
    assert "input" not in story["steps"][3]


def test_the_end_is_told_with_what_brought_it(ask: Ask, ledger: Path) -> None:
    log = LogBuilder()
    log.open_order("ended", "5")
    log.add(OrderCancelRequested, "ended", source=Source.COMMAND, nonce=7)
    log.add(OrderCancelUnknown, "ended", source=Source.HTTP, reason_code="timeout")
    in_doubt = list(log.events)
    log.add(OrderCancelled, "ended", reason_code="cancelled_by_user", reason="canceled")
    log.created("refused")
    log.add(OrderFailed, "refused", source=Source.COMMAND, reason_code="below_min_notional")
    with OrderLedger.open(ledger) as opened:
        opened.append(in_doubt)
        assert "The OUTCOME of a request about it IS UNKNOWN since 22:13:20.004." in ask("ended").out
        opened.append(log.events[len(in_doubt) :])
    said = " ".join(ask("ended").out.split())
    assert (
        "It is cancelled since 2023-11-14T22:13:20.005Z, as we asked (cancelled by user; the venue's word: "
        "canceled). Nothing of 1 was filled. The outcome of a request about it was unknown for 1.0 ms: from "
        "22:13:20.004 until the venue's stream told it."
    ) in said
    said = " ".join(ask("refused").out.split())
    assert ": failed here, nothing was sent (below min notional). Nothing of 1 was filled." in said


@pytest.mark.usefixtures("ledger")
def test_an_order_is_explained_as_it_stood_at_a_moment(ask: Ask) -> None:
    answer = ask("lost-1", "--at", "3")
    assert answer.err.startswith("as of position 3, recorded")
    assert "Whether the venue has it, and so whether it can fill." in answer.out
    then = ask("lost-1", "--at", "2023-11-14T22:13:20.003Z", "--json")
    assert [step["position"] for step in then.json["steps"]] == [1, 2, 3, 4]
    assert then.json["doubts"] == [{"from_position": 3, "to_position": 4, "lasted_ns": 1_000_000}]
    assert ask("lost-2", "--at", "5").code == 3


@pytest.mark.usefixtures("ledger")
def test_raw_adds_what_came_in_from_every_part_of_the_recording(ask: Ask) -> None:
    answer = ask("lost-1", "--raw")
    assert "    | input s1:2: no answer to request 7\n    | reset by peer\n" in answer.out
    assert '    | input s1:3: answer to request 8, status 200\n    | {"status":"order"}\n' in answer.out
    assert '    | input s1:4: frame of the user stream\n    | {"channel":"userFills"} \\xff\n' in answer.out
    assert "    | input s1:0: not in a recording" in answer.out
    assert "1 of 5 inputs are in no recording" in answer.err
    steps = ask("lost-1", "--raw", "--json").json["steps"]
    assert [step["input"] and step["input"]["kind"] for step in steps] == [
        None,
        "timer_fired",
        "request_failed",
        "request_answered",
        "stream_frame",
    ]
    assert steps[3]["input"]["body"] == '{"status":"order"}'


def test_a_damaged_recording_takes_nothing_from_the_explanation(ask: Ask, ledger: Path) -> None:
    (recording,) = ledger.with_name("sessions").glob("ledger-s1-2*")
    recording.write_bytes(b"no recording at all, whatever it is called")
    answer = ask("lost-1", "--raw")
    assert answer.code == 0
    assert recording.name in answer.err
    assert '{"status":"order"}' in answer.out
    Path("elsewhere").mkdir()
    elsewhere = ask("lost-1", "--raw", "--sessions", "elsewhere")
    assert "5 of 5 inputs are in no recording in elsewhere" in elsewhere.err


@pytest.mark.usefixtures("ledger")
def test_a_directory_of_recordings_that_is_not_there_is_said(ask: Ask) -> None:
    nowhere = ask("lost-1", "--raw", "--sessions", "nowhere")
    assert (nowhere.code, nowhere.out) == (3, "")
    assert "There is no directory nowhere" in nowhere.err
    unused = ask("lost-1", "--sessions", "nowhere")
    assert (unused.code, "--raw" in unused.err) == (2, True)


@pytest.mark.usefixtures("ledger")
def test_an_order_that_is_not_one_is_refused(ask: Ask) -> None:
    assert ask("nothing").code == 3
    several = ask("lost")
    assert several.code == 2
    assert "lost-1" in several.err
    assert "lost-2" in several.err
    assert ask("lost-1", "--ledger", "elsewhere.db").code == 3


def test_an_event_that_cannot_be_read_is_said_and_the_rest_told(ask: Ask, ledger: Path) -> None:
    tamper(ledger, "UPDATE stored_events SET state = x'80' WHERE position = 3")
    answer = ask("lost-1")
    assert answer.code == 0
    assert "Still unknown:" in answer.out
    assert "event at position 3" in answer.out


def test_an_order_without_a_readable_beginning_ends_in_a_message(ask: Ask, ledger: Path) -> None:
    tamper(ledger, "UPDATE stored_events SET state = x'80' WHERE position = 6")
    answer = ask("lost-2")
    assert answer.code == 6
    assert "orderledger verify" in answer.err
