"""Actions on their way out: what waits, what has left, and what its answer means for each order.

One action carries several orders when more are waiting than may be under way at once, so that a burst costs
little weight and a single order never waits for company. Cancels have a lane of their own, ahead of orders.

What an order was meant to do it was meant to do now: one that has waited too long for the limits, or for the
answers to earlier ones, is never sent. A cancel is right however old it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec

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
from adapters.hyperliquid.context import MS, SECOND, Context
from adapters.hyperliquid.limits import EXHAUSTED_INTERVAL_NS, RequestKind
from adapters.hyperliquid.nonces import NonceError
from adapters.hyperliquid.reason_codes import MODIFY_REPLACEMENT_REFUSED, Outcome, Refusal
from adapters.hyperliquid.symbols import UnknownCoin
from domain.effects import SendAction
from domain.enums import (
    ClosingKind,
    OrderType,
    PositionAction,
    RequestOutcome,
    Submission,
    TimeInForce,
)
from domain.in_flight_order import InFlightOrder
from domain.money import MONEY, ZERO
from domain.updates import OrderDetails, OrderUpdate, UpdateStatus

__all__ = ["Outbox"]

UNDER_WAY_MAX = {"place": 8, "cancel": 8, "amend": 8, "account": 4}
"""Actions without an answer at a time, by kind; beyond that they wait, and orders and cancels gather into
the next action. All together stay far below the 100 nonces the venue keeps of a signer (sheet 3.8): an action
overtaken by so many would be refused for its nonce."""

GATHERED_MAX = 39
"""Most orders gathered from the queue: one more would weigh double (sheet 9.1)."""

WATCH_NS = 5 * SECOND
"""How long an action may stay without a visible outcome before its orders are asked for (sheet 13.6)."""

_TIFS: dict[bool, actions.Tif] = {True: "Ioc", False: "Gtc"}


@dataclass(slots=True, frozen=True)
class _Group:
    """Orders that belong into one action, and when they were asked for."""

    order_ids: tuple[str, ...]
    since_ns: int


@dataclass(slots=True, frozen=True)
class _Amend:
    order_id: str
    price: Decimal
    amount: Decimal
    since_ns: int


@dataclass(slots=True, frozen=True)
class _AccountAction:
    action: actions.Action
    on_done: Callable[[Entry], None]


@dataclass(slots=True, frozen=True)
class _Sent:
    """An action that has left: its kind and nonce, and for each entry the order, its price and amount as
    sent. `account` is set for the actions that concern no order."""

    kind: str
    nonce: int
    order_ids: tuple[str, ...] = ()
    terms: tuple[tuple[Decimal, Decimal], ...] = ()
    account: _AccountAction | None = None


class Outbox:
    """`look_into` is called with an order whose fate an answer left open."""

    def __init__(self, context: Context, look_into: Callable[[InFlightOrder], None]) -> None:
        self._context = context
        self._look_into = look_into
        self._groups: deque[_Group] = deque()
        self._cancels: dict[str, str] = {}
        self._amends: deque[_Amend] = deque()
        self._account_actions: deque[_AccountAction] = deque()
        self._sent: dict[int, _Sent] = {}
        self._under_way = dict.fromkeys(UNDER_WAY_MAX, 0)

    # -- queueing ------------------------------------------------------------------------------------------

    def place(self, orders: Sequence[InFlightOrder]) -> None:
        """Queue orders that belong into one action (split only where the venue's limit forces it)."""
        ids, now_ns = [order.id for order in orders], self._context.now_ns()
        for start in range(0, len(ids), actions.ENTRIES_MAX):
            self._groups.append(_Group(tuple(ids[start : start + actions.ENTRIES_MAX]), now_ns))

    def cancel(self, order: InFlightOrder, reason_code: str) -> None:
        """Queue a cancel; a second one of the same order changes nothing."""
        if order.submission is Submission.NONE:
            self._context.tracker.cancelled(order, "cancelled_before_sent")
            return
        self._cancels.setdefault(order.id, reason_code)

    def amend(self, order: InFlightOrder, price: Decimal, amount: Decimal) -> None:
        self._amends.append(_Amend(order.id, price, amount, self._context.now_ns()))

    def account_action(self, action: actions.Action, on_done: Callable[[Entry], None]) -> None:
        """Queue an action that concerns no order; `on_done` gets its one entry."""
        self._account_actions.append(_AccountAction(action, on_done))

    # -- sending -------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send whatever may leave now, cancels first. While trading is halted no order does; before it is
        known which account the signer acts for, nothing does."""
        if not (self._groups or self._cancels or self._amends or self._account_actions):
            return
        self._give_up_late()
        try:
            if self._context.may_send:
                self._flush_cancels()
                self._flush_account_actions()
            if not self._context.why_halted():
                self._flush_amends()
                self._flush_orders()
        except NonceError as error:
            self._context.halt(str(error))
        why = self._context.why_halted()
        if why:
            # Nobody expects it to leave any more later.
            while self._groups:
                self._give_up(self._groups.popleft(), "not_sent_halted", why)
            while self._amends:
                self._give_up_amend(self._amends.popleft(), "amend_while_halted", why)
        self._wake_for_the_next_late()

    def _give_up(self, group: _Group, reason_code: str, why: str) -> None:
        for order_id in self._waiting(group):
            order = self._context.tracker.get(order_id)
            assert order is not None, "it waits"
            self._context.tracker.refused(order, ClosingKind.FAILED, reason_code, why)

    def _give_up_amend(self, amend: _Amend, reason_code: str, why: str) -> None:
        order = self._context.tracker.get(amend.order_id)
        if order is not None and not order.is_done:
            self._context.tracker.observe(order, reason_code, why)

    def _give_up_late(self) -> None:
        """Orders and amends that have waited so long that the market they were meant for may be gone."""
        wait_ms = self._wait_ms()
        if not wait_ms:
            return
        latest_ns = self._context.now_ns() - wait_ms * MS
        why = f"never sent: request limits or earlier requests held it up for {wait_ms} ms"
        while self._groups and self._groups[0].since_ns <= latest_ns:
            self._give_up(self._groups.popleft(), "not_sent_too_late", why)
        while self._amends and self._amends[0].since_ns <= latest_ns:
            self._give_up_amend(self._amends.popleft(), "amend_not_sent_too_late", why)

    def _wait_ms(self) -> int:
        """How old an order may become here. Where the address has used up its actions, one leaves in ten
        seconds: an order that could not wait for that would never leave, however seldom one is placed."""
        wait_ms = self._context.order_wait_ms
        entries = max([GATHERED_MAX, *(len(group.order_ids) for group in islice(self._groups, 1))])
        if wait_ms and self._context.limits.address.is_short_of(entries):
            wait_ms += EXHAUSTED_INTERVAL_NS // MS
        return wait_ms

    def _wake_for_the_next_late(self) -> None:
        """Nothing else need happen until then."""
        wait_ms = self._wait_ms()
        since_ns = [group.since_ns for group in islice(self._groups, 1)]
        since_ns += [amend.since_ns for amend in islice(self._amends, 1)]
        if wait_ms and since_ns:
            self._context.set_deadline(min(since_ns) + wait_ms * MS - self._context.now_ns(), "flush")

    def _has_room(self, kind: str) -> bool:
        return self._under_way[kind] < UNDER_WAY_MAX[kind]

    def _admitted(self, kind: RequestKind, entries: int) -> bool:
        wait_ns = self._context.limits.admit_action(kind, entries, self._context.now_ns())
        if wait_ns:
            self._context.set_deadline(wait_ns, "flush")
        return not wait_ns

    def _send(self, sent: _Sent, action: dict[str, Any], expires_at_ms: int | None = None) -> None:
        request_id = self._context.next_request_id()
        self._sent[request_id] = sent
        self._under_way[sent.kind] += 1
        self._context.effect(
            SendAction(
                request_id=request_id,
                action=action,
                nonce=sent.nonce,
                expires_at_ms=expires_at_ms,
                send_before_ns=self._send_before_ns(expires_at_ms),
                acting_for=self._context.acting_for,
                urgent=sent.kind == "cancel",
            )
        )
        for order_id in sent.order_ids:
            self._context.set_deadline(WATCH_NS, "watch", order_id)

    def _send_before_ns(self, expires_at_ms: int | None) -> int | None:
        """The venue's clock may be ahead of ours or behind it; what has to leave in time goes by ours."""
        if expires_at_ms is None:
            return None
        return (expires_at_ms - self._context.venue_offset_ms) * MS

    def _flush_cancels(self) -> None:
        context = self._context
        while self._cancels and self._has_room("cancel"):
            by_key: list[tuple[InFlightOrder, str]] = []
            by_oid: list[tuple[InFlightOrder, str]] = []
            for order_id, reason_code in list(islice(self._cancels.items(), GATHERED_MAX)):
                order = context.tracker.get(order_id)
                if order is None or order.is_done or not self._is_reachable(order):
                    del self._cancels[order_id]
                elif order.is_external:
                    by_oid.append((order, reason_code))
                else:
                    by_key.append((order, reason_code))
            for group, with_oid in ((by_key, False), (by_oid, True)):
                if not group:
                    continue
                if not self._has_room("cancel") or not self._admitted(RequestKind.CANCEL, len(group)):
                    return
                self._send_cancels(group, with_oid=with_oid)

    def _is_reachable(self, order: InFlightOrder) -> bool:
        try:
            self._context.symbols.by_coin(order.created.instrument)
        except UnknownCoin as error:
            # An order of a market that is not followed (another dex): the venue takes no names, only numbers.
            message = f"Order {order.id}: {error}"
            self._context.alert("cancel_impossible", message, level="error", order=order.id)
            return False
        return True

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
        self._send(_Sent("cancel", nonce, tuple(order.id for order, _ in group)), action)

    def _flush_amends(self) -> None:
        context = self._context
        while self._amends and self._has_room("amend"):
            amend = self._amends[0]
            order = context.tracker.get(amend.order_id)
            if order is None or order.is_done:
                self._amends.popleft()
                continue
            leg_amount = MONEY.subtract(amend.amount, order.filled_amount)
            why = self._why_not_amend(order, leg_amount)
            if why:
                self._amends.popleft()
                context.tracker.observe(order, *why)
                continue
            if not self._admitted(RequestKind.ORDER, 1):
                return
            nonce = context.nonces.next(context.now_ms)
            self._amends.popleft()
            expires_at_ms = context.venue_now_ms + context.order_ttl_ms
            target = int(order.exchange_order_id or 0)
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
            sent = _Sent("amend", nonce, (order.id,), ((amend.price, leg_amount),))
            self._send(sent, action, expires_at_ms)

    @staticmethod
    def _why_not_amend(order: InFlightOrder, leg_amount: Decimal) -> tuple[str, str] | None:
        """Why an amend cannot leave: a code and a text; None when it can."""
        if order.exchange_order_id is None:
            return "amend_before_acknowledged", "the venue has not acknowledged the order yet"
        if order.is_amending:
            return "amend_while_amending", "an earlier amend is not settled yet"
        if leg_amount <= ZERO:
            return "amend_below_filled", "already executed that much"
        return None

    def _flush_account_actions(self) -> None:
        while self._account_actions and self._has_room("account"):
            if not self._admitted(RequestKind.ORDER, 1):
                return
            context = self._context
            nonce = context.nonces.next(context.now_ms)
            wanted = self._account_actions.popleft()
            expires_at_ms = context.venue_now_ms + context.order_ttl_ms
            context.account.action_requested(
                wanted.action["type"],
                msgspec.json.encode(wanted.action).decode(),
                nonce=nonce,
                expires_at_ms=expires_at_ms,
            )
            self._send(_Sent("account", nonce, account=wanted), wanted.action, expires_at_ms)

    def _flush_orders(self) -> None:
        while self._groups and self._has_room("place"):
            groups, orders = 1, list(self._waiting(self._groups[0]))
            for group in islice(self._groups, 1, None):
                if len(orders) + len(group.order_ids) > GATHERED_MAX:
                    break
                groups, orders = groups + 1, [*orders, *self._waiting(group)]
            if orders and not self._send_orders(orders):
                return
            for _ in range(groups):
                self._groups.popleft()

    def _waiting(self, group: _Group) -> tuple[str, ...]:
        """Those of a group that still are to be sent."""
        orders = ((order_id, self._context.tracker.get(order_id)) for order_id in group.order_ids)
        return tuple(order_id for order_id, order in orders if order is not None and not order.is_done)

    def _send_orders(self, order_ids: Sequence[str]) -> bool:
        """Send orders in one action; False when the limits make them wait."""
        context = self._context
        if not self._admitted(RequestKind.ORDER, len(order_ids)):
            return False
        nonce = context.nonces.next(context.now_ms)
        expires_at_ms = context.venue_now_ms + context.order_ttl_ms
        entries, terms = [], []
        for order_id in order_ids:
            order = context.tracker.get(order_id)
            assert order is not None, "it was waiting a moment ago"
            entries.append(self._entry(order, order.price, order.leg_amount))
            terms.append((order.price, order.leg_amount))
            context.tracker.submitted(order, nonce, expires_at_ms)
        sent = _Sent("place", nonce, tuple(order_ids), tuple(terms))
        self._send(sent, actions.order(entries), expires_at_ms)
        return True

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
        self._context.heed_status(status)
        self._apply(sent, read_answer(status, body, max(1, len(sent.order_ids))))
        return True

    def failed(self, request_id: int, reason: str, *, was_sent: bool) -> bool:
        """There will be no answer; False when no action has this id."""
        sent = self._take(request_id)
        if sent is None:
            return False
        entry: Entry = Ambiguous("no_answer", reason)
        if not was_sent and sent.kind != "cancel":
            entry = Refusal("not_sent", reason, Outcome.REFUSED)
        self._apply(sent, [entry] * max(1, len(sent.order_ids)))
        return True

    def _take(self, request_id: int) -> _Sent | None:
        sent = self._sent.pop(request_id, None)
        if sent is not None:
            self._under_way[sent.kind] -= 1
        return sent

    def _apply(self, sent: _Sent, entries: list[Entry]) -> None:
        for entry in dict.fromkeys(entries):
            self._heed(entry, entries.count(entry))
        if sent.account is not None:
            self._account_action_answered(sent.account, sent.nonce, entries[0])
        for index, order_id in enumerate(sent.order_ids):
            order = self._context.tracker.get(order_id)
            if order is None:
                continue
            if sent.kind == "cancel":
                self._cancelled(order, entries[index])
            elif sent.kind == "place":
                self._placed(order, entries[index], sent.terms[index])
            else:
                self._amended(order, entries[index], sent)

    def _account_action_answered(self, wanted: _AccountAction, nonce: int, entry: Entry) -> None:
        outcome, code, text = RequestOutcome.UNKNOWN, "unreadable_answer", ""
        match entry:
            case Accepted():
                outcome, code = RequestOutcome.ACCEPTED, ""
            case Refusal(outcome=Outcome.NOT_PROOF, code=code, text=text) | Ambiguous(code=code, text=text):
                pass
            case Refusal(code=code, text=text):
                outcome = RequestOutcome.REFUSED
        self._context.account.action_settled(wanted.action["type"], nonce, outcome, code, text)
        wanted.on_done(entry)

    def _heed(self, entry: Entry, count: int) -> None:
        """What a refusal means beyond its orders; `count` is how many of the action it is the answer to."""
        if not isinstance(entry, Refusal):
            return
        limits = self._context.limits
        if entry.outcome is Outcome.CONFIGURATION_FAULT:
            self._context.halt(f"the venue refuses this configuration: {entry.text}")
        elif entry.code == "address_budget_exhausted":
            limits.address.used = max(limits.address.used, limits.address.cap)
            self._context.alert("address_budget_exhausted", entry.text)
        elif entry.code == "action_expired":
            limits.address.charge_stale(count)

    def _placed(self, order: InFlightOrder, entry: Entry, terms: tuple[Decimal, Decimal]) -> None:
        tracker = self._context.tracker
        match entry:
            case Resting(exchange_order_id=oid):
                self._update(order, UpdateStatus.OPEN, oid)
            case Dormant():
                self._update(order, UpdateStatus.OPEN, None)
            case Executed(exchange_order_id=oid, total=total):
                self._executed(order, oid, total, terms)
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

    def _executed(
        self, order: InFlightOrder, oid: str, total: Decimal, terms: tuple[Decimal, Decimal]
    ) -> None:
        """The answer's figures are provisional: the fills book quantity; this only says whether it ended."""
        self._update(order, UpdateStatus.OPEN, oid, terms=terms)
        if total >= terms[1]:
            self._update(order, UpdateStatus.FILLED, oid)
        elif order.is_immediate:
            self._update(order, UpdateStatus.EXPIRED, oid, "ioc_remainder")

    def _update(
        self,
        order: InFlightOrder,
        status: UpdateStatus,
        oid: str | None,
        reason_code: str = "",
        *,
        terms: tuple[Decimal, Decimal] | None = None,
    ) -> None:
        is_news = oid is not None and not order.has_leg(oid)
        if status is UpdateStatus.OPEN and order.is_done and not is_news:
            return  # the stream was faster than the answer: old news, not a contradiction
        created = order.created
        self._context.take(
            OrderUpdate(
                status=status,
                exchange_order_id=oid,
                venue_order_key=None if order.is_external else order.venue_order_key,
                reason_code=reason_code,
                details=None
                if terms is None
                else OrderDetails(
                    trading_pair=created.trading_pair,
                    instrument=created.instrument,
                    trade_type=created.trade_type,
                    price=terms[0],
                    amount=terms[1],
                ),
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

    def _amended(self, order: InFlightOrder, entry: Entry, sent: _Sent) -> None:
        tracker, nonce, terms = self._context.tracker, sent.nonce, sent.terms[0]
        match entry:
            case Resting(exchange_order_id=oid) | Executed(exchange_order_id=oid):
                if order.is_amending and order.amend_nonce == nonce:
                    tracker.amended(order, oid, nonce=nonce)
                else:
                    self._update(order, UpdateStatus.OPEN, oid, terms=terms)
                if isinstance(entry, Executed):
                    self._executed(order, oid, entry.total, terms)
            case Refusal(code=code, text=text, cause=cause):
                tracker.amend_refused(order, code, text, nonce=nonce)
                if code == MODIFY_REPLACEMENT_REFUSED and not order.is_done:
                    tracker.cancelled(order, cause or code)
                elif not order.is_done:
                    self._look_into(order)
            case Ambiguous(code=code, text=text):
                tracker.amend_unknown(order, code, text, nonce=nonce)
                self._look_into(order)
            case Accepted() | Dormant():
                tracker.amend_unknown(
                    order, "no_exchange_id", "accepted without a new exchange id", nonce=nonce
                )
                self._look_into(order)
