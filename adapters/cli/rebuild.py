"""`orderledger rebuild`: the views made anew from the ledger, or compared with what that would give."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from adapters.cli.building_helpers import helpers_for
from adapters.cli.chosen_ledger import ChosenLedger, add_ledger_options, chosen_ledger
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.ledger_source import LedgerEventSource
from adapters.cli.progress_line import ProgressLine
from adapters.cli.text_table import printable
from adapters.storage.ledger import OrderLedger
from projections import Views, rebuild
from projections.verifying import ViewsVerdict, verify_views

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "rebuild",
        help="build the views anew from the ledger, also while it is live",
        description="Build the views from the first event on, beside the ones there are, and exchange them "
        "at once: readers see the old or the new. A live process that keeps the views takes the new "
        "ones over.",
        epilog="exit codes: 0 done (with --check: the views are equal), 1 they differ or cannot be written, "
        "3 there is no ledger, or with --check no views, 6 the ledger is damaged",
    )
    add_ledger_options(parser)
    parser.add_argument(
        "--check", action="store_true", help="write nothing: only say whether the views equal a rebuild"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    chosen = chosen_ledger(options)
    with (
        OrderLedger.open(chosen.ledger, writer=False, create=False) as ledger,
        ProgressLine("building the views") as progress,
    ):
        source = LedgerEventSource(ledger)
        if options.check:
            return _check(source, chosen, progress)
        rebuild(source, chosen.views, progress, helpers=helpers_for(chosen.ledger))
        with Views(chosen.views) as views:
            sys.stdout.write(f"{chosen.views}: built anew, at position {views.position}\n")
            if parked := views.parked():
                count = len({row.position for row in parked})
                text = (
                    f"warning: {count} events could not be folded; the first is at position "
                    f"{parked[0].position}: {parked[0].reason}"
                )
                print(printable(text), file=sys.stderr)
    return ExitCode.OK


def _check(source: LedgerEventSource, chosen: ChosenLedger, progress: ProgressLine) -> int:
    report = verify_views(source, chosen.views, progress)
    match report.views:
        case ViewsVerdict.EQUAL:
            sys.stdout.write(f"{chosen.views}: equal to a rebuild at position {report.views_position}\n")
            return ExitCode.OK
        case ViewsVerdict.ABSENT:
            raise CommandError(f"There are no views at {chosen.views} to compare.", ExitCode.NOT_FOUND)
        case _:
            raise CommandError(
                f"The views {chosen.views} are not what a rebuild gives: {report.difference.rstrip('.')}.",
                ExitCode.CHECK_FAILED,
            )
