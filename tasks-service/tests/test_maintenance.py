"""What is forgotten, and when: old ended jobs with all that hangs on them, whoever's they are; nothing else."""

from typing import Any

import pytest

from shared.background import Progress
from shared.data.database import Database
from shared.testing import People, eventually, running_service
from tasks_service.app import service
from tasks_service.jobs import maintenance
from tasks_service.settings import TasksSettings


@pytest.fixture
async def opened(settings: TasksSettings) -> Any:
    made = Database(settings)
    yield made
    await made.close()


async def _age(database: Any, job: dict[str, Any], days: float) -> None:
    """Everything about the job happened so many days earlier."""
    await database.execute(
        "UPDATE jobs SET created_at = created_at - $2 * interval '1 day', run_at = run_at - $2 * interval '1 day',"
        " finished_at = finished_at - $2 * interval '1 day' WHERE id = $1",
        job["id"],
        days,
    )


async def test_jobs_that_ended_long_ago_are_forgotten_and_others_are_not(
    jobs: Any, jobs_of: Any, as_user: People, database: Any, opened: Database
) -> None:
    theirs = jobs_of(lambda: as_user("gil", tenant="globex"))
    old, recent, waiting, other = await jobs.wait(), await jobs.wait(), await jobs.wait(), await theirs.wait()
    for owner, job in ((jobs, old), (jobs, recent), (theirs, other)):
        assert (await owner.post(job, "cancel")).status_code == 202
    for job, days in ((old, 30.1), (recent, 29.9), (waiting, 300), (other, 31)):
        await _age(database, job, days)
    assert await maintenance.forget(opened, 30) is Progress.IDLE
    assert await _ids(database, "SELECT id FROM jobs") == {recent["id"], waiting["id"]}
    assert await _ids(database, "SELECT job_id FROM job_events") == {recent["id"]}
    gone = await jobs.client.get(f"/api/v1/jobs/{old['id']}", headers=jobs.headers)
    assert (gone.status_code, gone.json()["code"]) == (404, "job_not_found")


async def _ids(database: Any, query: str) -> set[str]:
    return {str(row[0]) for row in await database.fetch(query)}


async def test_a_job_taken_up_again_at_that_moment_stays(jobs: Any, database: Any, opened: Database) -> None:
    job = await jobs.wait()
    await jobs.post(job, "cancel")
    await _age(database, job, 40)
    async with database.transaction():
        await database.execute("SELECT FROM jobs FOR UPDATE")
        assert await maintenance.forget(opened, 30) is Progress.IDLE
    assert (await jobs.post(job, "retry")).status_code == 202
    assert await maintenance.forget(opened, 30) is Progress.IDLE
    assert (await jobs.read(job))["status"] == "pending"


async def test_the_service_forgets_batch_by_batch(
    jobs: Any, database: Any, settings_values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "AT_ONCE", 2)
    for job in [await jobs.wait() for _ in range(5)]:
        await jobs.post(job, "cancel")
        await _age(database, job, 2)
    mine = TasksSettings(_env_file=None, **settings_values, jobs={"kept_days": 1})
    async with running_service(service.create_app(mine)):
        await eventually(lambda: _none(database), saying="all five are forgotten")


async def _none(database: Any) -> bool:
    return await database.fetchval("SELECT count(*) FROM jobs") == 0
