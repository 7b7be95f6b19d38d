"""Carrying out a reconciliation: ledger and venue side by side, and what is to be recorded about it.

One answer takes no execution back, nor its numbers: the venue is asked again a grace time later, since the
list may come from a server that lags behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import msgspec

from adapters.cli.current_views import current_books
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.ledger_books import AccountBooks, opened_accounts
from adapters.cli.ledger_source import LedgerEventSource
from adapters.cli.reconciled import Finding, FindingStatus, Reconciled, Recorded, repair_text
from adapters.cli.text_table import utc_time
from adapters.hyperliquid.connector import VENUE
from adapters.hyperliquid.info_client import InfoClient
from adapters.hyperliquid.networks import Network
from adapters.hyperliquid.venue_report import (
    NotThisAccount,
    OrderToAsk,
    Progress,
    VenueReporter,
    VenueUnreachable,
)
from adapters.storage.errors import LedgerInUseError
from adapters.storage.ledger import OrderLedger
from domain.account import Account
from domain.client_order_tracker import ClientOrderTracker
from domain.discrepancies import Books, CorrectFill, Discrepancy, DiscrepancyKind, VenueReport, Window
from domain.enums import Source
from domain.events import (
    AccountDiscrepancyFound,
    AccountDiscrepancyRepaired,
    AccountDiscrepancyWaived,
    AccountOpened,
    LedgerEvent,
)
from domain.in_flight_order import InFlightOrder
from domain.reconciliation import Comparison, compare
from domain.repairs import apply_discrepancy
from domain.updates import Change, Stamp

__all__ = ["DEFAULT_ACTOR", "Question", "Wish", "chosen_account", "reconcile"]

DEFAULT_ACTOR = "reconciliation"

_MS_NS = 1_000_000

_OF_FILLS = frozenset(
    {
        DiscrepancyKind.MISSING_FILL,
        DiscrepancyKind.PHANTOM_FILL,
        DiscrepancyKind.DUPLICATE_FILL,
        DiscrepancyKind.QUANTITY_MISMATCH,
        DiscrepancyKind.PRICE_MISMATCH,
        DiscrepancyKind.FEE_MISMATCH,
        DiscrepancyKind.EXTERNAL_FILL,
        DiscrepancyKind.LIQUIDATION,
        DiscrepancyKind.AUTO_DELEVERAGING,
    }
)
"""What is judged by the list of fills."""

_CAUSATION = "reconcile"
"""What stands as the cause of events that no recorded input led to."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be compared. `since_ms` (venue time) None: from when the books begin. What is younger than
    `grace_ms` may be on its way still and is not judged."""

    ledger: Path
    views: Path
    account: str
    network: Network
    since_ms: int | None = None
    grace_ms: int = 5_000


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be recorded: with `repair` every finding and its repair; of those in `waive` that they are
    left as they are, for this `reason`."""

    repair: bool = False
    waive: tuple[str, ...] = ()
    reason: str = ""
    actor: str = DEFAULT_ACTOR

    @property
    def writes(self) -> bool:
        return self.repair or bool(self.waive)


class _Begun(msgspec.Struct, frozen=True):
    """What the ledger says before the venue is asked."""

    since_ms: int
    ask_about: tuple[OrderToAsk, ...]
    known_orders: Collection[str]


async def reconcile(
    question: Question, wish: Wish, *, on_progress: Progress | None = None, client: InfoClient | None = None
) -> Reconciled:
    """Compare, and record what is wished. `client` None: one is made for the network, and closed.

    Raises `CommandError` with the fitting exit code, and the errors of storage and projections.
    """
    if client is None:
        async with InfoClient(question.network.http_url) as own:
            return await _reconcile(question, wish, on_progress, own)
    return await _reconcile(question, wish, on_progress, client)


async def _reconcile(
    question: Question, wish: Wish, on_progress: Progress | None, client: InfoClient
) -> Reconciled:
    with _opened(question.ledger, writer=wish.writes) as ledger:
        with _books(question, ledger, writes=wish.writes) as books:
            begun = _begin(question, books)
        clock_ns = time.time_ns()
        report = await _ask(question, begun, client, on_progress)
        # Read again: the venue took its time, and the process that keeps the ledger went on meanwhile.
        with _books(question, ledger, writes=wish.writes) as books:
            compared = _Comparison(question, wish, ledger, books, report, begun, clock_ns)
            if not (suspected := compared.corrected_fills()):
                return compared.result()
        await asyncio.sleep(question.grace_ms / 1_000)
        clock_ns = time.time_ns()
        report = await _ask(question, begun, client, on_progress)
        with _books(question, ledger, writes=wish.writes) as books:
            compared = _Comparison(question, wish, ledger, books, report, begun, clock_ns)
            if compared.corrected_fills() - suspected:
                raise CommandError(
                    "The venue's list of fills was asked for twice, and the second answer contradicts more "
                    "executions than the first: some server of the venue lags behind. Nothing was changed; "
                    "ask again in a minute.",
                    ExitCode.UNREACHABLE,
                )
            return compared.result()


def chosen_account(ledger: Path, views: Path, account: str | None, network: str | None) -> AccountOpened:
    """With what the books of the account began that is meant, by its address or as the only one there is.

    Raises `CommandError` when the ledger keeps no such books, or those of another network.
    """
    with (
        OrderLedger.open(ledger, writer=False, create=False) as opened,
        current_books(ledger, views) as (current, _),
    ):
        accounts = opened_accounts(opened, current.path)
    if not accounts:
        raise CommandError(
            f"The ledger {ledger} has not opened the books of any account, so there is nothing to compare. "
            "`orderledger run` opens them when it starts for the first time, `orderledger backfill` makes "
            "them from the venue's own history.",
            ExitCode.NOT_FOUND,
        )
    meant = [event for event in accounts if account in (None, event.account)]
    if not meant:
        raise CommandError(
            f"The ledger {ledger} keeps the books of {_named(accounts)}, and not of {account}. Name the "
            "ledger of that account, or give --account.",
            ExitCode.CONFIG,
        )
    if len(meant) > 1:
        raise CommandError(
            f"The ledger {ledger} keeps the books of several accounts: {_named(accounts)}. Choose one with "
            "--account.",
            ExitCode.CONFIG,
        )
    if network is not None and meant[0].network != network:
        raise CommandError(
            f"The ledger {ledger} keeps the books of {meant[0].account} on {meant[0].network}, and it was to "
            f"be compared with {network}. An account of the same address there is another account.",
            ExitCode.CONFIG,
        )
    return meant[0]


def _named(accounts: Sequence[AccountOpened]) -> str:
    return " and ".join(f"{event.account} on {event.network}" for event in accounts)


@contextmanager
def _opened(path: Path, *, writer: bool) -> Iterator[OrderLedger]:
    try:
        ledger = OrderLedger.open(path, writer=writer, create=False)
    except LedgerInUseError as error:
        raise CommandError(
            f"{error}. A live process reconciles by itself, and nobody else may write meanwhile: leave out "
            "--apply and --waive to compare only, or stop that process first.",
            ExitCode.CHECK_FAILED,
        ) from None
    with ledger:
        yield ledger


@contextmanager
def _books(question: Question, ledger: OrderLedger, *, writes: bool) -> Iterator[AccountBooks]:
    with (
        current_books(question.ledger, question.views) as (views, _),
        AccountBooks(ledger, views.path, venue=VENUE, account=question.account) as books,
    ):
        if writes and (parked := views.parked()):
            raise CommandError(
                f"{len(parked)} events of {question.ledger} cannot be folded, so nothing is repaired on top "
                f"of them. The first is at position {parked[0].position}: {parked[0].reason}. `orderledger "
                "verify` says what is wrong with the ledger.",
                ExitCode.LEDGER_DAMAGED,
            )
        yield books


def _begin(question: Question, books: AccountBooks) -> _Begun:
    begin_ms = books.books_begin_ms()
    return _Begun(
        since_ms=max(begin_ms, question.since_ms or 0),
        ask_about=tuple(map(OrderToAsk.of, books.unfinished_orders().values())),
        known_orders=books.known_names(),
    )


async def _ask(
    question: Question, begun: _Begun, client: InfoClient, on_progress: Progress | None
) -> VenueReport:
    reporter = VenueReporter(client, question.account, on_progress=on_progress)
    try:
        return await reporter.report(
            fills_from_ms=begun.since_ms, ask_about=begun.ask_about, known_orders=begun.known_orders
        )
    except VenueUnreachable as error:
        raise CommandError(f"{error} Nothing was compared.", ExitCode.UNREACHABLE) from None
    except NotThisAccount as error:
        raise CommandError(str(error), ExitCode.CONFIG) from None


class _Comparison:
    """Books and report held side by side, once."""

    def __init__(
        self,
        question: Question,
        wish: Wish,
        ledger: OrderLedger,
        books: AccountBooks,
        report: VenueReport,
        begun: _Begun,
        clock_ns: int,
    ) -> None:
        self._question = question
        self._wish = wish
        self._ledger = ledger
        self._source = LedgerEventSource(ledger)
        self._reader = books
        self._report = report
        self._begun = begun
        self._open = books.open_discrepancies()
        waived = frozenset(key for key, standing in self._open.items() if standing.waived is not None)
        self._books = msgspec.structs.replace(books.read(report), clock_ns=clock_ns, waived_ids=waived)
        self._compared = compare(self._books, report, grace_ms=question.grace_ms)

    def corrected_fills(self) -> frozenset[str]:
        """The findings, by id, for which this run would take an execution back or change its numbers."""
        return frozenset(
            found.discrepancy_id
            for found in self._compared.discrepancies
            if isinstance(found.repair, CorrectFill) and self._is_repaired(found)
        )

    def result(self) -> Reconciled:
        self._refuse_the_future()
        found = self._compared.discrepancies
        self._refuse_unknown_waivers(found)
        findings = self._record(found) if self._wish.writes else [self._shown(each) for each in found]
        position, last_position = self._reader.position, self._ledger.max_position
        return Reconciled(
            ledger=self._question.ledger.name,
            ledger_id=self._source.ledger_id,
            position=position,
            head=self._source.hash_at(position),
            last_position=last_position if self._wish.writes else position,
            last_head=self._source.hash_at(last_position if self._wish.writes else position),
            venue=VENUE,
            network=self._question.network.name,
            account=self._question.account,
            asked_at_ms=self._report.taken_at_ms,
            since_ms=self._begun.since_ms,
            compared=_counts(self._books, self._report, self._compared),
            not_compared=tuple(self._not_compared()),
            incomplete=bool(self._report.failures),
            applied=self._wish.writes,
            findings=tuple(findings),
            software=version("orderledger"),
        )

    def _refuse_the_future(self) -> None:
        since_ms, now_ms = self._begun.since_ms, self._report.taken_at_ms
        if since_ms > now_ms and self._question.since_ms is not None:
            raise CommandError(
                f"--since lies ahead of the venue's clock, {utc_time(now_ms * _MS_NS)}.",
                ExitCode.USAGE,
            )

    def _refuse_unknown_waivers(self, found: Sequence[Discrepancy]) -> None:
        known = {each.discrepancy_id for each in found}
        if unknown := [wanted for wanted in self._wish.waive if wanted not in known]:
            raise CommandError(
                f"Nothing was recorded: no difference is found now that has the id {', '.join(unknown)}. "
                "`orderledger reconcile` lists those there are.",
                ExitCode.NOT_FOUND,
            )

    def _not_compared(self) -> Iterator[str]:
        report, books = self._report, self._books
        yield from report.failures
        parts = {
            "open orders": report.open_orders,
            "fills": report.fills,
            "funding": report.fundings,
            "transfers": report.transfers,
            "positions": report.positions,
        }
        for name, part in parts.items():
            if part is None:
                yield f"{name}: the venue gave no answer that could be used"
        yield from self._compared.left
        if books.cash is None:
            why = self._reader.cash_unknown_because or "the ledger holds no opening balance"
            yield f"cash: {why}"
        elif report.cash is None:
            yield "cash: the venue does not tell it apart from the rest of the account"

    def _shown(self, found: Discrepancy) -> Finding:
        """A finding that nothing was done about in this run."""
        known = self._open.get(found.discrepancy_id)
        waived = None if known is None else known.waived
        status = FindingStatus.KNOWN if waived is None else FindingStatus.WAIVED
        return _finding(
            found,
            FindingStatus.NEW if known is None else status,
            note="" if waived is None else waived.reason,
            actor="" if waived is None else waived.actor,
        )

    # -- recording -----------------------------------------------------------------------------------------

    def _record(self, found: Sequence[Discrepancy]) -> list[Finding]:
        """What is wished, one commit for each finding: a finding is never recorded without its repair."""
        changes: list[Change] = []
        account = Account(venue=VENUE, address=self._question.account, changes=changes)
        tracker = ClientOrderTracker(
            venue=VENUE, account=self._question.account, retention_ns=0, changes=changes
        )
        account.stamp = tracker.stamp = Stamp(time.time_ns(), Source.RECONCILIATION, _CAUSATION)
        self._reader.restore(account, self._books)
        for events in self._reader.order_events(self._books.orders).values():
            tracker.restore(events)
        pending = []
        for each in found:
            waive = each.discrepancy_id in self._wish.waive
            if not waive and not self._is_repaired(each):
                continue
            apply_discrepancy(each, tracker, account, actor=self._wish.actor, repair=not waive)
            if waive:
                account.discrepancy_waived(
                    each.discrepancy_id, reason=self._wish.reason, actor=self._wish.actor
                )
            events = [change.event for change in tracker.take_changes()]
            if events:
                pending.append((each, events, self._ledger.submit(events)))
        if self._wish.repair:
            for gone in self._no_longer_found(found):
                account.discrepancy_repaired(
                    gone.discrepancy_id, reason="It no longer differs.", actor=self._wish.actor
                )
                events = [change.event for change in tracker.take_changes()]
                pending.append((gone, events, self._ledger.submit(events)))
        recorded = {
            each.discrepancy_id: _finding_of_events(each, events, future.result().positions)
            for each, events, future in pending
        }
        still = [
            recorded.pop(each.discrepancy_id) if each.discrepancy_id in recorded else self._shown(each)
            for each in found
        ]
        return [*still, *recorded.values()]

    def _no_longer_found(self, found: Sequence[Discrepancy]) -> Iterator[Discrepancy]:
        """What stands open in the ledger and does not differ any more. Only a comparison of everything can
        tell that."""
        is_whole = (
            not self._report.failures
            and not self._compared.left
            and self._begun.since_ms == self._books.books_begin_ms
        )
        still = {each.discrepancy_id for each in found}
        for discrepancy_id, standing in self._open.items():
            is_told = self._is_told(DiscrepancyKind(standing.found.kind))
            if is_whole and is_told and standing.waived is None and discrepancy_id not in still:
                yield _discrepancy_of(standing.found)

    def _is_told(self, kind: DiscrepancyKind) -> bool:
        """Whether the venue told everything that a finding of this kind is judged by."""
        report = self._report
        if kind is DiscrepancyKind.BALANCE_DRIFT:
            return self._compared.is_cash_judged
        if kind in (DiscrepancyKind.UNBOOKED_FUNDING, DiscrepancyKind.FUNDING_MISMATCH):
            return _is_whole(report.fundings_window)
        if kind is DiscrepancyKind.UNBOOKED_TRANSFER:
            return _is_whole(report.transfers_window)
        return kind not in _OF_FILLS or _is_whole(report.fills_window)

    def _is_repaired(self, found: Discrepancy) -> bool:
        """Whether it is wished to mend this finding."""
        is_left = found.discrepancy_id in self._wish.waive or self._is_waived(found)
        return self._wish.repair and not is_left

    def _is_waived(self, found: Discrepancy) -> bool:
        known = self._open.get(found.discrepancy_id)
        return known is not None and known.waived is not None


def _finding(
    found: Discrepancy,
    status: FindingStatus,
    *,
    explanation: str = "",
    note: str = "",
    actor: str = "",
    recorded: tuple[Recorded, ...] = (),
) -> Finding:
    return Finding(
        discrepancy_id=found.discrepancy_id,
        kind=found.kind,
        subject=found.subject,
        trading_pair=found.trading_pair,
        ours=found.ours,
        theirs=found.theirs,
        explanation=explanation or found.explanation,
        evidence=found.evidence,
        repair=repair_text(found.repair),
        status=status,
        note=note,
        actor=actor,
        recorded=recorded,
    )


def _discrepancy_of(event: AccountDiscrepancyFound) -> Discrepancy:
    return Discrepancy(
        discrepancy_id=event.discrepancy_id,
        kind=DiscrepancyKind(event.kind),
        subject=event.subject,
        trading_pair=event.trading_pair,
        ours=event.ours,
        theirs=event.theirs,
        explanation=event.explanation,
        evidence=event.evidence,
    )


def _finding_of_events(
    found: Discrepancy, events: Sequence[LedgerEvent], positions: Sequence[int]
) -> Finding:
    """A finding as the events say that were recorded for it: a repair may have been refused."""
    recorded = tuple(
        Recorded(position, event.topic, event.originator_id, event.originator_version)
        for event, position in zip(events, positions, strict=True)
    )
    explanation = found.explanation
    for event in events:
        if isinstance(event, AccountDiscrepancyFound):
            explanation = event.explanation
    last = events[-1]
    if isinstance(last, AccountDiscrepancyRepaired):
        status = FindingStatus.REPAIRED
    elif isinstance(last, AccountDiscrepancyWaived):
        status = FindingStatus.WAIVED
    else:
        return _finding(found, FindingStatus.KNOWN, explanation=explanation, recorded=recorded)
    return _finding(
        found, status, explanation=explanation, note=last.reason, actor=last.actor, recorded=recorded
    )


def _is_whole(window: Window | None) -> bool:
    """Whether a list reaches back to where it was asked from."""
    return window is not None and window.complete_from_ms <= window.asked_from_ms


def _counts(books: Books, report: VenueReport, comparison: Comparison) -> dict[str, int]:
    """How much was held side by side, both sides together."""
    compared: dict[str, int] = {}
    names = {name: order.id for order in books.orders.values() for name in _names(order)}
    if report.open_orders is not None or report.asked:
        listed = {
            names.get(update.venue_order_key or "")
            or names.get(update.exchange_order_id or "")
            or update.exchange_order_id
            for update in report.open_orders or ()
        }
        compared["orders"] = len(listed | books.orders.keys())
    if report.fills is not None:
        ours = {booked.fill.fill_key for booked in books.fills}
        compared["fills"] = len(ours | {update.fill.fill_key for update in report.fills})
    if report.positions is not None:
        held = {pair for pair, position in books.positions.items() if position.amount}
        held |= {update.trading_pair for update in report.positions}
        judged = held & comparison.judged_pairs
        if judged or not held:
            compared["positions"] = len(judged)
    if report.fundings is not None:
        ours = {funding.funding_key for funding in books.fundings}
        compared["funding payments"] = len(ours | {update.funding_key for update in report.fundings})
    if report.transfers is not None:
        ours = {transfer.update_key for transfer in books.transfers}
        compared["transfers"] = len(ours | {transfer.update_key for transfer in report.transfers})
    if comparison.is_cash_judged:
        compared["cash balances"] = 1
    return compared


def _names(order: InFlightOrder) -> Iterator[str]:
    yield order.venue_order_key
    yield from order.exchange_order_ids
