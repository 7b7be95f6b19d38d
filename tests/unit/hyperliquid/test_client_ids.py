"""Every client order id has one cloid, and a cloid is its own."""

import re
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hyperliquid.client_ids import cloid_for, is_cloid

CLOID = "0x5e1f00000000000000000000000000a1"


def test_an_id_in_the_form_of_a_cloid_is_its_own_cloid_in_lowercase() -> None:
    assert cloid_for(CLOID) == CLOID
    assert cloid_for("0x5E1F00000000000000000000000000A1") == CLOID


def test_any_other_text_is_hashed() -> None:
    assert cloid_for("LS-12345") == "0x" + sha256(b"LS-12345").hexdigest()[:32]


@pytest.mark.parametrize(
    "client_order_id",
    [
        "",
        "x",
        CLOID[:-1],
        CLOID + "0",
        CLOID + "\n",
        "0X" + CLOID[2:],
        CLOID[2:],
        CLOID[:-1] + "g",
        "日本",
        "\udcff",
    ],
)
def test_near_cloids_and_odd_texts_are_hashed_too(client_order_id: str) -> None:
    cloid = cloid_for(client_order_id)
    assert is_cloid(cloid)
    assert cloid != client_order_id.lower()


@given(st.text(), st.text())
@settings(deadline=None, max_examples=150)
def test_the_cloid_is_valid_stable_and_different_for_different_ids(one: str, other: str) -> None:
    assert re.fullmatch("0x[0-9a-f]{32}", cloid_for(one))
    assert cloid_for(one) == cloid_for(one) == cloid_for(cloid_for(one))
    assert (cloid_for(one) == cloid_for(other)) == (one == other)
