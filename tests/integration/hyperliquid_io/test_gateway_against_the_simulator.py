"""The gateway against a venue that really recovers signatures, matches orders, and misbehaves on demand."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from adapters.hyperliquid import actions
from adapters.hyperliquid.auth import HyperliquidAuth
from adapters.hyperliquid.backoff import ConnectionBudget
from adapters.hyperliquid.gateway import GatewayOptions, HyperliquidGateway
from adapters.hyperliquid.networks import simulator_network
from adapters.hyperliquid.streams import (
    HyperliquidOrderBookDataSource,
    HyperliquidUserStreamDataSource,
    StreamOptions,
)
from adapters.simulator.app import Simulator, SimulatorOptions
from adapters.simulator.faults import Fault
from adapters.simulator.websocket import WebSocketOptions
from domain.effects import ConnectStreams, Query, ReconnectStream, SendAction
from domain.inputs import Input, RequestAnswered, RequestFailed, StreamConnected, StreamFrame, StreamLost

AUTH = HyperliquidAuth("0x" + "42" * 32, is_mainnet=False)
CLOID = "0x5e1f00000000000000000000000000a1"
PATIENCE_SECONDS = 60.0
QUICK_STREAM = StreamOptions(
    reconnect_base_seconds=0.01, reconnect_cap_seconds=0.05, close_timeout_seconds=0.1
)
USER_SUBSCRIPTIONS: tuple[dict[str, Any], ...] = tuple(
    {"type": kind, "user": AUTH.address}
    for kind in ("orderUpdates", "userEvents", "userFills", "userFundings")
)
MARKET_SUBSCRIPTIONS: tuple[dict[str, Any], ...] = (
    {"type": "bbo", "coin": "BTC"},
    {"type": "l2Book", "coin": "BTC"},
    {"type": "activeAssetCtx", "coin": "BTC"},
)


class Desk:
    """A gateway connected to a simulator, and everything it delivered."""

    def __init__(self, simulator: Simulator, gateway: HyperliquidGateway) -> None:
        self.simulator = simulator
        self.gateway = gateway
        self.inputs: list[Input] = []
        self._changed = asyncio.Event()
        self._request_id = 0

    def deliver(self, delivered: Input) -> None:
        self.inputs.append(delivered)
        self._changed.set()

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def frames(self, stream: str, channel: str) -> list[Any]:
        frames = [
            json.loads(frame.data)
            for frame in self.inputs
            if isinstance(frame, StreamFrame) and frame.stream == stream
        ]
        return [frame["data"] for frame in frames if frame["channel"] == channel]

    def count(self, kind: type[StreamConnected] | type[StreamLost], stream: str) -> int:
        return sum(1 for it in self.inputs if isinstance(it, kind) and it.stream == stream)

    def losses(self, stream: str) -> list[str]:
        return [it.reason for it in self.inputs if isinstance(it, StreamLost) and it.stream == stream]

    async def outcome_of(self, effect: SendAction | Query) -> RequestAnswered | RequestFailed:
        def outcomes() -> list[RequestAnswered | RequestFailed]:
            return [
                it
                for it in self.inputs
                if isinstance(it, RequestAnswered | RequestFailed) and it.request_id == effect.request_id
            ]

        self.gateway.perform(effect)
        await self.until(outcomes)
        (outcome,) = outcomes()
        return outcome

    async def send(
        self, action: dict[str, Any], *, acting_for: str | None = None
    ) -> RequestAnswered | RequestFailed:
        self._request_id += 1
        now_ms = self.simulator.clock.now_ms()
        effect = SendAction(
            request_id=self._request_id,
            action=action,
            nonce=now_ms + self._request_id,
            expires_at_ms=now_ms + 60_000,
            acting_for=acting_for,
        )
        return await self.outcome_of(effect)

    async def ask(self, **body: Any) -> Any:
        self._request_id += 1
        outcome = await self.outcome_of(Query(request_id=self._request_id, body=body))
        assert isinstance(outcome, RequestAnswered), outcome
        assert outcome.status == 200
        return json.loads(outcome.body)

    async def buy(
        self, price: str = "20000", *, cloid: str = CLOID, acting_for: str | None = None
    ) -> RequestAnswered | RequestFailed:
        entry = actions.order_entry(
            asset=self.simulator.assets.by_coin("BTC").id,
            is_buy=True,
            price=Decimal(price),
            size=Decimal("0.01"),
            reduce_only=False,
            order_type=actions.limit("Gtc"),
            cloid=cloid,
        )
        return await self.send(actions.order([entry]), acting_for=acting_for)

    async def connect(self) -> None:
        self.gateway.perform(
            ConnectStreams(streams={"user": USER_SUBSCRIPTIONS, "market": MARKET_SUBSCRIPTIONS})
        )
        await self.until(
            lambda: self.count(StreamConnected, "user") and self.count(StreamConnected, "market")
        )


@asynccontextmanager
async def desk(
    *,
    auth: HyperliquidAuth = AUTH,
    options: GatewayOptions | None = None,
    user: StreamOptions = QUICK_STREAM,
    market: StreamOptions = QUICK_STREAM,
    websocket: WebSocketOptions | None = None,
) -> AsyncIterator[Desk]:
    simulator_options = SimulatorOptions(
        accounts={AUTH.address: Decimal(100_000)}, websocket=websocket or WebSocketOptions()
    )
    async with Simulator(simulator_options) as simulator:
        network = simulator_network(simulator.url)
        assert network.ws_url == simulator.ws_url
        gateway = HyperliquidGateway(
            http_url=network.http_url,
            ws_url=network.ws_url,
            auth=auth,
            options=options,
            user_stream_options=user,
            market_stream_options=market,
            connection_budget=ConnectionBudget(connections_max=10_000),
        )
        running = Desk(simulator, gateway)
        await gateway.start(running.deliver)
        try:
            yield running
        finally:
            await gateway.stop()


def statuses(outcome: RequestAnswered | RequestFailed) -> Any:
    assert isinstance(outcome, RequestAnswered), outcome
    return json.loads(outcome.body)["response"]["data"]["statuses"]


def test_an_order_is_placed_seen_on_the_stream_and_cancelled() -> None:
    async def scenario() -> None:
        async with desk(websocket=WebSocketOptions(greeting=True)) as running:
            await running.connect()
            (placed,) = statuses(await running.buy())
            oid = placed["resting"]["oid"]
            await running.until(lambda: running.frames("user", "orderUpdates"))
            ((update,),) = running.frames("user", "orderUpdates")
            assert (update["order"]["oid"], update["order"]["cloid"], update["status"]) == (
                oid,
                CLOID,
                "open",
            )
            (listed,) = await running.ask(type="openOrders", user=AUTH.address)
            assert listed["oid"] == oid
            asset = running.simulator.assets.by_coin("BTC").id
            assert statuses(await running.send(actions.cancel([(asset, oid)]))) == ["success"]
            await running.until(lambda: len(running.frames("user", "orderUpdates")) == 2)

    asyncio.run(scenario())


def test_a_key_the_venue_does_not_know_gets_its_answer_raw() -> None:
    async def scenario() -> None:
        stranger = HyperliquidAuth("0x" + "43" * 32, is_mainnet=False)
        async with desk(auth=stranger) as running:
            outcome = await running.buy()
            assert isinstance(outcome, RequestAnswered)
            answer = json.loads(outcome.body)
            assert (outcome.status, answer["status"]) == (200, "err")
            assert stranger.address in answer["response"].lower()

    asyncio.run(scenario())


def test_an_order_for_a_vault_lands_there_and_not_on_the_signers_own_account() -> None:
    async def scenario() -> None:
        async with desk() as running:
            vault = running.simulator.exchange.create_vault(AUTH.address, "desk", usdc=Decimal(10_000))
            statuses(await running.buy(acting_for=vault))
            assert len(await running.ask(type="openOrders", user=vault)) == 1
            assert await running.ask(type="openOrders", user=AUTH.address) == []

    asyncio.run(scenario())


def test_an_answer_lost_after_acceptance_leaves_an_order_that_the_stream_shows() -> None:
    async def scenario() -> None:
        async with desk() as running:
            await running.connect()
            running.simulator.faults.inject(Fault("answer_lost", action="order"))
            outcome = await running.buy()
            assert isinstance(outcome, RequestFailed)
            assert outcome.sent
            assert outcome.reason.startswith("connection_lost")
            await running.until(lambda: running.frames("user", "orderUpdates"))
            found = await running.ask(type="orderStatus", user=AUTH.address, oid=CLOID)
            assert found["order"]["status"] == "open"

    asyncio.run(scenario())


def test_a_request_lost_on_the_way_cannot_be_told_from_an_answer_lost() -> None:
    async def scenario() -> None:
        async with desk(options=GatewayOptions(action_timeout_seconds=3.0)) as running:
            running.simulator.faults.inject(Fault("request_lost", action="order", params={"how": "hang"}))
            outcome = await running.buy()
            assert outcome == RequestFailed(request_id=outcome.request_id, reason="timeout", sent=True)
            assert await running.ask(type="openOrders", user=AUTH.address) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_error_of_the_edge_is_delivered_whether_or_not_the_order_was_placed(when: str) -> None:
    async def scenario() -> None:
        async with desk() as running:
            running.simulator.faults.inject(
                Fault("http_status", action="order", params={"status": 502, "when": when})
            )
            outcome = await running.buy()
            assert isinstance(outcome, RequestAnswered)
            assert outcome.status == 502
            found = await running.ask(type="orderStatus", user=AUTH.address, oid=CLOID)
            assert found["status"] == ("order" if when == "after" else "unknownOid")

    asyncio.run(scenario())


def test_questions_outlast_an_outage() -> None:
    async def scenario() -> None:
        async with desk(options=GatewayOptions(retry_base_seconds=0.0)) as running:
            inject = running.simulator.faults.inject
            inject(Fault("http_status", info="meta", params={"status": 500}))
            inject(Fault("answer_lost", info="meta"))
            inject(Fault("http_status", info="meta", params={"status": 502}))
            meta = await running.ask(type="meta")
            assert "universe" in meta

    asyncio.run(scenario())


def test_dropped_sockets_come_back_with_every_subscription() -> None:
    async def scenario() -> None:
        async with desk() as running:
            await running.connect()
            before = running.simulator.status()["subscriptions"]
            assert running.simulator.drop_sockets() == 2
            await running.until(
                lambda: (
                    running.count(StreamConnected, "user") == 2
                    and running.count(StreamConnected, "market") == 2
                )
            )
            assert (running.count(StreamLost, "user"), running.count(StreamLost, "market")) == (1, 1)
            assert running.simulator.status()["subscriptions"] == before
            # The fills of the gap are in the snapshot that a new subscription begins with.
            await running.until(lambda: len(running.frames("user", "userFills")) == 2)
            assert all(frame["isSnapshot"] for frame in running.frames("user", "userFills"))

    asyncio.run(scenario())


def test_a_market_stream_that_only_answers_pings_is_replaced() -> None:
    async def scenario() -> None:
        market = msgspec.structs.replace(
            QUICK_STREAM, ping_seconds_min=0.02, ping_seconds_max=0.02, data_silence_seconds=0.3
        )
        async with desk(market=market) as running:
            await running.connect()
            running.simulator.faults.inject(Fault("silent_sockets", params={"ms": 3_600_000}))
            source = running.gateway.stream("market")
            assert isinstance(source, HyperliquidOrderBookDataSource)
            # A machine that holds the loop up lets a connection end before its first pong, and then another.
            await running.until(lambda: source.health.pongs > 0 and running.losses("market"))
            assert set(running.losses("market")) == {"silent: no data for 0.3 s although subscribed"}
            assert running.count(StreamLost, "user") == 0

    asyncio.run(scenario())


def test_a_venue_that_refuses_connections_is_outlasted() -> None:
    async def scenario() -> None:
        async with desk() as running:
            await running.connect()
            source = running.gateway.stream("user")
            assert isinstance(source, HyperliquidUserStreamDataSource)
            running.simulator.faults.inject(Fault("refuse_connections", params={"ms": 3_600_000}))
            running.gateway.perform(ReconnectStream(stream="user", reason="a fill is missing"))
            async with asyncio.timeout(PATIENCE_SECONDS):
                # An outage is told once, so nothing announces the attempts it outlasts.
                while source.health.attempts < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            running.simulator.faults.inject(Fault("refuse_connections", params={"ms": 0}))
            await running.until(lambda: running.count(StreamConnected, "user") == 2)
            assert running.losses("user") == ["dropped: a fill is missing"]

    asyncio.run(scenario())


def test_a_subscription_the_venue_does_not_have_is_reported_and_the_rest_works() -> None:
    async def scenario() -> None:
        async with desk() as running:
            wrong = {"type": "user", "user": AUTH.address}
            running.gateway.perform(ConnectStreams(streams={"user": (wrong, *USER_SUBSCRIPTIONS)}))
            await running.until(lambda: running.count(StreamConnected, "user"))
            (error,) = running.frames("user", "error")
            assert error.startswith("Invalid subscription")
            await running.buy()
            await running.until(lambda: running.frames("user", "orderUpdates"))

    asyncio.run(scenario())


def test_a_sequence_cut_off_in_the_middle_and_garbage_reach_the_core_as_they_are() -> None:
    async def scenario() -> None:
        async with desk() as running:
            await running.connect()
            inject = running.simulator.faults.inject
            inject(Fault("garbage_element", channel="orderUpdates"))
            inject(Fault("non_json_frame", channel="orderUpdates", params={"text": "maintenance soon"}))
            await running.buy()
            await running.until(lambda: running.frames("user", "orderUpdates"))
            assert len(running.frames("user", "orderUpdates")[0]) > 1
            source = running.gateway.stream("user")
            assert isinstance(source, HyperliquidUserStreamDataSource)
            assert source.health.ignored_texts == 1
            inject(Fault("disconnect_mid_sequence"))
            await running.buy("20001", cloid=CLOID[:-1] + "2")
            await running.until(lambda: running.count(StreamConnected, "user") == 2)

    asyncio.run(scenario())


def test_a_hundred_orders_and_cancels_at_once_are_each_answered_once() -> None:
    async def scenario() -> None:
        async with desk() as running:
            outcomes = await asyncio.gather(
                *[running.buy(str(20_000 + number), cloid=f"0x{number:032x}") for number in range(100)]
            )
            oids = [statuses(outcome)[0]["resting"]["oid"] for outcome in outcomes]
            assert len(set(oids)) == 100
            asset = running.simulator.assets.by_coin("BTC").id
            cancelled = await asyncio.gather(*[running.send(actions.cancel([(asset, oid)])) for oid in oids])
            assert [statuses(outcome) for outcome in cancelled] == [["success"]] * 100
            assert await running.ask(type="openOrders", user=AUTH.address) == []

    asyncio.run(scenario())
