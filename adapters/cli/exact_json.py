"""JSON whose decimals are written as the ledger writes them: never with an exponent."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from domain.money import decimal_text

__all__ = ["exact_builtins", "exact_json"]


def exact_json(value: object) -> str:
    """A row, or anything made of rows, as JSON; decimals are strings."""
    return msgspec.json.encode(exact_builtins(value)).decode()


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
