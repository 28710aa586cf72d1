"""A log line and a duration observation per request."""

from typing import Final

from gateway.http.exchange import Exchange
from shared.telemetry.request_log import RequestLog

_UNLOGGED: Final = frozenset({"/livez", "/readyz", "/health"})


class AccessLog:
    """Observes and logs each exchange once it has ended."""

    def __init__(self, log: RequestLog) -> None:
        self._log = log

    def record(self, exchange: Exchange, duration_s: float, error: str | None) -> None:
        """Observe and log an exchange that has ended."""
        self._log.observe(exchange.method, exchange.route_name, exchange.status, duration_s)
        if self._log.enabled and exchange.route_name not in _UNLOGGED:
            self._log.write(_line(exchange, duration_s, error))


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
        if principal.acting is not None:
            line["act"] = principal.acting
    if error is not None:
        line["code"] = error
    return line
