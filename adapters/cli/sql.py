"""`orderledger sql`: any question to the views, read-only."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from adapters.cli.asking import add_books_options, books
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.text_table import Column, output_width, text_table
from projections.sql import SqlAnswer, SqlError, SqlViews

__all__ = ["register"]

_EPILOG = """\
Tables: orders, open_orders, fills, positions, funding, discrepancies, order_timeline, account_events,
order_keys, parked; fill_bookings also has the fills that were taken back or replaced.
Amounts are decimal texts. SUM() makes floats of them; decimal_sum(x), decimal_add(x, y), decimal_sub(x, y),
decimal_mul(x, y) and decimal_cmp(x, y) are exact.

  orderledger sql "SELECT trading_pair, count(*) AS fills, decimal_sum(fee) AS fees FROM fills GROUP BY 1"
"""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "sql",
        help="ask the views in SQL, read-only",
        description="Bring the views up to date and answer one SQL statement from them. What would write is "
        "refused with exit code 2.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_books_options(parser)
    parser.add_argument("statement", metavar="SQL", help="one SELECT statement")
    parser.add_argument("--json", action="store_true", help="print one JSON array of objects")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with books(options) as (views, _), SqlViews(views.path) as sql:
        try:
            answer = sql.ask(options.statement)
            if options.json:
                _write_json(answer)
            else:
                _write_table(answer)
        except SqlError as error:
            raise CommandError(f"{error}.", ExitCode.USAGE) from None
    return ExitCode.OK


def _write_json(answer: SqlAnswer) -> None:
    """Row by row: an answer of any length takes no more memory than one row."""
    opening = "["
    for row in answer:
        named = dict(zip(answer.columns, map(_plain, row), strict=True))
        sys.stdout.write(opening + msgspec.json.encode(named).decode())
        opening = ",\n"
    sys.stdout.write("[]\n" if opening == "[" else "]\n")


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _write_table(answer: SqlAnswer) -> None:
    rows = list(answer)
    if not rows:
        sys.stdout.write("No rows.\n")
        return
    numeric = [
        all(isinstance(row[at], int | float | None) for row in rows) for at in range(len(answer.columns))
    ]
    columns = [
        Column(name, right=right, shortest=None if right else 12)
        for name, right in zip(answer.columns, numeric, strict=True)
    ]
    sys.stdout.write(text_table(columns, [tuple(_cells(row)) for row in rows], output_width()))


def _cells(row: tuple[Any, ...]) -> Iterator[str]:
    for value in row:
        yield "-" if value is None else str(_plain(value))
