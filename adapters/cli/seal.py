"""`orderledger seal`: note the head of a ledger's chain, to be kept where nobody can rewrite it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from adapters.cli.chosen_ledger import add_ledger_options, chosen_ledger
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.outputs import check_output
from adapters.cli.progress_line import ProgressLine
from adapters.cli.text_table import utc_time
from adapters.storage.ledger_file import LedgerFile
from adapters.storage.mapper import MessagePackMapper
from adapters.storage.sealing import SealFileError, append_seal, check_seals, read_seals, seal_head

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "seal",
        help="note the head of the chain, to prove later that nothing was changed",
        description="Check the chain from its first event on, and write its last position and hash as one "
        "JSON line (ledger_id, position, hash, sealed_at_ns: nanoseconds since 1970 UTC). Keep the seals "
        "where whoever can write the ledger cannot: `orderledger verify --seal FILE` then notices even a "
        "chain that was rewritten as a whole. A chain that is broken is not sealed.",
        epilog="exit codes: 0 sealed, 2 usage (such as an output that cannot be written), 3 there is no "
        "ledger, 6 the ledger is damaged, or does not fit its earlier seals: nothing is sealed",
    )
    add_ledger_options(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help="add the line to this file (default: print it). The seals in it must fit, or nothing is added",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    output: Path | None = options.output
    ledger = chosen_ledger(options).ledger
    if output is not None:
        check_output(output, in_place=True)
    with LedgerFile.open_for_reading(ledger) as file, ProgressLine("checking the chain") as progress:
        try:
            if output is not None and output.exists():
                earlier = check_seals(file, read_seals(output))
                if not earlier.ok:
                    raise CommandError(
                        f"{file.path} does not fit the seals in {output}: {earlier.reason}. "
                        "Nothing was added.",
                        ExitCode.LEDGER_DAMAGED,
                    )
            seal = seal_head(file, progress, mapper=MessagePackMapper())
            if output is not None:
                append_seal(output, seal)
        except SealFileError as error:
            raise CommandError(f"{error}.", ExitCode.USAGE) from None
    if output is None:
        sys.stdout.write(msgspec.json.encode(seal).decode() + "\n")
    else:
        sys.stdout.write(f"sealed position {seal.position} at {utc_time(seal.sealed_at_ns)} in {output}\n")
    return ExitCode.OK
