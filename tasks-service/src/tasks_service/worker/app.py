"""The worker's process: the same parts, health and metrics as a service, with a worker instead of an API."""

from functools import partial

from fastapi import FastAPI

from shared.app import Service
from shared.clients import Clients
from shared.data.database import Database
from shared.problems import ServiceUnavailable
from shared.process import Process
from shared.web.health import HealthChecks
from tasks_service.kinds.registry import available
from tasks_service.notices import Notices
from tasks_service.settings import TasksSettings
from tasks_service.worker import metrics, queue
from tasks_service.worker.attempt import Means
from tasks_service.worker.children import Children
from tasks_service.worker.folder import own_folder
from tasks_service.worker.worker import Worker


async def open_resources(process: Process) -> None:
    settings, database = process.get(TasksSettings), process.get(Database)
    notices = process.add(Notices(database, settings.service))
    process.run("notices", notices.run)
    process.health.before_metrics.append(partial(_refresh_depth, database))
    folder = await process.enter(own_folder())
    children = await process.enter(Children(settings.worker.children).opened())
    means = Means(database, process.get(Clients).to("users"), children, settings, folder)
    await process.enter(Worker(means, notices, available(settings)).working())


async def _refresh_depth(database: Database) -> None:
    try:
        async with database.transaction(role="fleet") as fleet:
            due, waiting, oldest_s = await queue.depth(fleet)
    except ServiceUnavailable:
        return  # the last values stand; the database's own check reports that it is unavailable
    metrics.DUE.set(due)
    metrics.WAITING.set(waiting)
    metrics.OLDEST_DUE.set(oldest_s)


def worker_app(settings: TasksSettings, health: HealthChecks | None = None) -> FastAPI:
    """The worker's application. A worker that hangs inside a transaction must not hold its rows past its leases."""
    idle_s = min(settings.database.idle_in_transaction_timeout_s, settings.worker.lease_s / 3)
    database = settings.database.model_copy(update={"idle_in_transaction_timeout_s": idle_s})
    return worker_service.create_app(settings.model_copy(update={"database": database}), health=health)


worker_service = Service(
    name="tasks",
    package="tasks_service",
    settings=TasksSettings,
    description="The worker of tasks-service.",
    open=open_resources,
)
