"""Moments as a command line gives them: positions of the log, and times in ISO 8601, to the nanosecond."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime

import msgspec

__all__ = ["Moment", "moment", "point_in_time", "utc_ns"]

_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[T ](?P<clock>\d\d:\d\d)(?::(?P<seconds>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?P<zone>[Zz]|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)
_LATEST_NS = 2**63 - 1


class Moment(msgspec.Struct, frozen=True):
    """What was typed (`text`), and what it is: a `position`, or a `time_ns` (UTC). `assumed_utc`: a time
    whose zone nobody gave."""

    text: str
    position: int | None = None
    time_ns: int | None = None
    assumed_utc: bool = False


def moment(text: str) -> Moment:
    """A position (digits only) or a time; for `argparse`."""
    if text.isascii() and text.isdigit():
        position = int(text)
        if position > _LATEST_NS:
            raise argparse.ArgumentTypeError(f"no log has a position {text}")
        return Moment(text, position=position)
    return point_in_time(text)


def point_in_time(text: str) -> Moment:
    """A date, or a date and time, in ISO 8601; for `argparse`."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"not a time: {text!r} (such as 2026-01-31, 2026-01-31T14:03:07.25 or 2026-01-31T14:03:07+01:00)"
        )
    zone = (found["zone"] or "Z").upper()
    try:
        whole = datetime.fromisoformat(
            f"{found['date']}T{found['clock'] or '00:00'}:{found['seconds'] or '00'}{zone}"
        )
        since_1970 = whole - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"not a time: {text!r} ({error})") from None
    # A float, or datetime's own microseconds, would lose the last digits.
    time_ns = (since_1970.days * 86_400 + since_1970.seconds) * 10**9
    time_ns += int((found["fraction"] or "").ljust(9, "0"))
    if not 0 <= time_ns <= _LATEST_NS:
        raise argparse.ArgumentTypeError(f"not a time of this ledger: {text!r} (1970 to 2262)")
    return Moment(text, time_ns=time_ns, assumed_utc=found["zone"] is None)


def utc_ns(ns: int) -> str:
    """Nanoseconds since 1970 as UTC in ISO 8601 with all nine digits: what `--at` takes back exactly."""
    seconds, rest = divmod(ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
