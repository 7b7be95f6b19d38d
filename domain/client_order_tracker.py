"""`ClientOrderTracker`: owns the orders in memory and turns commands and venue updates into events.

It decides what an update means for an order, emits the events that follow, and keeps the look-up tables. It
never asks the venue, never reads a clock, and never drops anything: what matches no order is held until it is
known whose it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from domain.enums import ClosingKind, OrderState, Submission, TimeInForce
from domain.events import (
    Fill,
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
    OrderEvent,
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
from domain.in_flight_order import REST_DROPPED, Closing, InFlightOrder, closing_rank
from domain.money import MONEY, ZERO
from domain.order_params import OrderParams
from domain.updates import Change, OrderDetails, OrderUpdate, Stamp, TradeUpdate, UpdateStatus

__all__ = ["LOOKUP_PREFIXES", "ClientOrderTracker", "external_order_id", "lookup_key"]

_BY_EXCHANGE_ID, _BY_VENUE_KEY = "oid:", "key:"
LOOKUP_PREFIXES = (_BY_EXCHANGE_ID, _BY_VENUE_KEY)
"""What lookup keys begin with. No client order id does, or one order would be taken for another."""

_BY_USER = "cancelled_by_user"
"""Reason code of a plain cancel. Venues call the rest that an immediate order drops by the same word."""

_CLOSING_EVENTS: dict[ClosingKind, type[OrderCancelled | OrderFailed | OrderExpired]] = {
    ClosingKind.CANCELLED: OrderCancelled,
    ClosingKind.FAILED: OrderFailed,
    ClosingKind.EXPIRED: OrderExpired,
}
_CLOSING_KINDS = {
    UpdateStatus.FILLED: ClosingKind.FILLED,
    UpdateStatus.CANCELLED: ClosingKind.CANCELLED,
    UpdateStatus.FAILED: ClosingKind.FAILED,
    UpdateStatus.EXPIRED: ClosingKind.EXPIRED,
}


def external_order_id(venue: str, exchange_order_id: str) -> str:
    """The client order id under which an order placed elsewhere is kept: a pure function of the evidence."""
    return f"external:{venue}:{exchange_order_id}"


def lookup_key(venue_order_key: str | None, exchange_order_id: str | None) -> str:
    """The name under which an order unknown to memory is held and looked up in the ledger."""
    if venue_order_key is not None:
        return f"{_BY_VENUE_KEY}{venue_order_key}"
    assert exchange_order_id is not None, "an update names its order"
    return f"{_BY_EXCHANGE_ID}{exchange_order_id}"


class ClientOrderTracker:
    """The orders of one account at one venue.

    `retention_ns`: how long a finished order stays in memory. `not_found_limit`: after how many consecutive
    "the venue does not know it" answers a live order counts as missing. `recent_fills`: how many of the
    latest fill keys are remembered beyond their orders, so that replays of recent history cost nothing.
    `changes` is the list new events are collected in, shared with the account so that they stay in order.
    """

    def __init__(
        self,
        *,
        venue: str,
        account: str,
        retention_ns: int = 60 * 1_000_000_000,
        not_found_limit: int = 3,
        recent_fills: int = 20_000,
        changes: list[Change] | None = None,
    ) -> None:
        self.venue = venue
        self.account = account
        self.retention_ns = retention_ns
        self.not_found_limit = not_found_limit
        self.stamp: Stamp | None = None
        self.duplicates_ignored = 0
        self.unknown_outcomes_resolved = 0
        self._recent_limit = recent_fills
        self._active: dict[str, InFlightOrder] = {}
        self._done: dict[str, InFlightOrder] = {}
        self._done_queue: deque[tuple[int, str]] = deque()
        self._by_venue_key: dict[str, str] = {}
        self._by_exchange_id: dict[str, str] = {}
        self._recent_fill_keys: dict[str, None] = {}
        self._recent_fill_queue: deque[str] = deque()
        self._held: dict[str, list[OrderUpdate | TradeUpdate]] = {}
        self._reopened: dict[str, None] = {}
        self.changes: list[Change] = [] if changes is None else changes
        self._lookups: list[str] = []

    # -- reading -------------------------------------------------------------------------------------------

    def get(self, client_order_id: str) -> InFlightOrder | None:
        """An order in memory, live or done, by its client id."""
        order = self._active.get(client_order_id)
        return order if order is not None else self._done.get(client_order_id)

    def by_exchange_id(self, exchange_order_id: str) -> InFlightOrder | None:
        client_order_id = self._by_exchange_id.get(exchange_order_id)
        return None if client_order_id is None else self.get(client_order_id)

    def by_venue_key(self, venue_order_key: str) -> InFlightOrder | None:
        client_order_id = self._by_venue_key.get(venue_order_key)
        return None if client_order_id is None else self.get(client_order_id)

    def find(self, venue_order_key: str | None, exchange_order_id: str | None) -> InFlightOrder | None:
        """The order an update is about: by the client id it repeats, else by the exchange id."""
        if venue_order_key is not None:
            order = self.by_venue_key(venue_order_key)
            if order is not None:
                return order
        return None if exchange_order_id is None else self.by_exchange_id(exchange_order_id)

    def live_orders(self) -> Iterator[InFlightOrder]:
        """Every order that is not done. Walks them all: for sweeps, not for events."""
        return iter(list(self._active.values()))

    def incomplete_orders(self) -> list[InFlightOrder]:
        """Orders in memory that the venue calls filled while fills are missing."""
        return [order for order in self._done.values() if order.missing_fill_amount]

    @property
    def live_count(self) -> int:
        return len(self._active)

    @property
    def held_count(self) -> int:
        """How many updates wait for their order to become known."""
        return sum(len(held) for held in self._held.values())

    def was_booked(self, fill_key: str) -> bool:
        """Whether this fill is among the recently booked ones."""
        return fill_key in self._recent_fill_keys

    def take_changes(self) -> list[Change]:
        """The events emitted since the last call, in order."""
        if not self.changes:
            return []
        changes = self.changes.copy()
        self.changes.clear()
        return changes

    def take_lookups(self) -> list[str]:
        """Keys of orders that memory does not know and the ledger should be asked about."""
        lookups, self._lookups = self._lookups, []
        return lookups

    def take_reopened(self) -> list[InFlightOrder]:
        """Orders that counted as ended and were proven to live since the last call: to be asked about."""
        if not self._reopened:
            return []
        reopened, self._reopened = self._reopened, {}
        orders = (self._active.get(client_order_id) for client_order_id in reopened)
        return [order for order in orders if order is not None]

    # -- memory --------------------------------------------------------------------------------------------

    def restore(self, events: Iterable[LedgerEvent]) -> InFlightOrder:
        """Put an order back into memory from its stored events, and hand it what was held for it."""
        order = InFlightOrder.fold(events)
        known = self.get(order.id)
        if known is not None:
            return known
        if order.is_done:
            self._done[order.id] = order
            self._done_queue.append((self._now_ns(), order.id))
        else:
            self._active[order.id] = order
        for fill_key in order.fills or ():
            self._remember_fill(fill_key)
        self._index(order)
        self._release(order, order.exchange_order_ids)
        return order

    def evict_done(self, now_ns: int) -> None:
        """Let go of orders that finished long enough ago. They stay in the ledger."""
        queue = self._done_queue
        if not queue or queue[0][0] + self.retention_ns > now_ns:
            return
        kept: list[tuple[int, str]] = []
        while queue and queue[0][0] + self.retention_ns <= now_ns:
            done_ns, client_order_id = queue.popleft()
            order = self._done.get(client_order_id)
            if order is None:
                continue
            if order.updated_at_ns > done_ns and order.updated_at_ns + self.retention_ns > now_ns:
                # Something came for it since; it stays as long after that.
                kept.append((order.updated_at_ns, client_order_id))
                continue
            if order.missing_fill_amount and not order.is_external:
                # Somebody goes on looking for its fills.
                kept.append((now_ns, client_order_id))
                continue
            del self._done[client_order_id]
            if self._by_venue_key.get(order.venue_order_key) == client_order_id:
                del self._by_venue_key[order.venue_order_key]
            for exchange_order_id in order.exchange_order_ids:
                if self._by_exchange_id.get(exchange_order_id) == client_order_id:
                    del self._by_exchange_id[exchange_order_id]
        queue.extend(kept)

    def _index(self, order: InFlightOrder) -> None:
        if not order.is_external:
            self._by_venue_key[order.venue_order_key] = order.id
        for exchange_order_id in order.exchange_order_ids:
            self._by_exchange_id[exchange_order_id] = order.id

    def remember_fills(self, fill_keys: Iterable[str]) -> None:
        """Fills known to be booked already (from the ledger)."""
        for fill_key in fill_keys:
            self._remember_fill(fill_key)

    def _remember_fill(self, fill_key: str) -> None:
        if fill_key in self._recent_fill_keys:
            return
        self._recent_fill_keys[fill_key] = None
        self._recent_fill_queue.append(fill_key)
        if len(self._recent_fill_queue) > self._recent_limit:
            # A fill that was taken back has left the keys, but not the queue.
            self._recent_fill_keys.pop(self._recent_fill_queue.popleft(), None)

    def _now_ns(self) -> int:
        assert self.stamp is not None, "an input stamps the tracker before anything happens"
        return self.stamp.at_ns

    # -- emitting ------------------------------------------------------------------------------------------

    def _emit(self, order: InFlightOrder, event_type: type[OrderEvent], **members: Any) -> None:
        """Make the next event of an order, apply it, and keep memory and tables in step."""
        stamp = self.stamp
        assert stamp is not None, "an input stamps the tracker before anything happens"
        was_done, was_unknown = order.is_done, order.outcome_unknown
        repeats = event_type is OrderAcknowledged and order.submission is Submission.ACKNOWLEDGED
        newest_leg = order.newest_leg
        event = event_type(
            originator_id=order.id,
            originator_version=order.version + 1,
            recorded_at_ns=stamp.at_ns,
            venue=self.venue,
            account=self.account,
            source=stamp.source,
            causation=stamp.causation,
            **members,
        )
        order.apply(event)
        self.changes.append(Change(event, order.view(), repeats))
        if order.newest_leg is not None and order.newest_leg != newest_leg:
            self._by_exchange_id[order.newest_leg] = order.id
            self._release(order, (order.newest_leg,))
        if order.is_done is not was_done:
            self._move(order)
        if was_unknown and not order.outcome_unknown:
            self.unknown_outcomes_resolved += 1

    def _move(self, order: InFlightOrder) -> None:
        if order.is_done:
            self._active.pop(order.id, None)
            self._done[order.id] = order
            self._done_queue.append((self._now_ns(), order.id))
        else:
            self._done.pop(order.id, None)
            self._active[order.id] = order
            self._reopened[order.id] = None

    # -- commands and requests -----------------------------------------------------------------------------

    def create(self, params: OrderParams) -> InFlightOrder:
        """Begin an order of ours."""
        key = params.venue_order_key
        return self._begin(
            params.client_order_id,
            trading_pair=params.trading_pair,
            instrument=params.instrument,
            order_type=params.order_type,
            trade_type=params.trade_type,
            amount=params.amount,
            price=params.price,
            position_action=params.position_action,
            time_in_force=params.time_in_force,
            trigger_price=params.trigger_price,
            venue_order_key=None if key == params.client_order_id else key,
            requested_amount=params.requested_amount,
            requested_price=params.requested_price,
            reference_price=params.reference_price,
            parent_id=params.parent_id,
            tag=params.tag,
        )

    def create_external(self, exchange_order_id: str, details: OrderDetails) -> InFlightOrder:
        """Begin to track an order that was placed elsewhere."""
        return self._found(external_order_id(self.venue, exchange_order_id), exchange_order_id, details, True)

    def create_former(
        self, client_order_id: str, exchange_order_id: str, details: OrderDetails
    ) -> InFlightOrder:
        """Begin to track an order that was placed under this client id before the ledger was kept."""
        return self._found(client_order_id, exchange_order_id, details, False)

    def _found(
        self, client_order_id: str, exchange_order_id: str, details: OrderDetails, external: bool
    ) -> InFlightOrder:
        order = self._begin(
            client_order_id,
            trading_pair=details.trading_pair,
            instrument=details.instrument,
            order_type=details.order_type,
            trade_type=details.trade_type,
            amount=details.amount,
            price=details.price,
            position_action=details.position_action,
            time_in_force=details.time_in_force,
            trigger_price=details.trigger_price,
            external=external,
        )
        self._emit(order, OrderAcknowledged, exchange_order_id=exchange_order_id)
        return order

    def _begin(self, client_order_id: str, **members: Any) -> InFlightOrder:
        stamp = self.stamp
        assert stamp is not None, "an input stamps the tracker before anything happens"
        assert self.get(client_order_id) is None, "a client order id is used once"
        created = OrderCreated(
            originator_id=client_order_id,
            originator_version=1,
            recorded_at_ns=stamp.at_ns,
            venue=self.venue,
            account=self.account,
            source=stamp.source,
            causation=stamp.causation,
            **members,
        )
        order = InFlightOrder(created)
        self._active[client_order_id] = order
        self._index(order)
        self.changes.append(Change(created, order.view()))
        return order

    def submitted(self, order: InFlightOrder, nonce: int, expires_at_ms: int | None) -> None:
        """A request that places it is about to leave."""
        attempt = order.attempts + 1
        self._emit(order, OrderSubmitted, attempt=attempt, nonce=nonce, expires_at_ms=expires_at_ms)

    def submit_unknown(self, order: InFlightOrder, reason_code: str, reason: str) -> None:
        """No answer. Evidence that came meanwhile already settled it."""
        if order.submission is Submission.SENT and not order.is_done:
            self._emit(order, OrderSubmitUnknown, reason_code=reason_code, reason=reason)

    def refused(self, order: InFlightOrder, kind: ClosingKind, reason_code: str, reason: str) -> None:
        """The venue (or this process, before sending) refused to place it."""
        self._close(order, kind, reason_code, reason, None, None)

    def cancel_requested(self, order: InFlightOrder, nonce: int, reason_code: str) -> None:
        self._emit(order, OrderCancelRequested, nonce=nonce, reason_code=reason_code)

    def cancel_unknown(self, order: InFlightOrder, reason_code: str, reason: str) -> None:
        if order.state is OrderState.PENDING_CANCEL:
            self._emit(order, OrderCancelUnknown, reason_code=reason_code, reason=reason)

    def cancel_refused(self, order: InFlightOrder, reason_code: str, reason: str) -> None:
        """Kept also on a finished order: the refusal is a fact, and says nothing about its end."""
        self._emit(order, OrderCancelRefused, reason_code=reason_code, reason=reason)

    def cancelled(self, order: InFlightOrder, reason_code: str) -> None:
        """The venue confirmed a cancel; or it took effect here, before anything was sent."""
        was_sent = order.submission is not Submission.NONE
        kind = ClosingKind.EXPIRED if order.drops_its_rest and was_sent else ClosingKind.CANCELLED
        self._close(order, kind, reason_code, "", None, None)

    def dropped_rest(self, order: InFlightOrder, reason_code: str) -> None:
        """What the venue called filled executed less than was ordered; the rest is gone."""
        is_expiry = order.drops_its_rest and reason_code == REST_DROPPED
        kind = ClosingKind.EXPIRED if order.is_immediate or is_expiry else ClosingKind.CANCELLED
        self._close(order, kind, reason_code, "", None, None)

    def amend_requested(
        self,
        order: InFlightOrder,
        *,
        price: Decimal,
        amount: Decimal,
        leg_amount: Decimal,
        nonce: int,
        expires_at_ms: int | None,
    ) -> None:
        self._emit(
            order,
            OrderAmendRequested,
            price=price,
            amount=amount,
            leg_amount=leg_amount,
            nonce=nonce,
            expires_at_ms=expires_at_ms,
        )

    @staticmethod
    def _is_pending_amend(order: InFlightOrder, nonce: int | None) -> bool:
        """Whether the answer to the amend with this nonce is still awaited. An earlier amend may be answered
        after a later one was requested, once its new leg has been seen."""
        return order.is_amending and (nonce is None or nonce == order.amend_nonce)

    def amend_unknown(
        self, order: InFlightOrder, reason_code: str, reason: str, *, nonce: int | None = None
    ) -> None:
        if self._is_pending_amend(order, nonce):
            self._emit(order, OrderAmendUnknown, reason_code=reason_code, reason=reason)

    def amended(
        self, order: InFlightOrder, exchange_order_id: str | None, *, nonce: int | None = None
    ) -> None:
        """The requested terms are in force, under this exchange id; `nonce` names the answered request."""
        if not self._is_pending_amend(order, nonce):
            self.duplicates_ignored += 1
            return
        assert order.amend_price is not None
        assert order.amend_leg_amount is not None
        self._emit(
            order,
            OrderAmended,
            price=order.amend_price,
            leg_amount=order.amend_leg_amount,
            exchange_order_id=exchange_order_id,
        )

    def amend_refused(
        self, order: InFlightOrder, reason_code: str, reason: str, *, nonce: int | None = None
    ) -> None:
        """The terms stay. If the leg they belong to ended meanwhile, the order ended with it."""
        if not self._is_pending_amend(order, nonce):
            return
        self._emit(order, OrderAmendRefused, reason_code=reason_code, reason=reason)
        current = order.exchange_order_id
        ended = None if order.ended_legs is None or current is None else order.ended_legs.get(current)
        if ended is not None:
            self._close(order, ended.kind, ended.reason_code, ended.reason, ended.exchange_time_ms, current)

    def observe(
        self,
        order: InFlightOrder,
        why: str,
        reason: str = "",
        *,
        status: str = "",
        exchange_order_id: str | None = None,
    ) -> None:
        """Keep for audit what changed nothing."""
        self._emit(
            order,
            OrderObserved,
            why=why,
            reason=reason,
            status=status,
            exchange_order_id=exchange_order_id,
        )

    # -- repairs -------------------------------------------------------------------------------------------

    def correct_fill(
        self, order: InFlightOrder, was: Fill, now: Fill | None, *, reason_code: str, discrepancy_id: str
    ) -> None:
        """A booked fill of this order is not what the venue's history says; None: it never happened.

        Raises `VersionError` when the order has no such fill.
        """
        self._emit(
            order,
            OrderFillCorrected,
            was=was,
            now=now,
            reason_code=reason_code,
            discrepancy_id=discrepancy_id,
            exchange_time_ms=was.exchange_time_ms,
        )
        if now is None:
            # Should the venue tell it after all, it is booked.
            self._recent_fill_keys.pop(was.fill_key, None)

    def reopen(
        self,
        order: InFlightOrder,
        exchange_order_id: str | None,
        *,
        reason_code: str,
        reason: str,
        discrepancy_id: str,
    ) -> None:
        """The venue lists an order as live that counts as ended. Not for one that its fills complete."""
        assert order.is_done, "an order that is not done needs no reopening"
        assert not order.is_complete, "what executed completely is not live"
        self._emit(
            order,
            OrderReopened,
            exchange_order_id=exchange_order_id,
            reason_code=reason_code,
            reason=reason,
            discrepancy_id=discrepancy_id,
        )

    # -- absence -------------------------------------------------------------------------------------------

    def not_found(self, order: InFlightOrder) -> None:
        """The venue answered that it does not know the order. Proof of nothing, however often it repeats: two
        answers of one instant are one observation."""
        if order.is_done:
            return
        if order.not_found_count and order.updated_at_ns == self._now_ns():
            self.duplicates_ignored += 1
            return
        self._emit(order, OrderNotFound, count=order.not_found_count + 1)

    def is_missing(self, order: InFlightOrder) -> bool:
        """Whether an order that the venue had acknowledged was not known to it often enough in a row, without
        a sign of life in between, for the question whether it is gone."""
        return order.is_open and order.not_found_count >= self.not_found_limit

    def gone(self, order: InFlightOrder) -> None:
        """Conclude that a missing order has ended, though the venue does not say so. Any sign of life refutes
        it."""
        if self.is_missing(order):
            self._close(order, ClosingKind.CANCELLED, "not_found", "", None, None)

    def absent(self, order: InFlightOrder, reason: str) -> None:
        """It is proven that the request never took effect and never will."""
        if order.submission is not Submission.ACKNOWLEDGED and not order.is_done:
            self._close(order, ClosingKind.FAILED, "absence_proven", reason, None, None)

    # -- updates from the venue ----------------------------------------------------------------------------

    def process_order_update(self, update: OrderUpdate) -> InFlightOrder | None:
        """Apply one status, or hold it (and return None) while nobody knows whose it is."""
        order = self.find(update.venue_order_key, update.exchange_order_id)
        if order is None:
            self._hold(update.venue_order_key, update.exchange_order_id, update)
            return None
        if (
            order.terms_assumed
            and update.details is not None
            and update.exchange_order_id == order.exchange_order_id
        ):
            self._amended_elsewhere(order, update)
        if update.status is UpdateStatus.OPEN or update.status is UpdateStatus.TRIGGERED:
            self._alive(order, update)
        else:
            self._ended(order, update)
        return order

    def process_trade_update(self, update: TradeUpdate) -> InFlightOrder | None:
        """Book one fill once, or hold it (and return None) while nobody knows whose it is."""
        fill = update.fill
        if fill.fill_key in self._recent_fill_keys:
            self.duplicates_ignored += 1
            return None
        order = self.find(update.venue_order_key, fill.exchange_order_id)
        if order is None:
            self._hold(update.venue_order_key, fill.exchange_order_id, update)
            return None
        if order.has_fill(fill.fill_key):
            self.duplicates_ignored += 1
            return None
        if order.is_amending and self._is_new_leg(order, fill.exchange_order_id):
            self.amended(order, fill.exchange_order_id)
        elif order.submission is not Submission.ACKNOWLEDGED and not order.is_done:
            self._emit(
                order,
                OrderAcknowledged,
                exchange_order_id=fill.exchange_order_id,
                exchange_time_ms=fill.exchange_time_ms,
            )
        if order.has_fill(fill.fill_key):
            # Its exchange id became known just now, and with it came the same fill, held until then.
            self.duplicates_ignored += 1
            return order
        self._remember_fill(fill.fill_key)
        self._emit(order, OrderFilled, fill=fill, exchange_time_ms=fill.exchange_time_ms)
        self._expire_after_all(order)
        return order

    @staticmethod
    def _is_new_leg(order: InFlightOrder, exchange_order_id: str | None) -> bool:
        """Whether this is an exchange id that an order with an exchange id is not known under."""
        return (
            order.exchange_order_id is not None
            and exchange_order_id is not None
            and not order.has_leg(exchange_order_id)
        )

    @staticmethod
    def _may_have_new_leg(order: InFlightOrder) -> bool:
        """Whether another leg can be true: not of an order that executed completely or never lived.

        An end that was of a leg ends no other leg; an end of the whole order stays, whatever its last leg.
        """
        closing = order.closing
        return not order.is_complete and (closing is None or closing.kind is not ClosingKind.FAILED)

    def _alive(self, order: InFlightOrder, update: OrderUpdate) -> None:
        leg = update.exchange_order_id
        if self._is_new_leg(order, leg):
            self._new_leg_alive(order, update)
            return
        closing = order.closing
        if order.is_done and (closing is None or not closing.is_inferred):
            if update.status is UpdateStatus.TRIGGERED and self._may_be_a_dropped_rest(order):
                # It opens nothing, and tells what kind of end it was.
                self._triggered(order, update)
                self._expire_after_all(order)
            else:
                self._stale_sign_of_life(order, update)
            return
        if (
            order.submission is not Submission.ACKNOWLEDGED
            or closing is not None
            or (leg is not None and order.exchange_order_id is None)
        ):
            self._emit(
                order, OrderAcknowledged, exchange_order_id=leg, exchange_time_ms=update.exchange_time_ms
            )
        elif order.not_found_count:
            self._emit(order, OrderObserved, why="still_open", status=update.status, exchange_order_id=leg)
        elif update.status is UpdateStatus.OPEN:
            self.duplicates_ignored += 1
        self._triggered(order, update)

    def _triggered(self, order: InFlightOrder, update: OrderUpdate) -> None:
        if update.status is not UpdateStatus.TRIGGERED:
            return
        if order.triggered:
            self.duplicates_ignored += 1
            return
        self._emit(
            order,
            OrderTriggered,
            exchange_order_id=update.exchange_order_id,
            exchange_time_ms=update.exchange_time_ms,
        )

    def _new_leg_alive(self, order: InFlightOrder, update: OrderUpdate) -> None:
        """The venue works the order under an exchange id that is news."""
        time_ms, began_ms = update.exchange_time_ms, order.leg_began_ms
        if order.is_amending:
            self.amended(order, update.exchange_order_id)
        elif time_ms is not None and began_ms is not None and time_ms < began_ms:
            self._contradiction(order, update, "former_leg")
            return
        elif not self._may_have_new_leg(order):
            self._contradiction(order, update, "after_terminal")
            return
        else:
            self._amended_elsewhere(order, update)
        self._triggered(order, update)

    def _stale_sign_of_life(self, order: InFlightOrder, update: OrderUpdate) -> None:
        """A finished order does not live again by a late message; its exact redelivery is only counted."""
        again = (
            update.status is UpdateStatus.OPEN
            and update.exchange_order_id is not None
            and order.has_leg(update.exchange_order_id)
            and update.exchange_time_ms is not None
            and update.exchange_time_ms == order.acknowledged_ms
        )
        if again:
            self.duplicates_ignored += 1
        else:
            self._contradiction(order, update, "after_terminal")

    def _amended_elsewhere(self, order: InFlightOrder, update: OrderUpdate) -> None:
        """A new leg under our client id that no pending amend of ours explains: adopt its terms."""
        details = update.details
        self._emit(
            order,
            OrderAmended,
            price=order.price if details is None else details.price,
            leg_amount=order.remaining_amount if details is None else details.amount,
            exchange_order_id=update.exchange_order_id,
            exchange_time_ms=update.exchange_time_ms,
        )

    def _ended(self, order: InFlightOrder, update: OrderUpdate) -> None:
        kind = _CLOSING_KINDS[update.status]
        leg = update.exchange_order_id
        dropped = update.remaining_amount is not None and update.remaining_amount > ZERO
        if order.drops_its_rest and (
            kind is ClosingKind.CANCELLED or (kind is ClosingKind.FILLED and dropped)
        ):
            kind = ClosingKind.EXPIRED
            if update.reason_code == _BY_USER:
                update = msgspec.structs.replace(update, reason_code=REST_DROPPED)
        if self._is_new_leg(order, leg):
            if not self._new_leg_ended(order, update, kind):
                return
        elif leg is not None and order.exchange_order_id not in (None, leg):
            self._leg_ended(order, update, kind, "former_leg_ended")
            return
        elif order.is_amending and leg is not None and kind is ClosingKind.CANCELLED:
            self._leg_ended(order, update, kind, "leg_ended_during_amend")
            return
        self._close(order, kind, update.reason_code, update.reason, update.exchange_time_ms, leg)

    @staticmethod
    def _may_be_a_dropped_rest(order: InFlightOrder) -> bool:
        """Whether it is a stop at the market that was told to be cancelled, by user or by trigger."""
        closing = order.closing
        return (
            closing is not None
            and closing.kind is ClosingKind.CANCELLED
            and closing.reason_code == _BY_USER
            and order.created.order_type.is_market
        )

    def _expire_after_all(self, order: InFlightOrder) -> None:
        """Such a stop turns out to have executed: what ended was the rest that it dropped."""
        closing = order.closing
        if closing is None or not self._may_be_a_dropped_rest(order):
            return
        if order.drops_its_rest and not order.is_complete:
            self._emit(
                order,
                OrderExpired,
                reason_code=REST_DROPPED,
                reason=closing.reason,
                exchange_order_id=closing.exchange_order_id,
                exchange_time_ms=closing.exchange_time_ms,
            )

    def _new_leg_ended(self, order: InFlightOrder, update: OrderUpdate, kind: ClosingKind) -> bool:
        """An exchange id that is news has ended; returns whether it was the order that ended with it."""
        time_ms, began_ms = update.exchange_time_ms, order.leg_began_ms
        if order.has_observed(update.status, update.exchange_order_id, time_ms):
            self.duplicates_ignored += 1
            return False
        if kind is ClosingKind.FAILED:
            self._contradiction(order, update, "replacement_refused")
            self.amend_refused(order, update.reason_code, update.reason)
            return False
        if order.is_amending:
            self.amended(order, update.exchange_order_id)
            return True
        if time_ms is not None and began_ms is not None and time_ms <= began_ms:
            self._contradiction(order, update, "former_leg")
            return False
        if not self._may_have_new_leg(order):
            self._contradiction(order, update, "after_terminal")
            return False
        self._amended_elsewhere(order, update)
        return True

    def _leg_ended(self, order: InFlightOrder, update: OrderUpdate, kind: ClosingKind, why: str) -> None:
        """One leg ended and the order may live on under another: remembered, not concluded."""
        leg = update.exchange_order_id
        assert leg is not None, "a leg has an exchange id"
        ended = None if order.ended_legs is None else order.ended_legs.get(leg)
        if ended is not None and (ended.kind, ended.exchange_time_ms) == (kind, update.exchange_time_ms):
            self.duplicates_ignored += 1
            return
        self._emit(
            order,
            OrderObserved,
            why=why,
            status=update.status,
            reason_code=update.reason_code,
            reason=update.reason,
            exchange_order_id=leg,
            exchange_time_ms=update.exchange_time_ms,
            closing_kind=kind,
        )

    def _close(
        self,
        order: InFlightOrder,
        kind: ClosingKind,
        reason_code: str,
        reason: str,
        exchange_time_ms: int | None,
        leg: str | None,
    ) -> None:
        held = order.closing
        is_new = Closing(kind, reason_code, reason, exchange_time_ms, leg)
        if held is not None and held.kind is kind and not held.is_inferred:
            if leg is not None and order.exchange_order_id is None:
                self._observe_end(order, is_new, "already_ended")  # it tells the exchange id, if nothing else
            else:
                self.duplicates_ignored += 1
            return
        if held is not None and held.kind is kind and not is_new.is_inferred:
            self._observe_end(order, is_new, "end_confirmed", kind)
            return
        outranked = held is not None and closing_rank(kind, reason_code) <= closing_rank(
            held.kind, held.reason_code
        )
        denied = kind is ClosingKind.FAILED and order.filled_amount > ZERO
        if outranked or denied or order.is_complete:
            if kind is ClosingKind.FILLED and order.is_complete:
                self.duplicates_ignored += 1
            else:
                self._observe_end(order, is_new, "fills_deny_it" if denied else "already_ended")
            return
        if kind is ClosingKind.FILLED:
            self._emit(order, OrderReportedFilled, exchange_order_id=leg, exchange_time_ms=exchange_time_ms)
            return
        self._emit(
            order,
            _CLOSING_EVENTS[kind],
            reason_code=reason_code,
            reason=reason,
            exchange_order_id=leg,
            exchange_time_ms=exchange_time_ms,
        )

    def _contradiction(self, order: InFlightOrder, update: OrderUpdate, why: str) -> None:
        """Keep what changes nothing, once; its exact redelivery is only counted."""
        if order.has_observed(update.status, update.exchange_order_id, update.exchange_time_ms):
            self.duplicates_ignored += 1
            return
        self._emit(
            order,
            OrderObserved,
            why=why,
            status=update.status,
            reason_code=update.reason_code,
            reason=update.reason,
            exchange_order_id=update.exchange_order_id,
            exchange_time_ms=update.exchange_time_ms,
        )

    def _observe_end(
        self, order: InFlightOrder, closing: Closing, why: str, kind: ClosingKind | None = None
    ) -> None:
        """Keep an end that does not change how the order ended, once."""
        status = UpdateStatus(closing.kind.value)
        if order.has_observed(status, closing.exchange_order_id, closing.exchange_time_ms):
            self.duplicates_ignored += 1
            return
        self._emit(
            order,
            OrderObserved,
            why=why,
            status=status,
            reason_code=closing.reason_code,
            reason=closing.reason,
            exchange_order_id=closing.exchange_order_id,
            exchange_time_ms=closing.exchange_time_ms,
            closing_kind=kind,
        )

    # -- what nobody knows yet -----------------------------------------------------------------------------

    def _hold(
        self, venue_order_key: str | None, exchange_order_id: str | None, update: OrderUpdate | TradeUpdate
    ) -> None:
        key = lookup_key(None, exchange_order_id) if exchange_order_id is not None else ""
        if key not in self._held:
            key = lookup_key(venue_order_key, exchange_order_id)
        held = self._held.get(key)
        if held is None:
            self._held[key] = [update]
            self._lookups.append(key)
        elif update in held:
            self.duplicates_ignored += 1
        else:
            held.append(update)

    def held_for(self, key: str) -> tuple[OrderUpdate | TradeUpdate, ...]:
        return tuple(self._held.get(key, ()))

    def adopt_held(self, key: str) -> bool:
        """Nothing of ours: track the order that the held updates describe, if they say enough.

        Returns whether the updates were applied. A held fill alone does not give the order's terms; the venue
        is asked for them, and `adopt_held_fills` is the way out when it does not know the order either.
        """
        for update in self._held.get(key, ()):
            if isinstance(update, OrderUpdate) and update.details is not None:
                assert update.exchange_order_id is not None
                self.adopt(key, update.exchange_order_id, update.details)
                return True
        return False

    def adopt_held_fills(self, key: str) -> bool:
        """The venue does not know the order (any more): its fills are all the evidence, so they define it."""
        fills = [u.fill for u in self._held.get(key, ()) if isinstance(u, TradeUpdate)]
        if not fills:
            return False
        self.adopt(key, fills[0].exchange_order_id, _details_from(fills))
        return True

    def hold_by_exchange_id(self, key: str) -> bool:
        """Nobody knows this client id: from here on each exchange id held under it is asked for by itself.

        Returns whether there were any. An order placed elsewhere is known by its exchange id alone, and a
        client id may stand for several of them.
        """
        moved = False
        for update in self._held.pop(key, []):
            if isinstance(update, TradeUpdate):
                exchange_order_id: str | None = update.fill.exchange_order_id
            else:
                exchange_order_id = update.exchange_order_id
            if exchange_order_id is None:
                self._held.setdefault(key, []).append(update)
            elif self.by_exchange_id(exchange_order_id) is not None:
                moved = True
                self._reprocess(update)
            else:
                moved = True
                self._hold(None, exchange_order_id, update)
        return moved

    def drop_held(self, key: str) -> tuple[OrderUpdate | TradeUpdate, ...]:
        """Let go of what is held under a key; the caller keeps it elsewhere."""
        return tuple(self._held.pop(key, ()))

    def adopt(self, key: str, exchange_order_id: str, details: OrderDetails) -> None:
        """Track the order these terms describe, and apply what is held under `key` to it."""
        if self.by_exchange_id(exchange_order_id) is None:
            self.create_external(exchange_order_id, details)
        for update in self._held.pop(key, []):
            self._reprocess(update)

    def _release(self, order: InFlightOrder, learned: Iterable[str]) -> None:
        """Hand an order what was held for its client id, or for the exchange ids it is now known under."""
        if not self._held:
            return
        keys = [lookup_key(None, exchange_order_id) for exchange_order_id in learned]
        if not order.is_external:
            keys.append(lookup_key(order.venue_order_key, None))
        for key in keys:
            for update in self._held.pop(key, []):
                self._reprocess(update)

    def _reprocess(self, update: OrderUpdate | TradeUpdate) -> None:
        if isinstance(update, OrderUpdate):
            self.process_order_update(update)
        else:
            self.process_trade_update(update)


def _details_from(fills: list[Fill]) -> OrderDetails:
    """Terms of an order of which only fills are left: it was at least as large as what it executed."""
    first = fills[0]
    amount = ZERO
    seen: list[str] = []
    for fill in fills:
        if fill.fill_key not in seen:
            seen.append(fill.fill_key)
            amount = MONEY.add(amount, fill.amount)
    return OrderDetails(
        trading_pair=first.trading_pair,
        instrument=first.trading_pair,
        trade_type=first.trade_type,
        price=first.price,
        amount=amount,
        time_in_force=TimeInForce.IOC,
    )
