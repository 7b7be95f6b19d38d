"""Replays a recording several times in a process of its own, as a user does, and prints what it took."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from replays.replaying import Replay
from replays.session_file import SessionReader

__all__ = ["main"]

_ROUNDS = 7


def main(path: Path) -> None:
    """Print inputs per second of CPU time (the best round), and the memory held early and late."""
    reader = SessionReader(path)
    footer = reader.footer()
    assert footer is not None, "the recording is closed"
    early_mb: list[float] = []

    def look(inputs: int) -> None:
        if not early_mb and inputs > footer.inputs / 4:
            early_mb.append(_resident_mb())

    def replay() -> None:
        report = Replay(SessionReader(path), on_progress=look).run()
        assert report.identical
        assert report.inputs == footer.inputs

    replay()
    late_mb = _resident_mb()
    result = {
        "inputs": footer.inputs,
        "inputs_per_second": round(footer.inputs / _best_seconds(replay)),
        "read_per_second": round(footer.inputs / _best_seconds(lambda: _read(path))),
        "early_mb": early_mb[0],
        "late_mb": late_mb,
    }
    print(json.dumps(result))


def _read(path: Path) -> None:
    for _ in SessionReader(path):
        pass


def _best_seconds(work: Callable[[], None]) -> float:
    took = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def _resident_mb() -> float:
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main(Path(sys.argv[1]))
