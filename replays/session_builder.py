"""Sessions made in code: what is given to a connector, and what must come of it.

    session = SessionBuilder.continuing(recording)
    session.given.buy("BTC-USD", "0.01", "43000", client_order_id="bid")
    session.then("order.created", "order.submitted")
    session.given.no_answer("order", "timeout")
    session.then("order.submit_unknown")
    session.then.order("bid", state="pending_submit", outcome_unknown=True)

It is the real core that runs, so what stands here holds for the live process. Nothing is connected: what the
core asks waits until it is given an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec.structs import replace

from domain.effects import Effect, LookUpOrder, Query, SendAction
from domain.event_codec import decode_event, encode_events
from domain.events import LedgerEvent
from domain.inputs import (
    Input,
    OrderLookedUp,
    RequestAnswered,
    RequestFailed,
    Started,
    Stopping,
    StreamConnected,
    StreamFrame,
    StreamLost,
    TimerFired,
)
from domain.outcome import Outcome
from replays.cores import MakeCore
from replays.cores import make_core as installed_core
from replays.cutting import derived_header
from replays.order_keys import OrderKeys
from replays.recording import AnyInput, RecordedInput, SessionHeader, effects_digest
from replays.replaying import MemoryRecording, Recording
from replays.reporting import event_line
from replays.session_file import write_session
from replays.session_run import SessionRun, with_options

__all__ = ["Given", "SessionBuilder", "Then"]

_NS_PER_S = 1_000_000_000
_TICK_NS = 1_000_000
"""Time between two inputs when nobody says otherwise."""

_TIMERS_MAX = 100_000


class SessionBuilder:
    """A core, the inputs it was given so far and what they led to.

    Begin with `continuing` an existing recording, or with a header and the first inputs yourself. `now_ns` is
    the time (UTC) of the latest input.
    """

    def __init__(self, header: SessionHeader, make_core: MakeCore | None = None, *, now_ns: int = 0) -> None:
        self.header = header
        self.now_ns = now_ns or header.started_at_ns
        self.run = SessionRun((make_core or installed_core)(header))
        self.given = Given(self)
        self.then = Then(self)
        self._recorded: list[RecordedInput] = []
        self._keys = OrderKeys()
        self._stored: dict[str, list[LedgerEvent]] = {}
        self._commands: list[Input] = []
        self._seen_events = 0
        self._seen_effects = 0
        self.run.core.attach(self._commands.append)

    @classmethod
    def continuing(
        cls,
        recording: Recording,
        make_core: MakeCore | None = None,
        *,
        until: int | None = None,
        **changed_options: Any,
    ) -> SessionBuilder:
        """Go through a recording, up to input `until` (without it: to the end, but do not stop), and go on
        from there. What it led to is not part of what the first `then` looks at. Answers go to the requests
        that ask what they answer, as in `run_session`."""
        header = derived_header(with_options(recording.header, changed_options), "continued in code")
        builder = cls(header, make_core)
        for recorded in recording:
            item = recorded.item
            if until is None and _ends_session(item):
                break
            if until is not None and item.sequence > until:
                break
            builder.now_ns = max(builder.now_ns, item.at_ns)
            addressed = builder.run.open_requests.addressed(item, recorded.answers)
            if addressed is not None:
                builder.step(addressed)
        builder.look()
        return builder

    # -- stepping ------------------------------------------------------------------------------------------

    def step(self, item: Input) -> Outcome:
        """Feed one input as it is; `given` is the comfortable way."""
        answers = self.run.open_requests.of(item)
        outcome = self.run.step(item)
        events = encode_events(change.event for change in outcome.changes)
        digest = effects_digest(outcome.effects)
        recorded = RecordedInput(cast(AnyInput, item), events, digest, answers=answers)
        self._recorded.append(recorded)
        self._keys.learn(recorded)
        if isinstance(item, Started):
            for stored in item.open_orders:
                earlier = [decode_event(topic, state) for topic, state in stored]
                self._stored[earlier[0].originator_id] = earlier
        for change in outcome.changes:
            self._stored.setdefault(change.event.originator_id, []).append(change.event)
        return outcome

    def feed(self, item: Input) -> None:
        """Feed one input now, numbered and stamped, and what the ledger answers to look-ups it leads to."""
        self.now_ns += _TICK_NS
        outcome = self.step(self._stamped(item))
        for effect in outcome.effects:
            if isinstance(effect, LookUpOrder):
                self.feed(OrderLookedUp(key=effect.key, events=encode_events(self._look_up(effect.key))))

    def feed_commands(self) -> None:
        """Feed the commands that calls of the core have made."""
        commands, self._commands[:] = list(self._commands), []
        for command in commands:
            self.feed(command)

    def _stamped(self, item: Input) -> Input:
        last = self._recorded[-1].item.sequence if self._recorded else self.header.previous_sequence
        return replace(item, sequence=last + 1, at_ns=self.now_ns)

    def _look_up(self, key: str) -> Sequence[LedgerEvent]:
        owner = self._keys.owner(key.partition(":")[2])
        return self._stored.get(owner, ()) if owner is not None else ()

    # -- what `then` looks at ------------------------------------------------------------------------------

    def look(self) -> tuple[list[LedgerEvent], list[Effect]]:
        """The events and effects since the last look."""
        events = self.run.events[self._seen_events :]
        effects = self.run.effects[self._seen_effects :]
        self._seen_events, self._seen_effects = len(self.run.events), len(self.run.effects)
        return events, effects

    # -- keeping it ----------------------------------------------------------------------------------------

    @property
    def recording(self) -> MemoryRecording:
        """Everything so far, as a recording."""
        return MemoryRecording(self.header, self._recorded)

    def save(self, path: Path | str, *, note: str = "") -> Path:
        """Write everything so far into a recording file; `note` is a line saying what it holds."""
        path = Path(path)
        write_session(path, replace(self.header, note=note or self.header.note), self._recorded)
        return path


class Given:
    """What happens to the connector. Call it with inputs as they are, or use the words below.

    Each input comes a millisecond after the one before.
    """

    def __init__(self, session: SessionBuilder) -> None:
        self._session = session

    def __call__(self, *inputs: Input) -> None:
        for item in inputs:
            self._session.feed(item)

    # -- commands ------------------------------------------------------------------------------------------

    def buy(self, trading_pair: str, amount: Any, price: Any = None, **options: Any) -> str:
        """`ConnectorBase.buy`: gives the client order id, raises what it raises."""
        return str(
            self.command(lambda core: core.buy(trading_pair, _decimal(amount), _decimal(price), **options))
        )

    def sell(self, trading_pair: str, amount: Any, price: Any = None, **options: Any) -> str:
        """`ConnectorBase.sell`: gives the client order id, raises what it raises."""
        return str(
            self.command(lambda core: core.sell(trading_pair, _decimal(amount), _decimal(price), **options))
        )

    def cancel(self, client_order_id: str) -> None:
        self.command(lambda core: core.cancel(client_order_id))

    def amend(self, client_order_id: str, price: Any, amount: Any) -> None:
        self.command(lambda core: core.amend(client_order_id, _decimal(price), _decimal(amount)))

    def command(self, call: Callable[[Any], Any]) -> Any:
        """Call anything of the connector that makes commands, and feed these to it."""
        given = call(self._session.run.core)
        self._session.feed_commands()
        return given

    # -- the venue -----------------------------------------------------------------------------------------

    def frame(self, data: Any, stream: str = "user") -> None:
        """A frame from a stream: bytes or text as they come, anything else as JSON."""
        self._session.feed(StreamFrame(stream=stream, data=_bytes(data)))

    def connected(self, stream: str = "user") -> None:
        self._session.feed(StreamConnected(stream=stream))

    def lost(self, stream: str = "user", reason: str = "closed by the venue") -> None:
        self._session.feed(StreamLost(stream=stream, reason=reason))

    def answer(self, to: str, body: Any, status: int = 200) -> None:
        """The HTTP answer to the oldest request of type `to` that waits for one (`order`, `orderStatus`)."""
        request = self._waiting_for(to)
        self._session.feed(RequestAnswered(request_id=request.request_id, status=status, body=_bytes(body)))

    def no_answer(self, to: str, reason: str = "timeout", *, sent: bool = True) -> None:
        """There will be none; `sent` False when it is certain that the request did not leave."""
        request = self._waiting_for(to)
        self._session.feed(RequestFailed(request_id=request.request_id, reason=reason, sent=sent))

    def _waiting_for(self, kind: str) -> SendAction | Query:
        waiting = list(self._session.run.open_requests)
        for request in waiting:
            if _type_of(request) == kind:
                return request
        asked = ", ".join(_type_of(request) for request in waiting) or "nothing"
        raise AssertionError(f"No {kind!r} waits for an answer; what waits is: {asked}")

    # -- time ----------------------------------------------------------------------------------------------

    def elapse(self, seconds: float | str | Decimal) -> None:
        """Time passes; what the connector wanted to be woken for happens at its time."""
        session = self._session
        end_ns = session.now_ns + int(Decimal(str(seconds)) * _NS_PER_S)
        for _ in range(_TIMERS_MAX):
            due_ns = session.run.core.next_wakeup_ns
            if due_ns is None or due_ns > end_ns:
                session.now_ns = max(session.now_ns, end_ns)
                return
            session.now_ns = max(session.now_ns, due_ns - _TICK_NS)
            session.feed(TimerFired())
        raise AssertionError(f"the connector wanted to be woken {_TIMERS_MAX} times in {seconds} s")


class Then:
    """What must have come of it. Each call raises `AssertionError` that says what came instead."""

    def __init__(self, session: SessionBuilder) -> None:
        self._session = session

    def __call__(self, *topics: str, **members: Any) -> list[LedgerEvent]:
        """Exactly these events, by topic, came since the last time it was asked; gives them.

        `members` must stand in the last of them: `then("order.failed", reason_code="insufficient_margin")`.
        """
        __tracebackhide__ = True
        events, _ = self._session.look()
        came = [event.topic for event in events]
        if came != list(topics):
            raise AssertionError(_expected(topics or ("nothing",), events))
        if members:
            if not events:
                raise AssertionError("members were given, and no event that they could stand in")
            _check_members(f"the last event, {events[-1].topic},", events[-1], members)
        return events

    def nothing(self) -> None:
        """No event came since the last time it was asked."""
        __tracebackhide__ = True
        self()

    def sent(self, *kinds: str) -> list[SendAction]:
        """Exactly these actions, by type, went out in the whole session; gives them."""
        __tracebackhide__ = True
        requests = self._session.run.requests
        went = [_type_of(request) for request in requests]
        if went != list(kinds):
            raise AssertionError(f"sent were {went or 'none'}, expected {list(kinds) or 'none'}")
        return requests

    def order(self, client_order_id: str, **members: Any) -> None:
        """How an order stands: `then.order("bid", state="filled", filled_amount="0.01")`."""
        __tracebackhide__ = True
        orders = self._session.run.orders
        if client_order_id not in orders:
            raise AssertionError(
                f"there is no order {client_order_id!r}; there are: {', '.join(orders) or 'none'}"
            )
        _check_members(f"order {client_order_id!r}", orders[client_order_id], members)

    def position(self, trading_pair: str, amount: Any) -> None:
        """The signed size of a position, in base units."""
        __tracebackhide__ = True
        position = self._session.run.positions.get(trading_pair)
        held = Decimal(0) if position is None else position.amount
        if held != Decimal(str(amount)):
            raise AssertionError(f"the position in {trading_pair} is {held}, expected {amount}")

    def alert(self, code: str) -> None:
        """An alert with this code was raised in the session."""
        __tracebackhide__ = True
        raised = [alert.code for alert in self._session.run.alerts]
        if code not in raised:
            raise AssertionError(f"no alert {code!r} was raised; raised were: {', '.join(raised) or 'none'}")


def _expected(topics: Sequence[str], events: Sequence[LedgerEvent]) -> str:
    lines = ["expected:", *(f"  {topic}" for topic in topics), "came:"]
    return "\n".join(
        lines + [f"  {event_line(event)}" for event in events] + ([] if events else ["  nothing"])
    )


def _check_members(what: str, struct: msgspec.Struct, members: Mapping[str, Any]) -> None:
    __tracebackhide__ = True
    wrong = []
    for name, expected in members.items():
        if name not in struct.__struct_fields__:
            raise AssertionError(f"{what} has no {name}; it has: {', '.join(struct.__struct_fields__)}")
        actual = getattr(struct, name)
        same = actual == Decimal(str(expected)) if isinstance(actual, Decimal) else actual == expected
        if not same:
            wrong.append(f"{name} is {actual}, expected {expected}")
    if wrong:
        raise AssertionError(f"of {what} {'; '.join(wrong)}")


def _ends_session(item: Input) -> bool:
    return isinstance(item, Stopping)


def _type_of(request: SendAction | Query) -> str:
    body = request.action if isinstance(request, SendAction) else request.body
    return str(body.get("type"))


def _decimal(value: Any) -> Any:
    return Decimal(value) if isinstance(value, str) else value


def _bytes(data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    return data.encode() if isinstance(data, str) else msgspec.json.encode(data)
