"""The fixtures. A service's conftest names this plugin and says which service it tests:

pytest_plugins = ["shared.testing.plugin"]

@pytest.fixture(scope="session")
def service() -> Service:
    return chat_service.app.service
"""

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

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
from shared.testing.commands import Commands, commands_of
from shared.testing.databases import Template
from shared.testing.people import People
from shared.testing.reuse import Forget, ReusedProcess, needs_own_process
from shared.testing.running import Served, serving_service
from shared.testing.servers import RabbitMQMissing, Servers, open_servers
from shared.tls import client_context

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
async def bus_url(servers: Servers, reused: ReusedProcess | None) -> str:
    """The bus on Valkey Streams, emptied; the reused process has another one, which keeps its bindings."""
    url = await servers.bus_valkey_url()
    return await _emptied(url) if reused is None else urlsplit(url)._replace(path="/1").geturl()


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


@pytest.fixture(scope="session")
def reuses_process() -> bool:
    """Whether the tests of the service share one process (reuse.py); a conftest says so by overriding it."""
    return False


@pytest.fixture(scope="session")
def forget() -> Forget:
    """Drops what a process remembers of a test beyond its database; a conftest overrides it."""
    return lambda resources: None


@pytest.fixture(scope="session")
async def reused_process(service: Any, template: Template, forget: Forget) -> AsyncIterator[ReusedProcess]:
    process = ReusedProcess(service, template, forget)
    yield process
    await process.close()


@pytest.fixture
async def reused(
    request: pytest.FixtureRequest, reuses_process: bool, reused_process: ReusedProcess
) -> AsyncIterator[ReusedProcess | None]:
    """The process that the test shares with others; None where it gets a database and a process of its own."""
    if not reuses_process or needs_own_process(request):
        yield None
    else:
        yield reused_process
        await reused_process.reset()


@pytest.fixture
async def database_name(template: Template, reused: ReusedProcess | None) -> AsyncIterator[str]:
    """A migrated database of the service's, with the rows of the template."""
    if reused is not None:
        yield await reused.database_name()
    else:
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
        "services_timeout_s": 30,  # a busy machine is not an outage: fakes say when they are down
    }


@pytest.fixture
def settings(service: Any, settings_values: dict[str, Any], reused: ReusedProcess | None) -> ServiceSettings:
    """Of a service in this process: its request lines go through logging too, where `caplog` sees them."""

    def made(values: Mapping[str, Any]) -> ServiceSettings:
        found: ServiceSettings = service.settings(_env_file=None, **{"log": {"format": "console"}, **values})
        return found

    return made(settings_values) if reused is None else reused.settings(settings_values, made)


@pytest.fixture
def app(service: Any, settings: ServiceSettings, reused: ReusedProcess | None) -> FastAPI:
    """The service's application; `served` serves it."""
    made: FastAPI = service.create_app(settings) if reused is None else reused.app(settings)
    return made


@pytest.fixture
async def served(app: FastAPI, reused: ReusedProcess | None) -> AsyncIterator[Served]:
    """The service under test on a real socket, ready."""
    if reused is not None:
        yield await reused.served(app)
    else:
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


@pytest.fixture(scope="session")
async def commands(service: Any) -> AsyncIterator[Commands]:
    """The service's command line."""
    async with commands_of(service.package) as opened:
        yield opened


@pytest.fixture
async def client(base_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the service under test; give each request its headers by `as_user`."""
    async with httpx2.AsyncClient(base_url=base_url, timeout=10, verify=client_context()) as opened:
        yield opened
