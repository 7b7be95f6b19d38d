"""What a reconciliation compares, what it finds, and what would repair it: plain data.

`Books` is what the ledger holds, `VenueReport` what the venue says, `Discrepancy` one difference between
them. `domain.reconciliation` compares, `domain.repairs` turns findings into events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from hashlib import sha256
from typing import TypeAlias

import msgspec

from domain.events import Fill
from domain.in_flight_order import InFlightOrder
from domain.position import Position
from domain.updates import FundingUpdate, OrderDetails, OrderUpdate, PositionUpdate, TradeUpdate

__all__ = [
    "AdjustBalance",
    "AdjustPosition",
    "BookFill",
    "BookFunding",
    "BookTransfer",
    "BookedFill",
    "Books",
    "CorrectFill",
    "Discrepancy",
    "DiscrepancyKind",
    "OrderAnswer",
    "ProveAbsent",
    "Reopen",
    "Repair",
    "TakeLeverage",
    "TakeOrderUpdate",
    "Transfer",
    "VenueReport",
    "Window",
    "discrepancy_id_of",
]


class DiscrepancyKind(StrEnum):
    """The classes of differences."""

    MISSING_FILL = "missing_fill"
    """The venue tells an execution of an order of ours that is not booked."""
    PHANTOM_FILL = "phantom_fill"
    """An execution is booked that the venue's complete history does not hold."""
    DUPLICATE_FILL = "duplicate_fill"
    """One execution is booked under two keys."""
    QUANTITY_MISMATCH = "quantity_mismatch"
    PRICE_MISMATCH = "price_mismatch"
    FEE_MISMATCH = "fee_mismatch"
    STATE_MISMATCH = "state_mismatch"
    """Live here and ended at the venue, or the other way round."""
    STUCK_IN_FLIGHT = "stuck_in_flight"
    """A request about an order is out for longer than the grace time, and neither answered nor given up."""
    UNKNOWN_OUTCOME = "unknown_outcome"
    """The fate of a request was unknown, and the venue can tell it now."""
    EXTERNAL_ORDER = "external_order"
    """A live order that was placed elsewhere and is not in the books."""
    EXTERNAL_FILL = "external_fill"
    """An execution of an order that was placed elsewhere: a manual trade, another program."""
    LIQUIDATION = "liquidation"
    AUTO_DELEVERAGING = "auto_deleveraging"
    POSITION_DRIFT = "position_drift"
    """The position differs and no execution that the venue still tells explains it."""
    SIDE_FLIP = "side_flip"
    """A position drift so large that one side is long and the other short."""
    BALANCE_DRIFT = "balance_drift"
    """The cash differs and neither fills, fees, funding nor transfers explain it."""
    UNBOOKED_FUNDING = "unbooked_funding"
    FUNDING_MISMATCH = "funding_mismatch"
    UNBOOKED_TRANSFER = "unbooked_transfer"
    LEVERAGE_CHANGED = "leverage_changed"
    """Leverage or margin mode of a market was changed elsewhere."""
    TRUNCATED_WINDOW = "truncated_window"
    """The venue no longer tells all that happened in the time asked for."""
    PRECISION_ONLY = "precision_only"
    """Two texts of one number: equal at the precision of the instrument."""


class BookedFill(msgspec.Struct, frozen=True, gc=False):
    """An execution in the books as it counts now (corrections applied), and the order it is booked to; None
    for one that belongs to no order."""

    fill: Fill
    client_order_id: str | None


class Transfer(msgspec.Struct, frozen=True, gc=False):
    """Money that moved without a trade; as `AccountLedgerUpdateBooked`.

    `cash_effect` is what it did to the account's cash, signed; None while that is not known: then the cash is
    not compared in the run that books it.
    """

    update_key: str
    kind: str
    amount: Decimal | None
    token: str
    detail: str
    exchange_time_ms: int
    cash_effect: Decimal | None = None


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger holds about an account, as far as a report can be compared with it.

    `orders`: every order that is not done, and every other order that the report is about, by client order
    id. `fills`, `fundings`, `transfers`: all since the venue time at which the report's windows begin (what
    is later than their end as well: positions and cash are told for an earlier time than that of the books),
    and all that the report names. `positions` by trading pair (absent: flat). `cash` is the fold of the
    opening balance and everything since, in units of the collateral token; None while no opening balance is
    known. `cash_summands` is how many executions and payments it adds up where that is more than are listed.
    `books_begin_ms`: what the venue reports from before this venue time is in the opening balances.
    `clock_ns` is our own clock when the report was begun (when the venue's showed its `taken_at_ms`): the age
    of what happened here is told by it. None: the two clocks are taken to agree.
    `waived_ids` are those of discrepancies that stay as they are: position and cash may be the venue's with
    them or without them.
    """

    books_begin_ms: int
    orders: Mapping[str, InFlightOrder]
    fills: Sequence[BookedFill] = ()
    fundings: Sequence[FundingUpdate] = ()
    transfers: Sequence[Transfer] = ()
    positions: Mapping[str, Position] = {}
    cash: Decimal | None = None
    cash_summands: int = 0
    clock_ns: int | None = None
    waived_ids: frozenset[str] = frozenset()


class Window(msgspec.Struct, frozen=True, gc=False):
    """The venue times (ms, both inclusive) between which a list is complete.

    `asked_from_ms` is where it was meant to begin. Where `complete_from_ms` is later than that, the venue
    tells no more of what was before.
    """

    asked_from_ms: int
    complete_from_ms: int
    until_ms: int


class OrderAnswer(msgspec.Struct, frozen=True, gc=False):
    """What the venue says about one order of ours that is not in its list of open orders.

    `update` None: it does not know the order. `is_past_expiry`: by the venue's own clock its request can no
    longer take effect, so that not to be known and to have no fill proves that it never did.
    """

    update: OrderUpdate | None
    is_past_expiry: bool = False


class VenueReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the venue says about an account, taken at one time.

    A part that could not be had is None: a failed query is never an empty answer. `taken_at_ms` is the
    venue's clock before the first question was asked. `asked` has the answers about orders of ours that were
    asked for one by one, by client order id; `details` terms and status of orders that were placed elsewhere,
    by exchange order id, where the venue told them. `positions` lists every market that is not flat, at
    `positions_at_ms`. `cash` is the account's value without what its open positions are worth (Hyperliquid's
    `totalRawUsd`), at the same time. Both are judged by fills, funding and transfers that are complete until
    then: so those are asked for after them, and a list that ends before the report was begun judges neither.
    `steps` has the amount step (base units) of each market that `positions` would list, and of no other: one
    that is here and not there is flat. `failures` says in words what could not be asked or read.
    """

    taken_at_ms: int
    open_orders: Sequence[OrderUpdate] | None = None
    asked: Mapping[str, OrderAnswer] = {}
    details: Mapping[str, OrderUpdate] = {}
    fills: Sequence[TradeUpdate] | None = None
    fills_window: Window | None = None
    fundings: Sequence[FundingUpdate] | None = None
    fundings_window: Window | None = None
    transfers: Sequence[Transfer] | None = None
    transfers_window: Window | None = None
    positions: Sequence[PositionUpdate] | None = None
    positions_at_ms: int = 0
    cash: Decimal | None = None
    cash_token: str = ""
    steps: Mapping[str, Decimal] = {}
    failures: Sequence[str] = ()


class BookFill(msgspec.Struct, frozen=True, gc=False, tag="book_fill"):
    """Book the execution, to its order if it has one, to a newly found external order otherwise.

    `client_order_id` names the order in the books it belongs to. Without one, and unless the execution is
    ownerless, an order is adopted with `terms`, which all of its executions in the report fit into, and then
    takes `order`, its status where the venue told it (with the last of those executions).
    """

    update: TradeUpdate
    client_order_id: str | None = None
    terms: OrderDetails | None = None
    order: OrderUpdate | None = None


class CorrectFill(msgspec.Struct, frozen=True, gc=False, tag="correct_fill"):
    """Put `now` in the place of a booked fill; None: take it back."""

    booked: BookedFill
    now: Fill | None


class TakeOrderUpdate(msgspec.Struct, frozen=True, gc=False, tag="take_order_update"):
    """Apply what the venue says about an order; one nobody knows becomes an external order.

    `client_order_id` names the order in the books it is about. `settles_requests`: a cancel or amend of it
    that is still out did not take effect, as this update shows.
    """

    update: OrderUpdate
    client_order_id: str | None = None
    settles_requests: bool = False


class ProveAbsent(msgspec.Struct, frozen=True, gc=False, tag="prove_absent"):
    """The order's request never took effect and never will."""

    client_order_id: str
    reason: str


class Reopen(msgspec.Struct, frozen=True, gc=False, tag="reopen"):
    """The venue lists an order as live whose end is recorded."""

    client_order_id: str
    update: OrderUpdate


class BookFunding(msgspec.Struct, frozen=True, gc=False, tag="book_funding"):
    """Book the payment; for a mismatch, the difference under a key of its own."""

    update: FundingUpdate


class BookTransfer(msgspec.Struct, frozen=True, gc=False, tag="book_transfer"):
    transfer: Transfer


class AdjustPosition(msgspec.Struct, frozen=True, gc=False, tag="adjust_position"):
    """Go on from what the venue says the position is: `update`, as of the venue time `at_ms`."""

    update: PositionUpdate
    at_ms: int


class AdjustBalance(msgspec.Struct, frozen=True, gc=False, tag="adjust_balance"):
    """Go on from what the venue says the cash is, as of the venue time `at_ms`."""

    token: str
    amount: Decimal
    at_ms: int


class TakeLeverage(msgspec.Struct, frozen=True, gc=False, tag="take_leverage"):
    trading_pair: str
    leverage: int
    is_cross: bool


Repair: TypeAlias = (
    BookFill
    | CorrectFill
    | TakeOrderUpdate
    | ProveAbsent
    | Reopen
    | BookFunding
    | BookTransfer
    | AdjustPosition
    | AdjustBalance
    | TakeLeverage
)


class Discrepancy(msgspec.Struct, frozen=True, kw_only=True):
    """One difference between the books and the venue, explained.

    `subject` is what it is about: a client order id, an exchange order id, a fill or funding key, a trading
    pair. `ours` and `theirs` are the two sides in a few words, `evidence` what the venue said (JSON).
    `repair` None: nothing that can be recorded would mend it; `waiver` then says why it may stay, and is
    empty where a person has to look.
    """

    discrepancy_id: str
    kind: DiscrepancyKind
    subject: str
    trading_pair: str
    ours: str
    theirs: str
    explanation: str
    evidence: str = ""
    repair: Repair | None = None
    waiver: str = ""


def discrepancy_id_of(kind: DiscrepancyKind, subject: str, ours: str, theirs: str) -> str:
    """The id of a finding: a pure function of what differs, the same in every run and on every machine."""
    text = "\x1f".join((kind, subject, ours, theirs))
    return f"D-{sha256(text.encode()).hexdigest()[:16]}"
