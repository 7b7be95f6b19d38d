"""What an account holds of each spot token, and what that cost (sheet 5.7).

The venue tells balances by token, and fills by market: a token that is traded in several markets has one
balance for all of them.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from adapters.hyperliquid.messages import MessageError
from adapters.hyperliquid.unreadable import UNREADABLE
from domain.money import MONEY, parse_decimal
from domain.updates import PositionUpdate

__all__ = ["SpotBalance", "read_spot_balances"]

_ENTRY_DECIMALS = Decimal("1e-10")


class SpotBalance(msgspec.Struct, frozen=True):
    """`total` in units of the token, what orders hold included; `entry_notional` is its cost in quote units,
    0 where the venue does not know it."""

    total: Decimal
    entry_notional: Decimal

    def as_position(self, trading_pair: str) -> PositionUpdate:
        """The balance as a position in the one market that the token is traded in."""
        entry = None
        if self.total and self.entry_notional > 0:
            entry = MONEY.divide(self.entry_notional, self.total).quantize(_ENTRY_DECIMALS, context=MONEY)
        return PositionUpdate(trading_pair=trading_pair, amount=self.total, entry_price=entry)


class _Row(msgspec.Struct, rename="camel"):
    coin: str
    total: str
    entry_ntl: str = "0"


class _State(msgspec.Struct):
    balances: list[_Row]


def read_spot_balances(body: bytes) -> dict[str, SpotBalance | None]:
    """By the token's name; None where several tokens have the same. Raises `MessageError`."""
    found: dict[str, SpotBalance | None] = {}
    try:
        for row in msgspec.json.decode(body, type=_State).balances:
            balance = SpotBalance(parse_decimal(row.total), parse_decimal(row.entry_ntl))
            found[row.coin] = None if row.coin in found else balance
    except (*UNREADABLE, ValueError) as error:
        raise MessageError(f"spot balances: {error}") from None
    return found
