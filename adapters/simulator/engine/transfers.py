"""Moving money: deposits, withdrawals, sends; between classes, dexes, sub-accounts, vaults (3.4, 3.7)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from . import margin
from .accounts import USDC_INDEX, Account, LedgerUpdate, VaultShares
from .errors import ActionError
from .numbers import MICRO_USDC, ZERO, decimals_of, parse_number, read_text, rounded, wire_text
from .options import TokenSpec
from .parsing import (
    Json,
    address_member,
    as_address,
    count_member,
    flag_member,
    member,
    number_member,
    optional_text,
    text_member,
)
from .state import VenueState

WITHDRAWAL_FEE = Decimal(1)
WEIGHT_PRICE = Decimal("0.0005")
USDC_DECIMALS = 6
SUB_ACCOUNTS_BASE = 10
SUB_ACCOUNTS_MAX = 50
SUB_ACCOUNT_VOLUME_STEP = Decimal(100_000_000)
SUB_ACCOUNT_MARK = " subaccount:"
NO_BALANCE_TEXT = "Insufficient balance for token transfer"
NO_WITHDRAWAL_TEXT = "Insufficient balance for withdrawal"
UNIFIED_TEXT = "Action disabled when unified account is active"
SPOT_SIDE = "spot"


class Transfers:
    def __init__(self, state: VenueState) -> None:
        self._state = state

    # -- bookkeeping --------------------------------------------------------------------------------------

    def _record(self, account: Account, delta: dict[str, Any]) -> None:
        update = LedgerUpdate(self._state.now_ms, self._state.tx_hash(), delta)
        account.ledger.append(update)
        self._state.journal.ledger_updated(account.address, update)

    def _take_collateral(self, account: Account, dex: str, amount: Decimal, text: str) -> None:
        wallet = account.wallet(dex)
        if amount > margin.withdrawable(account, wallet):
            raise ActionError(text)
        if account.is_unified:
            account.balance(USDC_INDEX).total -= amount
        else:
            wallet.cash -= amount

    def _give_collateral(self, account: Account, dex: str, amount: Decimal) -> None:
        if account.is_unified:
            account.balance(USDC_INDEX).total += amount
        else:
            account.wallet(dex).cash += amount
        self._state.journal.account_changed(account.address)

    def _take_spot(self, account: Account, token: TokenSpec, amount: Decimal) -> Decimal:
        """Removes spot tokens and returns the share of the cost basis that goes with them."""
        if amount > margin.spendable(account, token.index):
            raise ActionError(NO_BALANCE_TEXT)
        balance = account.balance(token.index)
        basis = (balance.entry_ntl * amount / balance.total).quantize(MICRO_USDC)
        balance.total -= amount
        balance.entry_ntl -= basis
        return basis

    def _give_spot(self, account: Account, token: TokenSpec, amount: Decimal, basis: Decimal = ZERO) -> None:
        balance = account.balance(token.index)
        balance.total += amount
        if token.index != USDC_INDEX:
            balance.entry_ntl += basis
        self._state.journal.account_changed(account.address)

    def _token(self, action: Json) -> TokenSpec:
        token = self._state.universe.token_by_wire_name(text_member(action, "token"))
        if token is None:
            raise ActionError("Unknown token.")
        return token

    def _usd_amount(self, action: Json) -> Decimal:
        return _positive(number_member(action, "amount"), USDC_DECIMALS)

    def _micro_amount(self, action: Json) -> Decimal:
        amount = Decimal(count_member(action, "usd")) * MICRO_USDC
        if not amount:
            raise ActionError("Invalid amount.")
        return amount

    def _usd_value(self, token: TokenSpec, amount: Decimal) -> Decimal:
        if token.index == USDC_INDEX:
            return amount
        for market in self._state.universe.spot_markets:
            if market.base is token and market.quote.index == USDC_INDEX:
                return (amount * market.mark_px).quantize(MICRO_USDC)
        return ZERO

    # -- from and to the outside --------------------------------------------------------------------------

    def deposit(self, account: Account, amount: Decimal) -> None:
        """USDC arrives from the bridge: as perp collateral, in unified mode as spot USDC."""
        if amount:
            self._give_collateral(account, "", amount)
            account.net_deposits += amount
            self._record(account, {"type": "deposit", "usdc": read_text(amount)})

    def deposit_spot(self, account: Account, token: TokenSpec, amount: Decimal) -> None:
        value = self._usd_value(token, amount)
        self._give_spot(account, token, amount, value)
        account.net_deposits += value

    def withdraw(self, account: Account, action: Json) -> None:
        """The fee of 1 USDC is part of the amount."""
        address_member(action, "destination")
        amount, nonce = self._usd_amount(action), count_member(action, "time")
        if amount <= WITHDRAWAL_FEE:
            raise ActionError(NO_WITHDRAWAL_TEXT)
        self._take_collateral(account, "", amount, NO_WITHDRAWAL_TEXT)
        self._state.collect_fee("USDC", WITHDRAWAL_FEE)
        account.net_deposits -= amount
        net = amount - WITHDRAWAL_FEE
        self._record(
            account,
            {"type": "withdraw", "usdc": read_text(net), "nonce": nonce, "fee": read_text(WITHDRAWAL_FEE)},
        )

    # -- between accounts ---------------------------------------------------------------------------------

    def usd_send(self, account: Account, action: Json) -> None:
        destination_address = address_member(action, "destination")
        amount = self._usd_amount(action)
        self._take_collateral(account, "", amount, NO_WITHDRAWAL_TEXT)
        destination = self._state.open_account(destination_address)
        self._give_collateral(destination, "", amount)
        delta = {
            "type": "internalTransfer",
            "usdc": read_text(amount),
            "user": account.address,
            "destination": destination.address,
            "fee": "0.0",
        }
        self._moved(account, destination, amount, delta)

    def _moved(self, source: Account, destination: Account, value: Decimal, delta: dict[str, Any]) -> None:
        source.net_deposits -= value
        self._record(source, delta)
        if destination is not source:
            self._record(destination, delta)
        destination.net_deposits += value

    def spot_send(self, account: Account, action: Json) -> None:
        token = self._token(action)
        destination_address = address_member(action, "destination")
        nonce = count_member(action, "time")
        amount = _positive(number_member(action, "amount"), token.wei_decimals)
        basis = self._take_spot(account, token, amount)
        destination = self._state.open_account(destination_address)
        self._give_spot(destination, token, amount, basis)
        value = self._usd_value(token, amount)
        delta = {
            "type": "spotTransfer",
            "token": token.name,
            "amount": read_text(amount),
            "usdcValue": read_text(value),
            "user": account.address,
            "destination": destination.address,
            "fee": "0.0",
            "nativeTokenFee": "0.0",
            "nonce": nonce,
            "feeToken": "",
        }
        self._moved(account, destination, value, delta)

    def usd_class_transfer(self, account: Account, action: Json) -> None:
        """Between the spot and the perp side; the amount may name a sub-account to act for (sheet 3.4)."""
        text, _, sub_address = text_member(action, "amount").partition(SUB_ACCOUNT_MARK)
        amount = _positive(parse_number(text), USDC_DECIMALS)
        to_perp = flag_member(action, "toPerp")
        if sub_address:
            account = self._sub_account(account, as_address(sub_address))
        if account.is_unified:
            raise ActionError(UNIFIED_TEXT)
        usdc = self._state.universe.tokens[USDC_INDEX]
        if to_perp:
            self._take_spot(account, usdc, amount)
            self._give_collateral(account, "", amount)
        else:
            self._take_collateral(account, "", amount, NO_WITHDRAWAL_TEXT)
            self._give_spot(account, usdc, amount)
        self._record(account, {"type": "accountClassTransfer", "usdc": read_text(amount), "toPerp": to_perp})

    def send_asset(self, account: Account, action: Json) -> None:
        """Any token between any two places: perp dexes (`""` is the first), `spot`, own or other accounts."""
        token = self._token(action)
        source, target = text_member(action, "sourceDex"), text_member(action, "destinationDex")
        amount = _positive(number_member(action, "amount"), min(token.wei_decimals, 8))
        destination_address = address_member(action, "destination")
        nonce = count_member(action, "nonce")
        sub_address = optional_text(action, "fromSubAccount")
        if sub_address:
            account = self._sub_account(account, as_address(sub_address))
        for place in (source, target):
            if place != SPOT_SIDE and place not in self._state.universe.perps_by_dex:
                raise ActionError(f"Unknown dex: {place}")
            if place != SPOT_SIDE and token.index != USDC_INDEX:
                raise ActionError("Token is not the collateral of this dex.")
        basis = ZERO
        if source == SPOT_SIDE:
            basis = self._take_spot(account, token, amount)
        else:
            self._take_collateral(account, source, amount, NO_BALANCE_TEXT)
        destination = self._state.open_account(destination_address)
        if target == SPOT_SIDE:
            self._give_spot(destination, token, amount, basis)
        else:
            self._give_collateral(destination, target, amount)
        value = self._usd_value(token, amount)
        delta = {
            "type": "send",
            "user": account.address,
            "destination": destination.address,
            "sourceDex": source,
            "destinationDex": target,
            "token": token.name,
            "amount": read_text(amount),
            "usdcValue": read_text(value),
            "fee": "0.0",
            "nativeTokenFee": "0.0",
            "nonce": nonce,
            "feeToken": "",
        }
        self._moved(account, destination, value, delta)

    # -- sub-accounts and vaults --------------------------------------------------------------------------

    def _sub_account(self, master: Account, address: str) -> Account:
        sub = self._state.account(address)
        if sub is None or sub.master != master.address:
            raise ActionError(f"Sub-account not registered: {address}")
        return sub

    def create_sub_account(self, master: Account, name: str) -> str:
        required = self._state.options.sub_account_volume
        if master.volume < required:
            traded = wire_text(rounded(master.volume, Decimal("0.01")))
            raise ActionError(
                "Cannot create sub-accounts until enough volume traded. "
                f"Required: ${wire_text(required)}. Traded: ${traded}."
            )
        extra = int(master.volume // SUB_ACCOUNT_VOLUME_STEP)
        if len(master.sub_accounts) >= min(SUB_ACCOUNTS_MAX, SUB_ACCOUNTS_BASE + extra):
            raise ActionError("Too many sub-accounts.")
        sub = self._state.open_account(self._state.random_address())
        sub.master, sub.name = master.address, name
        sub.abstraction = master.abstraction
        master.sub_accounts.append(sub.address)
        return sub.address

    def sub_account_transfer(self, master: Account, action: Json) -> None:
        sub = self._sub_account(master, address_member(action, "subAccountUser"))
        is_deposit, amount = flag_member(action, "isDeposit"), self._micro_amount(action)
        source, destination = (master, sub) if is_deposit else (sub, master)
        self._take_collateral(source, "", amount, NO_BALANCE_TEXT)
        self._give_collateral(destination, "", amount)
        delta = {
            "type": "subAccountTransfer",
            "usdc": read_text(amount),
            "user": source.address,
            "destination": destination.address,
        }
        self._moved(source, destination, amount, delta)

    def sub_account_spot_transfer(self, master: Account, action: Json) -> None:
        sub = self._sub_account(master, address_member(action, "subAccountUser"))
        token = self._token(action)
        is_deposit = flag_member(action, "isDeposit")
        amount = _positive(number_member(action, "amount"), token.wei_decimals)
        source, destination = (master, sub) if is_deposit else (sub, master)
        basis = self._take_spot(source, token, amount)
        self._give_spot(destination, token, amount, basis)
        value = self._usd_value(token, amount)
        delta = {
            "type": "spotTransfer",
            "token": token.name,
            "amount": read_text(amount),
            "usdcValue": read_text(value),
            "user": source.address,
            "destination": destination.address,
            "fee": "0.0",
            "nativeTokenFee": "0.0",
            "nonce": None,
            "feeToken": "",
        }
        self._moved(source, destination, value, delta)

    def create_vault(self, leader: Account, name: str, initial: Decimal) -> str:
        """A vault led by `leader`, who owns all shares at first."""
        self._take_collateral(leader, "", initial, NO_BALANCE_TEXT)
        vault = self._state.open_account(self._state.random_address())
        vault.abstraction = "disabled"
        vault.vault = VaultShares(leader.address, name, {leader.address: initial})
        self._give_collateral(vault, "", initial)
        delta = {"type": "vaultCreate", "vault": vault.address, "usdc": read_text(initial), "fee": "0.0"}
        self._moved(leader, vault, initial, delta)
        return vault.address

    def vault_transfer(self, account: Account, action: Json) -> None:
        """Deposits buy shares at the vault's value, withdrawals sell them."""
        address = address_member(action, "vaultAddress")
        is_deposit, amount = flag_member(action, "isDeposit"), self._micro_amount(action)
        vault = self._state.account(address)
        if vault is None or vault.vault is None:
            raise ActionError(f"Vault not registered: {address}")
        shares = vault.vault
        value = margin.account_value(vault.wallet(""))
        owned = shares.shares.get(account.address, ZERO)
        price = value / shares.total if shares.total and value > 0 else Decimal(1)
        if is_deposit:
            self._take_collateral(account, "", amount, NO_BALANCE_TEXT)
            self._give_collateral(vault, "", amount)
            shares.shares[account.address] = owned + amount / price
            delta = {"type": "vaultDeposit", "vault": address, "usdc": read_text(amount)}
            self._moved(account, vault, amount, delta)
            return
        if amount > owned * price:
            raise ActionError(NO_WITHDRAWAL_TEXT)
        self._take_collateral(vault, "", amount, NO_WITHDRAWAL_TEXT)
        self._give_collateral(account, "", amount)
        shares.shares[account.address] = owned - amount / price
        delta = {
            "type": "vaultWithdraw",
            "vault": address,
            "user": account.address,
            "requestedUsd": read_text(amount),
            "commission": "0.0",
            "closingCost": "0.0",
            "basis": read_text(amount),
            "netWithdrawnUsd": read_text(amount),
        }
        self._moved(vault, account, amount, delta)

    # -- request weight -----------------------------------------------------------------------------------

    def reserve_request_weight(self, account: Account, action: Json) -> None:
        """Buys address budget at 0.0005 USDC per request (sheet 4.2), for itself or for `destination`."""
        weight = count_member(action, "weight")
        target = account
        if action.get("destination") is not None:
            target = self._state.open_account(as_address(member(action, "destination")))
        price = weight * WEIGHT_PRICE
        self._take_collateral(account, "", price, NO_BALANCE_TEXT)
        self._state.collect_fee("USDC", price)
        account.net_deposits -= price
        target.requests_bought += weight
        self._state.journal.account_changed(account.address)


def _positive(amount: Decimal, decimals: int) -> Decimal:
    if amount <= 0 or decimals_of(amount) > decimals:
        raise ActionError("Invalid amount.")
    return amount
