"""Worker processes killed, stopped and drained, and a PostgreSQL that goes away: nothing is lost or done twice."""

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shared.dev.servers.postgres import Postgres
from shared.testing import People, databases, eventually, running_service
from tasks_service.app import service
from tasks_service.settings import TasksSettings


async def _ended_once(jobs: Any, submitted: list[dict[str, Any]], database: Any, within_s: float) -> list[Any]:
    ended = await asyncio.gather(*(jobs.ended(job, within_s=within_s) for job in submitted))
    assert {job["status"] for job in ended} == {"completed"}, [job["error"] for job in ended]
    ends = await database.fetch("SELECT subject, count(*) FROM outbox WHERE type = 'job.completed.v1' GROUP BY subject")
    assert [row["count"] for row in ends] == [1] * len(submitted)
    told = await database.fetch("SELECT job_id, count(*) FROM job_events WHERE name = 'completed' GROUP BY job_id")
    assert [row["count"] for row in told] == [1] * len(submitted)
    return list(ended)


async def test_a_worker_killed_with_twenty_jobs_running_loses_none(
    worker_process: Any, start_worker: Any, jobs: Any, database: Any
) -> None:
    first = await worker_process()
    submitted = await asyncio.gather(*(jobs.wait(3, steps=4) for _ in range(20)))
    running = "SELECT count(*) = 20 FROM jobs WHERE status = 'running'"
    await eventually(lambda: database.fetchval(running), saying="twenty jobs run")
    await first.kill()
    async with start_worker(lease_s=10):
        ended = await _ended_once(jobs, submitted, database, within_s=30)
    assert {job["attempt"] for job in ended} == {2}


async def test_a_worker_that_wakes_after_its_lease_writes_nothing(
    worker_process: Any, start_worker: Any, jobs: Any, database: Any
) -> None:
    """The lease outlasts a pause of the machine, and the jobs outlast the time until the signal arrives."""
    zombie = await worker_process(lease_s=8)
    submitted = await asyncio.gather(*(jobs.wait(15, steps=30) for _ in range(5)))
    running = "SELECT count(*) = 5 FROM jobs WHERE status = 'running'"
    await eventually(lambda: database.fetchval(running), saying="five jobs run")
    zombie.signal(signal.SIGSTOP)
    async with start_worker(lease_s=10):
        await asyncio.gather(*(jobs.becomes(job, "completed", within_s=120) for job in submitted))
    before = await database.fetch("SELECT * FROM jobs ORDER BY id")
    events = await database.fetchval("SELECT count(*) FROM job_events")
    zombie.signal(signal.SIGCONT)

    async def let_go() -> bool:
        """At least five: on a busy machine a late heartbeat may have lost a lease before."""
        lost = re.search(r'outcome="lost"} (\d+)', await _metrics(zombie.url))
        return lost is not None and int(lost[1]) >= 5

    await eventually(let_go, within_s=30, every_s=0.1, saying="the zombie has lost its five leases")
    assert await database.fetch("SELECT * FROM jobs ORDER BY id") == before
    assert await database.fetchval("SELECT count(*) FROM job_events") == events
    await _ended_once(jobs, submitted, database, within_s=1)


async def _metrics(url: str) -> str:
    async with httpx2.AsyncClient(timeout=30) as client:
        return (await client.get(f"{url}/metrics")).text


async def test_a_worker_removes_what_the_dead_left_and_nothing_else(
    start_worker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container the dead worker was process 1, as the new one is."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    other = "something-else"
    for folder in (tmp_path / "flotilla-worker-1-left", tmp_path / other):
        folder.mkdir()
        (folder / "file-1").write_bytes(b"copied")
        os.utime(folder, (0, 0))
    async with start_worker():
        [alive] = _names(tmp_path) - {other}
        assert alive != "flotilla-worker-1-left"
        os.utime(tmp_path / alive, (0, 0))
        async with start_worker():
            assert alive in _names(tmp_path)
    assert _names(tmp_path) == {other}


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_a_stopped_worker_lets_jobs_end_and_gives_the_rest_back(
    worker_process: Any, start_worker: Any, jobs: Any, database: Any
) -> None:
    first = await worker_process(drain_s=2)
    short, long = await jobs.wait(0.5), await jobs.wait(4)
    await asyncio.gather(jobs.becomes(short, "running", "completed"), jobs.becomes(long, "running"))
    first.signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        await first.process.wait()
    assert ((await jobs.read(short))["status"], (await jobs.read(long))["status"]) == ("completed", "pending")
    assert (await jobs.read(long))["max_attempts"] == 4  # an attempt that was given back is not used up
    async with start_worker():
        done = await jobs.ended(long, within_s=60)
    assert (done["status"], done["attempt"]) == ("completed", 2)


async def test_a_job_whose_worker_dies_every_time_fails_in_the_end(
    worker_process: Any, start_worker: Any, jobs: Any, database: Any
) -> None:
    job = await jobs.wait(60)
    await database.execute("UPDATE jobs SET max_attempts = 1")
    first = await worker_process(lease_s=0.6, heartbeat_s=0.2)
    await jobs.becomes(job, "running")
    await first.kill()
    async with start_worker():
        found = await jobs.ended(job)
    assert (found["status"], found["error"]["code"]) == ("failed", "lease_expired")


@pytest.fixture
def restartable(
    own_postgres: Postgres, settings_values: dict[str, Any], jobs_of: Callable[..., Any], as_user: People
) -> Any:
    @asynccontextmanager
    async def start() -> AsyncIterator[Any]:
        async with databases.template(own_postgres.url, service) as made, made.cloned() as name:
            settings_values["database_url"] = made.app_url
            settings_values["database"] = {**settings_values["database"], "name": name}
            app = service.create_app(TasksSettings(_env_file=None, **settings_values))
            async with running_service(app) as url, httpx2.AsyncClient(base_url=url, timeout=10) as client:
                mine = jobs_of(lambda: as_user("ann", roles=["admin"]))
                mine.client = client
                yield mine

    return start


async def test_postgresql_restarts_and_nobody_else_has_to(
    own_postgres: Postgres, restartable: Any, worker_process: Any
) -> None:
    async with restartable() as jobs:
        process = await worker_process(lease_s=10, heartbeat_s=1)
        submitted = [await jobs.wait(2, steps=20) for _ in range(5)]
        await asyncio.gather(*(jobs.becomes(job, "running") for job in submitted))
        names: list[str] = []
        stream = asyncio.create_task(_watch(jobs, submitted[0], names))
        await eventually(lambda: len(names) > 1, saying="the stream is open")
        await own_postgres.stop()
        away = await jobs.client.get("/api/v1/jobs", headers=jobs.headers)
        assert (away.status_code, away.json()["code"]) == (503, "database_unavailable")
        assert away.headers["retry-after"]
        await own_postgres.start()
        ended = [await _ended_over_the_outage(jobs, job) for job in submitted]
        assert {(job["status"], job["attempt"]) for job in ended} == {("completed", 1)}
        async with asyncio.timeout(30):
            await stream
        assert names[-1] == "completed"
        assert (await jobs.ended(await jobs.wait()))["status"] == "completed"
        assert process.process.returncode is None


async def _ended_over_the_outage(jobs: Any, job: dict[str, Any]) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        reply = await jobs.client.get(f"/api/v1/jobs/{job['id']}", headers=jobs.headers)
        assert reply.status_code in (200, 503)
        found: dict[str, Any] = reply.json()
        return found if found.get("finished_at") else None

    return await eventually(look, within_s=60) or {}


async def _watch(jobs: Any, job: dict[str, Any], names: list[str]) -> None:
    async with jobs.client.stream("GET", f"/api/v1/jobs/{job['id']}/events", headers=jobs.headers, timeout=30) as reply:
        async for line in reply.aiter_lines():
            if line.startswith("event: "):
                names.append(line.removeprefix("event: "))  # noqa: PERF401 - read while it grows
