"""Compares what the core holds with what the venue says: at the start, from time to time, and when in doubt.

A pass asks for the account's state first, for fills after it, and compares then: what the state contains has
been told by the time it is compared. Open orders are listed in the same pass (`recovery` looks into those
that are missing), and in a thorough one funding and transfers; what the books turn out to lack is recorded
as it comes in (`late_news`). A pass itself judges positions and leverage.

A position that differs is the last thing to be adjusted. The difference is recorded, every fill since the
position last agreed is asked for, and only what differs still a grace time later, on a quiet market, is set
to what the venue says.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.context import MS, SECOND, Context
from adapters.hyperliquid.findings import Findings
from adapters.hyperliquid.history_pages import History
from adapters.hyperliquid.history_search import OVERLAP_MS, RETRY_NS, FillSearch, FundingSearch
from adapters.hyperliquid.messages import AccountState, MessageError, TransferUpdate
from adapters.hyperliquid.queries import Queries
from adapters.hyperliquid.thorough import Thorough
from adapters.hyperliquid.venue_told import VenueTold
from domain.discrepancies import (
    AdjustPosition,
    Books,
    Discrepancy,
    DiscrepancyKind,
    VenueReport,
    Window,
)
from domain.enums import TradeType
from domain.events import AccountFillBooked, Fill, OrderFilled
from domain.money import MONEY, ZERO, decimal_text
from domain.position import Position
from domain.updates import FundingUpdate, PositionUpdate, TradeUpdate

__all__ = ["Reconciler"]

SOON_NS = SECOND
"""After so long a comparison is made again that could not be made clearly, or that somebody asked for."""

FUTURE_MS = 3_600_000
"""No fill is so far ahead of the venue's clock."""

_DRIFTS = (DiscrepancyKind.POSITION_DRIFT, DiscrepancyKind.SIDE_FLIP)


@dataclass(slots=True)
class _Pass:
    """One comparison under way. `is_full`: with orders, not only positions; `is_thorough`: with funding and
    transfers too."""

    number: int
    begun_ns: int
    asked_at_ms: int
    newest_before_ms: dict[str, int]
    """When the newest fill of each market happened that was booked before the venue was asked."""
    is_full: bool = False
    is_thorough: bool = False
    told: VenueTold = field(init=False)
    executed: list[Fill] = field(default_factory=list)
    """Fills that were booked since; they may be younger than the state."""
    searched: tuple[str, ...] = ()
    """Markets whose fills are asked for from the time on when they last agreed."""
    fills_from_ms: int = 0
    """From when on the venue is asked for fills."""
    waiting_for: dict[str, None] = field(default_factory=dict)
    is_alerted: bool = False

    def __post_init__(self) -> None:
        self.told = VenueTold(self.asked_at_ms)


@dataclass(slots=True)
class _Drift:
    """A position that differs, and that no fill has explained yet."""

    discrepancy: Discrepancy
    difference: Decimal
    found_ns: int
    is_searched: bool = False


@dataclass(slots=True, frozen=True)
class _Sides:
    """One market as the books had it at the time of the venue's state, and as the state has it."""

    ours: Decimal
    theirs: PositionUpdate
    at_ms: int
    is_quiet: bool
    """Nothing was executed since, so that what the state says holds for the end of the log."""
    is_clear: bool
    """It is known of every fill whether the state contains it."""


class Reconciler:
    """`positions` is what the books hold, `amount_step` the step of a market whose fills and state can be
    compared (None for others). `thorough` is None in a session that asks for funding with every pass and for
    no transfers. `list_orders` asks for the open orders. `agreed` is called whenever nothing differs, or all
    that differed is mended."""

    def __init__(
        self,
        context: Context,
        queries: Queries,
        fills: FillSearch,
        funding: FundingSearch,
        findings: Findings,
        thorough: Thorough | None,
        *,
        positions: Callable[[], Mapping[str, Position]],
        amount_step: Callable[[str], Decimal | None],
        begin_ms: Callable[[], int],
        list_orders: Callable[[], None],
        agreed: Callable[[], None],
        every_ns: int,
        assert_every_ns: int,
    ) -> None:
        self._context = context
        self._queries = queries
        self._fills = fills
        self._funding = funding
        self._thorough = thorough
        self._findings = findings
        self._positions = positions
        self._amount_step = amount_step
        self._begin_ms = begin_ms
        self._list_orders = list_orders
        self._agreed = agreed
        self._every_ns = every_ns
        self._assert_every_ns = assert_every_ns
        self.passes = 0
        self._pass_count = 0
        self._pass: _Pass | None = None
        self._is_connected = False
        self._is_ticking = False
        self._is_due_soon = False
        self._all_agreed_ms = 0
        self._repeats = 0
        self._complete_to_ms = 0
        self._thorough_ns = 0
        self._money_complete_to_ms = 0
        self._newest_ms: dict[str, int] = {}
        self._agreed_at_ms: dict[str, int] = {}
        self._asserted: dict[str, tuple[Decimal, int]] = {}
        self._leverage_asked_ns: dict[str, int] = {}
        self._drifts: dict[str, _Drift] = {}

    # -- what the connector tells --------------------------------------------------------------------------

    def booked(self, fill: Fill) -> None:
        """A fill is in the books now."""
        pair, time_ms = fill.trading_pair, fill.exchange_time_ms
        if time_ms > self._context.venue_now_ms + FUTURE_MS:
            return  # a garbled time must not pass for the newest for ever
        self._newest_ms[pair] = max(self._newest_ms.get(pair, 0), time_ms)
        under_way = self._pass
        if under_way is not None and time_ms > under_way.asked_at_ms - OVERLAP_MS:
            under_way.executed.append(fill)

    def leverage_asked(self, trading_pair: str) -> None:
        """A request of ours that changes the leverage of a market has left, or is answered."""
        self._leverage_asked_ns[trading_pair] = self._context.now_ns()

    def suspect(self) -> None:
        """Something does not fit: compare soon."""
        self._compare_soon(SOON_NS)

    def _compare_soon(self, delay_ns: int) -> None:
        if not self._is_due_soon:
            self._is_due_soon = True
            self._set_deadline(delay_ns, "soon")

    # -- life cycle ----------------------------------------------------------------------------------------

    def recovery_begins(self) -> None:
        """The truth is established anew; the first comparison will have its answers from there."""
        self._is_connected = False
        self._begin()

    def recovered(self, states: Mapping[str, AccountState], *, books_opened: bool) -> None:
        """What could not be told is booked. With `books_opened` the state is where the books begin."""
        first, self._pass = self._pass, None
        assert first is not None, "a recovery begins before it ends"
        self._is_connected = True
        self._thorough_is_done(first)
        self._complete_to_ms = first.asked_at_ms
        if not self._is_ticking:
            self._is_ticking = True
            self._set_deadline(self._every_ns, "tick")
        first.told.states = dict(states)
        if books_opened:
            self._all_agreed_ms = first.asked_at_ms
            for update in (update for state in states.values() for update in state.positions):
                self._asserted[update.trading_pair] = (update.amount, self._context.now_ns())
            self._agreed()
        elif self._differs(first):
            # State and fills were asked for side by side. Asked one after the other they may agree.
            self._start(is_full=False)
        else:
            self._judge(first)

    def stream_lost(self) -> None:
        """Nothing is compared while nothing is told."""
        self._is_connected = False
        self._pass = None

    def _set_deadline(self, delay_ns: int, what: str) -> None:
        self._context.set_deadline(delay_ns, "reconcile", what)

    def on_deadline(self, key: str) -> None:
        """Time for a pass, or to ask once more for what had no answer."""
        what, _, rest = key.partition(" ")
        if what == "tick":
            self._set_deadline(self._every_ns, "tick")
            if self._is_connected:
                self._tick()
        elif what == "soon":
            self._is_due_soon = False
            if self._is_connected and self._pass is None:
                self._start(is_full=False)
        else:
            number, _, dex = rest.partition(" ")
            under_way = self._current(int(number))
            if under_way is not None:
                self._ask_state(under_way, dex)

    def _tick(self) -> None:
        late = self._pass
        if late is None or not late.is_full:
            self._start(is_full=True)
        else:
            waited_s = (self._context.venue_now_ms - late.asked_at_ms) // 1_000
            self._context.alert(
                "reconciliation_late",
                f"What was asked {waited_s} s ago has no answer yet ({', '.join(late.waiting_for)}): the "
                "books are not compared with the venue until it has.",
            )

    # -- asking --------------------------------------------------------------------------------------------

    def _begin(self) -> _Pass:
        self._pass_count += 1
        context = self._context
        begun = _Pass(self._pass_count, context.now_ns(), context.venue_now_ms, dict(self._newest_ms))
        self._pass = begun
        return begun

    def _current(self, number: int) -> _Pass | None:
        under_way = self._pass
        return under_way if under_way is not None and under_way.number == number else None

    def _start(self, *, is_full: bool) -> None:
        begun = self._begin()
        begun.is_full = is_full
        begun.searched = tuple(pair for pair, drift in self._drifts.items() if not drift.is_searched)
        begun.fills_from_ms = self._from(*begun.searched)
        begun.waiting_for = dict.fromkeys(
            [*(f"state {dex}".rstrip() for dex in self._context.dexes), "fills"]
        )
        for dex in self._context.dexes:
            self._ask_state(begun, dex)
        if is_full:
            self._list_orders()
            every_ns = 0 if self._thorough is None else self._thorough.every_ns
            if self._context.now_ns() - self._thorough_ns >= every_ns:
                begun.is_thorough = True
                self._ask_money(begun.number)

    def _ask_money(self, number: int) -> None:
        under_way = self._current(number)
        assert under_way is not None, "it has just begun"
        start_ms = max(0, self._money_complete_to_ms - OVERLAP_MS)
        under_way.waiting_for["funding"] = None
        self._funding.read(start_ms, lambda told: self._on_fundings(number, told))
        if self._thorough is not None:
            under_way.waiting_for["transfers"] = None
            self._thorough.transfers.read(start_ms, lambda told: self._on_transfers(number, told))

    def _on_fundings(self, number: int, told: History[FundingUpdate]) -> None:
        under_way = self._current(number)
        if under_way is not None:
            under_way.told.fundings = told
            self._done(number, "funding")

    def _on_transfers(self, number: int, told: History[TransferUpdate]) -> None:
        under_way = self._current(number)
        if under_way is not None:
            under_way.told.transfers = told
            self._done(number, "transfers")

    def _from(self, *pairs: str) -> int:
        """The venue time to ask from: until when all is told; for these markets, when they last agreed."""
        all_agreed_ms = self._all_agreed_ms or self._begin_ms()
        times = [max(self._agreed_at_ms.get(pair, 0), all_agreed_ms) for pair in pairs]
        return max(0, min([self._complete_to_ms, *times]) - OVERLAP_MS)

    def _ask_state(self, under_way: _Pass, dex: str) -> None:
        number = under_way.number
        self._queries.ask(
            info_requests.clearinghouse_state(self._context.account_address, dex),
            lambda body: self._on_state(number, dex, body),
        )

    def _on_state(self, number: int, dex: str, body: bytes | None) -> None:
        under_way = self._current(number)
        if under_way is None:
            return
        state, why = None, "no answer"
        if body is not None:
            try:
                state = self._context.messages.read_account_state(body)
            except (MessageError, ValueError) as error:
                why = str(error)
        if state is None:
            if not under_way.is_alerted:
                under_way.is_alerted = True
                self._context.alert(
                    "reconciliation_unanswered",
                    f"The account's state cannot be compared with the books ({why}); it is asked for again.",
                )
            self._set_deadline(RETRY_NS, f"state {number} {dex}")
            return
        states = under_way.told.states
        states[dex] = state
        if len(states) == len(self._context.dexes):
            self._fills.read(under_way.fills_from_ms, lambda told: self._on_fills(number, told))
        self._done(number, f"state {dex}".rstrip())

    def _on_fills(self, number: int, told: History[TradeUpdate]) -> None:
        under_way = self._current(number)
        if under_way is None:
            return
        under_way.told.fills = told
        for pair in under_way.searched:
            if pair in self._drifts:
                self._drifts[pair].is_searched = True
        if self._context.tracker.held_count:
            # The orders of some fills are being looked up: they are not in the positions yet.
            self._compare_again(SOON_NS)
        else:
            moving = {} if self._thorough is None else self._thorough.fills.judge(under_way.told)
            self._judge(under_way, moving)
            self._judge_leverage(under_way)
        self._done(number, "fills")

    def _done(self, number: int, what: str) -> None:
        under_way = self._current(number)
        if under_way is None:
            return
        under_way.waiting_for.pop(what, None)
        if under_way.waiting_for:
            return
        self._pass = None
        if under_way.is_thorough:
            self._thorough_is_done(under_way)
            if self._thorough is not None:
                self._thorough.cash.judge(under_way.told)
        if under_way.is_full:
            self.passes += 1
            if self._thorough is not None:
                # What this pass could not judge yet the next one does: it asks from before this one's end.
                self._thorough.lately.forget(
                    fills_before_ms=self._from(), money_before_ms=self._money_complete_to_ms - OVERLAP_MS
                )
            self._complete_to_ms = under_way.asked_at_ms

    def _thorough_is_done(self, finished: _Pass) -> None:
        self._thorough_ns = finished.begun_ns
        self._money_complete_to_ms = finished.asked_at_ms

    # -- judging -------------------------------------------------------------------------------------------

    def _sides(self, under_way: _Pass) -> Iterable[_Sides]:
        """Every market that one of the two sides holds, in the order of their names."""
        # Positions take in the events of a step at its end.
        news = [
            change.event.fill
            for change in self._context.tracker.changes
            if isinstance(change.event, OrderFilled | AccountFillBooked)
        ]
        told = {
            update.trading_pair: update
            for each in under_way.told.states.values()
            for update in each.positions
        }
        held = self._positions()
        pairs = {*told, *(fill.trading_pair for fill in news)}
        pairs |= {pair for pair, position in held.items() if position.amount}
        pairs |= {pair for pair, (amount, _) in self._asserted.items() if amount}
        for pair in sorted(pairs):
            dex, found, _ = pair.partition(":")
            state = under_way.told.states.get(dex if found else "")
            if state is None or self._amount_step(pair) is None:
                continue
            at_ms = state.exchange_time_ms or under_way.asked_at_ms
            of_pair = [fill for fill in (*under_way.executed, *news) if fill.trading_pair == pair]
            since = [fill for fill in of_pair if fill.exchange_time_ms >= at_ms]
            amount = held[pair].amount if pair in held else ZERO
            for fill in news:
                if fill.trading_pair == pair:
                    amount = MONEY.add(amount, _signed(fill))
            for fill in since:
                amount = MONEY.subtract(amount, _signed(fill))
            yield _Sides(
                ours=amount,
                theirs=told.get(pair) or PositionUpdate(trading_pair=pair, amount=ZERO, entry_price=None),
                at_ms=at_ms,
                is_quiet=not since,
                is_clear=under_way.newest_before_ms.get(pair, 0) < at_ms
                and all(fill.exchange_time_ms > at_ms for fill in since),
            )

    def _differs(self, under_way: _Pass) -> bool:
        return any(
            not sides.is_clear or sides.ours != sides.theirs.amount for sides in self._sides(under_way)
        )

    def _judge(self, under_way: _Pass, moving: Collection[str] = ()) -> None:
        """`moving` are markets to be left for later."""
        is_unclear = False
        for sides in self._sides(under_way):
            if not sides.is_clear or sides.theirs.trading_pair in moving:
                is_unclear = True
            elif sides.ours == sides.theirs.amount:
                self._on_agreement(sides)
            else:
                self._on_difference(sides, under_way.fills_from_ms)
        if self._drifts or moving:
            self._compare_again(self._findings.grace_ms * MS + SOON_NS)
        elif is_unclear:
            if not self._all_agreed_ms:
                self._compare_again(SOON_NS)
        else:
            self._repeats = 0
            self._all_agreed_ms = under_way.asked_at_ms
            self._agreed()

    def _compare_again(self, delay_ns: int) -> None:
        """Compare before the next full pass, less and less often while that leads to nothing."""
        self._compare_soon(min(delay_ns << min(self._repeats, 16), self._every_ns))
        self._repeats += 1

    def _on_agreement(self, sides: _Sides) -> None:
        pair = sides.theirs.trading_pair
        self._agreed_at_ms[pair] = sides.at_ms
        drift = self._drifts.pop(pair, None)
        if drift is not None:
            self._findings.settle(
                drift.discrepancy.discrepancy_id, "What was booked since then explains the difference."
            )
        if sides.is_quiet:
            self._assert(sides)

    def _assert(self, sides: _Sides) -> None:
        """Put what the venue says on record, if it is news, now and then."""
        pair, amount = sides.theirs.trading_pair, sides.theirs.amount
        asserted, at_ns = self._asserted.get(pair, (None, 0))
        now_ns = self._context.now_ns()
        if amount != asserted and (asserted is None or now_ns - at_ns >= self._assert_every_ns):
            self._asserted[pair] = (amount, now_ns)
            self._context.account.assert_position(sides.theirs, exchange_time_ms=sides.at_ms)

    def _on_difference(self, sides: _Sides, fills_from_ms: int) -> None:
        pair, now_ns = sides.theirs.trading_pair, self._context.now_ns()
        difference = MONEY.subtract(sides.theirs.amount, sides.ours)
        drift = self._drifts.get(pair)
        if drift is not None and drift.difference == difference:
            is_old = now_ns - drift.found_ns >= self._findings.grace_ms * MS
            if is_old and drift.is_searched and sides.is_quiet:
                self._adjust(drift, sides)
            return
        if drift is not None:
            del self._drifts[pair]
            self._findings.settle(drift.discrepancy.discrepancy_id, "By now the difference is another one.")
        for discrepancy in self._compare(self._held(sides), sides.theirs, sides.at_ms, fills_from_ms):
            if discrepancy.kind in _DRIFTS:
                self._drifts[pair] = _Drift(discrepancy, difference, now_ns)
                self._findings.record(discrepancy, repair=False)
            elif discrepancy.kind is DiscrepancyKind.PRECISION_ONLY:
                self._findings.record(discrepancy, repair=True)

    def _adjust(self, drift: _Drift, sides: _Sides) -> None:
        pair = sides.theirs.trading_pair
        del self._drifts[pair]
        self._agreed_at_ms[pair] = sides.at_ms
        self._asserted[pair] = (sides.theirs.amount, self._context.now_ns())
        repair = AdjustPosition(sides.theirs, sides.at_ms)
        self._findings.record(msgspec.structs.replace(drift.discrepancy, repair=repair), repair=True)
        self._context.alert(
            "position_adjusted",
            f"No fill that the venue tells explains why it holds {decimal_text(sides.theirs.amount)} of "
            f"{pair} and the books {decimal_text(sides.ours)}; the books go on from what the venue says. "
            "Find out what moved the position.",
            level="error",
        )

    # -- leverage ------------------------------------------------------------------------------------------

    def _judge_leverage(self, under_way: _Pass) -> None:
        for state in under_way.told.states.values():
            for theirs in state.positions:
                held = self._positions().get(theirs.trading_pair)
                if theirs.leverage is None or held is None or self._amount_step(theirs.trading_pair) is None:
                    continue
                if held.leverage is None:
                    # Nobody has told it before, as after the first trade in a market.
                    self._context.account.leverage_changed(
                        theirs.trading_pair, theirs.leverage, theirs.is_cross
                    )
                elif (held.leverage, held.is_cross) != (theirs.leverage, theirs.is_cross):
                    self._on_other_leverage(held, theirs, under_way.asked_at_ms)

    def _on_other_leverage(self, held: Position, theirs: PositionUpdate, at_ms: int) -> None:
        asked_ns = self._leverage_asked_ns.get(theirs.trading_pair)
        patience_ns = (self._context.order_ttl_ms + self._findings.grace_ms) * MS
        if asked_ns is not None and self._context.now_ns() - asked_ns < patience_ns:
            return  # our own request: its answer tells
        ours = copy(held)
        ours.amount = theirs.amount
        for discrepancy in self._compare(ours, theirs, at_ms, at_ms):
            if discrepancy.kind is DiscrepancyKind.LEVERAGE_CHANGED:
                self._findings.record(discrepancy, repair=True)

    # -- comparing -----------------------------------------------------------------------------------------

    def _held(self, sides: _Sides) -> Position:
        """The position as the books had it at the time of the state, with the venue's leverage."""
        pair = sides.theirs.trading_pair
        held = self._positions().get(pair)
        ours = Position(trading_pair=pair) if held is None else copy(held)
        ours.amount = sides.ours
        ours.leverage, ours.is_cross = sides.theirs.leverage, sides.theirs.is_cross
        return ours

    def _compare(
        self, ours: Position, theirs: PositionUpdate, at_ms: int, fills_from_ms: int
    ) -> list[Discrepancy]:
        """One market. The venue's fills since then are booked, so that none is left to explain anything."""
        pair = ours.trading_pair
        step = self._amount_step(pair)
        assert step is not None, "only followed markets are compared"
        books = Books(
            books_begin_ms=self._begin_ms(),
            orders={},
            positions={pair: ours},
            clock_ns=self._context.now_ns(),
        )
        report = VenueReport(
            taken_at_ms=self._context.venue_now_ms,
            fills=(),
            fills_window=Window(fills_from_ms, fills_from_ms, at_ms),
            positions=[theirs] if theirs.amount else [],
            positions_at_ms=at_ms,
            steps={pair: step},
        )
        return self._findings.compare(books, report)


def _signed(fill: Fill) -> Decimal:
    return fill.amount if fill.trade_type is TradeType.BUY else fill.amount.copy_negate()
