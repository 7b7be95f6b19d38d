"""Moments on a command line: read exactly, or refused with what would be right."""

from __future__ import annotations

from argparse import ArgumentTypeError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.cli.moments import Moment, moment, point_in_time, utc_ns

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-02", 86_400 * SECOND),
        ("1970-01-01 00:01", 60 * SECOND),
        ("1970-01-01T00:00:01.5z", 1_500_000_000),
        ("1970-01-01T00:00:00.123456789Z", 123_456_789),
        ("1970-01-01T02:00:00+01:30", 1_800 * SECOND),
        ("1970-01-01T00:00:00,25-0100", 3_600 * SECOND + 250_000_000),
    ],
)
def test_a_time_is_read_to_the_nanosecond(text: str, time_ns: int) -> None:
    assert moment(text).time_ns == time_ns


@settings(deadline=None)
@given(time_ns=st.integers(0, 2**63 - 1))
def test_a_time_that_was_shown_is_read_back_exactly(time_ns: int) -> None:
    assert point_in_time(utc_ns(time_ns)) == Moment(utc_ns(time_ns), time_ns=time_ns)


def test_only_a_time_without_a_zone_is_assumed_to_be_utc() -> None:
    assert moment("2026-01-31T12:00").assumed_utc
    assert moment("2026-01-31").assumed_utc
    assert not moment("2026-01-31T12:00Z").assumed_utc
    assert not moment("2026-01-31T12:00+00:00").assumed_utc


def test_digits_are_a_position() -> None:
    assert moment("20260131") == Moment("20260131", position=20_260_131)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "-1",
        "2026-13-01",
        "2026-02-30",
        "2026-01-31T25:00",
        "2026-01-31T12",
        "2026-01-31T12:00:00.1234567891Z",
        "2026-01-31T12:00+99:00",
        "1969-12-31T23:59:59Z",
        "2263-01-01",
        "0001-01-01T00:00+14:00",
        "٢٠٢٦-01-31",
        str(2**63),
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        moment(text)
