"""Nothing is sent above the venue's limits, and cancels get through when orders have to wait."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hyperliquid.limits import (
    AddressBudget,
    LimitError,
    RequestKind,
    RequestLimits,
    WeightWindow,
    action_weight,
)

ORDER, CANCEL, INFO = RequestKind.ORDER, RequestKind.CANCEL, RequestKind.INFO
SECOND = 1_000_000_000
MINUTE = 60 * SECOND


@pytest.mark.parametrize(("entries", "weight"), [(1, 1), (39, 1), (40, 2), (79, 2), (80, 3), (200, 6)])
def test_a_batch_weighs_one_more_per_forty_entries(entries: int, weight: int) -> None:
    assert action_weight(entries) == weight


def test_weight_is_free_again_a_minute_after_it_was_used() -> None:
    window = WeightWindow(weight_per_minute=100, cancel_reserve=0)
    assert window.admit(INFO, 60, 0) == 0
    assert window.admit(INFO, 40, 10 * SECOND) == 0
    assert window.admit(INFO, 1, 20 * SECOND) == 40 * SECOND
    assert window.admit(INFO, 61, 20 * SECOND) == 50 * SECOND
    assert window.used(20 * SECOND) == 100
    assert window.admit(INFO, 60, MINUTE) == 0
    assert window.used(MINUTE) == 100


def test_a_reserve_is_kept_for_cancels() -> None:
    window = WeightWindow(weight_per_minute=100, cancel_reserve=10)
    assert window.admit(ORDER, 90, 0) == 0
    assert window.admit(ORDER, 1, 0) == MINUTE
    assert window.admit(INFO, 1, 0) == MINUTE
    assert [window.admit(CANCEL, 1, 0) for _ in range(10)] == [0] * 10
    assert window.admit(CANCEL, 1, 0) == MINUTE


def test_a_process_may_be_given_a_share_of_the_limit() -> None:
    window = WeightWindow(share=0.25)
    assert (window.limit, window.cancel_limit) == (200, 300)


@pytest.mark.parametrize(
    "configuration",
    [{"share": 0}, {"share": 1.1}, {"cancel_reserve": 1200}, {"cancel_reserve": -1}, {"share": 0.01}],
)
def test_a_configuration_that_leaves_nothing_is_refused(configuration: dict[str, float]) -> None:
    with pytest.raises(LimitError):
        WeightWindow(**configuration)  # type: ignore[arg-type]


def test_what_can_never_be_admitted_is_an_error_and_not_a_wait() -> None:
    with pytest.raises(LimitError, match="above the limit"):
        WeightWindow(weight_per_minute=100, cancel_reserve=50).admit(INFO, 60, 0)
    with pytest.raises(LimitError, match="at least one entry"):
        RequestLimits().admit_action(ORDER, 0, 0)
    with pytest.raises(LimitError, match="not negative"):
        WeightWindow().charge(-1, 0)


def test_rows_of_an_answer_count_although_they_go_above_the_limit() -> None:
    window = WeightWindow(weight_per_minute=100, cancel_reserve=0)
    assert window.admit(INFO, 20, 0) == 0
    window.charge(100, SECOND)
    assert window.admit(INFO, 20, 2 * SECOND) == 59 * SECOND


def test_the_told_wait_is_enough_although_charges_came_in_out_of_order() -> None:
    window = WeightWindow(weight_per_minute=100, cancel_reserve=0)
    window.charge(50, 10 * SECOND)
    window.charge(50, 5 * SECOND)
    wait = window.admit(INFO, 100, 20 * SECOND)
    assert window.used(20 * SECOND + wait) == 0
    assert window.admit(INFO, 100, 20 * SECOND + wait) == 0


requests = st.lists(
    st.tuples(st.sampled_from([ORDER, CANCEL, INFO]), st.integers(1, 60), st.integers(0, 20 * SECOND)),
    max_size=80,
)


@given(requests)
@settings(deadline=None, max_examples=100)
def test_no_minute_ever_holds_more_than_the_limit_and_every_wait_is_exact(
    asked: list[tuple[RequestKind, int, int]],
) -> None:
    window = WeightWindow(weight_per_minute=150, cancel_reserve=50)
    sent: list[tuple[int, int]] = []
    now = 0
    for kind, weight, pause in asked:
        now += pause
        wait = window.admit(kind, weight, now)
        if wait:
            # One nanosecond less is too early; the told wait is enough.
            assert window.wait_ns(kind, weight, now + wait - 1) == 1
            now += wait
            assert window.admit(kind, weight, now) == 0
        sent.append((now, weight))
        for at, _ in sent:
            assert sum(spent for then, spent in sent if at <= then < at + MINUTE) <= 150


def test_orders_stop_at_the_budget_of_the_address_and_cancels_go_on() -> None:
    budget = AddressBudget(used=9_990, cap=10_000)
    assert budget.remaining == 10
    assert budget.wait_ns(ORDER, 10, 0) == 0
    budget.charge(10, 0)
    assert budget.remaining == 0
    assert budget.wait_ns(ORDER, 1, SECOND) == 9 * SECOND
    assert budget.wait_ns(CANCEL, 1, SECOND) == 0


@pytest.mark.parametrize(("cap", "cancel_limit"), [(10_000, 20_000), (1_000_000, 1_100_000)])
def test_cancels_have_the_larger_budget_of_the_sheet(cap: int, cancel_limit: int) -> None:
    budget = AddressBudget(used=cancel_limit - 5, cap=cap)
    budget.charge(0, 0)
    assert budget.wait_ns(CANCEL, 5, 0) == 0
    assert budget.wait_ns(CANCEL, 6, 0) == 10 * SECOND


def test_an_exhausted_address_may_send_one_action_in_ten_seconds() -> None:
    limits = RequestLimits(address=AddressBudget(used=10_000, cap=10_000))
    assert limits.admit_action(ORDER, 1, 0) == 0
    assert limits.admit_action(ORDER, 1, 4 * SECOND) == 6 * SECOND
    assert limits.admit_action(ORDER, 1, 10 * SECOND) == 0
    assert limits.address.used == 10_002


def test_entries_count_for_the_address_and_weight_for_the_ip() -> None:
    limits = RequestLimits()
    assert limits.admit_action(ORDER, 100, 0) == 0
    assert limits.address.used == 100
    assert limits.window.used(0) == 3
    assert limits.admit_info(20, 0) == 0
    assert limits.address.used == 100
    assert limits.window.used(0) == 23


def test_an_action_that_has_to_wait_is_counted_nowhere() -> None:
    limits = RequestLimits(WeightWindow(weight_per_minute=101, cancel_reserve=100))
    assert limits.admit_action(ORDER, 1, 0) == 0
    assert limits.admit_action(ORDER, 1, SECOND) == 59 * SECOND
    assert (limits.address.used, limits.window.used(SECOND)) == (1, 1)
    exhausted = RequestLimits(address=AddressBudget(used=10_001))
    assert exhausted.admit_action(ORDER, 1, 0) == 0
    assert exhausted.admit_action(ORDER, 1, SECOND) == 9 * SECOND
    assert exhausted.window.used(SECOND) == 1


def test_a_stale_action_costs_five_times_its_entries() -> None:
    budget = AddressBudget()
    budget.charge(3, 0)
    budget.charge_stale(3)
    assert budget.used == 15


def test_the_venues_own_count_replaces_ours() -> None:
    budget = AddressBudget()
    budget.charge(7, 0)
    budget.synchronize(used=2_890, cap=2_864_574)
    assert (budget.used, budget.remaining) == (2_890, 2_861_684)
