"""Loading the signing key, and keeping it out of sight."""

from __future__ import annotations

import copy
import json
import os
import pickle
import traceback
from pathlib import Path

import msgspec
import pytest
from eth_account import Account

from adapters.cli import secrets
from adapters.cli.config import SecretSettings
from adapters.cli.exit_codes import ExitCode
from adapters.cli.secrets import Secret, SecretError, load_signing_key, read_private_file

KEY = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"


def _private(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keystore as other wallets write them, with few rounds so that tests are fast."""
    path = tmp_path_factory.mktemp("keystore") / "keystore.json"
    path.write_text(json.dumps(Account.encrypt(KEY, "correct horse", kdf="pbkdf2", iterations=10)))
    return path


# -- where it comes from -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [KEY, f"0x{KEY}", f"0X{KEY.upper()}\n", f"  {KEY}\r\n"])
def test_a_key_is_read_from_a_file_of_its_owners(tmp_path: Path, text: str) -> None:
    file = _private(tmp_path / "key", text)
    assert load_signing_key(SecretSettings(key_file=str(file)), {}).reveal() == KEY


def test_a_key_is_read_from_the_environment() -> None:
    settings = SecretSettings(key_env="MY_KEY")
    assert load_signing_key(settings, {"MY_KEY": f"0x{KEY}"}).reveal() == KEY


def test_a_keystore_opens_with_a_password_from_a_file_the_environment_or_a_person(
    keystore: Path, tmp_path: Path
) -> None:
    file = _private(tmp_path / "password", "correct horse\n")
    by_file = SecretSettings(keystore=str(keystore), password_file=str(file))
    by_environment = SecretSettings(keystore=str(keystore), password_env="PW")
    asked = SecretSettings(keystore=str(keystore))
    assert load_signing_key(by_file, {}).reveal() == KEY
    assert load_signing_key(by_environment, {"PW": "correct horse"}).reveal() == KEY
    assert load_signing_key(asked, {}, ask_password=lambda: "correct horse").reveal() == KEY


def test_without_a_terminal_nobody_is_asked(keystore: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(secrets.sys, "stdin", nothing)
        with pytest.raises(SecretError, match=r"no terminal.*password_file"):
            load_signing_key(SecretSettings(keystore=str(keystore)), {})


# -- what is wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601])
def test_a_file_that_others_can_read_is_refused_with_the_command_that_helps(
    tmp_path: Path, mode: int
) -> None:
    file = _private(tmp_path / "key", KEY, mode)
    with pytest.raises(SecretError, match=f"mode {mode:04o}.*chmod 600 {file}"):
        load_signing_key(SecretSettings(key_file=str(file)), {})


def test_the_password_file_is_guarded_in_the_same_way(keystore: Path, tmp_path: Path) -> None:
    file = _private(tmp_path / "password", "correct horse", 0o644)
    with pytest.raises(SecretError, match="chmod 600"):
        load_signing_key(SecretSettings(keystore=str(keystore), password_file=str(file)), {})


def test_the_file_behind_a_link_is_what_counts(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(_private(tmp_path / "key", KEY, 0o644))
    with pytest.raises(SecretError, match="chmod 600"):
        read_private_file(link, "secrets.key_file")


@pytest.mark.parametrize(
    "content", ["", "hello", KEY[:-1], KEY + "0", KEY.replace("a", "g"), f"{KEY}\n{KEY}"]
)
def test_a_file_that_holds_no_key_is_refused_without_repeating_it(tmp_path: Path, content: str) -> None:
    file = _private(tmp_path / "key", content)
    with pytest.raises(SecretError, match="64 hex digits") as raised:
        load_signing_key(SecretSettings(key_file=str(file)), {})
    assert not content or content not in str(raised.value)


def test_files_that_cannot_be_secrets_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    large = _private(tmp_path / "large", "x" * 70_000)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    binary.chmod(0o600)
    for path, complaint in (
        (tmp_path / "missing", "No such file"),
        (tmp_path / "pipe", "no regular file"),
        (tmp_path, "no regular file"),
        (large, "larger than any secret"),
        (binary, "not a text"),
    ):
        with pytest.raises(SecretError, match=complaint):
            read_private_file(path, "secrets.key_file")


def test_a_variable_that_is_missing_or_empty_is_named() -> None:
    settings = SecretSettings(key_env="MY_KEY")
    with pytest.raises(SecretError, match=r"MY_KEY .* not set"):
        load_signing_key(settings, {})
    with pytest.raises(SecretError, match=r"MY_KEY .* empty"):
        load_signing_key(settings, {"MY_KEY": ""})


def test_no_setting_at_all_says_which_there_are() -> None:
    with pytest.raises(
        SecretError, match=r"secrets\.keystore, secrets\.key_file and secrets\.key_env"
    ) as raised:
        load_signing_key(SecretSettings(), {})
    assert raised.value.exit_code is ExitCode.CONFIG


def test_a_wrong_password_is_told_from_a_damaged_keystore(keystore: Path, tmp_path: Path) -> None:
    def opened(path: Path, password: str) -> Secret:
        return load_signing_key(SecretSettings(keystore=str(path)), {}, ask_password=lambda: password)

    with pytest.raises(SecretError, match="password does not open") as raised:
        opened(keystore, "battery staple")
    assert "battery" not in str(raised.value)
    document = json.loads(keystore.read_text())
    damaged = {
        "not JSON": "{",
        "no object": "[]",
        "something else": "{}",
        "no parts": json.dumps({"version": 3, "crypto": {}}),
        "other version": json.dumps({**document, "version": 9}),
        "odd parts": json.dumps({**document, "crypto": {**document["crypto"], "kdfparams": 3}}),
        "no hex": json.dumps({**document, "crypto": {**document["crypto"], "ciphertext": "xyz"}}),
    }
    for name, text in damaged.items():
        file = tmp_path / name
        file.write_text(text)
        with pytest.raises(SecretError, match=f"{name} .*no Ethereum keystore"):
            opened(file, "correct horse")


# -- out of sight --------------------------------------------------------------------------------------------


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret(KEY)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>80}",
        f"{secret!r}",
        "{}".format(secret),  # noqa: UP032
        repr([secret]),
    ]
    assert all(KEY not in text for text in shown)
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize(
    "leak",
    [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, msgspec.json.encode, msgspec.to_builtins, vars],
)
def test_a_secret_is_not_written_anywhere_by_accident(leak: object) -> None:
    assert callable(leak)
    with pytest.raises(TypeError) as raised:
        leak(Secret(KEY))
    assert KEY not in str(raised.value)


def test_no_traceback_of_a_failure_repeats_what_was_read(tmp_path: Path) -> None:
    file = _private(tmp_path / "key", KEY + "ff")
    with pytest.raises(SecretError) as raised:
        load_signing_key(SecretSettings(key_file=str(file)), {})
    # As tools that report errors do: with the local variables of every frame.
    trace = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    shown = [str(frame.locals) for frame in trace.stack if frame.filename == secrets.__file__]
    assert len(shown) == 2
    assert KEY[:16] not in "".join(shown)
