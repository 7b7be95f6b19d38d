"""The life of one order, explained: each fact in plain language with its latency, source and cause, what was
concluded rather than told, and what is still unknown.

A pure function of the order's events. Nothing is guessed: a sentence says what an event and the facts before
it hold, no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

import msgspec

from domain.enums import OrderState, RequestState, Source, Submission
from domain.events import (
    LedgerEvent,
    OrderAcknowledged,
    OrderAmended,
    OrderAmendRefused,
    OrderAmendRequested,
    OrderAmendUnknown,
    OrderCancelled,
    OrderCancelRefused,
    OrderCancelRequested,
    OrderCancelUnknown,
    OrderCreated,
    OrderExpired,
    OrderFailed,
    OrderFillCorrected,
    OrderFilled,
    OrderNotFound,
    OrderObserved,
    OrderReopened,
    OrderReportedFilled,
    OrderSubmitted,
    OrderSubmitUnknown,
)
from domain.in_flight_order import INFERRED_REASONS, InFlightOrder
from projections.errors import UnfoldableEventError
from projections.event_source import PositionedEvent, UnreadableEvent
from projections.numbers import impossible_numbers
from projections.summaries import summarise
from projections.texts import number_text

__all__ = ["Doubt", "Explanation", "Step", "explain"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One fact of the order's life.

    `since_previous_ns` is the time since the step before, by our clock (None for the first). `inferred` says
    what was concluded rather than told, and `inferred_from` what that rests on; both are empty otherwise.
    `state` is the order's state after it (None from an event on that could not be folded).
    """

    position: int
    version: int
    topic: str
    recorded_at_ns: int
    exchange_time_ms: int | None
    since_previous_ns: int | None
    source: Source
    causation: str
    text: str
    inferred: str
    inferred_from: str
    state: OrderState | None


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which the fate of a request about the order was not known. The positions are those of the
    steps that began and ended it; `lasted_ns` is None where it goes on."""

    from_position: int
    to_position: int | None
    lasted_ns: int | None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """An order and how it came to be as it is. Amounts in base units, prices in quote units per base unit;
    `fees` maps a token to what was paid. `decided_by` is the position of the step that brought the order into
    its state. `unknown` says in words what is not known (yet); empty when all is.
    """

    client_order_id: str
    exchange_order_ids: tuple[str, ...]
    venue_order_key: str
    venue: str
    account: str
    tag: str
    terms: str
    state: OrderState
    done: bool
    outcome_unknown: bool
    amount: Decimal
    filled_amount: Decimal
    average_fill_price: Decimal | None
    fees: dict[str, Decimal]
    decided_by: int
    steps: tuple[Step, ...]
    doubts: tuple[Doubt, ...]
    unknown: tuple[str, ...]


class _Words(NamedTuple):
    """What a step says, what of it was concluded, and from what."""

    text: str
    inferred: str = ""
    inferred_from: str = ""


class _Doubts:
    """When the fate of a request was not known, collected step by step."""

    def __init__(self) -> None:
        self._found: list[Doubt] = []
        self._began: Step | None = None

    def take(self, step: Step, order: InFlightOrder) -> None:
        in_doubt = order.outcome_unknown and not order.is_done
        if in_doubt and self._began is None:
            self._began = step
        elif self._began is not None and not in_doubt:
            self._found.append(
                Doubt(
                    from_position=self._began.position,
                    to_position=step.position,
                    lasted_ns=step.recorded_at_ns - self._began.recorded_at_ns,
                )
            )
            self._began = None

    def all(self) -> tuple[Doubt, ...]:
        if self._began is None:
            return tuple(self._found)
        goes_on = Doubt(from_position=self._began.position, to_position=None, lasted_ns=None)
        return (*self._found, goes_on)


def explain(history: Sequence[PositionedEvent], unreadable: Sequence[UnreadableEvent] = ()) -> Explanation:
    """Explain an order from its events, first to last, and those among them that could not be read.

    Raises `UnfoldableEventError` when its first event is missing: nothing can be said about such an order.
    """
    if not history or not isinstance(history[0][1], OrderCreated):
        raise UnfoldableEventError("the order's first event, order.created, is missing or cannot be read")
    created = history[0][1]
    order = InFlightOrder(created)
    steps = [_step(history[0], None, _Words(_created(created)), order.state)]
    doubts = _Doubts()
    cut_off = min((_position(each) for each in unreadable), default=None)
    unknown = [f"What {each} would say" for each in unreadable]
    for before, at in pairwise(history):
        position, event = at
        if cut_off is not None and position > cut_off:
            steps.append(_step(at, before, _Words(summarise(event)), None))
            continue
        told = _Told(order, event)
        wrong = _applied(order, event)
        if wrong:
            cut_off = position
            unknown.append(f"What the event at position {position} does to the order: {wrong}")
            steps.append(_step(at, before, _Words(summarise(event)), None))
            continue
        steps.append(_step(at, before, told.in_words(order), order.state))
        doubts.take(steps[-1], order)
    return Explanation(
        client_order_id=order.id,
        exchange_order_ids=order.exchange_order_ids,
        venue_order_key=order.venue_order_key,
        venue=created.venue,
        account=created.account,
        tag=created.tag,
        terms=_terms(created),
        state=order.state,
        done=order.is_done,
        outcome_unknown=order.outcome_unknown,
        amount=_canonical(order.amount),
        filled_amount=_canonical(order.filled_amount),
        average_fill_price=order.average_fill_price,
        fees={token: _canonical(total) for token, total in order.fees.items()},
        decided_by=_decided_by(steps),
        steps=tuple(steps),
        doubts=doubts.all(),
        unknown=(*unknown, *_still_unknown(order)),
    )


def _decided_by(steps: Sequence[Step]) -> int:
    """The position of the first of the steps at the end that all show the same state."""
    folded = [step for step in steps if step.state is not None]
    decisive = folded[-1]
    for step in reversed(folded):
        if step.state is not decisive.state:
            break
        decisive = step
    return decisive.position


def _canonical(value: Decimal) -> Decimal:
    return Decimal(number_text(value))


def _position(unreadable: UnreadableEvent) -> int:
    assert unreadable.position is not None, "an event read from the log has its position"
    return unreadable.position


def _applied(order: InFlightOrder, event: LedgerEvent) -> str:
    """Fold an event in; what is wrong with it, if it cannot be."""
    wrong = impossible_numbers(event)
    if not wrong and type(event) is OrderCreated:
        return f"{event.topic} comes a second time"
    if not wrong:
        try:
            order.apply(event)
        except Exception as error:
            wrong = UnfoldableEventError.of(error).reason
    return wrong


def _step(
    at: PositionedEvent,
    before: PositionedEvent | None,
    words: _Words,
    state: OrderState | None,
) -> Step:
    position, event = at
    return Step(
        position=position,
        version=event.originator_version,
        topic=event.topic,
        recorded_at_ns=event.recorded_at_ns,
        exchange_time_ms=event.exchange_time_ms,
        since_previous_ns=None if before is None else event.recorded_at_ns - before[1].recorded_at_ns,
        source=event.source,
        causation=event.causation,
        text=words.text,
        inferred=words.inferred,
        inferred_from=words.inferred_from,
        state=state,
    )


# What an event says, to somebody who knows what came before


def _terms(event: OrderCreated) -> str:
    return summarise(event).partition(": ")[2].replace(event.order_type, _plain(event.order_type))


def _created(event: OrderCreated) -> str:
    terms = _terms(event)
    if event.external:
        return f"found at the venue, placed elsewhere: {terms}"
    if event.source is Source.RECONCILIATION:
        return f"found at the venue, placed before this ledger was kept: {terms}"
    mid = event.reference_price
    decided = "" if mid is None else f", decided at a mid of {number_text(mid)}"
    return f"the intent: {terms}{decided}; nothing is sent before this is on disk"


class _Told:
    """An event and the facts as they stood before it."""

    def __init__(self, order: InFlightOrder, event: LedgerEvent) -> None:
        self._event = event
        self._submission = order.submission
        self._was_done = order.is_done
        self._was_concluded = order.closing is not None and order.closing.is_inferred
        self._ending = (
            "" if order.closing is None else f"{order.closing.kind}, {_plain(order.closing.reason_code)}"
        )
        self._not_found = order.not_found_count
        self._cancel = order.cancel

    def in_words(self, after: InFlightOrder) -> _Words:
        """The sentence, and what it rests on where it is a conclusion; `after`: the order with the event."""
        in_words = _WORDS.get(type(self._event))
        said = summarise(self._event) if in_words is None else in_words(self, self._event, after)
        words = _Words(said) if isinstance(said, str) else said
        if self._was_concluded and not after.is_done:
            refuted = f"{words.text}; that refutes that it was {self._ending}: the order lives"
            words = words._replace(text=refuted)
        return words

    def submitted(self, event: OrderSubmitted, after: InFlightOrder) -> str:
        again = "" if event.attempt == 1 else f" again, attempt {event.attempt}"
        together = " together with the intent" if event.causation == after.created.causation else ""
        expiry = ""
        if event.expires_at_ms is not None:
            expiry = f"; the venue refuses it if it arrives after {_clock(event.expires_at_ms)}"
        return f"durable{together}, then signed with nonce {event.nonce} and sent{again}{expiry}"

    def submit_unknown(self, event: OrderSubmitUnknown, after: InFlightOrder) -> str:
        why = _because(event.reason_code, event.reason)
        return (
            f"no answer ({why}): the order may or may not have arrived, so it is not sent again; "
            "the venue is asked instead"
        )

    def acknowledged(self, event: OrderAcknowledged, after: InFlightOrder) -> str | _Words:
        name = f" as {event.exchange_order_id}" if event.exchange_order_id else ""
        if event.source in (Source.QUERY, Source.RECONCILIATION):
            text = f"asked, the venue has the order{name}"
        elif event.source is Source.STREAM:
            text = f"the venue's stream shows the order live{name}"
        else:
            text = f"answered: the venue took the order{name}"
        if self._submission is not Submission.UNKNOWN:
            return text
        return _Words(
            f"{text}: the request had arrived, only its answer was lost",
            "the request had arrived, only its answer was lost",
            f"the venue knows the order by {after.venue_order_key}, which it can only have from that request",
        )

    def filled(self, event: OrderFilled, after: InFlightOrder) -> str | _Words:
        asked = event.source in (Source.QUERY, Source.RECONCILIATION)
        text = summarise(event)
        text = f"{'found by asking for fills, ' if asked else ''}{text}; "
        text += f"{number_text(after.filled_amount)} of {number_text(after.amount)} filled"
        if after.overfilled:
            text += ", more than was ordered"
        if self._was_done and not self._was_concluded and not after.is_complete:
            text += f"; it came after the end ({self._ending}) and is booked all the same"
        if self._submission not in (Submission.SENT, Submission.UNKNOWN):
            return text
        return _Words(text, "the venue took the order", "a fill of it came before any acknowledgement")

    def fill_corrected(self, event: OrderFillCorrected, after: InFlightOrder) -> _Words:
        change = "takes back a fill" if event.now is None else "corrects a fill"
        text = f"the reconciliation {change}, finding {event.discrepancy_id}: {summarise(event)}"
        text += f"; {number_text(after.filled_amount)} of {number_text(after.amount)} filled"
        happened = "did not happen" if event.now is None else "was another"
        return _Words(text, f"the fill that was booked {happened}", "the venue's own history says so")

    def reopened(self, event: OrderReopened, after: InFlightOrder) -> _Words:
        why = _because(event.reason_code, event.reason)
        return _Words(
            f"the reconciliation refutes the end ({self._ending}), finding {event.discrepancy_id}: {why}",
            "the order lives",
            "the venue lists it as live long after the time at which it was recorded to have ended",
        )

    def reported_filled(self, event: OrderReportedFilled, after: InFlightOrder) -> str:
        missing = after.missing_fill_amount
        if missing:
            return f"the venue calls it filled; fills of {number_text(missing)} are missing and asked for"
        return "the venue calls it filled, and its fills are in"

    def cancel_requested(self, event: OrderCancelRequested, after: InFlightOrder) -> str:
        why = f" ({_plain(event.reason_code)})" if event.reason_code else ""
        return f"cancel wanted{why}: durable, then signed with nonce {event.nonce} and sent"

    def cancel_unknown(self, event: OrderCancelUnknown, after: InFlightOrder) -> str:
        why = _because(event.reason_code, event.reason)
        return f"no answer to the cancel ({why}): it may or may not have taken effect; the venue is asked"

    def cancel_refused(self, event: OrderCancelRefused, after: InFlightOrder) -> str:
        why = _because(event.reason_code, event.reason)
        return f"the venue did not cancel it ({why}), which does not say that it lives"

    def amend_requested(self, event: OrderAmendRequested, after: InFlightOrder) -> str:
        return (
            f"change to {number_text(event.amount)} at {number_text(event.price)} wanted: durable, then "
            f"signed with nonce {event.nonce} and sent"
        )

    def amend_unknown(self, event: OrderAmendUnknown, after: InFlightOrder) -> str:
        why = _because(event.reason_code, event.reason)
        return f"no answer to the change ({why}): either terms may be in force; the venue is asked"

    def amended(self, event: OrderAmended, after: InFlightOrder) -> str:
        return summarise(event)

    def amend_refused(self, event: OrderAmendRefused, after: InFlightOrder) -> str | _Words:
        text = f"the change did not happen ({_because(event.reason_code, event.reason)})"
        evidence = _evidence(event.reason_code, self._not_found)
        return _Words(text, "the change did not happen", evidence) if evidence else text

    def closed(
        self, event: OrderCancelled | OrderFailed | OrderExpired, after: InFlightOrder
    ) -> str | _Words:
        verb = _ENDINGS[type(event)]
        inferred_from = _evidence(event.reason_code, self._not_found)
        if not inferred_from and event.source is Source.QUERY and not event.reason:
            inferred_from = _SEARCHED.get(event.reason_code, "")
        why = _because(event.reason_code, event.reason)
        if event.reason and " " not in event.reason:
            # One word is the venue's status: it would read as part of the sentence.
            why = f"{_plain(event.reason_code)}; the venue's word: {event.reason}"
        if inferred_from:
            text = f"concluded: {verb} ({why})"
        elif type(event) is OrderFailed and self._submission is Submission.NONE:
            text = f"{verb} here, nothing was sent ({why})"
        elif type(event) is OrderFailed:
            text = f"the venue refused it ({why})"
        elif self._cancel in (RequestState.REQUESTED, RequestState.UNKNOWN):
            text = f"{verb}, as we asked ({why})"
        else:
            text = f"{verb}, without our asking ({why})"
        rest = after.remaining_amount
        if after.filled_amount and rest:
            text += f"; {number_text(after.filled_amount)} stay filled, {number_text(rest)} will not be"
        return _Words(text, f"it is {verb}", inferred_from) if inferred_from else text

    def not_found(self, event: OrderNotFound, after: InFlightOrder) -> str:
        times = "" if event.count == 1 else f", {event.count} times in a row now"
        return f"asked, the venue does not know the order{times}; alone that proves nothing"

    def observed(self, event: OrderObserved, after: InFlightOrder) -> str:
        meaning = _OBSERVED.get(event.why, _plain(event.why))
        status = f" {event.status!r}" if event.status else ""
        leg = f" for {event.exchange_order_id}" if event.exchange_order_id else ""
        because = (
            f" ({_because(event.reason_code, event.reason)})" if event.reason_code or event.reason else ""
        )
        return f"the venue said{status}{leg}{because}: {meaning}; kept, it changes nothing"


_ENDINGS: dict[type[LedgerEvent], str] = {
    OrderCancelled: "cancelled",
    OrderFailed: "failed",
    OrderExpired: "expired",
}

_OBSERVED = {
    "still_open": "it is open after all",
    "former_leg": "that is about a leg that an amend has replaced",
    "former_leg_ended": "a leg that an amend has replaced is gone",
    "leg_ended_during_amend": "the leg ended while a change of terms is out, whose replacement may live",
    "replacement_refused": "the replacement was refused",
    "after_terminal": "the order has ended, and a late message does not open it again",
    "already_ended": "its end is known already",
    "end_confirmed": "that confirms its end",
    "fills_deny_it": "its fills say otherwise",
}

_WORDS: dict[type[LedgerEvent], Callable[..., str | _Words]] = {
    OrderSubmitted: _Told.submitted,
    OrderSubmitUnknown: _Told.submit_unknown,
    OrderAcknowledged: _Told.acknowledged,
    OrderFilled: _Told.filled,
    OrderFillCorrected: _Told.fill_corrected,
    OrderReopened: _Told.reopened,
    OrderReportedFilled: _Told.reported_filled,
    OrderCancelRequested: _Told.cancel_requested,
    OrderCancelUnknown: _Told.cancel_unknown,
    OrderCancelRefused: _Told.cancel_refused,
    OrderAmendRequested: _Told.amend_requested,
    OrderAmendUnknown: _Told.amend_unknown,
    OrderAmended: _Told.amended,
    OrderAmendRefused: _Told.amend_refused,
    OrderCancelled: _Told.closed,
    OrderFailed: _Told.closed,
    OrderExpired: _Told.closed,
    OrderNotFound: _Told.not_found,
    OrderObserved: _Told.observed,
}


_SEARCHED = {
    "ioc_remainder": "the venue calls it filled, and a search for its fills found less than was ordered",
    "reduce_only_shrunk": "the venue calls it filled, and its fills are the whole position it was to reduce",
}
"""Ends without a word of the venue's that were found by asking, and what they rest on."""


def _evidence(reason_code: str, not_found: int) -> str:
    """What a conclusion rests on; empty where the venue, or this process, knew."""
    if reason_code == "absence_proven":
        return "the venue does not know it, its clock has passed the request's expiry, and no fill is of it"
    if reason_code == "not_found":
        return f"the venue did not know it {not_found} times in a row, without a sign of life in between"
    return ""


def _still_unknown(order: InFlightOrder) -> list[str]:
    found: list[str] = []
    if not order.is_done:
        found += _open_requests(order)
    if order.missing_fill_amount:
        found.append(
            f"The fills of {number_text(order.missing_fill_amount)}: the venue calls it filled, and "
            "positions wait for the fills themselves"
        )
    if order.closing is not None and order.closing.reason_code in INFERRED_REASONS:
        found.append("Whether that end is final: it was concluded, and any sign of life would refute it")
    return found


def _open_requests(order: InFlightOrder) -> list[str]:
    found = []
    if order.submission is Submission.NONE:
        found.append("Whether it will be sent: it was decided, and waits for the venue's limits")
    elif order.submission is Submission.SENT:
        found.append("The answer to the request that places it")
    elif order.submission is Submission.UNKNOWN:
        until = ""
        if order.expires_at_ms is not None:
            until = f"; one that arrives after {_clock(order.expires_at_ms)} is refused"
        found.append(f"Whether the venue has it, and so whether it can fill{until}")
    for request, state in (("cancel", order.cancel), ("change of terms", order.amend)):
        if state is RequestState.UNKNOWN:
            found.append(f"Whether the {request} took effect: its answer was lost")
        elif state is RequestState.REQUESTED:
            found.append(f"The answer to the {request}")
    return found


def _because(reason_code: str, reason: str) -> str:
    # "No answer (no answer: ...)" would say it twice.
    code = "" if reason and reason_code == "no_answer" else _plain(reason_code)
    head, colon, rest = reason.partition(":")
    if "_" in head and " " not in head:
        reason = f"{_plain(head)}{colon}{rest}"
    if not reason or reason == code:
        return code
    return f"{code}: {reason}" if code else reason


def _plain(code: str) -> str:
    return code.replace("_", " ")


def _clock(at_ms: int) -> str:
    """A time of the venue's clock (ms UTC), as a time of day."""
    seconds, rest = divmod(at_ms, 1_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}.{rest:03d}"
