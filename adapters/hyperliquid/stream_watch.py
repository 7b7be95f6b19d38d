"""Whether the user stream can still be heard. On a quiet account it says nothing for hours, so its silence
proves nothing, nor do its pongs; but news that only a question brought, long after they happened, do.
"""

from __future__ import annotations

from adapters.hyperliquid.context import Context
from domain.effects import ReconnectStream

__all__ = ["StreamWatch"]

LATE_MS = 10_000
"""So long a message of the stream may take; what a question tells before that proves nothing."""


class StreamWatch:
    """Asks for a new connection when the stream `name` has missed something and has been silent since.

    Times are the venue's, in ms.
    """

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self._name = name
        self._heard_ms: int | None = None

    def connected(self) -> None:
        """From here on it should tell everything."""
        self._heard_ms = self._context.venue_now_ms

    def lost(self) -> None:
        """It tells nothing now, and everybody knows."""
        self._heard_ms = None

    def heard(self) -> None:
        """It said something about the account."""
        if self._heard_ms is not None:
            self._heard_ms = self._context.venue_now_ms

    def told_by_asking(self, happened_ms: int | None) -> None:
        """A question brought news of what happened then."""
        heard_ms = self._heard_ms
        if heard_ms is None or happened_ms is None or happened_ms < heard_ms:
            return
        late_ms = self._context.venue_now_ms - happened_ms
        if late_ms <= LATE_MS:
            return
        self._heard_ms = None
        reason = f"silent: what happened {late_ms // 1_000} s ago was learned by asking alone"
        self._context.alert(
            "stream_deaf", f"The {self._name} stream is connected and tells nothing; {reason}."
        )
        self._context.effect(ReconnectStream(stream=self._name, reason=reason))
