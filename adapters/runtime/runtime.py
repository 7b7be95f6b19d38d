"""`LedgerRuntime`: takes inputs in one order, steps the core, commits, and only then acts.

Commands come from any thread, all else from the loop. Each input gets its sequence number and time here
and nowhere else. While a commit is under way further inputs are stepped; what they lead to waits in line, so
that effects and news always follow the durable log.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from msgspec.structs import force_setattr

from adapters.runtime.clock import SteadyClock
from adapters.runtime.ports import CommittedSink, EventLog, InputRecorder, VenueGateway
from domain.connector_base import ConnectorBase
from domain.effects import Alert, Effect, LookUpOrder, SendAction
from domain.errors import TradingHaltedError
from domain.event_codec import encode_events
from domain.events import LedgerEvent
from domain.inputs import Input, LedgerStalled, OrderLookedUp, Stopping, TimerFired
from domain.listeners import Committed
from domain.outcome import Outcome

__all__ = ["Durable", "LedgerRuntime", "RuntimeFault"]

log = logging.getLogger("orderledger.runtime")

STEPS_PER_TURN = 256
"""Inputs handled before the loop gets a turn for its sockets."""

BACKLOG_PAUSE_EVENTS = 50_000
"""With so many events not yet durable, inputs wait: memory stays bounded while the disk refuses."""

BACKLOG_PAUSE_S = 0.05

LOOK_UP_PAUSES_S = (0.1, 0.5, 2.0)
"""A read of the ledger that fails is tried again after these pauses; then the process ends."""

LAST_WAIT_S = 1.0
"""What the last answers led to gets so long to be recorded, however much of a stop's time is used up."""

_AFTER_COMMITS = (SendAction, LookUpOrder)
"""Effects that wait for everything before them to be durable: what is sent never overtakes what announces it,
and what is read back is complete."""

WAITING_INPUTS_MAX = 200_000
"""So many inputs may wait while the disk refuses. Beyond that the process ends: everything that is durable
stays true, and the next start asks the venue for what was not recorded."""

_TOO_MANY_WAIT = f"{WAITING_INPUTS_MAX} inputs wait because what they lead to cannot be recorded"


class RuntimeFault(Exception):
    """The process cannot go on: memory and ledger disagree, or the core failed on an input.

    `of_ledger` tells the first from the second.
    """

    def __init__(self, message: str, *, of_ledger: bool = False) -> None:
        super().__init__(message)
        self.of_ledger = of_ledger


class Durable(Protocol):
    """A submission that is on the disk: as the ledger's group commit reports it."""

    @property
    def positions(self) -> Sequence[int]: ...

    @property
    def context(self) -> object: ...


class LedgerRuntime:
    """One connector, one ledger, one loop.

    `on_committed` sinks hear durable events after the connector's own listeners did; `on_books` hears which
    order books moved. `now_ns` is the clock inputs are stamped with (UTC; it must never stand still, since
    the core's deadlines are set in its time). A `recorder` gets every input with what it led to.
    """

    def __init__(
        self,
        connector: ConnectorBase,
        gateway: VenueGateway,
        *,
        now_ns: Callable[[], int] | None = None,
    ) -> None:
        self.connector = connector
        self.gateway = gateway
        self.on_committed: list[CommittedSink] = []
        self.on_books: list[Callable[[tuple[str, ...]], None]] = []
        self.recorder: InputRecorder | None = None
        self.inputs_handled = 0
        self.events_committed = 0
        self.last_position = 0
        self.last_change_ns = 0
        self._now_ns = SteadyClock().now_ns if now_ns is None else now_ns
        self._ledger: EventLog | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inbox: deque[Input] = deque()
        self._wake_set = False
        self._line: deque[Outcome] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ns: int | None = None
        self._books_moved: dict[str, None] = {}
        self._fault: asyncio.Future[None] | None = None
        self._idle_waiters: list[tuple[Callable[[], bool], asyncio.Future[bool]]] = []
        self._lookups: set[asyncio.Task[None]] = set()
        self._ended_because = ""
        self._stalls: dict[str, str] = {}
        self._stalls_lock = threading.Lock()

    # -- life cycle ----------------------------------------------------------------------------------------

    async def start(self, ledger: EventLog, first: Input) -> None:
        """Begin: `first` (the `Started` input) is the first thing the core sees."""
        self._loop = asyncio.get_running_loop()
        self._fault = self._loop.create_future()
        self._ledger = ledger
        self.connector.attach(self._command)
        await self.gateway.start(self.deliver)
        self.deliver(first)

    async def run(self) -> None:
        """Go on until cancelled. Raises `RuntimeFault` when the process must end."""
        assert self._fault is not None, "the runtime was started"
        await asyncio.shield(self._fault)

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a condition on the core holds (looked at after every turn).

        False after the timeout, or when the runtime fails before that. True also where it holds no more by
        the time the waiting coroutine gets its turn: on a busy loop the next inputs are there by then.
        """
        assert self._loop is not None, "the runtime was started"
        if condition():
            return True
        if self._has_failed:
            return False
        waiter: asyncio.Future[bool] = self._loop.create_future()
        entry = (condition, waiter)
        self._idle_waiters.append(entry)
        try:
            # Not `wait_for`: before Python 3.12 it forgets a cancellation that comes with the result.
            async with asyncio.timeout(timeout_s):
                if await waiter:
                    return True
        except TimeoutError:
            pass
        finally:
            if entry in self._idle_waiters:
                self._idle_waiters.remove(entry)
        return condition()

    async def stop(self, *, cancel_open_orders: bool, timeout_s: float) -> bool:
        """End in order: no new orders, cancels out and answered, everything durable, sockets closed.

        Returns whether all of it was done within about the timeout (of what was not, the ledger holds the
        truth so far, and the next start asks the venue).
        """
        self.deliver(Stopping(cancel_open_orders=cancel_open_orders))
        tracker = self.connector.tracker

        def quiet() -> bool:
            if self._inbox or self._line:
                return False
            return not cancel_open_orders or all(order.is_external for order in tracker.live_orders())

        assert self._loop is not None, "the runtime was started"
        until_s = self._loop.time() + timeout_s
        clean = await self.until(quiet, timeout_s)
        await self.gateway.stop()
        self._drain()
        rest_s = max(LAST_WAIT_S, until_s - self._loop.time())
        clean = await self.until(lambda: not self._inbox and not self._line, rest_s) and clean
        if self._timer is not None:
            self._timer.cancel()
        self._ended_because = self._ended_because or "the process has ended"
        return clean

    @property
    def _has_failed(self) -> bool:
        return self._fault is not None and self._fault.done()

    # -- inputs --------------------------------------------------------------------------------------------

    def deliver(self, item: Input) -> None:
        """Take an input. Any thread; returns at once."""
        if len(self._inbox) >= WAITING_INPUTS_MAX:
            self._refuse_input()
            return
        self._inbox.append(item)
        if not self._wake_set:
            self._wake_set = True
            assert self._loop is not None, "the runtime was started"
            self._loop.call_soon_threadsafe(self._drain)

    def _command(self, item: Input) -> None:
        """Take a command. Any thread; raises `TradingHaltedError` where nobody would step it any more."""
        if self._ended_because:
            raise TradingHaltedError(self._ended_because)
        if len(self._inbox) >= WAITING_INPUTS_MAX:
            raise TradingHaltedError(_TOO_MANY_WAIT)
        self.deliver(item)

    def _refuse_input(self) -> None:
        assert self._loop is not None, "the runtime was started"
        if not self._has_failed:
            self._loop.call_soon_threadsafe(self._fail, _TOO_MANY_WAIT, None)

    def _drain(self) -> None:
        """Step what is waiting, for one turn of the loop."""
        # Cleared first: an input that arrives from here on sets it again and is not forgotten.
        self._wake_set = False
        if self._fault is None or self._has_failed:
            return
        try:
            self._turn()
        except Exception as error:
            # Left to the loop it would be logged, and the rest of the turn forgotten.
            self._fail("the runtime failed", error)

    def _turn(self) -> None:
        assert self._ledger is not None
        steps = 0
        while self._inbox and steps < STEPS_PER_TURN:
            if self._ledger.backlog > BACKLOG_PAUSE_EVENTS or (
                self.recorder is not None and self.recorder.is_behind
            ):
                self._again_in(BACKLOG_PAUSE_S)
                break
            steps += 1
            self._step(self._inbox.popleft())
            if self._has_failed:
                return
        if self._inbox and not self._wake_set:
            self._again_in(0)
        if self._books_moved:
            books = tuple(self._books_moved)
            self._books_moved.clear()
            for on_books in self.on_books:
                try:
                    on_books(books)
                except Exception as error:
                    self._listener_failed(on_books, error)
        self._set_timer()
        self._look_at_waiters()

    def _again_in(self, delay_s: float) -> None:
        assert self._loop is not None
        self._wake_set = True
        if delay_s:
            self._loop.call_later(delay_s, self._drain)
        else:
            self._loop.call_soon(self._drain)

    def _step(self, item: Input) -> None:
        assert self._ledger is not None
        self.inputs_handled += 1
        force_setattr(item, "sequence", self.inputs_handled)
        force_setattr(item, "at_ns", self._now_ns())
        try:
            outcome = self.connector.step(item)
        except Exception as error:
            self._fail(f"the core failed on input {self.inputs_handled} ({type(item).__name__})", error)
            if self.recorder is not None:
                self.recorder.record_failure(item, error)
            return
        if self.recorder is not None:
            try:
                self.recorder.record(item, outcome)
            except Exception as error:
                self._fail(f"input {self.inputs_handled} ({type(item).__name__}) cannot be recorded", error)
                return
        for pair in outcome.books:
            self._books_moved[pair] = None
        if outcome.changes:
            self._line.append(outcome)
            self.last_change_ns = item.at_ns
            events: list[LedgerEvent] = [change.event for change in outcome.changes]
            try:
                self._ledger.enqueue(events, outcome)
            except Exception as error:
                self._fail("the ledger does not take events", error, of_ledger=True)
        elif self._line and any(isinstance(effect, _AFTER_COMMITS) for effect in outcome.effects):
            self._line.append(outcome)
        else:
            self._perform(outcome.effects)

    # -- after the commit ----------------------------------------------------------------------------------

    def committed(self, batch: Sequence[Durable]) -> None:
        """The ledger's group commit reports what is durable. Any thread."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._on_committed, list(batch))
        except RuntimeError:  # the loop has ended; the events are durable all the same
            log.info("%d commits were confirmed after the loop ended", len(batch))

    def refused(self, batch: Sequence[object]) -> None:
        """The ledger can never record these: memory and ledger disagree. Any thread."""
        assert self._loop is not None
        why = "; ".join(str(getattr(item, "error", item)) for item in batch)
        what = f"the ledger refuses events: {why}"
        self._loop.call_soon_threadsafe(partial(self._fail, what, None, of_ledger=True))

    def stalled(self, error: BaseException) -> None:
        """The ledger cannot write for now: trading halts. Any thread."""
        self._stall("ledger", f"the ledger cannot write: {str(error) or type(error).__name__}")

    def resumed(self) -> None:
        """The ledger writes again. Any thread."""
        self._stall("ledger", "")

    def recorder_stalled(self, error: BaseException) -> None:
        """The recorder cannot write for now: trading halts as well. Any thread."""
        self._stall("recorder", f"the recorder cannot write: {str(error) or type(error).__name__}")

    def recorder_resumed(self) -> None:
        """The recorder writes again. Any thread."""
        self._stall("recorder", "")

    def _stall(self, who: str, why: str) -> None:
        """Of the ledger and the recorder both must write for trading to go on."""
        with self._stalls_lock:
            self._stalls.pop(who, None)
            if why:
                self._stalls[who] = why
            self.deliver(LedgerStalled(reason=next(iter(self._stalls.values()), "")))

    def _on_committed(self, batch: list[Durable]) -> None:
        if self._has_failed:
            return
        try:
            for durable in batch:
                if not isinstance(durable.context, Outcome):
                    continue  # recorded through this ledger by somebody else
                self._perform_unrecorded()
                outcome = self._line.popleft()
                if outcome is not durable.context:
                    raise AssertionError("commits are confirmed in the order of their steps")
                self._announce(outcome, durable.positions)
                self._perform(outcome.effects)
            self._perform_unrecorded()
        except Exception as error:
            self._fail("the runtime failed", error)
            return
        self._look_at_waiters()

    def _perform_unrecorded(self) -> None:
        """Carry out what had to wait for earlier commits and has no events of its own."""
        while self._line and not self._line[0].changes:
            self._perform(self._line.popleft().effects)

    def _announce(self, outcome: Outcome, positions: Sequence[int]) -> None:
        news = [
            Committed(position, change.event, change.view, change.repeats)
            for position, change in zip(positions, outcome.changes, strict=True)
        ]
        self.events_committed += len(news)
        self.last_position = news[-1].position
        for committed in news:
            self.connector.notify_committed(committed, self._listener_failed)
        for sink in self.on_committed:
            try:
                sink(news)
            except Exception as error:
                self._listener_failed(sink, error)

    def _listener_failed(self, listener: object, error: Exception) -> None:
        log.error("a listener failed: %s", type(listener).__name__, exc_info=error)

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Alert):
                level = logging.ERROR if effect.level == "error" else logging.WARNING
                log.log(
                    level,
                    "%s: %s",
                    effect.code,
                    effect.message,
                    extra={"client_order_id": effect.client_order_id} if effect.client_order_id else None,
                )
                self.connector.notify_alert(effect, self._listener_failed)
            elif isinstance(effect, LookUpOrder):
                assert self._loop is not None
                task = self._loop.create_task(self._look_up(effect.key))
                self._lookups.add(task)
                task.add_done_callback(self._lookups.discard)
            else:
                self.gateway.perform(effect)

    async def _look_up(self, key: str) -> None:
        """Read an order from the ledger, off the loop's thread."""
        assert self._ledger is not None
        ledger = self._ledger

        def read() -> list[LedgerEvent]:
            client_order_id = ledger.resolve(key.removeprefix("key:")) or ledger.resolve(key)
            return [] if client_order_id is None else ledger.events_of(client_order_id)

        for pause_s in (*LOOK_UP_PAUSES_S, None):
            try:
                events = await asyncio.to_thread(read)
            except Exception as error:
                if pause_s is None or self._has_failed:
                    self._fail(f"the ledger cannot be read for {key}", error, of_ledger=True)
                    return
                log.warning("the ledger cannot be read for %s (%s), trying again", key, error)
                await asyncio.sleep(pause_s)
            else:
                self.deliver(OrderLookedUp(key=key, events=encode_events(events)))
                return

    # -- time and trouble ----------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        """Wake at the core's next deadline; an earlier one moves the timer."""
        at_ns = self.connector.next_wakeup_ns
        if at_ns == self._timer_at_ns or self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_ns = at_ns
        if at_ns is None:
            self._timer = None
            return
        delay_s = max(0.0, (at_ns - self._now_ns()) / 1e9)
        self._timer = self._loop.call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at_ns = None
        self.deliver(TimerFired())

    def _look_at_waiters(self) -> None:
        for entry in list(self._idle_waiters):
            condition, waiter = entry
            if not waiter.done() and condition():
                waiter.set_result(True)
                self._idle_waiters.remove(entry)

    def _fail(self, what: str, error: Exception | None, *, of_ledger: bool = False) -> None:
        log.critical("%s; stopping", what, exc_info=error)
        if self._fault is not None and not self._fault.done():
            fault = RuntimeFault(f"{what}: {error}" if error is not None else what, of_ledger=of_ledger)
            self._fault.set_exception(fault)
            # Retrieved here as well, so that a process that is already ending does not warn.
            self._fault.exception()
            self._ended_because = f"the process has to stop: {fault}"
        for _, waiter in self._idle_waiters:
            if not waiter.done():
                waiter.set_result(False)
