"""uvicorn as the gateway runs it: its httptools protocol with the deadlines and bounds that it lacks."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from shared.web.sockets import HandshakeProtocol

log = structlog.get_logger("gateway.server")

HEAD_S: Final = 10.0  # a request's headers, or a handshake, are whole by then or the connection goes
KEEP_ALIVE_S: Final = 75
_HEAD_BYTES: Final = 64 * 1024
_LINGER_S: Final = 2.0  # how long a body is thrown away that an early answer made useless, so that the answer is read
_CLOSE_S: Final = 5.0
_UNACKNOWLEDGED_MS: Final = 30_000  # a peer that takes nothing for so long is gone
_PING_S: Final = 25.0
_PONG_S: Final = 10.0
_MESSAGE_BYTES: Final = 1024 * 1024


class EdgeProtocol(HttpToolsProtocol):
    """One client connection. The request under way is cancelled when the client is gone."""

    lost = False
    task: "asyncio.Task[None] | None" = None
    due: float | None = None
    _head_bytes = 0
    _whole = True
    _hanging_up = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self.due = self.loop.time() + HEAD_S

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        super().connection_lost(exc)
        if self.task is not None and not self.cycle.response_complete:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._hanging_up and self._whole:
            return
        super().data_received(data)
        if self.due is not None:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES and not self.transport.is_closing():
                self._turn_away(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"flotilla.connection": self}  # type: ignore[dict-item]  # an extension of ours
        self.due = self.loop.time() + HEAD_S
        self._whole = False

    def on_headers_complete(self) -> None:
        self.due = None
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._whole = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._whole or self.transport.is_closing():
            return
        if self._hanging_up:
            self.transport.write_eof()
        self.loop.call_later(_LINGER_S, self._stop_lingering, self.cycle)

    def _stop_lingering(self, cycle: object) -> None:
        if self.cycle is cycle and (self._hanging_up or not self._whole):
            self.transport.close()

    def hang_up(self) -> None:
        """The answer is the last one, and what still comes is thrown away: a close at once would lose the answer."""
        if not self._whole and not self.cycle.response_started:
            self.cycle.keep_alive = True  # else uvicorn closes with the answer's last byte
            self._hanging_up = True

    def cut(self) -> None:
        """Close without ending the answer, so that the client sees that it is not whole."""
        self.cycle.disconnected = True
        self.transport.close()

    def expire(self) -> None:
        """The request's headers took too long."""
        self._turn_away(408)

    def _turn_away(self, status: int) -> None:
        self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.write_eof()
        self._hanging_up = self._whole = True
        self.due = None
        self.loop.call_later(_LINGER_S, self.transport.close)


class EdgeSocketProtocol(HandshakeProtocol):
    """One client WebSocket. A lost connection is told from a clean close, and a close is not waited for for ever."""

    lost = False
    task: "asyncio.Task[None] | None" = None

    async def run_asgi(self) -> None:
        self.scope["extensions"]["flotilla.connection"] = self  # type: ignore[assignment]  # ours
        await super().run_asgi()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.handshake_complete = False  # makes uvicorn report 1006; 1005 would be a close frame without a code
        super().connection_lost(exc)

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.close" and self.close_timer is not None:
            self.close_timer.cancel()
            self.close_timer = self.loop.call_later(_CLOSE_S, self.transport.abort)

    def hang_up(self) -> None:
        """A WebSocket is answered before anything is sent on it."""

    def cut(self) -> None:
        self.transport.abort()


class EdgeServer(uvicorn.Server):
    """Serves `app` on sockets that are bound already. `draining` is called once, when the server is asked to stop."""

    def __init__(self, app: Any, drain_s: int, draining: Any = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=EdgeProtocol,
                ws=EdgeSocketProtocol,
                ws_max_size=_MESSAGE_BYTES,
                ws_per_message_deflate=False,
                ws_ping_interval=_PING_S,
                ws_ping_timeout=_PONG_S,
                loop="uvloop",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=True,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=drain_s,
            )
        )
        self._draining = draining

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Whoever runs the server listens to the signals: uvicorn's way ends the process before it has tidied up."""
        yield

    def stop(self) -> None:
        """Take no new connection, and end when what is open has ended; asked twice, end at once."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: once in each second the connections whose headers are overdue are turned away."""
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.server_state.connections):
                if isinstance(connection, EdgeProtocol) and connection.due is not None and connection.due < now:
                    connection.expire()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._draining is not None:
            self._draining()
        await super().shutdown(sockets)


class PortTaken(Exception):
    """An address cannot be listened on; the message says which and why."""


def bound_sockets(host: str, port: int, *, both_loopbacks: bool) -> list[socket.socket]:
    """Listening sockets at `host` and `port` (0: a free one); in development `localhost` means 127.0.0.1 and ::1."""
    sockets = [_bound(host, port)]
    if both_loopbacks and host == "127.0.0.1":
        try:
            sockets.append(_bound("::1", sockets[0].getsockname()[1]))
        except PortTaken as error:
            log.info("no_ipv6_loopback", reason=str(error))
    return sockets


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise PortTaken(f"{host}:{port} cannot be listened on: {error.strerror}") from error
    bound.setblocking(False)
    return bound
