"""The simulator as a process: one line when ready, exit codes, signals."""

import argparse
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from decimal import Decimal
from typing import Any

import pytest

from adapters.simulator.command import add_arguments, development_account
from tests.support.venue import ADDRESS, OTHER_KEY

PROGRAM = (
    "import argparse, sys; from adapters.simulator.command import add_arguments, run; "
    "parser = argparse.ArgumentParser('sim'); add_arguments(parser); sys.exit(run(parser.parse_args()))"
)
AGENT = "0x" + "0a" * 20


def started(*args: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def info(url: str, **request: Any) -> Any:
    body = json.dumps(request).encode()
    asked = urllib.request.Request(f"{url}/info", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=120) as response:
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_one_json_line_serves_and_exits_cleanly_on_a_signal(number: signal.Signals) -> None:
    process = started(
        "--seed", "9", "--fund", f"{ADDRESS}=1234.5", "--agent", f"{AGENT}={ADDRESS}", "--network", "mainnet"
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert ready["ws"] == ready["http"].replace("http", "ws") + "/ws"
    assert (ready["network"], ready["seed"], ready["market"]) == ("mainnet", 9, True)
    development = development_account(9)
    assert ready["accounts"] == [
        {"address": development.address, "usdc": "100000", "private_key": development.private_key},
        {"address": ADDRESS, "usdc": "1234.5"},
    ]
    assert info(ready["http"], type="meta")["universe"][0]["name"] == "BTC"
    state = info(ready["http"], type="clearinghouseState", user=ADDRESS)
    assert Decimal(state["withdrawable"]) == Decimal("1234.5")
    assert info(ready["http"], type="userRole", user=AGENT)["role"] == "agent"
    process.send_signal(number)
    rest, _ = process.communicate(timeout=120)
    assert (process.returncode, rest) == (0, "")


def test_a_port_in_use_is_said_and_exits_with_5() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = started("--port", str(port))
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (5, "")
    assert f"cannot listen on 127.0.0.1:{port}" in err
    assert "--port" in err
    assert "Traceback" not in err


def test_an_agent_of_nobody_is_a_usage_error() -> None:
    process = started("--agent", f"{AGENT}={ADDRESS}")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (2, "")
    assert f"Must deposit before performing actions. User: {ADDRESS}" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--port", "99999"],
        ["--port", "http"],
        ["--tick-ms", "often"],
        ["--fund", "0x12=5"],
        ["--fund", ADDRESS],
        ["--fund", f"{ADDRESS}=lots"],
        ["--fund", f"{ADDRESS}=-5"],
        ["--agent", ADDRESS],
        ["--auto-fund", "0"],
        ["--tick-ms", "0"],
        ["--network", "devnet"],
    ],
)
def test_a_wrong_argument_is_a_usage_error(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser("sim")
    add_arguments(parser)
    with pytest.raises(SystemExit) as left:
        parser.parse_args(wrong)
    assert left.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_the_development_account_follows_from_the_seed() -> None:
    assert development_account(1) == development_account(1)
    assert development_account(1).address != development_account(2).address
    assert development_account(1).private_key != OTHER_KEY


def test_it_ends_with_the_program_that_started_it_where_that_holds_its_standard_input() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--no-market", "--while-stdin-open"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["http"]
    assert info(url, type="meta")["universe"]
    process.stdin.close()
    assert process.wait(timeout=120) == 0
    process.stdout.close()
    assert process.stderr is not None
    process.stderr.close()
