"""The views of a ledger as the reading commands need them: current, whoever keeps them, or nobody."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.cli.building_helpers import helpers_for
from adapters.cli.exit_codes import CommandError
from adapters.cli.ledger_source import LedgerEventSource
from adapters.cli.progress_line import ProgressLine
from adapters.cli.text_table import printable
from adapters.storage.ledger import OrderLedger
from projections import (
    EventSource,
    Helpers,
    OtherLedgerError,
    Views,
    ViewsBusyError,
    ViewsMissingError,
    are_current,
    catch_up,
)

__all__ = ["current_books"]

_KEEPER_WAIT_S = 2.0
_LOOK_S = 0.005


@contextmanager
def current_books(ledger_path: Path, views_path: Path) -> Iterator[tuple[Views, LedgerEventSource]]:
    """The views as far as the ledger stands now, open for questions, and the ledger they were made from.

    A live process that keeps them is waited for; else they are brought up to date here. Where the directory
    cannot be written they are built in a temporary one.
    """
    with OrderLedger.open(ledger_path, writer=False, create=False) as ledger:
        source = LedgerEventSource(ledger)
        target = source.max_position
        with (
            _brought_up_to_date(source, views_path, target, helpers_for(ledger_path)) as path,
            Views(path) as views,
        ):
            _say_what_is_missing(views, target)
            yield views, source


@contextmanager
def _brought_up_to_date(source: EventSource, views: Path, target: int, helpers: Helpers) -> Iterator[Path]:
    if are_current(source, views):
        yield views
    elif not os.access(views.parent, os.W_OK):
        with tempfile.TemporaryDirectory(prefix="orderledger-") as directory:
            path = Path(directory, views.name)
            _catch_up(source, path, helpers)
            yield path
    else:
        try:
            _catch_up(source, views, helpers)
        except ViewsBusyError as busy:
            _wait_for_keeper(source, views, target, busy)
        yield views


def _catch_up(source: EventSource, views: Path, helpers: Helpers) -> None:
    with ProgressLine("building the views") as progress:
        catch_up(source, views, progress, helpers=helpers)


def _wait_for_keeper(source: EventSource, views: Path, target: int, busy: ViewsBusyError) -> None:
    """Give the process that keeps the views a moment to reach the position."""
    deadline = time.monotonic() + _KEEPER_WAIT_S
    while True:
        try:
            with Views(views) as asked:
                if asked.ledger_id != source.ledger_id:
                    raise OtherLedgerError(views, asked.ledger_id, source.ledger_id)
                reached = asked.position >= target
            missing = False
        except ViewsMissingError:
            reached, missing = False, True
        if reached:
            return
        if time.monotonic() > deadline:
            if missing:
                raise CommandError(f"{busy} They are being built for the first time; try again soon.")
            return
        time.sleep(_LOOK_S)


def _say_what_is_missing(views: Views, target: int) -> None:
    position = views.position
    if position < target:
        print(
            f"warning: the views stand at position {position}, {target - position} events behind the ledger; "
            "the process that keeps them is catching up, or has trouble writing them.",
            file=sys.stderr,
        )
    for rows, what in (
        (views.parked(), "events could not be folded and are left out"),
        (views.contradicted(), "positions that the venue stated are contradicted by the events up to there"),
    ):
        if rows:
            first = rows[0]
            text = (
                f"warning: {len(rows)} {what}; the first is at position {first.position} ({first.view}, "
                f"{first.aggregate}): {first.reason}"
            )
            print(printable(text), file=sys.stderr)
