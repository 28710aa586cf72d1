"""A log line and a duration observation per request. JSON lines bypass structlog, which costs ten times as much."""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Final

import orjson
import structlog
from prometheus_client import Histogram

from gateway.http.exchange import Exchange
from shared.settings import LogSettings
from shared.telemetry.metrics import REQUESTS

log = structlog.get_logger("gateway.requests")

_UNLOGGED: Final = frozenset({"/livez", "/readyz", "/health"})
_FLUSH_S: Final = 0.1
_FLUSH_BYTES: Final = 64 * 1024


class AccessLog:
    """Writes the same lines as shared.telemetry.logs; JSON lines to stdout are encoded here and written in batches."""

    def __init__(self, settings: LogSettings) -> None:
        self._enabled = settings.level in ("DEBUG", "INFO")
        self._batched = settings.format == "json" and settings.file is None
        self._lines: list[bytes] = []
        self._bytes = 0
        self._histograms: dict[tuple[str, str, int], Histogram] = {}

    def record(self, exchange: Exchange, duration_s: float, error: str | None) -> None:
        """Observe and log an exchange that has ended."""
        key = (exchange.method, exchange.route_name, exchange.status)
        histogram = self._histograms.get(key)
        if histogram is None:
            histogram = self._histograms[key] = REQUESTS.labels(
                exchange.method, exchange.route_name, str(exchange.status)
            )
        histogram.observe(duration_s)
        if self._enabled and exchange.route_name not in _UNLOGGED:
            self._write(_line(exchange, duration_s, error))

    def _write(self, line: dict[str, object]) -> None:
        if not self._batched:
            log.info("request", **line)
            return
        line |= {"event": "request", "level": "info", "service": "gateway", "timestamp": datetime.now(UTC)}
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


def _line(exchange: Exchange, duration_s: float, error: str | None) -> dict[str, object]:
    """The logged fields: never the query, which may hold a ticket, nor the path, which holds ids."""
    line: dict[str, object] = {
        "request_id": exchange.request_id,
        "trace_id": exchange.trace_id,
        "method": exchange.method,
        "route": exchange.route_name,
        "status": exchange.status,
        "duration_ms": round(duration_s * 1000, 1),
    }
    principal = exchange.principal
    if principal is not None:
        line["user"] = str(principal.user_id)
        line["tenant"] = str(principal.tenant_id) if principal.tenant_id is not None else None
    if error is not None:
        line["code"] = error
    return line
