"""Finding an order by any of its names, on every store."""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.storage.ledger import OrderLedger
from domain.events import (
    OrderAmended,
    OrderCancelled,
    OrderExpired,
    OrderFailed,
    OrderReportedFilled,
    OrderTriggered,
)
from tests.contract.storage.conftest import Store
from tests.contract.storage.samples import acknowledged, created, filled, life, order_id


def test_an_order_is_found_by_its_client_order_id(ledger: OrderLedger) -> None:
    ledger.append(life(1))
    assert ledger.resolve(order_id(1)) == order_id(1)
    assert ledger.resolve(order_id(2)) is None
    assert ledger.resolve(order_id(1)[:-1]) is None
    assert ledger.resolve("") is None


def test_an_order_is_found_by_the_exchange_order_id_of_its_acknowledgement(ledger: OrderLedger) -> None:
    ledger.append([created(1), acknowledged(1, 2, exchange_order_id="77")])
    assert ledger.resolve("oid:77") == order_id(1)
    assert ledger.resolve("77") == order_id(1)
    assert ledger.resolve("7") is None


def test_an_order_is_found_by_the_exchange_order_id_of_a_fill(ledger: OrderLedger) -> None:
    ledger.append(life(5))
    assert ledger.resolve("oid:10000005") == order_id(5)


def test_each_event_that_carries_an_exchange_order_id_makes_it_findable(ledger: OrderLedger) -> None:
    envelope: dict[str, Any] = {
        name: getattr(created(1), name) for name in ("recorded_at_ns", "venue", "account", "source")
    }
    closed: dict[str, Any] = {"reason_code": "x"}
    amended: dict[str, Any] = {"price": created(1).price, "leg_amount": created(1).amount}
    kinds: list[tuple[type[Any], dict[str, Any]]] = [
        (OrderAmended, amended),
        (OrderTriggered, {}),
        (OrderReportedFilled, {}),
        (OrderCancelled, closed),
        (OrderFailed, closed),
        (OrderExpired, closed),
    ]
    for number, (kind, members) in enumerate(kinds):
        event = kind(
            originator_id=order_id(number),
            originator_version=1,
            exchange_order_id=f"9{number}",
            **envelope,
            **members,
        )
        ledger.append([event])
        assert ledger.resolve(f"oid:9{number}") == order_id(number), kind


def test_an_event_without_an_exchange_order_id_adds_no_key(ledger: OrderLedger) -> None:
    envelope: dict[str, Any] = {
        name: getattr(created(1), name) for name in ("recorded_at_ns", "venue", "account", "source")
    }
    event = OrderCancelled(originator_id="x", originator_version=1, reason_code="refused", **envelope)
    ledger.append([event])
    assert ledger.resolve("oid:") is None
    assert ledger.resolve("oid:None") is None


def test_a_users_own_id_is_found_by_the_key_the_venue_knows_it_under(ledger: OrderLedger) -> None:
    mine = created(1, venue_order_key="0x" + "ee" * 16)
    ledger.append([mine, created(2)])
    assert ledger.resolve("key:0x" + "ee" * 16) == order_id(1)
    assert ledger.resolve("0x" + "ee" * 16) == order_id(1)
    assert ledger.resolve("key:" + order_id(2)) is None
    assert list(ledger.known_user_ids()) == [order_id(1)]


def test_a_key_keeps_pointing_at_the_order_that_took_it_first(ledger: OrderLedger) -> None:
    ledger.append([acknowledged(1, 1, exchange_order_id="5"), acknowledged(2, 1, exchange_order_id="5")])
    ledger.append([acknowledged(3, 1, exchange_order_id="5")])
    assert ledger.resolve("oid:5") == order_id(1)


def test_a_lookup_key_is_never_taken_for_the_client_order_id_of_another_order(ledger: OrderLedger) -> None:
    """Ledgers of versions that allowed such ids may hold one."""
    for number, former in ((1, "oid:777"), (2, "key:0x" + "ee" * 16)):
        ledger.append([msgspec.structs.replace(event, originator_id=former) for event in life(number)])
    assert ledger.resolve("oid:777") is None
    assert ledger.resolve("key:0x" + "ee" * 16) is None
    ledger.append([acknowledged(3, 1, exchange_order_id="777")])
    assert ledger.resolve("oid:777") == order_id(3)
    assert ledger.resolve("10000001") == "oid:777", "it is found by its exchange id"
    assert ledger.find_prefix("oid:") == ["oid:777"]


def test_keys_of_a_refused_submission_are_not_taken(ledger: OrderLedger) -> None:
    ledger.append([created(1)])
    refused = ledger.submit([acknowledged(2, 1, exchange_order_id="5"), created(1)])
    assert refused.exception() is not None
    assert ledger.resolve("oid:5") is None
    ledger.append([acknowledged(3, 1, exchange_order_id="5")])
    assert ledger.resolve("oid:5") == order_id(3)


def test_events_saved_the_librarys_way_are_findable_too(ledger: OrderLedger) -> None:
    ledger.save(*life(3))
    assert ledger.resolve("oid:10000003") == order_id(3)


def test_orders_are_found_by_the_beginning_of_their_id(ledger: OrderLedger) -> None:
    for number in (0x10, 0x11, 0x12, 0x20):
        ledger.append(life(number))
    beginning = order_id(0x10)[:-1]
    assert ledger.find_prefix(beginning) == [order_id(number) for number in (0x10, 0x11, 0x12)]
    assert ledger.find_prefix(beginning, limit=2) == [order_id(0x10), order_id(0x11)]
    assert ledger.find_prefix(order_id(0x20)) == [order_id(0x20)]
    assert ledger.find_prefix("1") == []
    assert len(ledger.find_prefix("")) == 4


def test_a_percent_sign_in_an_id_is_only_a_character(ledger: OrderLedger) -> None:
    ledger.append([acknowledged(1, 1, exchange_order_id="5")])
    assert ledger.find_prefix("%") == []
    assert ledger.find_prefix("_x") == []


def test_thousands_of_user_ids_are_streamed(store: Store) -> None:
    ledger = store.open()
    ledger.append([created(number, venue_order_key=f"k{number:05}") for number in range(2_500)])
    assert list(ledger.known_user_ids()) == [order_id(number) for number in range(2_500)]


def test_an_order_stays_findable_by_each_exchange_order_id_it_had(ledger: OrderLedger) -> None:
    ledger.append([acknowledged(1, 1, exchange_order_id="5"), acknowledged(1, 2, exchange_order_id="6")])
    ledger.append([filled(1, 3)])
    assert {ledger.resolve(f"oid:{each}") for each in ("5", "6", "10000001")} == {order_id(1)}
