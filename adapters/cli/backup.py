"""`orderledger backup`: a consistent, verified copy of a ledger, live or not."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from adapters.cli.chosen_ledger import add_ledger_options, chosen_ledger
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.outputs import check_output
from adapters.cli.progress_line import ProgressLine
from adapters.storage.backing_up import BackupExistsError, back_up
from adapters.storage.errors import LedgerUnavailableError
from adapters.storage.ledger_file import LedgerFile
from adapters.storage.mapper import MessagePackMapper

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "backup",
        help="copy a ledger, live or not, and verify the copy",
        description="Copy the ledger as it stands now, without holding up a live process, and verify the "
        "copy from its first event to its last. Never replaces a file. The views are not copied: they are "
        "built from the ledger.",
    )
    add_ledger_options(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, required=True, help="where the copy goes"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    output: Path = options.output
    ledger = chosen_ledger(options).ledger
    check_output(output, if_there="a backup replaces nothing: name another file")
    with (
        LedgerFile.open_for_reading(ledger) as file,
        ProgressLine("copying", "pages") as copying,
        ProgressLine("verifying the copy") as verifying,
    ):
        try:
            report = back_up(
                file, output, on_copied=copying, on_verified=verifying, mapper=MessagePackMapper()
            )
        except BackupExistsError as error:
            raise CommandError(f"{error}.", ExitCode.USAGE) from None
        except LedgerUnavailableError as error:
            raise CommandError(f"{error}.", ExitCode.CHECK_FAILED) from None
    sys.stdout.write(
        f"{output}: {report.events} events, verified\n"
        f"head of the chain: position {report.last_position}, {report.head}\n"
    )
    return ExitCode.OK
