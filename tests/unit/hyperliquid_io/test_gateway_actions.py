"""A signed action is posted once; what is known about its fate is told exactly, and never more than that."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from adapters.hyperliquid.auth import HyperliquidAuth
from adapters.hyperliquid.gateway import GatewayOptions, HyperliquidGateway
from domain.effects import Alert, ReconnectStream, SendAction
from domain.inputs import RequestAnswered, RequestFailed
from tests.unit.hyperliquid_io.venues import (
    PATIENCE_SECONDS,
    Inbox,
    http_venue,
    read_request,
    refusing_port,
    reset,
    tcp_venue,
    url_of,
)

pytestmark = pytest.mark.usefixtures("each_event_loop")

AUTH = HyperliquidAuth("0x" + "11" * 32, is_mainnet=False)
ORDER: dict[str, Any] = {
    "type": "order",
    "orders": [{"a": 0, "b": True, "p": "43210", "s": "0.1", "r": False, "t": {"limit": {"tif": "Gtc"}}}],
    "grouping": "na",
}
CANCEL: dict[str, Any] = {"type": "cancel", "cancels": [{"a": 0, "o": 77738308}]}
OK = b'{"status":"ok","response":{"type":"default"}}'
QUICK = GatewayOptions(action_timeout_seconds=2.0, connect_timeout_seconds=5.0, stop_grace_seconds=0.05)


def send(request_id: int, action: dict[str, Any] = ORDER, **members: Any) -> SendAction:
    return SendAction(request_id=request_id, action=action, nonce=1_700_000_000_000 + request_id, **members)


@asynccontextmanager
async def gateway_to(http_url: str, inbox: Inbox, **arguments: Any) -> AsyncIterator[HyperliquidGateway]:
    arguments.setdefault("auth", AUTH)
    gateway = HyperliquidGateway(http_url=http_url, ws_url=http_url + "/ws", **arguments)
    await gateway.start(inbox.deliver)
    try:
        yield gateway
    finally:
        await gateway.stop()


async def outcome_at(http_url: str, effect: SendAction, **arguments: Any) -> RequestAnswered | RequestFailed:
    """The single input that sending one action to a URL leads to."""
    inbox = Inbox()
    async with gateway_to(http_url, inbox, **arguments) as gateway:
        gateway.perform(effect)
        assert inbox.inputs == [], "perform must return at once"
        await inbox.until(lambda inbox: bool(inbox.inputs))
    (outcome,) = inbox.inputs
    assert isinstance(outcome, RequestAnswered | RequestFailed)
    assert outcome.request_id == effect.request_id
    return outcome


def answering(status: int, body: bytes, **headers: str) -> Callable[[web.Request], Any]:
    async def handle(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return handle


def test_an_action_is_signed_with_its_nonce_expiry_and_vault_and_its_answer_comes_back_raw() -> None:
    vault = "0x" + "AB" * 20
    expires_at_ms = time.time_ns() // 1_000_000 + 60_000

    async def scenario() -> None:
        async with http_venue(exchange=answering(200, OK)) as venue:
            effect = send(7, expires_at_ms=expires_at_ms, acting_for=vault)
            outcome = await outcome_at(venue.http_url, effect)
            assert outcome == RequestAnswered(request_id=7, status=200, body=OK)
            (body,) = venue.bodies
        signature = AUTH.sign_l1_action(
            ORDER, effect.nonce, vault_address=vault.lower(), expires_after=expires_at_ms
        )
        assert body == {
            "action": ORDER,
            "nonce": effect.nonce,
            "signature": {"r": signature.r, "s": signature.s, "v": signature.v},
            "vaultAddress": vault.lower(),
            "expiresAfter": expires_at_ms,
        }

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"status":"err","response":"User or API Wallet 0x0 does not exist."}'),
        (422, b"Failed to deserialize the JSON body into the target type"),
        (429, b"null"),
        (500, b"null"),
        (502, b"<html><body>502 Bad Gateway</body></html>"),
        (200, b""),
    ],
)
def test_an_answer_is_delivered_as_it_came_and_the_action_is_not_sent_again(status: int, body: bytes) -> None:
    async def scenario() -> None:
        async with http_venue(exchange=answering(status, body)) as venue:
            outcome = await outcome_at(venue.http_url, send(1))
            assert outcome == RequestAnswered(request_id=1, status=status, body=body)
            assert venue.requests == ["/exchange"]

    asyncio.run(scenario())


def test_a_refused_connection_is_certainly_not_sent() -> None:
    async def scenario() -> None:
        with refusing_port() as reserved:
            outcome = await outcome_at(url_of(reserved), send(1))
        assert isinstance(outcome, RequestFailed)
        assert not outcome.sent
        assert outcome.reason.startswith("connection_refused: ")

    asyncio.run(scenario())


def test_a_name_that_does_not_resolve_is_certainly_not_sent() -> None:
    async def scenario() -> None:
        options = GatewayOptions(connect_timeout_seconds=2.0)
        outcome = await outcome_at("http://venue.invalid", send(1), options=options)
        assert isinstance(outcome, RequestFailed)
        assert not outcome.sent
        # Where no name server answers at all, looking up the name takes longer than connecting may.
        assert outcome.reason.startswith(("dns_failure: ", "connect_timeout"))

    asyncio.run(scenario())


def test_a_tls_handshake_that_never_ends_is_certainly_not_sent() -> None:
    """The connection is accepted but there is never anything to write the request to."""

    async def scenario() -> None:
        async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with tcp_venue(silent) as venue:
            options = GatewayOptions(connect_timeout_seconds=0.1)
            outcome = await outcome_at(venue.http_url.replace("http:", "https:"), send(1), options=options)
        assert outcome == RequestFailed(request_id=1, reason="connect_timeout", sent=False)

    asyncio.run(scenario())


def test_a_server_that_does_not_speak_tls_was_certainly_not_sent_anything() -> None:
    async def scenario() -> None:
        async with http_venue(exchange=answering(200, OK)) as venue:
            outcome = await outcome_at(venue.http_url.replace("http:", "https:"), send(1))
            assert isinstance(outcome, RequestFailed)
            assert not outcome.sent
            assert outcome.reason.startswith(("tls_failure: ", "connect_failed: "))
            assert venue.requests == []

    asyncio.run(scenario())


@pytest.mark.parametrize("reads_request", [False, True])
def test_a_reset_leaves_the_outcome_open_and_the_action_is_not_sent_again(reads_request: bool) -> None:
    connections = 0

    async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if reads_request:
            await read_request(reader)
        else:
            await reader.read(1)
        reset(writer)

    async def scenario() -> None:
        async with tcp_venue(resetting) as venue:
            outcome = await outcome_at(venue.http_url, send(1))
        assert isinstance(outcome, RequestFailed)
        assert outcome.sent
        assert outcome.reason.startswith("connection_lost: ")
        assert connections == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + OK, "truncated_answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2d\r\n" + OK, "truncated_answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "connection_lost"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "invalid_answer"),
    ],
    ids=["half a body", "a chunk without an end", "half a header", "another protocol"],
)
def test_an_answer_that_breaks_off_is_no_answer(answer: bytes, code: str) -> None:
    async def breaking_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await writer.drain()

    async def scenario() -> None:
        async with tcp_venue(breaking_off) as venue:
            outcome = await outcome_at(venue.http_url, send(1))
        assert isinstance(outcome, RequestFailed)
        assert outcome.sent
        assert outcome.reason.startswith(code)

    asyncio.run(scenario())


@pytest.mark.parametrize("begins_to_answer", [False, True])
def test_a_venue_that_hangs_leaves_the_outcome_open(begins_to_answer: bool) -> None:
    async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        if begins_to_answer:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await reader.read()

    async def scenario() -> None:
        async with tcp_venue(hanging) as venue:
            outcome = await outcome_at(venue.http_url, send(1), options=QUICK)
        assert outcome == RequestFailed(request_id=1, reason="timeout", sent=True)

    asyncio.run(scenario())


@pytest.mark.parametrize("announced", [False, True])
def test_an_endless_answer_is_cut_off(announced: bool) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        head = b"Content-Length: 999999999\r\n" if announced else b"Connection: close\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 65_536)
            await writer.drain()

    async def scenario() -> None:
        async with tcp_venue(endless) as venue:
            options = GatewayOptions(body_bytes_max=1_000_000)
            outcome = await outcome_at(venue.http_url, send(1), options=options)
        assert outcome == RequestFailed(
            request_id=1, reason="answer_too_large: more than 1000000 bytes", sent=True
        )

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    async def scenario() -> None:
        async with (
            http_venue(exchange=answering(200, OK)) as elsewhere,
            http_venue(exchange=answering(status, b"", Location=elsewhere.http_url + "/exchange")) as venue,
        ):
            outcome = await outcome_at(venue.http_url, send(1))
            assert elsewhere.requests == []
        assert isinstance(outcome, RequestFailed)
        assert outcome.sent
        assert outcome.reason.startswith(f"redirect_refused: {status} to ")

    asyncio.run(scenario())


def test_an_expired_action_is_not_sent() -> None:
    async def scenario() -> None:
        async with http_venue(exchange=answering(200, OK)) as venue:
            now_ns = 1_700_000_000_000_000_000
            outcome = await outcome_at(
                venue.http_url, send(1, send_before_ns=now_ns), clock_ns=lambda: now_ns
            )
            assert outcome == RequestFailed(request_id=1, reason="expired_before_send", sent=False)
            assert venue.requests == []

    asyncio.run(scenario())


def test_whether_an_action_is_late_is_judged_by_our_clock_and_not_by_the_venue_s_expiry() -> None:
    async def scenario() -> None:
        async with http_venue(exchange=answering(200, OK)) as venue:
            now_ns = 1_700_000_000_000_000_000
            # The venue's clock is a minute behind ours, and so is the expiry it is given.
            late_for_us = send(1, expires_at_ms=now_ns // 1_000_000 - 50_000, send_before_ns=now_ns + 10**10)
            outcome = await outcome_at(venue.http_url, late_for_us, clock_ns=lambda: now_ns)
            assert isinstance(outcome, RequestAnswered)

    asyncio.run(scenario())


def test_connecting_does_not_outlast_the_expiry() -> None:
    async def scenario() -> None:
        async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with tcp_venue(silent) as venue:
            now_ms = 1_700_000_000_000
            outcome = await outcome_at(
                venue.http_url.replace("http:", "https:"),
                send(1, send_before_ns=(now_ms + 100) * 1_000_000),
                clock_ns=lambda: now_ms * 1_000_000,
                options=GatewayOptions(connect_timeout_seconds=3_600.0, action_timeout_seconds=3_600.0),
            )
        assert outcome == RequestFailed(request_id=1, reason="connect_timeout", sent=False)

    asyncio.run(scenario())


def test_without_a_key_nothing_is_sent() -> None:
    async def scenario() -> None:
        async with http_venue(exchange=answering(200, OK)) as venue:
            outcome = await outcome_at(venue.http_url, send(1), auth=None)
            assert isinstance(outcome, RequestFailed)
            assert outcome.reason.startswith("no_signer: ")
            assert not outcome.sent
            assert venue.requests == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "effect",
    [send(1, {"type": "order", "orders": [0.5]}), send(1, acting_for="0x12"), send(1, {"type": None})],
    ids=["a float", "no address", "null"],
)
def test_an_action_that_cannot_be_signed_is_not_sent(effect: SendAction) -> None:
    async def scenario() -> None:
        async with http_venue(exchange=answering(200, OK)) as venue:
            outcome = await outcome_at(venue.http_url, effect)
            assert isinstance(outcome, RequestFailed)
            assert outcome.reason.startswith("cannot_sign: ")
            assert not outcome.sent
            assert venue.requests == []

    asyncio.run(scenario())


def test_a_slow_order_does_not_hold_back_a_cancel_and_waiting_orders_expire_unsent() -> None:
    async def scenario() -> None:
        arrived, release = asyncio.Event(), asyncio.Event()
        now_ns = [1_700_000_000_000 * 1_000_000]

        async def slow_orders(request: web.Request) -> web.StreamResponse:
            if (await request.json())["action"]["type"] == "order":
                arrived.set()
                await release.wait()
            return web.Response(body=OK)

        inbox = Inbox()
        options = GatewayOptions(concurrent_orders_max=1)
        async with (
            http_venue(exchange=slow_orders) as venue,
            gateway_to(venue.http_url, inbox, options=options, clock_ns=lambda: now_ns[0]) as gateway,
        ):
            gateway.perform(send(1))
            await asyncio.wait_for(arrived.wait(), PATIENCE_SECONDS)
            gateway.perform(send(2, send_before_ns=now_ns[0] + 5_000_000_000))
            gateway.perform(send(3, CANCEL, send_before_ns=now_ns[0] + 5_000_000_000, urgent=True))
            await inbox.until(lambda inbox: bool(inbox.inputs))
            assert inbox.inputs == [RequestAnswered(request_id=3, status=200, body=OK)]
            now_ns[0] += 6_000_000_000
            release.set()
            await inbox.until(lambda inbox: len(inbox.inputs) == 3)
            assert inbox.inputs[1:] == [
                RequestAnswered(request_id=1, status=200, body=OK),
                RequestFailed(request_id=2, reason="expired_before_send", sent=False),
            ]

    asyncio.run(scenario())


def test_a_lane_that_is_full_refuses_instead_of_growing() -> None:
    async def scenario() -> None:
        release = asyncio.Event()

        async def slow(_request: web.Request) -> web.StreamResponse:
            await release.wait()
            return web.Response(body=OK)

        inbox = Inbox()
        options = GatewayOptions(concurrent_orders_max=2, waiting_max=3)
        async with (
            http_venue(exchange=slow) as venue,
            gateway_to(venue.http_url, inbox, options=options) as gateway,
        ):
            for request_id in range(10):
                gateway.perform(send(request_id))
            await inbox.wait_for(RequestFailed, 5)
            assert {failed.request_id for failed in inbox.of(RequestFailed)} == {5, 6, 7, 8, 9}
            assert all(failed.reason.startswith("lane_full: ") for failed in inbox.of(RequestFailed))
            assert not any(failed.sent for failed in inbox.of(RequestFailed))
            release.set()
            await inbox.wait_for(RequestAnswered, 5)

    asyncio.run(scenario())


def test_stopping_waits_for_the_answer_of_an_action_under_way() -> None:
    async def scenario() -> None:
        arrived, release = asyncio.Event(), asyncio.Event()

        async def slow(_request: web.Request) -> web.StreamResponse:
            arrived.set()
            await release.wait()
            return web.Response(body=OK)

        inbox = Inbox()
        options = GatewayOptions(stop_grace_seconds=PATIENCE_SECONDS)
        async with (
            http_venue(exchange=slow) as venue,
            gateway_to(venue.http_url, inbox, options=options) as gateway,
        ):
            gateway.perform(send(1))
            await asyncio.wait_for(arrived.wait(), PATIENCE_SECONDS)
            stopping = asyncio.get_running_loop().create_task(gateway.stop())
            await asyncio.sleep(0)
            gateway.perform(send(2))
            await inbox.wait_for(RequestFailed)
            release.set()
            await stopping
            assert inbox.inputs == [
                RequestFailed(request_id=2, reason="gateway_stopped", sent=False),
                RequestAnswered(request_id=1, status=200, body=OK),
            ]

    asyncio.run(scenario())


def test_after_the_grace_an_action_fails_as_far_as_it_got() -> None:
    async def scenario() -> None:
        arrived = asyncio.Event()

        async def hanging(_request: web.Request) -> web.StreamResponse:
            arrived.set()
            await asyncio.sleep(3_600)
            return web.Response(body=OK)

        inbox = Inbox()
        options = GatewayOptions(stop_grace_seconds=0.05, concurrent_orders_max=1)
        async with (
            http_venue(exchange=hanging) as venue,
            gateway_to(venue.http_url, inbox, options=options) as gateway,
        ):
            gateway.perform(send(1))
            await asyncio.wait_for(arrived.wait(), PATIENCE_SECONDS)
            gateway.perform(send(2))
            await gateway.stop()
            gateway.perform(send(3))
            await inbox.wait_for(RequestFailed, 3)
            assert sorted(inbox.of(RequestFailed), key=lambda failed: failed.request_id) == [
                RequestFailed(request_id=1, reason="gateway_stopped", sent=True),
                RequestFailed(request_id=2, reason="gateway_stopped", sent=False),
                RequestFailed(request_id=3, reason="gateway_stopped", sent=False),
            ]
            assert len(inbox.inputs) == 3

    asyncio.run(scenario())


def test_connections_are_kept_for_the_next_action() -> None:
    async def scenario() -> None:
        peers: set[Any] = set()

        async def noting(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            peers.add(request.transport.get_extra_info("peername"))
            return web.Response(body=OK)

        inbox = Inbox()
        async with http_venue(exchange=noting) as venue, gateway_to(venue.http_url, inbox) as gateway:
            for request_id in range(3):
                gateway.perform(send(request_id))
                await inbox.wait_for(RequestAnswered, request_id + 1)
        assert len(peers) == 1

    asyncio.run(scenario())


def test_misuse_is_said_at_once() -> None:
    async def scenario() -> None:
        gateway = HyperliquidGateway(http_url="http://127.0.0.1:1", ws_url="ws://127.0.0.1:1/ws", auth=None)
        with pytest.raises(RuntimeError, match="not started"):
            gateway.perform(send(1))
        await gateway.stop()
        await gateway.start(Inbox().deliver)
        with pytest.raises(RuntimeError, match="already started"):
            await gateway.start(Inbox().deliver)
        with pytest.raises(TypeError, match="Alert"):
            gateway.perform(Alert(code="x", message="y"))
        with pytest.raises(ValueError, match="no stream 'orders'; there are: market, user"):
            gateway.perform(ReconnectStream(stream="orders", reason="x"))
        await gateway.stop()
        await gateway.stop()

    asyncio.run(scenario())


def test_the_signature_of_a_failed_action_is_in_no_log_and_no_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with http_venue(exchange=answering(302, b"", Location="/elsewhere")) as venue:
            outcome = await outcome_at(venue.http_url, send(1))
            (body,) = venue.bodies
        said = caplog.text + json.dumps(str(outcome))
        assert body["signature"]["r"] not in said

    caplog.set_level("DEBUG")
    asyncio.run(scenario())
