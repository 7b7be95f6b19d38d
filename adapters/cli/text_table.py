"""Tables for a terminal: aligned plain text that fits a width, long texts cut or wrapped."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal

import msgspec

from domain.money import decimal_text

__all__ = [
    "Column",
    "output_width",
    "printable",
    "rounded",
    "short_account",
    "text_table",
    "token_amounts",
    "utc_time",
]

_DEFAULT_WIDTH = 100
_GAP = "  "
_SHOWN = Context(prec=10, rounding=ROUND_HALF_EVEN)


class Column(msgspec.Struct, frozen=True):
    """A heading and how its cells are set. `shortest`: down to what width cells may be cut to make room.
    The cells of a `wrapped` column, which must be the last, are not cut: they continue on further lines."""

    heading: str
    right: bool = False
    shortest: int | None = None
    wrapped: bool = False


def text_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> str:
    """The table as lines of at most `width` characters, as far as its columns can be cut. On a terminal that
    is too narrow even so, each row is a paragraph that names its cells."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(column.heading), *(len(row[at]) for row in cells)) for at, column in enumerate(columns)]
    _fit(columns, widths, width)
    if width < _DEFAULT_WIDTH and _excess(widths, width) > 0:
        return "".join(f"{line}\n" for row in cells for line in _paragraph(columns, row, width))
    lines = [_line(columns, widths, [column.heading for column in columns])]
    for row in cells:
        lines.extend(_row_lines(columns, widths, row))
    return "\n".join(lines) + "\n"


def output_width() -> int:
    """The terminal's width; for a pipe or a file, 100 columns unless COLUMNS says otherwise."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return max(40, shutil.get_terminal_size((_DEFAULT_WIDTH, 24)).columns)
    return _DEFAULT_WIDTH


def utc_time(ns: int) -> str:
    """Nanoseconds since 1970 as UTC in ISO 8601 with milliseconds."""
    seconds, rest = divmod(ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03d}Z"


def rounded(value: Decimal | None) -> str:
    """A number for the eye: ten significant digits, a quotient's endless tail left out; "-" for none."""
    return "-" if value is None else decimal_text(_SHOWN.plus(value))


def token_amounts(totals: Mapping[str, Decimal]) -> str:
    """Totals per token, for the eye; "0" without any."""
    return " ".join(f"{rounded(total)} {token}" for token, total in totals.items()) or "0"


def short_account(account: str) -> str:
    """An address by its first and last digits."""
    return account if len(account) <= 13 else f"{account[:6]}…{account[-4:]}"


def _fit(columns: Sequence[Column], widths: list[int], width: int) -> None:
    """Take what is too much from the columns that may be cut, the last ones first."""
    excess = _excess(widths, width)
    for at in reversed(range(len(columns))):
        column = columns[at]
        if excess <= 0:
            return
        if column.shortest is not None:
            taken = min(excess, max(0, widths[at] - max(column.shortest, len(column.heading))))
            widths[at] -= taken
            excess -= taken


def _excess(widths: Sequence[int], width: int) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1) - width


def _paragraph(columns: Sequence[Column], row: Sequence[str], width: int) -> list[str]:
    """The cells one after another, each behind its heading; only long texts go on in the next line."""
    kept = "\0"
    parts = []
    for column, cell in zip(columns, row, strict=True):
        if text := cell.strip():
            text = text if column.wrapped else text.replace(" ", kept)
            parts.append(f"{column.heading.strip().replace(' ', kept)}{kept}{text}")
    lines = textwrap.wrap(_GAP.join(parts), width, subsequent_indent=_GAP, break_on_hyphens=False)
    return [line.replace(kept, " ") for line in lines]


def _row_lines(columns: Sequence[Column], widths: Sequence[int], row: Sequence[str]) -> list[str]:
    if not columns[-1].wrapped:
        return [_line(columns, widths, row)]
    first, *further = textwrap.wrap(row[-1], widths[-1]) or [""]
    indent = " " * (sum(widths[:-1]) + len(_GAP) * (len(widths) - 1))
    return [_line(columns, widths, [*row[:-1], first]), *(indent + text for text in further)]


def _line(columns: Sequence[Column], widths: Sequence[int], row: Sequence[str]) -> str:
    cells = []
    for column, width, cell in zip(columns, widths, row, strict=True):
        if len(cell) > width:
            cell = cell[: width - 1] + "…"
        cells.append(cell.rjust(width) if column.right else cell.ljust(width))
    return _GAP.join(cells).rstrip()


def printable(text: str) -> str:
    """A text without what would move the cursor: a venue's may hold anything."""
    return "".join(character if character.isprintable() else " " for character in text)
