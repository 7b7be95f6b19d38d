"""What can go wrong before an order exists: typed, with a message a trader can act on.

Everything here is raised to the caller of `buy()`, `sell()`, `cancel()` or `amend()` at once, and nothing is
recorded: an exception means there is no order and no request. What goes wrong later is an event.
"""

from __future__ import annotations

__all__ = [
    "DuplicateOrderIdError",
    "InvalidOrderError",
    "LedgerError",
    "NotReadyError",
    "OrderAlreadyDoneError",
    "OrderRefusedError",
    "TradingHaltedError",
    "UnknownOrderError",
    "UnknownTradingPairError",
    "VersionError",
]


class LedgerError(Exception):
    """Base of every error this package raises on purpose."""


class OrderRefusedError(LedgerError, ValueError):
    """An order or request was refused here, before anything was recorded or sent.

    `reason_code` is stable and machine-readable; the message says what to change.
    """

    def __init__(self, reason_code: str, message: str) -> None:
        super().__init__(message)
        self.reason_code = reason_code


class InvalidOrderError(OrderRefusedError):
    """A parameter can never be right: not a number, negative, wrong combination."""


class UnknownTradingPairError(OrderRefusedError):
    """The venue lists no such market."""

    def __init__(self, trading_pair: str, near: tuple[str, ...] = ()) -> None:
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        super().__init__("unknown_trading_pair", f"The venue has no market {trading_pair!r}.{hint}")


class DuplicateOrderIdError(OrderRefusedError):
    """The client order id was used before. Ids are never reused, also not after a restart."""

    def __init__(self, client_order_id: str) -> None:
        super().__init__(
            "duplicate_client_order_id",
            f"Client order id {client_order_id!r} was already used in this ledger; choose a new one.",
        )


class UnknownOrderError(OrderRefusedError, LookupError):
    """No order with this id is in memory, so there is nothing to cancel or amend."""

    def __init__(self, client_order_id: str) -> None:
        super().__init__(
            "unknown_order",
            f"No live order {client_order_id!r}; `orderledger history` shows a finished one.",
        )


class OrderAlreadyDoneError(OrderRefusedError):
    """The order ended; a cancel or amend would do nothing."""

    def __init__(self, client_order_id: str, state: str) -> None:
        super().__init__(
            "order_already_done", f"Order {client_order_id!r} is already {state}; nothing was sent."
        )


class NotReadyError(OrderRefusedError):
    """The connector has not (or not again) established the truth, so it does not trade yet."""

    def __init__(self, missing: tuple[str, ...]) -> None:
        super().__init__(
            "not_ready", f"The connector is not ready to trade; waiting for: {', '.join(missing)}."
        )


class TradingHaltedError(OrderRefusedError):
    """Trading stopped because it could not be recorded, or because of a configuration fault."""

    def __init__(self, why: str) -> None:
        super().__init__("trading_halted", f"Trading is halted: {why}")


class VersionError(LedgerError):
    """An event does not follow the last one of its aggregate: the log is incomplete or out of order."""
