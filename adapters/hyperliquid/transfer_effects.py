"""What a transfer did to the perp collateral of an account, from the venue's record of it (sheet 5.8).

The venue states amounts without a sign: who sent and who received, and to which side of an account, stands
beside them. Records that move spot tokens alone leave the collateral as it is.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from adapters.hyperliquid.messages import TransferUpdate
from adapters.hyperliquid.unreadable import UNREADABLE
from domain.discrepancies import Transfer
from domain.money import MONEY, ZERO, parse_decimal

__all__ = ["collateral_effect", "is_of_others", "transfer_of"]

_COLLATERAL = "USDC"
_SPOT = "spot"


class _Delta(msgspec.Struct, rename="camel"):
    """The members that any kind of record says this with; each kind has some of them."""

    type: str = ""
    usdc: str | None = None
    fee: str | None = None
    user: str = ""
    destination: str = ""
    vault: str = ""
    to_perp: bool = False
    token: str = ""
    sent_amount: str | None = msgspec.field(default=None, name="amount")
    source_dex: str = _SPOT
    destination_dex: str = _SPOT
    requested_usd: str | None = None
    net_withdrawn_usd: str | None = None


_DECODER = msgspec.json.Decoder(_Delta)
_WITHOUT_EFFECT = frozenset({"spotTransfer", "spotGenesis", "liquidation", "cStakingTransfer"})
"""Spot tokens and stakes; of a liquidation the fills tell what it did."""


def collateral_effect(account: str, detail: str) -> Decimal | None:
    """The signed effect on what `account` (lower case) has on all dexes as collateral, in USDC.

    `detail` is the venue's own record (JSON). None when its kind or its figures are not known: then nobody
    can tell what the collateral came to.
    """
    try:
        delta = _DECODER.decode(detail)
        return _effect(delta, account)
    except (*UNREADABLE, ValueError):
        return None


def is_of_others(account: str, detail: str) -> bool:
    """Whether a record names who sent and who received, and `account` (lower case) is neither."""
    delta = msgspec.json.decode(detail)
    parties = (delta.get("user"), delta.get("destination"))
    return all(isinstance(party, str) and party.lower() != account for party in parties)


def transfer_of(account: str, update: TransferUpdate) -> Transfer:
    """The transfer that the venue tells, with what it did to the collateral of `account`."""
    return Transfer(
        update_key=update.update_key,
        kind=update.kind,
        amount=update.amount,
        token=update.token,
        detail=update.detail,
        exchange_time_ms=update.exchange_time_ms,
        cash_effect=collateral_effect(account, update.detail),
    )


def _effect(delta: _Delta, account: str) -> Decimal | None:
    usdc = _number(delta.usdc)
    sent, received = delta.user.lower() == account, delta.destination.lower() == account
    is_vault = delta.vault.lower() == account
    match delta.type:
        case "deposit" | "vaultDistribution" | "vaultLeaderCommission":
            return usdc
        case "withdraw":
            return _sum(_negative(usdc), _negative(_fee(delta)))
        case "accountClassTransfer":
            return usdc if delta.to_perp else _negative(usdc)
        case "internalTransfer" | "subAccountTransfer":
            out = _sum(_negative(usdc), _negative(_fee(delta))) if sent else ZERO
            return _sum(out, usdc if received else ZERO)
        case "send":
            amount = _number(delta.sent_amount)
            leaves = sent and delta.source_dex != _SPOT and delta.token == _COLLATERAL
            arrives = received and delta.destination_dex != _SPOT and delta.token == _COLLATERAL
            return _sum(_negative(amount) if leaves else ZERO, amount if arrives else ZERO)
        case "vaultCreate" | "vaultDeposit":
            return usdc if is_vault else _sum(_negative(usdc), _negative(_fee(delta)))
        case "vaultWithdraw":
            return _negative(_number(delta.requested_usd)) if is_vault else _number(delta.net_withdrawn_usd)
        case kind:
            return ZERO if kind in _WITHOUT_EFFECT else None


def _number(text: str | None) -> Decimal | None:
    return None if text is None else parse_decimal(text)


def _fee(delta: _Delta) -> Decimal | None:
    return ZERO if delta.fee is None else parse_decimal(delta.fee)


def _negative(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.copy_negate()


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else MONEY.add(one, other)
