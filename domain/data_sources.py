"""Where venue messages come from: the two kinds of stream a connector listens to.

A data source owns its connection and keeps it up; it hands over raw messages and says when the connection
came and went. It never interprets a message: that is the core's work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from domain.inputs import Input

__all__ = ["OrderBookTrackerDataSource", "StreamDataSource", "UserStreamTrackerDataSource"]


class StreamDataSource(Protocol):
    """One stream of venue messages.

    What `deliver` receives, always in the thread of the event loop: `StreamConnected` once every message
    from then on will arrive, `StreamFrame` per message (some may come before `StreamConnected`; they count
    too), `StreamLost` when messages may be missing from here on, once per connection, and once when there
    was none yet and the first attempt fails. Connecting again is the source's own work.
    """

    @property
    def name(self) -> str:
        """The `stream` member of everything delivered."""

    @property
    def is_connected(self) -> bool:
        """Whether the last thing said about the connection was `StreamConnected`."""

    @property
    def last_data_ns(self) -> int | None:
        """When the last message with content arrived (our clock, UTC); None before the first one. A stream
        can be connected and say nothing: this tells."""

    def start(self, subscriptions: Sequence[dict[str, Any]], deliver: Callable[[Input], None]) -> None:
        """Connect and stay connected. Returns at once. Called again with other subscriptions, it reconnects
        with those. Must be called in the event loop."""

    def reconnect(self, reason: str) -> None:
        """Drop the connection and make a new one. Nothing happens while there is none to drop."""

    async def stop(self) -> None:  # deterministic: only the shell implements and awaits it
        """Disconnect for good. Nothing is delivered any more, `StreamLost` neither."""


class UserStreamTrackerDataSource(StreamDataSource, Protocol):
    """The account's own events: orders, fills, funding. Silence is normal when nothing happens."""


class OrderBookTrackerDataSource(StreamDataSource, Protocol):
    """Public market data: prices and books. Silence means that something is broken."""
