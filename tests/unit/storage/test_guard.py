"""The single writer's lock."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from adapters.storage.errors import LedgerInUseError, LedgerUnavailableError
from adapters.storage.guard import WriterGuard


def test_a_second_writer_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with (
        WriterGuard(tmp_path / "ledger.db"),
        pytest.raises(LedgerInUseError, match="this process") as caught,
    ):
        WriterGuard(tmp_path / "ledger.db")
    assert caught.value.pid == os.getpid()


def test_after_a_release_the_next_writer_gets_in(tmp_path: Path) -> None:
    first = WriterGuard(tmp_path / "ledger.db")
    first.release()
    first.release()
    WriterGuard(tmp_path / "ledger.db").release()


def test_the_lock_file_says_who_and_since_when(tmp_path: Path) -> None:
    with WriterGuard(tmp_path / "ledger.db") as guard:
        assert guard.path == tmp_path / "ledger.db.lock"
        holder = json.loads(guard.path.read_text())
        assert holder["pid"] == os.getpid()
        assert holder["since"].endswith("+00:00")
    assert guard.path.read_text() == ""


def test_another_name_of_the_same_ledger_meets_the_same_lock(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    (tmp_path / "alias.db").symlink_to(tmp_path / "ledger.db")
    with WriterGuard(tmp_path / "ledger.db"), pytest.raises(LedgerInUseError):
        WriterGuard(tmp_path / "alias.db")


def test_two_ledgers_in_one_directory_do_not_hinder_each_other(tmp_path: Path) -> None:
    with WriterGuard(tmp_path / "a.db"), WriterGuard(tmp_path / "b.db"):
        pass


def test_a_lock_file_with_other_content_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "ledger.db.lock").write_bytes(b"\x00\xff not json")
    with WriterGuard(tmp_path / "ledger.db") as guard:
        assert json.loads(guard.path.read_text())["pid"] == os.getpid()


def test_a_holder_that_has_not_written_its_name_yet_is_said_to_be_unknown(tmp_path: Path) -> None:
    with WriterGuard(tmp_path / "ledger.db") as guard:
        guard.path.write_text("")
        with pytest.raises(LedgerInUseError, match="another process") as caught:
            WriterGuard(tmp_path / "ledger.db")
    assert caught.value.pid is None


def test_a_directory_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailableError, match="must exist"):
        WriterGuard(tmp_path / "nowhere" / "ledger.db")
