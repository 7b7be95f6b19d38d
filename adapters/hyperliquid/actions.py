"""Unsigned L1 actions, and the envelope in which a signed one is posted (sheet 3.1, 3.7, 4.1, 4.2).

What is signed is the MessagePack of these dicts in insertion order, so the key order of 3.7 is part of the
signature. Optional members are present or absent, never null, and optional flags are never false: the venue
rebuilds the action without them and would recover a stranger's address.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from adapters.hyperliquid.addresses import lowercase_address
from adapters.hyperliquid.client_ids import is_cloid
from adapters.hyperliquid.wire_numbers import to_micro_usdc, to_wire

Action: TypeAlias = dict[str, Any]
"""An L1 action or a part of one: str, int, bool, list and dict, in the order in which it is packed."""

Tif: TypeAlias = Literal["Gtc", "Ioc", "Alo"]
"""Time in force: rests; fills what it can and drops the rest; post only (sheet 4.1)."""

Tpsl: TypeAlias = Literal["tp", "sl"]
"""Whether a trigger order takes a profit or stops a loss."""

Grouping: TypeAlias = Literal["na", "normalTpsl", "positionTpsl"]
"""Independent orders; a parent followed by its TP/SL children; TP/SL of the whole position (sheet 4.1)."""

ENTRIES_MAX = 200
"""Most entries the venue takes in one action (sheet 4.5, 9.4)."""

UINT64_MAX = 2**64 - 1

_TIFS = get_args(Tif)
_TPSLS = get_args(Tpsl)
_GROUPINGS = get_args(Grouping)
_OPTIONAL_FLAGS = ("f", "a")


class ActionError(ValueError):
    """An action cannot be built or signed as asked; nothing was sent."""


class Signature(msgspec.Struct, frozen=True):
    """An ECDSA signature as the venue takes it: `r` and `s` as `0x` and 64 hex digits, `v` 27 or 28."""

    r: str
    s: str
    v: int


class BuilderFee(msgspec.Struct, frozen=True):
    """A fee for the interface that brought the order, in tenths of a basis point, on top of the venue's own.

    The venue takes up to 100 on perps and 1000 on spot, once the user has approved the rate (sheet 4.1).
    """

    address: str
    tenths_of_basis_point: int


def limit(tif: Tif) -> Action:
    """The `t` member of a limit order."""
    return {"limit": {"tif": _one_of("tif", tif, _TIFS)}}


def trigger(trigger_price: Decimal, *, is_market: bool, tpsl: Tpsl) -> Action:
    """The `t` member of a stop or take-profit order; with `is_market` the order's price is only a
    protection."""
    return {
        "trigger": {
            "isMarket": _flag("is_market", is_market),
            "triggerPx": _positive("trigger price", trigger_price),
            "tpsl": _one_of("tpsl", tpsl, _TPSLS),
        }
    }


def order_entry(
    *,
    asset: int,
    is_buy: bool,
    price: Decimal,
    size: Decimal,
    reduce_only: bool,
    order_type: Action,
    cloid: str | None = None,
) -> Action:
    """One order of an order, modify or batchModify action. `order_type` comes from `limit()` or `trigger()`.

    A size of zero stands for "the whole position" and is taken for a reduce-only trigger order alone (4.1).
    """
    whole_position = to_wire(size) == "0" and reduce_only and "trigger" in order_type
    entry: Action = {
        "a": _integer("asset", asset),
        "b": _flag("is_buy", is_buy),
        "p": _positive("price", price),
        "s": "0" if whole_position else _positive("size", size),
        "r": _flag("reduce_only", reduce_only),
        "t": order_type,
    }
    if cloid is not None:
        entry["c"] = _cloid(cloid)
    return entry


def order(
    entries: Sequence[Action], *, grouping: Grouping = "na", builder: BuilderFee | None = None
) -> Action:
    """Places one order or a batch; each entry gets its own outcome (sheet 4.1).

    Raises ActionError where the venue would refuse the whole batch: no entry, more than 200, or a TP/SL
    grouping whose children are not reduce-only trigger orders.
    """
    _check_count(entries)
    _check_grouping(entries, _one_of("grouping", grouping, _GROUPINGS))
    action: Action = {"type": "order", "orders": list(entries), "grouping": grouping}
    if builder is not None:
        action["builder"] = {
            "b": lowercase_address(builder.address),
            "f": _integer("builder fee", builder.tenths_of_basis_point),
        }
    return action


def cancel(orders: Sequence[tuple[int, int]], *, fast: bool = False) -> Action:
    """Cancels by (asset, exchange order id). `fast` is refused by the venue for trigger orders (4.2)."""
    _check_count(orders)
    action: Action = {
        "type": "cancel",
        "cancels": [{"a": _integer("asset", asset), "o": _integer("oid", oid)} for asset, oid in orders],
    }
    return _with_flag(action, "f", fast)


def cancel_by_cloid(orders: Sequence[tuple[int, str]], *, fast: bool = False) -> Action:
    """Cancels by (asset, cloid): the only cancel for an order whose exchange order id is not known yet."""
    _check_count(orders)
    action: Action = {
        "type": "cancelByCloid",
        "cancels": [{"asset": _integer("asset", asset), "cloid": _cloid(cloid)} for asset, cloid in orders],
    }
    return _with_flag(action, "f", fast)


def modify(oid: int | str, entry: Action, *, allow_trigger_or_taking: bool = False) -> Action:
    """Cancels the order `oid` (exchange order id or cloid) and places `entry` in its stead (sheet 4.2).

    The answer does not tell the new exchange order id: give the entry a cloid, or use `batch_modify`.
    Without `allow_trigger_or_taking` the replacement must be a limit order that does not execute at once.
    """
    action: Action = {"type": "modify", "oid": _oid_or_cloid(oid), "order": entry}
    return _with_flag(action, "a", allow_trigger_or_taking)


def batch_modify(
    modifies: Sequence[tuple[int | str, Action]], *, allow_trigger_or_taking: bool = False
) -> Action:
    """`modify` for several orders; the answer carries an outcome and an exchange order id for each."""
    _check_count(modifies)
    action: Action = {
        "type": "batchModify",
        "modifies": [{"oid": _oid_or_cloid(oid), "order": entry} for oid, entry in modifies],
    }
    return _with_flag(action, "a", allow_trigger_or_taking)


def schedule_cancel(time_ms: int | None) -> Action:
    """Has the venue cancel every open order at `time_ms` (at least 5 s ahead), or clears that with None."""
    action: Action = {"type": "scheduleCancel"}
    if time_ms is not None:
        action["time"] = _integer("time", time_ms)
    return action


def update_leverage(*, asset: int, is_cross: bool, leverage: int) -> Action:
    """Sets the leverage of a market: 1 to its maximum, cross or isolated."""
    if _integer("leverage", leverage) < 1:
        raise ActionError("leverage must be a whole number of at least 1")
    return {
        "type": "updateLeverage",
        "asset": _integer("asset", asset),
        "isCross": _flag("is_cross", is_cross),
        "leverage": leverage,
    }


def update_isolated_margin(*, asset: int, amount: Decimal) -> Action:
    """Adds `amount` USDC to the margin of an isolated position; a negative amount takes it away."""
    millionths = to_micro_usdc(amount)
    if millionths == 0:
        raise ActionError("an isolated margin change of 0 USDC does nothing")
    # isBuy has no effect in the venue's one-way mode, but is part of what is signed (sheet 4.2).
    return {
        "type": "updateIsolatedMargin",
        "asset": _integer("asset", asset),
        "isBuy": True,
        "ntli": millionths,
    }


def noop() -> Action:
    """Uses up a nonce and does nothing else: sent with the nonce of an action whose outcome is unknown, it
    proves that the action never landed, or that it did (sheet 3.8, 11.1)."""
    return {"type": "noop"}


def entry_count(action: Mapping[str, Any]) -> int:
    """How many entries an action counts against the budget of the address (sheet 9.2): at least one."""
    for member in ("orders", "cancels", "modifies"):
        if member in action:
            return len(action[member])
    return 1


def check_signable(action: Mapping[str, Any]) -> None:
    """Raises ActionError for content that would be packed into a signature the venue cannot reproduce (3.2).

    That is: null, float or any other type but str, int, bool, list and dict; and an optional flag that is
    false instead of absent.
    """
    _check_dict(action)


def encode_envelope(
    action: Mapping[str, Any],
    nonce: int,
    signature: Signature,
    vault_address: str | None = None,
    expires_after: int | None = None,
) -> bytes:
    """The JSON body of `POST /exchange`; the arguments must be the ones that were signed (sheet 3.1)."""
    body: dict[str, Any] = {
        "action": action,
        "nonce": nonce,
        "signature": {"r": signature.r, "s": signature.s, "v": signature.v},
    }
    if vault_address is not None:
        body["vaultAddress"] = lowercase_address(vault_address)
    if expires_after is not None:
        body["expiresAfter"] = expires_after
    return msgspec.json.encode(body)


def _check_dict(mapping: Mapping[str, Any]) -> None:
    for key, value in mapping.items():
        kind = type(value)
        if kind is str or kind is int:
            continue
        if kind is bool:
            if value is False and key in _OPTIONAL_FLAGS:
                raise ActionError(f"optional flag {key!r} is false: leave it out instead")
        elif kind is dict:
            _check_dict(value)
        elif kind is list:
            _check_list(key, value)
        else:
            raise ActionError(_cannot_sign(key, value))


def _check_list(key: str, values: list[Any]) -> None:
    for value in values:
        kind = type(value)
        if kind is dict:
            _check_dict(value)
        elif kind is not str and kind is not int and kind is not bool:
            raise ActionError(_cannot_sign(key, value))


def _cannot_sign(key: str, value: object) -> str:
    hint = "leave the member out" if value is None else "numbers are wire strings or ints"
    return f"member {key!r} is {type(value).__name__}, which cannot be signed: {hint}"


def _check_count(entries: Sequence[object]) -> None:
    if not entries:
        raise ActionError("an action needs at least one entry")
    if len(entries) > ENTRIES_MAX:
        raise ActionError(
            f"{len(entries)} entries in one action; the venue takes {ENTRIES_MAX}: split the batch"
        )


def _check_grouping(entries: Sequence[Action], grouping: str) -> None:
    if grouping == "na":
        return
    children = entries[1:] if grouping == "normalTpsl" else entries
    if not children:
        raise ActionError("normalTpsl needs a parent order and at least one TP/SL order after it")
    for child in children:
        if "trigger" not in child["t"] or not child["r"]:
            raise ActionError(f"{grouping}: TP/SL orders must be reduce-only trigger orders")


def _with_flag(action: Action, key: str, value: bool) -> Action:
    if _flag(key, value):
        action[key] = True
    return action


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ActionError(f"{name} must be true or false, got {value!r}")
    return value


def _integer(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= UINT64_MAX:
        raise ActionError(f"{name} must be a whole number from 0 to 2^64-1, got {value!r}")
    return value


def _positive(name: str, value: Decimal) -> str:
    text = to_wire(value)
    if text == "0" or text.startswith("-"):
        raise ActionError(f"{name} must be above zero, got {value}")
    return text


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ActionError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value


def _cloid(cloid: str) -> str:
    if not isinstance(cloid, str) or not is_cloid(cloid):
        raise ActionError(f"a cloid is 0x and 32 lowercase hex digits, got {cloid!r}")
    return cloid


def _oid_or_cloid(oid: int | str) -> int | str:
    return _cloid(oid) if isinstance(oid, str) else _integer("oid", oid)
