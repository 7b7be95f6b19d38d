"""What of a recording depends on what: which inputs are about which order, and what each one needs.

Found out by stepping the whole recording once and looking at what each input led to; no venue's messages are
read for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from domain.connector_base import ConnectorBase
from domain.event_codec import EncodedEvents
from domain.inputs import AmendOrder, CancelOrders, Started
from domain.outcome import Outcome
from replays.cores import MakeCore
from replays.recording import AnyInput, AnyRequest, RecordedInput, SessionHeader
from replays.replaying import failure_text
from replays.requests import OpenRequests
from replays.rerouting import Requests, Rerouting

__all__ = ["Step", "WholeSession", "originators"]

_NO_OUTCOME = Outcome([], [])


class Step(msgspec.Struct, frozen=True):
    """One input of a run. `at` is its index in the whole recording, `item` the input as it was stepped, and
    `answers` the request of this run that it is the answer to."""

    at: int
    item: AnyInput
    outcome: Outcome
    failure: str
    core: ConnectorBase
    answers: AnyRequest | None = None


class _Named(msgspec.Struct):
    originator_id: str


_decode_name = msgspec.msgpack.Decoder(_Named).decode


def originators(events: EncodedEvents) -> list[str]:
    """Whose each of these events is."""
    return [_decode_name(state).originator_id for _, state in events]


class WholeSession:
    """A recording in memory, and what depends on what in it.

    `creators[at]` are the inputs that created the orders the input at this index is about; `about[at]` are
    those orders. `startup` is the index of the input after which the connector was ready (or the last one).
    An input on which the core fails ends the session.
    """

    def __init__(self, header: SessionHeader, recorded: Sequence[RecordedInput], make_core: MakeCore) -> None:
        self.header = header
        self.recorded = list(recorded)
        self.creators: list[tuple[int, ...]] = []
        self.about: list[tuple[str, ...]] = []
        self.startup = 0
        self._make_core = make_core
        self._requests = Requests((), ())
        self._look_through()

    def _look_through(self) -> None:
        created_at: dict[str, int] = {}
        effects = []
        is_ready = False
        for step in self._steps(range(len(self.recorded)), None):
            at, outcome = step.at, step.outcome
            about = dict.fromkeys(change.event.originator_id for change in outcome.changes)
            about |= dict.fromkeys(originators(self.recorded[at].events))
            if isinstance(step.item, CancelOrders):
                about |= dict.fromkeys(step.item.client_order_ids)
            elif isinstance(step.item, AmendOrder):
                about[step.item.client_order_id] = None
            about.pop(step.core.account.id, None)
            for change in outcome.changes:
                if change.event.originator_version == 1:
                    created_at.setdefault(change.event.originator_id, at)
            self.about.append(tuple(about))
            self.creators.append(
                tuple(sorted({created_at[order] for order in about if created_at.get(order, at) != at}))
            )
            effects.append(outcome.effects)
            if not is_ready:
                self.startup = at
                is_ready = step.core.ready
        del self.recorded[len(self.about) :]
        self._requests = Requests([recorded.item for recorded in self.recorded], effects)

    def run(self, indices: Sequence[int], started: Started | None = None) -> Iterator[Step]:
        """Step these inputs, in their order; answers that nothing asks for any more are passed over.

        `started` stands in for the recorded start.
        """
        return self._steps(indices, Rerouting(self._requests), started)

    def _steps(
        self, indices: Sequence[int], rerouting: Rerouting | None, started: Started | None = None
    ) -> Iterator[Step]:
        core = self._make_core(self.header)
        requests = OpenRequests()
        for at in indices:
            item: AnyInput | None = self.recorded[at].item
            if started is not None and isinstance(item, Started):
                item = started
            if rerouting is not None and item is not None:
                item = rerouting.adapted(item)
            if item is None:
                continue
            answers = requests.take(item)
            try:
                outcome = core.step(item)
            except Exception as error:
                yield Step(at, item, _NO_OUTCOME, failure_text(error), core, answers)
                return
            if outcome.effects:
                requests.note(outcome.effects)
            if rerouting is not None:
                rerouting.note(at, outcome.effects)
            yield Step(at, item, outcome, "", core, answers)

    def closed(self, indices: Collection[int]) -> tuple[int, ...]:
        """Of these, in their order, those whose orders are created by others of these."""
        kept: dict[int, None] = {}
        for at in sorted(indices):
            if all(creator in kept for creator in self.creators[at]):
                kept[at] = None
        return tuple(kept)

    def needed_by(self, at: int) -> tuple[int, ...]:
        """An input and everything without which it would not be kept."""
        needed = {0, at}
        waiting = [at]
        while waiting:
            for creator in self.creators[waiting.pop()]:
                if creator not in needed:
                    needed.add(creator)
                    waiting.append(creator)
        return tuple(sorted(needed))
