"""What the process says about itself: lines of text, or JSON objects, on standard error or in a file.

Give a record its context as `extra={"position": 17, "client_order_id": "..."}`; whatever stands in `extra` is
written. Loaded secrets never get here; should one ever, it is blotted out of the finished line.

Lines are written by a thread of their own: whoever logs never waits for a terminal that was paused, a pipe
that nobody reads or a slow disk. What does not fit into the queue in between is dropped, counted, and said.
"""

from __future__ import annotations

import copy
import logging
import os
import queue
import threading
from collections.abc import Iterable
from logging.handlers import WatchedFileHandler
from pathlib import Path

from adapters.cli.config import LogSettings
from adapters.cli.exit_codes import CommandError, ExitCode
from adapters.cli.log_format import JsonFormatter, TextFormatter
from adapters.cli.secrets import Secret

__all__ = ["BackgroundHandler", "set_up_logs"]

_STANDARD_ERROR = 2
_QUEUE_SIZE = 10_000
_PATIENCE_S = 2.0


def set_up_logs(settings: LogSettings, secrets: Iterable[Secret] = ()) -> None:
    """Send the root logger where the settings say. Call it again when a secret has been loaded.

    Raises `CommandError` when the log file cannot be written.
    """
    formatter = (JsonFormatter if settings.format == "json" else TextFormatter)(secrets)
    handler = BackgroundHandler(_writer(settings.file))
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for former in root.handlers[:]:
        root.removeHandler(former)
        former.close()
    root.addHandler(handler)
    root.setLevel(settings.level.upper())


def _writer(file: str) -> logging.Handler:
    if not file:
        return _StandardErrorHandler()
    try:
        # Opened again when it was rotated away.
        return WatchedFileHandler(Path(file), encoding="utf-8")
    except OSError as error:
        message = f"Cannot write the log file {file}: {error.strerror}."
        raise CommandError(message, ExitCode.CONFIG) from None


class BackgroundHandler(logging.Handler):
    """Hands records to a thread that writes them with another handler. `dropped` counts what did not fit."""

    def __init__(self, writer: logging.Handler, *, queue_size: int = _QUEUE_SIZE) -> None:
        super().__init__()
        self.dropped = 0
        self._said_dropped = 0
        self._writer = writer
        # Only our thread writes with it; a lock would let a stuck write hold up the end of the process.
        writer.lock = None
        # A record to write; an event to set once everything before it is written; None to end.
        self._queue: queue.Queue[logging.LogRecord | threading.Event | None] = queue.Queue(queue_size)
        self._thread = threading.Thread(target=self._write, name="log writer", daemon=True)
        self._thread.start()

    def setFormatter(self, fmt: logging.Formatter | None) -> None:
        self._writer.setFormatter(fmt)

    def emit(self, record: logging.LogRecord) -> None:
        # Arguments may change and tracebacks keep frames alive: only text waits in the queue.
        record = copy.copy(record)
        record.msg, record.args = record.getMessage(), None
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def flush(self) -> None:
        """Wait, though not for ever, until everything logged so far is written."""
        written = threading.Event()
        try:
            self._queue.put(written, timeout=_PATIENCE_S)
        except queue.Full:
            return
        written.wait(_PATIENCE_S)

    def close(self) -> None:
        """Write what is left, though not for ever, and end the thread."""
        if self._thread.is_alive():
            try:
                self._queue.put(None, timeout=_PATIENCE_S)
            except queue.Full:
                # Nobody reads what is written. The thread ends with the process.
                super().close()
                return
            self._thread.join(_PATIENCE_S)
        super().close()

    def _write(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            self._writer.handle(item)
            if self.dropped != self._said_dropped:
                missing, self._said_dropped = self.dropped - self._said_dropped, self.dropped
                self._writer.handle(_dropped_record(missing))
        self._writer.close()


def _dropped_record(count: int) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": __name__,
            "levelno": logging.WARNING,
            "levelname": "WARNING",
            "msg": f"{count} log lines were dropped: they came faster than they could be written",
        }
    )


class _StandardErrorHandler(logging.Handler):
    """Writes to the descriptor itself.

    Python's own stream has a lock; a thread that is stuck in it when the process ends would abort it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        line = (self.format(record) + "\n").encode(errors="backslashreplace")
        try:
            while line:
                line = line[os.write(_STANDARD_ERROR, line) :]
        except OSError:
            # Whoever read our log is gone. Trading goes on; there is nobody left to tell.
            return
