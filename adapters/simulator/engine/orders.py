"""One order of one account: what was asked for, where it lives now, and how it reads (sheet 4.1, 5.2, 6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from .numbers import ZERO, wire_text

if TYPE_CHECKING:
    from .accounts import Account
    from .markets import Market

GTC = "Gtc"
IOC = "Ioc"
ALO = "Alo"
FRONTEND_MARKET = "FrontendMarket"
LIQUIDATION_MARKET = "LiquidationMarket"
IMMEDIATE = frozenset({IOC, FRONTEND_MARKET, LIQUIDATION_MARKET})


class Place(Enum):
    """Where an order lives. Only `GONE` is final."""

    NEW = "new"
    BOOK = "book"
    ARMED = "armed"
    """A trigger that watches the mark price."""
    WAITING = "waiting"
    """A TP/SL child whose parent is not filled yet."""
    GONE = "gone"


class Trigger(NamedTuple):
    """The `trigger` member of an order: fires on the mark price (sheet 4.7)."""

    price: Decimal
    is_market: bool
    is_take_profit: bool

    def fires_when_rising(self, is_buy: bool) -> bool:
        """True if it fires at mark >= price: take profits of sells and stops of buys."""
        return self.is_take_profit is not is_buy

    def is_met(self, is_buy: bool, mark: Decimal) -> bool:
        return mark >= self.price if self.fires_when_rising(is_buy) else mark <= self.price


class BuilderFee(NamedTuple):
    """The `builder` of an action; `tenths_bp` are tenths of a basis point of the notional (sheet 4.1)."""

    address: str
    tenths_bp: int


class OrderRequest(NamedTuple):
    """One entry of an order action, deserialised (sheet 4.1). `tif` is None for triggers."""

    asset: int
    is_buy: bool
    limit_px: Decimal
    size: Decimal
    reduce_only: bool
    tif: str | None
    trigger: Trigger | None
    cloid: str | None


@dataclass(slots=True, eq=False)
class Order:
    """`size` is what is still live of `orig_size`: fills and reduce-only shrinking lower it (sheet 4.7)."""

    oid: int
    account: Account
    market: Market
    is_buy: bool
    limit_px: Decimal
    size: Decimal
    orig_size: Decimal
    reduce_only: bool
    tif: str | None
    cloid: str | None
    time: int
    trigger: Trigger | None = None
    builder: BuilderFee | None = None
    is_position_tpsl: bool = False
    twap_id: int | None = None
    parent: Order | None = None
    children: list[Order] = field(default_factory=list)
    siblings: list[Order] = field(default_factory=list)
    place: Place = Place.NEW
    has_triggered: bool = False
    filled: Decimal = ZERO
    filled_ntl: Decimal = ZERO
    status: str = ""
    status_time: int = 0
    status_size: Decimal = ZERO
    hold: Decimal = ZERO
    """Spot balance that this order ties up while it rests (sheet 5.7)."""

    @property
    def side(self) -> str:
        return "B" if self.is_buy else "A"

    @property
    def is_live(self) -> bool:
        return self.place is not Place.GONE and self.place is not Place.NEW

    @property
    def waits_for_trigger(self) -> bool:
        return self.trigger is not None and not self.has_triggered

    @property
    def order_type(self) -> str:
        """The display text `orderType` of frontend rows (sheet 5.2)."""
        if self.twap_id is not None:
            return "Twap Slice"
        if self.trigger is not None:
            kind = "Take Profit" if self.trigger.is_take_profit else "Stop"
            return f"{kind} Market" if self.trigger.is_market else f"{kind} Limit"
        return "Market" if self.tif in (FRONTEND_MARKET, LIQUIDATION_MARKET) else "Limit"

    @property
    def trigger_condition(self) -> str:
        """`N/A`, or the price condition in words (sheet 5.2)."""
        if self.trigger is None:
            return "N/A"
        word = "above" if self.trigger.fires_when_rising(self.is_buy) else "below"
        return f"Price {word} {wire_text(self.trigger.price)}"


class StatusRow(NamedTuple):
    """An order as it was at one status change: a row of `historicalOrders` and of `orderUpdates`."""

    order: Order
    status: str
    time: int
    size: Decimal
    oid: int
