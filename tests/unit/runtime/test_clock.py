"""The clock of the runtime goes on whatever is done to the system's."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.runtime.clock import SteadyClock

SECOND = 1_000_000_000


class SystemClocks:
    """The two clocks of a machine, moved by hand."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000 * SECOND
        self.monotonic = 5 * SECOND
        self.clock = SteadyClock(lambda: self.wall, lambda: self.monotonic)

    def pass_time(self, duration_ns: int) -> int:
        self.wall += duration_ns
        self.monotonic += duration_ns
        return self.clock.now_ns()


def test_it_tells_the_system_s_time() -> None:
    system = SystemClocks()
    assert system.clock.now_ns() == system.wall
    assert system.pass_time(3 * SECOND) == system.wall


def test_a_step_forward_is_taken_over_at_once() -> None:
    system = SystemClocks()
    system.clock.now_ns()
    system.wall += 3600 * SECOND
    assert system.pass_time(SECOND) == system.wall


def test_after_a_step_back_it_goes_on_at_half_speed_until_the_system_has_caught_up() -> None:
    system = SystemClocks()
    before = system.clock.now_ns()
    system.wall -= 60 * SECOND
    assert system.pass_time(10 * SECOND) == before + 5 * SECOND
    assert system.pass_time(90 * SECOND) == before + 50 * SECOND
    assert system.pass_time(30 * SECOND) == system.wall == before + 70 * SECOND


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 100 * SECOND),
            st.just(0) | st.integers(-10_000 * SECOND, 10_000 * SECOND),
        ),
        max_size=30,
    )
)
def test_it_never_goes_back_and_never_loses_more_than_half(moves: list[tuple[int, int]]) -> None:
    system = SystemClocks()
    told = system.clock.now_ns()
    for passed, step in moves:
        system.wall += step
        now = system.pass_time(passed)
        assert now >= told + passed // 2
        assert now >= system.wall
        told = now
