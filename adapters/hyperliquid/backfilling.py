"""From what a venue tells of an account's past to the events of a new ledger (sheet 5.4 to 5.8, 8).

Pure: the same history gives the same events, wherever and whenever it is read. Every event carries the
venue's own time of what it records as the time of its recording, so that a backfilled ledger can be asked
about a moment of the past like one that was kept at the time; `source` says that it was not.

Where the books begin, a position is what the first fill after that moment started from, a market without
fills holds what it holds now, and an order that was placed earlier counts with what it had left.

A spot position is the balance of the token, which transfers move as well: where the next fill starts from
another balance than the one before it led to, the position goes on from what the venue says. A token that is
traded in several markets has one balance for all of them; then none of them can say what it began with.

An order with a client id (cloid) is kept under it, as the order that it is for whoever placed it: an id that
was made here is the cloid itself, any other text leads to it (sheet 13.2). Legs of an amended order share a
cloid; they are one order where one ends in the millisecond in which the next is placed. Of several orders
under one cloid the latest has it, unless an earlier one is still open; the others are known by their exchange
ids, as are all without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple, TypeVar

import msgspec

from adapters.hyperliquid.client_ids import is_cloid
from adapters.hyperliquid.transfer_effects import collateral_effect
from adapters.hyperliquid.venue_report import AccountHistory
from domain.account import Account
from domain.client_order_tracker import ClientOrderTracker, external_order_id
from domain.discrepancies import Transfer
from domain.enums import PositionAction, Source, TimeInForce, TradeType
from domain.events import Fill, LedgerEvent, OrderCreated
from domain.fill_chain import ChainGap, order_fills_by_start_position
from domain.in_flight_order import REST_DROPPED
from domain.moments import moment
from domain.money import MONEY, ZERO, decimal_text
from domain.position import Position
from domain.updates import (
    Change,
    FundingUpdate,
    OrderDetails,
    OrderUpdate,
    PositionUpdate,
    Stamp,
    TradeUpdate,
    UpdateStatus,
)

__all__ = ["Backfill", "BackfilledPosition", "backfill"]

_Update = TypeVar("_Update", OrderUpdate, TradeUpdate)

_ALIVE = (UpdateStatus.OPEN, UpdateStatus.TRIGGERED)
_CAUSATION = "backfill"
_MICRO = Decimal("0.000001")
_MS_NS = 1_000_000


class BackfilledPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A market as the books have it (signed base units): when they begin, at their end, and by the venue's
    account state. `venue` None: the venue tells none (a spot token that is traded in several markets)."""

    trading_pair: str
    opening: Decimal
    amount: Decimal
    venue: Decimal | None


class Backfill(msgspec.Struct, frozen=True, kw_only=True):
    """The events of a new ledger in the order they are to be recorded, and what does not add up.

    `findings` are sentences; empty means that the books end where the venue is. `notes` say what was taken
    over from the venue without knowing its cause, or left open. `opening_cash` is None where the account's
    money cannot be followed.
    """

    events: Sequence[LedgerEvent]
    positions: Sequence[BackfilledPosition]
    orders: int
    open_orders: int
    fills: int
    fundings: int
    transfers: int
    opening_cash: Decimal | None
    findings: Sequence[str]
    notes: Sequence[str]


class _Rank(IntEnum):
    """What comes first of what happened in one millisecond: an order and each of its legs before their
    fills, its end after them, and what takes the place of a leg before the end of that leg."""

    TRANSFER = 0
    ORDER = 1
    TRIGGER = 2
    LEG = 3
    FILL = 4
    END = 5
    FUNDING = 6


class _Happening(NamedTuple):
    """Something that is recorded; they sort by time, and the same history always sorts the same."""

    time_ms: int
    rank: _Rank
    order: tuple[int, str]
    subject: _Beginning | OrderUpdate | TradeUpdate | FundingUpdate | Transfer | PositionUpdate


class _Beginning(msgspec.Struct, frozen=True):
    """An order comes into the books; `cloid` is None where it is known by its exchange id."""

    exchange_order_id: str
    details: OrderDetails
    cloid: str | None = None


def backfill(
    history: AccountHistory, *, venue: str, network: str, account: str, begin_ms: int, signer: str = ""
) -> Backfill:
    """Make the events of the books that begin at `begin_ms` (venue time).

    The history must be complete from the millisecond after it on; what it tells of earlier times is left out.
    """
    return _Backfilling(history, venue, network, account.lower(), begin_ms, signer).make()


class _Leg(NamedTuple):
    """What the books are told about one exchange id: its terms, since when (venue time; `placed_ms` also
    before the books), whether it is listed as open, its triggers, its end. `is_lost`: neither."""

    exchange_order_id: str
    details: OrderDetails
    time_ms: int
    placed_ms: int
    triggers: Sequence[OrderUpdate]
    end: OrderUpdate | None
    is_listed: bool
    is_lost: bool

    @property
    def _left_ms(self) -> int | None:
        """When its place became free: cancelled by an amend, or triggered and told no more."""
        if self.end is not None:
            return self.end.exchange_time_ms if self.end.status is UpdateStatus.CANCELLED else None
        return self.triggers[-1].exchange_time_ms if self.triggers and not self.is_listed else None

    def is_followed_by(self, leg: _Leg) -> bool:
        """Whether another leg under the same client id took the place of this one: an amend cancels and
        places within one block (sheet 4.2), and whether a fired trigger keeps its exchange id is not known
        for sure (4.7). What was refused takes no place."""
        return (
            self._left_ms == leg.placed_ms
            and self.details.trading_pair == leg.details.trading_pair
            and self.details.trade_type is leg.details.trade_type
            and (leg.end is None or leg.end.status is not UpdateStatus.FAILED)
        )


class _Backfilling:
    """One backfill in the making."""

    def __init__(
        self, history: AccountHistory, venue: str, network: str, account: str, begin_ms: int, signer: str
    ) -> None:
        report = history.report
        self._history = history
        self._begin_ms = begin_ms
        self._address = account
        self._network = network
        self._signer = signer
        self._fills = [update for update in report.fills or () if update.fill.exchange_time_ms > begin_ms]
        self._fundings = [update for update in report.fundings or () if update.exchange_time_ms > begin_ms]
        self._transfers = [moved for moved in report.transfers or () if moved.exchange_time_ms > begin_ms]
        self._now = {position.trading_pair: position for position in report.positions or ()}
        self._findings: list[str] = []
        self._notes: list[str] = []
        self._broken: set[str] = set()
        self._told_cloids = _cloids_of(history)
        self._cloids: dict[str, str] = {}
        """By exchange id the client id under which its order is kept; not of those known by the former."""
        markets: dict[str, list[Fill]] = {}
        self._executed: dict[str, list[Fill]] = {}
        for update in self._fills:
            markets.setdefault(update.fill.trading_pair, []).append(update.fill)
            if not update.ownerless:
                self._executed.setdefault(update.fill.exchange_order_id, []).append(update.fill)
        self._shared = self._shared_tokens(markets)
        self._moves: dict[str, list[ChainGap]] = {}
        """Where a spot balance moved and no trade did that."""
        self._chains = {pair: self._chain(pair, fills) for pair, fills in sorted(markets.items())}
        self._positions: dict[str, Position] = {}
        changes: list[Change] = []
        self._tracker = ClientOrderTracker(
            venue=venue, account=account, changes=changes, recent_fills=len(self._fills) + 1
        )
        self._account = Account(venue=venue, address=account, changes=changes)

    def make(self) -> Backfill:
        happenings = sorted(
            [*self._of_orders(), *self._of_fills(), *self._of_money()],
            key=lambda happening: (happening.time_ms, happening.rank, happening.order),
        )
        openings = self._openings()
        opening_cash = self._opening_cash()
        self._stamp(self._begin_ms)
        self._account.open(self._network, self._signer, self._begin_ms)
        for opening in openings:
            self._account.assert_position(opening, opening=True, exchange_time_ms=self._begin_ms)
            self._own(opening.trading_pair).assert_opening(opening.amount, opening.entry_price)
        if opening_cash is not None:
            token = self._history.report.cash_token
            self._account.assert_balance(token, opening_cash, opening=True, exchange_time_ms=self._begin_ms)
        for happening in happenings:
            self._record(happening)
        last_ms = happenings[-1].time_ms if happenings else self._begin_ms
        self._follow_balances(last_ms)
        positions = self._ends(openings)
        self._claim(last_ms, positions)
        self._findings += [
            f"Order {order.id}: the venue calls it filled, and {decimal_text(order.missing_fill_amount)} of "
            f"{decimal_text(order.amount)} is in no fill it tells."
            for order in self._tracker.incomplete_orders()
        ]
        self._findings += [
            f"{position.trading_pair}: the books end at {decimal_text(position.amount)}, and the venue says "
            f"{decimal_text(position.venue)}."
            for position in positions
            if position.venue is not None and position.venue != position.amount
        ]
        events = [change.event for change in self._tracker.take_changes()]
        return Backfill(
            events=events,
            positions=positions,
            orders=sum(isinstance(event, OrderCreated) for event in events),
            open_orders=self._tracker.live_count,
            fills=len(self._fills),
            fundings=len(self._fundings),
            transfers=len(self._transfers),
            opening_cash=opening_cash,
            findings=self._findings,
            notes=self._notes,
        )

    # -- what happened, in its order -----------------------------------------------------------------------

    def _chain(self, pair: str, fills: Sequence[Fill]) -> Sequence[Fill]:
        """The fills of a market as they were executed, as far as they tell what each started from."""
        if any(fill.start_position is None for fill in fills):
            return sorted(fills, key=lambda fill: (fill.exchange_time_ms, fill.fill_key))
        now = self._now_of(pair)
        chain = order_fills_by_start_position(fills, closing=now)
        if pair not in self._history.perps:
            if now is not None:
                self._moves[pair] = [gap for gap in chain.gaps if gap.before is not None]
        else:
            gaps = [gap for gap in chain.gaps if gap.before is not None]
            if gaps:
                self._broken.add(pair)
            self._findings += [
                f"{pair}: fills of {decimal_text(gap.missing_amount)} in all are missing between "
                f"{gap.since_ms} and {gap.until_ms} (ms): the venue does not tell them."
                for gap in gaps
            ]
        return chain.fills

    def _told_now(self, pair: str) -> PositionUpdate | None:
        """What the venue says of a market now; None where it tells no such thing."""
        flat = PositionUpdate(trading_pair=pair, amount=ZERO, entry_price=None)
        if pair in self._history.perps:
            return self._now.get(pair, flat)
        token = _token_of(pair)
        balances = self._history.balances
        if token in self._shared or balances is None:
            return None
        if token not in balances:
            return flat
        balance = balances[token]
        return None if balance is None else balance.as_position(pair)

    def _now_of(self, pair: str) -> Decimal | None:
        """What a market holds now."""
        told = self._told_now(pair)
        return None if told is None else told.amount

    def _shared_tokens(self, pairs: Iterable[str]) -> dict[str, None]:
        """The spot tokens that were traded in several markets."""
        markets: dict[str, list[str]] = {}
        for pair in sorted(pairs):
            if pair not in self._history.perps:
                markets.setdefault(_token_of(pair), []).append(pair)
        shared = {token: traded for token, traded in markets.items() if len(traded) > 1}
        self._notes += [
            f"The venue tells one balance of {token} for {' and '.join(traded)}: what each of these began "
            "with is not known, so they count from zero."
            for token, traded in shared.items()
        ]
        return dict.fromkeys(shared)

    def _of_fills(self) -> Iterator[_Happening]:
        updates = {update.fill.fill_key: update for update in self._fills}
        for pair, chain in self._chains.items():
            moves = {gap.index: gap for gap in self._moves.get(pair, ())}
            for index, fill in enumerate(chain):
                gap = moves.get(index)
                if gap is not None:
                    goes_on = PositionUpdate(trading_pair=pair, amount=gap.found, entry_price=None)
                    yield _Happening(fill.exchange_time_ms, _Rank.FILL, (2 * index, pair), goes_on)
                update = updates[fill.fill_key]
                yield _Happening(fill.exchange_time_ms, _Rank.FILL, (2 * index + 1, pair), update)

    def _of_money(self) -> Iterator[_Happening]:
        for update in self._fundings:
            yield _Happening(update.exchange_time_ms, _Rank.FUNDING, (0, update.funding_key), update)
        for moved in self._transfers:
            yield _Happening(moved.exchange_time_ms, _Rank.TRANSFER, (0, moved.update_key), moved)

    def _of_orders(self) -> Iterator[_Happening]:
        for oid, legs in self._orders():
            for index, leg in enumerate(legs):
                key = (int(leg.exchange_order_id), "")
                if index == 0:
                    beginning = _Beginning(leg.exchange_order_id, leg.details, self._cloids.get(oid))
                    yield _Happening(leg.time_ms, _Rank.ORDER, key, beginning)
                else:
                    yield _Happening(leg.time_ms, _Rank.LEG, key, self._named(_placed(leg)))
                for update in leg.triggers:
                    yield _Happening(_time_of(update, leg.time_ms), _Rank.TRIGGER, key, self._named(update))
                if leg.end is not None:
                    yield _Happening(_time_of(leg.end, leg.time_ms), _Rank.END, key, self._named(leg.end))

    def _orders(self) -> Iterator[tuple[str, Sequence[_Leg]]]:
        """Every order that lived, ended or executed after the books began, with the exchange id of its first
        leg. Decides which of them are known by their client ids."""
        of_cloid: dict[str, list[_Leg]] = {}
        alone: list[_Leg] = []
        for leg in self._legs():
            cloid = self._told_cloids.get(leg.exchange_order_id)
            if cloid is None:
                alone.append(leg)
            else:
                of_cloid.setdefault(cloid, []).append(leg)
        for cloid, legs in of_cloid.items():
            legs.sort(key=lambda leg: (leg.placed_ms, int(leg.exchange_order_id)))
            first = len(legs) - 1
            while first and legs[first - 1].is_followed_by(legs[first]):
                first -= 1
            if any(leg.is_listed for leg in legs[:first]):
                # An earlier one is open: the client id does not tell which of them is meant.
                first = len(legs)
            alone += legs[:first]
            if kept := legs[first:]:
                self._cloids |= dict.fromkeys((leg.exchange_order_id for leg in kept), cloid)
                yield kept[0].exchange_order_id, kept
                self._find_lost(kept[-1], cloid)
        for leg in alone:
            yield leg.exchange_order_id, (leg,)
            self._find_lost(leg, external_order_id(self._tracker.venue, leg.exchange_order_id))

    def _find_lost(self, leg: _Leg, order_id: str) -> None:
        if leg.is_lost:
            self._findings.append(
                f"Order {order_id}: the venue neither lists it as open nor says how it ended."
            )

    def _legs(self) -> Iterator[_Leg]:
        report = self._history.report
        listed = {update.exchange_order_id or "": update for update in report.open_orders or ()}
        statuses: dict[str, list[OrderUpdate]] = {}
        for update in self._history.orders or ():
            statuses.setdefault(update.exchange_order_id or "", []).append(update)
        for oid, update in report.details.items():
            statuses.setdefault(oid, [update])
        for oid in dict.fromkeys((*statuses, *listed, *self._executed)):
            leg = self._leg(oid, statuses.get(oid, ()), listed.get(oid))
            if leg is not None:
                yield leg

    def _leg(self, oid: str, statuses: Sequence[OrderUpdate], listed: OrderUpdate | None) -> _Leg | None:
        fills = self._executed.get(oid, ())
        ends = [update for update in statuses if update.status not in _ALIVE]
        end = None if listed is not None or not ends else max(ends, key=lambda update: _time_of(update, 0))
        if listed is None and not fills and end is not None and _time_of(end, 0) <= self._begin_ms:
            return None
        triggers = [
            update
            for update in statuses
            if update.status is UpdateStatus.TRIGGERED and _time_of(update, 0) > self._begin_ms
        ]
        latest = listed or end or (statuses[-1] if statuses else None)
        details = None if latest is None else latest.details
        placed_ms = self._history.placed_ms.get(oid)
        times = [fill.exchange_time_ms for fill in fills]
        times += [_time_of(update, 0) for update in (*triggers, *(() if end is None else (end,)))]
        time_ms = min([*times, *(() if placed_ms is None else (placed_ms,))], default=self._begin_ms)
        if latest is None or details is None:
            details = _terms_of(fills)
        elif time_ms <= self._begin_ms:
            details = _rest_of(details, latest, fills)
        return _Leg(
            oid,
            details,
            max(time_ms, self._begin_ms),
            time_ms,
            triggers,
            end,
            is_listed=listed is not None,
            is_lost=listed is None and end is None and not fills,
        )

    def _named(self, update: _Update) -> _Update:
        """The same update, naming the client id only where its order is kept under it."""
        oid = _exchange_id_of(update)
        return msgspec.structs.replace(update, venue_order_key=self._cloids.get(oid))

    # -- the books -----------------------------------------------------------------------------------------

    def _openings(self) -> list[PositionUpdate]:
        """What each market held when the books began, where that was something."""
        found: list[PositionUpdate] = []
        for pair in sorted({*self._now, *self._chains}):
            chain = self._chains.get(pair, ())
            if not chain:
                found.append(self._now[pair])
                continue
            now = self._now_of(pair)
            if now is None:
                continue
            amount = chain[0].start_position
            if amount is None:
                amount = MONEY.subtract(now, _sum(chain))
            if pair not in self._history.perps:
                self._note_moves_before(pair, chain[0])
            if amount:
                found.append(PositionUpdate(trading_pair=pair, amount=amount, entry_price=None))
        return found

    def _note_moves_before(self, pair: str, first: Fill) -> None:
        """What moved a spot balance before the first trade is in the opening, though it came later."""
        self._notes += [
            f"{pair}: a {moved.kind} of {decimal_text(moved.amount)} {moved.token} at "
            f"{moment(moved.exchange_time_ms)} came before the first trade, and counts from the beginning."
            for moved in self._transfers
            if moved.token == _token_of(pair)
            and moved.amount is not None
            and moved.exchange_time_ms <= first.exchange_time_ms
        ]

    def _opening_cash(self) -> Decimal | None:
        """The present cash without all that moved it since the books began; None, and a note, where that
        cannot be known."""
        if self._history.report.cash is None:
            self._notes.append(
                "The collateral is no balance of the perpetuals' own (a unified or portfolio margin account, "
                "or several tokens), so the books follow no cash."
            )
            return None
        cash, unknown = self._cash_before()
        if cash and not unknown and self._is_whole and cash.copy_abs() > self._rounding():
            unknown = (
                f"counted back from the present, the account would have begun with {decimal_text(cash)} "
                f"{self._history.report.cash_token} instead of nothing, so something moved it that the venue "
                "does not list (such as a change of the account's mode)"
            )
        if unknown:
            self._notes.append(f"What the cash was when the books began is not known: {unknown}.")
            return None
        return cash

    def _cash_before(self) -> tuple[Decimal, str]:
        """The present cash without all that moved it since, or why that is not known."""
        report = self._history.report
        assert report.cash is not None, "cash that is not told is not followed"
        cash = report.cash
        for moved in self._transfers:
            effect = collateral_effect(self._address, moved.detail)
            if effect is None:
                return ZERO, f"what this record did to it cannot be told, {moved.detail:.200}"
            cash = MONEY.subtract(cash, effect)
        for funding in self._fundings:
            cash = MONEY.subtract(cash, funding.amount)
        for pair, chain in self._chains.items():
            if pair in self._history.perps:
                for fill in chain:
                    if fill.fee_token != report.cash_token:
                        return ZERO, f"{pair} settles in {fill.fee_token}, which has no balance here"
                    cash = MONEY.fma(fill.price, _signed(fill), cash)
                    cash = MONEY.add(cash, fill.fee)
        return cash, ""

    @property
    def _is_whole(self) -> bool:
        """Whether the venue told everything since the account began, and all of it is in these books."""
        report = self._history.report
        windows = (report.fills_window, report.fundings_window, report.transfers_window)
        if any(window is None or window.complete_from_ms > 0 for window in windows):
            return False
        counts = (
            (report.fills, self._fills),
            (report.fundings, self._fundings),
            (report.transfers, self._transfers),
        )
        return all(len(told or ()) == len(booked) for told, booked in counts)

    def _rounding(self) -> Decimal:
        """By how much a balance may be off because the venue rounds what it states of each movement."""
        movements = len(self._fills) + len(self._fundings) + len(self._transfers)
        return MONEY.multiply(_MICRO, movements)

    def _own(self, pair: str) -> Position:
        """The position that the events come to."""
        return self._positions.setdefault(pair, Position(trading_pair=pair))

    def _follow_balances(self, last_ms: int) -> None:
        """Spot positions go on to the present balances, and take over the cost where it is not known."""
        self._stamp(max(last_ms, self._history.report.positions_at_ms))
        for pair in self._moves:
            told, held = self._told_now(pair), self._own(pair)
            assert told is not None, "a balance that is not told is not followed"
            moves = [gap.missing_amount for gap in self._moves[pair]]
            if told.amount != held.amount:
                moves.append(MONEY.subtract(told.amount, held.amount))
                self._goes_on(told)
            if moves:
                total = ZERO
                for moved in moves:
                    total = MONEY.add(total, moved)
                self._notes.append(
                    f"{pair}: the balance moved by {decimal_text(total)} without a trade (transfers, dust; "
                    f"seen {len(moves)} times). The position goes on from what the venue said after each."
                )

    def _goes_on(self, update: PositionUpdate) -> None:
        self._account.assert_position(update, adjustment=True)
        self._own(update.trading_pair).assert_opening(update.amount, update.entry_price)

    def _ends(self, openings: Sequence[PositionUpdate]) -> list[BackfilledPosition]:
        began = {opening.trading_pair: opening.amount for opening in openings}
        return [
            BackfilledPosition(
                trading_pair=pair,
                opening=began.get(pair, ZERO),
                amount=self._own(pair).amount,
                venue=self._now_of(pair),
            )
            for pair in sorted({*began, *self._chains, *self._now})
        ]

    # -- recording -----------------------------------------------------------------------------------------

    def _stamp(self, time_ms: int) -> None:
        stamp = Stamp(time_ms * _MS_NS, Source.RECONCILIATION, _CAUSATION)
        self._tracker.stamp = self._account.stamp = stamp

    def _record(self, happening: _Happening) -> None:
        subject = happening.subject
        self._stamp(happening.time_ms)
        if isinstance(subject, _Beginning):
            oid, details = subject.exchange_order_id, subject.details
            if subject.cloid is None:
                self._tracker.create_external(oid, details)
            else:
                self._tracker.create_former(subject.cloid, oid, details)
        elif isinstance(subject, OrderUpdate):
            self._end_or_trigger(subject)
        elif isinstance(subject, TradeUpdate):
            update = self._named(subject)
            fill = subject.fill
            self._own(fill.trading_pair).apply_fill(
                fill.price, fill.amount, fill.trade_type, fill.fee, fill.fee_token, fill.closed_pnl
            )
            if self._tracker.find(update.venue_order_key, update.fill.exchange_order_id) is None:
                self._account.book_fill(update.fill)
            else:
                self._tracker.process_trade_update(update)
        elif isinstance(subject, PositionUpdate):
            self._goes_on(subject)
        elif isinstance(subject, FundingUpdate):
            self._account.book_funding(subject)
        else:
            self._account.book_ledger_update(
                update_key=subject.update_key,
                kind=subject.kind,
                amount=subject.amount,
                token=subject.token,
                detail=subject.detail,
                exchange_time_ms=subject.exchange_time_ms,
            )

    def _end_or_trigger(self, update: OrderUpdate) -> None:
        order = self._tracker.process_order_update(update)
        if order is None or not order.missing_fill_amount or not order.filled_amount:
            return
        told = sum(len(self._executed.get(oid, ())) for oid in order.exchange_order_ids)
        if len(order.fills or ()) < told or order.trading_pair in self._broken:
            return
        # All its fills are told. What they lack of the amount was never executed (sheet 4.7, 5.3).
        if order.is_immediate:
            self._tracker.dropped_rest(order, REST_DROPPED)
        elif order.created.position_action is PositionAction.CLOSE:
            self._tracker.dropped_rest(order, "reduce_only_shrunk")
        elif order.drops_its_rest:
            self._tracker.dropped_rest(order, REST_DROPPED)

    def _claim(self, last_ms: int, positions: Sequence[BackfilledPosition]) -> None:
        """The leverage and the positions that the venue tells now; later rebuilds check the positions. Where
        the books do not know an entry, they take over the venue's."""
        report = self._history.report
        self._stamp(last_ms)
        for pair, position in sorted(self._now.items()):
            if position.leverage is not None:
                self._account.leverage_changed(pair, position.leverage, position.is_cross)
        self._stamp(max(last_ms, report.positions_at_ms))
        for claimed in positions:
            told, held = self._told_now(claimed.trading_pair), self._own(claimed.trading_pair)
            if told is None or told.amount != held.amount:
                continue
            self._account.assert_position(told)
            if held.amount and held.average_entry is None and told.entry_price is not None:
                self._goes_on(told)


def _cloids_of(history: AccountHistory) -> dict[str, str]:
    """The client id of each exchange id, as far as anything that the venue tells names it."""
    report = history.report
    updates: list[OrderUpdate | TradeUpdate] = [*(report.fills or ()), *report.details.values()]
    updates += [*(history.orders or ()), *(report.open_orders or ())]
    return {
        _exchange_id_of(update): update.venue_order_key
        for update in updates
        if update.venue_order_key is not None and is_cloid(update.venue_order_key)
    }


def _exchange_id_of(update: OrderUpdate | TradeUpdate) -> str:
    if isinstance(update, TradeUpdate):
        return update.fill.exchange_order_id
    return update.exchange_order_id or ""


def _placed(leg: _Leg) -> OrderUpdate:
    """A leg begins to be worked, with its terms."""
    return OrderUpdate(
        status=UpdateStatus.OPEN,
        exchange_order_id=leg.exchange_order_id,
        exchange_time_ms=leg.placed_ms,
        details=leg.details,
    )


def _time_of(update: OrderUpdate, otherwise_ms: int) -> int:
    return otherwise_ms if update.exchange_time_ms is None else update.exchange_time_ms


def _signed(fill: Fill) -> Decimal:
    return fill.amount if fill.trade_type is TradeType.BUY else fill.amount.copy_negate()


def _sum(fills: Iterable[Fill]) -> Decimal:
    total = ZERO
    for fill in fills:
        total = MONEY.add(total, _signed(fill))
    return total


def _token_of(pair: str) -> str:
    """What a spot market trades."""
    return pair.rpartition("-")[0]


def _terms_of(fills: Sequence[Fill]) -> OrderDetails:
    """Terms of an order that the venue tells no more: it was at least as large as what it executed."""
    first = fills[0]
    amount = ZERO
    for fill in fills:
        amount = MONEY.add(amount, fill.amount)
    return OrderDetails(
        trading_pair=first.trading_pair,
        instrument=first.trading_pair,
        trade_type=first.trade_type,
        price=first.price,
        amount=amount,
        time_in_force=TimeInForce.IOC,
    )


def _rest_of(details: OrderDetails, latest: OrderUpdate, fills: Sequence[Fill]) -> OrderDetails:
    """The terms without what the order executed before the books began, as `latest` and its fills tell."""
    if latest.remaining_amount is None:
        return details
    before = MONEY.subtract(details.amount, latest.remaining_amount)
    for fill in fills:
        before = MONEY.subtract(before, fill.amount)
    if not ZERO < before < details.amount:
        return details
    return msgspec.structs.replace(details, amount=MONEY.subtract(details.amount, before))
