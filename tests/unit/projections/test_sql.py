"""SQL over the views: exact sums, numbered columns, and nothing that writes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from projections import catch_up, views_digest
from projections.sql import SqlError, SqlViews
from tests.unit.projections.logs import LogBuilder, MemoryLog


@pytest.fixture
def views(tmp_path: Path) -> Path:
    log = LogBuilder()
    log.open_order("one", "77")
    for number, fee in enumerate(("0.1", "0.2", "-0.00000000000000000001")):
        log.filled("one", fill_key=str(number), fee=Decimal(fee), amount=Decimal("0.1"))
    path = tmp_path / "views.db"
    catch_up(MemoryLog(log.events), path)
    return path


def test_sums_of_amounts_are_exact(views: Path) -> None:
    with SqlViews(views) as sql:
        answer = sql.ask("SELECT decimal_sum(fee) AS fees, decimal_sum(amount) FROM fills")
        assert answer.columns == ("fees", "decimal_sum(amount)")
        assert list(answer) == [("0.29999999999999999999", "0.3")]
        assert list(sql.ask("SELECT decimal_sum(fee) FROM fills WHERE 0")) == [(None,)]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("decimal_add('0.1', '0.2')", "0.3"),
        ("decimal_sub('0.1', 1)", "-0.9"),
        ("decimal_mul('0.1', '0.30')", "0.03"),
        ("decimal_cmp('10', '9.5')", 1),
        ("decimal_add('0.1', NULL)", None),
        ("decimal_add('0.1', 'nothing')", None),
        ("decimal_add('0.1', 'NaN')", None),
        ("decimal_mul('0.1', 0.5)", None),
    ],
)
def test_decimal_functions(views: Path, expression: str, value: object) -> None:
    with SqlViews(views) as sql:
        assert list(sql.ask(f"SELECT {expression}")) == [(value,)]


def test_columns_of_one_name_are_told_apart(views: Path) -> None:
    with SqlViews(views) as sql:
        assert sql.ask("SELECT 1 AS a, 2 AS a, 3 AS a").columns == ("a", "a_2", "a_3")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM fill_bookings",
        "INSERT INTO fills SELECT * FROM fills",
        "WITH x AS (SELECT 1) UPDATE orders SET amount = '1'",
        "DROP TABLE fills",
        "CREATE TABLE t (x)",
        "CREATE TEMP TABLE t (x)",
        "CREATE VIEW v AS SELECT 1",
        "ALTER TABLE fill_bookings ADD COLUMN x",
        "ATTACH 'elsewhere.db' AS e",
        "VACUUM INTO 'elsewhere.db'",
        "REINDEX",
        "PRAGMA query_only = OFF",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA writable_schema = ON",
        "BEGIN IMMEDIATE",
        "SAVEPOINT s",
        "SELECT load_extension('x')",
    ],
)
def test_what_would_write_is_refused_and_named(views: Path, statement: str, tmp_path: Path) -> None:
    before = views_digest(views)
    with SqlViews(views) as sql:
        with pytest.raises(SqlError, match="Only reading is allowed"):
            sql.ask(statement)
        assert list(sql.ask("SELECT count(*) FROM fills")) == [(3,)], "the next question is answered"
    assert views_digest(views) == before
    assert not (tmp_path / "elsewhere.db").exists()


@pytest.mark.parametrize(
    "statement", ["", "-- nothing", "SELCT 1", "SELECT * FROM nowhere", "SELECT 1; SELECT 2"]
)
def test_what_is_no_question_is_an_error(views: Path, statement: str) -> None:
    with SqlViews(views) as sql, pytest.raises(SqlError):
        sql.ask(statement)


def test_an_error_in_the_middle_of_an_answer_is_one_too(views: Path) -> None:
    statement = "SELECT abs(CASE position WHEN 6 THEN -9223372036854775807 - 1 ELSE 1 END) FROM fills"
    with SqlViews(views) as sql:
        answer = iter(sql.ask(statement))
        assert next(answer) == (1,)
        with pytest.raises(SqlError, match="overflow"):
            list(answer)


def test_the_schema_can_be_asked_for(views: Path) -> None:
    with SqlViews(views) as sql:
        names = [row[1] for row in sql.ask("PRAGMA table_info(fills)")]
        assert "fill_key" in names
        assert ("fills",) in list(sql.ask("SELECT name FROM sqlite_master"))
