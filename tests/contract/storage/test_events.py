"""Every type of event survives every store exactly."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from eventsourcing.cipher import AESCipher
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.storage.errors import UndecodableEventError
from adapters.storage.ledger import OrderLedger
from domain import events as domain_events
from domain.events import EVENT_TYPES, LedgerEvent
from tests.contract.storage.conftest import Store
from tests.contract.storage.samples import any_event, created, filled, life, order_id, structs

_GENERATED = settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@_GENERATED
@given(events=st.lists(any_event(), max_size=8, unique_by=lambda e: (e.originator_id, e.originator_version)))
def test_generated_events_come_back_as_they_were(ledger: OrderLedger, events: list[LedgerEvent]) -> None:
    start = ledger.max_position
    # The examples share one ledger: each gets originators of its own.
    renamed = [
        msgspec.structs.replace(event, originator_id=f"{start}:{event.originator_id}") for event in events
    ]
    ledger.append(renamed)
    assert [event for _, event in ledger.read(start)] == renamed


@pytest.mark.parametrize("topic", sorted(EVENT_TYPES))
def test_each_type_of_event_can_be_recorded(store: Store, topic: str) -> None:
    ledger = store.open()

    @settings(deadline=None, max_examples=1, database=None, derandomize=True)
    @given(event=structs(EVENT_TYPES[topic]))
    def record(event: LedgerEvent) -> None:
        ledger.append([event])
        assert ledger.events_of(event.originator_id) == [event]
        assert ledger.notifications()[-1].topic == topic

    record()


def test_no_type_of_event_is_forgotten_in_the_registry() -> None:
    def leaves(cls: type[LedgerEvent]) -> set[type[LedgerEvent]]:
        found = {cls} if cls.topic else set()
        return found.union(*(leaves(child) for child in cls.__subclasses__()))

    declared = {cls for cls in leaves(LedgerEvent) if cls.__module__ == domain_events.__name__}
    assert declared == set(EVENT_TYPES.values())
    assert len(declared) == len(EVENT_TYPES)


@pytest.mark.parametrize(
    "amount",
    ["9e-8", "0.00000009", "1E+3", "0", "-0.0", "123456789012345678901234567890.000000001", "43210.50"],
)
def test_amounts_keep_every_digit_and_their_exponent(ledger: OrderLedger, amount: str) -> None:
    ledger.append([filled(1, 1, amount=Decimal(amount))])
    (event,) = ledger.events_of(order_id(1))
    assert isinstance(event, domain_events.OrderFilled)
    assert event.fill.amount.as_tuple() == Decimal(amount).as_tuple()


def test_topics_are_names_and_never_module_paths(ledger: OrderLedger) -> None:
    ledger.append(life(1))
    assert [stored.topic for stored in ledger.notifications()] == [
        "order.created",
        "order.submitted",
        "order.filled",
    ]


def test_compressed_states_come_back(store: Store) -> None:
    ledger = store.open({"COMPRESSOR_TOPIC": "eventsourcing.compressor:ZlibCompressor"})
    ledger.append([filled(1, 1)])
    assert ledger.events_of(order_id(1)) == [filled(1, 1)]
    assert b"fill_key" not in ledger.notifications()[0].state


@pytest.mark.parametrize("also_compressed", [False, True])
def test_encrypted_states_come_back_and_are_not_readable_in_the_store(
    store: Store, also_compressed: bool
) -> None:
    env = {"CIPHER_TOPIC": "eventsourcing.cipher:AESCipher", "CIPHER_KEY": AESCipher.create_key(32)}
    if also_compressed:
        env["COMPRESSOR_TOPIC"] = "zlib"
    ledger = store.open(env)
    ledger.append(life(1))
    assert ledger.events_of(order_id(1)) == life(1)
    assert all(b"BTC" not in stored.state for stored in ledger.notifications())


def test_the_wrong_cipher_key_is_said_and_not_guessed_around(ledger: OrderLedger, store: Store) -> None:
    ledger.append([created(1)])
    stored = ledger.notifications()[0]
    ledger.close()
    other = store.open({"CIPHER_KEY": AESCipher.create_key(16)})
    with pytest.raises(UndecodableEventError, match="another cipher"):
        other.mapper.to_domain_event(stored)
