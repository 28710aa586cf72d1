"""Calls between services over real sockets: what comes back, what is an outage, and how long is waited."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from structlog.contextvars import bound_contextvars

from shared.clients import ServiceClient, deadline
from shared.problems import ServiceUnavailable
from shared.telemetry.traces import within
from shared.testing.people import People

Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Callee:
    """A service that answers each request by a script; `heads` are what it was sent."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.answering: Answering = self.plainly(200)
        self.url = ""

    def plainly(self, status: int) -> Answering:
        async def answer(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 %d Said\r\nContent-Length: 2\r\n\r\n{}" % status)

        return answer

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                await self.answering(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest.fixture
async def callee() -> AsyncIterator[Callee]:
    found = Callee()
    server = await asyncio.start_server(found.connected, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield found
    server.close()


@pytest.fixture
def people(tmp_path: Any) -> People:
    return People.made(tmp_path, "users")


@pytest.fixture
async def client(callee: Callee, people: People) -> AsyncIterator[ServiceClient]:
    opened = ServiceClient(callee.url, "users", people.signer("tasks"), timeout_s=0.5)
    yield opened
    await opened.close()


@pytest.mark.parametrize("status", [200, 204, 304, 404, 422])
async def test_what_a_service_decided_comes_back(client: ServiceClient, callee: Callee, status: int) -> None:
    callee.answering = callee.plainly(status)
    assert (await client.call("GET", "/x")).status_code == status


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_service_that_failed_is_unavailable(client: ServiceClient, callee: Callee, status: int) -> None:
    callee.answering = callee.plainly(status)
    with pytest.raises(ServiceUnavailable):
        await client.call("GET", "/x")


async def test_a_service_that_is_not_there_is_unavailable(people: People) -> None:
    client = ServiceClient("http://127.0.0.1:1", "users", people.signer("tasks"))
    with pytest.raises(ServiceUnavailable):
        await client.call("GET", "/x")
    await client.close()


async def test_a_service_that_drips_is_given_up(client: ServiceClient, callee: Callee) -> None:
    """Each piece comes in time, and the whole never does."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 Said\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(300):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.1)

    callee.answering = drip
    async with asyncio.timeout(10):
        with pytest.raises(ServiceUnavailable):
            await client.call("GET", "/x")


async def test_a_call_carries_whose_it_is_and_what_it_belongs_to(client: ServiceClient, callee: Callee) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with bound_contextvars(request_id="mine"), within(trace):
        deadline.set(time.time() + 60)
        await client.call("GET", "/x")
    head = callee.heads[0].lower()
    assert "authorization: bearer ey" in head
    assert "x-request-id: mine" in head
    assert f"traceparent: {trace[:35]}" in head
    assert "x-deadline: " in head
