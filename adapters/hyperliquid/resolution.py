"""What became of an order whose fate is open: asked for until there is evidence (sheet 11.1).

Absence is proven only when the venue does not know the order, the venue's own clock has passed the request's
expiry by a margin, and no fill of it exists. Until then the order stays as it is, with its outcome unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adapters.hyperliquid import info_requests
from adapters.hyperliquid.context import MS, SECOND, Context
from adapters.hyperliquid.messages import MessageError, UnknownStatus, read_venue_time
from adapters.hyperliquid.queries import Queries
from domain.enums import PositionAction, RequestState, Submission
from domain.in_flight_order import InFlightOrder
from domain.updates import OrderUpdate, UpdateStatus

__all__ = ["EXPIRY_MARGIN_MS", "Resolver"]

EXPIRY_MARGIN_MS = 5_000
"""How far the venue's clock must be past an expiry before absence counts (sheet 11.1, step 3)."""

FIRST_DELAY_NS = SECOND // 4
LONGEST_DELAY_NS = 15 * SECOND
CANCEL_RETRIES_MAX = 5
FILL_SEARCHES_MAX = 5
OVERLAP_MS = 60_000


@dataclass(slots=True)
class _Case:
    """One order being looked into."""

    attempt: int = 0
    asking: bool = False
    past_expiry: bool = False
    cancel_retries: int = 0
    fill_searches: int = 0


class Resolver:
    """`search_fills(start_ms, done)` books whatever the venue has since then; `cancel` queues a cancel."""

    def __init__(
        self,
        context: Context,
        queries: Queries,
        search_fills: Callable[[int, Callable[[], None]], None],
        cancel: Callable[[InFlightOrder, str], None],
    ) -> None:
        self._context = context
        self._queries = queries
        self._search_fills = search_fills
        self._cancel = cancel
        self._cases: dict[str, _Case] = {}

    @property
    def open_cases(self) -> int:
        return len(self._cases)

    def look_into(self, order: InFlightOrder) -> None:
        """Ask the venue about an order, and keep asking until its fate is known."""
        case = self._cases.get(order.id)
        if case is None:
            case = self._cases[order.id] = _Case()
        if not case.asking:
            self._ask(order, case)

    def watch(self, order_id: str) -> None:
        """Some time after a request: look into the order if nothing has been seen of its outcome."""
        order = self._context.tracker.get(order_id)
        if order is not None and order_id not in self._cases and self._is_open(order):
            self.look_into(order)

    def on_deadline(self, order_id: str) -> None:
        """Time to ask again."""
        order, case = self._context.tracker.get(order_id), self._cases.get(order_id)
        if order is None or case is None:
            self._cases.pop(order_id, None)
        elif not self._is_open(order):
            del self._cases[order_id]
        elif not case.asking:
            self._ask(order, case)

    @staticmethod
    def _is_open(order: InFlightOrder) -> bool:
        if order.missing_fill_amount:
            return True
        if order.is_done:
            return False
        return (
            order.submission in (Submission.SENT, Submission.UNKNOWN)
            or order.cancel in (RequestState.REQUESTED, RequestState.UNKNOWN)
            or order.is_amending
            or order.not_found_count > 0
        )

    def _ask(self, order: InFlightOrder, case: _Case) -> None:
        case.asking = True
        order_id = order.id
        if order.missing_fill_amount:
            case.fill_searches += 1
            self._search_fills(self._since_ms(order), lambda: self._on_fills_searched(order_id))
            return
        # While an amend is open the exchange id is in question; the client id is not.
        by_key = order.exchange_order_id is None or (order.is_amending and not order.is_external)
        target: int | str = order.venue_order_key if by_key else int(order.exchange_order_id or 0)
        self._queries.ask(
            info_requests.order_status(self._context.account_address, target),
            lambda body: self._on_status(order_id, body),
        )

    def _since_ms(self, order: InFlightOrder) -> int:
        created_ms = order.created.recorded_at_ns // MS + self._context.venue_offset_ms
        return max(0, created_ms - OVERLAP_MS)

    def _on_status(self, order_id: str, body: bytes | None) -> None:
        context = self._context
        order, case = context.tracker.get(order_id), self._cases.get(order_id)
        if order is None or case is None:
            return
        case.asking = False
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
        if isinstance(update, OrderUpdate):
            self._on_alive(order, case, update)
        elif isinstance(update, UnknownStatus):
            context.alert("unknown_status", f"order status {update.status!r}", order=order_id)
        self._settle(order, case)

    def _on_alive(self, order: InFlightOrder, case: _Case, update: OrderUpdate) -> None:
        """The order lives at the venue: what was asked of it meanwhile did not happen, or not yet."""
        if update.status not in (UpdateStatus.OPEN, UpdateStatus.TRIGGERED) or order.is_done:
            return
        context = self._context
        missed = order.cancel is RequestState.REFUSED and order.cancel_reason == "order_not_found_or_done"
        if order.cancel is RequestState.UNKNOWN or missed:
            if case.cancel_retries < CANCEL_RETRIES_MAX:
                case.cancel_retries += 1
                self._cancel(order, "retry")
            else:
                context.alert("cancel_fails", "Cancels of this order do not take effect.", order=order.id)
        if order.is_amending and update.exchange_order_id == order.exchange_order_id and self._expired(order):
            context.tracker.amend_refused(order, "absence_proven", "the venue still works the old terms")

    def _expired(self, order: InFlightOrder) -> bool:
        expiry = order.expires_at_ms
        return expiry is not None and self._context.venue_now_ms > expiry + EXPIRY_MARGIN_MS

    def _on_absent(self, order: InFlightOrder, case: _Case) -> None:
        """The venue does not know it: proves nothing before the expiry and without a look at the fills."""
        context, order_id = self._context, order.id
        if order.submission is Submission.ACKNOWLEDGED or order.expires_at_ms is None:
            context.tracker.not_found(order)
            self._settle(order, case)
            return
        if case.past_expiry:
            case.asking = True
            self._search_fills(self._since_ms(order), lambda: self._on_absence_checked(order_id))
            return
        context.tracker.not_found(order)
        case.asking = True
        self._queries.ask(info_requests.exchange_status(), lambda body: self._on_venue_time(order_id, body))

    def _on_venue_time(self, order_id: str, body: bytes | None) -> None:
        context = self._context
        order, case = context.tracker.get(order_id), self._cases.get(order_id)
        if order is None or case is None:
            return
        case.asking = False
        try:
            now_ms = None if body is None else read_venue_time(body)
        except MessageError as error:
            context.alert("unreadable_answer", f"exchangeStatus: {error}", order=order_id)
            now_ms = None
        if now_ms is not None:
            context.venue_offset_ms = now_ms - context.now_ms
            assert order.expires_at_ms is not None, "only an order with an expiry gets here"
            if now_ms > order.expires_at_ms + EXPIRY_MARGIN_MS:
                # The status was asked before this was known: once more, and then it counts.
                case.past_expiry = True
                self._ask(order, case)
                return
        self._settle(order, case)

    def _on_absence_checked(self, order_id: str) -> None:
        order, case = self._context.tracker.get(order_id), self._cases.get(order_id)
        if order is None or case is None:
            return
        case.asking = False
        self._context.tracker.absent(
            order, "the venue does not know the order, its expiry has passed, and it has no fill"
        )
        self._settle(order, case)

    def _on_fills_searched(self, order_id: str) -> None:
        order, case = self._context.tracker.get(order_id), self._cases.get(order_id)
        if order is None or case is None:
            return
        case.asking = False
        if order.missing_fill_amount and case.fill_searches >= FILL_SEARCHES_MAX:
            del self._cases[order_id]
            if order.created.position_action is PositionAction.CLOSE and order.filled_amount:
                # The venue shrinks a reduce-only order to the position, and calls that filled (sheet 4.7).
                self._context.tracker.cancelled(order, "reduce_only_shrunk")
                return
            self._context.alert(
                "missing_fills",
                f"The venue calls the order filled, but {order.missing_fill_amount} of it has no fill.",
                level="error",
                order=order_id,
            )
            return
        self._settle(order, case)

    def _settle(self, order: InFlightOrder, case: _Case) -> None:
        if self._is_open(order):
            self._again(order, case)
        else:
            self._cases.pop(order.id, None)

    def _again(self, order: InFlightOrder, case: _Case) -> None:
        delay_ns = min(FIRST_DELAY_NS << min(case.attempt, 16), LONGEST_DELAY_NS)
        case.attempt += 1
        self._context.set_deadline(delay_ns, "ask", order.id)
