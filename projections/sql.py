"""Any question to the views in SQL, and nothing but questions.

SQLite compiles a statement only as far as it is allowed to: reading tables, calling functions. Amounts are
texts, and SQLite's own arithmetic turns them into floats; the `decimal_*` functions stay exact.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal, DecimalException
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from domain.errors import LedgerError
from domain.money import MONEY, ZERO, decimal_text
from projections.views_file import connect_for_reading

__all__ = ["SqlAnswer", "SqlError", "SqlViews"]

_READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
_PRAGMAS = frozenset({"table_info", "table_xinfo", "table_list", "index_list", "index_info"})
_REFUSED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer"})
_STEPS_BETWEEN_LOOKS = 100_000


class SqlError(LedgerError):
    """A statement that would do more than read, or that SQLite cannot make sense of or carry out."""


class SqlAnswer:
    """The columns of an answer and, by iterating once, its rows. Names that repeat are numbered."""

    def __init__(self, columns: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> None:
        self.columns = columns
        self._rows = rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows


class SqlViews:
    """A views file open for questions in SQL. Not for several threads at once.

    Raises as `Views` does. Functions added: `decimal_sum(x)`, `decimal_add(x, y)`, `decimal_sub(x, y)`,
    `decimal_mul(x, y)`, `decimal_cmp(x, y)` (-1, 0, 1), exact on the texts that the views hold.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = connect_for_reading(path)
        self._connection.execute("PRAGMA query_only = ON")
        _add_functions(self._connection)
        self._refused = ""
        self._connection.set_authorizer(self._authorize)
        # Lets Ctrl-C in while SQLite computes.
        self._connection.set_progress_handler(lambda: 0, _STEPS_BETWEEN_LOOKS)

    def ask(self, statement: str) -> SqlAnswer:
        """The answer to one statement. Raises `SqlError`, also while its rows are read."""
        self._refused = ""
        try:
            cursor = self._connection.execute(statement)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise self._error(error) from None
        if cursor.description is None:
            raise SqlError("There is no question in that: give a SELECT statement")
        return SqlAnswer(_distinct([each[0] for each in cursor.description]), self._rows(cursor))

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self, cursor: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
        try:
            # Not `yield from`: it closes the cursor when this is let go of, maybe after its connection.
            while (row := next(cursor, None)) is not None:
                yield row
        except sqlite3.Error as error:
            raise self._error(error) from None

    def _error(self, error: Exception) -> BaseException:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            return KeyboardInterrupt()
        if self._refused:
            return SqlError(f"Only reading is allowed here: {self._refused} is refused. Nothing was changed")
        return SqlError(f"SQLite: {str(error).rstrip('.')}")

    def _authorize(
        self, action: int, one: str | None, two: str | None, _database: str | None, _inner: str | None
    ) -> int:
        if action in _READING:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and two not in _REFUSED_FUNCTIONS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_PRAGMA and one in _PRAGMAS:
            return sqlite3.SQLITE_OK
        if not self._refused:
            what = _ACTIONS.get(action, "that statement")
            self._refused = f"{what} {one or two or ''}".rstrip()
        return sqlite3.SQLITE_DENY


_ACTIONS = {
    sqlite3.SQLITE_INSERT: "INSERT into",
    sqlite3.SQLITE_UPDATE: "UPDATE of",
    sqlite3.SQLITE_DELETE: "DELETE from",
    sqlite3.SQLITE_ATTACH: "ATTACH or VACUUM",
    sqlite3.SQLITE_DETACH: "DETACH of",
    sqlite3.SQLITE_PRAGMA: "PRAGMA",
    sqlite3.SQLITE_TRANSACTION: "a transaction:",
    sqlite3.SQLITE_FUNCTION: "the function",
    sqlite3.SQLITE_CREATE_TABLE: "CREATE TABLE",
    sqlite3.SQLITE_CREATE_TEMP_TABLE: "CREATE TABLE",
    sqlite3.SQLITE_CREATE_INDEX: "CREATE INDEX",
    sqlite3.SQLITE_CREATE_VIEW: "CREATE VIEW",
    sqlite3.SQLITE_DROP_TABLE: "DROP TABLE",
    sqlite3.SQLITE_DROP_VIEW: "DROP VIEW",
    sqlite3.SQLITE_DROP_INDEX: "DROP INDEX",
    sqlite3.SQLITE_ALTER_TABLE: "ALTER TABLE",
    sqlite3.SQLITE_REINDEX: "REINDEX",
    sqlite3.SQLITE_ANALYZE: "ANALYZE",
}


def _distinct(names: list[str]) -> tuple[str, ...]:
    """The names, with a number after each that is there already."""
    found: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in found:
            number += 1
            candidate = f"{name}_{number}"
        found.append(candidate)
    return tuple(found)


# Exact arithmetic


def _add_functions(connection: sqlite3.Connection) -> None:
    for name, operation in (
        ("decimal_add", lambda x, y: decimal_text(MONEY.add(x, y))),
        ("decimal_sub", lambda x, y: decimal_text(MONEY.subtract(x, y))),
        ("decimal_mul", lambda x, y: decimal_text(MONEY.multiply(x, y))),
        ("decimal_cmp", lambda x, y: int(MONEY.compare(x, y))),
    ):
        connection.create_function(name, 2, _of_decimals(operation), deterministic=True)
    connection.create_aggregate("decimal_sum", 1, _DecimalSum)  # type: ignore[arg-type]


def _of_decimals(operation: Any) -> Any:
    def call(one: object, two: object) -> object:
        x, y = _decimal(one), _decimal(two)
        return None if x is None or y is None else operation(x, y)

    return call


def _decimal(value: object) -> Decimal | None:
    """A number of the views; None for what is none, as SQL has it."""
    found = None
    if isinstance(value, str | int):
        with suppress(DecimalException):
            found = Decimal(value)
    return found if found is not None and found.is_finite() else None


class _DecimalSum:
    """`decimal_sum`: NULL over no rows, like `sum`; what is no number is passed over."""

    def __init__(self) -> None:
        self._sum = ZERO

    def step(self, value: object) -> None:
        number = _decimal(value)
        if number is not None:
            self._sum = MONEY.add(self._sum, number)

    def finalize(self) -> str:
        return decimal_text(self._sum)
