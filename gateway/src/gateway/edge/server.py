"""uvicorn as the gateway runs it: our connection protocol, no signal handling, a callback when draining begins."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
import uvicorn

from shared.web import connection
from shared.web.quiet_server import QuietServer
from shared.web.sockets import MAX_MESSAGE_BYTES, SocketProtocol

log = structlog.get_logger("gateway.server")

_UNACKNOWLEDGED_MS: Final = 30_000  # a peer that acknowledges nothing for so long is disconnected
_KEEP_ALIVE_S: Final = 75
_PING_S: Final = 25.0
_PONG_S: Final = 35.0  # long: a service that pings decides by its own settings when a client is gone


class EdgeServer(QuietServer):
    """Serves `app` on bound sockets. `draining` is called once, when the server begins to stop."""

    def __init__(self, app: Any, drain_s: int, draining: Any = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=connection.HttpProtocol,
                ws=SocketProtocol,
                ws_max_size=MAX_MESSAGE_BYTES,
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
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=drain_s,
            )
        )
        self._draining = draining

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the caller: uvicorn's handlers end the process before its resources are closed."""
        yield

    def stop(self) -> None:
        """Accept no new connection and end when the open requests have ended; a second call ends at once."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._draining is not None:
            self._draining()
        await super().shutdown(sockets)


class PortTaken(Exception):
    """The server cannot listen on an address; the message names it and the reason."""


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
        raise PortTaken(f"Cannot listen on {host}:{port}: {error.strerror}") from error
    bound.setblocking(False)
    return bound
