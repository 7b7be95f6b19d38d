"""Under which names the orders of a recording are known: learnt from its events, in passing.

An order has its client order id, the id in the venue's own format, and one exchange id for each leg it had.
Raw bytes of the venue hold the latter two only.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from domain.event_codec import EncodedEvents
from domain.inputs import AmendOrder, CancelOrders, OrderLookedUp, PlaceOrders, Started
from replays.recording import AnyInput, RecordedInput

__all__ = ["OrderKeys", "named_orders"]


class _FillIds(msgspec.Struct):
    exchange_order_id: str = ""


class _Ids(msgspec.Struct):
    """The members of any order event that name it."""

    originator_id: str
    venue_order_key: str | None = None
    exchange_order_id: str | None = None
    fill: _FillIds | None = None


_DECODER = msgspec.msgpack.Decoder(_Ids)


class OrderKeys:
    """The orders met so far. `owner` gives the client order id that a venue key or exchange id belongs to."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        self._keys: dict[str, dict[str, None]] = {}

    def learn(self, recorded: RecordedInput) -> tuple[str, ...]:
        """Take in one input; gives the orders it concerns: those it names and those its events are of."""
        item = recorded.item
        concerned = dict.fromkeys(named_orders(item))
        if isinstance(item, Started):
            for events in item.open_orders:
                self._learn(events)
        elif isinstance(item, OrderLookedUp):
            self._learn(item.events)
        concerned.update(dict.fromkeys(self._learn(recorded.events)))
        return tuple(concerned)

    def owner(self, key: str) -> str | None:
        """The order known as `key`, in whichever form; None for none of this recording."""
        return self._owners.get(key)

    def keys(self, client_order_id: str) -> tuple[str, ...]:
        """Every name of an order, its client order id first; empty when it was not met."""
        return tuple(self._keys.get(client_order_id, ()))

    @property
    def orders(self) -> Iterable[str]:
        return self._keys.keys()

    def _learn(self, events: EncodedEvents) -> dict[str, None]:
        concerned: dict[str, None] = {}
        for topic, state in events:
            if not topic.startswith("order."):
                continue
            try:
                ids = _DECODER.decode(state)
            except msgspec.MsgspecError:
                continue  # the core refuses it, and the recording says so
            order = ids.originator_id
            concerned[order] = None
            names = self._keys.setdefault(order, {order: None})
            for key in (
                order,
                ids.venue_order_key,
                ids.exchange_order_id,
                ids.fill and ids.fill.exchange_order_id,
            ):
                if key:
                    names[key] = None
                    self._owners.setdefault(key, order)
        return concerned


def named_orders(item: AnyInput) -> tuple[str, ...]:
    """The client order ids that a command names."""
    match item:
        case PlaceOrders(orders=orders):
            return tuple(params.client_order_id for params in orders)
        case CancelOrders(client_order_ids=ids):
            return ids
        case AmendOrder(client_order_id=client_order_id):
            return (client_order_id,)
    return ()
