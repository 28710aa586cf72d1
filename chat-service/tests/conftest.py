"""chat-service on real sockets over PostgreSQL and Valkey: two replicas that share both, for the whole session.

Each test has a tenant of its own, so that nothing which one test does is seen by another.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI

from chat_service.app import service as chat
from chat_service.messages import service as messages
from shared.app import Service
from shared.data.database import Database
from shared.identity.principal import Principal
from shared.resources import Resources
from shared.settings import ServiceSettings
from shared.testing import People, Served, Servers, running_service, serving_service
from shared.testing.databases import Template
from shared.testing.fakes import FakeAuth, FakeUsers
from shared.web.sockets import SocketProtocol

from .talk import Talk, talking

pytest_plugins = ["shared.testing.plugin"]

MakeRoom = Callable[..., Awaitable[str]]
Said = Callable[..., Awaitable[None]]
Talking = Callable[..., AbstractAsyncContextManager[Talk]]


@pytest.fixture(scope="session")
def service() -> Service:
    return chat


@pytest.fixture(scope="session")
async def users(as_user: People) -> AsyncIterator[FakeUsers]:
    async with FakeUsers(as_user).serving() as fake:
        yield fake


@pytest.fixture(scope="session")
async def auth(as_user: People) -> AsyncIterator[FakeAuth]:
    async with FakeAuth(as_user).serving() as fake:
        yield fake


@pytest.fixture(autouse=True)
def keep_contracts(users: FakeUsers, auth: FakeAuth) -> Iterator[None]:
    """The test in which a contract is violated fails, not the last of the session."""
    yield
    users.check()
    auth.check()


@pytest.fixture(scope="session")
async def database_name(template: Template) -> AsyncIterator[str]:
    async with template.cloned() as name:
        yield name


@pytest.fixture(scope="session")
async def cache_url(servers: Servers) -> str:
    return await servers.valkey_url()


@pytest.fixture(scope="session")
async def bus_url(servers: Servers) -> str:
    return await servers.bus_valkey_url()


@pytest.fixture(scope="session")
def settings_values(
    template: Template,
    database_name: str,
    cache_url: str,
    bus_url: str,
    as_user: People,
    users: FakeUsers,
    auth: FakeAuth,
) -> dict[str, Any]:
    """Quick enough for tests: a second's grace, and an end after three for who died; a reader is slow soon."""
    return {
        "environment": "testing",
        "public_url": auth.public_url,
        "database_url": template.app_url,
        "database": {"name": database_name, "pool_size": 5, "fleet_pool_size": 2},
        "redis_url": cache_url,
        "bus_url": bus_url,
        "services": {"users": users.url, "auth": auth.url},
        "identity": {
            "key_file": as_user.key_file("chat"),
            "trust_file": as_user.trust_file,
            "jwks_url": auth.jwks_url,
        },
        "revocations": {"feeds": ("auth", "users"), "interval_s": 0.1},
        "presence": {"grace_s": 1.0, "expires_s": 3.0},
        "socket": {"max_pending_bytes": 64 * 1024, "stalled_s": 2.0, "send_buffer_bytes": 16 * 1024},
    }


@pytest.fixture(scope="session")
def settings(service: Service, settings_values: dict[str, Any]) -> ServiceSettings:
    return service.settings(_env_file=None, **settings_values)


@pytest.fixture(scope="session")
def app(service: Service, settings: ServiceSettings) -> FastAPI:
    return service.create_app(settings)


@pytest.fixture(scope="session")
async def served(app: FastAPI) -> AsyncIterator[Served]:
    """The replica that tests talk to first."""
    async with serving_service(app, ws=SocketProtocol) as running:
        yield running


@pytest.fixture(scope="session")
def base_url(served: Served) -> str:
    return served.url


@pytest.fixture(scope="session")
def resources(served: Served) -> Resources:
    return served.resources


@pytest.fixture(scope="session")
async def second_url(service: Service, settings: ServiceSettings, base_url: str) -> AsyncIterator[str]:
    """Another replica over the same database and cache."""
    async with running_service(service.create_app(settings), ws=SocketProtocol) as url:
        yield url


@pytest.fixture(scope="session")
def database(resources: Resources) -> Database:
    return resources.get(Database)


@dataclass(frozen=True)
class Members:
    """The people of one test's tenant: `members("ann")` are her headers."""

    people: People
    slug: str

    def __call__(self, name: str, **token: Any) -> dict[str, str]:
        return self.people(name, **{"tenant": self.slug, **token})

    def principal(self, name: str, **token: Any) -> Principal:
        return self.people.principal(name, **{"tenant": self.slug, **token})

    def id(self, name: str) -> UUID:
        return self.people.id(name)

    @property
    def tenant_id(self) -> UUID:
        return self.people.tenant_id(self.slug)


@pytest.fixture
def members(as_user: People, users: FakeUsers) -> Members:
    """A tenant with ann, bob, cy and dee."""
    made = Members(as_user, f"acme-{uuid4().hex[:8]}")
    users.add_tenant(made.slug, made.tenant_id)
    for name in ("ann", "bob", "cy", "dee"):
        users.add_member(made.slug, made.id(name), roles=["user"], username=name)
    return made


@pytest.fixture
def make_room(client: httpx2.AsyncClient, members: Members) -> MakeRoom:
    """Makes a room by its maker and adds the others: `await make_room("ann", "bob", kind="private")`; its id."""

    async def make(maker: str, *others: str, kind: str = "private", name: str = "harbour") -> str:
        reply = await client.post("/api/v1/rooms", json={"kind": kind, "name": name}, headers=members(maker))
        assert reply.status_code == 201, reply.text
        room_id: str = reply.json()["id"]
        for other in others:
            path = f"/api/v1/rooms/{room_id}/members/{members.id(other)}"
            assert (await client.put(path, headers=members(maker))).status_code == 201
        return room_id

    return make


@pytest.fixture
def said(database: Database, members: Members) -> Said:
    """Stores messages of ann's in one go, whatever the rate: `await said(room, 120)`."""

    async def store(room_id: str, count: int, text: str = "ahoy") -> None:
        async with database.transaction(members.tenant_id) as db:
            for _ in range(count):
                await messages.send(db, members.principal("ann"), UUID(room_id), text, uuid4().hex)

    return store


@pytest.fixture
def connected(base_url: str, members: Members) -> Talking:
    """Opens a connection as someone: `async with connected("ann") as ann`; elsewhere: `at=second_url`."""

    def open_(name: str, *, at: str | None = None, **token: Any) -> AbstractAsyncContextManager[Talk]:
        return talking(at or base_url, members(name, **token))

    return open_
