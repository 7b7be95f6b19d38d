"""Requests and their answers when inputs are left out: which recorded answer belongs to which request now.

A request is recognised by what it asks. Its number, its nonce and times that stand in it may differ from the
recorded ones, because less happened before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from domain.effects import Effect, LookUpOrder, Query, SendAction
from domain.inputs import OrderLookedUp, RequestAnswered, RequestFailed
from replays.recording import AnyInput
from replays.requests import question, without_times

__all__ = ["Requests", "Rerouting", "timeless"]


class _Request(msgspec.Struct, frozen=True):
    """A request of the whole recording: its number, the index of the input that made it and of its answer."""

    request_id: int
    made_at: int
    answered_at: int
    exactly: bytes
    roughly: bytes


class Requests:
    """Every request of a whole recording that was answered, and how to find it again."""

    def __init__(self, inputs: Sequence[AnyInput], effects: Iterable[Sequence[Effect]]) -> None:
        answered_at = {
            item.request_id: at
            for at, item in enumerate(inputs)
            if isinstance(item, RequestAnswered | RequestFailed)
        }
        self.exactly: dict[bytes, list[_Request]] = {}
        self.roughly: dict[bytes, list[_Request]] = {}
        self.made_at: dict[int, int] = {}
        for at, made in enumerate(effects):
            for effect in made:
                if not isinstance(effect, SendAction | Query):
                    continue
                self.made_at[effect.request_id] = at
                answer = answered_at.get(effect.request_id)
                if answer is None:
                    continue
                request = _Request(
                    effect.request_id, at, answer, question(effect), question(effect, times=False)
                )
                self.exactly.setdefault(request.exactly, []).append(request)
                self.roughly.setdefault(request.roughly, []).append(request)


class Rerouting:
    """One run with some inputs left out: gives the answers that stay the numbers their requests have now."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._now: dict[int, int] = {}
        self._taken: set[int] = set()
        self._lookups: dict[str, None] = {}

    def adapted(self, item: AnyInput) -> AnyInput | None:
        """The input as this run needs it; None for the answer to something that was not asked."""
        if isinstance(item, RequestAnswered | RequestFailed):
            request_id = self._now.pop(item.request_id, None)
            if request_id is None:
                return None
            return item if request_id == item.request_id else replace(item, request_id=request_id)
        if isinstance(item, OrderLookedUp):
            if item.key not in self._lookups:
                return None
            del self._lookups[item.key]
        return item

    def note(self, at: int, effects: Sequence[Effect]) -> None:
        """What the input with this index (in the whole recording) has asked for."""
        for effect in effects:
            if isinstance(effect, LookUpOrder):
                self._lookups[effect.key] = None
            elif isinstance(effect, SendAction | Query):
                request = self._recorded(at, effect)
                if request is not None:
                    self._taken.add(request.request_id)
                    self._now[request.request_id] = effect.request_id

    def _recorded(self, at: int, effect: SendAction | Query) -> _Request | None:
        """The recorded request that this one is: made by the same input, else the first still unanswered."""
        for known in (
            self._requests.exactly.get(question(effect), ()),
            self._requests.roughly.get(question(effect, times=False), ()),
        ):
            free = [
                request
                for request in known
                if request.answered_at > at and request.request_id not in self._taken
            ]
            if free:
                return next((request for request in free if request.made_at == at), free[0])
        return None


def timeless(effect: Effect) -> Any:
    """An effect as plain data without its number and without times: equal for effects that do the same."""
    plain = msgspec.to_builtins(effect)
    plain.pop("request_id", None)
    return without_times(plain)
