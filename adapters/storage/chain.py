"""The hash chain over a ledger's events, and its verification.

Each event's hash is the SHA-256 of: the previous event's hash (32 bytes; zeros before the first), the
position (8 bytes), the topic (4-byte length, UTF-8), the originator id (4-byte length, UTF-8), the
originator version (8 bytes), the state. All integers are big-endian. Whoever changes, removes, inserts or
exchanges an event has to recompute every hash after it, and then no longer matches a head hash noted
elsewhere.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from os import PathLike
from pathlib import Path
from struct import Struct

import msgspec

from adapters.storage.key_check import key_index_problem
from adapters.storage.ledger_file import LedgerFile, extent
from adapters.storage.mapper import MessagePackMapper
from adapters.storage.records import ChainedRow, EventRecord

__all__ = ["GENESIS", "ChainReport", "head_after", "links", "verify_chain"]

GENESIS = bytes(32)
"""What stands for the hash before the first event."""

_U64 = Struct(">Q").pack
_U32 = Struct(">I").pack
_BATCH = 2_000
_SELECT = "SELECT position, originator_id, originator_version, topic, state, hash FROM stored_events"


def _prefixed(text: bytes) -> bytes:
    return _U32(len(text)) + text


def links(previous: bytes, position: int, records: Iterable[EventRecord]) -> list[bytes]:
    """The hashes of consecutive records, the first of which stands at `position` after hash `previous`."""
    hashes: list[bytes] = []
    prefixed: dict[str, bytes] = {}
    for originator_id, originator_version, topic, state, _ in records:
        topic_part = prefixed.get(topic)
        if topic_part is None:
            topic_part = prefixed[topic] = _prefixed(topic.encode())
        originator_part = prefixed.get(originator_id)
        if originator_part is None:
            originator_part = prefixed[originator_id] = _prefixed(originator_id.encode())
        previous = sha256(
            previous + _U64(position) + topic_part + originator_part + _U64(originator_version) + state
        ).digest()
        hashes.append(previous)
        position += 1
    return hashes


def head_after(previous: bytes, position: int, rows: Sequence[ChainedRow]) -> bytes | None:
    """The hash of the last of these rows, which follow a hash and begin at a position; None when one of them
    stands elsewhere or does not carry the hash that it should."""
    digest_of = sha256
    parts: dict[str, bytes] = {}
    part_of = parts.get
    join = b"".join
    for found, originator_id, originator_version, topic, state, recorded in rows:
        topic_part = part_of(topic)
        if topic_part is None:
            topic_part = parts[topic] = _prefixed(topic.encode())
        originator_part = part_of(originator_id)
        if originator_part is None:
            originator_part = parts[originator_id] = _prefixed(originator_id.encode())
        previous = digest_of(
            join((previous, _U64(found), topic_part, originator_part, _U64(originator_version), state))
        ).digest()
        if previous != recorded or found != position:
            return None
        position += 1
    return previous


class ChainReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found. `events` are good: all of them, or those before the first bad one.

    A `reason` without a `first_bad_position` means that every event is good but the index over them is not.

    `head` is the hash at `last_position`, the end of the chain, in hex: noted somewhere else, it proves later
    that nothing up to there was changed.
    """

    path: str
    ledger_id: str
    events: int
    last_position: int
    head: str
    first_bad_position: int | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.reason


class _Bad(Exception):
    """`position` is None when no event is to blame."""

    def __init__(self, position: int | None, reason: str) -> None:
        super().__init__(position, reason)
        self.position = position
        self.reason = reason


class _Walk:
    """The state of one pass along the positions."""

    def __init__(self) -> None:
        self.position = 0
        self.hash = GENESIS

    def take(self, row: tuple[object, ...]) -> None:
        position, originator_id, originator_version, topic, state, recorded = row
        assert isinstance(position, int)
        expected = self.position + 1
        if position != expected:
            raise _Bad(expected, f"positions {expected} to {position - 1} are missing")
        if not (
            isinstance(originator_id, bytes)
            and isinstance(originator_version, int)
            and originator_version >= 0
            and isinstance(topic, bytes)
            and isinstance(state, bytes)
            and isinstance(recorded, bytes)
        ):
            raise _Bad(position, "a column holds a value of the wrong type")
        computed = sha256(
            b"".join(
                (
                    self.hash,
                    _U64(position),
                    _prefixed(topic),
                    _prefixed(originator_id),
                    _U64(originator_version),
                    state,
                )
            )
        ).digest()
        if computed != recorded:
            raise _Bad(position, "the hash does not match: this event, or the order of events, was changed")
        self.position = position
        self.hash = computed


def verify_chain(
    ledger: str | PathLike[str] | LedgerFile,
    progress: Callable[[int, int], None] | None = None,
    *,
    mapper: MessagePackMapper | None = None,
) -> ChainReport:
    """Check every event of a ledger, in memory that does not grow with it, also while it is written to.

    Recomputes the chain, looks for holes in the positions, in the versions of each originator and at the
    end, and names the first bad position and why. `progress(checked, total)` is called now and then.
    With a `mapper`, which decodes the events, the index of lookup keys is checked as well.
    A file that is no ledger at all raises as opening it does (`ForeignLedgerError`, `DamagedLedgerError` …).
    """
    if isinstance(ledger, LedgerFile):
        return _verify(ledger, progress, mapper)
    with LedgerFile.open_for_reading(Path(ledger), check_tail=False) as file:
        return _verify(file, progress, mapper)


def _verify(
    file: LedgerFile, progress: Callable[[int, int], None] | None, mapper: MessagePackMapper | None
) -> ChainReport:
    walk = _Walk()
    bad: _Bad | None = None
    with file.separate_reading(bytes) as connection:
        total = 0
        try:
            total, appended = extent(connection)
            _walk_positions(connection, walk, total, progress)
            if appended != walk.position:
                cut_off = isinstance(appended, int) and appended > walk.position
                raise _Bad(
                    walk.position + 1 if cut_off else None,
                    f"it ends at position {walk.position}, but {appended} were recorded",
                )
        except _Bad as found:
            bad = found
        except sqlite3.DatabaseError as error:
            bad = _Bad(walk.position + 1, f"cannot be read: {error}")
        versions_bad = _check_versions(connection, walk.position)
        if bad is None or (versions_bad is not None and versions_bad.position is not None):
            # Looked for among the events the walk found good, so it lies before what the walk found bad.
            bad = versions_bad
    if bad is None and mapper is not None and (problem := key_index_problem(file, mapper)):
        bad = _Bad(None, problem)
    return ChainReport(
        path=str(file.path),
        ledger_id=file.ledger_id,
        events=walk.position if bad is None or bad.position is None else bad.position - 1,
        last_position=walk.position,
        head=walk.hash.hex(),
        first_bad_position=None if bad is None else bad.position,
        reason="" if bad is None else bad.reason,
    )


def _walk_positions(
    connection: sqlite3.Connection,
    walk: _Walk,
    total: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    # Batches, not one long statement: a long read would keep the writer's log from being folded back.
    size = _BATCH
    while walk.position < total:
        try:
            rows = connection.execute(
                f"{_SELECT} WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
                (walk.position, total, size),
            ).fetchall()
        except sqlite3.DatabaseError:
            if size == 1:
                raise
            # Somewhere in the batch is what cannot be read: up to there, event by event.
            size = 1
            continue
        if not rows:
            raise _Bad(walk.position + 1, f"positions {walk.position + 1} to {total} are missing")
        for row in rows:
            walk.take(row)
        if progress is not None:
            progress(walk.position, total)


def _check_versions(connection: sqlite3.Connection, last_position: int) -> _Bad | None:
    """Each originator's versions up to `last_position` must have no hole, and the order of the positions.

    Reads the index of versions alone, and so also notices an index that disagrees with its table.
    """
    first_bad: _Bad | None = None
    first_bad_position = last_position + 1
    seen = 0
    originator, version, position = b"", -1, 0
    after = originator, version
    try:
        while rows := connection.execute(
            "SELECT originator_id, originator_version, position FROM stored_events"
            " WHERE (originator_id, originator_version) > (CAST(? AS TEXT), ?)"
            " ORDER BY originator_id, originator_version LIMIT ?",
            (*after, _BATCH),
        ).fetchall():
            for next_originator, next_version, next_position in rows:
                after = next_originator, next_version
                if next_position > last_position:
                    continue  # Bad already, or recorded since.
                seen += 1
                reason = ""
                if next_originator != originator:
                    if next_version > 1:
                        reason = f"version {next_version} comes first: the versions before it are missing"
                elif next_version != version + 1:
                    reason = f"version {next_version} follows version {version}: versions are missing"
                elif next_position < position:
                    reason = f"version {next_version} stands before version {version}"
                originator, version, position = next_originator, next_version, next_position
                if reason and position < first_bad_position:
                    named = originator.decode(errors="replace")
                    first_bad, first_bad_position = _Bad(position, f"{reason} ({named!r})"), position
    except (sqlite3.DatabaseError, TypeError, AttributeError) as error:
        return first_bad or _Bad(None, f"the index of versions cannot be read: {error}")
    if first_bad is None and seen != last_position:
        return _Bad(None, f"the index of versions holds {seen} of {last_position} events")
    return first_bad
