"""Every execution by its key: booked and told, booked only, told only, or told with other numbers."""

from __future__ import annotations

from collections.abc import Container, Iterable
from decimal import Decimal
from typing import NamedTuple

import msgspec

from domain.discrepancies import (
    BookedFill,
    BookFill,
    CorrectFill,
    Discrepancy,
    DiscrepancyKind,
    Window,
)
from domain.enums import TimeInForce
from domain.events import Fill
from domain.fill_chain import order_fills_by_start_position
from domain.findings import Scope, evidence_of, fill_text, finding
from domain.in_flight_order import InFlightOrder
from domain.moments import moment
from domain.money import MONEY, ZERO
from domain.updates import OrderDetails, OrderUpdate, TradeUpdate, UpdateStatus

__all__ = ["MONEY_UNIT", "ComparedFills", "FillChange", "compare_fills", "fitting_terms"]

MONEY_UNIT = Decimal("0.000001")
"""The venue states money to six decimals (protocol sheet, section 8): what is worth less is not a
difference."""

_LIQUIDATED = "Liquidated"
_AUTO_DELEVERAGED = "Auto-Deleveraging"


class FillChange(NamedTuple):
    """What the repair of a finding does to the booked executions: `was` goes, `now` comes."""

    was: Fill | None
    now: Fill | None


class ComparedFills:
    """The findings, and what they change about orders, positions and cash once they are repaired.

    `waived` has ours and theirs of executions whose numbers stay as they are: what that makes of position and
    cash is found already. `not_made` are changes that a person has decided against.

    `unsettled_pairs` and `unsettled_orders` (client order ids) have executions that are on one side only and
    too young to be judged: what depends on them is left for the next comparison. `told` has every execution
    of the report by exchange order id, from after the books began.
    """

    def __init__(self, waived_ids: Container[str]) -> None:
        self._waived_ids = waived_ids
        self.findings: list[Discrepancy] = []
        self.changes: list[FillChange] = []
        self.not_made: list[FillChange] = []
        self.waived: list[tuple[Fill, Fill]] = []
        self.changes_of_orders: dict[str, list[FillChange]] = {}
        self.unsettled_pairs: dict[str, None] = {}
        self.unsettled_orders: dict[str, None] = {}
        self.told: dict[str, list[Fill]] = {}

    def add(self, found: Discrepancy, change: FillChange, client_order_id: str | None) -> None:
        self.findings.append(found)
        is_waived = found.discrepancy_id in self._waived_ids
        (self.not_made if is_waived else self.changes).append(change)
        if client_order_id is not None:
            self.changes_of_orders.setdefault(client_order_id, []).append(change)

    def leave(self, fill: Fill, client_order_id: str | None) -> None:
        """An execution on one side only is too young."""
        self.unsettled_pairs[fill.trading_pair] = None
        if client_order_id is not None:
            self.unsettled_orders[client_order_id] = None


def compare_fills(scope: Scope) -> ComparedFills:
    """Compare the executions of the report's window; nothing where the venue did not tell them."""
    compared = ComparedFills(scope.books.waived_ids)
    rows = scope.report.fills
    if rows is None:
        return compared
    told = _distinct(rows)
    for update in told.values():
        if update.fill.exchange_time_ms > scope.books.books_begin_ms:
            compared.told.setdefault(update.fill.exchange_order_id, []).append(update.fill)
    entries = sorted(scope.books.fills, key=_booked_order)
    booked: dict[str, BookedFill] = {}
    again = [entry for entry in entries if booked.setdefault(entry.fill.fill_key, entry) is not entry]
    _compare_told(scope, told, booked, compared)
    _compare_booked(scope, told, booked, again, compared)
    compared.findings.sort(key=lambda found: (_time_of(found), found.subject, found.discrepancy_id))
    return compared


def _distinct(rows: Iterable[TradeUpdate]) -> dict[str, TradeUpdate]:
    """Each execution once, in the order of time and key, whatever the order of the rows."""
    told: dict[str, TradeUpdate] = {}
    for update in sorted(rows, key=lambda update: (update.fill.exchange_time_ms, update.fill.fill_key)):
        held = told.setdefault(update.fill.fill_key, update)
        if held is not update and held != update:
            # One execution told in two ways in one answer: any choice will do that is always the same.
            told[update.fill.fill_key] = min(held, update, key=msgspec.json.encode)
    return told


def _booked_order(entry: BookedFill) -> tuple[int, str, bool, str]:
    """By time and key; of two entries under one key the one that has an order stands."""
    fill, client_order_id = entry.fill, entry.client_order_id
    return fill.exchange_time_ms, fill.fill_key, client_order_id is None, client_order_id or ""


def _time_of(found: Discrepancy) -> int:
    repair = found.repair
    if isinstance(repair, BookFill):
        return repair.update.fill.exchange_time_ms
    if isinstance(repair, CorrectFill):
        return repair.booked.fill.exchange_time_ms
    return 0


# -- what the venue tells ----------------------------------------------------------------------------------


def _compare_told(
    scope: Scope, told: dict[str, TradeUpdate], booked: dict[str, BookedFill], compared: ComparedFills
) -> None:
    adopting: dict[str, list[TradeUpdate]] = {}
    for key, update in told.items():
        fill = update.fill
        if not scope.is_told(fill.exchange_time_ms, scope.report.fills_window):
            continue
        held = booked.get(key)
        if held is not None:
            if held.fill != fill:
                _compare_numbers(scope, held, update, compared)
            continue
        order = scope.order_of(update.venue_order_key, fill.exchange_order_id)
        if order is not None and order.has_fill(key):
            continue
        if not scope.is_settled(fill.exchange_time_ms):
            compared.leave(fill, None if order is None else order.id)
        elif order is None and not update.ownerless:
            adopting.setdefault(fill.exchange_order_id, []).append(update)
        else:
            found = _unbooked(scope, update, order)
            compared.add(found, FillChange(None, fill), None if order is None else order.id)
    listed = sorted(scope.report.open_orders or (), key=lambda row: row.exchange_time_ms or 0)
    rows = {row.exchange_order_id: row for row in listed}
    for exchange_order_id, updates in adopting.items():
        fills = compared.told[exchange_order_id]
        terms, status = _terms_of(scope, rows.get(exchange_order_id), exchange_order_id, fills)
        for update in updates:
            # The status comes last: an order that ended before its executions would have ended without them.
            order_update = status if update is updates[-1] else None
            found = _unbooked(scope, update, None, terms=terms, status=order_update)
            compared.add(found, FillChange(None, update.fill), None)


def _unbooked(
    scope: Scope,
    update: TradeUpdate,
    order: InFlightOrder | None,
    *,
    terms: OrderDetails | None = None,
    status: OrderUpdate | None = None,
) -> Discrepancy:
    fill = update.fill
    what = f"{fill_text(fill)}, in {fill.trading_pair} at {moment(fill.exchange_time_ms)}"
    if order is not None and not order.is_external:
        kind = DiscrepancyKind.MISSING_FILL
        text = (
            f"The venue's list of fills has an execution of order {order.id} that is not booked: {what}. "
            "It is booked to the order."
        )
    elif fill.liquidation or fill.direction.startswith(_LIQUIDATED):
        kind = DiscrepancyKind.LIQUIDATION
        text = f"The venue liquidated a position of the account: {what}. It is booked as told."
    elif fill.direction.startswith(_AUTO_DELEVERAGED):
        kind = DiscrepancyKind.AUTO_DELEVERAGING
        text = f"The venue reduced a position by auto-deleveraging: {what}. It is booked as told."
    elif update.ownerless:
        kind = DiscrepancyKind.EXTERNAL_FILL
        text = (
            f"The venue's list of fills has an execution that no order explains ({fill.direction}): {what}. "
            "It is booked to the account."
        )
    else:
        kind = DiscrepancyKind.EXTERNAL_FILL
        text = (
            f"The venue's list of fills has an execution of its order {fill.exchange_order_id}, which was "
            f"placed elsewhere: {what}. It is booked to that order, which is tracked as an external one."
        )
    return finding(
        kind,
        fill.fill_key,
        trading_pair=fill.trading_pair,
        ours="not booked",
        theirs=fill_text(fill),
        explanation=text,
        evidence=evidence_of("fills", update),
        repair=BookFill(update, None if order is None else order.id, terms, status),
    )


def _terms_of(
    scope: Scope, row: OrderUpdate | None, exchange_order_id: str, fills: list[Fill]
) -> tuple[OrderDetails, OrderUpdate | None]:
    """With what terms to adopt an order that was placed elsewhere, and its status where the venue told it;
    `row` is the order in the list of open ones."""
    if row is not None and row.details is not None:
        return fitting_terms(row, row.details, fills), None
    status = scope.report.details.get(exchange_order_id)
    if status is not None and status.details is not None:
        return fitting_terms(status, status.details, fills), status
    first = fills[0]
    terms = OrderDetails(
        trading_pair=first.trading_pair,
        instrument=first.trading_pair,
        trade_type=first.trade_type,
        price=first.price,
        amount=_sum_of(fills),
        time_in_force=TimeInForce.IOC,
    )
    return terms, status


def fitting_terms(update: OrderUpdate, terms: OrderDetails, fills: Iterable[Fill]) -> OrderDetails:
    """The terms of an order placed elsewhere, as the books can hold them.

    What it executed before the books began is in the opening balances: a live order counts with what it has
    left and what it executed since (`fills`). And no order is smaller than its executions. An amount of zero
    stands for the whole position and stays.
    """
    if not terms.amount:
        return terms
    executed = _sum_of(fills)
    amount = max(terms.amount, executed)
    remaining = update.remaining_amount
    if remaining is not None and update.status in (UpdateStatus.OPEN, UpdateStatus.TRIGGERED):
        amount = min(amount, MONEY.add(remaining, executed))
    return terms if amount == terms.amount else msgspec.structs.replace(terms, amount=amount)


def _sum_of(fills: Iterable[Fill]) -> Decimal:
    total = ZERO
    for fill in fills:
        total = MONEY.add(total, fill.amount)
    return total


# -- the same execution with other numbers -----------------------------------------------------------------


def _compare_numbers(scope: Scope, held: BookedFill, update: TradeUpdate, compared: ComparedFills) -> None:
    ours, theirs = held.fill, update.fill
    amount_off = MONEY.abs(MONEY.subtract(ours.amount, theirs.amount))
    price_off = MONEY.multiply(MONEY.abs(MONEY.subtract(ours.price, theirs.price)), theirs.amount)
    fee_off = MONEY.abs(MONEY.subtract(ours.fee, theirs.fee))
    is_other_side = ours.trade_type is not theirs.trade_type
    is_other_token = ours.fee_token != theirs.fee_token
    if not (amount_off or price_off or fee_off or is_other_side or is_other_token):
        return
    step = scope.report.steps.get(theirs.trading_pair, ZERO)
    if is_other_side or (amount_off and amount_off >= step):
        kind = DiscrepancyKind.QUANTITY_MISMATCH
    elif price_off >= MONEY_UNIT:
        kind = DiscrepancyKind.PRICE_MISMATCH
    elif is_other_token or fee_off >= MONEY_UNIT:
        kind = DiscrepancyKind.FEE_MISMATCH
    else:
        kind = DiscrepancyKind.PRECISION_ONLY
    if not scope.is_settled(theirs.exchange_time_ms):
        compared.leave(theirs, held.client_order_id)
        return
    begin = (
        f"The execution of {moment(theirs.exchange_time_ms)} in {theirs.trading_pair} is booked as "
        f"{fill_text(ours)}; the venue's list of fills tells {fill_text(theirs)}."
    )
    if kind is DiscrepancyKind.PRECISION_ONLY:
        found = finding(
            kind,
            theirs.fill_key,
            trading_pair=theirs.trading_pair,
            ours=fill_text(ours),
            theirs=fill_text(theirs),
            explanation=f"{begin} The difference is below what the instrument and its money are counted in.",
            evidence=evidence_of("fills", update),
            waiver="below the precision of the instrument: no quantity and no money depends on it",
        )
        compared.findings.append(found)
        compared.waived.append((ours, theirs))
        return
    found = finding(
        kind,
        theirs.fill_key,
        trading_pair=theirs.trading_pair,
        ours=fill_text(ours),
        theirs=fill_text(theirs),
        explanation=f"{begin} The venue's numbers take the place of ours, all of them at once.",
        evidence=evidence_of("fills", update),
        repair=CorrectFill(held, theirs),
    )
    compared.add(found, FillChange(ours, theirs), held.client_order_id)


# -- what is booked ----------------------------------------------------------------------------------------


def _compare_booked(
    scope: Scope,
    told: dict[str, TradeUpdate],
    booked: dict[str, BookedFill],
    again: list[BookedFill],
    compared: ComparedFills,
) -> None:
    window = scope.report.fills_window
    if window is None:
        return
    for entry in again:
        time_ms = entry.fill.exchange_time_ms
        if scope.is_told(time_ms, window) and scope.is_settled(time_ms):
            _take_back(scope, entry, booked[entry.fill.fill_key], compared)
    known = {_execution(entry.fill): entry for key, entry in booked.items() if key in told}
    behind: dict[str, bool] = {}
    for key, entry in booked.items():
        fill = entry.fill
        time_ms, pair = fill.exchange_time_ms, fill.trading_pair
        if key in told or not scope.is_told(time_ms, window) or time_ms > window.until_ms:
            continue
        if not scope.is_settled(time_ms) or _is_after_positions(scope, time_ms):
            compared.leave(fill, entry.client_order_id)
            continue
        original = known.get(_execution(fill))
        # Only the venue tells the position that an execution starts from: it has told this one before.
        was_told = original is None and fill.start_position is not None
        if was_told and pair not in behind:
            behind[pair] = _is_behind_position(scope, pair, booked, told)
        if was_told and behind[pair]:
            compared.findings.append(_untold(entry, window))
        else:
            _take_back(scope, entry, original, compared)


def _is_after_positions(scope: Scope, time_ms: int) -> bool:
    """Whether something happened after the time that the venue told its positions for.

    Where these are of long before the report was begun, whoever answers lags behind, and the list that came
    with them may as well: that it does not hold what came after them says nothing.
    """
    return scope.report.positions is not None and time_ms > scope.report.positions_at_ms


def _is_behind_position(
    scope: Scope, pair: str, booked: dict[str, BookedFill], told: dict[str, TradeUpdate]
) -> bool:
    """Whether the venue's list of fills does not lead to the venue's own position, and so lacks some of them.

    Such a list is a late or a partial answer, whatever it claims; what is not in it may have happened. Asked
    of a market with an execution that is booked up to the time of the positions.
    """
    report = scope.report
    window, at_ms = report.fills_window, report.positions_at_ms
    if report.positions is None or pair not in report.steps or not scope.reaches_positions(window):
        return False

    def of_market(fills: Iterable[Fill]) -> list[Fill]:
        return [
            fill
            for fill in fills
            if fill.trading_pair == pair
            and scope.is_told(fill.exchange_time_ms, window)
            and fill.exchange_time_ms <= at_ms
        ]

    ours = of_market(entry.fill for entry in booked.values())
    theirs = of_market(update.fill for update in told.values())
    closing = next((held.amount for held in report.positions if held.trading_pair == pair), ZERO)
    begin_ms = min(fill.exchange_time_ms for fill in (*ours, *theirs))
    first = [fill for fill in ours if fill.exchange_time_ms == begin_ms]
    opening = first[0].start_position if len(first) == 1 else None
    if not theirs:
        return opening is not None and opening != closing
    try:
        return bool(order_fills_by_start_position(theirs, opening, closing).gaps)
    except ValueError:
        return False


def _execution(fill: Fill) -> tuple[object, ...]:
    """What makes two records the same execution though their keys differ."""
    return (
        fill.exchange_order_id,
        fill.exchange_time_ms,
        fill.trade_type,
        fill.price,
        fill.amount,
        fill.start_position,
    )


def _take_back(scope: Scope, entry: BookedFill, original: BookedFill | None, compared: ComparedFills) -> None:
    fill = entry.fill
    window = scope.report.fills_window
    where = _where(entry)
    what = f"{fill_text(fill)}, in {fill.trading_pair} at {moment(fill.exchange_time_ms)}, booked to {where}"
    if original is None:
        kind = DiscrepancyKind.PHANTOM_FILL
        theirs = "no such execution"
        assert window is not None, "only a complete list proves that something is not in it"
        text = (
            f"An execution is booked under the key {fill.fill_key} that the venue does not tell: {what}. Its "
            f"list of fills is complete from {moment(window.complete_from_ms)} to {moment(window.until_ms)}. "
            "The execution is taken back."
        )
    else:
        kind = DiscrepancyKind.DUPLICATE_FILL
        theirs = f"one execution, {original.fill.fill_key}"
        text = (
            f"One execution is booked twice: {what}, under the key {fill.fill_key}, and to "
            f"{_where(original)} "
            f"under the key {original.fill.fill_key}. The venue tells it once, under the latter. The former "
            "is taken back."
        )
    found = finding(
        kind,
        fill.fill_key,
        trading_pair=fill.trading_pair,
        ours=f"{fill_text(fill)} ({where})",
        theirs=theirs,
        explanation=text,
        evidence=evidence_of("fills", None if original is None else original.fill, window),
        repair=CorrectFill(entry, None),
    )
    compared.add(found, FillChange(fill, None), entry.client_order_id)


def _untold(entry: BookedFill, window: Window) -> Discrepancy:
    """An execution that is not in a list which lacks some."""
    fill, where = entry.fill, _where(entry)
    return finding(
        DiscrepancyKind.PHANTOM_FILL,
        fill.fill_key,
        trading_pair=fill.trading_pair,
        ours=f"{fill_text(fill)} ({where})",
        theirs="no such execution",
        explanation=(
            f"An execution is booked under the key {fill.fill_key} that the venue does not tell: "
            f"{fill_text(fill)}, in {fill.trading_pair} at {moment(fill.exchange_time_ms)}, booked to "
            f"{where}. But the fills that the venue tells from {moment(window.complete_from_ms)} on do not "
            "lead to the position that it tells: its list lacks some, and proves nothing. The execution "
            "stays, to be compared again later."
        ),
        evidence=evidence_of("fills", None, window),
    )


def _where(entry: BookedFill) -> str:
    return "the account" if entry.client_order_id is None else f"order {entry.client_order_id}"
