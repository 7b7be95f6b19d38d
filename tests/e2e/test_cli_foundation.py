"""The command as a user runs it: a process with pipes, signals, an environment and a directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

KEY = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
_COMMAND = (str(Path(sys.executable).with_name("orderledger")),)
_PATIENCE_S = 180


def _environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORDERLEDGER")}
    return {**kept, **more}


def _run(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_COMMAND, *arguments],
        cwd=directory,
        env=_environment(**environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )


def test_a_new_user_gets_a_config_that_is_right(tmp_path: Path) -> None:
    begun = _run(tmp_path, "init", "--new-key")
    assert (begun.returncode, begun.stderr) == (0, "")
    checked = _run(tmp_path, "config", "check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert _run(tmp_path, "init").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--help",), 0),
        (("--version",), 0),
        (("config", "--help"), 0),
        ((), 2),
        (("nonsense",), 2),
        (("config",), 2),
        (("config", "check", "--config"), 2),
        (("config", "check"), 4),
        (("config", "check", "--config", "/dev/null/x"), 4),
    ],
)
def test_each_ending_has_its_code_and_none_a_traceback(
    tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    ended = _run(tmp_path, *arguments)
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    assert bool(ended.stderr) is bool(code)
    assert bool(ended.stdout) is not bool(code)


def test_every_mistake_of_a_config_is_shown_at_once(tmp_path: Path) -> None:
    (tmp_path / "orderledger.toml").write_text("venue.network = 'tesnet'\nlog.level = 3\n[limits]\nx = 1\n")
    checked = _run(tmp_path, "config", "check", ORDERLEDGER__PUBLISHER__BIND="*:1")
    assert checked.returncode == 4
    lines = checked.stderr.splitlines()
    assert lines[0] == "orderledger: orderledger.toml: 4 mistakes"
    assert {line.split(":")[0].strip() for line in lines[1:]} == {
        "limits.x",
        "log.level",
        "publisher.bind",
        "venue.network",
    }


def test_a_key_in_the_config_is_refused_and_never_repeated(tmp_path: Path) -> None:
    (tmp_path / "orderledger.toml").write_text(f"secrets.private_key = '0x{KEY}'")
    checked = _run(tmp_path, "config", "check")
    assert (checked.returncode, checked.stdout) == (4, "")
    assert "looks like a private key" in checked.stderr
    assert KEY[:16] not in checked.stderr


def test_what_is_shown_is_what_counts(tmp_path: Path) -> None:
    _run(tmp_path, "init")
    shown = _run(tmp_path, "config", "show", ORDERLEDGER__LOG__LEVEL="debug")
    assert json.loads(shown.stdout)["log"]["level"] == "debug"
    plain = _run(tmp_path, "config", "fingerprint").stdout
    changed = _run(tmp_path, "config", "fingerprint", ORDERLEDGER__LOG__LEVEL="debug").stdout
    assert len(plain.strip()) == len(changed.strip()) == 64
    assert plain != changed


def test_the_key_of_the_environment_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "orderledger.toml").write_text("secrets.key_env = 'MY_KEY'")
    shown = _run(tmp_path, "config", "show", MY_KEY=KEY)
    assert shown.returncode == 0
    assert KEY not in shown.stdout + shown.stderr


def test_a_reader_that_leaves_early_is_no_fault(tmp_path: Path) -> None:
    _run(tmp_path, "init")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as output:
        ended = subprocess.run(
            [*_COMMAND, "config", "show"],
            cwd=tmp_path,
            env=_environment(),
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (141, "")


def test_the_help_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = ("aiohttp", "zmq", "eth_account", "coincurve", "eventsourcing", "sqlite_utils", "rich", "asyncio")
    probe = (
        "import sys; before = {*sys.modules}; from adapters.cli.main import main; main(['--help']); "
        f"print([name for name in {heavy!r} if name in {{*sys.modules}} - before], file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=tmp_path,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=True,
    )
    assert ended.stderr == "[]\n"


def test_ctrl_c_ends_the_simulator_at_once_and_without_a_traceback(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*_COMMAND, "sim", "--no-market"],
        cwd=tmp_path,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode in (0, 130)
    assert "Traceback" not in errors


def test_a_process_whose_log_nobody_reads_goes_on_and_ends(tmp_path: Path) -> None:
    chatty = """if True:
        import logging
        from adapters.cli.config import LogSettings
        from adapters.cli.logs import set_up_logs
        set_up_logs(LogSettings())
        for number in range(20_000):
            logging.getLogger("chatty").info("line %d of very many that nobody reads", number)
        print("went on", flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", chatty],
        cwd=tmp_path,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "went on\n"
        assert process.wait(timeout=_PATIENCE_S) == 0
