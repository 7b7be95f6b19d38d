"""The rules of the house, read from the source: who imports whom, and what the deterministic core may use."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("domain", "adapters", "projections", "replays")

_DOMAIN_MAY_USE = {"msgspec", "eventsourcing"}
_IMPURE_MODULES = {
    "asyncio",
    "datetime",
    "os",
    "pathlib",
    "queue",
    "random",
    "secrets",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "uuid",
}
_CODECS = {
    "actions",
    "addresses",
    "answers",
    "client_ids",
    "connector",
    "context",
    "info_requests",
    "limits",
    "messages",
    "nonces",
    "order_status",
    "outbox",
    "price_rules",
    "queries",
    "reason_codes",
    "recovery",
    "resolution",
    "subscriptions",
    "symbols",
    "wire_numbers",
}
"""The modules of the Hyperliquid adapter that the sans-IO core is made of."""


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def _modules(*folders: str) -> list[Path]:
    found = sorted(path for folder in folders for path in (_ROOT / folder).rglob("*.py"))
    assert found, folders
    return found


def _name(path: Path) -> str:
    """The dotted name of a module, or of the package that an `__init__.py` is."""
    parts = path.relative_to(_ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> Iterator[str]:
    """Every module a file imports, wherever in it the import stands."""
    package = path.relative_to(_ROOT).parts[:-1]
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            module = f"{base}{node.module or ''}".rstrip(".")
            yield module
            # `from adapters import zeromq` imports a module too.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _strays(paths: list[Path], forbidden: tuple[str, ...]) -> list[str]:
    """Which of these files import from a forbidden package."""
    return [
        f"{_name(path)} imports {module}"
        for path in paths
        for module in _imports(path)
        if any(_is_in(module, package) for package in forbidden)
    ]


def _core() -> list[Path]:
    """The modules that must be deterministic."""
    hyperliquid = _ROOT / "adapters" / "hyperliquid"
    return _modules("domain") + [hyperliquid / f"{name}.py" for name in sorted(_CODECS)]


# -- who may import whom -------------------------------------------------------------------------------------


def test_the_domain_uses_the_standard_library_msgspec_and_eventsourcing_only() -> None:
    allowed = sys.stdlib_module_names | _DOMAIN_MAY_USE | {"domain"}
    strays = [
        f"{_name(path)} imports {module}"
        for path in _modules("domain")
        for module in _imports(path)
        if module.split(".")[0] not in allowed
    ]
    assert strays == []


def test_projections_and_replays_know_the_domain_and_not_what_surrounds_it() -> None:
    assert _strays(_modules("projections"), ("adapters", "replays")) == []
    assert _strays(_modules("replays"), ("adapters.runtime", "adapters.zeromq", "adapters.strategies")) == []


def test_adapters_do_not_import_each_other_except_where_the_process_is_put_together() -> None:
    folders = {path.name for path in (_ROOT / "adapters").iterdir() if (path / "__init__.py").exists()}
    assert {"cli", "hyperliquid", "simulator", "storage", "zeromq", "runtime", "strategies"} <= folders
    for folder in sorted(folders - {"cli"}):
        others = tuple(f"adapters.{other}" for other in sorted(folders - {folder}))
        assert _strays(_modules(f"adapters/{folder}"), others) == []


def test_only_the_composition_root_knows_projections_and_replays() -> None:
    paths = [path for path in _modules("adapters") if "cli" not in path.relative_to(_ROOT).parts]
    assert _strays(paths, ("projections", "replays")) == []


def test_the_simulator_shares_no_code_with_what_it_tests() -> None:
    shared = ("domain", "projections", "replays", "coincurve", "eventsourcing")
    assert _strays(_modules("adapters/simulator"), shared) == []


def test_nothing_that_is_shipped_imports_tests() -> None:
    assert _strays(_modules(*_PACKAGES), ("tests", "hypothesis", "hyperliquid")) == []


# -- what a module looks like --------------------------------------------------------------------------------


def _public_modules() -> list[Path]:
    return [
        path
        for path in _modules(*_PACKAGES)
        if not path.name.startswith("_") and path.parent.name != "sessions"
    ]


def test_every_module_says_what_its_subject_is() -> None:
    silent = [_name(path) for path in _public_modules() if not ast.get_docstring(_tree(path))]
    assert silent == []


_PRIVATE_INSIDES = ("adapters.hyperliquid", "adapters.simulator")
"""Packages whose modules serve each other: not all list what they offer, but what is listed is there."""


def test_every_module_lists_its_public_names_and_has_them() -> None:
    wrong: list[str] = []
    for path in _public_modules():
        tree = _tree(path)
        listed = _listed_names(tree)
        if listed is None:
            if not any(_is_in(_name(path), package) for package in _PRIVATE_INSIDES):
                wrong.append(f"{_name(path)} has no __all__")
            continue
        bound = _bound_names(tree)
        wrong += [
            f"{_name(path)} lists {name}, which it does not have" for name in listed if name not in bound
        ]
        wrong += [f"{_name(path)} lists {name} twice" for name in set(listed) if listed.count(name) > 1]
        wrong += [f"{_name(path)} lists {name}, which is private" for name in listed if name.startswith("_")]
    assert wrong == []


def _listed_names(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            names: list[str] = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            return list(names)
    return None


def _bound_names(tree: ast.Module) -> set[str]:
    """What a module defines or imports at its top level."""
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    return bound


# -- the deterministic core ----------------------------------------------------------------------------------


def test_the_core_is_where_this_test_looks_for_it() -> None:
    assert [path for path in _core() if not path.exists()] == []


def test_the_core_has_no_clock_randomness_threads_environment_or_io() -> None:
    assert _strays(_core(), tuple(sorted(_IMPURE_MODULES))) == []


def _calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Each call with the name that is called, dots included where it is a plain chain of names."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("banned", ["float", "open", "input", "print", "eval", "exec", "getcontext", "id"])
def test_the_core_does_not_call(banned: str) -> None:
    strays = [
        f"{_name(path)}:{call.lineno} calls {name}"
        for path in _core()
        for name, call in _calls(path)
        if name == banned or name == f"decimal.{banned}"
    ]
    assert strays == []


def test_the_domain_writes_no_float() -> None:
    strays = [
        f"{_name(path)}:{node.lineno} holds {node.value}"
        for path in _modules("domain")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, float)
    ]
    assert strays == []


def test_the_core_never_depends_on_the_order_of_a_set() -> None:
    strays = [
        f"{_name(path)}:{iterated.lineno} goes through {ast.unparse(iterated)}"
        for path in _core()
        for iterated in _iterated(_tree(path))
        if _is_a_set(iterated)
    ]
    assert strays == []


def _iterated(tree: ast.Module) -> Iterator[ast.expr]:
    """What loops, comprehensions and unpackings go through, and what is made into a list or a tuple."""
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.comprehension):
            yield node.iter
        elif isinstance(node, ast.Starred):
            yield node.value
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "list",
            "tuple",
            "next",
            "iter",
            "enumerate",
        ):
            yield from node.args[:1]


def _is_a_set(node: ast.expr) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.BinOp):
        return _is_a_set(node.left) or _is_a_set(node.right)
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("set", "frozenset")


# -- this test tests -----------------------------------------------------------------------------------------


def test_imports_are_found_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "adapters" / "zeromq"
    package.mkdir(parents=True)
    file = package / "probe.py"
    file.write_text(
        "def f():\n    import os.path\n    from . import errors\n    from ..cli import main as m\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "_ROOT", tmp_path)
    assert list(_imports(file)) == [
        "os.path",
        "adapters.zeromq",
        "adapters.zeromq.errors",
        "adapters.cli",
        "adapters.cli.main",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("for x in {1, 2}: pass", 1),
        ("[x for x in set(y)]", 1),
        ("list(frozenset(y) | z)", 1),
        ("f(*{x for x in y})", 1),
        ("for x in sorted({1, 2}): pass", 0),
        ("for x in dict.fromkeys(y): pass", 0),
        ("x in {1, 2}", 0),
    ],
)
def test_loops_through_sets_are_found(text: str, found: int) -> None:
    assert sum(map(_is_a_set, _iterated(ast.parse(text)))) == found
