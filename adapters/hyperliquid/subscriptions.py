"""Which subscription an acknowledgement, a refusal or a data frame belongs to (sheet 7.1, 7.2).

The venue echoes subscriptions in a normal form of its own and refuses them in a text, and data may come
before either. So subscriptions are told apart by what they are about and never by equality of objects.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

__all__ = ["Frame", "PendingSubscriptions", "SubscriptionKey", "decode_frame", "subscription_type"]

_ALREADY_SUBSCRIBED = "Already subscribed"

# Channels whose name is not the type that was subscribed.
_TYPE_OF_CHANNEL = {"user": "userEvents", "activeSpotAssetCtx": "activeAssetCtx"}


def subscription_type(channel: str) -> str:
    """The type whose messages arrive on a channel."""
    return _TYPE_OF_CHANNEL.get(channel, channel)


class Frame(msgspec.Struct, frozen=True, gc=False):
    """The envelope of a frame; `data` stays raw."""

    channel: str
    data: msgspec.Raw = msgspec.Raw(b"null")


decode_frame = msgspec.json.Decoder(Frame).decode
"""Raises msgspec.ValidationError for JSON that is no frame, any other ValueError for what is not JSON."""


class SubscriptionKey(NamedTuple):
    """What a subscription is about. Addresses are lowercase; an absent dex is the venue's own."""

    type: str
    coin: str | None
    user: str | None
    interval: str | None
    dex: str

    @classmethod
    def of(cls, subscription: Mapping[str, Any]) -> "SubscriptionKey":
        user = _text(subscription, "user")
        return cls(
            type=_text(subscription, "type") or "",
            coin=_text(subscription, "coin"),
            user=user.lower() if user is not None else None,
            interval=_text(subscription, "interval"),
            dex=_text(subscription, "dex") or "",
        )


def _text(subscription: Mapping[str, Any], member: str) -> str | None:
    """A member that is text; an echo may hold anything."""
    value = subscription.get(member)
    return value if isinstance(value, str) else None


class _About(msgspec.Struct, frozen=True):
    """What a data frame says about its subject; kinds with other members simply say less."""

    coin: str | None = None
    user: str | None = None


class _Acknowledgement(msgspec.Struct, frozen=True):
    method: str
    subscription: dict[str, Any]


class PendingSubscriptions:
    """The subscriptions of one connection that have not been settled: acknowledged, refused, or proven by
    data."""

    __slots__ = ("_pending", "refused")

    def __init__(self, subscriptions: Iterable[Mapping[str, Any]]) -> None:
        self._pending = dict.fromkeys(SubscriptionKey.of(subscription) for subscription in subscriptions)
        self.refused: list[SubscriptionKey] = []

    def __bool__(self) -> bool:
        return bool(self._pending)

    def __str__(self) -> str:
        return ", ".join(f"{key.type} {key.coin or key.user or ''}".strip() for key in self._pending)

    def settle(self, frame: Frame) -> None:
        """Takes note of any frame of the connection."""
        if not self._pending:
            return
        if frame.channel == "subscriptionResponse":
            self._acknowledged(frame.data)
        elif frame.channel == "error":
            self._refused(frame.data)
        else:
            self._proven(frame)

    def _acknowledged(self, data: msgspec.Raw) -> None:
        try:
            answer = msgspec.json.decode(data, type=_Acknowledgement)
        except ValueError:
            return
        if answer.method == "subscribe":
            self._pending.pop(SubscriptionKey.of(answer.subscription), None)

    def _refused(self, data: msgspec.Raw) -> None:
        """An error text quotes the subscription it is about; what it does not quote stays pending."""
        try:
            text = msgspec.json.decode(data, type=str)
            quoted = msgspec.json.decode(text[text.index("{") : text.rindex("}") + 1], type=dict[str, Any])
        except ValueError:
            return
        # Some texts quote the whole request instead of the subscription in it.
        inner = quoted.get("subscription")
        key = SubscriptionKey.of(inner if isinstance(inner, dict) else quoted)
        if key in self._pending:
            del self._pending[key]
            if not text.startswith(_ALREADY_SUBSCRIBED):
                self.refused.append(key)

    def _proven(self, frame: Frame) -> None:
        kind = subscription_type(frame.channel)
        about = _about(frame.data)
        if about is None:
            return
        for key in [key for key in self._pending if key.type == kind]:
            # What a message does not say cannot contradict: order updates name neither coin nor user.
            if about.coin in (None, key.coin) and about.user in (None, key.user):
                del self._pending[key]


def _about(data: msgspec.Raw) -> _About | None:
    """The subject of an object or of the first object of a list; None when it cannot be read."""
    try:
        if bytes(memoryview(data)[:1]) == b"[":
            entries = msgspec.json.decode(data, type=list[_About])
            about = entries[0] if entries else _About()
        else:
            about = msgspec.json.decode(data, type=_About)
    except ValueError:
        return None
    return _About(about.coin, about.user.lower() if about.user is not None else None)
