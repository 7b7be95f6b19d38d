"""What users of other systems suffered, done to a whole connector with its ledger and a venue."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sqlite3
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.cli.comparing import compare_with_venue
from adapters.hyperliquid.streams import StreamOptions
from adapters.runtime.clock import SteadyClock
from adapters.storage.ledger import OrderLedger
from domain.enums import OrderType, PositionAction
from domain.errors import OrderRefusedError
from domain.events import OrderFilled, OrderSubmitted
from projections import Views
from tests.support.live import PAIR, Live, live
from tests.support.process import LiveRun, running_venue, wait_for

AMOUNT = Decimal("0.01")
REST = Decimal(20_000)
"""A price at which a buy order rests, far from any market."""


def run(scenario: Callable[[Live], Awaitable[None]], *, seed: int = 1, market: bool = True) -> None:
    async def main() -> None:
        async with live(seed=seed, market=market) as world:
            await scenario(world)

    asyncio.run(main())


def fills_recorded(world: Live) -> list[str]:
    return [event.fill.fill_key for _, event in world.ledger.read(topics=(OrderFilled.topic,))]  # type: ignore[attr-defined]


# -- unknown taken for failed ------------------------------------------------------------------------------


def test_my_submit_timed_out_and_was_neither_called_failed_nor_placed_again_when_it_filled() -> None:
    async def scenario(world: Live) -> None:
        async with world.session():
            connector = world.connector
            world.inject("answer_lost", action="order", params={"how": "hang"})
            world.inject("stream_lost", channel="orderUpdates", count=None)
            order = connector.buy(PAIR, AMOUNT, world.price("0.97"))
            await world.until("it is unknown", lambda: _is_unknown(world, order))
            with pytest.raises(OrderRefusedError):
                connector.buy(PAIR, AMOUNT, world.price("0.97"), client_order_id=order)
            view = await world.until_state(order, "open")
            world.sim.fill_order(world.account, int(view.exchange_order_id or 0))
            await world.until_state(order, "filled")
            assert "failed" not in [kind for kind, _ in world.recorder.calls]
            sent = [e for _, e in world.ledger.read(topics=(OrderSubmitted.topic,))]
            assert len(sent) == 1
            world.sim.faults.clear()
            await world.agree()

    run(scenario, seed=41)


def _is_unknown(world: Live, order: str) -> bool:
    view = world.connector.order(order)
    return view is not None and view.outcome_unknown


def test_six_orders_accepted_while_the_network_was_down_leave_no_position_nobody_tracks() -> None:
    async def scenario(world: Live) -> None:
        async with world.session():
            connector = world.connector
            world.inject("answer_lost", action="order", count=None)
            world.inject("stream_lost", channel="orderUpdates", count=None)
            world.inject("request_lost", info="orderStatus", count=None)
            orders = [connector.buy(PAIR, AMOUNT, world.price("0.9") - number) for number in range(6)]
            await world.until("all are unknown", lambda: all(_is_unknown(world, order) for order in orders))
            world.inject("refuse_connections", params={"ms": 1_500})
            world.sim.drop_sockets(world.account)
            world.sim.trade("BTC", is_buy=False, size=Decimal("5"), price=Decimal(35_000))
            world.sim.faults.clear()
            await world.until("nothing is unknown", lambda: not any(_is_unknown(world, o) for o in orders))
            await world.until("it is ready again", lambda: connector.ready)
            await world.agree()

    run(scenario, seed=42)


@pytest.mark.parametrize(("fault", "fate"), [("request_lost", "alive"), ("answer_lost", "gone")])
def test_my_cancel_timed_out_and_is_not_taken_for_done_nor_for_failed(fault: str, fate: str) -> None:
    async def scenario(world: Live) -> None:
        async with world.session():
            order = world.connector.buy(PAIR, AMOUNT, REST)
            await world.until_state(order, "open")
            world.inject("stream_lost", channel="orderUpdates", count=None)
            world.inject(fault, action="cancelByCloid")
            world.connector.cancel(order)
            await world.until("it is unknown", lambda: "order.cancel_unknown" in world.recorder.topics(order))
            await world.until_state(order, "cancelled")
            cancels = world.recorder.topics(order).count("order.cancel_requested")
            assert cancels == (2 if fate == "alive" else 1)
            await world.agree()

    run(scenario, seed=43)


# -- out of order, twice, never ----------------------------------------------------------------------------


def test_the_stream_was_connected_but_silent_while_my_order_filled() -> None:
    async def scenario(world: Live) -> None:
        # The patience of a user: pongs keep coming, and on a quiet account nothing else is expected.
        world.user_stream_options = StreamOptions(ping_seconds_min=0.1, ping_seconds_max=0.2)
        async with world.session(reconcile_every_ns=1_000_000_000):
            connector = world.connector
            order = connector.buy(PAIR, AMOUNT, REST)
            view = await world.until_state(order, "open")
            world.inject("silent_sockets", user=world.account, params={"ms": 3_600_000})
            world.sim.fill_order(world.account, int(view.exchange_order_id or 0))
            await world.until_state(order, "filled")
            await world.agree()
            assert fills_recorded(world) == list(dict.fromkeys(fills_recorded(world)))

    run(scenario, seed=44)


# -- restart and storage -----------------------------------------------------------------------------------


def test_i_restarted_with_a_position_and_it_was_neither_flattened_nor_doubled() -> None:
    async def scenario(world: Live) -> None:
        async with world.session():
            order = world.connector.buy(PAIR, AMOUNT, order_type=OrderType.MARKET)
            await world.until_state(order, "filled", "expired")
            # The core is ahead of the disk: what it holds is in the ledger a moment later.
            await world.agree()
            held = world.connector.position(PAIR)
            before = (held.amount, held.average_entry, fills_recorded(world))
        for _ in range(3):
            async with world.session():
                held = world.connector.position(PAIR)
                assert (held.amount, held.average_entry, fills_recorded(world)) == before
                await world.agree()
        async with world.session():
            closing = world.connector.sell(
                PAIR, AMOUNT, order_type=OrderType.MARKET, position_action=PositionAction.CLOSE
            )
            await world.until_state(closing, "filled", "expired")
            await world.agree()

    run(scenario, seed=46)


def test_my_order_tool_was_open_and_the_database_was_locked() -> None:
    async def scenario(world: Live) -> None:
        async with world.session():
            await world.agree()
            with contextlib.ExitStack() as tool:
                for path in (world.ledger_path, world.views_path):
                    table = "stored_events" if path == world.ledger_path else "orders"
                    reading = tool.enter_context(
                        contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True))
                    )
                    # What a person looks at stays as it is: a transaction that nobody ends.
                    reading.execute("BEGIN")
                    reading.execute(f"SELECT * FROM {table}").fetchone()
                for _ in range(3):
                    order = world.connector.buy(PAIR, AMOUNT, order_type=OrderType.MARKET)
                    await world.until_state(order, "filled", "expired")
                await world.agree()
            assert not world.connector.halted_because

    run(scenario, seed=47)


# -- clocks ------------------------------------------------------------------------------------------------


def test_my_clock_is_a_minute_ahead_and_orders_leave_and_expire_all_the_same() -> None:
    async def scenario(world: Live) -> None:
        clock = SteadyClock(lambda: time.time_ns() + 60_000_000_000)
        # Not long, because one is waited for until it is proven absent.
        async with world.session(clock=clock, order_ttl_ms=5_000):
            connector = world.connector
            resting = connector.buy(PAIR, AMOUNT, REST)
            await world.until_state(resting, "open")
            world.inject("request_lost", action="order")
            lost = connector.buy(PAIR, AMOUNT, REST)
            await world.until_state(lost, "failed")
            order = connector.order(lost)
            assert order is not None
            assert order.reason_code == "absence_proven"
            connector.cancel_all()
            await world.until_state(resting, "cancelled")
            await world.agree()

    run(scenario, seed=48)


def test_my_clock_was_set_back_by_an_hour_while_i_traded() -> None:
    async def scenario(world: Live) -> None:
        set_back_ns = [0]
        clock = SteadyClock(lambda: time.time_ns() - set_back_ns[0])
        async with world.session(clock=clock):
            connector = world.connector
            first = connector.buy(PAIR, AMOUNT, REST)
            await world.until_state(first, "open")
            set_back_ns[0] = 3_600_000_000_000
            world.inject("answer_lost", action="order")
            world.inject("stream_lost", channel="orderUpdates")
            second = connector.buy(PAIR, AMOUNT, REST)
            await world.until_state(second, "open")
            world.sim.drop_sockets(world.account)
            await world.until("the loss is noticed", lambda: connector.reconnects > 0)
            await world.until("it is ready again", lambda: connector.ready)
            connector.cancel_all()
            await world.until_state(second, "cancelled")
            await world.agree()

    run(scenario, seed=49)


def test_my_laptop_slept_while_orders_were_under_way(tmp_path: Path) -> None:
    with running_venue(seed=50) as venue:
        process = LiveRun(tmp_path, venue)
        with process:
            venue.fault(kind="answer_delay", action="order", user=venue.account, params={"ms": 1_000})
            wait_for("it trades", lambda: process.has_logged("order.submitted"))
            process.process.send_signal(signal.SIGSTOP)
            asleep_until = time.monotonic() + 4.5
            wait_for("it has slept longer than its orders live", lambda: time.monotonic() > asleep_until)
            process.process.send_signal(signal.SIGCONT)
            assert process.stop() == 0, process.output()
        assert _differences(process) == []


# -- reconciliation and setup ------------------------------------------------------------------------------


def test_the_venue_started_anew_and_knows_nothing_of_my_orders_or_my_position(tmp_path: Path) -> None:
    with contextlib.ExitStack() as ending:
        # Bound and not listening: the same port for both venues, and for nobody in between.
        kept = ending.enter_context(socket.socket())
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        port = str(kept.getsockname()[1])
        with running_venue("--port", port, seed=51) as venue:
            process = LiveRun(tmp_path, venue)
            ending.callback(process.end)
            process.start()
            wait_for("it has a fill", lambda: process.has_logged("order.filled") and process.views.exists())
            wait_for("it has orders and a position", lambda: bool(_open_orders(process)) and _held(process))
        wait_for("it notices", lambda: process.has_logged("stream_lost"))
        _wait_for_views(process)
        of_the_first = _open_orders(process)
        funded = f"{venue.account}=100000"
        ending.enter_context(running_venue("--port", port, "--fund", funded, seed=52))
        if _held(process):  # the last thing it did may have been to close the position
            # Whichever it meets first: the fills that are not told, the position, or the next fill.
            findings = ("phantom_fill", "position_drift", "position_gap")
            wait_for("it says so", lambda: any(process.has_logged(finding) for finding in findings))
        wait_for("orders of the first are found gone", lambda: not of_the_first & _open_orders(process))
        assert process.is_running
        assert process.stop() == 0, process.output()
    with Views(process.views) as views:
        assert views.open_orders() == []


def test_the_network_went_away_and_came_back(tmp_path: Path) -> None:
    with running_venue(seed=53) as venue:
        with LiveRun(tmp_path, venue) as process:
            wait_for("it trades", lambda: process.has_logged("order.acknowledged"))
            venue.fault(kind="refuse_connections", params={"ms": 2_000})
            venue.control(op="drop_sockets")
            wait_for("it notices", lambda: process.has_logged("stream_lost"))
            mark = len(process.output())
            wait_for("it trades again", lambda: "order.submitted" in process.output()[mark:])
            assert process.stop() == 0, process.output()
        assert _differences(process) == []


def _wait_for_views(process: LiveRun) -> None:
    """Wait until the views hold what is in the ledger now."""
    with OrderLedger.open(process.ledger, writer=False) as ledger:
        position = ledger.max_position

    def are_there() -> bool:
        with Views(process.views) as views:
            return views.position >= position

    wait_for("the views", are_there)


def _open_orders(process: LiveRun) -> set[str]:
    with Views(process.views) as views:
        return {order.client_order_id for order in views.open_orders()}


def _held(process: LiveRun) -> bool:
    with Views(process.views) as views:
        return any(position.amount for position in views.positions())


def _differences(process: LiveRun) -> list[object]:
    venue = process.venue
    return list(
        asyncio.run(compare_with_venue(venue.http, venue.account, process.views, instruments={PAIR: "BTC"}))
    )
