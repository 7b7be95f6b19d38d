"""`orderledger redact`: a recording that can be shown to others, and still replays."""

from __future__ import annotations

import argparse
import json
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from adapters.cli.rewritten import add_output, check_identical, open_readable, refusals, write_rewritten
from replays.cores import make_core
from replays.redacting import Redaction, secret_factor
from replays.rewriting import installed_rewriter

__all__ = ["register"]

_DESCRIPTION = """\
Write a recording without what identifies its account: every address (and every other long text of hex
digits: hashes, keys) becomes another one, the same everywhere, and amounts are multiplied by one factor,
which is secret unless you choose it. The result is stepped through the connector core anew, so that it
replays exactly. Prices, times and the venue's own order and trade numbers stay: whoever has the venue's
public trades can still recognise fills by them.
"""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "redact",
        help="write a recording without addresses and amounts, still replayable",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a recording, or all its parts")
    add_output(parser)
    amounts = parser.add_mutually_exclusive_group()
    amounts.add_argument(
        "--scale",
        metavar="FACTOR",
        type=_factor,
        help="multiply amounts by this instead of by a secret whole number",
    )
    amounts.add_argument("--keep-amounts", action="store_true", help="leave amounts as they are")
    parser.add_argument(
        "--order-ids", action="store_true", help="also replace client order ids, and leave out tags"
    )
    parser.set_defaults(run=_run)


def _factor(text: str) -> Decimal:
    try:
        factor = Decimal(text)
    except InvalidOperation:
        factor = Decimal(0)
    if not (factor.is_finite() and Decimal("1e-6") <= factor <= Decimal("1e6")):
        raise argparse.ArgumentTypeError("a number from 0.000001 to 1000000")
    return factor


def _run(options: argparse.Namespace) -> int:
    recording = open_readable(options.files, options.output, force=options.force)
    factor = None
    if not options.keep_amounts:
        factor = secret_factor() if options.scale is None else options.scale
    with refusals():
        redaction = Redaction(
            installed_rewriter(recording.header.venue), factor=factor, order_ids=options.order_ids
        )
        header = redaction.header(recording.header, is_factor_secret=options.scale is None)
        rewriter = redaction.rewrite(recording, header, make_core)
        report = write_rewritten(options.output, header, rewriter)
        check_identical(options.output, report)
    print(
        json.dumps(
            {
                "file": str(options.output),
                "inputs": report.inputs,
                "addresses_replaced": len(redaction.addresses),
                "amounts": "kept" if factor is None else "scaled",
                "answers_without_request": rewriter.answers_without_request,
                "replay_identical": True,
            }
        )
    )
    recording.raise_damage()
    return 0
