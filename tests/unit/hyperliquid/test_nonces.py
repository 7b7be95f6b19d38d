"""No nonce is ever given twice, and none outside the window the venue accepts."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hyperliquid.nonces import AHEAD_MS_MAX, NonceError, NonceSource

NOW = 1_700_000_000_000


def test_a_nonce_is_the_time_and_then_counts_on() -> None:
    nonces = NonceSource()
    assert [nonces.next(NOW) for _ in range(3)] == [NOW, NOW + 1, NOW + 2]
    assert nonces.next(NOW + 50) == NOW + 50


def test_a_restart_goes_on_after_the_persisted_nonce() -> None:
    before = NonceSource()
    given_before = {before.next(NOW) for _ in range(10)}
    after = NonceSource(before.last)
    assert after.next(NOW - 5_000) not in given_before


def test_a_clock_that_steps_back_repeats_nothing() -> None:
    nonces = NonceSource()
    assert nonces.next(NOW) == NOW
    assert nonces.next(NOW - 3_600_000) == NOW + 1


def test_a_nonce_seen_elsewhere_is_not_used_again() -> None:
    nonces = NonceSource()
    nonces.observe(NOW + 7)
    nonces.observe(NOW + 3)
    assert nonces.last == NOW + 7
    assert nonces.next(NOW) == NOW + 8


def test_a_nonce_too_far_ahead_of_the_clock_is_refused_and_not_used_up() -> None:
    nonces = NonceSource(NOW + AHEAD_MS_MAX - 1)
    assert nonces.next(NOW) == NOW + AHEAD_MS_MAX
    with pytest.raises(NonceError, match="ahead of the clock"):
        nonces.next(NOW)
    assert nonces.last == NOW + AHEAD_MS_MAX
    assert nonces.next(NOW + 1) == NOW + AHEAD_MS_MAX + 1


def test_the_distance_ahead_can_be_narrowed() -> None:
    with pytest.raises(NonceError):
        NonceSource(NOW + 1_000, ahead_ms_max=1_000).next(NOW)


@pytest.mark.parametrize("value", [-1, 2**64, 1.5, True, "1", None])
def test_what_is_no_nonce_is_refused(value: Any) -> None:
    for use in (
        lambda: NonceSource(value),
        lambda: NonceSource().next(value),
        lambda: NonceSource().observe(value),
    ):
        with pytest.raises(NonceError, match="whole number"):
            use()


steps = st.lists(
    st.tuples(st.sampled_from(["next", "observe", "restart"]), st.integers(-5_000, 5_000)), max_size=60
)


@given(steps)
@settings(deadline=None, max_examples=150)
def test_nonces_rise_strictly_whatever_the_clock_and_the_restarts_do(history: list[tuple[str, int]]) -> None:
    nonces = NonceSource()
    highest = 0
    for what, offset in history:
        if what == "restart":
            nonces = NonceSource(nonces.last)
        elif what == "observe":
            nonces.observe(NOW + offset)
            highest = max(highest, NOW + offset)
        else:
            nonce = nonces.next(NOW + offset)
            assert nonce > highest
            assert nonce >= NOW + offset
            highest = nonce
