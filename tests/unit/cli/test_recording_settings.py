"""The [recording] section: where the files go by default, and bounds that fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.cli.config import LedgerSettings, RecordingSettings
from adapters.cli.config_reading import ConfigError, load_config


def load(folder: Path, text: str) -> RecordingSettings:
    file = folder / "orderledger.toml"
    file.write_text(text)
    return load_config(file, {}).recording


def test_sessions_are_recorded_beside_the_ledger_unless_told_otherwise(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert settings.enabled
    assert settings.effective_directory(LedgerSettings(path="/data/books.db")) == "/data/sessions"


def test_a_folder_is_meant_from_where_the_config_file_is(tmp_path: Path) -> None:
    settings = load(tmp_path, '[recording]\ndirectory = "kept"\n')
    assert settings.effective_directory(LedgerSettings(path="/data/books.db")) == str(tmp_path / "kept")


def test_the_total_has_room_for_a_file_to_go_while_the_next_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recording\.max_total_mb: found 10; allowed: at least twice"):
        load(tmp_path, "[recording]\nmax_file_mb = 6\nmax_total_mb = 10\n")
    assert load(tmp_path, "[recording]\nmax_file_mb = 5\nmax_total_mb = 10\n").max_total_mb == 10
