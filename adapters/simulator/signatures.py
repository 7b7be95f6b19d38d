"""Who signed an action: the hash the venue computes, the address it recovers (protocol sheet 3.2 to 3.6).

Verification here means recovery. A signature over anything else than the canonical action is still a valid
signature of *some* key, so it yields an address nobody knows, and a different one each time.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from eth_account.messages import encode_typed_data
from eth_keys import keys
from eth_keys.exceptions import BadSignature, ValidationError
from eth_utils import keccak

from adapters.simulator.canonical import USER_SIGNED_ACTIONS, record, text, u32
from adapters.simulator.network import Network

_EXCHANGE_DOMAIN = bytes.fromhex("d79297fcdf2ffcd4ae223d01edaa2ba214ff8f401d7c9300d995d17c82aa4040")
"""EIP-712 domain separator of all L1 actions: ``Exchange``, 1, chain 1337, zero contract (sheet 3.3)."""

_AGENT_TYPE = bytes.fromhex("26f05c2f7239b6983075e58321292d77b3aa173d19b27257ac96ab362570f508")
"""Type hash of ``Agent(string source,bytes32 connectionId)`` (sheet 3.3)."""

_SOURCE_HASHES = {network: bytes(keccak(network.source.encode())) for network in Network}

_USER_SIGNED_TYPES: Mapping[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "usdSend": ("UsdSend", (("string", "destination"), ("string", "amount"), ("uint64", "time"))),
    "spotSend": (
        "SpotSend",
        (("string", "destination"), ("string", "token"), ("string", "amount"), ("uint64", "time")),
    ),
    "withdraw3": ("Withdraw", (("string", "destination"), ("string", "amount"), ("uint64", "time"))),
    "usdClassTransfer": ("UsdClassTransfer", (("string", "amount"), ("bool", "toPerp"), ("uint64", "nonce"))),
    "sendAsset": (
        "SendAsset",
        (
            ("string", "destination"),
            ("string", "sourceDex"),
            ("string", "destinationDex"),
            ("string", "token"),
            ("string", "amount"),
            ("string", "fromSubAccount"),
            ("uint64", "nonce"),
        ),
    ),
    "approveAgent": (
        "ApproveAgent",
        (("address", "agentAddress"), ("string", "agentName"), ("uint64", "nonce")),
    ),
    "approveBuilderFee": (
        "ApproveBuilderFee",
        (("string", "maxFeeRate"), ("address", "builder"), ("uint64", "nonce")),
    ),
    "tokenDelegate": (
        "TokenDelegate",
        (("address", "validator"), ("uint64", "wei"), ("bool", "isUndelegate"), ("uint64", "nonce")),
    ),
    "userSetAbstraction": (
        "UserSetAbstraction",
        (("address", "user"), ("string", "abstraction"), ("uint64", "nonce")),
    ),
    "userDexAbstraction": (
        "UserDexAbstraction",
        (("address", "user"), ("bool", "enabled"), ("uint64", "nonce")),
    ),
    "convertToMultiSigUser": ("ConvertToMultiSigUser", (("string", "signers"), ("uint64", "nonce"))),
}
"""Primary type and members after ``hyperliquidChain`` of each user-signed action (sheet 3.4)."""

_DOMAIN_TYPE = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]


_SCALAR = re.compile(r"0[xX][0-9a-fA-F]{1,64}")
_posted_signature = record({"r": text, "s": text, "v": u32})


class UnrecoverableSignature(Exception):
    """r, s or v cannot belong to any signature. The text is the venue's (sheet 3.6)."""

    def __init__(self) -> None:
        super().__init__("Unable to recover signer.")


@dataclass(frozen=True, slots=True)
class Signature:
    """The three numbers of a secp256k1 signature, as posted; `v` is 27 or 28."""

    r: int
    s: int
    v: int

    @classmethod
    def parse(cls, value: Any) -> "Signature":
        """Read ``{"r": "0x…", "s": "0x…", "v": 27|28}``, leading zeros present or not.

        Raises Unprocessable where the types are wrong, UnrecoverableSignature where the values are.
        """
        posted = _posted_signature(value, "signature")
        r, s, v = posted["r"], posted["s"], posted["v"]
        if v not in (27, 28):
            raise UnrecoverableSignature
        return cls(_scalar(r), _scalar(s), v)


def _scalar(hex_text: str) -> int:
    if not _SCALAR.fullmatch(hex_text):
        raise UnrecoverableSignature
    return int(hex_text, 16)


def connection_id(
    action: Mapping[str, Any], *, nonce: int, vault_address: str | None, expires_after: int | None
) -> bytes:
    """Hash a canonical L1 action with its envelope (sheet 3.2); `nonce` and `expires_after` in ms."""
    data = bytearray(msgspec.msgpack.encode(action))
    data += nonce.to_bytes(8, "big")
    data += b"\x00" if vault_address is None else b"\x01" + bytes.fromhex(vault_address[2:])
    if expires_after is not None:
        data += b"\x00" + expires_after.to_bytes(8, "big")
    return bytes(keccak(bytes(data)))


def l1_digest(connection: bytes, network: Network) -> bytes:
    """Return the 32 bytes that are signed for an L1 action with this connection id (sheet 3.3)."""
    struct_hash = keccak(_AGENT_TYPE + _SOURCE_HASHES[network] + connection)
    return bytes(keccak(b"\x19\x01" + _EXCHANGE_DOMAIN + struct_hash))


def user_signed_digest(action: Mapping[str, Any], network: Network) -> bytes:
    """Return the 32 bytes that are signed for a canonical user-signed action (sheet 3.4).

    The chain name hashed is this network's own, so an action signed for the other recovers to a stranger.
    """
    name, members = _USER_SIGNED_TYPES[action["type"]]
    primary = f"HyperliquidTransaction:{name}"
    types = [("string", "hyperliquidChain"), *members]
    message = {member: action.get(member, "") for _, member in members}
    message["hyperliquidChain"] = network.chain_name
    signable = encode_typed_data(
        full_message={
            "domain": {
                "name": "HyperliquidSignTransaction",
                "version": "1",
                "chainId": int(action["signatureChainId"], 16),
                "verifyingContract": "0x" + "00" * 20,
            },
            "types": {
                primary: [{"name": member, "type": kind} for kind, member in types],
                "EIP712Domain": _DOMAIN_TYPE,
            },
            "primaryType": primary,
            "message": message,
        }
    )
    return bytes(keccak(b"\x19" + signable.version + signable.header + signable.body))


def recover_signer(
    action: Mapping[str, Any],
    signature: Signature,
    *,
    nonce: int,
    vault_address: str | None,
    expires_after: int | None,
    network: Network,
) -> str:
    """Return the lower-case address whose key signed this canonical action; raises UnrecoverableSignature."""
    if action["type"] in USER_SIGNED_ACTIONS:
        digest = user_signed_digest(action, network)
    else:
        connection = connection_id(
            action, nonce=nonce, vault_address=vault_address, expires_after=expires_after
        )
        digest = l1_digest(connection, network)
    return _recover(digest, signature)


def _recover(digest: bytes, signature: Signature) -> str:
    try:
        found = keys.Signature(vrs=(signature.v - 27, signature.r, signature.s))
        return str(found.recover_public_key_from_msg_hash(digest).to_address())
    except (BadSignature, ValidationError) as unusable:
        raise UnrecoverableSignature from unusable
