"""Values as the views hold them: canonical decimal texts and JSON, made of numbers fit for arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from domain.events import Fill
from domain.money import decimal_text, is_usable

__all__ = ["check_fill", "check_usable", "fees_from_text", "fees_text", "optional_decimal", "optional_text"]

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(dict[str, Decimal], strict=True).decode


def optional_text(value: Decimal | None) -> str | None:
    return None if value is None else decimal_text(value)


def optional_decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def fees_text(totals: Iterable[tuple[str, Decimal]]) -> str:
    """Totals per token as a JSON object of decimal texts, sorted by token."""
    return _encode({token: decimal_text(total) for token, total in sorted(totals)}).decode()


def fees_from_text(text: str) -> dict[str, Decimal]:
    """The totals that `fees_text` wrote."""
    return _decode(text)


def check_usable(*values: Decimal) -> None:
    """Raise `ValueError` for a number that no market has (not finite, or of an absurd magnitude)."""
    for value in values:
        if not is_usable(value):
            raise ValueError(f"not a usable number: {value:.10}")


def check_fill(fill: Fill) -> None:
    """Raise `ValueError` when price, amount or fee is not a usable number."""
    check_usable(fill.price, fill.amount, fill.fee)
