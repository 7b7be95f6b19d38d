"""Older formats of recordings: brought forward while they are read, never rewritten.

When the layout of header, frames, inputs or events changes, `FORMAT_VERSION` rises, the upcast from the
version before is entered here, and a recording of that version stays in `replays/sessions/` for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from replays.recording import FORMAT_VERSION, RecordedInput, SessionHeader, decode_recorded

__all__ = ["UPCASTS", "FormatUpcast", "header_decoder", "input_decoder"]

Buffer = bytes | bytearray | memoryview


class FormatUpcast(msgspec.Struct, frozen=True):
    """From one version of the format to the next, on plain data: what MessagePack decodes to without types.

    `header` takes and gives the members of `SessionHeader` by name, `frame` those of `RecordedInput` in their
    order, where the input is a mapping with its `kind`.
    """

    header: Callable[[dict[str, Any]], dict[str, Any]]
    frame: Callable[[list[Any]], list[Any]]


UPCASTS: dict[int, FormatUpcast] = {}
"""By the version that an upcast begins with: one for each version before the current one."""

_decode_header = msgspec.msgpack.Decoder(SessionHeader).decode


def header_decoder(version: int, newest: int = FORMAT_VERSION) -> Callable[[Buffer], SessionHeader]:
    """What reads the header of a recording of this format. It raises `msgspec.MsgspecError`."""
    if version == newest:
        return _decode_header
    upcasts = [UPCASTS[older].header for older in range(version, newest)]

    def decode(payload: Buffer) -> SessionHeader:
        plain = msgspec.msgpack.decode(payload, type=dict[str, Any])
        for upcast in upcasts:
            plain = upcast(plain)
        return msgspec.convert(plain, SessionHeader, builtin_types=(bytes,))

    return decode


def input_decoder(version: int, newest: int = FORMAT_VERSION) -> Callable[[Buffer], RecordedInput]:
    """What reads the frames of a recording of this format. It raises `msgspec.MsgspecError`."""
    if version == newest:
        return decode_recorded
    upcasts = [UPCASTS[older].frame for older in range(version, newest)]

    def decode(frame: Buffer) -> RecordedInput:
        plain = msgspec.msgpack.decode(frame, type=list[Any])
        for upcast in upcasts:
            plain = upcast(plain)
        return msgspec.convert(plain, RecordedInput, builtin_types=(bytes,))

    return decode
