"""A venue time as text, for reading. Pure: a calendar and no clock, and any integer is a time."""

from __future__ import annotations

__all__ = ["moment"]

_DAY_MS = 86_400_000
_DAYS_OF_400_YEARS = 146_097
_DAYS_BEFORE_1970 = 719_468
"""From the first of March of the year 0 to the first of January 1970."""


def moment(time_ms: int) -> str:
    """Milliseconds since 1970 as `YYYY-MM-DD hh:mm:ss.mmmZ`; also for a garbled time far from our days."""
    days, of_day = divmod(time_ms, _DAY_MS)
    year, month, day = _date(days)
    seconds, milliseconds = divmod(of_day, 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z"


def _date(days: int) -> tuple[int, int, int]:
    """Year, month and day. Years are counted from March, so that a leap day is the last of its year."""
    era, of_era = divmod(days + _DAYS_BEFORE_1970, _DAYS_OF_400_YEARS)
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * of_year + 2) // 153
    day = of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    return era * 400 + year_of_era + (1 if month <= 2 else 0), month, day
