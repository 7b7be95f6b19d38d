"""Which WebSocket subscriptions exist, their normalised form, and what each receives (sheet 7.1, 7.2)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from adapters.simulator.canonical import Rebuild, address, flag, one_of, text, u32
from adapters.simulator.engine import Unprocessable

_INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d", "3d", "1w", "1M")


class _Shape(NamedTuple):
    required: Mapping[str, Rebuild]
    defaulted: Mapping[str, tuple[Rebuild, Any]]


_COIN: Mapping[str, Rebuild] = {"coin": text}
_USER: Mapping[str, Rebuild] = {"user": address}
_DEX: Mapping[str, tuple[Rebuild, Any]] = {"dex": (text, "")}

_SHAPES: Mapping[str, _Shape] = {
    "allMids": _Shape({}, _DEX),
    "l2Book": _Shape(_COIN, {"nSigFigs": (u32, None), "mantissa": (u32, None), "fast": (flag, False)}),
    "trades": _Shape(_COIN, {}),
    "bbo": _Shape(_COIN, {}),
    "candle": _Shape({**_COIN, "interval": one_of(*_INTERVALS)}, {}),
    "activeAssetCtx": _Shape(_COIN, {}),
    "orderUpdates": _Shape(_USER, {}),
    "userEvents": _Shape(_USER, {}),
    "userFills": _Shape(_USER, {"aggregateByTime": (flag, False)}),
    "userFundings": _Shape(_USER, {}),
    "userNonFundingLedgerUpdates": _Shape(_USER, {}),
    "userTwapSliceFills": _Shape(_USER, {}),
    "userTwapHistory": _Shape(_USER, {}),
    "userHistoricalOrders": _Shape(_USER, {}),
    "activeAssetData": _Shape({**_USER, **_COIN}, {}),
    "clearinghouseState": _Shape(_USER, _DEX),
    "openOrders": _Shape(_USER, _DEX),
    "spotState": _Shape(_USER, {}),
    "twapStates": _Shape(_USER, _DEX),
    "allDexsClearinghouseState": _Shape(_USER, {}),
    "allDexsAssetCtxs": _Shape({}, {}),
    "assetCtxs": _Shape({}, _DEX),
    "spotAssetCtxs": _Shape({}, {}),
    "webData3": _Shape(_USER, {}),
    "notification": _Shape(_USER, {}),
}


class InvalidSubscription(Exception):
    """The object names no subscription this venue has, ``user`` and ``webData2`` included (sheet 7.2)."""


class Topic(NamedTuple):
    """What a stream message is about; a subscription receives the messages of exactly one topic."""

    kind: str
    user: str | None
    coin: str | None
    dex: str


def normalised(subscription: Any) -> dict[str, Any]:
    """Return the subscription as the venue echoes it: addresses in lower case, defaults filled in.

    Raises InvalidSubscription. Members the venue does not know are left out.
    """
    if not isinstance(subscription, dict) or not isinstance(subscription.get("type"), str):
        raise InvalidSubscription
    kind = subscription["type"]
    shape = _SHAPES.get(kind)
    if shape is None:
        raise InvalidSubscription
    try:
        found: dict[str, Any] = {"type": kind}
        for key, member in shape.required.items():
            found[key] = member(subscription.get(key), key)
        for key, (member, default) in shape.defaulted.items():
            value = subscription.get(key)
            found[key] = default if value is None else member(value, key)
    except Unprocessable as unusable:
        raise InvalidSubscription from unusable
    return found


def topic_of(subscription: Mapping[str, Any]) -> Topic:
    """The topic of a normalised subscription."""
    return Topic(
        subscription["type"],
        subscription.get("user"),
        subscription.get("coin"),
        subscription.get("dex", ""),
    )
