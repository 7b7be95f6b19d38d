"""`orderledger replay`: go through a recording again and say whether everything came out as it did."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from adapters.cli.chosen_ledger import refuse_no_file
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.recordings import input_number, open_recording, refused_recording
from adapters.cli.replay_stepping import show_moment, show_steps
from adapters.storage.errors import LedgerNotFoundError
from adapters.storage.ledger import OrderLedger
from domain.errors import VersionError
from domain.events import AccountOpened, LedgerEvent
from replays.against import LedgerCheck, StoredRow, StoredRows
from replays.errors import CoreNotFoundError, DamagedRecordingError, SessionChainError
from replays.recording import SessionHeader
from replays.replaying import Divergence, NotFromTheStartError, Replay
from replays.reporting import divergence_data, divergence_text
from replays.session_file import SessionParts

__all__ = ["ledger_rows", "register"]

_ROWS_PER_READ = 2_000

_DESCRIPTION = """\
Feed the inputs of a recording to a fresh connector core and compare every event and effect with those of the
recorded run. A session that was written in several parts is named with all of them. Ends at the first
difference and shows it: the input, the events expected and the events that came, and the order's story.
"""

_EPILOG = """\
exit codes: 0 everything was repeated, 1 something diverged, 2 usage, 3 a file is missing,
            6 a recording is damaged (what can be read of it is replayed first)

  orderledger replay incident.session
  orderledger replay incident.session --against ledger.db
  orderledger replay incident.session --at 1042          how things stood after input 1042
  orderledger replay incident.session --at 1042 --step   and from there on, step by step
"""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "replay",
        help="go through a recorded session again and compare",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a recording, or all its parts")
    parser.add_argument("--until", metavar="SEQ", type=input_number, help="end after this input")
    parser.add_argument(
        "--at", metavar="SEQ", type=input_number, help="show the open orders and positions after this input"
    )
    parser.add_argument("--step", action="store_true", help="show what each input changed, one after another")
    parser.add_argument(
        "--against", metavar="LEDGER", type=Path, help="also compare with the events stored in this ledger"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object (with --step: one for each input that changed something)",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.at is not None and options.until is not None and options.until < options.at:
        raise CommandError("--until lies before --at: nothing would be shown.", ExitCode.USAGE)
    recording = open_recording(options.files)
    try:
        return _go_through(recording, options)
    except (CoreNotFoundError, NotFromTheStartError, VersionError) as error:
        raise CommandError(str(error), ExitCode.USAGE) from None
    except SessionChainError as error:
        raise refused_recording(error) from None


def _go_through(recording: SessionParts, options: argparse.Namespace) -> int:
    if options.step:
        return show_steps(
            recording, options.files, since=options.at, until=options.until, as_json=options.json
        )
    if options.at is not None:
        return show_moment(recording, options.files, options.at, as_json=options.json)
    with _ledger_check(recording, options.against) as check:
        return _replay(recording, options, check)


def _replay(recording: SessionParts, options: argparse.Namespace, check: LedgerCheck | None) -> int:
    damaged: DamagedRecordingError | None = None
    with _progress(recording, options.until, hidden=options.json) as on_progress:
        replay = Replay(
            recording,
            until=options.until,
            check=check,
            on_progress=on_progress,
            files=options.files,
        )
        try:
            report = replay.run()
        except DamagedRecordingError as error:
            damaged, report = error, replay.report
    if check is not None:
        _check_session(options.against, check, recording.header)
    divergence = report.divergence
    if check is not None and divergence is None and damaged is None and options.until is None:
        divergence = check.finish()
    result = {
        "identical": divergence is None and damaged is None,
        "session_id": recording.header.session_id,
        "inputs": report.inputs,
        "events": report.events,
        "last_sequence": report.last_sequence,
        "digest": report.digest,
        "failure": report.failure,
        "torn": recording.torn,
        "closed": recording.is_closed,
        "damaged": None if damaged is None else str(damaged),
        "against": None if check is None else check.summary(),
        "divergence": None if divergence is None else divergence_data(divergence),
    }
    if options.json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    else:
        sys.stdout.write(_text(result, divergence, recording))
    if damaged is not None and not options.json:
        print(f"orderledger: {damaged}", file=sys.stderr)
    if divergence is not None:
        return ExitCode.CHECK_FAILED
    return ExitCode.OK if damaged is None else ExitCode.LEDGER_DAMAGED


def _text(result: dict[str, Any], divergence: Divergence | None, recording: SessionParts) -> str:
    if divergence is not None:
        return divergence_text(divergence)
    lines = [
        f"{'identical so far' if result['damaged'] else 'identical'}: {result['inputs']:,} inputs led to the "
        f"same {result['events']:,} events and the same effects (session {result['session_id']}, "
        f"up to input {result['last_sequence']})"
    ]
    if result["failure"]:
        lines.append(f"the session ended as recorded: the core raised {result['failure']}")
    if result["torn"]:
        lines.append(
            f"the recording was not closed, its process was killed or still runs ({result['torn']}); "
            "what follows the last complete block is not in it"
        )
    if result["against"] is not None:
        lines += _against_lines(result["against"])
    if recording.header.note:
        lines.append(f"it holds: {recording.header.note}")
    return "\n".join(lines) + "\n"


def _against_lines(against: dict[str, Any]) -> Iterator[str]:
    yield (
        f"the ledger holds these {against['compared']:,} events byte for byte, up to position "
        f"{against['last_position']}"
    )
    if against["uncommitted"]:
        yield f"{against['uncommitted']:,} events at the end were not committed when the process ended"
    if against["unrecorded"]:
        yield (
            f"{against['unrecorded']:,} further events of this session are in the ledger; their inputs were "
            "not written yet when the process ended"
        )


# -- the ledger ----------------------------------------------------------------------------------------------


@contextmanager
def _ledger_check(recording: SessionParts, path: Path | None) -> Iterator[LedgerCheck | None]:
    if path is None:
        yield None
        return
    header = recording.header
    if header.derived_from:
        raise CommandError(
            f"This recording is an excerpt ({header.derived_from}): only the whole one can be compared with "
            "a ledger.",
            ExitCode.USAGE,
        )
    try:
        refuse_no_file(path, "ledger")
        with OrderLedger.open(path, writer=False, create=False) as ledger:
            rows = ledger_rows(ledger)
            _check_account(path, rows, header)
            is_closed = recording.readers[-1].footer() is not None
            check = LedgerCheck(rows, header.session_id, is_closed=is_closed)
            yield check
    except LedgerNotFoundError as error:
        raise CommandError(f"There is no ledger to compare with: {error}.", ExitCode.NOT_FOUND) from None


def ledger_rows(ledger: OrderLedger) -> StoredRows:
    """A ledger as the comparison wants it."""

    def after(position: int) -> Iterator[StoredRow]:
        while True:
            page = ledger.notifications(position + 1, _ROWS_PER_READ)
            for stored in page:
                yield StoredRow(
                    stored.id,
                    str(stored.originator_id),
                    stored.originator_version,
                    stored.topic,
                    stored.state,
                )
            if len(page) < _ROWS_PER_READ:
                return
            position = page[-1].id

    def encode(event: LedgerEvent) -> tuple[str, int, str, bytes]:
        return ledger.mapper.to_record(event)[:4]

    def decode(row: StoredRow) -> LedgerEvent:
        return ledger.mapper.to_event(*row[1:], position=row.position)

    return StoredRows(after, encode, decode)


def _check_account(path: Path, rows: StoredRows, header: SessionHeader) -> None:
    """Raises `CommandError` when the ledger is that of somebody else."""
    first = next(rows.after(0), None)
    if first is None:
        return
    event = rows.decode(first)
    if (event.venue, event.account) != (header.venue, header.account.lower()):
        raise CommandError(
            f"The recording is of account {header.account} at {header.venue}, and {path} is the ledger of "
            f"account {event.account} at {event.venue}.",
            ExitCode.USAGE,
        )
    opened = event if isinstance(event, AccountOpened) else None
    if opened is not None and opened.network != header.network:
        raise CommandError(
            f"The recording was made on {header.network}, and {path} is a ledger of {opened.network}.",
            ExitCode.USAGE,
        )


def _check_session(path: Path, check: LedgerCheck, header: SessionHeader) -> None:
    if check.uncommitted and not check.compared:
        raise CommandError(
            f"{path} holds no event of session {header.session_id}: it is another ledger, or a copy from "
            "before, or the process was killed before its first commit.",
            ExitCode.USAGE,
        )


# -- progress ------------------------------------------------------------------------------------------------


@contextmanager
def _progress(
    recording: SessionParts, until: int | None, *, hidden: bool
) -> Iterator[Callable[[int], None] | None]:
    """A bar on a terminal's standard error; nothing in a pipe."""
    if hidden or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("replaying"), BarColumn(), TextColumn("{task.completed:,.0f} inputs"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=_total(recording, until))
        yield lambda inputs: bar.update(task, completed=inputs)


def _total(recording: SessionParts, until: int | None) -> int | None:
    footers = [reader.footer() for reader in recording.readers]
    counts = [footer.inputs for footer in footers if footer is not None]
    if len(counts) < len(footers):
        return until
    return sum(counts) if until is None else min(until, sum(counts))
