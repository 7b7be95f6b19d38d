"""The formats of `export`: rows as CSV, JSON lines or Parquet, each row with the position it is from."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from types import UnionType
from typing import Any, BinaryIO, Union, get_args, get_origin, get_type_hints

import msgspec

from adapters.cli.exact_json import exact_builtins, exact_json
from adapters.cli.exit_codes import CommandError, ExitCode
from domain.money import decimal_text

__all__ = ["AS_OF_COLUMN", "FORMATS"]

AS_OF_COLUMN = "as_of_position"
"""The first column: the position of the log that the row is from, the same in every row of an export."""

_ROWS_PER_GROUP = 50_000

Kind = type[msgspec.Struct]
Rows = Sequence[msgspec.Struct]


def _write_csv(stream: BinaryIO, kind: Kind, rows: Rows, position: int) -> None:
    names = kind.__struct_fields__
    # Python would exchange the line ends, and the bytes would depend on the system.
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    try:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow((AS_OF_COLUMN, *names))
        for row in rows:
            writer.writerow((position, *(_cell(getattr(row, name)) for name in names)))
    finally:
        text.detach()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return exact_json(value)
    return str(value)


def _write_json_lines(stream: BinaryIO, _kind: Kind, rows: Rows, position: int) -> None:
    for row in rows:
        line = exact_json({AS_OF_COLUMN: position, **msgspec.structs.asdict(row)})
        stream.write(f"{line}\n".encode())


def _write_parquet(stream: BinaryIO, kind: Kind, rows: Rows, position: int) -> None:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise CommandError(
            "Parquet files are written by pyarrow, which is not installed here: "
            "`pip install 'orderledger[parquet]'` installs it.",
            ExitCode.USAGE,
        ) from None
    schema = arrow.schema(
        [
            arrow.field(AS_OF_COLUMN, arrow.int64(), nullable=False),
            *(_field(arrow, name, hint) for name, hint in get_type_hints(kind).items()),
        ],
        metadata={AS_OF_COLUMN: str(position)},
    )
    with parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
        for start in range(0, len(rows), _ROWS_PER_GROUP):
            records = list(_records(rows[start : start + _ROWS_PER_GROUP], position))
            writer.write_table(arrow.Table.from_pylist(records, schema))


def _field(arrow: Any, name: str, hint: Any) -> Any:
    """A column of Parquet. Decimals are exact texts: their fifty digits, and quotients among them, fit into
    no decimal type that readers share."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    (kind,) = (each for each in kinds if each is not type(None))
    if get_origin(kind) is dict:
        stored = arrow.map_(arrow.string(), arrow.field("value", arrow.string(), nullable=False))
    else:
        stored = {bool: arrow.bool_(), int: arrow.int64()}.get(kind, arrow.string())
    metadata = {"orderledger": "decimal"} if kind in (Decimal, dict[str, Decimal]) else None
    return arrow.field(name, stored, nullable=type(None) in kinds, metadata=metadata)


def _records(rows: Rows, position: int) -> Iterator[dict[str, Any]]:
    for row in rows:
        members: Any = exact_builtins(row)
        for name, value in members.items():
            if isinstance(value, dict):
                # A map is written as its pairs.
                members[name] = list(value.items())
        yield {AS_OF_COLUMN: position, **members}


FORMATS: dict[str, Callable[[BinaryIO, Kind, Rows, int], None]] = {
    "csv": _write_csv,
    "jsonl": _write_json_lines,
    "parquet": _write_parquet,
}
"""Format to what writes rows of a kind as of a position into a stream. The same rows give the same bytes."""
