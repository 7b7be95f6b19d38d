"""Which ledger a command is about, and where its views are."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NamedTuple

from adapters.cli.config import DEFAULT_CONFIG_FILE
from adapters.cli.config_reading import ConfigError, configured_ledger_path, load_config
from projections import views_path_for

__all__ = ["ChosenLedger", "add_ledger_options", "chosen_ledger"]


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

    Raises `ConfigError` when a config that is named cannot be read.
    """
    if options.ledger is not None:
        return ChosenLedger(options.ledger, views_path_for(options.ledger))
    ledger = configured_ledger_path(options.config, os.environ)
    try:
        configured = load_config(options.config or DEFAULT_CONFIG_FILE, os.environ)
    except ConfigError:
        # Reading works while a config is being edited; the ledger's path was found all the same.
        return ChosenLedger(ledger, views_path_for(ledger))
    return ChosenLedger(ledger, Path(configured.ledger.effective_views_path))
