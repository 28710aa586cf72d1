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
from shared.testing.named_problems import NamedProblems
from shared.testing.waiting import eventually
from shared.tls import client_context
from shared.web.connection import HttpProtocol
from shared.web.quiet_server import QuietServer
from shared.web.sockets import MAX_MESSAGE_BYTES


class PromptServer(QuietServer):
    """Ends at once: looks each tenth of a second would add up over hundreds of tests."""

    drain_look_s = 0.005


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


class Place:
    """An address at which one application after another is served, each from when it is put there."""

    def __init__(self) -> None:
        self.url = ""
        self.app: Any = _nothing

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


async def _nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    raise LookupError("nothing is served here yet")


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    """An address for the length of the block, for applications without a lifespan."""
    opened = Place()
    async with running(opened, lifespan="off") as opened.url:
        yield opened


@asynccontextmanager
async def running(app: Any, **options: Any) -> AsyncIterator[str]:
    """As `serving`: the base URL alone."""
    async with serving(app, **options) as served:
        yield served.url


@asynccontextmanager
async def serving_ready(app: Any, title: str, **options: Any) -> AsyncIterator[Served]:
    """As `serving`, for a service's application in any wrapper; the block begins once its `/readyz` answers 200."""
    async with (
        serving(app, **options) as served,
        httpx2.AsyncClient(base_url=served.url, verify=client_context()) as client,
    ):

        async def ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await eventually(ready, within_s=30, saying=f"{title} is ready")
        yield served


@asynccontextmanager
async def serving_service(app: FastAPI, **options: Any) -> AsyncIterator[Served]:
    """Serve a service's application; the block begins once its `/readyz` answers 200.

    Raises AssertionError at its end for a problem that an operation answered and does not name.
    """
    problems = NamedProblems(app)
    async with serving_ready(problems, app.title, **options) as served:
        yield served
    problems.check()


@asynccontextmanager
async def running_service(app: FastAPI, **options: Any) -> AsyncIterator[str]:
    """As `serving_service`: the base URL alone."""
    async with serving_service(app, **options) as served:
        yield served.url
