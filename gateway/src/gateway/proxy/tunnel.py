"""Carries an open WebSocket: messages in both directions with back-pressure, and the close code of either side.

    client ──receive──▶ up ──send──▶ service          a side that does not read stops the gateway from reading the other
    client ◀──send── down ◀──receive── service

Pings and pongs pass too: only the other end answers, so a service sees a client that is frozen. The gateway pings
clients itself as well (edge/server.py), for services that do not.
"""

import asyncio
from typing import Final

from gateway.http.exchange import Exchange
from gateway.proxy.upstream import SocketClosed, UpstreamSocket
from shared.web import sockets

TOO_SLOW: Final = 4008
SERVICE_RESTART: Final = 1012

_ABNORMAL: Final = 1006  # RFC 6455, section 7.1.5: the connection was lost without a close frame
_NO_CODE: Final = 1005  # the close frame had no code
_SEND_BUFFER_BYTES: Final = 128 * 1024  # the kernel's buffer for a client that does not read
_UNACKNOWLEDGED_S: Final = 30.0

SLOW_S: Final = 10.0
"""How long a client may not read while a message for it is waiting."""


class Tunnel:
    """One open WebSocket of a client and the matching one to the service."""

    def __init__(self, exchange: Exchange, upstream: UpstreamSocket) -> None:
        self._exchange, self._upstream = exchange, upstream
        client = sockets.of(exchange.scope)
        client.bound(send_buffer_bytes=_SEND_BUFFER_BYTES, unacknowledged_s=_UNACKNOWLEDGED_S)
        client.forward_control_frames()
        upstream.forward_control_frames(client.put_ping, client.put_pong)
        self._ending: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def end(self, code: int, reason: str) -> None:
        """Close both sides: the client's right to the connection has ended."""
        if not self._ending.done():
            self._ending.set_result((code, reason))

    async def run(self) -> None:
        """Carry messages until one side closes, then close the other with the same code."""
        up, down = asyncio.create_task(self._up()), asyncio.create_task(self._down())
        try:
            await asyncio.wait((up, down, self._ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            await self._close_both(up, down)

    async def _up(self) -> SocketClosed:
        """Carry messages from the client to the service; return how the client closed."""
        receive, upstream = self._exchange.receive, self._upstream
        while (message := await receive())["type"] != "websocket.disconnect":
            match message["type"]:
                case "websocket.ping":
                    await upstream.ping(message["bytes"])
                case "websocket.pong":
                    await upstream.pong(message["bytes"])
                case _:
                    text = message.get("text")
                    await upstream.send(text if text is not None else message["bytes"])
        return SocketClosed(message.get("code", _NO_CODE), message.get("reason") or "")

    async def _down(self) -> None:
        """Carry messages from the service to the client. Raises SocketClosed when the service closes."""
        send = self._exchange.send
        while True:
            message = await self._upstream.receive()
            kind = "text" if isinstance(message, str) else "bytes"
            async with asyncio.timeout(SLOW_S):
                await send({"type": "websocket.send", kind: message})

    async def _close_both(self, up: "asyncio.Task[SocketClosed]", down: "asyncio.Task[None]") -> None:
        if self._ending.done():
            code, reason = self._ending.result()
            await self._close_client(code, reason)
            await self._upstream.close(code, reason)
        elif (by_client := _result(up)) is not None:
            await self._close_upstream(by_client)
        elif (by_service := _closing(down) or _closing(up)) is not None:
            await self._close_client(
                SERVICE_RESTART if by_service.code == _ABNORMAL else by_service.code, by_service.reason
            )
        else:
            await self._close_client(TOO_SLOW, "too_slow")  # no effect if the client has disconnected
            self._upstream.abort()

    async def _close_upstream(self, by_client: SocketClosed) -> None:
        """Pass on a clean close; a lost client connection is aborted at the service too."""
        if by_client.code == _ABNORMAL:
            self._upstream.abort()
        else:
            await self._upstream.close(1000 if by_client.code == _NO_CODE else by_client.code, by_client.reason)

    async def _close_client(self, code: int, reason: str) -> None:
        await self._exchange.send(
            {"type": "websocket.close", "code": 1000 if code == _NO_CODE else code, "reason": reason}
        )


def _result(task: "asyncio.Task[SocketClosed]") -> SocketClosed | None:
    return task.result() if task.done() and not task.cancelled() and task.exception() is None else None


def _closing(task: "asyncio.Task[SocketClosed] | asyncio.Task[None]") -> SocketClosed | None:
    error = task.exception() if task.done() and not task.cancelled() else None
    return error if isinstance(error, SocketClosed) else None
