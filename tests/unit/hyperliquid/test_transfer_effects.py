"""What each kind of transfer record says about the perp collateral (sheet 5.8)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from adapters.hyperliquid.transfer_effects import collateral_effect

ME, OTHER = "0x" + "aa" * 20, "0x" + "bb" * 20


@pytest.mark.parametrize(
    ("record", "effect"),
    [
        ({"type": "deposit", "usdc": "100.5"}, "100.5"),
        ({"type": "withdraw", "usdc": "50.0", "nonce": 1, "fee": "1.0"}, "-51"),
        ({"type": "accountClassTransfer", "usdc": "7.0", "toPerp": True}, "7"),
        ({"type": "accountClassTransfer", "usdc": "7.0", "toPerp": False}, "-7"),
        ({"type": "internalTransfer", "usdc": "3.0", "user": ME, "destination": OTHER, "fee": "1.0"}, "-4"),
        ({"type": "internalTransfer", "usdc": "3.0", "user": OTHER, "destination": ME, "fee": "1.0"}, "3"),
        ({"type": "subAccountTransfer", "usdc": "2.0", "user": ME.upper(), "destination": OTHER}, "-2"),
        ({"type": "vaultDeposit", "usdc": "9.0", "vault": OTHER}, "-9"),
        ({"type": "vaultDeposit", "usdc": "9.0", "vault": ME}, "9"),
        ({"type": "vaultCreate", "usdc": "9.0", "vault": OTHER, "fee": "1.0"}, "-10"),
        (
            {"type": "vaultWithdraw", "vault": OTHER, "requestedUsd": "5.0", "netWithdrawnUsd": "4.5"},
            "4.5",
        ),
        ({"type": "vaultWithdraw", "vault": ME, "requestedUsd": "5.0", "netWithdrawnUsd": "4.5"}, "-5"),
        ({"type": "spotTransfer", "token": "HYPE", "amount": "1.0", "user": ME, "destination": OTHER}, "0"),
        ({"type": "liquidation", "liquidatedNtlPos": "5.0"}, "0"),
    ],
)
def test_the_sign_of_a_transfer_follows_from_who_sent_it_and_where_it_went(
    record: dict[str, Any], effect: str
) -> None:
    assert collateral_effect(ME, json.dumps(record)) == Decimal(effect)


@pytest.mark.parametrize(
    ("source_dex", "destination_dex", "destination", "effect"),
    [
        ("", "spot", ME, "-6"),
        ("spot", "", ME, "6"),
        ("", "xyz", ME, "0"),
        ("xyz", "spot", ME, "-6"),
        ("", "", OTHER, "-6"),
        ("spot", "spot", OTHER, "0"),
    ],
)
def test_a_send_counts_where_it_leaves_or_reaches_the_collateral_of_a_dex(
    source_dex: str, destination_dex: str, destination: str, effect: str
) -> None:
    record = {"type": "send", "token": "USDC", "amount": "6.0", "user": ME, "destination": destination}
    record |= {"sourceDex": source_dex, "destinationDex": destination_dex}
    assert collateral_effect(ME, json.dumps(record)) == Decimal(effect)


@pytest.mark.parametrize(
    "detail",
    ["", "null", '{"type":"airdrop","usdc":"5.0"}', '{"type":"deposit"}', '{"type":"deposit","usdc":"1e5"}'],
)
def test_what_is_not_understood_has_no_effect_that_could_be_told(detail: str) -> None:
    assert collateral_effect(ME, detail) is None
