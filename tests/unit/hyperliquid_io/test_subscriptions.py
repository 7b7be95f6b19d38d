"""Acknowledgements, refusals and data are matched by what they are about."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hyperliquid.subscriptions import Frame, PendingSubscriptions, SubscriptionKey, decode_frame

USER = "0x" + "Ab" * 20


def frame(channel: str, data: Any) -> Frame:
    return decode_frame(json.dumps({"channel": channel, "data": data}).encode())


def acknowledgement(subscription: dict[str, Any]) -> Frame:
    return frame("subscriptionResponse", {"method": "subscribe", "subscription": subscription})


@pytest.mark.parametrize(
    ("subscribed", "echoed"),
    [
        (
            {"type": "userFills", "user": USER},
            {"type": "userFills", "user": USER.lower(), "aggregateByTime": False},
        ),
        (
            {"type": "l2Book", "coin": "BTC"},
            {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None, "fast": False},
        ),
        ({"type": "allMids"}, {"type": "allMids", "dex": ""}),
        ({"type": "allMids", "dex": None}, {"type": "allMids"}),
    ],
)
def test_an_echo_in_the_venues_own_form_settles_its_subscription(
    subscribed: dict[str, Any], echoed: dict[str, Any]
) -> None:
    pending = PendingSubscriptions([subscribed, {"type": "bbo", "coin": "ETH"}])
    pending.settle(acknowledgement(echoed))
    assert str(pending) == "bbo ETH"


@pytest.mark.parametrize(
    "other",
    [
        acknowledgement({"type": "bbo", "coin": "ETH"}),
        acknowledgement({"type": "l2Book", "coin": "BTC"}),
        acknowledgement({"type": "bbo", "coin": ["BTC"]}),
        frame(
            "subscriptionResponse", {"method": "unsubscribe", "subscription": {"type": "bbo", "coin": "BTC"}}
        ),
        frame("subscriptionResponse", None),
        frame("bbo", {"coin": "ETH", "time": 1, "bbo": []}),
        frame("l2Book", {"coin": "BTC"}),
        frame("bbo", 7),
        frame("error", "Cannot track more than 15 total users."),
        frame("error", 'Invalid subscription {"type":"bbo","coin":"ETH"}'),
        frame("error", "} {"),
        frame("error", {"code": 1}),
        frame("pong", None),
    ],
)
def test_what_is_about_something_else_settles_nothing(other: Frame) -> None:
    pending = PendingSubscriptions([{"type": "bbo", "coin": "BTC"}])
    pending.settle(other)
    assert str(pending) == "bbo BTC"
    assert pending.refused == []


@pytest.mark.parametrize(
    ("subscription", "data"),
    [
        ({"type": "userEvents", "user": USER}, frame("user", {"fills": []})),
        ({"type": "orderUpdates", "user": USER}, frame("orderUpdates", [{"order": {"coin": "BTC"}}])),
        ({"type": "userFills", "user": USER}, frame("userFills", {"user": USER.lower(), "fills": []})),
        (
            {"type": "activeAssetCtx", "coin": "@107"},
            frame("activeSpotAssetCtx", {"coin": "@107", "ctx": {}}),
        ),
        ({"type": "trades", "coin": "BTC"}, frame("trades", [{"coin": "BTC", "px": "1"}])),
        ({"type": "allMids"}, frame("allMids", {"mids": {}})),
    ],
)
def test_data_proves_its_subscription(subscription: dict[str, Any], data: Frame) -> None:
    pending = PendingSubscriptions([subscription])
    pending.settle(data)
    assert not pending


def test_a_refusal_is_remembered_and_a_repetition_is_none() -> None:
    pending = PendingSubscriptions([{"type": "bbo", "coin": "NOPE"}, {"type": "bbo", "coin": "BTC"}])
    pending.settle(frame("error", 'Invalid subscription {"type":"bbo","coin":"NOPE"}'))
    request = '{"method":"subscribe","subscription":{"type":"bbo","coin":"BTC"}}'
    pending.settle(frame("error", f"Already subscribed: {request}"))
    assert not pending
    assert pending.refused == [SubscriptionKey("bbo", "NOPE", None, None, "")]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
_members = st.dictionaries(st.sampled_from(["type", "coin", "user", "dex", "subscription", "method"]), _json)


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(["subscriptionResponse", "error", "bbo", "user", "userFills"]),
    _json
    | _members
    | _members.map(lambda it: {"method": "subscribe", "subscription": it})
    | _members.map(json.dumps),
)
def test_no_frame_ever_breaks_the_matching(channel: str, data: Any) -> None:
    pending = PendingSubscriptions([{"type": "bbo", "coin": "BTC"}, {"type": "userFills", "user": USER}])
    pending.settle(frame(channel, data))
