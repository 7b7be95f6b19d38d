"""The `orders` view: one row per order, folded with `domain.in_flight_order.InFlightOrder`.

Live orders stay in memory, finished ones for as long as there is room; one that has left is folded again from
its own events when the next one comes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from domain.events import LedgerEvent, OrderCreated, OrderEvent
from domain.in_flight_order import InFlightOrder
from projections.errors import UnfoldableEventError
from projections.spans import span_node
from projections.texts import fees_text, number_text, optional_text

__all__ = ["DONE_ORDERS_KEPT", "EventsOf", "OrderFold", "Row", "order_row"]

Row = tuple[Any, ...]
"""A row of a table: texts, integers and None, in the order of the table's columns."""

DONE_ORDERS_KEPT = 10_000
"""How many finished orders stay in memory for what may still come for them."""

EXCHANGE_ORDER_ID = "exchange_order_id"
VENUE_ORDER_KEY = "venue_order_key"


EventsOf = Callable[[str, int], Sequence[LedgerEvent]]
"""The committed events of an order below a version, first to last: `EventSource.events_of`."""

CreatedPositionOf = Callable[[str], int | None]
"""The position of the first event of an order, by its row; None when it has no row."""


class _Folded:
    """An order in memory and what its row needs besides."""

    __slots__ = ("created_position", "is_keyed", "last_position", "new_ids", "order")

    def __init__(self, order: InFlightOrder, created_position: int) -> None:
        self.order = order
        self.created_position = created_position
        self.last_position = created_position
        self.is_keyed = False
        """Whether the client id in the venue's format has its row in `order_keys`."""
        self.new_ids: list[str] = []
        """The exchange ids that have none yet."""


class OrderFold:
    """The orders as far as they are in memory, and which of them changed since the rows were last taken.

    `parked` are the orders that take no more events, because one could not be folded.
    """

    def __init__(
        self,
        events_of: EventsOf,
        created_position_of: CreatedPositionOf,
        *,
        parked: Iterable[str] = (),
        done_orders_kept: int = DONE_ORDERS_KEPT,
    ) -> None:
        self._events_of = events_of
        self._created_position_of = created_position_of
        self._done_orders_kept = done_orders_kept
        self._parked = set(parked)
        self._live: dict[str, _Folded] = {}
        self._done: OrderedDict[str, _Folded] = OrderedDict()
        self._changed: dict[str, _Folded] = {}

    def __len__(self) -> int:
        """How many orders are in memory."""
        return len(self._live) + len(self._done)

    def apply(self, position: int, event: OrderEvent, wrong: str = "") -> str | None:
        """Fold one event in; returns the order's state after it, None when the order is parked.

        An event with something `wrong`, or that the order refuses, parks the order as it stood before:
        `UnfoldableEventError`. Any other error is that of a look-up, and nothing was decided.
        """
        client_order_id = event.originator_id
        if client_order_id in self._parked:
            return None
        if wrong:
            self.park(client_order_id)
            raise UnfoldableEventError(wrong)
        folded = self._live.get(client_order_id) or self._done.get(client_order_id)
        if folded is None and (type(event) is not OrderCreated or event.originator_version != 1):
            folded = self._reload(event)
        try:
            if folded is None:
                assert type(event) is OrderCreated
                folded = self._live[client_order_id] = _Folded(InFlightOrder(event), position)
            elif type(event) is OrderCreated:
                raise UnfoldableEventError(f"{event.topic} comes a second time")
            else:
                newest_leg = folded.order.newest_leg
                folded.order.apply(event)
                news = folded.order.newest_leg
                if news is not None and news != newest_leg:
                    folded.new_ids.append(news)
            state = str(folded.order.state)
        except Exception as error:
            unfoldable = UnfoldableEventError.of(error)
            if folded is not None and client_order_id in self._changed:
                self._restore(folded)
            self.park(client_order_id)
            raise unfoldable from error
        folded.last_position = position
        self._changed[client_order_id] = folded
        return state

    def park(self, client_order_id: str) -> None:
        """Take no more events for this order. What changed before still gives its row."""
        self._parked.add(client_order_id)
        if client_order_id not in self._changed:
            self._forget(client_order_id)

    def take_rows(self) -> tuple[list[Row], list[Row]]:
        """Rows for `orders` and `order_keys` of what changed since the last call; then lets go of the oldest
        finished orders."""
        orders: list[Row] = []
        keys: list[Row] = []
        for client_order_id, folded in self._changed.items():
            order = folded.order
            orders.append(order_row(order, folded.created_position, folded.last_position))
            if folded.new_ids or not folded.is_keyed:
                keys.extend(_key_rows(folded))
                folded.is_keyed = True
                folded.new_ids = []
            self._place(client_order_id, folded)
        self._changed = {}
        while len(self._done) > self._done_orders_kept:
            self._done.popitem(last=False)
        return orders, keys

    def _place(self, client_order_id: str, folded: _Folded) -> None:
        if folded.order.is_done:
            self._live.pop(client_order_id, None)
            self._done[client_order_id] = folded
            self._done.move_to_end(client_order_id)
        elif client_order_id not in self._live:
            self._done.pop(client_order_id, None)
            self._live[client_order_id] = folded
        if client_order_id in self._parked:
            self._forget(client_order_id)

    def _forget(self, client_order_id: str) -> None:
        self._live.pop(client_order_id, None)
        self._done.pop(client_order_id, None)

    def _reload(self, event: OrderEvent) -> _Folded:
        client_order_id = event.originator_id
        created_position = self._created_position_of(client_order_id)
        if created_position is None:
            self._parked.add(client_order_id)
            raise UnfoldableEventError(
                f"{event.topic} version {event.originator_version} comes before any order.created"
            )
        order = InFlightOrder.fold(self._events_of(client_order_id, event.originator_version))
        folded = _Folded(order, created_position)
        # Its rows were written when it left memory, or before this process.
        folded.is_keyed = True
        (self._done if order.is_done else self._live)[client_order_id] = folded
        return folded

    def _restore(self, folded: _Folded) -> None:
        """Undo an event that may have been applied half-way."""
        order = folded.order
        folded.order = InFlightOrder.fold(self._events_of(order.id, order.version + 1))


def order_row(order: InFlightOrder, created_position: int, last_position: int) -> Row:
    """The order as a row of `projections.tables.ORDERS`."""
    created = order.created
    closing = order.closing
    return (
        created_position,
        created.originator_id,
        order.exchange_order_id,
        order.venue_order_key,
        created.venue,
        created.account,
        created.trading_pair,
        created.instrument,
        str(created.order_type),
        str(created.trade_type),
        str(created.position_action),
        str(created.time_in_force),
        number_text(order.price),
        optional_text(created.trigger_price),
        number_text(order.amount),
        number_text(order.filled_amount),
        optional_text(order.average_fill_price),
        number_text(order.remaining_amount),
        "0" if closing is None else number_text(order.missing_fill_amount),
        fees_text(order.fee_totals),
        str(order.state),
        1 if order.is_done else 0,
        1 if closing is None and order.outcome_unknown else 0,
        1 if order.triggered else 0,
        closing.reason_code if closing is not None else order.unknown_reason,
        closing.reason if closing is not None else "",
        created.tag,
        created.parent_id,
        1 if created.external else 0,
        optional_text(created.reference_price),
        created.recorded_at_ns,
        order.updated_at_ns,
        order.version,
        last_position,
        span_node(created_position, last_position),
    )


def _key_rows(folded: _Folded) -> Iterable[Row]:
    """The rows for the ids that have none yet."""
    order = folded.order
    client_order_id = order.id
    if not folded.is_keyed and order.venue_order_key != client_order_id:
        yield (order.venue_order_key, client_order_id, VENUE_ORDER_KEY)
    for exchange_order_id in folded.new_ids:
        yield (exchange_order_id, client_order_id, EXCHANGE_ORDER_ID)
