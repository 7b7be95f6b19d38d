"""`export`: orders, fills, funding or profit as a file, in a stable order, with the position they are from in
every row."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from adapters.cli.asking import (
    Asked,
    add_at_option,
    add_books_options,
    add_filter_options,
    asked,
    wanted,
)
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.export_formats import AS_OF_COLUMN, FORMATS
from adapters.cli.outputs import check_output, replaced
from adapters.cli.results import add_mark_options, profit_rows
from projections import FillRow, FundingRow, OrderRow, PnlRow

__all__ = ["register"]

_KINDS: dict[str, type[msgspec.Struct]] = {
    "orders": OrderRow,
    "fills": FillRow,
    "funding": FundingRow,
    "pnl": PnlRow,
}


def register(subparsers: Any) -> None:
    """Add the command."""
    help_line = "orders, fills, funding or profit as a file"
    parser = subparsers.add_parser(
        "export",
        help=help_line,
        description=f"Write {help_line}. Orders come in the order of their creation, fills and funding in "
        f"that of booking, profit by venue, account and market; the first column, {AS_OF_COLUMN}, says which "
        "position of the log that is. The same ledger gives the same bytes. Amounts are exact decimals, "
        "times integers (*_ns: nanoseconds, *_ms: milliseconds, since 1970 UTC); in CSV, fees are JSON and "
        "an absent value is empty; in Parquet, decimals are strings, fees a map of them.",
    )
    parser.add_argument("what", choices=tuple(_KINDS), help="what to write")
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        default="csv",
        help="(default: csv); parquet needs `pip install 'orderledger[parquet]'`",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=_output,
        help="where to write (default, or -: standard output)",
    )
    add_books_options(parser)
    add_at_option(parser)
    add_filter_options(parser, state=True, tag=True, time_of="created, executed, paid or booked")
    add_mark_options(parser)
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    _refuse_what_has_no_meaning(options)
    if options.output is not None:
        check_output(options.output)
    elif options.format == "parquet" and sys.stdout.isatty():
        raise CommandError("Parquet is no text for a terminal: give --output FILE.", ExitCode.USAGE)
    with asked(options) as ask:
        rows = _rows(options, ask)
        position = ask.position
    kind = _KINDS[options.what]
    write = FORMATS[options.format]
    summary = f"{len(rows)} rows as of position {position}"
    if options.output is None:
        sys.stdout.flush()
        write(sys.stdout.buffer, kind, rows, position)
        print(summary, file=sys.stderr)
        return ExitCode.OK
    with replaced(options.output) as stream:
        write(stream, kind, rows, position)
    print(f"{summary} in {options.output}", file=sys.stderr)
    return ExitCode.OK


def _output(text: str) -> Path | None:
    return None if text == "-" else Path(text)


def _refuse_what_has_no_meaning(options: argparse.Namespace) -> None:
    """A filter that is silently ignored would give a file with more in it than was asked for."""
    meant_for = {
        "--state": (options.state, ("orders",)),
        "--tag": (options.tag is not None, ("orders", "fills", "pnl")),
        "--mark": (options.mark, ("pnl",)),
        "--opening-mark": (options.opening_mark, ("pnl",)),
    }
    for option, (given, kinds) in meant_for.items():
        if given and options.what not in kinds:
            raise CommandError(f"{option} has no meaning for {options.what}: leave it out.", ExitCode.USAGE)


def _rows(options: argparse.Namespace, ask: Asked) -> Sequence[msgspec.Struct]:
    match options.what:
        case "orders":
            return ask.views.orders(**wanted(options))
        case "fills":
            return ask.views.fills(**wanted(options))
        case "funding":
            return ask.views.funding(**wanted(options))
        case _:
            return profit_rows(options, ask)
