"""`--salvage`: the views of what is intact of a damaged ledger, made for one question and thrown away."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.cli.progress_line import ProgressLine
from adapters.cli.text_table import printable
from adapters.storage.ledger_file import LedgerFile
from adapters.storage.mapper import MessagePackMapper
from adapters.storage.salvaging import SalvagedLedger
from projections import Views, catch_up

__all__ = ["add_salvage_option", "salvaged_books"]


def add_salvage_option(parser: argparse.ArgumentParser) -> None:
    """Add `--salvage`."""
    parser.add_argument(
        "--salvage",
        action="store_true",
        help="answer from what is intact of a damaged ledger; what is left out is said",
    )


@contextmanager
def salvaged_books(ledger: Path) -> Iterator[tuple[Views, SalvagedLedger]]:
    """Views of the intact events, and those events. What was left out goes to standard error."""
    with (
        LedgerFile.open_for_reading(ledger, check_tail=False) as file,
        tempfile.TemporaryDirectory(prefix="orderledger-") as directory,
    ):
        source = SalvagedLedger(file, MessagePackMapper())
        path = Path(directory, "views.db")
        with ProgressLine("salvaging") as progress:
            catch_up(source, path, progress)
        with Views(path) as views:
            _say_what_is_left_out(views, source)
            yield views, source


def _say_what_is_left_out(views: Views, source: SalvagedLedger) -> None:
    parked = views.parked()
    if not parked:
        print(
            f"salvage: nothing is left out of {source.max_position} positions; `orderledger verify` says "
            "whether the ledger is intact.",
            file=sys.stderr,
        )
        return
    print(
        f"salvage: of {source.max_position} positions, {len({row.position for row in parked})} are left out, "
        "also later events of orders that lost one; such an order stands as it was before:",
        file=sys.stderr,
    )
    for row in parked[:10]:
        named = f" ({row.aggregate})" if row.aggregate else ""
        print(printable(f"salvage: position {row.position}{named}: {row.reason}"), file=sys.stderr)
    if len(parked) > 10:
        print("salvage: …", file=sys.stderr)
