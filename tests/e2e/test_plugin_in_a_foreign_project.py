"""The pytest plugin as another project meets it: installed with the package, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

import replays
from domain.event_codec import decode_event, encode_events
from domain.events import OrderFilled
from domain.inputs import Stopping
from replays.recording import NO_EFFECTS, RecordedInput
from replays.regression import update
from replays.session_file import SessionReader, SessionWriter, write_session

CORPUS = Path(replays.__path__[0]) / "sessions"
FILLED = "submit-timed-out-then-filled.session"
CANCELLED = "late-fill-after-cancel.session"

Rewrite = Callable[[RecordedInput], RecordedInput]


class Ran(NamedTuple):
    """How pytest ended, and what it said (standard output and error)."""

    code: int
    said: str


class Project:
    """A project that has the package installed and nothing of its repository."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def take(self, name: str, into: str = "sessions", named: str = "") -> Path:
        """Copy a recording of the corpus into a folder, as this version would have recorded it: what the
        plugin does does not depend on whether the corpus holds."""
        folder = self.root / into
        folder.mkdir(parents=True, exist_ok=True)
        path = Path(shutil.copy(CORPUS / name, folder / (named or name)))
        update(path)
        rewritten(path, lambda recorded: recorded)
        return path

    def pytest(self, *arguments: str, cwd: str = ".", **environment: str) -> Ran:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=self.root / cwd,
            env=kept | {"PYTHONDONTWRITEBYTECODE": "1"} | environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        return Ran(done.returncode, done.stdout + done.stderr)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def rewritten(path: Path, rewrite: Rewrite) -> None:
    """Change what a recording holds, and let its checksums be right."""
    reader = SessionReader(path)
    write_session(path, reader.header, [rewrite(recorded) for recorded in reader])


def another_price(recorded: RecordedInput) -> RecordedInput:
    """The same, but for the price of fills, as an earlier version might have booked it."""
    events = [decode_event(topic, state) for topic, state in recorded.events]
    changed = [
        msgspec.structs.replace(event, fill=msgspec.structs.replace(event.fill, price=event.fill.price + 1))
        if isinstance(event, OrderFilled)
        else event
        for event in events
    ]
    return msgspec.structs.replace(recorded, events=encode_events(changed))


def without_expectations(recorded: RecordedInput) -> RecordedInput:
    return RecordedInput(recorded.item, (), NO_EFFECTS)


# -- what is a test ------------------------------------------------------------------------------------------


def test_two_recordings_are_two_passing_tests(project: Project) -> None:
    project.take(FILLED)
    project.take(CANCELLED)
    ran = project.pytest("-v")
    assert ran.code == 0, ran.said
    assert "2 passed" in ran.said
    assert f"sessions/{FILLED}::submit_timed_out_then_filled PASSED" in ran.said


def test_recordings_beside_ordinary_tests_and_below_test_paths(project: Project) -> None:
    project.write("tests/test_own.py", "def test_own():\n    pass\n")
    project.write("pyproject.toml", '[tool.pytest.ini_options]\ntestpaths = ["tests"]\n')
    project.take(FILLED, into="tests/incidents")
    project.take(CANCELLED, into="sessions")
    ran = project.pytest()
    assert ran.code == 0, ran.said
    assert "3 passed" in ran.said, "the usual folder is looked into although it is no test path"
    assert "1 passed" in project.pytest("tests/test_own.py").said, "what is asked for is not added to"
    assert "1 passed" in project.pytest("-k", "late_fill").said


def test_only_configured_folders_count_where_there_are_some(project: Project) -> None:
    project.write("pytest.ini", "[pytest]\ntestpaths = tests\norderledger_sessions = incidents\n")
    project.write("tests/test_own.py", "def test_own():\n    pass\n")
    project.take(FILLED, into="incidents/2026/november")
    project.take(CANCELLED, into="tests")
    assert "2 passed" in project.pytest().said
    assert "1 passed" in project.pytest(f"tests/{CANCELLED}").said, "a file that is named is meant"
    shutil.rmtree(project.root / "incidents")
    missing = project.pytest()
    assert missing.code == pytest.ExitCode.USAGE_ERROR
    assert "orderledger_sessions: there is no folder" in missing.said


def test_files_of_other_programs_are_left_alone(project: Project) -> None:
    project.write("test_own.py", "def test_own():\n    pass\n")
    (project.root / "telegram.session").write_bytes(b"SQLite format 3\0" + bytes(100))
    assert "1 passed" in project.pytest().said
    project.take(FILLED)
    (project.root / "sessions" / "telegram.session").write_bytes(b"SQLite format 3\0" + bytes(100))
    assert "1 failed, 2 passed" in project.pytest().said, "but not where ours are"


def test_recordings_run_in_several_processes(project: Project) -> None:
    project.write("pyproject.toml", '[tool.pytest.ini_options]\ntestpaths = ["tests"]\n')
    project.write("tests/test_own.py", "def test_own():\n    pass\n")
    project.take(FILLED)
    project.take(CANCELLED)
    ran = project.pytest("-n", "2")
    assert ran.code == 0, ran.said
    assert "3 passed" in ran.said


def test_a_suite_without_recordings_notices_nothing(project: Project) -> None:
    project.write(
        "test_own.py",
        "import sys\n\n\ndef test_own():\n"
        "    ours = {'domain', 'adapters', 'projections', 'zstandard', 'msgspec'}\n"
        "    assert not ours & set(sys.modules)\n"
        "    assert {name for name in sys.modules if name.startswith('replays')} == "
        "{'replays', 'replays.pytest_plugin'}\n",
    )
    ran = project.pytest("--strict-config", "--strict-markers", "-W", "error")
    assert ran.code == 0, ran.said
    assert "sessions" not in project.pytest("--fixtures-per-test").said.replace("session_", "")


def test_no_connector_is_imported_to_collect(project: Project) -> None:
    project.take(FILLED)
    project.write(
        "conftest.py",
        "import sys\n\n\ndef pytest_collection_finish(session):\n"
        "    assert len(session.items) == 1\n"
        "    assert not any(name.startswith('adapters') for name in sys.modules)\n",
    )
    ran = project.pytest()
    assert ran.code == 0, ran.said


# -- what fails ----------------------------------------------------------------------------------------------


def test_a_divergence_is_shown_field_by_field_and_without_a_traceback(project: Project) -> None:
    rewritten(project.take(FILLED), another_price)
    project.take(CANCELLED)
    ran = project.pytest()
    assert ran.code == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 1 passed" in ran.said
    assert "order.filled of bid" in ran.said
    assert "fill.price  expected 43001.0" in ran.said
    assert "actual   43000.0" in ran.said
    assert "The story of bid so far:" in ran.said
    assert "order.submit_unknown" in ran.said
    assert f"orderledger replay sessions/{FILLED} --until " in ran.said
    assert "Traceback" not in ran.said
    assert ".py:" not in ran.said


def test_the_command_that_is_shown_shows_it_again(project: Project) -> None:
    rewritten(project.take(FILLED), another_price)
    said = project.pytest().said
    (command,) = (line.split() for line in said.splitlines() if line.startswith("  orderledger replay "))
    script = Path(sys.executable).with_name(command[0])
    done = subprocess.run(
        [script, *command[1:]], cwd=project.root, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 1
    assert "order.filled of bid" in done.stdout


@pytest.mark.parametrize("at", [3, 100, 1_500, -5])
def test_a_damaged_recording_fails(project: Project, at: int) -> None:
    path = project.take(FILLED)
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)
    project.take(CANCELLED)
    ran = project.pytest()
    assert "1 failed, 1 passed" in ran.said
    assert "skipped" not in ran.said
    assert f"sessions/{FILLED}" in ran.said
    assert "Traceback" not in ran.said


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda data: b"", "the file is empty"),
        (lambda data: b"{}\n", "no recording of Order Ledger"),
        (lambda data: data[:-40], "It has no end after input"),
        (lambda data: data[:300], "it ends within its header"),
    ],
    ids=["empty", "foreign", "cut short", "header only"],
)
def test_what_cannot_be_tested_fails_with_the_reason(
    project: Project, content: Callable[[bytes], bytes], reason: str
) -> None:
    path = project.take(FILLED)
    path.write_bytes(content(path.read_bytes()))
    ran = project.pytest()
    assert "1 failed" in ran.said
    assert reason in ran.said
    assert "Traceback" not in ran.said


def test_a_recording_without_inputs_or_expectations_fails(project: Project) -> None:
    silent = project.take(FILLED)
    rewritten(silent, without_expectations)
    empty = project.root / "sessions" / "empty.session"
    write_session(empty, SessionReader(silent).header, [])
    ran = project.pytest()
    assert "2 failed" in ran.said
    assert "None of its" in ran.said
    assert "It holds no input" in ran.said


def test_a_recording_of_an_unknown_venue_fails(project: Project) -> None:
    path = project.take(FILLED)
    reader = SessionReader(path)
    header = msgspec.structs.replace(reader.header, venue="atlantis")
    write_session(path, header, list(reader))
    ran = project.pytest()
    assert "1 failed" in ran.said
    assert "No installed package can work with recordings of 'atlantis'" in ran.said


# -- parts ---------------------------------------------------------------------------------------------------


def in_two_parts(project: Project) -> tuple[Path, Path]:
    """One session as a recorder writes it that has begun a new file halfway."""
    whole = project.take(CANCELLED)
    source = SessionReader(whole)
    inputs = [
        msgspec.structs.replace(recorded, item=msgspec.structs.replace(recorded.item, sequence=number))
        for number, recorded in enumerate(source, 1)
    ]
    header = msgspec.structs.replace(source.header, derived_from="")
    folder = whole.parent
    paths = (folder / "night-0001.session", folder / "night-0002.session")
    half = len(inputs) // 2
    footer = write_session(paths[0], header, inputs[:half])
    later = msgspec.structs.replace(
        header, part=2, previous_sequence=half, previous_digest=footer.digest.hex()
    )
    write_session(paths[1], later, inputs[half:])
    whole.unlink()
    return paths


def test_the_parts_of_a_session_are_one_test(project: Project) -> None:
    first, second = in_two_parts(project)
    ran = project.pytest("-v")
    assert "collected 1 item" in ran.said
    assert "night_0001" in ran.said
    refused = project.pytest("--sessions-update")
    assert "It is one of several parts of a session" in refused.said
    named = project.pytest(str(second))
    assert "1 failed" in named.said
    first.unlink()
    alone = project.pytest()
    assert "1 failed" in alone.said, "a part without its beginning is no test that passes"
    assert second.name in alone.said


# -- updating ------------------------------------------------------------------------------------------------


def test_an_update_rewrites_what_differs_and_says_what(project: Project) -> None:
    path, other = project.take(FILLED), project.take(CANCELLED)
    original, untouched = path.read_bytes(), other.stat()
    rewritten(path, another_price)
    ran = project.pytest("--sessions-update", CI="")
    assert ran.code == 0, ran.said
    assert "1 of 2 recordings rewritten" in ran.said
    assert "order.filled of bid: fill.price is 43000.0, was 43001.0" in ran.said
    assert "2 passed" in project.pytest().said
    assert path.read_bytes() == original
    assert other.stat().st_mtime_ns == untouched.st_mtime_ns, "what is right is not touched"


def test_an_update_gives_expectations_and_an_end_to_what_has_none(project: Project) -> None:
    silent = project.take(FILLED)
    rewritten(silent, without_expectations)
    source = SessionReader(CORPUS / CANCELLED)
    killed = project.root / "sessions" / "killed.session"
    writer = SessionWriter(killed, source.header)
    for recorded in source:
        if not isinstance(recorded.item, Stopping):
            writer.append(recorded.item, recorded.events, recorded.effects_digest)
    writer.flush()
    writer.abandon()
    assert "2 failed" in project.pytest().said
    updated = project.pytest("--sessions-update")
    assert "it had no end and was given one" in updated.said
    assert "2 of 2 recordings rewritten" in updated.said
    assert "2 passed" in project.pytest().said


def test_an_update_leaves_a_damaged_recording_as_it_is(project: Project) -> None:
    path = project.take(FILLED)
    data = bytearray(path.read_bytes())
    data[1_500] ^= 1
    path.write_bytes(data)
    ran = project.pytest("--sessions-update")
    assert ran.code == pytest.ExitCode.TESTS_FAILED
    assert path.read_bytes() == bytes(data)
    assert [found.name for found in path.parent.iterdir()] == [path.name], "and leaves nothing behind"


@pytest.mark.parametrize("said_by", ["true", "1"])
def test_an_update_is_refused_in_ci(project: Project, said_by: str) -> None:
    path = project.take(FILLED)
    rewritten(path, another_price)
    before = path.read_bytes()
    ran = project.pytest("--sessions-update", CI=said_by)
    assert ran.code == pytest.ExitCode.USAGE_ERROR
    assert "--sessions-update is refused in CI" in ran.said
    assert path.read_bytes() == before


def test_an_update_is_refused_under_xdist(project: Project) -> None:
    path = project.take(FILLED)
    rewritten(path, another_price)
    before = path.read_bytes()
    ran = project.pytest("--sessions-update", "-n", "2")
    assert ran.code == pytest.ExitCode.USAGE_ERROR
    assert "--sessions-update is refused under xdist" in ran.said
    assert path.read_bytes() == before
    assert project.pytest("--sessions-update", "-n", "0").code == 0


# -- fixtures ------------------------------------------------------------------------------------------------


def test_the_fixtures_are_there(project: Project) -> None:
    project.take(FILLED, into="tests")
    project.write(
        "tests/test_own.py",
        f'''
def test_built(session_builder):
    session = session_builder()
    session.given.buy("BTC-USD", "0.01", "43000", client_order_id="bid")
    session.given.answer("order", {{"status": "err", "response": "Insufficient margin to place order."}})
    session.then("order.created", "order.submitted", "order.failed", reason_code="insufficient_margin")


def test_run_otherwise(replay_session):
    run = replay_session("{FILLED}", not_found_limit=9)
    assert run.orders["bid"].state == "filled"


def test_said_plainly(session_builder):
    session = session_builder()
    session.then("order.created")
''',
    )
    ran = project.pytest("tests")
    assert "1 failed, 3 passed" in ran.said, ran.said
    assert "expected:\nE         order.created" in ran.said
    assert "came:\nE         nothing" in ran.said
    assert "session_builder.py" not in ran.said, "where the assertion stands in our code is of no interest"
