"""A full disk under a running connector: nothing is sent or told unrecorded, and nothing is lost."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from adapters.storage.sqlite import SQLiteLedgerRecorder
from domain.errors import TradingHaltedError
from tests.support.live import PAIR, Live, live

PLENTY_PAGES = 1_000_000


def _set_room(world: Live, more_pages: int) -> None:
    recorder = world.ledger.recorder
    assert isinstance(recorder, SQLiteLedgerRecorder)
    with recorder.maintaining() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + more_pages}")


def test_trading_halts_on_a_full_disk_and_resumes_with_everything_recorded() -> None:
    async def scenario() -> None:
        async with live(seed=21) as world, world.session():
            connector = world.connector
            first = connector.buy(PAIR, "0.01", world.price("0.9"))  # type: ignore[arg-type]
            await world.until_state(first, "open")
            await asyncio.to_thread(_set_room, world, 0)
            placed: list[str] = []
            # The pages there are still have room for a few events: place until it does not fit.
            while not connector.halted_because:
                placed.extend(connector.buy(PAIR, Decimal("0.01"), world.price("0.8")) for _ in range(3))
                await world.until(
                    "all are open, or trading halts",
                    lambda: bool(connector.halted_because) or _have_state(world, placed, "open"),
                )
            assert "cannot write" in connector.halted_because
            with pytest.raises(TradingHaltedError, match="cannot write"):
                connector.buy(PAIR, "0.01", world.price("0.8"))  # type: ignore[arg-type]
            durable = {e.originator_id for _, e in world.ledger.read(topics=("order.submitted",))}
            at_venue = {o["cloid"] for o in await _open_orders(world)}
            assert at_venue <= durable, "nothing reached the venue that is not on the disk"
            told = {c.event.originator_id for c in world.recorder.committed}
            assert told <= {e.originator_id for _, e in world.ledger.read()}
            await asyncio.to_thread(_set_room, world, PLENTY_PAGES)
            await world.until("trading resumes", lambda: connector.ready)
            await world.until(
                "every order placed has its outcome",
                lambda: _have_state(world, placed, "open", "failed"),
            )
            await world.until_recorded()
            recorded = [e.originator_id for _, e in world.ledger.read(topics=("order.created",))]
            assert sorted(recorded) == sorted([first, *placed])
            await world.agree()

    asyncio.run(scenario())


def _have_state(world: Live, ids: list[str], *states: str) -> bool:
    orders = [world.connector.order(client_order_id) for client_order_id in ids]
    return all(order is not None and order.state in states for order in orders)


async def _open_orders(world: Live) -> list[dict[str, str]]:
    rows = world.sim.exchange.info(
        {"type": "openOrders", "user": world.account}, now_ms=world.sim.clock.now_ms()
    )
    assert isinstance(rows, list)
    return rows


def test_fills_that_happen_while_the_disk_is_full_are_booked_afterwards() -> None:
    async def scenario() -> None:
        async with live(seed=22) as world, world.session():
            connector = world.connector
            resting = connector.buy(PAIR, Decimal("0.5"), world.price("0.9"))
            order = await world.until_state(resting, "open")
            await asyncio.to_thread(_set_room, world, 0)
            filled = Decimal(0)

            def all_is_recorded() -> bool:
                held = connector.order(resting)
                return held is not None and held.filled_amount == filled and not world.ledger.backlog

            while not connector.halted_because:
                filled += world.sim.fill_order(
                    world.account, int(order.exchange_order_id or 0), fraction=Decimal("0.01")
                )
                await world.until(
                    "it is recorded, or trading halts",
                    lambda: bool(connector.halted_because) or all_is_recorded(),
                )
            await asyncio.to_thread(_set_room, world, PLENTY_PAGES)
            await world.until("trading resumes", lambda: connector.ready)
            await world.agree()

    asyncio.run(scenario())
