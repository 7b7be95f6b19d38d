"""Accounts the venue operates itself: deep pockets in every market, no request budget, no liquidation."""

from decimal import Decimal
from typing import Any

from adapters.simulator.assets import wire
from adapters.simulator.engine import Exchange

_POCKETS = Decimal(10) ** 12
"""How much of each token, and of collateral on each dex."""


def open_house_accounts(exchange: Exchange, now_ms: int, *addresses: str) -> None:
    """Create accounts with every collateral and token there is, so that they can trade in every market."""
    spot_meta: Any = exchange.info({"type": "spotMeta"}, now_ms=now_ms)
    dexes: Any = exchange.info({"type": "perpDexs"}, now_ms=now_ms)
    tokens = {token["name"]: _POCKETS for token in spot_meta["tokens"]}
    collateral = next(
        f"{token['name']}:{token['tokenId']}" for token in spot_meta["tokens"] if token["index"] == 0
    )
    for address in addresses:
        exchange.create_account(address, usdc=_POCKETS * len(dexes), spot=tokens, is_venue_operated=True)
        for dex in dexes[1:]:
            transfer = {
                "type": "sendAsset",
                "destination": address,
                "sourceDex": "",
                "destinationDex": dex["name"],
                "token": collateral,
                "amount": wire(_POCKETS),
                "fromSubAccount": "",
                "nonce": now_ms,
            }
            exchange.execute(address, transfer, signer=address, now_ms=now_ms)
