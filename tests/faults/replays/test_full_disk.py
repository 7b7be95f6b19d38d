"""A disk that takes no more of a recording: trading halts, nothing is left out, and it goes on with room."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import pytest

from domain.errors import TradingHaltedError
from domain.inputs import StreamFrame
from replays.recorder import QUEUE_BYTES_MAX, SessionRecorder
from replays.replaying import Replay
from replays.session_file import SessionReader, read_sessions
from tests.faults.replays.recorder_process import ROOM_BYTES, frame
from tests.support.core import CoreSession
from tests.support.live import PAIR, Live, live
from tests.support.recordings import header_of

_ROOT = Path(__file__).parents[3]
PADDING_BYTES = 6_000_000
PADDING = json.dumps(
    {"channel": "padding", "data": base64.b64encode(random.Random(1).randbytes(PADDING_BYTES)).decode()}
).encode()
"""A frame that the core does not look at, and that cannot be compressed to less than its random bytes."""


def test_what_waited_for_room_is_in_the_file_afterwards(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.replays.recorder_process", "full", str(tmp_path)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said = {**json.loads(process.stdout.readline()), **json.loads(process.stdout.readline())}
    assert "too large" in said["failed"]
    [path] = tmp_path.iterdir()
    assert path.stat().st_size == ROOM_BYTES, "the disk refused in the middle of a block"
    reader = SessionReader(path)
    before = list(reader)
    assert reader.torn
    process.stdin.write("more room\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == {"recovered": True}
    assert json.loads(process.stdout.readline()) == {"closed": True}
    process.stdin.close()
    process.stdout.close()
    assert process.wait() == 0
    read = list(reader)
    assert reader.is_closed
    assert read[: len(before)] == before
    assert [recorded.item for recorded in read] == [frame(n) for n in range(1, said["recorded"] + 1)]


@contextmanager
def _no_file_larger_than(limit: int) -> Iterator[None]:
    """For this process: writing beyond it fails as on a full disk. Only the recording is that large."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Recorded(Live):
    """A connector process in miniature that is recorded."""

    def prepare(self) -> None:
        options = CoreSession(account=self.account)
        options.connector, options.options = self.connector, self.connector.options
        self.recording = SessionRecorder(
            self.folder / "sessions",
            "ledger",
            # Begun today: else the first input of the session begins another part.
            msgspec.structs.replace(header_of(options), started_at_ns=time.time_ns()),
            file_bytes_max=1 << 40,
            total_bytes_max=1 << 41,
            on_failure=self.runtime.recorder_stalled,
            on_recovery=self.runtime.recorder_resumed,
        )
        self.runtime.recorder = self.recording


@asynccontextmanager
async def recorded_world(seed: int) -> AsyncIterator[Recorded]:
    """A session under way whose recording is larger than every other file of the process."""
    async with live(seed=seed) as world:
        world.__class__ = Recorded
        assert isinstance(world, Recorded)
        async with world.session():
            world.runtime.deliver(StreamFrame(stream="market", data=PADDING))
            await world.until(
                "the padding is there", lambda: world.recording.path.stat().st_size > PADDING_BYTES // 2
            )
            yield world
        assert world.recording.close()
        report = Replay(read_sessions(world.recording.paths)).run()
        assert report.identical, report.divergence
        assert report.inputs >= world.runtime.inputs_handled


def test_trading_halts_while_the_recorder_cannot_write_and_goes_on_with_nothing_left_out() -> None:
    async def scenario() -> None:
        async with recorded_world(31) as world:
            connector = world.connector
            first = connector.buy(PAIR, "0.01", world.price("0.9"))  # type: ignore[arg-type]
            await world.until_state(first, "open")
            with _no_file_larger_than(world.recording.path.stat().st_size):
                await world.until("trading halts", lambda: bool(connector.halted_because))
                assert connector.halted_because.startswith("the recorder cannot write: ")
                with pytest.raises(TradingHaltedError, match="recorder"):
                    connector.buy(PAIR, "0.01", world.price("0.8"))  # type: ignore[arg-type]
                # What was asked of the venue goes on: only new orders have to wait.
                connector.cancel(first)
                await world.until_state(first, "cancelled")
            await world.until("trading goes on", lambda: connector.ready)
            second = connector.buy(PAIR, "0.01", world.price("0.9"))  # type: ignore[arg-type]
            await world.until_state(second, "open")

    asyncio.run(scenario())


def test_inputs_wait_when_as_much_is_unwritten_as_memory_may_hold() -> None:
    async def scenario() -> None:
        async with recorded_world(32) as world:
            connector, runtime, recording = world.connector, world.runtime, world.recording
            count = 2 * QUEUE_BYTES_MAX // len(PADDING)
            with _no_file_larger_than(recording.path.stat().st_size):
                await world.until("trading halts", lambda: bool(connector.halted_because))
                before = runtime.inputs_handled
                for _ in range(count):
                    runtime.deliver(StreamFrame(stream="market", data=PADDING))
                await world.until("the recorder is behind", lambda: recording.is_behind)
                assert runtime.inputs_handled < before + count
            await world.until("all is handled", lambda: runtime.inputs_handled >= before + count)
            await world.until("trading goes on", lambda: connector.ready)

    asyncio.run(scenario())
