"""Whatever anybody sends, the venue answers with one of its own statuses, and goes on."""

import asyncio
import json
from decimal import Decimal
from typing import Any

from eth_account import Account
from hyperliquid.utils.signing import sign_l1_action
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.simulator.app import Simulator, SimulatorOptions
from adapters.simulator.canonical import L1_ACTIONS
from adapters.simulator.clock import ManualClock
from adapters.simulator.limits import IpLimits
from tests.support.venue import ADDRESS, BTC, KEY, START_MS, cloid, limit, order, statuses, venue

ANSWERS = (200, 422)
WALLET = Account.from_key(KEY)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(
        ["BTC", "@107", "xyz:TSLA", "", "1m", ADDRESS, cloid(1), "0", "-1", "1e5", "43000", "0.001"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)
READS = [
    "meta",
    "allMids",
    "l2Book",
    "recentTrades",
    "candleSnapshot",
    "openOrders",
    "frontendOpenOrders",
    "orderStatus",
    "historicalOrders",
    "userFills",
    "userFillsByTime",
    "clearinghouseState",
    "spotClearinghouseState",
    "userFunding",
    "fundingHistory",
    "userFees",
    "userRole",
    "activeAssetData",
    "userNonFundingLedgerUpdates",
    "delegations",
]
members = [
    "user",
    "coin",
    "dex",
    "oid",
    "startTime",
    "endTime",
    "nSigFigs",
    "mantissa",
    "req",
    "aggregateByTime",
]


def opened() -> Simulator:
    """A simulator that is not listening: its gateway answers decoded bodies."""
    sim = Simulator(SimulatorOptions(accounts={ADDRESS: Decimal(100_000)}), clock=ManualClock(START_MS))
    sim.trade("BTC", is_buy=False, size=Decimal(1), price=Decimal(43210))
    sim.trade("BTC", is_buy=True, size=Decimal(1), price=Decimal(43000))
    return sim


READER = opened()
"""One for all reads, which change nothing."""


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(READS), st.dictionaries(st.sampled_from(members), values, max_size=6))
def test_any_read_is_answered(kind: str, request: dict[str, Any]) -> None:
    async def scenario() -> None:
        answer = await READER.gateway.read({"type": kind, **request}, ip="any")
        assert answer.status in ANSWERS
        assert answer.status != 200 or answer.is_json

    asyncio.run(scenario())


def damaged(action: Any, path: list[int], value: Any) -> Any:
    """A copy of `action` with one member, found by following `path`, replaced by `value`."""
    if not path or not isinstance(action, dict | list) or not action:
        return value
    copied = action.copy()
    keys = list(copied) if isinstance(copied, dict) else range(len(copied))
    key = keys[path[0] % len(copied)]
    copied[key] = damaged(copied[key], path[1:], value)
    return copied


ENTRY = limit(BTC, True, "43000", "0.001", cloid=cloid(1))
ACTIONS = [
    order(ENTRY),
    order({**ENTRY, "t": {"trigger": {"isMarket": True, "triggerPx": "44000", "tpsl": "sl"}}}),
    {"type": "cancel", "cancels": [{"a": BTC, "o": 1}]},
    {"type": "cancelByCloid", "cancels": [{"asset": BTC, "cloid": cloid(1)}]},
    {"type": "batchModify", "modifies": [{"oid": cloid(1), "order": ENTRY}]},
    {"type": "modify", "oid": 5, "order": ENTRY},
    {"type": "updateLeverage", "asset": BTC, "isCross": True, "leverage": 3},
    {"type": "updateIsolatedMargin", "asset": BTC, "isBuy": True, "ntli": 5},
    {"type": "scheduleCancel", "time": START_MS + 6000},
    {"type": "twapOrder", "twap": {"a": BTC, "b": True, "s": "1", "r": False, "m": 30, "t": False}},
    {"type": "subAccountTransfer", "subAccountUser": ADDRESS, "isDeposit": True, "usd": 1},
    {"type": "vaultTransfer", "vaultAddress": ADDRESS, "isDeposit": True, "usd": 1},
]


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(ACTIONS), st.lists(st.integers(0, 5), min_size=1, max_size=5), values)
def test_any_damaged_action_is_answered(action: dict[str, Any], path: list[int], value: Any) -> None:
    async def scenario() -> None:
        sim = opened()
        broken = damaged(action, path, value)
        signature = sign_l1_action(WALLET, action, None, START_MS, None, False)
        body = {"action": broken, "nonce": START_MS, "signature": signature}
        assert (await sim.gateway.act(body, ip="any")).status in ANSWERS
        sound = {"action": action, "nonce": START_MS, "signature": signature}
        assert (await sim.gateway.act(sound, ip="any")).status == 200, "the next request is answered as ever"

    asyncio.run(scenario())


numbers = st.sampled_from(["43000", "43100.5", "0", "-1", "1e5", "0.0001", "9" * 30, "NaN", "x", ""])


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from([0, BTC, 5, 99, 10_000, 10_107, 110_000, 2**32 - 1]),
    st.booleans(),
    numbers,
    numbers,
    st.booleans(),
    st.sampled_from(["Gtc", "Ioc", "Alo", "tp", "sl"]),
    numbers,
    st.sampled_from(["na", "normalTpsl", "positionTpsl"]),
)
def test_any_well_signed_order_is_answered(
    asset: int, is_buy: bool, price: str, size: str, reduce_only: bool, how: str, trigger: str, grouping: str
) -> None:
    kind: dict[str, Any] = {"limit": {"tif": how}}
    if how in ("tp", "sl"):
        kind = {"trigger": {"isMarket": True, "triggerPx": trigger, "tpsl": how}}
    entry = {"a": asset, "b": is_buy, "p": price, "s": size, "r": reduce_only, "t": kind}
    action = order(entry, ENTRY, grouping=grouping)

    async def scenario() -> None:
        sim = opened()
        signature = sign_l1_action(WALLET, action, None, START_MS, None, False)
        answer = await sim.gateway.act(
            {"action": action, "nonce": START_MS, "signature": signature}, ip="any"
        )
        assert answer.status in ANSWERS
        if answer.status == 200 and answer.body()["status"] == "ok":
            assert len(statuses(answer.body())) in (1, 2)

    asyncio.run(scenario())


@settings(deadline=None, max_examples=10)
@given(st.lists(st.one_of(st.text(max_size=40), values.map(json.dumps)), min_size=1, max_size=30))
def test_any_websocket_frame_leaves_the_connection_alive(texts: list[str]) -> None:
    async def scenario() -> None:
        async with venue() as (_, client):
            socket = await client.connect()
            for text in texts:
                await socket.socket.send_str(text)
            await socket.sync()
            assert len(socket.frames) == len(texts) + 1
            await socket.close()

    asyncio.run(scenario())


def test_every_action_without_its_members_is_unprocessable_or_needs_none() -> None:
    async def scenario() -> None:
        sim = opened()
        for number, kind in enumerate(L1_ACTIONS):
            action = {"type": kind}
            nonce = START_MS + number
            signature = sign_l1_action(WALLET, action, None, nonce, None, False)
            answer = await sim.gateway.act(
                {"action": action, "nonce": nonce, "signature": signature}, ip="any"
            )
            bare = kind in ("noop", "scheduleCancel", "agentEnableDexAbstraction")
            assert answer.status == (200 if bare else 422), kind

    asyncio.run(scenario())


def test_a_flood_is_turned_away_without_an_application_error() -> None:
    async def scenario() -> None:
        options = SimulatorOptions(accounts={ADDRESS: Decimal(1000)}, limits=IpLimits.venue())
        sim = Simulator(options, clock=ManualClock(START_MS))
        found = [(await sim.gateway.read({"type": "meta"}, ip="one")).status for _ in range(80)]
        assert found == [200] * 60 + [429] * 20
        assert (await sim.gateway.read({"type": "meta"}, ip="another")).status == 200

    asyncio.run(scenario())
