"""Cuts a recording down to some orders or to some time, so that what is left is a session of its own.

Kept are the start, what every session needs (metadata, the account's state, connections, timers) and whatever
concerns a kept order; rows about other orders are taken out of frames and answers. Market data is kept while
a kept order lived, and the first of each kind before that.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile

from msgspec.structs import replace

from domain.effects import Query, SendAction
from domain.inputs import AmendOrder, CancelOrders, OrderLookedUp, PlaceOrders, Started
from replays.cores import MakeCore
from replays.order_keys import OrderKeys
from replays.recording import AnyInput, RecordedInput, SessionHeader
from replays.replaying import Recording
from replays.rewriting import Question, Rewriter, VenueRewriter, step

__all__ = ["Lives", "OrderNotRecordedError", "cut_orders", "cut_until", "derived_header"]


class OrderNotRecordedError(LookupError):
    """None of the inputs concerns this order."""


def derived_header(header: SessionHeader, how: str, note: str | None = None) -> SessionHeader:
    """The header of a recording made from another: `how` is added to what it is derived from."""
    whence = header.derived_from or f"session {header.session_id}"
    return replace(
        header,
        part=1,
        previous_sequence=0,
        previous_digest="",
        derived_from=f"{whence}; {how}",
        note=header.note if note is None else note,
    )


def cut_until(recording: Recording, last: int) -> Iterable[RecordedInput]:
    """The inputs up to `last`, as they are: what they led to does not depend on what came after."""
    return takewhile(lambda recorded: recorded.item.sequence <= last, recording)


class Lives:
    """When the orders of a recording lived: one pass through it, needed before orders can be cut out.

    Raises `RewritingError` when the core fails on an input on which it did not.
    """

    def __init__(self, recording: Recording, make_core: MakeCore) -> None:
        self.keys = OrderKeys()
        self.last_sequence = 0
        self._first: dict[str, tuple[int, int]] = {}
        self._last: dict[str, tuple[int, int]] = {}
        core = make_core(recording.header)
        for recorded in recording:
            item = recorded.item
            at = (item.sequence, item.at_ns)
            concerned = self.keys.learn(recorded)
            if isinstance(item, Started):
                concerned += tuple(self.keys.orders)
            for order in concerned:
                self._first.setdefault(order, at)
                self._last[order] = at
            self.last_sequence = item.sequence
            if not recorded.failure:
                step(core, item)
        self._open = {order.id for order in core.tracker.live_orders()}

    def between(self, from_ns: int, to_ns: int) -> tuple[str, ...]:
        """The orders that were not done, or became so, between two times (ns UTC)."""
        return tuple(
            order
            for order, (_, first_ns) in self._first.items()
            if first_ns <= to_ns and (order in self._open or self._last[order][1] >= from_ns)
        )

    def of(self, order: str) -> str:
        """The client order id of an order named by any of its names. Raises `OrderNotRecordedError`."""
        owner = order if order in self._first else self.keys.owner(order)
        if owner is None:
            raise OrderNotRecordedError(f"The recording holds no order {order}.")
        return owner

    def span(self, orders: Iterable[str]) -> tuple[int, int]:
        """The first and the last input while any of these lived; (0, 0) for none."""
        orders = tuple(orders)
        if not orders:
            return 0, 0
        last = max(self.last_sequence if order in self._open else self._last[order][0] for order in orders)
        return min(self._first[order][0] for order in orders), last


def cut_orders(
    recording: Recording,
    header: SessionHeader,
    make_core: MakeCore,
    venue: VenueRewriter,
    lives: Lives,
    orders: Iterable[str],
    *,
    until: int | None = None,
) -> Rewriter:
    """What concerns these orders (client order ids), up to the input `until`: iterate the result."""
    return Rewriter(recording, header, make_core, venue, _Cut(venue, lives, orders), until=until)


class _Cut:
    """Leaves out what concerns other orders."""

    def __init__(self, venue: VenueRewriter, lives: Lives, orders: Iterable[str]) -> None:
        self._venue = venue
        self._keys = lives.keys
        self._orders = frozenset(orders)
        self._others = frozenset(self._keys.orders) - self._orders
        self._first, self._last = lives.span(self._orders)
        self._markets_seen: set[str] = set()

    def item(self, item: AnyInput, answered: SendAction | Query | None) -> AnyInput | None:
        match item:
            case Started():
                return replace(item, open_orders=self._stored(item.open_orders))
            case PlaceOrders():
                placed = tuple(params for params in item.orders if params.client_order_id in self._orders)
                return replace(item, orders=placed) if placed else None
            case CancelOrders():
                cancelled = tuple(order for order in item.client_order_ids if order in self._orders)
                return replace(item, client_order_ids=cancelled) if cancelled else None
            case AmendOrder():
                return item if item.client_order_id in self._orders else None
            case OrderLookedUp():
                return None if self._is_other(item.key.partition(":")[2]) else item
        market = self._venue.market_of(item)
        if market:
            return self._market_data(item, market)
        if answered is not None and self._is_about_others(answered):
            return None
        return self._venue.without_orders(item, answered, self._is_other) if self._others else item

    def question(self, question: Question) -> Question:
        what, names = question
        return what, tuple(name for name in names if not self._is_other(name))

    def lookup(self, key: str) -> str:
        return key

    def _market_data(self, item: AnyInput, market: str) -> AnyInput | None:
        is_first = market not in self._markets_seen
        self._markets_seen.add(market)
        return item if is_first or self._first <= item.sequence <= self._last else None

    def _is_about_others(self, request: SendAction | Query) -> bool:
        _, names = self._venue.question(request)
        return bool(names) and all(self._is_other(name) for name in names)

    def _is_other(self, name: str) -> bool:
        return self._keys.owner(name) in self._others

    def _stored(
        self, open_orders: tuple[tuple[tuple[str, bytes], ...], ...]
    ) -> tuple[tuple[tuple[str, bytes], ...], ...]:
        return tuple(events for events in open_orders if _originator(events) in self._orders)


def _originator(events: tuple[tuple[str, bytes], ...]) -> str:
    keys = OrderKeys()
    return keys.learn(RecordedInput(OrderLookedUp(key="", events=events), events))[0]
