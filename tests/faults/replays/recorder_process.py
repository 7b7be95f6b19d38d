"""A process that records without end, for tests that kill it or take the disk away.

`python -m tests.faults.replays.recorder_process record FOLDER` records until it is killed.
`python -m tests.faults.replays.recorder_process full FOLDER` does the same until its file may not grow, and
ends in order once it may again, at the first line on standard input. It says what happens in JSON lines.
"""

from __future__ import annotations

import itertools
import json
import random
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

from domain.inputs import StreamFrame
from domain.outcome import Outcome
from replays.recorder import SessionRecorder
from replays.recording import SessionHeader

ROOM_BYTES = 300_000
"""How large the file may become at first in `full`."""

_NOTHING = Outcome([], [])


def header() -> SessionHeader:
    return SessionHeader(
        package_version="0.0.0",
        config_fingerprint="",
        venue="hyperliquid",
        network="simulator",
        account="0x" + "11" * 20,
        signer="",
        session_id="0000000000ab",
        core_options={},
        started_at_ns=1_700_000_000_000_000_000,
    )


def frame(sequence: int) -> StreamFrame:
    """The same for the same number, and not to be compressed to nothing."""
    draw = random.Random(sequence)
    return StreamFrame(sequence=sequence, at_ns=sequence, stream="user", data=draw.randbytes(200))


def main(mode: str, folder: str) -> None:
    failed, recovered = threading.Event(), threading.Event()

    def on_failure(error: Exception) -> None:
        say(failed=str(error))
        failed.set()

    def on_recovery() -> None:
        say(recovered=True)
        recovered.set()

    recorder = SessionRecorder(
        Path(folder),
        "ledger",
        header(),
        file_bytes_max=1 << 40,
        total_bytes_max=1 << 41,
        on_failure=on_failure,
        on_recovery=on_recovery,
    )
    if mode == "full":
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, most))
    recorded = 0
    for sequence in itertools.count(1):
        recorder.record(frame(sequence), _NOTHING)
        recorded = sequence
        if sequence % 50 == 0:
            time.sleep(0.001)
        if failed.is_set():
            break
    for sequence in range(recorded + 1, recorded + 501):
        recorder.record(frame(sequence), _NOTHING)
    say(recorded=recorded + 500)
    sys.stdin.readline()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    recovered.wait()
    say(closed=recorder.close())


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
