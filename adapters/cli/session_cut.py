"""`orderledger session cut`: a smaller recording out of a long one, by orders, by time or up to an input."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.recordings import input_number
from adapters.cli.rewritten import (
    Readable,
    add_output,
    check_identical,
    open_readable,
    refusals,
    write_rewritten,
)
from replays.cores import make_core
from replays.cutting import Lives, OrderNotRecordedError, cut_orders, cut_until, derived_header
from replays.rewriting import installed_rewriter

__all__ = ["register_cut"]

_DESCRIPTION = """\
Write a smaller recording that replays by itself. Kept are the start of the session, what every session needs
(metadata, account state, connections, timers) and what concerns the chosen orders; rows about other orders
are taken out of frames and answers, market data is kept while a chosen order lived. What the kept inputs lead
to is computed anew. With --until alone the recording is only shortened, and nothing in it changes.
"""

_EPILOG = """\
  orderledger session cut night.session -o incident.session --orders ORDER
  orderledger session cut night.session -o incident.session --from 2026-03-01T02:10 --to 2026-03-01T02:15
  orderledger session cut night.session -o incident.session --until 5120
"""

_NS_PER_S = 1_000_000_000
_END_OF_TIME_NS = 2**63 - 1


def register_cut(commands: Any) -> None:
    """Add the command to those of `orderledger session`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "cut",
        help="write a smaller recording that replays by itself",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a recording, or all its parts")
    add_output(parser)
    parser.add_argument(
        "--orders", metavar="ID,...", help="these orders, by client order id, exchange id or the venue's key"
    )
    parser.add_argument(
        "--from",
        metavar="TIME",
        dest="from_ns",
        type=_time,
        help="the orders that lived at or after this time",
    )
    parser.add_argument(
        "--to", metavar="TIME", dest="to_ns", type=_time, help="nothing after this time (ISO 8601, UTC)"
    )
    parser.add_argument("--until", metavar="SEQ", type=input_number, help="nothing after this input")
    parser.add_argument("--note", metavar="TEXT", help="a line for the header: what the recording shows")
    parser.set_defaults(run=_cut)


def _cut(options: argparse.Namespace) -> int:
    if options.orders is None and (options.from_ns, options.to_ns, options.until) == (None, None, None):
        raise CommandError("Say what to keep: --orders, --from, --to or --until.", ExitCode.USAGE)
    if None not in (options.from_ns, options.to_ns) and options.to_ns < options.from_ns:
        raise CommandError("--to lies before --from: nothing would be kept.", ExitCode.USAGE)
    recording = open_readable(options.files, options.output, force=options.force)
    with refusals():
        total, last = _up_to(recording, options)
        if options.orders is None and options.from_ns is None:
            result = _shorten(recording, options, last)
        else:
            result = _select(recording, options, last)
    print(json.dumps({"file": str(options.output), "of": total, **result}))
    recording.raise_damage()
    return ExitCode.OK


def _up_to(recording: Readable, options: argparse.Namespace) -> tuple[int, int]:
    """How many inputs there are, and the last one to keep."""
    to_ns = _END_OF_TIME_NS if options.to_ns is None else options.to_ns
    total = last = 0
    for recorded in recording:
        item = recorded.item
        total += 1
        if item.at_ns <= to_ns and (options.until is None or item.sequence <= options.until):
            last = item.sequence
    if not last:
        raise CommandError(
            "Nothing in the recording is that early: nothing would be kept.", ExitCode.NOT_FOUND
        )
    return total, last


def _shorten(recording: Readable, options: argparse.Namespace, last: int) -> dict[str, Any]:
    header = derived_header(recording.header, f"up to input {last}", options.note)
    report = write_rewritten(options.output, header, cut_until(recording, last))
    return {"inputs": report.inputs, "replay_identical": report.identical}


def _select(recording: Readable, options: argparse.Namespace, last: int) -> dict[str, Any]:
    lives = Lives(recording, make_core)
    orders = _orders(lives, options)
    how = f"cut to {len(orders)} orders" if len(orders) > 3 else f"cut to {', '.join(orders)}"
    header = derived_header(recording.header, f"{how}, up to input {last}", options.note)
    rewriter = cut_orders(
        recording,
        header,
        make_core,
        installed_rewriter(header.venue),
        lives,
        orders,
        until=last,
    )
    report = write_rewritten(options.output, header, rewriter)
    check_identical(options.output, report)
    return {
        "inputs": report.inputs,
        "replay_identical": True,
        "orders": list(orders),
        "answers_without_request": rewriter.answers_without_request,
        "requests_without_answer": rewriter.requests_without_answer,
    }


def _orders(lives: Lives, options: argparse.Namespace) -> tuple[str, ...]:
    if options.orders is not None:
        named = [name for name in (part.strip() for part in options.orders.split(",")) if name]
        try:
            orders = tuple(dict.fromkeys(lives.of(name) for name in named))
        except OrderNotRecordedError as error:
            raise CommandError(str(error), ExitCode.NOT_FOUND) from None
    else:
        orders = lives.between(0, _END_OF_TIME_NS)
    if options.from_ns is not None or options.to_ns is not None:
        to_ns = _END_OF_TIME_NS if options.to_ns is None else options.to_ns
        living = set(lives.between(options.from_ns or 0, to_ns))
        orders = tuple(order for order in orders if order in living)
    if not orders:
        raise CommandError("No order of the recording lived then.", ExitCode.NOT_FOUND)
    return orders


def _time(text: str) -> int:
    """A time in ns UTC: ISO 8601 (UTC where it names no zone), or a whole number of ns."""
    if text.isascii() and text.isdigit():
        return min(int(text), _END_OF_TIME_NS)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"no time: {text!r}; write 2026-03-01T02:10:00 (UTC)") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    since = time - datetime.fromtimestamp(0, UTC)
    return (since.days * 86_400 + since.seconds) * _NS_PER_S + since.microseconds * 1_000
