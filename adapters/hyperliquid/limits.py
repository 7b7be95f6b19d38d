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
    "TOO_MANY_REQUESTS",
    "AddressBudget",
    "Charge",
    "LimitError",
    "RequestKind",
    "RequestLimits",
    "WeightWindow",
    "action_weight",
]

WEIGHT_PER_MINUTE = 1200
"""Weight one IP address may use per minute, reads and actions together."""

TOO_MANY_REQUESTS = 429
"""The HTTP status of a request above it (sheet 4.4)."""

ACTION_WEIGHT_ENTRIES = 40
"""A batch weighs one more for each this many entries."""

ADDRESS_BUDGET_START = 10_000
"""Actions an address may take before it has traded anything; each USDC traded adds one."""

CANCEL_BUDGET_EXTRA = 100_000

EXHAUSTED_INTERVAL_NS = 10_000_000_000
"""With its budget used up, an address may still take one action in this time."""

STALE_ACTION_COST = 5
"""How many times an action counts that came after its own expiry."""

_RESOLUTION_PART = 20
_READS_PART = 2
_ORDERS_PART = 4
_SLICE_MAX = 200
"""A comparison of the books with the venue fits into it, the longest answer with fills included: 184."""

_SECOND_NS = 1_000_000_000
_WINDOW_NS = 60 * _SECOND_NS
_FIRST_HOLD_NS = 2 * _SECOND_NS


class LimitError(ValueError):
    """A limit is configured, or a request counted, in a way that can never be admitted."""


class RequestKind(StrEnum):
    """What a request is for, in the order in which capacity is given out when it is short.

    Cancels go ahead of all; then questions about orders whose fate is open; then orders (and amends, and
    actions of the account); then the other reads; last those reads that come in thousands, such as the status
    of each order that a list does not show. What comes first may not take all: see `WeightWindow`.
    """

    CANCEL = "cancel"
    RESOLUTION = "resolution"
    ORDER = "order"
    INFO = "info"
    PATIENT_INFO = "patient_info"


_COUNTED_AS = {RequestKind.PATIENT_INFO: RequestKind.INFO}
_NEVER_HELD = frozenset({RequestKind.CANCEL, RequestKind.RESOLUTION})
_ALL = frozenset(RequestKind)
_READS = frozenset({RequestKind.INFO})
_ALL_BUT_READS = _ALL - _READS


def action_weight(entries: int) -> int:
    """The weight of a `/exchange` action with this many orders, cancels or modifies (sheet 9.1)."""
    return 1 + entries // ACTION_WEIGHT_ENTRIES


class Charge:
    """Weight that was counted when a request left, and is still part of the last 60 seconds."""

    __slots__ = ("at_ns", "kind", "weight")

    def __init__(self, kind: RequestKind, weight: int, at_ns: int) -> None:
        self.kind = kind
        self.weight = weight
        self.at_ns = at_ns


class WeightWindow:
    """The weight that one IP address has used in the last 60 seconds.

    `share` is the part of the venue's limit that this process may use, for several processes on one address.
    `cancel_reserve` is the weight that only cancels may use. With `slices` no kind of request can take all of
    the rest: a twentieth of the limit is kept for questions about orders whose fate is open, and of what is
    left up to 200 for reads (`reads_kept`, at most half) and as much for orders (at most a quarter). What
    cancels use is taken from orders, not from what is kept for reads. Patient reads leave half to the
    others, but may always use half of what is kept for reads.
    """

    __slots__ = (
        "_held_until_ns",
        "_hold_ns",
        "_limits",
        "_used",
        "_used_by",
        "_weights",
        "cancel_limit",
        "has_slices",
        "limit",
        "read_limit",
        "reads_kept",
    )

    def __init__(
        self,
        *,
        weight_per_minute: int = WEIGHT_PER_MINUTE,
        share: float = 1.0,  # deterministic: an option of the session; only its product's floor is used
        cancel_reserve: int = 100,
        slices: bool = True,
    ) -> None:
        """Raises LimitError when the reserves leave nothing for orders and reads."""
        if not 0 < share <= 1:
            raise LimitError(f"the share of the weight limit must be above 0 and at most 1, got {share}")
        self.cancel_limit = int(weight_per_minute * share)
        resolution_limit = self.cancel_limit - cancel_reserve
        self.has_slices = slices
        self.limit = resolution_limit - (self.cancel_limit // _RESOLUTION_PART if slices else 0)
        if cancel_reserve < 0 or self.limit < 1:
            raise LimitError(
                f"a weight of {self.cancel_limit} per minute with {cancel_reserve} reserved for cancels"
                " leaves nothing for orders and reads"
            )
        self.reads_kept = min(_SLICE_MAX, self.limit // _READS_PART) if slices else 0
        self.read_limit = self.limit - (min(_SLICE_MAX, self.limit // _ORDERS_PART) if slices else 0)
        self._limits = {
            RequestKind.CANCEL: self.cancel_limit,
            RequestKind.RESOLUTION: resolution_limit,
            RequestKind.ORDER: self.limit,
            RequestKind.INFO: self.limit,
            RequestKind.PATIENT_INFO: (resolution_limit + 1) // 2,
        }
        self._weights: deque[Charge] = deque()
        self._used = 0
        self._used_by = dict.fromkeys(RequestKind, 0)
        self._held_until_ns = 0
        self._hold_ns = 0

    def used(self, now_ns: int) -> int:
        """The weight used in the 60 seconds before `now_ns`."""
        while self._weights and self._weights[0].at_ns <= now_ns - _WINDOW_NS:
            charge = self._weights.popleft()
            self.give_back(charge, charge.weight)
        return self._used

    def most(self, kind: RequestKind) -> int:
        """The heaviest request of this kind that can ever be admitted."""
        if kind is RequestKind.ORDER:
            return self.limit - self.reads_kept
        return self.read_limit if kind is RequestKind.INFO else self._limits[kind]

    def in_advance(self, weight: int, weight_max: int) -> int:
        """What a read of this weight counts until its answer tells how many rows it has: its longest answer,
        but no more than what is kept for reads, or it would have to wait until nobody trades any more."""
        return max(weight, min(weight_max, self.reads_kept))

    def wait_ns(self, kind: RequestKind, weight: int, now_ns: int) -> int:
        """How long a request of this weight has to wait, 0 if it may go now. Counts nothing.

        Raises LimitError when the weight is above the whole limit of its kind.
        """
        if weight > self.most(kind):
            raise LimitError(
                f"a request of weight {weight} is above the limit of {self.most(kind)} per minute"
            )
        held_ns = 0 if kind in _NEVER_HELD else max(0, self._held_until_ns - now_ns)
        used = self.used(now_ns)
        by_reads = self._used_by[RequestKind.INFO]
        wait_ns = self._until_free_ns(used + weight - self._limits[kind], _ALL, now_ns)
        if kind is RequestKind.ORDER:
            excess = used - by_reads + weight - self.most(kind)
            wait_ns = max(wait_ns, self._until_free_ns(excess, _ALL_BUT_READS, now_ns))
        elif kind is RequestKind.INFO:
            wait_ns = max(wait_ns, self._until_free_ns(by_reads + weight - self.most(kind), _READS, now_ns))
        elif kind is RequestKind.PATIENT_INFO and weight <= self.reads_kept // 2:
            excess = by_reads + weight - self.reads_kept // 2
            among_reads_ns = max(
                self._until_free_ns(excess, _READS, now_ns),
                self._until_free_ns(used + weight - self.limit, _ALL, now_ns),
            )
            wait_ns = min(wait_ns, among_reads_ns)
        return max(held_ns, wait_ns)

    def _until_free_ns(self, excess: int, kinds: frozenset[RequestKind], now_ns: int) -> int:
        """When so much weight (of these kinds) has left the window."""
        if excess <= 0:
            return 0
        for charge in self._weights:
            if charge.kind in kinds:
                excess -= charge.weight
                if excess <= 0:
                    return charge.at_ns + _WINDOW_NS - now_ns
        raise AssertionError("the window holds all weight that is used")

    def charge(self, kind: RequestKind, weight: int, now_ns: int) -> Charge:
        """Counts weight that is spent: a request that goes out, or the rows its answer had.

        May go above the limit; whatever is asked for next then waits longer.
        """
        if weight < 0:
            raise LimitError(f"a weight is not negative, got {weight}")
        # Kept in order even if the clock is read by several tasks and their calls come in out of order.
        latest_ns = self._weights[-1].at_ns if self._weights else now_ns
        charge = Charge(_COUNTED_AS.get(kind, kind), weight, max(now_ns, latest_ns))
        if weight:
            self._weights.append(charge)
            self._used += weight
            self._used_by[charge.kind] += weight
        return charge

    def give_back(self, charge: Charge, weight: int) -> None:
        """What was counted of a request in advance and was not used after all. Of weight that has left the
        window nothing is left to give back."""
        weight = min(weight, charge.weight)
        charge.weight -= weight
        self._used -= weight
        self._used_by[charge.kind] -= weight

    def settle(self, charge: Charge, weight: int, row_weight: int, now_ns: int) -> None:
        """A read is answered: the venue counted `weight` when it came, and the rows of the answer now. What
        was counted for more of them in advance is free again."""
        self.give_back(charge, max(0, charge.weight - weight))
        self.charge(charge.kind, row_weight, now_ns)

    # -- HTTP 429 ------------------------------------------------------------------------------------------

    def refused(self, now_ns: int) -> int:
        """The venue says that the limit is exceeded, whatever was counted here: others use the address too.
        Orders and reads are held, each time in a row twice as long, at most a minute; not held are cancels,
        and the few questions that find out what became of the refused.

        Returns the nanoseconds of a hold that begins now; 0 within one, or with `slices` off.
        """
        if not self.has_slices or now_ns < self._held_until_ns:
            return 0
        self._hold_ns = min(max(_FIRST_HOLD_NS, 2 * self._hold_ns), _WINDOW_NS)
        self._held_until_ns = now_ns + self._hold_ns
        return self._hold_ns

    def accepted(self, now_ns: int) -> None:
        """The venue has answered otherwise than with 429: after a hold the next one is short again."""
        if now_ns >= self._held_until_ns:
            self._hold_ns = 0


class AddressBudget:
    """Actions that one account address has left, counted entry by entry.

    Cancels may use more than orders: the smaller of twice the budget and the budget plus 100,000. Used up,
    one action in ten seconds still goes through. A cancel that its own budget admits is not that one: whoever
    cancels often would never place an order again.
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
        if self.used + entries <= self._limit(kind) or self._last_action_ns is None:
            return 0
        return max(0, self._last_action_ns + EXHAUSTED_INTERVAL_NS - now_ns)

    def _limit(self, kind: RequestKind) -> int:
        if kind is RequestKind.CANCEL:
            return min(self.cap + CANCEL_BUDGET_EXTRA, 2 * self.cap)
        return self.cap

    def is_short_of(self, entries: int) -> bool:
        """Whether so many orders may have to wait until the last action is `EXHAUSTED_INTERVAL_NS` ago."""
        return self.used + entries > self.cap

    def charge(self, kind: RequestKind, entries: int, now_ns: int) -> None:
        """Counts an action that goes out, whatever its outcome will be."""
        self.used += entries
        if kind is not RequestKind.CANCEL or self.used > self._limit(kind):
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
            self.window.charge(kind, weight, now_ns)
            self.address.charge(kind, entries, now_ns)
        return wait
