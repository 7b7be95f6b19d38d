"""What recording costs the loop that steps the core, what it takes on the disk, how fast a header is read.

The inputs are those of a hand-driven core that trades at random: mostly market data, and orders that rest,
fill, are cancelled and lose their answers. The recorder's thread compresses and writes meanwhile.
"""

import gc
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from adapters.hyperliquid.replaying import make_core
from domain.inputs import Input, StreamFrame
from domain.outcome import Outcome
from replays.recorder import SessionRecorder
from replays.recording import SessionHeader
from replays.session_file import SessionReader, SessionWriter
from tests.support.recordings import busy_session, header_of

PER_INPUT_US_MAX = 15.0
HEADER_MS_MAX = 100.0

SESSIONS = 8
INPUTS_PER_SESSION = 2_500
ROUNDS = 5
BIG_FILE_BYTES = 200_000_000

_PART_BYTES = 1 << 40


def run() -> dict[str, Any]:
    """Microseconds per recorded input, bytes per input, milliseconds until a header is there."""
    steps: list[tuple[Input, Outcome]] = []
    for seed in range(SESSIONS):
        session = busy_session(INPUTS_PER_SESSION, seed=seed)
        header = header_of(session)
        core = make_core(header)
        steps += [(item, core.step(item)) for item in session.inputs]
    with tempfile.TemporaryDirectory() as directory:
        costs = []
        for number in range(ROUNDS):
            folder = Path(directory) / str(number)
            per_call = _record(folder, header, steps)
            costs.append(per_call)
        size = sum(path.stat().st_size for path in folder.iterdir())
        header_ms, big = _read_header(Path(directory), header)
    means = [statistics.fmean(each) / 1_000 for each in costs]
    slowest = sorted(cost for each in costs for cost in each)
    mean_us = statistics.median(means)
    return {
        "recorded_inputs": len(steps),
        "recording_per_input_us": round(mean_us, 2),
        "recording_per_input_us_max": PER_INPUT_US_MAX,
        "recording_p99_us": round(slowest[int(len(slowest) * 0.99)] / 1_000, 2),
        "recording_bytes_per_input": round(size / len(steps), 1),
        "header_of_mb": round(big / 1e6),
        "header_ms": round(header_ms, 2),
        "header_ms_max": HEADER_MS_MAX,
        "ok": mean_us < PER_INPUT_US_MAX and header_ms < HEADER_MS_MAX,
    }


def _record(folder: Path, header: SessionHeader, steps: list[tuple[Input, Outcome]]) -> list[int]:
    """Nanoseconds of each call."""
    recorder = SessionRecorder(
        folder,
        "ledger",
        header,
        file_bytes_max=_PART_BYTES,
        total_bytes_max=2 * _PART_BYTES,
        on_failure=lambda error: None,
        on_recovery=lambda: None,
    )
    record, clock = recorder.record, time.perf_counter_ns
    costs = []
    gc.collect()
    for item, outcome in steps:
        began = clock()
        record(item, outcome)
        costs.append(clock() - began)
    if not recorder.close(60):
        raise RuntimeError("the recording was not written")
    return costs


def _read_header(directory: Path, header: SessionHeader) -> tuple[float, int]:
    """Milliseconds to open a big recording and have its header and its footer; and its size."""
    path = directory / "big.session"
    with SessionWriter(path, header) as writer:
        sequence = 0
        while writer.bytes_written < BIG_FILE_BYTES:
            sequence += 1
            writer.append(StreamFrame(sequence=sequence, stream="market", data=os.urandom(1_000_000)))
    began = time.perf_counter()
    reader = SessionReader(path)
    footer = reader.footer()
    elapsed_ms = (time.perf_counter() - began) * 1e3
    if reader.header != header or footer is None or footer.inputs != sequence:
        raise RuntimeError("the header or the footer read is not the one that was written")
    return elapsed_ms, path.stat().st_size
