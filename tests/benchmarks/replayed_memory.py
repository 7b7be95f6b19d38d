"""Replays a recording and prints, in MB, how much memory the process holds after a quarter and at the end."""

import os
import sys

from replays.replaying import Replay
from replays.session_file import SessionReader

__all__ = ["main"]


def main(path: str) -> None:
    """Print the two figures."""
    reader = SessionReader(path)
    footer = reader.footer()
    assert footer is not None, "the recording is closed"
    held: list[float] = []

    def look(inputs: int) -> None:
        if not held and inputs > footer.inputs / 4:
            held.append(_resident_mb())

    assert Replay(reader, on_progress=look).run().identical
    print(held[0], _resident_mb())


def _resident_mb() -> float:
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main(sys.argv[1])
