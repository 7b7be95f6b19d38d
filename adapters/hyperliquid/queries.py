"""Reads that the core has asked for: paced by the weight limit, each answered once to whoever asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from adapters.hyperliquid.context import Context
from adapters.hyperliquid.info_requests import InfoRequest
from adapters.hyperliquid.unreadable import UNREADABLE
from domain.effects import Query
from domain.enums import Source

__all__ = ["AnswerHandler", "Queries"]

AnswerHandler = Callable[[bytes | None], None]
"""Gets the body of a good answer, or None when there is none: a failed query is never an empty answer."""


class Queries:
    """Sends reads as the limit permits and hands their answers out."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: deque[tuple[InfoRequest, AnswerHandler]] = deque()
        self._patient: deque[tuple[InfoRequest, AnswerHandler]] = deque()
        self._out: dict[int, tuple[InfoRequest, AnswerHandler]] = {}

    def ask(self, request: InfoRequest, handler: AnswerHandler, *, patient: bool = False) -> None:
        """Ask once. `handler` is called in a later step, with the answer or with None.

        `patient` is for reads of which there may be thousands: they wait for all others.
        """
        (self._patient if patient else self._waiting).append((request, handler))

    def flush(self) -> None:
        """Send what the limit permits; set a deadline for the rest."""
        if (self._waiting or self._patient) and self._flush(self._waiting, patient=False):
            self._flush(self._patient, patient=True)

    def _flush(self, waiting: deque[tuple[InfoRequest, AnswerHandler]], *, patient: bool) -> bool:
        """Send from the front; False when something has to wait."""
        context = self._context
        while waiting:
            request, handler = waiting[0]
            wait_ns = context.limits.admit_info(request.weight, context.now_ns(), patient=patient)
            if wait_ns:
                context.set_deadline(wait_ns, "flush")
                return False
            waiting.popleft()
            request_id = context.next_request_id()
            self._out[request_id] = (request, handler)
            context.effect(Query(request_id=request_id, body=request.body))
        return True

    def answered(self, request_id: int, status: int, body: bytes) -> bool:
        """Hand out an answer; False when no read has this id."""
        found = self._out.pop(request_id, None)
        if found is None:
            return False
        request, handler = found
        self._context.stamp(Source.QUERY)
        if status == 200:
            if request.rows_per_weight:
                weight = request.row_weight(_row_count(body))
                self._context.limits.window.charge(weight, self._context.now_ns())
            handler(body)
        else:
            handler(None)
        return True

    def failed(self, request_id: int) -> bool:
        """There will be no answer; False when no read has this id."""
        found = self._out.pop(request_id, None)
        if found is None:
            return False
        self._context.stamp(Source.QUERY)
        found[1](None)
        return True


def _row_count(body: bytes) -> int:
    try:
        return len(msgspec.json.decode(body, type=list[msgspec.Raw]))
    except UNREADABLE:
        return 0
