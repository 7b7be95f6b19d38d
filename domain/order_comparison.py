"""Every order by its state: live here and ended there, the other way round, in flight for too long, unknown.

An order is judged as it stands once the fills that were found are booked or taken back: what a fill explains
is not found a second time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from decimal import Decimal

from domain.discrepancies import (
    Discrepancy,
    DiscrepancyKind,
    OrderAnswer,
    ProveAbsent,
    Reopen,
    Repair,
    TakeOrderUpdate,
)
from domain.enums import PositionAction, RequestState, Source, Submission
from domain.events import OrderAmended, OrderEvent, OrderFillCorrected, OrderFilled
from domain.fill_comparison import ComparedFills, FillChange, fitting_terms
from domain.findings import Scope, evidence_of, finding
from domain.in_flight_order import InFlightOrder
from domain.moments import moment
from domain.money import MONEY, ZERO, decimal_text
from domain.updates import OrderDetails, OrderUpdate, UpdateStatus

__all__ = ["compare_orders", "find_external_orders"]

_ALIVE = (UpdateStatus.OPEN, UpdateStatus.TRIGGERED)
_OUT = (RequestState.REQUESTED, RequestState.UNKNOWN)


def find_external_orders(scope: Scope, fills: ComparedFills) -> list[Discrepancy]:
    """The listed orders that are not in the books."""
    found = []
    for row in _rows(scope):
        if scope.order_of(row.venue_order_key, row.exchange_order_id) is not None:
            continue
        if row.exchange_time_ms is not None and not scope.is_settled(row.exchange_time_ms):
            scope.leave("orders placed elsewhere: one is too young to be judged")
            continue
        terms, oid = row.details, row.exchange_order_id or ""
        if terms is not None:
            terms = fitting_terms(row, terms, fills.told.get(oid, ()))
        what = "an order" if terms is None else _terms_text(terms)
        since = "" if row.exchange_time_ms is None else f" since {moment(row.exchange_time_ms)}"
        found.append(
            finding(
                DiscrepancyKind.EXTERNAL_ORDER,
                oid,
                trading_pair="" if terms is None else terms.trading_pair,
                ours="not in the books",
                theirs=what,
                explanation=(
                    f"The venue lists its order {oid} as open{since}: {what}. It was not placed from here. "
                    "It "
                    "is adopted as an order placed elsewhere, so that its fills belong to something."
                ),
                evidence=evidence_of("open_orders", row),
                repair=TakeOrderUpdate(_with_terms(row, terms)),
                identity=("", oid),
            )
        )
    return found


def compare_orders(scope: Scope, fills: ComparedFills) -> list[Discrepancy]:
    """The orders in the books against the venue's list, and against its answers about those not in it.

    Without the list only those are judged that were asked about by themselves.
    """
    listed: dict[str, list[OrderUpdate]] = {}
    for row in _rows(scope):
        order = scope.order_of(row.venue_order_key, row.exchange_order_id)
        if order is not None:
            listed.setdefault(order.id, []).append(row)
    found: list[Discrepancy] = []
    young = 0
    for client_order_id in sorted(scope.books.orders):
        order = scope.books.orders[client_order_id]
        rows = listed.get(client_order_id)
        changes = fills.changes_of_orders.get(client_order_id)
        if rows is None and changes is None and order.is_done:
            continue
        if client_order_id in fills.unsettled_orders or not scope.is_quiet(order):
            young += 1
            continue
        now = order if changes is None else _after(order, changes)
        if rows is not None:
            judged = _listed(scope, order, now, _current(now, rows))
        elif now.is_done:
            continue
        else:
            judged = _unlisted(scope, order, now, scope.report.asked.get(client_order_id))
        if judged is not None:
            found.append(judged)
    if young:
        scope.leave(f"orders: {young} of them changed too lately to be judged")
    return found


def _rows(scope: Scope) -> Iterator[OrderUpdate]:
    """The listed orders, each leg once, in an order that does not depend on the list's."""
    seen: dict[tuple[str | None, str | None], None] = {}
    for row in sorted(scope.report.open_orders or (), key=_row_order):
        leg = (row.venue_order_key if row.exchange_order_id is None else None, row.exchange_order_id)
        if leg not in seen and row.status in _ALIVE:
            seen[leg] = None
            yield row


def _row_order(row: OrderUpdate) -> tuple[str, str, int]:
    return row.exchange_order_id or "", row.venue_order_key or "", row.exchange_time_ms or 0


def _current(order: InFlightOrder, rows: Sequence[OrderUpdate]) -> OrderUpdate:
    """Of several listed legs of an order the one that is news, else the current one."""
    return max(
        rows,
        key=lambda row: (
            row.exchange_order_id is None or not order.has_leg(row.exchange_order_id),
            row.exchange_order_id == order.exchange_order_id,
            row.exchange_time_ms or 0,
        ),
    )


def _with_terms(row: OrderUpdate, terms: OrderDetails | None) -> OrderUpdate:
    return OrderUpdate(
        status=row.status,
        exchange_order_id=row.exchange_order_id,
        venue_order_key=row.venue_order_key,
        exchange_time_ms=row.exchange_time_ms,
        remaining_amount=row.remaining_amount,
        details=terms,
    )


# -- an order after the repairs of its fills ---------------------------------------------------------------


def _after(order: InFlightOrder, changes: Sequence[FillChange]) -> InFlightOrder:
    """The order as it will stand; the one in the books stays as it is."""
    now = copy(order)
    now.fills = None if order.fills is None else dict(order.fills)
    now.former_legs = None if order.former_legs is None else dict(order.former_legs)
    now.ended_legs = None if order.ended_legs is None else dict(order.ended_legs)
    for was, comes in changes:
        held = now.fills or {}
        if was is not None and was.fill_key in held:
            _apply(now, OrderFillCorrected, was=was, now=comes, reason_code="", discrepancy_id="")
        elif was is None and comes is not None and comes.fill_key not in held:
            leg = comes.exchange_order_id
            if now.is_amending and now.exchange_order_id is not None and not now.has_leg(leg):
                assert now.amend_price is not None
                assert now.amend_leg_amount is not None
                price, leg_amount = now.amend_price, now.amend_leg_amount
                _apply(now, OrderAmended, price=price, leg_amount=leg_amount, exchange_order_id=leg)
            _apply(now, OrderFilled, fill=comes)
    return now


def _apply(order: InFlightOrder, event_type: type[OrderEvent], **members: object) -> None:
    order.apply(
        event_type(
            originator_id=order.id,
            originator_version=order.version + 1,
            recorded_at_ns=order.updated_at_ns,
            venue=order.created.venue,
            account=order.created.account,
            source=Source.RECONCILIATION,
            **members,  # type: ignore[arg-type]
        )
    )


# -- listed as open ----------------------------------------------------------------------------------------


def _listed(scope: Scope, order: InFlightOrder, now: InFlightOrder, row: OrderUpdate) -> Discrepancy | None:
    leg = row.exchange_order_id
    is_new_leg = now.exchange_order_id is not None and leg is not None and not now.has_leg(leg)
    if is_new_leg and row.exchange_time_ms is not None and not scope.is_settled(row.exchange_time_ms):
        return None
    if now.is_done:
        return _listed_though_done(scope, order, now, row)
    if is_new_leg:
        return _listed_under_new_id(order, now, row)
    if leg is not None and now.exchange_order_id not in (None, leg):
        return _of_listed(
            order,
            row,
            DiscrepancyKind.STATE_MISMATCH,
            f"under its former exchange id {leg}",
            f"Order {order.id} goes by the exchange id {now.exchange_order_id} here, and the venue lists it "
            "as "
            f"open under its former one, {leg}. Nothing that could be recorded says which of the two is "
            "worked: a person has to look.",
            None,
        )
    if now.submission is not Submission.ACKNOWLEDGED:
        return _of_listed(
            order,
            row,
            _kind_in_flight(order),
            "open",
            f"Whether the venue has order {order.id} was not known; it lists it as open. The order is taken "
            "to "
            "be open.",
            TakeOrderUpdate(row, order.id),
        )
    if now.cancel in _OUT or now.is_amending:
        return _listed_with_request_out(scope, order, now, row)
    return _compare_terms(scope, order, now, row)


def _listed_though_done(
    scope: Scope, order: InFlightOrder, now: InFlightOrder, row: OrderUpdate
) -> Discrepancy | None:
    kind = DiscrepancyKind.STATE_MISMATCH
    if now.is_complete:
        return _of_listed(
            order,
            row,
            kind,
            f"open, {_remaining_text(row)}",
            f"The fills of order {order.id} reach its amount, {decimal_text(now.amount)}, and each of them "
            "is "
            f"in the venue's list; yet the venue lists the order as open, {_remaining_text(row)}. Nothing "
            "that "
            "could be recorded mends that: a person has to look.",
            None,
        )
    closing = now.closing
    assert closing is not None, "an order that is not complete is done by its closing"
    if closing.exchange_time_ms is not None and not scope.is_settled(closing.exchange_time_ms):
        return None
    if closing.is_inferred:
        return _of_listed(
            order,
            row,
            kind,
            "open",
            f"Order {order.id} counts as {now.state} because the venue did not know it; now the venue lists "
            "it as open. That refutes the conclusion, and the order is open again.",
            TakeOrderUpdate(row, order.id),
        )
    when = "" if closing.exchange_time_ms is None else f" at {moment(closing.exchange_time_ms)}"
    return _of_listed(
        order,
        row,
        kind,
        "open",
        f"Order {order.id} is recorded as {now.state}{when} ({closing.reason_code}), and the venue lists it "
        "as "
        "open long after. Its end is refuted and the order reopened.",
        Reopen(order.id, row),
    )


def _listed_under_new_id(order: InFlightOrder, now: InFlightOrder, row: OrderUpdate) -> Discrepancy | None:
    began_ms = now.leg_began_ms
    leg = row.exchange_order_id
    if now.is_amending:
        return _of_listed(
            order,
            row,
            _kind_in_flight(order),
            f"open under the exchange id {leg}",
            f"Whether the amend of order {order.id} took effect was not known; the venue lists the order "
            "under "
            f"a new exchange id, {leg}. The amend is taken to be in force.",
            TakeOrderUpdate(row, order.id),
        )
    if row.exchange_time_ms is not None and began_ms is not None and row.exchange_time_ms < began_ms:
        repair: Repair | None = None
        end = "It is older than the one that is known here: a person has to look."
    else:
        repair = TakeOrderUpdate(row, order.id)
        end = "It was amended elsewhere; its terms at the venue are taken over."
    return _of_listed(
        order,
        row,
        DiscrepancyKind.STATE_MISMATCH,
        f"open under the exchange id {leg}",
        f"The venue works order {order.id} under an exchange id that no amend from here explains, {leg} "
        f"({'' if row.details is None else _terms_text(row.details)}). {end}",
        repair,
    )


def _listed_with_request_out(
    scope: Scope, order: InFlightOrder, now: InFlightOrder, row: OrderUpdate
) -> Discrepancy | None:
    repair: Repair | None = TakeOrderUpdate(row, order.id, settles_requests=True)
    if now.is_amending:
        if now.expires_at_ms is not None and scope.report.taken_at_ms <= now.expires_at_ms:
            return None
        asked = "an amend" if now.cancel not in _OUT else "a cancel and an amend"
        if now.expires_at_ms is None:
            repair = None
    else:
        asked = "a cancel"
    end = (
        "The order is open, and the request counts as refused."
        if repair is not None
        else "The request has no expiry, so it could still take effect: it stays as it is."
    )
    return _of_listed(
        order,
        row,
        _kind_in_flight(order),
        "open, unchanged",
        f"What became of {asked} of order {order.id} was not known for longer than the grace time; the venue "
        f"lists the order as open as it was. {end}",
        repair,
    )


def _compare_terms(
    scope: Scope, order: InFlightOrder, now: InFlightOrder, row: OrderUpdate
) -> Discrepancy | None:
    terms = row.details
    if terms is None:
        return None
    if now.terms_assumed:
        if terms.price == now.price and terms.amount == now.leg_amount:
            return None
        return _of_listed(
            order,
            row,
            DiscrepancyKind.STATE_MISMATCH,
            _terms_text(terms),
            f"The venue works order {order.id} with terms nobody told until now: {_terms_text(terms)}. They "
            "take the place of those that were assumed.",
            TakeOrderUpdate(row, order.id),
        )
    is_other_price = terms.price != now.price and not now.created.order_type.is_market
    left = _left_of_leg(now)
    is_other_amount = (
        row.remaining_amount is not None
        and scope.report.fills is not None
        and now.leg_amount > ZERO
        and MONEY.abs(MONEY.subtract(row.remaining_amount, left))
        > scope.report.steps.get(now.trading_pair, ZERO)
        and not (now.created.position_action is PositionAction.CLOSE and row.remaining_amount < left)
    )
    if not (is_other_price or is_other_amount):
        return None
    return _of_listed(
        order,
        row,
        DiscrepancyKind.STATE_MISMATCH,
        f"{decimal_text(terms.price)}, {_remaining_text(row)}",
        f"Order {order.id} is at {decimal_text(now.price)} here with {decimal_text(left)} left; the venue "
        "works "
        f"it at {decimal_text(terms.price)}, {_remaining_text(row)}, under the same exchange id. No message "
        "that could be recorded tells why: a person has to look.",
        None,
    )


def _left_of_leg(order: InFlightOrder) -> Decimal:
    """What the venue should still be working of the order's current leg."""
    executed = MONEY.subtract(order.filled_amount, order.former_filled)
    return MONEY.subtract(order.leg_amount, executed)


def _of_listed(
    order: InFlightOrder,
    row: OrderUpdate,
    kind: DiscrepancyKind,
    theirs: str,
    explanation: str,
    repair: Repair | None,
) -> Discrepancy:
    return finding(
        kind,
        order.id,
        trading_pair=order.trading_pair,
        ours=_state_text(order),
        theirs=theirs,
        explanation=explanation,
        evidence=evidence_of("open_orders", row),
        repair=repair,
    )


# -- not listed --------------------------------------------------------------------------------------------


def _unlisted(
    scope: Scope, order: InFlightOrder, now: InFlightOrder, answer: OrderAnswer | None
) -> Discrepancy | None:
    if answer is None:
        return None
    update = answer.update
    if update is None:
        return _unknown_to_venue(scope, order, now, answer)
    if update.exchange_time_ms is not None and not scope.is_settled(update.exchange_time_ms):
        return None
    if update.status in _ALIVE:
        if now.submission is Submission.ACKNOWLEDGED:
            return None
        return _of_answer(
            order,
            answer,
            _kind_in_flight(order),
            str(update.status),
            f"Whether the venue has order {order.id} was not known; asked about it, the venue tells that it "
            "is live. The order is taken to be open.",
            TakeOrderUpdate(update, order.id),
        )
    return _ended_at_venue(order, now, answer, update)


def _ended_at_venue(
    order: InFlightOrder, now: InFlightOrder, answer: OrderAnswer, update: OrderUpdate
) -> Discrepancy | None:
    leg = update.exchange_order_id
    why = f" ({update.reason or update.reason_code})" if update.reason or update.reason_code else ""
    when = "" if update.exchange_time_ms is None else f" at {moment(update.exchange_time_ms)}"
    begin = (
        f"Order {order.id} is {_state_text(order)} here; the venue tells that it is "
        f"{update.status}{why}{when}"
    )
    repair: Repair | None = TakeOrderUpdate(update, order.id)
    end = "Its end is taken over from the venue; quantity comes from its fills alone."
    if leg is not None and leg != now.exchange_order_id and now.has_leg(leg):
        repair = None
        end = f"That is the end of a former leg, {leg}; of the present one the venue tells nothing."
    elif now.is_amending and leg == now.exchange_order_id and update.status is UpdateStatus.CANCELLED:
        if not answer.is_past_expiry:
            return None
        repair = TakeOrderUpdate(update, order.id, settles_requests=True)
        end = "The amend that was out can no longer take effect, so the order has ended with this leg."
    return _of_answer(
        order, answer, _kind_in_flight(order), f"{update.status}{why}", f"{begin}. {end}", repair
    )


def _unknown_to_venue(
    scope: Scope, order: InFlightOrder, now: InFlightOrder, answer: OrderAnswer
) -> Discrepancy | None:
    if now.submission is Submission.NONE:
        return None
    if now.submission is Submission.ACKNOWLEDGED:
        kind = DiscrepancyKind.UNKNOWN_OUTCOME if order.outcome_unknown else DiscrepancyKind.STATE_MISMATCH
        return _of_answer(
            order,
            answer,
            kind,
            "not known",
            f"Order {order.id} is {_state_text(order)} here; the venue neither lists nor knows it. That "
            "proves "
            "nothing about how it ended: it stays as it is.",
            None,
        )
    expires_at_ms = order.expires_at_ms
    is_past_expiry = answer.is_past_expiry
    if not is_past_expiry and expires_at_ms is not None and scope.report.taken_at_ms <= expires_at_ms:
        # By its own terms the request may still arrive: it is in flight.
        return None
    window = scope.report.fills_window
    created_ms = scope.venue_ms_of(order.created.recorded_at_ns)
    are_fills_told = (
        scope.report.fills is not None
        and window is not None
        and window.complete_from_ms <= max(created_ms, scope.books.books_begin_ms + 1)
    )
    if is_past_expiry and are_fills_told:
        reason = "the venue does not know it, its request has expired, and no fill names it"
        repair: Repair | None = ProveAbsent(order.id, reason)
        end = "So it never took effect and never will: it is closed as never placed."
        begin = "its request has expired, and no fill in the venue's list names it."
    else:
        repair = None
        begin = (
            "its expiry is not known to have passed."
            if not is_past_expiry
            else "its request has expired, but the venue's list of fills does not reach back to it."
        )
        end = "What is unknown stays unknown."
    return finding(
        DiscrepancyKind.UNKNOWN_OUTCOME,
        order.id,
        trading_pair=order.trading_pair,
        ours=_state_text(order),
        theirs="not known",
        explanation=(
            f"Whether order {order.id} was placed is not known here. The venue neither lists nor knows it; "
            f"{begin} {end}"
        ),
        evidence=evidence_of("order_status", answer),
        repair=repair,
        identity=("not known to be placed", "not known"),
    )


def _of_answer(
    order: InFlightOrder,
    answer: OrderAnswer,
    kind: DiscrepancyKind,
    theirs: str,
    explanation: str,
    repair: Repair | None,
) -> Discrepancy:
    return finding(
        kind,
        order.id,
        trading_pair=order.trading_pair,
        ours=_state_text(order),
        theirs=theirs,
        explanation=explanation,
        evidence=evidence_of("order_status", answer),
        repair=repair,
    )


# -- words -------------------------------------------------------------------------------------------------


def _kind_in_flight(order: InFlightOrder) -> DiscrepancyKind:
    """What it means that the venue's word is news: an unknown fate, an answer overdue, or another state."""
    if order.outcome_unknown:
        return DiscrepancyKind.UNKNOWN_OUTCOME
    is_out = order.submission is Submission.SENT or order.cancel in _OUT or order.is_amending
    return DiscrepancyKind.STUCK_IN_FLIGHT if is_out and not order.is_done else DiscrepancyKind.STATE_MISMATCH


def _state_text(order: InFlightOrder) -> str:
    text = f"{order.state}, {decimal_text(order.filled_amount)} of {decimal_text(order.amount)} filled"
    return f"{text}, outcome unknown" if order.outcome_unknown else text


def _terms_text(terms: OrderDetails) -> str:
    return (
        f"{terms.order_type} {terms.trade_type} {decimal_text(terms.amount)} {terms.trading_pair} "
        f"at {decimal_text(terms.price)}"
    )


def _remaining_text(row: OrderUpdate) -> str:
    if row.remaining_amount is None:
        return "an untold amount left"
    return f"{decimal_text(row.remaining_amount)} left"
