"""What happens on the account without the connector: the official SDK, in blocking calls."""

from __future__ import annotations

from typing import Any

from eth_account import Account
from hyperliquid.exchange import Exchange

from tests.support.live import Live

__all__ = ["cancel_elsewhere", "exchange", "move_to_spot"]


def exchange(world: Live, **options: Any) -> Exchange:
    """The SDK's own client of the same account."""
    return Exchange(Account.from_key(world.key.private_key), world.sim.url, **options)


def cancel_elsewhere(world: Live, oid: int) -> None:
    """Cancel a BTC order by its exchange id."""
    assert exchange(world).cancel("BTC", oid)["status"] == "ok"


def move_to_spot(world: Live) -> None:
    """Move 1,000 USDC to where spot orders are paid from."""
    assert exchange(world).usd_class_transfer(1_000.0, False)["status"] == "ok"
