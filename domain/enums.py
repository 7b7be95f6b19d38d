"""The closed vocabularies of an order: type, side, effect, lifetime, state, and where a fact came from.

Values are lower-case texts, written to the log as they are; a member is never renamed once released.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "ClosingKind",
    "Liquidity",
    "OrderState",
    "OrderType",
    "PositionAction",
    "RequestOutcome",
    "RequestState",
    "Source",
    "Submission",
    "TimeInForce",
    "TradeType",
]


class OrderType(StrEnum):
    """How an order executes. Stop and take-profit kinds wait until the mark price reaches their trigger."""

    LIMIT = "limit"
    MARKET = "market"
    LIMIT_MAKER = "limit_maker"
    STOP_LIMIT = "stop_limit"
    STOP_MARKET = "stop_market"
    TAKE_PROFIT_LIMIT = "take_profit_limit"
    TAKE_PROFIT_MARKET = "take_profit_market"

    @property
    def is_trigger(self) -> bool:
        return self in _TRIGGERS

    @property
    def is_market(self) -> bool:
        """Whether it executes at the market once it is live (so its price is only a protection limit)."""
        return self in _MARKETS


_TRIGGERS = frozenset(
    {
        OrderType.STOP_LIMIT,
        OrderType.STOP_MARKET,
        OrderType.TAKE_PROFIT_LIMIT,
        OrderType.TAKE_PROFIT_MARKET,
    }
)
_MARKETS = frozenset({OrderType.MARKET, OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET})


class TradeType(StrEnum):
    """The side of an order or a fill."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell: what one unit does to the signed position."""
        return 1 if self is TradeType.BUY else -1


class PositionAction(StrEnum):
    """What an order is meant to do to the position. CLOSE is sent as reduce-only; NIL says nothing."""

    NIL = "nil"
    OPEN = "open"
    CLOSE = "close"


class TimeInForce(StrEnum):
    """How long an order lives: until cancelled, or only for the instant it arrives."""

    GTC = "gtc"
    IOC = "ioc"


class OrderState(StrEnum):
    """The nine derived states (never stored; see `InFlightOrder.state`)."""

    PENDING_CREATE = "pending_create"
    PENDING_SUBMIT = "pending_submit"
    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    FILLED = "filled"
    CANCELLED = "cancelled"
    FAILED = "failed"
    EXPIRED = "expired"


class Submission(StrEnum):
    """What is known about the request that places the order."""

    NONE = "none"
    SENT = "sent"
    UNKNOWN = "unknown"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"


class RequestState(StrEnum):
    """What is known about a cancel or an amend request."""

    NONE = "none"
    REQUESTED = "requested"
    UNKNOWN = "unknown"
    REFUSED = "refused"


class RequestOutcome(StrEnum):
    """What became of a request about the account itself."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class ClosingKind(StrEnum):
    """How an order ended. FILLED here means: the venue says so; quantity still comes from fills alone."""

    CANCELLED = "cancelled"
    FAILED = "failed"
    EXPIRED = "expired"
    FILLED = "filled"


class Liquidity(StrEnum):
    """Which side of the trade the account was on. Old records do not say."""

    MAKER = "maker"
    TAKER = "taker"
    UNKNOWN = "unknown"


class Source(StrEnum):
    """Which kind of input a fact came from."""

    COMMAND = "command"
    HTTP = "http"
    STREAM = "stream"
    TIMER = "timer"
    QUERY = "query"
    RECONCILIATION = "reconciliation"
