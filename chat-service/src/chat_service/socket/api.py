"""GET /ws: the handshake, and a connection's life."""

import asyncio
from typing import Final

import structlog
from fastapi import WebSocket

from chat_service.delivery.hub import Hub
from chat_service.delivery.outgoing import Close
from chat_service.settings import ChatSettings
from chat_service.socket.connection import Connection
from chat_service.socket.frame_handlers import FrameHandlers
from chat_service.socket.frames import SUBPROTOCOL
from shared.identity.principal import Principal
from shared.identity.revocations import Revocations
from shared.identity.verifier import Verifier
from shared.problems import Forbidden, InsufficientScope, Problem, Unauthenticated
from shared.resources import Resources, resources_of
from shared.web import sockets
from shared.web.errors import answer
from shared.web.router import Router

log = structlog.get_logger(__name__)
router = Router()

_BEARER: Final = "bearer."
_SCOPES: Final = ("chat:read", "notifications:read")


@router.websocket("/ws")
async def connect(websocket: WebSocket) -> None:
    """Chat and notifications over one connection, by the subprotocol flotilla.v1."""
    resources = resources_of(websocket)
    if SUBPROTOCOL not in websocket.scope["subprotocols"]:
        await websocket.accept()
        await websocket.close(Close.NOT_UNDERSTOOD, "subprotocol_missing")
        return
    try:
        principal = await _caller(websocket, resources)
    except Problem as problem:
        await _refuse(websocket, problem)
        return
    await websocket.accept(SUBPROTOCOL)
    await _serve(websocket, principal, resources)


async def _serve(websocket: WebSocket, principal: Principal, resources: Resources) -> None:
    settings, hub, handlers = resources.get(ChatSettings), resources.get(Hub), resources.get(FrameHandlers)
    protocol = sockets.of(websocket.scope)
    protocol.keep_alive(settings.socket.heartbeat_s, settings.socket.answer_s)
    assert principal.tenant_id is not None  # noqa: S101 - _caller has looked
    connection = Connection(protocol, principal, principal.tenant_id, settings.socket)
    structlog.contextvars.bind_contextvars(
        connection=str(connection.id), user=str(principal.user_id), tenant=str(principal.tenant_id)
    )
    if principal.acting is not None:
        structlog.contextvars.bind_contextvars(act=principal.acting)
    worker = asyncio.create_task(connection.work(handlers.handle))
    code = 1006
    try:
        await hub.add(connection)
        if resources.get(Revocations).ended(principal) is not None:  # between the handshake and the hub's listening
            connection.outgoing.close(Close.TOKEN_ENDED)
        hello = {"connection_id": str(connection.id), "user_id": str(principal.user_id)}
        more = {"username": principal.username, "heartbeat_s": settings.socket.heartbeat_s}
        connection.say("welcome", hello | more)
        code = await connection.read(websocket, handlers.admit)
    finally:
        worker.cancel()
        hub.remove(connection, unresponsive=protocol.unresponsive)
        log.info("connection_closed", code=code, unresponsive=protocol.unresponsive or None)


async def _caller(websocket: WebSocket, resources: Resources) -> Principal:
    """The person who connects, by `Authorization` or the subprotocol `bearer.<token>`. Raises the refusal."""
    offered = [name for name in websocket.scope["subprotocols"] if name.startswith(_BEARER)]
    scheme, _, token = websocket.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = offered[0].removeprefix(_BEARER) if offered else ""
    if not token:
        raise Unauthenticated
    principal = await resources.get(Verifier).verify(token.strip())
    resources.get(Revocations).admit(principal)
    if principal.tenant_id is None:
        raise Forbidden("The session has no tenant. Sign in to a tenant.")
    if principal.scopes.isdisjoint(_SCOPES):
        raise InsufficientScope(f"This needs one of the scopes {', '.join(_SCOPES)}.", scopes=_SCOPES)
    return principal


async def _refuse(websocket: WebSocket, problem: Problem) -> None:
    """By status if the client sent headers, so that it sees one; a browser sees only a close code."""
    if "authorization" in websocket.headers:
        request_id = websocket.scope.get("state", {}).get("request_id")
        await websocket.send_denial_response(answer(problem, instance="/ws", request_id=request_id))
        return
    await websocket.accept(SUBPROTOCOL)
    codes = {401: Close.TOKEN_ENDED, 403: Close.FORBIDDEN}
    await websocket.close(codes.get(problem.status, 1013), problem.code)
