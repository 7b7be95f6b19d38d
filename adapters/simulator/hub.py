"""Who watches what: carries stream messages to the subscriptions of their topic, waiting for nobody."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from adapters.simulator.engine import StreamMessage
from adapters.simulator.subscriptions import Topic, topic_of

Variant = Callable[[Mapping[str, Any], StreamMessage], Any]
"""What a subscription with options of its own gets instead of a message's data; None for nothing."""


class Watcher(Protocol):
    """A connection, as the hub sees it. Neither call may block."""

    def push(self, text: str) -> None:
        """Queue one frame; a watcher whose queue is full is dropped rather than waited for."""

    def hang_up(self) -> None:
        """End the connection without a close handshake once the frames queued so far are sent."""


def frame(channel: str, data: Any) -> str:
    """One frame as it goes over the wire."""
    return msgspec.json.encode({"channel": channel, "data": data}).decode()


class Hub:
    """Subscriptions by topic. `variant` serves those that ask for their own form of a message."""

    def __init__(self, *, variant: Variant) -> None:
        self._variant = variant
        self._topics: dict[Topic, dict[Watcher, list[dict[str, Any]]]] = defaultdict(dict)

    def add(self, watcher: Watcher, subscription: dict[str, Any]) -> None:
        """Let `watcher` receive what a normalised subscription asks for, from now on."""
        self._topics[topic_of(subscription)].setdefault(watcher, []).append(subscription)

    def remove(self, watcher: Watcher, subscription: dict[str, Any]) -> None:
        """End one subscription of `watcher`."""
        topic = topic_of(subscription)
        watchers = self._topics[topic]
        left = [other for other in watchers.get(watcher, ()) if other != subscription]
        if left:
            watchers[watcher] = left
        else:
            watchers.pop(watcher, None)
        if not watchers:
            del self._topics[topic]

    def watching(self, user: str | None) -> list[Watcher]:
        """Everybody with a subscription of this user, or with any at all."""
        found: dict[Watcher, None] = {}
        for topic, watchers in self._topics.items():
            if user is None or topic.user == user:
                found.update(dict.fromkeys(watchers))
        return list(found)

    def is_watched(self, message: StreamMessage) -> bool:
        """Whether the message would reach anybody."""
        return _topic(message) in self._topics

    def publish(self, message: StreamMessage) -> None:
        """Send one message to everybody who receives its topic, encoded once per form."""
        watchers = self._topics.get(_topic(message))
        if not watchers:
            return
        plain: str | None = None
        for watcher, subscription in _each(watchers):
            if _has_own_form(subscription):
                own = self._variant(subscription, message)
                if own is not None:
                    watcher.push(frame(message.channel, own))
                continue
            plain = plain or frame(message.channel, message.data)
            watcher.push(plain)

    def publish_text(self, message: StreamMessage, text: str) -> None:
        """Send a frame of any text to everybody who would receive `message`."""
        for watcher in list(self._topics.get(_topic(message), ())):
            watcher.push(text)


def _topic(message: StreamMessage) -> Topic:
    return Topic(message.kind, message.user, message.coin, message.dex)


def _each(
    watchers: Mapping[Watcher, list[dict[str, Any]]],
) -> Iterable[tuple[Watcher, dict[str, Any]]]:
    return [(watcher, subscription) for watcher, several in watchers.items() for subscription in several]


def _has_own_form(subscription: Mapping[str, Any]) -> bool:
    return bool(
        subscription.get("aggregateByTime")
        or subscription.get("nSigFigs") is not None
        or subscription.get("fast")
        or "interval" in subscription
    )
