"""`orderledger demo`: a live process against a simulated venue that misbehaves, and whether the books match.

The simulator is a process of its own; the live process is the one of `orderledger run`. While the sample
strategy trades, an answer is lost after the venue has accepted the order, the sockets are dropped while an
order fills, and a fill is delivered twice.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from adapters.cli.bootstrap import LiveProcess
from adapters.cli.comparing import Difference, compare_with_venue
from adapters.cli.config import (
    Config,
    LedgerSettings,
    LimitSettings,
    LogSettings,
    PublisherSettings,
    SecretSettings,
    ShutdownSettings,
    StrategySettings,
    VenueSettings,
)
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.logs import set_up_logs
from adapters.cli.run import network_of, run_loop
from adapters.cli.secrets import Secret
from adapters.hyperliquid.client_ids import cloid_for
from adapters.runtime.runtime import RuntimeFault
from adapters.strategies.market_making import MarketMakingSample
from domain.enums import OrderState
from domain.errors import NotReadyError
from domain.events import OrderFilled, OrderSubmitUnknown
from domain.in_flight_order import OrderView
from domain.listeners import Committed, OrderEventListener
from domain.money import MONEY, ZERO, decimal_text
from projections import Views
from replays.replaying import Replay, ReplayReport
from replays.session_file import read_sessions

__all__ = ["register"]

log = logging.getLogger("orderledger.demo")

PAIR = "BTC-USD"
ORDER_AMOUNT = Decimal("0.01")
SIMULATOR_START_S = 60.0
INCIDENT_S = 30.0
SETTLE_S = 10.0
OUTAGE_MS = 60_000
"""How long the venue refuses connections at most: until the fill that is to happen meanwhile has happened."""
REST_OF_OUTAGE_MS = 1_000
ATTEMPTS = 8
GIVE_UP_S = 90.0
"""An incident that does not happen is tried again: at most so often, and not when so long has passed."""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "demo",
        help="watch a live process trade on a simulated venue, survive faults, and end with matching books",
        description="Start a simulated Hyperliquid and the live process with the sample strategy; lose an "
        "answer, drop the sockets during a fill, deliver a fill twice; then compare the ledger with the "
        "venue. Exit code 0 only if nothing differs.",
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=20, metavar="N", help="how long to trade (default: 20)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="seed of the market and the faults")
    parser.add_argument(
        "--dir", type=Path, metavar="DIR", help="where to leave the files (default: a new ./demo-... folder)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end, nothing else")
    parser.set_defaults(run=_run)


def _seconds(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 5 <= number <= 86_400:
        raise argparse.ArgumentTypeError("a whole number of seconds from 5 to 86400")
    return number


def _run(options: argparse.Namespace) -> int:
    directory: Path = options.dir or Path(f"demo-{options.seed}-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    if directory.is_dir() and any(directory.iterdir()):
        raise CommandError(
            f"{directory} is not empty: a demo begins with a new ledger. Give another --dir.", ExitCode.USAGE
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"Cannot make the folder {directory}: {error.strerror}.", ExitCode.USAGE) from None
    demo = _Demo(directory, options.seconds, options.seed, as_json=options.json)
    try:
        return run_loop(demo.run())
    except asyncio.CancelledError:
        if demo.ended:
            raise KeyboardInterrupt from None
        raise
    except RuntimeFault as fault:
        raise CommandError(
            f"The live process had to stop: {fault}; see {directory}/orderledger.log."
        ) from None


class _Incident(msgspec.Struct):
    """One thing that goes wrong on purpose, and what became of it."""

    name: str
    happened: bool = False
    survived: bool = False
    story: str = ""


_FillId = tuple[str, str]
"""A fill as the venue names it: the exchange id of its order, and its `tid`."""


class _Watch(OrderEventListener):
    """Remembers what the table and the incidents ask about."""

    def __init__(self) -> None:
        self.recent: list[Committed] = []
        self.unknown: list[str] = []
        self.booked: Counter[_FillId] = Counter()

    def on_order_update(self, committed: Committed) -> None:
        event = committed.event
        self.recent = [*self.recent[-7:], committed]
        if isinstance(event, OrderSubmitUnknown):
            self.unknown.append(event.originator_id)
        elif isinstance(event, OrderFilled):
            self.booked[event.fill.exchange_order_id, event.fill.trade_id] += 1

    def has_booked_once(self, fills: Collection[_FillId]) -> bool:
        """Whether each of these fills is booked, and none of them twice."""
        return all(self.booked[fill] == 1 for fill in fills)


class _Demo:
    def __init__(self, directory: Path, seconds: int, seed: int, *, as_json: bool) -> None:
        self.directory = directory
        self.seconds = seconds
        self.seed = seed
        self.as_json = as_json
        self.console = Console(stderr=as_json)
        self.ended = False
        self.watch = _Watch()
        self.incidents = [
            _Incident("answer lost after acceptance"),
            _Incident("sockets dropped while an order fills"),
            _Incident("fill delivered twice"),
        ]

    # -- the run -------------------------------------------------------------------------------------------

    async def run(self) -> int:
        began = time.monotonic()
        self._end_in_order()
        async with self._simulator() as venue, aiohttp.ClientSession() as session:
            self.venue = venue
            self.session = session
            account = venue["accounts"][0]
            self.account: str = account["address"]
            config = self._config(venue["http"])
            key = Secret(account["private_key"].removeprefix("0x"))
            set_up_logs(config.log, [key])
            strategy = MarketMakingSample(**_strategy_params())
            process = LiveProcess(config, key, strategy, network=network_of(config))
            self._say(f"simulated venue at {venue['http']}, seed {self.seed}; files in {self.directory}/")
            await process.start()
            process.connector.add_listener(self.watch)
            stopped = False
            try:
                await self._trade(process)
                await self._settle(process, strategy)
                clean = await process.stop()
                stopped = True
                # Once more with everything closed: what is on the disk is what counts.
                report = self._report(process, began)
                differences = await self._compare(process, report["books_begin_ms"])
                replayed = await asyncio.to_thread(_replayed, process.recordings)
            finally:
                if not stopped:
                    await process.stop()
        report["differences"] = msgspec.to_builtins(differences)
        report["stopped_cleanly"] = clean
        report["replay_identical"] = replayed.identical
        report["inputs_replayed"] = replayed.inputs
        self._finish(report, differences)
        survived = all(incident.survived for incident in self.incidents)
        good = not differences and survived and clean and replayed.identical
        return ExitCode.OK if good else ExitCode.CHECK_FAILED

    def _end_in_order(self) -> None:
        """Let a `kill` and a terminal that is closed end the demo as Ctrl-C does.

        Not by way of SIGINT: a shell has a script's background programs ignore that. What is ignored on
        purpose stays so (`nohup`).
        """
        running = asyncio.current_task()
        assert running is not None

        def end() -> None:
            if not self.ended:
                self.ended = True
                running.cancel()

        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, end)

    async def _trade(self, process: LiveProcess) -> None:
        """Trade for the given time, with one incident after another meanwhile."""
        ends = time.monotonic() + self.seconds
        incidents = asyncio.ensure_future(self._incidents(process))
        fault = asyncio.ensure_future(process.run())
        try:
            with self._table(process, ends) as refresh:
                while time.monotonic() < ends or not incidents.done():
                    done, _ = await asyncio.wait(
                        (fault, incidents) if not incidents.done() else (fault,), timeout=0.25
                    )
                    if fault in done:
                        fault.result()
                    refresh()
            incidents.result()
        finally:
            incidents.cancel()
            fault.cancel()
            await asyncio.gather(incidents, fault, return_exceptions=True)

    async def _settle(self, process: LiveProcess, strategy: MarketMakingSample) -> None:
        """Stop trading, let every answer arrive, and wait until nothing differs or patience ends."""
        process.pause_strategy()
        process.connector.cancel_all()
        tracker = process.connector.tracker
        await process.runtime.until(lambda: not tracker.live_count, SETTLE_S)
        patience = time.monotonic() + SETTLE_S
        while True:
            await asyncio.to_thread(process.views.wait_for, process.runtime.last_position, SETTLE_S)
            differences = await self._compare(process, process.connector.books_begin_ms)
            if not differences or time.monotonic() > patience:
                return
            await asyncio.sleep(0.25)

    async def _compare(self, process: LiveProcess, since_ms: int) -> list[Difference]:
        rules = process.connector.trading_rules
        return await compare_with_venue(
            self.venue["http"],
            self.account,
            Path(process.config.ledger.effective_views_path),
            instruments={pair: rule.instrument for pair, rule in rules.items()},
            since_ms=since_ms,
        )

    # -- incidents -----------------------------------------------------------------------------------------

    async def _incidents(self, process: LiveProcess) -> None:
        """One after the other, each tried until it happens: market and strategy may be faster than the demo,
        and take away the order that an incident needs."""
        pause = max(0.5, self.seconds / 8)
        tries = (self._lose_an_answer, self._drop_the_sockets, self._repeat_a_fill)
        for incident, try_once in zip(self.incidents, tries, strict=True):
            await asyncio.sleep(pause)
            gives_up_at = time.monotonic() + GIVE_UP_S
            for attempt in range(1, ATTEMPTS + 1):
                await try_once(process, incident, attempt)
                if incident.happened or time.monotonic() > gives_up_at:
                    break
            self._say(f"{incident.name}: {incident.story}")

    async def _lose_an_answer(self, process: LiveProcess, incident: _Incident, attempt: int) -> None:
        """Neither the answer nor the stream tells of the order: only asking does."""
        connector = process.connector
        order_id = f"answer-lost-{self.seed}" + (f"-{attempt}" if attempt > 1 else "")
        selected = {"user": self.account, "cloid": cloid_for(order_id)}
        faults = [
            await self._fault(kind="answer_lost", action="order", **selected),
            await self._fault(kind="stream_lost", channel="orderUpdates", **selected),
        ]
        if not await self._buy_below_the_market(process, order_id):
            incident.story = "no order could be placed"
        elif await self._until(process, lambda: order_id in self.watch.unknown):
            incident.happened = True
        else:
            incident.story = "the answer was not lost"
        if not incident.happened:
            for fault in faults:
                await self._clear(fault)
            return
        incident.survived = await self._until(process, lambda: not _outcome_open(process, order_id))
        order = connector.order(order_id)
        state = "finished since" if order is None else order.state
        incident.story = (
            f"order {order_id} was recorded with an unknown outcome, asked for at the venue, found: {state}"
            if incident.survived
            else f"the fate of order {order_id} is still unknown"
        )

    async def _buy_below_the_market(self, process: LiveProcess, order_id: str) -> bool:
        """Place an order that rests where nobody takes it; whether that was possible."""
        connector = process.connector
        await self._until(
            process, lambda: connector.ready and connector.order_book(PAIR).mid_price is not None
        )
        mid = connector.order_book(PAIR).mid_price
        if mid is None:
            return False
        price = MONEY.multiply(mid, Decimal("0.97"))
        try:
            connector.buy(PAIR, ORDER_AMOUNT, price, client_order_id=order_id, tag="demo")
        except NotReadyError:
            return False
        return True

    async def _drop_the_sockets(self, process: LiveProcess, incident: _Incident, _attempt: int) -> None:
        """An order fills while no socket is open. The venue refuses new ones until it has, however slow the
        machine is."""
        connector = process.connector
        orders = await self._resting_orders(process)
        if not orders:
            incident.story = "no order rested on the book"
            return
        reconnects = connector.reconnects
        await self._fault(kind="refuse_connections", params={"ms": OUTAGE_MS})
        try:
            dropped = await self._control(op="drop_sockets", user=self.account)
            order, filled = await self._fill_one_of(orders)
            fills = await self._fills_at_the_venue(order) if order is not None else set()
        finally:
            await self._fault(kind="refuse_connections", params={"ms": REST_OF_OUTAGE_MS})
        back = await self._until(process, lambda: connector.ready and connector.reconnects > reconnects)
        if order is None or not dropped.get("dropped"):
            incident.story = "no order was left to fill when the sockets had been dropped"
            return
        incident.happened = True
        incident.survived = back and await self._until(process, lambda: self.watch.has_booked_once(fills))
        incident.story = (
            f"order {order.client_order_id} filled {filled} at the venue while no socket was open; "
            + ("found and booked after the reconnect" if incident.survived else "the fill was not found")
        )

    async def _repeat_a_fill(self, process: LiveProcess, incident: _Incident, _attempt: int) -> None:
        connector = process.connector
        orders = await self._resting_orders(process)
        if not orders:
            incident.story = "no order rested on the book"
            return
        order = orders[0]
        duplicates = connector.tracker.duplicates_ignored
        fault = await self._fault(
            kind="stream_duplicate",
            channel="userFills",
            user=self.account,
            cloid=cloid_for(order.client_order_id),
            params={"times": 1},
        )
        await self._fill_one_of([order])
        # It has happened when it waits no longer: also where the market filled the order before we did.
        if await self._clear(fault):
            incident.story = "the order was gone before it could be filled"
            return
        incident.happened = True
        fills = await self._fills_at_the_venue(order)
        incident.survived = await self._until(
            process,
            lambda: self.watch.has_booked_once(fills) and connector.tracker.duplicates_ignored > duplicates,
        )
        incident.story = f"a fill of order {order.client_order_id} came more than once " + (
            "and was booked once" if incident.survived else "and was not booked once"
        )

    async def _resting_orders(self, process: LiveProcess) -> list[OrderView]:
        """The strategy's orders that rest on the book, once there are any."""
        connector = process.connector

        def resting() -> list[OrderView]:
            return [
                order
                for order in connector.open_orders(PAIR)
                if order.state is OrderState.OPEN and order.tag != "demo" and connector.ready
            ]

        await self._until(process, lambda: bool(resting()))
        return resting()

    async def _fill_one_of(self, orders: Sequence[OrderView]) -> tuple[OrderView | None, Decimal]:
        """Have the counterparty take half of the first of these orders that still rests at the venue.

        They are named by their cloids: an amend gives an order another exchange id.
        """
        for order in orders:
            answer = await self._control(
                op="fill_order", user=self.account, oid=cloid_for(order.client_order_id), fraction="0.5"
            )
            filled = Decimal(answer.get("filled", "0"))
            if filled > 0:
                return order, filled
        return None, ZERO

    async def _fills_at_the_venue(self, order: OrderView) -> set[_FillId]:
        """The venue's fills of an order, asked for beside the live process."""
        rows = await self._post(f"{self.venue['http']}/info", {"type": "userFills", "user": self.account})
        cloid = cloid_for(order.client_order_id)
        return {(str(row["oid"]), str(row["tid"])) for row in rows if row.get("cloid") == cloid}

    async def _until(self, process: LiveProcess, condition: Callable[[], bool]) -> bool:
        return await process.runtime.until(condition, INCIDENT_S)

    # -- the venue -----------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _simulator(self) -> AsyncIterator[dict[str, Any]]:
        """The simulator as a process of its own; yields what it printed when it was ready."""
        errors = (self.directory / "simulator.log").open("wb")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "adapters.cli.main",
            "sim",
            "--seed",
            str(self.seed),
            "--while-stdin-open",  # so that it does not outlive a demo that is killed
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            try:
                line = await asyncio.wait_for(process.stdout.readline(), SIMULATOR_START_S)
                ready: dict[str, Any] = json.loads(line)
            except (TimeoutError, ValueError):
                raise CommandError(
                    f"The simulator did not start; see {errors.name}.", ExitCode.UNREACHABLE
                ) from None
            yield ready
        finally:
            errors.close()
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), 5)
                except TimeoutError:
                    process.kill()
                    await process.wait()

    async def _fault(self, **fault: Any) -> int:
        """Let something go wrong; the number of that fault."""
        answer: dict[str, int] = await self._post(self.venue["faults"], {"op": "add", "fault": fault})
        return answer["id"]

    async def _clear(self, fault: int) -> bool:
        """Call a fault off; whether it was still to come."""
        answer: dict[str, int] = await self._post(self.venue["faults"], {"op": "clear", "id": fault})
        return bool(answer["cleared"])

    async def _control(self, **operation: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self._post(self.venue["control"], operation)
        return answer

    async def _post(self, url: str, body: dict[str, Any]) -> Any:
        async with self.session.post(url, json=body) as response:
            answer = await response.json()
            if response.status != 200:
                log.warning("the simulator refused %s: %s", body, answer)
            return answer

    def _config(self, http_url: str) -> Config:
        return Config(
            venue=VenueSettings(
                network="simulator",
                account_address=self.account,
                trading_pairs=(PAIR,),
                simulator_url=http_url,
            ),
            secrets=SecretSettings(key_env="ORDERLEDGER_DEMO_KEY"),
            ledger=LedgerSettings(path=str(self.directory / "ledger.db")),
            strategy=StrategySettings(
                class_path="adapters.strategies.market_making:MarketMakingSample", params=_strategy_params()
            ),
            publisher=PublisherSettings(bind="tcp://127.0.0.1:0"),
            log=LogSettings(file=str(self.directory / "orderledger.log")),
            limits=LimitSettings(order_expiry_s=5),
            shutdown=ShutdownSettings(cancel_open_orders=True),
        )

    # -- what is shown -------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        log.info("%s", text)
        if not self.as_json:
            stamp = f"[dim]{datetime.now(UTC):%H:%M:%S}[/dim]"
            self.console.print(f"  {stamp}  {text}", highlight=False, soft_wrap=True)
        elif sys.stderr.isatty():
            self.console.print(text, highlight=False)

    @contextlib.contextmanager
    def _table(self, process: LiveProcess, ends: float) -> Any:
        if self.as_json or not self.console.is_terminal:
            yield lambda: None
            return
        with Live(console=self.console, refresh_per_second=4, transient=True) as live:
            yield lambda: live.update(self._picture(process, ends))

    def _picture(self, process: LiveProcess, ends: float) -> Table:
        connector = process.connector
        status = connector.status()
        book = connector.order_book(PAIR)
        position = connector.position(PAIR)
        ready = "ready" if connector.ready else f"waiting for {', '.join(connector.readiness)}"
        picture = Table(
            title=f"Order Ledger demo · {max(0, ends - time.monotonic()):.0f} s left · {ready}", min_width=92
        )
        for column in ("position", "event", "order", "state", "filled", "price"):
            picture.add_column(
                column, justify="right" if column in ("position", "filled", "price") else "left"
            )
        for committed in self.watch.recent:
            view = committed.view
            assert view is not None
            picture.add_row(
                str(committed.position),
                committed.event.topic,
                view.client_order_id[-14:],
                view.state,
                f"{decimal_text(view.filled_amount)}/{decimal_text(view.amount)}",
                decimal_text(view.price),
            )
        picture.caption = (
            f"{PAIR} mid {book.mid_price}   held {decimal_text(position.amount)}   "
            f"open {status['live_orders']}   events {process.runtime.events_committed}   "
            f"unknown outcomes resolved {status['unknown_outcomes_resolved']}   "
            f"reconnects {connector.reconnects}   duplicates ignored {status['duplicates_ignored']}"
        )
        return picture

    def _report(self, process: LiveProcess, began: float) -> dict[str, Any]:
        connector = process.connector
        status = connector.status()
        with Views(Path(process.config.ledger.effective_views_path)) as views, views.frozen():
            orders, fills = views.orders(), views.fills()
        return {
            "orders": len(orders),
            "fills": len(fills),
            "events": process.runtime.last_position,
            "inputs": process.runtime.inputs_handled,
            "unknown_outcomes_resolved": status["unknown_outcomes_resolved"],
            "reconnects": connector.reconnects,
            "duplicates_ignored": status["duplicates_ignored"],
            "differences": [],
            "incidents": msgspec.to_builtins(self.incidents),
            "books_begin_ms": connector.books_begin_ms,
            "seed": self.seed,
            "seconds": round(time.monotonic() - began, 1),
            "ledger": process.config.ledger.path,
            "views": process.config.ledger.effective_views_path,
            "recordings": [str(path) for path in process.recordings],
            "log": process.config.log.file,
        }

    def _finish(self, report: dict[str, Any], differences: list[Difference]) -> None:
        if self.as_json:
            print(json.dumps(report))
            return
        say = self.console.print
        say()
        say(
            f"[bold]{report['orders']} orders, {report['fills']} fills, {report['events']} events[/bold] in "
            f"{report['seconds']} s; {report['unknown_outcomes_resolved']} unknown outcomes resolved, "
            f"{report['reconnects']} reconnects, {report['duplicates_ignored']} duplicates ignored.",
            highlight=False,
            soft_wrap=True,
        )
        for incident in self.incidents:
            if incident.survived:
                mark = "[green]survived[/green]"
            else:
                mark = f"[red]{'not survived' if incident.happened else 'did not happen'}[/red]"
            say(f"  {mark}  {incident.name}", highlight=False)
        if differences:
            say(f"[red]The ledger and the venue differ in {len(differences)} places:[/red]")
            for difference in differences[:20]:
                say(
                    f"  {difference.what} {difference.key}: ledger {difference.ledger}, "
                    f"venue {difference.venue}",
                    highlight=False,
                )
        else:
            say("[green]The books match the venue: open orders, every fill, fees and positions.[/green]")
        if report["replay_identical"]:
            inputs = report["inputs_replayed"]
            say(f"[green]The recording replays identically: {inputs} inputs.[/green]", highlight=False)
        else:
            say("[red]The recording does not replay identically; `orderledger replay` shows why.[/red]")
        ledger = report["ledger"]
        say("\nFiles", highlight=False)
        for path, what in (
            (ledger, "every event"),
            (report["views"], "tables for SQL"),
            *((path, "everything that came in, to be replayed") for path in report["recordings"]),
            (report["log"], "the process's log"),
        ):
            say(f"  {path}  ({what})", highlight=False, soft_wrap=True)
        say("\nNext", highlight=False)
        example = self.watch.unknown[0] if self.watch.unknown else "ORDER"
        for command in (
            f"orders --ledger {ledger}",
            f"positions --ledger {ledger}",
            f"why {example} --ledger {ledger}",
            f"history {example} --ledger {ledger}",
            f"verify --ledger {ledger}",
            *(f"replay {path} --against {ledger}" for path in report["recordings"][:1]),
        ):
            say(f"  {_command_name()} {command}", highlight=False, soft_wrap=True)


def _replayed(recordings: Sequence[Path]) -> ReplayReport:
    """Go through what was recorded once more, with a fresh core."""
    return Replay(read_sessions(recordings), files=recordings).run()


def _command_name() -> str:
    """What to type for this program: its name where the shell finds it, else where it is."""
    if shutil.which("orderledger") is not None:
        return "orderledger"
    command = Path(sys.executable).with_name("orderledger")
    with contextlib.suppress(ValueError):
        return str(command.relative_to(Path.cwd()))
    return str(command)


def _strategy_params() -> dict[str, Any]:
    return {
        "trading_pair": PAIR,
        "order_amount": ORDER_AMOUNT,
        "spread_bps": Decimal(4),
        "reprice_bps": Decimal(2),
        "max_position": Decimal("0.05"),
        "refresh_interval_s": Decimal("0.5"),
    }


def _outcome_open(process: LiveProcess, order_id: str) -> bool:
    order = process.connector.order(order_id)
    return order is not None and order.outcome_unknown
