"""What every command that asks the ledger has in common: which ledger, which rows, and as of when."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import msgspec

from adapters.cli.chosen_ledger import add_ledger_options, chosen_ledger
from adapters.cli.current_views import current_books
from adapters.cli.exact_json import exact_json
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.ledger_source import LedgerEventSource
from adapters.cli.moments import Moment, moment, point_in_time, utc_ns
from adapters.cli.salvaging import add_salvage_option, salvaged_books
from adapters.hyperliquid.client_ids import cloid_for
from adapters.storage.salvaging import SalvagedLedger
from domain.enums import OrderState
from projections import Filter, OrderNotInViewsError, PositionNotInViewsError, Views

__all__ = [
    "Asked",
    "Source",
    "add_asking_command",
    "add_at_option",
    "add_books_options",
    "add_filter_options",
    "asked",
    "books",
    "position_of",
    "row_count",
    "say_assumed_zones",
    "show",
    "wanted",
]

Source: TypeAlias = LedgerEventSource | SalvagedLedger
"""The ledger that views were made from: the whole of it, or what is intact."""


class Asked(msgspec.Struct, frozen=True):
    """Views to ask, of now or of the moment that was asked for, the position they answer from, and the
    ledger."""

    views: Views
    position: int
    source: Source

    def find_order(self, name: str) -> str:
        """The client order id meant by a name of an order or the beginning of one; also by the text that it
        was placed under before the ledger was kept, of which the venue tells the cloid.

        Raises `OrderNotInViewsError` and `AmbiguousOrderError`.
        """
        try:
            return self.views.find_order(name)
        except OrderNotInViewsError as unknown:
            if name:
                with suppress(OrderNotInViewsError):
                    return self.views.find_order(cloid_for(name))
            raise unknown


def add_asking_command(
    subparsers: Any, name: str, help_line: str, shape: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Add a command that shows rows of the views as of now or of `--at`; `shape` is that of its JSON."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=help_line,
        description=f"Show {help_line}. With --json: one JSON {shape}. Amounts, prices and fees are decimal "
        "strings, times are integers (*_ns: nanoseconds, *_ms: milliseconds, since 1970 UTC).",
    )
    parser.add_argument("--json", action="store_true", help=f"print one JSON {shape}")
    add_books_options(parser)
    add_at_option(parser)
    parser.set_defaults(run=run)
    return parser


def add_books_options(parser: argparse.ArgumentParser) -> None:
    """`--ledger`, `--config` and `--salvage`."""
    add_ledger_options(parser)
    add_salvage_option(parser)


def add_at_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--at",
        metavar="POSITION|TIME",
        type=moment,
        help="the answer as it was then: at a position of the log, or at a time (ISO 8601, UTC unless it "
        "names a zone)",
    )


def add_filter_options(
    parser: argparse.ArgumentParser,
    *,
    market: bool = True,
    state: bool = False,
    tag: bool = False,
    time_of: str = "",
) -> None:
    """Those of `--venue --account --pair --state --tag --since --until` that the command's rows have.
    `time_of` says which time of a row counts."""
    if market:
        parser.add_argument("--venue", metavar="VENUE", help="only this venue, such as hyperliquid")
        parser.add_argument("--account", metavar="ADDRESS", type=_account, help="only this account")
        parser.add_argument("--pair", metavar="PAIR", help="only this market, such as BTC-USD")
    if state:
        parser.add_argument(
            "--state",
            metavar="STATE",
            action="append",
            default=[],
            type=_state,
            help=f"only this state; may be given more than once: {', '.join(OrderState)}",
        )
    if tag:
        parser.add_argument("--tag", metavar="TAG", help="only orders with this tag of a strategy")
    if time_of:
        parser.add_argument(
            "--since",
            metavar="TIME",
            type=point_in_time,
            help=f"only what was {time_of} at this time or later",
        )
        parser.add_argument(
            "--until", metavar="TIME", type=point_in_time, help=f"only what was {time_of} before this time"
        )


def wanted(options: argparse.Namespace) -> Filter:
    """The filters that were given, for the methods of `projections.Views`.

    Raises `CommandError` (USAGE) for a time that ends before it begins.
    """
    given = vars(options)
    since: Moment | None = given.get("since")
    until: Moment | None = given.get("until")
    if since is not None and until is not None and (since.time_ns or 0) >= (until.time_ns or 0):
        raise CommandError(
            f"--since {since.text} does not come before --until {until.text}: nothing can lie in between.",
            ExitCode.USAGE,
        )
    return Filter(
        venue=given.get("venue"),
        account=given.get("account"),
        trading_pair=given.get("pair"),
        states=given.get("state") or (),
        tag=given.get("tag"),
        since_ns=since.time_ns if since else None,
        until_ns=until.time_ns if until else None,
    )


@contextmanager
def books(options: argparse.Namespace) -> Iterator[tuple[Views, Source]]:
    """The current views of the ledger that is meant, and the ledger; with `--salvage`, of what is intact."""
    chosen = chosen_ledger(options)
    if options.salvage:
        with salvaged_books(chosen.ledger) as salvaged:
            yield salvaged
    else:
        with current_books(chosen.ledger, chosen.views) as current:
            yield current


@contextmanager
def asked(options: argparse.Namespace) -> Iterator[Asked]:
    """The views as of `--at`, or of now; what is asked inside is all from the same moment.

    Says on standard error which position a time means. Raises `PositionNotInViewsError` or
    `TimeBeforeLedgerError` for a moment of which the ledger knows nothing.
    """
    say_assumed_zones(options)
    with books(options) as (views, source), views.frozen():
        if options.at is None:
            yield Asked(views, views.position, source)
            return
        position = position_of(options.at, views)
        recorded = views.recorded_at(position)
        when = f", recorded {utc_ns(recorded)}" if recorded is not None else ""
        print(f"as of position {position}{when}", file=sys.stderr)
        with views.at(position, source) as then:
            yield Asked(then, position, source)


def position_of(at: Moment, views: Views) -> int:
    """The position that a moment means. Raises `PositionNotInViewsError` and `TimeBeforeLedgerError`."""
    position = views.position_at(at.time_ns) if at.time_ns is not None else at.position or 0
    if not 1 <= position <= views.position:
        raise PositionNotInViewsError(position, views.position)
    return position


def say_assumed_zones(options: argparse.Namespace) -> None:
    """Say on standard error which of the times given were taken as UTC."""
    for given in vars(options).values():
        if isinstance(given, Moment) and given.assumed_utc:
            print(f"note: {given.text} names no zone: taken as UTC", file=sys.stderr)


def show(
    options: argparse.Namespace, rows: Sequence[Any], text: Callable[[Sequence[Any]], str], what: str
) -> int:
    """Print rows as one JSON array (`--json`) or as `text`, or say that there are none. The exit code."""
    if options.json:
        lines = ",\n".join(exact_json(row) for row in rows)
        sys.stdout.write(f"[{lines}]\n")
    elif rows:
        sys.stdout.write(text(rows))
    else:
        sys.stdout.write(f"No {what}{' match' if _is_narrowed(options) else ''}.\n")
    return ExitCode.OK


def row_count(text: str) -> int:
    """A number of rows, for `argparse`."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"not a number of rows: {text!r}")
    return int(text)


def _is_narrowed(options: argparse.Namespace) -> bool:
    return any(value not in (None, ()) for value in wanted(options).values())


def _state(text: str) -> OrderState:
    try:
        return OrderState(text.lower())
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"no such state: {text!r} (one of {', '.join(OrderState)})"
        ) from None


def _account(text: str) -> str:
    """Addresses are kept in lower case, and shown elsewhere with a checksum in the case of their letters."""
    return text.lower() if text[:2] in ("0x", "0X") else text
