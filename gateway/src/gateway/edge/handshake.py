"""Opens WebSockets: authorize at the handshake, connect to the service, and only then accept.

Browsers do not show scripts the HTTP status of a refused handshake, so it is accepted and closed at once with a close
code that gives the reason. A client that sends `Authorization` or `X-API-Key` is not a browser and gets the status.
"""

from collections.abc import Awaitable, Mapping
from typing import Final

import structlog

from gateway.edge.arrival import check_unambiguous
from gateway.http.exchange import Exchange, rendered
from gateway.policy.admission import Admission
from gateway.policy.api_keys import HEADER
from gateway.policy.identity import InternalTokens, name_scheme
from gateway.policy.streams import EndReason, OpenStreams
from gateway.proxy.forward import problem_of, request_headers, target
from gateway.proxy.replicas import Replicas
from gateway.proxy.tunnel import SERVICE_RESTART, Tunnel
from gateway.proxy.upstream import HandshakeRefused, OpenSocket, UpstreamError, UpstreamSocket
from gateway.routes.matching import Match, Matcher
from shared.problems import BadUpstream, Forbidden, InvalidToken, MalformedRequest, NotFound, Problem

log = structlog.get_logger("gateway.handshake")

_BAD_REQUEST: Final = 4000
_NOT_AUTHENTICATED: Final = 4001
_FORBIDDEN: Final = 4003
_TRY_AGAIN_LATER: Final = 1013
_REFUSED: Final = {400: _BAD_REQUEST, 401: _NOT_AUTHENTICATED, 403: _FORBIDDEN}
_ENDED: Final[dict[EndReason, int]] = {"membership": _FORBIDDEN, "tenant": _FORBIDDEN, "closing": SERVICE_RESTART}
_BEARER: Final = "bearer."


class SubprotocolMissing(MalformedRequest):
    """The WebSocket handshake does not offer the subprotocol that the path requires."""

    status, title = 400, "The subprotocol is missing"
    remedy = "Offer the subprotocol that the documentation names, such as `flotilla.v1` at /ws."


class Handshakes:
    """Handles WebSocket exchanges from handshake to close, over the `replicas` of each upstream by its name."""

    def __init__(
        self,
        admission: Admission,
        tokens: InternalTokens,
        streams: OpenStreams,
        open_socket: OpenSocket,
        replicas: Mapping[str, Replicas],
        scheme: str,
    ) -> None:
        self._admission, self._tokens, self._streams, self._open_socket = admission, tokens, streams, open_socket
        self._replicas, self._scheme = replicas, scheme

    async def handle(self, exchange: Exchange, matcher: Matcher) -> None:
        """Open the WebSocket and carry its messages until it closes, or refuse it."""
        await exchange.receive()
        _take_credentials(exchange)
        try:
            route = exchange.route = _route(exchange, matcher)
            exchange.route_name = route.name
            await self._admission.admit(exchange, route, route.access["GET"])
            upstream = await self._connect(exchange, route)
        except Problem as problem:
            await _refuse(exchange, problem)
            return
        await self._tunnel(exchange, route, upstream)

    async def _connect(self, exchange: Exchange, route: Match) -> UpstreamSocket:
        principal = exchange.principal
        authorization = self._tokens.header(principal, route.upstream) if principal is not None else None
        headers = request_headers(exchange, self._scheme, authorization, timeout_s=None)
        path = target(exchange)

        def opened_at(origin: str) -> Awaitable[UpstreamSocket]:
            return self._open_socket(f"ws{origin.removeprefix('http')}{path}", headers, route.websocket or "")

        try:
            return await self._replicas[route.upstream].reach(opened_at)
        except HandshakeRefused as refused:
            raise _problem_of_refusal(refused.status) from refused
        except UpstreamError as error:
            raise problem_of(error, route.upstream) from error

    async def _tunnel(self, exchange: Exchange, route: Match, upstream: UpstreamSocket) -> None:
        tunnel = Tunnel(exchange, upstream)
        principal = exchange.principal
        exchange.status = 101

        def end(reason: EndReason) -> None:
            tunnel.end(_ENDED.get(reason, _NOT_AUTHENTICATED), reason)

        # the service watches the token's expiry, because a client may renew its token on the WebSocket itself
        stream = self._streams.add(principal, end, until_expiry=False) if principal is not None else None
        try:
            await exchange.send(
                {"type": "websocket.accept", "subprotocol": route.websocket, "headers": exchange.added_headers}
            )
            await tunnel.run()
        finally:
            upstream.abort()  # a client that is gone before it was answered never reached the tunnel's end
            if stream is not None:
                self._streams.remove(stream)


def _take_credentials(exchange: Exchange) -> None:
    """Read the client's credentials; a token among the subprotocols is not forwarded."""
    exchange.take_ticket()
    offered = exchange.scope.get("subprotocols", [])
    exchange.subprotocols = tuple(name for name in offered if not name.startswith(_BEARER))
    exchange.bearer = next((name.removeprefix(_BEARER) for name in offered if name.startswith(_BEARER)), None)


def _route(exchange: Exchange, matcher: Matcher) -> Match:
    check_unambiguous(exchange)
    route = matcher.find(exchange.path)
    if route is None or route.websocket is None:
        raise NotFound("This path does not accept WebSockets.")
    if route.websocket not in exchange.subprotocols:
        raise SubprotocolMissing(f"Offer the subprotocol {route.websocket}.")
    return route


def _problem_of_refusal(status: int) -> Problem:
    """The problem for a handshake that the service refused with `status`."""
    known: dict[int, type[Problem]] = {401: InvalidToken, 403: Forbidden, 404: NotFound}
    return known.get(status, BadUpstream)()


async def _refuse(exchange: Exchange, problem: Problem) -> None:
    """Refuse by status or by close code, whichever this client can read."""
    exchange.status = problem.status
    from_program = b"authorization" in exchange.head.known or HEADER in exchange.head.known
    by_status = from_program and not isinstance(problem, SubprotocolMissing)
    if problem.status == 404 or by_status:
        name_scheme(exchange, problem)
        headers, body = rendered(problem, exchange.path, exchange.request_id)
        await exchange.send(
            {
                "type": "websocket.http.response.start",
                "status": problem.status,
                "headers": headers + exchange.added_headers,
            }
        )
        await exchange.send({"type": "websocket.http.response.body", "body": body})
        return
    subprotocol = exchange.subprotocols[0] if exchange.subprotocols else None
    await exchange.send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": exchange.added_headers})
    code = _REFUSED.get(problem.status, _TRY_AGAIN_LATER)
    await exchange.send({"type": "websocket.close", "code": code, "reason": problem.code})
