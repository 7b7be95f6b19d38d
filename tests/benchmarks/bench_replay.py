"""How fast a recording is replayed on one core: read, decoded, stepped, compared and digested.

The mix is that of a market maker: market data of three markets as the venue sends it (`market_data`), and
every three seconds an order that is placed, acknowledged, filled in part, cancelled: nine inputs of ten are
market data. Besides it the two things that cost most, each alone: messages about orders, and whole books of
forty levels. Then the fold of a ledger of a million events to the states of its orders. All in CPU time of
fresh processes, the best of several rounds.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adapters.storage.ledger import OrderLedger
from replays.session_file import write_session
from tests.benchmarks.bench_projections import a_day
from tests.benchmarks.market_data import Market
from tests.support.core import CoreSession
from tests.support.recordings import recording_of

INPUTS_PER_SECOND_REQUIRED = 50_000
FOLD_SECONDS_MAX = 5.0
MEMORY_GROWTH_MB_MAX = 8.0

_SECONDS = int(os.environ.get("BENCH_SECONDS", "900"))
_ORDER_EVERY_SECONDS = 3
_ORDERS = 3_000
_BOOKS = 5_000
_FOLDED_EVENTS = int(os.environ.get("BENCH_EVENTS", "1_000_000"))
_COINS = {"BTC": 43_210, "ETH": 2_298, "kPEPE": 7_000}


def run() -> dict[str, Any]:
    """Inputs per second of each kind of recording, seconds of the fold, and what memory did."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        mixed, orders, books = (
            _replayed(folder / f"{make.__name__}.session", make()) for make in (_mixed, _orders, _books)
        )
        folded = _fold(folder / "ledger.db")
    rate, growth_mb = mixed["inputs_per_second"], round(mixed["late_mb"] - mixed["early_mb"], 1)
    return {
        "inputs": mixed["inputs"],
        "inputs_per_second": rate,
        "inputs_per_second_required": INPUTS_PER_SECOND_REQUIRED,
        "reading_alone_per_second": mixed["read_per_second"],
        "order_messages_per_second": orders["inputs_per_second"],
        "whole_books_per_second": books["inputs_per_second"],
        "memory_at_the_end_mb": round(mixed["late_mb"], 1),
        "memory_growth_mb": growth_mb,
        "memory_growth_mb_max": MEMORY_GROWTH_MB_MAX,
        "folded_events": folded["events"],
        "folded_orders": folded["orders"],
        "fold_seconds": round(folded["seconds"], 2),
        "fold_seconds_max": FOLD_SECONDS_MAX,
        "ok": rate >= INPUTS_PER_SECOND_REQUIRED
        and folded["seconds"] <= FOLD_SECONDS_MAX
        and growth_mb <= MEMORY_GROWTH_MB_MAX,
    }


# -- recordings ----------------------------------------------------------------------------------------------


def _replayed(path: Path, session: CoreSession) -> dict[str, Any]:
    """What a fresh process measured of this session's recording."""
    recording = recording_of(session)
    write_session(path, recording.header, recording)
    return _in_a_fresh_process("tests.benchmarks.replayed", path)


def _in_a_fresh_process(module: str, path: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", module, str(path)], stdout=subprocess.PIPE, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _session() -> CoreSession:
    pairs = tuple(f"{coin}-USD" for coin in _COINS)
    return CoreSession(options={"weight_per_minute": 10**9}, pairs=pairs).ready()


def _mixed() -> CoreSession:
    session = _session()
    markets = [Market(coin, seed=seed, mid=mid) for seed, (coin, mid) in enumerate(_COINS.items())]
    for number in range(_SECONDS):
        frames = sorted(frame for market in markets for frame in market.second(session.now_ms))
        for _, frame in frames[: len(frames) // 2]:
            session.raw_frame(frame, stream="market")
        if number % _ORDER_EVERY_SECONDS == 0:
            _an_order(session, number)
        for _, frame in frames[len(frames) // 2 :]:
            session.raw_frame(frame, stream="market")
        session.advance(1)
    return session


def _orders() -> CoreSession:
    session = _session()
    for number in range(_ORDERS):
        _an_order(session, number)
        session.advance(0.1)
    return session


def _books() -> CoreSession:
    session = _session()
    market = Market("BTC", seed=1)
    for number in range(_BOOKS):
        session.raw_frame(market.book(session.now_ms + number), stream="market")
    return session


def _an_order(session: CoreSession, number: int) -> None:
    """Nine inputs: an order's life as answers and both channels tell it."""
    oid, time_ms = 1_000_000 + number, session.now_ms
    order = session.buy("1", "43000")
    cloid = session.order(order).venue_order_key
    session.answer_orders({"resting": {"oid": oid}})
    session.status(oid, "open", cloid=cloid, time_ms=time_ms)
    session.fill(oid, 2_000_000 + number, "0.25", cloid=cloid, time_ms=time_ms)
    session.fill(oid, 2_000_000 + number, "0.25", cloid=cloid, time_ms=time_ms, channel="userFills")
    session.cancel(order)
    session.answer_cancels("success")
    session.status(oid, "canceled", cloid=cloid, time_ms=time_ms)
    session.fills.clear()


# -- the fold ------------------------------------------------------------------------------------------------


def _fold(path: Path) -> dict[str, Any]:
    """What a fresh process measured of a closed ledger of so many events."""
    with OrderLedger.open(path) as ledger:
        for group in _groups(5_000):
            ledger.append(group)
    folded = _in_a_fresh_process("tests.benchmarks.folded", path)
    assert folded["events"] == _FOLDED_EVENTS
    return folded


def _groups(size: int) -> Iterator[list[Any]]:
    group: list[Any] = []
    for event in a_day(_FOLDED_EVENTS):
        group.append(event)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
