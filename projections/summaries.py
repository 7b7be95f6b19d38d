"""One line of plain language per event: what a trader reads in a timeline."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from domain.enums import Liquidity, RequestOutcome, Source, TimeInForce
from domain.events import (
    AccountActionRequested,
    AccountActionSettled,
    AccountBalanceAsserted,
    AccountDiscrepancyFound,
    AccountDiscrepancyRepaired,
    AccountDiscrepancyWaived,
    AccountFillBooked,
    AccountFillCorrected,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    AccountLeverageChanged,
    AccountLiquidationNoticed,
    AccountMessageKept,
    AccountOpened,
    AccountPositionAsserted,
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
from projections.texts import number_text

__all__ = ["summarise"]


# A member is found in its class more slowly than it is compared.
_UNKNOWN, _GTC = Liquidity.UNKNOWN, TimeInForce.GTC


def summarise(event: LedgerEvent) -> str:
    """What the event says, without the order around it. Never fails: an absurd event gives its topic."""
    try:
        return _DESCRIBE[type(event)](event)
    except (ArithmeticError, LookupError, ValueError):
        return event.topic


def _because(reason_code: str, reason: str) -> str:
    if not reason:
        return reason_code
    return f"{reason_code}: {reason}" if reason_code else reason


def _as(exchange_order_id: str | None) -> str:
    return f" as {exchange_order_id}" if exchange_order_id else ""


def _fill(fill: Fill) -> str:
    role = "" if fill.liquidity is _UNKNOWN else f" as {fill.liquidity!s}"
    fee = number_text(fill.fee)
    charge = f"rebate {fee[1:]}" if fee[0] == "-" else f"fee {fee}"
    return (
        f"{fill.trade_type!s} {number_text(fill.amount)} at {number_text(fill.price)}{role}, "
        f"{charge} {fill.fee_token}"
    )


def _created(event: OrderCreated) -> str:
    text = f"{event.trade_type} {number_text(event.amount)} {event.trading_pair}, {event.order_type}"
    text += f" at {number_text(event.price)}"
    if event.trigger_price is not None:
        text += f", trigger {number_text(event.trigger_price)}"
    if event.time_in_force is not _GTC:
        text += f", {event.time_in_force}"
    if event.position_action != "nil":
        text += f", {event.position_action}"
    asked = []
    if event.requested_amount is not None:
        asked.append(f"amount {number_text(event.requested_amount)}")
    if event.requested_price is not None:
        asked.append(f"price {number_text(event.requested_price)}")
    if asked:
        text += f" (asked for {', '.join(asked)})"
    if event.external:
        return f"found at the venue, placed elsewhere: {text}"
    if event.source is Source.RECONCILIATION:
        return f"found at the venue, placed before this ledger was kept: {text}"
    return f"intended: {text}"


def _submitted(event: OrderSubmitted) -> str:
    return f"about to be sent (attempt {event.attempt}, nonce {event.nonce})"


def _submit_unknown(event: OrderSubmitUnknown) -> str:
    return f"outcome of the submit unknown ({_because(event.reason_code, event.reason)})"


def _acknowledged(event: OrderAcknowledged) -> str:
    return f"acknowledged by the venue{_as(event.exchange_order_id)}"


def _filled(event: OrderFilled) -> str:
    return f"filled: {_fill(event.fill)}"


def _reported_filled(event: OrderReportedFilled) -> str:
    return "the venue calls it filled"


def _triggered(event: OrderTriggered) -> str:
    return f"trigger price reached, live{_as(event.exchange_order_id)}"


def _cancel_requested(event: OrderCancelRequested) -> str:
    why = f" ({event.reason_code})" if event.reason_code else ""
    return f"cancel about to be sent{why}"


def _cancel_unknown(event: OrderCancelUnknown) -> str:
    return f"outcome of the cancel unknown ({_because(event.reason_code, event.reason)})"


def _cancel_refused(event: OrderCancelRefused) -> str:
    return f"cancel refused ({_because(event.reason_code, event.reason)})"


def _terms(amount: Decimal, price: Decimal) -> str:
    return f"{number_text(amount)} at {number_text(price)}"


def _amend_requested(event: OrderAmendRequested) -> str:
    return f"amend to {_terms(event.amount, event.price)} about to be sent"


def _amend_unknown(event: OrderAmendUnknown) -> str:
    return f"outcome of the amend unknown ({_because(event.reason_code, event.reason)})"


def _amended(event: OrderAmended) -> str:
    return f"amended: works {_terms(event.leg_amount, event.price)}{_as(event.exchange_order_id)}"


def _amend_refused(event: OrderAmendRefused) -> str:
    return f"amend refused ({_because(event.reason_code, event.reason)})"


def _cancelled(event: OrderCancelled) -> str:
    return f"cancelled ({_because(event.reason_code, event.reason)})"


def _failed(event: OrderFailed) -> str:
    return f"failed ({_because(event.reason_code, event.reason)})"


def _expired(event: OrderExpired) -> str:
    return f"expired ({_because(event.reason_code, event.reason)})"


def _not_found(event: OrderNotFound) -> str:
    times = "once" if event.count == 1 else f"{event.count} times in a row"
    return f"the venue does not know it ({times})"


def _observed(event: OrderObserved) -> str:
    leg = f" for {event.exchange_order_id}" if event.exchange_order_id else ""
    status = f" {event.status}" if event.status else ""
    because = _because(event.reason_code, event.reason)
    return f"observed{status}{leg}, kept for audit: {event.why}" + (f" ({because})" if because else "")


def _opened(event: AccountOpened) -> str:
    signer = f", signed for by {event.signer}" if event.signer else ""
    return f"the ledger keeps this account ({event.network}{signer})"


def _account_fill(event: AccountFillBooked) -> str:
    kind = "liquidation" if event.fill.liquidation else "fill without an order of ours"
    return f"{kind}: {event.fill.trading_pair} {_fill(event.fill)}"


def _funding(event: AccountFundingBooked) -> str:
    verb = "paid" if event.amount < 0 else "received"
    return (
        f"funding {verb}: {number_text(event.amount.copy_abs())} {event.token} on {event.trading_pair} "
        f"(position {number_text(event.position_size)}, rate {number_text(event.rate)})"
    )


def _transfer(event: AccountLedgerUpdateBooked) -> str:
    amount = "" if event.amount is None else f" {number_text(event.amount)} {event.token}".rstrip()
    return f"{event.kind}{amount}"


def _action_requested(event: AccountActionRequested) -> str:
    return f"about to be sent: {event.action} {event.detail} (nonce {event.nonce})"


def _action_settled(event: AccountActionSettled) -> str:
    because = _because(event.reason_code, event.reason)
    what = "outcome unknown" if event.outcome is RequestOutcome.UNKNOWN else event.outcome
    return f"{event.action} (nonce {event.nonce}): {what}" + (f" ({because})" if because else "")


def _leverage(event: AccountLeverageChanged) -> str:
    return f"leverage of {event.trading_pair}: {event.leverage}x {'cross' if event.is_cross else 'isolated'}"


def _position_asserted(event: AccountPositionAsserted) -> str:
    entry = "" if event.entry_price is None else f", entry {number_text(event.entry_price)}"
    return f"{_asserted(event, 'position')}: {number_text(event.amount)} {event.trading_pair}{entry}"


def _balance_asserted(event: AccountBalanceAsserted) -> str:
    return f"{_asserted(event, 'cash')}: {number_text(event.amount)} {event.token}"


def _asserted(event: AccountPositionAsserted | AccountBalanceAsserted, what: str) -> str:
    if event.opening:
        return "opening balance"
    return f"{what} set to the venue's" if event.adjustment else f"the venue states the {what}"


def _fill_corrected(event: OrderFillCorrected | AccountFillCorrected) -> str:
    was, now = event.was, event.now
    because = f"({event.reason_code}, {event.discrepancy_id})"
    if now is None:
        return f"taken back: {_fill(was)} {because}"
    return f"booked as {_fill(was)}, corrected to {_fill(now)} {because}"


def _reopened(event: OrderReopened) -> str:
    return f"lives again: {_because(event.reason_code, event.reason)} ({event.discrepancy_id})"


def _discrepancy_found(event: AccountDiscrepancyFound) -> str:
    sides = f"the books say {event.ours}, the venue {event.theirs}"
    return f"{event.discrepancy_id} {event.kind} of {event.subject}: {event.explanation} ({sides})"


def _discrepancy_repaired(event: AccountDiscrepancyRepaired) -> str:
    return f"{event.discrepancy_id} repaired by {event.actor}: {event.reason}"


def _discrepancy_waived(event: AccountDiscrepancyWaived) -> str:
    return f"{event.discrepancy_id} waived by {event.actor}: {event.reason}"


def _liquidation(event: AccountLiquidationNoticed) -> str:
    return "the venue liquidates the account"


def _message_kept(event: AccountMessageKept) -> str:
    return f"a venue message was not understood and is kept: {event.why}"


_DESCRIBE: dict[type[LedgerEvent], Callable[..., str]] = {
    OrderCreated: _created,
    OrderSubmitted: _submitted,
    OrderSubmitUnknown: _submit_unknown,
    OrderAcknowledged: _acknowledged,
    OrderFilled: _filled,
    OrderReportedFilled: _reported_filled,
    OrderTriggered: _triggered,
    OrderCancelRequested: _cancel_requested,
    OrderCancelUnknown: _cancel_unknown,
    OrderCancelRefused: _cancel_refused,
    OrderAmendRequested: _amend_requested,
    OrderAmendUnknown: _amend_unknown,
    OrderAmended: _amended,
    OrderAmendRefused: _amend_refused,
    OrderCancelled: _cancelled,
    OrderFailed: _failed,
    OrderExpired: _expired,
    OrderNotFound: _not_found,
    OrderObserved: _observed,
    AccountOpened: _opened,
    AccountFillBooked: _account_fill,
    AccountFundingBooked: _funding,
    AccountLedgerUpdateBooked: _transfer,
    AccountActionRequested: _action_requested,
    AccountActionSettled: _action_settled,
    AccountLeverageChanged: _leverage,
    AccountPositionAsserted: _position_asserted,
    AccountLiquidationNoticed: _liquidation,
    AccountMessageKept: _message_kept,
    OrderFillCorrected: _fill_corrected,
    OrderReopened: _reopened,
    AccountFillCorrected: _fill_corrected,
    AccountBalanceAsserted: _balance_asserted,
    AccountDiscrepancyFound: _discrepancy_found,
    AccountDiscrepancyRepaired: _discrepancy_repaired,
    AccountDiscrepancyWaived: _discrepancy_waived,
}
