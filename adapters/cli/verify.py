"""`orderledger verify`: whether a ledger is what was recorded, and its views are what it comes to."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from adapters.cli.chosen_ledger import ChosenLedger, add_ledger_options, chosen_ledger
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.ledger_source import LedgerEventSource
from adapters.cli.progress_line import ProgressLine
from adapters.cli.proof import prove
from adapters.cli.text_table import printable
from adapters.storage.chain import ChainReport, verify_chain
from adapters.storage.ledger import OrderLedger
from adapters.storage.ledger_file import LedgerFile
from adapters.storage.mapper import MessagePackMapper
from adapters.storage.sealing import Seal, SealFileError, SealReport, check_seals, read_seals
from domain.money import decimal_text
from projections.verifying import ViewsReport, ViewsVerdict, verify_views

__all__ = ["Check", "VerifyReport", "register", "verify"]

_EPILOG = """\
exit codes: 0 intact, 1 views that differ (the ledger is intact), 3 no ledger, 6 damaged

  orderledger verify --ledger ledger.db
  orderledger verify --ledger ledger.db --seal seals.jsonl
"""

_PARKED_SHOWN = 5


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `ok` is None for what could not be looked at, `detail` says why."""

    name: str
    ok: bool | None
    detail: str


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found. `first_bad_position` is None when no event is to blame.

    `head` is the hash of the chain at `last_position` (hex). `digest` is what the views come to when they
    are built anew; empty when they were not.
    """

    ledger: str
    ledger_id: str
    ok: bool
    exit_code: int
    events: int
    last_position: int
    head: str
    first_bad_position: int | None
    reason: str
    digest: str
    checks: tuple[Check, ...]


def register(subparsers: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "verify",
        help="check a ledger from its first event to its views",
        description="Recompute the hash chain, look for holes in positions and versions, compare the key "
        "index with the events, fold every order and account, add the fills up to the positions, hold the "
        "positions against what the venue stated them to be, and compare the views with a rebuild. Changes "
        "nothing; works while the ledger is live.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_ledger_options(parser)
    parser.add_argument(
        "--seal",
        metavar="FILE",
        type=Path,
        help="also compare with the seals in this file (`orderledger seal` writes them)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    seals = _seals(options.seal)
    report = verify(chosen_ledger(options), seals)
    if options.json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        sys.stdout.write(_text(report))
    return report.exit_code


def _seals(path: Path | None) -> list[Seal] | None:
    if path is None:
        return None
    try:
        seals = read_seals(path)
    except SealFileError as error:
        unreadable = isinstance(error.__cause__, OSError)
        raise CommandError(
            f"{error}. `orderledger seal -o FILE` writes such a file.",
            ExitCode.NOT_FOUND if unreadable else ExitCode.LEDGER_DAMAGED,
        ) from None
    if not seals:
        raise CommandError(f"{path} holds no seal to compare with.", ExitCode.NOT_FOUND)
    return seals


def verify(chosen: ChosenLedger, seals: list[Seal] | None = None) -> VerifyReport:
    """Look at everything. Raises storage errors where the file is not to be opened at all."""
    with ProgressLine("checking") as progress:
        proof = prove(chosen, progress)
    chain, views = _closer_look(chosen) if proof is None else (proof.chain, proof.views)
    sealed: SealReport | None = None
    if seals is not None:
        with LedgerFile.open_for_reading(chosen.ledger, check_tail=False) as file:
            sealed = check_seals(file, seals)
    return _report(chain, sealed, views)


def _closer_look(chosen: ChosenLedger) -> tuple[ChainReport, ViewsReport | None]:
    """One thing after the other, each from the beginning, to say what is wrong and where."""
    with ProgressLine("checking the chain") as progress:
        chain = verify_chain(chosen.ledger, progress, mapper=MessagePackMapper())
    if not chain.ok:
        return chain, None
    with (
        OrderLedger.open(chosen.ledger, writer=False, create=False) as ledger,
        ProgressLine("building the views again") as progress,
    ):
        return chain, verify_views(LedgerEventSource(ledger), chosen.views, progress)


def _report(chain: ChainReport, sealed: SealReport | None, views: ViewsReport | None) -> VerifyReport:
    checks = [
        Check(
            name="events",
            ok=chain.ok,
            detail=chain.reason or f"{chain.events} events: chain, versions and key index are intact",
        )
    ]
    if sealed is not None:
        detail = f"seals that fit: {sealed.seals}, the last at position {sealed.last_good_position}"
        checks.append(Check(name="seals", ok=sealed.ok, detail=sealed.reason or detail))
    if views is None:
        why = "not looked at: the events are damaged"
        names = ("fold", "positions", "claims", "views")
        checks += [Check(name=name, ok=None, detail=why) for name in names]
    else:
        checks += [_fold_check(views), _positions_check(views), _claims_check(views), _views_check(views)]
    code, position, reason = _verdict(chain, sealed, views)
    return VerifyReport(
        ledger=chain.path,
        ledger_id=chain.ledger_id,
        ok=code == ExitCode.OK,
        exit_code=code,
        events=chain.events,
        last_position=chain.last_position,
        head=chain.head,
        first_bad_position=position,
        reason=reason,
        digest="" if views is None else views.digest,
        checks=tuple(checks),
    )


def _verdict(
    chain: ChainReport, sealed: SealReport | None, views: ViewsReport | None
) -> tuple[ExitCode, int | None, str]:
    """The code to end with, and the earliest and gravest thing that is wrong."""
    if not chain.ok:
        return ExitCode.LEDGER_DAMAGED, chain.first_bad_position, chain.reason
    if sealed is not None and not sealed.ok:
        return ExitCode.LEDGER_DAMAGED, sealed.first_bad_position, sealed.reason
    if views is not None and (bad := [*views.parked[:1], *views.contradicted[:1]]):
        first = min(bad, key=lambda row: row.position)
        return ExitCode.LEDGER_DAMAGED, first.position, first.reason
    if views is not None and views.mismatches:
        return ExitCode.CHECK_FAILED, None, _positions_check(views).detail
    if views is not None and not views.views_ok:
        return ExitCode.CHECK_FAILED, None, _views_check(views).detail
    return ExitCode.OK, None, ""


def _fold_check(views: ViewsReport) -> Check:
    if views.events_fold:
        detail = f"every order and account folds, to position {views.position}"
        return Check(name="fold", ok=True, detail=detail)
    shown = "; ".join(
        f"position {row.position} ({row.view}, {row.aggregate}): {row.reason}"
        for row in views.parked[:_PARKED_SHOWN]
    )
    more = f"; and {len(views.parked) - _PARKED_SHOWN} more" if len(views.parked) > _PARKED_SHOWN else ""
    return Check(
        name="fold",
        ok=False,
        detail=f"{len({row.position for row in views.parked})} events do not fold: {shown}{more}",
    )


def _positions_check(views: ViewsReport) -> Check:
    if not views.mismatches:
        detail = f"fills add up to the positions (markets: {views.markets})"
        return Check(name="positions", ok=True, detail=detail)
    first = views.mismatches[0]
    return Check(
        name="positions",
        ok=False,
        detail=f"in {len(views.mismatches)} markets the fills do not add up to the position, first in "
        f"{first.trading_pair} of {first.account}: {decimal_text(first.folded)} folded, "
        f"{decimal_text(first.fills)} by its fills",
    )


def _claims_check(views: ViewsReport) -> Check:
    if not views.contradicted:
        detail = f"positions are what the venue stated them to be (statements: {views.claims})"
        return Check(name="claims", ok=True, detail=detail)
    first = views.contradicted[0]
    return Check(
        name="claims",
        ok=False,
        detail=f"{len(views.contradicted)} of {views.claims} statements of the venue are contradicted, first "
        f"at position {first.position}: {first.reason}",
    )


def _views_check(views: ViewsReport) -> Check:
    match views.views:
        case ViewsVerdict.EQUAL:
            behind = views.position - (views.views_position or 0)
            late = f", {behind} events behind the ledger" if behind else ""
            detail = f"equal to a rebuild at position {views.views_position}{late}"
        case ViewsVerdict.ABSENT:
            detail = "there are none yet; the next reading command builds them"
        case ViewsVerdict.OUTDATED:
            detail = f"not compared, {views.difference}; the next reading command builds them again"
        case ViewsVerdict.UNREADABLE:
            detail = views.difference
        case ViewsVerdict.DIFFER:
            detail = f"not what the ledger gives: {views.difference}. `orderledger rebuild` makes them anew"
    return Check(name="views", ok=views.views_ok, detail=detail)


def _text(report: VerifyReport) -> str:
    lines = [f"{report.ledger} (ledger {report.ledger_id})"]
    for check in report.checks:
        word = {True: "ok", False: "BAD", None: "-"}[check.ok]
        lines.append(f"  {word:<4}{check.name:<11}{check.detail}")
    lines.append(f"head of the chain: position {report.last_position}, {report.head}")
    if report.digest:
        lines.append(f"digest of the views: {report.digest}")
    if report.ok:
        lines.append("Intact.")
    else:
        where = (
            "" if report.first_bad_position is None else f"; first bad position: {report.first_bad_position}"
        )
        what = "The ledger is damaged" if report.exit_code == ExitCode.LEDGER_DAMAGED else "A check failed"
        lines.append(f"{what}{where}.")
    return "\n".join(map(printable, lines)) + "\n"
