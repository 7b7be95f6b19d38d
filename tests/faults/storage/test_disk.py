"""A disk that is full or fails: nothing is called durable, nothing is lost, it goes on when there is room."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from threading import Event

import pytest

from adapters.storage.chain import verify_chain
from adapters.storage.errors import LedgerUnavailableError, UnflushedEventsError
from adapters.storage.group_commit import Committed
from adapters.storage.ledger import OrderLedger
from adapters.storage.sqlite import SQLiteLedgerRecorder
from tests.contract.storage.samples import created, filled, life, order_id

_ROOT = Path(__file__).parents[3]


def _set_room(ledger: OrderLedger, more_pages: int) -> None:
    """Let the ledger's file grow by so many pages and no more (SQLite then answers as on a full disk)."""
    recorder = ledger.recorder
    assert isinstance(recorder, SQLiteLedgerRecorder)
    with recorder.maintaining() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + more_pages}")


def test_a_full_disk_stalls_the_ledger_and_room_resumes_it(tmp_path: Path) -> None:
    stalled, resumed = Event(), Event()
    stalls: list[BaseException] = []
    told: list[Committed] = []

    def on_stall(error: BaseException) -> None:
        stalls.append(error)
        stalled.set()

    path = tmp_path / "ledger.db"
    with OrderLedger.open(
        path, on_stall=on_stall, on_resume=resumed.set, on_committed=told.extend, max_batch_events=50
    ) as ledger:
        ledger.append(life(0))
        _set_room(ledger, 20)
        futures = [ledger.submit(life(number)) for number in range(1, 2000)]
        assert stalled.wait(60)
        assert isinstance(stalls[0], LedgerUnavailableError)
        assert "full" in str(stalls[0])
        assert ledger.backlog > 0
        durable = sum(len(each.positions) for each in told)
        with OrderLedger.open(path, writer=False) as reader:
            assert reader.max_position == durable
        assert [future.done() for future in futures[:5]] == [True] * 5
        assert not futures[-1].done()
        _set_room(ledger, 100_000)
        assert resumed.wait(60)
        assert list(futures[-1].result(60).positions) == [5998, 5999, 6000]
        assert (ledger.stalled, ledger.backlog) == (None, 0)
    assert len(stalls) == 1
    with OrderLedger.open(path, writer=False) as reader:
        assert [event for _, event in reader.read()] == [
            event for number in range(2000) for event in life(number)
        ]
    assert verify_chain(path).ok


def test_closing_on_a_full_disk_says_what_is_not_recorded_and_keeps_what_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    stalled = Event()
    ledger = OrderLedger.open(path, max_batch_events=10, on_stall=lambda error: stalled.set())
    ledger.append(life(0))
    _set_room(ledger, 2)
    futures = [ledger.submit(life(number)) for number in range(1, 500)]
    assert stalled.wait(60)
    with pytest.raises(UnflushedEventsError, match="full") as caught:
        ledger.close(timeout=0.2)
    recorded = [number for number, future in enumerate(futures, start=1) if future.exception() is None]
    assert caught.value.count == 3 * (499 - len(recorded))
    with OrderLedger.open(path) as again:
        assert again.max_position == 3 + 3 * len(recorded)
        again.append(life(1000))
    assert verify_chain(path).ok


_UNDER_A_FILE_SIZE_LIMIT = """
import os, resource, sys
from threading import Event
from adapters.storage.ledger import OrderLedger
from tests.contract.storage.samples import life

stalled, resumed = Event(), Event()
errors = []
def on_stall(error):
    errors.append(error)
    stalled.set()
ledger = OrderLedger.open(sys.argv[1], on_stall=on_stall, on_resume=resumed.set)
ledger.append(life(0))
# Writes beyond this size fail as on a broken disk (EFBIG, an I/O error to SQLite).
limit = max(os.path.getsize(sys.argv[1] + suffix) for suffix in ("", "-wal")) + 8192
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
futures = [ledger.submit(life(number)) for number in range(1, 300)]
assert stalled.wait(60)
assert not futures[-1].done()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert resumed.wait(60)
assert list(futures[-1].result(60).positions) == [898, 899, 900], futures[-1].result()
ledger.close()
print(type(errors[0]).__name__, errors[0])
"""


def test_an_input_output_error_is_waited_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    done = subprocess.run(
        [sys.executable, "-c", _UNDER_A_FILE_SIZE_LIMIT, str(path)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("LedgerUnavailableError")
    assert "I/O error" in done.stdout
    report = verify_chain(path)
    assert report.ok, report.reason
    assert report.events == 900


def test_small_amounts_are_on_the_disk_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    event = filled(1, 1, amount=Decimal("9e-8"))
    with OrderLedger.open(path) as ledger:
        ledger.append([event, created(2)])
    with OrderLedger.open(path, writer=False) as reader:
        assert reader.events_of(order_id(1)) == [event]
        assert b"9E-8" in reader.notifications()[0].state
