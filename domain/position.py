"""A position: the fold of the fills of one market, at average cost.

Amount, entry and profit come from fills alone (protocol sheet, section 10.2): an increase moves the average
entry, a decrease realises profit against it and leaves it as it is, a fill through zero does both. Fees and
funding are counted beside the profit, never inside it. One fill costs the same however many came before.

A fee that a purchase pays in what is bought (spot, section 8) is the exception: what arrives is less by it,
for the same money, so it is in the entry.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from domain.enums import TradeType
from domain.fees import NO_FEES, Fees
from domain.money import MAX_AMOUNT, MONEY, ZERO

__all__ = ["AppliedFill", "Position", "maintenance_rate_of"]

_ONE = Decimal(1)
# A member is found in its class more slowly than it is compared.
_BUY, _SELL = TradeType.BUY, TradeType.SELL
_LARGEST_EXPONENT = MAX_AMOUNT.adjusted()


class AppliedFill(msgspec.Struct, frozen=True, gc=False):
    """What one fill did. Amounts are in base units, signed for the position and positive for what closed.

    `closed_pnl` is before fees, in quote units, and not rounded: a venue states the same figure rounded
    (Hyperliquid to 6 decimals). It is None when something closed whose entry is not known.
    """

    start_amount: Decimal
    end_amount: Decimal
    closed_amount: Decimal
    closed_pnl: Decimal | None


class Position(msgspec.Struct, kw_only=True):
    """The state of one market, changed in place by `apply_*`. Its fields are all a resumed fold needs.

    `amount` is signed base units (negative = short). `entry_cost / entry_amount` is the average entry; the
    two are kept instead of the quotient, and a decrease changes neither. So sums are exact, and the only
    rounding (in `MONEY`, 50 digits) is one division when a position grows again after it shrank and one
    when profit is realised. `entry_cost` is None while the entry is not known: an opening balance whose
    entry the venue did not tell. Profit that could not be computed for that reason is not in `realised_pnl`;
    its amount is in `unpriced_amount`.

    `realised_pnl` is before fees and funding, in quote units. `funding` is the signed cash effect in the
    collateral token: negative when the account paid. `volume` is the sum of price times amount. `leverage` is
    None until it is known.
    """

    trading_pair: str
    amount: Decimal = ZERO
    entry_cost: Decimal | None = ZERO
    entry_amount: Decimal = ZERO
    realised_pnl: Decimal = ZERO
    unpriced_amount: Decimal = ZERO
    fees: Fees = NO_FEES
    funding: Decimal = ZERO
    volume: Decimal = ZERO
    leverage: int | None = None
    is_cross: bool = True

    # ----------------------------------------------------------------------------------------- fold

    def apply_fill(
        self,
        price: Decimal,
        amount: Decimal,
        trade_type: TradeType,
        fee: Decimal = ZERO,
        fee_token: str = "",
        venue_closed_pnl: Decimal | None = None,
    ) -> AppliedFill:
        """Book one execution: `amount` base units (positive) at `price`, with its fee (negative = rebate).

        `venue_closed_pnl` is the venue's own figure for this fill. It is used only while our entry is not
        known: it then is the profit, and tells the entry. Raises `ValueError` for numbers no fill can have.
        """
        return self._trade(price, amount, trade_type is _BUY, fee, fee_token, venue_closed_pnl)

    def undo_fill(
        self, price: Decimal, amount: Decimal, trade_type: TradeType, fee: Decimal = ZERO, fee_token: str = ""
    ) -> None:
        """Take back an execution that turned out not to have happened, however long ago it was booked.

        Amount, fees and volume are as if it had never been. Profit is the trade's opposite at the same price:
        what was realised against it before stays realised, and realised and unrealised profit together are
        exactly what they would have been. Raises `ValueError` as `apply_fill`.
        """
        self._trade(price, amount, trade_type is _BUY, fee, fee_token, None, undone=True)

    def apply_funding(self, amount: Decimal) -> None:
        """Count a funding payment: its signed cash effect, negative when the account paid.

        Raises `ValueError` for a number no payment can be.
        """
        if not _is_sane(amount):
            raise ValueError(f"{self.trading_pair}: not a funding payment: {amount}")
        self.funding = MONEY.add(self.funding, amount)

    def apply_leverage(self, leverage: int, is_cross: bool) -> None:
        """Take over the market's leverage setting. Raises `ValueError` below 1."""
        if leverage < 1:
            raise ValueError(f"{self.trading_pair}: leverage must be at least 1, not {leverage}")
        self.leverage = leverage
        self.is_cross = is_cross

    def assert_opening(self, amount: Decimal, entry_price: Decimal | None) -> Decimal:
        """Start from what the venue says the position is; returns by how much that differs from the fold.

        Profit, fees, funding and volume stay as they were: what happened before is not ours to tell. The
        venue displays entries rounded, so profit realised against such an entry is off by that rounding.
        Raises `ValueError` for numbers no position can have.
        """
        if not _is_sane(amount) or (
            entry_price is not None and not (_is_sane(entry_price) and entry_price >= 0)
        ):
            raise ValueError(f"{self.trading_pair}: not a position: {amount} at {entry_price}")
        difference = MONEY.subtract(amount, self.amount)
        size = amount.copy_abs()
        self.amount = amount
        self.entry_amount = size
        if not size:
            self.entry_cost = ZERO
        else:
            self.entry_cost = None if entry_price is None else MONEY.multiply(size, entry_price)
        return difference

    def _trade(
        self,
        price: Decimal,
        amount: Decimal,
        is_buy: bool,
        fee: Decimal,
        fee_token: str,
        venue_closed_pnl: Decimal | None,
        *,
        undone: bool = False,
    ) -> AppliedFill:
        """Book an execution, or take it back. Raises `ValueError` for numbers no fill can have."""
        if not (_is_sane(price) and _is_sane(amount) and _is_sane(fee) and price >= ZERO and amount > ZERO):
            raise ValueError(f"{self.trading_pair}: not a fill: {amount} at {price}, fee {fee}")
        value = MONEY.multiply(price, amount)
        if is_buy and fee_token and self._is_base(fee_token):
            amount = MONEY.subtract(amount, fee)
            if amount <= ZERO:
                raise ValueError(f"{self.trading_pair}: not a fill: a fee of {fee} leaves nothing of it")
            price = MONEY.divide(value, amount)
        applied = self._move(price, amount, value, is_buy is not undone, venue_closed_pnl)
        self.volume = (MONEY.subtract if undone else MONEY.add)(self.volume, value)
        if fee_token:
            self.fees = self.fees.plus(fee_token, fee.copy_negate() if undone else fee)
        return applied

    def _is_base(self, token: str) -> bool:
        """Whether a token is what this market trades."""
        pair = self.trading_pair
        return pair.startswith(token) and pair.rpartition("-")[0] == token

    def _move(
        self,
        price: Decimal,
        amount: Decimal,
        value: Decimal,
        is_buy: bool,
        venue_closed_pnl: Decimal | None,
    ) -> AppliedFill:
        """So many base units change hands, for `value` in quote units in all."""
        start = self.amount
        closed = ZERO
        closed_pnl: Decimal | None = ZERO
        if not start or (start > ZERO) is is_buy:
            self._increase(value, amount)
        else:
            size = start.copy_abs()
            closed = min(amount, size)
            closed_pnl = self._close(price, closed, venue_closed_pnl)
            if amount >= size:
                remainder = MONEY.subtract(amount, size)
                self.entry_cost = MONEY.multiply(remainder, price)
                self.entry_amount = remainder
        self.amount = MONEY.add(start, amount if is_buy else amount.copy_negate())
        return AppliedFill(start, self.amount, closed, closed_pnl)

    def _increase(self, value: Decimal, amount: Decimal) -> None:
        size = self.amount.copy_abs()
        if self.entry_cost is not None:
            cost = self.entry_cost
            if size != self.entry_amount:
                cost = MONEY.divide(MONEY.multiply(cost, size), self.entry_amount)
            self.entry_cost = MONEY.add(cost, value)
        self.entry_amount = MONEY.add(size, amount)

    def _close(self, price: Decimal, closed: Decimal, venue_closed_pnl: Decimal | None) -> Decimal | None:
        is_long = self.amount > 0
        proceeds = MONEY.multiply(closed, price)
        if self.entry_cost is not None:
            cost = MONEY.divide(MONEY.multiply(self.entry_cost, closed), self.entry_amount)
            pnl = MONEY.subtract(proceeds, cost) if is_long else MONEY.subtract(cost, proceeds)
        elif venue_closed_pnl is not None:
            pnl = venue_closed_pnl
            cost = MONEY.subtract(proceeds, pnl) if is_long else MONEY.add(proceeds, pnl)
            self.entry_cost, self.entry_amount = cost, closed
        else:
            self.unpriced_amount = MONEY.add(self.unpriced_amount, closed)
            return None
        self.realised_pnl = MONEY.add(self.realised_pnl, pnl)
        return pnl

    # ------------------------------------------------------------------------------------- readings

    @property
    def average_entry(self) -> Decimal | None:
        """Average entry price; None when flat or not known."""
        if not self.amount or self.entry_cost is None:
            return None
        return MONEY.divide(self.entry_cost, self.entry_amount)

    @property
    def entry_notional(self) -> Decimal | None:
        """What the open amount cost, in quote units, positive; None when not known."""
        if self.entry_cost is None:
            return None
        size = self.amount.copy_abs()
        if size == self.entry_amount:
            return self.entry_cost
        return MONEY.divide(MONEY.multiply(self.entry_cost, size), self.entry_amount)

    def notional(self, mark_price: Decimal) -> Decimal:
        """The position's value at mark, in quote units, never negative."""
        return MONEY.multiply(self.amount.copy_abs(), mark_price)

    def unrealised_pnl(self, mark_price: Decimal) -> Decimal | None:
        """Profit of the open amount at mark, before fees and funding; None when the entry is not known."""
        cost = self.entry_notional
        if cost is None:
            return None
        value = self.notional(mark_price)
        return MONEY.subtract(cost, value) if self.amount < 0 else MONEY.subtract(value, cost)

    def margin_used(self, mark_price: Decimal) -> Decimal | None:
        """Initial margin at mark (value / leverage, as for cross margin); None when leverage is not known."""
        if self.leverage is None:
            return None
        return MONEY.divide(self.notional(mark_price), self.leverage)

    def return_on_equity(self, mark_price: Decimal) -> Decimal | None:
        """Unrealised profit over the initial margin at entry, as a fraction (0.05 = 5 %).

        None when flat, or when entry or leverage is not known (protocol sheet, section 10.1).
        """
        cost = self.entry_notional
        unrealised = self.unrealised_pnl(mark_price)
        if not self.amount or not cost or unrealised is None or self.leverage is None:
            return None
        return MONEY.divide(MONEY.multiply(unrealised, self.leverage), cost)

    def liquidation_price(
        self,
        mark_price: Decimal,
        account_value: Decimal,
        maintenance_margin: Decimal,
        maintenance_rate: Decimal,
    ) -> Decimal | None:
        """The mark price at which the account's value falls to its maintenance margin, all else unchanged.

        Approximate (protocol sheet, section 10.1): it knows neither margin tiers nor collateral held outside
        `account_value`, and the other positions are taken to stand still. For cross margin `account_value`
        and `maintenance_margin` are the account's totals at `mark_price`; for isolated margin they are the
        position's own. `maintenance_rate` is the fraction of value to be kept (`maintenance_rate_of`).
        None when flat, or when no positive price liquidates.
        """
        if not self.amount:
            return None
        available = MONEY.subtract(account_value, maintenance_margin)
        if self.amount > 0:
            side_rate = MONEY.subtract(_ONE, maintenance_rate)
        else:
            side_rate = MONEY.add(_ONE, maintenance_rate)
        move = MONEY.divide(available, MONEY.multiply(self.amount, side_rate))
        price = MONEY.subtract(mark_price, move)
        return price if price > 0 else None

    def distance_to_liquidation(
        self,
        mark_price: Decimal,
        account_value: Decimal,
        maintenance_margin: Decimal,
        maintenance_rate: Decimal,
    ) -> Decimal | None:
        """How far mark may move against the position, as a fraction of mark; negative when overdue.

        Approximate, and None, for the same reasons as `liquidation_price`.
        """
        price = self.liquidation_price(mark_price, account_value, maintenance_margin, maintenance_rate)
        if price is None:
            return None
        room = MONEY.subtract(mark_price, price) if self.amount > 0 else MONEY.subtract(price, mark_price)
        return MONEY.divide(room, mark_price)


def maintenance_rate_of(max_leverage: int) -> Decimal:
    """Maintenance margin as a fraction of position value: half the initial margin at the highest leverage.

    Raises `ValueError` below 1.
    """
    if max_leverage < 1:
        raise ValueError(f"max leverage must be at least 1, not {max_leverage}")
    return MONEY.divide(_ONE, 2 * max_leverage)


def _is_sane(value: Decimal) -> bool:
    return value.is_finite() and (value.adjusted() < _LARGEST_EXPONENT or value.copy_abs() <= MAX_AMOUNT)
