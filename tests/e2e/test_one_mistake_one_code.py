"""The same mistake about a file ends every command with the same code and a message that says what to do."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest

from adapters.cli import main as main_module
from adapters.cli.main import main
from adapters.storage.ledger import OrderLedger
from domain.events import AccountOpened
from projections import views_path_for
from replays.session_file import write_session
from tests.support.core import CoreSession
from tests.support.recordings import recording_of
from tests.unit.projections.logs import ACCOUNT, LogBuilder
from tests.unit.storage.tampering import tamper

_UNASKED = f"--network simulator --simulator-url http://127.0.0.1:1 --account {ACCOUNT}"
"""Nobody listens there: what is wrong with a file is found before anybody is asked."""

_READ_THE_LEDGER = (
    "orders",
    "orders --salvage",
    "open-orders",
    "positions",
    "fills",
    "history one",
    "funding",
    "pnl",
    "stats",
    "diff --from 1",
    "export orders",
    "why one",
    "verify",
    "verify --json",
    f"reconcile {_UNASKED}",
    "discrepancies",
    "sql SELECT",
    "rebuild",
    "rebuild --check",
    "backup -o made",
    "seal",
    "seal -o made",
)
"""With `--ledger FILE`."""

_READ_THE_VIEWS = (
    *(command for command in _READ_THE_LEDGER if "--salvage" not in command),
    "diff --from 1 --to 2",
)

_READ_A_RECORDING = (
    "replay FILE",
    "replay FILE --at 1",
    "replay FILE --step",
    "session info FILE",
    "session show FILE",
    "session grep FILE text",
    "session diff FILE good.session",
    "session diff good.session FILE",
    "session cut FILE --until 3 -o made",
    "session shrink FILE --property event:order.created -o made",
    "redact FILE -o made",
)

_READ_A_CONFIG = (
    "config check",
    "config show",
    "config fingerprint",
    "run",
    "orders",
    "verify",
    "reconcile",
    "backfill --from-earliest",
    "backup -o made",
)
"""With `--config FILE`."""

_WRITE = (
    "export orders --ledger good.db -o FILE",
    "export orders --ledger good.db --format jsonl -o FILE",
    "backup --ledger good.db -o FILE",
    "seal --ledger good.db -o FILE",
    "session cut good.session --until 3 -o FILE",
    "session cut good.session --until 3 --force -o FILE",
    "session shrink good.session --property event:order.created -o FILE",
    "redact good.session -o FILE",
    f"reconcile --apply --ledger good.db {_UNASKED} --html FILE",
    "init FILE",
    "init --force --new-key FILE",
)

_REPLACE_NOTHING = (
    "backup --ledger good.db -o FILE",
    "session cut good.session --until 3 -o FILE",
    "session shrink good.session --property event:order.created -o FILE",
    "redact good.session -o FILE",
    "seal --ledger good.db -o FILE",
    "init FILE",
)

_NO_FILE_OF_ITS_OWN = {"sim", "demo"}
"""Commands that read nothing; what `demo` writes is told in its own tests."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger, its seals and a recording, all of them intact."""
    folder = tmp_path_factory.mktemp("good")
    log = LogBuilder()
    log.account(AccountOpened, network="simulator", exchange_time_ms=1)
    log.open_order("one", "91490942")
    log.filled("one", fill_key="1", exchange_order_id="91490942")
    with OrderLedger.open(folder / "good.db") as ledger:
        ledger.append(log.events)
    session = CoreSession().ready()
    session.open(1001, client_order_id="alpha")
    recording = recording_of(session)
    write_session(folder / "good.session", recording.header, recording)
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy, where commands are typed."""
    for path in good.iterdir():
        shutil.copy(path, tmp_path)
    for name in [name for name in os.environ if name.startswith("ORDERLEDGER")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _logs_of_run_go_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.cli.run.set_up_logs", lambda *_arguments: None)


# What can be wrong with a file


def _missing(_: Path) -> None:
    return


def _below_a_file(path: Path) -> None:
    path.parent.write_text("")


def _directory(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _garbage(path: Path) -> None:
    path.write_bytes(bytes(range(1, 256)) * 40)


def _text(path: Path) -> None:
    path.write_text("buy low, sell high\n")


def _half_a_ledger(path: Path) -> None:
    whole = Path("good.db").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _cut_off_in_the_header(path: Path) -> None:
    path.write_bytes(Path("good.session").read_bytes()[:30])


def _copy_of(source: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        shutil.copy(source, path)

    return make


def _views(path: Path) -> None:
    main(["orders", "--ledger", "good.db"])
    shutil.copy(views_path_for(Path("good.db")), path)


def _database_of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE prices (px TEXT)")


def _ledger_without_its_end(path: Path) -> None:
    shutil.copy("good.db", path)
    tamper(path, "DELETE FROM stored_events WHERE position = (SELECT max(position) FROM stored_events)")


_NO_LEDGER = {
    "missing": (_missing, 3, "--ledger FILE names another"),
    "below a file": (_below_a_file, 3, "There is no ledger"),
    "directory": (_directory, 3, "name the ledger in it"),
    "pipe": (_pipe, 3, "name the ledger"),
    "empty": (_empty, 3, "no ledger was ever written to it"),
    "garbage": (_garbage, 6, "Check the path"),
    "text": (_text, 6, "Check the path"),
    "truncated": (_half_a_ledger, 6, "Keep the file"),
    "cut off": (_ledger_without_its_end, 6, "Keep the file"),
    "recording": (_copy_of("good.session"), 6, "Check the path"),
    "views": (_views, 6, "Check the path"),
    "another database": (_database_of_another_program, 6, "Check the path"),
}

_NO_RECORDING = {
    "missing": (_missing, 3, "There is no recording"),
    "below a file": (_below_a_file, 3, "There is no recording"),
    "directory": (_directory, 3, "name the recording in it"),
    "pipe": (_pipe, 3, "name the recording"),
    "empty": (_empty, 3, "the file is empty"),
    "garbage": (_garbage, 6, "check the path"),
    "text": (_text, 6, "check the path"),
    "cut off in its header": (_cut_off_in_the_header, 6, "ends within its header"),
    "ledger": (_copy_of("good.db"), 6, "a ledger?"),
}

_NO_CONFIG = {
    "missing": (_missing, 4, "`orderledger init` writes one"),
    "below a file": (_below_a_file, 4, "a readable file"),
    "directory": (_directory, 4, "a readable file"),
    "garbage": (_garbage, 4, "TOML"),
    "text": (_text, 4, "TOML"),
    "ledger": (_copy_of("good.db"), 4, "TOML"),
    "recording": (_copy_of("good.session"), 4, "TOML"),
}

_NO_SEALS = {
    "missing": (_missing, 3, "`orderledger seal -o FILE` writes such a file"),
    "below a file": (_below_a_file, 3, "`orderledger seal -o FILE` writes such a file"),
    "directory": (_directory, 3, "`orderledger seal -o FILE` writes such a file"),
    "empty": (_empty, 3, "holds no seal"),
    "garbage": (_garbage, 6, "line 1 is not a seal"),
    "text": (_text, 6, "line 1 is not a seal"),
    "ledger": (_copy_of("good.db"), 6, "line 1 is not a seal"),
}


# Every command with every mistake


Ended = tuple[int, str]


def _ended(commands: Iterable[str], file: Path, ask: Callable[[list[str]], Ended]) -> dict[str, Ended]:
    """What each command came to, with the file in the place of FILE. Made outputs are taken away again."""
    ended = {}
    for command in commands:
        ended[command] = ask([str(file) if word == "FILE" else word for word in command.split()])
        Path("made").unlink(missing_ok=True)
    return ended


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], Ended]:
    def run(words: list[str]) -> Ended:
        capsys.readouterr()
        code = main(words)
        return int(code), capsys.readouterr().err

    return run


def _assert_all(ended: dict[str, Ended], code: int, says: str) -> None:
    assert {command: told for command, told in ended.items() if told[0] != code} == {}
    assert {command: told for command, told in ended.items() if says not in told[1]} == {}


def _file(name: str) -> Path:
    return Path("bad", "file") if name == "below a file" else Path("bad")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", _NO_LEDGER)
def test_what_is_no_ledger(ask: Callable[[list[str]], Ended], name: str) -> None:
    make, code, says = _NO_LEDGER[name]
    file = _file(name)
    make(file)
    commands = list(_READ_THE_LEDGER)
    if name == "cut off":
        # Salvaging is for this, and to `verify` it is an answer.
        commands = [each for each in commands if "--salvage" not in each and not each.startswith("verify")]
    ended = _ended((f"{command} --ledger FILE" for command in commands), file, ask)
    if name in ("missing", "below a file", "directory", "pipe", "empty"):
        ended |= _ended(["replay good.session --against FILE"], file, ask)
        says = "" if name in ("missing", "empty") else says
    _assert_all(ended, code, says)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", _NO_RECORDING)
def test_what_is_no_recording(ask: Callable[[list[str]], Ended], name: str) -> None:
    make, code, says = _NO_RECORDING[name]
    file = _file(name)
    make(file)
    _assert_all(_ended(_READ_A_RECORDING, file, ask), code, says)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", _NO_CONFIG)
def test_what_is_no_config(ask: Callable[[list[str]], Ended], name: str) -> None:
    make, code, says = _NO_CONFIG[name]
    file = _file(name)
    make(file)
    _assert_all(_ended((f"{command} --config FILE" for command in _READ_A_CONFIG), file, ask), code, says)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", _NO_SEALS)
def test_what_is_no_file_of_seals(ask: Callable[[list[str]], Ended], name: str) -> None:
    make, code, says = _NO_SEALS[name]
    file = _file(name)
    make(file)
    _assert_all(_ended(["verify --ledger good.db --seal FILE"], file, ask), code, says)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("make", [_text, _garbage, _copy_of("good.db"), _copy_of("good.session")])
def test_what_is_no_views_file(ask: Callable[[list[str]], Ended], make: Callable[[Path], None]) -> None:
    make(views_path_for(Path("good.db")))
    for name in ("backup -o made", "seal", "seal -o made"):
        assert ask([*name.split(), "--ledger", "good.db"])[0] == 0, "views are not asked"
        Path("made").unlink(missing_ok=True)
    commands = [each for each in _READ_THE_VIEWS if each.split()[0] not in ("backup", "seal")]
    _assert_all(_ended((f"{command} --ledger good.db" for command in commands), Path("bad"), ask), 1, "")


@pytest.mark.parametrize("command", _WRITE)
def test_what_cannot_be_written(folder: Path, ask: Callable[[list[str]], Ended], command: str) -> None:
    before = _content(folder)
    Path("file").write_text("")
    Path("directory").mkdir()
    wrong = {
        "no/such/file": "There is no directory no/such",
        "file/below": "file is no directory",
        "n" * 300: "File name too long",
    }
    if not command.startswith("init"):
        wrong["directory"] = "is a directory: name a file in it"
    for name, says in wrong.items():
        _assert_all(_ended([command], Path(name), ask), 2, says)
    Path("file").unlink()
    Path("directory").rmdir()
    assert _content(folder) == before, "nothing was done before it was known to be in vain"


@pytest.mark.parametrize("command", _REPLACE_NOTHING)
def test_what_is_there_already(folder: Path, ask: Callable[[list[str]], Ended], command: str) -> None:
    for make in (_text, _garbage):
        make(folder / "bad")
        before = _content(folder)
        ended = _ended([command], Path("bad"), ask)
        _assert_all(ended, 2, "bad")
        assert _content(folder) == before


def _content(folder: Path) -> dict[str, bytes]:
    """All files but those that SQLite puts beside a database that is read."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in found if not path.name.endswith(("-shm", "-wal"))}


# Rights

_ASK_EACH = """
import contextlib, io, json, os, sys
from adapters.cli.main import main
ended = {}
for command in json.load(sys.stdin):
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())), contextlib.redirect_stderr(errors):
        ended[command] = (main(command.split()), errors.getvalue())
print(json.dumps(ended))
"""


def _ended_without_rights(folder: Path, commands: Iterable[str]) -> dict[str, Ended]:
    """What commands come to in a process to which the rights of files apply: root's usually need not care."""
    prefix: list[str] = []
    locked = folder / "locked"
    locked.touch(mode=0)
    if os.access(locked, os.R_OK):
        prefix = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
        # Some containers let root do everything but this.
        if (
            shutil.which("setpriv") is None
            or subprocess.run([*prefix, "true"], capture_output=True).returncode
        ):
            pytest.skip("root may do everything here, and setpriv cannot take that away")
    locked.unlink()
    process = subprocess.run(
        [*prefix, sys.executable, "-c", _ASK_EACH],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        input=json.dumps(list(commands)),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return {command: (code, said) for command, (code, said) in json.loads(process.stdout).items()}


def test_a_file_that_may_not_be_read(folder: Path) -> None:
    (folder / "bad").write_bytes(b"")
    (folder / "bad").chmod(0)
    commands = [f"{command} --ledger bad" for command in _READ_THE_LEDGER]
    commands += [command.replace("FILE", "bad") for command in _READ_A_RECORDING]
    commands += ["verify --ledger good.db --seal bad", "replay good.session --against bad"]
    _assert_all(_ended_without_rights(folder, commands), 3, "")
    configs = [f"{command} --config bad" for command in _READ_A_CONFIG]
    _assert_all(_ended_without_rights(folder, configs), 4, "Permission denied")


def test_a_directory_that_may_not_be_written_to(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    commands = [command.replace("FILE", "closed/file") for command in _WRITE]
    commands += [f"backfill --from-earliest {_UNASKED} --ledger closed/{name}" for name in ("file", "a/b/c")]
    _assert_all(_ended_without_rights(folder, commands), 2, "Permission denied")


def test_a_ledger_in_a_directory_that_may_not_be_written_to_is_read(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir()
    shutil.copy(folder / "good.db", closed / "good.db")
    (closed / "good.db").chmod(0o444)
    closed.chmod(0o555)
    reading = [each for each in _READ_THE_VIEWS if each.split()[0] not in ("reconcile", "rebuild", "sql")]
    commands = [f"{command} --ledger closed/good.db" for command in reading if "made" not in command]
    _assert_all(_ended_without_rights(folder, commands), 0, "")
    assert [path.name for path in closed.iterdir()] == ["good.db"]


# Nothing is left out


def test_every_command_is_in_a_table() -> None:
    tables = (*_READ_THE_LEDGER, *_READ_A_RECORDING, *_READ_A_CONFIG, *_WRITE)
    tried = {command.split()[0] for command in tables}
    there_are = {name for commands in main_module._COMMANDS for name in commands.help}
    assert there_are - tried == _NO_FILE_OF_ITS_OWN
