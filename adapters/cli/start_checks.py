"""What `orderledger run` would refuse, found without starting anything: the signing key, the strategy, and
the files and directories that a config names.

Nothing of ours is written (SQLite puts its -shm and -wal files beside a ledger that is read), nobody is
asked, and no network is used. What only a start can tell is left to it: whether the venue answers, and
whether another process has the ledger or the publisher's port.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from adapters.cli.bootstrap import LiveProcess
from adapters.cli.config import Config
from adapters.cli.exit_codes import CommandError
from adapters.cli.ledger_source import LedgerEventSource
from adapters.cli.restoring import check_network
from adapters.cli.run import network_of
from adapters.cli.secrets import Secret, load_signing_key, read_keystore
from adapters.cli.strategy import configured_strategy
from adapters.storage.errors import LedgerError as StorageError
from adapters.storage.errors import LedgerNotFoundError
from adapters.storage.ledger import OrderLedger
from adapters.strategies.strategy import Strategy
from domain.errors import VersionError
from projections import DamagedViewsError, OtherLedgerError, Views, ViewsError, ViewsMissingError

__all__ = ["StartReport", "check_start"]


class StartReport(msgspec.Struct, frozen=True):
    """`refusals`: what a start would end with, a sentence each; none shows a secret. `notes`: what it would
    ask for."""

    refusals: tuple[str, ...]
    notes: tuple[str, ...] = ()


def check_start(config: Config, config_file: str | Path, environment: Mapping[str, str]) -> StartReport:
    """Look at everything, whatever else is wrong. The strategy is imported and made, as a start does it."""
    refusals: list[str] = []
    notes: list[str] = []
    strategy: Strategy | None = None
    try:
        with _no_compiled_files():
            strategy = configured_strategy(config.strategy, config_file)
    except CommandError as error:
        refusals.append(str(error))
    try:
        key = _signing_key(config, environment, notes)
        process = LiveProcess(config, key, strategy, network=network_of(config))
        if key is not None or not config.secrets.keystore:
            # Of a keystore that is not opened, the address is not known.
            _ = process.account
    except CommandError as error:
        refusals.append(str(error))
    refusals += _ledger(config)
    refusals += _recordings(config)
    if config.log.file:
        refusals += _unwritable_file(Path(config.log.file), "log.file")
    return StartReport(tuple(refusals), tuple(notes))


@contextmanager
def _no_compiled_files() -> Iterator[None]:
    """Importing leaves no `__pycache__` behind."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _signing_key(config: Config, environment: Mapping[str, str], notes: list[str]) -> Secret | None:
    """The key where one is needed and nobody has to be asked for a password. Raises `SecretError`."""
    secrets = config.secrets
    if secrets.keystore and not (secrets.password_file or secrets.password_env):
        read_keystore(Path(secrets.keystore))
        notes.append(
            "The password of the keystore is asked for at the start, on a terminal (or set "
            "secrets.password_file or secrets.password_env)."
        )
        return None
    if config.strategy.class_path or secrets.keystore or secrets.key_file or secrets.key_env:
        return load_signing_key(secrets, environment)
    return None


def _ledger(config: Config) -> Iterator[str]:
    path, views = Path(config.ledger.path), Path(config.ledger.effective_views_path)
    unwritable = [*_unwritable_file(path, "ledger.path"), *_unwritable_file(views, "ledger.views_path")]
    yield from dict.fromkeys(unwritable)
    if not path.is_file() or not os.access(path, os.R_OK):
        return
    try:
        with OrderLedger.open(path, writer=False, create=False) as ledger:
            check_network(ledger, config.ledger.path, config.venue.network)
            with Views(views) as kept:
                if kept.ledger_id != (ledger_id := LedgerEventSource(ledger).ledger_id):
                    raise OtherLedgerError(views, kept.ledger_id, ledger_id)
    except (LedgerNotFoundError, ViewsMissingError, DamagedViewsError):
        # A ledger is begun in an empty file, and views that are missing or damaged are built from it.
        return
    except (StorageError, VersionError, ViewsError, CommandError) as error:
        yield f"{str(error).rstrip('.')}."


def _recordings(config: Config) -> Iterator[str]:
    """Its directory is made at the start: looked at is where it would be made."""
    if not config.recording.enabled:
        return
    directory = Path(config.recording.effective_directory(config.ledger))
    existing = directory
    while not os.path.lexists(existing):
        existing = existing.parent
    if why := _unwritable_folder(existing):
        yield (
            f"recording.directory: {why}, so nothing can be recorded into {directory}. Name another one, or "
            "set recording.enabled = false."
        )


def _unwritable_file(path: Path, setting: str) -> Iterator[str]:
    folder = path.parent
    if not os.path.lexists(folder):
        yield f"{setting}: there is no directory {folder}. Make it, or name a file elsewhere."
    elif why := _unwritable_folder(folder):
        yield f"{setting}: {why}. Name a file elsewhere."
    elif path.is_dir():
        yield f"{setting}: {path} is a directory. Name a file in it."
    elif path.exists() and not os.access(path, os.R_OK | os.W_OK):
        yield f"{setting}: {path} may not be written by this user."


def _unwritable_folder(folder: Path) -> str:
    """Why nothing can be made in it; empty when it can."""
    if not folder.is_dir():
        return f"{folder} is no directory"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} may not be written by this user"
    return ""
