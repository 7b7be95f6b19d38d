"""What happened in the block that is being built, and which states changed since somebody last looked.

Nothing is encoded here: most of it is never read by anyone, and the stream (stream.py) encodes what is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .accounts import FundingPayment, LedgerUpdate
from .candles import Trade
from .fills import Fill
from .orders import StatusRow


@dataclass(slots=True)
class Block:
    """Events of one block, grouped as they are sent: by user, trades by coin."""

    order_rows: dict[str, list[StatusRow]] = field(default_factory=dict)
    fills: dict[str, list[Fill]] = field(default_factory=dict)
    trades: dict[str, list[Trade]] = field(default_factory=dict)
    fundings: dict[str, list[FundingPayment]] = field(default_factory=dict)
    ledger: dict[str, list[LedgerUpdate]] = field(default_factory=dict)
    cancelled_by_venue: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    """(coin, oid) by user: the `nonUserCancel` of sheet 7.3."""
    user_events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Other members of the `user` channel's union, already in wire form."""
    notifications: list[tuple[str, str]] = field(default_factory=list)
    twap_history: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class Journal:
    """The current block, and the books, prices and accounts whose state is worth sending again.

    These sets are dicts for their order: what is sent first must not depend on hashing.
    """

    def __init__(self) -> None:
        self.block = Block()
        self.books: dict[str, None] = {}
        self.prices: dict[str, None] = {}
        self.candles: dict[str, None] = {}
        self.open_orders: dict[str, None] = {}
        self.accounts: dict[str, None] = {}
        self.leverage: dict[tuple[str, str], None] = {}

    def take_block(self) -> Block:
        """Ends the block and starts the next one."""
        block, self.block = self.block, Block()
        return block

    def order_changed(self, row: StatusRow, *, announced: bool) -> None:
        user = row.order.account.address
        self.open_orders[user] = None
        if announced:
            self.block.order_rows.setdefault(user, []).append(row)

    def order_cancelled_by_venue(self, user: str, coin: str, oid: int) -> None:
        self.block.cancelled_by_venue.setdefault(user, []).append((coin, oid))

    def book_changed(self, coin: str) -> None:
        self.books[coin] = None

    def price_changed(self, coin: str) -> None:
        self.prices[coin] = None

    def traded(self, trade: Trade) -> None:
        self.block.trades.setdefault(trade.coin, []).append(trade)
        self.candles[trade.coin] = None
        self.prices[trade.coin] = None

    def filled(self, user: str, fill: Fill) -> None:
        self.block.fills.setdefault(user, []).append(fill)
        self.accounts[user] = None
        self.open_orders[user] = None

    def account_changed(self, user: str) -> None:
        self.accounts[user] = None

    def leverage_changed(self, user: str, coin: str) -> None:
        self.leverage[user, coin] = None
        self.accounts[user] = None

    def funding_paid(self, user: str, payment: FundingPayment) -> None:
        self.block.fundings.setdefault(user, []).append(payment)
        self.accounts[user] = None

    def ledger_updated(self, user: str, update: LedgerUpdate) -> None:
        self.block.ledger.setdefault(user, []).append(update)
        self.accounts[user] = None
