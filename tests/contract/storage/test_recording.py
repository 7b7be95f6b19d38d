"""Recording and reading back, on every store."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from eventsourcing.application import AggregateNotFoundError
from eventsourcing.persistence import IntegrityError, RecordConflictError

from adapters.storage.errors import LedgerClosedError, UnregisteredEventError
from adapters.storage.group_commit import Committed, Refused
from adapters.storage.ledger import OrderLedger
from domain.events import LedgerEvent
from tests.contract.storage.conftest import Store
from tests.contract.storage.samples import created, filled, life, order_id, submitted


def test_events_get_consecutive_positions_in_the_order_of_submission(ledger: OrderLedger) -> None:
    outcomes = [ledger.submit(life(number)) for number in range(50)]
    positions = [position for outcome in outcomes for position in outcome.result().positions]
    assert positions == list(range(1, 151))
    assert ledger.max_position == 150
    assert list(ledger.read()) == list(
        enumerate([event for number in range(50) for event in life(number)], start=1)
    )


def test_an_empty_ledger_has_nothing_to_read(ledger: OrderLedger) -> None:
    assert ledger.max_position == 0
    assert list(ledger.read()) == []
    assert ledger.events_of(order_id(1)) == []
    assert ledger.notifications() == []


def test_the_events_of_one_order_come_in_the_order_of_their_versions(ledger: OrderLedger) -> None:
    ledger.append([created(1), created(2)])
    ledger.append([submitted(2), submitted(1)])
    ledger.append([filled(1)])
    assert ledger.events_of(order_id(1)) == life(1)
    assert ledger.history_of(order_id(2)) == [(2, created(2)), (3, submitted(2))]


def test_a_version_that_is_already_recorded_is_a_conflict(ledger: OrderLedger) -> None:
    ledger.append(life(1))
    with pytest.raises(RecordConflictError) as caught:
        ledger.append([submitted(1)])
    assert isinstance(caught.value, IntegrityError)
    assert ledger.max_position == 3


def test_a_conflicting_submission_records_nothing_of_itself(ledger: OrderLedger) -> None:
    ledger.append(life(1))
    with pytest.raises(RecordConflictError):
        ledger.append([created(2), submitted(1)])
    assert ledger.events_of(order_id(2)) == []


def test_one_submission_naming_a_version_twice_is_a_conflict(ledger: OrderLedger) -> None:
    with pytest.raises(RecordConflictError):
        ledger.append([created(1), created(1)])
    assert ledger.max_position == 0


def test_a_conflict_fails_alone_while_its_neighbours_are_recorded(store: Store) -> None:
    refused: list[Refused] = []
    ledger = store.open(on_refused=refused.extend)
    ledger.append(life(100))
    outcomes = [ledger.submit([created(1)]), ledger.submit([submitted(100)], context="the bad one")]
    outcomes += [ledger.submit(life(number)) for number in range(2, 40)]
    for index, outcome in enumerate(outcomes):
        if index == 1:
            assert isinstance(outcome.exception(), RecordConflictError)
        else:
            assert outcome.exception() is None
    assert [each.context for each in refused] == ["the bad one"]
    assert [event for _, event in ledger.read(after_position=3)] == [
        created(1),
        *(event for number in range(2, 40) for event in life(number)),
    ]


def test_what_continues_a_refused_event_is_refused_too(ledger: OrderLedger) -> None:
    ledger.append(life(1))
    both = ledger.submit([created(1), created(2)])
    behind = ledger.submit([submitted(2)])
    assert isinstance(both.exception(), RecordConflictError)
    assert isinstance(behind.exception(), RecordConflictError)
    assert ledger.events_of(order_id(2)) == []


def test_a_refused_order_can_be_recorded_again_from_its_first_event(ledger: OrderLedger) -> None:
    ledger.append(life(1))
    assert ledger.submit([created(1), created(2)]).exception() is not None
    ledger.append(life(2))
    ledger.append([filled(2, 4)])
    assert ledger.events_of(order_id(2)) == [*life(2), filled(2, 4)]


def test_an_order_goes_on_from_what_is_recorded_after_a_refusal(ledger: OrderLedger) -> None:
    ledger.append([created(1), submitted(1)])
    assert ledger.submit([submitted(1)]).exception() is not None
    ledger.append([filled(1)])
    assert ledger.events_of(order_id(1)) == life(1)


def test_an_empty_submission_is_recorded_as_nothing(ledger: OrderLedger) -> None:
    assert list(ledger.append([]).positions) == []
    assert ledger.max_position == 0


def test_committed_submissions_are_told_in_order_with_their_context(store: Store) -> None:
    told: list[Committed] = []
    ledger = store.open(on_committed=told.extend)
    for number in range(200):
        ledger.enqueue(life(number), context=number)
    ledger.append([])
    assert [each.context for each in told if each.context is not None] == list(range(200))
    assert [list(each.positions) for each in told[:2]] == [[1, 2, 3], [4, 5, 6]]
    assert told[7].events == life(7)


def test_threads_record_side_by_side_and_nothing_is_lost(ledger: OrderLedger) -> None:
    def record(thread: int) -> list[int]:
        outcomes = [ledger.submit(life(1000 * thread + number)) for number in range(100)]
        return [position for outcome in outcomes for position in outcome.result().positions]

    with ThreadPoolExecutor(8) as threads:
        positions = list(threads.map(record, range(8)))
    assert sorted(position for mine in positions for position in mine) == list(range(1, 2401))
    assert all(mine == sorted(mine) for mine in positions)
    recorded = [event.originator_id for _, event in ledger.read()]
    assert sorted(set(recorded)) == sorted(
        order_id(1000 * thread + number) for thread in range(8) for number in range(100)
    )


def test_reading_takes_a_start_an_end_a_limit_and_topics(ledger: OrderLedger) -> None:
    ledger.append([event for number in range(10) for event in life(number)])

    def positions(**options: object) -> list[int]:
        return [position for position, _ in ledger.read(**options)]  # type: ignore[arg-type]

    assert positions(after_position=27) == [28, 29, 30]
    assert positions(after_position=3, limit=2) == [4, 5]
    assert positions(up_to=4) == [1, 2, 3, 4]
    assert positions(limit=0) == []
    assert positions(topics=["order.filled"], up_to=12) == [3, 6, 9, 12]
    assert positions(topics=["order.filled", "order.created"], after_position=24) == [25, 27, 28, 30]
    assert positions(after_position=30) == []


def test_reading_in_small_batches_gives_the_same(ledger: OrderLedger) -> None:
    ledger.append([event for number in range(10) for event in life(number)])
    in_sevens = list(ledger.read_batches(batch_size=7))
    assert [len(batch) for batch in in_sevens] == [7, 7, 7, 7, 2]
    assert [pair for batch in in_sevens for pair in batch] == list(ledger.read())
    assert [len(batch) for batch in ledger.read_batches(batch_size=15)] == [15, 15]
    assert [len(batch) for batch in ledger.read_batches(limit=20, batch_size=15)] == [15, 5]


def test_the_librarys_save_repository_and_notification_log_work(ledger: OrderLedger) -> None:
    recordings = ledger.save(created(1), submitted(1))
    assert [recording.notification.id for recording in recordings] == [1, 2]
    ledger.append([filled(1)])

    def fold(
        events_so_far: list[LedgerEvent] | None, events: Iterable[LedgerEvent]
    ) -> list[LedgerEvent] | None:
        return [*(events_so_far or []), *events] or None

    assert ledger.repository.get(order_id(1), projector_func=fold) == life(1)  # type: ignore[type-var]
    assert ledger.repository.get(order_id(1), version=2, projector_func=fold) == life(1)[:2]  # type: ignore[type-var]
    with pytest.raises(AggregateNotFoundError):
        ledger.repository.get(order_id(2), projector_func=fold)  # type: ignore[type-var]
    section = ledger.notification_log["1,10"]
    assert [notification.topic for notification in section.items] == [
        "order.created",
        "order.submitted",
        "order.filled",
    ]
    with pytest.raises(IntegrityError):
        ledger.save(filled(1))


def test_what_is_saved_and_what_is_submitted_share_one_sequence(ledger: OrderLedger) -> None:
    ledger.append([created(1)])
    ledger.save(submitted(1))
    assert list(ledger.append([filled(1)]).positions) == [3]


def test_an_object_that_is_no_registered_event_is_refused_at_once(ledger: OrderLedger) -> None:
    class Unheard(LedgerEvent, frozen=True, kw_only=True):
        topic = "order.unheard"

    event = Unheard(
        originator_id="x",
        originator_version=1,
        recorded_at_ns=0,
        venue="",
        account="",
        source=created(1).source,
    )
    with pytest.raises(UnregisteredEventError, match="Unheard"):
        ledger.submit([created(1), event])
    with pytest.raises(UnregisteredEventError):
        ledger.save(event)
    assert ledger.max_position == 0
    assert ledger.backlog == 0


def test_text_that_cannot_be_encoded_is_refused_at_once(ledger: OrderLedger) -> None:
    with pytest.raises(UnicodeEncodeError):
        ledger.submit([created(1, venue_order_key="\ud800")])
    assert ledger.backlog == 0


def test_closing_records_what_is_waiting(store: Store) -> None:
    told: list[Committed] = []
    ledger = store.open(on_committed=told.extend)
    for number in range(500):
        ledger.enqueue(life(number))
    ledger.close()
    assert len(told) == 500
    with pytest.raises(LedgerClosedError):
        ledger.submit(life(501))


def test_a_ledger_may_be_closed_again(ledger: OrderLedger) -> None:
    ledger.close()
    ledger.close()
