"""A fake of users-service, a mail server that speaks SMTP, workers inside the test's loop and as processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx2
import pytest
from aiosmtpd.controller import Controller

from shared.app import Service
from shared.dev.servers.server import free_port
from shared.testing import People, eventually, running_service
from shared.testing.fakes import FakeUsers
from shared.testing.processes import environment
from tasks_service import app as tasks_app
from tasks_service.settings import TasksSettings
from tasks_service.worker.app import worker_app

pytest_plugins = ["shared.testing.plugin"]

ENDED = ("completed", "failed", "cancelled")


@pytest.fixture(scope="session")
def service() -> Service:
    return tasks_app.service


@pytest.fixture
async def users(as_user: People) -> AsyncIterator[FakeUsers]:
    """users-service with ann, bob and cy in acme, gil in globex, all of them admins."""
    async with FakeUsers(as_user).serving() as fake:
        for slug, names in (("acme", ("ann", "bob", "cy")), ("globex", ("gil",))):
            fake.add_tenant(slug, as_user.tenant_id(slug), tier="enterprise")
            for name in names:
                fake.add_member(slug, as_user.id(name), roles=["admin"], username=name)
        yield fake


@dataclass
class Mailbox:
    """What a real SMTP server received; `answer` is what it says to the next recipients, `sender_answer` to senders."""

    port: int = 0
    answer: str = "250 OK"
    sender_answer: str = "250 OK"
    messages: list[Any] = field(default_factory=list)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        envelope.mail_from = address
        return self.sender_answer

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if self.answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.answer

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - as above
        self.messages.append(envelope)
        return "250 OK"


@pytest.fixture
def mailbox() -> Any:
    box = Mailbox(free_port())
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    yield box
    controller.stop(no_assert=True)


WORKER = {
    "children": 1,
    "lease_s": 2,
    "heartbeat_s": 0.3,
    "reap_s": 0.2,
    "poll_s": 0.3,
    "drain_s": 1,
    "backoff_first_s": 0.1,
    "backoff_most_s": 0.3,
    "progress_s": 0.02,
}


@pytest.fixture
def settings_values(settings_values: dict[str, Any], users: FakeUsers) -> dict[str, Any]:
    return {**settings_values, "services": {"users": users.url}, "worker": dict(WORKER), "smtp": {"timeout_s": 3}}


@pytest.fixture
def start_worker(settings_values: dict[str, Any]) -> Callable[..., Any]:
    """`async with start_worker(concurrency=1):` runs a worker in this loop, with settings of its own."""

    @asynccontextmanager
    async def start(**worker: Any) -> AsyncIterator[str]:
        values = {**settings_values, "worker": {**settings_values["worker"], **worker}}
        settings = TasksSettings(_env_file=None, **values)
        async with running_service(worker_app(settings)) as url:
            yield url

    return start


@pytest.fixture
async def worker(start_worker: Callable[..., Any]) -> AsyncIterator[str]:
    """A worker in this loop; its health is at the URL."""
    async with start_worker() as url:
        yield url


@dataclass
class WorkerProcess:
    """`python -m tasks_service worker`, a group of its own."""

    process: asyncio.subprocess.Process
    url: str

    def signal(self, number: signal.Signals) -> None:
        if self.process.returncode is None:
            os.killpg(self.process.pid, number)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self.process.wait()


@pytest.fixture
async def worker_process(settings_values: dict[str, Any]) -> AsyncIterator[Callable[..., Awaitable[WorkerProcess]]]:
    """Starts worker processes: `await worker_process(lease_s=1)`; what still runs at the end is killed."""
    started: list[WorkerProcess] = []

    async def start(**worker: Any) -> WorkerProcess:
        port = free_port()
        env = {**os.environ, **environment({**settings_values, "worker": {**settings_values["worker"], **worker}})}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tasks_service", "worker", "--port", str(port), env=env, start_new_session=True
        )
        started.append(WorkerProcess(process, f"http://127.0.0.1:{port}"))
        async with httpx2.AsyncClient(base_url=started[-1].url) as client:
            await eventually(lambda: _ready(client), within_s=60, every_s=0.1, saying="the worker is ready")
        return started[-1]

    yield start
    for one in started:
        await one.kill()


async def _ready(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx2.TransportError:
        return False


@dataclass
class Jobs:
    """The API as a person uses it. `sign` makes the headers of each request: a token is as short as the gateway's."""

    client: httpx2.AsyncClient
    sign: Callable[[], dict[str, str]]

    @property
    def headers(self) -> dict[str, str]:
        return self.sign()

    async def submit(self, kind: str, given: dict[str, Any], **more: Any) -> dict[str, Any]:
        reply = await self.client.post(
            "/api/v1/jobs", json={"kind": kind, "input": given, **more}, headers=self.headers
        )
        assert reply.status_code == 202, reply.text
        return self._dict(reply)

    async def wait(self, seconds: float = 0.1, steps: int = 1, **more: Any) -> dict[str, Any]:
        return await self.submit("wait", {"seconds": seconds, "steps": steps}, **more)

    async def read(self, job: dict[str, Any]) -> dict[str, Any]:
        reply = await self.client.get(f"/api/v1/jobs/{job['id']}", headers=self.headers)
        assert reply.status_code == 200, reply.text
        return self._dict(reply)

    async def becomes(self, job: dict[str, Any], *statuses: str, within_s: float = 30) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            found = await self.read(job)
            return found if found["status"] in statuses else None

        found = await eventually(look, within_s=within_s, saying=f"the job becomes {statuses}")
        return found or {}

    async def ended(self, job: dict[str, Any], within_s: float = 30) -> dict[str, Any]:
        return await self.becomes(job, *ENDED, within_s=within_s)

    async def result(self, job: dict[str, Any]) -> dict[str, Any]:
        reply = await self.client.get(f"/api/v1/jobs/{job['id']}/result", headers=self.headers)
        assert reply.status_code == 200, reply.text
        return self._dict(reply)

    async def post(self, job: dict[str, Any], verb: str) -> httpx2.Response:
        return await self.client.post(f"/api/v1/jobs/{job['id']}/{verb}", headers=self.headers)

    @staticmethod
    def _dict(reply: httpx2.Response) -> dict[str, Any]:
        found: dict[str, Any] = reply.json()
        return found


@pytest.fixture
def jobs_of(client: httpx2.AsyncClient) -> Callable[[Callable[[], dict[str, str]]], Jobs]:
    """The API as the person uses it whose headers the given function signs."""
    return lambda sign: Jobs(client, sign)


@pytest.fixture
def jobs(jobs_of: Callable[[Callable[[], dict[str, str]]], Jobs], as_user: People) -> Jobs:
    """Ann's jobs; she is an admin of acme."""
    return jobs_of(lambda: as_user("ann", roles=["admin"]))


@pytest.fixture
async def database(postgres_admin_url: str, database_name: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """The tests' own look into the database, as its administrator."""
    connection = await asyncpg.connect(f"{postgres_admin_url}/{database_name}")
    yield connection
    await connection.close()
