"""tasks-service: jobs, run by its worker."""

from shared.app import Service
from shared.data.database import Database
from shared.process import Process
from shared.web import idempotency_keys
from tasks_service.jobs.api import router as jobs
from tasks_service.jobs.events import JobAccepted, JobCancelled, JobCompleted, JobFailed
from tasks_service.jobs.maintenance import jobs_maintenance
from tasks_service.notices import Notices
from tasks_service.scopes import SCOPES
from tasks_service.settings import TasksSettings
from tasks_service.worker.cli import commands as worker


async def open_resources(process: Process) -> None:
    settings, database = process.get(TasksSettings), process.get(Database)
    process.run("notices", process.add(Notices(database, settings.service)).run)
    process.loop(jobs_maintenance(database, settings.jobs.kept_days))
    process.loop(idempotency_keys.pruning(database))


service = Service(
    name="tasks",
    package="tasks_service",
    settings=TasksSettings,
    description="Jobs: accepted at once, run by workers, watched live.",
    routers=[jobs],
    scopes=SCOPES,
    publishes=[JobAccepted, JobCompleted, JobFailed, JobCancelled],
    open=open_resources,
    commands={"worker": worker},
)
