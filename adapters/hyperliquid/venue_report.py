"""What the venue says about an account, asked once and put together as a `VenueReport` (sheet 5, 11.3).

The lists are asked one after the other while the venue goes on. So the venue's clock is read first, the
account's state before the fills (what came after it can be subtracted), and an order that the list does not
show is asked about by itself, twice where the answer and the list contradict each other (sheet 11.2, stale
reads). A part without an answer is None; one of which a row cannot be read claims no more completeness than
it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.account_questions import AccountQuestions, OrderToAsk, Progress
from adapters.hyperliquid.addresses import lowercase_address
from adapters.hyperliquid.history_pages import History
from adapters.hyperliquid.info_client import InfoClient, Unanswered
from adapters.hyperliquid.info_requests import InfoRequest
from adapters.hyperliquid.markets_read import MarketsRead, read_markets
from adapters.hyperliquid.messages import AccountState, MessageError, read_role, read_venue_time
from adapters.hyperliquid.spot_balances import SpotBalance, read_spot_balances
from adapters.hyperliquid.symbols import SymbolError
from domain.discrepancies import OrderAnswer, VenueReport, Window
from domain.enums import TradeType
from domain.money import MONEY, ZERO
from domain.updates import OrderUpdate, PositionUpdate, TradeUpdate, UpdateStatus

__all__ = [
    "AccountHistory",
    "AccountIsTrading",
    "NotThisAccount",
    "OrderToAsk",
    "Progress",
    "VenueReporter",
    "VenueUnreachable",
]

COLLATERAL = "USDC"

_ALIVE = (UpdateStatus.OPEN, UpdateStatus.TRIGGERED)
_HISTORY_FROM_ORDERS = 60
"""From so many unknown orders on, one answer about the latest ends costs less than asking one by one."""

_QUIET_TRIES = 3

_T = TypeVar("_T")


class VenueUnreachable(Exception):
    """Without the venue's clock and the names of its markets nothing can be said about an account."""


class NotThisAccount(Exception):
    """The address is not an account whose books can be compared; the text says what it is."""


class AccountIsTrading(Exception):
    """The account did not keep still while its history was read."""


class AccountHistory(msgspec.Struct, frozen=True, kw_only=True):
    """A report during whose making nothing happened to the account, and what the venue tells of its orders.

    `orders` are the latest 2,000 statuses, oldest first; None when they could not be had. `placed_ms` has
    when each order was placed (venue time), by exchange id. `perps`: the trading pairs that have positions.
    `balances` are those of the spot tokens by name, as `read_spot_balances` has them; None when they could
    not be had.
    """

    report: VenueReport
    orders: Sequence[OrderUpdate] | None
    placed_ms: Mapping[str, int]
    perps: frozenset[str]
    balances: Mapping[str, SpotBalance | None] | None


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
        self._say = on_progress or _silent
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
        money_from_ms = fills_from_ms if money_from_ms is None else money_from_ms
        asking, markets = await self._begin()
        return await self._report(
            asking, markets, fills_from_ms, money_from_ms, ask_about=ask_about, known_orders=known_orders
        )

    async def history(self, since_ms: int) -> AccountHistory:
        """Everything the venue tells of the account since `since_ms`, taken while nothing happened to it.

        Raises what `report` raises, and `AccountIsTrading` when something came in during each of three tries.
        """
        for _ in range(_QUIET_TRIES):
            asking, markets = await self._begin()
            former = await asking.historical_orders()
            # Asked before the fills: whatever comes after it is seen there.
            balances = await self._balances(asking)
            report = await self._report(asking, markets, since_ms, since_ms, former=former or ())
            if _went_on(report):
                continue
            orders = None
            if former is not None and report.open_orders is not None:
                orders = [*reversed(former), *await self._unlisted(asking, report.open_orders, former)]
            return AccountHistory(
                report=report,
                orders=orders,
                placed_ms=asking.placed_ms,
                perps=markets.perps,
                balances=balances,
            )
        raise AccountIsTrading(
            f"{self._account} was trading in each of {_QUIET_TRIES} attempts to read its history. Stop what "
            "trades on it, and try again."
        )

    async def _balances(self, asking: AccountQuestions) -> dict[str, SpotBalance | None] | None:
        """What is held of each spot token."""
        try:
            answer = await self._client.ask(info_requests.spot_clearinghouse_state(self._account))
            return read_spot_balances(answer)
        except (Unanswered, MessageError) as error:
            asking.failures.append(str(error))
            return None

    async def _unlisted(
        self, asking: AccountQuestions, open_orders: Iterable[OrderUpdate], former: Iterable[OrderUpdate]
    ) -> list[OrderUpdate]:
        """What became of orders that live by their latest status and are not listed as open."""
        listed = {update.exchange_order_id for update in open_orders}
        latest: dict[str, OrderUpdate] = {}
        for update in former:
            latest.setdefault(update.exchange_order_id or "", update)
        lost = [oid for oid, update in latest.items() if update.status in _ALIVE and oid not in listed]
        answers = await asking.orders(
            [OrderToAsk(client_order_id=oid, exchange_order_id=oid) for oid in lost]
        )
        return [answer.update for answer in answers.values() if answer.update is not None]

    async def _begin(self) -> tuple[AccountQuestions, MarketsRead]:
        """The venue's clock, whose address this is, and the names of the markets."""
        taken_at_ms = await self._needed(info_requests.exchange_status(), read_venue_time)
        await self._check_role()
        try:
            markets = await read_markets(self._client.ask)
        except (Unanswered, SymbolError) as error:
            raise VenueUnreachable(f"The venue does not tell its markets: {error}.") from None
        dexes = tuple(markets.collateral) if self._dexes is None else self._dexes
        asking = AccountQuestions(
            self._client, self._account, markets, dexes=dexes, taken_at_ms=taken_at_ms, say=self._say
        )
        return asking, markets

    async def _needed(self, request: InfoRequest, read: Callable[[bytes], _T]) -> _T:
        try:
            return read(await self._client.ask(request))
        except (Unanswered, MessageError) as error:
            raise VenueUnreachable(f"The venue does not answer: {error}.") from None

    async def _check_role(self) -> None:
        """An address that trades for others has no orders and no fills of its own, and one that the venue
        never saw has none either: their empty lists say nothing about the books."""
        name, master = await self._needed(info_requests.user_role(self._account), read_role)
        if name == "agent":
            raise NotThisAccount(
                f"{self._account} is an API wallet that trades for {master}: ask about {master} instead."
            )
        if name == "missing":
            raise NotThisAccount(f"The venue does not know the account {self._account} on this network.")

    async def _report(
        self,
        asking: AccountQuestions,
        markets: MarketsRead,
        fills_from_ms: int,
        money_from_ms: int,
        *,
        ask_about: Sequence[OrderToAsk] = (),
        known_orders: Collection[str] = (),
        former: Sequence[OrderUpdate] | None = None,
    ) -> VenueReport:
        states = await asking.states()
        cash = await asking.cash(states)
        listed, is_complete = await asking.open_orders()
        orders = _Listed(listed)
        asked = await asking.orders([order for order in ask_about if orders.find(order) is None])
        fills = await asking.fills(fills_from_ms)
        fundings = await asking.fundings(money_from_ms)
        transfers = await asking.transfers(money_from_ms)
        asked = await self._look_again(asking, ask_about, asked, orders)
        if not is_complete:
            # Any order may be the row that is missing: who is listed counts as asked, who is not as unknown.
            asked |= {
                order.client_order_id: OrderAnswer(update)
                for order in ask_about
                if (update := orders.find(order)) is not None
            }
        known = frozenset(known_orders).union(*(order.names() for order in ask_about))
        details = await self._details(asking, fills, orders, known, former)
        taken_at_ms = asking.taken_at_ms
        account = None if states is None else _at_one_time(states, fills, markets.perps, taken_at_ms)
        if account is None or account.was_moving:
            cash = None
        positions_at_ms = 0 if account is None else account.exchange_time_ms
        # The lists were asked for after the positions, so they reach to the time of these at least.
        until_ms = max(taken_at_ms, positions_at_ms)
        return VenueReport(
            taken_at_ms=taken_at_ms,
            open_orders=orders.updates if is_complete else None,
            asked=asked,
            details=details,
            fills=None if fills is None else fills.rows,
            fills_window=_window(fills, fills_from_ms, until_ms),
            fundings=None if fundings is None else fundings.rows,
            fundings_window=_window(fundings, money_from_ms, until_ms),
            transfers=None if transfers is None else transfers.rows,
            transfers_window=_window(transfers, money_from_ms, until_ms),
            positions=None if account is None else account.positions,
            positions_at_ms=positions_at_ms,
            cash=cash,
            cash_token="" if cash is None else COLLATERAL,
            steps=markets.steps,
            failures=asking.failures,
        )

    async def _look_again(
        self,
        asking: AccountQuestions,
        ask_about: Sequence[OrderToAsk],
        asked: Mapping[str, OrderAnswer],
        orders: _Listed,
    ) -> dict[str, OrderAnswer]:
        """Ask again, a moment later, about orders that are live or unknown by one answer and not by another:
        the answers may come from nodes that lag behind each other."""
        settled = dict(asked)
        doubtful = [
            order
            for order in ask_about
            if (answer := asked.get(order.client_order_id)) is not None
            and (answer.update is None or answer.update.status in _ALIVE)
        ]
        if not doubtful:
            return settled
        await asyncio.sleep(self._second_look_seconds)
        listed, _ = await asking.open_orders()
        second = _Listed(listed)
        unlisted = []
        for order in doubtful:
            del settled[order.client_order_id]
            update = second.find(order)
            if update is None:
                unlisted.append(order)
            else:
                orders.add(update)
        return settled | await asking.orders(unlisted)

    async def _details(
        self,
        asking: AccountQuestions,
        fills: History[TradeUpdate] | None,
        orders: _Listed,
        known: Collection[str],
        former: Sequence[OrderUpdate] | None,
    ) -> dict[str, OrderUpdate]:
        """Terms and status of the orders that the fills name and nobody here knows. `former`: the latest
        statuses, newest first, where they were asked for before."""
        unknown = dict.fromkeys(
            update.fill.exchange_order_id
            for update in (() if fills is None else fills.rows)
            if not update.ownerless
            and update.fill.exchange_order_id not in known
            and update.venue_order_key not in known
            and update.fill.exchange_order_id not in orders.by_name
        )
        if former is None and len(unknown) >= _HISTORY_FROM_ORDERS:
            former = await asking.historical_orders()
        found: dict[str, OrderUpdate] = {}
        for update in former or ():
            if update.exchange_order_id in unknown:
                found.setdefault(update.exchange_order_id or "", update)
        rest = [OrderToAsk(client_order_id=oid, exchange_order_id=oid) for oid in unknown if oid not in found]
        if len(rest) > self._details_max:
            asking.failures.append(
                f"the terms of {len(rest) - self._details_max} of {len(unknown)} orders placed elsewhere "
                "were not looked up: they are known by their fills alone"
            )
            rest = rest[-self._details_max :]
        answers = await asking.orders(rest)
        return found | {oid: answer.update for oid, answer in answers.items() if answer.update is not None}


class _Listed:
    """Open orders as listed, found by exchange id or cloid."""

    def __init__(self, updates: Iterable[OrderUpdate]) -> None:
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


class _Account(msgspec.Struct, frozen=True):
    """Positions on all dexes at one venue time. `was_moving`: fills lie between the states they are from."""

    positions: list[PositionUpdate]
    exchange_time_ms: int
    was_moving: bool


def _at_one_time(
    states: Mapping[str, AccountState],
    fills: History[TradeUpdate] | None,
    perps: Collection[str],
    otherwise_ms: int,
) -> _Account:
    """Each dex tells its state when it is asked, a moment after the one before it: what was executed in
    between is taken back out of the later ones."""
    at_ms = min((state.exchange_time_ms or otherwise_ms for state in states.values()), default=otherwise_ms)
    positions = {position.trading_pair: position for state in states.values() for position in state.positions}
    was_moving = False
    for update in () if fills is None else reversed(fills.rows):
        fill = update.fill
        if fill.exchange_time_ms <= at_ms:
            break
        dex, found, _ = fill.trading_pair.partition(":")
        state = states.get(dex if found else "")
        if state is None or fill.trading_pair not in perps or fill.exchange_time_ms > state.exchange_time_ms:
            continue
        was_moving = True
        later = positions.get(fill.trading_pair)
        amount = ZERO if later is None else later.amount
        amount = (MONEY.subtract if fill.trade_type is TradeType.BUY else MONEY.add)(amount, fill.amount)
        positions[fill.trading_pair] = PositionUpdate(
            trading_pair=fill.trading_pair,
            amount=amount,
            entry_price=None,
            leverage=None if later is None else later.leverage,
            is_cross=later is None or later.is_cross,
        )
    return _Account([position for position in positions.values() if position.amount], at_ms, was_moving)


def _went_on(report: VenueReport) -> bool:
    """Whether anything happened to the account after the report was begun."""
    times = [update.fill.exchange_time_ms for update in report.fills or ()]
    times += [update.exchange_time_ms for update in report.fundings or ()]
    times += [transfer.exchange_time_ms for transfer in report.transfers or ()]
    return any(time_ms > report.taken_at_ms for time_ms in times)


def _silent(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def _window(history: History[_T] | None, asked_from_ms: int, until_ms: int) -> Window | None:
    """Where a list is complete; nowhere when its last row could not be read."""
    if history is None:
        return None
    complete = history.complete_from_ms
    return Window(asked_from_ms, until_ms + 1 if complete is None else complete, until_ms)
