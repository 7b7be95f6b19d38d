"""Takes recorded frames and answers of Hyperliquid apart: for excerpts, and to hide amounts.

The entry point of `orderledger session cut` and `orderledger redact`. Rows about orders are known by their
`oid` and `cloid`. Of what the venue says about an account every decimal text is an amount or a value, unless
its name says that it is a price or a rate: what this module does not know is hidden, not shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, TypeVar

from msgspec.structs import replace

from domain.effects import Query, SendAction
from domain.inputs import Input, RequestAnswered, Started, StreamFrame

__all__ = ["HyperliquidRewriter"]

_Item = TypeVar("_Item", bound=Input)
Scale = Callable[[Decimal], Decimal]

_PUBLIC_READS = frozenset(
    {"meta", "metaAndAssetCtxs", "perpDexs", "spotMeta", "exchangeStatus", "allMids", "l2Book", "userRole"}
)
_PUBLIC_CHANNELS = frozenset({"l2Book", "bbo", "activeAssetCtx", "allMids", "trades", "candle"})
_ROW_LISTS = frozenset({"fills", "nonUserCancel"})
_KEPT_NUMBERS = frozenset({"px", "fundingRate", "funding", "premium", "returnOnEquity", "rate"})
_MESSAGES = frozenset({"error", "response"})
_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_IN_TEXT = re.compile(r"[0-9]+\.[0-9]+")
_PARTS_WITHOUT_TRADE_ID = 7
"""A fill without a trade id is known by what it is: coin, oid, time, side, price, size, start position."""


_PARTS_BEFORE_TRANSFER = 3


class HyperliquidRewriter:
    """Knows which rows are of which order, which numbers are amounts, and what a request asks."""

    def question(self, request: SendAction | Query) -> tuple[str, tuple[str, ...]]:
        """Kind of action or read, with what tells two of a kind apart; and the orders, by oid or cloid.

        The times of a read are left out: they follow from what was booked before.
        """
        if isinstance(request, Query):
            body = request.body
            asked_for = (str(body["oid"]),) if "oid" in body else ()
            rest = {
                name: value for name, value in body.items() if name not in ("oid", "startTime", "endTime")
            }
            return json.dumps(rest, sort_keys=True), asked_for
        action = request.action
        names = tuple(_entry_name(entry) for entry in _entries(action))
        return f"{action['type']} {action.get('asset', '')}", names

    def market_of(self, item: Input) -> str:
        """Channel and coin of a frame of market data; empty for every other input."""
        if not isinstance(item, StreamFrame):
            return ""
        frame = _parsed(item.data)
        if not isinstance(frame, dict) or frame.get("channel") not in _PUBLIC_CHANNELS:
            return ""
        data = frame.get("data")
        coin = data.get("coin", "") if isinstance(data, dict) else ""
        return f"{frame['channel']} {coin}"

    def without_orders(
        self, item: _Item, answered: SendAction | Query | None, is_other: Callable[[str], bool]
    ) -> _Item | None:
        """A frame without rows of other orders, None when no row is left; an answer with fewer entries.

        Fills no longer tell the position they started from: it was one with the fills of all orders, and a
        core that finds another one looks for fills that are missing.
        """
        if isinstance(item, StreamFrame):
            frame = _parsed(item.data)
            left = _without_rows(frame, is_other)
            if left == frame:
                return item
            return None if _is_empty(left) else replace(item, data=_written(left))
        if isinstance(item, RequestAnswered) and item.status == 200:
            answer = _parsed(item.body)
            if isinstance(answered, SendAction):
                names = [_entry_name(entry) for entry in _entries(answered.action)]
                if any(map(is_other, names)):
                    return replace(item, body=_written(_without_entries(answer, names, is_other)))
            else:
                left = _without_rows(answer, is_other)
                return item if left == answer else replace(item, body=_written(left))
        return item

    def scaled(self, item: _Item, answered: SendAction | Query | None, scale: Scale) -> _Item:
        """Amounts and values of the account scaled, in frames, answers and the keys of what is booked."""
        if isinstance(item, StreamFrame):
            return item if self.market_of(item) else replace(item, data=_scaled_bytes(item.data, scale))
        if isinstance(item, RequestAnswered):
            if isinstance(answered, Query) and answered.body.get("type") in _PUBLIC_READS:
                return item
            return replace(item, body=_scaled_bytes(item.body, scale))
        if isinstance(item, Started):
            fill_keys = tuple(_scaled_fill_key(key, scale) for key in item.recent_fill_keys)
            transfer_keys = tuple(_scaled_transfer_key(key, scale) for key in item.recent_transfer_keys)
            return replace(item, recent_fill_keys=fill_keys, recent_transfer_keys=transfer_keys)
        return item


# -- rows ----------------------------------------------------------------------------------------------------


def _entries(action: dict[str, Any]) -> list[dict[str, Any]]:
    for member in ("orders", "cancels", "modifies"):
        if member in action:
            entries: list[dict[str, Any]] = action[member]
            return entries
    return []


def _entry_name(entry: dict[str, Any]) -> str:
    """The order an entry of an action is about; a modify is about the order it replaces."""
    for member in ("oid", "c", "cloid", "o"):
        if member in entry:
            return str(entry[member])
    return ""


def _names_of(row: object) -> Iterator[str]:
    """The names of the order that a row is about: rows carry them themselves or in their `order`."""
    if isinstance(row, dict):
        for member in ("oid", "cloid"):
            name = row.get(member)
            if isinstance(name, str | int):
                yield str(name).lower()
        inner = row.get("order")
        if isinstance(inner, dict):
            yield from _names_of(inner)


def _without_rows(value: Any, is_other: Callable[[str], bool]) -> Any:
    """Every list without the rows that name another order, and without what rows say of the position."""
    if isinstance(value, dict):
        return {
            name: _without_rows(inner, is_other) for name, inner in value.items() if name != "startPosition"
        }
    if isinstance(value, list):
        return [_without_rows(row, is_other) for row in value if not any(map(is_other, _names_of(row)))]
    return value


def _is_empty(frame: Any) -> bool:
    """Whether nothing is left of a frame once its rows are gone."""
    data = frame.get("data") if isinstance(frame, dict) else frame
    if isinstance(data, dict):
        return all(not data.get(name) for name in _ROW_LISTS) and not (
            data.keys() - _ROW_LISTS - {"user", "isSnapshot"}
        )
    return data == []


def _without_entries(answer: Any, names: list[str], is_other: Callable[[str], bool]) -> Any:
    """The results of an action without those of other orders. One error for all entries stays as it is."""
    match answer:
        case {"response": {"data": {"statuses": list(statuses)}}} if len(statuses) == len(names):
            kept = [status for status, name in zip(statuses, names, strict=True) if not is_other(name)]
            response = answer["response"]
            data = {**response["data"], "statuses": kept}
            return {**answer, "response": {**response, "data": data}}
    return answer


# -- numbers -------------------------------------------------------------------------------------------------


def _scaled_bytes(data: bytes, scale: Scale) -> bytes:
    value = _parsed(data)
    if value is None:
        # Not JSON, so nothing says which number is what: none of them stays.
        return _IN_TEXT.sub("0.0", data.decode("utf-8", "backslashreplace")).encode()
    return _written(_scaled(value, "", scale))


def _scaled(value: Any, name: str, scale: Scale) -> Any:
    if isinstance(value, dict):
        return {key: _scaled(inner, key, scale) for key, inner in value.items()}
    if isinstance(value, list):
        return [_scaled(inner, name, scale) for inner in value]
    if isinstance(value, str):
        if name in _MESSAGES:
            return _IN_TEXT.sub("0.0", value)
        if not _is_kept(name) and _DECIMAL.fullmatch(value):
            return format(scale(Decimal(value)), "f")
    return value


def _is_kept(name: str) -> bool:
    return name in _KEPT_NUMBERS or name.endswith("Px")


def _scaled_fill_key(key: str, scale: Scale) -> str:
    *begin, size, start = key.split(":")
    if len(begin) + 2 < _PARTS_WITHOUT_TRADE_ID:
        return key
    return ":".join([*begin, *(format(scale(Decimal(part)), "f") if part else "" for part in (size, start))])


def _scaled_transfer_key(key: str, scale: Scale) -> str:
    """Time, transaction and kind stand before the venue's own record, which has the amounts."""
    *begin, detail = key.split(":", _PARTS_BEFORE_TRANSFER)
    return ":".join([*begin, _scaled_bytes(detail.encode(), scale).decode()])


# -- JSON ----------------------------------------------------------------------------------------------------


def _parsed(data: bytes) -> Any:
    """The value of a JSON text; None for what is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _written(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
