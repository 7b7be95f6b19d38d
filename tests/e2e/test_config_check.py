"""`orderledger config check`: all that `orderledger run` would refuse is said before anything is started."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.cli.main import main
from adapters.storage.ledger import OrderLedger
from domain.events import AccountOpened
from projections import views_path_for
from tests.unit.projections.logs import LogBuilder

KEY = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
STRATEGY = """
from adapters.strategies.strategy import Strategy

class Quiet(Strategy):
    def __init__(self, amount: int = 1) -> None:
        super().__init__()
        if amount < 1:
            raise ValueError(f"amount {amount} is below 1")

class NoStrategy:
    pass

"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory with a strategy module, whose name no other test has imported."""
    folder = tmp_path / "trading"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("ORDERLEDGER")]:
        monkeypatch.delenv(name)
    (folder / "quiet.py").write_text(STRATEGY)
    (folder / "broken.py").write_text("import nowhere_to_be_found\n")
    (folder / "file").write_text("a file where a directory should be")
    return folder


def _configure(folder: Path, settings: str) -> None:
    (folder / "orderledger.toml").write_text(settings)


def _key_file(folder: Path, content: str = KEY, mode: int = 0o600) -> None:
    path = folder / "my.key"
    path.write_text(content)
    path.chmod(mode)


def _ledger(folder: Path, name: str = "ledger.db") -> None:
    log = LogBuilder()
    log.open_order("one", "91490942")
    with OrderLedger.open(folder / name) as ledger:
        ledger.append(log.events)


def _a_ledger_of_another_program(folder: Path) -> None:
    _key_file(folder)
    (folder / "ledger.db").write_text("buy low, sell high")


def _views_of_another_program(folder: Path) -> None:
    _key_file(folder)
    _ledger(folder)
    views_path_for(folder / "ledger.db").write_text("buy low, sell high")


def _views_of_another_ledger(folder: Path) -> None:
    _key_file(folder)
    _ledger(folder, "other.db")
    main(["orders", "--ledger", "other.db"])
    _ledger(folder)
    shutil.copy(views_path_for(folder / "other.db"), views_path_for(folder / "ledger.db"))


def _an_open_key(folder: Path) -> None:
    _key_file(folder, mode=0o644)


def _no_key_in_the_file(folder: Path) -> None:
    _key_file(folder, "0x1234")


def _nothing(_: Path) -> None:
    return


_WITH_KEY = '[secrets]\nkey_file = "my.key"\n'

_REFUSED = {
    "a key file that is missing": (_nothing, _WITH_KEY, "No such file or directory"),
    "a key file that others can read": (_an_open_key, _WITH_KEY, "chmod 600"),
    "a key file without a key": (_no_key_in_the_file, _WITH_KEY, "holds no signing key"),
    "a key that is not set": (_nothing, '[secrets]\nkey_env = "NO_SUCH_KEY"\n', "NO_SUCH_KEY"),
    "a keystore that is missing": (_nothing, '[secrets]\nkeystore = "k.json"\n', "Cannot read the keystore"),
    "a keystore that is none": (_nothing, '[secrets]\nkeystore = "file"\n', "no Ethereum keystore"),
    "no account": (_nothing, "", "No account"),
    "a strategy that is not there": (_key_file, f'{_WITH_KEY}[strategy]\nclass = "no_such:One"\n', "no_such"),
    "a strategy that cannot be imported": (
        _key_file,
        f'{_WITH_KEY}[strategy]\nclass = "broken:One"\n',
        "nowhere_to_be_found",
    ),
    "a class that is no strategy": (
        _key_file,
        f'{_WITH_KEY}[strategy]\nclass = "quiet:NoStrategy"\n',
        "is no strategy",
    ),
    "a parameter that is not known": (
        _key_file,
        f'{_WITH_KEY}[strategy]\nclass = "quiet:Quiet"\n[strategy.params]\namuont = 3\n',
        "Did you mean 'amount'?",
    ),
    "a parameter that cannot be": (
        _key_file,
        f'{_WITH_KEY}[strategy]\nclass = "quiet:Quiet"\n[strategy.params]\namount = 0\n',
        "amount 0 is below 1",
    ),
    "a ledger in no directory": (
        _key_file,
        f'{_WITH_KEY}[ledger]\npath = "no/ledger.db"\n',
        "ledger.path: there is no directory",
    ),
    "a ledger below a file": (_key_file, f'{_WITH_KEY}[ledger]\npath = "file/l.db"\n', "is no directory"),
    "a directory for a ledger": (_key_file, f'{_WITH_KEY}[ledger]\npath = "."\n', "is a directory"),
    "another program's file for a ledger": (_a_ledger_of_another_program, _WITH_KEY, "is not a ledger"),
    "another program's file for views": (_views_of_another_program, _WITH_KEY, "is not a views file"),
    "the views of another ledger": (_views_of_another_ledger, _WITH_KEY, "belong to the ledger"),
    "views in no directory": (
        _key_file,
        f'{_WITH_KEY}[ledger]\nviews_path = "no/views.db"\n',
        "ledger.views_path: there is no directory",
    ),
    "recordings below a file": (
        _key_file,
        f'{_WITH_KEY}[recording]\ndirectory = "file/sessions"\n',
        "recording.directory",
    ),
    "a log below a file": (_key_file, f'{_WITH_KEY}[log]\nfile = "file/run.log"\n', "log.file"),
    "a directory for a log": (_key_file, f'{_WITH_KEY}[log]\nfile = "."\n', "log.file"),
}


@pytest.mark.parametrize("what", _REFUSED)
def test_what_a_start_would_refuse_is_said_and_nothing_is_left_behind(
    folder: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    prepare, settings, says = _REFUSED[what]
    prepare(folder)
    capsys.readouterr()
    _configure(folder, settings)
    before = {path.relative_to(folder) for path in folder.rglob("*")}
    assert main(["config", "check"]) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err
    assert KEY not in said.err
    left = {path.relative_to(folder) for path in folder.rglob("*")} - before
    assert {path.suffix for path in left} <= {".db-shm", ".db-wal"}


_RUN_EACH = """
import json, os, sys
from adapters.cli.main import main
ended = {}
for what in sorted(os.listdir()):
    os.chdir(what)
    ended[what] = main(["run"])
    os.chdir("..")
print(json.dumps(ended))
"""


def test_a_start_refuses_all_of_it_too(folder: Path) -> None:
    runs = folder.parent / "runs"
    for what, (prepare, settings, _) in _REFUSED.items():
        directory = runs / what
        shutil.copytree(folder, directory)
        with contextlib.chdir(directory):
            prepare(directory)
        _configure(directory, f'[venue]\nsimulator_url = "http://127.0.0.1:1"\n{settings}')
    process = subprocess.run(
        [sys.executable, "-c", _RUN_EACH],
        cwd=runs,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    codes = json.loads(process.stdout)
    assert codes.keys() == _REFUSED.keys()
    assert {what for what, code in codes.items() if code in (0, 5)} == set()


def test_everything_is_said_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _configure(
        folder,
        '[secrets]\nkey_env = "NO_SUCH_KEY"\n[strategy]\nclass = "no_such:One"\n'
        '[ledger]\npath = "no/ledger.db"\n[log]\nfile = "file/run.log"\n',
    )
    assert main(["config", "check"]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "orderledger: orderledger.toml: 5 mistakes"
    assert len(lines) == 6
    for what in ("NO_SUCH_KEY", "no_such", "ledger.path", "ledger.views_path", "log.file"):
        assert any(what in line for line in lines[1:])


def test_a_ledger_of_another_network_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = LogBuilder()
    log.account(AccountOpened, network="simulator")
    with OrderLedger.open(folder / "ledger.db") as ledger:
        ledger.append(log.events)
    account = "0x14791697260E4c9A71f18484C9f997B308e59325"
    _configure(folder, f'[venue]\nnetwork = "testnet"\naccount_address = "{account}"\n')
    assert main(["config", "check"]) == 4
    assert "on simulator, and venue.network is testnet" in capsys.readouterr().err


def test_what_is_complete_is_let_pass_with_the_ledger_that_is_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _key_file(folder)
    _ledger(folder)
    _configure(folder, f'{_WITH_KEY}[strategy]\nclass = "quiet:Quiet"\n[recording]\ndirectory = "a/b/c"\n')
    assert main(["config", "check"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("ok: ")
    assert said.err == ""
    assert not (folder / "a").exists()


def test_the_password_of_a_keystore_is_not_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "k.json").write_text('{"crypto": {}}')
    _configure(folder, '[secrets]\nkeystore = "k.json"\n')
    assert main(["config", "check"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("ok: ")
    assert "password of the keystore is asked for at the start" in said.err
