"""Records the corpus anew: `python -m tests.support.corpus [NAME ...] [--into FOLDER]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.support.corpus import FORMATS, SCENARIOS
from tests.support.corpus.world import record


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.corpus", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which recordings; all when none is named")
    parser.add_argument("--into", type=Path, default=Path("replays/sessions"), help="the folder")
    parser.add_argument("--list", action="store_true", help="say what there is and record nothing")
    args = parser.parse_args()
    known = SCENARIOS | FORMATS
    unknown = [name for name in args.names if name not in known]
    if unknown:
        parser.error(f"no recording is called {', '.join(unknown)}; --list shows those there are")
    chosen = args.names or list(SCENARIOS)
    failed = 0
    for name in chosen:
        if args.list:
            print(f"{name}: {known[name].holds}")
            continue
        try:
            path = record(known[name], args.into)
        except AssertionError as error:
            failed += 1
            print(f"{name}: {error}", file=sys.stderr)
        else:
            print(f"{path} ({path.stat().st_size} bytes)")
    return 1 if failed else 0


sys.exit(main())
