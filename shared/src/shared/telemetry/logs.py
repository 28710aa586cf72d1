"""Structured logs: one JSON object a line in production, readable lines in a terminal.

What a request is about (request id, user, tenant) is bound once to context variables and stands in every line below it.
"""

import logging
import logging.handlers
import os
import sys
from typing import TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from shared.settings import LogSettings
from shared.telemetry.traces import trace_id

_LEVELS = {
    **dict.fromkeys(("uvicorn.access", "httpx2", "httpcore2", "asyncio"), logging.WARNING),
    # They log each attempt to connect as an error; the loops that use them log an outage's beginning and its end.
    **dict.fromkeys(("aiormq", "aio_pika"), logging.CRITICAL),
}

# Without the local variables of each frame: tokens, passwords and bodies are among them.
_TRACEBACKS = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


def configure(settings: LogSettings, service: str) -> None:
    """Send structlog's and the standard library's records the same way; call once per process."""
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
        _Stamp(service),
    ]
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handlers: list[logging.Handler] = [_handler(logging.StreamHandler(sys.stdout), before, settings.format == "json")]
    if settings.file is not None:
        rotating = logging.handlers.RotatingFileHandler(
            settings.file, maxBytes=settings.file_max_bytes, backupCount=settings.file_backups, encoding="utf-8"
        )
        handlers.append(_handler(rotating, before, json=True))
    logging.basicConfig(handlers=handlers, level=settings.level, force=True)
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)


def _handler(handler: logging.Handler, before: list[Processor], json: bool) -> logging.Handler:
    last: list[Processor] = (
        [_TRACEBACKS, structlog.processors.JSONRenderer(default=str)]
        if json
        else [
            structlog.dev.ConsoleRenderer(colors=colours(sys.stdout), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    return handler


def colours(out: TextIO) -> bool:
    """Whether to use colors: `out` is a terminal and NO_COLOR is not set (no-color.org)."""
    return out.isatty() and not os.environ.get("NO_COLOR")


class _Stamp:
    """Adds the service's name to each line, and takes out uvicorn's message with escape codes, there twice."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        line.setdefault("service", self._service)
        line.pop("color_message", None)
        return line


def _add_trace(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    if (current := trace_id()) is not None:
        line.setdefault("trace_id", current)
    return line
