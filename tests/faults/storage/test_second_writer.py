"""Two processes that want to write, and one that writes while another follows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adapters.storage.chain import verify_chain
from adapters.storage.errors import LedgerInUseError
from adapters.storage.ledger import OrderLedger
from domain.events import LedgerEvent
from tests.contract.storage.samples import created, life, order_id, submitted

_ROOT = Path(__file__).parents[3]

_HOLD = """
import sys
from adapters.storage.ledger import OrderLedger
from domain.events import LedgerEvent
from tests.contract.storage.samples import life

ledger = OrderLedger.open(sys.argv[1])
ledger.append(life(1))
print("open", flush=True)
sys.stdin.readline()
if "crash" in sys.argv:
    import os
    os.kill(os.getpid(), 9)
ledger.close()
"""

_WRITE = """
import sys
from adapters.storage.ledger import OrderLedger
from domain.events import LedgerEvent
from tests.contract.storage.samples import life

ledger = OrderLedger.open(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    ledger.submit(life(number))
ledger.close()
"""


def _start(script: str, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def _let_go(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=120)


@pytest.mark.parametrize("end", ["close", "crash"])
def test_a_second_process_cannot_write_until_the_first_has_ended(tmp_path: Path, end: str) -> None:
    path = tmp_path / "ledger.db"
    holder = _start(_HOLD, str(path), end)
    try:
        with pytest.raises(LedgerInUseError, match=f"process {holder.pid} ") as caught:
            OrderLedger.open(path)
        assert caught.value.pid == holder.pid
        with OrderLedger.open(path, writer=False) as reader:
            assert reader.events_of(order_id(1)) == life(1)
    finally:
        _let_go(holder)
    with OrderLedger.open(path) as writer:
        assert writer.events_of(order_id(1)) == life(1)
        writer.append([created(2), submitted(2)])
    assert verify_chain(path).events == 5


def test_what_one_process_writes_another_follows_without_a_gap_or_a_repeat(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    writer = _start(_WRITE, str(path), "3000")
    try:
        with OrderLedger.open(path, writer=False) as reader, reader.subscribe() as subscription:
            assert subscription.next_batch(timeout=0) == []
            assert writer.stdin is not None
            writer.stdin.write("\n")
            writer.stdin.flush()
            followed: list[tuple[int, LedgerEvent]] = []
            while len(followed) < 9000:
                batch = subscription.next_batch(timeout=60)
                assert batch, f"nothing came after {followed[-1:]}"
                followed += batch
            assert [position for position, _ in followed] == list(range(1, 9001))
            assert [event for _, event in followed] == [
                event for number in range(3000) for event in life(number)
            ]
    finally:
        _let_go(writer)


def test_readers_that_query_all_the_time_do_not_lock_out_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    writer = _start(_WRITE, str(path), "1000")
    try:
        with OrderLedger.open(path, writer=False) as reader:
            assert writer.stdin is not None
            writer.stdin.write("\n")
            writer.stdin.flush()
            while reader.max_position < 3000:
                assert len(list(reader.read(limit=100))) <= 100
                reader.find_prefix("0x", 5)
    finally:
        _let_go(writer)
    assert writer.returncode == 0
    assert verify_chain(path).events == 3000


_FORGET = """
import sys
from adapters.storage.ledger import OrderLedger
from tests.contract.storage.samples import life

ledger = OrderLedger.open(sys.argv[1])
for number in range(2000):
    ledger.enqueue(life(number))
"""


def test_a_process_that_ends_without_closing_has_recorded_what_it_submitted(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    subprocess.run([sys.executable, "-c", _FORGET, str(path)], cwd=_ROOT, check=True, timeout=120)
    assert verify_chain(path).events == 6000
