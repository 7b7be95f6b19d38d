"""Leverage and isolated margin (sheet 4.2), and the account settings that need no money."""

from __future__ import annotations

from decimal import Decimal

from . import fees, margin
from .accounts import USDC_INDEX, Account, LeverageSetting
from .errors import ActionError, Unprocessable
from .markets import PerpMarket
from .numbers import MICRO_USDC, ZERO, rounded
from .parsing import (
    Json,
    address_member,
    as_signed,
    count_member,
    flag_member,
    member,
    number_member,
    text_member,
)
from .positions import PerpWallet, Position
from .state import VenueState

NOT_ISOLATED_TEXT = "Position does not use isolated margin."
TENTHS_BP_PER_PERCENT = 1000
ABSTRACTIONS = ("disabled", "default", "unifiedAccount", "portfolioMargin", "dexAbstraction")


class SettingsActions:
    def __init__(self, state: VenueState) -> None:
        self._state = state

    def _market(self, action: Json) -> PerpMarket:
        market = self._state.universe.perp_by_asset(count_member(action, "asset"))
        if market is None:
            raise ActionError("Unknown asset.")
        return market

    def update_leverage(self, account: Account, action: Json) -> None:
        """Also with an open position; the margin mode cannot change then."""
        market = self._market(action)
        is_cross, value = flag_member(action, "isCross"), count_member(action, "leverage")
        if not 1 <= value <= market.max_leverage:
            raise ActionError("Invalid leverage value.")
        if is_cross and market.spec.only_isolated:
            raise ActionError("Cross margin is not allowed for this asset.")
        position = account.position(market)
        if position is not None:
            if position.is_cross is not is_cross:
                raise ActionError("Cannot switch leverage type with open position.")
            self._releverage(account, account.wallet(market.dex), position, value)
        account.leverage[market.coin] = LeverageSetting(is_cross, value)
        self._state.journal.leverage_changed(account.address, market.coin)

    def _releverage(self, account: Account, wallet: PerpWallet, position: Position, value: int) -> None:
        needed = position.value / value
        missing = needed - margin.margin_used(position)
        if missing > 0:
            # Less leverage takes more margin: cross from the free collateral, isolated by moving it over.
            if missing > margin.available_margin(account, wallet):
                raise ActionError("Insufficient margin to change leverage.")
            if not position.is_cross:
                moved = rounded(missing, MICRO_USDC)
                wallet.cash -= moved
                position.isolated_usd += moved
        position.leverage = value

    def update_isolated_margin(self, account: Account, action: Json) -> None:
        """`ntli` is signed micro-USDC; negative takes margin out."""
        market = self._market(action)
        flag_member(action, "isBuy")
        amount = Decimal(as_signed(member(action, "ntli"))) * MICRO_USDC
        self._move_isolated(account, market, amount)

    def top_up_isolated_margin(self, account: Account, action: Json) -> None:
        """Adds what brings the position down to the given leverage."""
        market = self._market(action)
        leverage = number_member(action, "leverage")
        position = account.position(market)
        if position is None or position.is_cross:
            raise ActionError(NOT_ISOLATED_TEXT)
        if leverage <= 0:
            raise ActionError("Invalid leverage value.")
        missing = rounded(position.value / leverage - position.isolated_value, MICRO_USDC)
        self._move_isolated(account, market, max(ZERO, missing))

    def _move_isolated(self, account: Account, market: PerpMarket, amount: Decimal) -> None:
        position = account.position(market)
        if position is None or position.is_cross:
            raise ActionError(NOT_ISOLATED_TEXT)
        wallet = account.wallet(market.dex)
        if amount > margin.available_margin(account, wallet):
            raise ActionError("Insufficient margin for isolated position.")
        kept = position.isolated_value + amount
        floor = max(position.value / position.leverage, margin.WITHDRAWABLE_NOTIONAL_SHARE * position.value)
        if amount < 0 and kept < floor:
            raise ActionError("Insufficient isolated margin to remove.")
        wallet.cash -= amount
        position.isolated_usd += amount
        self._state.journal.leverage_changed(account.address, market.coin)

    def approve_builder_fee(self, account: Account, action: Json) -> None:
        """`maxFeeRate` is a percent string such as `0.01%` (sheet 3.4); stored in tenths of a basis point."""
        builder = address_member(action, "builder")
        text = text_member(action, "maxFeeRate")
        if not text.endswith("%"):
            raise Unprocessable
        tenths = number_member({"rate": text[:-1]}, "rate") * TENTHS_BP_PER_PERCENT
        if not 0 <= tenths <= fees.MAX_BUILDER_SPOT or tenths != int(tenths):
            raise ActionError("Invalid builder fee rate.")
        account.builder_fees[builder] = int(tenths)

    def set_abstraction(self, account: Account, action: Json) -> None:
        """The mode of the account or of a sub-account of it (sheet 5.6); not with open positions."""
        user, mode = address_member(action, "user"), text_member(action, "abstraction")
        if mode not in ABSTRACTIONS:
            raise Unprocessable
        target = self._state.account(user)
        if target is None or (target is not account and target.master != account.address):
            raise ActionError("Cannot set the mode of another account.")
        if any(wallet.positions for wallet in target.wallets.values()):
            raise ActionError("Cannot change account mode with open positions.")
        was_unified = target.is_unified
        target.abstraction = mode
        if target.is_unified and not was_unified:
            for wallet in target.wallets.values():
                target.balance(USDC_INDEX).total += wallet.cash
                wallet.cash = ZERO
        self._state.journal.account_changed(target.address)

    def set_referrer(self, account: Account, action: Json) -> None:
        code = text_member(action, "code")
        if account.referral_code is not None:
            raise ActionError("Referrer already set.")
        account.referral_code = code
