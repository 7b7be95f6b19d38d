"""Positions, cash, funding, transfers and leverage, and what the venue no longer tells.

Positions and cash are judged as they stand once the fills, payments and transfers that were found are booked:
only what none of them explains is a drift.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from decimal import Decimal

from domain.cash import cash_effect_of
from domain.discrepancies import (
    AdjustBalance,
    AdjustPosition,
    BookFunding,
    BookTransfer,
    Discrepancy,
    DiscrepancyKind,
    TakeLeverage,
    Window,
)
from domain.events import Fill
from domain.fill_chain import order_fills_by_start_position
from domain.fill_comparison import MONEY_UNIT, ComparedFills
from domain.findings import Scope, evidence_of, finding
from domain.moments import moment
from domain.money import MONEY, ZERO, decimal_text
from domain.updates import FundingUpdate, PositionUpdate

__all__ = [
    "Holdings",
    "Payments",
    "compare_cash",
    "compare_fundings",
    "compare_leverage",
    "compare_positions",
    "compare_transfers",
    "find_truncated_windows",
]

_CORRECTED = ":corrected:"


class Payments:
    """Findings about money that moved without a trade, and what their repairs add to the cash.

    `is_settled` is False while something that is too young, or of unknown effect, could move the cash.
    `waived_cash` is what those would add that a person has decided against.
    """

    def __init__(self, waived_ids: Container[str]) -> None:
        self._waived_ids = waived_ids
        self.findings: list[Discrepancy] = []
        self.cash = ZERO
        self.waived_cash = ZERO
        self.is_settled = True

    def add(self, found: Discrepancy, cash: Decimal | None) -> None:
        self.findings.append(found)
        if cash is None:
            self.is_settled = False
        elif found.discrepancy_id in self._waived_ids:
            self.waived_cash = MONEY.add(self.waived_cash, cash)
        else:
            self.cash = MONEY.add(self.cash, cash)


# -- funding -----------------------------------------------------------------------------------------------


def compare_fundings(scope: Scope) -> Payments:
    """Every funding payment by its key: booked, and with the venue's amount."""
    payments = Payments(scope.books.waived_ids)
    told = {update.funding_key: update for update in sorted(scope.report.fundings or (), key=_funding_order)}
    booked: dict[str, Decimal] = {}
    corrections: dict[str, int] = {}
    for payment in scope.books.fundings:
        key, corrected, _ = payment.funding_key.partition(_CORRECTED)
        booked[key] = MONEY.add(booked.get(key, ZERO), payment.amount)
        corrections[key] = corrections.get(key, 0) + bool(corrected)
    for key, update in told.items():
        if not scope.is_told(update.exchange_time_ms, scope.report.fundings_window):
            continue
        ours = booked.get(key)
        if ours == update.amount:
            continue
        if not scope.is_settled(update.exchange_time_ms):
            payments.is_settled = False
            scope.leave("funding: a payment is too young to be judged")
        elif ours is None:
            payments.add(_unbooked_funding(update), update.amount)
        else:
            _compare_amounts(update, ours, corrections[key], payments)
    return payments


def _funding_order(update: FundingUpdate) -> tuple[int, str, Decimal]:
    return update.exchange_time_ms, update.funding_key, update.amount


def _unbooked_funding(update: FundingUpdate) -> Discrepancy:
    amount = f"{decimal_text(update.amount)} {update.token}"
    return finding(
        DiscrepancyKind.UNBOOKED_FUNDING,
        update.funding_key,
        trading_pair=update.trading_pair,
        ours="not booked",
        theirs=amount,
        explanation=(
            f"The venue's list of funding has a payment of {amount} for {update.trading_pair} at "
            f"{moment(update.exchange_time_ms)} that is not booked. It is booked."
        ),
        evidence=evidence_of("funding", update),
        repair=BookFunding(update),
    )


def _compare_amounts(
    update: FundingUpdate, ours: Decimal, corrections_before: int, payments: Payments
) -> None:
    difference = MONEY.subtract(update.amount, ours)
    told, booked = decimal_text(update.amount), decimal_text(ours)
    begin = (
        f"The funding of {update.trading_pair} at {moment(update.exchange_time_ms)} is booked with {booked} "
        f"{update.token}; the venue tells {told}."
    )
    if difference.copy_abs() < MONEY_UNIT:
        found = finding(
            DiscrepancyKind.PRECISION_ONLY,
            update.funding_key,
            trading_pair=update.trading_pair,
            ours=booked,
            theirs=told,
            explanation=f"{begin} The difference is below what money is counted in.",
            evidence=evidence_of("funding", update),
            waiver="less than a millionth of the collateral token: no money depends on it",
        )
        payments.add(found, ZERO)
        return
    correction = FundingUpdate(
        # Counted, since the venue may go back to an amount that it told before.
        funding_key=f"{update.funding_key}{_CORRECTED}{corrections_before + 1}:{told}",
        trading_pair=update.trading_pair,
        amount=difference,
        token=update.token,
        rate=update.rate,
        position_size=update.position_size,
        exchange_time_ms=update.exchange_time_ms,
    )
    found = finding(
        DiscrepancyKind.FUNDING_MISMATCH,
        update.funding_key,
        trading_pair=update.trading_pair,
        ours=booked,
        theirs=told,
        explanation=f"{begin} The difference, {decimal_text(difference)}, is booked beside it.",
        evidence=evidence_of("funding", update),
        repair=BookFunding(correction),
    )
    payments.add(found, difference)


# -- transfers ---------------------------------------------------------------------------------------------


def compare_transfers(scope: Scope) -> Payments:
    """Every transfer by its key."""
    payments = Payments(scope.books.waived_ids)
    booked = {transfer.update_key for transfer in scope.books.transfers}
    rows = sorted(scope.report.transfers or (), key=lambda row: (row.exchange_time_ms, row.update_key))
    for key, transfer in {row.update_key: row for row in rows}.items():
        time_ms = transfer.exchange_time_ms
        if key in booked or not scope.is_told(time_ms, scope.report.transfers_window):
            continue
        if not scope.is_settled(time_ms):
            payments.is_settled = False
            scope.leave("transfers: one is too young to be judged")
            continue
        amount = "" if transfer.amount is None else f" of {decimal_text(transfer.amount)} {transfer.token}"
        found = finding(
            DiscrepancyKind.UNBOOKED_TRANSFER,
            key,
            trading_pair="",
            ours="not booked",
            theirs=f"{transfer.kind}{amount}",
            explanation=(
                f"The venue's list of transfers has a {transfer.kind}{amount} at {moment(time_ms)} that is "
                "not "
                "booked. It is booked."
            ),
            evidence=evidence_of("transfers", transfer),
            repair=BookTransfer(transfer),
        )
        payments.add(found, transfer.cash_effect)
    return payments


# -- positions ---------------------------------------------------------------------------------------------


class Holdings:
    """The positions that the books come to once the fills that were found are booked, market by market.

    `now` is what they are; `later` the booked fills, in order, that the venue's positions do not include yet;
    `slack` by how much a position may be off because numbers of fills were waived, and `not_made` by how much
    exactly, if the venue counts what a person has decided to leave out of the books.
    """

    def __init__(self, scope: Scope, fills: ComparedFills) -> None:
        self.now = {pair: position.amount for pair, position in scope.books.positions.items()}
        self.not_made: dict[str, Decimal] = {}
        for changes, amounts in ((fills.changes, self.now), (fills.not_made, self.not_made)):
            for was, now in changes:
                for fill, sign in ((was, -1), (now, 1)):
                    if fill is not None:
                        moved = MONEY.multiply(_signed(fill), sign)
                        amounts[fill.trading_pair] = MONEY.add(amounts.get(fill.trading_pair, ZERO), moved)
        self.slack: dict[str, Decimal] = {}
        for ours, theirs in fills.waived:
            off = MONEY.subtract(_signed(theirs), _signed(ours)).copy_abs()
            self.slack[ours.trading_pair] = MONEY.add(self.slack.get(ours.trading_pair, ZERO), off)
        self.told = {update.trading_pair: update for update in scope.report.positions or ()}
        self.later: dict[str, tuple[Fill, ...]] = {}
        at_ms = scope.report.positions_at_ms
        candidates: dict[str, list[Fill]] = {}
        for booked in scope.books.fills:
            if booked.fill.exchange_time_ms >= at_ms:
                candidates.setdefault(booked.fill.trading_pair, []).append(booked.fill)
        for pair, some in candidates.items():
            self.later[pair] = self._not_yet_told(pair, some, at_ms)

    def _not_yet_told(self, pair: str, candidates: Sequence[Fill], at_ms: int) -> tuple[Fill, ...]:
        """Of the booked fills around the positions' time those that came after them.

        Their place in the chain from one position to the next decides: several fills share a millisecond, and
        the states of several exchanges are not of the same one. Where no place fits, the time decides.
        """
        try:
            chain = order_fills_by_start_position(candidates).fills
        except ValueError:
            chain = tuple(sorted(candidates, key=lambda fill: (fill.exchange_time_ms, fill.fill_key)))
        by_time = tuple(fill for fill in chain if fill.exchange_time_ms > at_ms)
        left = self._before(pair, by_time)
        if left == self.amount_told(pair):
            return by_time
        left = self.now.get(pair, ZERO)
        for index in reversed(range(len(chain) + 1)):
            if left == self.amount_told(pair):
                return chain[index:]
            if index:
                left = MONEY.subtract(left, _signed(chain[index - 1]))
        return by_time

    def _before(self, pair: str, later: Iterable[Fill]) -> Decimal:
        return MONEY.subtract(self.now.get(pair, ZERO), _sum_signed(later))

    def amount_told(self, pair: str) -> Decimal:
        """What the venue says the position is: flat where it lists none."""
        update = self.told.get(pair)
        return ZERO if update is None else update.amount

    def amount_then(self, pair: str) -> Decimal:
        """What the books come to for the time of the venue's positions."""
        return self._before(pair, self.later.get(pair, ()))


def compare_positions(scope: Scope, fills: ComparedFills, holdings: Holdings) -> list[Discrepancy]:
    """Each market's position, once the fills that were found are booked."""
    report = scope.report
    if report.positions is None:
        return []
    if report.fills is None or not scope.reaches_positions(report.fills_window):
        scope.leave("positions: the fills until their time are not known")
        return []
    markets = {*holdings.told, *(pair for pair in holdings.now if pair in report.steps)}
    found = []
    for pair in sorted(markets - fills.unsettled_pairs.keys()):
        scope.judged_pairs[pair] = None
        ours, theirs = holdings.amount_then(pair), holdings.amount_told(pair)
        difference, slack = MONEY.subtract(theirs, ours), holdings.slack.get(pair, ZERO)
        if not _is_within(slack, difference, holdings.not_made.get(pair, ZERO)):
            update = holdings.told.get(pair)
            if update is None:
                update = PositionUpdate(trading_pair=pair, amount=ZERO, entry_price=None)
            found.append(_drift(scope, ours, update, holdings.later.get(pair, ())))
    return found


def _is_within(slack: Decimal, difference: Decimal, not_made: Decimal) -> bool:
    """Whether the venue counts as the books do, or besides them all that they leave out on purpose."""
    return difference.copy_abs() <= slack or MONEY.subtract(difference, not_made).copy_abs() <= slack


def _drift(scope: Scope, ours: Decimal, update: PositionUpdate, later: Sequence[Fill]) -> Discrepancy:
    pair, theirs = update.trading_pair, update.amount
    at_ms = scope.report.positions_at_ms
    difference = MONEY.subtract(theirs, ours)
    begin = (
        f"At {moment(at_ms)} the books come to a position of {decimal_text(ours)} in {pair}, all found fills "
        f"included; the venue tells {decimal_text(theirs)}, a difference of {decimal_text(difference)}."
    )
    evidence = evidence_of("account_state", update, scope.report.fills_window)
    step = scope.report.steps.get(pair, ZERO)
    if difference.copy_abs() < step:
        return finding(
            DiscrepancyKind.PRECISION_ONLY,
            pair,
            trading_pair=pair,
            ours=decimal_text(ours),
            theirs=decimal_text(theirs),
            explanation=f"{begin} That is less than the amount step of the market.",
            evidence=evidence,
            waiver="less than the amount step of the market: it can neither be traded nor closed",
            identity=("", decimal_text(difference)),
        )
    # Less than a step is no side.
    smaller = min(ours.copy_abs(), theirs.copy_abs())
    is_flip = ours.is_signed() is not theirs.is_signed() and smaller > ZERO and smaller >= step
    amount = MONEY.add(theirs, _sum_signed(later))
    # What came later moved the entry as well, and the venue did not tell the entry after it.
    goes_on = PositionUpdate(
        trading_pair=pair, amount=amount, entry_price=None if later else update.entry_price
    )
    last_ms = max((fill.exchange_time_ms for fill in later), default=at_ms)
    end = f"If nothing turns up that explains it, the position goes on from {decimal_text(theirs)}"
    if later:
        end += f" and what is booked after that, {decimal_text(_sum_signed(later))}"
    return finding(
        DiscrepancyKind.SIDE_FLIP if is_flip else DiscrepancyKind.POSITION_DRIFT,
        pair,
        trading_pair=pair,
        ours=decimal_text(ours),
        theirs=decimal_text(theirs),
        explanation=f"{begin} {_where_it_began(scope, update)} {end}.",
        evidence=evidence,
        repair=AdjustPosition(goes_on, last_ms),
    )


def _where_it_began(scope: Scope, update: PositionUpdate) -> str:
    """What the venue's own fills say about a drift: each tells the position it started from."""
    window = scope.report.fills_window
    assert window is not None, "positions are judged against a list of fills"
    pair, at_ms = update.trading_pair, scope.report.positions_at_ms
    fills = [row.fill for row in scope.report.fills or () if row.fill.trading_pair == pair]
    fills = [
        fill
        for fill in fills
        if scope.is_told(fill.exchange_time_ms, window) and fill.exchange_time_ms <= at_ms
    ]
    since = moment(max(window.complete_from_ms, scope.books.books_begin_ms))
    if not fills:
        return f"The venue tells no fill of this market since {since} that explains it."
    try:
        chain = order_fills_by_start_position(fills, closing=update.amount)
    except ValueError:
        return f"No fill that the venue tells since {since} explains it."
    if not chain.gaps:
        first = chain.fills[0]
        return (
            "Each fill that the venue tells starts where the one before it ended, and the last one leads to "
            f"its position: the difference is older than fill {first.fill_key} of "
            f"{moment(first.exchange_time_ms)}."
        )
    gap = chain.gaps[0]
    assert gap.after is not None, "a chain without an opening breaks after a fill"
    until = "" if gap.before is None else f" and before fill {gap.before.fill_key}"
    return (
        f"After fill {gap.after.fill_key} of {moment(gap.after.exchange_time_ms)}{until} the venue's own "
        f"position moved by {decimal_text(gap.missing_amount)} without a fill that it tells."
    )


def _signed(fill: Fill) -> Decimal:
    return MONEY.multiply(fill.amount, fill.trade_type.sign)


def _sum_signed(fills: Iterable[Fill]) -> Decimal:
    total = ZERO
    for fill in fills:
        total = MONEY.add(total, _signed(fill))
    return total


# -- cash --------------------------------------------------------------------------------------------------


def compare_cash(
    scope: Scope, fills: ComparedFills, holdings: Holdings, fundings: Payments, transfers: Payments
) -> list[Discrepancy]:
    """The cash, once everything that was found is booked; nothing while anything else could explain it."""
    books, report = scope.books, scope.report
    if books.cash is None or report.cash is None:
        return []
    windows = (
        (report.fills, report.fills_window),
        (report.fundings, report.fundings_window),
        (report.transfers, report.transfers_window),
    )
    if any(rows is None or not scope.reaches_positions(window) for rows, window in windows):
        scope.leave("cash: the fills, payments and transfers until its time are not all known")
        return []
    later = _cash_after_positions(scope, holdings)
    if fills.unsettled_pairs or not fundings.is_settled or not transfers.is_settled or later is None:
        scope.leave("cash: something moves it that is too young to be judged, or of unknown effect")
        return []
    scope.is_cash_judged = True
    now = MONEY.add(books.cash, MONEY.add(fundings.cash, transfers.cash))
    for was, comes in fills.changes:
        if was is not None:
            now = MONEY.subtract(now, _cash_of(scope, was))
        if comes is not None:
            now = MONEY.add(now, _cash_of(scope, comes))
    ours = MONEY.subtract(now, later)
    difference = MONEY.subtract(report.cash, ours)
    # The venue rounds each fee, payment and value to a millionth of its token, and the sum of so many
    # roundings is no drift.
    summands = max(books.cash_summands, len(books.fills) + len(books.fundings))
    slack = MONEY.multiply(MONEY_UNIT, Decimal(summands + 1))
    for mine, told in fills.waived:
        off = MONEY.subtract(_cash_of(scope, told), _cash_of(scope, mine))
        slack = MONEY.add(slack, off.copy_abs())
    not_made = MONEY.add(fundings.waived_cash, transfers.waived_cash)
    for was, comes in fills.not_made:
        if was is not None:
            not_made = MONEY.subtract(not_made, _cash_of(scope, was))
        if comes is not None:
            not_made = MONEY.add(not_made, _cash_of(scope, comes))
    if _is_within(slack, difference, not_made):
        return []
    token = report.cash_token
    return [
        finding(
            DiscrepancyKind.BALANCE_DRIFT,
            token,
            trading_pair="",
            ours=decimal_text(ours),
            theirs=decimal_text(report.cash),
            explanation=(
                f"At {moment(report.positions_at_ms)} the books come to {decimal_text(ours)} {token} of "
                "cash, "
                f"all found fills, payments and transfers included; the venue tells "
                f"{decimal_text(report.cash)}, a difference of {decimal_text(difference)} that none of them "
                "explains. If nothing turns up that does, the cash goes on from what the venue tells."
            ),
            evidence=evidence_of("account_state", {"cash": report.cash, "token": token}),
            repair=AdjustBalance(token, MONEY.add(report.cash, later), report.positions_at_ms),
        )
    ]


def _cash_after_positions(scope: Scope, holdings: Holdings) -> Decimal | None:
    """What is booked and not yet in the cash that the venue told; None where that cannot be said."""
    at_ms = scope.report.positions_at_ms
    total = ZERO
    for later in holdings.later.values():
        for fill in later:
            total = MONEY.add(total, _cash_of(scope, fill))
    for payment in scope.books.fundings:
        if payment.exchange_time_ms == at_ms:
            return None
        if payment.exchange_time_ms > at_ms:
            total = MONEY.add(total, payment.amount)
    for transfer in scope.books.transfers:
        if transfer.exchange_time_ms < at_ms:
            continue
        if transfer.exchange_time_ms == at_ms or transfer.cash_effect is None:
            return None
        total = MONEY.add(total, transfer.cash_effect)
    return total


def _cash_of(scope: Scope, fill: Fill) -> Decimal:
    """What an execution does to the cash: a perpetual its value and its fee, anything else nothing."""
    if fill.trading_pair not in scope.report.steps:
        return ZERO
    return cash_effect_of(fill, scope.report.cash_token)


# -- leverage, windows -------------------------------------------------------------------------------------


def compare_leverage(scope: Scope) -> list[Discrepancy]:
    """Leverage and margin mode of the markets the venue told them for; what was never known is no change."""
    found = []
    for update in sorted(scope.report.positions or (), key=lambda update: update.trading_pair):
        held = scope.books.positions.get(update.trading_pair)
        if update.leverage is None or held is None or held.leverage is None:
            continue
        if (held.leverage, held.is_cross) == (update.leverage, update.is_cross):
            continue
        pair = update.trading_pair
        ours = _leverage_text(held.leverage, held.is_cross)
        theirs = _leverage_text(update.leverage, update.is_cross)
        found.append(
            finding(
                DiscrepancyKind.LEVERAGE_CHANGED,
                pair,
                trading_pair=pair,
                ours=ours,
                theirs=theirs,
                explanation=(
                    f"The leverage of {pair} is {ours} here and {theirs} at the venue: it was changed "
                    "elsewhere. The venue's setting is recorded."
                ),
                evidence=evidence_of("account_state", update),
                repair=TakeLeverage(pair, update.leverage, update.is_cross),
            )
        )
    return found


def _leverage_text(leverage: int, is_cross: bool) -> str:
    return f"{leverage}x {'cross' if is_cross else 'isolated'}"


def find_truncated_windows(scope: Scope) -> list[Discrepancy]:
    """The lists that do not reach back to where they were meant to begin."""
    report = scope.report
    lists: tuple[tuple[str, object, Window | None], ...] = (
        ("fills", report.fills, report.fills_window),
        ("funding", report.fundings, report.fundings_window),
        ("transfers", report.transfers, report.transfers_window),
    )
    found = []
    for name, rows, window in lists:
        if rows is None or window is None:
            continue
        # What happened until the books began is in the opening balances: nobody misses it.
        wanted_ms = max(window.asked_from_ms, scope.books.books_begin_ms + 1)
        if window.complete_from_ms <= wanted_ms:
            continue
        found.append(
            finding(
                DiscrepancyKind.TRUNCATED_WINDOW,
                name,
                trading_pair="",
                ours=f"from {moment(wanted_ms)}",
                theirs=f"complete from {moment(window.complete_from_ms)}",
                explanation=(
                    f"The venue's list of {name} was asked for from {moment(wanted_ms)} and is complete only "
                    f"from {moment(window.complete_from_ms)}. What is older was not compared."
                ),
                evidence=evidence_of(name, None, window),
                waiver="the venue tells no more; what is older was not compared",
                identity=(str(wanted_ms), ""),
            )
        )
    return found
