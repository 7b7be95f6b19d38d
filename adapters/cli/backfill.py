"""`orderledger backfill`: a new ledger for an account that traded before, from the venue's own history."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from adapters.cli.asking import say_assumed_zones
from adapters.cli.chosen_ledger import add_ledger_options, chosen_ledger
from adapters.cli.config import DEFAULT_CONFIG_FILE
from adapters.cli.config_reading import load_config
from adapters.cli.exact_json import exact_builtins
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.moments import Moment, point_in_time
from adapters.cli.outputs import check_output
from adapters.cli.progress_line import can_rewrite_lines
from adapters.cli.reconciled import count_text
from adapters.cli.run import network_of
from adapters.cli.text_table import Column, output_width, printable, text_table, utc_time
from adapters.hyperliquid.addresses import AddressError, lowercase_address
from adapters.hyperliquid.backfilling import Backfill, BackfilledPosition, backfill
from adapters.hyperliquid.connector import VENUE
from adapters.hyperliquid.info_client import InfoClient, InfoClientOptions
from adapters.hyperliquid.info_requests import FILLS_KEPT
from adapters.hyperliquid.networks import Network, NetworkError, network_named
from adapters.hyperliquid.venue_report import (
    AccountHistory,
    AccountIsTrading,
    NotThisAccount,
    VenueReporter,
    VenueUnreachable,
)
from adapters.storage.errors import LedgerNotFoundError
from adapters.storage.ledger import OrderLedger
from domain.money import decimal_text

__all__ = ["BackfillResult", "register"]

_EPILOG = """\
exit codes: 0 done, 1 done but something does not add up, or nothing was written because the venue no longer
            tells all of it, 2 usage (such as a ledger that has events), 3 no such account, 4 config,
            5 the venue cannot be asked

  orderledger backfill --since 2026-01-01 --network mainnet --account 0x... --ledger ledger.db
  orderledger backfill --from-earliest
"""

ATTEMPTS_MAX = 6
"""How often a question is asked that the venue does not answer."""

_MS_NS = 1_000_000
_HISTORY_ROWS = 2_000
"""So many statuses of orders the venue tells (sheet 5.4)."""


class BackfillResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was built. Times are the venue's (ms). `findings` are what does not add up, `notes` what the venue
    does not tell any more."""

    ledger: str
    network: str
    account: str
    books_begin_ms: int
    taken_at_ms: int
    events: int
    last_position: int
    orders: int
    open_orders: int
    fills: int
    fundings: int
    transfers: int
    opening_cash: Decimal | None
    cash: Decimal | None
    positions: tuple[BackfilledPosition, ...]
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    exit_code: int


def register(subparsers: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "backfill",
        help="build a ledger for an account that traded before",
        description="Read what the venue tells of an account's past (orders, fills, funding, transfers) and "
        "make a new ledger of it, in the order in which it happened. The account must not trade meanwhile. "
        "Nothing is signed, and no key is needed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--since",
        metavar="TIME",
        type=point_in_time,
        help="where the books begin: a time in ISO 8601 (UTC unless it names a zone)",
    )
    parser.add_argument(
        "--from-earliest",
        action="store_true",
        help="begin where the venue's history is complete, if that is later than --since (or without it)",
    )
    add_ledger_options(parser)
    parser.add_argument(
        "--network", choices=("simulator", "testnet", "mainnet"), help="instead of the config's venue.network"
    )
    parser.add_argument(
        "--simulator-url", metavar="URL", help="where the simulator is, with --network simulator"
    )
    parser.add_argument("--account", metavar="ADDRESS", help="instead of the config's account")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.since is None and not options.from_earliest:
        raise CommandError(
            "From when on? --since TIME says it, or --from-earliest takes all that the venue still tells.",
            ExitCode.USAGE,
        )
    say_assumed_zones(options)
    network, account = _whose(options)
    path = chosen_ledger(options).ledger
    _refuse_events(path)
    check_output(path, in_place=True, makes_folders=True)
    with _Progress() as progress:
        history = _read(network, account, _since_ms(options.since), progress)
    begin_ms = _begin_ms(options, history)
    made = backfill(history, venue=VENUE, network=network.name, account=account, begin_ms=begin_ms)
    last_position = _write(path, made)
    result = _result(path, network, account, begin_ms, history, made, last_position)
    if options.json:
        sys.stdout.write(msgspec.json.encode(exact_builtins(result)).decode() + "\n")
    else:
        sys.stdout.write(_text(result))
    return result.exit_code


# -- what is asked for ---------------------------------------------------------------------------------------


def _whose(options: argparse.Namespace) -> tuple[Network, str]:
    """The network and the account, from the command line or the config. Raises `CommandError`."""
    account: str = options.account or ""
    if options.network is not None:
        try:
            network = network_named(options.network, simulator_url=options.simulator_url)
        except NetworkError as error:
            raise CommandError(f"--network: {error}.", ExitCode.USAGE) from None
        why_not = "Whose history? --account names the account."
    else:
        config = load_config(options.config or DEFAULT_CONFIG_FILE, os.environ)
        network = network_of(config)
        account = account or config.venue.vault_address or config.venue.account_address
        why_not = (
            "The config names no account: set venue.account_address, or give --account (the address of the "
            "key, where that trades for itself)."
        )
    if not account:
        raise CommandError(why_not, ExitCode.USAGE)
    try:
        return network, lowercase_address(account)
    except AddressError as error:
        raise CommandError(f"--account: {error}.", ExitCode.USAGE) from None


def _since_ms(since: Moment | None) -> int:
    """The first millisecond of the books; 0: whatever the venue tells."""
    return 0 if since is None else -(-(since.time_ns or 0) // _MS_NS)


def _refuse_events(path: Path) -> None:
    """A past is not added to a log after the present. Raises `CommandError`."""
    try:
        with OrderLedger.open(path, writer=False, create=False) as ledger:
            if ledger.max_position:
                raise CommandError(
                    f"{path} holds {ledger.max_position} events already. A backfill begins a ledger: name a "
                    "new file with --ledger; `orderledger reconcile` brings an old one up to date.",
                    ExitCode.USAGE,
                )
    except LedgerNotFoundError:
        return


# -- asking --------------------------------------------------------------------------------------------------


def _read(
    network: Network, account: str, since_ms: int, progress: Callable[[str, int, int], None]
) -> AccountHistory:
    """All that the venue tells. Raises `CommandError` when a part of it cannot be had."""

    async def read() -> AccountHistory:
        options = InfoClientOptions(attempts_max=ATTEMPTS_MAX)
        async with InfoClient(network.http_url, options=options) as client:
            reporter = VenueReporter(client, account, on_progress=progress, details_max=FILLS_KEPT)
            return await reporter.history(since_ms)

    try:
        history = asyncio.run(read())
    except VenueUnreachable as error:
        raise CommandError(f"{error} Nothing was written.", ExitCode.UNREACHABLE) from None
    except NotThisAccount as error:
        raise CommandError(str(error), ExitCode.NOT_FOUND) from None
    except AccountIsTrading as error:
        raise CommandError(f"{error} Nothing was written.", ExitCode.CHECK_FAILED) from None
    report = history.report
    lists = (report.open_orders, report.fills, report.fundings, report.transfers, history.orders)
    if None in lists or report.positions is None or history.balances is None:
        raise CommandError(
            f"The venue did not tell all of it: {'; '.join(report.failures)}. Nothing was written.",
            ExitCode.UNREACHABLE,
        )
    return history


def _begin_ms(options: argparse.Namespace, history: AccountHistory) -> int:
    """The venue time after which everything is in the books. Raises `CommandError`."""
    report = history.report
    since_ms = _since_ms(options.since)
    if since_ms > report.taken_at_ms:
        raise CommandError(
            f"--since {options.since.text} lies ahead of the venue's clock, {_shown(report.taken_at_ms)}.",
            ExitCode.USAGE,
        )
    windows = {
        "fills": report.fills_window,
        "funding payments": report.fundings_window,
        "transfers": report.transfers_window,
    }
    complete = {what: window.complete_from_ms for what, window in windows.items() if window is not None}
    what = max(complete, key=lambda name: complete[name])
    if complete[what] > report.taken_at_ms:
        raise CommandError(
            f"The latest of the {what} cannot be read: {'; '.join(report.failures)}. Nothing was written.",
            ExitCode.CHECK_FAILED,
        )
    if complete[what] > since_ms and not options.from_earliest:
        raise CommandError(
            f"The venue tells all {what} only from {_shown(complete[what])} on. Give that time or a "
            "later one as --since, or take what there is with --from-earliest. Nothing was written.",
            ExitCode.CHECK_FAILED,
        )
    since_ms = max(since_ms, complete[what])
    if not since_ms:
        since_ms = _earliest_ms(history)
    return max(1, since_ms - 1)


def _earliest_ms(history: AccountHistory) -> int:
    """When the first of all that is told happened."""
    report = history.report
    return min(
        (
            *(update.fill.exchange_time_ms for update in report.fills or ()),
            *(update.exchange_time_ms for update in report.fundings or ()),
            *(transfer.exchange_time_ms for transfer in report.transfers or ()),
            *history.placed_ms.values(),
        ),
        default=report.taken_at_ms,
    )


# -- writing -------------------------------------------------------------------------------------------------


def _write(path: Path, made: Backfill) -> int:
    """Record everything at once: a ledger with a part of it never exists. Returns the last position."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"Cannot write {path}: {error.strerror}.") from None
    with OrderLedger.open(path, max_backlog_events=len(made.events)) as ledger:
        _refuse_events(path)
        ledger.append(made.events)
        return ledger.max_position


def _result(
    path: Path,
    network: Network,
    account: str,
    begin_ms: int,
    history: AccountHistory,
    made: Backfill,
    last_position: int,
) -> BackfillResult:
    report = history.report
    findings = (*report.failures, *made.findings)
    return BackfillResult(
        ledger=str(path),
        network=network.name,
        account=account,
        books_begin_ms=begin_ms,
        taken_at_ms=report.taken_at_ms,
        events=len(made.events),
        last_position=last_position,
        orders=made.orders,
        open_orders=made.open_orders,
        fills=made.fills,
        fundings=made.fundings,
        transfers=made.transfers,
        opening_cash=made.opening_cash,
        cash=report.cash,
        positions=tuple(made.positions),
        findings=findings,
        notes=(*_notes(history, begin_ms), *made.notes),
        exit_code=ExitCode.CHECK_FAILED if findings else ExitCode.OK,
    )


def _notes(history: AccountHistory, begin_ms: int) -> list[str]:
    report = history.report
    notes = []
    windows = (report.fills_window, report.fundings_window, report.transfers_window)
    if any(window is not None and window.complete_from_ms > window.asked_from_ms for window in windows):
        notes.append(
            f"The venue does not tell all that was before {_shown(begin_ms + 1)}: the books begin there."
        )
    orders = history.orders or ()
    if len(orders) >= _HISTORY_ROWS:
        oldest_ms = min((update.exchange_time_ms or 0 for update in orders), default=0)
        if oldest_ms > begin_ms:
            notes.append(
                f"The venue tells the latest {_HISTORY_ROWS:,} statuses of orders: orders that ended without "
                f"a fill before {_shown(oldest_ms)} are not in the ledger."
            )
    return notes


def _shown(time_ms: int) -> str:
    return utc_time(time_ms * _MS_NS)


def _text(result: BackfillResult) -> str:
    begin = _shown(result.books_begin_ms + 1)
    lines = [
        f"{result.ledger}: {result.account} on {result.network}, "
        f"from {begin} to {_shown(result.taken_at_ms)}",
        f"{count_text(result.events, 'events')}: {count_text(result.orders, 'orders')} "
        f"({result.open_orders:,} open), {count_text(result.fills, 'fills')}, "
        f"{count_text(result.fundings, 'funding payments')}, {count_text(result.transfers, 'transfers')}",
    ]
    if result.opening_cash is not None and result.cash is not None:
        lines.append(f"cash: {decimal_text(result.opening_cash)}, now {decimal_text(result.cash)}")
    text = "\n".join(map(printable, lines)) + "\n"
    if result.positions:
        columns = (
            Column("PAIR"),
            Column("OPENING", right=True),
            Column("NOW", right=True),
            Column("AT THE VENUE", right=True),
        )
        rows = [
            (
                position.trading_pair,
                decimal_text(position.opening),
                decimal_text(position.amount),
                "-" if position.venue is None else decimal_text(position.venue),
            )
            for position in result.positions
        ]
        text += text_table(columns, rows, output_width())
    for word, sentences in (("note", result.notes), ("finding", result.findings)):
        text += "".join(f"{word}: {printable(sentence)}\n" for sentence in sentences)
    return text + ("The books end where the venue is.\n" if not result.findings else "")


class _Progress(AbstractContextManager["_Progress"]):
    """What is being asked for, on standard error: one line that changes on a terminal, else one for each."""

    def __init__(self) -> None:
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if can_rewrite_lines():
            count = f": {done:,} of {total:,}" if total else f": {done:,}" if done else ""
            sys.stderr.write(f"\r\x1b[Kasking for {what}{count}")
            sys.stderr.flush()
        elif what != self._what:
            print(f"asking for {what}", file=sys.stderr)
        self._what = what

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._what and can_rewrite_lines():
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
