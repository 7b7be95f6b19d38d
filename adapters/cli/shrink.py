"""`orderledger session shrink`: the few inputs of a long recording that still show what is wrong."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.recordings import open_recording, refused_recording
from adapters.cli.rewritten import add_output, check_recording_output
from domain.errors import LedgerError
from replays.errors import RecordingError
from replays.properties import PROPERTIES, property_named
from replays.replaying import Divergence, Replay
from replays.reporting import headline, input_line
from replays.session_file import write_session
from replays.shrinking import (
    NothingToShrinkError,
    Shrinker,
    Shrunk,
    UnsteadyError,
    first_divergence,
)
from replays.wanted import (
    AsItIs,
    CommandFails,
    Expectations,
    SameDivergence,
    ShowsProperty,
    Wanted,
)

__all__ = ["register_shrink"]

_DESCRIPTION = """\
Remove inputs from a recording for as long as it still shows the same thing: first whole orders, then single
inputs. An input about an order stays only with the command that created the order. The result is a recording
of its own, small enough to read and to commit; what its inputs should lead to is what this version does, but
for the input that diverges, where what was recorded stays the expectation.
"""

_EPILOG = """\
properties:
{properties}
  event:TOPIC, alert:CODE, state:STATE: such as event:order.not_found, alert:stream_lost, state:expired

  orderledger session shrink incident.session --until-diverges -o small.session
  orderledger session shrink incident.session --property overfilled -o small.session
  orderledger session shrink incident.session --command 'my-check {{}}' -o small.session
"""


def register_shrink(subparsers: Any) -> None:
    """Add the command to those of `orderledger session`."""
    listed = "\n".join(f"  {name}: {what}" for name, (what, _) in PROPERTIES.items())
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "shrink",
        help="reduce a recording to the inputs that still show what is wrong",
        description=_DESCRIPTION,
        epilog=_EPILOG.format(properties=listed),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a recording, or all its parts")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--until-diverges", action="store_true", help="keep the first divergence")
    wanted.add_argument("--property", metavar="NAME", help="keep an input after which this holds (see below)")
    wanted.add_argument(
        "--command",
        metavar="CMD",
        dest="shell_command",
        help="keep what makes this shell command fail (exit code not 0); {} stands for the recording's file",
    )
    add_output(parser)
    parser.add_argument("--note", metavar="TEXT", default="", help="a line saying what the result shows")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end, nothing else")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    output: Path = options.output
    recording = open_recording(options.files)
    check_recording_output(options.files, output, force=options.force)
    try:
        divergence = None if options.property else first_divergence(recording)
        with _progress(hidden=options.json) as on_progress:
            shrinker = Shrinker(recording, on_progress=on_progress)
            shrunk = _shrink(shrinker, options, divergence)
    except RecordingError as error:
        raise refused_recording(error) from None
    except (NothingToShrinkError, UnsteadyError) as error:
        raise CommandError(str(error), ExitCode.CHECK_FAILED) from None
    except LedgerError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None
    except OSError as error:
        raise CommandError(f"Cannot shrink: {error}.", ExitCode.USAGE) from None
    small = shrunk.recording
    try:
        write_session(output, small.header, small)
    except OSError as error:
        raise CommandError(f"Cannot write {output}: {error.strerror}.") from None
    after = Replay(small, files=[output]).run().divergence
    if options.json:
        result = {
            "inputs_before": shrunk.inputs_before,
            "inputs": len(small),
            "tries": shrunk.tries,
            "output": str(output),
            "diverges_at": None if after is None else after.sequence,
            "divergence": None if after is None else headline(after),
        }
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    else:
        sys.stdout.write(_text(shrunk, output, after))
    return ExitCode.OK


def _shrink(shrinker: Shrinker, options: argparse.Namespace, divergence: Divergence | None) -> Shrunk:
    wanted: Wanted
    same = None if divergence is None else SameDivergence(shrinker.session, divergence)
    if options.until_diverges:
        if divergence is None or same is None:
            raise NothingToShrinkError("The recording does not diverge: there is nothing to keep.")
        return shrinker.shrink(same, headline(divergence), note=options.note)
    if options.property:
        wanted = ShowsProperty(property_named(options.property))
        return shrinker.shrink(wanted, options.property, note=options.note)
    expectations: Expectations = AsItIs() if same is None else same
    what = f"makes `{options.shell_command}` fail"
    wanted = CommandFails(options.shell_command, shrinker.derived_header(what), expectations)
    return shrinker.shrink(wanted, what, expectations, note=options.note)


def _text(shrunk: Shrunk, output: Path, after: Divergence | None) -> str:
    small = shrunk.recording
    lines = [f"{output}: {len(small)} of {shrunk.inputs_before:,} inputs left (after {shrunk.tries} tries)"]
    width = max(20, os.get_terminal_size().columns - 2) if sys.stdout.isatty() else 100
    for recorded in small:
        line = f"  {input_line(recorded.item)}"
        lines.append(line if len(line) <= width else f"{line[: width - 1]}…")
    if after is not None:
        lines += [headline(after), f"To see it: orderledger replay {output}"]
    return "\n".join(lines) + "\n"


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A line on a terminal's standard error; nothing in a pipe."""
    if hidden or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status("shrinking") as status:
        yield lambda inputs, tries: status.update(f"shrinking: {inputs:,} inputs, {tries} candidates tried")
