"""The worker's process and its command line, `python -m tasks_service worker`.

It has the same resources, health and metrics as a service, with a worker instead of an API.
"""

from functools import partial
from typing import Annotated

import typer
from fastapi import FastAPI

from shared.app import Service
from shared.background.listen_notify import Listener
from shared.cli import load_fit, start_process
from shared.clients import Clients
from shared.data.database import Database
from shared.problems import ServiceUnavailable
from shared.process import Process
from shared.server import Server
from shared.web.health import HealthChecks
from tasks_service.jobs.models import CHANNELS
from tasks_service.kinds.registry import available
from tasks_service.settings import TasksSettings
from tasks_service.worker import leases, metrics
from tasks_service.worker.attempt import Tools
from tasks_service.worker.pool.child_pool import ChildPool
from tasks_service.worker.scratch_folder import own_folder
from tasks_service.worker.worker import Worker


async def open_resources(process: Process) -> None:
    settings, database = process.get(TasksSettings), process.get(Database)
    listener = process.add(Listener(database, settings.service, CHANNELS))
    process.loop(listener.listening)
    process.health.before_metrics.append(partial(_refresh_depth, database))
    folder = await process.enter(own_folder())
    children = await process.enter(ChildPool(settings.worker.children).opened())
    tools = Tools(database, process.get(Clients).to("users"), children, settings, folder)
    await process.enter(Worker(tools, listener, available(settings)).working())


async def _refresh_depth(database: Database) -> None:
    try:
        async with database.transaction(role="fleet") as fleet:
            due, waiting, oldest_s = await leases.depth(fleet)
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

commands = typer.Typer(invoke_without_command=True, help="Run jobs until SIGTERM or Ctrl-C; then let them end.")


@commands.callback()
def worker(port: Annotated[int | None, typer.Option(help="Overrides WORKER__PORT.")] = None) -> None:
    """Run jobs until SIGTERM or Ctrl-C; running ones get WORKER__DRAIN_S seconds, the rest go back to the queue."""
    settings = load_fit(worker_service, TasksSettings)
    start_process(worker_service, settings, "tasks-worker")
    health = HealthChecks(worker_service.name)
    Server(worker_app(settings, health), settings, health, port=settings.worker.port if port is None else port).run()
