"""SIGTERM reaches what waits inside a process: it ends at once, and its request is answered."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from fastapi import FastAPI

from shared.server import Server
from shared.settings import ServiceSettings
from shared.testing import eventually
from shared.web.health import HealthChecks


@contextmanager
def surviving(sig: signal.Signals) -> Iterator[None]:
    """uvicorn raises the signal again once it has stopped; here that would end the tests."""
    before = signal.signal(sig, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(sig, before)


async def test_a_request_that_waits_is_answered_when_the_process_is_asked_to_stop() -> None:
    health, app, waiting, over = HealthChecks("shared"), FastAPI(), asyncio.Event(), asyncio.Event()
    health.on_drain.append(over.set)

    @app.get("/waits")
    async def waits() -> bool:
        waiting.set()
        await over.wait()
        return health.draining

    server = Server(app, ServiceSettings(_env_file=None, environment="testing"), health, port=0)
    with surviving(signal.SIGTERM):
        serving = asyncio.create_task(server.serve())
        await eventually(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            answer = asyncio.ensure_future(client.get("/waits"))
            await waiting.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            assert (await answer).json() is True
        await serving
