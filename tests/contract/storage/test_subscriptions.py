"""Following a ledger, on every store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import pytest
from eventsourcing.projection import ApplicationSubscription

from adapters.storage.ledger import OrderLedger
from adapters.storage.subscription import LedgerSubscription
from tests.contract.storage.conftest import Store
from tests.contract.storage.samples import created, filled, life, submitted

_PATIENCE_S = 60.0


def _take(subscription: LedgerSubscription, count: int) -> list[int]:
    positions: list[int] = []
    while len(positions) < count:
        batch = subscription.next_batch(timeout=_PATIENCE_S)
        assert batch, f"nothing came after {positions[-1:]}"
        positions += [position for position, _ in batch]
    return positions


def test_a_subscription_first_catches_up_and_then_follows(ledger: OrderLedger) -> None:
    ledger.append([event for number in range(100) for event in life(number)])
    with ledger.subscribe(batch_size=70) as subscription:
        assert _take(subscription, 300) == list(range(1, 301))
        ledger.append(life(100))
        assert _take(subscription, 3) == [301, 302, 303]
        assert subscription.next_batch(timeout=0) == []


def test_a_subscription_starts_after_the_position_it_is_given(ledger: OrderLedger) -> None:
    ledger.append(life(1))
    with ledger.subscribe(2) as subscription:
        assert subscription.next_batch(timeout=_PATIENCE_S) == [(3, filled(1))]


def test_a_subscription_may_start_beyond_the_end(ledger: OrderLedger) -> None:
    with ledger.subscribe(2) as subscription:
        ledger.append(life(1))
        assert subscription.next_batch(timeout=_PATIENCE_S) == [(3, filled(1))]


def test_a_subscription_to_some_topics_passes_over_the_others(ledger: OrderLedger) -> None:
    ledger.append([event for number in range(20) for event in life(number)])
    with ledger.subscribe(topics=["order.filled"], batch_size=7) as subscription:
        assert _take(subscription, 20) == list(range(3, 61, 3))
        ledger.append([created(20), submitted(20)])
        ledger.append([filled(20)])
        assert _take(subscription, 1) == [63]


def test_many_subscribers_each_see_every_event_once_while_it_is_written(ledger: OrderLedger) -> None:
    ledger.append([event for number in range(50) for event in life(number)])
    total = 50 * 3 + 4 * 50 * 3

    def follow(index: int) -> list[int]:
        with ledger.subscribe(batch_size=10 + index) as subscription:
            return _take(subscription, total)

    def write(thread: int) -> None:
        for number in range(50):
            ledger.append(life(1000 * (thread + 1) + number))

    with ThreadPoolExecutor(10) as threads:
        followers = [threads.submit(follow, index) for index in range(6)]
        list(threads.map(write, range(4)))
        assert [follower.result() for follower in followers] == [list(range(1, total + 1))] * 6


def test_iterating_gives_events_one_by_one_until_closed(ledger: OrderLedger) -> None:
    ledger.append(life(1))
    seen = []
    subscription = ledger.subscribe()
    for position, event in subscription:
        seen.append((position, event))
        if position == 3:
            ledger.append([filled(1, 4)])
        if position == 4:
            subscription.close()
    assert [event for _, event in seen] == [*life(1), filled(1, 4)]
    assert subscription.closed


def test_closing_a_subscription_wakes_whoever_waits_in_it(ledger: OrderLedger) -> None:
    subscription = ledger.subscribe()
    began, ended = Event(), Event()

    def wait() -> None:
        began.set()
        assert subscription.next_batch() == []
        ended.set()

    waiter = Thread(target=wait)
    waiter.start()
    assert began.wait(_PATIENCE_S)
    subscription.close()
    assert ended.wait(_PATIENCE_S)
    waiter.join()


def test_closing_the_ledger_ends_its_subscriptions(ledger: OrderLedger) -> None:
    subscription = ledger.subscribe()
    ended = Event()

    def wait() -> None:
        assert list(subscription) == []
        ended.set()

    waiter = Thread(target=wait)
    waiter.start()
    ledger.close()
    assert ended.wait(_PATIENCE_S)
    waiter.join()


def test_the_librarys_subscription_works(ledger: OrderLedger) -> None:
    ledger.append(life(1))
    with ApplicationSubscription(ledger, gt=1) as subscription:
        event, tracking = next(subscription)
        assert event == submitted(1)
        assert tracking.notification_id == 2
        assert next(subscription)[0] == filled(1)
        ledger.save(filled(1, 4))
        assert next(subscription)[0] == filled(1, 4)
        subscription.stop()
        with pytest.raises(StopIteration):
            next(subscription)


def test_a_ledger_without_writing_ends_a_wait_after_its_timeout(store: Store) -> None:
    ledger = store.open()
    with ledger.subscribe() as subscription:
        assert subscription.next_batch(timeout=0.01) == []
        assert not subscription.closed
