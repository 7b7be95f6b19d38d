"""The connector's only way out: carries out effects against the venue and delivers what comes back.

Nothing is decided here. A signed action is posted once, whatever happens to it; what the answer, or its
absence, means is the core's business. Urgent actions (cancels), other actions and queries have separate lanes
of connections, so neither a venue that is slow with orders nor a pile of queries holds back a cancel.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from random import Random

import aiohttp
import msgspec

from adapters.hyperliquid.actions import encode_envelope
from adapters.hyperliquid.auth import HyperliquidAuth
from adapters.hyperliquid.backoff import BackOff, ConnectionBudget
from adapters.hyperliquid.http_client import PostFailed, PostProgress, VenueHttp, open_session
from adapters.hyperliquid.lanes import Lane, LaneFullError
from adapters.hyperliquid.streams import (
    HyperliquidOrderBookDataSource,
    HyperliquidUserStreamDataSource,
    StreamOptions,
)
from domain.data_sources import OrderBookTrackerDataSource, StreamDataSource
from domain.effects import ConnectStreams, Effect, Query, ReconnectStream, SendAction
from domain.inputs import Input, RequestAnswered, RequestFailed

__all__ = ["MARKET_STREAM", "USER_STREAM", "GatewayOptions", "HyperliquidGateway"]

_log = logging.getLogger(__name__)

USER_STREAM = "user"
MARKET_STREAM = "market"

_EXCERPT_BYTES = 200


class GatewayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Time limits, bounds and patience of the HTTP side."""

    action_timeout_seconds: float = 10.0
    query_timeout_seconds: float = 10.0
    connect_timeout_seconds: float = 5.0
    query_attempts_max: int = 5
    retry_base_seconds: float = 0.25
    retry_cap_seconds: float = 8.0
    body_bytes_max: int = 32 * 1024 * 1024
    concurrent_orders_max: int = 8
    concurrent_urgent_max: int = 8
    concurrent_queries_max: int = 4
    waiting_max: int = 2_000
    keep_alive_seconds: float = 30.0
    stop_grace_seconds: float = 5.0


@dataclass(slots=True)
class _Running:
    """What exists between `start` and `stop`."""

    deliver: Callable[[Input], None]
    session: aiohttp.ClientSession
    http: VenueHttp
    orders: Lane
    urgent: Lane
    queries: Lane
    streams: dict[str, StreamDataSource]
    is_stopping: bool = False


class HyperliquidGateway:
    """Performs `SendAction`, `Query`, `ConnectStreams` and `ReconnectStream`.

    Every `SendAction` and every `Query` leads to exactly one `RequestAnswered` or `RequestFailed` with its
    request id. The `reason` of a `RequestFailed` begins with a stable code, with detail after a colon:

    - never sent: `expired_before_send`, `no_signer`, `cannot_sign`, `lane_full`, `gateway_stopped`,
      `connection_refused`, `dns_failure`, `tls_failure`, `connect_timeout`, `connect_failed`;
    - possibly sent: `timeout`, `connection_lost`, `truncated_answer`, `invalid_answer`, `answer_too_large`,
      `redirect_refused`, `http_<status>` (queries, after the last attempt), `gateway_stopped`,
      `internal_error`.

    `sent` says which of the two holds; it alone decides.
    """

    def __init__(
        self,
        *,
        http_url: str,
        ws_url: str,
        auth: HyperliquidAuth | None,
        market_source: OrderBookTrackerDataSource | None = None,
        options: GatewayOptions | None = None,
        user_stream_options: StreamOptions | None = None,
        market_stream_options: StreamOptions | None = None,
        connection_budget: ConnectionBudget | None = None,
        rng: Random | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`auth` None: reading only. `market_source` replaces the market-data socket. `clock_ns` is the clock
        inputs are stamped with: what must leave before a certain time is judged by it."""
        self._http_url = http_url
        self._ws_url = ws_url
        self._auth = auth
        self._market_source = market_source
        self._options = options or GatewayOptions()
        self._user_stream_options = user_stream_options
        self._market_stream_options = market_stream_options
        self._budget = connection_budget or ConnectionBudget()
        self._rng = rng or Random()
        self._clock_ns = clock_ns
        self._running: _Running | None = None
        self._actions: set[asyncio.Task[RequestAnswered]] = set()
        self._queries: set[asyncio.Task[RequestAnswered]] = set()

    async def start(self, deliver: Callable[[Input], None]) -> None:
        """Opens the session; connects nothing yet. `deliver` is only ever called in this event loop."""
        if self._running is not None:
            raise RuntimeError("the gateway was already started; make a new one")
        options = self._options
        session = open_session(keep_alive_seconds=options.keep_alive_seconds)
        user = HyperliquidUserStreamDataSource(
            name=USER_STREAM,
            ws_url=self._ws_url,
            session=session,
            budget=self._budget,
            options=self._user_stream_options,
            rng=self._rng,
            clock_ns=self._clock_ns,
        )
        market = self._market_source or HyperliquidOrderBookDataSource(
            name=MARKET_STREAM,
            ws_url=self._ws_url,
            session=session,
            budget=self._budget,
            options=self._market_stream_options,
            rng=self._rng,
            clock_ns=self._clock_ns,
        )
        self._running = _Running(
            deliver=deliver,
            session=session,
            http=VenueHttp(session, self._http_url, body_bytes_max=options.body_bytes_max),
            orders=Lane(
                "orders", concurrent_max=options.concurrent_orders_max, waiting_max=options.waiting_max
            ),
            urgent=Lane(
                "urgent actions",
                concurrent_max=options.concurrent_urgent_max,
                waiting_max=options.waiting_max,
            ),
            queries=Lane(
                "queries", concurrent_max=options.concurrent_queries_max, waiting_max=options.waiting_max
            ),
            streams={source.name: source for source in (user, market)},
        )

    def perform(self, effect: Effect) -> None:
        """Begins to carry out one effect and returns at once. To be called in the event loop.

        Raises TypeError for effects that are not a gateway's, ValueError for a stream it does not have.
        """
        running = self._running
        if running is None:
            raise RuntimeError("the gateway is not started")
        match effect:
            case SendAction():
                progress = PostProgress()
                work = self._send_action(running, effect, progress)
                self._begin(running, self._actions, effect.request_id, progress, work)
            case Query():
                progress = PostProgress()
                work = self._query(running, effect, progress)
                self._begin(running, self._queries, effect.request_id, progress, work)
            case ConnectStreams():
                for name, subscriptions in effect.streams.items():
                    self.stream(name).start(subscriptions, running.deliver)
            case ReconnectStream():
                self.stream(effect.stream).reconnect(effect.reason)
            case _:
                raise TypeError(f"{type(effect).__name__} is not carried out by a gateway")

    def stream(self, name: str) -> StreamDataSource:
        """The data source behind a stream's name, for its health. Raises ValueError for an unknown name."""
        streams = self._running.streams if self._running is not None else {}
        if name not in streams:
            raise ValueError(f"no stream {name!r}; there are: {', '.join(sorted(streams)) or 'none'}")
        return streams[name]

    async def stop(self) -> None:
        """Ends everything. Safe to call twice, and without `start`.

        Actions under way get `stop_grace_seconds` to be answered, streams still running, since news of an
        order may come that way too; then they fail, `sent` as far as they got. Once this returns, nothing
        more is delivered but the refusal of what is performed nevertheless.
        """
        running = self._running
        if running is None or running.is_stopping:
            return
        running.is_stopping = True
        try:
            await _cancel(self._queries)
            if self._actions:
                await asyncio.wait(self._actions, timeout=self._options.stop_grace_seconds)
            await _cancel(self._actions)
        finally:
            for source in running.streams.values():
                await source.stop()
            await running.session.close()

    def _begin(
        self,
        running: _Running,
        tasks: set[asyncio.Task[RequestAnswered]],
        request_id: int,
        progress: PostProgress,
        work: Coroutine[None, None, RequestAnswered],
    ) -> None:
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)

        # A callback and not the end of the task: a task cancelled before its first step runs none of its
        # code, and its request must fail like any other.
        def finished(task: asyncio.Task[RequestAnswered]) -> None:
            tasks.discard(task)
            running.deliver(_outcome(task, request_id, progress))

        task.add_done_callback(finished)
        if running.is_stopping:
            task.cancel()

    async def _send_action(
        self, running: _Running, effect: SendAction, progress: PostProgress
    ) -> RequestAnswered:
        """Signs and posts once. Raises PostFailed or LaneFullError."""
        auth = self._auth
        if auth is None:
            raise PostFailed("no_signer", "no private key is configured, so only reading is possible")
        async with running.urgent if effect.urgent else running.orders:
            connect_seconds = self._options.connect_timeout_seconds
            if effect.send_before_ns is not None:
                # Judged here, after any wait for the lane; and a connect must not outlast it either, since a
                # late action costs five times its budget (sheet 3.8).
                remaining_seconds = (effect.send_before_ns - self._clock_ns()) / 1_000_000_000
                if remaining_seconds <= 0:
                    raise PostFailed("expired_before_send")
                connect_seconds = min(connect_seconds, remaining_seconds)
            try:
                signature = auth.sign_l1_action(
                    effect.action,
                    effect.nonce,
                    vault_address=effect.acting_for,
                    expires_after=effect.expires_at_ms,
                )
                body = encode_envelope(
                    effect.action, effect.nonce, signature, effect.acting_for, effect.expires_at_ms
                )
            except (ValueError, TypeError) as error:
                raise PostFailed("cannot_sign", str(error)) from error
            answer = await running.http.post(
                "/exchange",
                body,
                timeout_seconds=self._options.action_timeout_seconds,
                connect_seconds=connect_seconds,
                progress=progress,
            )
        return RequestAnswered(request_id=effect.request_id, status=answer.status, body=answer.body)

    async def _query(self, running: _Running, effect: Query, progress: PostProgress) -> RequestAnswered:
        """Posts until there is an answer worth having. Raises PostFailed or LaneFullError."""
        options = self._options
        body = msgspec.json.encode(effect.body)
        back_off = BackOff(
            base_seconds=options.retry_base_seconds, cap_seconds=options.retry_cap_seconds, rng=self._rng
        )
        attempt = 0
        while True:
            attempt += 1
            this_attempt = PostProgress()
            try:
                async with running.queries:
                    answer = await running.http.post(
                        "/info",
                        body,
                        timeout_seconds=options.query_timeout_seconds,
                        connect_seconds=options.connect_timeout_seconds,
                        progress=this_attempt,
                    )
                # 429 is for the core, which counts the weight and holds orders too: repeated here, it would
                # only use up more.
                if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    return RequestAnswered(
                        request_id=effect.request_id, status=answer.status, body=answer.body
                    )
                failure = PostFailed(f"http_{answer.status}", _excerpt(answer.body))
            except PostFailed as error:
                failure = error
            finally:
                progress.may_have_left |= this_attempt.may_have_left
            if failure.is_final or attempt >= options.query_attempts_max:
                raise failure
            _log.info(
                "query %s failed (%s), attempt %d of %d; trying again",
                effect.body.get("type"),
                failure,
                attempt,
                options.query_attempts_max,
            )
            # Outside the lane: who waits for a retry keeps nobody else waiting.
            await asyncio.sleep(back_off.next_delay())


def _outcome(task: asyncio.Task[RequestAnswered], request_id: int, progress: PostProgress) -> Input:
    """What the end of a request's task means. Never raises: a request is never left without an end."""
    if task.cancelled():
        reason = "gateway_stopped"
    else:
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, PostFailed):
            reason = str(error)
        elif isinstance(error, LaneFullError):
            reason = f"lane_full: {error}"
        else:
            _log.error("request %d ended by a fault of the gateway", request_id, exc_info=error)
            reason = f"internal_error: {type(error).__name__}"
    return RequestFailed(request_id=request_id, reason=reason, sent=progress.may_have_left)


async def _cancel(tasks: Iterable[asyncio.Task[RequestAnswered]]) -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def _excerpt(body: bytes) -> str:
    return body[:_EXCERPT_BYTES].decode("utf-8", "replace")
