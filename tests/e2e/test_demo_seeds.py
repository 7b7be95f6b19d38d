"""The demo over many seeds (other markets, other moments for the same faults; run by `make soak`), where the
order that an incident needs is gone when the incident comes, and where the demo itself is ended."""

import json
import logging
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.cli import demo
from adapters.cli.bootstrap import LiveProcess
from adapters.cli.demo import _Demo
from adapters.cli.exit_codes import ExitCode
from adapters.cli.run import run_loop
from adapters.hyperliquid.client_ids import cloid_for
from domain.in_flight_order import OrderView
from tests.support.process import wait_for

SEEDS = range(1, 21)
TIMEOUT_S = 300.0


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_the_demo_ends_with_books_that_match_the_venue(seed: int, tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    command = [sys.executable, "-m", "adapters.cli.main", "demo", "--json", "--seconds", "10"]
    done = subprocess.run(
        [*command, "--seed", str(seed), "--dir", str(directory)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    report = json.loads(done.stdout)
    assert report["differences"] == []
    assert all(incident["happened"] and incident["survived"] for incident in report["incidents"])
    assert report["replay_identical"] is True
    assert report["orders"] > 0
    assert report["fills"] > 0
    assert report["unknown_outcomes_resolved"] >= 1
    assert report["reconnects"] >= 1
    assert report["duplicates_ignored"] >= 1
    assert Path(report["ledger"]).is_file()
    assert Path(report["views"]).is_file()


class _BeatenToIt(_Demo):
    """Somebody takes the orders that were found for an incident, the first times that any are."""

    def __init__(self, directory: Path, *, times: int) -> None:
        super().__init__(directory, seconds=5, seed=7, as_json=True)
        self.times_left = times

    async def _resting_orders(self, process: LiveProcess) -> list[OrderView]:
        orders = await super()._resting_orders(process)
        if self.times_left:
            self.times_left -= 1
            for order in orders:
                await self._control(op="fill_order", user=self.account, oid=cloid_for(order.client_order_id))
        return orders


@pytest.fixture
def own_logs() -> Iterator[None]:
    """The logs of a live process in this one, closed at the end."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("own_logs")
def test_an_incident_whose_order_somebody_else_took_happens_with_another_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "demo"
    directory.mkdir()
    assert run_loop(_BeatenToIt(directory, times=1).run()) == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    assert all(incident["happened"] and incident["survived"] for incident in report["incidents"])
    # The order was gone when the sockets had been dropped; so they were dropped once more.
    assert report["reconnects"] >= 2
    assert report["differences"] == []


@pytest.mark.usefixtures("own_logs")
def test_an_incident_that_cannot_happen_is_not_called_survived(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "ATTEMPTS", 1)
    directory = tmp_path / "demo"
    directory.mkdir()
    assert run_loop(_BeatenToIt(directory, times=2).run()) == ExitCode.CHECK_FAILED
    report = json.loads(capsys.readouterr().out)
    answer, sockets, fill = report["incidents"]
    assert answer["survived"]
    for incident in (sockets, fill):
        assert (incident["happened"], incident["survived"]) == (False, False)
    assert "no order was left" in sockets["story"]
    assert report["differences"] == []


IN_THE_BACKGROUND_OF_A_SCRIPT = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
    "signal.signal(signal.SIGHUP, signal.SIG_DFL); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
"""A shell has the programs that a script starts with `&` ignore SIGINT."""


@pytest.mark.parametrize(
    ("number", "ends_with"),
    [(signal.SIGTERM, 130), (signal.SIGHUP, 130), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_demo_that_is_ended_leaves_no_venue_behind(
    number: signal.Signals, ends_with: int, tmp_path: Path
) -> None:
    demo_command = ["-m", "adapters.cli.main", "demo", "--dir", str(tmp_path / "demo")]
    command = [sys.executable, "-c", IN_THE_BACKGROUND_OF_A_SCRIPT, *demo_command]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    with process.stdout:
        venue = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert venue is not None
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) == ends_with
    wait_for("the venue to end", lambda: not _listens(int(venue[1])))


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
