"""Older formats stay readable: each version has a recording that is kept, and an upcast to the next one."""

from __future__ import annotations

import typing
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import replays.session_file
import replays.upcasting
from domain.inputs import StreamLost
from replays.errors import NewerRecordingError
from replays.recording import FORMAT_VERSION, AnyInput
from replays.session_file import SessionReader
from replays.upcasting import UPCASTS, FormatUpcast

SESSIONS = Path(replays.__path__[0]) / "sessions"
FIRST = SESSIONS / "format-1.session"


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_every_released_format_has_a_recording_that_is_read(version: int) -> None:
    reader = SessionReader(SESSIONS / f"format-{version}.session")
    kinds = Counter(type(recorded.item) for recorded in reader)
    assert reader.format_version == version
    assert reader.is_closed
    if version == 1:
        assert kinds.keys() == set(typing.get_args(AnyInput)), "it holds every kind of input"


def test_every_version_but_the_current_one_has_an_upcast() -> None:
    assert set(UPCASTS) == set(range(1, FORMAT_VERSION))


def _one_day_shorter(frame: list[Any]) -> list[Any]:
    """As if format 1 had counted the time from a day earlier."""
    item, *outcome = frame
    return [item | {"at_ns": item["at_ns"] - 86_400_000_000_000}, *outcome]


def _louder(frame: list[Any]) -> list[Any]:
    item, *outcome = frame
    if item["kind"] == "stream_lost":
        item = item | {"reason": item["reason"].upper()}
    return [item, *outcome]


@pytest.fixture
def in_format_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package two formats further on."""
    monkeypatch.setattr(replays.session_file, "FORMAT_VERSION", 3)
    first = FormatUpcast(
        header=lambda header: header | {"note": header["note"] + " (2)"}, frame=_one_day_shorter
    )
    second = FormatUpcast(header=lambda header: header | {"note": header["note"] + " (3)"}, frame=_louder)
    monkeypatch.setitem(UPCASTS, 1, first)
    monkeypatch.setitem(UPCASTS, 2, second)


@pytest.mark.usefixtures("in_format_3")
def test_an_old_recording_is_brought_forward_version_by_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = FIRST.read_bytes()
    newer = SessionReader(FIRST)
    brought_forward = list(newer)
    monkeypatch.undo()
    as_written = SessionReader(FIRST)
    assert newer.format_version == 1
    assert newer.header.note == f"{as_written.header.note} (2) (3)"
    assert newer.is_closed
    for new, old in zip(brought_forward, as_written, strict=True):
        assert new.item.at_ns == old.item.at_ns - 86_400_000_000_000
        assert type(new.item) is type(old.item)
        assert (new.events, new.effects_digest) == (old.events, old.effects_digest)
        if isinstance(old.item, StreamLost):
            assert isinstance(new.item, StreamLost)
            assert new.item.reason == old.item.reason.upper() != old.item.reason
    assert FIRST.read_bytes() == before


@pytest.mark.usefixtures("in_format_3")
def test_what_an_upcast_cannot_bring_forward_is_damage_with_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(
        UPCASTS, 2, FormatUpcast(header=lambda header: header, frame=lambda frame: [None, *frame[1:]])
    )
    with pytest.raises(replays.errors.DamagedRecordingError, match="before the first input"):
        list(SessionReader(FIRST))


def test_a_format_from_the_future_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays.session_file, "FORMAT_VERSION", 0)
    with pytest.raises(NewerRecordingError, match="it has format 1, and this version reads up to 0"):
        SessionReader(FIRST)
