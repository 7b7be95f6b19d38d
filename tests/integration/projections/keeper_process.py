"""A process that writes a ledger and keeps its views, to be killed at any moment.

Arguments: the ledger, how many orders to place. Prints the last durable position after each commit.
"""

from __future__ import annotations

import sys
from pathlib import Path

from adapters.cli.ledger_source import LedgerEventSource
from adapters.storage.ledger import OrderLedger
from projections import ProjectionRunner, views_path_for
from tests.unit.projections.logs import LogBuilder


def main() -> None:
    path, orders = Path(sys.argv[1]), int(sys.argv[2])
    ledger = OrderLedger.open(path)
    first = ledger.max_position
    with ProjectionRunner(LedgerEventSource(ledger), views_path_for(path)) as runner:
        for number in range(orders):
            builder = LogBuilder()
            name = f"{first}-{number}"
            builder.open_order(name, f"9{first}{number}")
            builder.filled(name, fill_key=name)
            committed = ledger.append(builder.events)
            print(committed.positions[-1], flush=True)
        runner.wait_for(ledger.max_position, 60)
        print("done", flush=True)
        sys.stdin.readline()
    ledger.close()


if __name__ == "__main__":
    main()
