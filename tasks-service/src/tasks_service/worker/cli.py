"""The worker's command line: `python -m tasks_service worker`."""

from typing import Annotated

import typer

from shared.cli import load_fit, start_process
from shared.server import Server
from shared.web.health import HealthChecks
from tasks_service.settings import TasksSettings
from tasks_service.worker.app import worker_app, worker_service

commands = typer.Typer(invoke_without_command=True, help="Run jobs until SIGTERM or Ctrl-C; then let them end.")


@commands.callback()
def worker(port: Annotated[int | None, typer.Option(help="Instead of WORKER__PORT.")] = None) -> None:
    """Run jobs until SIGTERM or Ctrl-C; running ones get WORKER__DRAIN_S seconds, the rest go back to the queue."""
    settings = load_fit(worker_service, TasksSettings)
    start_process(worker_service, settings, "tasks-worker")
    health = HealthChecks(worker_service.name)
    Server(worker_app(settings, health), settings, health, port=settings.worker.port if port is None else port).run()
