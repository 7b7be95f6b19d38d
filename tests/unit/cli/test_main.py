"""The command itself: finding what is meant, and ending with the right code."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.cli import main as main_module
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.main import main
from adapters.storage.errors import (
    DamagedLedgerError,
    LedgerNotFoundError,
    LedgerUnavailableError,
    NewerLedgerError,
)
from domain.errors import LedgerError
from projections import (
    AmbiguousOrderError,
    DamagedViewsError,
    OrderNotInViewsError,
    TimeBeforeLedgerError,
    ViewsBusyError,
)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`orderledger probe`, which does what the test sets as `does`."""
    probe = SimpleNamespace(does=lambda: 0)

    def register(subparsers: Any) -> None:
        subparsers.add_parser("probe").set_defaults(run=lambda _options: probe.does())

    monkeypatch.setattr(
        main_module, "_COMMANDS", (main_module._Commands("adapters.cli.probe", {"probe": "for a test"}),)
    )
    monkeypatch.setattr(main_module, "import_module", lambda _name: SimpleNamespace(register=register))
    return probe


def _raising(error: BaseException) -> Any:
    def does() -> int:
        raise error

    return does


def test_the_code_of_the_command_is_the_code_of_the_process(command: SimpleNamespace) -> None:
    command.does = lambda: ExitCode.OUTCOME_UNKNOWN
    assert main(["probe"]) == 7


def test_a_command_that_cannot_go_on_ends_in_its_message_and_code(
    command: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    command.does = _raising(CommandError("no such order", ExitCode.NOT_FOUND))
    assert main(["probe"]) == 3
    assert capsys.readouterr().err == "orderledger: no such order\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LedgerError("the log is out of order"), 1),
        (OrderNotInViewsError("71"), 3),
        (TimeBeforeLedgerError(1, 2), 3),
        (AmbiguousOrderError("o", ("o1", "o2"), more=False), 2),
        (ViewsBusyError(Path("l.views.db"), "17"), 1),
        (DamagedViewsError(Path("l.views.db"), "malformed"), 1),
        (DamagedLedgerError("the ledger is damaged"), 6),
        (NewerLedgerError("written by a newer version"), 6),
        (LedgerUnavailableError("the disk is full"), 1),
    ],
)
def test_an_error_of_ledger_or_views_ends_in_its_message_and_the_code_it_means(
    command: SimpleNamespace, capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    command.does = _raising(error)
    assert main(["probe"]) == code
    assert capsys.readouterr().err == f"orderledger: {error}\n"


def test_where_there_is_no_ledger_it_is_said_where_one_comes_from(
    command: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    command.does = _raising(LedgerNotFoundError("no ledger at l.db"))
    assert main(["probe"]) == 3
    said = capsys.readouterr().err
    assert "no ledger at l.db. `orderledger run` and" in said
    assert "--ledger FILE" in said


def test_a_fault_of_ours_is_not_hidden(command: SimpleNamespace) -> None:
    command.does = _raising(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["probe"])


def test_ctrl_c_ends_quietly(command: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    command.does = _raising(KeyboardInterrupt())
    assert main(["probe"]) == 130
    assert capsys.readouterr().err == "orderledger: interrupted\n"


def test_an_argument_that_a_command_does_not_know_leads_to_the_help_of_that_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["orders", "--nonsense"]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert said == "orderledger orders: there is no option --nonsense.\nSee `orderledger orders --help`.\n"


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("order", "there is no command 'order'. Did you mean 'orders'?\nSee `orderledger --help`."),
        ("pln --json", "there is no command 'pln'. Did you mean 'pnl'?\nSee `orderledger --help`."),
        ("qqq", "there is no command 'qqq'.\nSee `orderledger --help`."),
        (
            "config chekc",
            "there is no command 'chekc'. Did you mean 'check'?\nSee `orderledger config --help`.",
        ),
        (
            "session shwo x",
            "there is no command 'shwo'. Did you mean 'show'?\nSee `orderledger session --help`.",
        ),
        (
            "orders --jsn",
            "there is no option --jsn. Did you mean --json?\nSee `orderledger orders --help`.",
        ),
        (
            "orders --ledgre=l.db --jsn",
            "there is no option --ledgre. Did you mean --ledger? There is no option --jsn. Did you mean "
            "--json?\nSee `orderledger orders --help`.",
        ),
        (
            "session show x --ordres a",
            "there is no option --ordres. Did you mean --orders?\nSee `orderledger session show --help`.",
        ),
        ("orders x y", "nothing is expected for 'x', 'y'.\nSee `orderledger orders --help`."),
        (
            "export fils",
            "argument what: 'fils' is none of orders, fills, funding, pnl. Did you mean 'fills'?\n"
            "See `orderledger export --help`.",
        ),
    ],
)
def test_a_slip_of_the_finger_is_told_with_what_was_likely_meant(
    capsys: pytest.CaptureFixture[str], typed: str, says: str
) -> None:
    assert main(typed.split()) == ExitCode.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.partition(": ")[2] == says + "\n"


def test_an_argument_that_is_no_text_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def register(subparsers: Any) -> None:
        probe = subparsers.add_parser("probe")
        probe.add_argument("order")
        probe.set_defaults(run=lambda options: len(options.order.encode()))

    probe = main_module._Commands("adapters.cli.probe", {"probe": "for a test"})
    monkeypatch.setattr(main_module, "_COMMANDS", (probe,))
    monkeypatch.setattr(main_module, "import_module", lambda _name: SimpleNamespace(register=register))
    assert main(["probe", os.fsdecode(b"\xff")]) == ExitCode.USAGE
    assert capsys.readouterr().err == "orderledger: An argument is no text in UTF-8.\n"


def test_text_that_cannot_be_encoded_and_was_no_argument_is_a_fault(command: SimpleNamespace) -> None:
    command.does = _raising(UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"))
    with pytest.raises(UnicodeEncodeError):
        main(["probe"])


def _config_shown(tmp_path: Path, redirection: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "settings.toml").touch()
    shown = [sys.executable, "-m", "adapters.cli.main", "config", "show", "--config", "settings.toml"]
    return subprocess.run(
        ["sh", "-c", f"exec {shlex.join(shown)} {redirection}"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def test_a_full_disk_behind_standard_output_is_said(tmp_path: Path) -> None:
    done = _config_shown(tmp_path, "> /dev/full")
    assert done.stderr == "orderledger: Cannot write: No space left on device.\n"
    assert done.returncode == ExitCode.CHECK_FAILED


def test_standard_output_may_be_closed(tmp_path: Path) -> None:
    done = _config_shown(tmp_path, ">&-")
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")


def test_every_standard_stream_may_be_closed(tmp_path: Path) -> None:
    said = tmp_path / "said"
    probe = f"""if True:
        import sys
        from adapters.cli.main import main
        main(["--version"])
        streams = (sys.stdin, sys.stdout, sys.stderr)
        print("a message for nobody", file=sys.stderr)
        open({str(said)!r}, "w").write(str([stream.isatty() for stream in streams] + [sys.stdin.read()]))
    """
    closed = f"exec {shlex.join([sys.executable, '-c', probe])} <&- >&- 2>&-"
    done = subprocess.run(["sh", "-c", closed], check=False, timeout=60)
    assert (done.returncode, said.read_text()) == (0, "[False, False, False, '']")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_output_that_lacks_a_character_gets_it_as_json_writes_it(tmp_path: Path, encoding: str) -> None:
    pair = "é€😀-USD"
    (tmp_path / "settings.toml").write_text(f'[venue]\ntrading_pairs = ["{pair}"]\n')
    done = subprocess.run(
        [sys.executable, "-m", "adapters.cli.main", "config", "show", "--config", "settings.toml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout.decode(encoding))["venue"]["trading_pairs"] == [pair]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [([], 2), (["--help"], 0), (["--version"], 0), (["nonsense"], 2), (["init", "--nonsense"], 2)],
)
def test_argparse_never_ends_the_process_itself(arguments: list[str], code: int) -> None:
    assert main(arguments) == code


def test_a_usage_error_is_two_lines_that_say_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "nonsense"]) == ExitCode.USAGE
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[1] == "See `orderledger config --help`."


def test_the_help_of_each_command_is_the_one_its_module_gives() -> None:
    for commands in main_module._COMMANDS:
        subparsers = argparse.ArgumentParser().add_subparsers()
        import_module(commands.module).register(subparsers)
        shown = {action.dest: action.help for action in subparsers._choices_actions}
        assert shown == commands.help


def test_the_exit_codes_are_those_that_the_help_lists(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    listed = capsys.readouterr().out.split("exit codes:")[1].split("\n\n")[0]
    assert [int(number) for number in re.findall(r"(\d+) \w", listed)] == [c for c in ExitCode if c < 100]
