"""Times as text: the same as the standard library's, and beyond its years."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.moments import moment

_FIRST_MS = -62_135_596_800_000
_LAST_MS = 253_402_300_799_999
"""The years 1 to 9999, which the standard library knows."""


@settings(deadline=None)
@given(time_ms=st.integers(_FIRST_MS, _LAST_MS))
def test_a_time_reads_as_the_standard_library_has_it(time_ms: int) -> None:
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    assert moment(time_ms) == expected.isoformat(" ", "milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize("day", ["2000-02-29", "2024-02-29", "2100-02-28", "2100-03-01", "2023-12-31"])
def test_ends_of_months_and_years_are_right(day: str) -> None:
    at_ms = int(datetime.fromisoformat(f"{day}T23:59:59.999+00:00").timestamp() * 1000)
    assert moment(at_ms) == f"{day} 23:59:59.999Z"


def test_a_garbled_time_is_still_a_text() -> None:
    assert moment(2**48) == "10889-08-02 05:31:50.656Z"
