"""Live runs against the simulator, with faults and restarts drawn from a seed, each session recorded."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import AsyncIterator
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapters.hyperliquid.replaying import core_options
from adapters.simulator.app import Simulator, SimulatorOptions
from adapters.simulator.command import development_account
from adapters.simulator.counterparty import CannotTrade
from adapters.simulator.market import MarketOptions
from domain.enums import OrderState, OrderType, PositionAction
from domain.errors import OrderRefusedError
from domain.in_flight_order import OrderView
from domain.position import Position
from replays.recorder import SessionRecorder
from replays.recording import SessionHeader
from tests.support.live import FUNDS, PAIR, Live
from tests.support.simulator import a_venue

__all__ = ["RecordedLive", "recorded_live", "seeded_run"]

_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "answer_lost", "action": "order"},
    {"kind": "answer_lost", "action": "cancelByCloid"},
    {"kind": "answer_delay", "action": "order", "params": {"ms": 100}},
    {"kind": "request_lost", "action": "order"},
    {"kind": "http_status", "action": "order", "params": {"status": 429}},
    {"kind": "http_status", "action": "order", "params": {"status": 502, "when": "after"}},
    {"kind": "fill_before_cancel"},
    {"kind": "stream_lost", "channel": "orderUpdates", "count": 3},
    {"kind": "stream_delay", "count": 4, "params": {"ms": 100}},
    {"kind": "stream_duplicate", "count": 10},
    {"kind": "stream_reorder", "count": 6, "params": {"first": "fills"}},
    {"kind": "unknown_status", "channel": "orderUpdates", "count": 1},
    {"kind": "garbage_element", "count": 2},
    {"kind": "non_json_frame", "count": 2},
    {"kind": "disconnect_mid_sequence"},
    {"kind": "extra_fields", "count": None},
)
_AMOUNT = Decimal("0.01")
_WAITING = (OrderState.PENDING_CREATE, OrderState.PENDING_SUBMIT)


class RecordedLive(Live):
    """A `Live` that records its sessions as the live process does.

    `recordings` are the files of each session, in their order; `ends` the open orders and positions that the
    core held when each of them was over.
    """

    def __init__(self, sim: Simulator, folder: Path, seed: int, *, file_bytes_max: int = 64_000_000) -> None:
        super().__init__(sim, folder, seed)
        self.recordings: list[list[Path]] = []
        self.ends: list[tuple[list[OrderView], dict[str, Position]]] = []
        self._file_bytes_max = file_bytes_max
        self._session_recorder: SessionRecorder | None = None

    def prepare(self) -> None:
        connector, runtime = self.connector, self.runtime
        header = SessionHeader(
            package_version=version("orderledger"),
            config_fingerprint="seeded run",
            venue=connector.venue,
            network=connector.network,
            account=connector.account_address,
            signer=connector.options.signer or "",
            session_id=connector.session_id,
            core_options=core_options(connector.options),
            started_at_ns=self.sim.clock.now_ms() * 1_000_000,
        )
        runtime.recorder = self._session_recorder = SessionRecorder(
            self.folder / "sessions",
            "ledger",
            header,
            file_bytes_max=self._file_bytes_max,
            total_bytes_max=1 << 40,
            on_failure=runtime.recorder_stalled,
            on_recovery=runtime.recorder_resumed,
        )
        self.recordings.append(self._session_recorder.paths)

    @contextlib.asynccontextmanager
    async def session(self, *, ready: bool = True, **options: Any) -> AsyncIterator[RecordedLive]:
        try:
            async with super().session(ready=ready, **options):
                yield self
        finally:
            recorder, self._session_recorder = self._session_recorder, None
            if recorder is not None:
                assert recorder.close(), "everything recorded is on the disk"
                self.ends.append((self.connector.open_orders(), dict(self.connector.positions)))


@contextlib.asynccontextmanager
async def recorded_live(*, seed: int, file_bytes_max: int = 64_000_000) -> AsyncIterator[RecordedLive]:
    """A simulator with a funded account and a background market; no session yet."""
    key = development_account(seed)
    options = SimulatorOptions(
        seed=seed, accounts={key.address: FUNDS}, market=MarketOptions(), venue=a_venue()
    )
    with tempfile.TemporaryDirectory() as folder:
        async with Simulator(options) as sim:
            yield RecordedLive(sim, Path(folder), seed, file_bytes_max=file_bytes_max)


async def seeded_run(world: RecordedLive, seed: int, *, parts: int = 1) -> None:
    """Two or three sessions of random trading, faults and dropped sockets.

    Each goes on trading until its recording has so many parts.
    """
    draw = random.Random(seed)
    for _ in range(draw.randint(2, 3)):
        # Short, so that orders that never arrived are proven absent within the run.
        async with world.session(order_ttl_ms=1_500):
            for fault in draw.sample(_FAULTS, 3):
                world.inject(user=world.account, **fault)
            for _ in range(draw.randint(4, 8)):
                with contextlib.suppress(OrderRefusedError, CannotTrade):
                    await _act(world, draw)
            if draw.random() < 0.4:
                await _drop_sockets(world)
            while len(world.recordings[-1]) < parts:
                with contextlib.suppress(OrderRefusedError):
                    await _back_and_forth(world)


async def _act(world: RecordedLive, draw: random.Random) -> None:
    """One thing that a strategy might do, until it is with the venue or its outcome is unknown."""
    connector = world.connector
    await _quoted(world)
    live = [order for order in connector.open_orders() if order.state == OrderState.OPEN]
    what = draw.random()
    if live and what < 0.2:
        connector.cancel(draw.choice(live).client_order_id)
    elif live and what < 0.35:
        order = draw.choice(live)
        connector.amend(order.client_order_id, world.price(f"0.9{draw.randint(0, 9)}"), _AMOUNT * 2)
    elif live and what < 0.45:
        world.sim.fill_order(world.account, int(draw.choice(live).exchange_order_id or 0))
    elif what < 0.5:
        connector.cancel_all()
    elif what < 0.65:
        await _placed(world, connector.buy(PAIR, _AMOUNT, order_type=OrderType.MARKET))
    elif what < 0.75:
        close = connector.sell(
            PAIR, _AMOUNT, world.price("0.95"), position_action=PositionAction.CLOSE, tag="close"
        )
        await _placed(world, close)
    else:
        price = world.price(f"0.{draw.randint(90, 99)}")
        await _placed(world, connector.buy(PAIR, _AMOUNT, price, client_order_id=f"mine {draw.random()}"))


async def _back_and_forth(world: RecordedLive) -> None:
    """Place an order off the market and take it back: something to record."""
    connector = world.connector
    await world.until("orders can be placed", lambda: connector.ready)
    await _quoted(world)
    order = connector.buy(PAIR, _AMOUNT, world.price("0.9"))
    await _placed(world, order)
    connector.cancel(order)


async def _quoted(world: RecordedLive) -> None:
    connector = world.connector
    await world.until("the market has two sides", lambda: connector.order_book(PAIR).mid_price is not None)


async def _placed(world: RecordedLive, client_order_id: str) -> None:
    def is_placed() -> bool:
        order = world.connector.order(client_order_id)
        return order is not None and (order.outcome_unknown or order.state not in _WAITING)

    await world.until(f"{client_order_id} is placed", is_placed)


async def _drop_sockets(world: RecordedLive) -> None:
    # A fault may have taken them already, and then there are none to drop.
    await world.until("the sockets are up", lambda: world.connector.ready)
    before = world.connector.reconnects
    world.sim.drop_sockets(world.account)
    await world.until("the loss is noticed", lambda: world.connector.reconnects > before)
    await world.until("the connector is ready again", lambda: world.connector.ready)
