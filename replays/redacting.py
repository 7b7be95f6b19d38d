"""Redacts a recording: addresses, keys and hashes, amounts and (if asked for) order ids, still replayable.

Every address becomes another one, the same everywhere; any longer text of hex digits becomes a short mark.
What stands for what depends on a secret that is thrown away, so that nobody can try addresses out. Amounts
are multiplied by one factor: positions, profits and fees stay in proportion, and prices stay as they are.
Times and prices are not touched: whoever has the venue's public trades may recognise fills by them.
"""

from __future__ import annotations

import re
import secrets
from decimal import Decimal
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from domain.effects import Query, SendAction
from domain.event_codec import EncodedEvents, decode_event, encode_events
from domain.inputs import OrderLookedUp, Started
from domain.money import MONEY
from replays.cores import MakeCore
from replays.cutting import derived_header
from replays.recording import AnyInput, SessionHeader
from replays.replaying import Recording
from replays.rewriting import Question, Rewriter, VenueRewriter

__all__ = ["Redaction", "secret_factor"]

_T = TypeVar("_T")

_ADDRESS_DIGITS = 40
_LONG_HEX = re.compile(rb"(?:0[xX])?[0-9a-fA-F]{40,}")
_VENUE_KEY = re.compile(rb"(?<![0-9A-Za-z])0[xX][0-9a-fA-F]{32}(?![0-9A-Za-z])")
_PRICES = frozenset({"price", "trigger_price", "requested_price", "reference_price", "entry_price", "rate"})
_ORDER_NAMES = frozenset(
    {"client_order_id", "client_order_ids", "originator_id", "parent_id", "correlation_id"}
)
_FACTOR_RANGE = (11, 9_973)


def secret_factor() -> Decimal:
    """A whole number to scale amounts with that nobody is told."""
    first, last = _FACTOR_RANGE
    return Decimal(first + secrets.randbelow(last - first + 1))


class Redaction:
    """One redaction: what stands for what. `factor` None leaves amounts as they are.

    `order_ids`: client order ids become others too, and strategies' tags are left out. `secret` decides which
    fakes are made; by default a new one that is never shown.
    """

    def __init__(
        self,
        venue: VenueRewriter,
        *,
        factor: Decimal | None,
        order_ids: bool = False,
        secret: bytes | None = None,
    ) -> None:
        self._venue = venue
        self._factor = factor
        self._order_ids = order_ids
        self._secret = secrets.token_bytes(32) if secret is None else secret
        self.addresses: set[str] = set()

    def header(self, header: SessionHeader, *, is_factor_secret: bool) -> SessionHeader:
        """The header of the redacted recording."""
        what = ["addresses"]
        if self._factor is not None:
            what.append("amounts" if is_factor_secret else f"amounts times {self._factor}")
        if self._order_ids:
            what.append("order ids")
        changed: SessionHeader = self._changed(header)
        # The fingerprint covers the account's address, and could be used to try addresses out.
        return derived_header(
            replace(changed, config_fingerprint=""), f"redacted: {', '.join(what)}", changed.note
        )

    def rewrite(self, recording: Recording, header: SessionHeader, make_core: MakeCore) -> Rewriter:
        """The redacted inputs with what they lead to: iterate the result. `header` as made by `header()`."""
        return Rewriter(recording, header, make_core, self._venue, self)

    # -- one input -----------------------------------------------------------------------------------------

    def item(self, item: AnyInput, answered: SendAction | Query | None) -> AnyInput:
        if self._factor is not None:
            item = self._venue.scaled(item, answered, self._scaled)
        if isinstance(item, Started):
            stored = tuple(self._events(events) for events in item.open_orders)
            started: Started = self._changed(replace(item, open_orders=()))
            return replace(started, open_orders=stored)
        if isinstance(item, OrderLookedUp):
            return replace(item, key=self._text(item.key), events=self._events(item.events))
        changed: AnyInput = self._changed(item)
        return changed

    def question(self, question: Question) -> Question:
        what, names = question
        return self._text(what), tuple(self._text(name) for name in names)

    def lookup(self, key: str) -> str:
        return self._text(key)

    def _events(self, events: EncodedEvents) -> EncodedEvents:
        return encode_events([self._changed(decode_event(topic, state)) for topic, state in events])

    # -- values --------------------------------------------------------------------------------------------

    def _changed(self, value: Any, name: str = "") -> Any:
        """A value with everything in it replaced; `name` is that of the member it stands in."""
        if isinstance(value, msgspec.Struct):
            members = {field: getattr(value, field) for field in value.__struct_fields__}
            return replace(value, **{field: self._changed(inner, field) for field, inner in members.items()})
        if isinstance(value, Decimal):
            return value if name in _PRICES else self._scaled(value)
        if type(value) is str:
            return self._named(value, name)
        if isinstance(value, bytes):
            return self._bytes(value)
        if isinstance(value, dict):
            return {key: self._changed(inner, key) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._changed(inner, name) for inner in value)
        return value

    def _scaled(self, value: Decimal) -> Decimal:
        return value if self._factor is None else MONEY.multiply(value, self._factor)

    def _named(self, text: str, name: str) -> str:
        if self._order_ids and name == "tag":
            return ""
        if self._order_ids and text and name in _ORDER_NAMES and not _VENUE_KEY.fullmatch(text.encode()):
            return f"order-{self._fake(text, 16)}"
        return self._text(text)

    def _text(self, text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        changed = self._bytes(data)
        return text if changed is data else changed.decode("utf-8", "surrogatepass")

    def _bytes(self, data: bytes) -> bytes:
        changed = _LONG_HEX.sub(self._fake_hex, data)
        if self._order_ids:
            changed = _VENUE_KEY.sub(
                lambda found: b"0x" + self._fake(found[0].decode(), 32).encode(), changed
            )
        return data if changed == data else changed

    def _fake_hex(self, found: re.Match[bytes]) -> bytes:
        text = found[0].decode().lower()
        digits = text.removeprefix("0x")
        if len(digits) != _ADDRESS_DIGITS:
            return f"hex-{self._fake(digits, 16)}".encode()
        self.addresses.add(text)
        return (text[: len(text) - _ADDRESS_DIGITS] + self._fake(digits, _ADDRESS_DIGITS)).encode()

    def _fake(self, text: str, digits: int) -> str:
        """Hex digits that stand for a text, whatever the case it is written in."""
        key = self._secret[: blake2b.MAX_KEY_SIZE]
        return blake2b(text.lower().encode(), digest_size=digits // 2, key=key).hexdigest()
