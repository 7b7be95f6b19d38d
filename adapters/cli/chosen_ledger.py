"""Which ledger a command is about, and where its views are."""

from __future__ import annotations

import argparse
import os
import stat
from pathlib import Path
from typing import NamedTuple

from adapters.cli.config import DEFAULT_CONFIG_FILE
from adapters.cli.config_reading import ConfigError, configured_ledger_path, load_config
from adapters.cli.exit_codes import CommandError, ExitCode
from projections import views_path_for

__all__ = ["ChosenLedger", "add_ledger_options", "chosen_ledger", "refuse_no_file"]


class ChosenLedger(NamedTuple):
    """A ledger file and the views file that belongs to it; neither need exist."""

    ledger: Path
    views: Path


def add_ledger_options(parser: argparse.ArgumentParser) -> None:
    """Add `--ledger` and `--config`."""
    parser.add_argument(
        "--ledger", metavar="FILE", type=Path, help="the ledger (default: the config's, else ./ledger.db)"
    )
    parser.add_argument(
        "--config", metavar="FILE", help=f"the config (default: {DEFAULT_CONFIG_FILE}, if there is one)"
    )


def chosen_ledger(options: argparse.Namespace) -> ChosenLedger:
    """What `--ledger` names, else the config, else `./ledger.db`.

    Raises `ConfigError` when a config that is named cannot be read, and `CommandError` (NOT_FOUND) for a
    ledger that is no file.
    """
    chosen = _chosen(options)
    refuse_no_file(chosen.ledger, "ledger")
    return chosen


def refuse_no_file(path: Path, what: str) -> None:
    """Refuse a directory, a device, a pipe (reading one would wait), and a file that may not be read. One
    that is missing is left to whoever opens it. Raises `CommandError` (NOT_FOUND)."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise CommandError(f"There is no {what} {path}: {error.strerror}.", ExitCode.NOT_FOUND) from None
    if stat.S_ISDIR(mode):
        raise CommandError(f"{path} is a directory: name the {what} in it.", ExitCode.NOT_FOUND)
    if not stat.S_ISREG(mode):
        raise CommandError(f"{path} is no file: name the {what}.", ExitCode.NOT_FOUND)
    if not os.access(path, os.R_OK):
        raise CommandError(
            f"You may not read {path}: be the user who wrote the {what}, or have its owner let you.",
            ExitCode.NOT_FOUND,
        )


def _chosen(options: argparse.Namespace) -> ChosenLedger:
    if options.ledger is not None:
        return ChosenLedger(options.ledger, views_path_for(options.ledger))
    ledger = configured_ledger_path(options.config, os.environ)
    try:
        configured = load_config(options.config or DEFAULT_CONFIG_FILE, os.environ)
    except ConfigError:
        # Reading works while a config is being edited; the ledger's path was found all the same.
        return ChosenLedger(ledger, views_path_for(ledger))
    return ChosenLedger(ledger, Path(configured.ledger.effective_views_path))
