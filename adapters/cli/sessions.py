"""`orderledger session`: look into recordings and compare them.

Everything goes out as JSON lines, and input by input: a recording of any length is read in flat memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.recordings import input_number, open_recording, refused_recording
from adapters.cli.session_cut import register_cut
from adapters.cli.shrink import register_shrink
from replays.errors import DamagedRecordingError, RecordingError
from replays.inspecting import (
    INPUT_KINDS,
    Search,
    Selection,
    Tally,
    compare_recordings,
    header_data,
    input_data,
    kind_of,
)
from replays.recording import RecordedInput
from replays.session_file import SessionParts, SessionReader

__all__ = ["register"]

_EPILOG = """\
exit codes: 0 ok, 1 the recordings differ, 2 usage, 3 nothing found, 6 a recording is damaged (what can be
            read of it is shown first)

  orderledger session info incident.session
  orderledger session show incident.session --orders ORDER
  orderledger session grep incident.session 'Insufficient margin'
  orderledger session cut incident.session -o small.session --orders ORDER
"""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "session",
        help="look into recordings, compare, cut and shrink them",
        description="Look into recorded sessions. A session that was written in several parts is named with"
        " all of them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="session_command", metavar="COMMAND", required=True)
    _register_info(commands)
    _register_show(commands)
    _register_grep(commands)
    _register_diff(commands)
    register_cut(commands)
    register_shrink(commands)


# -- info ----------------------------------------------------------------------------------------------------


def _register_info(commands: Any) -> None:
    parser = _command(
        commands,
        "info",
        _info,
        "the header, and what the recording holds",
        "For each file two JSON lines: the header, at once; then, having read it all, what it holds: inputs"
        " by kind, events by topic, first and last time, and how it ends (closed; open, as while it is being"
        " written or after a kill; torn, in the middle of a block; damaged).",
    )
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    parser.add_argument("--header", action="store_true", help="only the header")


def _info(options: argparse.Namespace) -> int:
    code = ExitCode.OK
    for path in options.files:
        parts = open_recording([path])
        reader = parts.readers[0]
        _print({"file": str(path), "size_bytes": reader.size, "header": header_data(reader.header)})
        if options.header:
            continue
        tally, damage = Tally(), ""
        try:
            for recorded in reader:
                tally.add(recorded)
        except DamagedRecordingError as error:
            damage, code = str(error), ExitCode.LEDGER_DAMAGED
            print(f"orderledger: {error}", file=sys.stderr)
        _print({"file": str(path), **_ending(reader, damage), **_counts(tally)})
    return code


def _ending(reader: SessionReader, damage: str) -> dict[str, Any]:
    if damage:
        return {"ends": "damaged", "why": damage}
    if reader.torn:
        return {"ends": "torn", "why": reader.torn}
    return {"ends": "closed" if reader.is_closed else "open"}


def _counts(tally: Tally) -> dict[str, Any]:
    return {
        "inputs": tally.inputs,
        "first_sequence": tally.first_sequence,
        "last_sequence": tally.last_sequence,
        "first_at": _utc(tally.first_at_ns),
        "last_at": _utc(tally.last_at_ns),
        "kinds": dict(tally.kinds.most_common()),
        "events": tally.events,
        "topics": dict(tally.topics.most_common()),
        **({"failure": tally.failure} if tally.failure else {}),
    }


# -- show and grep -------------------------------------------------------------------------------------------


def _register_show(commands: Any) -> None:
    parser = _command(
        commands,
        "show",
        _show,
        "inputs, decoded, with the events they led to",
        "One JSON line for each input: what came in, decoded, and of an answer what it answers; the events "
        "it led to; a digest of its effects.",
    )
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    parser.add_argument(
        "--orders",
        metavar="ID,...",
        type=_names,
        default=(),
        help="only what concerns these client order ids",
    )
    parser.add_argument(
        "--from", metavar="SEQ", dest="first", type=input_number, default=0, help="from this input"
    )
    parser.add_argument("--to", metavar="SEQ", dest="last", type=input_number, help="up to this input")
    parser.add_argument(
        "--kind", metavar="KIND,...", type=_kinds, default=(), help="only these kinds, such as stream_frame"
    )


def _show(options: argparse.Namespace) -> int:
    selection = Selection(orders=options.orders, first=options.first, last=options.last, kinds=options.kind)
    with _reading(options.files) as recording:
        for recorded in recording:
            if selection.is_over(recorded):
                break
            if selection.takes(recorded):
                _print(_line(recorded))
    missing = sorted(set(options.orders) - selection.found)
    if missing:
        raise CommandError(f"The recording holds no order {', '.join(missing)}.", ExitCode.NOT_FOUND)
    return ExitCode.OK


def _register_grep(commands: Any) -> None:
    parser = _command(
        commands,
        "grep",
        _grep,
        "inputs that hold a text",
        "One JSON line for each input whose raw bytes, or whose command, hold the text. Given a client order"
        " id, also those that hold what the venue calls that order.",
    )
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    parser.add_argument("text", metavar="TEXT", type=_text, help="a text or an order id")
    parser.add_argument("-i", "--ignore-case", action="store_true", help="do not tell A from a")
    parser.add_argument("-c", "--count", action="store_true", help="only say how many inputs hold it")


def _grep(options: argparse.Namespace) -> int:
    search = Search(options.text, ignore_case=options.ignore_case)
    found = 0
    with _reading(options.files) as recording:
        for recorded in recording:
            if search.finds(recorded):
                found += 1
                if not options.count:
                    _print(_line(recorded))
    if options.count:
        _print({"found": found})
    return ExitCode.OK if found else ExitCode.NOT_FOUND


def _line(recorded: RecordedInput) -> dict[str, Any]:
    item = recorded.item
    return {"sequence": item.sequence, "at": _utc(item.at_ns), "kind": kind_of(item)} | input_data(recorded)


# -- diff ----------------------------------------------------------------------------------------------------


def _register_diff(commands: Any) -> None:
    parser = _command(
        commands,
        "diff",
        _diff,
        "where two recordings differ",
        "One JSON object: in which members the headers differ, how many inputs are the same, different or in"
        " one recording only (matched by their sequence numbers), and the first that differs, in full."
        " Exit code 0 when no input differs, 1 otherwise.",
    )
    parser.add_argument("first", metavar="A", type=Path)
    parser.add_argument("second", metavar="B", type=Path)


def _diff(options: argparse.Namespace) -> int:
    with _reading([options.first]) as first, _reading([options.second]) as second:
        comparison = compare_recordings(first.header, first, second.header, second)
    _print({"identical": comparison.identical, **msgspec.to_builtins(comparison)})
    return ExitCode.OK if comparison.identical else ExitCode.CHECK_FAILED


# -- common --------------------------------------------------------------------------------------------------


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], line: str, description: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=line, description=description)
    parser.set_defaults(run=run)
    return parser


@contextmanager
def _reading(files: list[Path]) -> Iterator[SessionParts]:
    """Recordings being read: damage and foreign parts end the command with their exit code and message."""
    recording = open_recording(files)
    try:
        yield recording
    except RecordingError as error:
        sys.stdout.flush()
        raise refused_recording(error) from None
    if recording.torn:
        print(f"orderledger: {recording.readers[-1].path}: {recording.torn}.", file=sys.stderr)


def _print(data: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(data).decode() + "\n")
    sys.stdout.flush()


def _utc(at_ns: int) -> str | None:
    """ISO 8601 in UTC with nanoseconds."""
    if not at_ns:
        return None
    seconds, rest = divmod(at_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _text(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty text is in every input")
    return text


def _kinds(text: str) -> tuple[str, ...]:
    names = _names(text)
    unknown = [name for name in names if name not in INPUT_KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no kind {', '.join(unknown)}; there are: {', '.join(INPUT_KINDS)}")
    return names


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name for name in (part.strip() for part in text.split(",")) if name)
    if not names:
        raise argparse.ArgumentTypeError("give one or several, separated by commas")
    return names
