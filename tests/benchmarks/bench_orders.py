"""How long `buy()` takes a caller, while the whole live process does its work on what was placed.

Ten threads place 1,000 orders a second between them, on a schedule that does not wait for slow answers,
through the process that `orderledger run` runs: ledger, views, publisher and venue connection, the venue
being the simulator in a process of its own. Each order is recorded durably, signed, sent and answered
meanwhile: an immediate one below the market, which the venue ends at once, because it keeps only so many
open.
"""

import asyncio
import contextlib
import gc
import json
import logging
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from adapters.cli.bootstrap import LiveProcess
from adapters.cli.config import (
    Config,
    LedgerSettings,
    LimitSettings,
    PublisherSettings,
    VenueSettings,
)
from adapters.cli.run import network_of, run_loop
from adapters.cli.secrets import Secret
from domain.connector_base import ConnectorBase
from domain.enums import TimeInForce
from domain.events import OrderCreated, OrderExpired

MEDIAN_US_MAX = 50.0
P99_US_MAX = 500.0

THREADS = 10
ORDERS_PER_SECOND = 1_000
SECONDS = 5
WARM_UP_ORDERS = 200
SETTLE_S = 60.0

_PAIR = "BTC-USD"
_AMOUNT = Decimal("0.001")


def run() -> dict[str, Any]:
    """Microseconds per `buy()`, over all threads, and what became of the orders."""
    with tempfile.TemporaryDirectory() as directory:
        figures: dict[str, Any] = {}
        run_loop(_measure(Path(directory), figures))
    return figures


async def _measure(directory: Path, figures: dict[str, Any]) -> int:
    logging.disable(logging.WARNING)
    async with _simulator() as venue:
        account = venue["accounts"][0]
        config = Config(
            venue=VenueSettings(simulator_url=venue["http"], trading_pairs=(_PAIR,)),
            ledger=LedgerSettings(path=str(directory / "ledger.db")),
            publisher=PublisherSettings(bind="tcp://127.0.0.1:0"),
            # The weight a minute allows is a venue's limit, and what is measured is not the venue.
            limits=LimitSettings(request_weight_per_minute=1_000_000),
        )
        key = Secret(account["private_key"].removeprefix("0x"))
        process = LiveProcess(config, key, None, network=network_of(config))
        await process.start()
        try:
            book = process.connector.order_book(_PAIR)
            await process.runtime.until(lambda: book.mid_price is not None, SETTLE_S)
            mid = book.mid_price
            assert mid is not None
            price = mid * Decimal("0.9")
            await asyncio.to_thread(_place, process.connector, price, WARM_UP_ORDERS, 500.0)
            assert await _quiet(process)
            gc.collect()
            placed, wall_s = await asyncio.to_thread(_storm, process.connector, price)
            settled = await _quiet(process)
            created, answered = (
                {event.originator_id for _, event in process.ledger.read(topics=(topic,))}
                for topic in (OrderCreated.topic, OrderExpired.topic)
            )
        finally:
            await process.stop()
    taken_us = sorted(taken_ns / 1_000 for _, taken_ns in placed)
    ids = {client_order_id for client_order_id, _ in placed}
    figures |= {
        "threads": THREADS,
        "orders": len(placed),
        "orders_per_second": round(len(placed) / wall_s),
        "median_us": round(statistics.median(taken_us), 1),
        "median_us_max": MEDIAN_US_MAX,
        "p99_us": round(taken_us[int(len(taken_us) * 0.99)], 1),
        "p99_us_max": P99_US_MAX,
        "slowest_us": round(taken_us[-1], 1),
        "unrecorded": len(ids - created),
        "unrecorded_max": 0,
        "answered": len(ids & answered),
        "answered_required": len(placed),
    }
    figures["ok"] = (
        figures["median_us"] <= MEDIAN_US_MAX
        and figures["p99_us"] <= P99_US_MAX
        and ids <= created & answered
        and len(ids) == len(placed)
        and settled
    )
    return 0


def _storm(connector: ConnectorBase, price: Decimal) -> tuple[list[tuple[str, int]], float]:
    """What each thread placed and how long each call took (ns), and how long it took in all (s)."""
    results: list[list[tuple[str, int]]] = [[] for _ in range(THREADS)]
    each = ORDERS_PER_SECOND * SECONDS // THREADS

    def work(index: int) -> None:
        results[index] = _place(connector, price, each, ORDERS_PER_SECOND / THREADS)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(THREADS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [one for result in results for one in result], time.perf_counter() - began


def _place(connector: ConnectorBase, price: Decimal, count: int, per_second: float) -> list[tuple[str, int]]:
    placed = []
    began = time.perf_counter()
    for index in range(count):
        # A thread that is late catches up: load that slows down with the system would flatter it.
        due = began + index / per_second
        delay = due - time.perf_counter()
        if delay > 0:
            time.sleep(delay)
        before = time.perf_counter_ns()
        client_order_id = connector.buy(_PAIR, _AMOUNT, price, time_in_force=TimeInForce.IOC)
        placed.append((client_order_id, time.perf_counter_ns() - before))
    return placed


async def _quiet(process: LiveProcess) -> bool:
    """Every order sent, answered and durable."""
    tracker = process.connector.tracker
    return await process.runtime.until(lambda: not tracker.live_count, SETTLE_S)


@contextlib.asynccontextmanager
async def _simulator() -> AsyncIterator[dict[str, Any]]:
    command = [sys.executable, "-m", "adapters.cli.main", "sim", "--seed", "1"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=dict(os.environ)
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        yield json.loads(line)
    finally:
        process.terminate()
        await process.wait()


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
