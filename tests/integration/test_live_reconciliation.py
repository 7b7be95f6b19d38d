"""A live session against a venue that withholds things: it finds them, mends the books, and finds no more."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

from adapters.cli.ledger_source import LedgerEventSource
from adapters.simulator.faults import Fault
from adapters.storage.ledger import OrderLedger
from domain.events import (
    AccountDiscrepancyFound,
    AccountDiscrepancyRepaired,
    AccountLedgerUpdateBooked,
    AccountPositionAsserted,
    LedgerEvent,
)
from domain.inputs import StreamFrame
from projections.verifying import verify_views
from replays.replaying import Replay
from replays.reporting import divergence_text
from replays.session_file import read_sessions
from tests.support.corpus.elsewhere import cancel_elsewhere, exchange
from tests.support.live import PAIR
from tests.support.seeded_runs import RecordedLive, recorded_live

AMOUNT = Decimal("0.01")
GRACE_MS = 300
SETTINGS: dict[str, Any] = {
    "reconcile_every_ns": 300_000_000,
    "thorough_every_ns": 300_000_000,
    "grace_ms": GRACE_MS,
    "weight_per_minute": 10**6,
}
"""A pass every part of a second, and weight for as many."""

FILLS = ("userFills", "userEvents")

Scenario = Callable[[RecordedLive], Awaitable[None]]


def events(world: RecordedLive) -> list[LedgerEvent]:
    """Everything that is in the ledger."""
    return [event for _, event in world.ledger.read()]


def found(world: RecordedLive) -> list[str]:
    return [event.kind for event in events(world) if isinstance(event, AccountDiscrepancyFound)]


async def until_deposited(world: RecordedLive, amount: Decimal) -> None:
    """Wait until the ledger holds this deposit, and no other transfer."""

    def is_booked() -> bool:
        booked = [event for event in events(world) if isinstance(event, AccountLedgerUpdateBooked)]
        return [(event.kind, event.amount) for event in booked] == [("deposit", amount)]

    await world.until("the deposit is booked", is_booked)


def adjustments(world: RecordedLive) -> list[LedgerEvent]:
    claims = [event for event in events(world) if isinstance(event, AccountPositionAsserted)]
    return [claim for claim in claims if claim.adjustment]


def repairs_stand_before_what_names_them(world: RecordedLive) -> None:
    seen: dict[str, None] = {}
    for event in events(world):
        if isinstance(event, AccountDiscrepancyRepaired):
            assert event.repairs
            assert all(name in seen for name in event.repairs)
        seen[f"{event.topic} {event.originator_id} {event.originator_version}"] = None


def is_mended(world: RecordedLive) -> bool:
    """Whether something was found and nothing of it is open."""
    status = world.connector.status()
    return bool(status["discrepancies_found"]) and not status["discrepancies_open"]


async def until_mended(world: RecordedLive) -> None:
    await world.until("what differs is found and mended", lambda: is_mended(world))


async def passes(world: RecordedLive, count: int) -> None:
    """Wait for so many further comparisons that were begun from here on."""
    until = world.connector.status()["reconciliations"] + count + 1
    await world.until(f"{count} passes", lambda: world.connector.status()["reconciliations"] >= until)


def run(scenario: Scenario, *, kinds: Sequence[str], seed: int) -> None:
    """Play it in one session; then nothing more is found, a restart finds nothing, and all of it replays."""

    async def main() -> None:
        async with recorded_live(seed=seed) as world:
            async with world.session(**SETTINGS):
                world.sim.run_market(False)
                await scenario(world)
                await passes(world, 2)
                await world.until_recorded()
                assert sorted(found(world)) == sorted(kinds)
                repairs_stand_before_what_names_them(world)
                before = len(events(world))
                await passes(world, 2)
                await world.until_recorded()
                assert len(events(world)) == before, "another pass writes nothing"
                await world.agree()
            async with world.session(**SETTINGS):
                await world.until_recorded()
                assert sorted(found(world)) == sorted(kinds)
            books_add_up(world)
            for paths in world.recordings:
                report = Replay(read_sessions(paths), files=paths).run()
                assert report.divergence is None, divergence_text(report.divergence)

    asyncio.run(main())


def books_add_up(world: RecordedLive) -> None:
    """Every event folds, and so they do to what the venue stated."""
    ledger = OrderLedger.open(world.ledger_path)
    try:
        report = verify_views(LedgerEventSource(ledger), world.views_path)
    finally:
        ledger.close()
    assert (report.events_fold, report.mismatches) == (True, ())


async def resting(world: RecordedLive) -> int:
    """A resting order of ours; its exchange id."""
    order = world.connector.buy(PAIR, AMOUNT, world.price("0.9"))
    return int((await world.until_state(order, "open")).exchange_order_id or 0)


@contextlib.asynccontextmanager
async def untold(world: RecordedLive, *channels: str, asked: str) -> AsyncIterator[None]:
    """What happens meanwhile is lost on these channels, and told to who asks only when it is old enough to
    be judged."""
    for channel in channels:
        world.inject("stream_lost", channel=channel, user=world.account, count=None)
    world.inject("http_status", info=asked, count=None, params={"status": 500})
    yield
    clock = world.sim.clock
    old_ms = clock.now_ms() + 2 * GRACE_MS
    await world.until("what happened is old", lambda: clock.now_ms() > old_ms)
    world.sim.faults.clear()


def test_a_fill_that_the_stream_lost_is_booked_by_the_next_pass() -> None:
    async def scenario(world: RecordedLive) -> None:
        oid = await resting(world)
        async with untold(world, *FILLS, asked="userFillsByTime"):
            world.sim.fill_order(world.account, oid, Decimal("0.5"))
        await until_mended(world)
        assert world.connector.position(PAIR).amount == AMOUNT / 2

    run(scenario, kinds=["missing_fill"], seed=61)


def test_an_order_that_was_cancelled_silently_ends_here_too() -> None:
    async def scenario(world: RecordedLive) -> None:
        oid = await resting(world)
        async with untold(world, "orderUpdates", "userEvents", asked="frontendOpenOrders"):
            await asyncio.to_thread(cancel_elsewhere, world, oid)
        await until_mended(world)
        assert world.connector.open_orders() == []

    run(scenario, kinds=["state_mismatch"], seed=62)


def test_a_manual_trade_that_the_stream_lost_is_booked_to_an_order_of_its_own() -> None:
    async def scenario(world: RecordedLive) -> None:
        async with untold(world, *FILLS, "orderUpdates", asked="userFillsByTime"):
            answer = await asyncio.to_thread(lambda: exchange(world).market_open("BTC", True, 0.02))
            assert answer["status"] == "ok"
        await until_mended(world)
        assert world.connector.position(PAIR).amount == Decimal("0.02")

    run(scenario, kinds=["external_fill"], seed=63)


async def holding(world: RecordedLive) -> None:
    """A position of ours, whose leverage is known."""
    order = world.connector.buy(PAIR, AMOUNT, world.price("1.02"))
    await world.until_state(order, "filled")
    await world.until("the leverage is told", lambda: world.connector.position(PAIR).leverage is not None)


def test_leverage_that_was_changed_elsewhere_is_taken_over() -> None:
    async def scenario(world: RecordedLive) -> None:
        await holding(world)
        answer = await asyncio.to_thread(lambda: exchange(world).update_leverage(7, "BTC", True))
        assert answer["status"] == "ok"
        await until_mended(world)
        position = world.connector.position(PAIR)
        assert (position.leverage, position.is_cross) == (7, True)

    run(scenario, kinds=["leverage_changed"], seed=64)


def test_funding_that_the_stream_lost_is_booked() -> None:
    async def scenario(world: RecordedLive) -> None:
        await holding(world)
        async with untold(world, "userFundings", "userEvents", asked="userFunding"):
            world.sim.settle_funding({"BTC": Decimal("0.0001")})
        await until_mended(world)
        assert world.connector.position(PAIR).funding < 0

    run(scenario, kinds=["unbooked_funding"], seed=65)


def test_a_deposit_that_the_stream_tells_is_booked_and_no_discrepancy() -> None:
    async def scenario(world: RecordedLive) -> None:
        world.sim.create_account(world.account, Decimal(250))
        await until_deposited(world, Decimal(250))

    run(scenario, kinds=[], seed=68)


def test_a_deposit_that_the_stream_lost_is_booked_by_the_next_pass() -> None:
    async def scenario(world: RecordedLive) -> None:
        channel = "userNonFundingLedgerUpdates"
        async with untold(world, channel, asked=channel):
            world.sim.create_account(world.account, Decimal(250))
        await until_mended(world)
        await until_deposited(world, Decimal(250))

    run(scenario, kinds=["unbooked_transfer"], seed=69)


def told_wrongly(world: RecordedLive, channel: str, **members: Any) -> None:
    """A frame that the venue never meant: what it says is in no list and in no balance."""
    data = json.dumps({"channel": channel, "data": {"user": world.account.lower(), **members}}).encode()
    world.runtime.deliver(StreamFrame(stream="user", data=data))


def test_a_fill_that_the_venue_does_not_tell_again_is_taken_back() -> None:
    async def scenario(world: RecordedLive) -> None:
        oid = await resting(world)
        row = {"coin": "BTC", "px": "40000.0", "sz": "0.004", "side": "B", "time": world.sim.clock.now_ms()}
        row |= {"startPosition": "0.0", "dir": "Open Long", "closedPnl": "0.0", "hash": "0x" + "0" * 64}
        row |= {"oid": oid, "crossed": False, "fee": "0.02", "tid": 987_654, "feeToken": "USDC"}
        told_wrongly(world, "userFills", fills=[row])
        held = world.connector.position
        await world.until("it is booked", lambda: held(PAIR).amount == Decimal("0.004"))
        await until_mended(world)
        await world.until("it is taken back", lambda: held(PAIR).amount == 0)

    run(scenario, kinds=["phantom_fill"], seed=70)


def test_cash_that_nothing_explains_is_taken_over_at_last() -> None:
    async def scenario(world: RecordedLive) -> None:
        await holding(world)
        delta = {"type": "deposit", "usdc": "250.0"}
        row = {"time": world.sim.clock.now_ms(), "hash": "0x" + "1" * 64, "delta": delta}
        told_wrongly(world, "userNonFundingLedgerUpdates", nonFundingLedgerUpdates=[row])
        await until_deposited(world, Decimal(250))
        await until_mended(world)

    run(scenario, kinds=["balance_drift"], seed=71)


def test_trades_funding_and_transfers_leave_the_cash_as_the_venue_tells_it() -> None:
    async def scenario(world: RecordedLive) -> None:
        await holding(world)
        world.sim.settle_funding({"BTC": Decimal("0.0001")})
        world.sim.create_account(world.account, Decimal(250))
        await until_deposited(world, Decimal(250))
        order = world.connector.sell(PAIR, AMOUNT, world.price("0.98"))
        await world.until_state(order, "filled")

    run(scenario, kinds=[], seed=72)


def test_a_liquidation_that_the_stream_lost_is_booked() -> None:
    async def scenario(world: RecordedLive) -> None:
        await holding(world)
        async with untold(world, *FILLS, "orderUpdates", asked="userFillsByTime"):
            world.sim.liquidate(world.account, "BTC")
        await until_mended(world)
        assert world.connector.position(PAIR).amount == 0

    run(scenario, kinds=["liquidation"], seed=66)


def test_a_position_that_nothing_explains_is_taken_over_at_last_and_given_back_when_explained() -> None:
    async def scenario(world: RecordedLive) -> None:
        oid = await resting(world)
        hidden = Fault("fill_withheld", user=world.account.lower(), count=None, params={"reads": "hide"})
        world.sim.faults.inject(hidden)
        world.sim.fill_order(world.account, oid, Decimal("0.5"))
        await world.until(
            "it is found, and nothing adjusted yet",
            lambda: (
                world.connector.status()["discrepancies_open"] == 1
                and world.connector.position(PAIR).amount == 0
            ),
        )
        await until_mended(world)
        assert world.connector.position(PAIR).amount == AMOUNT / 2
        world.sim.faults.clear()
        # By the stream alone: a list that tells it first would be another finding.
        world.inject("http_status", info="userFillsByTime", count=None, params={"status": 500})
        world.sim.release_fills()
        await world.until(
            "its fill has come",
            lambda: [order.filled_amount for order in world.connector.open_orders()] == [AMOUNT / 2],
        )
        world.sim.faults.clear()
        await world.until(
            "the position is right again",
            lambda: world.connector.status()["discrepancies_repaired"] == 2,
        )
        assert world.connector.position(PAIR).amount == AMOUNT / 2
        await world.until("both adjustments are in the ledger", lambda: len(adjustments(world)) == 2)

    run(scenario, kinds=["position_drift", "position_drift"], seed=67)
