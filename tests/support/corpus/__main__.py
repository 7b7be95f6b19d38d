"""Records the corpus anew and lists it: `python -m tests.support.corpus [NAME ...] [--into FOLDER]`.

Without names everything is recorded but the examples of file formats: name those when
there is a new one.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from tests.support.corpus import FORMATS, SCENARIOS
from tests.support.corpus.page import page
from tests.support.corpus.world import record


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.corpus", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which recordings")
    parser.add_argument("--into", type=Path, default=Path("replays/sessions"), help="the folder")
    args = parser.parse_args()
    known = SCENARIOS | FORMATS
    unknown = [name for name in args.names if name not in known]
    if unknown:
        parser.error(f"no recording is called {', '.join(unknown)}; there are: {', '.join(known)}")
    logging.basicConfig(level=logging.CRITICAL)  # what goes wrong on purpose needs no telling
    failed = 0
    for name in args.names or SCENARIOS:
        try:
            path = record(known[name], args.into)
        except AssertionError as error:
            failed += 1
            print(f"{name}: {error}", file=sys.stderr)
        else:
            print(f"{path} ({path.stat().st_size} bytes)")
    (args.into / "README.md").write_text(page(known))
    return 1 if failed else 0


sys.exit(main())
