"""The pytest plugin: every recording is a test that replays it.

Installed with the package, so that a committed `*.session` file below a project's `sessions` folder is tested
by plain `pytest`. Nothing but this module is imported until there is a recording to collect, and no connector
until one is run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from replays.regression import Update
    from replays.session_builder import SessionBuilder
    from replays.session_run import SessionRun

__all__ = [
    "SessionFile",
    "SessionItem",
    "pytest_addoption",
    "pytest_collect_file",
    "pytest_collection",
    "pytest_configure",
    "pytest_terminal_summary",
    "replay_session",
    "session_builder",
]

_SUFFIX = ".session"
_INI = "orderledger_sessions"
_USUAL_FOLDERS = ("sessions", "replays/sessions")
_SQLITE = b"SQLite format 3\0"
"""What other programs' `.session` files (of chat clients) begin with."""

_CHANGES_SHOWN = 20

_folders = pytest.StashKey[tuple[Path, ...]]()
_updates: pytest.StashKey[list[Update]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        _INI,
        "folders whose *.session files are tests (default: sessions and replays/sessions, and any *.session "
        "that is come across where tests are looked for)",
        type="paths",
        default=[],
    )
    parser.getgroup("orderledger", "recorded sessions").addoption(
        "--sessions-update",
        action="store_true",
        help="replay *.session files and write what comes of it into them, as the expectation",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_updates] = []
    if not config.getoption("sessions_update"):
        return
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        raise pytest.UsageError(
            "--sessions-update is refused in CI (the environment has CI set): expectations are rewritten by "
            "a person who looks at what changed"
        )
    spread = config.getoption("dist", "no") != "no" or config.getoption("numprocesses", None)
    if spread or hasattr(config, "workerinput"):
        raise pytest.UsageError("--sessions-update is refused under xdist: run it in one process, with -n 0")


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Look for recordings in the configured folders too where `testpaths` do not reach them."""
    config = session.config
    config.stash[_folders] = folders = _configured(config)
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    looked_in = [(config.invocation_params.dir / arg).resolve() for arg in config.args]
    for folder in folders:
        if not any(folder.is_relative_to(place) for place in looked_in):
            config.args.append(str(folder))


def _configured(config: pytest.Config) -> tuple[Path, ...]:
    """Folders in which every `*.session` is ours. Raises `pytest.UsageError` for one that is not there."""
    named = [Path(folder).resolve() for folder in config.getini(_INI)]
    for folder in named:
        if not folder.is_dir():
            raise pytest.UsageError(f"{_INI}: there is no folder {folder}")
    usual = [config.rootpath / folder for folder in _USUAL_FOLDERS]
    return tuple(named or [folder.resolve() for folder in usual if folder.is_dir()])


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SessionFile | None:
    if file_path.suffix != _SUFFIX or not _is_ours(file_path, parent):
        return None
    return SessionFile.from_parent(parent, path=file_path)


def _is_ours(path: Path, parent: pytest.Collector) -> bool:
    if parent.session.isinitpath(path):
        return True
    resolved = path.resolve()
    if any(resolved.is_relative_to(folder) for folder in parent.config.stash[_folders]):
        return True
    if parent.config.getini(_INI):
        return False
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) != _SQLITE


class SessionFile(pytest.File):
    """A recording. One of several parts is tested together with the others, as the first of them."""

    def collect(self) -> Iterator[SessionItem]:
        from replays.errors import RecordingError
        from replays.regression import parts_of

        try:
            parts = parts_of(self.path)
        except (RecordingError, OSError):
            parts = (self.path,)  # it fails when it is run, with the reason
        if not parts and self.session.isinitpath(self.path):
            parts = (self.path,)
        if parts:
            yield SessionItem.from_parent(self, name=self.path.stem.replace("-", "_"), parts=parts)


class SessionItem(pytest.Item):
    """Replays one recording and compares every event and effect; `parts` are its files."""

    def __init__(self, *, parts: tuple[Path, ...], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.parts = parts

    def runtest(self) -> None:
        from domain.errors import LedgerError
        from replays.regression import check, update

        try:
            if self.config.getoption("sessions_update"):
                self.config.stash[_updates].append(update(self.path))
                return
            report = check(self.parts, [self._shown(part) for part in self.parts])
        except (LedgerError, OSError) as error:
            message = str(error)
            named = str(self.path) in message
            raise _NotReplayed(message if named else f"{self._shown(self.path)}: {message}") from None
        if report:
            raise _NotReplayed(f"{self._shown(self.path)} {report}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What a person needs to see; where in Python it was found is of no interest."""
        if isinstance(excinfo.value, _NotReplayed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self.name

    def _shown(self, path: Path) -> str:
        """A path as it can be typed from where pytest was started."""
        here = self.config.invocation_params.dir
        return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


class _NotReplayed(Exception):
    """The text of a failure."""


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what `--sessions-update` changed."""
    if not config.getoption("sessions_update"):
        return
    updates = config.stash[_updates]
    changed = [update for update in updates if update.is_changed]
    terminalreporter.section("sessions update")
    for update in changed:
        terminalreporter.line(
            f"{update.path}: {len(update.changes)} of {update.inputs} inputs lead elsewhere"
        )
        for line in update.changes[:_CHANGES_SHOWN]:
            terminalreporter.line(f"  {line}")
        if len(update.changes) > _CHANGES_SHOWN:
            terminalreporter.line(f"  ... and {len(update.changes) - _CHANGES_SHOWN} more")
        if update.was_open:
            terminalreporter.line("  it had no end and was given one")
    terminalreporter.line(f"{len(changed)} of {len(updates)} recordings rewritten")


# -- fixtures ------------------------------------------------------------------------------------------------


@pytest.fixture
def replay_session(request: pytest.FixtureRequest) -> Callable[..., SessionRun]:
    """Runs a recording, under other connector options if some are given, and gives a `SessionRun`.

    A relative path is looked for beside the test, in the folders of recordings, and from the root directory:

        def test_a_patient_connector_ends_in_the_same_place(replay_session):
            run = replay_session("incident.session", not_found_limit=10)
            assert run.orders["bid"].state == "filled"
    """
    from replays.session_file import read_sessions
    from replays.session_run import run_session

    def replay(path: Path | str, **changed_options: Any) -> SessionRun:
        return run_session(read_sessions([_found(request, path)]), **changed_options)

    return replay


@pytest.fixture
def session_builder(request: pytest.FixtureRequest) -> Callable[..., SessionBuilder]:
    """Makes sessions in code: `given` inputs, `then` events. See `replays.session_builder`.

    Begins where a recording ends, by default the one that comes with the package: an account without orders
    on Hyperliquid's BTC-USD and ETH-USD, ready to trade.

        def test_a_refused_order_has_failed(session_builder):
            session = session_builder()
            session.given.buy("BTC-USD", "0.01", "43000", client_order_id="bid")
            session.then("order.created", "order.submitted")
            session.given.answer("order", {"status": "err", "response": "Insufficient margin."})
            session.then("order.failed", reason_code="insufficient_margin")
    """
    from replays.session_builder import SessionBuilder
    from replays.session_file import read_sessions

    def build(
        continuing: Path | str | None = None, *, until: int | None = None, **changed_options: Any
    ) -> SessionBuilder:
        path = _READY if continuing is None else _found(request, continuing)
        return SessionBuilder.continuing(read_sessions([path]), until=until, **changed_options)

    return build


_READY = Path(__file__).parent / "sessions" / "ready-to-trade.session"


def _found(request: pytest.FixtureRequest, path: Path | str) -> Path:
    """Where a recording is that a test names. Raises `FileNotFoundError` saying where it was looked for."""
    config = request.config
    places = [request.path.parent, *config.stash[_folders], config.rootpath]
    for place in places:
        if (place / path).is_file():
            return place / path
    raise FileNotFoundError(f"There is no {path} in {', '.join(map(str, dict.fromkeys(places)))}")
