"""The composition root: one live process out of a connector, a ledger, views, a publisher and a strategy."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapters.cli.config import Config
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.ledger_source import LedgerEventSource
from adapters.cli.refusals import refusal_of
from adapters.cli.restoring import check_network, read_started
from adapters.cli.secrets import Secret
from adapters.hyperliquid.auth import HyperliquidAuth, PrivateKeyError
from adapters.hyperliquid.connector import VENUE, HyperliquidOptions, HyperliquidPerpetualConnector
from adapters.hyperliquid.gateway import HyperliquidGateway
from adapters.hyperliquid.marketstream import HyperliquidMarketstreamAdapter
from adapters.hyperliquid.networks import Network
from adapters.hyperliquid.replaying import core_options
from adapters.hyperliquid.zmq_market_feed import ZMQMarketFeed
from adapters.runtime.clock import SteadyClock
from adapters.runtime.runtime import LedgerRuntime
from adapters.storage.errors import (
    DamagedLedgerError,
    ForeignLedgerError,
    LedgerError,
    NewerLedgerError,
)
from adapters.storage.ledger import OrderLedger
from adapters.strategies.early_news import EarlyNews
from adapters.strategies.strategy import Strategy
from adapters.zeromq.bind_address import BindAddressError
from adapters.zeromq.errors import PublisherError
from adapters.zeromq.publisher import ZMQOrderEventPublisher
from domain.client_order_id import SESSION_ID_BITS
from domain.errors import VersionError
from domain.event_codec import decode_event
from domain.listeners import Committed
from projections import ProjectionRunner, ViewsError
from replays.recorder import SessionRecorder
from replays.recording import SessionHeader

__all__ = ["LiveProcess"]

log = logging.getLogger("orderledger.process")

TICK_S = 0.25

SLOW_CALL_S = 0.5
"""A strategy that keeps the loop from its work for so long is told of: sockets and cancels wait meanwhile."""

CLOSE_S = 4.0
"""How long each part may take to write its end; a disk that refuses must not hold up the end for ever."""

GIVE_UP_S = 2.0
"""How long a start that failed may take to record what it has learned."""


@dataclass(slots=True)
class _Parts:
    """What exists between `start` and `stop`."""

    runtime: LedgerRuntime
    connector: HyperliquidPerpetualConnector
    ledger: OrderLedger
    views: ProjectionRunner
    publisher: ZMQOrderEventPublisher | None
    recorder: SessionRecorder | None
    tasks: list[asyncio.Task[None]]


class LiveProcess:
    """Everything that `orderledger run` runs. One asyncio loop; the disk has threads of its own.

    `strategy` None: record and publish only. Raises `CommandError` with the fitting exit code for whatever a
    person can put right.
    """

    def __init__(
        self, config: Config, key: Secret | None, strategy: Strategy | None, *, network: Network
    ) -> None:
        self.config = config
        self.strategy = strategy
        self.strategy_errors = 0
        self._network = network
        self._auth = _auth(key, is_mainnet=network.is_mainnet)
        self._parts: _Parts | None = None
        self._strategy_started = False

    @property
    def connector(self) -> HyperliquidPerpetualConnector:
        return self._running.connector

    @property
    def runtime(self) -> LedgerRuntime:
        return self._running.runtime

    @property
    def views(self) -> ProjectionRunner:
        return self._running.views

    @property
    def ledger(self) -> OrderLedger:
        return self._running.ledger

    @property
    def recordings(self) -> tuple[Path, ...]:
        """The files this session is recorded in, first to last."""
        recorder = self._running.recorder
        return () if recorder is None else tuple(recorder.paths)

    @property
    def _running(self) -> _Parts:
        assert self._parts is not None, "the process was started"
        return self._parts

    @property
    def account(self) -> str:
        """The account whose books are kept."""
        venue = self.config.venue
        signer = self._auth.address if self._auth is not None else ""
        account = venue.vault_address or venue.account_address or signer
        if not account:
            raise CommandError(
                "No account: set venue.account_address, or give a signing key.", ExitCode.CONFIG
            )
        return account.lower()

    # -- life ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open everything, restore, connect. Returns once the connector is ready to trade."""
        session = secrets.randbits(SESSION_ID_BITS)
        connector = self._make_connector(session)
        clock = SteadyClock()
        gateway = HyperliquidGateway(
            http_url=self._network.http_url,
            ws_url=self._network.ws_url,
            auth=self._auth,
            market_source=self._make_market_source(),
            clock_ns=clock.now_ns,
        )
        runtime = LedgerRuntime(connector, gateway, now_ns=clock.now_ns)
        ledger = self._open_ledger(runtime)
        undo = contextlib.AsyncExitStack()
        undo.callback(ledger.close)
        try:
            check_network(ledger, self.config.ledger.path, self.config.venue.network)
            views = ProjectionRunner(LedgerEventSource(ledger), Path(self.config.ledger.effective_views_path))
            views.start()
            undo.callback(views.stop)
            await self._catch_up(views, ledger)
            started = read_started(
                ledger, views.path, venue=VENUE, account=self.account, session_id=connector.session_id
            )
            connector.reserve_ids(ledger.known_user_ids(), lambda text: ledger.resolve(text) is not None)
            publisher = self._make_publisher(ledger.max_position)
            if publisher is not None:
                undo.callback(publisher.close)
                runtime.on_committed.append(publisher.publish)
            runtime.on_committed.append(_log_committed)
            recorder = self._make_recorder(runtime, connector)
            if recorder is not None:
                undo.callback(recorder.close)
            self._parts = _Parts(runtime, connector, ledger, views, publisher, recorder, [])
            early_news = None
            if self.strategy is not None:
                early_news = EarlyNews(self.strategy)
                connector.add_listener(early_news)
                runtime.on_books.append(self._on_books)
            undo.push_async_callback(gateway.stop)
            await runtime.start(ledger, started)
            undo.push_async_callback(runtime.stop, cancel_open_orders=False, timeout_s=GIVE_UP_S)
            log.info(
                "session %s of account %s on %s: %d open orders restored at position %d",
                connector.session_id,
                self.account,
                self.config.venue.network,
                len(started.open_orders),
                started.ledger_position,
            )
            await self._until_ready()
            if publisher is not None:
                heartbeats = publisher.run_heartbeats(self.config.publisher.heartbeat_s)
                self._running.tasks.append(asyncio.create_task(heartbeats))
            if early_news is not None:
                self._start_strategy(early_news)
        except BaseException as error:
            await self._give_up(undo)
            if isinstance(error, ViewsError):
                raise CommandError(f"The views cannot be used: {error}") from None
            if isinstance(error, LedgerError | VersionError):
                raise CommandError(f"The ledger cannot be used: {error}", ExitCode.LEDGER_DAMAGED) from None
            raise

    async def _give_up(self, undo: contextlib.AsyncExitStack) -> None:
        """Close what was opened, whatever else fails; why the start failed is what matters."""
        try:
            await undo.aclose()
        except Exception as error:
            log.error("while giving up the start: %s", error)

    async def run(self) -> None:
        """Go on until cancelled. Raises `RuntimeFault` when the process must end."""
        await self.runtime.run()

    def pause_strategy(self) -> None:
        """Let the strategy decide nothing more; what it has placed stays."""
        self._strategy_started = False
        if self.strategy is not None:
            self._call_strategy(self.strategy.on_stop)

    async def stop(self) -> bool:
        """End in order; see `LedgerRuntime.stop`. Returns whether everything was settled in time."""
        parts = self._running
        if self._strategy_started:
            self.pause_strategy()
        for task in parts.tasks:
            task.cancel()
        await asyncio.gather(*parts.tasks, return_exceptions=True)
        shutdown = self.config.shutdown
        # Each of these is closed even if the one before it cannot be; last added, first closed.
        async with contextlib.AsyncExitStack() as closing:
            if parts.recorder is not None:
                closing.push_async_callback(_close_recorder, parts.recorder)
            closing.push_async_callback(asyncio.to_thread, parts.ledger.close, CLOSE_S)
            closing.push_async_callback(asyncio.to_thread, parts.views.stop, CLOSE_S)
            if parts.publisher is not None:
                closing.callback(parts.publisher.close)
            return await parts.runtime.stop(
                cancel_open_orders=shutdown.cancel_open_orders, timeout_s=shutdown.timeout_s
            )

    # -- parts ---------------------------------------------------------------------------------------------

    def _make_connector(self, session: int) -> HyperliquidPerpetualConnector:
        config = self.config
        return HyperliquidPerpetualConnector(
            HyperliquidOptions(
                trading_pairs=config.venue.trading_pairs,
                signer=None if self._auth is None else self._auth.address,
                order_ttl_ms=config.limits.order_expiry_s * 1_000,
                order_wait_ms=round(config.limits.order_wait_s * 1_000),
                weight_per_minute=config.limits.request_weight_per_minute,
                retention_ns=config.ledger.done_order_retention_s * 1_000_000_000,
                not_found_limit=config.limits.not_found_limit,
                not_found_span_ns=config.limits.not_found_span_s * 1_000_000_000,
                reconcile_every_ns=config.reconciliation.every_s * 1_000_000_000,
                grace_ms=round(config.reconciliation.grace_s * 1_000),
                assert_every_ns=config.reconciliation.assert_every_s * 1_000_000_000,
                thorough_every_ns=config.reconciliation.thorough_every_s * 1_000_000_000,
            ),
            network=config.venue.network,
            account=self.account,
            session_id=session,
            decode_event=decode_event,
        )

    def _open_ledger(self, runtime: LedgerRuntime) -> OrderLedger:
        try:
            return OrderLedger.open(
                self.config.ledger.path,
                on_committed=runtime.committed,
                on_refused=runtime.refused,
                on_stall=runtime.stalled,
                on_resume=runtime.resumed,
            )
        except (DamagedLedgerError, ForeignLedgerError, NewerLedgerError) as error:
            raise CommandError(str(error), ExitCode.LEDGER_DAMAGED) from None
        except LedgerError as error:
            raise CommandError(str(error), ExitCode.CONFIG) from None

    def _make_publisher(self, position: int) -> ZMQOrderEventPublisher | None:
        settings = self.config.publisher
        if not settings.enabled:
            return None
        try:
            publisher = ZMQOrderEventPublisher(
                settings.bind,
                venue=VENUE,
                encoding=settings.encoding,
                last_position=position,
                allow_remote=settings.allow_remote,
                queue_size=settings.queue_size,
            )
        except (PublisherError, BindAddressError) as error:
            raise CommandError(str(error), ExitCode.CONFIG) from None
        log.info("order events are published at %s", publisher.endpoint)
        return publisher

    def _make_market_source(self) -> HyperliquidMarketstreamAdapter | None:
        address = self.config.venue.market_feed
        if not address:
            return None
        try:
            return HyperliquidMarketstreamAdapter(ZMQMarketFeed(address))
        except ValueError as error:
            raise CommandError(f"venue.market_feed: {error}", ExitCode.CONFIG) from None

    def _make_recorder(
        self, runtime: LedgerRuntime, connector: HyperliquidPerpetualConnector
    ) -> SessionRecorder | None:
        settings = self.config.recording
        if not settings.enabled:
            return None
        directory = Path(settings.effective_directory(self.config.ledger))
        header = SessionHeader(
            package_version=version("orderledger"),
            config_fingerprint=self.config.fingerprint,
            venue=VENUE,
            network=connector.network,
            account=connector.account_address,
            signer="" if self._auth is None else self._auth.address,
            session_id=connector.session_id,
            core_options=core_options(connector.options),
            started_at_ns=time.time_ns(),
        )
        try:
            runtime.recorder = recorder = SessionRecorder(
                directory,
                Path(self.config.ledger.path).stem,
                header,
                file_bytes_max=settings.max_file_mb * 1_000_000,
                total_bytes_max=settings.max_total_mb * 1_000_000,
                on_failure=runtime.recorder_stalled,
                on_recovery=runtime.recorder_resumed,
            )
        except OSError as error:
            raise CommandError(
                f"Cannot record into {directory}: {error.strerror}. Make it writable, name another one in "
                "recording.directory, or set recording.enabled = false.",
                ExitCode.CONFIG,
            ) from None
        log.info("the session is recorded in %s", recorder.path)
        return recorder

    async def _catch_up(self, views: ProjectionRunner, ledger: OrderLedger) -> None:
        """Wait for the views; say so when it takes long."""
        target = ledger.max_position
        began = time.monotonic()
        while not await asyncio.to_thread(views.wait_for, target, 2.0):
            if views.failure is not None:
                refusal = refusal_of(views.failure)
                code = ExitCode.CHECK_FAILED if refusal is None else refusal.exit_code
                raise CommandError(f"The views cannot be built: {views.failure}", code)
            log.info(
                "building views: position %d of %d after %.0f s",
                views.position,
                target,
                time.monotonic() - began,
            )

    async def _until_ready(self) -> None:
        connector, runtime = self.connector, self.runtime
        patience_s = self.config.limits.startup_timeout_s
        fault = asyncio.ensure_future(runtime.run())
        settled = asyncio.ensure_future(
            runtime.until(lambda: connector.ready or bool(connector.halted_because), patience_s)
        )
        await asyncio.wait((fault, settled), return_when=asyncio.FIRST_COMPLETED)
        if fault.done():
            settled.cancel()
            fault.result()
        fault.cancel()
        if connector.halted_because:
            raise CommandError(f"Trading cannot begin: {connector.halted_because}.", ExitCode.CONFIG)
        if not connector.ready:
            raise CommandError(
                f"The venue at {self._network.http_url} was not ready within {patience_s:.0f} s; "
                f"still waiting for: {', '.join(connector.readiness)}.",
                ExitCode.UNREACHABLE,
            )

    # -- strategy ------------------------------------------------------------------------------------------

    def _start_strategy(self, early_news: EarlyNews) -> None:
        """`on_start`, then what happened since the process began, then everything as it happens."""
        assert self.strategy is not None
        self._call_strategy(self.strategy.on_start, self.connector)
        self.connector.remove_listener(early_news)
        self.connector.add_listener(self.strategy)
        for call, arguments in early_news.calls:
            self._call_strategy(call, *arguments)
        self._strategy_started = True
        self._running.tasks.append(asyncio.create_task(self._tick()))

    def _call_strategy(self, call: Callable[..., Any], *arguments: object) -> None:
        """A strategy that raises is logged and counted; it cannot stop the ledger."""
        name = getattr(call, "__name__", call)
        began = time.monotonic()
        try:
            call(*arguments)
        except Exception:
            self.strategy_errors += 1
            log.exception("the strategy failed in %s", name)
        held_s = time.monotonic() - began
        if held_s > SLOW_CALL_S:
            log.warning("the strategy took %.1f s in %s; nothing else could happen meanwhile", held_s, name)

    def _on_books(self, pairs: tuple[str, ...]) -> None:
        if self._strategy_started and self.strategy is not None:
            for pair in pairs:
                self._call_strategy(self.strategy.on_book, pair, self.connector.order_book(pair))

    async def _tick(self) -> None:
        assert self.strategy is not None
        while True:
            await asyncio.sleep(TICK_S)
            if not self._strategy_started:
                return
            self._call_strategy(self.strategy.on_tick, time.time_ns())


def _auth(key: Secret | None, *, is_mainnet: bool) -> HyperliquidAuth | None:
    if key is None:
        return None
    try:
        return HyperliquidAuth(key.reveal(), is_mainnet=is_mainnet)
    except PrivateKeyError as error:
        raise CommandError(str(error), ExitCode.CONFIG) from None


async def _close_recorder(recorder: SessionRecorder) -> None:
    if not await asyncio.to_thread(recorder.close, CLOSE_S):
        log.error("the end of the recording %s could not be written", recorder.path)


def _log_committed(news: Sequence[Committed]) -> None:
    if not log.isEnabledFor(logging.INFO):
        return
    for committed in news:
        context: dict[str, Any] = {"position": committed.position}
        if committed.view is not None:
            context["client_order_id"] = committed.event.originator_id
            context["state"] = str(committed.view.state)
        log.info("%s", committed.event.topic, extra=context)
