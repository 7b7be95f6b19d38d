"""`orderledger replay` and `orderledger session shrink` as a user types them, on good files and bad ones."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.cli.main import main
from adapters.storage.ledger import OrderLedger
from domain.event_codec import decode_event
from domain.events import LedgerEvent
from replays.recording import RecordedInput
from replays.replaying import MemoryRecording
from replays.session_file import SessionWriter, write_session
from tests.support.core import CoreSession
from tests.support.recordings import busy_session, recording_of

_ROOT = Path(__file__).parents[2]


class Ran:
    """What a command left: its exit code, what it printed and the message."""

    def __init__(self, code: int, out: str, error: str) -> None:
        self.code = code
        self.out = out
        self.error = error

    @property
    def json(self) -> Any:
        (line,) = self.out.splitlines()
        return json.loads(line)


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Ran:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def recording() -> MemoryRecording:
    session = CoreSession().ready()
    session.open(1001, client_order_id="alpha")
    session.open(1002, client_order_id="beta")
    session.fill(1001, 7, "0.4", cloid=session.order("alpha").venue_order_key)
    session.cancel("beta")
    session.answer_cancels("success")
    return recording_of(session)


def written(folder: Path, recording: MemoryRecording, name: str = "night.session") -> Path:
    path = folder / name
    write_session(path, recording.header, recording)
    return path


@pytest.fixture
def file(recording: MemoryRecording, tmp_path: Path) -> Path:
    return written(tmp_path, recording)


def sequence_of(recording: MemoryRecording, topic: str) -> int:
    return max(kept.item.sequence for kept in recording if topic in dict(kept.events))


@pytest.fixture
def diverging(recording: MemoryRecording, tmp_path: Path) -> Path:
    """A recording whose fill was, it says, another event."""
    filled = sequence_of(recording, "order.filled")
    other = next(kept.events for kept in recording if "order.cancelled" in dict(kept.events))
    return written(
        tmp_path,
        MemoryRecording(
            recording.header,
            [replace(kept, events=other) if kept.item.sequence == filled else kept for kept in recording],
        ),
        "changed.session",
    )


def parts(recording: MemoryRecording, folder: Path, at: int) -> list[Path]:
    """The recording in two parts, as the recorder rotates them."""
    header, paths = recording.header, [folder / "one.session", folder / "two.session"]
    with SessionWriter(paths[0], header) as writer:
        for kept in recording.inputs[:at]:
            writer.append(kept.item, kept.events, kept.effects_digest)
        footer = writer.close()
    header = replace(
        header, part=2, previous_sequence=footer.last_sequence, previous_digest=footer.digest.hex()
    )
    with SessionWriter(paths[1], header) as writer:
        for kept in recording.inputs[at:]:
            writer.append(kept.item, kept.events, kept.effects_digest)
    return paths


# -- identical -----------------------------------------------------------------------------------------------


def test_a_recording_is_repeated(run: Run, file: Path, recording: MemoryRecording) -> None:
    ran = run("replay", file)
    assert ran.code == 0
    assert ran.out.startswith(f"identical: {len(recording)} inputs led to the same")
    assert ran.error == ""


def test_a_program_gets_one_object(run: Run, file: Path, recording: MemoryRecording) -> None:
    result = run("replay", file, "--json").json
    assert result["identical"] is True
    assert result["inputs"] == len(recording)
    assert result["closed"] is True
    assert result["divergence"] is None


def test_the_parts_of_a_session_are_replayed_together_in_any_order(
    run: Run, recording: MemoryRecording, tmp_path: Path
) -> None:
    one, two = parts(recording, tmp_path, 9)
    assert run("replay", two, one, "--json").json["inputs"] == len(recording)
    assert run("replay", one).code == 0


def test_a_part_alone_names_what_is_missing(run: Run, recording: MemoryRecording, tmp_path: Path) -> None:
    ran = run("replay", parts(recording, tmp_path, 9)[1])
    assert ran.code == 2
    assert "part 2 of its session" in ran.error


def test_a_replay_ends_where_it_is_told(run: Run, file: Path) -> None:
    assert run("replay", file, "--until", 7, "--json").json["last_sequence"] == 7


# -- diverged ------------------------------------------------------------------------------------------------


def test_the_first_difference_is_shown_so_that_its_cause_is_plain(
    run: Run, diverging: Path, recording: MemoryRecording
) -> None:
    ran = run("replay", diverging)
    filled = sequence_of(recording, "order.filled")
    assert ran.code == 1
    assert ran.out.startswith(f"diverged at input {filled} (stream_frame user user): ")
    assert "order.cancelled of beta did not come" in ran.out
    assert '"tid":7' in ran.out
    assert "order.filled (version 4)" in ran.out
    assert "The story of alpha so far:" in ran.out
    assert f"orderledger replay {diverging} --until {filled}" in ran.out


def test_the_command_that_is_shown_shows_it_again(run: Run, diverging: Path) -> None:
    first = run("replay", diverging)
    command = first.out.splitlines()[-1].split()
    assert command[0] == "orderledger"
    assert run(*command[1:]).out == first.out


def test_a_program_gets_the_divergence_as_data(run: Run, diverging: Path, recording: MemoryRecording) -> None:
    ran = run("replay", diverging, "--json")
    divergence = ran.json["divergence"]
    assert ran.code == 1
    assert ran.json["identical"] is False
    assert divergence["sequence"] == sequence_of(recording, "order.filled")
    assert {difference["what"] for difference in divergence["differences"]} == {"missing", "unexpected"}


# -- bad input -----------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_said(run: Run, tmp_path: Path) -> None:
    ran = run("replay", tmp_path / "no.session")
    assert (ran.code, "no.session" in ran.error) == (3, True)


def test_a_folder_is_no_recording(run: Run, tmp_path: Path) -> None:
    assert run("replay", tmp_path).code == 3


def test_a_file_of_something_else_is_refused(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "notes.session"
    other.write_text("buy low, sell high")
    assert run("replay", other).code == 6


def test_a_damaged_recording_is_replayed_up_to_the_damage(
    run: Run, recording: MemoryRecording, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.session"
    with SessionWriter(path, recording.header) as writer:
        for kept in recording:
            writer.append(kept.item, kept.events, kept.effects_digest)
            if kept.item.sequence == 10:
                writer.flush()
                good = path.stat().st_size
    data = bytearray(path.read_bytes())
    data[good + 20] ^= 1
    path.write_bytes(data)
    ran = run("replay", path)
    assert ran.code == 6
    assert ran.out.startswith("identical so far: 10 inputs")
    assert "after input 10" in ran.error
    result = run("replay", path, "--json").json
    assert (result["identical"], result["inputs"]) == (False, 10)
    assert "after input 10" in result["damaged"]


def test_a_torn_tail_is_no_damage_and_is_said(run: Run, file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:-60])
    ran = run("replay", file)
    assert ran.code == 0
    assert "was not closed" in ran.out


def test_files_that_do_not_belong_together_are_refused(
    run: Run, file: Path, recording: MemoryRecording, tmp_path: Path
) -> None:
    other = MemoryRecording(replace(recording.header, session_id="00000000beef", part=2), recording)
    ran = run("replay", file, written(tmp_path, other, "other.session"))
    assert ran.code == 2
    assert "one session only" in ran.error


def test_a_venue_that_nothing_installed_knows_is_said(
    run: Run, recording: MemoryRecording, tmp_path: Path
) -> None:
    other = MemoryRecording(replace(recording.header, venue="mtgox"), recording)
    ran = run("replay", written(tmp_path, other))
    assert ran.code == 2
    assert "mtgox" in ran.error


def test_options_that_this_version_does_not_know_are_said(
    run: Run, recording: MemoryRecording, tmp_path: Path
) -> None:
    options = {**recording.header.core_options, "telepathy": True}
    other = MemoryRecording(replace(recording.header, core_options=options), recording)
    ran = run("replay", written(tmp_path, other))
    assert ran.code == 2
    assert "telepathy" in ran.error


@pytest.mark.parametrize("wrong", [("--until", "0"), ("--at", "x"), ("--at", "9", "--until", "3"), ()])
def test_wrong_usage_is_said(run: Run, file: Path, wrong: tuple[str, ...]) -> None:
    files = [file] if wrong else []
    ran = run("replay", *files, *wrong)
    assert ran.code == 2
    assert ran.error.startswith("orderledger")


# -- against a ledger ----------------------------------------------------------------------------------------


@pytest.fixture
def ledger(recording: MemoryRecording, tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with OrderLedger.open(path) as ledger:
        ledger.append(events_of(recording))
    return path


def events_of(recording: MemoryRecording) -> list[LedgerEvent]:
    return [decode_event(*event) for kept in recording for event in kept.events]


def test_the_ledger_is_compared_byte_for_byte(
    run: Run, file: Path, ledger: Path, recording: MemoryRecording
) -> None:
    ran = run("replay", file, "--against", ledger)
    assert ran.code == 0
    assert f"the ledger holds these {len(events_of(recording))} events byte for byte" in ran.out
    assert run("replay", file, "--against", ledger, "--json").json["against"]["uncommitted"] == 0


def test_a_ledger_that_lacks_an_event_is_said(
    run: Run, file: Path, recording: MemoryRecording, tmp_path: Path
) -> None:
    path = tmp_path / "short.db"
    with OrderLedger.open(path) as ledger:
        ledger.append(events_of(recording)[:-1])
    ran = run("replay", file, "--against", path)
    assert ran.code == 1
    assert "is not in the ledger" in ran.out


def test_the_ledger_of_another_account_is_refused(run: Run, file: Path, tmp_path: Path) -> None:
    other = CoreSession(account="0x" + "22" * 20, signer=None)
    path = tmp_path / "other.db"
    with OrderLedger.open(path) as ledger:
        ledger.append(events_of(recording_of(other.ready())))
    ran = run("replay", file, "--against", path)
    assert ran.code == 2
    assert "0x" + "22" * 20 in ran.error


def test_a_ledger_without_the_session_is_refused(
    run: Run, recording: MemoryRecording, ledger: Path, tmp_path: Path
) -> None:
    later = CoreSession(session_id=0xBEEF).ready()
    later.open(1001)
    cut_off = written(tmp_path, recording_of(later), "later.session")
    cut_off.write_bytes(cut_off.read_bytes()[:-50])
    ran = run("replay", cut_off, "--against", ledger)
    assert ran.code in (1, 2)
    assert "session" in ran.error + ran.out


def test_a_ledger_that_is_not_there_is_said(run: Run, file: Path, tmp_path: Path) -> None:
    assert run("replay", file, "--against", tmp_path / "no.db").code == 3


def test_a_ledger_that_is_none_is_refused(run: Run, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "notes.db"
    other.write_text("buy low, sell high" * 100)
    assert run("replay", file, "--against", other).code == 6


def test_an_excerpt_is_not_compared_with_a_ledger(
    run: Run, recording: MemoryRecording, ledger: Path, tmp_path: Path
) -> None:
    excerpt = MemoryRecording(replace(recording.header, derived_from="cut"), recording)
    ran = run("replay", written(tmp_path, excerpt), "--against", ledger)
    assert (ran.code, "excerpt" in ran.error) == (2, True)


# -- time travel ---------------------------------------------------------------------------------------------


def test_the_orders_and_positions_after_an_input_are_shown(
    run: Run, file: Path, recording: MemoryRecording
) -> None:
    filled = sequence_of(recording, "order.filled")
    ran = run("replay", file, "--at", filled)
    assert ran.code == 0
    assert "state open -> partially_filled, filled_amount 0 -> 0.4" in ran.out
    assert "position  BTC-USD  amount 0.4" in ran.out
    table = ran.out.partition("CREATED")[2]
    assert "alpha" in table
    assert "partially_filled" in table
    assert "beta" in table


def test_a_moment_is_one_object_for_programs(run: Run, file: Path, recording: MemoryRecording) -> None:
    shown = run("replay", file, "--at", sequence_of(recording, "order.filled"), "--json").json
    assert [order["client_order_id"] for order in shown["state"]["open_orders"]] == ["alpha", "beta"]
    assert shown["state"]["positions"][0]["amount"] == "0.4"
    assert shown["changed"]["orders"][0]["after"]["filled_amount"] == "0.4"


def test_a_moment_after_the_end_is_said(run: Run, file: Path, recording: MemoryRecording) -> None:
    ran = run("replay", file, "--at", 999)
    assert ran.code == 3
    assert f"ends with input {len(recording)}" in ran.error


def test_a_moment_after_a_divergence_is_not_reached(
    run: Run, diverging: Path, recording: MemoryRecording
) -> None:
    ran = run("replay", diverging, "--at", len(recording))
    assert ran.code == 1
    assert f"diverged at input {sequence_of(recording, 'order.filled')}" in ran.out


def test_steps_show_what_each_input_changed_and_count_the_others(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path, recording_of(busy_session(60)))
    ran = run("replay", path, "--step")
    assert ran.code == 0
    assert "readiness  waiting for" in ran.out
    assert "inputs changed nothing" in ran.out
    assert "   order  0x" in ran.out
    assert "   answers  send_action request_id=" in ran.out


def test_steps_are_json_lines_for_programs(run: Run, file: Path, recording: MemoryRecording) -> None:
    since = sequence_of(recording, "order.filled")
    steps = [
        json.loads(line) for line in run("replay", file, "--at", since, "--step", "--json").out.splitlines()
    ]
    assert [step["input"]["sequence"] for step in steps] == [since, since + 1, since + 2]
    assert steps[0]["events"][0]["topic"] == "order.filled"
    assert steps[0]["answers"] is None


# -- at a terminal -------------------------------------------------------------------------------------------


def at_a_terminal(*arguments: object, keys: bytes = b"") -> tuple[int, str]:
    """Run a command whose standard streams are a terminal; returns its exit code and what it wrote."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "adapters.cli.main", *map(str, arguments)],
        cwd=_ROOT,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
    )
    os.close(follower)
    os.write(leader, keys)
    written = io.BytesIO()
    while True:
        try:
            data = os.read(leader, 65_536)
        except OSError:  # as Linux says that the other side is closed
            break
        if not data:
            break
        written.write(data)
    os.close(leader)
    return process.wait(), written.getvalue().decode()


@pytest.fixture(scope="module")
def long_recording() -> MemoryRecording:
    return recording_of(busy_session(1_500))


def test_a_terminal_gets_a_progress_bar_and_a_pipe_gets_none(
    long_recording: MemoryRecording, tmp_path: Path
) -> None:
    path = written(tmp_path, long_recording)
    code, shown = at_a_terminal("replay", path)
    assert code == 0
    assert "replaying" in shown
    assert "identical" in shown
    piped = subprocess.run(
        [sys.executable, "-m", "adapters.cli.main", "replay", str(path)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
    )
    assert piped.stderr == ""
    assert "replaying" not in piped.stdout


def test_at_a_terminal_one_steps_with_keys(file: Path) -> None:
    code, shown = at_a_terminal("replay", file, "--step", keys=b"\no\nq\n")
    assert code == 0
    assert shown.count("Enter: next change") == 3
    assert "No open orders." in shown


# -- shrinking -----------------------------------------------------------------------------------------------


@pytest.fixture
def busy_and_diverging(tmp_path: Path) -> Path:
    recording = recording_of(busy_session(800))
    cancelled = sequence_of(recording, "order.cancelled")
    inputs = [
        RecordedInput(kept.item, (), kept.effects_digest) if kept.item.sequence == cancelled else kept
        for kept in recording
    ]
    return written(tmp_path, MemoryRecording(recording.header, inputs), "busy.session")


def test_a_divergence_is_shrunk_and_still_shown(run: Run, busy_and_diverging: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.session"
    ran = run("session", "shrink", busy_and_diverging, "--until-diverges", "-o", small, "--note", "why")
    assert ran.code == 0
    assert f"To see it: orderledger replay {small}" in ran.out
    before, after = run("replay", busy_and_diverging), run("replay", small)
    assert (before.code, after.code) == (1, 1)
    assert before.out.splitlines()[0] == after.out.splitlines()[0]


def test_a_shrunk_recording_is_told_as_data(run: Run, busy_and_diverging: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.session"
    result = run("session", "shrink", busy_and_diverging, "--until-diverges", "-o", small, "--json").json
    assert result["inputs"] < 30 < 800 <= result["inputs_before"]
    assert result["divergence"].startswith(f"diverged at input {result['diverges_at']}")


def test_a_property_is_shrunk_to_a_recording_that_replays(run: Run, file: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.session"
    ran = run("session", "shrink", file, "--property", "event:order.filled", "-o", small, "--json")
    assert ran.json["divergence"] is None
    assert run("replay", small).code == 0


def test_a_command_decides_what_is_kept(run: Run, file: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.session"
    check = f"! {sys.executable} -m adapters.cli.main session grep {{}} 1002"
    ran = run("session", "shrink", file, "--command", check, "-o", small, "--json")
    assert ran.code == 0
    assert ran.json["inputs"] <= 5


@pytest.mark.parametrize(
    ("wanted", "code", "said"),
    [
        (("--until-diverges",), 1, "does not diverge"),
        (("--property", "overfilled"), 1, "does not show"),
        (("--property", "nonsense"), 2, "position-mismatch"),
        (("--command", "/nowhere/at-all"), 2, "status 127"),
        ((), 2, "required"),
    ],
)
def test_what_cannot_be_shrunk_is_said(
    run: Run, file: Path, tmp_path: Path, wanted: tuple[str, ...], code: int, said: str
) -> None:
    ran = run("session", "shrink", file, *wanted, "-o", tmp_path / "small.session")
    assert ran.code == code
    assert said in ran.error
    assert not (tmp_path / "small.session").exists()


def test_a_recording_is_never_shrunk_onto_itself(run: Run, file: Path) -> None:
    ran = run("session", "shrink", file, "--property", "event:order.filled", "-o", file)
    assert ran.code == 2
    assert run("replay", file).code == 0
