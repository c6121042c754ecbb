"""Logs: structlog to stderr, one line per event, for journald or for a person's terminal.

An event's name is fixed and lower case with underscores; everything that varies is in keys (`node`, `nodes`,
`instance_id`, `job_id`, `launch_token`, `reason`, `request_id`, `tick`). Values under keys that look like secrets are
replaced. An event below the level costs one call that returns.
"""

from __future__ import annotations

import atexit
import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import structlog

from clustermgtd.telemetry.line_writer import LineWriter

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

TEXT_LENGTH_MAX = 8192
ITEMS_MAX = 200
DEPTH_MAX = 4
REDACTED = "[redacted]"

_SECRET_WORDS = frozenset(
    {
        "secret",
        "secrets",
        "token",
        "password",
        "passwd",
        "passphrase",
        "authorization",
        "credential",
        "credentials",
        "key",
    }
)
_NOT_SECRET = frozenset({"launch_token", "token_prefix", "client_token", "key_name"})
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


class LogFormat(StrEnum):
    """How a line looks."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The lowest level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogOutput:
    """What `configure` set up; close it to write what is queued."""

    def __init__(self, writer: LineWriter, library_handler: logging.Handler) -> None:
        self._writer = writer
        self._library_handler = library_handler
        atexit.register(self.close)

    def close(self) -> None:
        """Flush within two seconds and put the libraries' logging back. A second call does nothing."""
        atexit.unregister(self.close)
        logging.getLogger().removeHandler(self._library_handler)
        self._writer.close()


def configure(level: LogLevel, log_format: LogFormat, descriptor: int | None = None) -> LogOutput:
    """Send this process's events to `descriptor`, stderr by default. Libraries' own logs join at WARNING and above."""
    writer = LineWriter(sys.stderr.fileno() if descriptor is None else descriptor)
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
        shorten,
        _renderer(log_format),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level.value),
        context_class=dict,
        logger_factory=lambda *_: _LineLogger(writer),
        cache_logger_on_first_use=False,
    )
    handler = _LibraryHandler(logging.WARNING)
    logging.getLogger().addHandler(handler)
    return LogOutput(writer, handler)


def is_secret(key: str) -> bool:
    """A value under this key must not be written. Launch tokens name launches and are no secret."""
    if key in _NOT_SECRET:
        return False
    return any(word.lower() in _SECRET_WORDS for word in _WORD.findall(key))


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace the values of secret keys, in nested mappings and sequences too."""
    return {key: REDACTED if is_secret(key) else _redacted(value, DEPTH_MAX) for key, value in event.items()}


def _redacted(value: object, depth: int) -> object:
    if isinstance(value, Mapping):
        if depth == 0:
            return "..."
        return {k: REDACTED if is_secret(str(k)) else _redacted(v, depth - 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [_redacted(item, depth - 1) for item in items] if depth else "..."
    return value


def shorten(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Bound one line: long lists keep their first items and a count, long texts their beginning."""
    return {key: _shortened(value) for key, value in event.items()}


def _shortened(value: Any) -> Any:
    if isinstance(value, str) and len(value) > TEXT_LENGTH_MAX:
        return f"{value[:TEXT_LENGTH_MAX]}... (+{len(value) - TEXT_LENGTH_MAX} characters)"
    if isinstance(value, list):
        kept = [_shortened(item) for item in value[:ITEMS_MAX]]
        return [*kept, f"... (+{len(value) - ITEMS_MAX})"] if len(value) > ITEMS_MAX else kept
    return value


def _renderer(log_format: LogFormat) -> Processor:
    match log_format:
        case LogFormat.JSON:
            return _as_json
        case LogFormat.CONSOLE:
            return structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )


def _as_json(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> str:
    """Timestamp, level and event first, so that a person finds them; then the keys as they were given."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return json.dumps({**first, **event}, default=str, ensure_ascii=False)


class _LineLogger:
    """structlog's innermost logger: every level writes a line."""

    def __init__(self, writer: LineWriter) -> None:
        self._write = writer.write

    def msg(self, line: str) -> None:
        self._write(line)

    debug = info = warning = error = critical = exception = msg


class _LibraryHandler(logging.Handler):
    """Turns the standard library's records into events of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            structlog.get_logger().log(
                record.levelno,
                "library_message",
                logger=record.name,
                message=record.getMessage(),
                **({"exc_info": record.exc_info} if record.exc_info else {}),
            )
        except (TypeError, ValueError):
            self.handleError(record)
