"""What the server makes of an action's JSON before it hashes it (protocol sheet 2.2, 3.6, 3.7, 4.4)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.simulator.canonical import L1_ACTIONS, canonical_action, number
from adapters.simulator.engine import Unprocessable

ENTRY = {"a": 0, "b": True, "p": "43210", "s": "0.00025", "r": False, "t": {"limit": {"tif": "Gtc"}}}


@pytest.mark.parametrize(
    ("posted", "canonical"),
    [
        ("43210.0", "43210"),
        ("43210", "43210"),
        ("0.00025000", "0.00025"),
        ("007.50", "7.5"),
        ("100", "100"),
        ("0", "0"),
        ("0.000", "0"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("-5.10", "-5.1"),
        ("+3", "3"),
        (".5", "0.5"),
        ("5.", "5"),
        ("123456789012345678901234567890.10", "123456789012345678901234567890.1"),
    ],
)
def test_numbers_are_rebuilt_without_anything_that_adds_nothing(posted: str, canonical: str) -> None:
    assert number(posted, "p") == canonical


@pytest.mark.parametrize("posted", ["", ".", "-", "1e5", "NaN", "inf", "0x10", "1,5", " 1", "1_0", "１"])
def test_a_text_that_is_no_number_is_left_to_the_order_checks(posted: str) -> None:
    assert number(posted, "p") == posted


@settings(deadline=None, max_examples=100)
@given(st.decimals(min_value=-(10**12), max_value=10**12, places=8, allow_nan=False))
def test_rebuilding_is_idempotent_and_keeps_the_value(value: Any) -> None:
    once = number(f"{value:f}", "p")
    assert number(once, "p") == once
    assert type(value)(once) == value


def test_members_come_out_in_hash_order_without_unknown_or_unset_ones() -> None:
    shuffled = {
        "grouping": "na",
        "builder": None,
        "orders": [{"c": None, "extra": 1, **dict(reversed(ENTRY.items()))}],
        "type": "order",
    }
    found = canonical_action(shuffled)
    assert list(found) == ["type", "orders", "grouping"]
    assert list(found["orders"][0]) == ["a", "b", "p", "s", "r", "t"]


def test_a_trigger_has_its_own_member_order() -> None:
    trigger = {"tpsl": "tp", "triggerPx": "2530.0", "isMarket": True}
    found = canonical_action(
        {"type": "order", "orders": [{**ENTRY, "t": {"trigger": trigger}}], "grouping": "na"}
    )
    assert list(found["orders"][0]["t"]["trigger"].items()) == [
        ("isMarket", True),
        ("triggerPx", "2530"),
        ("tpsl", "tp"),
    ]


def test_optional_flags_are_true_or_absent() -> None:
    cancels = [{"a": 0, "o": 1}]
    assert "f" not in canonical_action({"type": "cancel", "cancels": cancels, "f": False})
    assert canonical_action({"type": "cancel", "cancels": cancels, "f": True})["f"] is True


def test_addresses_and_cloids_are_lower_cased() -> None:
    found = canonical_action(
        {
            "type": "order",
            "orders": [{**ENTRY, "c": "0x" + "AB" * 16}],
            "grouping": "na",
            "builder": {"f": 10, "b": "0x" + "CD" * 20},
        }
    )
    assert found["orders"][0]["c"] == "0x" + "ab" * 16
    assert found["builder"] == {"b": "0x" + "cd" * 20, "f": 10}


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {},
        {"type": 1},
        {"type": "teleport"},
        {"type": "order"},
        {"type": "order", "orders": {}, "grouping": "na"},
        {"type": "order", "orders": [ENTRY]},
        {"type": "order", "orders": [ENTRY], "grouping": "all"},
        {"type": "order", "orders": [{**ENTRY, "a": True}], "grouping": "na"},
        {"type": "order", "orders": [{**ENTRY, "a": -1}], "grouping": "na"},
        {"type": "order", "orders": [{**ENTRY, "a": 1.0}], "grouping": "na"},
        {"type": "order", "orders": [{**ENTRY, "b": 1}], "grouping": "na"},
        {"type": "order", "orders": [{**ENTRY, "p": 43210}], "grouping": "na"},
        {"type": "order", "orders": [{**ENTRY, "p": None}], "grouping": "na"},
        {"type": "order", "orders": [{**ENTRY, "c": "LS-12345"}], "grouping": "na"},
        {"type": "order", "orders": [{**ENTRY, "t": {}}], "grouping": "na"},
        {"type": "order", "orders": [{**ENTRY, "t": {"limit": {"tif": "Fok"}}}], "grouping": "na"},
        {"type": "order", "orders": [{**ENTRY, "t": {"market": {}}}], "grouping": "na"},
        {"type": "cancel", "cancels": [{"a": 0, "o": 2**64}]},
        {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": "0x" + "0" * 31}]},
        {"type": "usdSend", "destination": "0x1", "amount": "1", "time": 1, "signatureChainId": "66eee"},
        {"type": "createSubAccount", "name": "\ud800"},
        {
            "type": "twapOrder",
            "twap": {"a": 0, "b": True, "s": "1", "r": False, "m": 5, "t": False},
            "details": 2**70,
        },
    ],
)
def test_what_does_not_deserialise_is_unprocessable(broken: Any) -> None:
    with pytest.raises(Unprocessable, match="Failed to deserialize"):
        canonical_action(broken)


def test_a_modify_may_name_its_order_by_either_id() -> None:
    for oid in (77738308, "0x" + "ab" * 16):
        assert canonical_action({"type": "modify", "oid": oid, "order": ENTRY})["oid"] == oid


@pytest.mark.parametrize("kind", ["noop", "scheduleCancel", "agentEnableDexAbstraction"])
def test_some_actions_are_nothing_but_their_type(kind: str) -> None:
    assert kind in L1_ACTIONS
    assert canonical_action({"type": kind}) == {"type": kind}
