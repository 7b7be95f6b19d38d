"""What goes back to a client, and whether it arrives (protocol sheet 4.3, 4.4)."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import msgspec


class Fate(enum.Enum):
    """What happens to an answer on its way."""

    ARRIVES = "arrives"
    RESET = "reset"
    """The connection is reset instead."""
    HANGS = "hang"
    """Nothing is ever sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and the text of a body; over WebSocket the same two make a `post` response."""

    status: int
    text: str
    is_json: bool
    fate: Fate = Fate.ARRIVES

    @classmethod
    def json(cls, body: Any) -> "Answer":
        """A 200 with a JSON body."""
        return cls(200, msgspec.json.encode(body).decode(), is_json=True)

    @classmethod
    def refused(cls, text: str) -> "Answer":
        """A business error of the whole action: still HTTP 200 (sheet 4.3)."""
        return cls.json({"status": "err", "response": text})

    @classmethod
    def malformed(cls, text: str) -> "Answer":
        """A body that cannot be deserialised: 422 and plain text (sheet 4.4)."""
        return cls(422, text, is_json=False)

    @classmethod
    def from_edge(cls, status: int) -> "Answer":
        """An error that does not come from the application: ``null`` or a page of the gateway (sheet 4.4)."""
        if status in (429, 500):
            return cls(status, "null", is_json=True)
        reason = HTTPStatus(status).phrase
        if status < 500:
            return cls(status, reason, is_json=False)
        page = f"<html><head><title>{status} {reason}</title></head><body>{status} {reason}</body></html>"
        return cls(status, page, is_json=False)

    def lost(self, how: str) -> "Answer":
        """The same answer, not arriving: `how` is ``reset`` or ``hang``."""
        return replace(self, fate=Fate(how))

    @property
    def headline(self) -> str:
        """What the payload of a WebSocket `error` response starts with, such as ``429 Too Many Requests``."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"

    def body(self) -> Any:
        """The decoded JSON body of a 200."""
        return msgspec.json.decode(self.text)


def statuses_of(body: Mapping[str, Any]) -> list[Any] | None:
    """The per-entry outcomes of an answer's JSON body, or None if it has none."""
    response = body.get("response")
    data = response.get("data") if isinstance(response, dict) else None
    statuses = data.get("statuses") if isinstance(data, dict) else None
    return statuses if isinstance(statuses, list) else None
