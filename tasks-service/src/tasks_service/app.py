"""tasks-service: jobs, run by its worker."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI

from shared.app import Service
from shared.supervision import Work
from shared.web import idempotency_keys
from tasks_service.jobs.api import router as jobs
from tasks_service.jobs.events import JobAccepted, JobCancelled, JobCompleted, JobFailed
from tasks_service.jobs.housekeeping import jobs_house
from tasks_service.notices import Notices
from tasks_service.settings import TasksSettings
from tasks_service.worker.cli import commands as worker


@asynccontextmanager
async def _notices(app: FastAPI) -> AsyncIterator[None]:
    app.state.notices = Notices(app.state.parts.database, TasksSettings.service)
    yield


def _works(app: FastAPI) -> Mapping[str, Work]:
    house = jobs_house(app.state.parts.database, app.state.parts.settings.jobs.kept_days)
    return {"notices": app.state.notices.run, "jobs housekeeping": house.run, **idempotency_keys.works(app)}


service = Service(
    name="tasks",
    package="tasks_service",
    settings=TasksSettings,
    description="Jobs: accepted at once, run by workers, watched live.",
    routers=[jobs],
    publishes=[JobAccepted, JobCompleted, JobFailed, JobCancelled],
    opens=[_notices],
    works=_works,
    commands={"worker": worker},
)
