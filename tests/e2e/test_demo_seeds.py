"""The demo over many seeds: other markets, other moments for the same faults. Run by `make soak`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.soak

SEEDS = range(1, 21)
TIMEOUT_S = 180.0


@pytest.mark.parametrize("seed", SEEDS)
def test_the_demo_ends_with_books_that_match_the_venue(seed: int, tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    command = [sys.executable, "-m", "adapters.cli.main", "demo", "--json", "--seconds", "10"]
    done = subprocess.run(
        [*command, "--seed", str(seed), "--dir", str(directory)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    report = json.loads(done.stdout)
    assert report["differences"] == []
    assert report["orders"] > 0
    assert report["fills"] > 0
    assert report["unknown_outcomes_resolved"] >= 1
    assert report["reconnects"] >= 1
    assert report["duplicates_ignored"] >= 1
    assert Path(report["ledger"]).is_file()
    assert Path(report["views"]).is_file()
