"""`discrepancies`: what reconciliations found, and what became of it, for the eye or as JSON."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import Any

from adapters.cli.asking import (
    add_at_option,
    add_books_options,
    add_filter_options,
    asked,
    row_count,
    show,
    wanted,
)
from adapters.cli.text_table import output_width, printable, utc_time
from projections import DiscrepancyRow, DiscrepancyStatus

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Add the command."""
    help_line = "what reconciliations found, and what became of it"
    parser = subparsers.add_parser(
        "discrepancies",
        help=help_line,
        description=f"Show {help_line}: both sides, the explanation, who repaired or waived it, and why. It "
        "asks the ledger alone; `orderledger reconcile` compares it with the venue. With --json: one JSON "
        "array of findings, with what the venue said (evidence) and the events of each repair. Times are "
        "integers (*_ns).",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON array of findings")
    parser.add_argument("--open", action="store_true", help="only what is neither repaired nor waived")
    add_books_options(parser)
    add_at_option(parser)
    add_filter_options(parser, time_of="found (recorded)")
    parser.add_argument("--limit", metavar="N", type=row_count, help="only the latest N")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with asked(options) as ask:
        found = ask.views.discrepancies(only_open=options.open, limit=options.limit, **wanted(options))
    return show(options, found, _text, "open discrepancies" if options.open else "discrepancies")


def _text(rows: Sequence[DiscrepancyRow]) -> str:
    return "\n".join(_paragraph(row) for row in rows)


def _paragraph(row: DiscrepancyRow) -> str:
    subject = row.subject if row.trading_pair in (None, row.subject) else f"{row.subject}, {row.trading_pair}"
    texts = [
        ("", f"{utc_time(row.found_at_ns)}  position {row.found_position}  {row.discrepancy_id}"),
        ("  ", f"{row.kind.replace('_', ' ')} of {subject}"),
        ("    ", f"ours    {row.ours}"),
        ("    ", f"theirs  {row.theirs}"),
        ("    ", row.explanation),
    ]
    if row.status is DiscrepancyStatus.OPEN:
        texts.append(("    ", "open"))
    else:
        settled = f"{row.status} by {row.actor} at position {row.settled_position}: {row.reason}"
        texts.append(("    ", settled))
    texts += (("      ", repair) for repair in row.repairs)
    lines = []
    for indent, text in texts:
        lines += textwrap.wrap(
            printable(text), output_width(), initial_indent=indent, subsequent_indent=f"{indent}  "
        )
    return "".join(f"{line}\n" for line in lines)
