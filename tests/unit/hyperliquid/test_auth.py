"""Signatures equal the sheet's vectors and the official SDK's; the key stays inside."""

import copy
import io
import json
import logging
import pickle
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgpack
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hyperliquid.utils import signing as sdk
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hyperliquid import actions, auth
from adapters.hyperliquid.actions import ActionError
from adapters.hyperliquid.addresses import AddressError
from adapters.hyperliquid.auth import HyperliquidAuth, PrivateKeyError, SigningError, action_hash

KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"
ADDRESS = "0x14791697260e4c9a71f18484c9f997b308e59325"
VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "signing_vectors.json").read_text())
L1_VECTORS = [vector for vector in VECTORS if "hash" in vector]
USER_SIGNED_VECTORS = [vector for vector in VECTORS if "digest" in vector]
S1 = VECTORS[0]

MAINNET = HyperliquidAuth(KEY, is_mainnet=True)
TESTNET = HyperliquidAuth(KEY, is_mainnet=False)
SIGNERS = {"mainnet": MAINNET, "testnet": TESTNET}
ORACLE = Account.from_key(KEY)


def vector_id(vector: dict[str, Any]) -> str:
    return f"{vector['id']} {vector['what']}"


def envelope_arguments(vector: dict[str, Any]) -> dict[str, Any]:
    return {"vault_address": vector.get("vault_address"), "expires_after": vector.get("expires_after")}


def as_numbers(signature: Any) -> tuple[int, int, int]:
    """r and s as numbers: the SDK drops leading zeros, we keep 64 digits."""
    if isinstance(signature, dict):
        return int(signature["r"], 16), int(signature["s"], 16), signature["v"]
    return int(signature.r, 16), int(signature.s, 16), signature.v


def test_the_vectors_are_the_seventeen_of_the_sheet() -> None:
    assert [vector["id"] for vector in VECTORS] == [f"S{number}" for number in range(1, 18)]


@pytest.mark.parametrize("vector", L1_VECTORS, ids=vector_id)
def test_the_action_hash_equals_the_vector(vector: dict[str, Any]) -> None:
    got = action_hash(vector["action"], vector["nonce"], **envelope_arguments(vector))
    assert "0x" + got.hex() == vector["hash"]


@pytest.mark.parametrize("network", ["mainnet", "testnet"])
@pytest.mark.parametrize("vector", L1_VECTORS, ids=vector_id)
def test_the_l1_signature_equals_the_vector(vector: dict[str, Any], network: str) -> None:
    signature = SIGNERS[network].sign_l1_action(
        vector["action"], vector["nonce"], **envelope_arguments(vector)
    )
    assert {"r": signature.r, "s": signature.s, "v": signature.v} == vector[network]


@pytest.mark.parametrize("network", ["mainnet", "testnet"])
@pytest.mark.parametrize("vector", USER_SIGNED_VECTORS, ids=vector_id)
def test_the_user_signed_signature_and_digest_equal_the_vector(vector: dict[str, Any], network: str) -> None:
    action = {**vector["action"], "hyperliquidChain": network.capitalize()}
    assert "0x" + auth._user_signed_digest(action).hex() == vector["digest"][network]
    signature = SIGNERS[network].sign_user_signed_action(action)
    assert {"r": signature.r, "s": signature.s, "v": signature.v} == vector[network]


def test_the_constants_and_intermediate_hashes_equal_the_sheet() -> None:
    packed = bytes.fromhex(
        "83a474797065a56f72646572a66f72646572739186a16100a162c3a170a53433323130a173a7302e3030303235a172c2a174"
        "81a56c696d697481a3746966a3477463a867726f7570696e67a26e61"
    )
    assert auth._pack(S1["action"]) == packed
    assert auth._keccak256(packed + bytes.fromhex("0000018bcfe5680100")).hex() == S1["hash"][2:]
    assert auth._DOMAIN_TYPE_HASH.hex() == "8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f"
    assert (
        auth._domain_separator("Exchange", 1337).hex()
        == "d79297fcdf2ffcd4ae223d01edaa2ba214ff8f401d7c9300d995d17c82aa4040"
    )
    assert (
        auth._domain_separator("HyperliquidSignTransaction", 0x66EEE).hex()
        == "feb1393ca4412a4ca577bd51d04f0a77033514c602f4d0a11490fb95f7428df6"
    )
    assert auth._AGENT_TYPE_HASH.hex() == "26f05c2f7239b6983075e58321292d77b3aa173d19b27257ac96ab362570f508"
    connection_id = bytes.fromhex(S1["hash"][2:])
    for prefix, struct_hash, digest in (
        (
            auth._MAINNET_AGENT_PREFIX,
            "516ac9f83b5c3551c5c0deaff1792b5295d52461ef62f2757dac33094ae23ea7",
            "e808b3924eac9a546cc844b3e6fd303904409d1d7e5b66f094e96287d38cb2b2",
        ),
        (
            auth._TESTNET_AGENT_PREFIX,
            "2b5b31a974455b7b8f11dbef0c230a11d72e8575407a66f5762c604db84dbe37",
            "bc1937859161fe7d2093c5e4cbc16a09199abcae21423f06447f50c577479f1b",
        ),
    ):
        assert auth._keccak256(prefix + connection_id).hex() == struct_hash
        assert auth._keccak256(auth._L1_DIGEST_PREFIX + bytes.fromhex(struct_hash)).hex() == digest


prices = st.decimals(min_value="0.00001", max_value="200000", places=5)
sizes = st.decimals(min_value="0.0001", max_value="10000", places=4)
cloids = st.none() | st.binary(min_size=16, max_size=16).map(lambda raw: "0x" + raw.hex())
order_types = st.sampled_from(["Gtc", "Ioc", "Alo"]).map(actions.limit) | st.builds(
    actions.trigger, prices, is_market=st.booleans(), tpsl=st.sampled_from(["tp", "sl"])
)
entries = st.builds(
    actions.order_entry,
    asset=st.integers(0, 200_000),
    is_buy=st.booleans(),
    price=prices,
    size=sizes,
    reduce_only=st.booleans(),
    order_type=order_types,
    cloid=cloids,
)
oids = st.integers(0, 2**63)
any_action = st.one_of(
    st.builds(actions.order, st.lists(entries, min_size=1, max_size=40)),
    st.builds(
        actions.cancel,
        st.lists(st.tuples(st.integers(0, 99), oids), min_size=1, max_size=20),
        fast=st.booleans(),
    ),
    st.builds(actions.modify, oids, entries),
    st.builds(actions.schedule_cancel, st.none() | st.integers(0, 2**50)),
    st.builds(
        actions.update_isolated_margin,
        asset=st.integers(0, 99),
        amount=st.decimals("-99999", "99999", places=6).filter(bool),
    ),
)
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())


@given(
    action=any_action,
    nonce=st.integers(0, 2**64 - 1),
    vault_address=st.none() | addresses,
    expires_after=st.none() | st.integers(0, 2**64 - 1),
    is_mainnet=st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_signatures_equal_the_official_sdk_for_any_action(
    action: dict[str, Any], nonce: int, vault_address: str | None, expires_after: int | None, is_mainnet: bool
) -> None:
    signer = MAINNET if is_mainnet else TESTNET
    ours = signer.sign_l1_action(action, nonce, vault_address=vault_address, expires_after=expires_after)
    theirs = sdk.sign_l1_action(ORACLE, action, vault_address, nonce, expires_after, is_mainnet)
    assert as_numbers(ours) == as_numbers(theirs)
    assert len(ours.r) == len(ours.s) == 66


packable = st.recursive(
    st.text(max_size=70) | st.booleans() | st.integers(-(2**63), 2**64 - 1),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=3), inner, max_size=20),
    max_leaves=25,
)


@given(st.dictionaries(st.text(max_size=40), packable, max_size=5))
@settings(deadline=None, max_examples=150)
def test_packing_equals_the_reference_messagepack(content: dict[str, Any]) -> None:
    assert auth._pack(content) == msgpack.packb(content)


texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=40)
uint64s = st.integers(0, 2**64 - 1)
USER_SIGNED: dict[str, tuple[Any, Any]] = {
    "usdSend": (
        sdk.sign_usd_transfer_action,
        st.fixed_dictionaries({"destination": texts, "amount": texts, "time": uint64s}),
    ),
    "spotSend": (
        sdk.sign_spot_transfer_action,
        st.fixed_dictionaries({"destination": texts, "token": texts, "amount": texts, "time": uint64s}),
    ),
    "withdraw3": (
        sdk.sign_withdraw_from_bridge_action,
        st.fixed_dictionaries({"destination": texts, "amount": texts, "time": uint64s}),
    ),
    "usdClassTransfer": (
        sdk.sign_usd_class_transfer_action,
        st.fixed_dictionaries({"amount": texts, "toPerp": st.booleans(), "nonce": uint64s}),
    ),
    "sendAsset": (
        sdk.sign_send_asset_action,
        st.fixed_dictionaries(
            {
                "destination": texts,
                "sourceDex": texts,
                "destinationDex": texts,
                "token": texts,
                "amount": texts,
                "fromSubAccount": texts,
                "nonce": uint64s,
            }
        ),
    ),
    "approveAgent": (
        sdk.sign_agent,
        st.fixed_dictionaries({"agentAddress": addresses, "agentName": texts, "nonce": uint64s}),
    ),
    "approveBuilderFee": (
        sdk.sign_approve_builder_fee,
        st.fixed_dictionaries({"maxFeeRate": texts, "builder": addresses, "nonce": uint64s}),
    ),
    "tokenDelegate": (
        sdk.sign_token_delegate_action,
        st.fixed_dictionaries(
            {"validator": addresses, "wei": uint64s, "isUndelegate": st.booleans(), "nonce": uint64s}
        ),
    ),
    "userSetAbstraction": (
        sdk.sign_user_set_abstraction_action,
        st.fixed_dictionaries({"user": addresses, "abstraction": texts, "nonce": uint64s}),
    ),
}


@pytest.mark.parametrize("kind", USER_SIGNED)
def test_user_signed_actions_equal_the_official_sdk(kind: str) -> None:
    sdk_sign, members = USER_SIGNED[kind]

    @given(members, st.booleans())
    @settings(deadline=None, max_examples=12)
    def compare(content: dict[str, Any], is_mainnet: bool) -> None:
        action = {"type": kind, **content}
        theirs = sdk_sign(ORACLE, action, is_mainnet)  # also adds the chain members to the action
        ours = (MAINNET if is_mainnet else TESTNET).sign_user_signed_action(action)
        assert as_numbers(ours) == as_numbers(theirs)

    compare()


def test_a_multi_sig_envelope_equals_the_official_sdk() -> None:
    inner = {"type": "multiSig", "signatureChainId": "0x66eee", "payload": {"user": ADDRESS}}
    theirs = sdk.sign_multi_sig_action(ORACLE, inner, True, None, 7, None)
    untagged = {key: value for key, value in inner.items() if key != "type"}
    ours = MAINNET.sign_user_signed_action(
        {
            "type": "multiSig",
            "signatureChainId": "0x66eee",
            "hyperliquidChain": "Mainnet",
            "multiSigActionHash": action_hash(untagged, 7),
            "nonce": 7,
        }
    )
    assert as_numbers(ours) == as_numbers(theirs)


def test_the_chain_id_of_the_action_is_the_chain_that_is_signed_for() -> None:
    action = {**USER_SIGNED_VECTORS[0]["action"], "signatureChainId": "0xa4b1"}
    typed = sdk.user_signed_payload("HyperliquidTransaction:UsdSend", sdk.USD_SEND_SIGN_TYPES, action)
    signed = ORACLE.sign_message(encode_typed_data(full_message=typed))
    assert as_numbers(MAINNET.sign_user_signed_action(action)) == (signed.r, signed.s, signed.v)


@given(st.integers(1, auth._CURVE_ORDER - 1))
@settings(deadline=None, max_examples=25)
def test_the_address_of_a_key_equals_eth_account(number: int) -> None:
    secret = number.to_bytes(32, "big")
    expected = Account.from_key(secret).address.lower()
    assert HyperliquidAuth(secret, is_mainnet=True).address == expected
    assert HyperliquidAuth(secret.hex(), is_mainnet=True).address == expected


def test_a_vault_address_may_be_given_in_any_letter_case() -> None:
    vault = "0x1719884eb866cb12b2287399b15f7db5e7d775ea"
    mixed = "0x" + vault[2:].upper()
    assert action_hash(S1["action"], 1, vault) == action_hash(S1["action"], 1, mixed)


@pytest.mark.parametrize(
    "content",
    [
        {"type": "order", "c": None},
        {"type": "order", "p": 1.5},
        {"type": "order", "p": Decimal("1.5")},
        {"type": "order", "orders": [{"s": 0.5}]},
        {"type": "order", "orders": [None]},
        {"type": "order", "orders": ({"a": 1},)},
        {"type": "cancel", "f": False},
        {"type": "modify", "a": False},
        {"type": "order", "raw": b"\x00"},
    ],
)
def test_content_the_venue_cannot_rebuild_is_not_signed(content: dict[str, Any]) -> None:
    with pytest.raises(ActionError):
        MAINNET.sign_l1_action(content, 1)


def test_numbers_beyond_64_bits_are_not_signed() -> None:
    with pytest.raises(SigningError, match="64 bits"):
        MAINNET.sign_l1_action({"type": "cancel", "cancels": [{"a": 0, "o": 2**64}]}, 1)
    for nonce in (-1, 2**64, True, 1.0):
        with pytest.raises(SigningError, match="nonce"):
            MAINNET.sign_l1_action({"type": "noop"}, nonce)  # type: ignore[arg-type]
    with pytest.raises(SigningError, match="expires_after"):
        MAINNET.sign_l1_action({"type": "noop"}, 1, expires_after=-5)
    with pytest.raises(AddressError):
        MAINNET.sign_l1_action({"type": "noop"}, 1, vault_address="0x1234")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"hyperliquidChain": "Testnet"}, "signs for 'Mainnet'"),
        ({"type": "order"}, "not a user-signed action"),
        ({"type": ["usdSend"]}, "not a user-signed action"),
        ({"amount": 12.5}, "usdSend.amount must be a string"),
        ({"time": "now"}, "usdSend.time must be a whole number"),
        ({"signatureChainId": 421614}, "signatureChainId"),
    ],
)
def test_a_bad_user_signed_action_is_refused_with_what_is_wrong(
    change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SigningError, match=complaint):
        MAINNET.sign_user_signed_action({**USER_SIGNED_VECTORS[0]["action"], **change})


def test_a_user_signed_action_with_a_member_missing_is_refused() -> None:
    action = dict(USER_SIGNED_VECTORS[0]["action"])
    del action["destination"]
    with pytest.raises(SigningError, match="'destination' is missing"):
        MAINNET.sign_user_signed_action(action)


MALFORMED_KEYS: list[Any] = [
    "",
    KEY[:-1],
    KEY + "0",
    KEY[:-1] + "g",
    "0X" + KEY[2:],
    KEY + "\n",
    " " + KEY,
    "0x" + "0" * 64,
    "0x" + "f" * 64,
    hex(auth._CURVE_ORDER),
    bytes.fromhex(KEY[2:])[:-1],
    int(KEY, 16),
    None,
]


@pytest.mark.parametrize("key", MALFORMED_KEYS, ids=range(len(MALFORMED_KEYS)))
def test_a_malformed_key_is_refused_without_repeating_it(key: Any) -> None:
    with pytest.raises(PrivateKeyError) as caught:
        HyperliquidAuth(key, is_mainnet=True)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.args)
    if key:
        assert str(key)[2:60] not in shown
    # Error reporters print local variables too: no frame of ours may still hold the text.
    frame = caught.value.__traceback__
    assert frame is not None
    while frame.tb_next is not None:
        frame = frame.tb_next
        assert key is None or key not in [
            value for value in frame.tb_frame.f_locals.values() if type(value) is type(key)
        ]


def test_the_key_is_not_in_any_text_pickle_copy_or_log_of_the_signer() -> None:
    stream = io.StringIO()
    logger = logging.Logger("signer")
    logger.addHandler(logging.StreamHandler(stream))
    logger.warning("%s %r", MAINNET, [MAINNET, MAINNET.sign_l1_action])
    shown = stream.getvalue()
    for name in dir(MAINNET):
        shown += repr(getattr(MAINNET, name))
    secret = bytes.fromhex(KEY[2:])
    for form in (KEY[2:], str(int(KEY, 16)), repr(secret), repr(list(secret))):
        assert form not in shown
    assert ADDRESS in shown
    assert not hasattr(MAINNET, "__dict__")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="private key"):
            pickle.dumps(MAINNET, protocol)
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="private key"):
            duplicate(MAINNET)


def test_an_error_while_signing_does_not_contain_the_key() -> None:
    with pytest.raises(ActionError) as caught:
        MAINNET.sign_l1_action({"type": "order", "c": None}, 1)
    frame = caught.value.__traceback__
    shown = ""
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == auth.__file__:
            shown += repr(frame.tb_frame.f_locals)
        frame = frame.tb_next
    assert ADDRESS in shown
    assert KEY[2:] not in shown
