"""A running simulator for tests of blocking clients: in a thread of its own, with a loop of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from adapters.simulator.app import Simulator, SimulatorOptions
from adapters.simulator.clock import BlockClock
from adapters.simulator.engine.options import TESTNET_PERPS, VenueOptions

T = TypeVar("T")

_PATIENCE_S = 60.0


class SimulatorThread:
    """A simulator whose loop runs in another thread. Touch `simulator` through `call` only."""

    def __init__(self, simulator: Simulator, loop: asyncio.AbstractEventLoop) -> None:
        self.simulator = simulator
        self.url = simulator.url
        self.ws_url = simulator.ws_url
        self.port = simulator.port
        self._loop = loop

    def call(self, do: Callable[[Simulator], T]) -> T:
        """Run `do(simulator)` in the simulator's loop and return its result, or raise its error."""
        done: Future[T] = Future()

        def perform() -> None:
            try:
                done.set_result(do(self.simulator))
            except BaseException as error:  # handed over to the caller's thread
                done.set_exception(error)

        self._loop.call_soon_threadsafe(perform)
        return done.result(_PATIENCE_S)

    def inject(self, **fault: Any) -> int:
        """Pin a fault; the members are those of `adapters.simulator.faults.Fault`."""
        from adapters.simulator.faults import Fault

        return self.call(lambda sim: sim.faults.inject(Fault(**fault)))


def a_venue(**options: Any) -> VenueOptions:
    """A testnet that pays funding only when it is told to, not to a test that happens to run at full hour."""
    return VenueOptions(**{"perps": TESTNET_PERPS, "automatic_funding": False, **options})


@contextlib.contextmanager
def running_simulator(
    options: SimulatorOptions | None = None, *, clock: BlockClock | None = None
) -> Iterator[SimulatorThread]:
    """Run a simulator in a background thread for the length of a `with` block."""
    ready: Future[tuple[Simulator, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        try:
            simulator = Simulator(options, clock=clock)
            await simulator.start()
        except BaseException as error:
            ready.set_exception(error)
            return
        ready.set_result((simulator, asyncio.get_running_loop(), stop))
        try:
            await stop.wait()
        finally:
            await simulator.stop()

    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="simulator", daemon=True)
    thread.start()
    simulator, loop, stop = ready.result(_PATIENCE_S)
    try:
        yield SimulatorThread(simulator, loop)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_PATIENCE_S)
    if failed:
        raise failed[0]
