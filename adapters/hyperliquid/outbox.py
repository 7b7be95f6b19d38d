"""Actions on their way out: what waits, what has left, and what its answer means for each order.

One action carries several orders when more are waiting than may be under way at once, so that a burst costs
little weight and a single order never waits for company. Cancels have a lane of their own, ahead of orders.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from adapters.hyperliquid import actions
from adapters.hyperliquid.answers import (
    Accepted,
    Ambiguous,
    Dormant,
    Entry,
    Executed,
    Resting,
    read_answer,
)
from adapters.hyperliquid.context import SECOND, Context
from adapters.hyperliquid.limits import RequestKind
from adapters.hyperliquid.nonces import NonceError
from adapters.hyperliquid.reason_codes import MODIFY_REPLACEMENT_REFUSED, Outcome, Refusal
from domain.effects import SendAction
from domain.enums import ClosingKind, OrderType, PositionAction, RequestState, Submission, TimeInForce
from domain.in_flight_order import InFlightOrder
from domain.money import MONEY, ZERO
from domain.updates import OrderUpdate, UpdateStatus

__all__ = ["Outbox"]

UNDER_WAY_MAX = 8
"""Order actions without an answer at a time; beyond that orders gather into the next one."""

GATHERED_MAX = 39
"""Most orders gathered from the queue: one more would weigh double (sheet 9.1)."""

WATCH_NS = 5 * SECOND
"""How long an action may stay without a visible outcome before its orders are asked for (sheet 13.6)."""

_TIFS: dict[bool, actions.Tif] = {True: "Ioc", False: "Gtc"}


@dataclass(slots=True, frozen=True)
class _Amend:
    order_id: str
    price: Decimal
    amount: Decimal


@dataclass(slots=True, frozen=True)
class _Sent:
    """An action that has left: its kind, the orders of its entries, and (account actions) what to do then."""

    kind: str
    order_ids: tuple[str, ...]
    on_done: Callable[[Entry], None] | None = None


class Outbox:
    """`look_into` is called with an order whose fate an answer left open."""

    def __init__(self, context: Context, look_into: Callable[[InFlightOrder], None]) -> None:
        self._context = context
        self._look_into = look_into
        self._groups: deque[tuple[str, ...]] = deque()
        self._cancels: dict[str, str] = {}
        self._amends: deque[_Amend] = deque()
        self._account_actions: deque[tuple[actions.Action, Callable[[Entry], None]]] = deque()
        self._sent: dict[int, _Sent] = {}
        self._orders_under_way = 0

    # -- queueing ------------------------------------------------------------------------------------------

    def place(self, orders: Sequence[InFlightOrder]) -> None:
        """Queue orders that belong into one action (split only where the venue's limit forces it)."""
        ids = [order.id for order in orders]
        for start in range(0, len(ids), actions.ENTRIES_MAX):
            self._groups.append(tuple(ids[start : start + actions.ENTRIES_MAX]))

    def cancel(self, order: InFlightOrder, reason_code: str) -> None:
        """Queue a cancel; a second one of the same order changes nothing."""
        if order.submission is Submission.NONE:
            self._context.tracker.cancelled(order, "cancelled_before_sent")
        else:
            self._cancels.setdefault(order.id, reason_code)

    def amend(self, order: InFlightOrder, price: Decimal, amount: Decimal) -> None:
        self._amends.append(_Amend(order.id, price, amount))

    def account_action(self, action: actions.Action, on_done: Callable[[Entry], None]) -> None:
        """Queue an action that concerns no order; `on_done` gets its one entry."""
        self._account_actions.append((action, on_done))

    # -- sending -------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send whatever may leave now, cancels first."""
        try:
            self._flush_cancels()
            self._flush_amends()
            self._flush_account_actions()
            self._flush_orders()
        except NonceError as error:
            self._context.halt(str(error))

    def _admitted(self, kind: RequestKind, entries: int) -> bool:
        wait_ns = self._context.limits.admit_action(kind, entries, self._context.now_ns())
        if wait_ns:
            self._context.set_deadline(wait_ns, "flush")
        return not wait_ns

    def _send(
        self, sent: _Sent, action: dict[str, Any], nonce: int, expires_at_ms: int | None = None
    ) -> None:
        request_id = self._context.next_request_id()
        self._sent[request_id] = sent
        self._context.effect(
            SendAction(
                request_id=request_id,
                action=action,
                nonce=nonce,
                expires_at_ms=expires_at_ms,
                acting_for=self._context.acting_for,
                urgent=sent.kind == "cancel",
            )
        )
        for order_id in sent.order_ids:
            self._context.set_deadline(WATCH_NS, "watch", order_id)

    def _flush_cancels(self) -> None:
        context = self._context
        while self._cancels:
            by_key: list[tuple[InFlightOrder, str]] = []
            by_oid: list[tuple[InFlightOrder, str]] = []
            for order_id, reason_code in list(self._cancels.items())[:GATHERED_MAX]:
                order = context.tracker.get(order_id)
                if order is None or order.is_done:
                    del self._cancels[order_id]
                elif order.is_external:
                    by_oid.append((order, reason_code))
                else:
                    by_key.append((order, reason_code))
            for group, with_oid in ((by_key, False), (by_oid, True)):
                if not group:
                    continue
                if not self._admitted(RequestKind.CANCEL, len(group)):
                    return
                self._send_cancels(group, with_oid=with_oid)

    def _send_cancels(self, group: list[tuple[InFlightOrder, str]], *, with_oid: bool) -> None:
        context = self._context
        nonce = context.nonces.next(context.now_ms)
        entries: list[tuple[int, Any]] = []
        for order, reason_code in group:
            del self._cancels[order.id]
            asset = context.symbols.by_coin(order.created.instrument).asset
            if with_oid:
                assert order.exchange_order_id is not None, "an external order is known by its exchange id"
                entries.append((asset, int(order.exchange_order_id)))
            else:
                entries.append((asset, order.venue_order_key))
            context.tracker.cancel_requested(order, nonce, reason_code)
        action = actions.cancel(entries) if with_oid else actions.cancel_by_cloid(entries)
        self._send(_Sent("cancel", tuple(order.id for order, _ in group)), action, nonce)

    def _flush_amends(self) -> None:
        context = self._context
        while self._amends:
            amend = self._amends[0]
            order = context.tracker.get(amend.order_id)
            if order is None or order.is_done:
                self._amends.popleft()
                continue
            leg_amount = MONEY.subtract(amend.amount, order.filled_amount)
            if leg_amount <= ZERO:
                self._amends.popleft()
                context.tracker.observe(order, "amend_below_filled", "already executed more than that")
                continue
            if not self._admitted(RequestKind.ORDER, 1):
                return
            self._amends.popleft()
            nonce = context.nonces.next(context.now_ms)
            expires_at_ms = context.venue_now_ms + context.order_ttl_ms
            target: int | str = order.venue_order_key
            if order.exchange_order_id is not None:
                target = int(order.exchange_order_id)
            entry = self._entry(order, amend.price, leg_amount)
            context.tracker.amend_requested(
                order,
                price=amend.price,
                amount=amend.amount,
                leg_amount=leg_amount,
                nonce=nonce,
                expires_at_ms=expires_at_ms,
            )
            action = actions.batch_modify(
                [(target, entry)], allow_trigger_or_taking=order.created.order_type.is_trigger
            )
            self._send(_Sent("amend", (order.id,)), action, nonce, expires_at_ms)

    def _flush_account_actions(self) -> None:
        while self._account_actions:
            if not self._admitted(RequestKind.ORDER, 1):
                return
            action, on_done = self._account_actions.popleft()
            nonce = self._context.nonces.next(self._context.now_ms)
            self._send(_Sent("account", (), on_done), action, nonce)

    def _flush_orders(self) -> None:
        context = self._context
        while self._groups and self._orders_under_way < UNDER_WAY_MAX:
            groups, count = 0, 0
            for group in self._groups:
                if groups and count + len(group) > GATHERED_MAX:
                    break
                groups, count = groups + 1, count + len(group)
            if not self._admitted(RequestKind.ORDER, count):
                return
            orders = []
            for _ in range(groups):
                for order_id in self._groups.popleft():
                    order = context.tracker.get(order_id)
                    if order is not None and not order.is_done:
                        orders.append(order)
            if orders:
                self._send_orders(orders)

    def _send_orders(self, orders: list[InFlightOrder]) -> None:
        context = self._context
        nonce = context.nonces.next(context.now_ms)
        expires_at_ms = context.venue_now_ms + context.order_ttl_ms
        entries = []
        for order in orders:
            entries.append(self._entry(order, order.price, order.leg_amount))
            context.tracker.submitted(order, nonce, expires_at_ms)
        self._orders_under_way += 1
        self._send(
            _Sent("place", tuple(order.id for order in orders)), actions.order(entries), nonce, expires_at_ms
        )

    def _entry(self, order: InFlightOrder, price: Decimal, amount: Decimal) -> actions.Action:
        created = order.created
        kind = created.order_type
        if kind.is_trigger:
            assert created.trigger_price is not None, "a trigger order has a trigger price"
            stop = kind in (OrderType.STOP_LIMIT, OrderType.STOP_MARKET)
            terms = actions.trigger(
                created.trigger_price, is_market=kind.is_market, tpsl="sl" if stop else "tp"
            )
        elif kind is OrderType.LIMIT_MAKER:
            terms = actions.limit("Alo")
        else:
            terms = actions.limit(_TIFS[created.time_in_force is TimeInForce.IOC])
        return actions.order_entry(
            asset=self._context.symbols.by_coin(created.instrument).asset,
            is_buy=created.trade_type.sign > 0,
            price=price,
            size=amount,
            reduce_only=created.position_action is PositionAction.CLOSE,
            order_type=terms,
            cloid=None if order.is_external else order.venue_order_key,
        )

    # -- answers -------------------------------------------------------------------------------------------

    def answered(self, request_id: int, status: int, body: bytes) -> bool:
        """Apply an answer; False when no action has this id."""
        sent = self._take(request_id)
        if sent is None:
            return False
        self._apply(sent, read_answer(status, body, max(1, len(sent.order_ids))))
        return True

    def failed(self, request_id: int, reason: str, *, was_sent: bool) -> bool:
        """There will be no answer; False when no action has this id."""
        sent = self._take(request_id)
        if sent is None:
            return False
        entry: Entry = Ambiguous("no_answer", reason)
        if not was_sent and sent.kind in ("place", "amend"):
            entry = Refusal("not_sent", reason, Outcome.REFUSED)
        self._apply(sent, [entry] * max(1, len(sent.order_ids)))
        return True

    def _take(self, request_id: int) -> _Sent | None:
        sent = self._sent.pop(request_id, None)
        if sent is not None and sent.kind == "place":
            self._orders_under_way -= 1
        return sent

    def _apply(self, sent: _Sent, entries: list[Entry]) -> None:
        for entry in entries:
            self._heed(entry, len(sent.order_ids))
        if sent.on_done is not None:
            sent.on_done(entries[0])
        apply = {"place": self._placed, "cancel": self._cancelled, "amend": self._amended}.get(sent.kind)
        for order_id, entry in zip(sent.order_ids, entries, strict=True):
            order = self._context.tracker.get(order_id)
            if order is not None and apply is not None:
                apply(order, entry)

    def _heed(self, entry: Entry, count: int) -> None:
        """What a refusal means beyond its order."""
        if not isinstance(entry, Refusal):
            return
        limits = self._context.limits
        if entry.outcome is Outcome.CONFIGURATION_FAULT:
            self._context.halt(f"the venue refuses this configuration: {entry.text}")
        elif entry.code == "address_budget_exhausted":
            limits.address.used = max(limits.address.used, limits.address.cap)
            self._context.alert("address_budget_exhausted", entry.text)
        elif entry.code == "action_expired":
            limits.address.charge_stale(1)

    def _placed(self, order: InFlightOrder, entry: Entry) -> None:
        tracker = self._context.tracker
        match entry:
            case Resting(exchange_order_id=oid):
                self._update(order, UpdateStatus.OPEN, oid)
            case Dormant():
                self._update(order, UpdateStatus.OPEN, None)
            case Executed(exchange_order_id=oid, total=total):
                self._executed(order, oid, total, order.leg_amount)
            case Refusal(outcome=Outcome.NOT_PROOF, code=code, text=text):
                tracker.submit_unknown(order, code, text)
                self._look_into(order)
            case Refusal(outcome=Outcome.EXPIRED, code=code, text=text):
                tracker.refused(order, ClosingKind.EXPIRED, code, text)
            case Refusal(code=code, text=text):
                tracker.refused(order, ClosingKind.FAILED, code, text)
            case Ambiguous(code=code, text=text):
                tracker.submit_unknown(order, code, text)
                self._look_into(order)
            case Accepted():
                tracker.submit_unknown(order, "unreadable_answer", "accepted, but not as an order")
                self._look_into(order)

    def _executed(self, order: InFlightOrder, oid: str, total: Decimal, asked: Decimal) -> None:
        """The answer's figures are provisional: the fills book quantity; this only says whether it ended."""
        self._update(order, UpdateStatus.OPEN, oid)
        if total >= asked:
            self._update(order, UpdateStatus.FILLED, oid)
        elif order.is_immediate:
            self._update(order, UpdateStatus.EXPIRED, oid, "ioc_remainder")

    def _update(
        self, order: InFlightOrder, status: UpdateStatus, oid: str | None, reason_code: str = ""
    ) -> None:
        if status is UpdateStatus.OPEN and order.is_done:
            return  # the stream was faster than the answer: old news, not a contradiction
        self._context.take(
            OrderUpdate(
                status=status,
                exchange_order_id=oid,
                venue_order_key=None if order.is_external else order.venue_order_key,
                reason_code=reason_code,
            )
        )

    def _cancelled(self, order: InFlightOrder, entry: Entry) -> None:
        tracker = self._context.tracker
        if isinstance(entry, Accepted):
            tracker.cancelled(order, "cancelled_by_user")
        elif order.is_done:
            return
        elif isinstance(entry, Refusal):
            tracker.cancel_refused(order, entry.code, entry.text)
            self._look_into(order)
        else:
            text = entry.text if isinstance(entry, Ambiguous) else "no cancel entry"
            code = entry.code if isinstance(entry, Ambiguous) else "unreadable_answer"
            tracker.cancel_unknown(order, code, text)
            self._look_into(order)

    def _amended(self, order: InFlightOrder, entry: Entry) -> None:
        tracker = self._context.tracker
        match entry:
            case Resting(exchange_order_id=oid):
                tracker.amended(order, oid)
            case Executed(exchange_order_id=oid, total=total):
                asked = order.leg_amount if order.amend_leg_amount is None else order.amend_leg_amount
                if order.amend is not RequestState.NONE:
                    tracker.amended(order, oid)
                self._executed(order, oid, total, asked)
            case Refusal(code=code, text=text, cause=cause):
                tracker.amend_refused(order, code, text)
                if code == MODIFY_REPLACEMENT_REFUSED and not order.is_done:
                    tracker.cancelled(order, cause or code)
                elif not order.is_done:
                    self._look_into(order)
            case Ambiguous(code=code, text=text):
                tracker.amend_unknown(order, code, text)
                self._look_into(order)
            case Accepted() | Dormant():
                tracker.amend_unknown(order, "no_exchange_id", "accepted without a new exchange id")
                self._look_into(order)
