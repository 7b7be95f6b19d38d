"""Events to stored bytes and back: MessagePack under explicit topics, with upcasting.

A state holds the whole struct, `originator_id` and `originator_version` included, so that a row whose columns
were exchanged is noticed. Decimals are texts. A state of class version 1 carries no `class_version`;
later ones begin with it. A state goes through the compressor and then the cipher, where the
library's settings name them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import (
    Cipher,
    Compressor,
    JSONTranscoder,
    Mapper,
    Notification,
    StoredEvent,
    Transcoder,
)

from adapters.storage.errors import (
    EventMismatchError,
    EventNotReadableError,
    NewerEventError,
    UndecodableEventError,
    UnknownTopicError,
    UnregisteredEventError,
)
from adapters.storage.keys import KeysOf, lookup_keys
from adapters.storage.records import EventRecord, EventRow, KeyedStoredEvent
from domain.events import EVENT_TYPES, LedgerEvent

__all__ = ["MessagePackMapper"]

_CLASS_VERSION = "class_version"
_CLASS_VERSION_KEY = msgspec.msgpack.encode(_CLASS_VERSION)
_BEGINNING = 3 + len(_CLASS_VERSION_KEY)
"""The header of a map and its first key: so many bytes at most."""


class MessagePackMapper(Mapper[str]):
    """Converts between the events of a registry and stored events.

    `event_types` maps each topic to its struct. `keys_of` names the lookup keys an event adds; they travel
    with the stored event to recorders that index them. `transcoder` is the library's hook for its own
    mapper and takes no part here.
    """

    def __init__(
        self,
        transcoder: Transcoder | None = None,
        compressor: Compressor | None = None,
        cipher: Cipher | None = None,
        *,
        event_types: Mapping[str, type[LedgerEvent]] = EVENT_TYPES,
        keys_of: KeysOf = lookup_keys,
    ) -> None:
        super().__init__(transcoder or JSONTranscoder(), compressor, cipher)
        self.keys_of = keys_of
        self._event_types = dict(event_types)
        self._topics = {cls: topic for topic, cls in self._event_types.items()}
        self._encode = msgspec.msgpack.Encoder(decimal_format="string").encode
        self._decoders = {
            topic: msgspec.msgpack.Decoder(cls).decode for topic, cls in self._event_types.items()
        }
        self._plain = compressor is None and cipher is None
        # Most events by far: of types that never changed, neither compressed nor encrypted.
        self._quick_decoders = {
            topic: self._decoders[topic]
            for topic, cls in self._event_types.items()
            if self._plain and cls.class_version == 1
        }

    def to_record(self, event: LedgerEvent) -> EventRecord:
        """Encode an event. Raises `UnregisteredEventError` for a type that no topic of the registry names."""
        topic = self._topics.get(type(event))
        if topic is None:
            raise UnregisteredEventError(
                f"{type(event).__qualname__} is not an event type of this ledger; register it under a topic"
            )
        state = self._encode(event)
        if event.class_version > 1:
            state = _with_class_version(state, event.class_version)
        if not self._plain:
            state = self._sealed(state)
        return event.originator_id, event.originator_version, topic, state, self.keys_of(event)

    def to_event(
        self,
        originator_id: str,
        originator_version: int,
        topic: str,
        state: bytes,
        position: int | None = None,
    ) -> LedgerEvent:
        """Decode a stored row. Raises a subclass of `EventNotReadableError` that says where and why."""
        decode = self._decoders.get(topic)
        if decode is None:
            raise UnknownTopicError(
                "no event type has this topic; the ledger was written by a newer version or another program",
                topic=topic,
                originator_id=originator_id,
                originator_version=originator_version,
                position=position,
            )
        try:
            if not self._plain:
                state = self._opened(state)
            # Where a state has a class version, it begins with it.
            if self._event_types[topic].class_version == 1 and _CLASS_VERSION_KEY not in state[:_BEGINNING]:
                event: LedgerEvent = decode(state)
            else:
                event = self._upcast(self._event_types[topic], state)
        except _NewerClassVersion as newer:
            raise NewerEventError(
                f"written by a newer version (class version {newer.found}, known up to {newer.known}); "
                "upgrade this program to read it",
                topic=topic,
                originator_id=originator_id,
                originator_version=originator_version,
                position=position,
            ) from None
        except Exception as error:
            # A cipher, a compressor and an upcast may each raise anything; all of it means one thing here.
            raise UndecodableEventError(
                f"its state cannot be decoded ({error}); "
                "it is damaged, or was written with another cipher or compressor",
                topic=topic,
                originator_id=originator_id,
                originator_version=originator_version,
                position=position,
            ) from error
        if event.originator_id != originator_id or event.originator_version != originator_version:
            raise EventMismatchError(
                f"its state is of {event.originator_id!r} v{event.originator_version}; the row was altered",
                topic=topic,
                originator_id=originator_id,
                originator_version=originator_version,
                position=position,
            )
        return event

    def to_events(
        self, rows: Iterable[EventRow], on_unreadable: Callable[[EventNotReadableError], None] | None
    ) -> list[tuple[int, LedgerEvent]]:
        """Rows as `(position, event)`; what cannot be decoded goes to `on_unreadable`, or raises without it.

        The same as `to_event` for each, and sooner for most: events of types that never changed, neither
        compressed nor encrypted.
        """
        decoder_of = self._quick_decoders.get
        events: list[tuple[int, LedgerEvent]] = []
        append = events.append
        for position, originator_id, originator_version, topic, state in rows:
            decode = decoder_of(topic)
            if decode is not None and state.find(_CLASS_VERSION_KEY, 0, _BEGINNING) < 0:
                try:
                    event = decode(state)
                except Exception:
                    pass  # the long way says what is wrong with it
                else:
                    if (
                        event.originator_id == originator_id
                        and event.originator_version == originator_version
                    ):
                        append((position, event))
                        continue
            try:
                append((position, self.to_event(originator_id, originator_version, topic, state, position)))
            except EventNotReadableError as unreadable:
                if on_unreadable is None:
                    raise
                on_unreadable(unreadable)
        return events

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        """The library's form of `to_record`."""
        if not isinstance(domain_event, LedgerEvent):
            raise UnregisteredEventError(f"{type(domain_event).__qualname__} is not an event of a ledger")
        return KeyedStoredEvent(*self.to_record(domain_event))

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[str]:
        """The library's form of `to_event`."""
        return cast(
            "DomainEventProtocol[str]",
            self.to_event(
                str(stored_event.originator_id),
                stored_event.originator_version,
                stored_event.topic,
                stored_event.state,
                stored_event.id if isinstance(stored_event, Notification) else None,
            ),
        )

    def _sealed(self, state: bytes) -> bytes:
        if self.compressor is not None:
            state = self.compressor.compress(state)
        if self.cipher is not None:
            state = self.cipher.encrypt(state)
        return state

    def _opened(self, state: bytes) -> bytes:
        if self.cipher is not None:
            state = self.cipher.decrypt(state)
        if self.compressor is not None:
            state = self.compressor.decompress(state)
        return state

    def _upcast(self, cls: type[LedgerEvent], state: bytes) -> LedgerEvent:
        members: dict[str, Any] = msgspec.msgpack.decode(state, type=dict[str, Any])
        version = members.pop(_CLASS_VERSION, 1)
        if version > cls.class_version:
            raise _NewerClassVersion(version, cls.class_version)
        while version < cls.class_version:
            getattr(cls, f"upcast_v{version}_v{version + 1}")(members)
            version += 1
        return msgspec.convert(members, cls)


class _NewerClassVersion(Exception):
    def __init__(self, found: int, known: int) -> None:
        super().__init__(found, known)
        self.found = found
        self.known = known


def _with_class_version(state: bytes, class_version: int) -> bytes:
    """Put `class_version` in front of an encoded map: one member more, the rest of the bytes untouched."""
    head = state[0]
    if head & 0xF0 == 0x80:
        members, body = head & 0x0F, state[1:]
    else:
        assert head == 0xDE, "a struct with over 65535 members"
        members, body = int.from_bytes(state[1:3], "big"), state[3:]
    members += 1
    header = bytes((0x80 | members,)) if members <= 15 else b"\xde" + members.to_bytes(2, "big")
    return header + _CLASS_VERSION_KEY + msgspec.msgpack.encode(class_version) + body
