"""An `OrderLedger` as the projections see one: the wiring between the event store and the views."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import cast

from adapters.storage.ledger import OrderLedger
from adapters.storage.sqlite import SQLiteLedgerRecorder
from adapters.storage.subscription import LedgerSubscription
from domain.events import LedgerEvent
from projections import OnUnreadable

__all__ = ["LedgerEventSource"]


class LedgerEventSource:
    """`projections.EventSource` over a ledger in an SQLite file, opened for writing or for reading."""

    def __init__(self, ledger: OrderLedger) -> None:
        recorder = ledger.recorder
        assert isinstance(recorder, SQLiteLedgerRecorder), "views are kept beside a ledger file"
        self._ledger = ledger
        self._recorder = recorder

    @cached_property
    def ledger_id(self) -> str:
        """What tells this ledger from every other one."""
        return self._recorder.file.ledger_id

    @property
    def max_position(self) -> int:
        """The position of the last committed event; 0 when there is none."""
        return self._ledger.max_position

    def hash_at(self, position: int) -> str:
        """The chain's hash at a position, in hex; empty where no event stands."""
        with self._recorder.file.reading() as connection:
            row = connection.execute(
                "SELECT hash FROM stored_events WHERE position = ?", (position,)
            ).fetchone()
        return "" if row is None else bytes(row[0]).hex()

    def events_of(self, originator_id: str, before_version: int) -> Sequence[LedgerEvent]:
        """The committed events of one aggregate below a version, first to last."""
        stored = self._recorder.select_events(originator_id, lte=before_version - 1)
        return [cast("LedgerEvent", self._ledger.mapper.to_domain_event(event)) for event in stored]

    def subscribe(
        self, after_position: int, *, batch_size: int, on_unreadable: OnUnreadable
    ) -> LedgerSubscription:
        """Follow the log from a position; see `OrderLedger.subscribe`."""
        return self._ledger.subscribe(after_position, batch_size=batch_size, on_unreadable=on_unreadable)
