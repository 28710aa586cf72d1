"""An ASGI application on a real socket in the test's own loop: parsing, streams and WebSockets as clients meet them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI

from shared.resources import Resources
from shared.testing.waiting import eventually
from shared.web.connection import HttpProtocol
from shared.web.quiet_server import QuietServer
from shared.web.sockets import MAX_MESSAGE_BYTES

_LOOK_S = 0.005


class PromptServer(QuietServer):
    """Ends at once: uvicorn looks only each tenth of a second, which hundreds of tests would add up."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's: let go of the listeners, let what is under way end in its time, then the lifespan."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        until = asyncio.get_running_loop().time() + (self.config.timeout_graceful_shutdown or 0)
        while self.server_state.connections or self.server_state.tasks:
            if asyncio.get_running_loop().time() > until:
                break
            await asyncio.sleep(_LOOK_S)
        for task in self.server_state.tasks:
            task.cancel()
        await self.lifespan.shutdown()


class _QuietServer(PromptServer):
    """Leaves the signals to pytest, and a failed start is an error of the test, not the end of the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            raise RuntimeError("the application did not start; its log says why") from None


@dataclass(frozen=True)
class Served:
    """An application that is being served."""

    url: str
    state: Mapping[str, Any]
    """What its lifespan handed to requests."""

    @property
    def resources(self) -> Resources:
        """What a service's process has opened."""
        opened: Resources = self.state["resources"]
        return opened


@asynccontextmanager
async def serving(app: Any, *, port: int = 0, **options: Any) -> AsyncIterator[Served]:
    """Serve `app` by uvicorn on `port` (0: a free one) and run its lifespan; `options` are uvicorn Config's."""
    defaults: dict[str, Any] = {
        "http": HttpProtocol,
        "ws": "websockets-sansio",
        "ws_max_size": MAX_MESSAGE_BYTES,
        "ws_per_message_deflate": False,
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "lifespan": "on",
        "timeout_graceful_shutdown": 2,
    }
    server = _QuietServer(uvicorn.Config(app, **(defaults | options)))
    # The protocol is named because asyncio turns Nagle's delay off only on sockets that say they are TCP.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        port = listener.getsockname()[1]
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await eventually(lambda: server.started or task.done(), within_s=30, saying="the server started")
            if task.done():
                await task
            yield Served(f"http://127.0.0.1:{port}", server.lifespan.state)
        finally:
            server.should_exit = True
            await asyncio.wait([task])


@asynccontextmanager
async def running(app: Any, **options: Any) -> AsyncIterator[str]:
    """As `serving`: the base URL alone."""
    async with serving(app, **options) as served:
        yield served.url


@asynccontextmanager
async def serving_service(app: FastAPI, **options: Any) -> AsyncIterator[Served]:
    """Serve a service's application; the block begins once its `/readyz` answers 200."""
    async with serving(app, **options) as served, httpx2.AsyncClient(base_url=served.url) as client:

        async def ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await eventually(ready, within_s=30, saying=f"{app.title} is ready")
        yield served


@asynccontextmanager
async def running_service(app: FastAPI, **options: Any) -> AsyncIterator[str]:
    """As `serving_service`: the base URL alone."""
    async with serving_service(app, **options) as served:
        yield served.url
