"""Reads that the core has asked for: paced by the weight limit, each answered once to whoever asked.

How many rows an answer will have, and so what it weighs, is known only afterwards; until then a read counts
with the longest answer that it can have, so that no answer takes what is kept for cancels. Only where the
limit is too low for that it counts less, since a read that nothing makes room for would wait for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from adapters.hyperliquid.context import Context
from adapters.hyperliquid.info_requests import InfoRequest
from adapters.hyperliquid.limits import TOO_MANY_REQUESTS, Charge, RequestKind
from adapters.hyperliquid.unreadable import UNREADABLE
from domain.effects import Query
from domain.enums import Source

__all__ = ["AnswerHandler", "Queries"]

AnswerHandler = Callable[[bytes | None], None]
"""Gets the body of a good answer, or None when there is none: a failed query is never an empty answer."""

_HTTP_ERROR = "http_"
"""How the reason begins when there was an answer, with an error status: it listed no rows."""


@dataclass(slots=True, frozen=True)
class _Asked:
    """A read that has left, and the weight it was counted with."""

    kind: RequestKind
    request: InfoRequest
    handler: AnswerHandler
    charge: Charge


class Queries:
    """Sends reads as the limit permits and hands their answers out."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: dict[RequestKind, deque[tuple[InfoRequest, AnswerHandler]]] = {
            kind: deque() for kind in (RequestKind.RESOLUTION, RequestKind.INFO, RequestKind.PATIENT_INFO)
        }
        self._out: dict[int, _Asked] = {}

    def ask(
        self, request: InfoRequest, handler: AnswerHandler, *, kind: RequestKind = RequestKind.INFO
    ) -> None:
        """Ask once. `handler` is called in a later step, with the answer or with None."""
        if kind is RequestKind.RESOLUTION and not self._context.limits.window.has_slices:
            kind = RequestKind.INFO
        self._waiting[kind].append((request, handler))

    def flush(self) -> None:
        """Send what the limit permits; set a deadline for the rest."""
        for kind, waiting in self._waiting.items():
            if not self._flush(kind, waiting):
                return

    def _flush(self, kind: RequestKind, waiting: deque[tuple[InfoRequest, AnswerHandler]]) -> bool:
        """Send from the front; False when something has to wait."""
        context, window = self._context, self._context.limits.window
        while waiting:
            request, handler = waiting[0]
            weight = request.weight
            if window.has_slices:
                weight = window.in_advance(weight, request.weight_max)
            wait_ns = window.wait_ns(kind, weight, context.now_ns())
            if wait_ns:
                context.set_deadline(wait_ns, "flush")
                return False
            waiting.popleft()
            request_id = context.next_request_id()
            charge = window.charge(kind, weight, context.now_ns())
            self._out[request_id] = _Asked(kind, request, handler, charge)
            context.effect(Query(request_id=request_id, body=request.body))
        return True

    def answered(self, request_id: int, status: int, body: bytes) -> bool:
        """Hand out an answer; False when no read has this id. What the venue refuses for its limit is asked
        again when the hold that follows is over; whoever asked waits on, but for what is never held."""
        asked = self._out.pop(request_id, None)
        if asked is None:
            return False
        context, request = self._context, asked.request
        context.stamp(Source.QUERY)
        context.heed_status(status)
        self._settle(asked, _row_count(body) if status == 200 and request.rows_per_weight else 0)
        has_slices = context.limits.window.has_slices
        if status == TOO_MANY_REQUESTS and has_slices and asked.kind is not RequestKind.RESOLUTION:
            self._waiting[asked.kind].appendleft((request, asked.handler))
            return True
        asked.handler(body if status == 200 else None)
        return True

    def failed(self, request_id: int, reason: str, *, was_sent: bool) -> bool:
        """There will be no answer; False when no read has this id."""
        asked = self._out.pop(request_id, None)
        if asked is None:
            return False
        context = self._context
        context.stamp(Source.QUERY)
        if not was_sent and context.limits.window.has_slices:
            context.limits.window.give_back(asked.charge, asked.charge.weight)
        elif reason.startswith(_HTTP_ERROR):
            self._settle(asked, 0)
        asked.handler(None)
        return True

    def _settle(self, asked: _Asked, rows: int) -> None:
        context, request = self._context, asked.request
        row_weight = request.row_weight(rows)
        context.limits.window.settle(asked.charge, request.weight, row_weight, context.now_ns())


def _row_count(body: bytes) -> int:
    try:
        return len(msgspec.json.decode(body, type=list[msgspec.Raw]))
    except UNREADABLE:
        return 0
