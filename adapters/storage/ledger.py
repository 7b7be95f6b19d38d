"""`OrderLedger`: the event store of one connector process, as an application of the eventsourcing library."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import ClassVar, Self
from weakref import WeakSet, finalize

from eventsourcing.application import Application
from eventsourcing.persistence import Mapper, Notification
from eventsourcing.utils import EnvType

from adapters.storage.errors import LedgerError, LedgerReadOnlyError
from adapters.storage.group_commit import Committed, GroupCommitWriter, OnCommitted, OnRefused
from adapters.storage.index import OrderIndex, ScannedIndex
from adapters.storage.keys import EXCHANGE_ID_PREFIX, VENUE_KEY_PREFIX
from adapters.storage.mapper import MessagePackMapper
from adapters.storage.records import EventRow, LibraryRecordStore
from adapters.storage.sqlite import SQLiteLedgerRecorder
from adapters.storage.subscription import (
    LedgerSubscription,
    OnUnreadable,
    PumpedSubscription,
    RowSource,
    SQLiteSubscription,
)
from domain.events import LedgerEvent

__all__ = ["OrderLedger"]

_READ_BATCH = 2_000


class OrderLedger(Application[str]):
    """All events of the orders and accounts of one connector process, in one order.

    Open a file with `OrderLedger.open`. The library's way works as well: `OrderLedger(env=...)`, by
    default on a file (`SQLITE_DBNAME`), with `PERSISTENCE_MODULE=eventsourcing.popo` in memory; `save`,
    `repository` and `notification_log` are the library's. Events of the live process go through `submit`,
    `enqueue` or `append`, which share one fsync among all that wait; see `GroupCommitWriter` for the
    callbacks.

    Any thread may call any method. Positions begin at 1.
    """

    env: ClassVar[dict[str, str]] = {
        "PERSISTENCE_MODULE": "adapters.storage.sqlite",
        "MAPPER_TOPIC": "adapters.storage.mapper:MessagePackMapper",
        "ORIGINATOR_ID_TYPE": "text",
    }

    _group_commit: GroupCommitWriter | None = None

    def __init__(
        self,
        env: EnvType | None = None,
        *,
        on_committed: OnCommitted | None = None,
        on_refused: OnRefused | None = None,
        on_stall: Callable[[BaseException], None] | None = None,
        on_resume: Callable[[], None] | None = None,
        max_batch_events: int = 4_096,
        max_backlog_events: int = 100_000,
    ) -> None:
        self.mapper: MessagePackMapper
        super().__init__(env)
        self._subscriptions: WeakSet[LedgerSubscription] = WeakSet()
        recorder = self.recorder
        self._sqlite = recorder if isinstance(recorder, SQLiteLedgerRecorder) else None
        self._index: OrderIndex = self._sqlite or ScannedIndex(recorder, self.mapper)
        self.writable = self._sqlite is None or self._sqlite.file.writable
        if self.writable:
            self._group_commit = GroupCommitWriter(
                self._sqlite or LibraryRecordStore(recorder),
                self.mapper.to_record,
                on_committed=on_committed,
                on_refused=on_refused,
                on_stall=on_stall,
                on_resume=on_resume,
                max_batch_events=max_batch_events,
                max_backlog_events=max_backlog_events,
            )
            # A process that ends without closing still records what it has submitted.
            finalize(self, self._group_commit.close)

    def construct_mapper(self) -> MessagePackMapper:
        """The library's hook. Raises `LedgerError` if the settings name a mapper that is not ours."""
        mapper: Mapper[str] = super().construct_mapper()
        if not isinstance(mapper, MessagePackMapper):
            raise LedgerError(f"MAPPER_TOPIC must name a MessagePackMapper, not {type(mapper).__qualname__}")
        return mapper

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        writer: bool = True,
        create: bool = True,
        env: EnvType | None = None,
        on_committed: OnCommitted | None = None,
        on_refused: OnRefused | None = None,
        on_stall: Callable[[BaseException], None] | None = None,
        on_resume: Callable[[], None] | None = None,
        max_batch_events: int = 4_096,
        max_backlog_events: int = 100_000,
    ) -> Self:
        """Open the ledger file at `path`, as its one writer or (`writer=False`) for reading beside a writer.

        `create`: a writer makes the file if there is none. `env` adds the library's settings, such as
        `CIPHER_KEY` and `COMPRESSOR_TOPIC`. Raises `LedgerInUseError` (another writer),
        `LedgerNotFoundError`, `ForeignLedgerError`, `NewerLedgerError`, `DamagedLedgerError`,
        `LedgerUnavailableError`.
        """
        settings = {
            "PERSISTENCE_MODULE": "adapters.storage.sqlite",
            "SQLITE_DBNAME": os.fspath(path),
            "LEDGER_READ_ONLY": "no" if writer else "yes",
            "CREATE_TABLE": "yes" if create else "no",
        }
        # The library looks for a name with the application's prefix first, also in the process environment:
        # nothing there may lead to another file than the one named here.
        prefixed = {f"{cls.name.upper()}_{name}": value for name, value in settings.items()}
        return cls(
            {**(env or {}), **settings, **prefixed},
            on_committed=on_committed,
            on_refused=on_refused,
            on_stall=on_stall,
            on_resume=on_resume,
            max_batch_events=max_batch_events,
            max_backlog_events=max_backlog_events,
        )

    # Writing

    @property
    def group_commit(self) -> GroupCommitWriter:
        """The writer of this ledger. Raises `LedgerReadOnlyError` if it was opened for reading."""
        if self._group_commit is None:
            raise LedgerReadOnlyError("the ledger was opened for reading")
        return self._group_commit

    def submit(self, events: Sequence[LedgerEvent], context: object = None) -> Future[Committed]:
        """Queue events to be recorded together, without waiting; see `GroupCommitWriter.submit`."""
        return self.group_commit.submit(events, context)

    def enqueue(self, events: Sequence[LedgerEvent], context: object = None) -> None:
        """Like `submit`, with the outcome given to `on_committed` or `on_refused` alone: cheaper."""
        self.group_commit.enqueue(events, context)

    def append(self, events: Sequence[LedgerEvent]) -> Committed:
        """Record events together and wait until they are durable (for ever, while the disk refuses)."""
        return self.submit(events).result()

    @property
    def backlog(self) -> int:
        """Events submitted and not yet durable."""
        return 0 if self._group_commit is None else self._group_commit.backlog

    @property
    def stalled(self) -> BaseException | None:
        """Why nothing can be recorded at present; None while events are recorded."""
        return None if self._group_commit is None else self._group_commit.stalled

    # Reading

    @property
    def max_position(self) -> int:
        """The position of the last event; 0 in an empty ledger."""
        return self.recorder.max_notification_id() or 0

    def events_of(self, client_order_id: str) -> list[LedgerEvent]:
        """The events of one order (or account) in the order of their versions; none if it is not known."""
        return [event for _, event in self.history_of(client_order_id)]

    def history_of(
        self, client_order_id: str, *, on_unreadable: OnUnreadable | None = None
    ) -> list[tuple[int, LedgerEvent]]:
        """`events_of` with the position of each; `on_unreadable` as in `read_batches`."""
        return self.mapper.to_events(self._index.rows_of(client_order_id), on_unreadable)

    def notifications(self, start: int | None = None, limit: int = 1_000) -> Sequence[Notification]:
        """Events as they are stored, undecoded, from position `start` on."""
        return self.recorder.select_notifications(start, limit)

    def read(
        self,
        after_position: int = 0,
        limit: int | None = None,
        *,
        up_to: int | None = None,
        topics: Sequence[str] = (),
        on_unreadable: OnUnreadable | None = None,
    ) -> Iterator[tuple[int, LedgerEvent]]:
        """`(position, event)` one by one; see `read_batches`."""
        for batch in self.read_batches(
            after_position, limit, up_to=up_to, topics=topics, on_unreadable=on_unreadable
        ):
            yield from batch

    def read_batches(
        self,
        after_position: int = 0,
        limit: int | None = None,
        *,
        up_to: int | None = None,
        topics: Sequence[str] = (),
        batch_size: int = _READ_BATCH,
        on_unreadable: OnUnreadable | None = None,
    ) -> Iterator[list[tuple[int, LedgerEvent]]]:
        """Lists of `(position, event)`, after one position and up to (with) another, `limit` events at most.

        Ends at what is recorded when it gets there. An event that cannot be decoded goes to
        `on_unreadable` and is passed over; without it, it raises its `EventNotReadableError`.
        """
        while limit is None or limit > 0:
            size = batch_size if limit is None else min(batch_size, limit)
            rows = self._rows(after_position, size, up_to, topics)
            if batch := self.mapper.to_events(rows, on_unreadable):
                yield batch
            if len(rows) < size:
                return
            after_position = rows[-1][0]
            if limit is not None:
                limit -= len(rows)

    def _rows(self, after: int, limit: int, up_to: int | None, topics: Sequence[str]) -> list[EventRow]:
        if self._sqlite is not None:
            return self._sqlite.select_rows(after, limit, stop=up_to, topics=topics)
        page = self.recorder.select_notifications(after, limit, up_to, topics, inclusive_of_start=False)
        return [(n.id, str(n.originator_id), n.originator_version, n.topic, n.state) for n in page]

    # Finding

    def resolve(self, key: str) -> str | None:
        """The client order id that a text stands for, or None.

        A lookup key if it has the form of one (`oid:…`, `key:…`), and then nothing else, whatever ids there
        are; else a client order id; else an exchange order id; else a venue order key. All exact; for
        beginnings there is `find_prefix`.
        """
        if key.startswith((EXCHANGE_ID_PREFIX, VENUE_KEY_PREFIX)):
            return self._index.originator_of_key(key)
        if self._index.originators_by_prefix(key, 1) == [key]:
            return key
        for candidate in (EXCHANGE_ID_PREFIX + key, VENUE_KEY_PREFIX + key):
            originator_id = self._index.originator_of_key(candidate)
            if originator_id is not None:
                return originator_id
        return None

    def find_prefix(self, prefix: str, limit: int = 10) -> list[str]:
        """The client order ids (and account ids) that begin with `prefix`, sorted, at most `limit`."""
        return self._index.originators_by_prefix(prefix, limit)

    def known_user_ids(self) -> Iterator[str]:
        """The client order ids that the venue knows under a key which is not the id itself."""
        return self._index.originators_with_keys(VENUE_KEY_PREFIX)

    # Following

    def subscribe(
        self,
        after_position: int = 0,
        *,
        topics: Sequence[str] = (),
        batch_size: int = 500,
        on_unreadable: OnUnreadable | None = None,
    ) -> LedgerSubscription:
        """Follow the ledger from a position: what is recorded, then each new event, none missed or twice.

        On a ledger opened for reading, commits of the writing process arrive within its
        `change_check_interval`.
        """
        source: RowSource
        if self._sqlite is not None:
            source = SQLiteSubscription(self._sqlite, gt=after_position, topics=topics, batch_size=batch_size)
        else:
            stored = self.recorder.subscribe(gt=after_position, topics=topics)
            source = PumpedSubscription(stored, batch_size=batch_size)
        subscription = LedgerSubscription(source, self.mapper, on_unreadable=on_unreadable)
        self._subscriptions.add(subscription)
        return subscription

    def close(self, timeout: float | None = 10.0) -> None:
        """Record what is waiting, end the subscriptions, and let go of the file. May be called again.

        Raises `UnflushedEventsError` if the disk still refuses after `timeout` seconds; it is closed all
        the same.
        """
        try:
            if self._group_commit is not None:
                self._group_commit.close(timeout)
        finally:
            for subscription in list(self._subscriptions):
                subscription.close()
            super().close()
