"""Signing: L1 actions through the phantom agent, and user-signed actions (sheet 3.2 to 3.4).

`HyperliquidAuth` holds one private key and signs for one network. Everything EIP-712 that does not depend on
the action is computed once, at import or construction; a signature then costs one MessagePack encoding, three
Keccak hashes and one secp256k1 operation. Signatures are deterministic (RFC 6979, low s).

The key cannot be read back: not from the object's text, not from a pickle, not from an error.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import msgspec
from coincurve import PrivateKey
from Crypto.Hash import keccak

from adapters.hyperliquid.actions import UINT64_MAX, Signature, check_signable
from adapters.hyperliquid.addresses import lowercase_address

__all__ = ["HyperliquidAuth", "PrivateKeyError", "SigningError", "action_hash"]

_HEX_KEY = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")
_KEY_BYTES = 32
_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_V_OFFSET = 27

_pack = msgspec.msgpack.Encoder().encode


class PrivateKeyError(ValueError):
    """A text is not a private key. The message never contains the text."""


class SigningError(ValueError):
    """A request cannot be signed as asked; nothing was sent."""


def _keccak256(data: bytes) -> bytes:
    # Ethereum's Keccak, whose padding differs from that of hashlib's SHA3-256.
    digest: bytes = keccak.new(digest_bits=256, data=data).digest()
    return digest


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")


_DOMAIN_TYPE_HASH = _keccak256(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)


def _domain_separator(name: str, chain_id: int) -> bytes:
    return _keccak256(
        _DOMAIN_TYPE_HASH + _keccak256(name.encode()) + _keccak256(b"1") + _word(chain_id) + _word(0)
    )


_L1_CHAIN_ID = 1337
_AGENT_TYPE_HASH = _keccak256(b"Agent(string source,bytes32 connectionId)")
_L1_DIGEST_PREFIX = b"\x19\x01" + _domain_separator("Exchange", _L1_CHAIN_ID)
# What comes before the connection id in the struct hash; the source is all that tells the networks apart.
_MAINNET_AGENT_PREFIX = _AGENT_TYPE_HASH + _keccak256(b"a")
_TESTNET_AGENT_PREFIX = _AGENT_TYPE_HASH + _keccak256(b"b")

_USER_SIGNED_DOMAIN = "HyperliquidSignTransaction"
# The members of each user-signed action after `string hyperliquidChain`, in signing order (sheet 3.4).
_USER_SIGNED_TYPES = {
    "usdSend": ("UsdSend", "string destination,string amount,uint64 time"),
    "spotSend": ("SpotSend", "string destination,string token,string amount,uint64 time"),
    "withdraw3": ("Withdraw", "string destination,string amount,uint64 time"),
    "usdClassTransfer": ("UsdClassTransfer", "string amount,bool toPerp,uint64 nonce"),
    "sendAsset": (
        "SendAsset",
        "string destination,string sourceDex,string destinationDex,string token,string amount,"
        "string fromSubAccount,uint64 nonce",
    ),
    "approveAgent": ("ApproveAgent", "address agentAddress,string agentName,uint64 nonce"),
    "approveBuilderFee": ("ApproveBuilderFee", "string maxFeeRate,address builder,uint64 nonce"),
    "tokenDelegate": ("TokenDelegate", "address validator,uint64 wei,bool isUndelegate,uint64 nonce"),
    "userSetAbstraction": ("UserSetAbstraction", "address user,string abstraction,uint64 nonce"),
    "multiSig": ("SendMultiSig", "bytes32 multiSigActionHash,uint64 nonce"),
}


def action_hash(
    action: Mapping[str, Any],
    nonce: int,
    vault_address: str | None = None,
    expires_after: int | None = None,
) -> bytes:
    """The `connectionId` of an L1 action: Keccak of its MessagePack, nonce, vault and expiry (sheet 3.2).

    `nonce` and `expires_after` are milliseconds since the epoch; `vault_address` is the vault or sub-account
    acted for. Raises ActionError, AddressError or SigningError for content that has no reproducible hash.
    """
    check_signable(action)
    try:
        packed = _pack(action)
    except OverflowError:
        raise SigningError("an integer of the action does not fit into 64 bits") from None
    parts = [packed, _uint64("nonce", nonce)]
    if vault_address is None:
        parts.append(b"\x00")
    else:
        parts.append(b"\x01" + bytes.fromhex(lowercase_address(vault_address)[2:]))
    if expires_after is not None:
        # The marker is 0x00 although a value follows; an absent expiry adds nothing at all.
        parts.append(b"\x00" + _uint64("expires_after", expires_after))
    return _keccak256(b"".join(parts))


class HyperliquidAuth:
    """Signs for one key on one network.

    `address` is the signer's own, lowercase: the master's, or that of an agent (API wallet), which is never
    the account whose orders and balances are read (sheet 3.5). Instances refuse to be pickled or copied and
    may be used from any thread.
    """

    __slots__ = ("_agent_prefix", "_chain_name", "_sign_recoverable", "address", "is_mainnet")

    def __init__(self, private_key: str | bytes, *, is_mainnet: bool) -> None:
        """`private_key` is 64 hex digits, with or without `0x`, or 32 bytes. Raises PrivateKeyError."""
        secret, complaint = _read_key(private_key)
        # Tracebacks may be printed with local variables: none of them is a key when this function raises.
        del private_key
        if secret is None:
            raise PrivateKeyError(complaint)
        key = PrivateKey(secret)
        del secret
        self.address: str = "0x" + _keccak256(key.public_key.format(compressed=False)[1:])[-20:].hex()
        self.is_mainnet: bool = is_mainnet
        self._sign_recoverable: Callable[..., bytes] = key.sign_recoverable
        self._agent_prefix = _MAINNET_AGENT_PREFIX if is_mainnet else _TESTNET_AGENT_PREFIX
        self._chain_name = "Mainnet" if is_mainnet else "Testnet"

    def sign_l1_action(
        self,
        action: Mapping[str, Any],
        nonce: int,
        *,
        vault_address: str | None = None,
        expires_after: int | None = None,
    ) -> Signature:
        """Signs an order, cancel, modify or any other L1 action (sheet 3.3). Arguments and errors as
        `action_hash`."""
        connection_id = action_hash(action, nonce, vault_address, expires_after)
        struct_hash = _keccak256(self._agent_prefix + connection_id)
        return self._sign_digest(_keccak256(_L1_DIGEST_PREFIX + struct_hash))

    def sign_user_signed_action(self, action: Mapping[str, Any]) -> Signature:
        """Signs a transfer, withdrawal or approval, for which the venue wants the master key (sheet 3.4).

        `action` is the posted action with its `type`, `signatureChainId` and `hyperliquidChain`; an unnamed
        agent is signed with `agentName` `""` although the key is left out of the post. Raises SigningError
        for an unknown type, a missing or ill-typed member, or the other network's `hyperliquidChain`.
        """
        chain = action.get("hyperliquidChain")
        if chain != self._chain_name:
            raise SigningError(f"hyperliquidChain is {chain!r} but this key signs for {self._chain_name!r}")
        return self._sign_digest(_user_signed_digest(action))

    def _sign_digest(self, digest: bytes) -> Signature:
        signature = self._sign_recoverable(digest, hasher=None)
        text = signature.hex()
        return Signature("0x" + text[:64], "0x" + text[64:128], _V_OFFSET + signature[64])

    def __repr__(self) -> str:
        return f"HyperliquidAuth(address={self.address!r}, is_mainnet={self.is_mainnet})"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("HyperliquidAuth holds a private key and is neither pickled nor copied")


def _read_key(private_key: object) -> tuple[bytes | None, str]:
    """The 32 bytes of a key, or None and what is wrong with it (its length and kind, never its text)."""
    if isinstance(private_key, str):
        if _HEX_KEY.fullmatch(private_key) is None:
            return None, (
                f"a private key is 64 hex digits, with or without 0x; got {len(private_key)} characters"
                " (or some that are not hex)"
            )
        secret = bytes.fromhex(private_key.removeprefix("0x"))
    elif isinstance(private_key, bytes):
        if len(private_key) != _KEY_BYTES:
            return None, f"a private key is {_KEY_BYTES} bytes, got {len(private_key)}"
        secret = private_key
    else:
        return None, f"a private key is text or bytes, got {type(private_key).__name__}"
    if not 0 < int.from_bytes(secret, "big") < _CURVE_ORDER:
        return None, "the private key is zero or not below the order of the curve secp256k1"
    return secret, ""


def _user_signed_digest(action: Mapping[str, Any]) -> bytes:
    kind = action.get("type")
    if not isinstance(kind, str) or kind not in _USER_SIGNED_TYPES:
        raise SigningError(f"{kind!r} is not a user-signed action; known: {', '.join(_USER_SIGNED_TYPES)}")
    name, rest = _USER_SIGNED_TYPES[kind]
    members = "string hyperliquidChain," + rest
    encoded = [_keccak256(f"HyperliquidTransaction:{name}({members})".encode())]
    for member in members.split(","):
        solidity_type, field = member.split(" ")
        if field not in action:
            raise SigningError(f"{kind}: member {field!r} is missing")
        encoded.append(_encode_member(f"{kind}.{field}", solidity_type, action[field]))
    separator = _domain_separator(_USER_SIGNED_DOMAIN, _chain_id(action.get("signatureChainId")))
    return _keccak256(b"\x19\x01" + separator + _keccak256(b"".join(encoded)))


def _chain_id(text: object) -> int:
    if not isinstance(text, str) or re.fullmatch(r"0x[0-9a-fA-F]{1,16}", text) is None:
        raise SigningError(f"signatureChainId must be a hex number such as '0x66eee', got {text!r}")
    return int(text, 16)


def _encode_member(name: str, solidity_type: str, value: object) -> bytes:
    """One member of an EIP-712 struct as its 32 bytes."""
    if solidity_type == "string":
        if isinstance(value, str):
            return _keccak256(value.encode())
    elif solidity_type == "address":
        if isinstance(value, str):
            return bytes(12) + bytes.fromhex(lowercase_address(value)[2:])
    elif solidity_type == "bool":
        if isinstance(value, bool):
            return _word(int(value))
    elif solidity_type == "bytes32":
        if isinstance(value, bytes) and len(value) == 32:
            return value
    else:
        return bytes(24) + _uint64(name, value)
    raise SigningError(f"{name} must be a {solidity_type}, got {type(value).__name__}")


def _uint64(name: str, value: object) -> bytes:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= UINT64_MAX:
        raise SigningError(f"{name} must be a whole number from 0 to 2^64-1, got {value!r}")
    return value.to_bytes(8, "big")
