"""Counting what the venue permits: weight per minute and IP (sheet 9.1), actions per address (sheet 9.2).

The venue tells neither in its answers, so both are counted here before anything is sent. Time is an
argument, in nanoseconds of a clock that does not step back; a request that has to wait is told how long and
is not counted.

The weight is counted over a sliding window, not with a token bucket: a bucket that is full lets almost twice
the limit through in one minute, while a window of the last 60 s holds for every way the venue may cut its
minutes.
"""

from collections import deque
from enum import StrEnum

__all__ = [
    "ACTION_WEIGHT_ENTRIES",
    "AddressBudget",
    "LimitError",
    "RequestKind",
    "RequestLimits",
    "WeightWindow",
    "action_weight",
]

WEIGHT_PER_MINUTE = 1200
"""Weight one IP address may use per minute, reads and actions together."""

ACTION_WEIGHT_ENTRIES = 40
"""A batch weighs one more for each this many entries."""

ADDRESS_BUDGET_START = 10_000
"""Actions an address may take before it has traded anything; each USDC traded adds one."""

CANCEL_BUDGET_EXTRA = 100_000

EXHAUSTED_INTERVAL_NS = 10_000_000_000
"""With its budget used up, an address may still take one action in this time."""

STALE_ACTION_COST = 5
"""How many times an action counts that came after its own expiry."""

_ORDERS_PART = 6
_SECOND_NS = 1_000_000_000
_WINDOW_NS = 60 * _SECOND_NS


class LimitError(ValueError):
    """A limit is configured, or a request counted, in a way that can never be admitted."""


class RequestKind(StrEnum):
    """What a request is for. When capacity is short cancels come first, then orders, then reads; last those
    reads that come in thousands, such as the status of each order that a list does not show."""

    CANCEL = "cancel"
    ORDER = "order"
    INFO = "info"
    PATIENT_INFO = "patient_info"


def action_weight(entries: int) -> int:
    """The weight of a `/exchange` action with this many orders, cancels or modifies (sheet 9.1)."""
    return 1 + entries // ACTION_WEIGHT_ENTRIES


class WeightWindow:
    """The weight that one IP address has used in the last 60 seconds.

    `share` is the part of the venue's limit that this process may use, for several processes on one address.
    `cancel_reserve` is the weight that only cancels may use. With `orders_first` a sixth is kept from reads;
    patient reads leave half of theirs to the others.
    """

    __slots__ = ("_limits", "_used", "_weights", "cancel_limit", "limit", "read_limit")

    def __init__(
        self,
        *,
        weight_per_minute: int = WEIGHT_PER_MINUTE,
        share: float = 1.0,  # deterministic: an option of the session; only its product's floor is used
        cancel_reserve: int = 100,
        orders_first: bool = False,
    ) -> None:
        """Raises LimitError when the reserves leave nothing for orders and reads."""
        if not 0 < share <= 1:
            raise LimitError(f"the share of the weight limit must be above 0 and at most 1, got {share}")
        self.cancel_limit = int(weight_per_minute * share)
        self.limit = self.cancel_limit - cancel_reserve
        self.read_limit = self.limit - (self.cancel_limit // _ORDERS_PART if orders_first else 0)
        if cancel_reserve < 0 or self.read_limit < 1:
            raise LimitError(
                f"a weight of {self.cancel_limit} per minute with {cancel_reserve} reserved for cancels"
                " leaves nothing for orders and reads"
            )
        self._limits = {
            RequestKind.CANCEL: self.cancel_limit,
            RequestKind.ORDER: self.limit,
            RequestKind.INFO: self.read_limit,
            RequestKind.PATIENT_INFO: (self.read_limit + 1) // 2,
        }
        self._weights: deque[tuple[int, int]] = deque()
        self._used = 0

    def used(self, now_ns: int) -> int:
        """The weight used in the 60 seconds before `now_ns`."""
        while self._weights and self._weights[0][0] <= now_ns - _WINDOW_NS:
            self._used -= self._weights.popleft()[1]
        return self._used

    def wait_ns(self, kind: RequestKind, weight: int, now_ns: int) -> int:
        """How long a request of this weight has to wait, 0 if it may go now. Counts nothing.

        Raises LimitError when the weight is above the whole limit of its kind.
        """
        limit = self._limits[kind]
        if weight > limit:
            raise LimitError(f"a request of weight {weight} is above the limit of {limit} per minute")
        excess = self.used(now_ns) + weight - limit
        if excess <= 0:
            return 0
        for at_ns, spent in self._weights:
            excess -= spent
            if excess <= 0:
                return at_ns + _WINDOW_NS - now_ns
        raise AssertionError("the window holds all weight that is used")

    def charge(self, weight: int, now_ns: int) -> None:
        """Counts weight that is spent: a request that goes out, or the rows its answer had.

        May go above the limit; whatever is asked for next then waits longer.
        """
        if weight < 0:
            raise LimitError(f"a weight is not negative, got {weight}")
        if weight:
            # Kept in order even if the clock is read by several tasks and their calls come in out of order.
            latest = self._weights[-1][0] if self._weights else now_ns
            self._weights.append((max(now_ns, latest), weight))
            self._used += weight

    def admit(self, kind: RequestKind, weight: int, now_ns: int) -> int:
        """0 and counted when the request may go now; otherwise the nanoseconds to wait, and not counted."""
        wait = self.wait_ns(kind, weight, now_ns)
        if wait == 0:
            self.charge(weight, now_ns)
        return wait


class AddressBudget:
    """Actions that one account address has left, counted entry by entry.

    Cancels may use more than orders: the smaller of twice the budget and the budget plus 100,000. Used up,
    one action in ten seconds still goes through.
    """

    __slots__ = ("_last_action_ns", "cap", "used")

    def __init__(self, *, used: int = 0, cap: int = ADDRESS_BUDGET_START) -> None:
        self.used = used
        self.cap = cap
        self._last_action_ns: int | None = None

    @property
    def remaining(self) -> int:
        """Entries that orders may still use; never negative."""
        return max(0, self.cap - self.used)

    def synchronize(self, *, used: int, cap: int) -> None:
        """Takes over the venue's own count (`userRateLimit`), which other processes and traded volume are
        part of."""
        self.used = used
        self.cap = cap

    def wait_ns(self, kind: RequestKind, entries: int, now_ns: int) -> int:
        """How long an action has to wait, 0 if it may go now. Counts nothing."""
        limit = self.cap
        if kind is RequestKind.CANCEL:
            limit = min(self.cap + CANCEL_BUDGET_EXTRA, 2 * self.cap)
        if self.used + entries <= limit or self._last_action_ns is None:
            return 0
        return max(0, self._last_action_ns + EXHAUSTED_INTERVAL_NS - now_ns)

    def charge(self, entries: int, now_ns: int) -> None:
        """Counts an action that goes out, whatever its outcome will be."""
        self.used += entries
        self._last_action_ns = now_ns

    def charge_stale(self, entries: int) -> None:
        """Counts the rest of an action that was refused as expired: five times its entries in all."""
        self.used += (STALE_ACTION_COST - 1) * entries


class RequestLimits:
    """Both limits together: an action is counted against both or against neither."""

    __slots__ = ("address", "window")

    def __init__(self, window: WeightWindow | None = None, address: AddressBudget | None = None) -> None:
        self.window = window if window is not None else WeightWindow()
        self.address = address if address is not None else AddressBudget()

    def admit_action(self, kind: RequestKind, entries: int, now_ns: int) -> int:
        """0 and counted when an action of this many entries may go now; otherwise the nanoseconds to wait."""
        if entries < 1:
            raise LimitError(f"an action has at least one entry, got {entries}")
        weight = action_weight(entries)
        wait = max(self.window.wait_ns(kind, weight, now_ns), self.address.wait_ns(kind, entries, now_ns))
        if wait == 0:
            self.window.charge(weight, now_ns)
            self.address.charge(entries, now_ns)
        return wait

    def admit_info(self, weight: int, now_ns: int, *, patient: bool = False) -> int:
        """0 and counted when a read of this weight may go now; otherwise the nanoseconds to wait."""
        kind = RequestKind.PATIENT_INFO if patient else RequestKind.INFO
        return self.window.admit(kind, weight, now_ns)
