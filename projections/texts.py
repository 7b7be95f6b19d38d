"""Values as the views hold them: canonical decimal texts and JSON."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache

import msgspec

from domain.money import decimal_text

__all__ = ["fees_from_text", "fees_text", "number_text", "optional_decimal", "optional_text"]

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(dict[str, Decimal]).decode


@lru_cache(8_192)
def _text(value: Decimal) -> str:
    text = str(value)
    if text.isdigit() or ("." in text and text[-1] != "0" and "E" not in text):
        return text
    return decimal_text(value)


def number_text(value: Decimal) -> str:
    """`domain.money.decimal_text`, remembered: prices and amounts come again and again, and each number of a
    fill goes into several rows. Equal numbers have one text, whatever their digits were."""
    try:
        return _text(value)
    except TypeError:
        # A signalling NaN cannot be looked up.
        return decimal_text(value)


def optional_text(value: Decimal | None) -> str | None:
    return None if value is None else number_text(value)


def optional_decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def fees_text(totals: Iterable[tuple[str, Decimal]]) -> str:
    """Totals per token as a JSON object of decimal texts, sorted by token."""
    members = [f'{_json_text(token)}:"{number_text(total)}"' for token, total in sorted(totals)]
    return f"{{{','.join(members)}}}"


@lru_cache(1_024)
def _json_text(token: str) -> str:
    return _encode(token).decode()


def fees_from_text(text: str) -> dict[str, Decimal]:
    """The totals that `fees_text` wrote."""
    return _decode(text)
