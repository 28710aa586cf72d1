"""Carries a WebSocket: messages both ways, each side as fast as the other reads, and the close code of whoever ends it.

    client ──receive──▶ up ──send──▶ service          a side that does not read stops the other from being read
    client ◀──send── down ◀──receive── service

The gateway answers the pings of both sides itself; a client that answers none is dropped, and its service is told.
"""

import asyncio
from typing import Final

from gateway.http.exchange import Exchange
from gateway.proxy.upstream import SocketClosed, UpstreamSocket
from shared.web import sockets

TOO_SLOW: Final = 4008
GOING_AWAY: Final = 1012

_LOST: Final = 1006
_NO_CODE: Final = 1005
_SEND_BUFFER_BYTES: Final = 128 * 1024  # what the kernel holds for a client that does not read
_UNACKNOWLEDGED_S: Final = 30.0

SLOW_S: Final = 10.0
"""How long a client may read nothing while there is something to read for it."""


class Tunnel:
    """One open WebSocket of a client and the one to the service behind it."""

    def __init__(self, exchange: Exchange, upstream: UpstreamSocket) -> None:
        self._exchange, self._upstream = exchange, upstream
        sockets.of(exchange.scope).bound(send_buffer_bytes=_SEND_BUFFER_BYTES, unacknowledged_s=_UNACKNOWLEDGED_S)
        self._ending: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def end(self, code: int, reason: str) -> None:
        """Close both sides, because the client may go on no longer."""
        if not self._ending.done():
            self._ending.set_result((code, reason))

    async def run(self) -> None:
        """Carry messages until one side closes, then close the other in the same way."""
        up, down = asyncio.create_task(self._up()), asyncio.create_task(self._down())
        try:
            await asyncio.wait((up, down, self._ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            await self._close_both(up, down)

    async def _up(self) -> SocketClosed:
        """From the client to the service; how the client closed."""
        receive = self._exchange.receive
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            await self._upstream.send(text if text is not None else message["bytes"])
        return SocketClosed(message.get("code", _NO_CODE), message.get("reason") or "")

    async def _down(self) -> None:
        """From the service to the client, until the service closes: SocketClosed says how."""
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
            await self._close_client(GOING_AWAY if by_service.code == _LOST else by_service.code, by_service.reason)
        else:
            await self._close_client(TOO_SLOW, "too_slow")  # without effect where the client is gone
            self._upstream.abort()

    async def _close_upstream(self, by_client: SocketClosed) -> None:
        """A client that is lost is lost to the service too: only a clean close is passed on as one."""
        if by_client.code == _LOST:
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
