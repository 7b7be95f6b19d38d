"""What one IP address may ask for: request weights and WebSocket limits (protocol sheet 9.1, 9.5)."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LIGHT = frozenset(
    {"l2Book", "allMids", "clearinghouseState", "orderStatus", "spotClearinghouseState", "exchangeStatus"}
)
_ROWS_PER_WEIGHT: Mapping[str, int] = {
    "recentTrades": 20,
    "historicalOrders": 20,
    "userFills": 20,
    "userFillsByTime": 20,
    "fundingHistory": 20,
    "userFunding": 20,
    "userNonFundingLedgerUpdates": 20,
    "userTwapSliceFills": 20,
    "twapHistory": 20,
    "candleSnapshot": 60,
}
_ENTRY_LISTS = ("orders", "cancels", "modifies")


@dataclass(frozen=True, slots=True)
class IpLimits:
    """The limits in force for each IP address; `None` means not enforced."""

    weight_per_minute: int | None
    connections: int | None
    new_connections_per_minute: int | None
    subscriptions: int | None
    tracked_users: int | None
    messages_per_minute: int | None
    posts_in_flight: int | None

    @classmethod
    def venue(cls) -> "IpLimits":
        """The venue's own figures (sheet 9.1 and 9.5)."""
        return cls(
            weight_per_minute=1200,
            connections=10,
            new_connections_per_minute=30,
            subscriptions=1000,
            tracked_users=15,
            messages_per_minute=2000,
            posts_in_flight=100,
        )

    @classmethod
    def relaxed(cls) -> "IpLimits":
        """For many clients on one loopback address: only limits whose breach is a client's own mistake."""
        return cls(
            weight_per_minute=None,
            connections=None,
            new_connections_per_minute=None,
            subscriptions=1000,
            tracked_users=15,
            messages_per_minute=None,
            posts_in_flight=100,
        )


def entries_in(action: Mapping[str, Any]) -> int:
    """How many orders, cancels or modifies an action carries; other actions count as one."""
    return next((len(action[key]) for key in _ENTRY_LISTS if isinstance(action.get(key), list)), 1)


def exchange_weight(entries: int) -> int:
    """The weight of one action with so many entries (sheet 9.1)."""
    return 1 + entries // 40


def info_weight(kind: str) -> int:
    """The weight of a read before its answer is known (sheet 9.1)."""
    if kind in _LIGHT:
        return 2
    return 60 if kind == "userRole" else 20


def rows_weight(kind: str, answer: Any) -> int:
    """What a list read costs on top, by the rows it returned (sheet 9.1)."""
    per_weight = _ROWS_PER_WEIGHT.get(kind)
    return len(answer) // per_weight if per_weight and isinstance(answer, list) else 0


class Meter:
    """Counts what each key (an IP address) used within the last minute."""

    WINDOW_MS = 60_000

    def __init__(self, per_minute: int | None) -> None:
        self._per_minute = per_minute
        self._used: Counter[str] = Counter()
        self._window_of: dict[str, int] = {}

    def charge(self, key: str, amount: int, *, now_ms: int) -> bool:
        """Add `amount` for `key`; False (and nothing added) if the minute's allowance would be exceeded."""
        if self._per_minute is None:
            return True
        self._roll(key, now_ms)
        if self._used[key] + amount > self._per_minute:
            return False
        self._used[key] += amount
        return True

    def add(self, key: str, amount: int, *, now_ms: int) -> None:
        """Add `amount` for `key` that is owed already, whether or not it exceeds the allowance."""
        if self._per_minute is not None:
            self._roll(key, now_ms)
            self._used[key] += amount

    def used(self, key: str, *, now_ms: int) -> int:
        """What `key` has used in the minute that `now_ms` belongs to."""
        self._roll(key, now_ms)
        return self._used[key]

    def _roll(self, key: str, now_ms: int) -> None:
        started = self._window_of.get(key)
        if started is None or now_ms - started >= self.WINDOW_MS:
            self._window_of[key] = now_ms
            self._used[key] = 0
