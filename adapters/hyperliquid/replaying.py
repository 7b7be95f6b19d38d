"""Makes the Hyperliquid core again from what a recording says of it: the entry point of replays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from adapters.hyperliquid.connector import HyperliquidOptions, HyperliquidPerpetualConnector
from domain.errors import VersionError
from domain.event_codec import decode_event

_FORMERLY = {"sweep_ns": "reconcile_every_ns"}
"""Options that had another name in earlier versions."""

_FORMERLY_NOT = {
    "asks_leverage": False,
    "not_found_span_ns": 0,
    "order_wait_ms": 0,
    "thorough_every_ns": 0,
    "weight_slices": False,
}
"""Options that a recording may not name, and what they stand for then: that nothing is asked which the
version that recorded it did not ask, and nothing sooner or later. A recording has no answer to a new
question, so every new question comes with an option of the session."""

__all__ = ["RecordedSession", "core_options", "make_core"]


class RecordedSession(Protocol):
    """What the header of a recording says that this core depends on."""

    @property
    def network(self) -> str: ...

    @property
    def account(self) -> str: ...

    @property
    def session_id(self) -> str: ...

    @property
    def core_options(self) -> Mapping[str, Any]: ...


def core_options(options: HyperliquidOptions) -> dict[str, Any]:
    """The options as plain data for a header, as it comes back from one: decimals as text, none left out."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(options))
    return plain


def make_core(header: RecordedSession) -> HyperliquidPerpetualConnector:
    """A fresh core, as it was before the first input of the recorded session.

    Raises `VersionError` when the header names options this version does not have or cannot read: it would
    then decide differently, and no difference a replay finds would mean anything.
    """
    known = set(HyperliquidOptions.__dataclass_fields__)
    named = {_FORMERLY.get(name, name): value for name, value in header.core_options.items()}
    given = {**_FORMERLY_NOT, **named}
    unknown = sorted(set(given) - known)
    if unknown:
        raise VersionError(
            f"The recording was made with options this version does not know: {', '.join(unknown)}."
            " Replay it with the version that recorded it."
        )
    try:
        options = msgspec.convert(given, HyperliquidOptions)
        session_id = int(header.session_id, 16)
    except (msgspec.ValidationError, ValueError) as error:
        raise VersionError(f"The header of the recording cannot be used: {error}.") from None
    return HyperliquidPerpetualConnector(
        options,
        network=header.network,
        account=header.account,
        session_id=session_id,
        decode_event=decode_event,
    )
