"""`orderledger config check|show|fingerprint`: what the settings come to, before anything is started."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import msgspec

from adapters.cli.config import DEFAULT_CONFIG_FILE, Config
from adapters.cli.config_reading import load_config
from adapters.cli.exit_codes import CommandError, ExitCode

__all__ = ["register"]

_HELP = {
    "check": "say everything for which `orderledger run` would refuse it (exit code 4), or that nothing is: "
    "settings, signing key, strategy, files and directories",
    "show": "print the effective settings as JSON: file, environment and defaults together",
    "fingerprint": "print a hash of the effective settings, the [secrets] section left out",
}


def register(subparsers: Any) -> None:
    """Add the command to `orderledger`."""
    parser = subparsers.add_parser(
        "config",
        help="check a config, show it, fingerprint it",
        description="Look at a config without starting anything.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, show in (("check", _check), ("show", _show), ("fingerprint", _fingerprint)):
        action = actions.add_parser(name, help=_HELP[name], description=_HELP[name].capitalize() + ".")
        action.add_argument(
            "--config",
            metavar="FILE",
            default=DEFAULT_CONFIG_FILE,
            help=f"the config (default: {DEFAULT_CONFIG_FILE})",
        )
        action.set_defaults(run=_run, show=show)


def _run(options: argparse.Namespace) -> int:
    print(options.show(load_config(options.config, os.environ), options.config))
    return ExitCode.OK


def _check(config: Config, file: str) -> str:
    # Imported here: it takes the whole live process, which `show` and `fingerprint` do without.
    from adapters.cli.start_checks import check_start

    report = check_start(config, file, os.environ)
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    if report.refusals:
        count = len(report.refusals)
        head = f"{file}: {count} mistake{'s' if count != 1 else ''}"
        raise CommandError("\n".join([head, *(f"  {why}" for why in report.refusals)]), ExitCode.CONFIG)
    venue = config.venue
    live = " (needs --live)" if venue.is_mainnet else ""
    markets = ", ".join(venue.trading_pairs)
    return f"ok: {venue.name} {venue.network}{live}, {markets}, ledger {config.ledger.path}"


def _show(config: Config, _file: str) -> str:
    return msgspec.json.format(msgspec.json.encode(config, enc_hook=str), indent=2).decode()


def _fingerprint(config: Config, _file: str) -> str:
    return config.fingerprint
