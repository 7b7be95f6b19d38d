"""`InFlightOrder`: one order as facts, and what follows from them.

An order stores no state that handlers overwrite. Each event adds a fact; state, quantities and flags are pure
functions of the facts, so that the same evidence in any order ends in the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from domain.enums import (
    ClosingKind,
    OrderState,
    OrderType,
    PositionAction,
    RequestState,
    Source,
    Submission,
    TimeInForce,
    TradeType,
)
from domain.errors import VersionError
from domain.events import (
    LedgerEvent,
    OrderAcknowledged,
    OrderAmended,
    OrderAmendRefused,
    OrderAmendRequested,
    OrderAmendUnknown,
    OrderCancelled,
    OrderCancelRefused,
    OrderCancelRequested,
    OrderCancelUnknown,
    OrderCreated,
    OrderExpired,
    OrderFailed,
    OrderFillCorrected,
    OrderFilled,
    OrderNotFound,
    OrderObserved,
    OrderReopened,
    OrderReportedFilled,
    OrderSubmitted,
    OrderSubmitUnknown,
    OrderTriggered,
)
from domain.money import MONEY, ZERO

__all__ = [
    "DONE_STATES",
    "INFERRED_REASONS",
    "REST_DROPPED",
    "Closing",
    "InFlightOrder",
    "OrderView",
    "closing_rank",
]

DONE_STATES = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.FAILED, OrderState.EXPIRED})

INFERRED_REASONS = frozenset({"not_found", "absence_proven"})
"""Reason codes of closings that were concluded from absence. Any evidence of life refutes them."""


class Closing(msgspec.Struct, frozen=True, gc=False):
    """How the order ended, why (our code and the venue's text), and when by the venue's clock.

    `exchange_order_id` names the leg that ended; None when the end is of the order as a whole (our cancel was
    confirmed, the request that places it was refused).
    """

    kind: ClosingKind
    reason_code: str
    reason: str
    exchange_time_ms: int | None
    exchange_order_id: str | None = None

    @property
    def is_inferred(self) -> bool:
        return self.reason_code in INFERRED_REASONS


REST_DROPPED = "ioc_remainder"
"""Reason code of what an immediate order leaves unfilled."""

_RANKS = {ClosingKind.FAILED: 1, ClosingKind.FILLED: 2, ClosingKind.EXPIRED: 3, ClosingKind.CANCELLED: 4}
_REST_DROPPED_RANK = 5


def closing_rank(kind: ClosingKind, reason_code: str) -> int:
    """Which of two contradicting ends stands, whichever came first: the higher rank.

    A conclusion from absence yields to everything. FAILED says that the order never lived, so any end of a
    living order refutes it. CANCELLED and EXPIRED beat a bare "filled", because a complete fill shows in the
    fills themselves, and only they can say that the remainder was dropped. A rest that is known to have been
    dropped was not cancelled, though venues use that word for it.
    """
    if reason_code in INFERRED_REASONS:
        return 0
    return _REST_DROPPED_RANK if reason_code == REST_DROPPED else _RANKS[kind]


class OrderView(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order as it stood right after one event: what listeners, publishers and views receive.

    `amount`, `filled_amount`, `remaining_amount` are in base units; prices in quote units per base unit;
    `fees` maps token to the amount paid (negative: received).
    """

    client_order_id: str
    exchange_order_id: str | None
    venue: str
    account: str
    trading_pair: str
    order_type: OrderType
    trade_type: TradeType
    position_action: PositionAction
    price: Decimal
    trigger_price: Decimal | None
    amount: Decimal
    filled_amount: Decimal
    average_fill_price: Decimal | None
    remaining_amount: Decimal
    fees: dict[str, Decimal]
    state: OrderState
    outcome_unknown: bool
    reason_code: str
    reason: str
    external: bool
    tag: str
    created_at_ns: int
    updated_at_ns: int
    version: int


# A member is found in its class more slowly than it is compared, and these are asked for at every event.
_NOT_SENT, _SENT, _SUBMIT_UNKNOWN = Submission.NONE, Submission.SENT, Submission.UNKNOWN
_ACKNOWLEDGED, _REFUSED = Submission.ACKNOWLEDGED, Submission.REFUSED
_NO_REQUEST, _REQUESTED = RequestState.NONE, RequestState.REQUESTED
_REQUEST_UNKNOWN, _REQUEST_REFUSED = RequestState.UNKNOWN, RequestState.REFUSED
_CLOSED_AS_FAILED, _CLOSED_AS_FILLED = ClosingKind.FAILED, ClosingKind.FILLED
_CLOSED_AS_CANCELLED, _CLOSED_AS_EXPIRED = ClosingKind.CANCELLED, ClosingKind.EXPIRED
_FILLED, _PARTIALLY_FILLED, _OPEN = OrderState.FILLED, OrderState.PARTIALLY_FILLED, OrderState.OPEN
_PENDING_CREATE, _PENDING_SUBMIT = OrderState.PENDING_CREATE, OrderState.PENDING_SUBMIT
_PENDING_CANCEL = OrderState.PENDING_CANCEL


class InFlightOrder:
    """An order as the fold of its events. `apply` is the only way its facts change."""

    __slots__ = (
        "acknowledged_ms",
        "amend",
        "amend_leg_amount",
        "amend_nonce",
        "amend_price",
        "amended_count",
        "attempts",
        "cancel",
        "cancel_reason",
        "closing",
        "cost",
        "created",
        "ended_legs",
        "exchange_order_id",
        "expires_at_ms",
        "fee_totals",
        "filled_amount",
        "fills",
        "former_filled",
        "former_legs",
        "last_fill_time_ms",
        "leg_amount",
        "leg_began_ms",
        "newest_leg",
        "not_found_count",
        "observed",
        "price",
        "submission",
        "terms_assumed",
        "triggered",
        "unknown_reason",
        "updated_at_ns",
        "version",
    )

    def __init__(self, created: OrderCreated) -> None:
        self.created = created
        self.version = created.originator_version
        self.updated_at_ns = created.recorded_at_ns
        self.submission: Submission = _NOT_SENT
        self.unknown_reason = ""
        self.attempts = 0
        self.expires_at_ms: int | None = None
        self.acknowledged_ms: int | None = None
        self.exchange_order_id: str | None = None
        """The current exchange id; an amend may have left earlier ones behind it."""
        self.former_legs: dict[str, None] | None = None
        """The exchange ids of earlier legs: a quote that is amended for days has had many thousands."""
        self.newest_leg: str | None = None
        """The exchange id learned last: by it an index of ids knows whether it has them all."""
        self.price = created.price
        self.leg_amount = created.amount
        self.leg_began_ms: int | None = None
        self.terms_assumed = False
        self.former_filled = ZERO
        self.amended_count = 0
        self.filled_amount = ZERO
        self.cost = ZERO
        # Pairs, not a dict: an order has one fee token or two, and a dict would weigh twice as much.
        self.fee_totals: tuple[tuple[str, Decimal], ...] = ()
        self.fills: dict[str, tuple[str, Decimal]] | None = None
        self.last_fill_time_ms = 0
        self.cancel: RequestState = _NO_REQUEST
        self.cancel_reason = ""
        self.amend: RequestState = _NO_REQUEST
        self.amend_nonce = 0
        self.amend_price: Decimal | None = None
        self.amend_leg_amount: Decimal | None = None
        self.closing: Closing | None = None
        self.ended_legs: dict[str, Closing] | None = None
        self.observed: set[tuple[str, str | None, int | None]] | None = None
        self.triggered = False
        self.not_found_count = 0

    # -- building ------------------------------------------------------------------------------------------

    @classmethod
    def fold(cls, events: Iterable[LedgerEvent]) -> InFlightOrder:
        """Rebuild an order from its events, first to last. Raises `VersionError` on a gap."""
        iterator = iter(events)
        first = next(iterator, None)
        if not isinstance(first, OrderCreated):
            raise VersionError(f"An order begins with order.created, not with {first!r:.200}.")
        order = cls(first)
        for event in iterator:
            order.apply(event)
        return order

    def apply(self, event: LedgerEvent) -> None:
        """Add one fact. Raises `VersionError` when it is not the next event of this order."""
        version = self.version + 1
        if event.originator_version != version or event.originator_id != self.created.originator_id:
            raise VersionError(
                f"Event {event.topic} version {event.originator_version} of {event.originator_id!r} does not "
                f"follow version {self.version} of {self.created.originator_id!r}."
            )
        _APPLY[type(event)](self, event)
        self.version = version
        self.updated_at_ns = event.recorded_at_ns

    def _on_submitted(self, event: OrderSubmitted) -> None:
        self.attempts = event.attempt
        self.expires_at_ms = event.expires_at_ms
        if self.submission is _NOT_SENT:
            self.submission = _SENT

    def _on_submit_unknown(self, event: OrderSubmitUnknown) -> None:
        if self.submission is not _ACKNOWLEDGED:
            self.submission = _SUBMIT_UNKNOWN
            self.unknown_reason = event.reason_code

    def _lives(self) -> None:
        """Evidence that the venue has or had the order: settles the submit, refutes what denied it."""
        self.submission = _ACKNOWLEDGED
        self.not_found_count = 0
        if self.closing is not None and self.closing.is_inferred:
            self.closing = None

    def _learn_exchange_id(self, exchange_order_id: str | None) -> None:
        if exchange_order_id is not None and self.exchange_order_id is None:
            self.exchange_order_id = self.newest_leg = exchange_order_id

    def _begin_leg(self, exchange_order_id: str | None) -> None:
        """The order is worked under another exchange id from here on, and amounts count from here.

        What ended before was that leg, not the order.
        """
        self.amended_count += 1
        if exchange_order_id is not None and exchange_order_id != self.exchange_order_id:
            self._change_leg(exchange_order_id)
        closing = self.closing
        if closing is not None and closing.exchange_order_id not in (None, self.exchange_order_id):
            self._remember_end(closing)
            self.closing = None

    def _change_leg(self, exchange_order_id: str) -> None:
        was, former = self.exchange_order_id, self.former_legs
        if was is not None:
            if former is None:
                former = self.former_legs = {}
            former[was] = None
        self.exchange_order_id = exchange_order_id
        if former is not None and exchange_order_id in former:
            del former[exchange_order_id]
            self._count_former_fills()
        else:
            self.newest_leg = exchange_order_id
            # Nothing was executed under an id that is news.
            self.former_filled = self.filled_amount

    def _count_former_fills(self) -> None:
        current = self.exchange_order_id
        self.former_filled = ZERO
        for exchange_order_id, amount in (self.fills or {}).values():
            if exchange_order_id != current:
                self.former_filled = MONEY.add(self.former_filled, amount)

    def _remember_end(self, closing: Closing) -> None:
        if self.ended_legs is None:
            self.ended_legs = {}
        assert closing.exchange_order_id is not None, "only a leg ends for itself"
        self.ended_legs[closing.exchange_order_id] = closing

    def _on_acknowledged(self, event: OrderAcknowledged) -> None:
        self._lives()
        self._learn_exchange_id(event.exchange_order_id)
        if self.acknowledged_ms is None:
            self.acknowledged_ms = self.leg_began_ms = event.exchange_time_ms

    def _on_filled(self, event: OrderFilled) -> None:
        fill = event.fill
        if self.closing is not None and self.closing.kind is _CLOSED_AS_FAILED:
            self.closing = None
        self._lives()
        fills = self.fills
        if fills is None:
            fills = self.fills = {}
        assert fill.fill_key not in fills, "a fill is booked once"
        leg = fill.exchange_order_id
        if leg != self.exchange_order_id:
            self._learn_exchange_id(leg)
            if not self.has_leg(leg):
                # A leg that nobody has announced yet: until its terms are told, the total stays what it was.
                rest = self.remaining_amount
                self._begin_leg(leg)
                self.leg_amount = rest
                self.terms_assumed = True
            elif leg != self.exchange_order_id:
                self.former_filled = MONEY.add(self.former_filled, fill.amount)
        # The text the order holds already: a fill brings its own copy of the id.
        known = self.exchange_order_id if leg == self.exchange_order_id else leg
        amount = fill.amount
        fills[fill.fill_key] = (known, amount)
        self.filled_amount = MONEY.add(self.filled_amount, amount) if self.filled_amount else amount
        self.cost = MONEY.fma(fill.price, amount, self.cost)
        self._add_fee(fill.fee_token, fill.fee)
        if fill.exchange_time_ms > self.last_fill_time_ms:
            self.last_fill_time_ms = fill.exchange_time_ms

    def _add_fee(self, token: str, fee: Decimal) -> None:
        totals = self.fee_totals
        if len(totals) == 1 and totals[0][0] == token:
            self.fee_totals = ((token, MONEY.add(totals[0][1], fee)),)
            return
        if not totals:
            self.fee_totals = ((token, MONEY.add(ZERO, fee)),)
            return
        if all(known != token for known, _ in totals):
            totals = (*totals, (token, ZERO))
        self.fee_totals = tuple(
            (known, MONEY.add(total, fee) if known == token else total) for known, total in totals
        )

    def _on_fill_corrected(self, event: OrderFillCorrected) -> None:
        was, now = event.was, event.now
        fills = self.fills
        if fills is None or was.fill_key not in fills:
            raise VersionError(f"Order {self.id!r} has no fill {was.fill_key!r} to be corrected.")
        leg, _ = fills.pop(was.fill_key)
        self.filled_amount = MONEY.subtract(self.filled_amount, was.amount)
        self.cost = MONEY.subtract(self.cost, MONEY.multiply(was.price, was.amount))
        self._add_fee(was.fee_token, was.fee.copy_negate())
        if now is not None:
            fills[now.fill_key] = (leg, now.amount)
            self.filled_amount = MONEY.add(self.filled_amount, now.amount)
            self.cost = MONEY.fma(now.price, now.amount, self.cost)
            self._add_fee(now.fee_token, now.fee)
        self._count_former_fills()

    def _on_reopened(self, event: OrderReopened) -> None:
        self.closing = None
        self._lives()
        self._learn_exchange_id(event.exchange_order_id)

    def _on_triggered(self, event: OrderTriggered) -> None:
        self._lives()
        self._learn_exchange_id(event.exchange_order_id)
        self.triggered = True

    def _on_cancel_requested(self, event: OrderCancelRequested) -> None:
        self.cancel = _REQUESTED
        self.cancel_reason = ""

    def _on_cancel_unknown(self, event: OrderCancelUnknown) -> None:
        self.cancel = _REQUEST_UNKNOWN
        self.cancel_reason = event.reason_code

    def _on_cancel_refused(self, event: OrderCancelRefused) -> None:
        self.cancel = _REQUEST_REFUSED
        self.cancel_reason = event.reason_code

    def _on_amend_requested(self, event: OrderAmendRequested) -> None:
        self.amend = _REQUESTED
        self.amend_nonce = event.nonce
        self.expires_at_ms = event.expires_at_ms
        self.amend_price = event.price
        self.amend_leg_amount = event.leg_amount

    def _on_amend_unknown(self, event: OrderAmendUnknown) -> None:
        self.amend = _REQUEST_UNKNOWN

    def _on_amended(self, event: OrderAmended) -> None:
        self._lives()
        self.amend = _NO_REQUEST
        self.amend_price = self.amend_leg_amount = None
        self.price = event.price
        self.leg_amount = event.leg_amount
        self.leg_began_ms = event.exchange_time_ms
        self.terms_assumed = False
        self._begin_leg(event.exchange_order_id)

    def _on_amend_refused(self, event: OrderAmendRefused) -> None:
        self.amend = _REQUEST_REFUSED
        self.amend_price = self.amend_leg_amount = None

    def _on_reported_filled(self, event: OrderReportedFilled) -> None:
        self._lives()
        self._learn_exchange_id(event.exchange_order_id)
        self._close(Closing(_CLOSED_AS_FILLED, "filled", "", event.exchange_time_ms, event.exchange_order_id))

    def _on_cancelled(self, event: OrderCancelled) -> None:
        self._closed(_CLOSED_AS_CANCELLED, event)

    def _on_failed(self, event: OrderFailed) -> None:
        self._closed(_CLOSED_AS_FAILED, event)
        if self.submission is not _ACKNOWLEDGED:
            self.submission = _REFUSED

    def _on_expired(self, event: OrderExpired) -> None:
        self._closed(_CLOSED_AS_EXPIRED, event)

    def _closed(self, kind: ClosingKind, event: OrderCancelled | OrderFailed | OrderExpired) -> None:
        self._learn_exchange_id(event.exchange_order_id)
        self._close(
            Closing(kind, event.reason_code, event.reason, event.exchange_time_ms, event.exchange_order_id)
        )

    def _close(self, closing: Closing) -> None:
        held = self.closing
        if held is None or closing_rank(closing.kind, closing.reason_code) > closing_rank(
            held.kind, held.reason_code
        ):
            self.closing = closing

    def _on_not_found(self, event: OrderNotFound) -> None:
        self.not_found_count = event.count

    def _on_observed(self, event: OrderObserved) -> None:
        leg = event.exchange_order_id
        if event.why == "still_open":
            self.not_found_count = 0
            return
        self._learn_exchange_id(leg)
        if event.closing_kind is not None:
            closing = Closing(
                event.closing_kind, event.reason_code, event.reason, event.exchange_time_ms, leg
            )
            if event.why == "end_confirmed":
                self._close(closing)
            elif leg is not None:
                self._remember_end(closing)
        if leg is not None and event.why == "former_leg" and not self.has_leg(leg):
            if self.former_legs is None:
                self.former_legs = {}
            self.former_legs[leg] = None
            self.newest_leg = leg
        if self.observed is None:
            self.observed = set()
        self.observed.add((event.status, leg, event.exchange_time_ms))

    # -- what follows from the facts -----------------------------------------------------------------------

    @property
    def client_order_id(self) -> str:
        return self.created.originator_id

    @property
    def id(self) -> str:
        """The aggregate id of the event store: the client order id."""
        return self.created.originator_id

    @property
    def trading_pair(self) -> str:
        return self.created.trading_pair

    @property
    def trade_type(self) -> TradeType:
        return self.created.trade_type

    @property
    def venue_order_key(self) -> str:
        """The client id in the venue's own format."""
        return self.created.venue_order_key or self.created.originator_id

    @property
    def exchange_order_ids(self) -> tuple[str, ...]:
        """Every exchange id the order has had, the current one last. Made anew: not for every event."""
        former = self.former_legs or ()
        return (*former,) if self.exchange_order_id is None else (*former, self.exchange_order_id)

    def has_leg(self, exchange_order_id: str) -> bool:
        """Whether the order is or was worked under this exchange id."""
        former = self.former_legs
        return exchange_order_id == self.exchange_order_id or (
            former is not None and exchange_order_id in former
        )

    @property
    def is_external(self) -> bool:
        return self.created.external

    @property
    def was_placed_from_here(self) -> bool:
        """Whether its intent was recorded here before anything was sent. One that was found at the venue,
        also under a client id, may have executed before the books began."""
        return not self.created.external and self.created.source is Source.COMMAND

    @property
    def is_immediate(self) -> bool:
        """Whether whatever does not fill at once is dropped."""
        return self.created.time_in_force is TimeInForce.IOC or self.created.order_type is OrderType.MARKET

    @property
    def drops_its_rest(self) -> bool:
        """Whether the venue itself ends it with what does not fill at once: an immediate order, and a stop or
        take-profit at the market once it was triggered, as its fills show too."""
        if self.is_immediate:
            return True
        return self.created.order_type.is_market and (self.triggered or self.filled_amount > ZERO)

    @property
    def amount(self) -> Decimal:
        """Total base units the order may execute, what earlier legs filled included."""
        if self.amended_count == 0:
            return self.leg_amount
        return MONEY.add(self.leg_amount, self.former_filled)

    @property
    def remaining_amount(self) -> Decimal:
        rest = MONEY.subtract(self.amount, self.filled_amount)
        return rest if rest > ZERO else ZERO

    @property
    def average_fill_price(self) -> Decimal | None:
        return MONEY.divide(self.cost, self.filled_amount) if self.filled_amount else None

    @property
    def overfilled(self) -> bool:
        return ZERO < self.amount < self.filled_amount

    @property
    def fees(self) -> dict[str, Decimal]:
        """Token to the amount paid in it (negative: received)."""
        return dict(self.fee_totals)

    @property
    def missing_fill_amount(self) -> Decimal:
        """How much the venue says was filled that no fill has shown yet."""
        if self.closing is None or self.closing.kind is not _CLOSED_AS_FILLED:
            return ZERO
        return self.remaining_amount

    @property
    def is_complete(self) -> bool:
        """Whether fills reach the amount. An amount of zero stands for "the whole position", as stops that
        were placed elsewhere have it: only the venue knows when such an order is complete."""
        filled = self.filled_amount
        return bool(filled) and ZERO < self.amount <= filled

    @property
    def state(self) -> OrderState:
        """The derived state: the first rule that matches, in the order the lifecycle contract lists them."""
        filled = self.filled_amount
        if filled and self.is_complete:
            return _FILLED
        closing = self.closing
        if closing is not None:
            return _CLOSED_STATE[closing.kind]
        cancel = self.cancel
        if cancel is _REQUESTED or cancel is _REQUEST_UNKNOWN:
            return _PENDING_CANCEL
        if filled:
            return _PARTIALLY_FILLED
        submission = self.submission
        if submission is _ACKNOWLEDGED:
            return _OPEN
        if submission is _SENT or submission is _SUBMIT_UNKNOWN:
            return _PENDING_SUBMIT
        return _PENDING_CREATE

    @property
    def is_done(self) -> bool:
        return self.closing is not None or self.is_complete

    @property
    def is_open(self) -> bool:
        """Whether the venue is known to hold it live."""
        return not self.is_done and self.submission is _ACKNOWLEDGED

    @property
    def is_fillable(self) -> bool:
        """Whether it could still execute, as far as is known (an unknown submit counts as fillable)."""
        return not self.is_done and self.submission is not _NOT_SENT

    @property
    def outcome_unknown(self) -> bool:
        """Whether a request about it is out with an unknown fate."""
        is_unknown = (
            self.submission is _SUBMIT_UNKNOWN
            or self.cancel is _REQUEST_UNKNOWN
            or self.amend is _REQUEST_UNKNOWN
        )
        return is_unknown and not self.is_done

    @property
    def is_amending(self) -> bool:
        """Whether an amend is out and its fate open."""
        return self.amend is _REQUESTED or self.amend is _REQUEST_UNKNOWN

    @property
    def reason_code(self) -> str:
        """Why it ended, or why the outcome of a request about it is unknown; else empty."""
        if self.closing is not None:
            return self.closing.reason_code
        if self.submission is _SUBMIT_UNKNOWN:
            return self.unknown_reason
        return self.cancel_reason if self.cancel is _REQUEST_UNKNOWN else ""

    def has_observed(self, status: str, exchange_order_id: str | None, time_ms: int | None) -> bool:
        return self.observed is not None and (status, exchange_order_id, time_ms) in self.observed

    def has_fill(self, fill_key: str) -> bool:
        return self.fills is not None and fill_key in self.fills

    def view(self) -> OrderView:
        """The order as it stands, for readers outside the core."""
        created = self.created
        closing = self.closing
        return OrderView(
            client_order_id=created.originator_id,
            exchange_order_id=self.exchange_order_id,
            venue=created.venue,
            account=created.account,
            trading_pair=created.trading_pair,
            order_type=created.order_type,
            trade_type=created.trade_type,
            position_action=created.position_action,
            price=self.price,
            trigger_price=created.trigger_price,
            amount=self.amount,
            filled_amount=self.filled_amount,
            average_fill_price=self.average_fill_price,
            remaining_amount=self.remaining_amount,
            fees=self.fees,
            state=self.state,
            outcome_unknown=self.outcome_unknown,
            reason_code=self.reason_code,
            reason=closing.reason if closing is not None else "",
            external=created.external,
            tag=created.tag,
            created_at_ns=created.recorded_at_ns,
            updated_at_ns=self.updated_at_ns,
            version=self.version,
        )


_CLOSED_STATE = {
    ClosingKind.CANCELLED: OrderState.CANCELLED,
    ClosingKind.FAILED: OrderState.FAILED,
    ClosingKind.EXPIRED: OrderState.EXPIRED,
    ClosingKind.FILLED: OrderState.FILLED,
}

_APPLY: dict[type[LedgerEvent], Callable[..., None]] = {
    OrderSubmitted: InFlightOrder._on_submitted,
    OrderSubmitUnknown: InFlightOrder._on_submit_unknown,
    OrderAcknowledged: InFlightOrder._on_acknowledged,
    OrderFilled: InFlightOrder._on_filled,
    OrderReportedFilled: InFlightOrder._on_reported_filled,
    OrderTriggered: InFlightOrder._on_triggered,
    OrderCancelRequested: InFlightOrder._on_cancel_requested,
    OrderCancelUnknown: InFlightOrder._on_cancel_unknown,
    OrderCancelRefused: InFlightOrder._on_cancel_refused,
    OrderAmendRequested: InFlightOrder._on_amend_requested,
    OrderAmendUnknown: InFlightOrder._on_amend_unknown,
    OrderAmended: InFlightOrder._on_amended,
    OrderAmendRefused: InFlightOrder._on_amend_refused,
    OrderCancelled: InFlightOrder._on_cancelled,
    OrderFailed: InFlightOrder._on_failed,
    OrderExpired: InFlightOrder._on_expired,
    OrderNotFound: InFlightOrder._on_not_found,
    OrderObserved: InFlightOrder._on_observed,
    OrderFillCorrected: InFlightOrder._on_fill_corrected,
    OrderReopened: InFlightOrder._on_reopened,
}
