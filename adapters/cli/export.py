"""`export`: orders, fills, funding or profit as CSV or JSON lines, in a stable order, with the position they
are from in every row."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from adapters.cli.asking import (
    add_at_option,
    add_books_options,
    add_filter_options,
    asked,
    wanted,
)
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.results import add_mark_option, marks
from domain.money import decimal_text
from projections import FillRow, FundingRow, OrderRow, PnlRow, Views, pnl

__all__ = ["AS_OF_COLUMN", "register"]

AS_OF_COLUMN = "as_of_position"
"""The first column: the position of the log that the row is from, the same in every row of an export."""

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
        "an absent value is empty.",
    )
    parser.add_argument("what", choices=tuple(_KINDS), help="what to write")
    parser.add_argument("--format", choices=("csv", "jsonl"), default="csv", help="(default: csv)")
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="where to write (default: standard output)"
    )
    add_books_options(parser)
    add_at_option(parser)
    add_filter_options(parser, state=True, tag=True, time_of="created, executed or paid")
    add_mark_option(parser)
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    _refuse_what_has_no_meaning(options)
    with asked(options) as ask:
        rows = _rows(options, ask.views)
        position = ask.position
    write = _csv if options.format == "csv" else _json_lines
    lines = write(_KINDS[options.what], rows, position)
    if options.output is None:
        sys.stdout.writelines(lines)
        return ExitCode.OK
    try:
        # Python would exchange the line ends, and the bytes would depend on the system.
        with options.output.open("w", encoding="utf-8", newline="") as stream:
            stream.writelines(lines)
    except OSError as error:
        raise CommandError(f"Cannot write {options.output}: {error.strerror}.") from error
    print(f"{len(rows)} rows as of position {position} in {options.output}", file=sys.stderr)
    return ExitCode.OK


def _refuse_what_has_no_meaning(options: argparse.Namespace) -> None:
    """A filter that is silently ignored would give a file with more in it than was asked for."""
    meant_for = {
        "--state": (options.state, ("orders",)),
        "--tag": (options.tag is not None, ("orders", "fills")),
        "--since": (options.since is not None, ("orders", "fills", "funding")),
        "--until": (options.until is not None, ("orders", "fills", "funding")),
        "--mark": (options.mark, ("pnl",)),
    }
    for option, (given, kinds) in meant_for.items():
        if given and options.what not in kinds:
            raise CommandError(f"{option} has no meaning for {options.what}: leave it out.", ExitCode.USAGE)


def _rows(options: argparse.Namespace, views: Views) -> Sequence[msgspec.Struct]:
    match options.what:
        case "orders":
            return views.orders(**wanted(options))
        case "fills":
            return views.fills(**wanted(options))
        case "funding":
            return views.funding(**wanted(options))
        case _:
            return pnl(views.positions(**wanted(options)), marks(options))


def _csv(kind: type[msgspec.Struct], rows: Iterable[msgspec.Struct], position: int) -> Iterator[str]:
    names = kind.__struct_fields__
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow((AS_OF_COLUMN, *names))
    for row in rows:
        writer.writerow((position, *(_cell(getattr(row, name)) for name in names)))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return msgspec.json.encode(_exact(value)).decode()
    return str(value)


def _json_lines(_kind: type[msgspec.Struct], rows: Iterable[msgspec.Struct], position: int) -> Iterator[str]:
    for row in rows:
        members = {AS_OF_COLUMN: position, **msgspec.structs.asdict(row)}
        yield msgspec.json.encode(_exact(members)).decode() + "\n"


def _exact(value: object) -> object:
    """Decimals as the ledger writes them: never with an exponent."""
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, dict):
        return {name: _exact(member) for name, member in value.items()}
    return value
