"""What became of an order whose fate is open: asked for until there is evidence (sheet 11.1).

Absence is proven only when the venue does not know the order, the venue's own clock has passed the request's
expiry by a margin, and no fill of it exists. Until then the order stays as it is, with its outcome unknown.

That an order which the venue had acknowledged is gone is never proven, because the servers that answer may
lag behind (sheet 11.2, "stale reads"). It is concluded after the venue has not known it for long enough, and
tells neither an end nor a fill of it; and it is said aloud.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.context import MS, SECOND, Context
from adapters.hyperliquid.limits import RequestKind
from adapters.hyperliquid.messages import Kept, MessageError, UnknownStatus, read_venue_time
from adapters.hyperliquid.queries import Queries
from domain.enums import PositionAction, RequestState, Submission
from domain.in_flight_order import REST_DROPPED, InFlightOrder
from domain.updates import OrderUpdate, UpdateStatus

__all__ = ["EXPIRY_MARGIN_MS", "Resolver"]

EXPIRY_MARGIN_MS = 5_000
"""How far the venue's clock must be past an expiry before absence counts (sheet 11.1, step 3)."""

FIRST_DELAY_NS = SECOND // 4
LONGEST_DELAY_NS = 15 * SECOND
CANCEL_RETRIES_MAX = 5
FILL_SEARCHES_MAX = 5
FEW_CASES = 25
"""So many orders may be asked about at a time before they wait for all other questions."""

OVERLAP_MS = 60_000


_CANCEL_MISSED = frozenset({"order_not_found_or_done", "nonce_too_low", "nonce_duplicate"})
"""Refusals of a cancel that leave the wish standing while the order lives: it is sent again."""


@dataclass(slots=True)
class _Case:
    """One order being looked into."""

    attempt: int = 0
    asking: bool = False
    waiting: bool = False
    past_expiry_ms: int | None = None
    """The expiry that the venue's own clock is known to have passed."""
    fill_searches: int = 0
    by_key: bool = False
    """The exchange id turned out to be another order's: the client id is asked for instead."""
    missing_since_ns: int = 0
    """When the venue first said, without a sign of life since, that it does not know the order."""


class Resolver:
    """`search_fills(start_ms, done)` books whatever the venue has since then; `cancel` queues a cancel;
    `doubt` asks for a comparison with the account's state. For `missing_span_ns` at least the venue must not
    have known an acknowledged order before it counts as gone; 0 stands for versions that counted answers
    alone, asked nothing more and said nothing."""

    def __init__(
        self,
        context: Context,
        queries: Queries,
        search_fills: Callable[[int, Callable[[], None]], None],
        cancel: Callable[[InFlightOrder, str], None],
        doubt: Callable[[], None],
        *,
        missing_span_ns: int,
    ) -> None:
        self._context = context
        self._queries = queries
        self._search_fills = search_fills
        self._cancel = cancel
        self._doubt = doubt
        self._missing_span_ns = missing_span_ns
        self._cases: dict[str, _Case] = {}
        self._cancel_retries: dict[str, int] = {}
        self._looked_for: dict[str, None] = {}

    @property
    def open_cases(self) -> int:
        return len(self._cases)

    def look_into(self, order: InFlightOrder) -> None:
        """Ask the venue about an order, and keep asking until its fate is known."""
        case = self._cases.get(order.id)
        if case is None:
            case = self._cases[order.id] = _Case()
        if not case.asking and not self._comes_in_its_turn(order, case):
            self._ask(order, case)

    def _comes_in_its_turn(self, order: InFlightOrder, case: _Case) -> bool:
        """Whether another answer would be too soon: the server that lagged a moment ago still does."""
        is_missing = order.is_open and order.not_found_count > 0
        return case.waiting and is_missing and self._missing_span_ns > 0

    def watch(self, order_id: str) -> None:
        """Some time after a request: look into the order if nothing has been seen of its outcome."""
        order = self._context.tracker.get(order_id)
        if order is not None and order_id not in self._cases and self._is_open(order):
            self.look_into(order)

    def on_deadline(self, order_id: str) -> None:
        """Time to ask again."""
        order, case = self._context.tracker.get(order_id), self._cases.get(order_id)
        if order is None or case is None or not self._is_open(order):
            self._forget(order_id)
            return
        case.waiting = False
        if not case.asking:
            self._ask(order, case)

    def _is_open(self, order: InFlightOrder) -> bool:
        if order.missing_fill_amount:
            return True
        if order.is_done:
            return False
        return (
            order.submission in (Submission.SENT, Submission.UNKNOWN)
            or order.cancel in (RequestState.REQUESTED, RequestState.UNKNOWN)
            or order.is_amending
            or order.not_found_count > 0
            or (self._cancel_missed(order) and self._cancel_retries.get(order.id, 0) < CANCEL_RETRIES_MAX)
        )

    @staticmethod
    def _cancel_missed(order: InFlightOrder) -> bool:
        """Whether a cancel was refused for a reason that leaves the wish standing while the order lives."""
        return order.cancel is RequestState.REFUSED and order.cancel_reason in _CANCEL_MISSED

    def _ask(self, order: InFlightOrder, case: _Case) -> None:
        case.asking = True
        order_id = order.id
        if order.missing_fill_amount:
            case.fill_searches += 1
            self._search_fills(self._since_ms(order), lambda: self._on_fills_searched(order_id))
            return
        # While an amend is open the exchange id is in question; the client id is not.
        by_key = order.exchange_order_id is None or (
            (order.is_amending or case.by_key) and not order.is_external
        )
        target: int | str = order.venue_order_key if by_key else int(order.exchange_order_id or 0)
        self._queries.ask(
            info_requests.order_status(self._context.account_address, target),
            lambda body: self._on_status(order_id, body),
            kind=RequestKind.PATIENT_INFO if len(self._cases) > FEW_CASES else RequestKind.RESOLUTION,
        )

    def _since_ms(self, order: InFlightOrder) -> int:
        created_ms = order.created.recorded_at_ns // MS + self._context.venue_offset_ms
        return max(0, created_ms - OVERLAP_MS)

    def _found(self, order_id: str) -> tuple[InFlightOrder, _Case] | None:
        """The order and its case, when both still are; an answer to the case is no longer awaited."""
        order, case = self._context.tracker.get(order_id), self._cases.get(order_id)
        if order is None or case is None:
            self._forget(order_id)
            return None
        case.asking = False
        return order, case

    def _forget(self, order_id: str) -> None:
        self._cases.pop(order_id, None)
        order = self._context.tracker.get(order_id)
        if order is None or order.is_done:
            self._cancel_retries.pop(order_id, None)

    def _on_status(self, order_id: str, body: bytes | None) -> None:
        context = self._context
        found = self._found(order_id)
        if found is None:
            return
        order, case = found
        if body is None:
            self._again(order, case)
            return
        try:
            update = context.messages.read_order_status(body).update
        except MessageError as error:
            context.alert("unreadable_answer", f"orderStatus: {error}", order=order_id)
            self._again(order, case)
            return
        if update is None:
            self._on_absent(order, case)
            return
        context.take(update)
        if not case.by_key and self._is_of_another(order, update.venue_order_key):
            # Ids begin anew when a venue does: this says nothing about the order.
            case.by_key = True
            self._ask(order, case)
            return
        if isinstance(update, OrderUpdate) and not order.is_done:
            self._retry_cancel(order, update)
            if order.is_amending and update.exchange_order_id == order.exchange_order_id:
                self._on_old_terms(order, case, update)
                return
        self._settle(order, case)

    @staticmethod
    def _is_of_another(order: InFlightOrder, venue_order_key: str | None) -> bool:
        return not order.is_external and venue_order_key not in (None, order.venue_order_key)

    def _retry_cancel(self, order: InFlightOrder, update: OrderUpdate) -> None:
        """The order lives at the venue although a cancel was sent: it did not arrive, or not yet."""
        if update.status not in (UpdateStatus.OPEN, UpdateStatus.TRIGGERED):
            return
        if order.cancel is not RequestState.UNKNOWN and not self._cancel_missed(order):
            return
        retries = self._cancel_retries.get(order.id, 0)
        if retries < CANCEL_RETRIES_MAX:
            self._cancel_retries[order.id] = retries + 1
            self._cancel(order, "retry")
        elif retries == CANCEL_RETRIES_MAX:
            self._cancel_retries[order.id] = retries + 1
            message = "The venue still has the order open after several cancels; cancel it again by hand."
            self._context.alert("cancel_fails", message, level="error", order=order.id)

    # -- an amend without an answer ------------------------------------------------------------------------

    def _on_old_terms(self, order: InFlightOrder, case: _Case, update: OrderUpdate) -> None:
        """The venue tells of the leg that was to be replaced. Once the amend can no longer take effect, a
        leg that lives proves that it was lost; one that ended leaves open whether another took its place."""
        if not self._is_past_expiry(order, case):
            self._ask_venue_time(order, case)
        elif update.status in (UpdateStatus.OPEN, UpdateStatus.TRIGGERED):
            self._amend_lost(order, "the venue still works the old terms")
            self._settle(order, case)
        else:
            case.asking = True
            order_id = order.id
            self._search_fills(self._since_ms(order), lambda: self._on_new_leg_searched(order_id))

    def _on_new_leg_searched(self, order_id: str) -> None:
        found = self._found(order_id)
        if found is None:
            return
        order, case = found
        if not order.is_amending:
            self._settle(order, case)
            return
        case.asking = True
        dex, separator, _ = order.created.instrument.partition(":")
        self._queries.ask(
            info_requests.frontend_open_orders(self._context.account_address, dex if separator else ""),
            lambda body: self._on_new_leg_listed(order_id, body),
        )

    def _on_new_leg_listed(self, order_id: str, body: bytes | None) -> None:
        found = self._found(order_id)
        if found is None:
            return
        order, case = found
        try:
            items = None if body is None else self._context.messages.read_open_orders(body)
        except MessageError as error:
            self._context.alert("unreadable_answer", f"frontendOpenOrders: {error}", order=order_id)
            items = None
        for item in items or ():
            self._context.take(item)
        if items is not None and not any(isinstance(item, Kept) for item in items):
            self._amend_lost(order, "the old order has ended and no new one is open or has a fill")
        self._settle(order, case)

    def _amend_lost(self, order: InFlightOrder, why: str) -> None:
        self._context.tracker.amend_refused(order, "absence_proven", why)

    @staticmethod
    def _is_past_expiry(order: InFlightOrder, case: _Case) -> bool:
        return order.expires_at_ms is not None and case.past_expiry_ms == order.expires_at_ms

    # -- an order the venue does not know ------------------------------------------------------------------

    def _on_absent(self, order: InFlightOrder, case: _Case) -> None:
        """The venue does not know it: proves nothing before the expiry and without a look at the fills."""
        context, order_id = self._context, order.id
        if order.submission is Submission.ACKNOWLEDGED or order.expires_at_ms is None:
            context.tracker.not_found(order)
            self._on_missing(order, case)
        elif self._is_past_expiry(order, case):
            case.asking = True
            self._search_fills(self._since_ms(order), lambda: self._on_absence_checked(order_id))
        else:
            context.tracker.not_found(order)
            self._ask_venue_time(order, case)

    def _ask_venue_time(self, order: InFlightOrder, case: _Case) -> None:
        case.asking = True
        order_id = order.id
        asked_at_ms = self._context.now_ms
        self._queries.ask(
            info_requests.exchange_status(),
            lambda body: self._on_venue_time(order_id, asked_at_ms, body),
            kind=RequestKind.RESOLUTION,
        )

    def _on_venue_time(self, order_id: str, asked_at_ms: int, body: bytes | None) -> None:
        context = self._context
        found = self._found(order_id)
        if found is None:
            return
        order, case = found
        try:
            now_ms = None if body is None else read_venue_time(body)
        except MessageError as error:
            context.alert("unreadable_answer", f"exchangeStatus: {error}", order=order_id)
            now_ms = None
        if now_ms is not None:
            context.venue_told_time(now_ms, asked_at_ms=asked_at_ms)
            expiry_ms = order.expires_at_ms
            if expiry_ms is not None and now_ms > expiry_ms + EXPIRY_MARGIN_MS and self._is_open(order):
                # The status was asked before this was known: once more, and then it counts.
                case.past_expiry_ms = expiry_ms
                self._ask(order, case)
                return
        self._settle(order, case)

    def _on_absence_checked(self, order_id: str) -> None:
        found = self._found(order_id)
        if found is None:
            return
        order, case = found
        self._context.tracker.absent(
            order, "the venue does not know the order, its expiry has passed, and it has no fill"
        )
        self._settle(order, case)

    # -- an order that was acknowledged, and that the venue does not know any more ---------------------------

    def _on_missing(self, order: InFlightOrder, case: _Case) -> None:
        context = self._context
        if order.not_found_count == 1 or not case.missing_since_ns:
            # Also where an earlier session began to count: what it heard may be long ago.
            case.missing_since_ns = context.now_ns()
        span_ns = context.now_ns() - case.missing_since_ns
        if not context.tracker.is_missing(order) or span_ns < self._missing_span_ns:
            self._settle(order, case)
        elif self._missing_span_ns:
            self._look_for(order, case)
        else:
            context.tracker.gone(order)
            self._settle(order, case)

    def _look_for(self, order: InFlightOrder, case: _Case) -> None:
        """The last look before it counts as gone: among all former orders, then among all fills. One look is
        enough for all orders that are missing, since an outage may have taken many at once."""
        case.asking = True
        is_under_way = bool(self._looked_for)
        self._looked_for[order.id] = None
        if not is_under_way:
            self._queries.ask(
                info_requests.historical_orders(self._context.account_address), self._on_former_orders
            )

    def _on_former_orders(self, body: bytes | None) -> None:
        looked_for, self._looked_for = self._looked_for, {}
        told = self._take_former_orders(body, looked_for)
        missing = []
        for order_id in looked_for:
            found = self._found(order_id)
            if found is None:
                continue
            order, case = found
            if told is None:
                self._settle(order, case)
            elif order_id in told:
                # Whatever it was, the venue knows the order: from here on it counts anew.
                case.missing_since_ns = self._context.now_ns()
                update = told[order_id]
                if update is not None and order.is_amending:
                    # Nor could the amend stay open for ever: the list names no leg that came after this one.
                    self._on_old_terms(order, case, update)
                else:
                    self._settle(order, case)
            else:
                case.asking = True
                missing.append(order)
        if missing:
            since_ms = min(self._since_ms(order) for order in missing)
            self._search_fills(since_ms, lambda: self._on_nothing_told([order.id for order in missing]))

    def _take_former_orders(
        self, body: bytes | None, wanted: dict[str, None]
    ) -> dict[str, OrderUpdate | None] | None:
        """Take what the list says of these orders. Returns those it knows more of than that an amend ended a
        leg of theirs, with what it says of the present leg; None when there is no list."""
        context = self._context
        if body is None:
            return None
        try:
            items = context.messages.read_historical_orders(body)
        except MessageError as error:
            context.alert("unreadable_answer", f"historicalOrders: {error}")
            return None
        known: dict[str, OrderUpdate | None] = {}
        seen: dict[tuple[str, str | None], None] = {}
        for item in items:
            if not isinstance(item, OrderUpdate | UnknownStatus):
                continue
            leg = item.exchange_order_id
            order = context.tracker.find(item.venue_order_key, leg)
            # Newest first: what a leg was before does not count.
            if order is None or order.id not in wanted or (order.id, leg) in seen:
                continue
            seen[order.id, leg] = None
            if leg is not None and leg == order.exchange_order_id and isinstance(item, OrderUpdate):
                known[order.id] = item
            elif leg is None or leg == order.exchange_order_id or not order.has_leg(leg):
                known.setdefault(order.id, None)
            context.take(item)
        return known

    def _on_nothing_told(self, order_ids: list[str]) -> None:
        for order_id in order_ids:
            found = self._found(order_id)
            if found is None:
                continue
            order, case = found
            if self._context.tracker.is_missing(order):
                self._conclude_gone(order, case)
            self._settle(order, case)

    def _conclude_gone(self, order: InFlightOrder, case: _Case) -> None:
        context = self._context
        span_s = (context.now_ns() - case.missing_since_ns) // SECOND
        count = order.not_found_count
        context.tracker.gone(order)
        context.alert(
            "order_gone",
            f"Concluded, not told: the venue had acknowledged the order, has not known it for {span_s} s"
            f" ({count} answers), and shows neither an end nor a fill of it. It counts as cancelled unless it"
            " shows again; look at the account before you rely on that.",
            level="warning" if order.is_external else "error",
            order=order.id,
        )

    # -- fills that are missing ----------------------------------------------------------------------------

    def _on_fills_searched(self, order_id: str) -> None:
        found = self._found(order_id)
        if found is None:
            return
        order, case = found
        if order.missing_fill_amount and case.fill_searches >= FILL_SEARCHES_MAX:
            self._forget(order_id)
            self._on_fills_not_found(order)
            return
        self._settle(order, case)

    def _on_fills_not_found(self, order: InFlightOrder) -> None:
        if order.filled_amount and order.is_immediate:
            # The venue calls an immediate order filled also when it dropped a rest of it (sheet 5.3).
            self._context.tracker.dropped_rest(order, REST_DROPPED)
        elif order.filled_amount and order.created.position_action is PositionAction.CLOSE:
            # The venue shrinks a reduce-only order to the position, and calls that filled (sheet 4.7).
            self._context.tracker.dropped_rest(order, "reduce_only_shrunk")
        elif order.filled_amount and order.drops_its_rest:
            self._context.tracker.dropped_rest(order, REST_DROPPED)
        else:
            # An order placed elsewhere may have executed in part before the books began.
            self._context.alert(
                "missing_fills",
                f"The venue calls the order filled, but {order.missing_fill_amount} of it has no fill.",
                level="warning" if order.is_external else "error",
                order=order.id,
            )
            self._doubt()

    # -- going on ------------------------------------------------------------------------------------------

    def _settle(self, order: InFlightOrder, case: _Case) -> None:
        if self._is_open(order):
            self._again(order, case)
        else:
            self._forget(order.id)

    def _again(self, order: InFlightOrder, case: _Case) -> None:
        if case.waiting:
            return
        case.waiting = True
        delay_ns = min(FIRST_DELAY_NS << min(case.attempt, 16), LONGEST_DELAY_NS)
        case.attempt += 1
        self._context.set_deadline(delay_ns, "ask", order.id)
