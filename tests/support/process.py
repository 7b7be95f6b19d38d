"""Real processes for end-to-end tests: the simulator and `orderledger run`, driven as a user drives them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["LiveRun", "Venue", "orderledger", "running_venue", "wait_for"]

PATIENCE_S = 180.0
_COMMAND = (sys.executable, "-m", "adapters.cli.main")
_ROOT = Path(__file__).resolve().parents[2]


def _environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_ROOT), **(extra or {})}


def orderledger(
    *arguments: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*_COMMAND, *arguments],
        cwd=cwd,
        env=_environment(environment),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def wait_for(what: str, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds; fails the test with `what` when it does not in time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s:.0f} s in vain for: {what}")
        time.sleep(0.01)


class Venue:
    """A simulator in a process of its own, as its ready line describes it."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.ready = ready
        self.http: str = ready["http"]
        self.account: str = ready["accounts"][0]["address"]
        self.key: str = ready["accounts"][0]["private_key"]

    def fault(self, **fault: Any) -> None:
        self._post("faults", {"op": "add", "fault": fault})

    def control(self, **operation: Any) -> dict[str, Any]:
        return self._post("control", operation)

    def info(self, **body: Any) -> Any:
        return self._send(f"{self.http}/info", body)

    def _post(self, endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._send(self.ready[endpoint], body)
        return answer

    def _send(self, url: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return json.loads(response.read())


@contextlib.contextmanager
def running_venue(*arguments: str, seed: int = 1) -> Iterator[Venue]:
    """`orderledger sim` for the length of a `with` block."""
    process = subprocess.Popen(
        [*_COMMAND, "sim", "--seed", str(seed), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env=_environment(),
    )
    try:
        assert process.stdout is not None
        yield Venue(json.loads(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()


class LiveRun:
    """One folder with a config, and `orderledger run` in it, as often as it is started."""

    def __init__(
        self,
        folder: Path,
        venue: Venue,
        *,
        strategy: str = "adapters.strategies.market_making:MarketMakingSample",
        params: Mapping[str, Any] | None = None,
        settings: str = "",
    ) -> None:
        self.folder = folder
        self.venue = venue
        self.ledger = folder / "ledger.db"
        self.views = folder / "ledger.views.db"
        self.log = folder / "run.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._log_from = 0
        chosen = params if params is not None else _QUOTING
        lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in chosen.items())
        strategy_section = (
            f'[strategy]\nclass = "{strategy}"\n[strategy.params]\n{lines}\n' if strategy else ""
        )
        (folder / "orderledger.toml").write_text(
            f"""
[venue]
network = "simulator"
simulator_url = "{venue.http}"
account_address = "{venue.account}"
[secrets]
key_env = "TEST_KEY"
[publisher]
bind = "tcp://127.0.0.1:0"
[limits]
order_expiry_s = 3
[shutdown]
cancel_open_orders = true
timeout_s = 25
{settings}
{strategy_section}
"""
        )

    def start(self) -> LiveRun:
        """Start it and wait until it trades."""
        self.spawn()
        wait_for("ready to trade", lambda: self.has_logged("ready to trade") or not self.is_running)
        assert self.is_running, self.output()
        return self

    def spawn(self) -> None:
        """Start it without waiting."""
        self._log_from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_COMMAND, "run", "--config", "orderledger.toml"],
                cwd=self.folder,
                env=_environment({"TEST_KEY": self.venue.key}),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was started"
        return self._process

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def output(self) -> str:
        """What this start has written so far."""
        return self.log.read_bytes()[self._log_from :].decode(errors="replace")

    def has_logged(self, text: str) -> bool:
        return text in self.output()

    def kill(self) -> None:
        """SIGKILL: nothing gets a chance to be tidy."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def wait(self) -> int:
        """Its own end, and the exit code."""
        return self.process.wait(PATIENCE_S)

    def __enter__(self) -> LiveRun:
        return self.start()

    def end(self) -> None:
        """Whatever it is doing, it is not running any more."""
        if self._process is not None and self.is_running:
            self.kill()

    def __exit__(self, *_: object) -> None:
        self.end()


_QUOTING = {
    "trading_pair": "BTC-USD",
    "order_amount": "0.01",
    "spread_bps": 4,
    "reprice_bps": 1,
    "max_position": "0.05",
    "refresh_interval_s": "0.3",
}
