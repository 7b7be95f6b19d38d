"""Reads source for what can make two runs of the deterministic core differ.

No types are inferred beyond annotations, so this finds what is written plainly: sets that are gone through in
their order, `Decimal` arithmetic in the thread's ambient context, `hash` and `id`, floats, and modules that
reach outside. What is right all the same says why, on its line: `# deterministic: <reason>`.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["ALLOWED_MODULES", "Finding", "Names", "findings", "names_of"]

ALLOWED_MODULES = frozenset(
    {
        "__future__",
        "abc",
        "bisect",
        "collections",
        "copy",
        "dataclasses",
        "decimal",
        "enum",
        "contextlib",
        "functools",
        "hashlib",
        "heapq",
        "itertools",
        "operator",
        "re",
        "typing",
        # Not of the standard library.
        "Crypto",
        "msgspec",
    }
)
"""What the core may import besides itself: none of it knows a clock, a file, a thread or the environment."""

_BANNED_NAMES = {
    "__import__": "it imports what the source does not name",
    "compile": "it runs what the source does not show",
    "eval": "it runs what the source does not show",
    "exec": "it runs what the source does not show",
    "float": "a float rounds",
    "getcontext": "the ambient decimal context belongs to the thread",
    "setcontext": "the ambient decimal context belongs to the thread",
    "localcontext": "the ambient decimal context belongs to the thread",
    "hash": "it differs from process to process (PYTHONHASHSEED)",
    "id": "it is an address in memory",
    "input": "it reads from outside",
    "open": "it reaches the disk",
    "print": "it writes to the outside",
}
_CONTEXT_METHODS = frozenset(
    {
        "exp",
        "fma",
        "ln",
        "log10",
        "logb",
        "next_minus",
        "next_plus",
        "next_toward",
        "normalize",
        "quantize",
        "remainder_near",
        "scaleb",
        "sqrt",
        "to_eng_string",
        "to_integral",
        "to_integral_exact",
        "to_integral_value",
    }
)
_CONTEXT_BUILTINS = frozenset({"abs", "divmod", "pow", "round", "sum"})
_IN_ORDER = frozenset(
    {"dict", "enumerate", "filter", "iter", "list", "map", "next", "reversed", "tuple", "zip", "deque"}
)
_IN_ORDER_METHODS = frozenset({"extend", "extendleft", "fromkeys", "join", "writelines"})
_SET_RESULTS = frozenset({"difference", "intersection", "symmetric_difference", "union"})
_MARKER = re.compile(r"#\s*deterministic:(?P<reason>.*)$")
_REASON_LENGTH_MIN = 10


class Finding(NamedTuple):
    """One place: the line, what stands there and why it may differ."""

    line: int
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.line}: {self.what}: {self.why}"


class Names(NamedTuple):
    """What annotations say of names, over all modules that belong together."""

    decimals: frozenset[str]
    """Attributes, module constants, functions and properties that are, or return, decimals."""
    sets: frozenset[str]
    """Attributes and module constants that are sets."""
    contexts: frozenset[str]
    """Module constants that are explicit decimal contexts."""


def names_of(trees: Iterable[ast.Module]) -> Names:
    """What is declared. A name that is a decimal in one class and something else in another is no decimal."""
    decimals: set[str] = set()
    others: set[str] = set()
    sets: set[str] = set()
    contexts: set[str] = set()
    for tree in trees:
        for node in _declarations(tree):
            match node:
                case ast.AnnAssign(target=target, annotation=annotation):
                    name = _last_name(target)
                    (decimals if _is_decimal_type(annotation) else others).add(name)
                    if _is_set_type(annotation):
                        sets.add(name)
                case ast.FunctionDef(name=name, returns=returns) if returns is not None:
                    (decimals if _is_decimal_type(returns) else others).add(name)
                case ast.Assign(targets=[target], value=ast.Call(func=func)):
                    made, name = ast.unparse(func), _last_name(target)
                    if made == "Context" and name.isupper():
                        contexts.add(name)
                    elif made == "Decimal":
                        decimals.add(name)
                    elif made in ("set", "frozenset"):
                        sets.add(name)
                case ast.Assign(targets=[target], value=ast.Set() | ast.SetComp()):
                    sets.add(_last_name(target))
    return Names(frozenset(decimals - others), frozenset(sets), frozenset(contexts))


def _declarations(tree: ast.Module) -> Iterator[ast.stmt]:
    """Functions, and what modules, classes and `self` hold; what is local to a function is its own affair."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef):
            yield from node.body
        elif isinstance(node, ast.FunctionDef):
            yield node
            for inner in ast.walk(node):
                match inner:
                    case ast.AnnAssign(target=ast.Attribute()) | ast.Assign(targets=[ast.Attribute()]):
                        yield inner


def findings(source: str, names: Names, *, own_packages: Iterable[str] = ()) -> list[Finding]:
    """What may differ in one module, in the order of the lines; what a marker explains is left out.

    A marker without a reason, and one that explains nothing, are findings too.
    """
    tree = ast.parse(source)
    reader = _Reader(names, frozenset(own_packages))
    reader.visit(tree)
    markers = _markers(source)
    explained: set[int] = set()
    left = []
    for first, last, finding in reader.found:
        lines = [line for line in range(first, last + 1) if line in markers]
        explained.update(lines)
        if not lines:
            left.append(finding)
    for line, reason in markers.items():
        if len(reason) < _REASON_LENGTH_MIN:
            left.append(Finding(line, "# deterministic:", "it gives no reason"))
        elif line not in explained:
            left.append(Finding(line, "# deterministic:", "nothing here needs it"))
    return sorted(left)


def _markers(source: str) -> dict[int, str]:
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and (marker := _MARKER.search(token.string)):
            found[token.start[0]] = marker["reason"].strip()
    return found


class _Reader(ast.NodeVisitor):
    """Walks one module. `found` holds (first line, last line, finding)."""

    def __init__(self, names: Names, own_packages: frozenset[str]) -> None:
        self.found: list[tuple[int, int, Finding]] = []
        self._names = names
        self._own_packages = own_packages
        self._local_decimals: set[str] = set()
        self._local_sets: set[str] = set()
        self._local_others: set[str] = set()

    def _add(self, node: ast.expr | ast.stmt, why: str, what: ast.AST | None = None) -> None:
        text = ast.unparse(what or node)
        finding = Finding(node.lineno, text if len(text) <= 80 else f"{text[:79]}…", why)
        self.found.append((node.lineno, node.end_lineno or node.lineno, finding))

    # -- what reaches outside ------------------------------------------------------------------------------

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._check_module(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if not node.level:
            self._check_module(node, node.module or "")
        for alias in node.names:
            if alias.name in ("getcontext", "setcontext", "localcontext", "DefaultContext"):
                self._add(node, _BANNED_NAMES["getcontext"])

    def _check_module(self, node: ast.stmt, module: str) -> None:
        if module.partition(".")[0] not in ALLOWED_MODULES | self._own_packages:
            self._add(node, "only modules that cannot vary from run to run are imported here")

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._add(node, "the order in which coroutines run belongs to an event loop", ast.Name(node.name))
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        self._add(node, "a module's state outlives the core it belongs to")

    # -- names and numbers ---------------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and node.id in _BANNED_NAMES:
            self._add(node, _BANNED_NAMES[node.id])

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, float):
            self._add(node, "a float rounds")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self._check_operator(node, node.op, node.left, node.right)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._check_operator(node, node.op, node.target, node.value)
        self.generic_visit(node)

    def _check_operator(
        self, node: ast.expr | ast.stmt, operator: ast.operator, left: ast.expr, right: ast.expr
    ) -> None:
        arithmetic = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
        if not isinstance(operator, arithmetic) or _is_text(left) or _is_text(right):
            return
        if self._is_decimal(left) or self._is_decimal(right):
            self._add(node, "an operator on decimals uses the thread's ambient context")
        elif isinstance(operator, ast.Div):
            self._add(node, "a quotient of integers is a float")

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.USub | ast.UAdd) and self._is_decimal(node.operand):
            self._add(node, "a sign before a decimal rounds in the thread's ambient context")
        self.generic_visit(node)

    # -- calls ---------------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Name(id=name):
                if name in _CONTEXT_BUILTINS and any(map(self._is_decimal, node.args)):
                    self._add(node, f"{name}() on decimals uses the thread's ambient context")
                if name in _IN_ORDER and any(map(self._is_set, node.args)):
                    self._add(node, "a set has no order of its own")
                if name in ("sorted", "min", "max") and _has_key(node) and any(map(self._is_set, node.args)):
                    self._add(node, "elements with equal keys come in the order of the set")
            case ast.Attribute(value=receiver, attr=name):
                if name in ("getcontext", "setcontext", "localcontext"):
                    self._add(node, _BANNED_NAMES[name])
                if name in _CONTEXT_METHODS and not self._has_context(receiver, node):
                    self._add(node, "without a context it uses the thread's ambient one")
                if name in _IN_ORDER_METHODS and any(map(self._is_set, node.args)):
                    self._add(node, "a set has no order of its own")
                if name == "pop" and not node.args and self._is_set(receiver):
                    self._add(node, "which element of a set comes first differs")
        self.generic_visit(node)

    def _has_context(self, receiver: ast.expr, call: ast.Call) -> bool:
        if _last_name(receiver) in self._names.contexts:
            return True
        return any(keyword.arg == "context" for keyword in call.keywords) or any(
            _last_name(argument) in self._names.contexts for argument in call.args
        )

    # -- the order of sets ---------------------------------------------------------------------------------

    def visit_For(self, node: ast.For) -> None:
        self._check_order(node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._check_order(node.iter)
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        self._check_order(node.value)
        self.generic_visit(node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        self._check_order(node.value)
        self.generic_visit(node)

    def _check_order(self, iterated: ast.expr) -> None:
        if self._is_set(iterated):
            self._add(iterated, "a set has no order of its own")

    def visit_SetComp(self, node: ast.SetComp) -> None:
        # A set made of a set: no order is lost and none is used.
        for part in (node.elt, *(test for generator in node.generators for test in generator.ifs)):
            self.visit(part)

    # -- what a function knows of its own names ------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer = (self._local_decimals, self._local_sets, self._local_others)
        self._local_decimals, self._local_sets, self._local_others = (set(names) for names in outer)
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for argument in arguments:
            self._know(argument.arg, argument.annotation, None)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Assign) and len(inner.targets) == 1:
                if isinstance(inner.targets[0], ast.Name):
                    self._know(inner.targets[0].id, None, inner.value)
            elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                self._know(inner.target.id, inner.annotation, inner.value)
        self.generic_visit(node)
        self._local_decimals, self._local_sets, self._local_others = outer

    def _know(self, name: str, annotation: ast.expr | None, value: ast.expr | None) -> None:
        is_decimal = _is_decimal_type(annotation) or (value is not None and self._is_decimal(value))
        is_set = _is_set_type(annotation) or (value is not None and self._is_set(value))
        if is_decimal:
            self._local_decimals.add(name)
        if is_set:
            self._local_sets.add(name)
        if annotation is not None and not is_decimal and not is_set:
            self._local_others.add(name)

    def _is_decimal(self, node: ast.expr) -> bool:
        match node:
            case ast.Name(id=name):
                if name in self._local_others:
                    return False
                return name in self._local_decimals or (name in self._names.decimals and name.isupper())
            case ast.Attribute(attr=name):
                return name in self._names.decimals
            case ast.Call(func=ast.Name(id=name)):
                return name == "Decimal" or name in self._names.decimals
            case ast.Call(func=ast.Attribute(value=receiver, attr=name)):
                if _last_name(receiver) in self._names.contexts:
                    return name not in ("compare", "same_quantum")
                return name in self._names.decimals or name in ("copy_abs", "copy_negate", "copy_sign")
            case ast.IfExp(body=body, orelse=orelse):
                return self._is_decimal(body) or self._is_decimal(orelse)
            case ast.BinOp(left=left, right=right):
                return not _is_text(node) and (self._is_decimal(left) or self._is_decimal(right))
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                return self._is_decimal(operand)
            case ast.BoolOp(values=values):
                return any(map(self._is_decimal, values))
            case ast.NamedExpr(value=value):
                return self._is_decimal(value)
        return False

    def _is_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Name(id=name):
                return name in self._local_sets or (
                    name in self._names.sets and name not in self._local_others
                )
            case ast.Attribute(attr=name):
                return name in self._names.sets
            case ast.Call(func=ast.Name(id=name)):
                return name in ("set", "frozenset")
            case ast.Call(func=ast.Attribute(attr=name)):
                return name in _SET_RESULTS
            case ast.BinOp(op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), left=left, right=right):
                return any(self._is_set(side) or _is_key_view(side) for side in (left, right))
            case ast.IfExp(body=body, orelse=orelse):
                return self._is_set(body) or self._is_set(orelse)
            case ast.BoolOp(values=values):
                return any(map(self._is_set, values))
        return False


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _is_decimal_type(annotation: ast.expr | None) -> bool:
    return annotation is not None and ast.unparse(annotation).strip("'\"") in ("Decimal", "Decimal | None")


def _is_set_type(annotation: ast.expr | None) -> bool:
    if annotation is None:
        return False
    return re.match(r"(set|frozenset|AbstractSet|Set)\b", ast.unparse(annotation).strip("'\"")) is not None


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_key_view(node: ast.expr) -> bool:
    """`x.keys()` and `x.items()`: combined with an operator they become a set."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("keys", "items")
        and not node.args
    )


def _has_key(call: ast.Call) -> bool:
    return any(keyword.arg == "key" for keyword in call.keywords)
