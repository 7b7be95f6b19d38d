"""Deserialising requests: typed access to JSON members, a 422 for whatever does not fit (sheet 4.4)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from .errors import Unprocessable
from .numbers import parse_number
from .orders import ALO, FRONTEND_MARKET, GTC, IOC, BuilderFee, OrderRequest, Trigger

Json = dict[str, Any]

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_CLOID = re.compile(r"0x[0-9a-f]{32}")
_TIFS = frozenset({GTC, IOC, ALO, FRONTEND_MARKET})
_U64 = 1 << 64


def as_object(value: object) -> Json:
    if not isinstance(value, dict):
        raise Unprocessable
    return value


def member(obj: Json, key: str) -> object:
    """A member that must be there."""
    if key not in obj:
        raise Unprocessable(
            f"Failed to deserialize the JSON body into the target type: missing field `{key}`"
        )
    return obj[key]


def as_text(value: object) -> str:
    if not isinstance(value, str):
        raise Unprocessable
    return value


def as_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Unprocessable
    return value


def as_count(value: object) -> int:
    """A non-negative integer of 64 bits; JSON booleans are not numbers."""
    if type(value) is not int or not 0 <= value < _U64:
        raise Unprocessable
    return value


def as_signed(value: object) -> int:
    if type(value) is not int or not -(_U64 >> 1) <= value < _U64 >> 1:
        raise Unprocessable
    return value


def as_list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise Unprocessable
    return value


def as_address(value: object) -> str:
    """Lowercase on the way in, whatever case the client sends (sheet 1.1)."""
    text = as_text(value).lower()
    if _ADDRESS.fullmatch(text) is None:
        raise Unprocessable
    return text


def as_cloid(value: object) -> str:
    text = as_text(value).lower()
    if _CLOID.fullmatch(text) is None:
        raise Unprocessable
    return text


def as_oid_or_cloid(value: object) -> int | str:
    return as_cloid(value) if isinstance(value, str) else as_count(value)


def text_member(obj: Json, key: str) -> str:
    return as_text(member(obj, key))


def flag_member(obj: Json, key: str) -> bool:
    return as_flag(member(obj, key))


def count_member(obj: Json, key: str) -> int:
    return as_count(member(obj, key))


def number_member(obj: Json, key: str) -> Decimal:
    return parse_number(member(obj, key))


def address_member(obj: Json, key: str) -> str:
    return as_address(member(obj, key))


def optional_count(obj: Json, key: str) -> int | None:
    value = obj.get(key)
    return None if value is None else as_count(value)


def optional_flag(obj: Json, key: str) -> bool:
    value = obj.get(key)
    return False if value is None else as_flag(value)


def optional_text(obj: Json, key: str) -> str:
    """The text, `""` if absent or null."""
    value = obj.get(key)
    return "" if value is None else as_text(value)


def parse_order(value: object) -> OrderRequest:
    """One entry of `orders`, or the `order` of a modify (sheet 4.1)."""
    entry = as_object(value)
    kind = as_object(member(entry, "t"))
    tif: str | None = None
    trigger: Trigger | None = None
    if "limit" in kind:
        tif = text_member(as_object(kind["limit"]), "tif")
        if tif not in _TIFS:
            raise Unprocessable
    elif "trigger" in kind:
        spec = as_object(kind["trigger"])
        tpsl = text_member(spec, "tpsl")
        if tpsl not in ("tp", "sl"):
            raise Unprocessable
        trigger = Trigger(number_member(spec, "triggerPx"), flag_member(spec, "isMarket"), tpsl == "tp")
    else:
        raise Unprocessable
    cloid = entry.get("c")
    return OrderRequest(
        asset=count_member(entry, "a"),
        is_buy=flag_member(entry, "b"),
        limit_px=number_member(entry, "p"),
        size=number_member(entry, "s"),
        reduce_only=flag_member(entry, "r"),
        tif=tif,
        trigger=trigger,
        cloid=None if cloid is None else as_cloid(cloid),
    )


def parse_builder(action: Json) -> BuilderFee | None:
    value = action.get("builder")
    if value is None:
        return None
    builder = as_object(value)
    return BuilderFee(address_member(builder, "b"), count_member(builder, "f"))
