"""Which subscriptions there are and how they are echoed (protocol sheet 7.1, 7.2)."""

from typing import Any

import pytest

from adapters.simulator.subscriptions import InvalidSubscription, Topic, normalised, topic_of

USER = "0x" + "aB" * 20
LOWER = USER.lower()


@pytest.mark.parametrize(
    ("asked", "echoed"),
    [
        ({"type": "allMids"}, {"type": "allMids", "dex": ""}),
        ({"type": "trades", "coin": "kPEPE"}, {"type": "trades", "coin": "kPEPE"}),
        (
            {"type": "l2Book", "coin": "BTC"},
            {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None, "fast": False},
        ),
        (
            {"type": "userFills", "user": USER},
            {"type": "userFills", "user": LOWER, "aggregateByTime": False},
        ),
        ({"type": "openOrders", "user": USER, "dex": None}, {"type": "openOrders", "user": LOWER, "dex": ""}),
        ({"type": "orderUpdates", "user": USER, "noise": 1}, {"type": "orderUpdates", "user": LOWER}),
    ],
)
def test_the_echo_is_normalised(asked: dict[str, Any], echoed: dict[str, Any]) -> None:
    assert normalised(asked) == echoed


@pytest.mark.parametrize(
    "asked",
    [
        None,
        [],
        {},
        {"type": 3},
        {"type": "user", "user": USER},
        {"type": "webData2", "user": USER},
        {"type": "trades"},
        {"type": "trades", "coin": None},
        {"type": "orderUpdates", "user": "0x12"},
        {"type": "candle", "coin": "BTC", "interval": "7m"},
        {"type": "userFills", "user": USER, "aggregateByTime": "yes"},
    ],
)
def test_what_the_venue_does_not_have_is_invalid(asked: Any) -> None:
    with pytest.raises(InvalidSubscription):
        normalised(asked)


@pytest.mark.parametrize(
    ("asked", "topic"),
    [
        ({"type": "userEvents", "user": USER}, Topic("userEvents", LOWER, None, "")),
        ({"type": "bbo", "coin": "BTC"}, Topic("bbo", None, "BTC", "")),
        ({"type": "candle", "coin": "BTC", "interval": "1m"}, Topic("candle", None, "BTC", "")),
        ({"type": "openOrders", "user": USER}, Topic("openOrders", LOWER, None, "")),
        ({"type": "openOrders", "user": USER, "dex": "xyz"}, Topic("openOrders", LOWER, None, "xyz")),
        (
            {"type": "activeAssetData", "user": USER, "coin": "BTC"},
            Topic("activeAssetData", LOWER, "BTC", ""),
        ),
    ],
)
def test_a_subscription_has_one_topic(asked: dict[str, Any], topic: Topic) -> None:
    assert topic_of(normalised(asked)) == topic
