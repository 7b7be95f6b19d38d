"""Margin arithmetic of an account (sheet 10.1): value, initial and maintenance margin, what is free."""

from __future__ import annotations

from decimal import Decimal

from .accounts import USDC_INDEX, Account
from .markets import PerpMarket
from .numbers import ONE, ZERO
from .positions import PerpWallet, Position

WITHDRAWABLE_NOTIONAL_SHARE = Decimal("0.1")


def cross_value(wallet: PerpWallet) -> Decimal:
    """Cash plus cross positions at mark."""
    value = wallet.cash
    for position in wallet.positions.values():
        if position.is_cross:
            value += position.szi * position.market.mark_px
    return value


def account_value(wallet: PerpWallet) -> Decimal:
    """Cross and isolated together: `totalRawUsd + Σ szi × mark`."""
    value = wallet.cash
    for position in wallet.positions.values():
        value += position.isolated_value
    return value


def margin_used(position: Position) -> Decimal:
    """Cross: value / leverage. Isolated: the position's own margin with its PnL."""
    return position.value / position.leverage if position.is_cross else position.isolated_value


def cross_margin_used(wallet: PerpWallet) -> Decimal:
    return sum((margin_used(p) for p in wallet.positions.values() if p.is_cross), ZERO)


def total_margin_used(wallet: PerpWallet) -> Decimal:
    return sum((margin_used(p) for p in wallet.positions.values()), ZERO)


def total_notional(wallet: PerpWallet) -> Decimal:
    return sum((p.value for p in wallet.positions.values()), ZERO)


def cross_notional(wallet: PerpWallet) -> Decimal:
    return sum((p.value for p in wallet.positions.values() if p.is_cross), ZERO)


def cross_maintenance_margin(wallet: PerpWallet) -> Decimal:
    return sum((p.maintenance_margin for p in wallet.positions.values() if p.is_cross), ZERO)


def pooled_collateral(account: Account, wallet: PerpWallet) -> Decimal:
    """What a pooled account adds to one wallet: free spot USDC (unified, sheet 5.6), other dexes."""
    if not account.is_pooled:
        return ZERO
    free = ZERO
    if account.is_unified and (balance := account.spot.get(USDC_INDEX)) is not None:
        free = balance.total - balance.hold
    for other in account.wallets.values():
        if other is not wallet:
            free += cross_value(other) - cross_margin_used(other)
    return free


def spendable(account: Account, token: int) -> Decimal:
    """Spot balance that is not on hold, in unified mode for USDC also not in use by the perps."""
    balance = account.spot.get(token)
    if balance is None:
        return ZERO
    free = balance.total - balance.hold
    if token == USDC_INDEX and account.is_unified:
        free = min(free, withdrawable(account, account.wallet("")))
    return free


def withdrawable(account: Account, wallet: PerpWallet) -> Decimal:
    """Cross value − max(Σ initial margin, 10 % of the notional), never below zero."""
    value = cross_value(wallet) + pooled_collateral(account, wallet)
    needed = max(cross_margin_used(wallet), WITHDRAWABLE_NOTIONAL_SHARE * cross_notional(wallet))
    return max(ZERO, value - needed)


def available_margin(account: Account, wallet: PerpWallet) -> Decimal:
    """What new positions may still use: cross value − Σ initial margin. Negative if under water."""
    return cross_value(wallet) + pooled_collateral(account, wallet) - cross_margin_used(wallet)


def can_carry(account: Account, market: PerpMarket, signed: Decimal, price: Decimal) -> bool:
    """True if the account's margin allows a trade of `signed` base units at `price`.

    A trade that only reduces the position is always allowed. Otherwise the loss against mark that the trade
    makes and the initial margin of the resulting position (isolated: of the added part, at the trade's price)
    must be covered. Resting orders tie up nothing: they are checked again when they match (sheet 4.7).
    """
    wallet = account.wallet(market.dex)
    position = wallet.positions.get(market.coin)
    before = ZERO if position is None else position.szi
    after = before + signed
    keeps_side = before != 0 and (after == 0 or (after > 0) is (before > 0))
    if keeps_side and abs(after) <= abs(before):
        return True
    setting = account.leverage_for(market)
    instant_loss = max(ZERO, signed * (price - market.mark_px))
    available = available_margin(account, wallet)
    if setting.is_cross:
        old_margin = ZERO if position is None else margin_used(position)
        return abs(after) * market.mark_px / setting.value - old_margin + instant_loss <= available
    added = abs(after) - abs(before) if keeps_side else abs(after)
    returned = ZERO if position is None or keeps_side else position.isolated_value
    return added * price / setting.value <= available + returned


def liquidation_price(account: Account, position: Position) -> Decimal | None:
    """Approximate liquidation price (sheet 10.1); None if there is none above zero."""
    market = position.market
    wallet = account.wallet(market.dex)
    if position.is_cross:
        free = cross_value(wallet) + pooled_collateral(account, wallet) - cross_maintenance_margin(wallet)
    else:
        free = position.isolated_value - position.maintenance_margin
    side = ONE if position.szi > 0 else -ONE
    rate = ONE / (2 * market.tier_leverage(position.value))
    price = market.mark_px - side * free / abs(position.szi) / (ONE - rate * side)
    return price if price > 0 else None


def max_trade_sizes(
    account: Account, market: PerpMarket
) -> tuple[tuple[Decimal, Decimal], tuple[Decimal, Decimal]]:
    """Largest buy and sell in base units, and the margin in USD available for each (`activeAssetData`)."""
    wallet = account.wallet(market.dex)
    setting = account.leverage_for(market)
    free = max(ZERO, available_margin(account, wallet))
    position = wallet.positions.get(market.coin)
    szi = ZERO if position is None else position.szi
    freed = ZERO if position is None else margin_used(position)
    sizes = []
    available = []
    for is_buy in (True, False):
        opposing = abs(szi) if szi and (szi > 0) is not is_buy else ZERO
        # Closing the opposing position frees its margin, which the flipped side may use again.
        usable = free + (2 * freed if opposing and setting.is_cross else freed if opposing else ZERO)
        available.append(usable)
        opening = (free + (freed if opposing else ZERO)) * setting.value / market.mark_px
        sizes.append((opposing + opening).quantize(market.lot, rounding="ROUND_DOWN"))
    return (sizes[0], sizes[1]), (available[0], available[1])
