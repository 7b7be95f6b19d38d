"""A simulated Hyperliquid that runs: engine, servers, clock, background market and faults put together."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import TracebackType
from typing import Any

from aiohttp import web

from adapters.simulator.action_faults import ActionFaults
from adapters.simulator.assets import Assets
from adapters.simulator.chain import Chain
from adapters.simulator.clock import BlockClock, WallClock
from adapters.simulator.control import Control
from adapters.simulator.counterparty import Counterparty
from adapters.simulator.engine import Exchange, StreamMessage
from adapters.simulator.engine.options import TESTNET_PERPS, VenueOptions
from adapters.simulator.faults import Fault, FaultBoard
from adapters.simulator.gateway import Gateway, GatewayOptions
from adapters.simulator.hub import Hub
from adapters.simulator.limits import IpLimits, Meter
from adapters.simulator.market import BackgroundMarket, MarketOptions
from adapters.simulator.network import Network
from adapters.simulator.nonces import NonceBook
from adapters.simulator.read_faults import ReadFaults
from adapters.simulator.server import Server
from adapters.simulator.stream_faults import Delivery, StreamFaults
from adapters.simulator.websocket import WebSocketEndpoint, WebSocketOptions

_FAST_LEVELS = 5
"""Levels a side of a ``fast`` l2Book subscription (sheet 7.3)."""


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """What a simulator is like.

    `port` 0 takes any free port. `network` decides which signatures are good and, unless `venue` is given,
    how assets are numbered. `accounts` are created with so much USDC each; `agents` maps an agent's address
    to its master's. `auto_fund_usdc` lets any signer in (see `GatewayOptions` for what that hides).
    `market` None means no background market. `block_ms` is the time between blocks on a clock that moves by
    itself; `batched` executes the actions of one block together in priority order instead of each at once.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 0
    network: Network = Network.TESTNET
    accounts: Mapping[str, Decimal] = field(default_factory=dict)
    agents: Mapping[str, str] = field(default_factory=dict)
    auto_fund_usdc: Decimal | None = None
    venue: VenueOptions | None = None
    market: MarketOptions | None = None
    limits: IpLimits = field(default_factory=IpLimits.relaxed)
    websocket: WebSocketOptions = field(default_factory=WebSocketOptions)
    strict_nonce_floor: bool = False
    block_ms: int = 75
    batched: bool = False


class Simulator:
    """A running venue. `async with Simulator(options) as sim:` starts and stops it.

    On a `WallClock` (the default) blocks follow each other by themselves; on a `ManualClock` time stands
    still until `advance`, and the background market moves with `market.tick()` only.
    """

    def __init__(self, options: SimulatorOptions | None = None, *, clock: BlockClock | None = None) -> None:
        self.options = options = options or SimulatorOptions()
        self.clock = clock or WallClock()
        self._moves_by_itself = isinstance(self.clock, WallClock)
        start_ms = self.clock.now_ms()
        self.exchange = Exchange(
            options.venue or _venue_of(options.network), seed=options.seed, start_ms=start_ms
        )
        self.chain = Chain(self.exchange, self.clock, publish=self._publish, batched=options.batched)
        self.assets = Assets(self.exchange, now_ms=start_ms)
        self.counterparty = Counterparty(self.chain, self.assets)
        self.faults = FaultBoard(seed=options.seed, on_inject=self._injected)
        self._hub = Hub(variant=self._variant)
        self._stream_faults = StreamFaults(self.faults, self._hub.is_watched)
        self._read_faults = ReadFaults(self.chain.read, self._stream_faults)
        self._stopping = asyncio.Event()
        self.gateway = Gateway(
            self.chain,
            self.faults,
            NonceBook(strict_floor=options.strict_nonce_floor),
            ActionFaults(self.chain, self.assets, self.counterparty, self._stream_faults),
            self._read_faults,
            Meter(options.limits.weight_per_minute),
            GatewayOptions(options.network, options.auto_fund_usdc),
            self._stopping,
        )
        self._websocket = WebSocketEndpoint(
            self.gateway,
            self._hub,
            self._snapshot,
            options.limits,
            options.websocket,
            now_ms=self.clock.now_ms,
        )
        self._app = Server(self.gateway, self._websocket, self._stopping).application()
        Control(self, self.faults).add_routes(self._app)
        self.market: BackgroundMarket | None = None
        if options.market is not None:
            self.market = BackgroundMarket(self.chain, self.assets, options.market, seed=options.seed)
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._port: int | None = None
        self._open_accounts()

    # life -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, and let time pass. Raises OSError if the port is taken."""
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.options.host, self.options.port)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._port = self._runner.addresses[0][1]
        if self.market is not None:
            self.market.open()
        if self._moves_by_itself:
            self._tasks.append(asyncio.create_task(self._close_blocks()))
            if self.market is not None:
                self._tasks.append(asyncio.create_task(self._run_market(self.market)))

    async def stop(self) -> None:
        """Close every connection and stop listening. Raises what a background task died of, if one did."""
        self._stopping.set()
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._websocket.close()
        if self._runner is not None:
            await self._runner.cleanup()
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome

    async def __aenter__(self) -> "Simulator":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def is_healthy(self) -> bool:
        """Whether every background task still runs; `stop` raises what one died of."""
        return not any(task.done() for task in self._tasks)

    @property
    def port(self) -> int:
        """The port that is listened on; raises RuntimeError before `start`."""
        if self._port is None:
            raise RuntimeError("the simulator has no port before it is started")
        return self._port

    @property
    def url(self) -> str:
        """Base URL of the API, as a client's `base_url`."""
        return f"http://{self.options.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """URL of the WebSocket endpoint."""
        return f"ws://{self.options.host}:{self.port}/ws"

    # what an operator can do ------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Where the simulator stands, as a JSON-able object."""
        return {
            "url": self.url,
            "ws_url": self.ws_url,
            "network": self.options.network.value,
            "seed": self.options.seed,
            "time": self.chain.now_ms(),
            "connections": self._websocket.connection_count(),
            "subscriptions": self._websocket.subscription_counts(),
            "market": self.market is not None and self.market.is_running,
            "faults": len(self.faults.waiting()),
            "fills_withheld": self._stream_faults.withheld_count(),
        }

    def advance(self, ms: int) -> None:
        """Move block time forward and close a block there: timers, triggers and expiries up to it happen."""
        self.clock.shift(ms)
        self.chain.close_block()

    def settle_funding(self, rates: Mapping[str, Decimal] | None = None) -> None:
        """Pay funding now, at the given hourly rates by coin or at those the venue computed."""
        given = dict(rates) if rates is not None else None
        for coin in given or ():
            self.assets.by_coin(coin)
        self.chain.apply(lambda exchange, now: exchange.settle_funding(now_ms=now, rates=given))

    def set_mark_price(self, coin: str, price: Decimal) -> None:
        """Set a mark price: triggers fire, positions are revalued; raises UnknownCoin."""
        self.assets.by_coin(coin)
        self.chain.apply(lambda exchange, _: exchange.set_mark_price(coin, price))

    def set_oracle_price(self, coin: str, price: Decimal) -> None:
        """Set an oracle price: funding and price bands follow it; raises UnknownCoin."""
        self.assets.by_coin(coin)
        self.chain.apply(lambda exchange, _: exchange.set_oracle_price(coin, price))

    def trade(
        self, coin: str, *, is_buy: bool, size: Decimal, price: Decimal | None = None
    ) -> dict[str, Any]:
        """Place a limit order, or a market order without `price`; see `Counterparty.trade`."""
        return self.counterparty.trade(coin, is_buy=is_buy, size=size, price=price)

    def fill_order(self, user: str, oid: int | str, fraction: Decimal = Decimal(1)) -> Decimal:
        """Have the counterparty fill part of somebody's resting order; see `Counterparty.fill`."""
        return self.counterparty.fill(user.lower(), oid, fraction=fraction)

    def liquidate(self, user: str, coin: str) -> None:
        """Liquidate a position: foreign oid, open orders cancelled (sheet 10.5)."""
        self.assets.by_coin(coin)
        self.chain.apply(lambda exchange, _: exchange.liquidate(user.lower(), coin))

    def auto_deleverage(self, user: str, coin: str, size: Decimal, price: Decimal | None = None) -> None:
        """Auto-deleverage part of a position, by default at the mark price (sheet 10.5)."""
        self.assets.by_coin(coin)
        self.chain.apply(
            lambda exchange, _: exchange.auto_deleverage(
                user.lower(), coin, size, price or exchange.mark_price(coin)
            )
        )

    def create_account(self, user: str, usdc: Decimal) -> None:
        """Create an account with so much perp collateral, or add to the one there is."""
        self.chain.apply(lambda exchange, _: exchange.create_account(user.lower(), usdc=usdc))

    def approve_agent(
        self, master: str, agent: str, name: str | None = None, valid_until_ms: int | None = None
    ) -> None:
        """Let an agent key sign for a master, as if the master had approved it."""
        self.chain.apply(
            lambda exchange, _: exchange.approve_agent(master.lower(), agent.lower(), name, valid_until_ms)
        )

    def drop_sockets(self, user: str | None = None) -> int:
        """Reset all WebSocket connections, or those that watch `user`; return how many."""
        return self._websocket.drop(user.lower() if user is not None else None)

    def release_fills(self) -> int:
        """Send the fills held back by `fill_withheld`; return how many messages that were."""
        released = self._stream_faults.release()
        for message in released:
            self._hub.publish(message)
        return len(released)

    def run_market(self, running: bool) -> None:
        """Let the background market tick, or stand still with its quotes in the book.

        Raises ValueError if there is none.
        """
        if self.market is None:
            raise ValueError("this simulator has no background market: start it with one")
        self.market.is_running = running

    # inside -----------------------------------------------------------------------------------------------

    def _open_accounts(self) -> None:
        for user, usdc in self.options.accounts.items():
            self.create_account(user, usdc)
        for agent, master in self.options.agents.items():
            self.approve_agent(master, agent, f"agent{agent[-6:]}")

    def _publish(self, messages: Sequence[StreamMessage]) -> None:
        for delivery in self._stream_faults.shape(messages):
            if delivery.delay_ms:
                asyncio.get_running_loop().call_later(delivery.delay_ms / 1000, self._deliver, delivery)
            else:
                self._deliver(delivery)

    def _deliver(self, delivery: Delivery) -> None:
        if delivery.text_before is not None:
            self._hub.publish_text(delivery.message, delivery.text_before)
        self._hub.publish(delivery.message)
        if delivery.disconnect_after:
            for watcher in self._hub.watching(delivery.message.user):
                watcher.hang_up()

    def _injected(self, fault_id: int, fault: Fault) -> None:
        match fault.kind:
            case "stale_open_orders":
                self._read_faults.freeze(fault_id, fault)
            case "drop_sockets":
                self._websocket.drop(fault.user)
            case "silent_sockets":
                self._websocket.silence(fault.params["ms"], fault.user)
            case "refuse_connections":
                self._websocket.refuse(fault.params["ms"])
            case "snapshot_again":
                self._websocket.snapshot_again(fault.user)

    def _snapshot(self, subscription: dict[str, Any]) -> list[dict[str, Any]]:
        return self.exchange.snapshot(subscription, now_ms=self.chain.now_ms())

    def _variant(self, subscription: Mapping[str, Any], message: StreamMessage) -> Any:
        if message.kind == "candle":
            bar: Any = message.data
            return bar if bar is not None and bar["i"] == subscription["interval"] else None
        if message.kind == "l2Book":
            book = self.chain.read({**subscription, "type": "l2Book"})
            if subscription["fast"]:
                book["levels"] = [side[:_FAST_LEVELS] for side in book["levels"]]
            return book
        return self._aggregated(message)

    def _aggregated(self, message: StreamMessage) -> Any:
        data: Any = message.data
        if not data["fills"]:
            return data
        times = [fill["time"] for fill in data["fills"]]
        merged = self.chain.read(
            {
                "type": "userFillsByTime",
                "user": message.user,
                "startTime": min(times),
                "endTime": max(times),
                "aggregateByTime": True,
            }
        )
        concerned = {(fill["oid"], fill["time"]) for fill in data["fills"]}
        return {**data, "fills": [fill for fill in merged if (fill["oid"], fill["time"]) in concerned]}

    async def _close_blocks(self) -> None:
        while True:
            await asyncio.sleep(self.options.block_ms / 1000)
            self.chain.close_block()

    async def _run_market(self, market: BackgroundMarket) -> None:
        while True:
            await asyncio.sleep(market.options.tick_ms / 1000)
            market.tick()


def _venue_of(network: Network) -> VenueOptions:
    return VenueOptions(perps=TESTNET_PERPS) if network is Network.TESTNET else VenueOptions()
