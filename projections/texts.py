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


def number_text(value: Decimal) -> str:
    """`domain.money.decimal_text`, sooner for the numbers that most events bring: those whose own text is the
    canonical one already, as it is when a venue wrote it. The rest comes again and again, and is remembered
    by its text: to find a number by its value takes longer than to write it.
    """
    text = str(value)
    if (text[-1] != "0" and "." in text and "E" not in text) or text.isdigit():
        return text
    return _canonical(text)


@lru_cache(8_192)
def _canonical(text: str) -> str:
    return decimal_text(Decimal(text))


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
