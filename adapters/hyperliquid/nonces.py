"""Nonces: one strictly rising counter per signer key, near the clock (sheet 3.8).

The venue remembers the 100 highest nonces of a signer and takes a new one only inside a window around its
block time. A nonce that repeats would let one of two orders vanish as a duplicate; a nonce stamped far ahead
would raise the floor for all later ones, correctly stamped as they may be.
"""

AHEAD_MS_MAX = 86_400_000 - 60_000
"""Farthest a nonce may run ahead of our clock: the venue's day, less a minute for clocks that disagree."""

UINT64_MAX = 2**64 - 1

_UINT64_MAX = 2**64 - 1


class NonceError(ValueError):
    """No nonce can be given that the venue would take; nothing was used up."""


class NonceSource:
    """Gives each nonce of one signer key once, also after a restart and while the clock steps back.

    Not for use from several threads, nor for one key in several processes: their counters would collide.
    """

    __slots__ = ("_ahead_ms_max", "_last")

    def __init__(self, last: int = 0, *, ahead_ms_max: int = AHEAD_MS_MAX) -> None:
        """`last` is the highest nonce ever given for this key, as persisted; 0 for a new key."""
        _require_nonce(last)
        self._last = last
        self._ahead_ms_max = ahead_ms_max

    @property
    def last(self) -> int:
        """The highest nonce given or observed: what a restart has to restore."""
        return self._last

    def next(self, now_ms: int) -> int:
        """The next nonce: the time in ms, or one more than the last one where that is higher.

        Raises NonceError when it would lie too far ahead of `now_ms`: the clock has stepped back by a day, or
        a nonce from the far future was used with this key. Nothing is used up then.
        """
        _require_nonce(now_ms)
        nonce = max(self._last + 1, now_ms)
        ahead_ms = nonce - now_ms
        if ahead_ms > self._ahead_ms_max:
            raise NonceError(
                f"the next nonce {nonce} is {ahead_ms} ms ahead of the clock ({now_ms}); the venue takes at"
                " most a day. Check the clock; if a nonce from the future was used, approve a new agent key"
            )
        self._last = nonce
        return nonce

    def observe(self, nonce: int) -> None:
        """Learns of a nonce used with this key elsewhere, such as in the ledger or in a venue's answer."""
        _require_nonce(nonce)
        self._last = max(self._last, nonce)


def _require_nonce(value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _UINT64_MAX:
        raise NonceError(f"a nonce or time is a whole number of milliseconds, got {value!r}")
