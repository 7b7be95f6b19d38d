"""Events as plain bytes inside inputs: what the core is handed back from its own log.

The ledger has its own mapper (compression, ciphers, upcasting); by the time events get here they are of the
current version, so a plain MessagePack of the struct is enough.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from domain.errors import VersionError
from domain.events import EVENT_TYPES, LedgerEvent

__all__ = ["EncodedEvents", "decode_event", "encode_events"]

EncodedEvents = tuple[tuple[str, bytes], ...]
"""Events of one aggregate, first to last: (topic, MessagePack of the struct)."""

_DECODERS = {topic: msgspec.msgpack.Decoder(kind) for topic, kind in EVENT_TYPES.items()}
_ENCODER = msgspec.msgpack.Encoder()


def encode_events(events: Iterable[LedgerEvent]) -> EncodedEvents:
    """Pack events for an input."""
    return tuple((event.topic, _ENCODER.encode(event)) for event in events)


def decode_event(topic: str, state: bytes) -> LedgerEvent:
    """Unpack one event. Raises `VersionError` for a topic or a state this version does not know."""
    decoder = _DECODERS.get(topic)
    if decoder is None:
        raise VersionError(f"No event type has the topic {topic!r}.")
    try:
        return decoder.decode(state)
    except msgspec.MsgspecError as error:
        raise VersionError(f"A stored {topic} cannot be read: {error}") from None
