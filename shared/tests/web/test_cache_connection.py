"""The pipelined connection to the cache: replies in order, and no call that waits for a lost connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.dev.servers.guard import Guard
from shared.dev.servers.valkey import Valkey
from shared.limits.connection import CacheAddress, CacheError, CacheRefused, CacheUnavailable, PipelinedConnection
from shared.testing.waiting import eventually


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[PipelinedConnection]:
    connection = PipelinedConnection(url)
    running = asyncio.create_task(connection.run())
    await eventually(lambda: connection.connected, saying="the cache is connected")
    try:
        yield connection
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def own_cache(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A cache that the test may stop."""
    guard = Guard()
    cache = Valkey(tmp_path / "cache", guard)
    await cache.start()
    yield cache
    await cache.stop()
    guard.close()


async def test_calls_of_one_turn_get_their_replies_in_order(cache_url: str) -> None:
    with pytest.raises(CacheUnavailable):
        PipelinedConnection(cache_url).call("PING")
    async with connected(cache_url) as connection:
        replies = await asyncio.gather(*(connection.call("ECHO", str(number)) for number in range(1000)))
        assert replies == [str(number).encode() for number in range(1000)]
        with pytest.raises(CacheRefused, match="unknown command"):
            await connection.call("NO")
        assert await connection.call("PING") == b"PONG"


async def test_a_call_at_the_moment_the_connection_ends_fails_at_once(
    own_cache: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many requests may run between the end of a connection and the task that opens the next one."""
    async with connected(own_cache.url) as connection:
        pipeline, refused = connection._pipeline, asyncio.Event()
        assert pipeline is not None
        ends = pipeline.connection_lost

        def ends_under_a_request(exc: Exception | None) -> None:
            ends(exc)
            with pytest.raises(CacheUnavailable):
                connection.call("PING")
            refused.set()

        monkeypatch.setattr(pipeline, "connection_lost", ends_under_a_request)
        await own_cache.stop()
        async with asyncio.timeout(10):
            await refused.wait()


async def test_a_lost_connection_is_opened_again(own_cache: Valkey) -> None:
    async with connected(own_cache.url) as connection:
        await own_cache.stop()
        await eventually(lambda: not connection.connected)
        await own_cache.start()
        await eventually(lambda: connection.connected)
        assert await connection.call("PING") == b"PONG"


async def test_a_cache_that_stops_answering_is_given_up_within_the_deadline(own_cache: Valkey) -> None:
    async with connected(own_cache.url) as connection:
        loop = asyncio.get_running_loop()
        paused = connection.call("CLIENT", "PAUSE", "60000")
        assert await paused == b"OK"
        began = loop.time()
        with pytest.raises(CacheError):
            await connection.call("PING")
        assert loop.time() - began < 1


def test_the_address_is_read_from_a_url() -> None:
    address = CacheAddress.from_url("rediss://me:p%40ss@cache.example:7000/3")
    assert (address.host, address.port, address.tls) == ("cache.example", 7000, True)
    assert address.greeting() == [("AUTH", "me", "p@ss"), ("SELECT", 3)]
    assert "p@ss" not in repr(address)
