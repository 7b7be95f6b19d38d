"""`SessionRecorder`: records a live session beside the loop that steps it.

The loop's thread encodes an input and what it led to, and goes on. A thread of the recorder compresses,
writes, begins new parts and deletes old recordings. While the disk refuses, what was recorded waits in
memory, up to a bound at which the shell has to hold back further inputs: nothing is left out.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from msgspec.structs import replace

from domain.event_codec import encode_events
from domain.inputs import Input
from domain.outcome import Outcome
from replays.recording import (
    NO_EFFECTS,
    SESSION_SUFFIX,
    AnyInput,
    RecordedInput,
    SessionHeader,
    effects_digest,
    encode_recorded,
)
from replays.requests import OpenRequests
from replays.session_file import SessionWriter

__all__ = ["SessionRecorder", "recording_path", "recordings_in"]

log = logging.getLogger("orderledger.recorder")

GATHER_S = 0.01
"""How long the first frame of a block waits for company: so much is lost when the process is killed."""

RETRY_S = 0.25
"""How often a disk that refuses is tried again."""

QUEUE_BYTES_MAX = 64 * 1024 * 1024
"""So much may wait to be written before further inputs have to."""

_DAY_NS = 86_400_000_000_000
_NO_OUTCOME = Outcome([], [])


class SessionRecorder:
    """Records one session into `directory`, in parts of about `file_bytes_max` and of one UTC day at most;
    `paths` are the parts so far.

    Recordings of the same `ledger_name` in that directory may take `total_bytes_max` together: the oldest
    finished ones are deleted when a part begins. `on_failure` is called when a write fails, `on_recovery`
    when everything due is written again; both from the recorder's own thread.

    Raises `OSError` when the first part cannot be begun.
    """

    def __init__(
        self,
        directory: Path,
        ledger_name: str,
        header: SessionHeader,
        *,
        file_bytes_max: int,
        total_bytes_max: int,
        on_failure: Callable[[Exception], None],
        on_recovery: Callable[[], None],
    ) -> None:
        self.directory = directory
        self.inputs = 0
        self.paths: list[Path] = []
        self._ledger_name = ledger_name
        self._file_bytes_max = file_bytes_max
        self._total_bytes_max = total_bytes_max
        self._on_failure = on_failure
        self._on_recovery = on_recovery
        self._requests = OpenRequests()
        self._queue: deque[tuple[bytes, int, int]] = deque()
        self._bytes_recorded = 0
        self._bytes_taken = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._failing = False
        self._day = header.started_at_ns // _DAY_NS
        directory.mkdir(parents=True, exist_ok=True)
        self._writer = SessionWriter(recording_path(directory, ledger_name, header), header)
        self.paths.append(self._writer.path)
        try:
            self._writer.flush()
            self._delete_old()
        except OSError:
            self._writer.abandon()
            raise
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def path(self) -> Path:
        """The part that is being written."""
        return self._writer.path

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for the disk that no further input should be handled."""
        return self._bytes_recorded - self._bytes_taken > QUEUE_BYTES_MAX

    # -- the loop's thread ---------------------------------------------------------------------------------

    def record(self, item: Input, outcome: Outcome) -> None:
        """Keep an input and what it led to. Returns at once, whatever the disk does."""
        self._keep(item, outcome, "")

    def record_failure(self, item: Input, error: Exception) -> None:
        """Keep the input on which the core failed: the one a replay of this session is about."""
        self._keep(item, _NO_OUTCOME, f"{type(error).__name__}: {error}")

    def _keep(self, item: Input, outcome: Outcome, failure: str) -> None:
        changes, effects = outcome.changes, outcome.effects
        answers = self._requests.take(item)
        if effects:
            self._requests.note(effects)
        frame = encode_recorded(
            RecordedInput(
                cast(AnyInput, item),
                encode_events([change.event for change in changes]) if changes else (),
                effects_digest(effects) if effects else NO_EFFECTS,
                failure,
                answers,
            )
        )
        self.inputs += 1
        self._bytes_recorded += len(frame)
        self._queue.append((frame, item.sequence, item.at_ns))
        if not self._wake.is_set():
            self._wake.set()

    # -- the recorder's thread -----------------------------------------------------------------------------

    def close(self, timeout_s: float = 10.0) -> bool:
        """Write what is left and the footer. False when the disk did not take it within the timeout."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and not self._failing

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(RETRY_S if self._failing else GATHER_S)
            # Cleared first: what is recorded from here on sets it again and is not forgotten.
            self._wake.clear()
            self._attempt(self._write_queue)
            if self._failing:
                self._wake.set()
        self._attempt(self._finish)

    def _attempt(self, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:
            if not self._failing:
                self._failing = True
                log.error("%s cannot be written: %s", self._writer.path, error)
                self._on_failure(error)
        else:
            if self._failing:
                self._failing = False
                log.info("%s is written again", self._writer.path)
                self._on_recovery()

    def _write_queue(self) -> None:
        queue = self._queue
        self._writer.flush()
        while queue:
            frame, sequence, at_ns = queue[0]
            if self._writer.bytes_written >= self._file_bytes_max or at_ns // _DAY_NS > self._day:
                self._begin_part(at_ns)
            queue.popleft()
            self._bytes_taken += len(frame)
            self._writer.append_frame(frame, sequence, at_ns)
        self._writer.flush()

    def _begin_part(self, at_ns: int) -> None:
        """Finish this part and go on in the next one."""
        footer = self._writer.close()
        before = self._writer.header
        header = replace(
            before,
            started_at_ns=at_ns,
            part=before.part + 1,
            previous_sequence=footer.last_sequence,
            previous_digest=footer.digest.hex(),
        )
        writer = SessionWriter(recording_path(self.directory, self._ledger_name, header), header)
        self._writer = writer
        self.paths.append(writer.path)
        self._day = at_ns // _DAY_NS
        log.info("the recording goes on in %s", writer.path)
        self._delete_old()
        writer.flush()

    def _finish(self) -> None:
        self._write_queue()
        self._writer.close()

    def _delete_old(self) -> None:
        """Delete the oldest finished recordings of this ledger until there is room for one more part."""
        found = {
            path: path.stat().st_size
            for path in recordings_in(self.directory, self._ledger_name)
            if path != self.path
        }
        room = self._total_bytes_max - self._file_bytes_max - sum(found.values())
        for oldest, size in found.items():
            if room >= 0:
                return
            room += size
            try:
                oldest.unlink(missing_ok=True)
            except OSError as error:
                log.error("%s cannot be deleted to make room: %s", oldest, error)
                continue
            if self._writer.header.session_id in oldest.name:
                log.warning(
                    "%s was deleted to make room: this session can no longer be replayed from its start."
                    " Raise recording.max_total_mb to keep more.",
                    oldest,
                )
            else:
                log.info("%s was deleted to make room", oldest)


def recording_path(directory: Path, ledger_name: str, header: SessionHeader) -> Path:
    """Where a part is written: the names of a ledger's recordings sort by time, to the nanosecond."""
    second, fraction_ns = divmod(header.started_at_ns, 1_000_000_000)
    began = f"{datetime.fromtimestamp(second, UTC):%Y%m%dT%H%M%S}.{fraction_ns:09d}Z"
    return directory / f"{ledger_name}-{began}-{header.session_id}-{header.part:04d}{SESSION_SUFFIX}"


def recordings_in(directory: Path, ledger_name: str) -> list[Path]:
    """The recordings of one ledger, oldest first. A file somebody has renamed is not one of them."""
    # Names once told the second only: such a recording counts as begun with its second.
    name = re.compile(
        rf"{re.escape(ledger_name)}-(\d{{8}}T\d{{6}})(\.\d{{9}})?Z-[0-9a-f]{{12}}-(\d{{4,}})"
        + re.escape(SESSION_SUFFIX)
    )
    found = [(name.fullmatch(path.name), path) for path in directory.iterdir()]
    ordered = sorted((match[1], match[2] or "", int(match[3]), path) for match, path in found if match)
    return [path for *_, path in ordered]
