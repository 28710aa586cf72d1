"""Brokers that a test may kill, and a publishing and a consuming service with a database each."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.data.database import Database
from shared.dev.servers.binaries import rabbitmq_binary
from shared.dev.servers.guard import Guard
from shared.dev.servers.rabbitmq import RabbitMQ
from shared.dev.servers.server import Server
from shared.dev.servers.valkey import Valkey
from shared.events.bus import Bus
from shared.events.rabbit import RabbitBus
from shared.events.valkey_streams import ValkeyBus
from shared.settings import ServiceSettings
from shared.testing import databases
from shared.testing.plugin import without_rabbitmq
from shared.testing.servers import Servers

_FIRST = """
from alembic import op
from shared.data.policies import enable_tenancy
from shared.events.migration import create_event_tables, index_parked_events

revision, down_revision = "0001", None


def upgrade():
    create_event_tables(op)
    index_parked_events(op)
    op.execute("CREATE TABLE effects (tenant_id uuid NOT NULL, note text NOT NULL,"
        " CONSTRAINT uq_effects_note UNIQUE (tenant_id, note) DEFERRABLE INITIALLY DEFERRED)")
    enable_tenancy(op, "effects", service="events")
"""


@dataclass(frozen=True)
class Broker:
    """One real broker: its server, and a way to open buses on it."""

    transport: str
    server: Server
    bus: Callable[[], Bus]

    def freeze(self) -> None:
        self.server.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.server.signal(signal.SIGCONT)

    async def settled(self) -> None:
        """Wait until the broker may be killed.

        A quorum queue declared in the second before a crash of RabbitMQ 3.10 can come back without a leader, for good;
        nothing that a client sees tells when that is over.
        """
        if self.transport == "rabbitmq":
            await asyncio.sleep(2)


@pytest.fixture(scope="session")
def guard() -> Iterator[Guard]:
    made = Guard()
    yield made
    made.close()


@pytest.fixture(scope="session", params=["valkey", "rabbitmq"])
async def broker(
    request: pytest.FixtureRequest, guard: Guard, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Broker]:
    """A broker of the tests' own, which they may kill; what uses it runs against each transport."""
    folder = tmp_path_factory.mktemp(request.param)
    server: Server
    if request.param == "rabbitmq":
        if rabbitmq_binary() is None:
            without_rabbitmq(servers)
        server = RabbitMQ(folder, guard)
        made = Broker(request.param, server, lambda: RabbitBus(server.url))
    else:
        server = Valkey(folder, guard, use="bus")
        made = Broker(request.param, server, lambda: ValkeyBus(server.url, claim_after_s=0.5))
    await server.start()
    yield made
    await server.stop()


@pytest.fixture
async def bus(broker: Broker) -> AsyncIterator[Bus]:
    """A bus on the broker. What the test let go of is collected on another thread, where a connection that was never
    closed can only complain: as in a service, whose threads hash, sniff and import."""
    made = broker.bus()
    yield made
    await made.close()
    await asyncio.to_thread(gc.collect)


@dataclass(frozen=True)
class _Migrated:
    name: str
    migrations: Path


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> _Migrated:
    folder = tmp_path_factory.mktemp("migrations")
    (folder / "versions").mkdir()
    (folder / "env.py").write_text("from shared.data.migrations import run\n\nrun()\n")
    (folder / "script.py.mako").write_text("")
    (folder / "versions" / "0001_first.py").write_text(_FIRST)
    return _Migrated("events", folder)


class EventsSettings(ServiceSettings):
    service = "events"


MakeSettings = Callable[..., EventsSettings]
OpenDatabase = Callable[..., Any]


@pytest.fixture
def make_settings(template: databases.Template) -> MakeSettings:
    """Settings for the database of that name; `limits` are its section's."""

    def made(name: str, *, limits: dict[str, Any] | None = None, **values: Any) -> EventsSettings:
        section = {"name": name, "pool_size": 5, **(limits or {})}
        return EventsSettings(
            _env_file=None, environment="testing", database_url=template.app_url, database=section, **values
        )

    return made


@pytest.fixture
def open_database(template: databases.Template, make_settings: MakeSettings) -> OpenDatabase:
    """`async with open_database() as database`: a fresh one; `open_database(name)`: more pools on that one."""

    @asynccontextmanager
    async def opened(name: str | None = None, **limits: Any) -> AsyncIterator[Database]:
        if name is None:
            async with template.cloned() as fresh, opened(fresh, **limits) as database:
                yield database
            return
        database = Database(make_settings(name, limits=limits))
        try:
            yield database
        finally:
            await database.close()

    return opened


@pytest.fixture
async def database(open_database: OpenDatabase) -> AsyncIterator[Database]:
    async with open_database() as made:
        yield made
