"""The worker's process: the same parts, health and metrics as a service, with a worker instead of an API."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI

from shared.app import Service
from shared.parts import Parts
from shared.problems import ServiceUnavailable
from shared.supervision import Work
from tasks_service.kinds.registry import available
from tasks_service.notices import Notices
from tasks_service.settings import TasksSettings
from tasks_service.worker import metrics, queue
from tasks_service.worker.attempt import Means
from tasks_service.worker.children import Children
from tasks_service.worker.folder import own_folder
from tasks_service.worker.worker import Worker


@asynccontextmanager
async def _worker(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    settings: TasksSettings = app.state.parts.settings
    notices = app.state.notices = Notices(parts.database, TasksSettings.service)
    app.state.refresh_metrics.append(lambda: _refresh_depth(parts))
    with own_folder() as folder:
        async with Children(settings.worker.children).opened() as children:
            means = Means(parts.database, parts.client("users"), children, settings, folder)
            async with Worker(means, notices, available(settings)).working():
                yield


def _works(app: FastAPI) -> Mapping[str, Work]:
    return {"notices": app.state.notices.run}


async def _refresh_depth(parts: Parts) -> None:
    try:
        async with parts.database.transaction(role="fleet") as fleet:
            due, waiting, oldest_s = await queue.depth(fleet)
    except ServiceUnavailable:
        return  # the last values stand; the database's own check says that it is away
    metrics.DUE.set(due)
    metrics.WAITING.set(waiting)
    metrics.OLDEST_DUE.set(oldest_s)


def worker_app(settings: TasksSettings) -> FastAPI:
    """The worker's application. A worker that hangs inside a transaction must not hold its rows past its leases."""
    idle_s = min(settings.database.idle_in_transaction_timeout_s, settings.worker.lease_s / 3)
    database = settings.database.model_copy(update={"idle_in_transaction_timeout_s": idle_s})
    return worker_service.create_app(settings.model_copy(update={"database": database}))


worker_service = Service(
    name="tasks",
    package="tasks_service",
    settings=TasksSettings,
    description="The worker of tasks-service.",
    opens=[_worker],
    works=_works,
)
