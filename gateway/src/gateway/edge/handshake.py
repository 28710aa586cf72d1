"""Opens WebSockets: authorised at the handshake, connected to the service, and only then accepted.

A browser sees no HTTP status of a refused handshake, so it is accepted and closed at once with a code that says why;
a program, which can send `Authorization`, is answered with the status itself.
"""

from collections.abc import Awaitable, Mapping
from typing import Final

import structlog

from gateway.edge.arrival import check_readable
from gateway.http.exchange import Exchange, rendered
from gateway.policy.admission import Admission
from gateway.policy.identity import InternalTokens
from gateway.policy.streams import OpenStreams, Why
from gateway.proxy.forward import onward_headers, problem_of, target
from gateway.proxy.replicas import Replicas
from gateway.proxy.tunnel import GOING_AWAY, Tunnel
from gateway.proxy.upstream import HandshakeRefused, OpenSocket, UpstreamError, UpstreamSocket
from gateway.routes.matching import Match, Matcher
from shared.problems import BadUpstream, Forbidden, InvalidToken, MalformedRequest, NotFound, Problem

log = structlog.get_logger("gateway.handshake")

_NOT_UNDERSTOOD: Final = 4000
_NOT_AUTHENTICATED: Final = 4001
_FORBIDDEN: Final = 4003
_COME_BACK: Final = 1013
_REFUSED: Final = {400: _NOT_UNDERSTOOD, 401: _NOT_AUTHENTICATED, 403: _FORBIDDEN}
_ENDED: Final[dict[Why, int]] = {"membership": _FORBIDDEN, "tenant": _FORBIDDEN, "closing": GOING_AWAY}
_BEARER: Final = "bearer."


class SubprotocolMissing(MalformedRequest):
    """The WebSocket handshake does not offer the subprotocol that the path speaks."""

    status, title = 400, "The subprotocol is missing"
    remedy = "Offer the subprotocol that the documentation names, such as `flotilla.v1` at /ws."


class Handshakes:
    """Takes WebSocket exchanges from the handshake to their end, at the `replicas` of each upstream by its name."""

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

    async def carry(self, exchange: Exchange, matcher: Matcher) -> None:
        """Open the WebSocket, or refuse it, and carry it to its end."""
        await exchange.receive()
        _take_credentials(exchange)
        try:
            route = exchange.route = _route(exchange, matcher)
            exchange.name = route.name
            await self._admission.admit(exchange, route, route.access["GET"])
            upstream = await self._connect(exchange, route)
        except Problem as problem:
            await _refuse(exchange, problem)
            return
        await self._tunnel(exchange, route, upstream)

    async def _connect(self, exchange: Exchange, route: Match) -> UpstreamSocket:
        principal = exchange.principal
        authorization = self._tokens.header(principal, route.upstream) if principal is not None else None
        headers = onward_headers(exchange, self._scheme, authorization)
        path = target(exchange)

        def opened_at(origin: str) -> Awaitable[UpstreamSocket]:
            return self._open_socket(f"ws{origin.removeprefix('http')}{path}", headers, route.websocket or "")

        try:
            return await self._replicas[route.upstream].reach(opened_at)
        except HandshakeRefused as refused:
            raise _passed_on(refused.status) from refused
        except UpstreamError as error:
            raise problem_of(error, route.upstream) from error

    async def _tunnel(self, exchange: Exchange, route: Match, upstream: UpstreamSocket) -> None:
        tunnel = Tunnel(exchange, upstream)
        principal = exchange.principal
        exchange.status = 101

        def end(why: Why) -> None:
            tunnel.end(_ENDED.get(why, _NOT_AUTHENTICATED), why)

        # the service ends the socket with its token, since a client may renew that on the socket itself
        stream = self._streams.add(principal, end, until_expiry=False) if principal is not None else None
        try:
            await exchange.send({"type": "websocket.accept", "subprotocol": route.websocket, "headers": exchange.extra})
            await tunnel.run()
        finally:
            if stream is not None:
                self._streams.remove(stream)


def _take_credentials(exchange: Exchange) -> None:
    """Note what the client offers; the token among its subprotocols is for us and goes no further."""
    exchange.take_ticket()
    offered = exchange.scope.get("subprotocols", [])
    exchange.subprotocols = tuple(name for name in offered if not name.startswith(_BEARER))
    exchange.bearer = next((name.removeprefix(_BEARER) for name in offered if name.startswith(_BEARER)), None)


def _route(exchange: Exchange, matcher: Matcher) -> Match:
    check_readable(exchange)
    route = matcher.find(exchange.path)
    if route is None or route.websocket is None:
        raise NotFound("There is no WebSocket at this path.")
    if route.websocket not in exchange.subprotocols:
        raise SubprotocolMissing(f"Offer the subprotocol {route.websocket}.")
    return route


def _passed_on(status: int) -> Problem:
    """The service's refusal, as far as the client may go by it."""
    known: dict[int, type[Problem]] = {401: InvalidToken, 403: Forbidden, 404: NotFound}
    return known.get(status, BadUpstream)()


async def _refuse(exchange: Exchange, problem: Problem) -> None:
    """Say no in the way that this client can hear."""
    exchange.status = problem.status
    by_status = b"authorization" in exchange.head.read and not isinstance(problem, SubprotocolMissing)
    if problem.status == 404 or by_status:
        headers, body = rendered(problem, exchange.path, exchange.request_id)
        await exchange.send(
            {"type": "websocket.http.response.start", "status": problem.status, "headers": headers + exchange.extra}
        )
        await exchange.send({"type": "websocket.http.response.body", "body": body})
        return
    subprotocol = exchange.subprotocols[0] if exchange.subprotocols else None
    await exchange.send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": exchange.extra})
    code = _REFUSED.get(problem.status, _COME_BACK)
    await exchange.send({"type": "websocket.close", "code": code, "reason": problem.code})
