"""The deterministic core is read for whatever could make a replay differ from the run it repeats."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.support.determinism import Finding, Names, findings, names_of

_ROOT = Path(__file__).parents[2]

_SHELL = {
    "__init__",
    "account_questions",
    "auth",
    "backoff",
    "gateway",
    "http_client",
    "info_client",
    "lanes",
    "markets_read",
    "marketstream",
    "networks",
    "replaying",
    "rewriting",
    "streams",
    "venue_report",
    "zmq_market_feed",
}
"""What of the Hyperliquid adapter surrounds its core. A new module counts as core until it is listed here."""


def _core() -> list[Path]:
    hyperliquid = [
        path for path in (_ROOT / "adapters" / "hyperliquid").glob("*.py") if path.stem not in _SHELL
    ]
    return sorted((_ROOT / "domain").rglob("*.py")) + sorted(hyperliquid)


@cache
def _names() -> Names:
    return names_of(ast.parse(path.read_text()) for path in _core())


def _read(source: str) -> list[Finding]:
    return findings(source, _names(), own_packages=("domain", "adapters"))


# -- the core ------------------------------------------------------------------------------------------------


def test_nothing_in_the_core_can_differ_from_run_to_run() -> None:
    strays = [
        f"{path.relative_to(_ROOT)}:{finding}" for path in _core() for finding in _read(path.read_text())
    ]
    assert strays == [], "either it goes, or its line says why it is right: # deterministic: <reason>"


def test_the_core_is_where_this_test_looks_for_it() -> None:
    stems = {path.stem for path in _core()}
    assert {"client_order_tracker", "in_flight_order", "event_codec", "connector", "messages"} <= stems
    assert not stems & _SHELL - {"__init__"}
    assert {path.stem for path in (_ROOT / "adapters" / "hyperliquid").glob("*.py")} >= _SHELL


def test_the_declarations_of_the_core_are_understood() -> None:
    names = _names()
    assert {"amount", "price", "filled_amount", "remaining_amount", "ZERO"} <= names.decimals
    assert "observed" in names.sets
    assert names.contexts == {"MONEY"}


# -- what is found -------------------------------------------------------------------------------------------

FOUND = {
    "a clock": "import time",
    "a clock by its function": "from datetime import datetime",
    "randomness": "import random",
    "the environment": "from os import environ",
    "threads": "import threading",
    "coroutines": "async def f(): pass",
    "the ambient context": "from decimal import getcontext",
    "the ambient context under another name": "def f(): return decimal.getcontext().prec",
    "a local context": "def f(localcontext): localcontext()",
    "hash": "def f(x): return hash(x)",
    "id as a key": "def f(x): return sorted(x, key=id)",
    "a file": "def f(): open('x')",
    "a float": "x = 1.5",
    "a float's maker": "def f(x): return float(x)",
    "a quotient of integers": "def f(x: int, y: int): return x / y",
    "a module's state": "def f():\n    global x\n    x = 1",
    "a sum of decimals": "def f(a: Decimal, b: Decimal): return a + b",
    "a product with an attribute": "def f(order): return order.price * 2",
    "an augmented sum": "def f(order, fee: Decimal):\n    order.total_fee += fee",
    "a sum of what a function returns": "def f(x): return parse_decimal(x) - 1",
    "a negated decimal": "def f(a: Decimal): return -a",
    "an absolute decimal": "def f(position): return abs(position.amount)",
    "a rounded decimal": "def f(a: Decimal): return round(a, 2)",
    "a remainder": "def f(rule, a): return a % rule.tick_size",
    "a decimal behind a condition": "def f(a: Decimal | None): return (a or 0) + 1",
    "a decimal with a name": "def f(x):\n    y = Decimal(x)\n    return y * 3",
    "quantize without a context": "def f(a, b): return a.quantize(b)",
    "normalize without a context": "def f(a): return a.normalize()",
    "a loop through a set": "def f():\n    for x in {1, 2}: pass",
    "a loop through a declared set": "def f(order):\n    for x in order.observed: pass",
    "a loop through a set with a name": "def f(y):\n    x = set(y)\n    return [z for z in x]",
    "a parameter that is a set": "def f(x: set[str]): return list(x)",
    "texts joined from a set": "def f(x): return ','.join({y for y in x})",
    "a list made of a union": "def f(x, y): return tuple(x.union(y))",
    "a union of keys": "def f(x, y):\n    for z in x.keys() | y.keys(): pass",
    "an unpacked set": "def f(x): return [*frozenset(x)]",
    "the first of a set": "def f(x): return next(iter(set(x)))",
    "a dictionary in a set's order": "def f(x): return dict.fromkeys(set(x))",
    "ties in a set's order": "def f(x): return sorted(set(x), key=len)",
    "an element popped from a set": "def f(x: set[int]): return x.pop()",
}


@pytest.mark.parametrize("what", FOUND)
def test_the_lint_finds(what: str) -> None:
    assert len(_read(FOUND[what])) >= 1


LEFT_ALONE = {
    "the arithmetic of a context": "def f(a: Decimal, b: Decimal): return MONEY.add(a, MONEY.multiply(a, b))",
    "quantize in a context": "def f(a, b): return a.quantize(b, context=MONEY)",
    "a context passed by place": "def f(a, b): return a.quantize(b, None, MONEY)",
    "comparisons of decimals": "def f(a: Decimal, b: Decimal): return max(a, b) > a == b",
    "the arithmetic of integers": "def f(count: int): return count * 2 // 3 + -count",
    "texts with numbers in them": "def f(a: Decimal): return 'price ' + f'{a}' + '%s' % a",
    "a sorted set": "def f(x): return sorted(set(x))",
    "membership": "def f(order, x): return x in {1, 2} and x in order.observed",
    "a set made of a set": "def f(x: set[int]): return {y + 1 for y in x}",
    "how many are in a set": "def f(x: set[int]): return len(x)",
    "the keys of a dictionary": "def f(x): return [y for y in dict.fromkeys(x)]",
    "an attribute called hash": "def f(row): return row.hash",
    "pure modules": "import heapq\nfrom collections import deque\nfrom domain.money import MONEY",
}


@pytest.mark.parametrize("what", LEFT_ALONE)
def test_the_lint_leaves_alone(what: str) -> None:
    assert _read(LEFT_ALONE[what]) == []


# -- exceptions ----------------------------------------------------------------------------------------------


def test_a_line_that_says_why_is_right_is_left_alone() -> None:
    assert _read("def f(x): return hash(x)  # deterministic: only compared within one process") == []


def test_a_statement_of_several_lines_may_say_it_on_any_of_them() -> None:
    assert _read("x = (\n    1 +\n    2.5  # deterministic: shown to people only\n)") == []


def test_a_marker_without_a_reason_is_found() -> None:
    found = _read("def f(x): return hash(x)  # deterministic: ok")
    assert [finding.why for finding in found] == ["it gives no reason"]


def test_a_marker_that_explains_nothing_is_found() -> None:
    found = _read("x = 1  # deterministic: there was something here once")
    assert [finding.why for finding in found] == ["nothing here needs it"]
