"""The config that `orderledger init` writes."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from eth_account import Account

from adapters.cli.config import SECTIONS, Config
from adapters.cli.config_reading import ConfigError, load_config
from adapters.cli.init import config_text
from adapters.cli.main import main
from adapters.cli.secrets import load_signing_key
from adapters.strategies.loading import load_strategy
from adapters.strategies.market_making import MarketMakingSample


def _uncommented(text: str) -> str:
    """The file with every default and example taken in."""
    return re.sub(r"^# (\w+ = |\[\w+\.\w+\]$)", r"\1", text, flags=re.MULTILINE)


def test_it_lists_every_setting_once_in_its_section() -> None:
    document = tomllib.loads(_uncommented(config_text({})))
    assert list(document) == list(SECTIONS)
    for name, section_type in SECTIONS.items():
        assert list(document[name]) == list(section_type.__struct_encode_fields__)


def test_it_explains_every_setting_and_section() -> None:
    text = " ".join(config_text({}).replace("\n#", " ").split())
    for section_type in SECTIONS.values():
        assert section_type.__doc__ is not None
        assert section_type.__doc__.split("\n")[0] in text


def test_as_written_it_means_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(config_text({}))
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    assert load_config(file, {}) == load_config(empty, {})


def test_the_defaults_it_shows_are_the_defaults(tmp_path: Path) -> None:
    shown = tomllib.loads(_uncommented(config_text({})))
    for name, section in msgspec.to_builtins(Config()).items():
        for key, default in section.items():
            if default not in ("", {}):
                expected = list(default) if isinstance(default, tuple) else default
                assert shown[name][key] == expected, f"{name}.{key}"


def test_what_is_shown_as_an_example_is_of_the_right_form(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(_uncommented(config_text({})))
    with pytest.raises(ConfigError) as raised:
        load_config(file, {})
    # Only what contradicts itself when everything is taken in at once is left.
    assert {mistake.path for mistake in raised.value.mistakes} == {
        "venue.account_address",
        "venue.vault_address",
        "secrets",
    }


def test_the_strategy_that_is_shown_can_be_made(tmp_path: Path) -> None:
    settings = tomllib.loads(_uncommented(config_text({})), parse_float=Decimal)["strategy"]
    made = load_strategy(settings["class"], settings["params"])
    assert isinstance(made, MarketMakingSample)
    assert made.order_amount == Decimal("0.01")


def test_every_line_fits_a_terminal() -> None:
    assert max(map(len, config_text({}).splitlines())) <= 104


def test_it_writes_the_config_and_says_what_is_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    said = capsys.readouterr().out
    assert "Wrote orderledger.toml." in said
    assert "orderledger run --config orderledger.toml" in said
    assert main(["config", "check"]) == 4
    assert "No account" in capsys.readouterr().err
    assert main(["init", "--force", "--new-key"]) == 0
    capsys.readouterr()
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out.startswith("ok: hyperliquid simulator, BTC-USD, ledger ")


@pytest.mark.parametrize("arguments", [["{}/a.toml"], ["{}"], ["--dir", "{}"], ["--dir", "{}/new/directory"]])
def test_it_writes_where_it_is_told(tmp_path: Path, arguments: list[str]) -> None:
    assert main(["init", *(argument.format(tmp_path) for argument in arguments)]) == 0
    (written,) = tmp_path.rglob("*.toml")
    assert load_config(written, {}).venue.network == "simulator"


def test_it_does_not_overwrite_a_config_unless_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.toml"
    file.write_text("mine")
    assert main(["init", str(file)]) == 2
    assert "--force" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert main(["init", str(file), "--force"]) == 0
    assert file.read_text() == config_text({})
    assert list(tmp_path.iterdir()) == [file]


def test_a_new_key_is_readable_by_its_owner_alone_and_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--dir", str(tmp_path), "--new-key"]) == 0
    said = capsys.readouterr().out
    key_file = tmp_path / "orderledger.key"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    config = load_config(tmp_path / "orderledger.toml", {})
    key = load_signing_key(config.secrets, {}).reveal()
    assert Account.from_key(key).address in said
    assert key not in said


def test_a_key_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--dir", str(tmp_path), "--new-key"]) == 0
    before = (tmp_path / "orderledger.key").read_text()
    (tmp_path / "orderledger.toml").unlink()
    assert main(["init", "--dir", str(tmp_path), "--new-key", "--force"]) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert (tmp_path / "orderledger.key").read_text() == before
    assert not (tmp_path / "orderledger.toml").exists()


def test_a_place_that_cannot_be_written_is_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "missing" / "c.toml")]) == 2
    assert f"There is no directory {tmp_path / 'missing'}" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["init", "--dir", str(tmp_path / "file" / "below")]) == 2
    assert f"{tmp_path / 'file'} is no directory" in capsys.readouterr().err


def test_nothing_is_written_when_one_of_the_two_files_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "orderledger.toml").write_text("mine")
    assert main(["init", "--dir", str(tmp_path), "--new-key"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["orderledger.toml"]


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert main(["init", "--force", str(pipe)]) == 2
    assert "is no file" in capsys.readouterr().err
    assert pipe.is_fifo()
