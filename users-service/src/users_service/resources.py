"""What this process opens beside the shared resources: the storage of files, and the sweeper of what it holds."""

from shared.data.database import Database
from shared.identity.revocation_feed import RevocationFeed
from shared.process import Process
from shared.web import idempotency_keys
from users_service.activity import maintenance as activity
from users_service.files.maintenance import sweeping
from users_service.files.storage import Storage
from users_service.invitations import maintenance as invitations
from users_service.settings import UsersSettings
from users_service.tenant_deletion.maintenance import erasing


async def open_resources(process: Process) -> None:
    settings, database = process.get(UsersSettings), process.get(Database)
    storage = process.add(Storage(settings.storage_url))
    process.health.others["storage"] = storage.check
    feed = process.add(RevocationFeed(database, settings.service))
    process.run("revocation feed", feed.run)
    process.health.on_drain.append(feed.end)
    process.loop(sweeping(database, storage, settings.files.sweep_interval_s))
    process.loop(idempotency_keys.pruning(database))
    process.loop(invitations.pruning(database))
    process.loop(erasing(database, settings.deletion.sweep_interval_s))
    process.loop(activity.pruning(database, settings.activity.keep_days))
