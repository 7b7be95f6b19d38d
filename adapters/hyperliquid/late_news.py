"""What only a question brought although the stream should have told it: a discrepancy, found and mended.

While the truth is being established (after a start, after a reconnect) the stream could not tell, and what
questions bring is no discrepancy. The same holds for orders whose fate was open: `resolution` asks about
those because their requests had no answer.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.context import MS, Context
from adapters.hyperliquid.findings import Findings
from adapters.hyperliquid.limits import RequestKind
from adapters.hyperliquid.messages import Item, MessageError, TransferUpdate
from adapters.hyperliquid.queries import Queries
from adapters.hyperliquid.transfer_effects import is_of_others, transfer_of
from domain.discrepancies import Books, Discrepancy, DiscrepancyKind, OrderAnswer, VenueReport, Window
from domain.events import AccountFillBooked, LedgerEvent, OrderAcknowledged, OrderFilled
from domain.in_flight_order import InFlightOrder
from domain.updates import FundingUpdate, OrderUpdate, TradeUpdate, UpdateStatus

__all__ = ["LateNews"]

_ALIVE = (UpdateStatus.OPEN, UpdateStatus.TRIGGERED)


class LateNews:
    """`is_of_our_books` says whether something happened after the books began (venue time); `begin_ms` is
    when they did."""

    def __init__(
        self,
        context: Context,
        queries: Queries,
        findings: Findings,
        *,
        is_of_our_books: Callable[[TradeUpdate | FundingUpdate | TransferUpdate, int], bool],
        begin_ms: Callable[[], int],
    ) -> None:
        self._context = context
        self._queries = queries
        self._findings = findings
        self._is_of_our_books = is_of_our_books
        self._begin_ms = begin_ms
        self._since_ms: int | None = None
        self._expected: dict[str, TradeUpdate | OrderUpdate] = {}
        self._listed: dict[str, None] = {}
        self._asked_alive: dict[str, None] = {}

    def stream_lost(self) -> None:
        """Nothing is told from here on."""
        self._since_ms = None
        self.forget()

    def caught_up(self) -> None:
        """Everything up to now is known, and the stream tells the rest."""
        self._since_ms = self._context.venue_now_ms

    def forget(self) -> None:
        """What was looked up in vain is not waited for any longer."""
        self._expected.clear()
        self._listed.clear()

    def take(self, item: Item) -> bool:
        """Record and apply what a question brought if the stream should have told it; returns whether so."""
        if self._since_ms is None:
            return False
        match item:
            case TradeUpdate():
                return self._take_fill(item)
            case FundingUpdate():
                return self._take_funding(item)
            case TransferUpdate():
                return self._take_transfer(item)
            case OrderUpdate():
                return self._take_order(item)
        return False

    def _is_on_its_way(self, time_ms: int) -> bool:
        return time_ms > self._context.venue_now_ms - self._findings.grace_ms

    def _books(self, *orders: InFlightOrder) -> Books:
        return Books(
            books_begin_ms=self._begin_ms(),
            orders={order.id: order for order in orders},
            clock_ns=self._context.now_ns(),
        )

    def _record(self, found: list[Discrepancy]) -> bool:
        for discrepancy in found:
            self._findings.record(discrepancy, repair=True)
        return bool(found)

    # -- fills ---------------------------------------------------------------------------------------------

    def _take_fill(self, update: TradeUpdate) -> bool:
        context, fill = self._context, update.fill
        if self._is_on_its_way(fill.exchange_time_ms):
            return False
        if context.account.has_fill(fill.fill_key) or context.tracker.was_booked(fill.fill_key):
            return False
        order = context.tracker.find(update.venue_order_key, fill.exchange_order_id)
        is_ours = order is not None and order.was_placed_from_here
        if not is_ours and not self._is_of_our_books(update, fill.exchange_time_ms):
            return False
        if order is None and not update.ownerless:
            # Memory does not know its order, but the ledger may, and hold the fill as well.
            self._expected[fill.fill_key] = update
            return False
        return self._record(self._compare_fill(update, order))

    def _compare_fill(self, update: TradeUpdate, order: InFlightOrder | None) -> list[Discrepancy]:
        books = self._books() if order is None else self._books(order)
        time_ms = update.fill.exchange_time_ms
        report = VenueReport(
            taken_at_ms=self._context.venue_now_ms,
            fills=[update],
            fills_window=Window(time_ms, time_ms, time_ms),
        )
        return self._findings.compare(books, report)

    # -- funding -------------------------------------------------------------------------------------------

    def _take_funding(self, update: FundingUpdate) -> bool:
        time_ms = update.exchange_time_ms
        if self._is_on_its_way(time_ms) or self._context.account.has_funding(update.funding_key):
            return False
        if not self._is_of_our_books(update, time_ms):
            return False
        report = VenueReport(
            taken_at_ms=self._context.venue_now_ms,
            fundings=[update],
            fundings_window=Window(time_ms, time_ms, time_ms),
        )
        return self._record(self._findings.compare(self._books(), report))

    # -- transfers -----------------------------------------------------------------------------------------

    def _take_transfer(self, update: TransferUpdate) -> bool:
        time_ms = update.exchange_time_ms
        if self._is_on_its_way(time_ms) or self._context.account.has_ledger_update(update.update_key):
            return False
        if is_of_others(self._context.account_address, update.detail):
            return False
        if not self._is_of_our_books(update, time_ms):
            return False
        report = VenueReport(
            taken_at_ms=self._context.venue_now_ms,
            transfers=[transfer_of(self._context.account_address, update)],
            transfers_window=Window(time_ms, time_ms, time_ms),
        )
        return self._record(self._findings.compare(self._books(), report))

    # -- orders --------------------------------------------------------------------------------------------

    def _take_order(self, update: OrderUpdate) -> bool:
        order = self._context.tracker.find(update.venue_order_key, update.exchange_order_id)
        if update.status in _ALIVE:
            self._listed_as_open(update, order)
        time_ms = update.exchange_time_ms
        if time_ms is None or self._since_ms is None or time_ms <= self._since_ms:
            return False
        if self._is_on_its_way(time_ms):
            return False
        if order is None:
            if update.status in _ALIVE and update.details is not None:
                self._expected[f"oid:{update.exchange_order_id}"] = update
            return False
        if update.status in _ALIVE or update.exchange_order_id != order.exchange_order_id:
            return False
        if order.is_done:
            return False
        report = VenueReport(
            taken_at_ms=self._context.venue_now_ms, open_orders=(), asked={order.id: OrderAnswer(update)}
        )
        return self._record(self._of_state(self._findings.compare(self._books(order), report)))

    @staticmethod
    def _of_state(found: list[Discrepancy]) -> list[Discrepancy]:
        """Without requests whose fate was open or whose answer is late: `resolution` looks after those."""
        return [each for each in found if each.kind is DiscrepancyKind.STATE_MISMATCH]

    # -- orders that count as ended and are listed as open -------------------------------------------------

    def _listed_as_open(self, update: OrderUpdate, order: InFlightOrder | None) -> None:
        exchange_order_id = update.exchange_order_id or ""
        if order is None:
            self._listed[exchange_order_id] = None
        elif exchange_order_id == order.exchange_order_id:
            self._doubt_the_end(order)

    def looked_up(self, order: InFlightOrder) -> None:
        """The ledger brought an order back into memory."""
        exchange_order_id = order.exchange_order_id
        if exchange_order_id in self._listed:
            del self._listed[exchange_order_id]
            self._doubt_the_end(order)

    def _doubt_the_end(self, order: InFlightOrder) -> None:
        """A list may be old: the venue is asked for the order by its name once the list would be too old."""
        closing = order.closing
        if closing is None or closing.is_inferred or order.is_complete or order.id in self._asked_alive:
            return
        self._asked_alive[order.id] = None
        self._context.set_deadline((self._findings.grace_ms + 1_000) * MS, "alive", order.id)

    def on_deadline(self, order_id: str) -> None:
        """Ask for an order that counts as ended and was listed as open."""
        order = self._context.tracker.get(order_id)
        if order is None or not order.is_done or order.exchange_order_id is None:
            self._asked_alive.pop(order_id, None)
            return
        self._queries.ask(
            info_requests.order_status(self._context.account_address, int(order.exchange_order_id)),
            lambda body: self._on_said_alive(order_id, body),
            kind=RequestKind.PATIENT_INFO,
        )

    def _on_said_alive(self, order_id: str, body: bytes | None) -> None:
        self._asked_alive.pop(order_id, None)
        order = self._context.tracker.get(order_id)
        if body is None or order is None or not order.is_done or self._since_ms is None:
            return
        try:
            update = self._context.messages.read_order_status(body).update
        except MessageError as error:
            self._context.alert("unreadable_answer", f"orderStatus: {error}", order=order_id)
            return
        if not isinstance(update, OrderUpdate) or update.status not in _ALIVE:
            return
        report = VenueReport(taken_at_ms=self._context.venue_now_ms, open_orders=[update])
        self._record(self._of_state(self._findings.compare(self._books(order), report)))

    # -- what had to be looked up --------------------------------------------------------------------------

    def note_booked(self) -> None:
        """At the end of a step: what was looked up and turned out to be news is recorded as found."""
        if not self._expected:
            return
        for change in list(self._context.tracker.changes):
            event = change.event
            match event:
                case OrderFilled() | AccountFillBooked():
                    update = self._expected.pop(event.fill.fill_key, None)
                    if isinstance(update, TradeUpdate):
                        self._note_fill(update, event)
                case OrderAcknowledged():
                    update = self._expected.pop(f"oid:{event.exchange_order_id}", None)
                    order = self._context.tracker.get(event.originator_id)
                    if isinstance(update, OrderUpdate) and order is not None and order.is_external:
                        self._note_order(update, event)

    def _note_fill(self, update: TradeUpdate, event: LedgerEvent) -> None:
        order, fill_key = self._context.tracker.get(event.originator_id), update.fill.fill_key
        if order is not None:
            # As it was before: that is what differed from the venue.
            order = copy(order)
            order.fills = {key: kept for key, kept in (order.fills or {}).items() if key != fill_key}
        for discrepancy in self._compare_fill(update, order):
            self._findings.record_settled(discrepancy, event, "Booked to the order that it belongs to.")

    def _note_order(self, update: OrderUpdate, event: LedgerEvent) -> None:
        report = VenueReport(taken_at_ms=self._context.venue_now_ms, open_orders=[update])
        for discrepancy in self._findings.compare(self._books(), report):
            self._findings.record_settled(discrepancy, event, "Adopted as an order placed elsewhere.")
