"""Client order ids: making our own, reading them back, and judging those a user brings.

An own id is `0x` and 32 lower-case hex digits, so it is a valid Hyperliquid `cloid` (protocol sheet, 4.1):

    0x | 12 digits: milliseconds since 1970 | 8 digits: counter | 12 digits: session

Ids sort by the time they were made, and within one session by the counter. Uniqueness does not rest on the
clock. Within a session the counter alone tells ids apart, until it wraps after 2^32 of them, when the
millisecond has long moved on. Two sessions, on one machine or on two, make the same id only if their 48
random bits agree *and* both are at the same counter in the same millisecond: for a million sessions ever
run, all starting together, the odds are below 1 in 500.
"""

from __future__ import annotations

import itertools
import re

import msgspec

from domain.errors import InvalidOrderError

__all__ = [
    "SESSION_ID_BITS",
    "ClientOrderIdGenerator",
    "ClientOrderIdParts",
    "InvalidClientOrderIdError",
    "parse_client_order_id",
    "validate_user_order_id",
]

SESSION_ID_BITS = 48
"""How many random bits tell one run of a process from every other."""

_COUNTER_BITS = 32
_TIME_BITS = 48
_NS_PER_MS = 1_000_000
_LONGEST_USER_ID = 200
_OWN_FORM = re.compile(r"0x[0-9a-f]{32}")


class InvalidClientOrderIdError(InvalidOrderError):
    """A text that cannot be a client order id; the message says what is wrong with it."""

    def __init__(self, message: str) -> None:
        super().__init__("invalid_client_order_id", message)


class ClientOrderIdParts(msgspec.Struct, frozen=True, gc=False):
    """What an own id says: when it was made (milliseconds UTC), its number in the session, the session."""

    time_ms: int
    counter: int
    session_id: int


class ClientOrderIdGenerator:
    """Makes ids that never repeat, from any number of threads, without a lock.

    `session_id` is 48 random bits drawn once per run by the caller (kept in the recording, so that a replay
    makes the same ids). Raises `ValueError` when it does not fit.
    """

    __slots__ = ("_counter", "_session")

    def __init__(self, session_id: int) -> None:
        if not 0 <= session_id < 1 << SESSION_ID_BITS:
            raise ValueError(f"a session id has {SESSION_ID_BITS} bits: {session_id:#x}")
        self._session = f"{session_id:012x}"
        # `next` on a count is one step of the interpreter: two threads never get the same number.
        self._counter = itertools.count()

    def next(self, now_ns: int) -> str:
        """A new id for an order made at `now_ns` (nanoseconds UTC).

        Raises `ValueError` for a time before 1970 or beyond 48 bits of milliseconds.
        """
        time_ms = now_ns // _NS_PER_MS
        if not 0 <= time_ms < 1 << _TIME_BITS:
            raise ValueError(f"not a time in nanoseconds since 1970: {now_ns}")
        counter = next(self._counter) & ((1 << _COUNTER_BITS) - 1)
        return f"0x{time_ms:012x}{counter:08x}{self._session}"


def parse_client_order_id(client_order_id: str) -> ClientOrderIdParts:
    """Read back what `ClientOrderIdGenerator` wrote. A foreign id of the same form gives meaningless parts.

    Raises `InvalidClientOrderIdError` for any other text.
    """
    if not isinstance(client_order_id, str) or _OWN_FORM.fullmatch(client_order_id) is None:
        raise InvalidClientOrderIdError(f"not an id of the form 0x + 32 hex digits: {client_order_id!a:.80}")
    return ClientOrderIdParts(
        time_ms=int(client_order_id[2:14], 16),
        counter=int(client_order_id[14:22], 16),
        session_id=int(client_order_id[22:], 16),
    )


def validate_user_order_id(text: str) -> str:
    """Accept an id a user chose: 1 to 200 printable characters of any script. Returns it unchanged.

    Refused with `InvalidClientOrderIdError`: anything that would not survive a log line, a terminal or UTF-8,
    such as control and formatting characters, line breaks, lone surrogates, spaces other than U+0020.
    """
    if not isinstance(text, str):
        raise InvalidClientOrderIdError(f"a client order id is a text, not a {type(text).__name__}")
    if not text:
        raise InvalidClientOrderIdError("a client order id must not be empty")
    if len(text) > _LONGEST_USER_ID:
        raise InvalidClientOrderIdError(
            f"a client order id has at most {_LONGEST_USER_ID} characters, this one {len(text)}"
        )
    if not text.isprintable():
        index = next(index for index, character in enumerate(text) if not character.isprintable())
        raise InvalidClientOrderIdError(
            f"character {index + 1} of the client order id is not printable: U+{ord(text[index]):04X}"
        )
    return text
