"""`orderledger reconcile`: whether the books match the venue, what exactly differs, and repairs on demand."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from adapters.cli.asking import say_assumed_zones
from adapters.cli.chosen_ledger import add_ledger_options, chosen_ledger
from adapters.cli.config import DEFAULT_CONFIG_FILE, Config
from adapters.cli.config_reading import load_config
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.moments import point_in_time
from adapters.cli.outputs import check_output, replaced
from adapters.cli.progress_line import can_rewrite_lines
from adapters.cli.reconcile_page import page_of
from adapters.cli.reconciled import Finding, FindingStatus, Reconciled, count_text, kind_title
from adapters.cli.reconciling import DEFAULT_ACTOR, Question, Wish, chosen_account, reconcile
from adapters.cli.text_table import output_width, printable, utc_time
from adapters.hyperliquid.networks import Network, NetworkError, network_named

__all__ = ["exit_code_of", "register"]

_EPILOG = """\
exit codes: 0 nothing differs (or what differs is repaired or waived), 1 differences, 4 the ledger of another
            account or network, 5 the venue could not be asked, or not about everything, 6 ledger damaged

  orderledger reconcile                        compare; nothing is changed
  orderledger reconcile --since 2026-01-31     of the history, only what came later
  orderledger reconcile --apply                record what differs, and repair it
  orderledger reconcile --waive D-0123456789abcdef --reason "test fill of the venue" --actor ann
"""

_PLAIN_EVERY_S = 5.0
_LINE_EVERY_S = 0.1


def register(subparsers: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "reconcile",
        help="compare the books with the venue, and repair what differs",
        description="Compare orders and their states, every fill, funding, transfers, positions and cash "
        "with what the venue says. Only public data is asked for: no key is needed. Nothing is changed "
        "without --apply or --waive; works while the ledger is live.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_ledger_options(parser)
    parser.add_argument(
        "--network",
        choices=("simulator", "testnet", "mainnet"),
        help="(default: the config's, else the ledger's)",
    )
    parser.add_argument(
        "--account", metavar="ADDRESS", type=str.lower, help="(default: the config's, else the ledger's)"
    )
    parser.add_argument(
        "--simulator-url", metavar="URL", help="where the simulator is (default: the config's)"
    )
    parser.add_argument(
        "--since",
        metavar="TIME",
        type=point_in_time,
        help="how far back fills, funding and transfers are compared (default: to where the books begin)",
    )
    parser.add_argument(
        "--apply",
        action="store_true",
        help="record what was found, and repair it (the ledger must not be live)",
    )
    parser.add_argument(
        "--waive",
        metavar="ID",
        action="append",
        default=[],
        help="record that this difference is left as it is; may be given more than once, needs --reason",
    )
    parser.add_argument("--reason", metavar="TEXT", default="", help="why, with --waive")
    parser.add_argument(
        "--actor",
        metavar="NAME",
        default=DEFAULT_ACTOR,
        help=f"who repairs or waives, as it is recorded (default: {DEFAULT_ACTOR})",
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print one JSON object")
    shape.add_argument("--html", metavar="FILE", type=Path, help="also write a page to print or to hand on")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    wish = _wish(options)
    if options.html is not None:
        check_output(options.html)
    say_assumed_zones(options)
    chosen = chosen_ledger(options)
    meant = _meant(options)
    opened = chosen_account(chosen.ledger, chosen.views, meant.account, meant.network)
    question = Question(
        ledger=chosen.ledger,
        views=chosen.views,
        account=opened.account,
        network=_network(opened.network, meant.simulator_url),
        since_ms=None if options.since is None else options.since.time_ns // 1_000_000,
        grace_ms=meant.grace_ms,
    )
    with _SignOfLife() as sign_of_life:
        result = asyncio.run(reconcile(question, wish, on_progress=sign_of_life))
    if options.json:
        sys.stdout.write(msgspec.json.encode(_json_of(result)).decode() + "\n")
    else:
        sys.stdout.write(_text(result))
    if options.html is not None:
        with replaced(options.html) as stream:
            stream.write(page_of(result).encode())
        print(f"the page is {options.html}", file=sys.stderr)
    return exit_code_of(result)


def exit_code_of(result: Reconciled) -> ExitCode:
    """What a reconciliation comes to: a part that nobody answered is worse than a difference."""
    if result.incomplete:
        return ExitCode.UNREACHABLE
    return ExitCode.CHECK_FAILED if result.open_findings else ExitCode.OK


def _json_of(result: Reconciled) -> dict[str, Any]:
    members = msgspec.structs.asdict(result)
    code = exit_code_of(result)
    return {"ok": code is ExitCode.OK, "exit_code": int(code), **members}


# What is meant


class _Meant(NamedTuple):
    """None: whatever the ledger says."""

    account: str | None
    network: str | None
    simulator_url: str
    grace_ms: int


def _wish(options: argparse.Namespace) -> Wish:
    if bool(options.waive) != bool(options.reason.strip()):
        raise CommandError(
            "--waive and --reason belong together: say why it is left as it is.", ExitCode.USAGE
        )
    if not options.actor.strip():
        raise CommandError("--actor needs a name.", ExitCode.USAGE)
    return Wish(
        repair=options.apply, waive=tuple(options.waive), reason=options.reason.strip(), actor=options.actor
    )


def _meant(options: argparse.Namespace) -> _Meant:
    """What the command line says, else the config. A config that merely lies in this directory is not that of
    a ledger which was named."""
    config = Config()
    if options.config is not None or Path(DEFAULT_CONFIG_FILE).exists():
        config = load_config(options.config or DEFAULT_CONFIG_FILE, os.environ)
        is_its_config = options.config is not None or options.ledger is None
    else:
        is_its_config = False
    settings = config.venue
    account = settings.vault_address or settings.account_address
    return _Meant(
        options.account or (account.lower() if is_its_config and account else None),
        options.network or (settings.network if is_its_config else None),
        options.simulator_url or settings.simulator_url,
        round(config.reconciliation.grace_s * 1_000),
    )


def _network(name: str, simulator_url: str) -> Network:
    try:
        return network_named(name, simulator_url=simulator_url if name == "simulator" else None)
    except NetworkError as error:
        raise CommandError(f"{error}", ExitCode.CONFIG) from None


# For the eye


class _SignOfLife:
    """Says on standard error what the venue is being asked for: one line that changes on a terminal, now and
    then a line elsewhere."""

    def __init__(self) -> None:
        self._is_terminal = can_rewrite_lines()
        self._every_s = _LINE_EVERY_S if self._is_terminal else _PLAIN_EVERY_S
        self._next = time.monotonic() + self._every_s
        self._shown = False

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._every_s
        count = f" {done:,} of {total:,}" if total else f" {done:,}" if done else ""
        text = f"asking the venue: {what}{count}"
        sys.stderr.write(f"\r\x1b[K{text}" if self._is_terminal else f"{text}\n")
        sys.stderr.flush()
        self._shown = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown and self._is_terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _text(result: Reconciled) -> str:
    blocks = [
        f"{result.ledger} at position {result.position:,}; {result.venue} {result.account} on "
        f"{result.network}, asked {_time(result.asked_at_ms)}"
    ]
    for kind, findings in result.by_kind.items():
        lines = [f"{kind_title(kind)} ({len(findings)})"]
        lines += (line for finding in findings for line in _finding_lines(finding))
        blocks.append("\n".join(lines))
    if result.not_compared:
        blocks.append(
            "\n".join(["Not compared:", *(_filled(what, "  - ", 4) for what in result.not_compared)])
        )
    blocks.append("\n".join(_filled(line) for line in _verdict(result)))
    return "\n\n".join(blocks) + "\n"


def _finding_lines(finding: Finding) -> Iterator[str]:
    pair = "" if finding.trading_pair in ("", finding.subject) else f"  {finding.trading_pair}"
    yield _filled(f"{finding.discrepancy_id}  {finding.subject}{pair}", "  ", 22)
    yield _filled(finding.ours or "-", "      ours    ", 14)
    yield _filled(finding.theirs or "-", "      theirs  ", 14)
    yield _filled(finding.explanation, "      ", 6)
    match finding.status:
        case FindingStatus.REPAIRED:
            yield _filled(f"repaired by {finding.actor}: {finding.note}", "      ", 6)
        case FindingStatus.WAIVED:
            yield _filled(f"waived by {finding.actor}: {finding.note}", "      ", 6)
        case FindingStatus.KNOWN:
            yield "      in the ledger, and not repaired"
        case FindingStatus.NEW:
            yield _filled(f"repair: {finding.repair or 'none that could be recorded'}", "      ", 6)
    for event in finding.recorded:
        yield _filled(f"position {event.position}: {event.topic} of {event.of}", "        ", 10)


def _verdict(result: Reconciled) -> Iterator[str]:
    counts = ", ".join(count_text(count, what) for what, count in result.compared.items()) or "nothing"
    compared = f"{counts} compared, since {_time(result.since_ms)}"
    if result.findings:
        words = {
            FindingStatus.REPAIRED: "repaired",
            FindingStatus.WAIVED: "waived",
            FindingStatus.KNOWN: "known and open",
            FindingStatus.NEW: "new",
        }
        numbers = result.by_status
        how = ", ".join(f"{numbers[status]} {word}" for status, word in words.items() if numbers[status])
        yield f"{count_text(len(result.findings), 'differences')} ({how}): {compared}."
    else:
        yield f"Nothing differs: {compared}."
    if result.incomplete:
        yield "The venue did not answer everything: that part may differ."
    if result.open_findings and not result.applied:
        yield "Nothing was changed. --apply records what was found and repairs it."
    elif recorded := result.last_position - result.position:
        events = count_text(recorded, "events")
        yield f"Recorded: {events}; the ledger stands at position {result.last_position:,}."


def _filled(text: str, indent: str = "", hanging: int = 0) -> str:
    """A text in lines of the output's width, the first after `indent`, the others after so many spaces."""
    lines = textwrap.wrap(
        printable(text),
        output_width(),
        initial_indent=indent,
        subsequent_indent=" " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines) or indent.rstrip()


def _time(time_ms: int) -> str:
    return utc_time(time_ms * 1_000_000)
