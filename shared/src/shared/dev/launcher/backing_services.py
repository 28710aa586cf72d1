"""What the services stand on in development: PostgreSQL, the cache and the bus, embedded or named by a URL."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.dev.launcher.data_folder import DataFolder
from shared.dev.servers.binaries import postgres_binaries, rabbitmq_binary
from shared.dev.servers.guard import Guard
from shared.dev.servers.postgres import Postgres
from shared.dev.servers.rabbitmq import RabbitMQ
from shared.dev.servers.server import HOST, Server, how_it_ended
from shared.dev.servers.valkey import Valkey

LOGIN = "flotilla"
_LOOK_S = 0.5


def login_of(service: str) -> str:
    """The database login of one service; `db create` gives it that service's database and no other."""
    return f"{LOGIN}_{service}"


@dataclass(frozen=True)
class Backing:
    """Where the servers are."""

    database_url: str
    """The server; where it is embedded, without a login: `database_url_for` adds a service's own."""
    database_owner_url: str
    redis_url: str
    bus_url: str
    described: tuple[str, ...]
    """Each server in a few words, for the person at the terminal."""
    servers: Mapping[str, Server]
    """The embedded ones by name (postgres, valkey, bus), for who wants to stop or kill one."""
    folder: DataFolder
    starting: Mapping[str, asyncio.Task[None]]

    async def started(self, *names: str) -> None:
        """Wait until these embedded servers answer (default: all of them). Raises what prevented the start."""
        await asyncio.gather(*(task for name, task in self.starting.items() if not names or name in names))

    def database_url_for(self, service: str) -> str:
        """The server with the service's own login, by which it reaches its own database and no other.

        A server that the environment names has the login that the environment names.
        """
        if "postgres" not in self.servers:
            return self.database_url
        login = f"{login_of(service)}:{self.folder.secret(f'database-{service}')}"
        return self.database_url.replace("://", f"://{login}@")

    async def tell_of_the_dead(self, say: Callable[[str], None]) -> None:
        """Say, once for each, that an embedded server ended by itself; until cancelled. Servers are not restarted."""
        watched = dict(self.servers)
        while watched:
            for name, server in list(watched.items()):
                if (code := server.ended_by_itself) is not None:
                    del watched[name]
                    say(
                        f"{server.name} {how_it_ended(code)} and is not restarted; its log is {server.log_file}. "
                        "To restart it, stop everything with Ctrl-C, then start again."
                    )
            await asyncio.sleep(_LOOK_S)


@asynccontextmanager
async def backing(folder: DataFolder, guard: Guard, environment: Mapping[str, str]) -> AsyncIterator[Backing]:
    """Start what `environment` does not name: all at once, `Backing.started` waits for it; ended with the block.

    DATABASE_URL with DATABASE_OWNER_URL, REDIS_URL, and AMQP_URL or BUS_URL name servers that run already.
    """
    servers = _embedded(folder, guard, environment)
    starting = {name: asyncio.create_task(server.start(), name=name) for name, server in servers.items()}
    try:
        yield _described(folder, servers, environment, starting)
    finally:
        for task in starting.values():
            task.cancel()
        await asyncio.gather(*starting.values(), return_exceptions=True)
        await asyncio.gather(*(server.stop() for server in servers.values()))


def _embedded(folder: DataFolder, guard: Guard, environment: Mapping[str, str]) -> dict[str, Server]:
    servers: dict[str, Server] = {}
    if "DATABASE_URL" not in environment:
        password = folder.secret("postgres")
        servers["postgres"] = Postgres(folder.path / "postgres", guard, postgres_binaries(), password=password)
    if "REDIS_URL" not in environment:
        servers["valkey"] = Valkey(folder.path / "valkey", guard, use="cache")
    if not _named_bus(environment):
        # Each transport keeps its own data, so a machine that gains or loses RabbitMQ mixes up nothing.
        rabbit = environment.get("BUS") != "valkey" and rabbitmq_binary() is not None
        bus = RabbitMQ(folder.path / "rabbitmq", guard) if rabbit else Valkey(folder.path / "bus", guard, use="bus")
        servers["bus"] = bus
    return servers


def _named_bus(environment: Mapping[str, str]) -> str | None:
    return environment.get("BUS_URL") or environment.get("AMQP_URL")


def _described(
    folder: DataFolder,
    servers: Mapping[str, Server],
    environment: Mapping[str, str],
    starting: Mapping[str, asyncio.Task[None]],
) -> Backing:
    described = [
        f"{server.name} {server.version} on port {server.port}{' as bus' if name == 'bus' else ''}"
        for name, server in servers.items()
    ]
    postgres, valkey, bus = (servers.get(name) for name in ("postgres", "valkey", "bus"))
    if postgres is None:
        database_url, owner_url = environment["DATABASE_URL"], environment.get("DATABASE_OWNER_URL", "")
    else:
        database_url = f"postgresql://{HOST}:{postgres.port}"
        owner_url = postgres.url
    return Backing(
        database_url,
        owner_url,
        valkey.url if valkey else environment["REDIS_URL"],
        bus.url if bus else _named_bus(environment) or "",
        tuple(described),
        servers,
        folder,
        starting,
    )
