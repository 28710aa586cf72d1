"""The gateway on a real socket, in front of services whose public paths a test's handler serves."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import httpx2
import orjson
import pytest

from gateway.app import Gateway, open_gateway
from gateway.edge.server import EdgeServer, bound_sockets
from gateway.settings import GatewaySettings
from shared.dev.servers.guard import Guard
from shared.dev.servers.valkey import Valkey
from shared.identity import Principal
from shared.identity.access_tokens import sign_access_token
from shared.identity.keys import SigningKey
from shared.testing.fakes import Answers, Fake, FakeAuth, FakeUsers
from shared.testing.people import People
from shared.testing.running import PromptServer, running
from shared.testing.waiting import eventually

pytest_plugins = ["shared.testing.plugin"]

PUBLIC_URL = "http://localhost:8000"

App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]


async def read_body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body


async def reply(send: Any, status: int, body: bytes = b"", headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    start = {"type": "http.response.start", "status": status}
    await send({**start, "headers": [(b"content-length", b"%d" % len(body)), *headers]})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Responds with the request that arrived, as JSON."""
    body = await read_body(receive)
    seen = {
        "method": scope["method"],
        "raw_path": scope["raw_path"].decode(),
        "query": scope["query_string"].decode(),
        "headers": [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": body.decode("latin-1"),
    }
    await reply(send, 200, orjson.dumps(seen), [(b"content-type", b"application/json")])


@dataclass
class Upstream:
    """The public paths of every service: `handler` serves them."""

    handler: App = echo
    calls: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls += 1
        await self.handler(scope, receive, send)


@asynccontextmanager
async def serving(fake: Fake, upstream: Upstream) -> AsyncIterator[None]:
    """Serve what the gateway itself asks the service by its fake, and clients' paths by `upstream`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        own = scope["path"].startswith("/internal/") or scope["path"] == "/oauth2/jwks.json"
        await (fake if own else upstream)(scope, receive, send)

    async with running(app, lifespan="off") as fake.url:
        yield
    fake.check()


@dataclass(frozen=True)
class Edge:
    """A running gateway."""

    url: str
    gateway: Gateway
    server: EdgeServer

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People.made(tmp_path_factory.mktemp("identity"), "gateway")


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
async def auth(people: People, upstream: Upstream) -> AsyncIterator[FakeAuth]:
    fake = FakeAuth(people, PUBLIC_URL)
    async with serving(fake, upstream):
        yield fake


@pytest.fixture
async def users(people: People, upstream: Upstream) -> AsyncIterator[FakeUsers]:
    fake = FakeUsers(people)
    async with serving(fake, upstream):
        yield fake


class FakeChat(Fake):
    """Only its document: what else a client asks of it is the upstream's."""

    service = "chat"

    def answers(self) -> Mapping[str, Answers]:
        return {}


class FakeTasks(FakeChat):
    service = "tasks"


@pytest.fixture
async def chat(people: People, upstream: Upstream) -> AsyncIterator[FakeChat]:
    fake = FakeChat(people)
    async with serving(fake, upstream):
        yield fake


@pytest.fixture
async def tasks(people: People, upstream: Upstream) -> AsyncIterator[FakeTasks]:
    fake = FakeTasks(people)
    async with serving(fake, upstream):
        yield fake


@pytest.fixture
def services(auth: FakeAuth, users: FakeUsers, chat: FakeChat, tasks: FakeTasks) -> dict[str, str]:
    """The URL of each service."""
    return {fake.service: fake.url for fake in (auth, users, chat, tasks)}


@pytest.fixture
async def upstream_url(upstream: Upstream) -> AsyncIterator[str]:
    async with running(upstream, lifespan="off") as url:
        yield url


OpenEdge: TypeAlias = Callable[..., Awaitable[Edge]]


@pytest.fixture
def edge_values(services: dict[str, str], auth: FakeAuth, people: People, cache_url: str) -> dict[str, Any]:
    """What a gateway's settings are made from."""
    return {
        "environment": "testing",
        "public_url": PUBLIC_URL,
        "redis_url": cache_url,
        "services": services,
        "identity": {
            "key_file": people.key_file("gateway"),
            "trust_file": people.trust_file,
            "jwks_url": auth.jwks_url,
        },
        "revocations": {"feeds": ("auth", "users"), "interval_s": 0.05},
        "log": {"level": "ERROR"},
    }


@pytest.fixture
async def open_edge(edge_values: dict[str, Any]) -> AsyncIterator[OpenEdge]:
    """Starts gateways; keyword arguments replace settings. `upstreams` see what clients send, and no other request."""
    async with AsyncExitStack() as stack:

        async def opened(**changes: Any) -> Edge:
            values = edge_values | changes
            ready = changes.pop("wait_until_ready", True)
            values.pop("wait_until_ready", None)
            return await stack.enter_async_context(_running(GatewaySettings(_env_file=None, **values), ready))

        yield opened


class _PromptEdge(EdgeServer, PromptServer):
    """The gateway's server, which shuts down without uvicorn's polling delays."""


@asynccontextmanager
async def _running(settings: GatewaySettings, wait_until_ready: bool) -> AsyncIterator[Edge]:
    async with open_gateway(settings) as gateway:
        sockets = bound_sockets("127.0.0.1", 0, both_loopbacks=False)
        server = _PromptEdge(gateway.edge, 2, gateway.drain)
        task = asyncio.create_task(server.serve(sockets))
        edge = Edge(f"http://127.0.0.1:{sockets[0].getsockname()[1]}", gateway, server)
        async with httpx2.AsyncClient(base_url=edge.url) as client:

            async def ready() -> bool:
                wanted = "/readyz" if wait_until_ready else "/livez"
                return server.started and (await client.get(wanted)).status_code == 200

            await eventually(ready, saying="the gateway is ready")
        cache = gateway.limiter.connection
        await eventually(lambda: cache is None or cache.connected, saying="the cache is connected")
        try:
            yield edge
        finally:
            server.should_exit = True
            await task


@pytest.fixture
async def edge(open_edge: OpenEdge) -> Edge:
    return await open_edge()


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=edge.url, timeout=10) as opened:
        yield opened


@dataclass(frozen=True)
class SignIn:
    """Signs access tokens as auth-service does: sign_in("ann", tenant="acme", scopes=[…])."""

    people: People
    key: SigningKey

    def principal(self, name: str, **about: Any) -> Principal:
        return replace(self.people.principal(name, **about), issuer=PUBLIC_URL)

    def token(self, principal: Principal, **changes: Any) -> str:
        claims = principal.to_claims() | changes.pop("claims", {})
        frame: dict[str, Any] = {"issuer": PUBLIC_URL, "audience": PUBLIC_URL, "now": int(time.time())}
        return sign_access_token(claims, changes.pop("key", self.key), **(frame | changes))

    def __call__(self, name: str, **about: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(self.principal(name, **about))}"}


@pytest.fixture
def sign_in(people: People, auth: FakeAuth) -> SignIn:
    return SignIn(people, auth.key)


@pytest.fixture
async def own_cache(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A cache that the test may stop."""
    guard = Guard()
    cache = Valkey(tmp_path / "cache", guard)
    await cache.start()
    yield cache
    await cache.stop()
    guard.close()


@dataclass(frozen=True)
class RawResponse:
    """The bytes that the gateway sent on a plain socket until it closed."""

    data: bytes

    @property
    def status(self) -> int:
        return int(self.data.split(b" ", 2)[1])

    @property
    def head(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[0].lower()

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]


Raw: TypeAlias = Callable[[bytes], Awaitable[RawResponse]]


@pytest.fixture
def raw(edge: Edge) -> Raw:
    """Sends bytes unchanged and reads until the gateway closes; the request needs `Connection: close`."""

    async def exchange(data: bytes) -> RawResponse:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            try:
                writer.write(data)
                await writer.drain()
                return RawResponse(await reader.read())
            finally:
                writer.close()

    return exchange


Script: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
RawUpstream: TypeAlias = Callable[[Script], Awaitable[str]]


@pytest.fixture
async def raw_upstream() -> AsyncIterator[RawUpstream]:
    """Starts an upstream that reads and writes bytes by a script; returns its URL."""
    async with AsyncExitStack() as stack:

        async def start(script: Script) -> str:
            async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    await script(reader, writer)
                finally:
                    writer.close()

            server = await asyncio.start_server(connected, "127.0.0.1", 0)
            stack.callback(server.close)
            return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

        yield start


@pytest.fixture
def helpers() -> Any:
    """`read_body` and `reply`, for handlers of upstreams."""

    class Helpers:
        read_body = staticmethod(read_body)
        reply = staticmethod(reply)

    return Helpers
