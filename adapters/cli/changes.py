"""`diff`: what changed between two points of the log, for the eye or as JSON."""

from __future__ import annotations

import argparse
import sys
from decimal import Decimal
from typing import Any

from adapters.cli.asking import (
    add_books_options,
    add_filter_options,
    books,
    position_of,
    say_assumed_zones,
    wanted,
)
from adapters.cli.exact_json import exact_json
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.moments import moment
from adapters.cli.text_table import Column, output_width, rounded, text_table
from domain.money import decimal_text
from projections import Differences, OrderChange, PositionChange, differences

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Add the command."""
    help_line = "what changed between two points"
    parser = subparsers.add_parser(
        "diff",
        help=help_line,
        description=f"Show {help_line} of the log: orders and positions before and after, fills and funding. "
        'With --json: one JSON object with "orders" and "positions" (each "before" and "after"), "fills", '
        '"fills_taken_back" (they counted before: the venue\'s history says otherwise) and "funding".',
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--from",
        dest="begin",
        metavar="POSITION|TIME",
        type=moment,
        required=True,
        help="changes after this position of the log, or time (ISO 8601, UTC unless it names a zone)",
    )
    parser.add_argument(
        "--to", dest="end", metavar="POSITION|TIME", type=moment, help="changes up to this one (default: now)"
    )
    add_books_options(parser)
    add_filter_options(parser, tag=True)
    parser.set_defaults(run=_diff)


def _diff(options: argparse.Namespace) -> int:
    say_assumed_zones(options)
    with books(options) as (views, source), views.frozen():
        begin = position_of(options.begin, views)
        end = views.position if options.end is None else position_of(options.end, views)
        if begin > end:
            raise CommandError(
                f"--from is position {begin}, which comes after --to, position {end}: exchange them.",
                ExitCode.USAGE,
            )
        found = differences(views, source, begin, end, **wanted(options))
    print(f"from position {begin} to position {end}", file=sys.stderr)
    if options.json:
        sys.stdout.write(exact_json(found) + "\n")
    else:
        sys.stdout.write(_text(found))
    return ExitCode.OK


def _text(found: Differences) -> str:
    parts = []
    if found.orders:
        parts.append(_order_table(found.orders))
    if found.positions:
        parts.append(_position_table(found.positions))
    if not parts:
        return "Nothing changed.\n"
    taken_back = f" ({len(found.fills_taken_back)} taken back)" if found.fills_taken_back else ""
    parts.append(f"{len(found.fills)} fills{taken_back}, {len(found.funding)} funding payments\n")
    return "\n".join(parts)


def _order_table(changes: list[OrderChange]) -> str:
    columns = (
        # The ids of one session begin alike: cut shorter, they could not be told apart.
        Column("ORDER", shortest=28),
        Column("PAIR"),
        Column("SIDE"),
        Column("FILLED", right=True),
        Column("AMOUNT", right=True),
        Column("STATE", shortest=16, wrapped=True),
    )
    rows = [
        (
            change.after.client_order_id,
            change.after.trading_pair,
            change.after.trade_type,
            _moved(change.before.filled_amount if change.before else None, change.after.filled_amount),
            decimal_text(change.after.amount),
            _arrow(change.before.state if change.before else "-", change.after.state),
        )
        for change in changes
    ]
    return text_table(columns, rows, output_width())


def _position_table(changes: list[PositionChange]) -> str:
    columns = (
        Column("PAIR"),
        Column("AMOUNT", right=True),
        Column("REALISED PNL", right=True),
        Column("FUNDING", right=True),
    )
    rows = [
        (
            change.after.trading_pair,
            _moved(change.before.amount if change.before else None, change.after.amount),
            _moved(change.before.realised_pnl if change.before else None, change.after.realised_pnl),
            _moved(change.before.funding if change.before else None, change.after.funding),
        )
        for change in changes
    ]
    return text_table(columns, rows, output_width())


def _moved(before: Decimal | None, after: Decimal) -> str:
    return _arrow(rounded(before or Decimal(0)), rounded(after))


def _arrow(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"
