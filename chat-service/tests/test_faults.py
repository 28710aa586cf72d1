"""What happens to conversations when a part goes: a replica killed, the cache stopped or flushed, PostgreSQL restarted.

These run on servers of their own, with replicas that are processes of their own.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from redis.asyncio import Redis

from chat_service.app import service as chat
from shared.dev.servers.binaries import postgres_binaries
from shared.dev.servers.guard import Guard
from shared.dev.servers.postgres import Postgres
from shared.dev.servers.server import free_port
from shared.dev.servers.valkey import Valkey
from shared.testing import People, eventually
from shared.testing.databases import template
from shared.testing.fakes import FakeAuth, FakeUsers

from .conftest import Members
from .talk import Talk, talk


@dataclass
class Fleet:
    """Servers and replicas that a test may kill."""

    postgres: Postgres
    cache: Valkey
    environment: dict[str, str]
    members: Members
    log: Path
    replicas: list[subprocess.Popen[bytes]] = field(default_factory=list)
    pids: dict[str, int] = field(default_factory=dict)

    async def start_replica(self) -> str:
        """Its base URL, once it is ready."""
        port = free_port()
        with self.log.open("ab") as output:
            process = subprocess.Popen(  # noqa: ASYNC220, S603 - returns at once; our own command line
                [sys.executable, "-m", "chat_service", "serve", "--port", str(port)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.replicas.append(process)
        url = f"http://127.0.0.1:{port}"
        self.pids[url] = process.pid
        async with httpx2.AsyncClient(base_url=url) as client:

            async def ready() -> bool:
                assert process.poll() is None, self.log.read_text()[-4000:]
                try:
                    return (await client.get("/readyz")).status_code == 200
                except httpx2.TransportError:
                    return False

            await eventually(ready, within_s=90, saying="the replica is ready")
        return url

    async def room(self, url: str, maker: str, *others: str) -> str:
        async with httpx2.AsyncClient(base_url=url) as client:
            made = await client.post(
                "/api/v1/rooms", json={"kind": "private", "name": "harbour"}, headers=self.members(maker)
            )
            for other in others:
                path = f"/api/v1/rooms/{made.json()['id']}/members/{self.members.id(other)}"
                assert (await client.put(path, headers=self.members(maker))).status_code == 201
            room_id: str = made.json()["id"]
            return room_id

    async def connect(self, url: str, name: str) -> Talk:
        connection = await talk(url, self.members(name))
        await connection.expect("welcome")
        return connection


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    made = Guard()
    yield made
    made.close()


@asynccontextmanager
async def _started(server: Postgres | Valkey) -> AsyncIterator[None]:
    await server.start()
    try:
        yield
    finally:
        await server.stop()


@pytest.fixture(scope="module")
async def fleet(
    guard: Guard, tmp_path_factory: pytest.TempPathFactory, as_user: People, users: FakeUsers, auth: FakeAuth
) -> AsyncIterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    postgres = Postgres(folder / "postgres", guard, postgres_binaries(), password="for-tests-only")
    cache = Valkey(folder / "cache", guard)
    members = Members(as_user, "harbour-" + uuid4().hex[:6])
    users.add_tenant(members.slug, members.tenant_id)
    for name in ("ann", "bob"):
        users.add_member(members.slug, members.id(name), roles=["user"], username=name)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_started(postgres))
        await stack.enter_async_context(_started(cache))
        made = await stack.enter_async_context(template(postgres.url, chat))
        environment = {
            **os.environ,
            "ENVIRONMENT": "testing",
            "PUBLIC_URL": auth.public_url,
            "DATABASE_URL": made.app_url,
            "DATABASE__NAME": made.name,
            "REDIS_URL": cache.url,
            "IDENTITY__KEY_FILE": str(as_user.key_file("chat")),
            "IDENTITY__TRUST_FILE": str(as_user.trust_file),
            "SERVICES__USERS": users.url,
            "REVOCATIONS__FEEDS": '["users"]',
            "PRESENCE__EXPIRES_S": "3",
            "PRESENCE__GRACE_S": "1",
            "LOG__LEVEL": "WARNING",
        }
        yield Fleet(postgres, cache, environment, members, folder / "replicas.log")


@pytest.fixture(scope="module")
async def replicas(fleet: Fleet) -> AsyncIterator[tuple[str, str]]:
    """Two replicas, each a process; the last test of the module kills the second."""
    one, two = await asyncio.gather(fleet.start_replica(), fleet.start_replica())
    yield one, two
    for process in fleet.replicas:
        process.kill()
        process.wait()


async def say(connection: Talk, room: str, text: str) -> int:
    """Send until it is acknowledged, under one client_id, as a client does while something is away."""
    client_id = uuid4().hex
    while True:
        await connection.say("send", room_id=room, text=text, client_id=client_id, ref=client_id)
        answer = await eventually(
            lambda: next((f for f in connection.heard if f.get("ref") == client_id), None), within_s=15
        )
        assert answer is not None
        connection.heard.remove(answer)
        if answer["type"] == "ack":
            return int(answer["seq"])
        assert answer["code"] == "unavailable"
        await asyncio.sleep(0.1)


async def test_without_the_cache_everything_arrives_once_and_in_order(fleet: Fleet, replicas: tuple[str, str]) -> None:
    one, two = replicas
    room = await fleet.room(one, "ann", "bob")
    ann, bob = await fleet.connect(one, "ann"), await fleet.connect(two, "bob")
    await ann.subscribe(room)
    await bob.subscribe(room)
    await say(ann, room, "with it")
    await fleet.cache.kill()
    for connection in (ann, bob, ann, bob):
        await say(connection, room, "without it")
    for connection in (ann, bob):
        assert await connection.reaches(room, 5) == [1, 2, 3, 4, 5]
    await fleet.cache.start()  # empty: as after FLUSHALL
    await say(ann, room, "with it again")
    await say(bob, room, "with it again")
    client = Redis.from_url(fleet.cache.url)
    await client.flushall()
    await client.aclose()
    await say(ann, room, "flushed")
    for connection in (ann, bob):
        assert await connection.reaches(room, 8) == list(range(1, 9))
        assert [f for f in connection.heard if f["type"] == "user_left"] == []
        await connection.close()


async def test_while_postgresql_restarts_connections_stay(fleet: Fleet, replicas: tuple[str, str]) -> None:
    one, _ = replicas
    room = await fleet.room(one, "ann", "bob")
    ann, bob = await fleet.connect(one, "ann"), await fleet.connect(one, "bob")
    await ann.subscribe(room)
    await bob.subscribe(room)
    await say(ann, room, "before")
    await fleet.postgres.kill()
    await ann.say("send", room_id=room, text="while it is away", client_id="w", ref="w")
    assert (await ann.expect("error", ref="w", within_s=10))["code"] == "unavailable"
    await bob.say("ping")
    await bob.expect("pong")
    waiting = asyncio.create_task(say(ann, room, "sent again until it is stored"))
    await fleet.postgres.start()
    assert await waiting == 2
    for connection in (ann, bob):
        assert await connection.reaches(room, 2) == [1, 2]
        await connection.close()


async def test_a_killed_replica_loses_nothing_and_leaves_no_ghost(fleet: Fleet, replicas: tuple[str, str]) -> None:
    one, two = replicas
    room = await fleet.room(one, "ann", "bob")
    ann, bob = await fleet.connect(one, "ann"), await fleet.connect(two, "bob")
    await ann.subscribe(room)
    epoch = (await bob.subscribe(room))["epoch"]
    await ann.expect("user_joined")
    for number in range(10):
        await say(ann, room, f"{number}")
    before = await bob.reaches(room, 10)
    os.kill(fleet.pids[two], signal.SIGKILL)
    await bob.closed()
    for number in range(10):
        await say(ann, room, f"{number}")
    assert (await ann.expect("user_left", within_s=10))["user"]["username"] == "bob"
    again = await fleet.connect(one, "bob")
    assert (await again.subscribe(room, after=before[-1], epoch=epoch))["recovered"] is True
    await say(again, room, "back")
    assert before + await again.reaches(room, 21) == list(range(1, 22))
    assert await ann.reaches(room, 21) == list(range(1, 22))
    for connection in (ann, bob, again):
        await connection.close()
