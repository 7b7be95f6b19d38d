"""The cash of a live session: what the log comes to, and whether the venue tells the same.

A difference is left until the next comparison finds the very same one: what moves the cash is told over
several channels, and the lists may lag behind the account's state. Before the venue's figure is taken over it
is asked where the account keeps its money: that of a unified account lies elsewhere (sheet 5.6), and what
lies on a dex that the session does not follow is in no figure of this session, but may be in the books. Where
that question gets no answer, the difference counts as not seen, and a later comparison asks anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.account_modes import SEPARATE_MODES
from adapters.hyperliquid.booked_lately import BookedLately
from adapters.hyperliquid.context import MS, Context
from adapters.hyperliquid.findings import Findings
from adapters.hyperliquid.messages import MessageError, read_account_mode
from adapters.hyperliquid.queries import Queries
from adapters.hyperliquid.symbols import SymbolError, dex_names
from adapters.hyperliquid.transfer_effects import collateral_effect
from adapters.hyperliquid.venue_told import VenueTold
from domain.cash import Cash
from domain.discrepancies import Books, Discrepancy, DiscrepancyKind
from domain.events import (
    AccountBalanceAsserted,
    AccountFillBooked,
    AccountFillCorrected,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    LedgerEvent,
    OrderFillCorrected,
    OrderFilled,
)
from domain.money import MONEY
from domain.position import Position
from domain.reconciliation import compare

__all__ = ["LiveCash"]

_FUNDING_KINDS = (DiscrepancyKind.FUNDING_MISMATCH,)


@dataclass(slots=True)
class _Suspicion:
    """A difference (venue minus books) that was seen once."""

    difference: Decimal
    seen_ns: int
    is_all_here: bool = False
    """Whether the venue, asked since, says that all of the account's cash is where this session looks."""
    unasked: dict[str, None] = field(default_factory=dict)
    """The other dexes whose answer is not there yet."""


class LiveCash:
    """`positions` is what the books hold, `amount_step` the step of a market whose position is followed (None
    for others), `begin_ms` when the books begin."""

    def __init__(
        self,
        context: Context,
        queries: Queries,
        findings: Findings,
        lately: BookedLately,
        *,
        positions: Callable[[], Mapping[str, Position]],
        amount_step: Callable[[str], Decimal | None],
        begin_ms: Callable[[], int],
    ) -> None:
        self._context = context
        self._queries = queries
        self._findings = findings
        self._lately = lately
        self._positions = positions
        self._amount_step = amount_step
        self._begin_ms = begin_ms
        self._cash: Cash | None = None
        self._suspicion: _Suspicion | None = None
        self._unanswered = 0
        self._is_elsewhere = False
        self._waived: Decimal | None = None

    # -- what the log comes to -----------------------------------------------------------------------------

    def restore(self, cash: Cash | None) -> None:
        """Go on from what the ledger comes to."""
        if cash is not None:
            # An input never changes.
            self._cash = copy(cash)
            self._cash.markets = dict(cash.markets)

    def take(self, event: LedgerEvent) -> None:
        """An event of the step that ends now."""
        cash = self._cash
        match event:
            case AccountBalanceAsserted() if event.opening or event.adjustment:
                self._cash = Cash(token=event.token, paid=event.amount)
            case _ if cash is None:
                pass
            case OrderFilled() | AccountFillBooked():
                cash.book(event.fill)
            case OrderFillCorrected() | AccountFillCorrected():
                cash.take_back(event.was)
                if event.now is not None:
                    cash.book(event.now)
            case AccountFundingBooked() if event.token == cash.token:
                cash.pay(event.amount)
            case AccountLedgerUpdateBooked():
                effect = collateral_effect(self._context.account_address, event.detail)
                if effect is None:
                    # It stays unknown: without a figure of our own the venue's is compared with nothing, and
                    # so never taken over.
                    self._cash = None
                    self._context.alert(
                        "cash_unknown",
                        f"It is not known what the transfer {event.update_key!r:.60} did to the cash: it is "
                        "booked, and from here on neither this session nor `orderledger reconcile` compares "
                        "the cash of the books with the venue's.",
                    )
                else:
                    cash.pay(effect)

    # -- whether the venue tells the same ------------------------------------------------------------------

    def connected(self) -> None:
        """The truth is established anew, the account's mode with it."""
        self._suspicion = None
        self._is_elsewhere = False

    def judge(self, told: VenueTold) -> None:
        """Compare at the end of a thorough pass: everything it asked for is told and booked."""
        cash = self._cash
        assert told.fills is not None, "asked for in every pass"
        assert told.fundings is not None, "asked for in a thorough pass"
        assert told.transfers is not None, "asked for in a thorough pass"
        if cash is None or self._context.tracker.changes or self._context.tracker.held_count:
            return  # what happens in this very step is counted at its end
        books = Books(
            books_begin_ms=self._begin_ms(),
            orders={},
            fills=self._lately.fills(told.fills.rows),
            fundings=self._lately.fundings(told.fundings.rows),
            transfers=self._lately.transfers(told.transfers.rows),
            positions=self._positions(),
            cash=cash.total(lambda pair: self._amount_step(pair) is not None),
            cash_summands=cash.summands,
            clock_ns=self._context.now_ns(),
            waived_ids=self._findings.waived_ids,
        )
        pairs = {*books.positions, *(booked.fill.trading_pair for booked in books.fills)}
        report = told.report(self._context.account_address, self._amount_step, pairs)
        compared = compare(books, report, grace_ms=self._findings.grace_ms)
        if any(found.kind in _FUNDING_KINDS for found in compared.discrepancies):
            for found in compared.discrepancies:
                if found.kind in _FUNDING_KINDS and not self._findings.is_waived(found):
                    self._findings.record(found, repair=True)
            return
        drifts = [found for found in compared.discrepancies if found.kind is DiscrepancyKind.BALANCE_DRIFT]
        if drifts:
            self._on_difference(drifts[0])
        elif compared.is_cash_judged:
            self._suspicion = None

    def _on_difference(self, found: Discrepancy) -> None:
        difference = MONEY.subtract(Decimal(found.theirs), Decimal(found.ours))
        if self._findings.is_waived(found):
            self._waived = difference
        if self._is_elsewhere or difference == self._waived:
            return
        seen, now_ns = self._suspicion, self._context.now_ns()
        if seen is None or seen.difference != difference:
            self._suspicion = None
            if self._unanswered:
                return  # what was asked about another difference: one chain of questions at a time
            self._suspicion = suspicion = _Suspicion(difference, now_ns)
            request = info_requests.user_abstraction(self._context.account_address)
            self._ask(suspicion, "userAbstraction", request, partial(self._on_mode, suspicion))
        elif seen.is_all_here and now_ns - seen.seen_ns >= self._findings.grace_ms * MS:
            self._suspicion = None
            self._findings.record(found, repair=True)
            self._context.alert(
                "balance_adjusted",
                f"Nothing that the venue tells explains why it holds {found.theirs} {found.subject} and the "
                f"books {found.ours}; the books go on from what the venue says. Find out what moved the "
                "money.",
                level="error",
            )

    def _ask(
        self,
        suspicion: _Suspicion,
        what: str,
        request: info_requests.InfoRequest,
        read: Callable[[bytes], None],
    ) -> None:
        """Ask something about a suspicion. Without an answer that can be read it is dropped, so that a later
        pass asks anew."""

        def answered(body: bytes | None) -> None:
            self._unanswered -= 1
            if self._suspicion is not suspicion or self._is_elsewhere:
                return  # nobody needs to know any more
            if body is None:
                self._suspicion = None
                return
            try:
                read(body)
            except (MessageError, SymbolError) as error:
                self._suspicion = None
                self._context.alert("unreadable_answer", f"{what}: {error}")

        self._unanswered += 1
        self._queries.ask(request, answered)

    def _on_mode(self, suspicion: _Suspicion, body: bytes) -> None:
        if read_account_mode(body) in SEPARATE_MODES:
            self._ask(suspicion, "perpDexs", info_requests.perp_dexs(), partial(self._on_dexes, suspicion))
        else:
            self._is_elsewhere = True

    def _on_dexes(self, suspicion: _Suspicion, body: bytes) -> None:
        others = (name for name in dex_names(body) if name not in self._context.dexes)
        suspicion.unasked = dict.fromkeys(others)
        suspicion.is_all_here = not suspicion.unasked
        for name in suspicion.unasked:
            request = info_requests.clearinghouse_state(self._context.account_address, name)
            read = partial(self._on_other_dex, suspicion, name)
            self._ask(suspicion, f"clearinghouseState {name}", request, read)

    def _on_other_dex(self, suspicion: _Suspicion, name: str, body: bytes) -> None:
        state = self._context.messages.read_account_state(body)
        if state.cash or state.positions:
            self._is_elsewhere = True
            self._context.alert(
                "cash_elsewhere",
                f"The account has money on the dex {name} too, which this session does not follow: it does "
                "not compare the cash. `orderledger reconcile` does.",
            )
            return
        suspicion.unasked.pop(name, None)
        suspicion.is_all_here = not suspicion.unasked
