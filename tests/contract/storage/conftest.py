"""The stores under test. Another one joins the suite with one entry in `_SETTINGS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.storage.ledger import OrderLedger

_SETTINGS: dict[str, Callable[[Path], dict[str, str]]] = {
    "sqlite": lambda folder: {"SQLITE_DBNAME": str(folder / "ledger.db")},
    "in memory": lambda folder: {"PERSISTENCE_MODULE": "eventsourcing.popo"},
}


class Store:
    """Opens ledgers on one kind of store and closes what is left open."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = settings
        self._opened: list[OrderLedger] = []

    def open(self, env: dict[str, str] | None = None, **options: Any) -> OrderLedger:
        ledger = OrderLedger({**self._settings, **(env or {})}, **options)
        self._opened.append(ledger)
        return ledger

    def close(self) -> None:
        for ledger in self._opened:
            ledger.close()


@pytest.fixture(params=sorted(_SETTINGS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = Store(_SETTINGS[request.param](tmp_path))
    yield store
    store.close()


@pytest.fixture
def ledger(store: Store) -> OrderLedger:
    return store.open()
