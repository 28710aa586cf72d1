"""What this process opens beside the shared resources: the listener that wakes the watchers of jobs."""

from shared.background.listen_notify import Listener
from shared.data.database import Database
from shared.events import tenant_erasure
from shared.process import Process
from shared.web import idempotency_keys
from tasks_service.jobs.maintenance import jobs_maintenance
from tasks_service.jobs.models import CHANNELS
from tasks_service.settings import TasksSettings


async def open_resources(process: Process) -> None:
    settings, database = process.get(TasksSettings), process.get(Database)
    listener = process.add(Listener(database, settings.service, CHANNELS))
    process.loop(listener.listening)
    process.loop(jobs_maintenance(database, settings.jobs.kept_days))
    process.loop(idempotency_keys.pruning(database))
    process.loop(tenant_erasure.erasing(database))
