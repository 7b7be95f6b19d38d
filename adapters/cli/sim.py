"""`orderledger sim`: the simulated venue, added to the command line."""

from __future__ import annotations

from typing import Any

from adapters.simulator import command

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Add the command to `orderledger`."""
    parser = subparsers.add_parser(
        "sim",
        help="run a simulated Hyperliquid on this machine",
        description="Run a simulated Hyperliquid on this machine until interrupted. Prints one JSON line "
        "with its URLs, and the keys of its accounts, when it is ready.",
    )
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)
