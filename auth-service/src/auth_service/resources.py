"""What this process opens beside the shared resources: the keyring, the keys it signs with, the password hashing."""

from auth_service.accounts.passwords import Passwords
from auth_service.audit.maintenance import Chaining
from auth_service.backchannel_logout.sender import LogoutSender
from auth_service.backchannel_logout.service import Queued as LogoutQueued
from auth_service.identity_providers.issuers import Issuers
from auth_service.keyring import Keyring
from auth_service.mails.sender import MailSender
from auth_service.mails.service import Queued
from auth_service.maintenance import maintenance
from auth_service.oauth_tokens.access_tokens import AccessTokens
from auth_service.sessions.quick_rotation import QuickRotation
from auth_service.sessions.tokens import TokenMaker
from auth_service.settings import AuthSettings
from auth_service.signing_keys.active_key import ActiveKey
from shared.clients import Clients
from shared.data.database import Database
from shared.identity.revocation_feed import RevocationFeed
from shared.outbound import Outbound
from shared.process import Process


async def open_resources(process: Process) -> None:
    """Raises MissingSetting, KeyringInvalid or OSError when there is no encryption key: nothing works without it."""
    settings, database = process.get(AuthSettings), process.get(Database)
    keyring = process.add(Keyring.load(settings.keys))
    active_key = process.add(ActiveKey(database, keyring, rotate_every_d=settings.keys.rotate_every_d))
    process.health.required["signing_key"] = active_key.check
    process.loop(active_key.reloading)
    process.add(TokenMaker(active_key, keyring, settings.public_url))
    process.add(QuickRotation(settings.sessions))
    process.add(AccessTokens(database, settings.public_url))
    passwords = Passwords(settings.passwords)
    process.add_closing(passwords, passwords.close)
    feed = process.add(RevocationFeed(database, settings.service))
    process.run("revocation feed", feed.run)
    process.health.on_drain.append(feed.end)
    outbound = process.add(Outbound(settings.outbound, development=settings.development))
    logouts = LogoutSender(database, active_key, outbound, settings.public_url)
    database.listen(LogoutQueued, logouts.starting.wake)
    process.run(logouts.starting.name, logouts.run)
    process.add(Issuers(outbound))
    mails = MailSender(database, keyring, settings.smtp)
    database.listen(Queued, mails.sending.wake)
    process.loop(mails.sending)
    process.loop(Chaining(database).chaining)
    process.loop(maintenance(database, process.get(Clients).to("users"), settings))
