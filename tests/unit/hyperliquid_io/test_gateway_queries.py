"""Questions are asked again until there is an answer worth having, with patience that ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from adapters.hyperliquid.gateway import GatewayOptions, HyperliquidGateway
from domain.effects import Query
from domain.inputs import RequestAnswered, RequestFailed
from tests.unit.hyperliquid_io.venues import (
    PATIENCE_SECONDS,
    HttpHandler,
    Inbox,
    http_venue,
    read_request,
    refusing_port,
    reset,
    tcp_venue,
    url_of,
)

pytestmark = pytest.mark.usefixtures("each_event_loop")

META = Query(request_id=3, body={"type": "meta"})
EAGER = GatewayOptions(retry_base_seconds=0.0, query_attempts_max=4)


@asynccontextmanager
async def gateway_to(
    http_url: str, inbox: Inbox, options: GatewayOptions
) -> AsyncIterator[HyperliquidGateway]:
    gateway = HyperliquidGateway(http_url=http_url, ws_url=http_url + "/ws", auth=None, options=options)
    await gateway.start(inbox.deliver)
    try:
        yield gateway
    finally:
        await gateway.stop()


async def outcome_at(http_url: str, options: GatewayOptions = EAGER) -> Any:
    inbox = Inbox()
    async with gateway_to(http_url, inbox, options) as gateway:
        gateway.perform(META)
        await inbox.until(lambda inbox: bool(inbox.inputs))
    (outcome,) = inbox.inputs
    return outcome


def answering_in_turn(answers: Sequence[tuple[int, bytes]]) -> HttpHandler:
    """The last answer is repeated for ever."""
    waiting = list(answers)

    async def handle(_request: web.Request) -> web.StreamResponse:
        status, body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return web.Response(status=status, body=body)

    return handle


def test_a_question_is_repeated_over_outages_until_it_is_answered() -> None:
    async def scenario() -> None:
        answers = [(503, b"null"), (502, b"<html></html>"), (500, b"null"), (200, b'{"universe":[]}')]
        async with http_venue(info=answering_in_turn(answers)) as venue:
            assert await outcome_at(venue.http_url) == RequestAnswered(
                request_id=3, status=200, body=b'{"universe":[]}'
            )
            assert venue.requests == ["/info"] * 4
            assert venue.bodies == [{"type": "meta"}] * 4

    asyncio.run(scenario())


def test_a_question_is_given_up_after_the_last_attempt() -> None:
    async def scenario() -> None:
        async with http_venue(info=answering_in_turn([(503, b"upgrade in progress")])) as venue:
            assert await outcome_at(venue.http_url) == RequestFailed(
                request_id=3, reason="http_503: upgrade in progress", sent=True
            )
            assert len(venue.requests) == 4

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [200, 400, 422, 429])
def test_a_definite_answer_is_delivered_at_once(status: int) -> None:
    async def scenario() -> None:
        async with http_venue(info=answering_in_turn([(status, b"null")])) as venue:
            assert await outcome_at(venue.http_url) == RequestAnswered(
                request_id=3, status=status, body=b"null"
            )
            assert len(venue.requests) == 1

    asyncio.run(scenario())


def test_a_question_is_repeated_over_lost_connections_and_half_answers() -> None:
    connections = 0

    async def flaky(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_request(reader)
        if connections == 1:
            reset(writer)
        elif connections == 2:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{")
        elif connections == 3:
            await reader.read()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull")

    async def scenario() -> None:
        async with tcp_venue(flaky) as venue:
            options = GatewayOptions(retry_base_seconds=0.0, query_attempts_max=4, query_timeout_seconds=3.0)
            outcome = await outcome_at(venue.http_url, options)
        assert outcome == RequestAnswered(request_id=3, status=200, body=b"null")
        assert connections == 4

    asyncio.run(scenario())


def test_a_venue_that_cannot_be_reached_was_never_asked() -> None:
    async def scenario() -> None:
        with refusing_port() as reserved:
            outcome = await outcome_at(url_of(reserved))
        assert isinstance(outcome, RequestFailed)
        assert not outcome.sent
        assert outcome.reason.startswith("connection_refused: ")

    asyncio.run(scenario())


def test_what_repeating_cannot_change_is_not_repeated() -> None:
    async def scenario() -> None:
        async with http_venue(info=answering_in_turn([(200, b"x" * 100)])) as venue:
            options = GatewayOptions(retry_base_seconds=0.0, body_bytes_max=99)
            outcome = await outcome_at(venue.http_url, options)
            assert outcome == RequestFailed(
                request_id=3, reason="answer_too_large: more than 99 bytes", sent=True
            )
            assert len(venue.requests) == 1

    asyncio.run(scenario())


def test_a_question_that_waits_for_its_next_attempt_keeps_no_other_waiting() -> None:
    async def scenario() -> None:
        async def failing_meta(request: web.Request) -> web.StreamResponse:
            failed = (await request.json())["type"] == "meta"
            return web.Response(status=502 if failed else 200, body=b"[]")

        inbox = Inbox()
        options = GatewayOptions(
            retry_base_seconds=3_600.0, retry_cap_seconds=3_600.0, concurrent_queries_max=1
        )
        async with (
            http_venue(info=failing_meta) as venue,
            gateway_to(venue.http_url, inbox, options) as gateway,
        ):
            gateway.perform(META)
            gateway.perform(Query(request_id=4, body={"type": "openOrders"}))
            await inbox.wait_for(RequestAnswered)
            assert inbox.inputs == [RequestAnswered(request_id=4, status=200, body=b"[]")]
            await gateway.stop()
            assert inbox.inputs[1:] == [RequestFailed(request_id=3, reason="gateway_stopped", sent=True)]

    asyncio.run(scenario())


def test_no_more_questions_are_under_way_at_once_than_allowed() -> None:
    async def scenario() -> None:
        under_way = most = 0
        full, release = asyncio.Event(), asyncio.Event()

        async def counting(_request: web.Request) -> web.StreamResponse:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            if under_way == 3:
                full.set()
            await release.wait()
            under_way -= 1
            return web.Response(body=b"null")

        inbox = Inbox()
        async with (
            http_venue(info=counting) as venue,
            gateway_to(venue.http_url, inbox, GatewayOptions(concurrent_queries_max=3)) as gateway,
        ):
            for request_id in range(12):
                gateway.perform(Query(request_id=request_id, body={"type": "meta"}))
            await asyncio.wait_for(full.wait(), PATIENCE_SECONDS)
            release.set()
            await inbox.wait_for(RequestAnswered, 12)
        assert most == 3

    asyncio.run(scenario())
