"""Makes the strategy that the config names."""

from __future__ import annotations

from pathlib import Path

from adapters.cli.config import StrategySettings
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.strategies.loading import StrategyError, load_strategy
from adapters.strategies.strategy import Strategy

__all__ = ["configured_strategy"]


def configured_strategy(settings: StrategySettings, config_file: str | Path) -> Strategy | None:
    """The strategy, or None where no class is set. Its module may be beside the config.

    Raises `CommandError` (exit code 4).
    """
    if not settings.class_path:
        return None
    try:
        return load_strategy(
            settings.class_path, settings.params, search_directory=Path(config_file).resolve().parent
        )
    except StrategyError as error:
        raise CommandError(f"[strategy] in {config_file}: {error}", ExitCode.CONFIG) from error
