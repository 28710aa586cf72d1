"""uvicorn as every service runs it: our connection protocol, no access log, a drain that readiness reports."""

import signal
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from shared.settings import ServiceSettings
from shared.web.connection import HttpProtocol
from shared.web.health import HealthChecks
from shared.web.quiet_server import QuietServer
from shared.web.sockets import MAX_MESSAGE_BYTES, SocketProtocol

KEEP_ALIVE_S: Final = 30
"""An idle connection is closed after this.

The clients of the fleet drop theirs after 4 s (shared/clients.py), so that even a stalled one sends no request into a
connection that is being closed.
"""


class Server(QuietServer):
    """A server whose `/readyz` says `draining` from the moment it is asked to stop."""

    def __init__(
        self, app: FastAPI, settings: ServiceSettings, health: HealthChecks, *, port: int | None = None, **options: Any
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.server.host,
                port=settings.port if port is None else port,
                http=HttpProtocol,
                loop="uvloop",
                ws=SocketProtocol,
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_per_message_deflate=False,
                log_config=None,
                access_log=False,
                proxy_headers=False,  # a client's address comes signed (identity/tokens.py), never by a plain header
                server_header=False,
                date_header=True,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=settings.server.drain_s,
                **options,
            )
        )
        self._health = health

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self._health.drain)
        super().handle_exit(sig, frame)

    def stop(self) -> None:
        """Ask for the same end as SIGTERM does."""
        self.handle_exit(signal.SIGTERM, None)
