"""Establishing the truth after a start or a reconnect (sheet 7.5), and looking for orders that were missed.

The stream is subscribed first; then open orders, fills, funding and transfers since the last booked time
minus an overlap, the status of every live order the venue did not list, and the account's positions.
Everything is applied through the same door as the stream: booking is once per key, so overlap costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.context import Context
from adapters.hyperliquid.history_search import (
    OVERLAP_MS,
    RETRY_NS,
    FillSearch,
    FundingSearch,
    TransferSearch,
)
from adapters.hyperliquid.live_books import LiveBooks
from adapters.hyperliquid.messages import AccountState, Item, Kept, MessageError
from adapters.hyperliquid.queries import Queries
from domain.enums import Submission
from domain.in_flight_order import InFlightOrder
from domain.updates import OrderUpdate, UpdateStatus

__all__ = ["Recovery"]

HISTORY_FROM_ORDERS = 60
"""When so many orders are missing from the list, one answer about the latest ends costs less weight than
asking about each (sheet 9.1)."""

_ALIVE = (UpdateStatus.OPEN, UpdateStatus.TRIGGERED)


class Recovery:
    """`look_into` gets live orders that the venue did not list; `books` get the state of each dex (those of a
    new ledger after the fills around its time); `transfers` is None in a session that does not follow them;
    `finished` is called when all is known."""

    def __init__(
        self,
        context: Context,
        queries: Queries,
        fills: FillSearch,
        funding: FundingSearch,
        transfers: TransferSearch | None,
        books: LiveBooks,
        look_into: Callable[[InFlightOrder], None],
        finished: Callable[[], None],
    ) -> None:
        self._context = context
        self._queries = queries
        self._fills = fills
        self._funding = funding
        self._transfers = transfers
        self._books = books
        self._look_into = look_into
        self._finished = finished
        self._generation = 0
        self._outstanding: dict[str, None] = {}
        self.states: dict[str, AccountState] = {}
        """What the latest recovery was told of each dex."""

    def start(self) -> None:
        """Begin anew; answers to an earlier beginning no longer count."""
        self._generation += 1
        self._outstanding = dict.fromkeys(
            [f"orders {dex}" for dex in self._context.dexes] + [f"state {dex}" for dex in self._context.dexes]
        )
        self._outstanding["fills"] = None
        self._outstanding["funding"] = None
        if self._transfers is not None:
            self._outstanding["transfers"] = None
        self.states = {}
        for dex in self._context.dexes:
            self._ask_state(self._generation, dex)
        for dex in self._context.dexes:
            self._ask_orders(self._generation, dex)
        if self._books.fills_from_ms:
            self._ask_history()

    def _ask_history(self) -> None:
        generation = self._generation
        self._fills.search(self._from(self._books.fills_from_ms), lambda: self._done(generation, "fills"))
        self._search_money(self._books.funding_from_ms, self._books.transfers_from_ms)

    def _search_money(self, funding_from_ms: int, transfers_from_ms: int) -> None:
        generation = self._generation
        self._funding.search(self._from(funding_from_ms), lambda: self._done(generation, "funding"))
        if self._transfers is not None:
            self._transfers.search(self._from(transfers_from_ms), lambda: self._done(generation, "transfers"))

    def stop(self) -> None:
        """The stream is gone; what is still being asked no longer counts."""
        self._generation += 1
        self._outstanding = {}

    def list_orders(self) -> None:
        """Ask what is open, and look into live orders that the venue does not list."""
        for dex in self._context.dexes:
            self._ask_orders(None, dex)

    def on_deadline(self, key: str) -> None:
        """Ask again for what had no answer."""
        what, _, rest = key.partition(" ")
        generation, _, argument = rest.partition(" ")
        if int(generation) != self._generation:
            return
        if what == "orders":
            self._ask_orders(self._generation, argument)
        else:
            self._ask_state(self._generation, argument)

    def _from(self, last_ms: int) -> int:
        return max(0, last_ms - OVERLAP_MS)

    def _done(self, generation: int | None, what: str) -> None:
        if generation != self._generation or what not in self._outstanding:
            return
        del self._outstanding[what]
        if not self._outstanding:
            self._finished()

    def _retry(self, generation: int | None, what: str, argument: str, error: str) -> None:
        if error:
            self._context.alert("unreadable_answer", f"{what}: {error}")
        if generation == self._generation:
            self._context.set_deadline(RETRY_NS, "recovery", f"{what} {generation} {argument}")

    # -- open orders ---------------------------------------------------------------------------------------

    def _ask_orders(self, generation: int | None, dex: str) -> None:
        asked_at_ns = self._context.now_ns()
        self._queries.ask(
            info_requests.frontend_open_orders(self._context.account_address, dex),
            lambda body: self._on_orders(generation, dex, asked_at_ns, body),
        )

    def _on_orders(self, generation: int | None, dex: str, asked_at_ns: int, body: bytes | None) -> None:
        context = self._context
        if generation is not None and generation != self._generation:
            return
        error = ""
        items: list[Item] | None = None
        if body is not None:
            try:
                items = context.messages.read_open_orders(body)
            except MessageError as problem:
                error = str(problem)
        if items is None:
            self._retry(generation, "orders", dex, error)
            return
        listed: dict[str, None] = {}
        complete = True
        for item in items:
            context.take(item)
            if isinstance(item, OrderUpdate):
                order = context.tracker.find(item.venue_order_key, item.exchange_order_id)
                if order is not None:
                    listed[order.id] = None
            elif isinstance(item, Kept):
                complete = False
        # A row that could not be read may be any order: then no order counts as missing from the list.
        missing = [
            order
            for order in (context.tracker.live_orders() if complete else ())
            if order.submission is not Submission.NONE
            and order.id not in listed
            and order.updated_at_ns <= asked_at_ns
            and self._dex_of(order) == dex
        ]
        if len(missing) < HISTORY_FROM_ORDERS:
            self._look_into_all(missing)
        else:
            self._queries.ask(
                info_requests.historical_orders(context.account_address),
                lambda body: self._on_history(missing, body),
            )
        self._done(generation, f"orders {dex}")

    def _look_into_all(self, orders: Sequence[InFlightOrder]) -> None:
        for order in orders:
            self._look_into(order)

    def _on_history(self, missing: Sequence[InFlightOrder], body: bytes | None) -> None:
        """Take the ends of the missing orders; who is not among them is asked about one by one."""
        context = self._context
        try:
            items = [] if body is None else context.messages.read_historical_orders(body)
        except MessageError as error:
            context.alert("unreadable_answer", f"historicalOrders: {error}")
            items = []
        wanted = dict.fromkeys(order.id for order in missing)
        for item in items:
            if not isinstance(item, OrderUpdate) or item.status in _ALIVE:
                continue
            order = context.tracker.find(item.venue_order_key, item.exchange_order_id)
            if order is not None and order.id in wanted:
                context.take(item)
        self._look_into_all([order for order in missing if not order.is_done])

    @staticmethod
    def _dex_of(order: InFlightOrder) -> str:
        dex, found, _ = order.created.instrument.partition(":")
        return dex if found else ""

    # -- positions ---------------------------------------------------------------------------------------

    def _ask_state(self, generation: int, dex: str) -> None:
        self._queries.ask(
            info_requests.clearinghouse_state(self._context.account_address, dex),
            lambda body: self._on_state(generation, dex, body),
        )

    def _on_state(self, generation: int, dex: str, body: bytes | None) -> None:
        if generation != self._generation:
            return
        try:
            state = None if body is None else self._context.messages.read_account_state(body)
        except (MessageError, ValueError) as error:
            self._retry(generation, "state", dex, str(error))
            return
        if state is None:
            self._retry(generation, "state", dex, "")
            return
        self.states[dex] = state
        if len(self.states) == len(self._context.dexes):
            if self._books.fills_from_ms:
                self._books.take_state(self.states)
            else:
                self._ask_around_opening(generation)
        self._done(generation, f"state {dex}")

    def _ask_around_opening(self, generation: int) -> None:
        """A new ledger begins with the account's state: there is no history before it to ask for, but the
        fills around its time tell which of them it includes."""
        begin_ms = min(state.exchange_time_ms for state in self.states.values())
        begin_ms = begin_ms or self._context.venue_now_ms
        self._fills.search(self._from(begin_ms), lambda: self._open(generation))
        self._search_money(begin_ms, begin_ms)

    def _open(self, generation: int) -> None:
        if generation == self._generation:
            self._books.take_state(self.states)
            self._done(generation, "fills")
