"""What log lines look like, and what never stands in one."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.cli import logs
from adapters.cli.config import LogSettings
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.logs import BackgroundHandler, set_up_logs
from adapters.cli.secrets import Secret

KEY = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
_log = logging.getLogger("orderledger.test")


@pytest.fixture(autouse=True)
def _root_logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logs, "_PATIENCE_S", 60.0)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def _lines(tmp_path: Path, **settings: str) -> Path:
    file = tmp_path / "log"
    set_up_logs(LogSettings(file=str(file), **settings), [Secret(KEY), Secret("correct horse")])  # type: ignore[arg-type]
    return file


def _written(file: Path) -> str:
    for handler in logging.getLogger().handlers:
        handler.flush()
    return file.read_text()


def test_a_line_of_text_carries_position_and_order_first(tmp_path: Path) -> None:
    file = _lines(tmp_path)
    _log.info("filled %s", "all", extra={"amount": Decimal("1.5"), "client_order_id": "ol-1", "position": 17})
    line = _written(file)
    assert line.endswith("Z INFO orderledger.test: filled all position=17 client_order_id=ol-1 amount=1.5\n")
    assert line[:2] == "20"


def test_json_lines_are_objects_with_the_same_content(tmp_path: Path) -> None:
    file = _lines(tmp_path, format="json")
    _log.warning(
        'a "quoted"\nline', extra={"position": 17, "client_order_id": "ol-1", "amount": Decimal("1.5")}
    )
    document = json.loads(_written(file))
    assert document.pop("time").endswith("Z")
    assert document == {
        "level": "warning",
        "logger": "orderledger.test",
        "message": 'a "quoted"\nline',
        "position": 17,
        "client_order_id": "ol-1",
        "amount": "1.5",
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_exceptions_are_written_with_their_traceback(tmp_path: Path, form: str) -> None:
    file = _lines(tmp_path, format=form)
    try:
        raise ValueError("no luck")
    except ValueError:
        _log.exception("it failed")
    assert "Traceback" in _written(file)
    assert "ValueError: no luck" in _written(file)


def test_what_a_venue_sends_cannot_forge_a_line_or_reach_the_terminal(tmp_path: Path) -> None:
    file = _lines(tmp_path)
    _log.info("said: %s", "bad\n2026-01-01 INFO forged\x1b[2J", extra={"reason": "a\r\nb"})
    assert len(_written(file).splitlines()) == 1
    assert "\x1b" not in _written(file)


def test_less_severe_lines_are_left_out(tmp_path: Path) -> None:
    file = _lines(tmp_path, level="warning")
    _log.info("small talk")
    _log.warning("important")
    assert [line.split(": ")[1] for line in _written(file).splitlines()] == ["important"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_loaded_secret_is_blotted_out_wherever_it_turns_up(tmp_path: Path, form: str) -> None:
    file = _lines(tmp_path, format=form)
    _log.info("key is 0x%s", KEY.upper())
    _log.info("in context", extra={"body": {"key": KEY}, "password": "correct horse"})
    try:
        raise ValueError(f"bad key {KEY}")
    except ValueError:
        _log.exception("failed")
    text = _written(file).lower()
    assert KEY not in text
    assert "correct horse" not in text
    assert text.count("[secret]") >= 4


def test_other_hashes_stay_readable(tmp_path: Path) -> None:
    file = _lines(tmp_path)
    _log.info("transaction 0x%s", "ab" * 32)
    assert "ab" * 32 in _written(file)


def test_without_a_file_lines_go_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_logs(LogSettings())
    _log.info("hello")
    logging.getLogger().handlers[0].flush()
    out, error = capfd.readouterr()
    assert (out, error.rstrip().endswith("orderledger.test: hello")) == ("", True)


def test_setting_up_again_replaces_what_was_set_up(tmp_path: Path) -> None:
    set_up_logs(LogSettings(file=str(tmp_path / "first")))
    file = _lines(tmp_path)
    _log.info("once")
    assert len(_written(file).splitlines()) == 1
    assert (tmp_path / "first").read_text() == ""


def test_a_file_rotated_from_outside_is_opened_again(tmp_path: Path) -> None:
    file = _lines(tmp_path)
    _log.info("before")
    assert "before" in _written(file)
    file.rename(tmp_path / "log.1")
    _log.info("after")
    assert "after" in _written(file)


def test_a_file_that_cannot_be_written_is_a_mistake_of_the_config(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Is a directory") as raised:
        set_up_logs(LogSettings(file=str(tmp_path)))
    assert raised.value.exit_code is ExitCode.CONFIG


class _StuckWriter(logging.Handler):
    """Stands for a terminal that was paused: writes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.began.set()
        assert self.go_on.wait(60)
        self.lines.append(record.getMessage())


def test_who_logs_never_waits_for_the_writer_and_what_was_dropped_is_said() -> None:
    writer = _StuckWriter()
    handler = BackgroundHandler(writer, queue_size=10)
    logging.getLogger().addHandler(handler)
    _log.warning("the first")
    assert writer.began.wait(60)
    for number in range(15):
        _log.warning("number %d", number)
    assert handler.dropped == 5
    writer.go_on.set()
    handler.close()
    assert writer.lines == [
        "the first",
        "5 log lines were dropped: they came faster than they could be written",
        *(f"number {number}" for number in range(10)),
    ]


def test_a_line_says_what_was_true_when_it_was_logged(tmp_path: Path) -> None:
    file = _lines(tmp_path)
    amounts = [1]
    _log.info("amounts %s", amounts)
    amounts.append(2)
    assert "amounts [1]\n" in _written(file)
