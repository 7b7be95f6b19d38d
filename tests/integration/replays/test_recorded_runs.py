"""Sessions recorded from the live runtime, with faults and restarts, replay to the same bytes anywhere."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.cli.replay import ledger_rows
from adapters.storage.ledger import OrderLedger
from domain.in_flight_order import OrderView
from domain.position import Position
from replays.against import LedgerCheck
from replays.replaying import Replay, ReplayReport
from replays.reporting import divergence_text
from replays.session_file import read_sessions
from tests.support.seeded_runs import RecordedLive, recorded_live, seeded_run

_ROOT = Path(__file__).parents[3]
_FEW_SEEDS = range(1, 5)
_MANY_SEEDS = range(1_000, 1_200)


class Run:
    """What a seeded run left behind."""

    def __init__(self, world: RecordedLive) -> None:
        self.sessions = [list(paths) for paths in world.recordings]
        self.ends = world.ends
        self.ledger = world.ledger_path


@pytest.fixture(scope="module", params=_FEW_SEEDS, ids=lambda seed: f"seed-{seed}")
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner() as runner:
        world = recorded_live(seed=request.param, file_bytes_max=4_000)
        live = runner.run(world.__aenter__())
        try:
            runner.run(seeded_run(live, request.param, parts=2))
            yield Run(live)
        finally:
            runner.run(world.__aexit__(None, None, None))


def replayed(files: list[Path]) -> ReplayReport:
    report = Replay(read_sessions(files), files=files).run()
    assert report.divergence is None, divergence_text(report.divergence)
    return report


def in_another_process(
    sessions: list[list[Path]], *, without: tuple[str, ...] = (), **environment: str
) -> dict[str, Any]:
    """The digests of the sessions as a fresh process computes them."""
    hidden = [f"--without={module}" for module in without]
    named = [":".join(map(str, files)) for files in sessions]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.replay_process", *hidden, *named],
        cwd=_ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def assert_repeats(run: Run) -> list[str]:
    """Every session comes out as recorded, as stored, and with the end that the live core had."""
    digests = []
    with OrderLedger.open(run.ledger, writer=False) as ledger:
        for files, (open_orders, positions) in zip(run.sessions, run.ends, strict=True):
            recording = read_sessions(files)
            check = LedgerCheck(ledger_rows(ledger), recording.header.session_id, is_closed=True)
            replay = Replay(recording, check=check, files=files)
            report = replay.run()
            divergence = report.divergence or check.finish()
            assert divergence is None, divergence_text(divergence)
            assert check.compared == report.events
            assert report.inputs > 10
            assert ends_as(replay, open_orders, positions)
            digests.append(report.digest)
        assert check.last_position == ledger.max_position
    return digests


def ends_as(replay: Replay, open_orders: list[OrderView], positions: dict[str, Position]) -> bool:
    held: dict[str, Position] = replay.core.positions  # type: ignore[attr-defined]
    return replay.core.open_orders() == open_orders and held == positions


# -- a handful of seeds --------------------------------------------------------------------------------------


def test_a_live_session_comes_out_again_event_for_event_and_as_the_ledger_holds_it(run: Run) -> None:
    first = assert_repeats(run)
    assert assert_repeats(run) == first, "twice in one process"


def test_a_long_session_is_recorded_in_parts(run: Run) -> None:
    assert all(len(files) > 1 for files in run.sessions)


def test_time_travel_ends_where_the_live_session_ended(run: Run) -> None:
    for files, (open_orders, positions) in zip(run.sessions, run.ends, strict=True):
        *_, (_, _, state) = Replay(read_sessions(files))
        assert {view.client_order_id: view for view in state.open_orders} == {
            view.client_order_id: view for view in open_orders
        }
        assert {position.trading_pair: position for position in state.positions} == positions


def test_other_processes_compute_the_same(run: Run) -> None:
    here = {":".join(map(str, files)): replayed(files).digest for files in run.sessions}
    several = {
        "as it is": in_another_process(run.sessions, PYTHONHASHSEED="1", TZ="Pacific/Auckland"),
        "without accelerators": in_another_process(
            run.sessions,
            without=("uvloop", "_decimal", "_heapq", "_bisect", "_operator", "coincurve"),
            PYTHONHASHSEED="2",
            TZ="America/St_Johns",
        ),
    }
    for name, result in several.items():
        assert {key: found["digest"] for key, found in result["outcomes"].items()} == here, name
    about = [result["about"] for result in several.values()]
    assert about[0]["hash"] != about[1]["hash"]
    assert about[0]["zone"] != about[1]["zone"]
    assert "_decimal" in about[0]["loaded"]
    assert "_pydecimal" in about[1]["loaded"]


# -- many ----------------------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize("seed", _MANY_SEEDS)
def test_any_run_comes_out_again(seed: int) -> None:
    async def record() -> None:
        async with recorded_live(seed=seed) as world:
            await seeded_run(world, seed)
            run = Run(world)
            digests = assert_repeats(run)
            found = in_another_process(run.sessions, PYTHONHASHSEED=str(seed), TZ="Asia/Kathmandu")
            assert [outcome["digest"] for outcome in found["outcomes"].values()] == digests

    asyncio.run(record())
