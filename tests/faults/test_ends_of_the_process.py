"""How the live process ends when it cannot go on, or cannot end well: exit code, message and books."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from adapters.cli import bootstrap
from adapters.cli.bootstrap import LiveProcess
from adapters.cli.comparing import compare_with_venue
from adapters.cli.config import (
    Config,
    LedgerSettings,
    PublisherSettings,
    ShutdownSettings,
    VenueSettings,
)
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.run import live, network_of
from adapters.cli.secrets import Secret
from adapters.storage.sqlite import SQLiteLedgerRecorder
from adapters.strategies.strategy import Strategy
from domain.errors import LedgerError
from domain.events import AccountMessageKept
from tests.support.process import PATIENCE_S, Venue, running_venue

PAIR = "BTC-USD"


def config_for(venue: Venue, folder: Path, *, patience_s: float = 25.0) -> Config:
    return Config(
        venue=VenueSettings(network="simulator", account_address=venue.account, simulator_url=venue.http),
        ledger=LedgerSettings(path=str(folder / "ledger.db")),
        publisher=PublisherSettings(enabled=False),
        shutdown=ShutdownSettings(timeout_s=patience_s),
    )


def process_for(
    venue: Venue, folder: Path, strategy: Strategy | None = None, **settings: float
) -> LiveProcess:
    config = config_for(venue, folder, **settings)
    return LiveProcess(config, Secret(venue.key.removeprefix("0x")), strategy, network=network_of(config))


def run(process: LiveProcess, scenario: Callable[[LiveProcess], Awaitable[None]]) -> int:
    """The process as the command runs it, with a scenario beside it once it trades."""

    async def main() -> int:
        living = asyncio.ensure_future(live(process))
        async with asyncio.timeout(PATIENCE_S):
            while not is_ready(process) and not living.done():  # noqa: ASYNC110 - it has no such event
                await asyncio.sleep(0.01)
            if not living.done():
                await scenario(process)
            return await living

    return asyncio.run(main())


def is_ready(process: LiveProcess) -> bool:
    try:
        return process.connector.ready
    except AssertionError:
        return False  # it has not come that far


def fill_the_disk(process: LiveProcess) -> None:
    recorder = cast(SQLiteLedgerRecorder, process.ledger.recorder)
    with recorder.maintaining() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def until_open(process: LiveProcess, order: str, *, or_halted: bool = False) -> None:
    def is_open() -> bool:
        view = process.connector.order(order)
        return view is not None and view.state == "open"

    assert await process.runtime.until(
        lambda: is_open() or (or_halted and bool(process.connector.halted_because)), PATIENCE_S
    )


def test_a_process_that_is_stopped_while_the_disk_is_full_says_what_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(process: LiveProcess) -> None:
        connector, close = process.connector, process.ledger.close
        # A short patience with the disk alone: the views are let go of in their own time.
        monkeypatch.setattr(process.ledger, "close", lambda _: close(0.3))
        await until_open(process, connector.buy(PAIR, Decimal("0.01"), Decimal(20_000)))
        fill_the_disk(process)
        # The pages there are still have room for a few events: place until it does not fit.
        while not connector.halted_because:
            order = connector.buy(PAIR, Decimal("0.01"), Decimal(20_000))
            await until_open(process, order, or_halted=True)
        terminate()

    with running_venue(seed=31) as venue:
        with pytest.raises(CommandError, match=r"not recorded.*next start asks the venue") as error:
            run(process_for(venue, tmp_path, patience_s=1.0), scenario)
        assert error.value.exit_code is ExitCode.OUTCOME_UNKNOWN
        again = process_for(venue, tmp_path)

        async def settle(process: LiveProcess) -> None:
            connector = process.connector
            connector.cancel_all()
            assert await process.runtime.until(lambda: not connector.tracker.live_count, PATIENCE_S)
            terminate()

        assert run(again, settle) == ExitCode.OK
        views = Path(again.config.ledger.effective_views_path)
        instruments = {PAIR: "BTC"}
        assert (
            asyncio.run(compare_with_venue(venue.http, venue.account, views, instruments=instruments)) == []
        )


def test_a_core_that_fails_ends_the_process_with_a_message_and_not_as_a_damaged_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(process: LiveProcess) -> None:
        def fail(item: object) -> Any:
            raise ValueError("a case nobody thought of")

        monkeypatch.setattr(process.connector, "step", fail)

    said = r"had to stop.*a case nobody thought of"
    with running_venue(seed=32) as venue, pytest.raises(CommandError, match=said) as error:
        run(process_for(venue, tmp_path), scenario)
    assert error.value.exit_code is ExitCode.CHECK_FAILED


def test_a_core_that_fails_during_the_start_ends_the_process_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Any:
        raise ValueError("a case nobody thought of")

    monkeypatch.setattr("adapters.hyperliquid.connector.HyperliquidPerpetualConnector._on_recovered", fail)
    with running_venue(seed=33) as venue:
        process = process_for(venue, tmp_path)
        with pytest.raises(CommandError, match=r"had to stop.*a case nobody thought of") as error:
            asyncio.run(live(process))
    assert error.value.exit_code is ExitCode.CHECK_FAILED


def test_a_ledger_that_somebody_else_wrote_to_ends_the_process_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    placed: list[str] = []

    async def scenario(process: LiveProcess) -> None:
        connector = process.connector
        foreign = AccountMessageKept(
            originator_id=connector.account.id,
            originator_version=connector.account.version + 1,
            recorded_at_ns=1,
            venue=connector.venue,
            account=connector.account_address,
            source="command",  # type: ignore[arg-type]
            why="not ours",
            message="",
        )
        # Submitted before the core takes another step: the version is the next one.
        await asyncio.wrap_future(process.ledger.submit([foreign]))
        connector.set_leverage(PAIR, 3)
        try:
            placed.append(connector.buy(PAIR, Decimal("0.01"), Decimal(20_000)))
        except LedgerError:
            placed.append("")

    with running_venue(seed=34) as venue:
        with pytest.raises(CommandError, match="the ledger refuses events") as error:
            run(process_for(venue, tmp_path), scenario)
        assert error.value.exit_code is ExitCode.LEDGER_DAMAGED
        data = venue.info(type="activeAssetData", user=venue.account, coin="BTC")
        assert data["leverage"]["value"] != 3, "what could not be recorded was not sent"
        assert placed != []


def test_the_ledger_of_another_network_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with running_venue(seed=35) as venue:
        process = process_for(venue, tmp_path)

        async def at_once(_: LiveProcess) -> None:
            terminate()

        assert run(process, at_once) == ExitCode.OK
        config = config_for(venue, tmp_path)
        config = replace(config, venue=replace(config.venue, network="testnet"))
        other = LiveProcess(config, None, None, network=network_of(config))
        with pytest.raises(CommandError, match=r"on simulator, and venue\.network is testnet") as error:
            asyncio.run(live(other))
    assert error.value.exit_code is ExitCode.CONFIG


def test_a_strategy_that_raises_everywhere_and_blocks_is_told_of_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "SLOW_CALL_S", 0.0)

    class Broken(Strategy):
        def on_tick(self, now_ns: int) -> None:
            raise RuntimeError("on_tick")

        def on_book(self, trading_pair: str, book: object) -> None:
            raise RuntimeError("on_book")

        def on_order_update(self, committed: object) -> None:
            raise RuntimeError("on_order_update")

        def on_stop(self) -> None:
            raise RuntimeError("on_stop")

    async def scenario(process: LiveProcess) -> None:
        await until_open(process, process.connector.buy(PAIR, Decimal("0.01"), Decimal(20_000)))
        assert await process.runtime.until(lambda: process.strategy_errors > 2, PATIENCE_S)
        assert process.connector.listener_errors
        terminate()

    with running_venue(seed=36) as venue:
        assert run(process_for(venue, tmp_path, Broken()), scenario) == ExitCode.OK
    assert "the strategy took" in caplog.text
