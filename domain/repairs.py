"""From findings to events: what a reconciliation found, its repair, and who did it.

A repair goes through the same doors as everything else that happens to an order or an account. What a door
refuses is not called repaired: the finding stays open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from domain.account import Account
from domain.client_order_tracker import ClientOrderTracker, lookup_key
from domain.discrepancies import (
    AdjustBalance,
    AdjustPosition,
    BookFill,
    BookFunding,
    BookTransfer,
    CorrectFill,
    Discrepancy,
    ProveAbsent,
    Reopen,
    Repair,
    TakeLeverage,
    TakeOrderUpdate,
)
from domain.enums import RequestState
from domain.events import AccountDiscrepancyFound, OrderObserved
from domain.in_flight_order import InFlightOrder
from domain.updates import OrderUpdate, UpdateStatus

__all__ = ["apply_discrepancy", "is_known_and_left"]

_ALIVE = (UpdateStatus.OPEN, UpdateStatus.TRIGGERED)
_OUT = (RequestState.REQUESTED, RequestState.UNKNOWN)


def is_known_and_left(found: Discrepancy, account: Account) -> bool:
    """Whether this finding is in the log already and nothing can be done about it: no news."""
    return found.repair is None and account.is_unsettled(found.discrepancy_id)


def apply_discrepancy(
    found: Discrepancy,
    tracker: ClientOrderTracker,
    account: Account,
    *,
    actor: str = "reconciliation",
    repair: bool = True,
) -> None:
    """Record a finding, and mend or waive what it is about; the events land in `tracker.changes`.

    The account collects its changes in the same list, both are stamped (source RECONCILIATION), and every
    order that a repair names is in the tracker's memory: one that is not there is left alone, and the finding
    stays open. Found again without being repaired, it is not recorded twice; what something else has mended
    meanwhile (the repair of a finding before it) is not recorded at all. Without `repair` the finding alone
    is recorded. `actor` is who repairs or waives.
    """
    changes = tracker.changes
    if is_known_and_left(found, account):
        return
    if repair and found.repair is not None and _is_mended(found.repair, tracker, account):
        if account.is_unsettled(found.discrepancy_id):
            account.discrepancy_repaired(
                found.discrepancy_id, reason="It was mended by something else.", actor=actor
            )
        return
    refusal = "" if found.repair is None else _refusal(found.repair, tracker, account)
    begin = len(changes)
    is_news = account.discrepancy_found(
        found.discrepancy_id,
        kind=found.kind,
        subject=found.subject,
        trading_pair=found.trading_pair,
        ours=found.ours,
        theirs=found.theirs,
        explanation=f"{found.explanation} {refusal}".rstrip(),
        evidence=found.evidence,
    )
    if is_news:
        assert len(changes) > begin, "tracker and account collect their changes in one list"
        assert isinstance(changes[-1].event, AccountDiscrepancyFound)
    if not repair or refusal:
        return
    if found.repair is None:
        if found.waiver:
            account.discrepancy_waived(found.discrepancy_id, reason=found.waiver, actor=actor)
        return
    begin = len(changes)
    reason = _DOORS[type(found.repair)](found, found.repair, tracker, account)
    emitted = [change.event for change in changes[begin:]]
    if all(isinstance(event, OrderObserved) for event in emitted):
        return
    account.discrepancy_repaired(
        found.discrepancy_id,
        reason=reason,
        actor=actor,
        repairs=tuple(f"{event.topic} {event.originator_id} {event.originator_version}" for event in emitted),
    )


# -- what speaks against a repair --------------------------------------------------------------------------


def _is_mended(repair: Repair, tracker: ClientOrderTracker, account: Account) -> bool:
    """Whether there is nothing left to repair: what was missing has come since the comparison."""
    if isinstance(repair, BookFill):
        key = repair.update.fill.fill_key
        return account.has_fill(key) or tracker.was_booked(key)
    if isinstance(repair, TakeOrderUpdate):
        oid = repair.update.exchange_order_id
        return repair.client_order_id is None and tracker.find(None, oid) is not None
    if isinstance(repair, Reopen | ProveAbsent):
        order = tracker.get(repair.client_order_id)
        return order is not None and order.is_done is isinstance(repair, ProveAbsent)
    return False


def _refusal(repair: Repair, tracker: ClientOrderTracker, account: Account) -> str:
    """Why a repair cannot be made now, as a sentence; empty when nothing speaks against it."""
    if isinstance(repair, BookFill):
        return _refusal_to_book(repair, tracker)
    if isinstance(repair, CorrectFill):
        return _refusal_to_correct(repair, tracker, account)
    if isinstance(repair, TakeOrderUpdate):
        if repair.client_order_id is not None:
            return _not_in_memory(repair.client_order_id, tracker)
        if repair.update.details is None or repair.update.exchange_order_id is None:
            return "Not adopted: the venue did not tell the terms of the order."
    if isinstance(repair, Reopen):
        order = tracker.get(repair.client_order_id)
        if order is not None and order.is_complete:
            return "Not reopened: its booked fills complete the order."
        return _not_in_memory(repair.client_order_id, tracker)
    if isinstance(repair, ProveAbsent):
        return _not_in_memory(repair.client_order_id, tracker)
    return ""


def _not_in_memory(client_order_id: str, tracker: ClientOrderTracker) -> str:
    if tracker.get(client_order_id) is None:
        return f"Not repaired: order {client_order_id} is not in memory."
    return ""


def _refusal_to_book(repair: BookFill, tracker: ClientOrderTracker) -> str:
    if repair.client_order_id is not None:
        return _not_in_memory(repair.client_order_id, tracker)
    fill = repair.update.fill
    known = tracker.find(repair.update.venue_order_key, fill.exchange_order_id)
    if known is None and not repair.update.ownerless and repair.terms is None:
        return "Not booked: the terms of its order are not known."
    return ""


def _refusal_to_correct(repair: CorrectFill, tracker: ClientOrderTracker, account: Account) -> str:
    fill, client_order_id = repair.booked.fill, repair.booked.client_order_id
    if client_order_id is None:
        return (
            "" if account.has_fill(fill.fill_key) else "Not corrected: the account's fill is not in memory."
        )
    order = tracker.get(client_order_id)
    if order is None:
        return _not_in_memory(client_order_id, tracker)
    booked = (order.fills or {}).get(fill.fill_key)
    if booked is None or booked[1] != fill.amount:
        return "Not corrected: the order's fill is not the one that was compared."
    return ""


# -- the doors ---------------------------------------------------------------------------------------------


def _book_fill(found: Discrepancy, repair: BookFill, tracker: ClientOrderTracker, account: Account) -> str:
    update, fill = repair.update, repair.update.fill
    order = tracker.find(update.venue_order_key, fill.exchange_order_id)
    if order is None and repair.client_order_id is not None:
        order = tracker.get(repair.client_order_id)
    if order is None and update.ownerless:
        account.book_fill(fill)
        return "Booked to the account: no order explains it."
    if order is None:
        assert repair.terms is not None, "checked before"
        tracker.adopt(
            lookup_key(update.venue_order_key, fill.exchange_order_id), fill.exchange_order_id, repair.terms
        )
        order = tracker.by_exchange_id(fill.exchange_order_id)
        assert order is not None
    tracker.process_trade_update(update)
    if repair.order is not None and repair.order.status not in _ALIVE and not order.is_done:
        tracker.process_order_update(repair.order)
    if order.is_external:
        return "Booked to the order placed elsewhere that it belongs to."
    return "Booked to its order, as the venue's own history tells it."


def _correct_fill(
    found: Discrepancy, repair: CorrectFill, tracker: ClientOrderTracker, account: Account
) -> str:
    was, now = repair.booked.fill, repair.now
    if repair.booked.client_order_id is None:
        account.correct_fill(was, now, reason_code=found.kind, discrepancy_id=found.discrepancy_id)
    else:
        order = _order(tracker, repair.booked.client_order_id)
        tracker.correct_fill(order, was, now, reason_code=found.kind, discrepancy_id=found.discrepancy_id)
    if now is None:
        return "Taken back: the venue's complete history does not hold it."
    return "Replaced by what the venue's own history tells."


def _take_order_update(
    found: Discrepancy, repair: TakeOrderUpdate, tracker: ClientOrderTracker, account: Account
) -> str:
    update = repair.update
    if repair.client_order_id is None:
        assert update.exchange_order_id is not None, "checked before"
        assert update.details is not None, "checked before"
        tracker.adopt(
            lookup_key(update.venue_order_key, update.exchange_order_id),
            update.exchange_order_id,
            update.details,
        )
        if update.status is not UpdateStatus.OPEN:
            tracker.process_order_update(update)
        return "Adopted as an order placed elsewhere."
    order = tracker.process_order_update(update)
    if order is not None and repair.settles_requests:
        _settle_requests(tracker, order, update)
    return "Taken from the venue."


def _settle_requests(tracker: ClientOrderTracker, order: InFlightOrder, update: OrderUpdate) -> None:
    """End the wait for requests that this update shows to have changed nothing."""
    if order.is_amending and not order.is_done:
        terms = update.details
        if terms is not None and update.status in _ALIVE and terms.price == order.amend_price:
            tracker.amended(order, update.exchange_order_id)
        else:
            tracker.amend_refused(order, "absence_proven", "the venue works no replacement of the order")
    if order.cancel in _OUT and not order.is_done and update.status in _ALIVE:
        tracker.cancel_refused(order, "still_open", "the venue lists the order as open")


def _prove_absent(
    found: Discrepancy, repair: ProveAbsent, tracker: ClientOrderTracker, account: Account
) -> str:
    tracker.absent(_order(tracker, repair.client_order_id), repair.reason)
    return f"Closed as never placed: {repair.reason}."


def _reopen(found: Discrepancy, repair: Reopen, tracker: ClientOrderTracker, account: Account) -> str:
    order, update = _order(tracker, repair.client_order_id), repair.update
    tracker.reopen(
        order,
        update.exchange_order_id,
        reason_code="listed_as_open",
        reason="the venue lists the order as open",
        discrepancy_id=found.discrepancy_id,
    )
    tracker.process_order_update(update)
    return "Reopened: the venue lists it as open."


def _book_funding(
    found: Discrepancy, repair: BookFunding, tracker: ClientOrderTracker, account: Account
) -> str:
    account.book_funding(repair.update)
    return "Booked as the venue tells it."


def _book_transfer(
    found: Discrepancy, repair: BookTransfer, tracker: ClientOrderTracker, account: Account
) -> str:
    transfer = repair.transfer
    account.book_ledger_update(
        update_key=transfer.update_key,
        kind=transfer.kind,
        amount=transfer.amount,
        token=transfer.token,
        detail=transfer.detail,
        exchange_time_ms=transfer.exchange_time_ms,
    )
    return "Booked as the venue tells it."


def _adjust_position(
    found: Discrepancy, repair: AdjustPosition, tracker: ClientOrderTracker, account: Account
) -> str:
    account.assert_position(
        repair.update, adjustment=True, discrepancy_id=found.discrepancy_id, exchange_time_ms=repair.at_ms
    )
    return "The position goes on from what the venue says."


def _adjust_balance(
    found: Discrepancy, repair: AdjustBalance, tracker: ClientOrderTracker, account: Account
) -> str:
    account.assert_balance(
        repair.token,
        repair.amount,
        adjustment=True,
        discrepancy_id=found.discrepancy_id,
        exchange_time_ms=repair.at_ms,
    )
    return "The cash goes on from what the venue says."


def _take_leverage(
    found: Discrepancy, repair: TakeLeverage, tracker: ClientOrderTracker, account: Account
) -> str:
    account.leverage_changed(repair.trading_pair, repair.leverage, repair.is_cross)
    return "Taken from the venue."


def _order(tracker: ClientOrderTracker, client_order_id: str) -> InFlightOrder:
    order = tracker.get(client_order_id)
    assert order is not None, "checked before"
    return order


_DOORS: dict[type[Repair], Callable[[Discrepancy, Any, ClientOrderTracker, Account], str]] = {
    BookFill: _book_fill,
    CorrectFill: _correct_fill,
    TakeOrderUpdate: _take_order_update,
    ProveAbsent: _prove_absent,
    Reopen: _reopen,
    BookFunding: _book_funding,
    BookTransfer: _book_transfer,
    AdjustPosition: _adjust_position,
    AdjustBalance: _adjust_balance,
    TakeLeverage: _take_leverage,
}
