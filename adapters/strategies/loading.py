"""Makes the strategy that a config names, or says why it cannot."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from adapters.strategies.strategy import Strategy

__all__ = ["StrategyError", "load_strategy"]


class StrategyError(Exception):
    """The strategy cannot be made. The message says what was looked for and what to change."""


def load_strategy(
    class_path: str, params: Mapping[str, Any], *, search_directory: Path | None = None
) -> Strategy:
    """Import `module:Class` and make it with `params` as keyword arguments. Raises `StrategyError`.

    Modules are looked for where Python looks and, after that, in `search_directory`.
    """
    module_name, _, class_name = class_path.partition(":")
    if not module_name or not class_name:
        raise StrategyError(f"{class_path!r} is no strategy; write module:Class, such as my_bots.grid:Grid.")
    if search_directory is not None and str(search_directory) not in sys.path:
        # Last, so that nothing there can stand in for an installed module.
        sys.path.append(str(search_directory))
    found = _find(module_name, class_name)
    _check_params(class_path, found, params)
    try:
        return found(**params)
    except (ValueError, TypeError) as error:
        # What a constructor says about its arguments is the user's to read; anything else is a fault in it.
        raise StrategyError(f"{class_path} refuses its parameters: {error}") from error


def _find(module_name: str, class_name: str) -> type[Strategy]:
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            missing = f"{module_name} needs a module {error.name!r} that is not installed."
            raise StrategyError(missing) from error
        raise StrategyError(
            f"There is no module {error.name!r}. It must be installed, on PYTHONPATH, or beside the config."
        ) from None
    except Exception as error:
        raise StrategyError(f"{module_name} cannot be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, class_name, None)
    if found is None:
        near = _near(class_name, [name for name, value in vars(module).items() if isinstance(value, type)])
        raise StrategyError(f"{module_name} has no class {class_name!r}.{near}")
    if not isinstance(found, type) or not issubclass(found, Strategy):
        raise StrategyError(
            f"{module_name}:{class_name} is no strategy: derive it from "
            "adapters.strategies.strategy.Strategy."
        )
    if inspect.isabstract(found):
        raise StrategyError(f"{module_name}:{class_name} cannot be made: it has abstract methods left.")
    return found


def _check_params(class_path: str, found: type[Strategy], params: Mapping[str, Any]) -> None:
    """All that is wrong with the names, at once; Python's own error tells only the first."""
    accepted = inspect.signature(found).parameters.values()
    named = {
        parameter.name: parameter.default is parameter.empty
        for parameter in accepted
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted)
    wrong = [
        f"it has no parameter {name!r}.{_near(name, named)}"
        for name in params
        if name not in named and not takes_any
    ]
    wrong += [f"it needs {name!r}." for name, required in named.items() if required and name not in params]
    if wrong:
        known = ", ".join(named) or "none"
        raise StrategyError(f"{class_path}: {' And '.join(wrong)} Its parameters: {known}.")


def _near(name: str, choices: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(choices), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
