"""Consistent histories of one order at a venue, for tests by generation.

A history is what a venue that never contradicts itself says about one order: every message it sends, and the
commands in between. `History.given` happens first and in this order; `History.rest` is what is still to come,
and may come in any order. Messages of streams may come any number of times, answers come once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from hypothesis import strategies as st

__all__ = [
    "AmendAnswer",
    "AmendAsked",
    "CancelAnswer",
    "CancelAsked",
    "Ended",
    "Filled",
    "History",
    "Message",
    "Opened",
    "PlaceAnswer",
    "histories",
]


@dataclass(frozen=True)
class Opened:
    """`open` on the stream."""

    oid: int
    at: int
    amount: int
    price: int


@dataclass(frozen=True)
class Filled:
    tid: int
    oid: int
    amount: int
    price: int
    fee: str
    at: int


@dataclass(frozen=True)
class Ended:
    """A status that ends a leg: filled, canceled, marginCanceled, iocCancelRejected, badAloPxRejected."""

    oid: int
    status: str
    at: int
    amount: int
    price: int
    remaining: int


@dataclass(frozen=True)
class PlaceAnswer:
    """`resting`, `filled`, `error` or `lost`; `oid` and `total` where they belong to it."""

    kind: str
    oid: int = 0
    total: int = 0
    text: str = ""


@dataclass(frozen=True)
class CancelAsked:
    pass


@dataclass(frozen=True)
class CancelAnswer:
    """`success`, `error` (never placed, already cancelled, or filled) or `lost`."""

    kind: str


@dataclass(frozen=True)
class AmendAsked:
    """`total` is the new amount as the caller means it; `sent` what the replacement is sent with."""

    number: int
    total: int
    sent: int
    price: int


@dataclass(frozen=True)
class AmendAnswer:
    """`resting`, `filled`, `done` (cannot modify canceled or filled order), `refused` (the order cancelled,
    its replacement not placed) or `lost`."""

    number: int
    kind: str
    oid: int = 0
    total: int = 0


Message = Opened | Filled | Ended | PlaceAnswer | CancelAsked | CancelAnswer | AmendAsked | AmendAnswer
ANSWERS = (PlaceAnswer, CancelAnswer, AmendAnswer)
COMMANDS = (CancelAsked, AmendAsked)


@dataclass
class History:
    """One order: what it asked for, what happens in order, what may come in any order, and the truth."""

    amount: int
    price: int
    immediate: bool
    given: list[Message] = field(default_factory=list)
    rest: list[Message] = field(default_factory=list)
    fills: list[Filled] = field(default_factory=list)

    @property
    def filled(self) -> int:
        return sum(fill.amount for fill in self.fills)

    @property
    def fees(self) -> Decimal:
        return sum((Decimal(fill.fee) for fill in self.fills), Decimal(0))


class _Venue:
    """Plays one order at a venue, collecting what it says."""

    def __init__(self, draw: st.DrawFn, history: History) -> None:
        self.draw = draw
        self.history = history
        self.pending: list[Message] = []
        self.now = 1
        self.oid = 0
        self.last_oid = 100
        self.leg_amount = 0
        self.leg_filled = 0
        self.price = history.price
        self.alive = False
        self.known = 0

    def say(self, *messages: Message) -> None:
        self.pending += messages

    def later(self) -> None:
        self.now += self.draw(st.integers(0, 2), label="time passes")

    def new_leg(self, amount: int, price: int) -> None:
        self.last_oid += self.draw(st.integers(1, 5), label="oids between")
        self.oid, self.leg_amount, self.leg_filled, self.price = self.last_oid, amount, 0, price
        self.alive = True

    @property
    def remaining(self) -> int:
        return self.leg_amount - self.leg_filled

    def fill_some(self, most: int | None = None) -> None:
        """Execute up to `most` (default: all but one) of the leg, in a few trades."""
        most = self.remaining - 1 if most is None else most
        for _ in range(self.draw(st.integers(0, 3), label="trades")):
            if most <= 0:
                return
            self.execute(self.draw(st.integers(1, most), label="trade size"))
            most = min(most, self.remaining - 1)
            self.later()

    def execute(self, amount: int) -> None:
        fill = Filled(
            tid=len(self.history.fills) + 1,
            oid=self.oid,
            amount=amount,
            price=self.price - self.draw(st.integers(0, 1), label="better price"),
            fee=self.draw(st.sampled_from(["0.01", "-0.003", "0", "0.000001"]), label="fee"),
            at=self.now,
        )
        self.leg_filled += amount
        self.history.fills.append(fill)
        self.say(fill)

    def end(self, status: str, remaining: int | None = None) -> None:
        self.alive = False
        if remaining is None:
            remaining = 0 if status == "filled" else self.remaining
        self.say(Ended(self.oid, status, self.now, self.leg_amount, self.price, remaining))

    def maybe_say(self, message: Message) -> None:
        """A message that the stream may lose."""
        if self.draw(st.booleans(), label="said"):
            self.say(message)

    def deliver(self, *, nothing_is_fine: bool = False) -> None:
        """Some of what was said arrives; of the present leg at least one sign of life, if that is needed."""
        known = nothing_is_fine or any(getattr(m, "oid", 0) == self.oid for m in self.history.given)
        first = None if known else next(m for m in self.pending if getattr(m, "oid", 0) == self.oid)
        arrived = [
            message
            for message in self.pending
            if message is first or self.draw(st.booleans(), label="arrived before")
        ]
        self.pending = [message for message in self.pending if message not in arrived]
        self.history.given += arrived
        self.known = sum(m.amount for m in self.history.given if isinstance(m, Filled))


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Any history of an order: placed, amended up to twice, perhaps cancelled, ended or still open."""
    history = History(
        amount=draw(st.integers(1, 12), label="amount"),
        price=100,
        immediate=draw(st.integers(0, 3), label="immediate") == 0,
    )
    venue = _Venue(draw, history)
    if draw(st.integers(0, 7), label="refused") == 0:
        _refused(venue)
    elif history.immediate:
        _immediate(venue)
    else:
        _resting(venue)
    history.rest += venue.pending
    return history


def _refused(venue: _Venue) -> None:
    history = venue.history
    text = (
        "Order could not immediately match against any resting orders."
        if history.immediate
        else ("Post only order would have immediately matched, bbo was 1@2.")
    )
    venue.last_oid += 1
    venue.oid, venue.leg_amount = venue.last_oid, history.amount
    answered = venue.draw(st.booleans(), label="answered")
    venue.say(PlaceAnswer("error", text=text) if answered else PlaceAnswer("lost"))
    status = "iocCancelRejected" if history.immediate else "badAloPxRejected"
    ended = Ended(venue.oid, status, venue.now, history.amount, history.price, history.amount)
    if answered:
        venue.maybe_say(ended)
    else:
        venue.say(ended)


def _immediate(venue: _Venue) -> None:
    history = venue.history
    venue.new_leg(history.amount, history.price)
    opened = Opened(venue.oid, venue.now, history.amount, history.price)
    venue.maybe_say(opened)
    all_of_it = venue.draw(st.booleans(), label="executes completely")
    venue.fill_some(venue.remaining - 1)
    if all_of_it or not venue.leg_filled:
        venue.execute(venue.remaining)
    total = venue.leg_filled
    if venue.draw(st.booleans(), label="answered"):
        venue.say(PlaceAnswer("filled", oid=venue.oid, total=total))
    else:
        venue.say(PlaceAnswer("lost"))
    if total == history.amount:
        venue.end("filled")
    else:
        # The venue has called both what an immediate order leaves unfilled (protocol sheet, section 5.3).
        venue.end(venue.draw(st.sampled_from(["canceled", "filled"]), label="ended as"), venue.remaining)


def _resting(venue: _Venue) -> None:
    history, draw = venue.history, venue.draw
    venue.new_leg(history.amount, history.price)
    opened = Opened(venue.oid, venue.now, history.amount, history.price)
    answer = draw(st.sampled_from(["resting", "filled", "lost"]), label="place answer")
    if answer == "filled" and history.amount > 1:
        venue.execute(draw(st.integers(1, history.amount - 1), label="executed at once"))
        venue.say(PlaceAnswer("filled", oid=venue.oid, total=venue.leg_filled))
    else:
        answer = "resting" if answer == "filled" else answer
        venue.say(PlaceAnswer(answer, oid=0 if answer == "lost" else venue.oid))
    venue.say(opened)
    venue.later()
    venue.fill_some()
    for number in range(1, 1 + draw(st.integers(0, 2), label="amends")):
        lives = _amend(venue, number) if draw(st.integers(0, 3), label="by us") else _amend_elsewhere(venue)
        if not lives:
            break
        venue.fill_some()
    if venue.alive:
        _finish(venue)


def _amend(venue: _Venue, number: int) -> bool:
    """Amend the order; returns whether it lives on."""
    history, draw = venue.history, venue.draw
    venue.deliver()
    venue.now += 1
    total = draw(st.integers(venue.known + 1, venue.known + 12), label="new total")
    asked = AmendAsked(number, total, total - venue.known, venue.price + 1)
    history.given.append(asked)
    fate = draw(st.sampled_from(["replaced", "replaced", "too late", "refused"]), label="amend fate")
    answered = draw(st.booleans(), label="amend answered")
    venue.fill_some()
    if fate == "too late":
        _end_by_itself(venue)
        venue.say(AmendAnswer(number, "done"))
        return False
    old = venue.oid
    venue.end("canceled")
    if fate == "refused":
        venue.last_oid += 1
        if draw(st.booleans(), label="refusal on the stream"):
            venue.say(
                Ended(venue.last_oid, "badAloPxRejected", venue.now, asked.sent, asked.price, asked.sent)
            )
        venue.say(AmendAnswer(number, "refused"))
        return False
    venue.new_leg(asked.sent, asked.price)
    assert venue.oid != old
    executed = venue.leg_amount > 1 and draw(st.booleans(), label="replacement executes at once")
    if executed:
        venue.execute(draw(st.integers(1, venue.leg_amount - 1), label="executed by the replacement"))
    if answered:
        kind = "filled" if executed else "resting"
        venue.say(AmendAnswer(number, kind, oid=venue.oid, total=venue.leg_filled))
    else:
        venue.say(AmendAnswer(number, "lost"))
    venue.say(Opened(venue.oid, venue.now, venue.leg_amount, venue.price))
    venue.later()
    return True


def _amend_elsewhere(venue: _Venue) -> bool:
    """Another program amends the order under our client id."""
    venue.deliver()
    venue.now += 1
    venue.end("canceled")
    venue.new_leg(venue.draw(st.integers(1, 12), label="new size"), venue.price + 2)
    venue.say(Opened(venue.oid, venue.now, venue.leg_amount, venue.price))
    venue.later()
    return True


def _end_by_itself(venue: _Venue) -> None:
    if venue.draw(st.booleans(), label="filled in the end"):
        venue.execute(venue.remaining)
        venue.end("filled")
    else:
        venue.end(venue.draw(st.sampled_from(["marginCanceled", "canceled"]), label="venue ends it"))


def _finish(venue: _Venue) -> None:
    draw = venue.draw
    if not draw(st.booleans(), label="cancel asked"):
        if draw(st.booleans(), label="ends"):
            _end_by_itself(venue)
        return
    venue.deliver(nothing_is_fine=True)
    venue.history.given.append(CancelAsked())
    venue.fill_some()
    answered = draw(st.booleans(), label="cancel answered")
    if draw(st.booleans(), label="cancel wins"):
        venue.end("canceled")
        venue.say(CancelAnswer("success" if answered else "lost"))
    else:
        venue.execute(venue.remaining)
        venue.end("filled")
        venue.say(CancelAnswer("error" if answered else "lost"))
