"""What the answer to an action says, entry by entry (sheet 4.3, 4.4, 4.5)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from adapters.hyperliquid.reason_codes import Outcome, Refusal, classify_error
from adapters.hyperliquid.unreadable import UNREADABLE
from domain.money import parse_decimal

__all__ = ["Accepted", "Ambiguous", "Dormant", "Entry", "Executed", "Resting", "read_answer"]

_DEFINITE_HTTP = {400: "malformed_request", 415: "malformed_request", 422: "malformed_request"}
"""Statuses that say that nothing happened (sheet 4.4). Every other one but 200 is ambiguous."""


class Resting(msgspec.Struct, frozen=True):
    """On the book."""

    exchange_order_id: str
    venue_order_key: str | None


class Executed(msgspec.Struct, frozen=True):
    """Executed something now: `total` base units by this action, not necessarily all of the order."""

    exchange_order_id: str
    total: Decimal


class Dormant(msgspec.Struct, frozen=True):
    """Accepted, waiting for its parent or its trigger; no exchange id yet."""


class Accepted(msgspec.Struct, frozen=True):
    """Done as asked (a cancel, a leverage change); tells nothing more."""


class Ambiguous(msgspec.Struct, frozen=True):
    """May or may not have taken effect."""

    code: str
    text: str


Entry = Resting | Executed | Dormant | Accepted | Ambiguous | Refusal


class _Answer(msgspec.Struct):
    status: str
    response: Any = None


_OID_MAX = 2**63 - 1
_ANSWER = msgspec.json.Decoder(_Answer)


def read_answer(status: int, body: bytes, count: int) -> list[Entry]:
    """One entry for each of the `count` entries of the action, in their order. Never raises.

    A single error where several entries were sent is the error of all of them. Fewer results than entries
    otherwise leave the rest ambiguous.
    """
    if status in _DEFINITE_HTTP:
        text = f"HTTP {status}: {_text(body)}"
        return [Refusal(_DEFINITE_HTTP[status], text, Outcome.REFUSED)] * count
    if status != 200:
        return [Ambiguous(f"http_{status}", _text(body))] * count
    try:
        answer = _ANSWER.decode(body)
    except UNREADABLE:
        return [Ambiguous("unreadable_answer", _text(body))] * count
    if answer.status == "err":
        return [classify_error(str(answer.response))] * count
    if answer.status != "ok" or not isinstance(answer.response, dict):
        return [Ambiguous("unreadable_answer", _text(body))] * count
    data = answer.response.get("data")
    statuses = data.get("statuses") if isinstance(data, dict) else None
    if statuses is None:
        return [Accepted()] * count
    if not isinstance(statuses, list):
        return [Ambiguous("unreadable_answer", _text(body))] * count
    entries = [_entry(row) for row in statuses[:count]]
    if len(entries) < count:
        if len(entries) == 1 and isinstance(entries[0], Refusal):
            return entries * count
        entries += [Ambiguous("truncated_answer", _text(body))] * (count - len(entries))
    return entries


def _entry(row: object) -> Entry:
    match row:
        case "success":
            return Accepted()
        case "waitingForFill" | "waitingForTrigger":
            return Dormant()
        case {"resting": {"oid": int(oid), **rest}} if _is_oid(oid):
            cloid = rest.get("cloid")
            return Resting(str(oid), cloid.lower() if isinstance(cloid, str) else None)
        case {"filled": {"oid": int(oid), "totalSz": str(total)}} if _is_oid(oid):
            try:
                return Executed(str(oid), parse_decimal(total))
            except ValueError:
                return Ambiguous("unreadable_answer", str(row)[:400])
        case {"error": str(text)}:
            return classify_error(text)
    return Ambiguous("unreadable_answer", str(row)[:400])


def _is_oid(number: int) -> bool:
    return number is not True and number is not False and 0 <= number <= _OID_MAX


def _text(body: bytes) -> str:
    return body[:400].decode("utf-8", "backslashreplace")
