"""The operator's endpoints, which are not the venue's: what they do, and what they say when they cannot."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from adapters.simulator.app import Simulator
from adapters.simulator.control import OPERATIONS
from adapters.simulator.market import MarketOptions
from tests.support.raw_client import RawClient
from tests.support.venue import ADDRESS, BTC, OTHER_KEY, START_MS, cloid, limit, order, statuses, venue

BUY = limit(BTC, True, "43000", "0.01", cloid=cloid(1))
STRANGER = "0x" + "5a" * 20


async def operate(client: RawClient, op: str, **members: Any) -> dict[str, Any]:
    """Perform an operation that succeeds."""
    status, answer = await client.operate("control", op=op, **members)
    assert status == 200, answer
    assert answer["ok"] is True
    return answer


async def position(client: RawClient, coin: str) -> Decimal:
    state = await client.info(type="clearinghouseState", user=ADDRESS)
    return sum(
        (
            Decimal(row["position"]["szi"])
            for row in state["assetPositions"]
            if row["position"]["coin"] == coin
        ),
        Decimal(0),
    )


def test_faults_are_added_listed_and_cleared_over_http() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            fault = {"kind": "rejection", "cloid": cloid(1), "params": {"text": "Trading is halted."}}
            status, answer = await client.operate("faults", op="add", fault=fault)
            assert (status, answer) == (200, {"id": 1})
            _, listing = await client.operate("faults", op="list")
            (listed,) = listing["faults"]
            assert (listed["kind"], listed["cloid"], listed["happened"]) == ("rejection", cloid(1), 0)
            assert listing["kinds"]["answer_lost"]["happens_to"] == "request"
            async with client.session.get(f"{sim.url}/simulator/faults") as response:
                assert await response.json() == listing
            assert statuses(await client.act(order(BUY))) == [{"error": "Trading is halted."}]
            await client.operate("faults", op="add", fault={"kind": "answer_lost"})
            await client.operate("faults", op="add", fault={"kind": "request_lost"})
            assert await client.operate("faults", op="clear", id=3) == (200, {"cleared": 1})
            assert await client.operate("faults", op="clear") == (200, {"cleared": 1})
            assert "resting" in statuses(await client.act(order(BUY)))[0]

    asyncio.run(scenario())


def test_a_counterparty_makes_a_book_trades_and_fills_an_order() -> None:
    async def scenario() -> None:
        async with venue() as (_, client):
            answer = await operate(client, "trade", coin="BTC", side="sell", size="0.5", price="43100")
            assert "resting" in answer["status"]
            answer = await operate(client, "trade", coin="BTC", side="buy", size="0.2")
            assert answer["status"]["filled"]["avgPx"] == "43100.0"
            oid = statuses(await client.act(order(BUY)))[0]["resting"]["oid"]
            answer = await operate(client, "fill_order", user=ADDRESS, oid=oid, fraction="0.4")
            assert Decimal(answer["filled"]) == Decimal("0.004")
            await operate(client, "fill_order", user=ADDRESS, oid=cloid(1))
            assert await position(client, "BTC") == Decimal("0.01")

    asyncio.run(scenario())


def test_prices_funding_and_time_are_in_the_operators_hands() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            await operate(client, "trade", coin="BTC", side="sell", size="0.5", price="43210")
            await client.act(order(limit(BTC, True, "43210", "0.1", tif="Ioc")))
            await operate(client, "set_mark_price", coin="BTC", price="44000.5")
            await operate(client, "set_oracle_price", coin="BTC", price="44000")
            await operate(client, "settle_funding", rates={"BTC": "0.0001"})
            state = await client.info(type="clearinghouseState", user=ADDRESS)
            assert state["assetPositions"][0]["position"]["unrealizedPnl"] == "79.05"
            (paid,) = await client.info(type="userFunding", user=ADDRESS, startTime=0)
            assert paid["delta"]["usdc"] == "-0.44"
            await client.act(order(BUY))
            await client.act({"type": "scheduleCancel", "time": START_MS + 10_000})
            answer = await operate(client, "status")
            assert answer["time"] == START_MS
            await operate(client, "advance", ms=10_000)
            assert sim.chain.now_ms() == START_MS + 10_000
            assert await client.info(type="openOrders", user=ADDRESS) == []

    asyncio.run(scenario())


def test_positions_are_liquidated_and_deleveraged_by_orders_nobody_sent() -> None:
    async def scenario() -> None:
        async with venue() as (_, client):
            await operate(client, "trade", coin="BTC", side="sell", size="0.5", price="43210")
            await operate(client, "trade", coin="BTC", side="buy", size="0.5", price="43000")
            placed = await client.act(order(limit(BTC, True, "43210", "0.2", tif="Ioc")))
            own = statuses(placed)[0]["filled"]["oid"]
            await operate(client, "auto_deleverage", user=ADDRESS, coin="BTC", size="0.05", price="43300")
            assert await position(client, "BTC") == Decimal("0.15")
            await operate(client, "auto_deleverage", user=ADDRESS, coin="BTC", size="0.05")
            await operate(client, "liquidate", user=ADDRESS, coin="BTC")
            assert await position(client, "BTC") == 0
            fills = await client.info(type="userFillsByTime", user=ADDRESS, startTime=0)
            assert [fill["oid"] == own for fill in fills] == [True, False, False, False]
            assert fills[1]["px"] == "43300.0"
            assert fills[1]["dir"] == fills[2]["dir"] == "Auto-Deleveraging"
            assert fills[3]["liquidation"]["liquidatedUser"] == ADDRESS

    asyncio.run(scenario())


def test_accounts_and_agents_are_created_without_a_signature() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client), RawClient(sim.url, OTHER_KEY) as other:
            await operate(client, "create_account", user=STRANGER.upper().replace("X", "x"), usdc="250.5")
            state = await client.info(type="clearinghouseState", user=STRANGER)
            assert state["marginSummary"]["accountValue"] == "250.5"
            await operate(client, "approve_agent", master=STRANGER, agent=other.address, name="bot")
            assert "resting" in statuses(await other.act(order(limit(BTC, True, "43000", "0.001"))))[0]
            assert len(await client.info(type="openOrders", user=STRANGER)) == 1

    asyncio.run(scenario())


def test_sockets_are_dropped_and_counted() -> None:
    async def scenario() -> None:
        async with venue() as (_, client):
            socket = await client.connect()
            await socket.subscribe(type="userFills", user=ADDRESS)
            assert (await operate(client, "drop_sockets", user=STRANGER))["dropped"] == 0
            assert (await operate(client, "drop_sockets", user=ADDRESS))["dropped"] == 1
            await socket.until_closed()

    asyncio.run(scenario())


def test_the_background_market_can_be_stopped_and_started() -> None:
    async def scenario() -> None:
        async with venue(market=MarketOptions(coins=("BTC",))) as (sim, client):
            assert sim.market is not None
            await operate(client, "market", running=False)
            price = sim.market.price("BTC")
            sim.market.tick()
            assert sim.market.price("BTC") == price
            await operate(client, "market", running=True)
            sim.market.tick()
            assert sim.market.price("BTC") != price

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("control", {}, "op: expected one of advance"),
        ("control", {"op": 7}, "op: expected one of advance"),
        ("control", {"op": "explode"}, "not 'explode'"),
        ("control", {"op": "advance"}, "ms: required by advance"),
        ("control", {"op": "advance", "ms": -5}, "ms: expected a number of milliseconds"),
        ("control", {"op": "advance", "ms": 5, "s": 1}, "unknown member s; advance takes: ms"),
        ("control", {"op": "set_mark_price", "coin": "NOPE", "price": "1"}, "no market is called 'NOPE'"),
        (
            "control",
            {"op": "set_mark_price", "coin": "BTC", "price": 43000},
            "price: expected a decimal in a string",
        ),
        (
            "control",
            {"op": "set_mark_price", "coin": "BTC", "price": "-1"},
            "price: expected a decimal above 0",
        ),
        (
            "control",
            {"op": "set_mark_price", "coin": "BTC", "price": "NaN"},
            "price: expected a decimal in a string",
        ),
        ("control", {"op": "settle_funding", "rates": ["BTC"]}, "rates: expected an object"),
        ("control", {"op": "settle_funding", "rates": {"NOPE": "0"}}, "no market is called 'NOPE'"),
        (
            "control",
            {"op": "trade", "coin": "BTC", "side": "up", "size": "1"},
            "side: expected one of buy, sell",
        ),
        ("control", {"op": "trade", "coin": "BTC", "side": "buy", "size": "1"}, "nobody sells BTC"),
        (
            "control",
            {"op": "trade", "coin": "BTC", "side": "buy", "size": "1", "price": "43210.55"},
            "Price must be divisible by tick size.",
        ),
        ("control", {"op": "fill_order", "user": ADDRESS, "oid": 1}, "is not resting on a book"),
        ("control", {"op": "fill_order", "user": "0x1", "oid": 1}, "user: expected an address"),
        ("control", {"op": "liquidate", "user": ADDRESS, "coin": "BTC"}, "has no position in BTC"),
        ("control", {"op": "liquidate", "user": STRANGER, "coin": "BTC"}, "Must deposit"),
        (
            "control",
            {"op": "auto_deleverage", "user": ADDRESS, "coin": "@107", "size": "1"},
            "not a perpetual",
        ),
        ("control", {"op": "approve_agent", "master": STRANGER, "agent": ADDRESS}, "Must deposit"),
        ("control", {"op": "market", "running": True}, "has no background market"),
        ("faults", {"op": "add"}, "fault: expected an object"),
        ("faults", {"op": "add", "fault": {"kind": "gremlin"}}, "unknown fault kind 'gremlin'"),
        ("faults", {"op": "clear", "id": "x"}, "expected an integer"),
        ("faults", {"kind": "answer_lost"}, "op: expected add (with a fault)"),
    ],
)
def test_what_cannot_be_done_is_a_400_that_says_what_to_change(
    path: str, body: dict[str, Any], says: str
) -> None:
    async def scenario() -> None:
        async with venue() as (_, client):
            status, answer = await client.operate(path, **body)
            assert status == 400
            assert says in answer["error"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "headers", "status"), [("{}", {}, 415), ("{", {"Content-Type": "application/json"}, 400)]
)
def test_an_unreadable_order_to_the_operator_is_refused_in_json(
    body: str, headers: dict[str, str], status: int
) -> None:
    async def scenario() -> None:
        async with venue() as (_, client):
            found, text = await client.post("/simulator/control", body.encode(), **headers)
            assert found == status
            assert '"error"' in text

    asyncio.run(scenario())


def test_every_operation_is_one_a_simulator_can_do() -> None:
    elsewhere = {"trade", "fill_order", "status", "market"}
    assert all(hasattr(Simulator, name) for name in set(OPERATIONS) - elsewhere)
