from __future__ import annotations

import re
import threading
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.client_order_id import (
    SESSION_ID_BITS,
    ClientOrderIdGenerator,
    ClientOrderIdParts,
    InvalidClientOrderIdError,
    parse_client_order_id,
    validate_user_order_id,
)
from domain.errors import InvalidOrderError

NOW_NS = 1_790_360_864_964_123_456
SESSION = 0x5E1F_0000_00A1


def test_an_id_is_a_valid_cloid() -> None:
    assert re.fullmatch(r"0x[0-9a-f]{32}", ClientOrderIdGenerator(SESSION).next(NOW_NS))


def test_two_orders_at_the_same_instant_have_different_ids() -> None:
    generator = ClientOrderIdGenerator(SESSION)
    assert generator.next(NOW_NS) != generator.next(NOW_NS)


def test_two_sessions_at_the_same_instant_make_different_ids() -> None:
    assert ClientOrderIdGenerator(1).next(NOW_NS) != ClientOrderIdGenerator(2).next(NOW_NS)


def test_the_same_session_and_times_give_the_same_ids_again() -> None:
    first, second = ClientOrderIdGenerator(SESSION), ClientOrderIdGenerator(SESSION)
    assert [first.next(NOW_NS + i) for i in range(5)] == [second.next(NOW_NS + i) for i in range(5)]


def test_ids_sort_in_the_order_they_were_made() -> None:
    generator = ClientOrderIdGenerator(SESSION)
    ids = [generator.next(NOW_NS + (i // 7) * 1_000_000) for i in range(1000)]
    assert all(earlier < later for earlier, later in pairwise(ids))


def test_a_clock_that_jumps_back_does_not_repeat_an_id() -> None:
    generator = ClientOrderIdGenerator(SESSION)
    ids = [generator.next(NOW_NS - i % 3 * 1_000_000) for i in range(300)]
    assert len(set(ids)) == 300


def test_ten_threads_make_a_hundred_thousand_different_ids() -> None:
    generator = ClientOrderIdGenerator(SESSION)
    barrier = threading.Barrier(10)
    made: list[list[str]] = [[] for _ in range(10)]

    def make(own: list[str]) -> None:
        barrier.wait()
        own.extend(generator.next(NOW_NS) for _ in range(10_000))

    threads = [threading.Thread(target=make, args=(own,)) for own in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = {client_order_id for own in made for client_order_id in own}
    assert len(ids) == 100_000
    assert sorted(parse_client_order_id(each).counter for each in ids) == list(range(100_000))


@given(st.integers(0, 2**SESSION_ID_BITS - 1), st.integers(0, 2**48 * 1_000_000 - 1))
@settings(deadline=None, max_examples=100)
def test_an_id_tells_its_time_counter_and_session(session_id: int, now_ns: int) -> None:
    generator = ClientOrderIdGenerator(session_id)
    for counter in range(3):
        parts = parse_client_order_id(generator.next(now_ns))
        assert parts == ClientOrderIdParts(now_ns // 1_000_000, counter, session_id)


@pytest.mark.parametrize("session_id", [-1, 2**SESSION_ID_BITS])
def test_a_session_id_that_does_not_fit_is_refused(session_id: int) -> None:
    with pytest.raises(ValueError, match="48 bits"):
        ClientOrderIdGenerator(session_id)


@pytest.mark.parametrize("now_ns", [-1, 2**48 * 1_000_000])
def test_an_impossible_time_is_refused(now_ns: int) -> None:
    with pytest.raises(ValueError, match="not a time"):
        ClientOrderIdGenerator(SESSION).next(now_ns)


@pytest.mark.parametrize(
    "text",
    ["", "0x", "0x" + "g" * 32, "0x" + "A" * 32, "0x" + "1" * 31, "0x" + "1" * 33, "0x" + "1" * 32 + "\n"],
)
def test_a_text_of_another_form_is_not_parsed(text: str) -> None:
    with pytest.raises(InvalidClientOrderIdError):
        parse_client_order_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "my order #7",
        "Ordre-été",
        "注文123",
        "🚀",
        "0x" + "1" * 32,
        "'; DROP TABLE orders; --",
        "a" * 200,
    ],
)
def test_any_printable_text_may_be_a_user_s_id(text: str) -> None:
    assert validate_user_order_id(text) == text


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "empty"),
        ("a" * 201, "at most 200"),
        ("a\x00b", "character 2 .* U\\+0000"),
        ("line\nbreak", "U\\+000A"),
        ("\ud800", "U\\+D800"),
        ("\x1b[31mred", "U\\+001B"),
        ("\x85", "U\\+0085"),
        ("a\u2028b", "U\\+2028"),
        ("\u202eabc", "U\\+202E"),
        (7, "not a int"),
        (None, "not a NoneType"),
        (b"abc", "not a bytes"),
    ],
)
def test_a_text_that_would_not_survive_a_log_line_is_refused(text: object, what: str) -> None:
    with pytest.raises(InvalidClientOrderIdError, match=what) as raised:
        validate_user_order_id(text)  # type: ignore[arg-type]
    assert isinstance(raised.value, InvalidOrderError)
    assert raised.value.reason_code == "invalid_client_order_id"


@given(st.text(st.characters(), max_size=210))
@settings(deadline=None, max_examples=200)
def test_an_accepted_id_can_be_encoded_and_stands_on_one_line(text: str) -> None:
    try:
        accepted = validate_user_order_id(text)
    except InvalidClientOrderIdError as error:
        str(error).encode()
        return
    assert accepted == text
    assert accepted.encode().decode() == text
    assert len(accepted.splitlines()) == 1
