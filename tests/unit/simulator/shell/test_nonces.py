"""Replay protection, rule by rule (protocol sheet 3.8)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.simulator.nonces import NEWEST_MS, OLDEST_MS, NonceBook, NonceRefused

NOW = 1_700_000_000_000
SIGNER = "0x" + "aa" * 20
OTHER = "0x" + "bb" * 20


def test_a_nonce_is_good_exactly_once() -> None:
    book = NonceBook()
    book.use(SIGNER, NOW, now_ms=NOW)
    with pytest.raises(NonceRefused, match=f"^Invalid nonce: duplicate nonce {NOW}$"):
        book.use(SIGNER, NOW, now_ms=NOW)


def test_each_signer_has_its_own_nonces() -> None:
    book = NonceBook()
    book.use(SIGNER, NOW, now_ms=NOW)
    book.use(OTHER, NOW, now_ms=NOW)
    assert book.kept(SIGNER) == book.kept(OTHER) == (NOW,)


def test_out_of_order_arrival_is_fine_among_the_hundred_highest() -> None:
    book = NonceBook()
    for nonce in range(NOW + 100, NOW, -1):
        book.use(SIGNER, nonce, now_ms=NOW)
    assert book.kept(SIGNER) == tuple(range(NOW + 1, NOW + 101))


def test_a_nonce_below_the_hundred_highest_is_too_low() -> None:
    book = NonceBook()
    for nonce in range(NOW, NOW + 101):
        book.use(SIGNER, nonce, now_ms=NOW)
    assert book.kept(SIGNER)[0] == NOW + 1
    with pytest.raises(NonceRefused, match=f"^Invalid nonce: nonce too low {NOW} < {NOW + 1}$"):
        book.use(SIGNER, NOW, now_ms=NOW)


def test_a_hundred_sends_stamped_far_ahead_lock_correctly_stamped_ones_out() -> None:
    book = NonceBook()
    for nonce in range(NOW + 3_600_000, NOW + 3_600_100):
        book.use(SIGNER, nonce, now_ms=NOW)
    with pytest.raises(NonceRefused, match="nonce too low"):
        book.use(SIGNER, NOW + 5, now_ms=NOW + 5)


def test_the_strict_floor_refuses_a_nonce_below_the_only_one_kept() -> None:
    book = NonceBook(strict_floor=True)
    book.use(SIGNER, NOW, now_ms=NOW)
    with pytest.raises(NonceRefused, match=f"nonce too low {NOW - 1} < {NOW}"):
        book.use(SIGNER, NOW - 1, now_ms=NOW)


@pytest.mark.parametrize("offset", [-OLDEST_MS + 1, 0, NEWEST_MS - 1])
def test_a_nonce_inside_the_window_is_accepted(offset: int) -> None:
    book = NonceBook()
    book.use(SIGNER, NOW + offset, now_ms=NOW)
    assert book.kept(SIGNER) == (NOW + offset,)


@pytest.mark.parametrize("offset", [-OLDEST_MS, NEWEST_MS])
def test_the_ends_of_the_window_are_outside_it(offset: int) -> None:
    book = NonceBook()
    with pytest.raises(NonceRefused, match="Invalid nonce"):
        book.use(SIGNER, NOW + offset, now_ms=NOW)
    assert book.kept(SIGNER) == ()


def test_a_forgotten_signer_could_be_replayed() -> None:
    book = NonceBook()
    book.use(SIGNER, NOW, now_ms=NOW)
    book.forget(SIGNER)
    book.use(SIGNER, NOW, now_ms=NOW)
    assert book.kept(SIGNER) == (NOW,)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(NOW - 200, NOW + 200), max_size=300))
def test_no_nonce_is_ever_accepted_twice_and_the_kept_ones_are_the_hundred_highest(nonces: list[int]) -> None:
    book = NonceBook()
    accepted: list[int] = []
    for nonce in nonces:
        try:
            book.use(SIGNER, nonce, now_ms=NOW)
        except NonceRefused:
            continue
        accepted.append(nonce)
    assert len(accepted) == len(set(accepted))
    assert book.kept(SIGNER) == tuple(sorted(accepted)[-100:])
