"""A simulator and a funded raw client in the loop of an async test, on a clock that only the test moves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

from adapters.simulator.app import Simulator, SimulatorOptions
from adapters.simulator.clock import ManualClock
from tests.support.raw_client import RawClient

START_MS = 1_700_000_000_000
"""Where the manual clock starts, in ms since the epoch."""

KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"
ADDRESS = "0x14791697260e4c9a71f18484c9f997b308e59325"
OTHER_KEY = "0x" + "42" * 32

BTC, ETH, SOL = 3, 4, 0
"""Asset ids as on testnet."""


def limit(
    asset: int,
    is_buy: bool,
    price: str,
    size: str,
    *,
    tif: str = "Gtc",
    cloid: str | None = None,
    reduce_only: bool = False,
) -> dict[str, Any]:
    """One entry of an order action."""
    entry: dict[str, Any] = {
        "a": asset,
        "b": is_buy,
        "p": price,
        "s": size,
        "r": reduce_only,
        "t": {"limit": {"tif": tif}},
    }
    if cloid is not None:
        entry["c"] = cloid
    return entry


def order(*entries: dict[str, Any], grouping: str = "na") -> dict[str, Any]:
    """An order action."""
    return {"type": "order", "orders": list(entries), "grouping": grouping}


def cancel(asset: int, oid: int) -> dict[str, Any]:
    """A cancel action of one order."""
    return {"type": "cancel", "cancels": [{"a": asset, "o": oid}]}


def cloid(number: int) -> str:
    """A client order id."""
    return f"0x{number:032x}"


def statuses(answer: dict[str, Any]) -> list[Any]:
    """The per-entry outcomes of an answer that is ok."""
    assert answer["status"] == "ok", answer
    found: list[Any] = answer["response"]["data"]["statuses"]
    return found


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds; fails after a minute."""
    async with asyncio.timeout(60):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def venue(**options: Any) -> AsyncIterator[tuple[Simulator, RawClient]]:
    """A started simulator with `ADDRESS` funded, and a client that holds its key."""
    chosen = SimulatorOptions(**{"accounts": {ADDRESS: Decimal(100_000)}, "seed": 7, **options})
    async with Simulator(chosen, clock=ManualClock(START_MS)) as sim, RawClient(sim.url, KEY) as client:
        yield sim, client
