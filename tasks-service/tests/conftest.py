"""A users-service and a mail server that speak the contract, workers inside the test's loop and as processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest
from aiosmtpd.controller import Controller
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from shared.app import Service
from shared.dev.servers.server import free_port
from shared.identity import InternalVerifier, Principal, watch_trust
from shared.identity.tokens import read_header
from shared.ids import new_id
from shared.problems import InvalidToken
from shared.testing import People, eventually, running, running_service
from tasks_service import app as tasks_app
from tasks_service.settings import TasksSettings
from tasks_service.worker.app import worker_app

pytest_plugins = ["shared.testing.plugin"]

ENDED = ("completed", "failed", "cancelled")


@pytest.fixture(scope="session")
def service() -> Service:
    return tasks_app.service


@dataclass
class Users:
    """users-service as tasks-service sees it: memberships for services, files for people with files:read."""

    verifier: InternalVerifier
    url: str = ""
    roles: dict[UUID, list[str] | None] = field(default_factory=dict)
    suspended: set[UUID] = field(default_factory=set)
    files: dict[UUID, tuple[UUID, str, str, bytes]] = field(default_factory=dict)
    away: bool = False
    seen: list[Principal] = field(default_factory=list)

    def add_file(self, owner: UUID, name: str, content: bytes, content_type: str = "text/csv") -> str:
        file_id = new_id()
        self.files[file_id] = (owner, name, content_type, content)
        return str(file_id)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def check(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
            if self.away:
                return Response(status_code=503)
            token = request.headers["authorization"].removeprefix("Bearer ")
            try:
                request.state.caller = self.verifier.verify(token, read_header(token))
            except InvalidToken:
                return Response(status_code=401)
            return await call_next(request)

        @app.get("/internal/memberships/{tenant_id}/{user_id}")
        async def membership(tenant_id: UUID, user_id: UUID, request: Request) -> Any:
            assert request.state.caller.name == "tasks"
            roles = self.roles.get(user_id, ["admin"])
            if roles is None:
                return _problem(404)
            status = "suspended" if tenant_id in self.suspended else "active"
            tenant = {"id": tenant_id, "slug": "acme", "name": "Acme", "tier": "enterprise", "status": status}
            return {"user_id": user_id, "username": "ann", "tenant": tenant, "roles": roles, "status": "active"}

        @app.get("/api/v1/files/{file_id}")
        async def about(file_id: UUID, request: Request) -> Any:
            found = self._file(file_id, request)
            if isinstance(found, int):
                return _problem(found)
            owner, name, content_type, content = found
            return {
                "id": file_id,
                "name": name,
                "content_type": content_type,
                "size_bytes": len(content),
                "owner_id": owner,
            }

        @app.get("/api/v1/files/{file_id}/content")
        async def content(file_id: UUID, request: Request) -> Response:
            found = self._file(file_id, request)
            return _problem(found) if isinstance(found, int) else Response(found[3], media_type=found[2])

        return app

    def _file(self, file_id: UUID, request: Request) -> int | tuple[UUID, str, str, bytes]:
        person = request.state.caller
        assert isinstance(person, Principal)
        self.seen.append(person)
        if "files:read" not in person.scopes:
            return 403
        found = self.files.get(file_id)
        return found if found and found[0] == person.user_id else 404


def _problem(status: int) -> Response:
    return JSONResponse({"code": "refused"}, status, media_type="application/problem+json")


@pytest.fixture
async def users(as_user: People) -> AsyncIterator[Users]:
    trust = watch_trust(as_user.trust_file, development=True)
    fake = Users(InternalVerifier("users", trust.current))
    async with running(fake.app(), lifespan="off") as url:
        fake.url = url
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
def settings_values(settings_values: dict[str, Any], users: Users) -> dict[str, Any]:
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
        env = {**os.environ, **_environment({**settings_values, "worker": {**settings_values["worker"], **worker}})}
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


def _environment(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _environment(value, f"{prefix}{name}__")
        elif not isinstance(value, tuple):
            found[f"{prefix}{name}".upper()] = str(value)
    return found


@dataclass
class Jobs:
    """The API as a person uses it."""

    client: httpx2.AsyncClient
    headers: dict[str, str]

    async def submit(self, kind: str, given: dict[str, Any], **more: Any) -> dict[str, Any]:
        reply = await self.client.post(
            "/api/v1/jobs", json={"kind": kind, "input": given, **more}, headers=self.headers
        )
        assert reply.status_code == 202, reply.text
        return self._dict(reply)

    async def wait(self, seconds: float = 0.1, steps: int = 1, **more: Any) -> dict[str, Any]:
        return await self.submit("wait", {"seconds": seconds, "steps": steps}, **more)

    async def read(self, job: dict[str, Any]) -> dict[str, Any]:
        return self._dict(await self.client.get(f"/api/v1/jobs/{job['id']}", headers=self.headers))

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
def jobs_of(client: httpx2.AsyncClient) -> Callable[[dict[str, str]], Jobs]:
    """The API as the person of those headers uses it."""
    return lambda headers: Jobs(client, headers)


@pytest.fixture
def jobs(jobs_of: Callable[[dict[str, str]], Jobs], as_user: People) -> Jobs:
    """Ann's jobs; she is an admin of acme."""
    return jobs_of(as_user("ann", roles=["admin"]))


@pytest.fixture
async def database(postgres_admin_url: str, database_name: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """The tests' own look into the database, as its administrator."""
    connection = await asyncpg.connect(f"{postgres_admin_url}/{database_name}")
    yield connection
    await connection.close()
