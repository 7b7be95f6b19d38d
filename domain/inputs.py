"""Everything that can happen to the core, as data: commands, raw venue bytes, connection changes, time.

The core changes only by `step(input)`. A recording holds exactly these, in the order they were handled.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from domain.cash import Cash
from domain.order_params import OrderParams
from domain.position import Position

__all__ = [
    "AmendOrder",
    "CancelAll",
    "CancelOrders",
    "Input",
    "LedgerStalled",
    "OrderLookedUp",
    "PlaceOrders",
    "RequestAnswered",
    "RequestFailed",
    "SetLeverage",
    "SetScheduledCancel",
    "Started",
    "Stopping",
    "StreamConnected",
    "StreamFrame",
    "StreamLost",
    "TimerFired",
    "UpdateMargin",
]


class Input(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """One thing that happened: the `sequence`-th input of its session, at `at_ns` of our clock (UTC)."""

    sequence: int = 0
    at_ns: int = 0


class Started(Input, frozen=True, kw_only=True, omit_defaults=True, tag="started"):
    """A session begins from what the log holds at `ledger_position`.

    `open_orders` are the stored events (topic, state) of each order that is not done. The `recent_*` keys are
    those booked lately, of which the venue may tell again; `last_*_time_ms` is where recovery begins.
    `books_begin_ms` (venue time) is when the ledger's books of this account begin; 0 for a new ledger.
    `unsettled_discrepancies` are those that were found and never repaired, `waived_discrepancies` those among
    them that a person, or the kind of the difference, has decided to leave. `cash` is what the log comes to;
    None where it does not say.
    """

    session_id: str
    ledger_position: int
    last_nonce: int = 0
    books_begin_ms: int = 0
    account_version: int = 0
    open_orders: tuple[tuple[tuple[str, bytes], ...], ...] = ()
    positions: tuple[Position, ...] = ()
    recent_fill_keys: tuple[str, ...] = ()
    recent_funding_keys: tuple[str, ...] = ()
    recent_transfer_keys: tuple[str, ...] = ()
    last_fill_time_ms: int = 0
    last_funding_time_ms: int = 0
    last_transfer_time_ms: int = 0
    unsettled_discrepancies: tuple[str, ...] = ()
    waived_discrepancies: tuple[str, ...] = ()
    cash: Cash | None = None


class Stopping(Input, frozen=True, kw_only=True, omit_defaults=True, tag="stopping"):
    """The process wants to end. No order is accepted from here on."""

    cancel_open_orders: bool


class PlaceOrders(Input, frozen=True, kw_only=True, omit_defaults=True, tag="place_orders"):
    """Place these, in one request where the venue can. Each one is an order of its own."""

    orders: tuple[OrderParams, ...]


class CancelOrders(Input, frozen=True, kw_only=True, omit_defaults=True, tag="cancel_orders"):
    client_order_ids: tuple[str, ...]
    reason_code: str = "requested"


class CancelAll(Input, frozen=True, kw_only=True, omit_defaults=True, tag="cancel_all"):
    """Cancel whatever is live, of one market or of all."""

    trading_pair: str | None = None
    reason_code: str = "requested"


class AmendOrder(Input, frozen=True, kw_only=True, omit_defaults=True, tag="amend_order"):
    """New terms. `amount` is the new total, fills included."""

    client_order_id: str
    price: Decimal
    amount: Decimal


class SetLeverage(Input, frozen=True, kw_only=True, omit_defaults=True, tag="set_leverage"):
    trading_pair: str
    leverage: int
    is_cross: bool


class UpdateMargin(Input, frozen=True, kw_only=True, omit_defaults=True, tag="update_margin"):
    """Add (or, negative, remove) isolated margin, in quote units."""

    trading_pair: str
    amount: Decimal


class SetScheduledCancel(Input, frozen=True, kw_only=True, omit_defaults=True, tag="set_scheduled_cancel"):
    """Ask the venue to cancel everything at a time (ms UTC); none clears it."""

    at_ms: int | None


class StreamConnected(Input, frozen=True, kw_only=True, omit_defaults=True, tag="stream_connected"):
    """A socket is up and has been sent its subscriptions."""

    stream: str


class StreamLost(Input, frozen=True, kw_only=True, omit_defaults=True, tag="stream_lost"):
    stream: str
    reason: str


class StreamFrame(Input, frozen=True, kw_only=True, omit_defaults=True, tag="stream_frame"):
    """One frame as it came off the socket."""

    stream: str
    data: bytes


class RequestAnswered(Input, frozen=True, kw_only=True, omit_defaults=True, tag="request_answered"):
    """The HTTP answer to the request with this id, raw."""

    request_id: int
    status: int
    body: bytes


class RequestFailed(Input, frozen=True, kw_only=True, omit_defaults=True, tag="request_failed"):
    """No answer. `sent` is false only when it is certain that no byte of the request left."""

    request_id: int
    reason: str
    sent: bool


class OrderLookedUp(Input, frozen=True, kw_only=True, omit_defaults=True, tag="order_looked_up"):
    """What the ledger holds about an id that memory does not know; empty when it holds nothing."""

    key: str
    events: tuple[tuple[str, bytes], ...] = ()


class TimerFired(Input, frozen=True, kw_only=True, omit_defaults=True, tag="timer_fired"):
    """`next_wakeup_ns` of the core has come."""


class LedgerStalled(Input, frozen=True, kw_only=True, omit_defaults=True, tag="ledger_stalled"):
    """What happens cannot be recorded, and why; empty when it can again. Trading halts until then."""

    reason: str
