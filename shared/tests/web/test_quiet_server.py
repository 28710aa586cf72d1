"""An idle server sleeps, and ends at once when it is asked to."""

import asyncio
from typing import Any

import httpx2
import pytest
import uvicorn

from shared.testing import eventually
from shared.web.quiet_server import QuietServer


class Counting(QuietServer):
    ticks = 0

    async def on_tick(self, counter: int) -> bool:
        self.ticks += 1
        return await super().on_tick(counter)


async def answer(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def test_it_looks_once_a_second_and_ends_between_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.web.quiet_server._TICK_S", 3600)
    server = Counting(uvicorn.Config(answer, port=0, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        reply = await client.get("/")
    assert (reply.status_code, "date" in reply.headers) == (204, True)
    assert server.ticks == 1
    server.should_exit = True
    async with asyncio.timeout(10):
        await serving
    assert server.ticks == 2
