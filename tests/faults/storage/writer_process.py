"""A process that writes to a ledger as fast as it can and says what is durable, until it is killed.

`python -m tests.faults.storage.writer_process LEDGER FIRST_ORDER SEED`
"""

from __future__ import annotations

import itertools
import os
import random
import sys
from collections.abc import Iterator

from adapters.storage.group_commit import Committed
from adapters.storage.ledger import OrderLedger
from domain.events import LedgerEvent
from tests.contract.storage.samples import created, filled, submitted


def orders(first_order: int, seed: int) -> Iterator[list[LedgerEvent]]:
    """What a writer with this seed submits, order after order, for ever."""
    draw = random.Random(seed)
    for number in itertools.count(first_order):
        events: list[LedgerEvent] = [created(number), submitted(number)]
        yield events + [filled(number, 3 + each) for each in range(draw.randint(0, 6))]


def main(path: str, first_order: int, seed: int) -> None:
    def say(batch: list[Committed]) -> None:
        # One write per commit: what stands on the pipe was durable before it was said.
        lines = [
            f"{position} {event.originator_id} {event.originator_version}"
            for committed in batch
            for position, event in zip(committed.positions, committed.events, strict=True)
        ]
        os.write(1, "".join(f"{line}\n" for line in lines).encode())

    ledger = OrderLedger.open(path, on_committed=say)
    os.write(1, b"ready\n")
    for events in orders(first_order, seed):
        if ledger.backlog > 2_000:
            ledger.append([])
        ledger.enqueue(events)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
