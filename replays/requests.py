"""Which request an answer is for: by its number, and by what was asked where the numbers are others now.

The number of a request counts what the core has asked so far. A core that asks something more than the one
that was recorded (a newer version, other options) gives other numbers to the same questions; the recording
knows what each answer answers, so that it still reaches whoever asks that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from domain.effects import Effect, Query, SendAction
from domain.inputs import Input, RequestAnswered, RequestFailed
from replays.recording import AnyInput, AnyRequest

__all__ = ["OpenRequests", "question", "without_times"]

_ANSWERS = (RequestAnswered, RequestFailed)
_REQUESTS = (SendAction, Query)

_TIMES_FROM = 10**12
"""Numbers from here on are times in milliseconds or nonces, not ids."""


class OpenRequests:
    """What a core has asked and nothing has answered yet. Iterating gives the oldest first; `last` is the
    highest number so far."""

    def __init__(self) -> None:
        self.last = 0
        self._open: dict[int, AnyRequest] = {}

    def __iter__(self) -> Iterator[AnyRequest]:
        return iter(self._open.values())

    def note(self, effects: Sequence[Effect]) -> None:
        """What a step of the core leads to."""
        for effect in effects:
            if isinstance(effect, _REQUESTS):
                self._open[effect.request_id] = effect
                self.last = max(self.last, effect.request_id)

    def of(self, item: Input) -> AnyRequest | None:
        """The request that an input answers; None for any other input, and for an answer to something that
        was not asked."""
        if isinstance(item, _ANSWERS):
            return self._open.get(item.request_id)
        return None

    def take(self, item: Input) -> AnyRequest | None:
        """The same, and it is answered thereby."""
        request = self.of(item)
        if request is not None:
            del self._open[request.request_id]
        return request

    def addressed(self, item: AnyInput, answers: AnyRequest | None) -> AnyInput | None:
        """A recorded input for this core: an answer with the number that the same question has here.

        None for the answer to something that this core has not asked. `answers` is what the recording says
        that the input answers; where it says nothing, the number has to do.
        """
        if answers is None or not isinstance(item, RequestAnswered | RequestFailed):
            return item
        for times in (True, False):
            wanted = question(answers, times=times)
            own = self.of(item)
            if own is not None and question(own, times=times) == wanted:
                return item
            for request in self:
                if question(request, times=times) == wanted:
                    return replace(item, request_id=request.request_id)
        return None


def question(request: AnyRequest, *, times: bool = True) -> bytes:
    """What a request asks, equal for requests that ask the same: without its number, its nonce and until
    when it may be sent; and, if so wanted, without the times in it."""
    asked: dict[str, Any]
    if isinstance(request, SendAction):
        asked = {"action": request.action, "acting_for": request.acting_for}
    else:
        asked = {"body": request.body}
    return _encode(asked if times else without_times(asked))


def without_times(value: Any) -> Any:
    """Plain data with 0 in place of every time and nonce."""
    if isinstance(value, dict):
        return {name: without_times(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_times(inner) for inner in value]
    return 0 if isinstance(value, int) and value >= _TIMES_FROM else value


_encode = msgspec.msgpack.Encoder(order="sorted").encode
