"""Whether an event costs the same in a large core as in a small one.

Two cores, each in a process of its own: one holds 100 orders, the other 20,000 live and 200,000 finished
ones. In turns, each places orders, has them acknowledged and ended, and fills orders picked from all live
ones. Timed is `step`, from raw bytes to events and effects, with garbage collection as in production.
"""

import json
import multiprocessing
import random
import statistics
import time
from contextlib import closing
from multiprocessing.connection import Connection
from typing import Any

from tests.benchmarks.loaded_core import BATCH, Leg, LoadedCore, action_in

RATIO_MAX = 1.3

SMALL_LIVE = 100
LARGE_LIVE = 20_000
LARGE_DONE = 200_000
ROUNDS = 60

_BATCHES_PER_ROUND = 8


def run() -> dict[str, Any]:
    """Median microseconds per event in both, and the median ratio of the rounds."""
    context = multiprocessing.get_context("spawn")
    ends: list[Connection] = []
    workers = []
    for live, done in ((SMALL_LIVE, 0), (LARGE_LIVE, LARGE_DONE)):
        ours, theirs = context.Pipe()
        worker = context.Process(target=_work, args=(theirs, live, done), daemon=True)
        worker.start()
        theirs.close()
        ends.append(ours)
        workers.append(worker)
    small, large = ends
    with closing(small), closing(large):
        counts = [end.recv() for end in ends]
        figures = [(_round(small), _round(large)) for _ in range(ROUNDS + 5)][5:]
    for worker in workers:
        worker.join()
    ratio = statistics.median(of_large / of_small for of_small, of_large in figures)
    return {
        "small_live": counts[0][0],
        "large_live": counts[1][0],
        "large_live_required": LARGE_LIVE,
        "large_done": counts[1][1],
        "large_done_required": LARGE_DONE,
        "small_us_per_event": round(statistics.median(of_small for of_small, _ in figures) / 1000, 1),
        "large_us_per_event": round(statistics.median(of_large for _, of_large in figures) / 1000, 1),
        "ratio": round(ratio, 2),
        "ratio_max": RATIO_MAX,
        "ok": ratio <= RATIO_MAX and counts[1][0] >= LARGE_LIVE and counts[1][1] >= LARGE_DONE,
    }


def _round(end: Connection) -> float:
    end.send("go")
    ns_per_event: float = end.recv()
    return ns_per_event


def _work(end: Connection, live_count: int, done_count: int) -> None:
    """Fill a core, say what it holds, then answer each message with the ns per event of one round."""
    core = LoadedCore()
    for start in range(0, done_count, 2_000):
        core.cancel(core.place(min(2_000, done_count - start)))
    live = core.place(live_count)
    tracker = core.connector.tracker
    done = sum(tracker.get(order_id) is not None for order_id in core.done_ids)
    end.send((tracker.live_count, done))
    chooser = random.Random(1)
    while True:
        try:
            end.recv()
        except EOFError:
            return
        end.send(_one_round(core, live, chooser))


def _one_round(core: LoadedCore, live: list[Leg], chooser: random.Random) -> float:
    events = taken_ns = 0
    for _ in range(_BATCHES_PER_ROUND):
        command = core.command(BATCH)
        begin = time.perf_counter_ns()
        outcome = core.step(command)
        taken_ns += time.perf_counter_ns() - begin
        events += len(outcome.changes)
        legs, answer = core.resting(action_in(outcome))
        chosen = chooser.sample(live, BATCH)
        for item in (answer, core.fill_frame(chosen, "0.00001"), core.cancelled_frame(legs)):
            begin = time.perf_counter_ns()
            outcome = core.step(item)
            taken_ns += time.perf_counter_ns() - begin
            events += len(outcome.changes)
    return taken_ns / events


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
