"""The events of an order and of an account: the only things the ledger stores.

Each event is a frozen struct that adds one fact. Its `topic` is an explicit name, never a module path; its
`class_version` rises when its members change, and `upcast_vN_vM(state)` brings an older state forward.
Fields that hold their default are not written.
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import msgspec

from domain.enums import (
    ClosingKind,
    Liquidity,
    OrderType,
    PositionAction,
    RequestOutcome,
    Source,
    TimeInForce,
    TradeType,
)

__all__ = [
    "ACCOUNT_EVENTS",
    "EVENT_TYPES",
    "ORDER_EVENTS",
    "AccountActionRequested",
    "AccountActionSettled",
    "AccountBalanceAsserted",
    "AccountDiscrepancyFound",
    "AccountDiscrepancyRepaired",
    "AccountDiscrepancyWaived",
    "AccountEvent",
    "AccountFillBooked",
    "AccountFillCorrected",
    "AccountFundingBooked",
    "AccountLedgerUpdateBooked",
    "AccountLeverageChanged",
    "AccountLiquidationNoticed",
    "AccountMessageKept",
    "AccountOpened",
    "AccountPositionAsserted",
    "Fill",
    "LedgerEvent",
    "OrderAcknowledged",
    "OrderAmendRefused",
    "OrderAmendRequested",
    "OrderAmendUnknown",
    "OrderAmended",
    "OrderCancelRefused",
    "OrderCancelRequested",
    "OrderCancelUnknown",
    "OrderCancelled",
    "OrderCreated",
    "OrderEvent",
    "OrderExpired",
    "OrderFailed",
    "OrderFillCorrected",
    "OrderFilled",
    "OrderNotFound",
    "OrderObserved",
    "OrderReopened",
    "OrderReportedFilled",
    "OrderSubmitUnknown",
    "OrderSubmitted",
    "OrderTriggered",
]


class LedgerEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The envelope every event carries.

    `recorded_at_ns` is our clock when the input was handled (integer nanoseconds UTC); `exchange_time_ms` the
    venue's own time of the fact, where it gave one. Neither orders anything: the store's `position` does.
    `causation` names the input that led here (`<session>:<sequence>`); `correlation_id` the intent it serves,
    empty when that is the aggregate itself.
    """

    topic: ClassVar[str] = ""
    class_version: ClassVar[int] = 1

    originator_id: str
    originator_version: int
    recorded_at_ns: int
    venue: str
    account: str
    source: Source
    causation: str = ""
    correlation_id: str = ""
    exchange_time_ms: int | None = None


class Fill(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One execution as the venue reported it. `fill_key` identifies it for ever within venue and account.

    `fee` is positive when paid and negative when received, in units of `fee_token`, builder fee included.
    `start_position` and `closed_pnl` are the venue's own figures (before fees), kept for checking.
    """

    fill_key: str
    trade_id: str
    exchange_order_id: str
    trading_pair: str
    trade_type: TradeType
    price: Decimal
    amount: Decimal
    fee: Decimal
    fee_token: str
    liquidity: Liquidity
    exchange_time_ms: int
    start_position: Decimal | None = None
    closed_pnl: Decimal | None = None
    builder_fee: Decimal | None = None
    direction: str = ""
    transaction_hash: str = ""
    liquidation: bool = False


class OrderEvent(LedgerEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An event of an `InFlightOrder`; `originator_id` is the client order id."""


class OrderCreated(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The intent, complete: from a command, or (`external`) from finding an order placed elsewhere.

    With the source `reconciliation` and not `external`: the terms of an order that was placed under this
    client id before the ledger was kept, as the venue's history tells them.

    `price` and `amount` are quantized as sent; what was asked for stands in `requested_*` where it differs.
    `venue_order_key` is the client id in the venue's own format (a Hyperliquid `cloid`): the order can
    be asked for after a crash. `reference_price` is the mid price when the decision was made.
    """

    topic: ClassVar[str] = "order.created"

    trading_pair: str
    instrument: str
    order_type: OrderType
    trade_type: TradeType
    amount: Decimal
    price: Decimal
    position_action: PositionAction = PositionAction.NIL
    time_in_force: TimeInForce = TimeInForce.GTC
    trigger_price: Decimal | None = None
    venue_order_key: str | None = None
    requested_amount: Decimal | None = None
    requested_price: Decimal | None = None
    reference_price: Decimal | None = None
    parent_id: str | None = None
    tag: str = ""
    external: bool = False


class OrderSubmitted(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A request is about to leave. After `expires_at_ms` (venue time) the venue refuses it."""

    topic: ClassVar[str] = "order.submitted"

    attempt: int
    nonce: int
    expires_at_ms: int | None = None


class OrderSubmitUnknown(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The request may or may not have arrived."""

    topic: ClassVar[str] = "order.submit_unknown"

    reason_code: str
    reason: str = ""


class OrderAcknowledged(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The venue has the order. A dormant child order has no exchange id yet."""

    topic: ClassVar[str] = "order.acknowledged"

    exchange_order_id: str | None = None


class OrderFilled(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An execution of this order."""

    topic: ClassVar[str] = "order.filled"

    fill: Fill


class OrderFillCorrected(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An execution that was booked is not what the venue's own history says: `now` takes its place, or
    nothing does (None), because it never happened or was booked twice. The events before it stay as they are.

    `discrepancy_id` names the finding of which this is the repair.
    """

    topic: ClassVar[str] = "order.fill_corrected"

    was: Fill
    now: Fill | None = None
    reason_code: str
    discrepancy_id: str


class OrderReopened(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The venue lists the order as live long after the time at which it is recorded to have ended: the end
    is refuted. Never by a late or equal-time message, only by a reconciliation."""

    topic: ClassVar[str] = "order.reopened"

    exchange_order_id: str | None = None
    reason_code: str
    reason: str = ""
    discrepancy_id: str


class OrderReportedFilled(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The venue calls the order filled. Closes it, moves no quantity: missing fills are asked for."""

    topic: ClassVar[str] = "order.reported_filled"

    exchange_order_id: str | None = None


class OrderTriggered(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The trigger price was reached; the order is live now."""

    topic: ClassVar[str] = "order.triggered"

    exchange_order_id: str | None = None


class OrderCancelRequested(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A cancel is about to leave."""

    topic: ClassVar[str] = "order.cancel_requested"

    nonce: int
    reason_code: str = ""


class OrderCancelUnknown(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The cancel may or may not have arrived."""

    topic: ClassVar[str] = "order.cancel_unknown"

    reason_code: str
    reason: str = ""


class OrderCancelRefused(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The venue did not cancel. Says nothing about whether the order lives."""

    topic: ClassVar[str] = "order.cancel_refused"

    reason_code: str
    reason: str = ""


class OrderAmendRequested(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A change of price or amount is about to leave. `amount` is the new total, fills included;
    `leg_amount` what the replacement at the venue is sent with."""

    topic: ClassVar[str] = "order.amend_requested"

    price: Decimal
    amount: Decimal
    leg_amount: Decimal
    nonce: int
    expires_at_ms: int | None = None


class OrderAmendUnknown(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The amend may or may not have arrived."""

    topic: ClassVar[str] = "order.amend_unknown"

    reason_code: str
    reason: str = ""


class OrderAmended(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The venue works the order with new terms, perhaps under a new exchange id."""

    topic: ClassVar[str] = "order.amended"

    price: Decimal
    leg_amount: Decimal
    exchange_order_id: str | None = None


class OrderAmendRefused(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The venue did not change the order."""

    topic: ClassVar[str] = "order.amend_refused"

    reason_code: str
    reason: str = ""


class _OrderClosed(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`reason` is the venue's own text; `reason_code` is ours and stable."""

    reason_code: str
    reason: str = ""
    exchange_order_id: str | None = None


class OrderCancelled(_OrderClosed, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An order the venue had accepted was ended before it filled completely."""

    topic: ClassVar[str] = "order.cancelled"


class OrderFailed(_OrderClosed, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The order never became live: refused by the venue, or refused here before anything was sent."""

    topic: ClassVar[str] = "order.failed"


class OrderExpired(_OrderClosed, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Its lifetime ended it: an IOC remainder, a late action, a scheduled cancel."""

    topic: ClassVar[str] = "order.expired"


class OrderNotFound(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The venue answered that it does not know the order, `count` times in a row without a sign of life."""

    topic: ClassVar[str] = "order.not_found"

    count: int


class OrderObserved(OrderEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An update that closes and opens nothing, kept for audit: `why` says what it contradicts or repeats.

    `closing_kind` is set when it says that one leg (`exchange_order_id`) ended while another may live.
    """

    topic: ClassVar[str] = "order.observed"

    why: str
    status: str = ""
    reason_code: str = ""
    reason: str = ""
    exchange_order_id: str | None = None
    closing_kind: ClosingKind | None = None


class AccountEvent(LedgerEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An event of an `Account`; `originator_id` is `account:<venue>:<address>`."""


class AccountOpened(AccountEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The books of an account begin at `exchange_time_ms`: what the venue reports from before is not ours."""

    topic: ClassVar[str] = "account.opened"

    network: str
    signer: str = ""


class AccountFillBooked(AccountEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An execution that belongs to no order of ours and to no order that can be tracked:
    liquidation, auto-deleveraging, settlement."""

    topic: ClassVar[str] = "account.fill"

    fill: Fill


class AccountFillCorrected(AccountEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`OrderFillCorrected` for an execution that belongs to no order."""

    topic: ClassVar[str] = "account.fill_corrected"

    was: Fill
    now: Fill | None = None
    reason_code: str
    discrepancy_id: str


class AccountFundingBooked(AccountEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A funding payment. `amount` is the signed cash effect: negative when the account paid."""

    topic: ClassVar[str] = "account.funding"

    funding_key: str
    trading_pair: str
    amount: Decimal
    token: str
    rate: Decimal
    position_size: Decimal


class AccountLedgerUpdateBooked(AccountEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Money moved without a trade (deposit, transfer). `detail` is the venue's own record (JSON)."""

    topic: ClassVar[str] = "account.transfer"

    update_key: str
    kind: str
    amount: Decimal | None
    token: str
    detail: str


class AccountActionRequested(AccountEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A request that changes the account and no order is about to leave: leverage, isolated margin, the
    scheduled cancel. `action` is the venue's name of it, `detail` what is asked (JSON). After `expires_at_ms`
    (venue time) the venue refuses it."""

    topic: ClassVar[str] = "account.action_requested"

    action: str
    detail: str
    nonce: int
    expires_at_ms: int | None = None


class AccountActionSettled(AccountEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What became of the request with this nonce. Unknown: it may or may not have taken effect."""

    topic: ClassVar[str] = "account.action_settled"

    action: str
    nonce: int
    outcome: RequestOutcome
    reason_code: str = ""
    reason: str = ""


class AccountLeverageChanged(AccountEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Leverage of a market was set, by us or (`source` query) found to differ."""

    topic: ClassVar[str] = "account.leverage_changed"

    trading_pair: str
    leverage: int
    is_cross: bool


class AccountPositionAsserted(AccountEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the venue said the position is, at a point of the log, in signed base units.

    With `opening` it is where the fold of the market starts: fills before the ledger began are in it. With
    `adjustment` it replaces what the fold says, because no fill that the venue still tells explains the
    difference, or, in a backfill, tells the entry. With neither it is a claim that every rebuild checks.
    """

    topic: ClassVar[str] = "account.position_asserted"

    trading_pair: str
    amount: Decimal
    entry_price: Decimal | None
    opening: bool = False
    adjustment: bool = False
    discrepancy_id: str = ""


class AccountBalanceAsserted(AccountEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the venue said the cash of the account is (open positions at cost, not at value), in units of
    `token`. `opening` and `adjustment` as for a position."""

    topic: ClassVar[str] = "account.balance_asserted"

    token: str
    amount: Decimal
    opening: bool = False
    adjustment: bool = False
    discrepancy_id: str = ""


class AccountDiscrepancyFound(AccountEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The books and the venue differ.

    `discrepancy_id` is a pure function of what differs, so that finding it again is recognised. `kind` is one
    of `domain.reconciliation.DiscrepancyKind`, `subject` what it is about (a client order id, a fill key, a
    trading pair), `ours` and `theirs` the two sides as text, `evidence` the venue's own words (JSON).
    """

    topic: ClassVar[str] = "account.discrepancy_found"

    discrepancy_id: str
    kind: str
    subject: str
    trading_pair: str = ""
    ours: str
    theirs: str
    explanation: str
    evidence: str = ""


class AccountDiscrepancyRepaired(AccountEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What was done about a discrepancy, by whom (`actor`), and why that is right.

    `repairs` names the events that the repair consists of, as `<topic> <aggregate id> <version>`; they stand
    before this one in the log. It is empty when the difference vanished by itself.
    """

    topic: ClassVar[str] = "account.discrepancy_repaired"

    discrepancy_id: str
    reason: str
    actor: str
    repairs: tuple[str, ...] = ()


class AccountDiscrepancyWaived(AccountEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A discrepancy that is left as it is, by whom, and why that does no harm."""

    topic: ClassVar[str] = "account.discrepancy_waived"

    discrepancy_id: str
    reason: str
    actor: str


class AccountLiquidationNoticed(AccountEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The venue liquidates the account."""

    topic: ClassVar[str] = "account.liquidation"

    detail: str


class AccountMessageKept(AccountEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A venue message, or one element of it, that could not be understood; kept as it came."""

    topic: ClassVar[str] = "account.message_kept"

    why: str
    message: str


ORDER_EVENTS: tuple[type[OrderEvent], ...] = (
    OrderCreated,
    OrderSubmitted,
    OrderSubmitUnknown,
    OrderAcknowledged,
    OrderFilled,
    OrderReportedFilled,
    OrderTriggered,
    OrderCancelRequested,
    OrderCancelUnknown,
    OrderCancelRefused,
    OrderAmendRequested,
    OrderAmendUnknown,
    OrderAmended,
    OrderAmendRefused,
    OrderCancelled,
    OrderFailed,
    OrderExpired,
    OrderNotFound,
    OrderObserved,
    OrderFillCorrected,
    OrderReopened,
)

ACCOUNT_EVENTS: tuple[type[AccountEvent], ...] = (
    AccountOpened,
    AccountFillBooked,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    AccountActionRequested,
    AccountActionSettled,
    AccountLeverageChanged,
    AccountPositionAsserted,
    AccountLiquidationNoticed,
    AccountMessageKept,
    AccountFillCorrected,
    AccountBalanceAsserted,
    AccountDiscrepancyFound,
    AccountDiscrepancyRepaired,
    AccountDiscrepancyWaived,
)

EVENT_TYPES: dict[str, type[LedgerEvent]] = {cls.topic: cls for cls in (*ORDER_EVENTS, *ACCOUNT_EVENTS)}
"""Every topic that may stand in a ledger, and the struct it decodes to."""
