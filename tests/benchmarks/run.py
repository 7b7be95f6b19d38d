"""`make bench`: runs every benchmark in a fresh process, prints targets and figures, writes `bench.json`.

Exit code 1 if a target is missed or a benchmark fails. Names given as arguments select benchmarks.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPORT = HERE.parent.parent / "bench.json"

_SUFFIXES = {"_required": ">=", "_max": "<="}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are asked for, or all."""
    names = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of: {', '.join(names)}")
    parser.add_argument(
        "--in-this-process", action="store_true", help="run one here and print its result as JSON"
    )
    options = parser.parse_args(argv)
    if unknown := set(options.names) - set(names):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    if options.in_this_process:
        for name in options.names:
            print(json.dumps(import_module(f"tests.benchmarks.bench_{name}").run()))
        return 0
    results: dict[str, Any] = {}
    for name in options.names or names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results[name] = _in_fresh_process(name)
    REPORT.write_text(json.dumps({"machine": _machine(), "results": results}, indent=2) + "\n")
    print(_table(results))
    print(f"\nAll figures: {REPORT.name}")
    return 0 if all(map(_is_met, results.values())) else 1


def _is_met(result: dict[str, Any]) -> bool:
    """Whether its targets are met; one that has none only tells its figures."""
    return bool(result.get("ok", True))


def _in_fresh_process(name: str) -> dict[str, Any]:
    """A benchmark's result. One that fails is a result too: `ok` is false and `error` says why."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.run", "--in-this-process", name],
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0 or not done.stdout.strip():
        sys.stderr.write(done.stderr)
        error = done.stderr.strip().splitlines() or [f"ended with status {done.returncode} and no result"]
        return {"ok": False, "error": error[-1]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**result, "took_s": round(time.monotonic() - began, 1)}


def _machine() -> dict[str, Any]:
    """What the figures depend on, in general terms."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _table(results: dict[str, Any]) -> str:
    rows = [("benchmark", "figure", "measured", "target", "")]
    for name, result in results.items():
        targets = list(_targets(result))
        for figure, measured, target, held in targets:
            rows.append((name, figure, measured, target, "ok" if held else "MISSED"))
        if "error" in result:
            rows.append((name, "failed", str(result["error"])[:60], "", "MISSED"))
        elif not targets:
            figures = (item for item in result.items() if isinstance(item[1], int | float))
            rows += [(name, figure, f"{measured:,}", "", "") for figure, measured in figures]
        elif not _is_met(result) and all(held for *_, held in targets):
            rows.append((name, "ok", "false", "true", "MISSED"))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _targets(result: dict[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Figure, measured, target, and whether it is met."""
    for name, bound in result.items():
        for suffix, sign in _SUFFIXES.items():
            figure = name.removesuffix(suffix)
            if name.endswith(suffix) and figure in result:
                measured = result[figure]
                held = measured >= bound if sign == ">=" else measured <= bound
                yield figure, f"{measured:,}", f"{sign} {bound:,}", held


if __name__ == "__main__":
    sys.exit(main())
