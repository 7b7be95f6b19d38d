"""How fast views are built and verified, how far they are behind a commit, and how long answers take.

The ledger is a real one in a file: a market maker's day, orders that are acknowledged, filled in parts,
cancelled or left open, six or seven events each, twenty of them worked side by side. `BENCH_EVENTS=3_000_000`
in the environment takes a longer day; a tenth of it is measured too, to see how the costs grow. What an event
costs in CPU time, all processes together, says more than the clock does where something else is running.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from adapters.cli.building_helpers import helpers_for
from adapters.cli.chosen_ledger import ChosenLedger
from adapters.cli.ledger_source import LedgerEventSource
from adapters.cli.verify import verify
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
from projections import ProjectionRunner, Views, rebuild, views_path_for
from projections.explaining import explain

EVENTS = int(os.environ.get("BENCH_EVENTS", "1_000_000"))
LIVE_COMMITS = 300
QUERIES = 20
SIDE_BY_SIDE = 20

BUILD_REQUIRED = 100_000
VERIFY_REQUIRED = 150_000
ANSWER_MS_MAX = 50
PAST_ANSWER_MS_MAX = 300
GROWTH_MAX = 1.3
"""How much more an event may cost in a ledger ten times as long; linear growth is 1."""

_START_NS = 1_700_000_000_000_000_000


def run() -> dict[str, Any]:
    """Events per second of a build and of a verification, milliseconds per answer and from commit to view."""
    with tempfile.TemporaryDirectory() as directory:
        small = _built_and_verified(Path(directory, "small.db"), EVENTS // 10)
        path = Path(directory, "ledger.db")
        large = _built_and_verified(path, EVENTS)
        with OrderLedger.open(path) as ledger:
            source = LedgerEventSource(ledger)
            views = views_path_for(path)
            answers = _answers_ms(ledger, views) | _past_answers_ms(source, views)
            lags = _live_lags_ms(ledger, source, views)
        size = views.stat().st_size
    figures = {
        "build_events_per_s": round(large["build_events_per_s"]),
        "verify_events_per_s": round(large["verify_events_per_s"]),
        "build_growth": round(small["build_events_per_s"] / large["build_events_per_s"], 2),
        "verify_growth": round(small["verify_events_per_s"] / large["verify_events_per_s"], 2),
        **answers,
    }
    targets = {
        "build_events_per_s_required": BUILD_REQUIRED,
        "verify_events_per_s_required": VERIFY_REQUIRED,
        "build_growth_max": GROWTH_MAX,
        "verify_growth_max": GROWTH_MAX,
        **{f"{name}_max": PAST_ANSWER_MS_MAX if "_at_" in name else ANSWER_MS_MAX for name in answers},
    }
    met = all(
        figures[name.removesuffix("_required")] >= bound
        if name.endswith("_required")
        else figures[name.removesuffix("_max")] <= bound
        for name, bound in targets.items()
    )
    return {
        "events": EVENTS,
        "processes": len(os.sched_getaffinity(0)),
        "ledger_read_events_per_s": round(large["read_events_per_s"]),
        "build_cpu_us_per_event": round(large["build_cpu_us"], 1),
        "verify_cpu_us_per_event": round(large["verify_cpu_us"], 1),
        "small_build_cpu_us_per_event": round(small["build_cpu_us"], 1),
        "small_verify_cpu_us_per_event": round(small["verify_cpu_us"], 1),
        "views_bytes_per_event": round(size / EVENTS),
        "commit_to_view_ms_median": round(statistics.median(lags), 2),
        "commit_to_view_ms_p99": round(statistics.quantiles(lags, n=100)[98], 2),
        **figures,
        **targets,
        "ok": met,
    }


def _built_and_verified(path: Path, count: int) -> dict[str, float]:
    """Record so many events; events per second of reading them, of building their views, and of verifying,
    and microseconds of CPU time per event of the latter two."""
    events = a_day(count)
    with OrderLedger.open(path) as ledger:
        while part := list(islice(events, 5_000)):
            ledger.append(part)
    views = views_path_for(path)
    with OrderLedger.open(path, writer=False) as ledger:
        recorded = ledger.max_position
        reading_s = _seconds(lambda: sum(len(batch) for batch in ledger.read_batches()))
        source = LedgerEventSource(ledger)
        began = _cpu_s()
        building_s = _seconds(lambda: rebuild(source, views, helpers=helpers_for(path)))
        building_cpu_s = _cpu_s() - began

    def verified() -> None:
        report = verify(ChosenLedger(path, views))
        assert report.ok, report.reason

    began = _cpu_s()
    verifying_s = _seconds(verified)
    return {
        "read_events_per_s": recorded / reading_s,
        "build_events_per_s": recorded / building_s,
        "build_cpu_us": 1e6 * building_cpu_s / recorded,
        "verify_events_per_s": recorded / verifying_s,
        "verify_cpu_us": 1e6 * (_cpu_s() - began) / recorded,
    }


def a_day(count: int) -> Iterator[LedgerEvent]:
    """The first so many events of a market maker's day."""
    return islice(_side_by_side(), count)


def _side_by_side() -> Iterator[LedgerEvent]:
    """The orders' events as they come when several orders are worked at once."""
    worked = [_an_order(number) for number in range(1, SIDE_BY_SIDE + 1)]
    number = SIDE_BY_SIDE
    while True:
        for place, order in enumerate(worked):
            event = next(order, None)
            while event is None:
                number += 1
                worked[place] = order = _an_order(number)
                event = next(order, None)
            yield event


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


def _answers_ms(ledger: OrderLedger, views: Path) -> dict[str, float]:
    with Views(views) as asked:
        an_order = next(order for order in asked.orders(limit=100) if order.exchange_order_id)

        def why() -> None:
            explain(
                ledger.history_of(asked.find_order(an_order.exchange_order_id or an_order.client_order_id))
            )

        questions: dict[str, Callable[[], object]] = {
            "why_ms": why,
            "open_orders_ms": asked.open_orders,
            "positions_ms": asked.positions,
            "last_100_orders_ms": lambda: asked.orders(limit=100),
            "last_100_fills_of_a_pair_ms": lambda: asked.fills(trading_pair="ETH-USD", limit=100),
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
            "open_orders_at_ms": slowest(lambda then: then.open_orders()),
            "positions_at_ms": slowest(lambda then: then.positions()),
            "last_100_fills_at_ms": slowest(lambda then: then.fills(limit=100)),
        }


def _cpu_s() -> float:
    """CPU time so far, of this process and of those that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
