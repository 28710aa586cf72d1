"""How tests hurt the fleet: processes and servers that die, and what they wait for until all is well again."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import asyncpg
import httpx2

from shared.dev.launcher.child_process import Child
from shared.dev.launcher.running_fleet import Fleet
from shared.dev.servers.postgres import Postgres
from shared.testing import eventually

COMES_BACK_S = 30


def crash(child: Child) -> None:
    """What `kill -9` does."""
    child.signal(signal.SIGKILL)


@contextmanager
def paused(child: Child) -> Iterator[None]:
    """The fleet while a process answers nothing; what it was asked meanwhile it does afterwards."""
    child.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        child.signal(signal.SIGCONT)


async def runs_anew(child: Child, before: int | None) -> None:
    """Wait until another process than `before` has taken the child's place."""
    await eventually(lambda: child.pid not in (None, before), within_s=COMES_BACK_S, saying=f"{child.name} runs again")


def lives(fleet: Fleet) -> Mapping[str, tuple[int | None, int]]:
    """Which process each name is, and how often it was started again: equal before and after where none died."""
    return {name: (child.pid, child.restarts) for name, child in fleet.children.items()}


async def is_ready(child: Child) -> bool:
    return await _not_ready(child) is None


async def unready(fleet: Fleet) -> Mapping[str, str]:
    """What each process that is not ready says instead; empty when all are."""
    asked = {name: child for name, child in fleet.children.items() if child.command.url}
    said = await asyncio.gather(*map(_not_ready, asked.values()))
    return {name: why for name, why in zip(asked, said, strict=True) if why is not None}


async def _not_ready(child: Child) -> str | None:
    async with httpx2.AsyncClient(timeout=15) as http:  # a busy machine is slow, and not unready
        try:
            reply = await http.get(f"{child.command.url}/readyz")
        except httpx2.TransportError as error:
            return repr(error)
    return None if reply.status_code == 200 else reply.text


@asynccontextmanager
async def deaf(fleet: Fleet, how: str) -> AsyncIterator[None]:
    """The fleet while its processes hear no NOTIFY: their connections for it are `cut` again and again, or `silent`."""
    if how == "cut":
        cutting = asyncio.create_task(_keep_cutting(fleet))
        yield
        cutting.cancel()
        await asyncio.wait([cutting])
        return
    found = await _listeners(fleet)
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in found:
            os.kill(pid, signal.SIGCONT)


async def _keep_cutting(fleet: Fleet) -> None:
    while True:
        await _listeners(fleet, "pg_terminate_backend(pid)")


async def _listeners(fleet: Fleet, what: str = "pid") -> list[int]:
    """The processes of PostgreSQL that serve a LISTEN connection; or what a function of each returns."""
    postgres = fleet.backing.servers["postgres"]
    assert isinstance(postgres, Postgres)
    connection = await asyncpg.connect(f"{postgres.url}/postgres")
    try:
        asked = f"SELECT {what} FROM pg_stat_activity WHERE application_name LIKE 'flotilla-%-listen'"  # noqa: S608
        return [row[0] for row in await connection.fetch(asked)]
    finally:
        await connection.close()


@asynccontextmanager
async def without(fleet: Fleet, server: str) -> AsyncIterator[None]:
    """The fleet while one of its servers (postgres, valkey, bus) is stopped."""
    held = fleet.backing.servers[server]
    await held.stop()
    try:
        yield
    finally:
        await held.start()
