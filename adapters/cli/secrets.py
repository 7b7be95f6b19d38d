"""Loads the signing key: from an encrypted keystore, a file only its owner can read, or the environment.

Never from an argument, where every user of the machine could read it. Once loaded it is a `Secret`, which
shows itself nowhere; no error of this module repeats what it read.
"""

from __future__ import annotations

import getpass
import os
import re
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from adapters.cli.config import SecretSettings
from adapters.cli.exit_codes import CommandError, ExitCode

__all__ = ["Secret", "SecretError", "load_signing_key", "read_keystore", "read_private_file"]

_HEX_KEY = re.compile(r"(?:0[xX])?([0-9a-fA-F]{64})")
_LARGEST_FILE_BYTES = 64 * 1024


class SecretError(CommandError):
    """The signing key cannot be had. Says where it was looked for and what to do; never what was read."""

    exit_code = ExitCode.CONFIG


class Secret:
    """A text that must not be seen: only `reveal()` gives it. Not printed, formatted, pickled or copied."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The text itself. Call it where it is used, and keep it in no variable that outlives that."""
        return self.__text

    def __repr__(self) -> str:
        return "Secret(hidden)"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a secret is neither pickled nor copied")

    __getstate__ = __reduce_ex__  # type: ignore[assignment]


def load_signing_key(
    settings: SecretSettings,
    environment: Mapping[str, str],
    *,
    ask_password: Callable[[], str] | None = None,
) -> Secret:
    """The key as 64 hex digits without `0x`. Raises `SecretError`.

    `ask_password` is called when a keystore's password stands nowhere; by default it asks on the terminal, if
    there is one.
    """
    if settings.keystore:
        password = _keystore_password(settings, environment, ask_password or _ask_on_terminal)
        return _decrypt_keystore(Path(settings.keystore), password)
    if settings.key_file:
        path = Path(settings.key_file)
        return _key(read_private_file(path, "secrets.key_file"), f"The file {path}")
    if settings.key_env:
        text = environment.get(settings.key_env, "")
        if not text:
            raise SecretError(
                f"The environment variable {settings.key_env} (secrets.key_env) is "
                f"{'empty' if settings.key_env in environment else 'not set'}; put the signing key in it."
            )
        return _key(text, f"The environment variable {settings.key_env}")
    raise SecretError(
        "There is no signing key: set one of secrets.keystore, secrets.key_file and secrets.key_env in the "
        "config."
    )


def read_private_file(path: Path, setting: str) -> str:
    """The text of a file that nobody but its owner (us, or root) can read. Raises `SecretError`.

    What is checked is the file that was opened, so that it cannot be exchanged in between. `setting` names
    the file in errors.
    """
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SecretError(f"Cannot read {path} ({setting}): {error.strerror}.") from None
    try:
        _check_private(path, setting, os.fstat(descriptor))
        content = os.read(descriptor, _LARGEST_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _LARGEST_FILE_BYTES:
        raise SecretError(f"{path} ({setting}) is larger than any secret; is it the right file?")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SecretError(f"{path} ({setting}) is not a text in UTF-8; is it the right file?") from None


def _check_private(path: Path, setting: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SecretError(f"{path} ({setting}) is no regular file.")
    if status.st_uid not in (os.geteuid(), 0):
        raise SecretError(
            f"{path} ({setting}) belongs to another user, who can read it; make a copy of your own."
        )
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SecretError(
            f"{path} ({setting}) can be read or changed by others (mode {stat.S_IMODE(status.st_mode):04o}). "
            f"Type: chmod 600 {path}"
        )


def _key(text: str, origin: str) -> Secret:
    match = _HEX_KEY.fullmatch(text.strip())
    if match is None:
        length = len(text.strip())
        del text
        raise SecretError(
            f"{origin} holds no signing key: 64 hex digits are expected, got {length} characters."
        )
    return Secret(match[1].lower())


def _keystore_password(
    settings: SecretSettings, environment: Mapping[str, str], ask_password: Callable[[], str]
) -> Secret:
    if settings.password_file:
        text = read_private_file(Path(settings.password_file), "secrets.password_file")
        # Editors and `echo` end a file with a line feed that is no part of the password.
        return Secret(text.removesuffix("\n").removesuffix("\r"))
    if settings.password_env:
        if settings.password_env not in environment:
            raise SecretError(
                f"The environment variable {settings.password_env} (secrets.password_env) is not set; "
                "put the keystore's password in it."
            )
        return Secret(environment[settings.password_env])
    return Secret(ask_password())


def _ask_on_terminal() -> str:
    if not sys.stdin.isatty():
        raise SecretError(
            "The keystore needs a password and there is no terminal to ask on: set secrets.password_file or "
            "secrets.password_env."
        )
    return getpass.getpass("Password of the keystore: ")


def read_keystore(path: Path) -> dict[str, Any]:
    """The document of an encrypted keystore, as it is without its password. Raises `SecretError`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SecretError(f"Cannot read the keystore {path} (secrets.keystore): {error.strerror}.") from None
    import json

    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise SecretError(f"{path} (secrets.keystore) is no Ethereum keystore, or a damaged one.") from None
    if not isinstance(document, dict) or not ({"crypto", "Crypto"} & document.keys()):
        raise SecretError(
            f"{path} (secrets.keystore) is no Ethereum keystore: its JSON has no member crypto."
        )
    return document


def _decrypt_keystore(path: Path, password: Secret) -> Secret:
    document = read_keystore(path)

    from eth_account import Account

    try:
        return Secret(bytes(Account.decrypt(document, password.reveal())).hex())
    except ValueError as error:
        if "MAC mismatch" in str(error):
            raise SecretError(f"The password does not open the keystore {path}.") from None
        raise SecretError(f"{path} (secrets.keystore) is no Ethereum keystore, or a damaged one.") from None
    except (KeyError, TypeError, AttributeError, NotImplementedError, RecursionError):
        # What the library raises on members that are missing or of another type.
        raise SecretError(f"{path} (secrets.keystore) is no Ethereum keystore, or a damaged one.") from None
