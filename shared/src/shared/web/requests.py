"""The outermost layer of every service: request id, deadline, log line, metrics, and the end of unexpected errors."""

import asyncio
import re
import time
from contextlib import nullcontext
from typing import Final

import structlog
from opentelemetry import trace
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import deadline
from shared.ids import new_id
from shared.problems import InternalError, Problem, UpstreamTimeout
from shared.telemetry import metrics, traces
from shared.telemetry.request_log import RequestLog
from shared.web import connection
from shared.web.errors import answer

log = structlog.get_logger("shared.requests")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._\-]{1,128}")
_DEADLINE: Final = deadline.HEADER.lower().encode()
_TOO_LATE: Final = "The request's deadline passed before the service could start. Nothing was done."
_QUIET: Final = frozenset({"/livez", "/readyz", "/health", "/metrics", "/internal/revocations"})  # always some


def request_id_of(scope: Scope) -> str:
    """The client's X-Request-ID where it is a plain token, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return str(new_id())


def _seconds_left(scope: Scope) -> float | None:
    """The seconds that the caller still waits; None where it does not say so."""
    for name, value in scope["headers"]:
        if name == _DEADLINE:
            return deadline.seconds_of(value)
    return None


class RequestContext:
    """`spans`: sampled requests have a span already, because spans are exported."""

    def __init__(self, app: ASGIApp, *, log: RequestLog, spans: bool = False) -> None:
        self._app, self._log, self._spans = app, log, spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if not (self._spans and traces.is_sampled(scope["headers"])):
            traces.follow(scope["headers"])
        if scope["type"] == "websocket":  # lives longer than any call
            await self._app(scope, receive, send)
            return
        deadline.start(_seconds_left(scope))
        await _Exchange(self._app, scope, request_id, self._log).run(receive, send)


class _Exchange:
    """One request and its answer."""

    def __init__(self, app: ASGIApp, scope: Scope, request_id: str, request_log: RequestLog) -> None:
        self._app, self._scope, self._request_id, self._log = app, scope, request_id, request_log
        self._status = 0
        self._cut_off = self._answered = False
        self._counts = scope["path"] not in _QUIET
        self._began = time.perf_counter()

    async def run(self, receive: Receive, send: Send) -> None:
        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._status = message["status"]
                message.setdefault("headers", []).append((b"x-request-id", self._request_id.encode()))
                await connection.begin_response(connection.of(self._scope), send, message)
                return
            await send(message)
            self._answered = message["type"] == "http.response.body" and not message.get("more_body", False)

        async def received() -> Message:
            message = await receive()
            # A server reports a disconnect after every answer; a request was cut off only if its answer was due.
            self._cut_off = self._cut_off or (message["type"] == "http.disconnect" and not self._answered)
            return message

        trace.get_current_span().set_attribute("flotilla.request_id", self._request_id)
        with metrics.IN_FLIGHT.track_inprogress() if self._counts else nullcontext():
            try:
                if deadline.has_passed():
                    await self._refuse(UpstreamTimeout(_TOO_LATE), receive, watch)
                else:
                    await self._app(self._scope, received, watch)
            except asyncio.CancelledError:
                self._cut_off = True
                raise
            except Exception:  # a request is one unit of work; its failure is logged and answered here
                log.exception("request_failed", route=self._route, method=self._scope["method"])
                if self._status != 0:
                    raise
                await self._refuse(InternalError(), receive, watch)
            finally:
                self._record()

    async def _refuse(self, problem: Problem, receive: Receive, send: Send) -> None:
        self._scope["state"]["problem_code"] = problem.code
        reply = answer(problem, instance=self._scope["path"], request_id=self._request_id)
        await reply(self._scope, receive, send)

    @property
    def _route(self) -> str:
        """The route's template, never the path: ids would make a metric of every object."""
        return getattr(self._scope.get("route"), "path", "unmatched")

    def _record(self) -> None:
        method, route = self._scope["method"], self._route
        duration_s = time.perf_counter() - self._began - self._scope["state"].get("held_s", 0.0)
        self._log.observe(method, route, self._status, duration_s)
        if not self._counts or not self._log.enabled:
            return
        self._log.write(
            {
                **structlog.contextvars.get_contextvars(),
                "trace_id": traces.trace_id(),
                "method": method,
                "route": route,
                "status": self._status,
                "duration_ms": round(duration_s * 1000, 1),
                "code": self._scope["state"].get("problem_code"),
                "cut_off": self._cut_off or None,
            }
        )
