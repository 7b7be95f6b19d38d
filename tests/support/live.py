"""The connector, its runtime and a ledger file against a simulator, all in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from adapters.cli.comparing import Difference, compare_with_venue
from adapters.cli.ledger_source import LedgerEventSource
from adapters.cli.restoring import read_started
from adapters.hyperliquid.auth import HyperliquidAuth
from adapters.hyperliquid.connector import VENUE, HyperliquidOptions, HyperliquidPerpetualConnector
from adapters.hyperliquid.gateway import GatewayOptions, HyperliquidGateway
from adapters.hyperliquid.streams import StreamOptions
from adapters.runtime.clock import SteadyClock
from adapters.runtime.runtime import LedgerRuntime
from adapters.simulator.app import Simulator, SimulatorOptions
from adapters.simulator.command import development_account
from adapters.simulator.faults import Fault
from adapters.simulator.market import MarketOptions
from adapters.storage.ledger import OrderLedger
from domain.event_codec import decode_event
from domain.in_flight_order import OrderView
from domain.listeners import Committed, OrderEventListener
from projections import catch_up
from tests.support.simulator import a_venue

__all__ = ["PAIR", "Live", "Recorder", "live"]

PAIR = "BTC-USD"
PATIENCE_S = 60.0
FUNDS = Decimal(100_000)


class Recorder(OrderEventListener):
    """Keeps every committed order event."""

    def __init__(self) -> None:
        self.committed: list[Committed] = []
        self.calls: list[tuple[str, str]] = []

    def on_order_update(self, committed: Committed) -> None:
        self.committed.append(committed)

    def on_order_created(self, order: OrderView) -> None:
        self.calls.append(("created", order.client_order_id))

    def on_order_completed(self, order: OrderView) -> None:
        self.calls.append(("completed", order.client_order_id))

    def on_order_cancelled(self, order: OrderView) -> None:
        self.calls.append(("cancelled", order.client_order_id))

    def on_order_failed(self, order: OrderView) -> None:
        self.calls.append(("failed", order.client_order_id))

    def on_order_expired(self, order: OrderView) -> None:
        self.calls.append(("expired", order.client_order_id))

    def topics(self, client_order_id: str) -> list[str]:
        return [c.event.topic for c in self.committed if c.event.originator_id == client_order_id]


class Live:
    """A running connector process in miniature. `session()` may be entered again: that is a restart."""

    order_ttl_ms = 30_000
    """How long the venue takes an order after it is announced: longer than any disk holds one up. Whoever
    waits for the proof that an order is absent makes it short."""

    order_wait_ms = 60_000
    """How long an order may wait here, for the same reason."""

    def __init__(self, sim: Simulator, folder: Path, seed: int) -> None:
        self.sim = sim
        self.folder = folder
        self.key = development_account(seed)
        self.account = self.key.address
        self.ledger_path = folder / "ledger.db"
        self.views_path = folder / "ledger.views.db"
        self.sessions = 0
        self.first_session_id = 1
        self.user_stream_options: StreamOptions | None = None

    def prepare(self) -> None:
        """Called when a session is put together and nothing of it has begun."""

    @contextlib.asynccontextmanager
    async def session(
        self, *, ready: bool = True, clock: SteadyClock | None = None, **options: Any
    ) -> AsyncIterator[Live]:
        """Start, wait until ready, and end without cancelling anything."""
        clock = clock or SteadyClock()
        session_id = self.first_session_id + self.sessions
        self.sessions += 1
        settings = {
            "trading_pairs": (PAIR,),
            "signer": self.account,
            "order_ttl_ms": self.order_ttl_ms,
            "order_wait_ms": self.order_wait_ms,
            **options,
        }
        self.connector = HyperliquidPerpetualConnector(
            HyperliquidOptions(**settings),
            network="simulator",
            account=self.account,
            session_id=session_id,
            decode_event=decode_event,
        )
        self.recorder = Recorder()
        self.connector.add_listener(self.recorder)
        self.gateway = HyperliquidGateway(
            http_url=self.sim.url,
            ws_url=self.sim.ws_url,
            auth=HyperliquidAuth(self.key.private_key, is_mainnet=False),
            options=GatewayOptions(action_timeout_seconds=2, query_timeout_seconds=2, stop_grace_seconds=0.5),
            user_stream_options=self.user_stream_options,
            clock_ns=clock.now_ns,
        )
        self.runtime = LedgerRuntime(self.connector, self.gateway, now_ns=clock.now_ns)
        self.ledger = OrderLedger.open(
            self.ledger_path,
            on_committed=self.runtime.committed,
            on_refused=self.runtime.refused,
            on_stall=self.runtime.stalled,
            on_resume=self.runtime.resumed,
        )
        try:
            catch_up(LedgerEventSource(self.ledger), self.views_path)
            started = read_started(
                self.ledger,
                self.views_path,
                venue=VENUE,
                account=self.account,
                session_id=self.connector.session_id,
            )
            ledger = self.ledger
            self.connector.reserve_ids(ledger.known_user_ids(), lambda text: ledger.resolve(text) is not None)
            self.prepare()
            await self.runtime.start(self.ledger, started)
            if ready:
                book = self.connector.order_book
                await self.until(
                    "the connector is ready and the market has two sides",
                    lambda: self.connector.ready and book(PAIR).mid_price is not None,
                )
            yield self
            await self.runtime.stop(cancel_open_orders=False, timeout_s=5)
        finally:
            await self.gateway.stop()
            self.ledger.close()

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait for a condition on the core; fails with what was waited for."""
        if not await self.runtime.until(condition, PATIENCE_S):
            raise AssertionError(f"waited {PATIENCE_S:.0f} s in vain until {what}: {self.connector.status()}")

    async def until_state(self, client_order_id: str, *states: str) -> OrderView:
        await self.until(
            f"{client_order_id} is {' or '.join(states)}",
            lambda: (order := self.connector.order(client_order_id)) is not None and order.state in states,
        )
        order = self.connector.order(client_order_id)
        assert order is not None
        return order

    async def until_recorded(self) -> None:
        """Wait until everything the core has done so far is in the ledger: it is ahead of the disk."""
        await self.until("everything is recorded", lambda: not self.ledger.backlog)

    def price(self, factor: str) -> Decimal:
        """A share of the mid price, off the market when the factor is far from 1."""
        mid = self.connector.order_book(PAIR).mid_price
        assert mid is not None
        return mid * Decimal(factor)

    def inject(self, kind: str, **members: Any) -> None:
        params = members.pop("params", {})
        self.sim.faults.inject(Fault(kind=kind, params=params, **members))

    async def differences(self) -> list[Difference]:
        """The books against the venue, as the views give them."""
        catch_up(LedgerEventSource(self.ledger), self.views_path)
        return await compare_with_venue(
            self.sim.url,
            self.account,
            self.views_path,
            instruments={pair: rule.instrument for pair, rule in self.connector.trading_rules.items()},
            since_ms=self.connector.books_begin_ms,
        )

    async def agree(self) -> None:
        """Wait until the books match the venue (news may still be on the way); fail with what differs."""
        deadline = time.monotonic() + PATIENCE_S
        while found := await self.differences():
            if time.monotonic() > deadline:
                raise AssertionError(f"the books differ from the venue: {found}")
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def live(*, seed: int = 1, market: bool = True) -> AsyncIterator[Live]:
    """A simulator with a funded account and, if wanted, a background market; no session yet."""
    key = development_account(seed)
    options = SimulatorOptions(
        seed=seed,
        accounts={key.address: FUNDS},
        market=MarketOptions() if market else None,
        venue=a_venue(),
    )
    with tempfile.TemporaryDirectory() as folder:
        async with Simulator(options) as sim:
            yield Live(sim, Path(folder), seed)
