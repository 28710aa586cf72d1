"""A request's deadline, as a service reads it from a real socket and passes it on."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from shared import deadline
from shared.settings import LogSettings
from shared.telemetry.request_log import RequestLog
from shared.testing.running import running
from shared.web.requests import RequestContext


@dataclass
class Worker:
    """An application that records how much time each request leaves it."""

    left: list[float | None] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.left.append(deadline.remaining_s())
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
async def client(worker: Worker) -> AsyncIterator[httpx2.AsyncClient]:
    app = RequestContext(worker, log=RequestLog(LogSettings(), "probe"))
    async with running(app, lifespan="off") as url, httpx2.AsyncClient(base_url=url) as opened:
        yield opened


async def test_a_request_has_the_time_that_its_header_leaves(client: httpx2.AsyncClient, worker: Worker) -> None:
    assert (await client.get("/", headers={deadline.HEADER: deadline.header(5)})).status_code == 204
    assert 4 < (worker.left[0] or 0) <= 5


async def test_the_next_request_of_a_connection_has_a_deadline_of_its_own(
    client: httpx2.AsyncClient, worker: Worker
) -> None:
    await client.get("/", headers={deadline.HEADER: deadline.header(5)})
    await client.get("/")
    assert worker.left[1] is None


async def test_a_request_that_comes_too_late_is_answered_without_work(
    client: httpx2.AsyncClient, worker: Worker
) -> None:
    reply = await client.get("/late", headers={deadline.HEADER: deadline.header(-6)})
    assert (reply.status_code, reply.json()["code"]) == (504, "upstream_timeout")
    assert reply.json()["request_id"] == reply.headers["x-request-id"]
    assert worker.left == []


async def test_a_deadline_far_away_is_cut(client: httpx2.AsyncClient, worker: Worker) -> None:
    await client.get("/", headers={deadline.HEADER: deadline.header(10 * deadline.MAX_S)})
    assert deadline.MAX_S - 5 < (worker.left[0] or 0) <= deadline.MAX_S


async def test_a_deadline_that_passed_within_the_difference_of_two_clocks_proves_nothing(
    client: httpx2.AsyncClient, worker: Worker
) -> None:
    assert (await client.get("/", headers={deadline.HEADER: deadline.header(-2)})).status_code == 204
    assert worker.left == [None]


@pytest.mark.parametrize("value", ["", "soon", "-1", "+9", "1e9", "inf", "nan", "0x10", "1.", "1" * 13, "1,2"])
async def test_an_invalid_value_is_no_deadline(client: httpx2.AsyncClient, worker: Worker, value: str) -> None:
    assert (await client.get("/", headers={deadline.HEADER: value})).status_code == 204
    assert worker.left == [None]
