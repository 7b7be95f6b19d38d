"""Single questions about one account (sheet 5): each answered in the ledger's words, or not at all.

What has no answer that can be used is None (or left out), and said in words in `failures`: a failed query is
never an empty answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Self, TypeVar

import msgspec

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.account_modes import SEPARATE_MODES
from adapters.hyperliquid.history_pages import History, HistoryPages
from adapters.hyperliquid.info_client import InfoClient, Unanswered
from adapters.hyperliquid.info_requests import FILLS_KEPT, FILLS_PAGE_ROWS, TIME_PAGE_ROWS, InfoRequest
from adapters.hyperliquid.markets_read import MarketsRead
from adapters.hyperliquid.messages import (
    AccountState,
    HyperliquidMessages,
    Item,
    Kept,
    MessageError,
    TransferUpdate,
    UnknownStatus,
    read_account_mode,
)
from adapters.hyperliquid.resolution import EXPIRY_MARGIN_MS
from adapters.hyperliquid.transfer_effects import is_of_others, transfer_of
from domain.discrepancies import OrderAnswer, Transfer
from domain.in_flight_order import InFlightOrder
from domain.money import MONEY, ZERO
from domain.updates import FundingUpdate, OrderUpdate, TradeUpdate

__all__ = ["AccountQuestions", "OrderToAsk", "Progress"]

Progress = Callable[[str, int, int], None]
"""Gets what is being asked for, how many are done, and of how many (0: not known)."""

_COLLATERAL_TOKEN = 0
_T = TypeVar("_T")


class OrderToAsk(msgspec.Struct, frozen=True, kw_only=True):
    """An order of ours that the venue is asked about when it does not list it.

    `expires_at_ms` (venue time): after it its request can no longer take effect; None: that has no end.
    """

    client_order_id: str
    venue_order_key: str | None = None
    exchange_order_id: str | None = None
    expires_at_ms: int | None = None

    @classmethod
    def of(cls, order: InFlightOrder) -> Self:
        """One that may have been amended is asked for by its client id: which exchange id it has is not
        known."""
        key = None if order.is_external else order.venue_order_key
        is_leg_known = key is None or not order.is_amending
        return cls(
            client_order_id=order.id,
            venue_order_key=key,
            exchange_order_id=order.exchange_order_id if is_leg_known else None,
            expires_at_ms=order.expires_at_ms,
        )

    def names(self) -> Iterable[str]:
        """What rows of the venue may call it."""
        return (name for name in (self.venue_order_key, self.exchange_order_id) if name is not None)

    def is_another(self, update: OrderUpdate) -> bool:
        """Whether an answer names another client id than that of this order."""
        return self.venue_order_key is not None and update.venue_order_key not in (None, self.venue_order_key)

    @property
    def target(self) -> int | str | None:
        """How `orderStatus` asks for it: by exchange id where it has one, since legs may share a cloid."""
        return int(self.exchange_order_id) if self.exchange_order_id is not None else self.venue_order_key


class AccountQuestions:
    """Asks, reads, and remembers what failed.

    `taken_at_ms` is the venue's clock before any of these questions. `placed_ms` has, by exchange id, when
    each order was placed that any answer was about.
    """

    def __init__(
        self,
        client: InfoClient,
        account: str,
        markets: MarketsRead,
        *,
        dexes: Sequence[str],
        taken_at_ms: int,
        say: Progress,
    ) -> None:
        self.account = account
        self.taken_at_ms = taken_at_ms
        self.failures: list[str] = []
        self.placed_ms: dict[str, int] = {}
        self._client = client
        self._markets = markets
        self._dexes = dexes
        self._messages = HyperliquidMessages(markets.symbols, account)
        self._say = say

    async def _ask(self, request: InfoRequest, read: Callable[[bytes], _T], about: str = "") -> _T | None:
        try:
            return read(await self._client.ask(request))
        except Unanswered as error:
            self.failures.append(f"{error}{about}")
        except (MessageError, ValueError) as error:
            self.failures.append(f"{request.body['type']} cannot be read{about}: {error}")
        return None

    # -- the account ---------------------------------------------------------------------------------------

    async def states(self) -> dict[str, AccountState] | None:
        """The state on every dex, or None: a part of the positions is not the positions."""
        self._say("positions", 0, 0)
        states = {}
        for dex in self._dexes:
            request = info_requests.clearinghouse_state(self.account, dex)
            state = await self._ask(request, self._messages.read_account_state, _on(dex))
            if state is None:
                return None
            states[dex] = state
        return states

    async def cash(self, states: Mapping[str, AccountState] | None) -> Decimal | None:
        """The collateral in the perps' own wallets; None where it lies elsewhere or is several tokens."""
        if states is None:
            return None
        mode = await self._ask(info_requests.user_abstraction(self.account), read_account_mode)
        if mode not in SEPARATE_MODES:
            return None
        total = ZERO
        for dex, state in states.items():
            if self._markets.collateral.get(dex) == _COLLATERAL_TOKEN:
                if state.cash is None:
                    return None
                total = MONEY.add(total, state.cash)
            elif state.positions or state.account_value:
                return None
        return total

    # -- orders --------------------------------------------------------------------------------------------

    async def open_orders(self) -> tuple[list[OrderUpdate], bool]:
        """What the lists of all dexes show, and whether that is all of it."""
        self._say("open orders", 0, 0)
        updates: list[OrderUpdate] = []
        is_complete = True
        for dex in self._dexes:
            request = info_requests.frontend_open_orders(self.account, dex)
            items = await self._ask(request, self._placed(self._messages.read_open_orders), _on(dex))
            found, is_whole = self._orders_among(items, f"an open order{_on(dex)}")
            updates += found
            is_complete = is_complete and is_whole
        return updates, is_complete

    async def historical_orders(self) -> list[OrderUpdate] | None:
        """The latest statuses of the account's orders, newest first, as far as they can be read."""
        request = info_requests.historical_orders(self.account)
        items = await self._ask(request, self._placed(self._messages.read_historical_orders))
        return None if items is None else self._orders_among(items, "a former order")[0]

    def _orders_among(self, items: Sequence[Item] | None, what: str) -> tuple[list[OrderUpdate], bool]:
        unreadable = [item for item in items or () if isinstance(item, Kept)]
        self.failures += [
            f"{what} has a status this version does not know: {item.status!r:.60} "
            f"(exchange id {item.exchange_order_id})"
            for item in items or ()
            if isinstance(item, UnknownStatus)
        ]
        self.failures += [f"{what} cannot be read ({row.why}): {row.message:.200}" for row in unreadable]
        updates = [item for item in items or () if isinstance(item, OrderUpdate)]
        return updates, items is not None and not unreadable

    async def orders(self, orders: Sequence[OrderToAsk]) -> dict[str, OrderAnswer]:
        """What `orderStatus` says about each, by client order id; one about which it says nothing usable is
        left out."""
        answers = await self._gather("orders", [self._order(order) for order in orders])
        return {
            order.client_order_id: answer
            for order, answer in zip(orders, answers, strict=True)
            if answer is not None
        }

    async def _order(self, order: OrderToAsk) -> OrderAnswer | None:
        target = order.target
        if target is None:
            return None
        about = f" (order {order.client_order_id})"
        request = info_requests.order_status(self.account, target)
        asked = await self._ask(request, self._placed(self._messages.read_order_status), about)
        if asked is None:
            return None
        if asked.update is not None and not isinstance(asked.update, OrderUpdate):
            self.failures.append(
                f"orderStatus tells a status this version does not know: {asked.update.status!r:.60}{about}"
            )
            return None
        if (
            asked.update is not None
            and order.exchange_order_id is not None
            and order.is_another(asked.update)
        ):
            # Ids begin anew when a venue does: this says nothing about the order, its client id does.
            return await self._order(msgspec.structs.replace(order, exchange_order_id=None))
        is_past_expiry = (
            order.expires_at_ms is not None and order.expires_at_ms + EXPIRY_MARGIN_MS < self.taken_at_ms
        )
        return OrderAnswer(asked.update, is_past_expiry)

    async def _gather(self, what: str, questions: Sequence[Awaitable[_T]]) -> list[_T]:
        """All answers, in order; the client bounds how many are asked at a time."""
        done = 0

        async def counted(question: Awaitable[_T]) -> _T:
            nonlocal done
            answer = await question
            done += 1
            self._say(what, done, len(questions))
            return answer

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(counted(question)) for question in questions]
        return [task.result() for task in tasks]

    def _placed(self, read: Callable[[bytes], _T]) -> Callable[[bytes], _T]:
        """Read an answer about orders, and keep when they were placed."""

        def both(body: bytes) -> _T:
            said = read(body)
            self.placed_ms.update(_placed_times(body))
            return said

        return both

    # -- what happened -------------------------------------------------------------------------------------

    async def fills(self, start_ms: int) -> History[TradeUpdate] | None:
        """Every fill since `start_ms`, as far as the venue still tells them."""
        history = await self._history(
            "fills",
            lambda from_ms: info_requests.user_fills_by_time(self.account, from_ms),
            self._messages.read_fills,
            lambda item: item if isinstance(item, TradeUpdate) else None,
            lambda update: update.fill.fill_key,
            lambda update: update.fill.exchange_time_ms,
            start_ms,
            FILLS_PAGE_ROWS,
        )
        if history is None or not history.rows or history.complete_from_ms is None:
            return history
        if len(history.rows) >= FILLS_KEPT or await self._began_before(history.rows, start_ms):
            # What shares the millisecond of the earliest may be among those no longer told.
            earliest_ms = history.rows[0].fill.exchange_time_ms
            history.complete_from_ms = max(history.complete_from_ms, earliest_ms + 1)
        return history

    async def _began_before(self, rows: Sequence[TradeUpdate], start_ms: int) -> bool:
        """Whether there were fills before these that the venue no longer tells.

        A perpetual's first fill starts from zero. Where the first that is told does not, there were others;
        if none of them is told any more, nothing says that those since `start_ms` all are.
        """
        firsts: dict[str, TradeUpdate] = {}
        for update in rows:
            firsts.setdefault(update.fill.trading_pair, update)
        perps = self._markets.perps
        if not any(update.fill.start_position and pair in perps for pair, update in firsts.items()):
            return False
        if start_ms == 0:
            return True
        request = info_requests.user_fills_by_time(self.account, 0, start_ms - 1)
        return not await self._ask(request, self._messages.read_fills, " (fills before)")

    async def fundings(self, start_ms: int) -> History[FundingUpdate] | None:
        """Every funding payment since `start_ms`."""
        return await self._history(
            "funding",
            lambda from_ms: info_requests.user_funding(self.account, from_ms),
            self._messages.read_fundings,
            lambda item: item if isinstance(item, FundingUpdate) else None,
            lambda update: update.funding_key,
            lambda update: update.exchange_time_ms,
            start_ms,
            TIME_PAGE_ROWS,
        )

    async def transfers(self, start_ms: int) -> History[Transfer] | None:
        """Every movement of money since `start_ms`; None also when the list is about somebody else."""
        history = await self._history(
            "transfers",
            lambda from_ms: info_requests.user_non_funding_ledger_updates(self.account, from_ms),
            self._messages.read_transfers,
            lambda item: transfer_of(self.account, item) if isinstance(item, TransferUpdate) else None,
            lambda transfer: transfer.update_key,
            lambda transfer: transfer.exchange_time_ms,
            start_ms,
            TIME_PAGE_ROWS,
        )
        if history is None:
            return None
        foreign = [transfer for transfer in history.rows if is_of_others(self.account, transfer.detail)]
        if foreign:
            self.failures.append(
                f"transfers: {len(foreign)} rows are about other accounts than {self.account}, so none of "
                f"the list is used: {foreign[0].detail:.200}"
            )
            return None
        return history

    async def _history(
        self,
        what: str,
        request: Callable[[int], InfoRequest],
        read: Callable[[bytes], list[Item]],
        row_of: Callable[[Item], _T | None],
        key_of: Callable[[_T], str],
        time_of: Callable[[_T], int],
        start_ms: int,
        page_rows: int,
    ) -> History[_T] | None:
        pages = HistoryPages(row_of, key_of, time_of, start_ms=start_ms, page_rows=page_rows)
        try:
            is_more = True
            while is_more:
                is_more = pages.take(read(await self._client.ask(request(pages.from_ms))))
                self._say(what, pages.row_count, 0)
        except (Unanswered, MessageError) as error:
            self.failures.append(f"{what}: {error}")
            return None
        history = pages.history()
        self.failures += [f"{what}: {defect}" for defect in history.defects]
        return history


def _on(dex: str) -> str:
    return f" (dex {dex})" if dex else ""


def _placed_times(body: bytes) -> Iterable[tuple[str, int]]:
    """Exchange id and `timestamp` of every order in an answer: bare rows, or rows with a status around."""
    answer = msgspec.json.decode(body)
    for row in answer if isinstance(answer, list) else [answer]:
        order: Any = row
        while isinstance(order, dict) and "order" in order:
            order = order["order"]
        if isinstance(order, dict):
            oid, placed_ms = order.get("oid"), order.get("timestamp")
            if isinstance(oid, int) and isinstance(placed_ms, int):
                yield str(oid), placed_ms
