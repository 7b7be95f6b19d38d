"""The shell around a core: what it lets out, when, and what it does when a part of it fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from adapters.runtime import runtime as runtime_module
from adapters.runtime.clock import SteadyClock
from adapters.runtime.runtime import RuntimeFault
from domain.effects import Alert, LookUpOrder, Query, SendAction
from domain.errors import TradingHaltedError
from domain.inputs import LedgerStalled, OrderLookedUp, Stopping, TimerFired
from domain.outcome import Outcome
from tests.unit.runtime.shell import ScriptedShell, event, event_of


def run(scenario: Callable[[ScriptedShell], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        await scenario(ScriptedShell(**options))

    asyncio.run(main())


def send(number: int) -> SendAction:
    return SendAction(request_id=number, action={"type": "noop"}, nonce=number)


def test_nothing_leaves_before_its_event_is_durable() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin(event_of("a", send(1)))
        await shell.until(lambda: len(shell.ledger.waiting) == 1)
        assert shell.performed == []
        assert shell.core.announced == []
        shell.commit()
        await shell.until(lambda: bool(shell.performed))
        assert shell.performed == [send(1)]
        assert shell.core.announced == ["a"]

    run(scenario)


def test_an_action_without_an_event_waits_for_the_events_before_it() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin(event_of("a"), Outcome([], [send(2)]), event_of("b", send(3)))
        await shell.until(lambda: len(shell.core.steps) == 3)
        assert shell.performed == []
        shell.commit()
        await shell.until(lambda: shell.performed == [send(2)])
        shell.commit()
        await shell.until(lambda: shell.performed == [send(2), send(3)])

    run(scenario)


def test_a_question_does_not_wait_for_the_disk() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        asked = Query(request_id=9, body={"type": "meta"})
        await shell.begin(event_of("a"), Outcome([], [asked]))
        await shell.until(lambda: shell.performed == [asked])
        assert len(shell.ledger.waiting) == 1

    run(scenario)


def test_an_order_is_read_back_with_the_events_that_were_still_on_their_way_to_the_disk() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin(event_of("a"), Outcome([], [LookUpOrder(key="a")]))
        await shell.until(lambda: len(shell.core.steps) == 2)
        assert shell.ledger.reads == []
        shell.commit()
        await shell.until(lambda: any(isinstance(item, OrderLookedUp) for item in shell.core.steps))
        assert shell.looked_up() == [[event("a")]]

    run(scenario)


def test_a_read_of_the_ledger_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "LOOK_UP_PAUSES_S", (0.0, 0.0))

    async def scenario(shell: ScriptedShell) -> None:
        shell.ledger.failing_reads = 2
        await shell.begin(event_of("a"), Outcome([], [LookUpOrder(key="a")]))
        await shell.until(lambda: len(shell.core.steps) == 2)
        shell.commit()
        await shell.until(lambda: any(isinstance(item, OrderLookedUp) for item in shell.core.steps))
        assert shell.looked_up() == [[event("a")]]

    run(scenario)


def test_a_ledger_that_cannot_be_read_at_all_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "LOOK_UP_PAUSES_S", (0.0,))

    async def scenario(shell: ScriptedShell) -> None:
        shell.ledger.failing_reads = 2
        await shell.begin(Outcome([], [LookUpOrder(key="a")]))
        with pytest.raises(RuntimeFault, match="cannot be read for a") as fault:
            await shell.runtime.run()
        assert fault.value.of_ledger

    run(scenario)


def test_what_the_ledger_refused_never_leaves_though_later_events_are_recorded() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin(event_of("a", send(1)), event_of("b", send(2)))
        await shell.until(lambda: len(shell.ledger.waiting) == 2)
        shell.runtime.refused([shell.ledger.waiting.pop(0)])
        shell.commit()
        with pytest.raises(RuntimeFault, match="refuses events") as fault:
            await shell.runtime.run()
        await asyncio.sleep(0)
        assert fault.value.of_ledger
        assert shell.performed == []
        assert shell.core.announced == []

    run(scenario)


def test_commits_confirmed_out_of_order_are_not_acted_upon() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin(event_of("a", send(1)), event_of("b", send(2)))
        await shell.until(lambda: len(shell.ledger.waiting) == 2)
        shell.ledger.waiting.reverse()
        shell.commit()
        with pytest.raises(RuntimeFault):
            await shell.runtime.run()
        assert shell.performed == []

    run(scenario)


def test_events_that_others_record_through_the_same_ledger_let_nothing_of_ours_out() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin(event_of("a", send(1)))
        await shell.until(lambda: len(shell.ledger.waiting) == 1)
        shell.ledger.waiting.insert(0, ([event("theirs")], None))
        shell.commit()
        shell.commit()
        await shell.until(lambda: shell.performed == [send(1)])
        assert shell.core.announced == ["a"]

    run(scenario)


def test_a_core_that_fails_ends_the_process_and_is_not_called_damage_of_the_ledger() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin(ValueError("what a message"))
        with pytest.raises(RuntimeFault, match=r"input 1 \(TimerFired\).*what a message") as fault:
            await shell.runtime.run()
        assert not fault.value.of_ledger

    run(scenario)


def test_an_effect_that_cannot_be_carried_out_ends_the_process_instead_of_being_forgotten() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        shell.gateway_error = ValueError("no such stream")
        await shell.begin(event_of("a", send(1)))
        await shell.until(lambda: len(shell.ledger.waiting) == 1)
        shell.commit()
        with pytest.raises(RuntimeFault, match="no such stream"):
            await shell.runtime.run()

    run(scenario)


def test_a_ledger_that_takes_no_events_ends_the_process() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        shell.ledger.error = OSError("backlog full")
        await shell.begin(event_of("a", send(1)))
        with pytest.raises(RuntimeFault, match="backlog full") as fault:
            await shell.runtime.run()
        assert fault.value.of_ledger
        assert shell.performed == []

    run(scenario)


def test_who_hears_of_books_or_commits_and_raises_stops_nothing() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        heard: list[object] = []

        def fail(news: object) -> None:
            heard.append(news)
            raise ValueError("not me")

        shell.runtime.on_books.append(fail)
        shell.runtime.on_committed.append(fail)
        await shell.begin(Outcome([], [], ("BTC-USD",)), event_of("a", send(1)))
        await shell.until(lambda: len(shell.ledger.waiting) == 1)
        shell.commit()
        await shell.until(lambda: shell.performed == [send(1)])
        assert heard[0] == ("BTC-USD",)
        assert len(heard) == 2

    run(scenario)


def test_trading_halts_until_both_the_ledger_and_the_recorder_write() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin()
        shell.runtime.recorder_stalled(OSError("no space"))
        shell.runtime.stalled(TimeoutError())
        shell.runtime.recorder_resumed()
        shell.runtime.resumed()
        await shell.until(lambda: len(shell.core.steps) == 5)
        assert [item.reason for item in shell.core.steps if isinstance(item, LedgerStalled)] == [
            "the recorder cannot write: no space",
            "the recorder cannot write: no space",
            "the ledger cannot write: TimeoutError",
            "",
        ]

    run(scenario)


def test_stopping_after_a_fault_does_not_wait_for_what_will_never_come() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin(event_of("a", send(1)), ValueError("broken"))
        with pytest.raises(RuntimeFault):
            await shell.runtime.run()
        async with asyncio.timeout(60):
            assert not await shell.runtime.stop(cancel_open_orders=True, timeout_s=3_600)
        assert shell.stopped == 1

    run(scenario)


def test_a_fault_ends_a_wait_that_is_under_way() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin()
        waiting = asyncio.ensure_future(shell.runtime.until(lambda: False, 3_600))
        await asyncio.sleep(0)
        shell.core.script[2] = ValueError("broken")
        shell.runtime.deliver(TimerFired())
        async with asyncio.timeout(60):
            assert not await waiting

    run(scenario)


def test_who_is_told_to_end_just_when_what_was_waited_for_comes_does_end() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin()
        loop = asyncio.get_running_loop()
        looks = iter([False])

        def holds() -> bool:
            if not next(looks, True):
                return False
            loop.call_soon(waiting.cancel)
            return True

        waiting = asyncio.ensure_future(shell.runtime.until(holds, 3_600))
        await asyncio.sleep(0)
        shell.runtime.deliver(TimerFired())
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(scenario)


def test_an_orderly_stop_waits_until_everything_is_durable_and_told() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin(event_of("a", send(1)))
        await shell.until(lambda: len(shell.ledger.waiting) == 1)
        stopping = asyncio.ensure_future(shell.runtime.stop(cancel_open_orders=False, timeout_s=3_600))
        await shell.until(lambda: any(isinstance(item, Stopping) for item in shell.core.steps))
        assert not stopping.done()
        shell.commit()
        assert await stopping
        assert shell.core.announced == ["a"]

    run(scenario)


def test_a_command_to_a_process_that_has_ended_is_refused_and_not_left_waiting() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin()
        await shell.runtime.stop(cancel_open_orders=False, timeout_s=60)
        assert shell.core.command is not None
        with pytest.raises(TradingHaltedError, match="has ended"):
            shell.core.command(TimerFired())

    run(scenario)


def test_a_command_to_a_process_that_failed_is_refused_with_the_reason() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin(ValueError("broken"))
        with pytest.raises(RuntimeFault):
            await shell.runtime.run()
        assert shell.core.command is not None
        with pytest.raises(TradingHaltedError, match="broken"):
            shell.core.command(TimerFired())

    run(scenario)


def test_inputs_wait_while_the_ledger_is_far_behind_and_go_on_after_that() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin()
        await shell.until(lambda: len(shell.core.steps) == 1)
        shell.ledger.backlog = runtime_module.BACKLOG_PAUSE_EVENTS + 1
        shell.runtime.deliver(TimerFired())
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(shell.core.steps) == 1
        shell.ledger.backlog = 0
        await shell.until(lambda: len(shell.core.steps) == 2)

    run(scenario)


def test_inputs_that_wait_without_end_end_the_process_before_the_memory_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime_module, "WAITING_INPUTS_MAX", 10)

    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin()
        shell.ledger.backlog = runtime_module.BACKLOG_PAUSE_EVENTS + 1
        assert shell.core.command is not None
        for _ in range(9):
            shell.runtime.deliver(TimerFired())
        with pytest.raises(TradingHaltedError, match="inputs wait"):
            shell.core.command(TimerFired())
        shell.runtime.deliver(TimerFired())
        with pytest.raises(RuntimeFault, match="inputs wait"):
            await shell.runtime.run()

    run(scenario)


def test_alerts_are_told_in_the_order_of_what_they_are_about() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        alert = Alert(code="look", message="here")
        await shell.begin(event_of("a", alert), event_of("b"))
        await shell.until(lambda: len(shell.ledger.waiting) == 2)
        shell.commit()
        shell.commit()
        await shell.until(lambda: shell.core.announced == ["a", "look", "b"])

    run(scenario)


def test_a_deadline_comes_though_the_system_s_clock_was_set_back_by_an_hour() -> None:
    wall = [time.time_ns()]

    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin()
        await shell.until(lambda: len(shell.core.steps) == 1)
        deadline_ns = shell.core.next_wakeup_ns = shell.core.steps[0].at_ns + 10_000_000
        wall[0] -= 3_600_000_000_000
        shell.runtime.deliver(TimerFired())
        await shell.until(lambda: shell.core.steps[-1].at_ns >= deadline_ns)

    clock = SteadyClock(lambda: wall[0])
    run(scenario, now_ns=clock.now_ns)


def test_a_condition_that_held_is_not_missed_because_the_next_inputs_are_there_already() -> None:
    async def scenario(shell: ScriptedShell) -> None:
        await shell.begin()
        answers = iter([False, True])
        shell.runtime.deliver(TimerFired())
        assert await shell.runtime.until(lambda: next(answers, False), 60.0)

    run(scenario)
