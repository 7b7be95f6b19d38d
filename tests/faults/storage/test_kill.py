"""`kill -9` of a writing process at any moment: what it called durable is there, and nothing else is torn."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.storage.chain import verify_chain
from adapters.storage.ledger import OrderLedger
from domain.events import LedgerEvent
from tests.contract.storage.samples import created, life
from tests.faults.storage.writer_process import orders

_ROOT = Path(__file__).parents[3]


def _run_and_kill(path: Path, first_order: int, seed: int) -> list[tuple[int, str, int]]:
    """Let a process write, kill it after a drawn amount of its output, and give what it had said by then."""
    draw = random.Random(seed)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.faults.storage.writer_process",
            str(path),
            str(first_order),
            str(seed),
        ],
        stdout=subprocess.PIPE,
        cwd=_ROOT,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        # Counted in what it says, not in time, so that a slow machine kills at the same kinds of moments.
        said = process.stdout.read(draw.randint(1, 400_000))
    finally:
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
        process.wait()
    whole_lines = (said + rest).decode().split("\n")[:-1]
    return [
        (int(position), originator, int(version))
        for position, originator, version in (line.split(" ") for line in whole_lines)
    ]


@pytest.mark.parametrize("seed", [int(os.environ["KILL_SEED"])] if "KILL_SEED" in os.environ else range(4))
def test_what_was_called_durable_survives_a_kill_at_any_moment(tmp_path: Path, seed: int) -> None:
    print(f"reproduce: KILL_SEED={seed} {sys.executable} -m pytest {Path(__file__).relative_to(_ROOT)}")
    path = tmp_path / "ledger.db"
    recorded: list[LedgerEvent] = []
    orders_so_far = 0
    for generation in range(2):
        generation_seed = 1000 * seed + generation
        said = _run_and_kill(path, orders_so_far, generation_seed)
        with OrderLedger.open(path, writer=False) as reader:
            after_the_kill = [event for _, event in reader.read()]
            assert after_the_kill[: len(recorded)] == recorded
            for position, originator, version in said:
                event = after_the_kill[position - 1]
                assert (event.originator_id, event.originator_version) == (originator, version)
            # Nothing is torn: what is there is a number of whole submissions, in their order.
            written = after_the_kill[len(recorded) :]
            for events in orders(orders_so_far, generation_seed):
                if not written:
                    break
                assert written[: len(events)] == events
                del written[: len(events)]
                orders_so_far += 1
                if len(events) > 2:
                    # The index of keys is written in the same transaction.
                    assert reader.resolve(f"oid:{10_000_000 + orders_so_far - 1}") == events[0].originator_id
        report = verify_chain(path)
        assert report.ok, report.reason
        assert report.last_position == len(after_the_kill)
        # The lock died with its holder, and the ledger goes on from where it ended.
        with OrderLedger.open(path) as writer:
            assert writer.append(life(orders_so_far)).positions[0] == len(after_the_kill) + 1
        recorded = after_the_kill + life(orders_so_far)
        orders_so_far += 1


def test_a_kill_while_the_ledger_is_created_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    for attempt in range(3):
        path = tmp_path / f"ledger-{attempt}.db"
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.storage.writer_process", str(path), "0", "0"],
            stdout=subprocess.DEVNULL,
            cwd=_ROOT,
        )
        # The lock file is the first thing a writer makes; the ledger follows within a few instructions.
        while not path.with_name(path.name + ".lock").exists():
            assert process.poll() is None
        process.kill()
        process.wait()
        with OrderLedger.open(path) as ledger:
            ledger.append([created(99_999_999)])
        assert verify_chain(path).ok


def _interrupted(path: Path) -> None:
    """Make what a crash in a file's first transaction leaves: some pages, and the journal to undo them."""
    begun = path.with_name("begun.db")
    connection = sqlite3.connect(begun, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE filling (content BLOB)")
    connection.executemany("INSERT INTO filling VALUES (?)", [(bytes(3000),)] * 50)
    for suffix in ("", "-journal"):
        shutil.copy(f"{begun}{suffix}", f"{path}{suffix}")
    connection.close()


def test_a_half_made_file_with_its_journal_becomes_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    _interrupted(path)
    assert path.stat().st_size > 0
    with OrderLedger.open(path) as ledger:
        ledger.append(life(1))
    assert verify_chain(path).events == 3
