"""How fast views are built from a ledger, how far they are behind a commit, and how long answers take.

The ledger is a real one in a file: orders that are acknowledged, filled in parts, cancelled or left open, six
or seven events each, as a market maker's day looks.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from adapters.cli.ledger_source import LedgerEventSource
from adapters.storage.ledger import OrderLedger
from domain.enums import Liquidity, OrderType, Source, TradeType
from domain.events import (
    Fill,
    LedgerEvent,
    OrderAcknowledged,
    OrderCancelled,
    OrderCancelRequested,
    OrderCreated,
    OrderFilled,
    OrderSubmitted,
)
from projections import ProjectionRunner, Views, catch_up, rebuild, views_path_for

EVENTS = int(os.environ.get("BENCH_EVENTS", "100_000"))
LIVE_COMMITS = 300
QUERIES = 20

_START_NS = 1_700_000_000_000_000_000


def run() -> dict[str, Any]:
    """Events per second of a build, milliseconds from commit to view and per answer."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "ledger.db")
        views = views_path_for(path)
        events = list(a_day(EVENTS))
        ledger = OrderLedger.open(path)
        for start in range(0, len(events), 5_000):
            ledger.append(events[start : start + 5_000])
        source = LedgerEventSource(ledger)
        try:
            reading_s = _seconds(lambda: sum(len(batch) for batch in ledger.read_batches()))
            building_s = _seconds(lambda: catch_up(source, views))
            rebuilding_s = _seconds(lambda: rebuild(source, views))
            lags = _live_lags_ms(ledger, source, views)
            answers = _answers_ms(views) | _past_answers_ms(source, views)
        finally:
            ledger.close()
        return {
            "events": len(events),
            "ledger_read_events_per_s": round(len(events) / reading_s),
            "build_events_per_s": round(len(events) / building_s),
            "rebuild_and_swap_events_per_s": round(len(events) / rebuilding_s),
            "views_bytes_per_event": round(views.stat().st_size / len(events)),
            "commit_to_view_ms_median": round(statistics.median(lags), 2),
            "commit_to_view_ms_p99": round(statistics.quantiles(lags, n=100)[98], 2),
            **answers,
        }


def a_day(count: int) -> Iterator[LedgerEvent]:
    """So many events (and the rest of the last order's) of a market maker's day."""
    number = 0
    made = 0
    while made < count:
        number += 1
        for event in _an_order(number):
            yield event
            made += 1


def _an_order(number: int) -> Iterator[LedgerEvent]:
    order_id = f"0x{1_700_000_000_000 + number:012x}{number:08x}00aabbccddee"
    exchange_order_id = str(90_000_000 + number)
    side = TradeType.BUY if number % 2 else TradeType.SELL
    price = Decimal(43_000 + number % 500)
    version = 0

    def event(kind: type[LedgerEvent], source: Source, **members: Any) -> LedgerEvent:
        nonlocal version
        version += 1
        return kind(
            originator_id=order_id,
            originator_version=version,
            recorded_at_ns=_START_NS + number * 1_000_000 + version,
            venue="hyperliquid",
            account="0x14791697260e4c9a71f18484c9f997b308e59325",
            source=source,
            causation=f"s1:{number}",
            **members,
        )

    yield event(
        OrderCreated,
        Source.COMMAND,
        trading_pair=("BTC-USD", "ETH-USD", "SOL-USD")[number % 3],
        instrument="BTC",
        order_type=OrderType.LIMIT,
        trade_type=side,
        amount=Decimal("0.5"),
        price=price,
    )
    yield event(OrderSubmitted, Source.COMMAND, attempt=1, nonce=1_700_000_000_000 + number)
    yield event(OrderAcknowledged, Source.HTTP, exchange_order_id=exchange_order_id)
    for part in range(number % 4):
        fill = Fill(
            fill_key=str(number * 4 + part),
            trade_id=str(number * 4 + part),
            exchange_order_id=exchange_order_id,
            trading_pair=("BTC-USD", "ETH-USD", "SOL-USD")[number % 3],
            trade_type=side,
            price=price,
            amount=Decimal("0.1"),
            fee=Decimal("0.645"),
            fee_token="USDC",
            liquidity=Liquidity.MAKER,
            exchange_time_ms=1_700_000_000_000 + number,
            closed_pnl=Decimal("0"),
            start_position=Decimal("0.1"),
            direction="Open Long",
            transaction_hash=f"0x{number:064x}",
        )
        yield event(OrderFilled, Source.STREAM, fill=fill, exchange_time_ms=fill.exchange_time_ms)
    if number % 100:
        yield event(OrderCancelRequested, Source.COMMAND, nonce=1_700_000_000_000 + number)
        yield event(
            OrderCancelled, Source.STREAM, reason_code="requested", exchange_order_id=exchange_order_id
        )


def _live_lags_ms(ledger: OrderLedger, source: LedgerEventSource, views: Path) -> list[float]:
    """From the moment a commit is durable to the moment its rows are in the views."""
    lags = []
    with ProjectionRunner(source, views) as runner:
        runner.wait_for(source.max_position, 60)
        for number in range(LIVE_COMMITS):
            recorded = ledger.append(list(_an_order(10_000_000 + number)))
            committed = time.perf_counter()
            if not runner.wait_for(recorded.positions[-1], 60):
                raise AssertionError("the views did not follow")
            lags.append(1_000 * (time.perf_counter() - committed))
    return lags


def _answers_ms(views: Path) -> dict[str, float]:
    with Views(views) as asked:
        an_order = asked.orders(limit=1)[0]
        questions: dict[str, Callable[[], object]] = {
            "open_orders_ms": asked.open_orders,
            "positions_ms": asked.positions,
            "last_100_orders_ms": lambda: asked.orders(limit=100),
            "last_100_fills_of_a_pair_ms": lambda: asked.fills(trading_pair="ETH-USD", limit=100),
            "history_by_exchange_id_ms": lambda: asked.history(
                asked.find_order(an_order.exchange_order_id or "")
            ),
        }
        return {
            name: round(1_000 * statistics.median(_seconds(ask) for _ in range(QUERIES)), 2)
            for name, ask in questions.items()
        }


def _past_answers_ms(source: LedgerEventSource, views: Path) -> dict[str, float]:
    """The slowest of the same question as of moments all along the log: it must not matter which."""
    with Views(views) as asked:
        end = asked.position

        def slowest(question: Callable[[Views], object]) -> float:
            def ask(position: int) -> None:
                with asked.at(position, source) as then:
                    question(then)

            moments = [max(1, end * part // QUERIES) for part in range(QUERIES + 1)]
            return round(1_000 * max(_seconds(partial(ask, moment)) for moment in moments), 2)

        return {
            "open_orders_at_ms_max": slowest(lambda then: then.open_orders()),
            "positions_at_ms_max": slowest(lambda then: then.positions()),
            "last_100_fills_at_ms_max": slowest(lambda then: then.fills(limit=100)),
        }


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
