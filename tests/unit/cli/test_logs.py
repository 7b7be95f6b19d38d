"""What log lines look like, and what never stands in one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.cli.config import LogSettings
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.logs import set_up_logs
from adapters.cli.secrets import Secret

KEY = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
_log = logging.getLogger("orderledger.test")


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
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


def test_a_line_of_text_carries_position_and_order_first(tmp_path: Path) -> None:
    file = _lines(tmp_path)
    _log.info("filled %s", "all", extra={"amount": Decimal("1.5"), "client_order_id": "ol-1", "position": 17})
    line = file.read_text()
    assert line.endswith("Z INFO orderledger.test: filled all position=17 client_order_id=ol-1 amount=1.5\n")
    assert line[:2] == "20"


def test_json_lines_are_objects_with_the_same_content(tmp_path: Path) -> None:
    file = _lines(tmp_path, format="json")
    _log.warning(
        'a "quoted"\nline', extra={"position": 17, "client_order_id": "ol-1", "amount": Decimal("1.5")}
    )
    document = json.loads(file.read_text())
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
    assert "Traceback" in file.read_text()
    assert "ValueError: no luck" in file.read_text()


def test_what_a_venue_sends_cannot_forge_a_line_or_reach_the_terminal(tmp_path: Path) -> None:
    file = _lines(tmp_path)
    _log.info("said: %s", "bad\n2026-01-01 INFO forged\x1b[2J", extra={"reason": "a\r\nb"})
    assert len(file.read_text().splitlines()) == 1
    assert "\x1b" not in file.read_text()


def test_less_severe_lines_are_left_out(tmp_path: Path) -> None:
    file = _lines(tmp_path, level="warning")
    _log.info("small talk")
    _log.warning("important")
    assert [line.split(": ")[1] for line in file.read_text().splitlines()] == ["important"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_loaded_secret_is_blotted_out_wherever_it_turns_up(tmp_path: Path, form: str) -> None:
    file = _lines(tmp_path, format=form)
    _log.info("key is 0x%s", KEY.upper())
    _log.info("in context", extra={"body": {"key": KEY}, "password": "correct horse"})
    try:
        raise ValueError(f"bad key {KEY}")
    except ValueError:
        _log.exception("failed")
    text = file.read_text().lower()
    assert KEY not in text
    assert "correct horse" not in text
    assert text.count("[secret]") >= 4


def test_other_hashes_stay_readable(tmp_path: Path) -> None:
    file = _lines(tmp_path)
    _log.info("transaction 0x%s", "ab" * 32)
    assert "ab" * 32 in file.read_text()


def test_without_a_file_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(LogSettings())
    _log.info("hello")
    out, error = capsys.readouterr()
    assert (out, error.rstrip().endswith("orderledger.test: hello")) == ("", True)


def test_setting_up_again_replaces_what_was_set_up(tmp_path: Path) -> None:
    set_up_logs(LogSettings(file=str(tmp_path / "first")))
    file = _lines(tmp_path)
    _log.info("once")
    assert len(file.read_text().splitlines()) == 1
    assert (tmp_path / "first").read_text() == ""


def test_a_file_rotated_from_outside_is_opened_again(tmp_path: Path) -> None:
    file = _lines(tmp_path)
    _log.info("before")
    file.rename(tmp_path / "log.1")
    _log.info("after")
    assert "before" in (tmp_path / "log.1").read_text()
    assert "after" in file.read_text()


def test_a_file_that_cannot_be_written_is_a_mistake_of_the_config(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Is a directory") as raised:
        set_up_logs(LogSettings(file=str(tmp_path)))
    assert raised.value.exit_code is ExitCode.CONFIG
