"""Time travel for the eye: how things stood after an input, and what each input changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.recordings import refused_recording
from adapters.cli.text_table import Column, output_width, rounded, text_table, utc_time
from domain.in_flight_order import OrderView
from domain.money import decimal_text
from domain.position import Position
from replays.errors import RecordingError
from replays.replaying import Replay, Replayed
from replays.reporting import (
    decoded_input,
    divergence_data,
    divergence_text,
    effect_line,
    event_line,
    input_line,
)
from replays.session_file import SessionParts
from replays.state import ReplayState, StateChange, changed

__all__ = ["show_moment", "show_steps"]

_ORDER_MEMBERS = ("state", "outcome_unknown", "filled_amount", "remaining_amount", "price", "reason_code")
_POSITION_MEMBERS = ("amount", "realised_pnl", "funding", "leverage")


def show_moment(recording: SessionParts, files: Sequence[Path], sequence: int, *, as_json: bool) -> int:
    """Print the open orders and positions as they stood after an input, and what that input changed.

    Raises `CommandError` NOT_FOUND when the recording ends before it.
    """
    shown: tuple[Replayed, StateChange] | None = None
    for replayed, change in _steps(recording, files, sequence):
        shown = replayed, change
    if shown is None or (shown[0].input.sequence < sequence and not recording.header.derived_from):
        last = shown[0].input.sequence if shown else 0
        if shown is None or shown[0].divergence is None:
            raise CommandError(f"The recording ends with input {last}.", ExitCode.NOT_FOUND)
    replayed, change = shown
    if as_json:
        _print_json(_data(replayed, change, with_state=True))
    else:
        sys.stdout.write("\n".join(_step_lines(replayed, change)) + "\n\n" + _state_text(replayed.state))
    return _end(replayed, as_json=as_json)


def show_steps(
    recording: SessionParts, files: Sequence[Path], *, since: int | None, until: int | None, as_json: bool
) -> int:
    """Print what each input changed, from `since` on. On a terminal one at a time.

    Inputs that changed nothing (market data, mostly) are counted and passed over.
    """
    asks = not as_json and sys.stdin.isatty() and sys.stdout.isatty()
    passed_over = 0
    replayed: Replayed | None = None
    for replayed, change in _steps(recording, files, until):
        if since is not None and replayed.input.sequence < since:
            continue
        if not change and not replayed.outcome.changes and replayed.input.sequence != since:
            passed_over += 1
            continue
        if as_json:
            _print_json(_data(replayed, change, with_state=False))
            continue
        if passed_over:
            print(f"   ... {passed_over} inputs changed nothing ...\n")
            passed_over = 0
        print("\n".join(_step_lines(replayed, change)) + "\n")
        if asks and not _go_on(replayed.state):
            return ExitCode.OK
    return ExitCode.OK if replayed is None else _end(replayed, as_json=as_json)


def _steps(
    recording: SessionParts, files: Sequence[Path], until: int | None
) -> Iterator[tuple[Replayed, StateChange]]:
    """Each input with what it changed. Raises `CommandError` for a damaged recording, after what is good."""
    before = ReplayState()
    try:
        for replayed in Replay(recording, until=until, files=files):
            yield replayed, changed(before, replayed.state, replayed.outcome)
            before = replayed.state
    except RecordingError as error:
        raise refused_recording(error) from None


def _go_on(state: ReplayState) -> bool:
    while True:
        try:
            answer = input("Enter: next change, o: orders and positions, q: quit > ").strip().lower()
        except EOFError:
            return False
        if answer.startswith("q"):
            return False
        if not answer.startswith("o"):
            return True
        print(_state_text(state))


def _end(replayed: Replayed, *, as_json: bool) -> int:
    if replayed.divergence is None:
        return ExitCode.OK
    if not as_json:
        sys.stdout.write("\n" + divergence_text(replayed.divergence))
    return ExitCode.CHECK_FAILED


# -- for the eye ---------------------------------------------------------------------------------------------


def _step_lines(replayed: Replayed, change: StateChange) -> Iterator[str]:
    item = replayed.input
    yield f"{utc_time(item.at_ns)}  input {input_line(item)}"
    if replayed.recorded.answers is not None:
        yield f"   answers  {effect_line(replayed.recorded.answers)}"
    for event in replayed.events:
        yield f"   event  {event.originator_id}  {event_line(event)}"
    for order in change.orders:
        said = _changes(order.before, order.after, _ORDER_MEMBERS)
        yield f"   order  {order.after.client_order_id}  {said}"
    for held in change.positions:
        said = _changes(held.before, held.after, _POSITION_MEMBERS)
        yield f"   position  {held.after.trading_pair}  {said}"
    if change.waiting_for is not None:
        yield f"   readiness  {_waiting(change.waiting_for[0])} -> {_waiting(change.waiting_for[1])}"
    if change.halted_because is not None:
        yield f"   trading  {_halted(change.halted_because[0])} -> {_halted(change.halted_because[1])}"


def _changes(before: Any, after: Any, members: Sequence[str]) -> str:
    said = []
    for name in members:
        new = getattr(after, name)
        if before is None:
            if new:
                said.append(f"{name} {_text(new)}")
        elif getattr(before, name) != new:
            said.append(f"{name} {_text(getattr(before, name))} -> {_text(new)}")
    return ", ".join(said) or "unchanged but for its version"


def _text(value: Any) -> str:
    return decimal_text(value) if isinstance(value, Decimal) else str(value) or "none"


def _waiting(names: tuple[str, ...]) -> str:
    return f"waiting for {', '.join(names)}" if names else "ready"


def _halted(why: str) -> str:
    return f"halted ({why})" if why else "allowed"


def _state_text(state: ReplayState) -> str:
    text = _orders_text(state.open_orders) + "\n" + _positions_text(state.positions)
    text += f"\n{_waiting(state.waiting_for)}"
    return text + (f", halted: {state.halted_because}\n" if state.halted_because else "\n")


def _orders_text(orders: Sequence[OrderView]) -> str:
    if not orders:
        return "No open orders.\n"
    columns = (
        Column("CREATED (UTC)"),
        Column("ORDER", shortest=12),
        Column("PAIR"),
        Column("SIDE"),
        Column("PRICE", right=True),
        Column("FILLED", right=True),
        Column("AMOUNT", right=True),
        Column("STATE"),
    )
    rows = [
        (
            utc_time(order.created_at_ns),
            order.client_order_id,
            order.trading_pair,
            order.trade_type,
            decimal_text(order.price),
            decimal_text(order.filled_amount),
            decimal_text(order.amount),
            f"{order.state}, OUTCOME UNKNOWN" if order.outcome_unknown else order.state,
        )
        for order in orders
    ]
    return text_table(columns, rows, output_width())


def _positions_text(positions: Sequence[Position]) -> str:
    if not positions:
        return "No positions.\n"
    columns = (
        Column("PAIR"),
        Column("AMOUNT", right=True),
        Column("AVERAGE ENTRY", right=True),
        Column("REALISED PNL", right=True),
        Column("FUNDING", right=True),
    )
    rows = [
        (
            position.trading_pair,
            decimal_text(position.amount),
            rounded(position.average_entry),
            rounded(position.realised_pnl),
            rounded(position.funding),
        )
        for position in positions
    ]
    return text_table(columns, rows, output_width())


# -- as JSON -------------------------------------------------------------------------------------------------


def _data(replayed: Replayed, change: StateChange, *, with_state: bool) -> dict[str, Any]:
    data: dict[str, Any] = {
        "input": decoded_input(replayed.input),
        "answers": msgspec.to_builtins(replayed.recorded.answers),
        "events": [{"topic": event.topic, **msgspec.to_builtins(event)} for event in replayed.events],
        "changed": msgspec.to_builtins(change),
        "divergence": None if replayed.divergence is None else divergence_data(replayed.divergence),
    }
    if with_state:
        data["state"] = msgspec.to_builtins(replayed.state)
    return data


def _print_json(data: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(data).decode() + "\n")
