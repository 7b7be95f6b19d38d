"""What a log line looks like: text or JSON, one line each, with its context and without secrets."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from adapters.cli.secrets import Secret

__all__ = ["JsonFormatter", "TextFormatter"]

_BLOT = "[secret]"
_CONTEXT_FIRST = ("position", "client_order_id")
# The attributes of every record; what else one has came in as `extra`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class _RedactingFormatter(logging.Formatter):
    """Blots every loaded secret out of the finished line: message, context and traceback alike."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        super().__init__()
        texts = {secret.reveal() for secret in secrets} - {""}
        # Longest first: of two secrets, one may be the beginning of the other.
        forms = "|".join(re.escape(text) for text in sorted(texts, key=lambda text: (-len(text), text)))
        self._blot = re.compile(f"(?:0x)?(?:{forms})", re.IGNORECASE).sub if texts else None

    def format(self, record: logging.LogRecord) -> str:
        line = self.line(record)
        return line if self._blot is None else self._blot(_BLOT, line)

    def line(self, record: logging.LogRecord) -> str:
        raise AssertionError("each format writes its own line")

    def _context(self, record: logging.LogRecord) -> dict[str, Any]:
        given = record.__dict__
        first = {name: given[name] for name in _CONTEXT_FIRST if name in given}
        return first | {name: given[name] for name in given if name not in _STANDARD and name not in first}

    def _trace(self, record: logging.LogRecord) -> str:
        trace = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        return f"{trace}\n{self.formatStack(record.stack_info)}" if record.stack_info else trace


class TextFormatter(_RedactingFormatter):
    """`2026-01-31T12:00:00.123Z INFO name: message position=17 client_order_id=…`, a traceback below it."""

    def line(self, record: logging.LogRecord) -> str:
        parts = [f"{_time(record)} {record.levelname} {record.name}: {_one_line(record.getMessage())}"]
        parts += [f"{name}={_one_line(str(value))}" for name, value in self._context(record).items()]
        trace = self._trace(record)
        return " ".join(parts) + (f"\n{trace}" if trace else "")


class JsonFormatter(_RedactingFormatter):
    """One JSON object per line: `time`, `level`, `logger`, `message`, the context, and `exception` if any."""

    def line(self, record: logging.LogRecord) -> str:
        always = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        # Context comes last, and cannot displace what every line has.
        document = always | self._context(record) | always
        trace = self._trace(record)
        if trace:
            document["exception"] = trace
        return msgspec.json.encode(document, enc_hook=str).decode()


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(record.msecs):03d}Z"


def _one_line(text: str) -> str:
    """A venue's text may hold anything: a log line stays one line, and a terminal obeys nothing in it."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
