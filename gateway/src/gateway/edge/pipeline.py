"""The hot path: one plain ASGI application that takes a request from its first header to its last byte.

    arrival → match route → identity → tenant → limit → scopes → forward

Nothing here routes by FastAPI or waits for a library where a dictionary will do. The gateway's own few pages are a
FastAPI application (portal/), reached when the table has no such path.
"""

import asyncio
import time
from typing import Final

import structlog

from gateway.edge.access_log import AccessLog
from gateway.edge.arrival import Arrival, check_readable
from gateway.edge.handshake import Handshakes
from gateway.edge.tracing import Spans
from gateway.http.exchange import Exchange, Receive, Scope, Send
from gateway.policy.admission import Admission
from gateway.policy.cors import Cors, preflight_headers
from gateway.policy.identity import InternalTokens
from gateway.policy.streams import OpenStreams, Why
from gateway.policy.tenant import TenantRule
from gateway.portal import app as portal
from gateway.proxy.forward import ClientGone, Forwarder
from gateway.routes.matching import Match, Matcher
from shared.problems import InternalError, InvalidToken, MethodNotAllowed, NotFound, Problem, UpstreamTimeout
from shared.telemetry.metrics import IN_FLIGHT

log = structlog.get_logger("gateway.edge")

CLIENT_GONE: Final = 499
"""The status that the log shows where the client left before its answer began."""

_SECURITY: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


class UpgradeRequired(Problem):
    """The path speaks WebSocket, and the request is no handshake (RFC 9110, section 15.5.22)."""

    status, title = 426, "Open a WebSocket here"
    remedy = "Send a WebSocket handshake: `Connection: Upgrade` and `Upgrade: websocket`."

    def __init__(self) -> None:
        super().__init__(headers={"Upgrade": "websocket", "Connection": "Upgrade"})


class Edge:
    """What every request meets. `matcher` may be replaced at any time: a request keeps the one that it began with."""

    def __init__(
        self,
        *,
        matcher: Matcher,
        arrival: Arrival,
        admission: Admission,
        tenants: TenantRule,
        tokens: InternalTokens,
        forwarder: Forwarder,
        streams: OpenStreams,
        handshakes: Handshakes,
        cors: Cors,
        pages: portal.Portal,
        access_log: AccessLog,
        spans: Spans | None,
        secure: bool,
    ) -> None:
        self.matcher = matcher
        self._arrival, self._admission, self._tenants, self._tokens = arrival, admission, tenants, tokens
        self._forwarder, self._streams, self._handshakes = forwarder, streams, handshakes
        self._cors, self._portal, self._access_log, self._spans = cors, pages, access_log, spans
        self._always = (*_SECURITY, _HSTS) if secure else _SECURITY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        exchange.started = time.perf_counter()
        self._arrival.stamp(exchange)
        exchange.extra = [(b"x-request-id", exchange.request_id.encode()), *self._always]
        carry = self._socket if scope["type"] == "websocket" else self._request
        span = self._spans.begin(exchange) if self._spans is not None else None
        if span is None or self._spans is None:
            await carry(exchange)
            return
        try:
            await carry(exchange)
        finally:
            self._spans.end(span, exchange)

    async def _request(self, exchange: Exchange) -> None:
        """Answer one request, whatever happens on the way."""
        connection = exchange.connection
        if connection is not None:
            connection.task = asyncio.current_task()
        code = None
        IN_FLIGHT.inc()
        try:
            await self._answer(exchange)
        except Problem as problem:
            code = problem.code
            await self._refuse(exchange, problem)
        except ClientGone:
            exchange.status = exchange.status or CLIENT_GONE
        except asyncio.CancelledError:
            if connection is not None and connection.lost:
                exchange.status = exchange.status or CLIENT_GONE
            else:  # the server stops, and has waited for as long as it may
                code = UpstreamTimeout.code
                await self._refuse(exchange, UpstreamTimeout("The gateway goes away and could wait no longer."))
        except Exception:  # one request ends here: its failure is logged and answered
            log.exception("request_failed", request_id=exchange.request_id, trace_id=exchange.trace_id)
            code = InternalError.code
            await self._refuse(exchange, InternalError())
        finally:
            if connection is not None:
                connection.task = None
            IN_FLIGHT.dec()
            self._access_log.record(exchange, time.perf_counter() - exchange.started, code)

    async def _answer(self, exchange: Exchange) -> None:
        exchange.extra += self._cors.headers(exchange)
        check_readable(exchange)
        route = exchange.route = self.matcher.find(exchange.path)
        if route is None:
            await self._answer_here(exchange)
            return
        exchange.name = route.name
        access = route.access.get(exchange.method)
        if route.websocket is not None and access is not None:
            raise UpgradeRequired
        if access is None:
            await _answer_method(exchange, route.allow, options=route.websocket is None)
            return
        if route.tickets:
            exchange.take_ticket()
        await self._admission.admit(exchange, route, access)
        principal = exchange.principal
        if principal is None:
            self._name_tenant(exchange)
            await self._forwarder(exchange, route, None)
        elif route.streaming:
            await self._stream(exchange, route)
        else:
            await self._forwarder(exchange, route, self._tokens.header(principal, route.upstream))

    async def _answer_here(self, exchange: Exchange) -> None:
        """A path that the table does not have: one of the gateway's own, or none."""
        name = self._portal.name_of(exchange.path)
        if name is None:
            raise NotFound("There is no such path.")
        exchange.name = name
        if exchange.method in ("GET", "HEAD"):
            await self._portal.answer(exchange)
        else:
            await _answer_method(exchange, portal.ALLOW, options=True)

    def _name_tenant(self, exchange: Exchange) -> None:
        """Tell a service without a token to go by which tenant the request names, for a sign-in to choose it."""
        named = self._tenants.named(exchange)
        if named is not None:
            exchange.head.forwarded.append((b"x-tenant-id", named))

    async def _stream(self, exchange: Exchange, route: Match) -> None:
        """Forward a stream that ends when its token, its session or its membership does."""
        principal, task = exchange.principal, asyncio.current_task()
        if principal is None or task is None:
            raise InternalError

        def end(why: Why) -> None:
            exchange.ended = True
            task.cancel(why)

        stream = self._streams.add(principal, end, until_expiry=True)
        try:
            await self._forwarder(exchange, route, self._tokens.header(principal, route.upstream))
        except asyncio.CancelledError:
            if not exchange.ended or exchange.status:
                raise
            task.uncancel()
            raise InvalidToken from None
        finally:
            self._streams.remove(stream)

    async def _refuse(self, exchange: Exchange, problem: Problem) -> None:
        """Answer with the problem; an answer that has begun can only be broken off."""
        connection = exchange.connection
        if exchange.status == 0:
            if connection is not None and problem.status == 413:
                connection.hang_up()
            await exchange.refuse(problem)
        elif connection is not None:
            connection.cut()

    async def _socket(self, exchange: Exchange) -> None:
        """Open and carry one WebSocket; its line is written when it has ended."""
        try:
            await self._handshakes.carry(exchange, self.matcher)
        finally:
            self._access_log.record(exchange, time.perf_counter() - exchange.started, None)


async def _answer_method(exchange: Exchange, allow: str, *, options: bool) -> None:
    """A method that the path does not have; with `options` that one is answered here, preflights among them."""
    if exchange.method != "OPTIONS" or not options:
        raise MethodNotAllowed(f"{exchange.name} takes {allow}.", headers={"Allow": allow})
    headers = [(b"allow", allow.encode())]
    if b"access-control-request-method" in exchange.head.read:
        headers += preflight_headers(exchange, allow)
    await exchange.answer(204, headers)
