"""Who helps to build the views of a ledger file: as many processes as there are processors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from adapters.cli.ledger_source import LedgerEventSource
from adapters.storage.ledger import OrderLedger
from projections import Helpers

__all__ = ["helpers_for"]


def helpers_for(ledger: Path) -> Helpers:
    """Processes that open the ledger for reading and fold parts of it; none where there is one processor."""
    return Helpers(partial(_opened, ledger), len(os.sched_getaffinity(0)))


@contextmanager
def _opened(ledger: Path) -> Iterator[LedgerEventSource]:
    with OrderLedger.open(ledger, writer=False, create=False) as opened:
        yield LedgerEventSource(opened)
