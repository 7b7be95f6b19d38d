"""What the venue says about an account, asked once and put together as a `VenueReport` (sheet 5, 11.3).

The lists are asked one after the other while the venue goes on. So the venue's clock is read first, the
account's state before the fills (what came after it can be subtracted), and an order that the list does not
show is asked about by itself, twice where the answer and the list contradict each other (sheet 11.2, stale
reads). A part without an answer is None; one of which a row cannot be read claims no more completeness than
it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Self, TypeVar

import msgspec

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.addresses import lowercase_address
from adapters.hyperliquid.history_pages import History, read_history
from adapters.hyperliquid.info_client import InfoClient, Unanswered
from adapters.hyperliquid.info_requests import FILLS_KEPT, FILLS_PAGE_ROWS, TIME_PAGE_ROWS, InfoRequest
from adapters.hyperliquid.markets_read import MarketsRead, read_markets
from adapters.hyperliquid.messages import (
    AccountState,
    HyperliquidMessages,
    Item,
    Kept,
    MessageError,
    TransferUpdate,
    read_account_mode,
    read_role,
    read_venue_time,
)
from adapters.hyperliquid.resolution import EXPIRY_MARGIN_MS
from adapters.hyperliquid.symbols import SymbolError
from domain.discrepancies import OrderAnswer, Transfer, VenueReport, Window
from domain.in_flight_order import InFlightOrder
from domain.money import MONEY, ZERO
from domain.updates import FundingUpdate, OrderUpdate, TradeUpdate, UpdateStatus

__all__ = ["NotThisAccount", "OrderToAsk", "Progress", "VenueReporter", "VenueUnreachable"]

Progress = Callable[[str, int, int], None]
"""Gets what is being asked for, how many are done, and of how many (0: not known)."""

COLLATERAL = "USDC"
_COLLATERAL_TOKEN = 0
_SEPARATE_MODES = frozenset({"disabled", "default", "dexAbstraction"})
"""Account modes in which the perps' cash is the account's own (sheet 5.6). In the others it is what the
positions happen to use of a balance elsewhere."""

_ALIVE = (UpdateStatus.OPEN, UpdateStatus.TRIGGERED)
_HISTORY_FROM_ORDERS = 60
"""From so many unknown orders on, one answer about the latest ends costs less than asking one by one."""

_T = TypeVar("_T")


class VenueUnreachable(Exception):
    """Without the venue's clock and the names of its markets nothing can be said about an account."""


class NotThisAccount(Exception):
    """The address is not an account whose books can be compared; the text says what it is."""


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
        return cls(
            client_order_id=order.id,
            venue_order_key=None if order.is_external else order.venue_order_key,
            exchange_order_id=order.exchange_order_id,
            expires_at_ms=order.expires_at_ms,
        )

    def names(self) -> Iterable[str]:
        """What rows of the venue may call it."""
        return (name for name in (self.venue_order_key, self.exchange_order_id) if name is not None)

    @property
    def target(self) -> int | str | None:
        """How `orderStatus` asks for it: by exchange id where it has one, since legs may share a cloid."""
        return int(self.exchange_order_id) if self.exchange_order_id is not None else self.venue_order_key


class VenueReporter:
    """Asks about one account. `dexes`: those whose orders and positions count; None: all there are.

    `second_look_seconds` is how long after a contradiction the venue is asked again. `details_max` bounds for
    how many orders placed elsewhere the terms are looked up one by one.
    """

    def __init__(
        self,
        client: InfoClient,
        account: str,
        *,
        dexes: Sequence[str] | None = None,
        on_progress: Progress | None = None,
        second_look_seconds: float = 1.0,
        details_max: int = 1_000,
    ) -> None:
        self._client = client
        self._account = lowercase_address(account)
        self._dexes = dexes
        self._on_progress = on_progress
        self._second_look_seconds = second_look_seconds
        self._details_max = details_max

    async def report(
        self,
        *,
        fills_from_ms: int,
        money_from_ms: int | None = None,
        ask_about: Sequence[OrderToAsk] = (),
        known_orders: Collection[str] = (),
    ) -> VenueReport:
        """Everything since `fills_from_ms` (venue time; funding and transfers since `money_from_ms` where it
        is given), and the present.

        `ask_about`: the orders in the books that are not done. `known_orders`: exchange ids and cloids of all
        orders in the books, so that only others have to be looked up. Raises `VenueUnreachable` and
        `NotThisAccount`; all other failures are in the report.
        """
        asking = _Asking(self._client, self._account, self._on_progress or _silent)
        taken_at_ms = await asking.needed(info_requests.exchange_status(), read_venue_time)
        await asking.check_role()
        try:
            markets = await read_markets(self._client.ask)
        except (Unanswered, SymbolError) as error:
            raise VenueUnreachable(f"The venue does not tell its markets: {error}.") from None
        dexes = tuple(markets.collateral) if self._dexes is None else tuple(self._dexes)
        return await _Report(
            asking,
            markets,
            dexes,
            taken_at_ms,
            ask_about,
            frozenset(known_orders),
            second_look_seconds=self._second_look_seconds,
            details_max=self._details_max,
        ).make(fills_from_ms, fills_from_ms if money_from_ms is None else money_from_ms)


def _silent(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


class _Asking:
    """Questions about one account, and what became of those that failed."""

    def __init__(self, client: InfoClient, account: str, on_progress: Progress) -> None:
        self.client = client
        self.account = account
        self.say = on_progress
        self.failures: list[str] = []

    async def needed(self, request: InfoRequest, read: Callable[[bytes], _T]) -> _T:
        try:
            return read(await self.client.ask(request))
        except (Unanswered, MessageError) as error:
            raise VenueUnreachable(f"The venue does not answer: {error}.") from None

    async def optional(self, request: InfoRequest, read: Callable[[bytes], _T], about: str = "") -> _T | None:
        """What it says; None, and a failure in words, when there is no answer that can be read."""
        try:
            return read(await self.client.ask(request))
        except Unanswered as error:
            self.failures.append(f"{error}{about}")
        except (MessageError, ValueError) as error:
            self.failures.append(f"{request.body['type']} cannot be read{about}: {error}")
        return None

    async def check_role(self) -> None:
        """An address that trades for others has no orders and no fills of its own, and one that the venue
        never saw has none either: their empty lists say nothing about the books. Raises `NotThisAccount`."""
        role = await self.optional(info_requests.user_role(self.account), read_role)
        if role is None:
            return
        name, master = role
        if name == "agent":
            raise NotThisAccount(
                f"{self.account} is an API wallet that trades for {master}: ask about {master} instead."
            )
        if name == "missing":
            raise NotThisAccount(f"The venue does not know the account {self.account} on this network.")


class _Report:
    """One report in the making."""

    def __init__(
        self,
        asking: _Asking,
        markets: MarketsRead,
        dexes: tuple[str, ...],
        taken_at_ms: int,
        ask_about: Sequence[OrderToAsk],
        known_orders: frozenset[str],
        *,
        second_look_seconds: float,
        details_max: int,
    ) -> None:
        self._asking = asking
        self._account = asking.account
        self._markets = markets
        self._messages = HyperliquidMessages(markets.symbols, asking.account)
        self._dexes = dexes
        self._taken_at_ms = taken_at_ms
        self._ask_about = ask_about
        self._known = known_orders.union(*(order.names() for order in ask_about))
        self._second_look_seconds = second_look_seconds
        self._details_max = details_max

    async def make(self, fills_from_ms: int, money_from_ms: int) -> VenueReport:
        say = self._asking.say
        say("positions", 0, 0)
        states = await self._states()
        cash = await self._cash(states)
        say("open orders", 0, 0)
        listed, is_complete = await self._open_orders()
        orders = _Listed(listed)
        unlisted = [order for order in self._ask_about if orders.find(order) is None]
        asked = await self._ask_orders(unlisted)
        fills = await self._fills(fills_from_ms)
        fundings = await self._fundings(money_from_ms)
        transfers = await self._transfers(money_from_ms)
        asked = await self._look_again(asked, orders)
        if not is_complete:
            # Any order may be the row that is missing: who is listed counts as asked, who is not as unknown.
            asked |= {
                order.client_order_id: OrderAnswer(update)
                for order in self._ask_about
                if (update := orders.find(order)) is not None
            }
        details = await self._details(fills, orders)
        return VenueReport(
            taken_at_ms=self._taken_at_ms,
            open_orders=orders.updates if is_complete else None,
            asked=asked,
            details=details,
            fills=None if fills is None else fills.rows,
            fills_window=None if fills is None else self._window(fills, fills_from_ms),
            fundings=None if fundings is None else fundings.rows,
            fundings_window=None if fundings is None else self._window(fundings, money_from_ms),
            transfers=None if transfers is None else transfers.rows,
            transfers_window=None if transfers is None else self._window(transfers, money_from_ms),
            positions=None
            if states is None
            else [position for state in states.values() for position in state.positions],
            positions_at_ms=0
            if states is None
            else min(state.exchange_time_ms or self._taken_at_ms for state in states.values()),
            cash=cash,
            cash_token="" if cash is None else COLLATERAL,
            steps=self._markets.steps,
            failures=self._asking.failures,
        )

    def _window(self, history: History[_T], asked_from_ms: int) -> Window:
        until_ms = self._taken_at_ms
        complete = history.complete_from_ms
        return Window(asked_from_ms, until_ms + 1 if complete is None else complete, until_ms)

    # -- the account ---------------------------------------------------------------------------------------

    async def _states(self) -> dict[str, AccountState] | None:
        """The state on every dex, or None: a part of the positions is not the positions."""
        states = {}
        for dex in self._dexes:
            state = await self._asking.optional(
                info_requests.clearinghouse_state(self._account, dex),
                self._messages.read_account_state,
                f" (dex {dex})" if dex else "",
            )
            if state is None:
                return None
            states[dex] = state
        return states

    async def _cash(self, states: Mapping[str, AccountState] | None) -> Decimal | None:
        if states is None:
            return None
        mode = await self._asking.optional(info_requests.user_abstraction(self._account), read_account_mode)
        if mode not in _SEPARATE_MODES:
            return None
        total = ZERO
        for dex, state in states.items():
            if self._markets.collateral.get(dex) == _COLLATERAL_TOKEN:
                if state.cash is None:
                    return None
                total = MONEY.add(total, state.cash)
            elif state.positions or state.account_value:
                return None  # its money is another token
        return total

    # -- orders --------------------------------------------------------------------------------------------

    async def _open_orders(self) -> tuple[list[OrderUpdate], bool]:
        """What the lists of all dexes show, and whether that is all of it."""
        updates: list[OrderUpdate] = []
        is_complete = True
        for dex in self._dexes:
            about = f" (dex {dex})" if dex else ""
            items = await self._asking.optional(
                info_requests.frontend_open_orders(self._account, dex), self._messages.read_open_orders, about
            )
            if items is None:
                is_complete = False
                continue
            for item in items:
                if isinstance(item, OrderUpdate):
                    updates.append(item)
                elif isinstance(item, Kept):
                    is_complete = False
                    self._fail_row(f"an open order{about}", item)
        return updates, is_complete

    def _fail_row(self, what: str, item: Kept) -> None:
        self._asking.failures.append(f"{what} cannot be read ({item.why}): {item.message:.200}")

    async def _ask_orders(self, orders: Sequence[OrderToAsk]) -> dict[str, OrderAnswer]:
        """What `orderStatus` says about each; an order about which it says nothing usable is left out."""
        answers = await self._gather("orders", [self._ask_order(order) for order in orders])
        return {
            order.client_order_id: answer
            for order, answer in zip(orders, answers, strict=True)
            if answer is not None
        }

    async def _gather(self, what: str, questions: Sequence[Awaitable[_T]]) -> list[_T]:
        """All answers, in order; the client bounds how many are asked at a time."""
        done = 0

        async def counted(question: Awaitable[_T]) -> _T:
            nonlocal done
            answer = await question
            done += 1
            self._asking.say(what, done, len(questions))
            return answer

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(counted(question)) for question in questions]
        return [task.result() for task in tasks]

    async def _ask_order(self, order: OrderToAsk) -> OrderAnswer | None:
        target = order.target
        if target is None:
            return None
        about = f" (order {order.client_order_id})"
        asked = await self._asking.optional(
            info_requests.order_status(self._account, target), self._messages.read_order_status, about
        )
        if asked is None:
            return None
        if asked.update is not None and not isinstance(asked.update, OrderUpdate):
            self._asking.failures.append(
                f"orderStatus tells a status this version does not know: {asked.update.status!r:.60}{about}"
            )
            return None
        is_past_expiry = (
            order.expires_at_ms is not None and order.expires_at_ms + EXPIRY_MARGIN_MS < self._taken_at_ms
        )
        return OrderAnswer(asked.update, is_past_expiry)

    async def _look_again(self, asked: dict[str, OrderAnswer], orders: _Listed) -> dict[str, OrderAnswer]:
        """Ask again, a moment later, about orders that are live or unknown by one answer and not by another:
        the answers may come from nodes that lag behind each other."""
        doubtful = [
            order
            for order in self._ask_about
            if (answer := asked.get(order.client_order_id)) is not None
            and (answer.update is None or answer.update.status in _ALIVE)
        ]
        if not doubtful:
            return asked
        await asyncio.sleep(self._second_look_seconds)
        listed, _ = await self._open_orders()
        second = _Listed(listed)
        asked = dict(asked)
        still = []
        for order in doubtful:
            update = second.find(order)
            if update is None:
                still.append(order)
                continue
            del asked[order.client_order_id]
            orders.add(update)
        again = await self._ask_orders(still)
        for order in still:
            answer = again.get(order.client_order_id)
            if answer is None:
                del asked[order.client_order_id]
            else:
                asked[order.client_order_id] = answer
        return asked

    async def _details(self, fills: History[TradeUpdate] | None, orders: _Listed) -> dict[str, OrderUpdate]:
        """Terms and status of the orders that the fills name and nobody here knows."""
        unknown = dict.fromkeys(
            update.fill.exchange_order_id
            for update in (() if fills is None else fills.rows)
            if not update.ownerless
            and update.fill.exchange_order_id not in self._known
            and update.venue_order_key not in self._known
            and update.fill.exchange_order_id not in orders.by_name
        )
        found: dict[str, OrderUpdate] = {}
        if len(unknown) >= _HISTORY_FROM_ORDERS:
            found = await self._from_history(unknown)
        rest = [OrderToAsk(client_order_id=oid, exchange_order_id=oid) for oid in unknown if oid not in found]
        if len(rest) > self._details_max:
            self._asking.failures.append(
                f"the terms of {len(rest) - self._details_max} of {len(unknown)} orders placed elsewhere "
                "were not looked up: they are known by their fills alone"
            )
            rest = rest[-self._details_max :]
        answers = await self._ask_orders(rest)
        found |= {oid: answer.update for oid, answer in answers.items() if answer.update is not None}
        return found

    async def _from_history(self, wanted: Collection[str]) -> dict[str, OrderUpdate]:
        items = await self._asking.optional(
            info_requests.historical_orders(self._account), self._messages.read_historical_orders
        )
        found: dict[str, OrderUpdate] = {}
        for item in items or ():
            if isinstance(item, OrderUpdate) and item.exchange_order_id in wanted:
                assert item.exchange_order_id is not None
                found.setdefault(item.exchange_order_id, item)  # newest first
        return found

    # -- what happened -------------------------------------------------------------------------------------

    async def _read(
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
        async def ask_page(from_ms: int) -> list[Item]:
            return read(await self._asking.client.ask(request(from_ms)))

        try:
            history = await read_history(
                ask_page,
                row_of,
                key_of,
                time_of,
                start_ms=start_ms,
                page_rows=page_rows,
                on_rows=lambda rows: self._asking.say(what, rows, 0),
            )
        except (Unanswered, MessageError) as error:
            self._asking.failures.append(f"{what}: {error}")
            return None
        self._asking.failures += [f"{what}: {defect}" for defect in history.defects]
        return history

    async def _fills(self, start_ms: int) -> History[TradeUpdate] | None:
        history = await self._read(
            "fills",
            lambda from_ms: info_requests.user_fills_by_time(self._account, from_ms),
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
        request = info_requests.user_fills_by_time(self._account, 0, start_ms - 1)
        earlier = await self._asking.optional(request, self._messages.read_fills, " (fills before)")
        return not earlier

    async def _fundings(self, start_ms: int) -> History[FundingUpdate] | None:
        return await self._read(
            "funding",
            lambda from_ms: info_requests.user_funding(self._account, from_ms),
            self._messages.read_fundings,
            lambda item: item if isinstance(item, FundingUpdate) else None,
            lambda update: update.funding_key,
            lambda update: update.exchange_time_ms,
            start_ms,
            TIME_PAGE_ROWS,
        )

    async def _transfers(self, start_ms: int) -> History[Transfer] | None:
        history = await self._read(
            "transfers",
            lambda from_ms: info_requests.user_non_funding_ledger_updates(self._account, from_ms),
            self._messages.read_transfers,
            lambda item: _transfer(item) if isinstance(item, TransferUpdate) else None,
            lambda transfer: transfer.update_key,
            lambda transfer: transfer.exchange_time_ms,
            start_ms,
            TIME_PAGE_ROWS,
        )
        if history is None:
            return None
        foreign = [transfer for transfer in history.rows if self._is_of_others(transfer)]
        if foreign:
            self._asking.failures.append(
                f"transfers: {len(foreign)} rows are about other accounts than {self._account}, so none of "
                f"the list is used: {foreign[0].detail:.200}"
            )
            return None
        return history

    def _is_of_others(self, transfer: Transfer) -> bool:
        """Whether a transfer names who sent and who received it, and this account is neither."""
        delta = msgspec.json.decode(transfer.detail)
        parties = (delta.get("user"), delta.get("destination"))
        return all(isinstance(party, str) and party.lower() != self._account for party in parties)


class _Listed:
    """Open orders as listed, found by exchange id or cloid."""

    def __init__(self, updates: list[OrderUpdate]) -> None:
        self.updates: list[OrderUpdate] = []
        self.by_name: dict[str, OrderUpdate] = {}
        for update in updates:
            self.add(update)

    def add(self, update: OrderUpdate) -> None:
        if update.exchange_order_id in self.by_name:
            return
        self.updates.append(update)
        for name in (update.exchange_order_id, update.venue_order_key):
            if name is not None:
                self.by_name.setdefault(name, update)

    def find(self, order: OrderToAsk) -> OrderUpdate | None:
        return next((self.by_name[name] for name in order.names() if name in self.by_name), None)


def _transfer(update: TransferUpdate) -> Transfer:
    return Transfer(
        update_key=update.update_key,
        kind=update.kind,
        amount=update.amount,
        token=update.token,
        detail=update.detail,
        exchange_time_ms=update.exchange_time_ms,
    )
