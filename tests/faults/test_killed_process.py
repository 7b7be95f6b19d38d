"""Killed at the worst moment: whatever was recorded is true, whatever was sent is found again."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from adapters.cli.comparing import compare_with_venue
from adapters.storage.chain import verify_chain
from projections import Views
from tests.support.process import LiveRun, running_venue, wait_for

SEEDS = (1, 2, 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_process_killed_again_and_again_ends_with_books_that_match_the_venue(
    seed: int, tmp_path: Path
) -> None:
    # Again with one command: pytest "tests/faults/test_killed_process.py" -k "[<seed>]"
    rng = random.Random(seed)
    with running_venue(seed=seed) as venue:
        run = LiveRun(tmp_path, venue)
        for _ in range(3):
            with run:
                began = time.monotonic()
                life = rng.uniform(0.5, 2.5)
                # However slow the machine is, there is something to lose.
                wait_for("an order of this life", lambda: run.has_logged("order.submitted"))
                wait_for("its time to be killed", lambda: time.monotonic() - began > life)  # noqa: B023
                if rng.random() < 0.5:
                    venue.fault(kind="answer_lost", action="order", user=venue.account)
                run.kill()
        with run:
            assert run.stop() == 0, run.output()
        differences = asyncio.run(
            compare_with_venue(
                venue.http, venue.account, run.views, instruments={"BTC-USD": "BTC"}, since_ms=0
            )
        )
    assert differences == []
    assert verify_chain(run.ledger).ok
    with Views(run.views) as views:
        assert views.open_orders() == []
        assert views.parked() == []
        assert len(views.orders()) >= 3
