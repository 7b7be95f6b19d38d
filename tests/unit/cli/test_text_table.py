"""Tables for a terminal: aligned where they fit, and never cut so that a row cannot be told from another."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.cli.text_table import Column, text_table

COLUMNS = (
    Column("TIME (UTC)"),
    Column("ORDER"),
    Column("TYPE", shortest=5),
    Column("PRICE", right=True),
    Column("STATE", shortest=10, wrapped=True),
)
ROWS = [
    ("2026-11-21T06:56:29.940Z", "390478340684", "limit_maker", "43244", "cancelled (cancelled by user)"),
    ("2026-11-21T06:56:37.231Z", "390478341685", "limit", "43368", "filled"),
]


def test_a_table_that_fits_is_aligned() -> None:
    assert text_table(COLUMNS, ROWS, 100).splitlines() == [
        "TIME (UTC)                ORDER         TYPE         PRICE  STATE",
        "2026-11-21T06:56:29.940Z  390478340684  limit_maker  43244  cancelled (cancelled by user)",
        "2026-11-21T06:56:37.231Z  390478341685  limit        43368  filled",
    ]


def test_cells_are_cut_and_wrapped_as_far_as_they_may() -> None:
    assert text_table(COLUMNS, ROWS, 64).splitlines() == [
        "TIME (UTC)                ORDER         TYPE   PRICE  STATE",
        "2026-11-21T06:56:29.940Z  390478340684  limi…  43244  cancelled",
        "                                                      (cancelled",
        "                                                      by user)",
        "2026-11-21T06:56:37.231Z  390478341685  limit  43368  filled",
    ]


def test_on_a_terminal_too_narrow_for_the_table_each_row_is_a_paragraph() -> None:
    assert text_table(COLUMNS, ROWS, 40).splitlines() == [
        "TIME (UTC) 2026-11-21T06:56:29.940Z",
        "  ORDER 390478340684  TYPE limit_maker",
        "  PRICE 43244  STATE cancelled",
        "  (cancelled by user)",
        "TIME (UTC) 2026-11-21T06:56:37.231Z",
        "  ORDER 390478341685  TYPE limit",
        "  PRICE 43368  STATE filled",
    ]


def test_what_goes_into_a_pipe_stays_a_row_however_long_it_is() -> None:
    rows = [("2026-11-21T06:56:29.940Z", "3" * 90, "limit", "43244", "filled")]
    assert len(text_table(COLUMNS, rows, 100).splitlines()) == 2


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.text("ab 1-…é", max_size=60), min_size=5, max_size=5), min_size=1, max_size=4),
    st.integers(40, 99),
)
def test_no_line_is_wider_than_a_narrow_terminal(rows: list[list[str]], width: int) -> None:
    assert max(map(len, text_table(COLUMNS, rows, width).splitlines())) <= width
