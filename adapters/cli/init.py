"""`orderledger init`: writes a config that shows every setting with its meaning, and says what is next.

The text is made from the structs in `config`, so it lists exactly the settings there are.
"""

from __future__ import annotations

import argparse
import os
import secrets
import tempfile
import textwrap
import typing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from adapters.cli.config import DEFAULT_CONFIG_FILE, SECTIONS, VenueSettings
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.outputs import check_output, refuse_device

__all__ = ["config_text", "register", "run"]

_WIDTH = 100
_KEY_FILE = "orderledger.key"
_SIMULATOR_PORT = urlsplit(VenueSettings().simulator_url).port

_HEAD = """\
Order Ledger: the settings of one live process.

A line that starts with "# name =" shows a default; take the "# " away to change it. The environment wins over
this file: ORDERLEDGER__VENUE__NETWORK=testnet sets network under [venue]. Files are relative to where this
file is. `orderledger config check` says everything that is wrong with it.
"""


def register(subparsers: Any) -> None:
    """Add the command to `orderledger`."""
    parser = subparsers.add_parser(
        "init",
        help="write a commented config",
        description="Write a config that shows every setting with its meaning and default.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "file",
        nargs="?",
        default=DEFAULT_CONFIG_FILE,
        help=f"the file to write (default: {DEFAULT_CONFIG_FILE})",
    )
    where.add_argument(
        "--dir", help=f"write {DEFAULT_CONFIG_FILE} in this directory, which is made if need be"
    )
    parser.add_argument(
        "--new-key",
        action="store_true",
        help=f"also make a new signing key beside it ({_KEY_FILE}, readable by you alone): an account on the "
        "simulator, or an agent to approve on the venue",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace an existing config (never an existing key)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the config. Raises `CommandError` when something is in the way."""
    file = Path(options.file)
    if options.dir is not None:
        file = Path(options.dir) / DEFAULT_CONFIG_FILE
    elif os.path.isdir(file):
        file = file / DEFAULT_CONFIG_FILE
    key_file = file.with_name(_KEY_FILE)
    _check(file, force=options.force, makes_folders=options.dir is not None)
    if options.new_key:
        _check(key_file, force=False, makes_folders=options.dir is not None)
    try:
        if options.dir is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        address = _write_new_key(key_file) if options.new_key else ""
        chosen = {"secrets.key_file": _KEY_FILE} if options.new_key else {}
        _write(file, config_text(chosen), replace=options.force)
    except OSError as error:
        raise CommandError(f"Cannot write {error.filename or file}: {error.strerror}.") from None
    print(f"Wrote {file}.")
    if options.new_key:
        print(f"Wrote {key_file}, readable by you alone: the key of {address}.")
    print(_next_steps(file, address))
    return ExitCode.OK


def _check(file: Path, *, force: bool, makes_folders: bool) -> None:
    """Refuse a file that is there, or could not be written. Raises `CommandError` (USAGE)."""
    if force:
        in_the_way = ""
        refuse_device(file)
    elif file.name == _KEY_FILE:
        in_the_way = "a key is never overwritten. Nothing was written"
    else:
        in_the_way = "nothing was written. Replace it with --force"
    check_output(file, if_there=in_the_way, makes_folders=makes_folders)


def config_text(chosen: dict[str, Any]) -> str:
    """The config file. `chosen` maps `section.key` to a value to be set rather than shown as a comment."""
    lines = _comment(_HEAD)
    for name, section_type in SECTIONS.items():
        lines += ["", "", *_comment(section_type.__doc__ or ""), f"[{name}]"]
        hints = typing.get_type_hints(section_type, include_extras=True)
        defaults = section_type()
        for field in msgspec.structs.fields(section_type):
            meta = hints[field.name].__metadata__[0]
            lines += ["", *_comment(meta.description)]
            default = getattr(defaults, field.name)
            if isinstance(default, dict):
                lines += [f"# [{name}.{field.encode_name}]", *_SAMPLE_PARAMS]
                continue
            path = f"{name}.{field.encode_name}"
            if path in chosen:
                lines.append(f"{field.encode_name} = {_toml(chosen[path])}")
            elif default in ("", ()) and meta.examples:
                lines.append(f"# {field.encode_name} = {_toml(meta.examples[0])}")
            elif path in _SHOWN_SET:
                lines.append(f"{field.encode_name} = {_toml(default)}")
            else:
                lines.append(f"# {field.encode_name} = {_toml(default)}")
    return "\n".join(lines) + "\n"


_SAMPLE_PARAMS = ('# trading_pair = "BTC-USD"', "# order_amount = 0.01", "# spread_bps = 20.0")
"""What the strategy that is shown as an example is made with."""

_SHOWN_SET = frozenset({"venue.network", "venue.trading_pairs"})
"""What nearly everybody changes first, written as a setting rather than as a comment."""


def _comment(text: str) -> list[str]:
    lines = []
    for paragraph in text.strip().split("\n\n"):
        lines += textwrap.wrap(
            " ".join(paragraph.split()), _WIDTH, break_long_words=False, break_on_hyphens=False
        )
        lines.append("")
    return [f"# {line}".rstrip() for line in lines[:-1]]


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    # What JSON writes for texts, numbers and booleans is TOML too.
    return msgspec.json.encode(value).decode()


def _write(file: Path, text: str, *, replace: bool) -> None:
    """Write it whole or not at all; without `replace`, only where nothing was."""
    if not replace:
        with file.open("x", encoding="utf-8") as handle:
            handle.write(text)
        return
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(text)
        Path(temporary).chmod(0o644)
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _write_new_key(file: Path) -> str:
    """A new key in a file of its own; returns its address. A key is never overwritten: it may hold money."""
    from eth_account import Account

    key = secrets.token_hex(32)
    address: str = Account.from_key(key).address
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise CommandError(
            f"{file} is there already; a key is never overwritten. Nothing was written.", ExitCode.USAGE
        ) from None
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        handle.write(key + "\n")
    return address


def _next_steps(file: Path, address: str) -> str:
    if address:
        steps = [f"orderledger sim --port {_SIMULATOR_PORT} --fund {address}=100000   (in another terminal)"]
    else:
        steps = [
            f"orderledger sim --port {_SIMULATOR_PORT}   (in another terminal; it prints a key to try "
            "things with)",
            "say where the signing key is, under [secrets]",
        ]
    steps += [f"orderledger config check --config {file}", f"orderledger run --config {file}"]
    return "Next:\n" + "\n".join(f"  {number}. {step}" for number, step in enumerate(steps, 1))
