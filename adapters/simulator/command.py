"""``orderledger sim``: the simulator as a process. One JSON line on stdout when ready, logs on stderr."""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import sys
import threading
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from eth_keys import keys
from eth_utils import keccak

from adapters.simulator.app import Simulator, SimulatorOptions
from adapters.simulator.engine import ActionError
from adapters.simulator.inputs import BadInput, positive
from adapters.simulator.limits import IpLimits
from adapters.simulator.market import MarketOptions
from adapters.simulator.network import Network

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_CANNOT_LISTEN = 5

DEVELOPMENT_USDC = Decimal(100_000)
"""What the development account starts with."""

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


@dataclass(frozen=True, slots=True)
class DevelopmentAccount:
    """A key pair that everybody can derive from the seed: for simulators only, never for money."""

    private_key: str
    address: str


def development_account(seed: int) -> DevelopmentAccount:
    """Return the account that ``orderledger sim --seed SEED`` funds and prints."""
    secret = keys.PrivateKey(keccak(f"orderledger simulator account {seed}".encode()))
    return DevelopmentAccount(secret.to_hex(), secret.public_key.to_address())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``orderledger sim``."""
    parser.add_argument(
        "--port", type=_port, default=0, metavar="N", help="port on 127.0.0.1 (default: any free one)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of ids, prices and faults")
    parser.add_argument(
        "--network",
        choices=[network.value for network in Network],
        default=Network.TESTNET.value,
        help="whose signatures are good and whose asset ids are used (default: testnet)",
    )
    parser.add_argument(
        "--fund",
        type=_funding,
        action="append",
        default=[],
        metavar="ADDRESS=USDC",
        help="create an account with so much USDC; may be repeated",
    )
    parser.add_argument(
        "--agent",
        type=_agent,
        action="append",
        default=[],
        metavar="AGENT=MASTER",
        help="let the key of AGENT sign for MASTER; may be repeated",
    )
    parser.add_argument(
        "--auto-fund",
        type=_usdc,
        metavar="USDC",
        help="give every signer never seen before an account with so much USDC (hides wrong signatures)",
    )
    parser.add_argument(
        "--market",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run the seeded background market (default: yes)",
    )
    parser.add_argument(
        "--tick-ms", type=_positive, default=250, metavar="MS", help="time between market ticks"
    )
    parser.add_argument(
        "--venue-limits",
        action="store_true",
        help="enforce the venue's limits per IP address: request weights, connections, messages",
    )
    parser.add_argument(
        "--batched",
        action="store_true",
        help="execute the actions of one block together, in the venue's order of priority",
    )
    parser.add_argument(
        "--while-stdin-open",
        action="store_true",
        help="end with standard input, as a pipe does when the program that started this one is gone",
    )


def run(args: argparse.Namespace) -> int:
    """Run until SIGINT, SIGTERM or the end that the options ask for.

    Returns 0, 2 for accounts that cannot be, 5 for a port in use.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    return asyncio.run(run_simulator(_options(args), while_stdin_open=args.while_stdin_open))


async def run_simulator(options: SimulatorOptions, *, while_stdin_open: bool = False) -> int:
    """Run a simulator with a funded development account until SIGINT or SIGTERM; return an exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if while_stdin_open:
        threading.Thread(target=_await_end_of_stdin, args=(loop, stop), daemon=True).start()
    try:
        simulator = Simulator(options)
    except ActionError as refused:
        print(f"orderledger sim: --fund or --agent: {refused.text}", file=sys.stderr)
        return EXIT_USAGE
    try:
        await simulator.start()
    except OSError as taken:
        print(
            f"orderledger sim: cannot listen on {options.host}:{options.port}: {taken.strerror}; "
            "choose another --port, or 0 for any free one",
            file=sys.stderr,
        )
        return EXIT_CANNOT_LISTEN
    try:
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(ready_line(simulator)), flush=True)
        await stop.wait()
    finally:
        await simulator.stop()
    return EXIT_OK


def _await_end_of_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    # os.read: a thread that holds the lock of sys.stdin would be in the way when the interpreter ends.
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    with contextlib.suppress(RuntimeError):  # the loop has ended for another reason
        loop.call_soon_threadsafe(stop.set)


def ready_line(simulator: Simulator) -> dict[str, Any]:
    """What the ready line says: where to connect, and which accounts there are."""
    options = simulator.options
    development = development_account(options.seed)
    accounts: list[dict[str, str]] = []
    for address, usdc in options.accounts.items():
        account = {"address": address, "usdc": str(usdc)}
        if address == development.address:
            account["private_key"] = development.private_key
        accounts.append(account)
    return {
        "http": simulator.url,
        "ws": simulator.ws_url,
        "faults": f"{simulator.url}/simulator/faults",
        "control": f"{simulator.url}/simulator/control",
        "network": options.network.value,
        "seed": options.seed,
        "market": simulator.market is not None,
        "accounts": accounts,
        "agents": [{"address": agent, "master": master} for agent, master in options.agents.items()],
    }


def _options(args: argparse.Namespace) -> SimulatorOptions:
    accounts = {development_account(args.seed).address: DEVELOPMENT_USDC}
    accounts.update(args.fund)
    return SimulatorOptions(
        port=args.port,
        seed=args.seed,
        network=Network(args.network),
        accounts=accounts,
        agents=dict(args.agent),
        auto_fund_usdc=args.auto_fund,
        market=MarketOptions(tick_ms=args.tick_ms) if args.market else None,
        limits=IpLimits.venue() if args.venue_limits else IpLimits.relaxed(),
        batched=args.batched,
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r}: a port is a number from 0 to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number, 1 or more")
    return int(text)


def _usdc(text: str) -> Decimal:
    try:
        return positive(text)
    except BadInput as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of USDC: {error}") from None


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an address (0x and 40 hex digits)")
    return text.lower()


def _funding(text: str) -> tuple[str, Decimal]:
    address, equals, usdc = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: write ADDRESS=USDC")
    return _address(address), _usdc(usdc)


def _agent(text: str) -> tuple[str, str]:
    agent, equals, master = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: write AGENT=MASTER")
    return _address(agent), _address(master)
