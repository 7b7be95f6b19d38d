"""Replay protection: the nonces a signer key has used (protocol sheet 3.8)."""

import bisect

KEPT_PER_SIGNER = 100
"""How many of a signer's highest nonces are remembered."""

OLDEST_MS = 2 * 24 * 3600 * 1000
"""A nonce must be younger than block time minus this."""

NEWEST_MS = 24 * 3600 * 1000
"""A nonce must be older than block time plus this."""


class NonceRefused(Exception):
    """The nonce was used before, or is outside what the venue still accepts. The text is the venue's."""


class NonceBook:
    """The used nonces of every signer key.

    Masters and agents are separate signers; all accounts one agent drives share the agent's set.
    `strict_floor` applies the rule "must exceed the smallest kept nonce" from the second action of a
    signer on. Off, it applies once a hundred are kept, which is when an older one may have been forgotten;
    before that no used nonce can go unnoticed, and out-of-order arrival is harmless.
    """

    def __init__(self, *, strict_floor: bool = False) -> None:
        self._strict_floor = strict_floor
        self._kept: dict[str, list[int]] = {}

    def use(self, signer: str, nonce: int, *, now_ms: int) -> None:
        """Record `nonce` (ms) as used by `signer` at block time `now_ms`; raises NonceRefused."""
        kept = self._kept.setdefault(signer, [])
        at = bisect.bisect_left(kept, nonce)
        if at < len(kept) and kept[at] == nonce:
            raise NonceRefused(f"Invalid nonce: duplicate nonce {nonce}")
        floor_applies = len(kept) >= KEPT_PER_SIGNER or (self._strict_floor and kept)
        if floor_applies and nonce < kept[0]:
            raise NonceRefused(f"Invalid nonce: nonce too low {nonce} < {kept[0]}")
        if nonce <= now_ms - OLDEST_MS:
            raise NonceRefused(f"Invalid nonce: nonce too low {nonce} < {now_ms - OLDEST_MS}")
        if nonce >= now_ms + NEWEST_MS:
            raise NonceRefused(f"Invalid nonce: nonce too high {nonce} > {now_ms + NEWEST_MS}")
        kept.insert(at, nonce)
        if len(kept) > KEPT_PER_SIGNER:
            del kept[0]

    def forget(self, signer: str) -> None:
        """Drop a pruned agent's history, which is why its address must never be used again (sheet 3.5)."""
        self._kept.pop(signer, None)

    def kept(self, signer: str) -> tuple[int, ...]:
        """The nonces remembered for `signer`, lowest first."""
        return tuple(self._kept.get(signer, ()))
