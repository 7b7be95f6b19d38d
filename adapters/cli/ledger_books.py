"""What a ledger holds about one account, in the shape a reconciliation compares: `Books`.

The views have the indexes and say which events are meant; the log says what they are. Only positions, and
what fills and funding did to the cash, are taken from the views, which `verify` holds against the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import msgspec

from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.ledger_source import LedgerEventSource
from adapters.hyperliquid.transfer_effects import collateral_effect
from adapters.storage.ledger import OrderLedger
from adapters.storage.sqlite import SQLiteLedgerRecorder
from domain.account import Account, account_id
from domain.cash import Cash
from domain.discrepancies import BookedFill, Books, Transfer, VenueReport, Window
from domain.enums import TradeType
from domain.events import (
    AccountBalanceAsserted,
    AccountDiscrepancyFound,
    AccountDiscrepancyRepaired,
    AccountDiscrepancyWaived,
    AccountEvent,
    AccountFillBooked,
    AccountFillCorrected,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    AccountOpened,
    Fill,
    LedgerEvent,
    OrderFillCorrected,
    OrderFilled,
)
from domain.in_flight_order import InFlightOrder
from domain.money import MONEY, ZERO
from domain.position import Position
from domain.updates import FundingUpdate
from projections.position_fold import position_from_row
from projections.tables import POSITIONS
from projections.views_file import connect_for_reading, translated

__all__ = ["AccountBooks", "OpenDiscrepancy", "opened_accounts"]

_AT_A_TIME = 500
"""So many keys go into one statement; SQLite takes more, and gains nothing from it."""

_Event = TypeVar("_Event", bound=AccountEvent)


class OpenDiscrepancy(msgspec.Struct, frozen=True):
    """A discrepancy that was found and not repaired since. `waived`: it is left as it is on purpose."""

    found: AccountDiscrepancyFound
    waived: AccountDiscrepancyWaived | None = None


class AccountBooks:
    """The books of one account as they stand in its ledger, from one moment.

    `views` must stand at the ledger's end, or what they lack is not seen. Close it after use.
    """

    def __init__(self, ledger: OrderLedger, views: Path, *, venue: str, account: str) -> None:
        """Raises the errors of `projections.errors` for views that cannot be read."""
        self.venue = venue
        self.account = account
        self.id = account_id(venue, account)
        self.cash_unknown_because = ""
        """Why `Books.cash` is None although an opening balance is known."""
        self._ledger = ledger
        self._source = LedgerEventSource(ledger)
        self._path = views
        self._views = connect_for_reading(views)
        with translated(views):
            self._views.execute("BEGIN")
            (self.position,) = self._views.execute("SELECT position FROM progress").fetchone()

    def close(self) -> None:
        self._views.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the account ---------------------------------------------------------------------------------------

    def opening(self) -> AccountOpened | None:
        """With what the books of the account began; None when they never did."""
        return next(self._account_events(AccountOpened), None)

    def books_begin_ms(self) -> int:
        """The venue time at which the books begin. Raises `CommandError` when they never were opened."""
        opening = self.opening()
        if opening is None:
            raise CommandError(
                f"The ledger has not opened the books of {self.account}, so there is nothing to compare.",
                ExitCode.NOT_FOUND,
            )
        return opening.exchange_time_ms or 0

    def open_discrepancies(self) -> dict[str, OpenDiscrepancy]:
        """By id, what was found and not repaired since, oldest first."""
        standing: dict[str, OpenDiscrepancy] = {}
        for event in self._account_events(
            AccountDiscrepancyFound, AccountDiscrepancyRepaired, AccountDiscrepancyWaived
        ):
            if isinstance(event, AccountDiscrepancyFound):
                standing[event.discrepancy_id] = OpenDiscrepancy(event)
            elif isinstance(event, AccountDiscrepancyRepaired):
                standing.pop(event.discrepancy_id, None)
            elif isinstance(event, AccountDiscrepancyWaived) and event.discrepancy_id in standing:
                found = standing[event.discrepancy_id].found
                standing[event.discrepancy_id] = OpenDiscrepancy(found, event)
        return standing

    def restore(self, account: Account, books: Books) -> None:
        """Bring an `Account` to where this ledger's stands, as far as repairs of `books` need it.

        Its keys are those that count now: an execution that was taken back can be booked again.
        """
        latest = self._ledger.recorder.select_events(self.id, desc=True, limit=1)
        account.restore(
            latest[0].originator_version if latest else 0,
            [funding.funding_key for funding in books.fundings],
            [booked.fill.fill_key for booked in books.fills if booked.client_order_id is None],
            is_open=self.opening() is not None,
            ledger_update_keys=[transfer.update_key for transfer in books.transfers],
            unsettled_discrepancies=self.open_discrepancies(),
        )

    def booked_transfers(self) -> list[AccountLedgerUpdateBooked]:
        """Every movement of money without a trade that is booked, in log order."""
        return list(self._account_events(AccountLedgerUpdateBooked))

    # -- orders --------------------------------------------------------------------------------------------

    def unfinished_orders(self) -> dict[str, InFlightOrder]:
        """Every order that is not done, and those that the venue calls filled while fills are missing."""
        return {order.id: order for order, _ in self._orders(self._unfinished_ids())}

    def known_names(self) -> set[str]:
        """Every name that the venue may call an order of this account by."""
        rows = self._select(
            "SELECT client_order_id FROM orders WHERE venue = ?1 AND account = ?2 UNION "
            "SELECT key FROM order_keys JOIN orders USING (client_order_id) WHERE venue = ?1 AND account = ?2"
        )
        return {name for (name,) in rows}

    def order_events(self, client_order_ids: Iterable[str]) -> dict[str, Sequence[LedgerEvent]]:
        """The events of these orders, first to last, by client order id."""
        found: dict[str, Sequence[LedgerEvent]] = {}
        for ids in _chunks(client_order_ids):
            for client_order_id, history in self._source.events_until(ids, self.position).items():
                found[client_order_id] = [event for _, event in history]
        return found

    # -- the books -----------------------------------------------------------------------------------------

    def read(self, report: VenueReport) -> Books:
        """Everything that can be compared with this report.

        Raises `CommandError` when the account was never opened, or when an order does not fold.
        """
        begin_ms = self.books_begin_ms()
        orders: dict[str, InFlightOrder] = {}
        fills: list[BookedFill] = []
        window = report.fills_window if report.fills is not None else None
        named = {update.fill.fill_key for update in report.fills or ()}

        def take(ids: Iterable[str]) -> None:
            for order, events in self._orders(ids):
                orders[order.id] = order
                fills.extend(BookedFill(fill, order.id) for fill in _fills_of(events))

        take(self._ids_about(report, window))
        # A fill may be booked to another order than the one the venue names.
        elsewhere = named.difference(booked.fill.fill_key for booked in fills)
        take(order for order in self._ids_with_fills(elsewhere) if order not in orders)
        fills += (BookedFill(fill, None) for fill in self._fills_without_order())
        cash = self.cash()
        return Books(
            books_begin_ms=begin_ms,
            orders=orders,
            fills=[
                booked
                for booked in fills
                if booked.fill.fill_key in named or _is_in(window, booked.fill.exchange_time_ms)
            ],
            fundings=self._fundings(report) if report.fundings is not None else (),
            transfers=self._transfers(report) if report.transfers is not None else (),
            positions=self._positions(),
            cash=None if cash is None else cash.total(report.steps.__contains__),
            cash_summands=0 if cash is None else cash.summands,
        )

    def _orders(self, ids: Iterable[str]) -> Iterator[tuple[InFlightOrder, Sequence[LedgerEvent]]]:
        for client_order_id, events in self.order_events(ids).items():
            try:
                order = InFlightOrder.fold(events)
            except Exception as error:
                raise CommandError(
                    f"The events of order {client_order_id!r} do not fold: {error} `orderledger verify` says "
                    "what is wrong with the ledger.",
                    ExitCode.LEDGER_DAMAGED,
                ) from error
            if (order.created.venue, order.created.account) == (self.venue, self.account):
                yield order, events

    def _unfinished_ids(self) -> list[str]:
        return [
            row[0]
            for row in self._select(
                "SELECT client_order_id FROM orders WHERE venue = ? AND account = ? AND "
                "(done = 0 OR (state = 'filled' AND missing_fill_amount <> '0')) ORDER BY created_position"
            )
        ]

    def _ids_about(self, report: VenueReport, window: Window | None) -> dict[str, None]:
        """The orders that are not done and those that the report says anything about, each once."""
        named = _keys_of(report)
        ids = dict.fromkeys(self._unfinished_ids())
        for statement, keys in (
            ("SELECT client_order_id FROM orders WHERE client_order_id IN ", [*named, *report.asked]),
            ("SELECT client_order_id FROM order_keys WHERE key IN ", list(named)),
        ):
            ids |= dict.fromkeys(row[0] for row in self._select_each(statement, keys))
        if window is not None:
            ids |= dict.fromkeys(
                row[0]
                for row in self._select(
                    "SELECT DISTINCT client_order_id FROM fills WHERE venue = ? AND account = ? "
                    "AND client_order_id IS NOT NULL AND exchange_time_ms >= ?",
                    window.asked_from_ms,
                )
            )
        return ids

    def _ids_with_fills(self, fill_keys: Iterable[str]) -> dict[str, None]:
        statement = "SELECT client_order_id FROM fills WHERE client_order_id IS NOT NULL AND fill_key IN "
        return dict.fromkeys(row[0] for row in self._select_each(statement, fill_keys))

    # -- what belongs to the account -----------------------------------------------------------------------

    def _fills_without_order(self) -> Iterable[Fill]:
        return _fills_of(self._account_events(AccountFillBooked, AccountFillCorrected))

    def _fundings(self, report: VenueReport) -> list[FundingUpdate]:
        window = report.fundings_window
        named = {update.funding_key for update in report.fundings or ()}
        rows = list(self._select_each("SELECT position FROM funding WHERE funding_key IN ", named))
        if window is not None:
            rows += self._select(
                "SELECT position FROM funding WHERE venue = ? AND account = ? AND exchange_time_ms >= ?",
                window.asked_from_ms,
            )
        events = self._events_at(sorted({position for (position,) in rows}))
        return [
            FundingUpdate.of_booked(event)
            for _, event in events
            if isinstance(event, AccountFundingBooked) and event.originator_id == self.id
        ]

    def _transfers(self, report: VenueReport) -> list[Transfer]:
        named = {transfer.update_key for transfer in report.transfers or ()}
        return [
            Transfer(
                update_key=event.update_key,
                kind=event.kind,
                amount=event.amount,
                token=event.token,
                detail=event.detail,
                exchange_time_ms=event.exchange_time_ms or 0,
                cash_effect=collateral_effect(self.account, event.detail),
            )
            for event in self.booked_transfers()
            if event.update_key in named or _is_in(report.transfers_window, event.exchange_time_ms or 0)
        ]

    def _positions(self) -> dict[str, Position]:
        rows = self._select(
            f"SELECT {', '.join(POSITIONS.columns)} FROM positions WHERE venue = ? AND account = ?"
        )
        positions = (position_from_row(row) for row in rows)
        return {position.trading_pair: position for position in positions}

    # -- cash ----------------------------------------------------------------------------------------------

    def cash(self) -> Cash | None:
        """What the log comes to: the opening balance, or the last one that was put right, and everything
        since (in log order). None where it does not say, and `cash_unknown_because` why."""
        asserted = [
            (position, event)
            for position, event in self._positioned(AccountBalanceAsserted)
            if event.opening or event.adjustment
        ]
        if not asserted:
            return None
        since, start = asserted[-1]
        cash = Cash(token=start.token, paid=start.amount)
        if not self._add_transfers(cash, since):
            return None
        self._add_fundings(cash, since)
        self._add_fills(cash, since)
        return cash

    def _add_fills(self, cash: Cash, since: int) -> None:
        """What was booked since a position, less what was taken back since."""
        # A session starts only after this: it has to be quick over all fills there ever were.
        fma, add, subtract, buy = MONEY.fma, MONEY.add, MONEY.subtract, TradeType.BUY.value
        spent: dict[str, Decimal] = {}
        for column, taken_back in (("position", False), ("corrected_position", True)):
            rows = self._select(
                "SELECT trading_pair, trade_type, price, amount, fee, fee_token FROM fill_bookings "
                f"WHERE venue = ? AND account = ? AND {column} > ?",
                since,
            )
            of_fee = subtract if taken_back else add
            for pair, side, price, amount, fee, fee_token in rows:
                value = Decimal(price)
                if (side == buy) is taken_back:
                    value = value.copy_negate()
                total = fma(value, Decimal(amount), spent.get(pair, ZERO))
                if fee_token == cash.token:
                    total = of_fee(total, Decimal(fee))
                spent[pair] = total
            cash.summands += len(rows)
        cash.markets = {pair: total.copy_negate() for pair, total in spent.items()}

    def _add_fundings(self, cash: Cash, since: int) -> None:
        for (amount,) in self._select(
            "SELECT amount FROM funding WHERE venue = ? AND account = ? AND position > ? AND token = ?",
            since,
            cash.token,
        ):
            cash.pay(Decimal(amount))

    def _add_transfers(self, cash: Cash, since: int) -> bool:
        for position, event in self._positioned(AccountLedgerUpdateBooked):
            if position > since:
                effect = collateral_effect(self.account, event.detail)
                if effect is None:
                    self.cash_unknown_because = (
                        f"it is not known what the transfer {event.update_key!r:.60} did to the collateral"
                    )
                    return False
                cash.pay(effect)
        return True

    # -- reading -------------------------------------------------------------------------------------------

    def _account_events(self, *kinds: type[_Event]) -> Iterator[_Event]:
        return (event for _, event in self._positioned(*kinds))

    def _positioned(self, *kinds: type[_Event]) -> Iterator[tuple[int, _Event]]:
        """The account's events of these kinds with their positions, first to last."""
        with translated(self._path):
            rows = self._views.execute(
                f"SELECT position FROM account_events WHERE topic IN ({', '.join('?' * len(kinds))}) "
                "AND originator_id = ? ORDER BY position",
                (*(kind.topic for kind in kinds), self.id),
            ).fetchall()
        for position, event in self._events_at([row[0] for row in rows]):
            yield position, cast(_Event, event)

    def _events_at(self, positions: Sequence[int]) -> list[tuple[int, LedgerEvent]]:
        recorder = self._ledger.recorder
        assert isinstance(recorder, SQLiteLedgerRecorder), "a ledger with views is a file"
        rows: list[Any] = []
        with recorder.file.reading() as connection:
            for some in _chunks(positions):
                rows += connection.execute(
                    "SELECT position, originator_id, originator_version, topic, state FROM stored_events "
                    f"WHERE position IN ({', '.join('?' * len(some))}) ORDER BY position",
                    some,
                )
        return self._ledger.mapper.to_events(rows, None)

    def _select(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows of this account; the statement's first two parameters are venue and account."""
        with translated(self._path):
            return self._views.execute(statement, (self.venue, self.account, *parameters)).fetchall()

    def _select_each(self, statement: str, keys: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        """Rows for any number of keys, of any account; the statement ends in front of the list of them."""
        for some in _chunks(keys):
            with translated(self._path):
                yield from self._views.execute(f"{statement}({', '.join('?' * len(some))})", some).fetchall()


def opened_accounts(ledger: OrderLedger, views: Path) -> list[AccountOpened]:
    """With what the books of each account in a ledger began, in log order."""
    connection = connect_for_reading(views)
    try:
        with translated(views):
            rows = connection.execute(
                "SELECT venue, account FROM account_events WHERE topic = ? ORDER BY position",
                (AccountOpened.topic,),
            ).fetchall()
    finally:
        connection.close()
    opened = []
    for venue, account in rows:
        with AccountBooks(ledger, views, venue=venue, account=account) as books:
            event = books.opening()
            assert event is not None, "its row is there"
            opened.append(event)
    return opened


def _keys_of(report: VenueReport) -> dict[str, None]:
    """Every id of an order that the report names."""
    keys: dict[str, None] = {}
    updates = [*(report.open_orders or ()), *report.details.values()]
    updates += [answer.update for answer in report.asked.values() if answer.update is not None]
    for update in updates:
        keys[update.exchange_order_id or ""] = None
        keys[update.venue_order_key or ""] = None
    for trade in report.fills or ():
        keys[trade.fill.exchange_order_id] = None
        keys[trade.venue_order_key or ""] = None
    keys.pop("", None)
    return keys


def _fills_of(events: Iterable[LedgerEvent]) -> Iterable[Fill]:
    """The fills that these events book, as they count after all corrections."""
    fills: dict[str, Fill] = {}
    for event in events:
        if isinstance(event, OrderFilled | AccountFillBooked):
            fills[event.fill.fill_key] = event.fill
        elif isinstance(event, OrderFillCorrected | AccountFillCorrected):
            fills.pop(event.was.fill_key, None)
            if event.now is not None:
                fills[event.now.fill_key] = event.now
    return fills.values()


def _is_in(window: Window | None, time_ms: int) -> bool:
    """Whether a time is in a window or after it: later bookings explain what the venue told before them."""
    return window is not None and window.asked_from_ms <= time_ms


def _chunks(keys: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(keys)
    while some := list(islice(rest, _AT_A_TIME)):
        yield some
