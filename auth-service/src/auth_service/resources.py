"""What this process opens beside the shared resources: the keyring, the key it signs with, the password hashing."""

from auth_service.accounts.passwords import Passwords
from auth_service.keyring import Keyring
from auth_service.mails.sender import MailSender
from auth_service.mails.service import Queued
from auth_service.maintenance import maintenance
from auth_service.settings import AuthSettings
from auth_service.signing_keys.active_key import ActiveKey
from shared.clients import Clients
from shared.data.database import Database
from shared.identity.revocation_feed import RevocationFeed
from shared.process import Process


async def open_resources(process: Process) -> None:
    """Raises MissingSetting, KeyringInvalid or OSError when there is no encryption key: nothing works without it."""
    settings, database = process.get(AuthSettings), process.get(Database)
    keyring = process.add(Keyring.load(settings.keys))
    active_key = process.add(ActiveKey(database, keyring))
    process.health.required["signing_key"] = active_key.check
    process.loop(active_key.reloading)
    passwords = Passwords(settings.passwords)
    process.add_closing(passwords, passwords.close)
    feed = process.add(RevocationFeed(database, settings.service))
    process.run("revocation feed", feed.run)
    process.health.on_drain.append(feed.end)
    mails = MailSender(database, keyring, settings.smtp)
    database.listen(Queued, mails.sending.wake)
    process.loop(mails.sending)
    process.loop(maintenance(database, process.get(Clients).to("users"), settings))
