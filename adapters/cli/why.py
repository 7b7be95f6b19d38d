"""`orderledger why`: the life of one order as one would tell it to a colleague."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from adapters.cli.asking import add_at_option, add_books_options, asked
from adapters.cli.chosen_ledger import chosen_ledger
from adapters.cli.exact_json import exact_builtins
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.text_table import (
    Column,
    output_width,
    printable,
    rounded,
    text_table,
    token_amounts,
    utc_time,
)
from domain.enums import OrderState, Source
from domain.inputs import Input, RequestAnswered, RequestFailed, StreamFrame
from domain.money import decimal_text
from projections.errors import UnfoldableEventError
from projections.event_source import PositionedEvent, UnreadableEvent
from projections.explaining import Doubt, Explanation, Step, explain
from replays.causes import recorded_causes
from replays.inspecting import kind_of

__all__ = ["register"]

_DAY_NS = 86_400 * 1_000_000_000


def register(subparsers: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "why",
        help="explain an order: its whole life, step by step",
        description="Explain how an order came to be as it is: one line per fact with its time (UTC), the "
        "time since the step before, where it came from and which recorded input led to it; then what was "
        "concluded rather than told, and what is still unknown.",
    )
    add_books_options(parser)
    add_at_option(parser)
    parser.add_argument(
        "order", metavar="ORDER", help="a client order id, an exchange order id, or the beginning of one"
    )
    parser.add_argument(
        "--raw",
        action="store_true",
        help="add what came in, byte for byte, from the recordings in sessions/ beside the ledger",
    )
    parser.add_argument("--sessions", metavar="DIR", type=Path, help="where the recordings are, with --raw")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object; amounts and prices are decimal strings, times integers (*_ns, *_ms)",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.sessions is not None and not options.raw:
        raise CommandError("--sessions has no meaning without --raw.", ExitCode.USAGE)
    if options.sessions is not None and not options.sessions.is_dir():
        raise CommandError(
            f"There is no directory {options.sessions} to look for recordings in.", ExitCode.NOT_FOUND
        )
    unreadable: list[UnreadableEvent] = []
    with asked(options) as ask:
        order_id = ask.find_order(options.order)
        history = ask.source.history_of(order_id, on_unreadable=unreadable.append)
        position = ask.position
    if options.at is not None:
        history = [at for at in history if at[0] <= position]
        unreadable = [event for event in unreadable if (event.position or 0) <= position]
    explanation = _told(order_id, history, unreadable)
    causes: dict[str, Input] = {}
    if options.raw:
        ledger = chosen_ledger(options).ledger
        causes = _causes(options.sessions or ledger.with_name("sessions"), explanation)
    if options.json:
        sys.stdout.write(_json(explanation, causes, raw=options.raw) + "\n")
    else:
        sys.stdout.write(_text(explanation, causes, raw=options.raw))
    return ExitCode.OK


def _told(
    order_id: str, history: Sequence[PositionedEvent], unreadable: Sequence[UnreadableEvent]
) -> Explanation:
    try:
        return explain(history, unreadable)
    except UnfoldableEventError as error:
        raise CommandError(
            f"Nothing can be said about {order_id}: {error}. `orderledger verify` says what is wrong.",
            ExitCode.LEDGER_DAMAGED,
        ) from None


def _causes(directory: Path, explanation: Explanation) -> dict[str, Input]:
    wanted = {step.causation for step in explanation.steps if step.causation}
    causes, problems = recorded_causes(directory, wanted)
    for problem in problems:
        print(f"warning: {printable(problem)}", file=sys.stderr)
    if missing := len(wanted - causes.keys()):
        print(
            f"warning: {missing} of {len(wanted)} inputs are in no recording in {directory}; "
            "--sessions DIR names another directory.",
            file=sys.stderr,
        )
    return causes


# JSON


def _json(explanation: Explanation, causes: Mapping[str, Input], *, raw: bool) -> str:
    data: Any = exact_builtins(explanation)
    if raw:
        for step in data["steps"]:
            item = causes.get(step["causation"])
            step["input"] = None if item is None else _input_data(item)
    return msgspec.json.encode(data).decode()


def _input_data(item: Input) -> dict[str, Any]:
    """The input with its bytes as they came: text, with what is no UTF-8 escaped."""
    data: dict[str, Any] = {"kind": kind_of(item)}
    for name in item.__struct_fields__:
        value = getattr(item, name)
        data[name] = _bytes_text(value) if isinstance(value, bytes) else msgspec.to_builtins(value)
    return data


def _bytes_text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


# For the eye


def _text(explanation: Explanation, causes: Mapping[str, Input], *, raw: bool) -> str:
    lines = [*_headlines(explanation), ""]
    table = _Timeline(explanation)
    if raw:
        told: set[str] = set()
        for step in explanation.steps:
            lines.append(table.of([step]))
            if step.causation not in told:
                told.add(step.causation)
                lines += _raw_lines(step, causes.get(step.causation))
    else:
        lines.append(table.of(explanation.steps))
    if table.session:
        lines.append(
            f"INPUT is the recorded input of session {table.session} that led to the fact"
            + ("." if raw else "; --raw shows what came in.")
        )
    lines.append("")
    concluded = [step for step in explanation.steps if step.inferred]
    if concluded:
        lines.append("Concluded, not told:")
        lines += _bullets(
            f"{table.time_of(step)}  That {step.inferred}. It follows because {step.inferred_from}."
            for step in concluded
        )
    if explanation.unknown:
        lines.append("Still unknown:")
        lines += _bullets(f"{each}." for each in explanation.unknown)
    else:
        lines.append("Nothing about it is unknown.")
    return "\n".join(lines) + "\n"


def _headlines(order: Explanation) -> list[str]:
    names = [f"exchange id {', '.join(order.exchange_order_ids)}"] if order.exchange_order_ids else []
    if order.venue_order_key != order.client_order_id:
        names.append(f"known to the venue as {order.venue_order_key}")
    tag = f", tag {order.tag}" if order.tag else ""
    texts = [
        f"Order {order.client_order_id}" + (f" ({'; '.join(names)})" if names else ""),
        f"{order.terms}; {order.venue} {order.account}{tag}",
        f"{_state(order)} {_filled(order)}",
        *(_in_doubt(doubt, order) for doubt in order.doubts),
    ]
    width = output_width()
    return [line for text in texts for line in textwrap.wrap(printable(text), width, subsequent_indent="  ")]


def _state(order: Explanation) -> str:
    """What it is, since when, and by which fact; of a filled order the fills say that."""
    decisive = _step_at(order.decided_by, order)
    state = order.state.replace("_", " ")
    since = f"since {utc_time(decisive.recorded_at_ns)}"
    if not order.done:
        return f"It is {state} (not done) {since}."
    if order.state is OrderState.FILLED:
        return f"It is {state} {since}."
    # "It is cancelled since …: cancelled, as we asked" would say it twice.
    because = decisive.text.removeprefix(f"{state}, ")
    return f"It is {state} {since}{':' if because == decisive.text else ','} {because}."


def _filled(order: Explanation) -> str:
    if not order.filled_amount:
        return f"Nothing of {decimal_text(order.amount)} was filled."
    text = f"{decimal_text(order.filled_amount)} of {decimal_text(order.amount)} "
    text += f"{'was' if order.done else 'is'} filled at {rounded(order.average_fill_price)}"
    return f"{text}, fees {token_amounts(order.fees)}." if order.fees else f"{text}."


def _in_doubt(doubt: Doubt, order: Explanation) -> str:
    began = utc_time(_step_at(doubt.from_position, order).recorded_at_ns)[11:-1]
    if doubt.to_position is None or doubt.lasted_ns is None:
        return f"The OUTCOME of a request about it IS UNKNOWN since {began}."
    lasted = _latency(doubt.lasted_ns).removeprefix("+")
    ended_by = _ENDS_DOUBT[_step_at(doubt.to_position, order).source]
    return f"The outcome of a request about it was unknown for {lasted}: from {began} until {ended_by}."


_ENDS_DOUBT = {
    Source.COMMAND: "a command ended it",
    Source.HTTP: "the venue answered",
    Source.QUERY: "the venue, asked, told it",
    Source.STREAM: "the venue's stream told it",
    Source.TIMER: "the time had passed in which it could be otherwise",
    Source.RECONCILIATION: "the books were compared with the venue",
}


def _step_at(position: int, order: Explanation) -> Step:
    return next(step for step in order.steps if step.position == position)


class _Timeline:
    """The steps as a table whose columns stand still also when it is written in pieces."""

    def __init__(self, explanation: Explanation) -> None:
        steps = explanation.steps
        days = {step.recorded_at_ns // _DAY_NS for step in steps}
        sessions = {step.causation.rpartition(":")[0] for step in steps}
        self._one_day = len(days) == 1
        self.session = sessions.pop() if len(sessions) == 1 else ""
        """The one session that all of it happened in; empty when there were more."""
        self._first = True
        day = f"{utc_time(steps[0].recorded_at_ns)[:10]} (UTC)" if self._one_day else "TIME (UTC)"
        self._headings = (day, "AFTER", "FROM", "INPUT", "WHAT HAPPENED")
        before = [None, *(step.state for step in steps)]
        self._cells = {
            step.position: self._row(step, state) for step, state in zip(steps, before, strict=False)
        }
        self._widths = [
            max(len(self._headings[at]), *(len(row[at]) for row in self._cells.values())) for at in range(4)
        ]

    def of(self, steps: Any) -> str:
        """The rows of these steps; with the headings the first time."""
        columns = [
            Column(heading.ljust(width), right=heading == "AFTER")
            for heading, width in zip(self._headings, self._widths, strict=False)
        ]
        columns.append(Column(self._headings[4], shortest=30, wrapped=True))
        table = text_table(columns, [self._cells[step.position] for step in steps], output_width())
        heading, _, rows = table.partition("\n")
        shown = rows if not self._first else f"{heading}\n{rows}"
        self._first = False
        return shown.removesuffix("\n")

    def time_of(self, step: Step) -> str:
        """The step's time as the table shows it."""
        return self._cells[step.position][0]

    def _row(self, step: Step, before: OrderState | None) -> tuple[str, str, str, str, str]:
        time = utc_time(step.recorded_at_ns)
        _, _, sequence = step.causation.rpartition(":")
        cause = sequence if self.session else step.causation
        changed = step.state is not None and step.state is not before
        text = step.text + (f" → {step.state}" if changed else "")
        return (
            time[11:-1] if self._one_day else time,
            _latency(step.since_previous_ns),
            str(step.source),
            cause or "-",
            f"{text[0].upper()}{text[1:]}",
        )


def _latency(ns: int | None) -> str:
    if ns is None:
        return ""
    sign = "-" if ns < 0 else "+"
    ms = abs(ns) / 1_000_000
    if ms < 1_000:
        return f"{sign}{ms:.1f} ms"
    if ms < 120_000:
        return f"{sign}{ms / 1_000:.2f} s"
    minutes = abs(ns) // 60_000_000_000
    return f"{sign}{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{sign}{minutes} min"


def _bullets(texts: Any) -> list[str]:
    width = output_width()
    lines = []
    for text in texts:
        lines += textwrap.wrap(printable(text), width, initial_indent="  - ", subsequent_indent="    ")
    return lines


def _raw_lines(step: Step, item: Input | None) -> list[str]:
    if item is None:
        return [f"    | input {step.causation or '-'}: not in a recording"]
    match item:
        case StreamFrame():
            what, raw = f"frame of the {item.stream} stream", _bytes_text(item.data)
        case RequestAnswered():
            what = f"answer to request {item.request_id}, status {item.status}"
            raw = _bytes_text(item.body)
        case RequestFailed():
            what, raw = f"no answer to request {item.request_id}", item.reason
        case _:
            what = kind_of(item).replace("_", " ")
            raw = msgspec.json.encode(_input_data(item)).decode()
    return [printable(line) for line in (f"    | input {step.causation}: {what}", f"    | {raw}")]
