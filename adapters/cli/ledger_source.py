"""An `OrderLedger` as the projections see one: the wiring between the event store and the views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import cast

from adapters.storage.ledger import OrderLedger
from adapters.storage.sqlite import SQLiteLedgerRecorder
from adapters.storage.subscription import LedgerSubscription
from domain.events import LedgerEvent
from projections import OnUnreadable, PositionedEvent

__all__ = ["LedgerEventSource"]


class LedgerEventSource:
    """`projections.PastEventSource` over a ledger in an SQLite file, opened for writing or for reading."""

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

    def events_until(
        self, originator_ids: Sequence[str], position: int
    ) -> Mapping[str, Sequence[PositionedEvent]]:
        """Of each of these aggregates, the committed events up to and with a position, first to last."""
        found: dict[str, list[PositionedEvent]] = {originator_id: [] for originator_id in originator_ids}
        with self._recorder.file.reading() as connection:
            rows = connection.execute(
                "SELECT position, originator_id, originator_version, topic, state FROM stored_events "
                f"WHERE originator_id IN ({', '.join('?' * len(originator_ids))}) AND position <= ? "
                "ORDER BY originator_id, originator_version",
                (*originator_ids, position),
            ).fetchall()
        for at in self._ledger.mapper.to_events(rows, None):
            found[at[1].originator_id].append(at)
        return found

    def history_of(self, originator_id: str, *, on_unreadable: OnUnreadable) -> Sequence[PositionedEvent]:
        """Every readable event of one aggregate with its position, first to last."""
        return self._ledger.history_of(originator_id, on_unreadable=on_unreadable)

    def subscribe(
        self, after_position: int, *, batch_size: int, on_unreadable: OnUnreadable
    ) -> LedgerSubscription:
        """Follow the log from a position; see `OrderLedger.subscribe`."""
        return self._ledger.subscribe(after_position, batch_size=batch_size, on_unreadable=on_unreadable)
