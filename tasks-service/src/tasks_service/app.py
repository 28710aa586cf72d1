"""tasks-service: jobs, run by its worker."""

from shared.app import Service
from shared.events.tenant_erasure import handlers
from tasks_service.jobs.api import router as jobs
from tasks_service.jobs.events import JobAccepted, JobCancelled, JobCompleted, JobFailed
from tasks_service.resources import open_resources
from tasks_service.scopes import SCOPES
from tasks_service.settings import TasksSettings
from tasks_service.worker.app import commands as worker

service = Service(
    name="tasks",
    package="tasks_service",
    settings=TasksSettings,
    description="Jobs: accepted at once, run by workers, watched live.",
    routers=[jobs],
    scopes=SCOPES,
    handlers=handlers,
    publishes=[JobAccepted, JobCompleted, JobFailed, JobCancelled],
    open=open_resources,
    commands={"worker": worker},
)
