"""Reads the config file and the environment into a `Config`, or says everything that is wrong at once.

A setting comes from the environment variable `ORDERLEDGER__SECTION__KEY`, else from the file, else its
default stands. Values from the environment are texts: lists are written `BTC-USD,ETH-USD`, booleans `true` or
`false`; `ORDERLEDGER__STRATEGY__PARAMS__NAME` sets one parameter of the strategy, read as TOML where it is
TOML.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from adapters.cli.config import DEFAULT_CONFIG_FILE, SECTIONS, Config
from adapters.cli.config_checks import CHECKS, Mistake, check_together
from adapters.cli.exit_codes import CommandError, ExitCode

__all__ = ["ENVIRONMENT_PREFIX", "ConfigError", "configured_ledger_path", "load_config", "require_live"]

ENVIRONMENT_PREFIX = "ORDERLEDGER__"

_PATHS = {
    "secrets": ("keystore", "password_file", "key_file"),
    "ledger": ("path", "views_path"),
    "recording": ("directory",),
    "log": ("file",),
}
"""Settings that name a file: relative ones are meant from where the config file is."""

_KEY_LIKE = re.compile(r"(?:0[xX])?[0-9a-fA-F]{64}")
_SECRET_WORDS = ("private", "password", "passphrase", "mnemonic", "seed_phrase", "secret", "key")
_LARGE = 2**200
_LONGEST_SHOWN = 60


class ConfigError(CommandError):
    """The settings cannot be used. `mistakes` lists all of them; none shows a secret."""

    exit_code = ExitCode.CONFIG

    def __init__(self, origin: str, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        count = len(self.mistakes)
        head = f"{origin}: {count} mistake{'s' if count != 1 else ''}"
        super().__init__("\n".join([head, *(f"  {mistake}" for mistake in self.mistakes)]))


class _Override(msgspec.Struct, frozen=True):
    """One environment variable, already taken apart."""

    variable: str
    section: str
    key: str
    param: str
    text: str


def load_config(file: str | Path, environment: Mapping[str, str]) -> Config:
    """Read, merge and validate. Paths come back absolute. Raises `ConfigError`."""
    file = Path(file)
    tables = _read_file(file)
    overrides, mistakes = _overrides(environment)
    read: dict[str, Any] = {}
    for name in tables:
        if name not in SECTIONS:
            mistakes.append(_unknown_section(name, tables[name]))
    for name, section_type in SECTIONS.items():
        table = tables.get(name, {})
        if not isinstance(table, dict):
            mistakes.append(Mistake(name, f"{_shown(table)}", f"a table, written [{name}]"))
            table = {}
        section_overrides = [override for override in overrides if override.section == name]
        read[name], section_mistakes = _read_section(name, section_type, table, section_overrides)
        wrong = {mistake.path for mistake in section_mistakes}
        # A key that could not be read holds its default now: what follows from that is no mistake.
        section_mistakes += (found for found in CHECKS[name](read[name]) if found.path not in wrong)
        mistakes += section_mistakes
    pasted = [
        Mistake(
            path,
            "something that looks like a private key",
            "no secret, here or in any setting; see [secrets]",
        )
        for path in _key_like_values(tables, overrides)
    ]
    exposed = {mistake.path for mistake in pasted}
    mistakes = [mistake for mistake in mistakes if mistake.path not in exposed] + pasted
    config = Config(**read)
    mistakes = mistakes or list(check_together(config))
    if mistakes:
        raise ConfigError(str(file), mistakes)
    return _completed(config, file.resolve().parent)


def require_live(config: Config, *, live: bool) -> None:
    """Mainnet is real money: it takes `--live` as well. Raises `ConfigError`."""
    if config.venue.is_mainnet and not live:
        raise ConfigError(
            "Not started",
            [
                Mistake(
                    "venue.network",
                    '"mainnet"',
                    "this only with --live on the command line: it is real money",
                )
            ],
        )


def configured_ledger_path(file: str | Path | None, environment: Mapping[str, str]) -> Path:
    """The ledger a reading command opens: the environment's, the config file's, else `./ledger.db`.

    Without a `file` the default one is used if there is one. Only `ledger.path` is looked at: reading must
    work while the rest of a config is being edited. Raises `ConfigError` when the file cannot be read at all.
    """
    from_environment = environment.get(f"{ENVIRONMENT_PREFIX}LEDGER__PATH")
    config_file = Path(file if file is not None else DEFAULT_CONFIG_FILE)
    base = config_file.parent
    path: object = from_environment
    if not path and (file is not None or config_file.exists()):
        ledger = _read_file(config_file).get("ledger")
        path = ledger.get("path") if isinstance(ledger, dict) else None
    default: str = SECTIONS["ledger"]().path  # type: ignore[attr-defined]
    return _located(base, path if isinstance(path, str) and path else default)


def _read_file(file: Path) -> dict[str, Any]:
    """The file's tables; numbers with a point as exact decimals."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            str(file), [Mistake("file", "nothing there", "a config file; `orderledger init` writes one")]
        ) from None
    except OSError as error:
        raise ConfigError(
            str(file), [Mistake("file", error.strerror or str(error), "a readable file")]
        ) from None
    try:
        return tomllib.loads(content.decode(), parse_float=Decimal)
    except UnicodeDecodeError as error:
        found = f"a byte that is not UTF-8 at offset {error.start}"
        raise ConfigError(str(file), [Mistake("file", found, "TOML in UTF-8")]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(file), [Mistake("file", f"no TOML: {error}", "TOML")]) from None


def _overrides(environment: Mapping[str, str]) -> tuple[list[_Override], list[Mistake]]:
    """The settings in the environment. One that names no setting is a mistake: it would change nothing."""
    overrides: list[_Override] = []
    mistakes: list[Mistake] = []
    for variable in sorted(environment):
        if not variable.upper().startswith(ENVIRONMENT_PREFIX):
            continue
        section, _, key = variable[len(ENVIRONMENT_PREFIX) :].lower().partition("__")
        key, _, param = key.partition("__")
        if section not in SECTIONS:
            mistakes.append(
                Mistake(variable, f"section {section!r}", _names(SECTIONS), _near(section, SECTIONS))
            )
        elif key not in (keys := _keys(SECTIONS[section])):
            mistakes.append(_unknown_key(variable, section, key, keys))
        elif bool(param) != (section == "strategy" and key == "params"):
            form = f"{ENVIRONMENT_PREFIX}{section.upper()}__{key.upper()}{'' if param else '__NAME'}"
            mistakes.append(Mistake(variable, "this name", form))
        else:
            overrides.append(_Override(variable, section, key, param, environment[variable]))
    return overrides, mistakes


def _read_section(
    name: str, section_type: type[msgspec.Struct], table: Mapping[str, Any], overrides: Iterable[_Override]
) -> tuple[msgspec.Struct, list[Mistake]]:
    """The section with every value that could be read, and a mistake for every one that could not."""
    hints = typing.get_type_hints(section_type, include_extras=True)
    keys = _keys(section_type)
    mistakes: list[Mistake] = []
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in keys:
            mistakes.append(_unknown_key(f"{name}.{key}", name, key, keys))
            continue
        hint = hints[keys[key]]
        try:
            values[keys[key]] = msgspec.convert(_as_float(value, hint), hint)
        except msgspec.ValidationError:
            mistakes.append(_wrong_value(f"{name}.{key}", name, value, hint))
    for override in overrides:
        hint = hints[keys[override.key]]
        if override.param:
            params = dict(values.get("params", {}))
            params[override.param] = _toml_value(override.text)
            values["params"] = params
            continue
        try:
            values[keys[override.key]] = _from_text(override.text, hint)
        except (msgspec.ValidationError, ValueError):
            mistakes.append(_wrong_value(override.variable, name, override.text, hint))
    return section_type(**values), mistakes


def _keys(section_type: type[msgspec.Struct]) -> dict[str, str]:
    """Keys as they are written, with the names of their fields."""
    return {field.encode_name: field.name for field in msgspec.structs.fields(section_type)}


def _as_float(value: object, hint: Any) -> object:
    return float(value) if isinstance(value, Decimal) and _bare(hint) is float else value


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


def _from_text(text: str, hint: Any) -> Any:
    if typing.get_origin(_bare(hint)) is tuple:
        return msgspec.convert([part.strip() for part in text.split(",") if part.strip()], hint)
    return msgspec.convert(text, hint, strict=False)


def _toml_value(text: str) -> object:
    """`5` is a number and `fast` a text: TOML's reading where it has one."""
    try:
        document = tomllib.loads(f"value = {text}", parse_float=Decimal)
    except tomllib.TOMLDecodeError:
        return text
    return document["value"] if len(document) == 1 else text


# -- saying what is wrong ----------------------------------------------------------------------------------


def _wrong_value(path: str, section: str, value: object, hint: Any) -> Mistake:
    allowed, choices = _allowed(hint)
    near = _near(value, choices) if isinstance(value, str) else ""
    found = type(value).__name__ if section == "secrets" else _shown(value)
    return Mistake(path, found, allowed, near)


def _allowed(hint: Any) -> tuple[str, tuple[str, ...]]:
    """What a setting may hold, in words; and the choices where it is one of several."""
    kind = inspect.type_info(hint)
    if isinstance(kind, inspect.Metadata):
        kind = kind.type
    match kind:
        case inspect.LiteralType(values=values):
            choices = tuple(str(value) for value in values)
            return _names(choices), choices
        case inspect.IntType(ge=ge, le=le):
            return f"a whole number from {ge} to {le}", ()
        case inspect.FloatType(ge=ge, le=le):
            return f"a number from {ge} to {le}", ()
        case inspect.BoolType():
            return "true or false", ()
        case inspect.DictType():
            return "a table", ()
        case inspect.VarTupleType():
            return 'a list of texts, such as ["BTC-USD", "ETH-USD"]', ()
        case inspect.StrType(min_length=int()):
            return "a text that is not empty", ()
        case _:
            return "a text in quotes", ()


def _unknown_section(name: str, value: object) -> Mistake:
    if not isinstance(value, dict):
        homes = [section for section, section_type in SECTIONS.items() if name in _keys(section_type)]
        if homes:
            return Mistake(name, "a key outside any section", f"it under [{homes[0]}]")
    return Mistake(name, "a section that does not exist", _names(SECTIONS), _near(name, SECTIONS))


def _unknown_key(path: str, section: str, key: str, keys: Mapping[str, str]) -> Mistake:
    if (
        section == "secrets"
        and any(word in key for word in _SECRET_WORDS)
        and not _near(key, keys, cutoff=0.9)
    ):
        return Mistake(
            path,
            "a key that does not exist",
            f"no secret in a config, only where it is: {_names(keys)}",
        )
    homes = [f"[{name}]" for name, section_type in SECTIONS.items() if key in _keys(section_type)]
    hint = _near(key, keys) or (f"It belongs into {' or '.join(homes)}." if homes else "")
    return Mistake(path, "a key that does not exist", _names(keys), hint)


def _near(text: str, choices: Iterable[str], cutoff: float = 0.6) -> str:
    close = difflib.get_close_matches(text.lower(), list(choices), n=1, cutoff=cutoff)
    return f'Did you mean "{close[0]}"?' if close else ""


def _names(choices: Iterable[str]) -> str:
    return ", ".join(choices)


def _shown(value: object) -> str:
    """A value as the user wrote it, shortened; never one that could be a key."""
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    if _holds_key_like(value):
        return "something that looks like a private key"
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _key_like_values(tables: Mapping[str, Any], overrides: Iterable[_Override]) -> Iterator[str]:
    """Where a value, at any depth, reads like a private key. No setting of ours ever does."""
    for section, table in tables.items():
        if not isinstance(table, dict):
            table = {"": table}
        yield from (f"{section}.{key}".rstrip(".") for key, value in table.items() if _holds_key_like(value))
    yield from (override.variable for override in overrides if _holds_key_like(override.text))


def _holds_key_like(value: object) -> bool:
    if isinstance(value, dict):
        return any(_holds_key_like(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_holds_key_like(inner) for inner in value)
    # A bare hex number is read as an integer.
    text = f"{value:064x}" if type(value) is int and value >= _LARGE else str(value)
    return any(_KEY_LIKE.fullmatch(word) for word in text.split())


def _located(base: Path, text: str) -> Path:
    """A file that a config names, from the config's folder."""
    # Not Path.expanduser, which raises: a `~` of nobody stays what it is, as in a shell.
    return base / os.path.expanduser(text)


def _completed(config: Config, base: Path) -> Config:
    """With every named file made absolute, from `base`, and what follows from other settings written in."""
    replaced = {}
    for section_name, keys in _PATHS.items():
        section = getattr(config, section_name)
        files = {key: str(_located(base, text)) for key in keys if (text := getattr(section, key))}
        replaced[section_name] = msgspec.structs.replace(section, **files)
    config = msgspec.structs.replace(config, **replaced)
    ledger = msgspec.structs.replace(config.ledger, views_path=config.ledger.effective_views_path)
    return msgspec.structs.replace(config, ledger=ledger)
