"""`docs/field-failures.md` claims no more than there is: every row is held by tests that exist and run."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "field-failures.md"

_ROW = re.compile(r"^\| (?!What users suffered)(?P<suffered>[^|]+) \| (?P<held_by>[^|]*) \|$")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def _rows() -> dict[str, str]:
    """What users suffered, and what the page says of who holds it."""
    found = (_ROW.match(line) for line in PAGE.read_text().splitlines())
    return {row["suffered"]: row["held_by"] for row in found if row is not None}


@cache
def _tests_in(path: str) -> dict[str, bool]:
    """The tests of a file, and whether the suite passes each over unless it is asked for."""
    tree = ast.parse((ROOT / path).read_text())
    waits = any(isinstance(node, ast.Assign) and _is_soak(node.value) for node in tree.body)
    return {
        node.name: waits or any(_is_soak(decorator) for decorator in node.decorator_list)
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def _is_soak(expression: ast.expr) -> bool:
    return ast.unparse(expression) == "pytest.mark.soak"


def test_every_line_of_the_tables_is_a_row() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    tables = [line for line in lines if line.startswith("|---")]
    assert tables
    assert len(_rows()) == len(lines) - 2 * len(tables)


@pytest.mark.parametrize("suffered", _rows())
def test_what_users_suffered_is_held_by_tests_of_the_suite(suffered: str) -> None:
    held_by = _rows()[suffered]
    named = _TEST.findall(held_by)
    assert named
    # Nothing else stands there, so that a name that was mistyped is not passed over.
    assert held_by == "<br>".join(f"`{path}::{test}`" for path, test in named)
    assert [f"{path}::{test}" for path, test in named if test not in _tests_in(path)] == []
    assert [f"{path}::{test}" for path, test in named if _tests_in(path)[test]] == []


def test_no_test_of_a_field_failure_is_left_out() -> None:
    named = {test for held_by in _rows().values() for _, test in _TEST.findall(held_by)}
    assert set(_tests_in("tests/faults/test_field_failures.py")) - named == {
        "test_it_traded_before_it_knew_anything"
    }
