"""The tables of `docs/` as the code has them: settings, events, faults, published messages.

`python -m tests.support.reference_pages` writes them anew, between the markers of each page; a test compares.
"""

import inspect
import re
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from adapters.cli.config import SECTIONS
from adapters.simulator.control import OPERATIONS
from adapters.simulator.faults import KINDS
from adapters.zeromq.messages import FillData, Heartbeat, OrderData, OrderMessage
from domain.events import ACCOUNT_EVENTS, ORDER_EVENTS, Fill, LedgerEvent

__all__ = ["DOCS", "PAGES", "in_page", "main", "written"]

DOCS = Path(__file__).parents[2] / "docs"

_MARKERS = re.compile(r"(<!-- generated: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def settings() -> str:
    """Every section of the config: each key with its type, default and meaning."""
    parts = []
    for name, section in SECTIONS.items():
        hints = typing.get_type_hints(section, include_extras=True)
        defaults = section()
        rows = []
        for field in msgspec.structs.fields(section):
            hint = hints[field.name]
            meta = hint.__metadata__[0]
            default = getattr(defaults, field.name)
            shown = "" if default in ("", (), {}) else f"`{_toml(default)}`"
            rows.append((f"`{field.encode_name}`", _type_name(hint), shown, meta.description))
        parts.append(
            f"### `[{name}]`\n\n{_prose(section)}\n\n" + _table(("key", "type", "default", "meaning"), rows)
        )
    return "\n".join(parts)


def order_events() -> str:
    return "\n".join(_event(event) for event in ORDER_EVENTS)


def account_events() -> str:
    return "\n".join(_event(event) for event in ACCOUNT_EVENTS)


def envelope() -> str:
    return _members(LedgerEvent)


def fill() -> str:
    return _members(Fill)


def faults() -> str:
    """The catalogue of faults: what each happens to, what it does, what it takes."""
    rows = []
    for name, kind in KINDS.items():
        params = [
            f"`{parameter}`: {spec.meaning}"
            + (" (required)" if spec.default is None else f" (default: `{spec.default}`)")
            for parameter, spec in kind.params.items()
        ]
        only = ", ".join(f"`{one}`" for one in sorted(kind.only))
        rows.append((f"`{name}`", kind.scope.value, only, kind.meaning, "; ".join(params)))
    return _table(("kind", "happens to", "only", "what happens", "params"), rows)


def control() -> str:
    """What an operator can do to a running simulator."""
    rows = [
        (
            f"`{name}`",
            ", ".join(f"`{member}`" for member in operation.required),
            ", ".join(f"`{member}`" for member in operation.optional),
        )
        for name, operation in OPERATIONS.items()
    ]
    return _table(("op", "members", "may be left out"), rows)


def message() -> str:
    return _members(OrderMessage)


def message_data() -> str:
    return _members(OrderData)


def message_fill() -> str:
    return _members(FillData)


def heartbeat() -> str:
    return _members(Heartbeat)


PAGES: dict[str, tuple[Any, ...]] = {
    "asking.md": (),
    "audit.md": (),
    "configuration.md": (settings,),
    "events.md": (envelope, fill, order_events, account_events),
    "field-failures.md": (),
    "replay.md": (),
    "simulator.md": (faults, control),
    "zeromq.md": (message, message_data, message_fill, heartbeat),
}
"""Which tables each page has."""


def in_page(text: str) -> dict[str, str]:
    """The tables that stand in a page, by name."""
    return {match["name"]: match[0] for match in _MARKERS.finditer(text)}


def written(text: str, page: str) -> str:
    """The page with its tables as the code has them."""
    tables = {table.__name__: table for table in PAGES[page]}
    return _MARKERS.sub(lambda match: f"{match[1]}\n{tables[match['name']]()}\n{match[3]}", text)


def main() -> None:
    for page in PAGES:
        path = DOCS / page
        path.write_text(written(path.read_text(), page))


def _event(event: type[LedgerEvent]) -> str:
    version = f" (version {event.class_version})" if event.class_version > 1 else ""
    own = _members(event, without=LedgerEvent)
    return f"### `{event.topic}`{version}\n\n{_prose(event)}\n" + (f"\n{own}" if own else "")


def _members(struct: type[msgspec.Struct], *, without: type[msgspec.Struct] | None = None) -> str:
    known = {field.name for field in msgspec.structs.fields(without)} if without else set()
    rows = [
        (f"`{field.encode_name}`", _type_name(field.type), "" if field.required else _default(field))
        for field in msgspec.structs.fields(struct)
        if field.name not in known
    ]
    return _table(("member", "type", "if left out"), rows) if rows else ""


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    return "empty" if value == "" else f"`{msgspec.json.encode(value).decode()}`"


def _prose(documented: type) -> str:
    """A docstring as one text: wrapped lines joined, paragraphs and code kept."""
    text = inspect.cleandoc(documented.__doc__ or "")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _type_name(hint: Any) -> str:
    """A type in words a reader of JSON or TOML knows."""
    if get_origin(hint) is Annotated:
        return _type_name(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(hint))
    if get_origin(hint) in (UnionType, typing.Union):
        return " or ".join(_type_name(choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        return f"list of {_type_name(get_args(hint)[0])}s"
    if get_origin(hint) is dict:
        return f"table of {_type_name(get_args(hint)[1])}"
    names = {"str": "text", "int": "integer", "float": "number", "bool": "boolean", "Decimal": "decimal"}
    names |= {"NoneType": "null", "Any": "anything"}
    name = getattr(hint, "__name__", str(hint))
    if hasattr(hint, "__members__"):
        return ", ".join(f"`{choice.value}`" for choice in hint)
    return names.get(name, name)


def _toml(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "".join(_lines([head, tuple("---" for _ in head), *rows]))


def _lines(rows: list[tuple[str, ...]]) -> Iterator[str]:
    for row in rows:
        cells = (cell.replace("|", "\\|") for cell in row)
        yield f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main()
