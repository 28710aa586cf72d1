"""The request pipeline: one plain ASGI application that handles a request from its headers to its last byte.

    arrival → match route → identity → tenant → limit → scopes → forward

This is the hot path: no FastAPI routing, no HTTP library per request. The gateway's own few pages are a FastAPI
application (portal/), used for paths that are not in the route table.
"""

import asyncio
import time
from typing import Final

import structlog

from gateway.edge.access_log import AccessLog
from gateway.edge.arrival import Arrival, check_unambiguous
from gateway.edge.handshake import Handshakes
from gateway.edge.tracing import Spans
from gateway.http.exchange import Exchange, Receive, Scope, Send
from gateway.policy.admission import Admission
from gateway.policy.cors import Cors, preflight_headers
from gateway.policy.identity import InternalTokens, client_credentials, forward_proof, name_scheme
from gateway.policy.streams import EndReason, OpenStreams
from gateway.policy.tenant import TenantRule
from gateway.portal import app as portal
from gateway.proxy.forward import ClientDisconnected, Forwarder
from gateway.routes.matching import Match, Matcher
from shared.problems import (
    InternalError,
    InvalidToken,
    MethodNotAllowed,
    NotFound,
    Problem,
    Unauthenticated,
    UpstreamTimeout,
)
from shared.telemetry.metrics import IN_FLIGHT

log = structlog.get_logger("gateway.edge")

CLIENT_CLOSED_REQUEST: Final = 499
"""The logged status of a request whose client disconnected before the response began (nginx's convention)."""

_SECURITY: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


class UpgradeRequired(Problem):
    """This path accepts WebSocket handshakes only (RFC 9110, section 15.5.22)."""

    status, title = 426, "A WebSocket handshake is required"
    remedy = "Send a WebSocket handshake: `Connection: Upgrade` and `Upgrade: websocket`."

    def __init__(self) -> None:
        super().__init__(headers={"Upgrade": "websocket", "Connection": "Upgrade"})


class Edge:
    """The ASGI application. `matcher` may be replaced at any time: a request keeps the one that it started with.

    `challenge` is added to every `WWW-Authenticate` of a 401.
    """

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
        challenge: str,
    ) -> None:
        self.matcher = matcher
        self._arrival, self._admission, self._tenants, self._tokens = arrival, admission, tenants, tokens
        self._forwarder, self._streams, self._handshakes = forwarder, streams, handshakes
        self._cors, self._portal, self._access_log, self.spans = cors, pages, access_log, spans
        self._challenge = challenge
        self._security = (*_SECURITY, _HSTS) if secure else _SECURITY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        exchange.started = time.perf_counter()
        self._arrival.stamp(exchange)
        exchange.added_headers = [(b"x-request-id", exchange.request_id.encode()), *self._security]
        handle = self._websocket if scope["type"] == "websocket" else self._http
        span = self.spans.begin(exchange) if self.spans is not None else None
        if span is None or self.spans is None:
            await handle(exchange)
            return
        try:
            await handle(exchange)
        finally:
            self.spans.end(span, exchange)

    async def _http(self, exchange: Exchange) -> None:
        """Answer one HTTP request, whatever fails on the way."""
        connection = exchange.connection
        if connection is not None:
            connection.task = asyncio.current_task()
        code = None
        IN_FLIGHT.inc()
        try:
            await self._respond(exchange)
        except Problem as problem:
            code = problem.code
            await self._refuse(exchange, problem)
        except ClientDisconnected:
            exchange.status = exchange.status or CLIENT_CLOSED_REQUEST
        except asyncio.CancelledError:
            if connection is not None and connection.lost:
                exchange.status = exchange.status or CLIENT_CLOSED_REQUEST
            else:  # the server is stopping, and its drain time is over
                code = UpstreamTimeout.code
                await self._refuse(exchange, UpstreamTimeout("The gateway is shutting down. Send the request again."))
        except Exception:  # one request ends here: its failure is logged and answered
            log.exception("request_failed", request_id=exchange.request_id, trace_id=exchange.trace_id)
            code = InternalError.code
            await self._refuse(exchange, InternalError())
        finally:
            if connection is not None:
                connection.task = None
            IN_FLIGHT.dec()
            self._access_log.record(exchange, time.perf_counter() - exchange.started, code)

    async def _respond(self, exchange: Exchange) -> None:
        route = exchange.route = self.matcher.find(exchange.path)
        pages = route is not None and route.pages
        if not pages:
            exchange.added_headers += self._cors.headers(exchange)
        check_unambiguous(exchange)
        if route is None:
            await self._respond_from_portal(exchange)
            return
        exchange.route_name = route.name
        access = route.access.get(exchange.method)
        if route.websocket is not None and access is not None:
            raise UpgradeRequired
        if access is None:
            await _respond_to_other_method(exchange, route.allow, options=route.websocket is None, cors=not pages)
            return
        if route.tickets:
            exchange.take_ticket()
        await self._admission.admit(exchange, route, access)
        principal = exchange.principal
        if principal is None:
            self._forward_tenant_name(exchange)
            forward_proof(exchange, route)
            await self._forwarder(exchange, route, client_credentials(exchange, route))
        elif route.streaming:
            await self._stream(exchange, route)
        else:
            await self._forwarder(exchange, route, self._tokens.header(principal, route.upstream))

    async def _respond_from_portal(self, exchange: Exchange) -> None:
        """Serve one of the gateway's own paths. Raises NotFound for any other."""
        name = self._portal.name_of(exchange.path)
        if name is None:
            raise NotFound("No route matches this path.")
        exchange.route_name = name
        if exchange.method in ("GET", "HEAD"):
            await self._portal.respond(exchange)
        else:
            await _respond_to_other_method(exchange, portal.ALLOW, options=True)

    def _forward_tenant_name(self, exchange: Exchange) -> None:
        """Send the service the tenant that a request without a token names, so that a sign-in can choose it."""
        named = self._tenants.named(exchange)
        if named is not None:
            exchange.head.forwarded.append((b"x-tenant-id", named))

    async def _stream(self, exchange: Exchange, route: Match) -> None:
        """Forward a stream, and end it when its token, session, membership or tenant ends."""
        principal, task = exchange.principal, asyncio.current_task()
        if principal is None or task is None:
            raise InternalError

        def end(reason: EndReason) -> None:
            exchange.stream_ended = True
            task.cancel(reason)

        stream = self._streams.add(principal, end, until_expiry=True)
        try:
            await self._forwarder(exchange, route, self._tokens.header(principal, route.upstream))
        except asyncio.CancelledError:
            if not exchange.stream_ended or exchange.status:
                raise
            task.uncancel()
            raise InvalidToken from None
        finally:
            self._streams.remove(stream)

    async def _refuse(self, exchange: Exchange, problem: Problem) -> None:
        """Respond with the problem; a response that has begun can only be cut off."""
        connection = exchange.connection
        if exchange.status == 0:
            name_scheme(exchange, problem)
            if isinstance(problem, Unauthenticated):
                problem.headers["WWW-Authenticate"] += self._challenge
            await exchange.refuse(problem)
        elif connection is not None:
            connection.abort()

    async def _websocket(self, exchange: Exchange) -> None:
        """Carry one WebSocket; it is logged when it has ended."""
        try:
            await self._handshakes.handle(exchange, self.matcher)
        finally:
            self._access_log.record(exchange, time.perf_counter() - exchange.started, None)


async def _respond_to_other_method(exchange: Exchange, allow: str, *, options: bool, cors: bool = True) -> None:
    """Refuse a method that the path does not have; with `options`, answer OPTIONS, and with `cors` preflights."""
    if exchange.method != "OPTIONS" or not options:
        raise MethodNotAllowed(f"{exchange.route_name} accepts {allow}.", headers={"Allow": allow})
    headers = [(b"allow", allow.encode())]
    if cors and b"access-control-request-method" in exchange.head.known:
        headers += preflight_headers(exchange, allow)
    await exchange.respond(204, headers)
