"""What the server makes of a posted action: typed, normalised, in hash order (protocol sheet 3.6, 3.7).

The venue deserialises the JSON body into its own types and serialises those again before hashing. So white
space, key order, unknown members and letter case of the *body* do not matter, while a client that *signed*
anything but the canonical form (``"43210.0"``, an upper-case cloid, ``"c": null``, ``"f": false``) recovers
to a stranger.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from adapters.simulator.engine import Unprocessable

Json = Any
"""A parsed JSON value: the one place where the shape is not known yet."""

Rebuild = Callable[[Json, str], Json]
"""Checks the value found at a path and returns its canonical form; raises Unprocessable."""

_UNREADABLE = "Failed to deserialize the JSON body into the target type"
_U64_MAX = 2**64 - 1
_U32_MAX = 2**32 - 1
_DECIMAL = re.compile(r"(?P<sign>[+-]?)(?P<whole>\d*)(?:\.(?P<fraction>\d*))?", re.ASCII)
_HEX_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_HEX_CLOID = re.compile(r"0x[0-9a-f]{32}")
_HEX_INTEGER = re.compile(r"0x[0-9a-fA-F]{1,16}")


def _malformed(what: str) -> Unprocessable:
    """The body cannot be read as the type the server expects: HTTP 422, nothing happened (sheet 4.4)."""
    return Unprocessable(f"{_UNREADABLE}: {what}")


def _uint(most: int) -> Rebuild:
    def rebuild(value: Json, path: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise _malformed(f"{path}: expected an integer from 0 to {most}")
        return value

    return rebuild


u32 = _uint(_U32_MAX)
u64 = _uint(_U64_MAX)


def i64(value: Json, path: str) -> int:
    """A signed 64-bit integer, such as the micro-USDC of an isolated margin change."""
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise _malformed(f"{path}: expected a 64-bit integer")
    return value


def flag(value: Json, path: str) -> bool:
    """A boolean."""
    if not isinstance(value, bool):
        raise _malformed(f"{path}: expected a boolean")
    return value


def text(value: Json, path: str) -> str:
    """A string, taken as it is; half of a surrogate pair, which JSON can smuggle in, is no text."""
    if not isinstance(value, str) or (not value.isascii() and not _encodable(value)):
        raise _malformed(f"{path}: expected a string")
    return value


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def lowercase_text(value: Json, path: str) -> str:
    """A string the server lower-cases, such as the ``destination`` of a transfer (a `string`, sheet 3.4)."""
    return text(value, path).lower()


def number(value: Json, path: str) -> str:
    """A decimal string as the server writes it: no trailing zeros, no leading ones, no plus (sheet 2.2).

    A string that is no plain decimal stays as it is: the order checks refuse it, with their own text.
    """
    found = _DECIMAL.fullmatch(text(value, path))
    if found is None or not (found["whole"] or found["fraction"]):
        return str(value)
    whole = found["whole"].lstrip("0") or "0"
    fraction = (found["fraction"] or "").rstrip("0")
    plain = f"{whole}.{fraction}" if fraction else whole
    return f"-{plain}" if found["sign"] == "-" and plain != "0" else plain


def address(value: Json, path: str) -> str:
    """Twenty bytes in hex, lower-cased."""
    lowered = text(value, path).lower()
    if not _HEX_ADDRESS.fullmatch(lowered):
        raise _malformed(f"{path}: expected 0x and 40 hex digits")
    return lowered


def cloid(value: Json, path: str) -> str:
    """A client order id: sixteen bytes in hex, lower-cased (sheet 4.1)."""
    lowered = text(value, path).lower()
    if not _HEX_CLOID.fullmatch(lowered):
        raise _malformed(f"{path}: expected 0x and 32 hex digits")
    return lowered


def oid_or_cloid(value: Json, path: str) -> int | str:
    """An order id as the venue's integer or the client's own."""
    return cloid(value, path) if isinstance(value, str) else int(u64(value, path))


def chain_id(value: Json, path: str) -> str:
    """The hex id of the chain the wallet was on when it signed."""
    if not isinstance(value, str) or not _HEX_INTEGER.fullmatch(value):
        raise _malformed(f"{path}: expected a hex chain id")
    return value


def one_of(*words: str) -> Rebuild:
    """One of a fixed set of strings."""

    def rebuild(value: Json, path: str) -> str:
        if value not in words:
            raise _malformed(f"{path}: unknown variant, expected one of {', '.join(words)}")
        return str(value)

    return rebuild


def record(required: Mapping[str, Rebuild], optional: Mapping[str, Rebuild] | None = None) -> Rebuild:
    """An object with its members in hash order: all `required`, then those of `optional` that are set.

    ``null`` and, for flags, ``false`` mean "not set": the canonical form has no such key (sheet 3.2).
    """

    def rebuild(value: Json, path: str) -> dict[str, Json]:
        if not isinstance(value, dict):
            raise _malformed(f"{path}: expected an object")
        built = {}
        for key, member in required.items():
            if key not in value:
                raise _malformed(f"{path}: missing field `{key}`")
            built[key] = member(value[key], f"{path}.{key}")
        for key, member in (optional or {}).items():
            if value.get(key) is None:
                continue
            found = member(value[key], f"{path}.{key}")
            if found is not False:
                built[key] = found
        return built

    return rebuild


def listing(entry: Rebuild) -> Rebuild:
    """An array of equal entries."""

    def rebuild(value: Json, path: str) -> list[Json]:
        if not isinstance(value, list):
            raise _malformed(f"{path}: expected an array")
        return [entry(element, f"{path}[{index}]") for index, element in enumerate(value)]

    return rebuild


_limit = record({"tif": one_of("Gtc", "Ioc", "Alo", "FrontendMarket")})
_trigger = record({"isMarket": flag, "triggerPx": number, "tpsl": one_of("tp", "sl")})


def _order_kind(value: Json, path: str) -> dict[str, Json]:
    if not isinstance(value, dict) or len(value) != 1:
        raise _malformed(f"{path}: expected exactly one of limit, trigger")
    if "limit" in value:
        return {"limit": _limit(value["limit"], f"{path}.limit")}
    if "trigger" in value:
        return {"trigger": _trigger(value["trigger"], f"{path}.trigger")}
    raise _malformed(f"{path}: expected exactly one of limit, trigger")


_named_grouping = one_of("na", "normalTpsl", "positionTpsl")
_priority_grouping = record({"p": u32})


def _grouping(value: Json, path: str) -> Json:
    return _priority_grouping(value, path) if isinstance(value, dict) else _named_grouping(value, path)


def _passed_on(value: Json, path: str) -> Json:
    try:
        msgspec.msgpack.encode(value)
    except (OverflowError, TypeError, ValueError) as unpackable:
        raise _malformed(f"{path}: {unpackable}") from unpackable
    return value


_order = record({"a": u32, "b": flag, "p": number, "s": number, "r": flag, "t": _order_kind}, {"c": cloid})

L1_ACTIONS: Mapping[str, Rebuild] = {
    "order": record(
        {"orders": listing(_order), "grouping": _grouping}, {"builder": record({"b": address, "f": u32})}
    ),
    "cancel": record({"cancels": listing(record({"a": u32, "o": u64}))}, {"f": flag}),
    "cancelByCloid": record({"cancels": listing(record({"asset": u32, "cloid": cloid}))}, {"f": flag}),
    "modify": record({"oid": oid_or_cloid, "order": _order}, {"a": flag}),
    "batchModify": record({"modifies": listing(record({"oid": oid_or_cloid, "order": _order}))}, {"a": flag}),
    "scheduleCancel": record({}, {"time": u64}),
    "updateLeverage": record({"asset": u32, "isCross": flag, "leverage": u32}),
    "updateIsolatedMargin": record({"asset": u32, "isBuy": flag, "ntli": i64}),
    "topUpIsolatedOnlyMargin": record({"asset": u32, "leverage": number}),
    "twapOrder": record(
        {"twap": record({"a": u32, "b": flag, "s": number, "r": flag, "m": u32, "t": flag})},
        {"details": _passed_on},
    ),
    "twapCancel": record({"a": u32, "t": u64}),
    "reserveRequestWeight": record({"weight": u32}, {"destination": address}),
    "noop": record({}),
    "createSubAccount": record({"name": text}),
    "subAccountTransfer": record({"subAccountUser": address, "isDeposit": flag, "usd": u64}),
    "subAccountSpotTransfer": record(
        {"subAccountUser": address, "isDeposit": flag, "token": text, "amount": text}
    ),
    "vaultTransfer": record({"vaultAddress": address, "isDeposit": flag, "usd": u64}),
    "setReferrer": record({"code": text}),
    "evmUserModify": record({"usingBigBlocks": flag}),
    "agentEnableDexAbstraction": record({}),
    "agentSetAbstraction": record({"abstraction": text}),
}
"""Actions any approved key may sign, by ``type``, with the members after it in hash order (sheet 3.7)."""

_chain = {"signatureChainId": chain_id, "hyperliquidChain": one_of("Mainnet", "Testnet")}

USER_SIGNED_ACTIONS: Mapping[str, Rebuild] = {
    "usdSend": record({"destination": lowercase_text, "amount": text, "time": u64, **_chain}),
    "spotSend": record({"destination": lowercase_text, "token": text, "amount": text, "time": u64, **_chain}),
    "withdraw3": record({"destination": lowercase_text, "amount": text, "time": u64, **_chain}),
    "usdClassTransfer": record({"amount": text, "toPerp": flag, "nonce": u64, **_chain}),
    "sendAsset": record(
        {
            "destination": lowercase_text,
            "sourceDex": text,
            "destinationDex": text,
            "token": text,
            "amount": text,
            "fromSubAccount": lowercase_text,
            "nonce": u64,
            **_chain,
        }
    ),
    "approveAgent": record({"agentAddress": address, "nonce": u64, **_chain}, {"agentName": text}),
    "approveBuilderFee": record({"maxFeeRate": text, "builder": address, "nonce": u64, **_chain}),
    "tokenDelegate": record({"validator": address, "wei": u64, "isUndelegate": flag, "nonce": u64, **_chain}),
    "userSetAbstraction": record({"user": address, "abstraction": text, "nonce": u64, **_chain}),
    "userDexAbstraction": record({"user": address, "enabled": flag, "nonce": u64, **_chain}),
    "convertToMultiSigUser": record({"signers": text, "nonce": u64, **_chain}),
}
"""Actions only a master key may sign, by ``type``; their JSON order is free (sheet 3.4)."""


def canonical_action(action: Json) -> dict[str, Json]:
    """Rebuild a posted action as the server would; raises Unprocessable if it could not deserialise it."""
    if not isinstance(action, dict):
        raise _malformed("action: expected an object")
    kind = action.get("type")
    if not isinstance(kind, str):
        raise _malformed("action: missing field `type`")
    rebuild = L1_ACTIONS.get(kind) or USER_SIGNED_ACTIONS.get(kind)
    if rebuild is None:
        raise _malformed(f"action.type: unknown variant `{kind[:64]}`")
    return {"type": kind, **rebuild(action, f"action({kind})")}
