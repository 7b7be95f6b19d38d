"""The connector against a simulated venue that misbehaves: whatever goes wrong, the books end up equal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TypeVar

import pytest

from domain.enums import OrderType, PositionAction, TimeInForce
from domain.errors import DuplicateOrderIdError, NotReadyError
from tests.support.live import PAIR, Live, live

AMOUNT = Decimal("0.01")
T = TypeVar("T")


def run(scenario: Callable[[Live], Awaitable[None]], *, seed: int = 1) -> None:
    async def main() -> None:
        async with live(seed=seed) as world:
            await scenario(world)

    asyncio.run(main())


async def when_ready(world: Live, act: Callable[[], T]) -> T:
    """Act once trading is possible; a stream may be lost at any moment."""
    while True:
        await world.until("it is ready to trade", lambda: world.connector.ready)
        with contextlib.suppress(NotReadyError):
            return act()


async def trade(world: Live) -> list[str]:
    """A bit of everything: resting, taking, amending, cancelling, closing; returns the ids."""
    connector = world.connector
    resting = await when_ready(
        world, lambda: connector.buy(PAIR, AMOUNT, world.price("0.97"), OrderType.LIMIT_MAKER)
    )
    taking = await when_ready(world, lambda: connector.buy(PAIR, AMOUNT, order_type=OrderType.MARKET))
    await world.until_state(resting, "open", "failed")
    await world.until_state(taking, "filled", "expired", "failed")
    if connector.order(resting).state == "open":  # type: ignore[union-attr]
        await when_ready(world, lambda: connector.amend(resting, world.price("0.98"), AMOUNT * 2))
        order = connector.tracker.get(resting)
        await world.until("the amend is settled", lambda: order is not None and not order.is_amending)
    closing = await when_ready(
        world,
        lambda: connector.sell(
            PAIR,
            AMOUNT,
            world.price("0.95"),
            position_action=PositionAction.CLOSE,
            time_in_force=TimeInForce.IOC,
        ),
    )
    await world.until_state(closing, "filled", "expired", "failed", "cancelled")
    connector.cancel_all()
    await world.until("nothing is live", lambda: connector.tracker.live_count == 0)
    return [resting, taking, closing]


FAULTS = {
    "answer lost": {"kind": "answer_lost", "action": "order"},
    "answer never comes": {"kind": "answer_lost", "action": "order", "params": {"how": "hang"}},
    "request lost": {"kind": "request_lost", "action": "order"},
    "answer late": {"kind": "answer_delay", "action": "order", "params": {"ms": 400}},
    "429 before": {"kind": "http_status", "action": "order", "params": {"status": 429}},
    "429 after": {"kind": "http_status", "action": "order", "params": {"status": 429, "when": "after"}},
    "502 after": {"kind": "http_status", "action": "order", "params": {"status": 502, "when": "after"}},
    "cancel answer lost": {"kind": "answer_lost", "action": "cancelByCloid"},
    "cancel request lost": {"kind": "request_lost", "action": "cancelByCloid"},
    "amend answer lost": {"kind": "answer_lost", "action": "batchModify"},
    "amend request lost": {"kind": "request_lost", "action": "batchModify"},
    "amend leg fails": {"kind": "modify_leg_fails", "action": "batchModify"},
    "fill beats cancel": {"kind": "fill_before_cancel"},
    "fill beats cancel, late": {"kind": "fill_before_cancel", "params": {"stream_delay_ms": 500}},
    "rejected": {
        "kind": "rejection",
        "action": "order",
        "params": {"text": "Insufficient margin to place order.", "level": "action"},
    },
    "status lost": {"kind": "stream_lost", "channel": "orderUpdates", "count": 5},
    "stream late": {"kind": "stream_delay", "count": 6, "params": {"ms": 300}},
    "stream twice": {"kind": "stream_duplicate", "count": None},
    "status first": {"kind": "stream_reorder", "count": None, "params": {"first": "orderUpdates"}},
    "fills first": {"kind": "stream_reorder", "count": None, "params": {"first": "fills"}},
    "unknown status": {"kind": "unknown_status", "channel": "orderUpdates", "count": 2},
    "unknown dir": {"kind": "unknown_dir", "count": None},
    "unknown members": {"kind": "extra_fields", "count": None},
    "garbage element": {"kind": "garbage_element", "count": 4},
    "text frame": {"kind": "non_json_frame", "count": 4},
    "socket dies in between": {"kind": "disconnect_mid_sequence"},
    "status query blind": {"kind": "unknown_oid", "count": 2},
    "odd size": {"kind": "odd_ioc_size", "count": None},
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_books_match_the_venue_after(name: str) -> None:
    async def scenario(world: Live) -> None:
        # Short, so that an order that never arrived is proven absent before long.
        async with world.session(order_ttl_ms=1_500):
            fault = {**FAULTS[name]}
            if name == "status query blind":
                world.inject("answer_lost", action="order")
                world.inject("stream_lost", channel="orderUpdates", count=3)
            world.inject(user=world.account, **fault)
            await trade(world)
            await world.agree()

    run(scenario)


def test_a_fill_withheld_while_the_status_says_filled_is_found() -> None:
    async def scenario(world: Live) -> None:
        async with world.session():
            world.inject("fill_withheld", user=world.account, count=None)
            taking = world.connector.buy(PAIR, AMOUNT, order_type=OrderType.MARKET)
            order = await world.until_state(taking, "filled")
            await world.until(
                "the fill is found by asking",
                lambda: world.connector.order(taking).filled_amount == AMOUNT,  # type: ignore[union-attr]
            )
            assert order.client_order_id == taking
            await world.agree()

    run(scenario)


def test_dropped_sockets_during_a_fill_lose_nothing() -> None:
    async def scenario(world: Live) -> None:
        async with world.session():
            connector = world.connector
            resting = connector.buy(PAIR, AMOUNT, world.price("0.97"), OrderType.LIMIT_MAKER)
            order = await world.until_state(resting, "open")
            world.inject("refuse_connections", params={"ms": 300})
            world.sim.drop_sockets(world.account)
            world.sim.fill_order(world.account, int(order.exchange_order_id or 0))
            await world.until("the loss is noticed", lambda: connector.reconnects > 0)
            await world.until_state(resting, "filled")
            await world.until("it is ready again", lambda: connector.ready)
            await world.agree()

    run(scenario)


def test_a_restart_neither_places_again_nor_forgets() -> None:
    async def scenario(world: Live) -> None:
        async with world.session():
            connector = world.connector
            kept = connector.buy(PAIR, AMOUNT, world.price("0.95"), client_order_id="kept over the restart")
            filled = connector.sell(PAIR, AMOUNT, world.price("1.05"))
            gone = connector.buy(PAIR, AMOUNT, world.price("0.94"))
            for client_order_id in (kept, filled, gone):
                await world.until_state(client_order_id, "open")
            oids = {i: int(connector.order(i).exchange_order_id or 0) for i in (kept, filled, gone)}  # type: ignore[union-attr]
        world.sim.fill_order(world.account, oids[filled])
        await asyncio.to_thread(_cancel_elsewhere, world, oids[gone])
        async with world.session():
            connector = world.connector
            await world.until_state(filled, "filled")
            await world.until_state(gone, "cancelled")
            assert connector.order(kept).state == "open"  # type: ignore[union-attr]
            assert connector.tracker.live_count == 1
            with pytest.raises(DuplicateOrderIdError):
                connector.buy(PAIR, AMOUNT, world.price("0.95"), client_order_id="kept over the restart")
            await world.agree()
            connector.cancel_all()
            await world.until_state(kept, "cancelled")
            await world.agree()

    run(scenario)


def _cancel_elsewhere(world: Live, oid: int) -> None:
    from eth_account import Account
    from hyperliquid.exchange import Exchange

    exchange = Exchange(Account.from_key(world.key.private_key), world.sim.url)
    assert exchange.cancel("BTC", oid)["status"] == "ok"


def test_manual_trades_orders_funding_and_deleveraging_are_noticed() -> None:
    async def scenario(world: Live) -> None:
        async with world.session():
            await asyncio.to_thread(_trade_elsewhere, world)
            await world.agree()
            world.sim.settle_funding({"BTC": Decimal("0.0001")})
            await world.until("the funding is booked", lambda: world.connector.position(PAIR).funding != 0)
            world.sim.auto_deleverage(world.account, "BTC", Decimal("0.01"))
            await world.until(
                "the deleveraging is booked", lambda: world.connector.position(PAIR).amount == Decimal("0.01")
            )
            await world.agree()
            external = [order for order in world.connector.open_orders() if order.external]
            assert len(external) == 1
            world.connector.cancel(external[0].client_order_id)
            await world.until("it can be cancelled from here", lambda: not world.connector.open_orders())
            await world.agree()

    run(scenario)


def _trade_elsewhere(world: Live) -> None:
    from eth_account import Account
    from hyperliquid.exchange import Exchange

    exchange = Exchange(Account.from_key(world.key.private_key), world.sim.url)
    assert exchange.market_open("BTC", True, 0.02)["status"] == "ok"
    assert exchange.order("BTC", True, 0.01, 30_000, {"limit": {"tif": "Gtc"}})["status"] == "ok"


def test_a_thousand_orders_from_ten_threads_are_all_recorded_once() -> None:
    async def scenario(world: Live) -> None:
        async with world.session(weight_per_minute=100_000):
            connector, price = world.connector, world.price("0.5")
            ids: list[str] = []

            def place(thread: int) -> None:
                ids.extend(connector.buy(PAIR, "0.001", price - 10 * thread - i % 7) for i in range(100))  # type: ignore[arg-type]

            await asyncio.gather(*(asyncio.to_thread(place, thread) for thread in range(10)))
            assert len(set(ids)) == 1_000
            await world.until(
                "every order has an outcome",
                lambda: all(
                    (order := connector.order(i)) is not None and order.state in ("open", "failed")
                    for i in ids
                ),
            )
            views = [view for i in ids if (view := connector.order(i)) is not None]
            assert "not_sent_too_late" not in {view.reason_code for view in views}
            await world.until_recorded()
            recorded = [e.originator_id for _, e in world.ledger.read(topics=("order.created",))]
            assert sorted(recorded) == sorted(ids)
            await world.agree()

    run(scenario)
