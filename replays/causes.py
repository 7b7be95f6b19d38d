"""The inputs that events name as their cause (`<session>:<sequence>`), found in recordings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from domain.inputs import Input
from replays.errors import RecordingError
from replays.recording import SESSION_SUFFIX
from replays.session_file import SessionReader

__all__ = ["recorded_causes"]


def recorded_causes(directory: Path, causations: Iterable[str]) -> tuple[dict[str, Input], list[str]]:
    """The input behind each causation, as far as the recordings in a directory hold it, and what was in the
    way of reading them.

    Only the parts that can hold a wanted input are read, each up to the last one wanted.
    """
    wanted: dict[str, set[int]] = defaultdict(set)
    for causation in causations:
        session, _, sequence = causation.rpartition(":")
        if session and sequence.isdecimal():
            wanted[session].add(int(sequence))
    found: dict[str, Input] = {}
    problems: list[str] = []
    for session, parts in _parts(directory, wanted, problems).items():
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            first = part.header.previous_sequence
            last = None if following is None else following.header.previous_sequence
            sequences = {each for each in wanted[session] if each > first and (last is None or each <= last)}
            if sequences:
                _read(part, session, sequences, found, problems)
    return found, problems


def _parts(
    directory: Path, sessions: Iterable[str], problems: list[str]
) -> dict[str, Sequence[SessionReader]]:
    parts: dict[str, list[SessionReader]] = defaultdict(list)
    for path in sorted(directory.glob(f"*{SESSION_SUFFIX}")):
        try:
            reader = SessionReader(path)
        except (RecordingError, OSError) as error:
            problems.append(str(error))
            continue
        if reader.header.session_id in sessions and not reader.header.derived_from:
            parts[reader.header.session_id].append(reader)
    return {session: sorted(each, key=lambda reader: reader.header.part) for session, each in parts.items()}


def _read(
    part: SessionReader, session: str, sequences: set[int], found: dict[str, Input], problems: list[str]
) -> None:
    last = max(sequences)
    try:
        for recorded in part:
            sequence = recorded.item.sequence
            if sequence in sequences:
                found[f"{session}:{sequence}"] = recorded.item
            if sequence >= last:
                return
    except (RecordingError, OSError) as error:
        problems.append(str(error))
