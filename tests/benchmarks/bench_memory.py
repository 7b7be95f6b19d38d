"""What a live order costs in memory, in a core that holds 20,000 of them.

Placed by command and acknowledged by answer, so that everything the core keeps for it counts: the facts, the
indexes by client id and exchange id, the record of its id being taken. Measured by what Python allocates.
"""

import gc
import json
import tracemalloc
from typing import Any

from tests.benchmarks.loaded_core import LoadedCore

BYTES_MAX = 2_000
ORDERS = 20_000


def run() -> dict[str, Any]:
    """Bytes per live order, and per order with one fill."""
    core = LoadedCore()
    core.place(1_000)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    legs = core.place(ORDERS)
    gc.collect()
    live = (tracemalloc.get_traced_memory()[0] - before) / ORDERS
    core.fill(legs, "0.001")
    gc.collect()
    filled = (tracemalloc.get_traced_memory()[0] - before) / ORDERS
    tracemalloc.stop()
    assert core.connector.tracker.live_count >= ORDERS
    return {
        "orders": ORDERS,
        "bytes_per_live_order": round(live),
        "bytes_per_live_order_max": BYTES_MAX,
        "bytes_per_order_with_a_fill": round(filled),
        "ok": live <= BYTES_MAX,
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
