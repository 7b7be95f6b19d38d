"""What a recording is made of: a header, then one `RecordedInput` for each input that was handled.

A recording holds inputs, raw and in their order; what they led to is kept beside each one as the expectation
of a replay. It never holds a private key: signatures are made after the core, and are no input.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from domain.effects import Effect, Query, SendAction
from domain.event_codec import EncodedEvents
from domain.inputs import (
    AmendOrder,
    CancelAll,
    CancelOrders,
    LedgerStalled,
    OrderLookedUp,
    PlaceOrders,
    RequestAnswered,
    RequestFailed,
    SetLeverage,
    SetScheduledCancel,
    Started,
    Stopping,
    StreamConnected,
    StreamFrame,
    StreamLost,
    TimerFired,
    UpdateMargin,
)

__all__ = [
    "EFFECTS_NOT_KNOWN",
    "FORMAT_VERSION",
    "NO_EFFECTS",
    "SESSION_SUFFIX",
    "AnyInput",
    "AnyRequest",
    "RecordedInput",
    "SessionHeader",
    "decode_recorded",
    "effects_digest",
    "encode_recorded",
    "outcome_digest",
]

FORMAT_VERSION = 1
"""The layout of the file and of its frames. A reader reads every version up to its own."""

SESSION_SUFFIX = ".session"

AnyInput = (
    Started
    | Stopping
    | PlaceOrders
    | CancelOrders
    | CancelAll
    | AmendOrder
    | SetLeverage
    | UpdateMargin
    | SetScheduledCancel
    | StreamConnected
    | StreamLost
    | StreamFrame
    | RequestAnswered
    | RequestFailed
    | OrderLookedUp
    | TimerFired
    | LedgerStalled
)
"""Every input there is, told apart by its `kind`."""

AnyRequest = SendAction | Query
"""What an HTTP answer can answer, as the core asked it: not signed yet."""

NO_EFFECTS = b""
"""The effects digest of an input without effects, as most are: it takes no room."""

EFFECTS_NOT_KNOWN = b"?"
"""In place of a digest where nobody knows which effects would be right: only the events are compared."""


class SessionHeader(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Under what a session was recorded: everything that makes the same core again.

    `session_id` (12 hex digits) is the seed of the order ids and the name of the session; `core_options` is
    what `make_core` needs, as plain data with decimals as text; `config_fingerprint` tells two configurations
    apart. `started_at_ns` is when this part was begun (UTC). A long session has several parts: `part` counts
    from 1, and `previous_sequence` and `previous_digest` (hex) are the last input and the digest of the part
    before. `derived_from` says of which recording this one is an excerpt or a rewrite, and how; such a
    recording may skip sequence numbers. `note` is a line for people: what the recording shows.
    """

    format_version: int = FORMAT_VERSION
    package_version: str
    config_fingerprint: str
    venue: str
    network: str
    account: str
    signer: str
    session_id: str
    core_options: dict[str, Any]
    started_at_ns: int
    part: int = 1
    previous_sequence: int = 0
    previous_digest: str = ""
    derived_from: str = ""
    note: str = ""


class RecordedInput(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One input and what it led to: the events in full, of the effects a digest.

    `failure` is what the core raised on it, type and message, empty when it did not: such an input is the
    last of its session. `answers` is the request that the input is the answer to, or the failure of; None for
    any other input, and when the core had not asked.
    """

    item: AnyInput
    events: EncodedEvents = ()
    effects_digest: bytes = NO_EFFECTS
    failure: str = ""
    answers: AnyRequest | None = None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(RecordedInput)

encode_recorded = _ENCODER.encode
"""A `RecordedInput` as the bytes of its frame."""

decode_recorded = _DECODER.decode
"""The bytes of a frame as a `RecordedInput`. Raises `msgspec.MsgspecError`."""


def effects_digest(effects: Sequence[Effect]) -> bytes:
    """BLAKE2b (16 bytes) over the MessagePack of the effects in their order; empty for none.

    Members of actions keep their order: it is part of what a venue's signature covers.
    """
    if not effects:
        return NO_EFFECTS
    return blake2b(_ENCODER.encode(effects), digest_size=16).digest()


def outcome_digest(recorded: RecordedInput) -> bytes:
    """One digest (BLAKE2b, 16 bytes) of everything an input led to."""
    outcome = (recorded.events, recorded.effects_digest, recorded.failure)
    return blake2b(_ENCODER.encode(outcome), digest_size=16).digest()
