"""Nothing is sent above the venue's limits, and cancels get through when orders have to wait."""

import itertools

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
PATIENT, RESOLUTION = RequestKind.PATIENT_INFO, RequestKind.RESOLUTION
SECOND = 1_000_000_000
MINUTE = 60 * SECOND


def admit(window: WeightWindow, kind: RequestKind, weight: int, now_ns: int) -> int:
    """0 and counted when it may go now; otherwise the wait."""
    wait_ns = window.wait_ns(kind, weight, now_ns)
    if not wait_ns:
        window.charge(kind, weight, now_ns)
    return wait_ns


def fill_up(window: WeightWindow, kind: RequestKind, now_ns: int = 0) -> int:
    """How much weight of one kind goes in, one by one."""
    return next(count for count in range(2_000) if admit(window, kind, 1, now_ns))


@pytest.mark.parametrize(("entries", "weight"), [(1, 1), (39, 1), (40, 2), (79, 2), (80, 3), (200, 6)])
def test_a_batch_weighs_one_more_per_forty_entries(entries: int, weight: int) -> None:
    assert action_weight(entries) == weight


def test_weight_is_free_again_a_minute_after_it_was_used() -> None:
    window = WeightWindow(weight_per_minute=100, cancel_reserve=0, slices=False)
    assert admit(window, INFO, 60, 0) == 0
    assert admit(window, INFO, 40, 10 * SECOND) == 0
    assert admit(window, INFO, 1, 20 * SECOND) == 40 * SECOND
    assert admit(window, INFO, 61, 20 * SECOND) == 50 * SECOND
    assert window.used(20 * SECOND) == 100
    assert admit(window, INFO, 60, MINUTE) == 0
    assert window.used(MINUTE) == 100


def test_a_reserve_is_kept_for_cancels() -> None:
    window = WeightWindow(weight_per_minute=100, cancel_reserve=10, slices=False)
    assert admit(window, ORDER, 90, 0) == 0
    assert admit(window, ORDER, 1, 0) == MINUTE
    assert admit(window, INFO, 1, 0) == MINUTE
    assert [admit(window, CANCEL, 1, 0) for _ in range(10)] == [0] * 10
    assert admit(window, CANCEL, 1, 0) == MINUTE


def test_a_process_may_be_given_a_share_of_the_limit() -> None:
    window = WeightWindow(share=0.25)
    assert (window.limit, window.cancel_limit) == (185, 300)


@pytest.mark.parametrize(
    "configuration",
    [{"share": 0}, {"share": 1.1}, {"cancel_reserve": 1200}, {"cancel_reserve": -1}, {"share": 0.01}],
)
def test_a_configuration_that_leaves_nothing_is_refused(configuration: dict[str, float]) -> None:
    with pytest.raises(LimitError):
        WeightWindow(**configuration)  # type: ignore[arg-type]


def test_what_can_never_be_admitted_is_an_error_and_not_a_wait() -> None:
    with pytest.raises(LimitError, match="above the limit"):
        WeightWindow(weight_per_minute=100, cancel_reserve=50).wait_ns(INFO, 60, 0)
    with pytest.raises(LimitError, match="at least one entry"):
        RequestLimits().admit_action(ORDER, 0, 0)
    with pytest.raises(LimitError, match="not negative"):
        WeightWindow().charge(INFO, -1, 0)


def test_rows_of_an_answer_count_although_they_go_above_the_limit() -> None:
    window = WeightWindow(weight_per_minute=100, cancel_reserve=0, slices=False)
    assert admit(window, INFO, 20, 0) == 0
    window.charge(INFO, 100, SECOND)
    assert admit(window, INFO, 20, 2 * SECOND) == 59 * SECOND


def test_the_told_wait_is_enough_although_charges_came_in_out_of_order() -> None:
    window = WeightWindow(weight_per_minute=100, cancel_reserve=0, slices=False)
    window.charge(INFO, 50, 10 * SECOND)
    window.charge(ORDER, 50, 5 * SECOND)
    wait = admit(window, INFO, 100, 20 * SECOND)
    assert window.used(20 * SECOND + wait) == 0
    assert admit(window, INFO, 100, 20 * SECOND + wait) == 0


def test_orders_and_reads_leave_something_to_each_other_and_to_questions_about_open_fates() -> None:
    window = WeightWindow()
    assert fill_up(window, ORDER) == 840
    assert fill_up(window, INFO) == 200
    assert fill_up(window, RESOLUTION) == 60
    assert fill_up(window, CANCEL) == 100
    window = WeightWindow()
    assert [fill_up(window, kind) for kind in (INFO, ORDER, RESOLUTION, CANCEL)] == [840, 200, 60, 100]


@pytest.mark.parametrize("weight", [200, 250, 400, 620, 1_000, 1_200])
def test_what_is_kept_for_reads_is_there_however_much_is_ordered_and_cancelled(weight: int) -> None:
    window = WeightWindow(weight_per_minute=weight)
    kept = window.in_advance(20, 120)
    read_ns, sent = [0], 0
    for second in range(10 * 60):
        now_ns = second * SECOND
        while not admit(window, ORDER, 1, now_ns):
            sent += 1
            if sent % 2:
                window.charge(CANCEL, 1, now_ns)
        if not admit(window, INFO, kept, now_ns):
            read_ns.append(now_ns)
    assert max(later - earlier for earlier, later in itertools.pairwise(read_ns)) <= 61 * SECOND


def test_patient_reads_go_on_beside_orders_that_use_all_there_is() -> None:
    window = WeightWindow(weight_per_minute=1_000)
    assert fill_up(window, ORDER) == 650
    assert fill_up(window, PATIENT) == 100
    assert admit(window, INFO, 100, 0) == 0


def test_a_read_never_counts_more_in_advance_than_is_kept_for_reads() -> None:
    assert WeightWindow(weight_per_minute=200).in_advance(20, 120) == 45
    assert WeightWindow(weight_per_minute=200).in_advance(60, 60) == 60, "its own weight it has in any case"
    assert WeightWindow(weight_per_minute=400).in_advance(20, 120) == 120


def test_cancels_may_take_everything_and_patient_reads_at_most_half_of_what_cancels_leave() -> None:
    assert fill_up(WeightWindow(), CANCEL) == 1_200
    window = WeightWindow()
    assert fill_up(window, PATIENT) == 550
    assert fill_up(window, INFO) == 290, "patient reads are reads"
    assert fill_up(window, PATIENT) == 0


def test_without_slices_what_cancels_leave_goes_to_whoever_comes_first() -> None:
    window = WeightWindow(slices=False)
    assert [fill_up(window, kind) for kind in (ORDER, INFO, RESOLUTION, CANCEL)] == [1_100, 0, 0, 100]


def test_what_was_counted_for_rows_in_advance_is_free_again_when_there_were_fewer() -> None:
    window = WeightWindow()
    charge = window.charge(INFO, 120, 0)
    window.settle(charge, 20, 3, 10 * SECOND)
    assert window.used(10 * SECOND) == 23
    assert window.used(MINUTE) == 3, "rows count from when they were answered"
    assert fill_up(window, INFO, MINUTE) == 837


def test_an_answer_after_more_than_a_minute_gives_nothing_back_twice() -> None:
    window = WeightWindow()
    charge = window.charge(INFO, 120, 0)
    assert window.used(61 * SECOND) == 0
    window.settle(charge, 20, 50, 61 * SECOND)
    assert window.used(61 * SECOND) == 50
    window.give_back(charge, 120)
    assert window.used(61 * SECOND) == 50


def test_a_429_holds_orders_and_reads_ever_longer_until_one_is_answered() -> None:
    window, now_ns = WeightWindow(), 0
    for hold_s in (2, 4, 8, 16, 32, 60, 60):
        assert window.refused(now_ns) == hold_s * SECOND
        assert window.refused(now_ns + SECOND) == 0, "one that was sent before the hold"
        for kind in (ORDER, INFO, PATIENT):
            assert window.wait_ns(kind, 1, now_ns + SECOND) == (hold_s - 1) * SECOND
        for kind in (CANCEL, RESOLUTION):
            assert window.wait_ns(kind, 1, now_ns + SECOND) == 0
        window.accepted(now_ns + SECOND)  # says nothing: it may have been sent before
        now_ns += hold_s * SECOND
        assert window.wait_ns(ORDER, 1, now_ns) == 0
    window.accepted(now_ns)
    assert window.refused(now_ns) == 2 * SECOND


requests = st.lists(
    st.tuples(
        st.sampled_from([ORDER, CANCEL, INFO, RESOLUTION, PATIENT]),
        st.integers(1, 40),
        st.integers(0, 20 * SECOND),
    ),
    max_size=80,
)


@given(requests)
@settings(deadline=None, max_examples=100)
def test_no_minute_ever_holds_more_than_the_limit_and_every_wait_is_exact(
    asked: list[tuple[RequestKind, int, int]],
) -> None:
    window = WeightWindow(weight_per_minute=200, cancel_reserve=50)
    sent: list[tuple[int, int, bool]] = []
    now = 0
    for kind, weight, pause in asked:
        now += pause
        wait = admit(window, kind, weight, now)
        if wait:
            # One nanosecond less is too early; the told wait is enough.
            assert window.wait_ns(kind, weight, now + wait - 1) == 1
            now += wait
            assert admit(window, kind, weight, now) == 0
        sent.append((now, weight, kind is CANCEL))
        for begin, _, _ in sent:
            within = [(spent, urgent) for at, spent, urgent in sent if begin <= at < begin + MINUTE]
            assert sum(spent for spent, _ in within) <= 200
            assert sum(spent for spent, urgent in within if not urgent) <= 150


def test_orders_stop_at_the_budget_of_the_address_and_cancels_go_on() -> None:
    budget = AddressBudget(used=9_990, cap=10_000)
    assert budget.remaining == 10
    assert budget.wait_ns(ORDER, 10, 0) == 0
    budget.charge(ORDER, 10, 0)
    assert budget.remaining == 0
    assert budget.wait_ns(ORDER, 1, SECOND) == 9 * SECOND
    assert budget.wait_ns(CANCEL, 1, SECOND) == 0


@pytest.mark.parametrize(("cap", "cancel_limit"), [(10_000, 20_000), (1_000_000, 1_100_000)])
def test_cancels_have_the_larger_budget_of_the_sheet(cap: int, cancel_limit: int) -> None:
    budget = AddressBudget(used=cancel_limit - 5, cap=cap)
    budget.charge(ORDER, 0, 0)
    assert budget.wait_ns(CANCEL, 5, 0) == 0
    assert budget.wait_ns(CANCEL, 6, 0) == 10 * SECOND


def test_cancels_within_their_own_budget_do_not_hold_orders_up() -> None:
    limits = RequestLimits(address=AddressBudget(used=10_000, cap=10_000))
    assert limits.admit_action(ORDER, 1, 0) == 0
    assert limits.admit_action(CANCEL, 1, 9 * SECOND) == 0
    assert limits.admit_action(ORDER, 1, 10 * SECOND) == 0


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


def test_an_action_that_has_to_wait_is_counted_nowhere() -> None:
    limits = RequestLimits(WeightWindow(weight_per_minute=101, cancel_reserve=100, slices=False))
    assert limits.admit_action(ORDER, 1, 0) == 0
    assert limits.admit_action(ORDER, 1, SECOND) == 59 * SECOND
    assert (limits.address.used, limits.window.used(SECOND)) == (1, 1)
    exhausted = RequestLimits(address=AddressBudget(used=10_001))
    assert exhausted.admit_action(ORDER, 1, 0) == 0
    assert exhausted.admit_action(ORDER, 1, SECOND) == 9 * SECOND
    assert exhausted.window.used(SECOND) == 1


def test_a_stale_action_costs_five_times_its_entries() -> None:
    budget = AddressBudget()
    budget.charge(ORDER, 3, 0)
    budget.charge_stale(3)
    assert budget.used == 15


def test_the_venues_own_count_replaces_ours() -> None:
    budget = AddressBudget()
    budget.charge(ORDER, 7, 0)
    budget.synchronize(used=2_890, cap=2_864_574)
    assert (budget.used, budget.remaining) == (2_890, 2_861_684)
