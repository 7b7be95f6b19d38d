"""Makes another recording out of one, and lets a fresh core tell what the changed inputs lead to.

The recorded core and a new one go side by side. Request ids count what a core asked, so they are others once
anything is left out: an answer is handed to the request of the new core that asks the same.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Protocol, TypeVar

from msgspec.structs import replace

from domain.connector_base import ConnectorBase
from domain.effects import Effect, LookUpOrder, Query, SendAction
from domain.errors import LedgerError
from domain.event_codec import encode_events
from domain.inputs import Input, OrderLookedUp, RequestAnswered, RequestFailed, Started
from domain.outcome import Outcome
from replays.cores import REWRITERS_GROUP, MakeCore, installed
from replays.recording import AnyInput, AnyRequest, RecordedInput, SessionHeader, effects_digest
from replays.replaying import NotFromTheStartError, Recording, compare, failure_text

__all__ = [
    "Question",
    "Rewriter",
    "RewritingError",
    "Transform",
    "VenueRewriter",
    "installed_rewriter",
    "step",
]

Question = tuple[str, tuple[str, ...]]
"""What a request asks or asks for, and the names of the orders it concerns: the same in every run."""

Scale = Callable[[Decimal], Decimal]

_Item = TypeVar("_Item", bound=Input)


class VenueRewriter(Protocol):
    """What only a connector's own package knows of its venue's bytes.

    Orders go by any of their names (client order id, the venue's key, exchange id). `answered` is the request
    that an answer belongs to.
    """

    def question(self, request: AnyRequest) -> Question:
        """What the request asks; two with equal questions may be given each other's answer."""

    def market_of(self, item: Input) -> str:
        """What an input says, where that is public market data (such as `bbo BTC`); else empty."""

    def without_orders(
        self, item: _Item, answered: AnyRequest | None, is_other: Callable[[str], bool]
    ) -> _Item | None:
        """A frame or an answer without what it says of other orders; None when nothing else is in it."""

    def scaled(self, item: _Item, answered: AnyRequest | None, scale: Scale) -> _Item:
        """A frame or an answer with every amount and value of the account scaled; prices stay."""


def installed_rewriter(venue: str) -> VenueRewriter:
    """What takes a venue's bytes apart. Raises `CoreNotFoundError`."""
    rewriter: VenueRewriter = installed(REWRITERS_GROUP, venue)()
    return rewriter


class RewritingError(LedgerError):
    """The recording cannot be rewritten: this version does not repeat it, or cannot go on with the result."""


class Transform(Protocol):
    """What becomes of each input. `item` None leaves it out."""

    def item(self, item: AnyInput, answered: AnyRequest | None) -> AnyInput | None: ...

    def question(self, question: Question) -> Question:
        """How the new core asks what the recorded one asked."""

    def lookup(self, key: str) -> str:
        """How the new core looks up what the recorded one looked up."""


class Rewriter:
    """One pass through a recording. Iterate to get the inputs of the new one.

    Raises `RewritingError` at the first input on which the recorded core does something else now, or when the
    new one fails on an input; `NotFromTheStartError` when the recording does not begin with its session.
    """

    def __init__(
        self,
        recording: Recording,
        header: SessionHeader,
        make_core: MakeCore,
        venue: VenueRewriter,
        transform: Transform,
        *,
        until: int | None = None,
    ) -> None:
        self.inputs = 0
        self.kept = 0
        self.answers_without_request = 0
        self._recording = recording
        self._until = until
        self._transform = transform
        self._old = _Requests(make_core(recording.header), venue)
        self._new = _Requests(make_core(header), venue)

    @property
    def requests_without_answer(self) -> int:
        """What the new core asked and nothing in the new recording answers."""
        return self._new.unanswered

    def __iter__(self) -> Iterator[RecordedInput]:
        for recorded in self._recording:
            item = recorded.item
            if self._until is not None and item.sequence > self._until:
                return
            if not self.inputs and not isinstance(item, Started):
                raise NotFromTheStartError(self._recording.header.part, item.sequence)
            self.inputs += 1
            answered = self._old.answered(item)
            self._repeat(recorded)
            changed = self._transform.item(item, answered)
            if changed is None:
                continue
            answers = None
            if isinstance(changed, RequestAnswered | RequestFailed):
                answers = self._answers(answered)
                changed = None if answers is None else replace(changed, request_id=answers.request_id)
            elif isinstance(changed, OrderLookedUp):
                changed = self._looked_up(changed)
            if changed is None:
                self.answers_without_request += 1
                continue
            self.kept += 1
            yield self._outcome(changed, recorded, answers)

    def _repeat(self, recorded: RecordedInput) -> None:
        """Step the recorded core: what it asks is needed, and only a core that repeats it asks the same."""
        sequence = recorded.item.sequence
        try:
            outcome = self._old.step(recorded.item)
        except RewritingError as error:
            if failure_text(error.__cause__ or error) == recorded.failure:
                return
            raise
        if compare(recorded, outcome) is not None:
            raise RewritingError(
                f"This version does something else than recorded on input {sequence}: rewrite the recording "
                "with the version that recorded it, or keep only what comes before that input."
            )

    def _answers(self, answered: AnyRequest | None) -> AnyRequest | None:
        """The request of the new core that asks what this one of the recorded core asks."""
        if answered is None:
            return None
        return self._new.take(self._transform.question(self._old.question(answered)))

    def _looked_up(self, item: OrderLookedUp) -> OrderLookedUp | None:
        """What the new core has looked up as it calls it; None when it has not."""
        key = self._transform.lookup(item.key)
        return replace(item, key=key) if self._new.take_lookup(key) else None

    def _outcome(self, item: AnyInput, recorded: RecordedInput, answers: AnyRequest | None) -> RecordedInput:
        try:
            outcome = self._new.step(item)
        except RewritingError as error:
            if not recorded.failure:
                raise
            return RecordedInput(item, failure=failure_text(error.__cause__ or error), answers=answers)
        events = encode_events([change.event for change in outcome.changes])
        return RecordedInput(item, events, effects_digest(outcome.effects), answers=answers)


def step(core: ConnectorBase, item: AnyInput) -> Outcome:
    """Step a core. Raises `RewritingError`, with what the core raised as its cause."""
    try:
        return core.step(item)
    except Exception as error:
        raise RewritingError(
            f"The core fails on input {item.sequence} and did not when it was recorded: {failure_text(error)}"
        ) from error


class _Requests:
    """A core and what it has asked without an answer so far."""

    def __init__(self, core: ConnectorBase, venue: VenueRewriter) -> None:
        self._core = core
        self._venue = venue
        self._asked: dict[int, AnyRequest] = {}
        self._by_question: dict[Question, deque[int]] = {}
        self._lookups: Counter[str] = Counter()

    @property
    def unanswered(self) -> int:
        return len(self._asked) + self._lookups.total()

    def question(self, request: AnyRequest) -> Question:
        return self._venue.question(request)

    def step(self, item: AnyInput) -> Outcome:
        outcome = step(self._core, item)
        for effect in outcome.effects:
            self._note(effect)
        return outcome

    def answered(self, item: AnyInput) -> AnyRequest | None:
        """The request that an answer with its own id belongs to, which is thereby answered."""
        if not isinstance(item, RequestAnswered | RequestFailed):
            return None
        request = self._asked.pop(item.request_id, None)
        if request is not None:
            self._by_question[self.question(request)].remove(item.request_id)
        return request

    def take(self, question: Question) -> AnyRequest | None:
        """The oldest request that asks this, which is thereby answered."""
        waiting = self._by_question.get(question)
        if not waiting:
            return None
        return self._asked.pop(waiting.popleft())

    def take_lookup(self, key: str) -> bool:
        if not self._lookups[key]:
            return False
        self._lookups[key] -= 1
        return True

    def _note(self, effect: Effect) -> None:
        if isinstance(effect, SendAction | Query):
            self._asked[effect.request_id] = effect
            self._by_question.setdefault(self.question(effect), deque()).append(effect.request_id)
        elif isinstance(effect, LookUpOrder):
            self._lookups[effect.key] += 1
