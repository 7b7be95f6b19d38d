"""Taking in everything of one kind that the venue tells of an account since a time (sheet 5.5, 5.8)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.context import SECOND, Context
from adapters.hyperliquid.history_pages import History, HistoryPages
from adapters.hyperliquid.info_requests import FILLS_PAGE_ROWS, TIME_PAGE_ROWS
from adapters.hyperliquid.messages import Item, MessageError, TransferUpdate
from adapters.hyperliquid.queries import Queries
from domain.updates import FundingUpdate, TradeUpdate

__all__ = ["OVERLAP_MS", "RETRY_NS", "FillSearch", "FundingSearch", "HistorySearch", "TransferSearch"]

OVERLAP_MS = 60_000
"""How far before the last booked time the past is asked for again (sheet 7.5)."""

RETRY_NS = 2 * SECOND
UNREADABLE_RETRY_NS = 30 * SECOND

_Row = TypeVar("_Row", TradeUpdate, FundingUpdate, TransferUpdate)


class HistorySearch(ABC, Generic[_Row]):
    """Takes it in page by page. One search at a time; those that come meanwhile are made as one.

    `name` is that of the deadline on which a page without an answer is asked for again.
    """

    name: str
    page_rows: int

    def __init__(self, context: Context, queries: Queries) -> None:
        self._context = context
        self._queries = queries
        self._waiting: list[tuple[int, Callable[[History[_Row]], None]]] = []
        self._running: list[Callable[[History[_Row]], None]] | None = None
        self._pages: HistoryPages[_Row] = self._pages_from(0)

    @abstractmethod
    def _request(self, start_ms: int) -> info_requests.InfoRequest:
        """The read of one page."""

    @abstractmethod
    def _read(self, body: bytes) -> Sequence[Item]:
        """The rows of a page. Raises `MessageError`."""

    @abstractmethod
    def _row_of(self, item: Item) -> _Row | None:
        """The row that an item is; None for one that could not be read."""

    @abstractmethod
    def _key_of(self, row: _Row) -> str:
        """What tells a row from all others."""

    @abstractmethod
    def _time_of(self, row: _Row) -> int:
        """When a row happened (venue time)."""

    def search(self, start_ms: int, done: Callable[[], None]) -> None:
        """`done` is called once everything since `start_ms` is taken in."""
        self.read(start_ms, lambda _: done())

    def read(self, start_ms: int, done: Callable[[History[_Row]], None]) -> None:
        """`search`, and `done` gets what the venue told: everything since `start_ms` or even longer ago."""
        self._waiting.append((start_ms, done))
        if self._running is None:
            self._begin()

    def _begin(self) -> None:
        start_ms = min(start for start, _ in self._waiting)
        self._running = [done for _, done in self._waiting]
        self._waiting = []
        self._pages = self._pages_from(start_ms)
        self._ask_page()

    def _pages_from(self, start_ms: int) -> HistoryPages[_Row]:
        return HistoryPages(
            self._row_of, self._key_of, self._time_of, start_ms=start_ms, page_rows=self.page_rows
        )

    def _ask_page(self) -> None:
        self._queries.ask(self._request(self._pages.from_ms), self._on_page)

    def _on_page(self, body: bytes | None) -> None:
        context = self._context
        question = self._request(self._pages.from_ms).body["type"]
        try:
            items = None if body is None else self._read(body)
        except MessageError as error:
            context.alert("unreadable_answer", f"{question}: {error}")
            items = None
        if items is None:
            context.set_deadline(RETRY_NS, self.name)
            return
        for item in items:
            context.take(item)
        if len(items) >= self.page_rows and all(self._row_of(item) is None for item in items):
            context.alert("unreadable_answer", f"{question}: none of {len(items)} rows could be read")
            # Nothing tells where the next page begins.
            context.set_deadline(UNREADABLE_RETRY_NS, self.name)
            return
        if self._pages.take(items):
            self._ask_page()
            return
        told = self._pages.history()
        finished, self._running = self._running, None
        for done in finished or ():
            done(told)
        if self._waiting and self._running is None:
            self._begin()

    def on_deadline(self) -> None:
        """Ask for the page again that had no answer."""
        if self._running is not None:
            self._ask_page()


class FillSearch(HistorySearch[TradeUpdate]):
    """Every fill."""

    name = "fills"
    page_rows = FILLS_PAGE_ROWS

    def _request(self, start_ms: int) -> info_requests.InfoRequest:
        return info_requests.user_fills_by_time(self._context.account_address, start_ms)

    def _read(self, body: bytes) -> Sequence[Item]:
        return self._context.messages.read_fills(body)

    def _row_of(self, item: Item) -> TradeUpdate | None:
        return item if isinstance(item, TradeUpdate) else None

    def _key_of(self, row: TradeUpdate) -> str:
        return row.fill.fill_key

    def _time_of(self, row: TradeUpdate) -> int:
        return row.fill.exchange_time_ms


class FundingSearch(HistorySearch[FundingUpdate]):
    """Every funding payment."""

    name = "funding"
    page_rows = TIME_PAGE_ROWS

    def _request(self, start_ms: int) -> info_requests.InfoRequest:
        return info_requests.user_funding(self._context.account_address, start_ms)

    def _read(self, body: bytes) -> Sequence[Item]:
        return self._context.messages.read_fundings(body)

    def _row_of(self, item: Item) -> FundingUpdate | None:
        return item if isinstance(item, FundingUpdate) else None

    def _key_of(self, row: FundingUpdate) -> str:
        return row.funding_key

    def _time_of(self, row: FundingUpdate) -> int:
        return row.exchange_time_ms


class TransferSearch(HistorySearch[TransferUpdate]):
    """Every movement of money without a trade, funding aside."""

    name = "transfers"
    page_rows = TIME_PAGE_ROWS

    def _request(self, start_ms: int) -> info_requests.InfoRequest:
        return info_requests.user_non_funding_ledger_updates(self._context.account_address, start_ms)

    def _read(self, body: bytes) -> Sequence[Item]:
        return self._context.messages.read_transfers(body)

    def _row_of(self, item: Item) -> TransferUpdate | None:
        return item if isinstance(item, TransferUpdate) else None

    def _key_of(self, row: TransferUpdate) -> str:
        return row.update_key

    def _time_of(self, row: TransferUpdate) -> int:
        return row.exchange_time_ms
