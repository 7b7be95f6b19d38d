"""Recovery of signers, by the vectors of the protocol sheet (3.9) and by what clients get wrong (3.6)."""

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from hyperliquid.utils.signing import sign_l1_action, sign_usd_transfer_action
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.simulator.canonical import canonical_action
from adapters.simulator.engine import Unprocessable
from adapters.simulator.network import Network
from adapters.simulator.signatures import (
    Signature,
    UnrecoverableSignature,
    connection_id,
    l1_digest,
    recover_signer,
    user_signed_digest,
)

KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"
ADDRESS = "0x14791697260e4c9a71f18484c9f997b308e59325"
VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "signing_vectors.json").read_text())
NETWORKS = (Network.MAINNET, Network.TESTNET)
ORDER = VECTORS[0]["action"]


def on_network(action: dict[str, Any], network: Network) -> dict[str, Any]:
    return {**action, "hyperliquidChain": network.chain_name} if "hyperliquidChain" in action else action


def recover(
    action: dict[str, Any],
    signature: Any,
    network: Network = Network.TESTNET,
    envelope: dict[str, Any] | None = None,
    *,
    nonce: int = 1700000000001,
) -> str:
    envelope = envelope or {"nonce": nonce}
    return recover_signer(
        canonical_action(action),
        Signature.parse(signature),
        nonce=envelope["nonce"],
        vault_address=envelope.get("vaultAddress"),
        expires_after=envelope.get("expiresAfter"),
        network=network,
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["title"])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.value)
def test_every_vector_recovers_to_the_key_that_made_it(vector: dict[str, Any], network: Network) -> None:
    action = on_network(vector["action"], network)
    assert recover(action, vector[network.value], network, vector) == ADDRESS


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["title"])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.value)
def test_a_signature_for_the_other_network_recovers_to_a_stranger(
    vector: dict[str, Any], network: Network
) -> None:
    other = Network.TESTNET if network is Network.MAINNET else Network.MAINNET
    assert recover(on_network(vector["action"], other), vector[other.value], network, vector) != ADDRESS


@pytest.mark.parametrize("vector", [v for v in VECTORS if "hash" in v], ids=lambda vector: vector["title"])
def test_every_l1_vector_hashes_to_its_connection_id(vector: dict[str, Any]) -> None:
    found = connection_id(
        canonical_action(vector["action"]),
        nonce=vector["nonce"],
        vault_address=vector["vaultAddress"],
        expires_after=vector["expiresAfter"],
    )
    assert "0x" + found.hex() == vector["hash"]


def test_the_digests_of_the_first_vector_are_the_published_ones() -> None:
    connection = bytes.fromhex(VECTORS[0]["hash"][2:])
    assert l1_digest(connection, Network.MAINNET).hex() == (
        "e808b3924eac9a546cc844b3e6fd303904409d1d7e5b66f094e96287d38cb2b2"
    )
    assert l1_digest(connection, Network.TESTNET).hex() == (
        "bc1937859161fe7d2093c5e4cbc16a09199abcae21423f06447f50c577479f1b"
    )


@pytest.mark.parametrize("vector", [v for v in VECTORS if "digest" in v], ids=lambda vector: vector["title"])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.value)
def test_every_user_signed_vector_has_its_digest(vector: dict[str, Any], network: Network) -> None:
    action = canonical_action(on_network(vector["action"], network))
    assert "0x" + user_signed_digest(action, network).hex() == vector["digest"][network.value]


def test_the_body_may_come_in_any_key_order_letter_case_and_with_members_nobody_knows() -> None:
    vector = VECTORS[1]
    order = vector["action"]["orders"][0]
    shuffled = {
        "grouping": "na",
        "comment": "not the venue's",
        "orders": [
            {
                "unknown": 1,
                "c": "0x" + order["c"][2:].upper(),
                **{key: order[key] for key in ("t", "r", "s", "p", "b", "a")},
            }
        ],
        "type": "order",
    }
    assert recover(shuffled, vector["testnet"], envelope=vector) == ADDRESS


@pytest.mark.parametrize(
    ("signed_with", "why"),
    [
        ({"p": "43210.0"}, "a trailing zero in the price"),
        ({"s": "0.000250"}, "a trailing zero in the size"),
        ({"p": "+43210"}, "a leading plus"),
        ({"c": None}, "a null cloid"),
        ({"c": "0x5E1F00000000000000000000000000A1"}, "an upper-case cloid"),
    ],
)
def test_what_was_signed_must_be_canonical_even_if_the_body_is_the_same(
    signed_with: dict[str, Any], why: str
) -> None:
    action = {**ORDER, "orders": [{**ORDER["orders"][0], **signed_with}]}
    signature = sign_l1_action(Account.from_key(KEY), action, None, 1700000000001, None, False)
    assert recover(action, signature) != ADDRESS, why


def test_a_false_optional_flag_that_was_signed_recovers_to_a_stranger() -> None:
    action = {"type": "cancel", "cancels": [{"a": 0, "o": 1}], "f": False}
    signature = sign_l1_action(Account.from_key(KEY), action, None, 1700000000001, None, False)
    assert recover(action, signature) != ADDRESS


def test_two_wrong_signatures_recover_to_two_different_strangers() -> None:
    wallet = Account.from_key(KEY)
    action = {**ORDER, "orders": [{**ORDER["orders"][0], "p": "43210.0"}]}
    strangers = {
        recover(action, sign_l1_action(wallet, action, None, nonce, None, False), nonce=nonce)
        for nonce in (7, 8)
    }
    assert len(strangers) == 2
    assert ADDRESS not in strangers


def test_r_and_s_may_come_without_their_leading_zeros() -> None:
    vector = next(
        v for v in VECTORS if v["testnet"]["r"].startswith("0x0") or v["testnet"]["s"].startswith("0x0")
    )
    signature = vector["testnet"]
    short = {**signature, "r": hex(int(signature["r"], 16)), "s": hex(int(signature["s"], 16))}
    assert short != signature
    assert recover(vector["action"], short, envelope=vector) == ADDRESS


@pytest.mark.parametrize(
    "broken",
    [
        {"r": "0x0"},
        {"s": "0x0"},
        {"r": "0x"},
        {"r": "0x" + "f" * 64},
        {"s": "0x" + "f" * 65},
        {"r": "zz"},
        {"r": "0x12_34"},
        {"v": 26},
        {"v": 29},
        {"v": 0},
    ],
)
def test_an_impossible_signature_has_no_signer(broken: dict[str, Any]) -> None:
    with pytest.raises(UnrecoverableSignature, match=r"^Unable to recover signer\.$"):
        recover(ORDER, {**VECTORS[0]["testnet"], **broken})


@pytest.mark.parametrize(
    "broken", [None, [], {"r": 1}, {"r": "0x1", "s": "0x1", "v": True}, {"r": "0x1", "s": "0x1"}]
)
def test_a_signature_of_the_wrong_shape_is_malformed(broken: Any) -> None:
    with pytest.raises(Unprocessable, match="signature"):
        Signature.parse(broken)


def test_an_unnamed_agent_is_signed_with_an_empty_name_that_is_not_posted() -> None:
    posted = {key: value for key, value in VECTORS[16]["action"].items() if key != "agentName"}
    action = {**posted, "hyperliquidChain": "Testnet"}
    named_nothing = {**canonical_action(action), "agentName": ""}
    assert user_signed_digest(canonical_action(action), Network.TESTNET) == user_signed_digest(
        named_nothing, Network.TESTNET
    )


def test_a_destination_must_be_signed_in_lower_case() -> None:
    wallet = Account.from_key(KEY)
    for destination, expected in (("0x" + "ab" * 20, True), ("0x" + "AB" * 20, False)):
        action = {"type": "usdSend", "destination": destination, "amount": "1.0", "time": 5}
        signature = sign_usd_transfer_action(wallet, action, False)
        assert (recover(action, signature, nonce=5) == ADDRESS) is expected


prices = st.decimals(min_value="0.000001", max_value=10**9, places=6, allow_nan=False).map(lambda d: f"{d:f}")


@settings(deadline=None, max_examples=40)
@given(
    nonce=st.integers(1, 2**63),
    price=prices,
    expires=st.none() | st.integers(1, 2**63),
    vault=st.none() | st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
    cloid=st.none() | st.binary(min_size=16, max_size=16).map(lambda raw: "0x" + raw.hex()),
    is_mainnet=st.booleans(),
)
def test_whatever_the_official_client_signs_recovers_to_its_key_exactly_if_its_numbers_are_canonical(
    nonce: int, price: str, expires: int | None, vault: str | None, cloid: str | None, is_mainnet: bool
) -> None:
    canonical = price.rstrip("0").rstrip(".")
    order = {"a": 3, "b": True, "p": price, "s": "1", "r": False, "t": {"limit": {"tif": "Gtc"}}}
    if cloid is not None:
        order["c"] = cloid
    action = {"type": "order", "orders": [order], "grouping": "na"}
    signature = sign_l1_action(Account.from_key(KEY), action, vault, nonce, expires, is_mainnet)
    network = Network.MAINNET if is_mainnet else Network.TESTNET
    envelope = {"nonce": nonce, "vaultAddress": vault, "expiresAfter": expires}
    found = recover(action, signature, network, envelope)
    assert (found == ADDRESS) is (price == canonical)
