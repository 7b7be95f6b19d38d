"""All views as one pure fold: events in log order go in, the rows they change come out.

Every view takes each event on its own. What one of them cannot take is parked for that view alone: an order
that stops folding still has its fills booked and its position moved.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Protocol

from domain.events import (
    ORDER_EVENTS,
    AccountDiscrepancyFound,
    AccountDiscrepancyRepaired,
    AccountDiscrepancyWaived,
    AccountEvent,
    AccountFillBooked,
    AccountFillCorrected,
    AccountFundingBooked,
    AccountPositionAsserted,
    LedgerEvent,
    OrderFillCorrected,
    OrderFilled,
)
from projections.errors import UnfoldableEventError
from projections.event_rows import (
    Correction,
    account_event_row,
    corrected_fill_row,
    discrepancy_row,
    fill_row,
    funding_row,
    is_booked_as,
    settlement_row,
    timeline_row,
)
from projections.event_source import PositionedEvent, UnreadableEvent
from projections.numbers import BRING_NUMBERS, impossible_numbers
from projections.order_fold import DONE_ORDERS_KEPT, EventsOf, OrderFold, Row
from projections.position_fold import CONCERN_POSITIONS, PositionFold, is_claim
from projections.tables import (
    ACCOUNT_EVENTS,
    CHECKPOINT_EVERY,
    CLAIMS,
    DISCREPANCIES_FOUND,
    DISCREPANCY_SETTLEMENTS,
    FILL_BOOKINGS,
    FILLS,
    FUNDING,
    LOG_CLOCK,
    ORDER_KEYS,
    ORDER_TIMELINE,
    ORDERS,
    PARKED,
    POSITION_CHECKPOINTS,
    POSITIONS,
    Table,
)

__all__ = ["ALL_VIEWS", "ChangedRows", "FoldedViews", "ViewsFold"]

ALL_VIEWS = "all"
"""In `parked.view`: an event that could not be read at all."""

BookedKey = tuple[str, str, str]
"""Key, account, venue: what makes a fill or a funding payment one and the same."""


class FoldedViews(Protocol):
    """What the views hold from earlier batches, as far as folding on needs it."""

    def created_position(self, client_order_id: str) -> int | None:
        """The position of the first event of an order, by its row; None when it has no row."""

    def parked_orders(self) -> Iterable[str]:
        """The orders that take no more events."""

    def position_rows(self) -> Iterable[Row]:
        """All rows of `positions`."""

    def latest_recorded_at_ns(self) -> int:
        """The latest time our clock showed in any event folded so far; 0 before the first."""

    def booked(self, table: Table, keys: Collection[BookedKey]) -> set[BookedKey]:
        """Those of the keys that a fill which counts, or a funding payment, already has."""

    def counted_fills(self, keys: Mapping[BookedKey, str]) -> Mapping[BookedKey, Row]:
        """The rows of the fills that count under these keys. To each key is given which aggregate corrects
        it: no other can hold that fill."""


class ChangedRows:
    """What a batch changed: for each table its rows, and the position the views then stand at."""

    __slots__ = ("position", "rows")

    def __init__(self, position: int) -> None:
        self.position = position
        self.rows: list[tuple[Table, list[Row]]] = []


class ViewsFold:
    """The state of every view's fold, from one position of the log to the next."""

    def __init__(
        self,
        views: FoldedViews,
        events_of: EventsOf,
        position: int,
        *,
        done_orders_kept: int = DONE_ORDERS_KEPT,
        positions: PositionFold | None = None,
    ) -> None:
        self.position = position
        """The last position folded in. The views stand there too, whenever the next batch is folded."""
        self._views = views
        self._orders = OrderFold(
            events_of,
            views.created_position,
            parked=views.parked_orders(),
            done_orders_kept=done_orders_kept,
        )
        self._positions = PositionFold(views.position_rows()) if positions is None else positions
        self._fills: list[Row] = []
        self._funding: list[Row] = []
        self._timeline: list[Row] = []
        self._account_events: list[Row] = []
        self._found: list[Row] = []
        self._settled: list[Row] = []
        self._parked: list[Row] = []
        self._latest_ns = views.latest_recorded_at_ns()
        self._clock: dict[int, int] = {}
        self._booked_fills: dict[BookedKey, Row | None] = {}
        """Of the keys in the batch, those of fills that count; with their row where a correction may ask."""
        self._booked_funding: set[BookedKey] = set()

    @property
    def orders_in_memory(self) -> int:
        return len(self._orders)

    def fold(
        self, batch: Sequence[PositionedEvent], unreadable: Sequence[UnreadableEvent] = ()
    ) -> ChangedRows:
        """Fold in what follows: events, and those among them that could not be read."""
        self._look_up_keys(batch)
        folded = 0
        for lost in sorted(unreadable, key=_position_of):
            before = bisect_left(batch, _position_of(lost), lo=folded, key=itemgetter(0))
            self._fold_events(batch[folded:before])
            self._park_unreadable(lost)
            folded = before
        self._fold_events(batch[folded:])
        return self._changed_rows()

    def _fold_events(self, events: Sequence[PositionedEvent]) -> None:
        # Every event comes through here, and what it asks for is at hand: an attribute or a call more per
        # event is a percent of the whole. A kind is found in a set sooner than a class is asked, or a judge.
        apply, timeline, clock = self._orders.apply, self._timeline, self._clock
        reached, latest_ns = self.position, self._latest_ns
        for position, event in events:
            assert position > reached, f"position {position} after {reached}: the log goes forward"
            reached = position
            kind = type(event)
            if event.recorded_at_ns > latest_ns:
                latest_ns = event.recorded_at_ns
            clock[position // CHECKPOINT_EVERY] = latest_ns
            wrong = impossible_numbers(event) if kind in BRING_NUMBERS else ""
            if kind in _OF_ORDERS:
                state = None
                try:
                    state = apply(position, event, wrong)  # type: ignore[arg-type]
                except UnfoldableEventError as error:
                    self._park(position, ORDERS.name, event.originator_id, error)
                timeline.append(timeline_row(position, event, state))  # type: ignore[arg-type]
            elif isinstance(event, AccountEvent):
                self._fold_account_event(position, event)
            if kind in CONCERN_POSITIONS:
                self._book(position, event, wrong)
        self.position, self._latest_ns = reached, latest_ns

    def _fold_account_event(self, position: int, event: AccountEvent) -> None:
        self._account_events.append(account_event_row(position, event))
        if isinstance(event, AccountDiscrepancyFound):
            self._found.append(discrepancy_row(position, event))
        elif isinstance(event, AccountDiscrepancyRepaired | AccountDiscrepancyWaived):
            self._settled.append(settlement_row(position, event))

    def _book(self, position: int, event: LedgerEvent, wrong: str) -> None:
        """Fills and funding once per key, then what they and the rest do to a position, or say about it."""
        kind = type(event)
        view = POSITIONS.name
        is_fill = kind is OrderFilled or kind is AccountFillBooked
        if is_fill or kind is OrderFillCorrected or kind is AccountFillCorrected:
            view = FILLS
        elif kind is AccountFundingBooked:
            view = FUNDING.name
        try:
            if wrong:
                raise UnfoldableEventError(wrong)
            if is_fill:
                self._book_fill(position, event)  # type: ignore[arg-type]
            elif view is FILLS:
                self._correct_fill(position, event)  # type: ignore[arg-type]
            elif view is FUNDING.name:
                _take(self._booked_funding, event.funding_key, event)  # type: ignore[attr-defined]
                self._funding.append(funding_row(position, event))  # type: ignore[arg-type]
            if kind is AccountPositionAsserted and is_claim(event):
                view = CLAIMS
            else:
                view = POSITIONS.name
            self._positions.apply(position, event)
        except UnfoldableEventError as error:
            self._park(position, view, event.originator_id, error)

    def _book_fill(self, position: int, event: OrderFilled | AccountFillBooked) -> None:
        identity = (event.fill.fill_key, event.account, event.venue)
        if identity in self._booked_fills:
            raise UnfoldableEventError(f"{event.fill.fill_key!r} is booked already, at an earlier position")
        self._booked_fills[identity] = row = fill_row(position, event, event.fill)
        self._fills.append(row)

    def _correct_fill(self, position: int, event: Correction) -> None:
        was, now = event.was, event.now
        identity = (was.fill_key, event.account, event.venue)
        row = self._booked_fills.get(identity)
        if row is None:
            raise UnfoldableEventError(f"{was.fill_key!r} is to be corrected and is not booked")
        if not is_booked_as(row, event):
            raise UnfoldableEventError(f"{was.fill_key!r} is booked otherwise than the correction says")
        if now is not None:
            if now.trading_pair != was.trading_pair:
                raise UnfoldableEventError(f"{was.fill_key!r} cannot be corrected to another market")
            if now.fill_key != was.fill_key and (now.fill_key, *identity[1:]) in self._booked_fills:
                raise UnfoldableEventError(f"{now.fill_key!r} is booked already, at an earlier position")
        del self._booked_fills[identity]
        # The old row first: no two of a key may count at the same time, not even while they are written.
        self._fills.append(corrected_fill_row(row, position, event))
        if now is not None:
            self._booked_fills[now.fill_key, event.account, event.venue] = row = fill_row(
                position, event, now
            )
            self._fills.append(row)

    def _look_up_keys(self, batch: Sequence[PositionedEvent]) -> None:
        """Learn in one look which keys of the batch the views hold from before it."""
        fills: set[BookedKey] = set()
        funding: set[BookedKey] = set()
        corrected: dict[BookedKey, str] = {}
        for _, event in batch:
            kind = type(event)
            if kind is OrderFilled or kind is AccountFillBooked:
                fills.add((event.fill.fill_key, event.account, event.venue))  # type: ignore[attr-defined]
            elif kind is AccountFundingBooked:
                funding.add((event.funding_key, event.account, event.venue))  # type: ignore[attr-defined]
            elif kind in _CORRECTING:
                assert isinstance(event, OrderFillCorrected | AccountFillCorrected)
                corrected[event.was.fill_key, event.account, event.venue] = event.originator_id
                if event.now is not None:
                    fills.add((event.now.fill_key, event.account, event.venue))
        self._booked_fills = dict.fromkeys(self._views.booked(FILL_BOOKINGS, fills)) if fills else {}
        if corrected:
            self._booked_fills |= self._views.counted_fills(corrected)
        self._booked_funding = self._views.booked(FUNDING, funding) if funding else set()

    def _park_unreadable(self, unreadable: UnreadableEvent) -> None:
        position = _position_of(unreadable)
        assert position > self.position, f"position {position} after {self.position}: the log goes forward"
        self.position = position
        self._orders.park(unreadable.originator_id)
        self._parked.append((position, ALL_VIEWS, unreadable.originator_id, str(unreadable)))

    def _park(self, position: int, view: str, aggregate: str, error: UnfoldableEventError) -> None:
        self._parked.append((position, view, aggregate, error.reason))

    def _changed_rows(self) -> ChangedRows:
        orders, order_keys = self._orders.take_rows()
        changed = ChangedRows(self.position)
        changed.rows = [
            (ORDERS, orders),
            (ORDER_KEYS, order_keys),
            (FILL_BOOKINGS, self._fills),
            (POSITIONS, self._positions.take_rows()),
            (FUNDING, self._funding),
            (ORDER_TIMELINE, self._timeline),
            (ACCOUNT_EVENTS, self._account_events),
            (DISCREPANCIES_FOUND, self._found),
            (DISCREPANCY_SETTLEMENTS, self._settled),
            (PARKED, self._parked),
            (POSITION_CHECKPOINTS, self._positions.take_checkpoints()),
            (LOG_CLOCK, list(self._clock.items())),
        ]
        self._clock = {}
        self._fills, self._funding, self._timeline, self._account_events, self._parked = [], [], [], [], []
        self._found, self._settled = [], []
        return changed


_OF_ORDERS = frozenset(ORDER_EVENTS)
_CORRECTING = frozenset({OrderFillCorrected, AccountFillCorrected})


def _take(booked: set[BookedKey], key: str, event: LedgerEvent) -> None:
    identity = (key, event.account, event.venue)
    if identity in booked:
        raise UnfoldableEventError(f"{key!r} is booked already, at an earlier position")
    booked.add(identity)


def _position_of(unreadable: UnreadableEvent) -> int:
    assert unreadable.position is not None, "an event read from the log has its position"
    return unreadable.position
