"""Calls between services over real sockets: typed answers, refusals, outages, and how long a caller waits."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from structlog.contextvars import bound_contextvars
from structlog.testing import capture_logs

from shared import deadline
from shared.clients import KEEP_ALIVE_S, ServiceClient, UnexpectedAnswer
from shared.problems import ServiceUnavailable
from shared.server import Server
from shared.settings import ServiceSettings
from shared.telemetry.traces import within
from shared.testing.people import People
from shared.web.health import HealthChecks

Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Thing(BaseModel):
    name: str
    size: int


def plainly(status: int, body: bytes = b"{}", content_type: str = "application/json") -> Answering:
    async def answer(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status} Said\r\nContent-Type: {content_type}\r\n"
        head += "\r\n" if status in (204, 304) else f"Content-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + (b"" if status in (204, 304) else body))

    return answer


def refusing(status: int, code: str) -> Answering:
    return plainly(status, orjson.dumps({"code": code, "status": status}), "application/problem+json")


async def closing(writer: asyncio.StreamWriter) -> None:
    """Ends the connection without an answer."""
    writer.close()


class Callee:
    """A service that answers requests by a script; `heads` and `bodies` are what it received."""

    def __init__(self) -> None:
        self.calls_a_connection = 1000
        """After so many answers a connection is closed, in the moment in which the next request arrives."""
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.answering: Answering = plainly(200)
        self.first: list[Answering] = []
        self.url = ""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answered = 0
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                answered += 1
                if answered > self.calls_a_connection:
                    writer.close()
                    return
                length = next(
                    (line[16:] for line in head.split("\r\n") if line.lower().startswith("content-length")), "0"
                )
                self.bodies.append(await reader.readexactly(int(length)))
                await (self.first.pop(0) if self.first else self.answering)(writer)
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


async def test_the_fields_that_the_caller_reads_come_back(client: ServiceClient, callee: Callee) -> None:
    callee.answering = plainly(200, b'{"name": "anchor", "size": 3, "colour": "red"}')
    assert await client.read("/x", Thing, params={"a": "b c"}) == Thing(name="anchor", size=3)
    assert callee.heads[0].startswith("GET /x?a=b+c HTTP/1.1\r\n")


async def test_a_write_carries_its_body(client: ServiceClient, callee: Callee) -> None:
    callee.answering = plainly(201, b'{"name": "rope", "size": 4}')
    assert await client.send("POST", "/x", Thing(name="rope", size=4), Thing) == Thing(name="rope", size=4)
    assert (callee.bodies[0], "content-type: application/json" in callee.heads[0].lower()) == (
        b'{"name":"rope","size":4}',
        True,
    )
    callee.answering = plainly(204)
    await client.send("DELETE", "/x", None)
    assert (callee.heads[1].split(" ")[0], callee.bodies[1]) == ("DELETE", b"")


async def test_an_object_that_does_not_exist_is_none(client: ServiceClient, callee: Callee) -> None:
    callee.answering = refusing(404, "not_found")
    assert await client.read("/x", Thing) is None


async def test_a_404_that_no_service_of_the_fleet_wrote_proves_no_absence(
    client: ServiceClient, callee: Callee
) -> None:
    callee.answering = plainly(404, b"<html>", "text/html")
    with pytest.raises(UnexpectedAnswer) as caught:
        await client.read("/x", Thing)
    assert (caught.value.received_status, caught.value.received_code) == (404, None)


@pytest.mark.parametrize("status", [304, 400, 401, 403, 409, 422, 429])
async def test_a_refusal_is_one_error_that_names_status_and_code(
    client: ServiceClient, callee: Callee, status: int
) -> None:
    callee.answering = refusing(status, "its_reason")
    code = None if status == 304 else "its_reason"
    calls: list[Awaitable[Any]] = [client.read("/x", Thing), client.send("PUT", "/x", None, Thing)]
    for call in [*calls, client.send("DELETE", "/x", None)]:
        with pytest.raises(UnexpectedAnswer) as caught:
            await call
        assert (caught.value.received_status, caught.value.received_code) == (status, code)
        assert caught.value.status == 503


@pytest.mark.parametrize("body", [b"{}", b'{"name": "s3cret", "size": "many"}', b"<html>", b"", b"[]", b"\xff"])
async def test_an_answer_that_does_not_fit_is_logged_and_unavailable(
    client: ServiceClient, callee: Callee, body: bytes
) -> None:
    callee.answering = plainly(200, body)
    with capture_logs() as logs, pytest.raises(UnexpectedAnswer):
        await client.read("/x", Thing)
    assert [(line["event"], line["service"], line["model"]) for line in logs] == [
        ("answer_unreadable", "users", "Thing")
    ]
    assert logs[0]["reasons"]
    assert "s3cret" not in str(logs)


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_service_that_failed_is_unavailable(client: ServiceClient, callee: Callee, status: int) -> None:
    callee.answering = plainly(status)
    calls: list[Awaitable[Any]] = [client.read("/x", Thing), client.send("PUT", "/x", None), _streamed(client)]
    for call in calls:
        with pytest.raises(ServiceUnavailable) as caught:
            await call
        assert type(caught.value) is ServiceUnavailable


async def test_a_service_that_does_not_run_is_unavailable(people: People) -> None:
    client = ServiceClient("http://127.0.0.1:1", "users", people.signer("tasks"))
    with pytest.raises(ServiceUnavailable):
        await client.read("/x", Thing)
    await client.close()


async def test_a_service_that_drips_is_given_up(client: ServiceClient, callee: Callee) -> None:
    """Each piece comes in time, and the whole never does."""
    callee.answering = drip
    async with asyncio.timeout(10):
        with pytest.raises(ServiceUnavailable):
            await client.read("/x", Thing)


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 Said\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(300):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)


async def test_an_idempotent_call_that_met_a_closed_connection_is_repeated(
    client: ServiceClient, callee: Callee
) -> None:
    callee.answering = plainly(200, b'{"name": "rope", "size": 4}')
    for call in (lambda: client.read("/x", Thing), lambda: client.send("PUT", "/x", Thing(name="a", size=1), Thing)):
        callee.first = [closing]
        assert await call() == Thing(name="rope", size=4)
    callee.first = [closing, closing]
    with pytest.raises(ServiceUnavailable):
        await client.read("/x", Thing)
    callee.heads.clear()
    callee.first = [closing]
    with pytest.raises(ServiceUnavailable):
        await client.send("POST", "/x", None, Thing)
    assert len(callee.heads) == 1


async def test_the_repeated_call_takes_a_fresh_connection(client: ServiceClient, callee: Callee) -> None:
    """The service closes all of its idle connections in the moment in which each is used again."""
    callee.answering, callee.calls_a_connection = plainly(200, b'{"name": "rope", "size": 4}'), 1
    for call in (lambda: client.read("/x", Thing), lambda: client.send("PUT", "/x", None, Thing)):
        await asyncio.gather(*(client.read("/x", Thing) for _ in range(4)))
        assert await call() == Thing(name="rope", size=4)
    callee.answering = plainly(200, b"ahoy", "text/plain")
    await asyncio.gather(*(_streamed(client) for _ in range(4)))
    assert await _streamed(client) == b"ahoy"


async def test_a_post_is_not_repeated(client: ServiceClient, callee: Callee) -> None:
    """Whether the service read it before it closed the connection is unknown."""
    callee.answering, callee.calls_a_connection = plainly(204), 1
    await client.send("POST", "/x", None)
    with pytest.raises(ServiceUnavailable):
        await client.send("POST", "/x", None)
    assert len(callee.heads) == 2


def test_a_service_keeps_idle_connections_longer_than_its_clients(people: People) -> None:
    settings = ServiceSettings(_env_file=None, environment="testing")
    server = Server(FastAPI(), settings, HealthChecks("users"))
    assert server.config.timeout_keep_alive > 2 * KEEP_ALIVE_S


async def test_contents_come_in_pieces(client: ServiceClient, callee: Callee) -> None:
    callee.answering = plainly(200, b"ahoy", "text/plain")
    assert await _streamed(client) == b"ahoy"


async def test_contents_that_are_refused_or_break_off_are_an_error(client: ServiceClient, callee: Callee) -> None:
    async def break_off(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 Said\r\nContent-Length: 1000\r\n\r\nhalf")
        writer.close()

    callee.answering = break_off
    with pytest.raises(ServiceUnavailable):
        await _streamed(client)
    callee.answering = refusing(403, "forbidden")
    with pytest.raises(UnexpectedAnswer) as caught:
        await _streamed(client)
    assert (caught.value.received_status, caught.value.received_code) == (403, "forbidden")


async def _streamed(client: ServiceClient) -> bytes:
    async with client.stream("/x") as chunks:
        return b"".join([chunk async for chunk in chunks])


async def test_a_call_carries_its_caller_and_what_it_belongs_to(client: ServiceClient, callee: Callee) -> None:
    callee.answering = plainly(204)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with bound_contextvars(request_id="mine"), within(trace):
        await client.send("DELETE", "/x", None)
    head = callee.heads[0].lower()
    assert "authorization: bearer ey" in head
    assert "x-request-id: mine" in head
    assert f"traceparent: {trace[:35]}" in head


def _deadline_in(head: str) -> float:
    return float(next(line[12:] for line in head.split("\r\n") if line.lower().startswith("x-deadline: ")))


@pytest.mark.parametrize(("around_s", "waits_s"), [(None, 0.5), (60, 0.5), (0.2, 0.2)])
async def test_a_call_names_the_time_until_which_its_caller_waits(
    client: ServiceClient, callee: Callee, around_s: float | None, waits_s: float
) -> None:
    callee.answering = plainly(204)
    deadline.start(around_s)
    began = time.time()
    await client.send("DELETE", "/x", None)
    assert began + waits_s - 0.1 < _deadline_in(callee.heads[0]) <= time.time() + waits_s


async def test_a_call_ends_at_the_deadline_and_none_is_sent_after_it(people: People, callee: Callee) -> None:
    client = ServiceClient(callee.url, "users", people.signer("tasks"), timeout_s=30)
    callee.answering = drip
    async with asyncio.timeout(10):
        for call in (lambda: client.read("/x", Thing), lambda: _streamed(client)):
            with deadline.within(0.2), pytest.raises(ServiceUnavailable):
                await call()
        sent = len(callee.heads)
        with deadline.within(0):
            for call in (lambda: client.read("/x", Thing), lambda: _streamed(client)):
                with pytest.raises(ServiceUnavailable):
                    await call()
        assert len(callee.heads) == sent == 2
    await client.close()


async def test_a_deadline_inside_another_ends_no_later() -> None:
    with deadline.within(1):
        with deadline.within(60):
            assert 0 < (deadline.remaining_s() or 0) <= 1
        with deadline.within(0.1):
            assert 0 < (deadline.remaining_s() or 0) <= 0.1
        assert 0.1 < (deadline.remaining_s() or 0) <= 1
    assert deadline.remaining_s() is None
