"""Establishing the truth after a start or a reconnect (sheet 7.5), and looking for orders that were missed.

The stream is subscribed first; then open orders, fills and funding since the last booked time minus an
overlap, the status of every live order the venue did not list, and the account's positions. Everything is
applied through the same door as the stream: booking is once per key, so overlap costs nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.context import SECOND, Context
from adapters.hyperliquid.info_requests import FILLS_PAGE_ROWS, TIME_PAGE_ROWS
from adapters.hyperliquid.live_books import LiveBooks
from adapters.hyperliquid.messages import AccountState, Item, Kept, MessageError
from adapters.hyperliquid.queries import Queries
from domain.enums import Submission
from domain.in_flight_order import InFlightOrder
from domain.updates import FundingUpdate, OrderUpdate, TradeUpdate, UpdateStatus

__all__ = ["OVERLAP_MS", "RETRY_NS", "FillSearch", "FundingSearch", "Recovery"]

OVERLAP_MS = 60_000
"""How far before the last booked time fills and funding are asked for again (sheet 7.5)."""

RETRY_NS = 2 * SECOND
UNREADABLE_RETRY_NS = 30 * SECOND
HISTORY_FROM_ORDERS = 60
"""When so many orders are missing from the list, one answer about the latest ends costs less weight than
asking about each (sheet 9.1)."""

_ALIVE = (UpdateStatus.OPEN, UpdateStatus.TRIGGERED)


class HistorySearch(ABC):
    """Takes in everything of one kind that the venue has from a time on, page by page. One search at a time.

    `name` is that of the deadline on which a page without an answer is asked for again.
    """

    name: str
    page_rows: int

    def __init__(self, context: Context, queries: Queries) -> None:
        self._context = context
        self._queries = queries
        self._waiting: list[tuple[int, Callable[[], None]]] = []
        self._running: list[Callable[[], None]] | None = None

    @abstractmethod
    def _request(self, start_ms: int) -> info_requests.InfoRequest:
        """The read of one page."""

    @abstractmethod
    def _read(self, body: bytes) -> Sequence[Item]:
        """The rows of a page. Raises `MessageError`."""

    @abstractmethod
    def _time_ms(self, item: Item) -> int | None:
        """When a row happened; None for one that could not be read."""

    def search(self, start_ms: int, done: Callable[[], None]) -> None:
        """`done` is called once everything since `start_ms` is taken in."""
        self._waiting.append((start_ms, done))
        if self._running is None:
            self._begin()

    def _begin(self) -> None:
        start_ms = min(start for start, _ in self._waiting)
        self._running = [done for _, done in self._waiting]
        self._waiting = []
        self._page(start_ms)

    def _page(self, start_ms: int) -> None:
        self._queries.ask(self._request(start_ms), lambda body: self._on_page(start_ms, body))

    def _on_page(self, start_ms: int, body: bytes | None) -> None:
        context = self._context
        try:
            items = None if body is None else self._read(body)
        except MessageError as error:
            context.alert("unreadable_answer", f"{self._request(start_ms).body['type']}: {error}")
            items = None
        if items is None:
            context.set_deadline(RETRY_NS, self.name, str(start_ms))
            return
        for item in items:
            context.take(item)
        if len(items) >= self.page_rows:
            times = [time_ms for item in items if (time_ms := self._time_ms(item)) is not None]
            if not times:
                question = self._request(start_ms).body["type"]
                context.alert("unreadable_answer", f"{question}: none of {len(items)} rows could be read")
                # Nothing tells where the next page begins.
                context.set_deadline(UNREADABLE_RETRY_NS, self.name, str(start_ms))
                return
            last = max(times)
            self._page(last if last > start_ms else start_ms + 1)
            return
        finished, self._running = self._running, None
        for done in finished or ():
            done()
        if self._waiting and self._running is None:
            self._begin()

    def on_deadline(self, key: str) -> None:
        """Ask for the page again that had no answer."""
        if self._running is not None:
            self._page(int(key))


class FillSearch(HistorySearch):
    """Every fill."""

    name = "fills"
    page_rows = FILLS_PAGE_ROWS

    def _request(self, start_ms: int) -> info_requests.InfoRequest:
        return info_requests.user_fills_by_time(self._context.account_address, start_ms)

    def _read(self, body: bytes) -> Sequence[Item]:
        return self._context.messages.read_fills(body)

    def _time_ms(self, item: Item) -> int | None:
        return item.fill.exchange_time_ms if isinstance(item, TradeUpdate) else None


class FundingSearch(HistorySearch):
    """Every funding payment."""

    name = "funding"
    page_rows = TIME_PAGE_ROWS

    def _request(self, start_ms: int) -> info_requests.InfoRequest:
        return info_requests.user_funding(self._context.account_address, start_ms)

    def _read(self, body: bytes) -> Sequence[Item]:
        return self._context.messages.read_fundings(body)

    def _time_ms(self, item: Item) -> int | None:
        return item.exchange_time_ms if isinstance(item, FundingUpdate) else None


class Recovery:
    """`look_into` gets live orders that the venue did not list; `books` get the state of each dex (those of a
    new ledger after the fills around its time); `finished` is called when all is known."""

    def __init__(
        self,
        context: Context,
        queries: Queries,
        fills: FillSearch,
        funding: FundingSearch,
        books: LiveBooks,
        look_into: Callable[[InFlightOrder], None],
        finished: Callable[[], None],
    ) -> None:
        self._context = context
        self._queries = queries
        self._fills = fills
        self._funding = funding
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
        self._search_funding(self._from(self._books.funding_from_ms))

    def _search_funding(self, start_ms: int) -> None:
        generation = self._generation
        self._funding.search(start_ms, lambda: self._done(generation, "funding"))

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
        start_ms = self._from(begin_ms or self._context.venue_now_ms)
        self._fills.search(start_ms, lambda: self._open(generation))
        self._search_funding(start_ms)

    def _open(self, generation: int) -> None:
        if generation == self._generation:
            self._books.take_state(self.states)
            self._done(generation, "fills")
