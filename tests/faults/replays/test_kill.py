"""`kill -9` while a session is recorded: what had reached the file is there, whole, and replays."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from replays.recorder import recordings_in
from replays.replaying import Replay
from replays.session_file import SessionReader, read_sessions
from tests.faults.replays.recorder_process import frame
from tests.support.process import LiveRun, running_venue, wait_for

_ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("at_least", [1, 2_000])
def test_what_reached_the_file_before_a_kill_is_read_and_nothing_else(tmp_path: Path, at_least: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.replays.recorder_process", "record", str(tmp_path)], cwd=_ROOT
    )
    try:
        wait_for("a recording", lambda: bool(recordings_in(tmp_path, "ledger")))
        [path] = recordings_in(tmp_path, "ledger")
        wait_for("a header", lambda: path.stat().st_size > 400)
        reader = SessionReader(path)
        seen = 0

        def has_enough() -> bool:
            nonlocal seen
            seen = sum(1 for _ in reader)
            return seen >= at_least

        wait_for(f"{at_least} inputs", has_enough)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    read = list(reader)
    assert len(read) >= seen
    assert [recorded.item for recorded in read] == [frame(number) for number in range(1, len(read) + 1)]
    assert not reader.is_closed


def test_a_killed_process_and_its_next_run_both_replay(tmp_path: Path) -> None:
    with running_venue(seed=5) as venue:
        run = LiveRun(tmp_path, venue)
        with run:
            wait_for("orders", lambda: "order.acknowledged" in run.output())
            [killed] = recordings_in(tmp_path / "sessions", "ledger")
            # The ledger does not wait for the recording.
            wait_for("an event in it", lambda: any(recorded.events for recorded in SessionReader(killed)))
            run.kill()
        with run:
            wait_for("orders", lambda: "order.acknowledged" in run.output())
            assert run.stop() == 0
    first, second = recordings_in(tmp_path / "sessions", "ledger")
    assert first == killed
    for path, is_closed in ((first, False), (second, True)):
        recording = read_sessions([path])
        report = Replay(recording).run()
        assert report.identical, report.divergence
        assert report.events > 0
        assert recording.is_closed == is_closed
    [started] = [recorded.item for recorded in SessionReader(second) if recorded.item.sequence == 1]
    assert started.ledger_position > 0  # type: ignore[union-attr]
    secret = venue.key.removeprefix("0x")
    for path in (first, second):
        assert all(secret not in repr(recorded) for recorded in SessionReader(path))
