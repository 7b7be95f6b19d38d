"""The HTTP endpoints as any client meets them: statuses, signers, nonces, expiry (sheet 3, 4.4, 9.1)."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from eth_account import Account
from hyperliquid.utils.signing import sign_agent, sign_usd_transfer_action

from adapters.simulator.limits import IpLimits
from adapters.simulator.network import Network
from tests.support.raw_client import RawClient
from tests.support.venue import (
    ADDRESS,
    BTC,
    ETH,
    KEY,
    OTHER_KEY,
    START_MS,
    cancel,
    cloid,
    limit,
    order,
    statuses,
    until,
    venue,
)

ENTRY = limit(BTC, True, "43000", "0.001", cloid=cloid(1))
JSON = {"Content-Type": "application/json"}
OTHER = Account.from_key(OTHER_KEY).address.lower()


def test_an_order_rests_and_is_listed_and_can_be_cancelled() -> None:
    async def scenario() -> None:
        async with venue() as (_, client):
            (status,) = statuses(await client.act(order(ENTRY)))
            oid = status["resting"]["oid"]
            assert status["resting"]["cloid"] == cloid(1)
            assert oid > 2**32
            (listed,) = await client.info(type="openOrders", user=ADDRESS.upper().replace("X", "x"))
            assert (listed["oid"], listed["limitPx"], listed["sz"]) == (oid, "43000.0", "0.001")
            assert statuses(await client.act(cancel(BTC, oid))) == ["success"]
            assert await client.info(type="openOrders", user=ADDRESS) == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/info", b'{"type":"meta"}', {}, 415),
        ("/info", b'{"type":"meta"}', {"Content-Type": "text/plain"}, 415),
        ("/exchange", b"{}", {}, 415),
        ("/info", b'{"type":"meta"}', {"Content-Type": "application/json; charset=utf-8"}, 200),
        ("/info", b'{"type":', JSON, 400),
        ("/info", b"", JSON, 400),
        ("/info", b'{"type":"meta\xff"}', JSON, 400),
        ("/info", b'{"x":NaN,"type":"meta"}', JSON, 400),
        ("/info", b"[" * 100_000, JSON, 400),
        ("/exchange", b"not json", JSON, 400),
        ("/info", b"[]", JSON, 422),
        ("/info", b"{}", JSON, 422),
        ("/info", b'{"type":"noSuchRead"}', JSON, 422),
        ("/info", b'{"type":"openOrders"}', JSON, 422),
        ("/info", b'{"type":"openOrders","user":"0x12"}', JSON, 422),
        ("/info", b'{"type":"orderStatus","user":"0x' + b"a" * 40 + b'","oid":"LS-12345"}', JSON, 422),
        ("/exchange", b"{}", JSON, 422),
        ("/exchange", b"null", JSON, 422),
        ("/exchange", b'{"action":{"type":"noop"},"nonce":1}', JSON, 422),
        ("/exchange", b'{"action":{"type":"noop"},"nonce":"1","signature":{}}', JSON, 422),
        ("/exchange", b'{"action":{"type":"teleport"},"nonce":1,"signature":{}}', JSON, 422),
        ("/nowhere", b"{}", JSON, 404),
    ],
)
def test_a_request_that_cannot_be_read_gets_the_venues_http_status(
    path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    async def scenario() -> None:
        async with (
            venue() as (sim, client),
            client.session.post(
                sim.url + path, data=body, headers=headers, skip_auto_headers=["Content-Type"]
            ) as response,
        ):
            assert response.status == status, await response.text()

    asyncio.run(scenario())


def test_there_are_no_get_endpoints() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client), client.session.get(f"{sim.url}/info") as response:
            assert response.status == 405

    asyncio.run(scenario())


def test_a_body_with_other_key_order_letter_case_white_space_and_members_is_the_same_request() -> None:
    async def scenario() -> None:
        async with venue() as (_, client):
            body = client.signed(order(ENTRY), START_MS)
            entry = dict(reversed(ENTRY.items()))
            entry["c"] = "0X".lower() + ENTRY["c"][2:].upper()
            entry["p"] = "43000.000"
            reordered = {
                "isFrontend": True,
                "expiresAfter": None,
                "signature": {**body["signature"], "extra": 1},
                "nonce": body["nonce"],
                "action": {"grouping": "na", "colour": None, "orders": [entry], "type": "order"},
            }
            status, text = await client.post("/exchange", json.dumps(reordered, indent=7), **JSON)
            assert status == 200
            assert "resting" in statuses(json.loads(text))[0]

    asyncio.run(scenario())


def test_a_wrong_signature_is_answered_with_the_recovered_stranger_which_changes_each_time() -> None:
    async def scenario() -> None:
        async with venue() as (_, client):
            action = order({**ENTRY, "p": "43000.0"})
            texts = {(await client.act(action))["response"] for _ in range(2)}
            assert len(texts) == 2
            for text in texts:
                assert text.startswith("User or API Wallet 0x")
                assert text.endswith(" does not exist.")
                assert ADDRESS not in text
            assert await client.info(type="openOrders", user=ADDRESS) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("network", list(Network))
def test_a_signature_for_the_other_network_is_a_wrong_one(network: Network) -> None:
    async def scenario() -> None:
        async with venue(network=network) as (sim, _):
            for is_mainnet in (True, False):
                async with RawClient(sim.url, KEY, is_mainnet=is_mainnet) as client:
                    answer = await client.act({"type": "noop"})
                    expected = "ok" if is_mainnet is (network is Network.MAINNET) else "err"
                    assert answer["status"] == expected, answer

    asyncio.run(scenario())


def test_an_impossible_signature_has_no_signer() -> None:
    async def scenario() -> None:
        async with venue() as (_, client):
            body = client.signed({"type": "noop"}, START_MS)
            body["signature"]["v"] = 99
            assert await client.send(body) == {"status": "err", "response": "Unable to recover signer."}

    asyncio.run(scenario())


def test_a_nonce_works_once_and_noop_burns_it() -> None:
    async def scenario() -> None:
        async with venue() as (_, client):
            assert (await client.send(client.signed({"type": "noop"}, START_MS)))["status"] == "ok"
            late = await client.send(client.signed(order(ENTRY), START_MS))
            assert late == {"status": "err", "response": f"Invalid nonce: duplicate nonce {START_MS}"}
            assert await client.info(type="openOrders", user=ADDRESS) == []

    asyncio.run(scenario())


def test_a_nonce_is_used_up_by_an_action_that_is_refused() -> None:
    async def scenario() -> None:
        async with venue() as (_, client):
            refused = await client.send(client.signed(order({**ENTRY, "s": "0.00001"}), START_MS))
            assert "minimum value" in str(refused)
            again = await client.send(client.signed(order(ENTRY), START_MS))
            assert again["response"] == f"Invalid nonce: duplicate nonce {START_MS}"

    asyncio.run(scenario())


def test_a_resent_body_lands_at_most_once() -> None:
    async def scenario() -> None:
        async with venue() as (_, client):
            body = client.signed(order(ENTRY), START_MS)
            answers = await asyncio.gather(*(client.send(body) for _ in range(5)))
            assert sorted(answer["status"] for answer in answers) == ["err"] * 4 + ["ok"]
            assert len(await client.info(type="openOrders", user=ADDRESS)) == 1

    asyncio.run(scenario())


def test_an_action_is_refused_after_its_expiry_and_costs_five_requests() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client):
            body = client.signed(order(ENTRY), START_MS, expires_after=START_MS + 1000)
            sim.advance(1001)
            before = (await client.info(type="userRateLimit", user=ADDRESS))["nRequestsUsed"]
            assert await client.send(body) == {"status": "err", "response": "Action already expired"}
            after = (await client.info(type="userRateLimit", user=ADDRESS))["nRequestsUsed"]
            assert after - before == 5
            in_time = client.signed(order(ENTRY), START_MS + 1, expires_after=START_MS + 1001)
            assert "resting" in statuses(await client.send(in_time))[0]

    asyncio.run(scenario())


def test_an_agent_signs_actions_for_its_master_and_no_transfers() -> None:
    async def scenario() -> None:
        async with venue() as (sim, client), RawClient(sim.url, OTHER_KEY) as agent:
            action = {
                "type": "approveAgent",
                "agentAddress": agent.wallet.address,
                "agentName": "desk",
                "nonce": START_MS,
            }
            signature = sign_agent(client.wallet, action, False)
            approved = await client.send({"action": action, "nonce": START_MS, "signature": signature})
            assert approved == {"status": "ok", "response": {"type": "default"}}
            assert "resting" in statuses(await agent.act(order(ENTRY)))[0]
            assert len(await client.info(type="openOrders", user=ADDRESS)) == 1
            assert await client.info(type="openOrders", user=OTHER) == []
            transfer = {
                "type": "usdSend",
                "destination": "0x" + "12" * 20,
                "amount": "5",
                "time": START_MS + 1,
            }
            signature = sign_usd_transfer_action(agent.wallet, transfer, False)
            refused = await agent.send({"action": transfer, "nonce": START_MS + 1, "signature": signature})
            assert refused["response"] == f"Must deposit before performing actions. User: {OTHER}"

    asyncio.run(scenario())


def test_a_replaced_agent_is_refused_by_its_own_address() -> None:
    async def scenario() -> None:
        async with venue(agents={OTHER: ADDRESS}) as (sim, client), RawClient(sim.url, OTHER_KEY) as agent:
            assert (await agent.act({"type": "noop"}))["status"] == "ok"
            name = (await client.info(type="extraAgents", user=ADDRESS))[0]["name"]
            sim.approve_agent(ADDRESS, "0x" + "ee" * 20, name)
            refused = await agent.act({"type": "noop"})
            assert refused["response"] == f"User or API Wallet {OTHER} does not exist."

    asyncio.run(scenario())


def test_a_sub_account_is_driven_by_the_vault_address_and_unknown_ones_are_refused() -> None:
    async def scenario() -> None:
        async with venue() as (_, client):
            created = await client.act({"type": "createSubAccount", "name": "desk"})
            sub = created["response"]["data"]
            moved = await client.act(
                {"type": "subAccountTransfer", "subAccountUser": sub, "isDeposit": True, "usd": 1_000_000_000}
            )
            assert moved["status"] == "ok"
            assert "resting" in statuses(await client.act(order(ENTRY), vault=sub))[0]
            assert len(await client.info(type="openOrders", user=sub)) == 1
            assert await client.info(type="openOrders", user=ADDRESS) == []
            stranger = "0x" + "77" * 20
            refused = await client.act(order(ENTRY), vault=stranger)
            assert refused == {"status": "err", "response": f"Vault not registered: {stranger}"}

    asyncio.run(scenario())


def test_auto_funding_lets_a_stranger_trade_and_only_if_asked_for() -> None:
    async def scenario(usdc: Decimal | None) -> dict[str, Any]:
        async with venue(auto_fund_usdc=usdc) as (sim, _), RawClient(sim.url, OTHER_KEY) as stranger:
            return await stranger.act(order(ENTRY))

    refused = asyncio.run(scenario(None))
    assert refused["response"] == f"User or API Wallet {OTHER} does not exist."
    assert "resting" in statuses(asyncio.run(scenario(Decimal(5000))))[0]


def test_a_batch_is_answered_entry_by_entry() -> None:
    async def scenario() -> None:
        async with venue() as (_, client):
            answer = await client.act(
                order(
                    limit(BTC, True, "43000", "0.001"),
                    limit(ETH, True, "2200", "0.001"),
                    limit(ETH, True, "2200", "0.1", tif="Ioc"),
                )
            )
            resting, too_small, no_match = statuses(answer)
            assert "resting" in resting
            assert too_small["error"].startswith("Order must have minimum value of $10.")
            assert too_small["error"].endswith(f" asset={ETH}")
            assert no_match["error"].startswith("Order could not immediately match")

    asyncio.run(scenario())


def test_the_weights_of_one_address_are_limited_if_the_venues_limits_are_on() -> None:
    async def scenario() -> None:
        async with venue(limits=IpLimits.venue()) as (sim, client):
            for _ in range(20):
                await client.info(type="userRole", user=ADDRESS)
            status, text = await client.post("/info", '{"type":"exchangeStatus"}', **JSON)
            assert (status, text) == (429, "null")
            status, _ = await client.post(
                "/exchange", json.dumps(client.signed({"type": "noop"}, START_MS)), **JSON
            )
            assert status == 429
            sim.advance(60_000)
            answer = await client.send(client.signed({"type": "noop"}, START_MS))
            assert answer["status"] == "ok", "a nonce dropped by the edge was not used up"

    asyncio.run(scenario())


def test_batched_actions_are_executed_at_the_end_of_the_block_cancels_before_takers() -> None:
    async def scenario() -> None:
        accounts = {ADDRESS: Decimal(100_000), OTHER: Decimal(100_000)}
        async with (
            venue(batched=True, accounts=accounts) as (sim, maker),
            RawClient(sim.url, OTHER_KEY) as taker,
        ):

            async def in_one_block(*bodies: tuple[RawClient, dict[str, Any]]) -> list[dict[str, Any]]:
                sent = [asyncio.create_task(client.send(body)) for client, body in bodies]
                await until(lambda: sim.chain.waiting() == len(bodies))
                sim.chain.close_block()
                return list(await asyncio.gather(*sent))

            (placed,) = await in_one_block((maker, maker.signed(order(ENTRY), START_MS)))
            oid = statuses(placed)[0]["resting"]["oid"]
            hit = taker.signed(order(limit(BTC, False, "43000", "0.001", tif="Ioc")), START_MS)
            taken, cancelled = await in_one_block(
                (taker, hit), (maker, maker.signed(cancel(BTC, oid), START_MS + 1))
            )
            assert statuses(cancelled) == ["success"]
            assert statuses(taken)[0]["error"].startswith("Order could not immediately match")

    asyncio.run(scenario())
