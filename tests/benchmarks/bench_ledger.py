"""How many events per second the ledger makes durable, beside the stock library on the same orders.

Ours: several threads submit small groups (the events of one order) through the group commit, and the clock
stops when the last one is on the disk: encoding, hash chain, key index and fsync included. Stock:
`eventsourcing.sqlite` in a file, its JSON mapper, `Application.save` for each event, as documented.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import msgspec
from eventsourcing.application import Application

from adapters.storage.chain import verify_chain
from adapters.storage.group_commit import Committed
from adapters.storage.ledger import OrderLedger
from domain.enums import Liquidity, OrderType, Source, TradeType
from domain.events import Fill, LedgerEvent, OrderCreated, OrderFilled, OrderSubmitted

EVENTS_PER_SECOND_REQUIRED = 50_000
RATIO_REQUIRED = 8.0

_ROUNDS = 5
_THREADS = 4
_ORDERS_PER_THREAD = 10_000
_EVENTS_PER_ORDER = 3
_STOCK_EVENTS = 1_500
_SINGLE_APPENDS = 500
_ACCOUNT = "0x" + "ab" * 20

_Result = TypeVar("_Result")


def run() -> dict[str, Any]:
    """Medians over alternating rounds of both, and further figures of the ledger by itself."""
    ours, with_futures, stock = [], [], []
    for _ in range(_ROUNDS):
        ours.append(_fresh(_durable_events_per_second))
        stock.append(_fresh(_stock_events_per_second))
        with_futures.append(_fresh(lambda path: _durable_events_per_second(path, futures=True)))
    ratio = statistics.median(our / their for our, their in zip(ours, stock, strict=True))
    events_per_second = statistics.median(ours)
    return {
        "threads": _THREADS,
        "events_per_round": _THREADS * _ORDERS_PER_THREAD * _EVENTS_PER_ORDER,
        "events_per_second": round(events_per_second),
        "events_per_second_each_round": [round(each) for each in ours],
        "events_per_second_with_a_future_each": round(statistics.median(with_futures)),
        "events_per_second_required": EVENTS_PER_SECOND_REQUIRED,
        "stock_events_per_second": round(statistics.median(stock)),
        "ratio": round(ratio, 1),
        "ratio_required": RATIO_REQUIRED,
        **_fresh(_further_figures),
        "ok": events_per_second >= EVENTS_PER_SECOND_REQUIRED and ratio >= RATIO_REQUIRED,
    }


def _fresh(measure: Callable[[Path], _Result]) -> _Result:
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder) / "ledger.db")


def _order(number: int) -> list[LedgerEvent]:
    """What a market order leaves behind: created, submitted, filled."""
    # As the generator makes them: milliseconds, counter, session.
    client_order_id = f"0x{1_700_000_000_000 + number // 50:012x}{number:08x}{0x5E55:012x}"
    envelope: dict[str, Any] = {
        "originator_id": client_order_id,
        "recorded_at_ns": 1_700_000_000_000_000_000 + number,
        "venue": "hyperliquid",
        "account": _ACCOUNT,
        "causation": f"session-1:{number}",
    }
    return [
        OrderCreated(
            **envelope,
            originator_version=1,
            source=Source.COMMAND,
            trading_pair="BTC-USD",
            instrument="BTC",
            order_type=OrderType.LIMIT,
            trade_type=TradeType.BUY,
            amount=Decimal("0.0213"),
            price=Decimal("43210.5"),
            venue_order_key=client_order_id,
        ),
        OrderSubmitted(
            **envelope,
            originator_version=2,
            source=Source.COMMAND,
            attempt=1,
            nonce=1_700_000_000_000 + number,
        ),
        OrderFilled(
            **envelope,
            originator_version=3,
            source=Source.STREAM,
            exchange_time_ms=1_700_000_000_000 + number,
            fill=Fill(
                fill_key=f"{10_000_000_000 + number}:{number}",
                trade_id=str(900_000_000_000 + number),
                exchange_order_id=str(10_000_000_000 + number),
                trading_pair="BTC-USD",
                trade_type=TradeType.BUY,
                price=Decimal("43210.5"),
                amount=Decimal("0.0213"),
                fee=Decimal("0.13806"),
                fee_token="USDC",
                liquidity=Liquidity.MAKER,
                exchange_time_ms=1_700_000_000_000 + number,
                start_position=Decimal("1.5"),
                closed_pnl=Decimal("0.0"),
                direction="Open Long",
                transaction_hash=f"0x{number:064x}",
            ),
        ),
    ]


def _durable_events_per_second(path: Path, *, futures: bool = False) -> float:
    orders = [
        [_order(index * _THREADS + thread) for index in range(_ORDERS_PER_THREAD)]
        for thread in range(_THREADS)
    ]
    expected = _THREADS * _ORDERS_PER_THREAD * _EVENTS_PER_ORDER
    with OrderLedger.open(path) as ledger:
        submit = _submit_each_with_a_future if futures else _submit_with_a_future_now_and_then
        threads = [Thread(target=submit, args=(ledger, mine)) for mine in orders]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - begin
    report = verify_chain(path)
    if not report.ok or report.events != expected:
        raise AssertionError(f"the ledger holds {report.events} of {expected} events: {report.reason}")
    return expected / seconds


def _submit_with_a_future_now_and_then(ledger: OrderLedger, orders: list[list[LedgerEvent]]) -> None:
    """As the live process does: outcomes come in batches; here every 500th is waited for, one behind."""
    waiting: list[Future[Committed]] = []
    for start in range(0, len(orders), 500):
        block = orders[start : start + 500]
        for events in block[:-1]:
            ledger.enqueue(events)
        waiting.append(ledger.submit(block[-1]))
        if len(waiting) > 1:
            waiting.pop(0).result()
    for future in waiting:
        future.result()


def _submit_each_with_a_future(ledger: OrderLedger, orders: list[list[LedgerEvent]]) -> None:
    waiting: list[Future[Committed]] = []
    for events in orders:
        waiting.append(ledger.submit(events))
        if len(waiting) == 1_000:
            for future in waiting[:500]:
                future.result()
            del waiting[:500]
    for future in waiting:
        future.result()


@dataclass(frozen=True)
class _StockCreated:
    originator_id: str
    originator_version: int
    members: dict[str, Any]


@dataclass(frozen=True)
class _StockSubmitted(_StockCreated):
    pass


@dataclass(frozen=True)
class _StockFilled(_StockCreated):
    pass


_STOCK_TYPES = {OrderCreated: _StockCreated, OrderSubmitted: _StockSubmitted, OrderFilled: _StockFilled}


def _stock_event(event: LedgerEvent) -> _StockCreated:
    """The same facts as an event of the kind that the stock mapper takes."""
    members = {
        name: value
        for name, value in msgspec.structs.asdict(event).items()
        if name not in ("originator_id", "originator_version")
    }
    if isinstance(event, OrderFilled):
        members["fill"] = msgspec.structs.asdict(event.fill)
    return _STOCK_TYPES[type(event)](event.originator_id, event.originator_version, members)


def _stock_events_per_second(path: Path) -> float:
    orders = range(_STOCK_EVENTS // _EVENTS_PER_ORDER)
    events = [_stock_event(event) for number in orders for event in _order(number)]
    with Application[str](
        {
            "PERSISTENCE_MODULE": "eventsourcing.sqlite",
            "SQLITE_DBNAME": str(path),
            "ORIGINATOR_ID_TYPE": "text",
        }
    ) as application:
        begin = time.perf_counter()
        for event in events:
            application.save(event)
        seconds = time.perf_counter() - begin
        recorded = application.recorder.max_notification_id()
    if recorded != len(events):
        raise AssertionError(f"the stock library recorded {recorded} of {len(events)} events")
    return len(events) / seconds


def _further_figures(path: Path) -> dict[str, Any]:
    """What one durable event costs alone, and how fast a ledger is read and verified."""
    with OrderLedger.open(path) as ledger:
        latencies_us: list[float] = []
        for number in range(_SINGLE_APPENDS):
            event = _order(number)[:1]
            begin = time.perf_counter_ns()
            ledger.append(event)
            latencies_us.append((time.perf_counter_ns() - begin) / 1000)
        for number in range(_SINGLE_APPENDS, _SINGLE_APPENDS + 10_000):
            ledger.enqueue(_order(number))
        ledger.append([])
        read_from = time.perf_counter()
        events = sum(1 for _ in ledger.read())
        verify_from = time.perf_counter()
        verified = verify_chain(path).events
        end = time.perf_counter()
    latencies_us.sort()
    return {
        "one_event_durable_us_p50": round(statistics.median(latencies_us)),
        "one_event_durable_us_p99": round(latencies_us[int(len(latencies_us) * 0.99)]),
        "read_events_per_second": round(events / (verify_from - read_from)),
        "verified_events_per_second": round(verified / (end - verify_from)),
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
