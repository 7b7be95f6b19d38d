"""Making a strategy from its name, and the errors when that fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.strategies.loading import StrategyError, load_strategy
from adapters.strategies.market_making import MarketMakingSample

_SAMPLE = "adapters.strategies.market_making:MarketMakingSample"


@pytest.fixture
def beside_the_config(tmp_path: Path) -> Iterator[Path]:
    """A directory for modules of one test, forgotten afterwards."""
    path, modules = sys.path.copy(), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def _write(directory: Path, name: str, text: str) -> None:
    (directory / f"{name}.py").write_text(
        f"from adapters.strategies.strategy import Strategy\nfrom abc import abstractmethod\n{text}\n"
    )


def test_the_sample_is_made_with_its_parameters() -> None:
    made = load_strategy(_SAMPLE, {"trading_pair": "BTC-USD", "order_amount": Decimal("0.01")})
    assert isinstance(made, MarketMakingSample)
    assert (made.trading_pair, made.order_amount) == ("BTC-USD", Decimal("0.01"))


def test_a_module_beside_the_config_is_found(beside_the_config: Path) -> None:
    _write(
        beside_the_config, "bot_found", "class Bot(Strategy):\n    def __init__(self, **any): self.any = any"
    )
    made = load_strategy("bot_found:Bot", {"x": 1}, search_directory=beside_the_config)
    assert vars(made) == {"any": {"x": 1}}


@pytest.mark.parametrize("text", ["", "module", "module:", ":Class"])
def test_a_name_without_a_class_is_refused(text: str) -> None:
    with pytest.raises(StrategyError, match="module:Class"):
        load_strategy(text, {})


def test_a_missing_module_is_named() -> None:
    with pytest.raises(StrategyError, match=r"no module 'bots_that_are_not_there'.*beside the config"):
        load_strategy("bots_that_are_not_there.grid:Grid", {})


def test_a_missing_class_is_named_with_what_was_probably_meant() -> None:
    with pytest.raises(
        StrategyError, match=r"no class 'MarketMakerSample'.*Did you mean 'MarketMakingSample'\?"
    ):
        load_strategy("adapters.strategies.market_making:MarketMakerSample", {})


def test_every_wrong_parameter_is_named_at_once() -> None:
    with pytest.raises(StrategyError) as raised:
        load_strategy(_SAMPLE, {"order_amuont": 1, "leverage": 3})
    said = str(raised.value)
    for expected in (
        "no parameter 'order_amuont'. Did you mean 'order_amount'?",
        "no parameter 'leverage'.",
        "needs 'trading_pair'.",
        "needs 'order_amount'.",
        "Its parameters: trading_pair, order_amount, spread_bps",
    ):
        assert expected in said


def test_what_the_strategy_says_about_a_value_is_passed_on() -> None:
    with pytest.raises(StrategyError, match="order_amount must be above zero, not -1"):
        load_strategy(_SAMPLE, {"trading_pair": "BTC-USD", "order_amount": -1})


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("bot_other", "class Bot: pass", "derive it from"),
        ("bot_function", "def Bot(): pass", "derive it from"),
        ("bot_abstract", "class Bot(Strategy):\n    on_tick = abstractmethod(Strategy.on_tick)", "abstract"),
        ("bot_needs", "import pandas_that_is_not_there", "needs a module 'pandas_that_is_not_there'"),
        ("bot_broken", "raise RuntimeError('no luck today')", "RuntimeError: no luck today"),
        ("bot_syntax", "class Bot(", "SyntaxError"),
    ],
)
def test_a_module_that_holds_no_strategy_is_explained(
    beside_the_config: Path, name: str, text: str, complaint: str
) -> None:
    _write(beside_the_config, name, text)
    if complaint == "abstract":
        # Only a class whose metaclass is ABCMeta can have abstract methods.
        _write(
            beside_the_config, name, "from abc import ABC\n" + text.replace("(Strategy)", "(Strategy, ABC)")
        )
    with pytest.raises(StrategyError, match=complaint):
        load_strategy(f"{name}:Bot", {}, search_directory=beside_the_config)


def test_a_fault_inside_a_constructor_is_not_dressed_up_as_a_users_mistake(beside_the_config: Path) -> None:
    _write(beside_the_config, "bot_fault", "class Bot(Strategy):\n    def __init__(self): {}['missing']")
    with pytest.raises(KeyError):
        load_strategy("bot_fault:Bot", {}, search_directory=beside_the_config)
