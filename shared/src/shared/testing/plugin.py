"""The fixtures. A service's conftest names this plugin and says which service it tests:

pytest_plugins = ["shared.testing.plugin"]

@pytest.fixture(scope="session")
def service() -> Service:
    return chat_service.app.service
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

import httpx2
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from shared.dev.servers.binaries import postgres_binaries
from shared.dev.servers.guard import Guard
from shared.dev.servers.postgres import Postgres
from shared.resources import Resources
from shared.settings import LogSettings, ServiceSettings
from shared.telemetry import logs
from shared.testing import databases
from shared.testing.databases import Template
from shared.testing.people import People
from shared.testing.running import Served, serving_service
from shared.testing.servers import RabbitMQMissing, Servers, open_servers

_USED = pytest.StashKey[Servers]()


def pytest_configure(config: pytest.Config) -> None:
    """Log as services do, so that `caplog` sees the lines that an operator would."""
    logs.configure(LogSettings(), "test")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say which servers the tests ran against, whatever the verbosity."""
    servers = config.stash.get(_USED, None)
    if servers is not None and servers.described:
        terminalreporter.write_line("servers: " + ", ".join(servers.described.values()))


@pytest.fixture(scope="session")
async def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """PostgreSQL, Valkey and RabbitMQ, each started when it is first asked for."""
    async with open_servers(tmp_path_factory.mktemp("servers")) as opened:
        request.config.stash[_USED] = opened
        yield opened


@pytest.fixture(scope="session")
async def postgres_admin_url(servers: Servers) -> str:
    return await servers.postgres_admin_url()


@pytest.fixture
async def own_postgres(tmp_path: Path) -> AsyncIterator[Postgres]:
    """A PostgreSQL that the test may stop and start."""
    guard = Guard()
    server = Postgres(tmp_path / "postgres", guard, postgres_binaries(), password="for-tests-only", durable=False)
    await server.start()
    yield server
    await server.stop()
    guard.close()


@pytest.fixture
async def cache_url(servers: Servers) -> str:
    """The cache, emptied."""
    return await _emptied(await servers.valkey_url())


@pytest.fixture
async def bus_url(servers: Servers) -> str:
    """The bus on Valkey Streams, emptied."""
    return await _emptied(await servers.bus_valkey_url())


async def _emptied(url: str) -> str:
    client = Redis.from_url(url)
    await client.flushdb()
    await client.aclose()
    return url


@pytest.fixture(scope="session")
async def rabbitmq_url(servers: Servers) -> str:
    """RabbitMQ; without one the test is skipped, or fails where REQUIRE_RABBITMQ=1."""
    try:
        return await servers.amqp_url()
    except RabbitMQMissing:
        without_rabbitmq(servers)


def without_rabbitmq(servers: Servers) -> NoReturn:
    """Skip aloud, or fail where REQUIRE_RABBITMQ=1."""
    servers.described["rabbitmq"] = "no RabbitMQ (its tests were skipped; on Debian: apt-get install rabbitmq-server)"
    if os.environ.get("REQUIRE_RABBITMQ") == "1":
        pytest.fail("RabbitMQ is required (REQUIRE_RABBITMQ=1) and not installed")
    pytest.skip("RabbitMQ is not installed")


@pytest.fixture(scope="session")
def service() -> Any:
    """The service under test; a service's conftest overrides it."""
    pytest.fail("this package's conftest has no `service` fixture")


@pytest.fixture(scope="session")
async def template(postgres_admin_url: str, service: databases.Migrated) -> AsyncIterator[Template]:
    async with databases.template(postgres_admin_url, service) as made:
        yield made


@pytest.fixture
async def database_name(template: Template) -> AsyncIterator[str]:
    """A fresh, migrated database of the service's."""
    async with template.cloned() as name:
        yield name


@pytest.fixture(scope="session")
def as_user(service: databases.Migrated, tmp_path_factory: pytest.TempPathFactory) -> People:
    """Makes headers for anyone: as_user("ann", tenant="acme", roles=["admin"])."""
    return People.made(tmp_path_factory.mktemp("identity"), service.name)


@pytest.fixture
def settings_values(
    service: Any, template: Template, database_name: str, cache_url: str, bus_url: str, as_user: People
) -> dict[str, Any]:
    """What `settings` is made from; a conftest overrides it to add sections of its service's own."""
    return {
        "environment": "testing",
        "database_url": template.app_url,
        "database": {"name": database_name, "pool_size": 5, "fleet_pool_size": 2},
        "redis_url": cache_url,
        "bus_url": bus_url,
        "identity": {"key_file": as_user.key_file(service.name), "trust_file": as_user.trust_file},
        "revocations": {"feeds": ()},
    }


@pytest.fixture
def settings(service: Any, settings_values: dict[str, Any]) -> ServiceSettings:
    """Of a service in this process: its request lines go through logging too, where `caplog` sees them."""
    made: ServiceSettings = service.settings(_env_file=None, **{"log": {"format": "console"}} | settings_values)
    return made


@pytest.fixture
def app(service: Any, settings: ServiceSettings) -> FastAPI:
    """The service's application, for `dependency_overrides`; `served` serves it."""
    made: FastAPI = service.create_app(settings)
    return made


@pytest.fixture
async def served(app: FastAPI) -> AsyncIterator[Served]:
    """The service under test on a real socket, ready."""
    async with serving_service(app) as running:
        yield running


@pytest.fixture
def base_url(served: Served) -> str:
    """Where the service under test is served."""
    return served.url


@pytest.fixture
def resources(served: Served) -> Resources:
    """What the process under test has opened."""
    return served.resources


@pytest.fixture
async def client(base_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the service under test; give each request its headers by `as_user`."""
    async with httpx2.AsyncClient(base_url=base_url, timeout=10) as opened:
        yield opened
