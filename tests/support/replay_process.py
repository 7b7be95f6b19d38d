"""Replays recordings in a process of its own and prints, as JSON, what came out.

`python -m tests.support.replay_process [--without MODULE]... SESSION...`, where a session is its files with
`:` between them. A module that is to be done without cannot be imported: the pure-Python stand-ins take over.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

__all__ = ["main"]


def main() -> None:
    """Print one object: how the process differs from others, and a digest for each session."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("sessions", nargs="+")
    options = parser.parse_args()
    for module in options.without:
        sys.modules[module] = None  # type: ignore[assignment]
    from replays.replaying import Replay
    from replays.session_file import read_sessions

    outcomes = {}
    for session in options.sessions:
        report = Replay(read_sessions(session.split(":"))).run()
        divergence = report.divergence
        outcomes[session] = {
            "digest": report.digest,
            "inputs": report.inputs,
            "diverged_at": None if divergence is None else divergence.sequence,
        }
    about = {"hash": hash("a text"), "zone": time.tzname[0], "loaded": sorted(sys.modules)}
    print(json.dumps({"about": about, "outcomes": outcomes}))


if __name__ == "__main__":
    main()
