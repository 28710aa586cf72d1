"""A database server that is there and says nothing any more, as behind a cut network: no error comes by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url

from shared.data.database import Database, Role
from shared.data.prepared import Prepared
from shared.problems import DatabaseUnavailable
from shared.testing.people import People
from shared.testing.running import running_service, serving_service
from shared.testing.waiting import eventually

PATIENCE_S = 20.0


class Wire:
    """Carries bytes to a server and back until it is cut; its connections stay open either way."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.whole = self._new()
        self.cut: list[asyncio.Event] = []
        self.ends: set[asyncio.StreamWriter] = set()

    def replace(self) -> None:
        """Carry bytes again for new connections only, as after a failover of the network."""
        self.cut.append(self.whole)
        self.whole = self._new()

    def end(self) -> None:
        for event in (self.whole, *self.cut):
            event.set()
        for end in self.ends:
            end.close()

    @staticmethod
    def _new() -> asyncio.Event:
        whole = asyncio.Event()
        whole.set()
        return whole

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        self.ends |= {writer, back}
        await asyncio.gather(self._carry(reader, back), self._carry(there, writer), return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        whole = self.whole
        while piece := await reader.read(65536):
            await whole.wait()
            writer.write(piece)
        writer.close()


@asynccontextmanager
async def wired(database_url: str) -> AsyncIterator[tuple[Wire, str]]:
    """A wire to the server of `database_url`, and the URL of its near end."""
    url = make_url(database_url)
    wire = Wire(url.host or "127.0.0.1", url.port or 5432)
    server = await asyncio.start_server(wire.connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield wire, url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    finally:
        server.close()
        wire.end()


@pytest.fixture
def settings_values(settings_values: dict[str, Any]) -> dict[str, Any]:
    return settings_values | {"database": settings_values["database"] | {"statement_timeout_s": 0.5}}


async def test_a_silent_database_is_503_and_comes_back(
    service: Any, settings_values: dict[str, Any], as_user: People
) -> None:
    async with wired(settings_values["database_url"]) as (wire, url):
        app = service.create_app(service.settings(_env_file=None, **settings_values | {"database_url": url}))
        async with (
            running_service(app) as base_url,
            httpx2.AsyncClient(base_url=base_url, timeout=PATIENCE_S) as client,
        ):
            made = await client.post("/pages", json={"title": "a"}, headers=as_user("ann"))
            assert made.status_code == 201

            wire.whole.clear()
            pages, ready = await asyncio.gather(client.get("/pages", headers=as_user("ann")), client.get("/readyz"))
            assert (pages.status_code, pages.json()["code"]) == (503, "database_unavailable")
            assert ready.status_code == 503

            wire.whole.set()
            again = await client.get("/pages", headers=as_user("ann"))
            assert (again.status_code, len(again.json()["items"])) == (200, 1)


async def test_a_prepared_statement_waits_no_longer_and_comes_back(
    service: Any, settings_values: dict[str, Any]
) -> None:
    async with wired(settings_values["database_url"]) as (wire, url):
        database = Database(service.settings(_env_file=None, **settings_values | {"database_url": url}))
        statement = Prepared(select(func.pg_backend_pid()))
        before = await database.first(statement)
        wire.whole.clear()
        with pytest.raises(DatabaseUnavailable):
            await database.first(statement)
        wire.replace()
        after = await database.first(statement)
        assert before is not None
        assert after is not None
        assert after[0] != before[0]
        await database.close()


async def test_connections_that_stay_silent_are_replaced_in_every_pool(
    service: Any, settings_values: dict[str, Any], as_user: People
) -> None:
    async with wired(settings_values["database_url"]) as (wire, url):
        settings = service.settings(_env_file=None, **settings_values | {"database_url": url})
        app = service.create_app(settings, events=False)  # a relay would hold one in the middle of a statement
        async with (
            serving_service(app) as served,
            httpx2.AsyncClient(base_url=served.url, timeout=PATIENCE_S) as client,
        ):
            database = served.resources.get(Database)

            async def use_all(role: Role, connections: int) -> None:
                met = asyncio.Barrier(connections)

                async def use_one() -> None:
                    async with database.transaction(role=role) as db:
                        await db.execute(text("SELECT 1"))
                        await met.wait()

                await asyncio.gather(*(use_one() for _ in range(connections)))

            await use_all("app", 5)
            await use_all("fleet", 2)
            wire.whole.clear()
            assert (await client.get("/readyz")).status_code == 503
            wire.replace()

            async def ready() -> bool:
                return (await client.get("/readyz")).status_code == 200

            await eventually(ready, within_s=PATIENCE_S, saying="the service is ready again")
            async with asyncio.timeout(2):
                await use_all("fleet", 2)
                await use_all("app", 5)
            assert (await client.get("/pages", headers=as_user("ann"))).status_code == 200
