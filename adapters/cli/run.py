"""`orderledger run`: the live connector process, from its config to a clean end."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from adapters.cli.bootstrap import LiveProcess
from adapters.cli.config import DEFAULT_CONFIG_FILE, Config
from adapters.cli.config_reading import load_config, require_live
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.logs import set_up_logs
from adapters.cli.secrets import load_signing_key
from adapters.cli.strategy import configured_strategy
from adapters.hyperliquid.networks import Network, NetworkError, network_named
from adapters.runtime.runtime import RuntimeFault
from adapters.storage.errors import LedgerError as StorageError

__all__ = ["live", "network_of", "register", "run_loop"]

log = logging.getLogger("orderledger.process")


def register(subparsers: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "run",
        help="run the live connector process",
        description="Place and follow orders, record every event, keep the views and publish. Ends cleanly "
        "on SIGTERM and Ctrl-C. A ledger has one live process; reading commands work beside it.",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=DEFAULT_CONFIG_FILE,
        help=f"the settings (default: ./{DEFAULT_CONFIG_FILE}; `orderledger init` writes one)",
    )
    parser.add_argument("--live", action="store_true", help="really trade on mainnet, with real money")
    parser.set_defaults(run=_run)


def network_of(config: Config) -> Network:
    """The network a config names. Raises `CommandError`."""
    name = config.venue.network
    try:
        return network_named(name, simulator_url=config.venue.simulator_url if name == "simulator" else None)
    except NetworkError as error:
        raise CommandError(f"venue: {error}", ExitCode.CONFIG) from None


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine on the fastest event loop there is."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def _run(options: argparse.Namespace) -> int:
    config = load_config(options.config, os.environ)
    require_live(config, live=options.live)
    set_up_logs(config.log)
    strategy = configured_strategy(config.strategy, options.config)
    secrets = config.secrets
    key = None
    # Following an account without placing anything needs no key.
    if strategy is not None or secrets.keystore or secrets.key_file or secrets.key_env:
        key = load_signing_key(secrets, os.environ)
        set_up_logs(config.log, [key])
    process = LiveProcess(config, key, strategy, network=network_of(config))
    return run_loop(live(process))


async def live(process: LiveProcess) -> int:
    """Start, go on until told to end (SIGTERM, SIGINT) or until it must, and end in order.

    Returns the exit code. Raises `CommandError` with the message and the exit code of any other ending.
    """
    try:
        return await _start_and_run(process)
    except RuntimeFault as fault:
        code = ExitCode.LEDGER_DAMAGED if fault.of_ledger else ExitCode.CHECK_FAILED
        raise CommandError(f"The process had to stop: {fault}", code) from None


async def _start_and_run(process: LiveProcess) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    asked = asyncio.ensure_future(stop.wait())
    starting = asyncio.ensure_future(process.start())
    await asyncio.wait((starting, asked), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return ExitCode.OK
    starting.result()
    log.info("ready to trade")
    running = asyncio.ensure_future(process.run())
    await asyncio.wait((running, asked), return_when=asyncio.FIRST_COMPLETED)
    fault = None
    if running.done():
        fault = running.exception()
    else:
        running.cancel()
    log.info("stopping")
    try:
        settled = await process.stop()
    except StorageError as error:
        if fault is None:
            message = f"{error}. The next start asks the venue for what is missing."
            raise CommandError(message, ExitCode.OUTCOME_UNKNOWN) from None
        log.error("%s", error)
    if fault is not None:
        raise fault
    unknown = [order for order in process.connector.tracker.live_orders() if order.outcome_unknown]
    if unknown:
        raise CommandError(
            f"{len(unknown)} order(s) ended the session with an unknown outcome: "
            f"{', '.join(order.id for order in unknown[:5])}. The next start asks the venue about them.",
            ExitCode.OUTCOME_UNKNOWN,
        )
    if not settled:
        log.warning("not everything was answered in time; the next start asks the venue")
    log.info("stopped; %d events recorded in this session", process.runtime.events_committed)
    return ExitCode.OK
