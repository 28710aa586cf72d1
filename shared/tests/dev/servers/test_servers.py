"""The embedded servers: where they run, what they refuse, and what survives."""

import os
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from shared.dev.servers import privileges
from shared.dev.servers.binaries import BinaryMissing, postgres_binaries
from shared.dev.servers.guard import Guard
from shared.dev.servers.postgres import OtherMajor, Postgres
from shared.dev.servers.server import ServerFailed
from shared.dev.servers.valkey import Valkey

PASSWORD = "for-tests-only"


def postgres(folder: Path, guard: Guard, *, port: int | None = None, durable: bool = False) -> Postgres:
    return Postgres(folder, guard, postgres_binaries(), password=PASSWORD, port=port, durable=durable)


async def test_postgres_keeps_its_data_over_a_crash(tmp_path: Path, guard: Guard) -> None:
    server = postgres(tmp_path / "a private folder", guard, durable=True)
    await server.start()
    connection = await asyncpg.connect(server.url, database="postgres")
    await connection.execute("CREATE TABLE kept (n int)")
    await connection.close()
    await server.kill()
    await server.start()
    connection = await asyncpg.connect(server.url, database="postgres")
    assert await connection.fetchval("SELECT count(*) FROM kept") == 0
    assert await connection.fetchval("SHOW listen_addresses") == "127.0.0.1"
    assert await connection.fetchval("SHOW unix_socket_directories") == ""
    await connection.close()
    await server.stop()


async def test_a_number_left_by_a_crash_does_not_stop_postgres(tmp_path: Path, guard: Guard) -> None:
    server = postgres(tmp_path / "pg", guard)
    await server.start()
    await server.stop()
    (tmp_path / "pg/data/postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path}\n0\n5432\n\n127.0.0.1\n")
    await server.start()
    assert await server.answers()
    await server.stop()


async def test_data_of_another_major_is_never_opened(tmp_path: Path, guard: Guard) -> None:
    data = tmp_path / "pg" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(OtherMajor, match="make reset"):
        await postgres(tmp_path / "pg", guard).start()
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


async def test_a_half_made_cluster_is_made_anew(tmp_path: Path, guard: Guard) -> None:
    half = tmp_path / "pg" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server = postgres(tmp_path / "pg", guard)
    await server.start()
    await server.stop()


async def test_a_server_that_cannot_start_says_why(tmp_path: Path, guard: Guard) -> None:
    first = Valkey(tmp_path / "one", guard)
    await first.start()
    with pytest.raises(ServerFailed, match=r"(?i)address already in use"):
        await postgres(tmp_path / "pg", guard, port=first.port).start()
    await first.stop()


async def test_the_bus_keeps_what_it_confirmed_and_the_cache_does_not(tmp_path: Path, guard: Guard) -> None:
    for use, kept in (("bus", b"value"), ("cache", None)):
        server = Valkey(tmp_path / use, guard, use="bus" if use == "bus" else "cache")
        await server.start()
        client = Redis.from_url(server.url)
        await client.set("key", "value")
        await client.aclose()
        await server.kill()
        await server.start()
        assert await client.get("key") == kept
        await client.aclose()
        await server.stop()


def test_a_folder_without_postgres_is_named(tmp_path: Path) -> None:
    with pytest.raises(BinaryMissing, match=str(tmp_path)):
        postgres_binaries(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become nobody")
async def test_without_user_namespaces_postgres_runs_as_nobody(
    tmp_path: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privileges, "user_namespaces", lambda: False)
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    server = postgres(folder, guard)
    try:
        await server.start()
        assert await server.answers()
        await server.stop()
        assert not (folder / "data").exists()  # nobody could not have reached it
    finally:
        privileges.remove_outside(folder)
    assert not privileges.outside_folder(folder).exists()
