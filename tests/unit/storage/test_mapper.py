"""The mapper alone: upcasting, and what it says about states it cannot read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
import pytest
from eventsourcing.compressor import ZlibCompressor
from eventsourcing.persistence import MapperDeserialisationError, Notification, StoredEvent

from adapters.storage.errors import (
    EventMismatchError,
    EventNotReadableError,
    NewerEventError,
    UndecodableEventError,
    UnknownTopicError,
    UnregisteredEventError,
)
from adapters.storage.mapper import MessagePackMapper
from domain.enums import Source
from domain.events import LedgerEvent
from tests.contract.storage.samples import created, filled, submitted


class NotedV1(LedgerEvent, frozen=True, kw_only=True, omit_defaults=True):
    topic: ClassVar[str] = "order.noted"

    note: str


class NotedV2(LedgerEvent, frozen=True, kw_only=True, omit_defaults=True):
    """`note` became `text`."""

    topic: ClassVar[str] = "order.noted"
    class_version: ClassVar[int] = 2

    text: str

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["text"] = state.pop("note")


class NotedV3(LedgerEvent, frozen=True, kw_only=True, omit_defaults=True):
    """`text` became a list of lines."""

    topic: ClassVar[str] = "order.noted"
    class_version: ClassVar[int] = 3

    lines: list[str]

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        NotedV2.upcast_v1_v2(state)

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        state["lines"] = state.pop("text").splitlines()


_ENVELOPE: dict[str, Any] = {
    "originator_id": "order 1",
    "originator_version": 4,
    "recorded_at_ns": 1,
    "venue": "v",
    "account": "a",
    "source": Source.QUERY,
}


def _mapper(*types: type[LedgerEvent], **hooks: Any) -> MessagePackMapper:
    return MessagePackMapper(event_types={cls.topic: cls for cls in types}, **hooks)


def _replaced(stored: StoredEvent, **columns: Any) -> StoredEvent:
    return StoredEvent(
        **{
            "originator_id": stored.originator_id,
            "originator_version": stored.originator_version,
            "topic": stored.topic,
            "state": stored.state,
            **columns,
        }
    )


def test_a_state_of_class_version_1_says_nothing_about_its_version() -> None:
    stored = _mapper(NotedV1).to_stored_event(NotedV1(note="x", **_ENVELOPE))
    assert "class_version" not in msgspec.msgpack.decode(stored.state)


def test_a_state_of_a_later_class_version_says_so_first() -> None:
    stored = _mapper(NotedV2).to_stored_event(NotedV2(text="x", **_ENVELOPE))
    state = msgspec.msgpack.decode(stored.state)
    assert next(iter(state.items())) == ("class_version", 2)
    assert state["text"] == "x"


def test_a_state_with_many_members_can_carry_its_version() -> None:
    wide: Any = msgspec.defstruct(
        "Wide",
        [(f"member_{index}", int) for index in range(40)],
        bases=(LedgerEvent,),
        namespace={"topic": "order.wide", "class_version": 2, "__annotations__": {}},
        frozen=True,
        kw_only=True,
    )
    event = wide(**_ENVELOPE, **{f"member_{index}": index for index in range(40)})
    mapper = _mapper(wide)
    assert mapper.to_domain_event(mapper.to_stored_event(event)) == event


@pytest.mark.parametrize("compressor", [None, ZlibCompressor()])
def test_old_states_are_brought_forward_step_by_step(compressor: ZlibCompressor | None) -> None:
    v1 = _mapper(NotedV1, compressor=compressor).to_stored_event(NotedV1(note="a\nb", **_ENVELOPE))
    v2 = _mapper(NotedV2, compressor=compressor).to_stored_event(NotedV2(text="a\nb", **_ENVELOPE))
    now = _mapper(NotedV3, compressor=compressor)
    expected = NotedV3(lines=["a", "b"], **_ENVELOPE)
    assert now.to_domain_event(v1) == expected
    assert now.to_domain_event(v2) == expected
    assert now.to_domain_event(now.to_stored_event(expected)) == expected
    assert _mapper(NotedV2, compressor=compressor).to_domain_event(v1) == NotedV2(text="a\nb", **_ENVELOPE)


@pytest.mark.parametrize("known", [NotedV1, NotedV2])
def test_a_state_of_a_newer_class_version_is_not_guessed_at(known: type[LedgerEvent]) -> None:
    stored = _mapper(NotedV3).to_stored_event(NotedV3(lines=[], **_ENVELOPE))
    with pytest.raises(NewerEventError, match="newer version"):
        _mapper(known).to_domain_event(stored)


def test_a_text_that_mentions_class_version_is_only_a_text() -> None:
    mapper = _mapper(NotedV1)
    key = msgspec.msgpack.encode("class_version").decode("latin-1")
    event = NotedV1(note=f"\xad class_version {key}", **_ENVELOPE)
    assert mapper.to_domain_event(mapper.to_stored_event(event)) == event


def test_an_upcast_that_fails_is_told_as_a_state_that_cannot_be_read() -> None:
    class Broken(NotedV2, frozen=True, kw_only=True):
        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            raise KeyError("note")

    stored = _mapper(NotedV1).to_stored_event(NotedV1(note="x", **_ENVELOPE))
    with pytest.raises(UndecodableEventError, match="note"):
        _mapper(Broken).to_domain_event(stored)


def test_an_unknown_topic_is_named() -> None:
    stored = _replaced(MessagePackMapper().to_stored_event(created(1)), topic="order.from_the_future")
    with pytest.raises(UnknownTopicError, match=r"order\.from_the_future"):
        MessagePackMapper().to_domain_event(stored)


@pytest.mark.parametrize("columns", [{"originator_id": "another"}, {"originator_version": 2}])
def test_columns_that_disagree_with_the_state_are_noticed(columns: dict[str, Any]) -> None:
    stored = _replaced(MessagePackMapper().to_stored_event(created(1)), **columns)
    with pytest.raises(EventMismatchError, match="altered"):
        MessagePackMapper().to_domain_event(stored)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: b"",
        lambda state: state[:-3],
        lambda state: state + b"\x00",
        lambda state: b"\xc1" + state[1:],
        lambda state: state.replace(b"0.0213", b"0.02x3"),
        lambda state: state.replace(b"limit", b"limbo"),
        lambda state: state.replace(b"trading_pair", b"trading_pear"),
        lambda state: msgspec.msgpack.encode([1, 2]),
        lambda state: msgspec.msgpack.encode({"class_version": "two"}),
        lambda state: msgspec.msgpack.encode({"class_version": 1}),
    ],
)
def test_a_spoiled_state_is_an_error_that_says_where(spoil: Callable[[bytes], bytes]) -> None:
    mapper = MessagePackMapper()
    stored = mapper.to_stored_event(created(1))
    spoiled = Notification(
        stored.originator_id, stored.originator_version, stored.topic, spoil(stored.state), 42
    )
    with pytest.raises(UndecodableEventError, match="position 42") as caught:
        mapper.to_domain_event(spoiled)
    assert isinstance(caught.value, EventNotReadableError)
    assert isinstance(caught.value, MapperDeserialisationError)
    assert (caught.value.position, caught.value.topic) == (42, "order.created")
    assert caught.value.originator_id == stored.originator_id


def test_a_type_outside_the_registry_cannot_be_recorded() -> None:
    with pytest.raises(UnregisteredEventError, match="OrderFilled"):
        _mapper(NotedV1).to_stored_event(filled(1))


def test_another_type_under_a_registered_topic_cannot_be_recorded() -> None:
    with pytest.raises(UnregisteredEventError, match="NotedV1"):
        _mapper(NotedV2).to_stored_event(NotedV1(note="x", **_ENVELOPE))


def test_lookup_keys_travel_with_the_record() -> None:
    mapper = MessagePackMapper(keys_of=lambda event: (f"v:{event.originator_version}",))
    assert mapper.to_record(submitted(1))[4] == ("v:2",)
