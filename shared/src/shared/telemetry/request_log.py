"""What every process records about a request that has ended: its duration, and a line without the cost of structlog."""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import structlog
from prometheus_client import Histogram

from shared.settings import LogSettings
from shared.telemetry.metrics import REQUESTS

_FLUSH_S: Final = 0.1
_FLUSH_BYTES: Final = 64 * 1024


class RequestLog:
    """Writes the lines that shared.telemetry.logs would: it does, where they go to a terminal or to a file.

    JSON lines for stdout are encoded here and written in batches.
    """

    def __init__(self, settings: LogSettings, service: str) -> None:
        self.enabled = settings.level in ("DEBUG", "INFO")
        self._log = structlog.get_logger("shared.requests")
        self._batched, self._service = settings.format == "json" and settings.file is None, service
        self._lines: list[bytes] = []
        self._bytes = 0
        self._histograms: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Add the duration to the metric; `route` is the template, never the path."""
        histogram = self._histograms.get((method, route, status))
        if histogram is None:
            histogram = self._histograms[method, route, status] = REQUESTS.labels(method, route, str(status))
        histogram.observe(duration_s)

    def write(self, line: dict[str, Any]) -> None:
        """Write a line with these fields, which are JSON values, and those that every line has."""
        if not self._batched:
            self._log.info("request", **line)
            return
        line |= {"event": "request", "level": "info", "service": self._service, "timestamp": datetime.now(UTC)}
        encoded = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)
        if not self._lines:
            asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)
        self._lines.append(encoded)
        self._bytes += len(encoded)
        if self._bytes > _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the lines of the last tenth of a second at once."""
        lines, self._lines, self._bytes = self._lines, [], 0
        if lines:
            sys.stdout.write(b"".join(lines).decode())
            sys.stdout.flush()
