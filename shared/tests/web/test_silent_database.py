"""A database server that is there and says nothing any more, as behind a cut network: no error comes by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from sqlalchemy.engine import make_url

from shared.testing.people import People
from shared.testing.running import running_service

PATIENCE_S = 20.0


class Wire:
    """Carries bytes to a server and back until it is cut; its connections stay open either way."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.whole = asyncio.Event()
        self.whole.set()
        self.ends: set[asyncio.StreamWriter] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        self.ends |= {writer, back}
        await asyncio.gather(self._carry(reader, back), self._carry(there, writer), return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            await self.whole.wait()
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
        wire.whole.set()
        server.close()
        for end in wire.ends:
            end.close()


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
