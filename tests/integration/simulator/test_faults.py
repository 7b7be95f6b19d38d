"""Every fault on demand, as a client experiences it (sheet 12.10)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from adapters.simulator.app import Simulator
from adapters.simulator.faults import Fault
from tests.support.raw_client import RawClient, RawSocket
from tests.support.venue import ADDRESS, BTC, START_MS, cancel, cloid, limit, order, statuses, until, venue

Scenario = Callable[[Simulator, RawClient], Awaitable[None]]

BUY = limit(BTC, True, "43000", "0.01", cloid=cloid(1))
HALF = Decimal("0.005")


def at_the_venue(scenario: Scenario) -> None:
    """Run a scenario against a fresh simulator."""

    async def run() -> None:
        async with venue() as (sim, client):
            await scenario(sim, client)

    asyncio.run(run())


async def watching(client: RawClient, *kinds: str) -> RawSocket:
    """A connection subscribed to user streams of the client's own account."""
    socket = await client.connect()
    for kind in kinds:
        await socket.subscribe(type=kind, user=ADDRESS)
    return socket


async def resting(client: RawClient) -> int:
    """Place `BUY` and return its oid."""
    oid: int = statuses(await client.act(order(BUY)))[0]["resting"]["oid"]
    return oid


async def status_of(client: RawClient, oid: int | str) -> dict[str, Any]:
    found: dict[str, Any] = await client.info(type="orderStatus", user=ADDRESS, oid=oid)
    return found


def update_statuses(socket: RawSocket) -> list[str]:
    return [update["status"] for frame in socket.on("orderUpdates") for update in frame]


def fills_on(socket: RawSocket, channel: str) -> list[dict[str, Any]]:
    return [fill for data in socket.on(channel) if not data.get("isSnapshot") for fill in data["fills"]]


@pytest.mark.parametrize(("kind", "landed"), [("answer_lost", True), ("request_lost", False)])
def test_a_reset_connection_says_nothing_about_whether_the_order_landed(kind: str, landed: bool) -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        sim.faults.inject(Fault(kind, action="order"))
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await client.act(order(BUY))
        found = await status_of(client, cloid(1))
        assert found["status"] == ("order" if landed else "unknownOid")
        assert "resting" in statuses(await client.act(order({**BUY, "c": cloid(2)})))[0], (
            "one fault, one answer"
        )

    at_the_venue(scenario)


@pytest.mark.parametrize(("kind", "landed"), [("answer_lost", True), ("request_lost", False)])
def test_an_answer_that_never_comes_says_nothing_either(kind: str, landed: bool) -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        sim.faults.inject(Fault(kind, action="order", params={"how": "hang"}))
        asked = asyncio.create_task(client.act(order(BUY)))
        await until(lambda: sim.faults.is_empty)
        found = await status_of(client, cloid(1))
        assert found["status"] == ("order" if landed else "unknownOid")
        assert not asked.done()
        asked.cancel()

    at_the_venue(scenario)


def test_a_post_whose_answer_is_lost_takes_its_connection_with_it() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        socket = await client.connect()
        sim.faults.inject(Fault("answer_lost", action="order"))
        body = client.signed(order(BUY), START_MS)
        await socket.say(method="post", id=1, request={"type": "action", "payload": body})
        await socket.until_closed()
        assert socket.on("post") == []
        assert (await status_of(client, cloid(1)))["status"] == "order"

    at_the_venue(scenario)


@pytest.mark.parametrize("status", [429, 500, 502])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_error_of_the_edge_may_come_before_or_after_execution(status: int, when: str) -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        sim.faults.inject(Fault("http_status", action="order", params={"status": status, "when": when}))
        body = json.dumps(client.signed(order(BUY), START_MS))
        code, _ = await client.post("/exchange", body, **{"Content-Type": "application/json"})
        assert code == status
        assert (await status_of(client, cloid(1)))["status"] == ("order" if when == "after" else "unknownOid")

    at_the_venue(scenario)


def test_an_error_of_the_edge_over_a_post_is_an_error_payload_with_its_code() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        socket = await client.connect()
        sim.faults.inject(Fault("http_status", info="meta", params={"status": 429}))
        await socket.say(method="post", id=1, request={"type": "info", "payload": {"type": "meta"}})
        await socket.until(lambda: bool(socket.on("post")))
        assert socket.on("post")[0]["response"] == {"type": "error", "payload": "429 Too Many Requests"}

    at_the_venue(scenario)


def test_an_answer_can_come_behind_the_stream() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        socket = await watching(client, "orderUpdates")
        sim.faults.inject(Fault("answer_delay", action="order", params={"ms": 3_600_000}))
        asked = asyncio.create_task(client.act(order(BUY)))
        await socket.until(lambda: bool(socket.on("orderUpdates")))
        assert not asked.done()
        asked.cancel()

    at_the_venue(scenario)


def test_the_stream_can_come_behind_the_answer() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        socket = await watching(client, "orderUpdates", "openOrders")
        sim.faults.inject(Fault("stream_delay", channel="orderUpdates", params={"ms": 3_600_000}))
        oid = await resting(client)
        await socket.sync()
        assert socket.on("orderUpdates") == []
        assert len(socket.on("openOrders")) == 2, "other channels are not delayed"
        sim.faults.inject(Fault("stream_delay", channel="orderUpdates", params={"ms": 1}))
        await client.act(cancel(BTC, oid))
        await socket.until(lambda: bool(socket.on("orderUpdates")))
        assert update_statuses(socket) == ["canceled"]
        assert socket.frames[-1]["channel"] == "orderUpdates", "behind what was not delayed"

    at_the_venue(scenario)


def test_a_request_can_be_executed_late() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        sim.faults.inject(Fault("request_delay", action="order", params={"ms": 100}))
        body = client.signed(order(BUY), START_MS, expires_after=START_MS + 1000)
        asked = asyncio.create_task(client.send(body))
        await until(lambda: sim.faults.is_empty)
        sim.advance(2000)
        assert await asked == {"status": "err", "response": "Action already expired"}

    at_the_venue(scenario)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (
            "entry",
            {
                "status": "ok",
                "response": {"type": "order", "data": {"statuses": [{"error": "No."}, {"error": "No."}]}},
            },
        ),
        ("single", {"status": "ok", "response": {"type": "order", "data": {"statuses": [{"error": "No."}]}}}),
        ("action", {"status": "err", "response": "No."}),
    ],
)
def test_an_action_can_be_rejected_by_any_text_at_any_level(level: str, expected: dict[str, Any]) -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        sim.faults.inject(Fault("rejection", cloid=cloid(1), params={"text": "No.", "level": level}))
        assert await client.act(order(BUY, {**BUY, "c": cloid(2)})) == expected
        assert await client.info(type="openOrders", user=ADDRESS) == []

    at_the_venue(scenario)


def test_the_statuses_of_a_batch_can_be_truncated_though_all_of_it_was_executed() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        sim.faults.inject(Fault("truncated_statuses", action="order"))
        answer = await client.act(order(BUY, {**BUY, "c": cloid(2)}, {**BUY, "c": cloid(3)}))
        assert len(statuses(answer)) == 1
        assert len(await client.info(type="openOrders", user=ADDRESS)) == 3

    at_the_venue(scenario)


def test_a_cancel_loses_the_race_against_a_full_fill() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        oid = await resting(client)
        sim.faults.inject(Fault("fill_before_cancel"))
        (status,) = statuses(await client.act(cancel(BTC, oid)))
        assert status["error"].startswith("Order was never placed, already canceled, or filled.")
        assert (await status_of(client, oid))["order"]["status"] == "filled"
        (fill,) = await client.info(type="userFills", user=ADDRESS)
        assert (fill["oid"], fill["sz"], fill["crossed"]) == (oid, "0.01", False)

    at_the_venue(scenario)


def test_a_cancel_succeeds_and_the_fill_that_came_first_arrives_after_it() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        oid = await resting(client)
        socket = await watching(client, "orderUpdates", "userFills", "userEvents")
        params = {"fraction": "0.5", "stream_delay_ms": 1}
        sim.faults.inject(Fault("fill_before_cancel", action="cancel", params=params))
        assert statuses(await client.act(cancel(BTC, oid))) == ["success"]
        await socket.until(lambda: bool(fills_on(socket, "userFills")) and bool(fills_on(socket, "user")))
        assert update_statuses(socket) == ["canceled"]
        assert [frame["channel"] == "orderUpdates" for frame in socket.frames[-3:]] == [True, False, False]
        assert fills_on(socket, "userFills")[0]["sz"] == "0.005"
        sim.trade("BTC", is_buy=True, size=HALF, price=Decimal(43000))
        await client.act(order(limit(BTC, False, "43000", "0.005", tif="Ioc")))
        await socket.sync()
        assert len(fills_on(socket, "userFills")) == 2, "later fills are not delayed"

    at_the_venue(scenario)


def test_the_race_is_won_by_orders_ahead_in_the_book_too() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        sim.trade("BTC", is_buy=True, size=Decimal("0.5"), price=Decimal(43010))
        sim.trade("BTC", is_buy=True, size=Decimal("0.5"), price=Decimal(43000))
        oid = await resting(client)
        assert sim.fill_order(ADDRESS, oid, Decimal("0.5")) == HALF
        (listed,) = await client.info(type="openOrders", user=ADDRESS)
        assert listed["sz"] == "0.005"
        assert sim.fill_order(ADDRESS, cloid(1)) == HALF
        assert await client.info(type="openOrders", user=ADDRESS) == []

    at_the_venue(scenario)


@pytest.mark.parametrize("batched", [False, True])
def test_a_modify_can_cancel_the_old_order_and_not_place_the_new_one(batched: bool) -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        oid = await resting(client)
        entry = {"oid": oid, "order": {**BUY, "p": "42900"}}
        action = {"type": "batchModify", "modifies": [entry]} if batched else {"type": "modify", **entry}
        text = "Error placing new order during modify: Post only order would have immediately matched."
        for expected in (text, "Cannot modify canceled or filled order"):
            sim.faults.inject(Fault("modify_leg_fails"))
            answer = await client.act(action)
            if batched:
                assert statuses(answer) == [{"error": expected}]
            else:
                assert answer == {"status": "err", "response": expected}
        assert (await status_of(client, oid))["order"]["status"] == "canceled"
        assert await client.info(type="openOrders", user=ADDRESS) == []

    at_the_venue(scenario)


def test_a_reduce_only_order_meets_a_smaller_position_than_it_was_sent_for() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        sim.trade("BTC", is_buy=False, size=Decimal("0.02"), price=Decimal(43210))
        await client.act(order(limit(BTC, True, "43210", "0.02", tif="Ioc")))
        socket = await watching(client, "userFills")
        sim.faults.inject(Fault("reduce_only_shrink", params={"fraction": "0.25"}))
        sell = limit(BTC, False, "44000", "0.02", reduce_only=True)
        oid = statuses(await client.act(order(sell)))[0]["resting"]["oid"]
        (listed,) = await client.info(type="openOrders", user=ADDRESS)
        assert (listed["sz"], listed["origSz"]) == ("0.015", "0.02")
        await socket.until(lambda: bool(fills_on(socket, "userFills")))
        (foreign,) = fills_on(socket, "userFills")
        assert foreign["oid"] != oid
        assert (foreign["dir"], foreign["sz"]) == ("Auto-Deleveraging", "0.005")

    at_the_venue(scenario)


def test_order_status_does_not_know_a_new_order_for_the_first_queries() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        sim.faults.inject(Fault("unknown_oid", cloid=cloid(1), count=2))
        await resting(client)
        seen = [(await status_of(client, cloid(1)))["status"] for _ in range(3)]
        assert seen == ["unknownOid", "unknownOid", "order"]

    at_the_venue(scenario)


def test_open_orders_can_be_those_of_a_moment_ago() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        sim.faults.inject(Fault("stale_open_orders", user=ADDRESS, count=2))
        oid = await resting(client)
        assert await client.info(type="openOrders", user=ADDRESS) == []
        assert await client.info(type="frontendOpenOrders", user=ADDRESS, dex="") == []
        assert [row["oid"] for row in await client.info(type="openOrders", user=ADDRESS)] == [oid]

    at_the_venue(scenario)


def test_a_finished_ioc_can_be_recorded_with_an_odd_size() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        sim.trade("BTC", is_buy=False, size=Decimal("1"), price=Decimal(43000))
        await client.act(order({**BUY, "t": {"limit": {"tif": "Ioc"}}}))
        sim.faults.inject(Fault("odd_ioc_size"))
        sizes = [(await status_of(client, cloid(1)))["order"]["order"]["sz"] for _ in range(2)]
        assert sizes == ["0.01", "0.0"]

    at_the_venue(scenario)


def test_order_updates_can_be_lost() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        socket = await watching(client, "orderUpdates")
        sim.faults.inject(Fault("stream_lost", channel="orderUpdates", user=ADDRESS))
        oid = await resting(client)
        await client.act(cancel(BTC, oid))
        await socket.until(lambda: bool(socket.on("orderUpdates")))
        assert update_statuses(socket) == ["canceled"]

    at_the_venue(scenario)


def test_a_fill_can_come_twice_on_each_channel_and_again_in_a_snapshot() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        socket = await watching(client, "userFills", "userEvents")
        await resting(client)
        sim.faults.inject(Fault("stream_duplicate", channel="userFills"))
        sim.faults.inject(Fault("stream_duplicate", channel="userEvents", params={"times": 2}))
        sim.trade("BTC", is_buy=False, size=HALF, price=Decimal(43000))
        sim.faults.inject(Fault("snapshot_again", user=ADDRESS))
        await socket.sync()
        tids = {fill["tid"] for fill in fills_on(socket, "userFills") + fills_on(socket, "user")}
        assert (len(fills_on(socket, "userFills")), len(fills_on(socket, "user")), len(tids)) == (2, 3, 1)
        again = socket.on("userFills")[-1]
        assert again["isSnapshot"] is True
        assert {fill["tid"] for fill in again["fills"]} == tids

    at_the_venue(scenario)


@pytest.mark.parametrize(
    ("first", "expected"),
    [("orderUpdates", ["orderUpdates", "userFills"]), ("fills", ["userFills", "orderUpdates"])],
)
def test_statuses_and_fills_of_one_block_come_in_either_order(first: str, expected: list[str]) -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        socket = await watching(client, "userFills", "orderUpdates")
        await resting(client)
        await socket.sync()
        before = len(socket.frames)
        sim.faults.inject(
            Fault("stream_reorder", channel="orderUpdates", user=ADDRESS, params={"first": first})
        )
        sim.trade("BTC", is_buy=False, size=Decimal("0.01"), price=Decimal(43000))
        await socket.sync()
        assert [frame["channel"] for frame in socket.frames[before:-1]] == expected

    at_the_venue(scenario)


def test_a_filled_status_can_come_without_its_fill_until_that_is_released() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        socket = await watching(client, "orderUpdates", "userFills", "userEvents")
        await resting(client)
        sim.faults.inject(Fault("fill_withheld", user=ADDRESS, params={"reads": "hide"}))
        sim.trade("BTC", is_buy=False, size=Decimal("0.01"), price=Decimal(43000))
        await socket.sync()
        assert update_statuses(socket) == ["open", "filled"]
        assert fills_on(socket, "userFills") == fills_on(socket, "user") == []
        assert await client.info(type="userFills", user=ADDRESS) == []
        status, answer = await client.operate("control", op="release_fills")
        assert (status, answer["released"]) == (200, 2)
        await socket.sync()
        (fill,) = fills_on(socket, "userFills")
        assert fills_on(socket, "user") == [fill]
        assert await client.info(type="userFillsByTime", user=ADDRESS, startTime=0) == [fill]

    at_the_venue(scenario)


def test_a_status_and_a_dir_nobody_knows_can_appear() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        socket = await watching(client, "orderUpdates", "userFills")
        sim.faults.inject(Fault("unknown_status", params={"text": "frozenCanceled"}))
        sim.faults.inject(Fault("unknown_dir", channel="userFills"))
        await resting(client)
        sim.trade("BTC", is_buy=False, size=Decimal("0.01"), price=Decimal(43000))
        await socket.sync()
        assert socket.on("orderUpdates")[0][0]["status"] == "frozenCanceled"
        assert fills_on(socket, "userFills")[0]["dir"] == "Teleported Long"
        (recorded,) = await client.info(type="userFills", user=ADDRESS)
        assert recorded["dir"] == "Open Long", "only the stream was distorted"

    at_the_venue(scenario)


def test_reads_can_be_distorted_like_messages() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        oid = await resting(client)
        sim.trade("BTC", is_buy=False, size=HALF, price=Decimal(43000))
        sim.faults.inject(Fault("unknown_status", info="orderStatus", params={"text": "napping"}))
        sim.faults.inject(Fault("unknown_status", info="historicalOrders"))
        sim.faults.inject(Fault("unknown_dir", info="userFills"))
        sim.faults.inject(Fault("garbage_element", info="openOrders"))
        sim.faults.inject(Fault("extra_fields", info="frontendOpenOrders"))
        assert (await status_of(client, oid))["order"]["status"] == "napping"
        history = await client.info(type="historicalOrders", user=ADDRESS)
        assert {row["status"] for row in history} == {"frozenByCommittee"}
        assert (await client.info(type="userFills", user=ADDRESS))[0]["dir"] == "Teleported Long"
        garbage, good = await client.info(type="openOrders", user=ADDRESS)
        assert (garbage["oid"], good["oid"]) == ("not a number", oid)
        (shown,) = await client.info(type="frontendOpenOrders", user=ADDRESS)
        assert "simulatorExtra" in shown
        assert sim.faults.is_empty
        assert (await status_of(client, oid))["order"]["status"] == "open"

    at_the_venue(scenario)


def test_elements_can_have_members_nobody_knows() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        socket = await watching(client, "orderUpdates")
        sim.faults.inject(Fault("extra_fields", channel="orderUpdates"))
        oid = await resting(client)
        await socket.until(lambda: bool(socket.on("orderUpdates")))
        (update,) = socket.on("orderUpdates")[0]
        assert update["order"]["oid"] == oid
        assert "simulatorExtra" in update

    at_the_venue(scenario)


@pytest.mark.parametrize("kind", ["orderUpdates", "userFills"])
def test_one_garbage_element_can_sit_among_good_ones(kind: str) -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        socket = await watching(client, kind)
        oid = await resting(client)
        await socket.sync()
        sim.faults.inject(Fault("garbage_element", channel=kind))
        sim.trade("BTC", is_buy=False, size=Decimal("0.01"), price=Decimal(43000))
        await socket.sync()
        (data,) = socket.on(kind)[1:]
        garbage, good = data if kind == "orderUpdates" else data["fills"]
        assert garbage["oid"] == "not a number"
        assert good.get("order", good)["oid"] == oid

    at_the_venue(scenario)


def test_a_frame_that_is_not_json_can_come_before_a_good_one() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        socket = await watching(client, "orderUpdates")
        sim.faults.inject(Fault("non_json_frame", channel="orderUpdates", params={"text": "<oops>"}))
        await resting(client)
        await socket.until(lambda: bool(socket.on("orderUpdates")))
        assert socket.texts[-2] == "<oops>"

    at_the_venue(scenario)


def test_a_connection_can_die_in_the_middle_of_a_sequence() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        socket = await watching(client, "orderUpdates", "userFills", "userEvents")
        oid = await resting(client)
        await socket.sync()
        sim.faults.inject(Fault("disconnect_mid_sequence", user=ADDRESS, params={"keep": 2}))
        sim.trade("BTC", is_buy=False, size=Decimal("0.01"), price=Decimal(43000))
        await socket.until_closed()
        assert update_statuses(socket) == ["open", "filled"]
        assert [fill["oid"] for fill in fills_on(socket, "userFills")] == [oid]
        assert fills_on(socket, "user") == []
        again = await watching(client, "userFills")
        await again.sync()
        assert [fill["oid"] for fill in again.on("userFills")[0]["fills"]] == [oid]

    at_the_venue(scenario)


def test_sockets_can_be_dropped_all_or_by_user() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        mine = await watching(client, "userFills")
        market = await client.connect()
        await market.subscribe(type="bbo", coin="BTC")
        sim.faults.inject(Fault("drop_sockets", user=ADDRESS))
        await mine.until_closed()
        await market.sync()
        sim.faults.inject(Fault("drop_sockets"))
        await market.until_closed()
        await until(lambda: sim.status()["connections"] == 0)

    at_the_venue(scenario)


def test_a_silent_socket_carries_pongs_only() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        socket = await watching(client, "orderUpdates")
        sim.faults.inject(Fault("silent_sockets", user=ADDRESS, params={"ms": 3_600_000}))
        oid = await resting(client)
        await socket.sync()
        assert socket.on("orderUpdates") == []
        sim.faults.inject(Fault("silent_sockets", params={"ms": 0}))
        await client.act(cancel(BTC, oid))
        await socket.sync()
        assert update_statuses(socket) == ["canceled"]

    at_the_venue(scenario)


def test_new_connections_can_be_refused_for_a_while() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        sim.faults.inject(Fault("refuse_connections", params={"ms": 3_600_000}))
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.connect()
        assert refused.value.status == 502
        sim.faults.inject(Fault("refuse_connections", params={"ms": 0}))
        socket = await client.connect()
        await socket.sync()
        await socket.close()

    at_the_venue(scenario)


def test_a_fault_picks_one_order_among_many_by_its_cloid() -> None:
    async def scenario(sim: Simulator, client: RawClient) -> None:
        sim.faults.inject(Fault("rejection", cloid=cloid(2), params={"text": "Trading is halted."}))
        first = statuses(await client.act(order(BUY)))
        second = statuses(await client.act(order({**BUY, "c": cloid(2)})))
        assert "resting" in first[0]
        assert second == [{"error": "Trading is halted."}]

    at_the_venue(scenario)
