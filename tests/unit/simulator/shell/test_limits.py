"""Weights and allowances per IP address (protocol sheet 9.1, 9.5)."""

import pytest

from adapters.simulator.limits import IpLimits, Meter, entries_in, exchange_weight, info_weight, rows_weight


@pytest.mark.parametrize(("entries", "weight"), [(0, 1), (1, 1), (39, 1), (40, 2), (79, 2), (200, 6)])
def test_an_action_weighs_one_and_one_more_per_forty_entries(entries: int, weight: int) -> None:
    assert exchange_weight(entries) == weight


@pytest.mark.parametrize(
    ("kind", "weight"),
    [
        ("l2Book", 2),
        ("orderStatus", 2),
        ("exchangeStatus", 2),
        ("userRole", 60),
        ("meta", 20),
        ("userFills", 20),
    ],
)
def test_a_read_weighs_what_the_venue_says(kind: str, weight: int) -> None:
    assert info_weight(kind) == weight


@pytest.mark.parametrize(
    ("kind", "rows", "weight"),
    [
        ("userFills", 19, 0),
        ("userFills", 20, 1),
        ("userFills", 2000, 100),
        ("candleSnapshot", 60, 1),
        ("meta", 99, 0),
    ],
)
def test_a_list_read_costs_more_by_the_rows_it_returned(kind: str, rows: int, weight: int) -> None:
    assert rows_weight(kind, [{}] * rows) == weight


def test_a_batch_counts_its_entries_and_anything_else_counts_one() -> None:
    assert entries_in({"type": "order", "orders": [{}, {}]}) == 2
    assert entries_in({"type": "cancelByCloid", "cancels": [{}] * 3}) == 3
    assert entries_in({"type": "noop"}) == 1


def test_the_minute_is_spent_once_and_then_starts_again() -> None:
    meter = Meter(IpLimits.venue().weight_per_minute)
    assert meter.charge("ip", 1200, now_ms=0)
    assert not meter.charge("ip", 1, now_ms=59_999)
    assert meter.charge("other", 1, now_ms=59_999)
    assert meter.charge("ip", 1, now_ms=60_000)


def test_rows_already_returned_are_owed_even_beyond_the_allowance() -> None:
    meter = Meter(10)
    meter.add("ip", 25, now_ms=0)
    assert meter.used("ip", now_ms=1) == 25
    assert not meter.charge("ip", 1, now_ms=1)


def test_without_a_limit_nothing_is_refused() -> None:
    meter = Meter(IpLimits.relaxed().weight_per_minute)
    assert all(meter.charge("ip", 10**6, now_ms=0) for _ in range(3))
