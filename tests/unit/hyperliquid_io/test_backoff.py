"""Waiting before the next attempt: longer each time, never the same for all, never too often."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hyperliquid.backoff import BackOff, ConnectionBudget


class HighestRandom(Random):
    """Always draws the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_delays_double_up_to_the_cap_and_start_anew_after_success() -> None:
    back_off = BackOff(base_seconds=0.5, cap_seconds=5.0, rng=HighestRandom())
    assert [back_off.next_delay() for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    back_off.reset()
    assert back_off.next_delay() == 0.5


def test_delays_are_spread_over_the_whole_range() -> None:
    delays = []
    for seed in range(200):
        back_off = BackOff(base_seconds=1.0, cap_seconds=60.0, rng=Random(seed))
        delays.append([back_off.next_delay() for _ in range(4)][-1])
    assert min(delays) < 1.0
    assert max(delays) > 7.0
    assert all(0.0 <= delay <= 8.0 for delay in delays)


def test_ten_thousand_failures_are_no_overflow() -> None:
    back_off = BackOff(base_seconds=0.5, cap_seconds=30.0, rng=HighestRandom())
    assert [back_off.next_delay() for _ in range(10_000)][-1] == 30.0


def test_a_spent_budget_says_how_long_to_wait() -> None:
    budget = ConnectionBudget(connections_max=2, window_seconds=60.0)
    assert budget.take(100.0) == 0.0
    assert budget.take(130.0) == 0.0
    assert budget.take(131.0) == 29.0
    assert budget.take(160.0) == 0.0
    assert budget.take(160.0) == 30.0


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ConnectionBudget(connections_max=0)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 40).map(lambda quarters: quarters / 4), max_size=60), st.integers(1, 5))
def test_no_window_ever_holds_more_connections_than_allowed(steps: list[float], connections_max: int) -> None:
    budget = ConnectionBudget(connections_max=connections_max, window_seconds=60.0)
    now, opened = 0.0, []
    for step in steps:
        now += step
        if (wait := budget.take(now)) == 0.0:
            opened.append(now)
        else:
            assert 0.0 < wait <= 60.0
    for first, beyond in zip(opened, opened[connections_max:], strict=False):
        assert beyond - first >= 60.0
