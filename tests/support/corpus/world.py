"""A connector against a simulator on a quiet market, every input kept: corpus recordings are made from it."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from adapters.hyperliquid.replaying import core_options, make_core
from adapters.simulator.app import Simulator, SimulatorOptions
from adapters.simulator.command import development_account
from adapters.simulator.engine.options import TESTNET_PERPS, VenueOptions
from domain.event_codec import encode_events
from domain.in_flight_order import OrderView
from domain.inputs import Input, StreamFrame
from domain.outcome import Outcome
from replays.recording import AnyInput, RecordedInput, SessionHeader, effects_digest
from replays.replaying import MemoryRecording, Replay
from replays.requests import OpenRequests
from replays.session_file import write_session
from tests.support.live import FUNDS, PAIR, Live

T = TypeVar("T")

__all__ = [
    "AMOUNT",
    "ASK",
    "BELOW",
    "BID",
    "SMALL_VENUE",
    "Scenario",
    "World",
    "order_statuses",
    "record",
    "scenario",
]

AMOUNT = Decimal("0.01")
BID = Decimal(43_200)
ASK = Decimal(43_220)
"""The best prices of the quiet market: nothing moves unless a scenario moves it."""

BELOW = Decimal(43_000)
"""Where a buy order rests."""

SMALL_VENUE = VenueOptions(
    perps=tuple(perp for perp in TESTNET_PERPS if perp.name in ("SOL", "BTC", "ETH", "kPEPE")), dexes=()
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One recording of the corpus: what it is called, what it holds, and how it comes about.

    `play` runs one or more sessions; the last one is kept. `venue` is the simulated one.
    """

    name: str
    holds: str
    play: Callable[[World], Awaitable[None]]
    venue: VenueOptions = SMALL_VENUE


Play = Callable[["World"], Awaitable[None]]


def scenario(
    holds: str, *, into: dict[str, Scenario], venue: VenueOptions = SMALL_VENUE
) -> Callable[[Play], Play]:
    """Enter a coroutine function as a scenario: its name, with dashes, is that of the recording."""

    def enter(play: Play) -> Play:
        name = play.__name__.replace("_", "-")
        into[name] = Scenario(name, holds, play, venue)
        return play

    return enter


@dataclass
class _Session:
    """What one session of the connector was fed and led to."""

    header: SessionHeader
    inputs: list[RecordedInput] = field(default_factory=list)
    requests: OpenRequests = field(default_factory=OpenRequests)

    def record(self, item: Input, outcome: Outcome) -> None:
        answers = self.requests.take(item)
        self.requests.note(outcome.effects)
        events = encode_events(change.event for change in outcome.changes)
        digest = effects_digest(outcome.effects)
        self.inputs.append(RecordedInput(cast(AnyInput, item), events, digest, answers=answers))


class World(Live):
    """A `Live` whose sessions are kept as recordings, on a market with one bid and one ask."""

    order_ttl_ms = 1_500

    def __init__(self, sim: Simulator, folder: Path, seed: int, scenario: Scenario) -> None:
        super().__init__(sim, folder, seed)
        self._scenario = scenario
        self.first_session_id = int.from_bytes(blake2b(scenario.name.encode(), digest_size=6).digest(), "big")
        self.kept: list[_Session] = []
        self._disk: dict[str, bytes] = {}

    def prepare(self) -> None:
        connector = self.connector
        header = SessionHeader(
            package_version=version("orderledger"),
            config_fingerprint="",
            venue=connector.venue,
            network=connector.network,
            account=connector.account_address,
            signer=connector.options.signer or "",
            session_id=connector.session_id,
            core_options=core_options(connector.options),
            started_at_ns=self.sim.clock.now_ms() * 1_000_000,
            derived_from="a run against the simulator, without the market data that nothing depends on",
            note=self._scenario.holds,
        )
        self.kept.append(session := _Session(header))
        step = connector.step

        def recorded_step(item: Input) -> Outcome:
            outcome = step(item)
            session.record(item, outcome)
            return outcome

        connector.step = recorded_step  # type: ignore[method-assign]

    # -- what scenarios are told with ----------------------------------------------------------------------

    def quote(self) -> None:
        """Put a bid and an ask on the markets; again after a scenario has traded one of them away."""
        for coin, bid, ask, size in (("BTC", BID, ASK, 5), ("ETH", Decimal(2_298), Decimal(2_299), 50)):
            self.sim.trade(coin, is_buy=True, size=Decimal(size), price=bid)
            self.sim.trade(coin, is_buy=False, size=Decimal(size), price=ask)

    def topics(self, client_order_id: str) -> list[str]:
        return self.recorder.topics(client_order_id)

    async def until_topic(self, client_order_id: str, topic: str, times: int = 1) -> None:
        """Wait until so many events of a kind are committed for an order."""
        await self.until(
            f"{client_order_id} has {times} {topic}",
            lambda: self.topics(client_order_id).count(topic) >= times,
        )

    async def settled(self) -> None:
        """Wait until nothing is asked for any more and the books are the venue's."""
        await self.until("no case is open", lambda: self.connector.status()["open_cases"] == 0)
        await self.agree()

    async def rest(self, client_order_id: str, price: Decimal = BELOW, amount: Decimal = AMOUNT) -> OrderView:
        """Place a buy order that rests, and wait until it does."""
        self.connector.buy(PAIR, amount, price, client_order_id=client_order_id)
        return await self.until_state(client_order_id, "open")

    def view(self, client_order_id: str) -> OrderView:
        order = self.connector.order(client_order_id)
        assert order is not None, f"{client_order_id} is in memory"
        return order

    def oid(self, client_order_id: str) -> int:
        return int(self.view(client_order_id).exchange_order_id or 0)

    def fill(self, client_order_id: str, fraction: str = "1") -> None:
        """Have somebody trade with a resting order."""
        order = self.connector.tracker.get(client_order_id)
        assert order is not None
        self.sim.fill_order(self.account, order.venue_order_key, Decimal(fraction))

    def statuses(self) -> list[str]:
        """What the stream said of orders in this session, in the order it was handled."""
        return order_statuses(self.inputs(StreamFrame))

    def open_orders(self) -> list[dict[str, Any]]:
        """What rests at the venue, as the venue lists it."""
        rows = self.sim.exchange.info(
            {"type": "openOrders", "user": self.account}, now_ms=self.sim.clock.now_ms()
        )
        assert isinstance(rows, list)
        return rows

    def keep_disk(self) -> None:
        """Remember the files as they are: what a crash at this moment would leave."""
        self._disk = {path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}

    def restore_disk(self) -> None:
        """Put the files back that `keep_disk` remembered, and nothing else."""
        for path in self.folder.iterdir():
            if path.is_file():
                path.unlink()
        for name, data in self._disk.items():
            (self.folder / name).write_bytes(data)

    def inputs(self, kind: type[T]) -> list[T]:
        """The inputs of a kind that this session has handled."""
        return [item for recorded in self.kept[-1].inputs if isinstance(item := recorded.item, kind)]


def order_statuses(frames: Iterable[StreamFrame]) -> list[str]:
    """The statuses of orders in frames of `orderUpdates` (sheet 7.3), in their order."""
    found: list[str] = []
    for frame in frames:
        if frame.data.startswith(b'{"channel":"orderUpdates"'):
            found += [str(row.get("status")) for row in msgspec.json.decode(frame.data)["data"]]
    return found


@contextlib.asynccontextmanager
async def _world(scenario: Scenario, seed: int) -> AsyncIterator[World]:
    key = development_account(seed)
    options = SimulatorOptions(seed=seed, accounts={key.address: FUNDS}, venue=scenario.venue)
    with tempfile.TemporaryDirectory() as folder:
        async with Simulator(options) as sim:
            world = World(sim, Path(folder), seed, scenario)
            world.quote()
            yield world


def _without_idle_market_data(session: _Session) -> list[RecordedInput]:
    """Leave out every market frame but the first of each kind and coin that gave a market its prices."""

    def kept() -> Iterator[RecordedInput]:
        seen: set[bytes] = set()
        for recorded in session.inputs:
            item = recorded.item
            if isinstance(item, StreamFrame) and item.stream == "market":
                kind = item.data[:60].split(b'"levels"')[0].split(b'"time"')[0].split(b'"bbo":[')[0]
                if kind in seen:
                    continue
                seen.add(kind)
            yield recorded

    return list(kept())


def record(scenario: Scenario, folder: Path, *, seed: int = 1) -> Path:
    """Play a scenario and write its recording. Raises `AssertionError` when it does not come about, or when
    what is left out made a difference after all."""

    async def main() -> World:
        async with _world(scenario, seed) as world:
            await scenario.play(world)
        return world

    session = asyncio.run(main()).kept[-1]
    inputs = _without_idle_market_data(session)
    report = Replay(MemoryRecording(session.header, inputs), make_core).run()
    assert report.identical, f"{scenario.name} does not replay: {report.divergence}"
    path = folder / f"{scenario.name}.session"
    write_session(path, session.header, inputs)
    path.chmod(0o644)
    return path
