"""JSON whose decimals are written as the ledger writes them: never with an exponent."""

from __future__ import annotations

import re
from decimal import Decimal

import msgspec

from domain.money import decimal_text

__all__ = ["exact_builtins", "exact_json"]


_EXPONENT = re.compile(r"\dE[+-]\d")


def exact_json(value: object) -> str:
    """A row, or anything made of rows, as JSON; decimals are strings."""
    text = msgspec.json.encode(value).decode()
    # Hardly any number has one, and to look costs a tenth of writing each of them here.
    return msgspec.json.encode(exact_builtins(value)).decode() if _EXPONENT.search(text) else text


def exact_builtins(value: object) -> object:
    """The same as dictionaries, lists and texts."""
    return _exact(msgspec.to_builtins(value, builtin_types=(Decimal,)))


def _exact(value: object) -> object:
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, dict):
        return {name: _exact(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(member) for member in value]
    return value
