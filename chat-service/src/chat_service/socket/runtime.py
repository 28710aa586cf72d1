"""The socket's machinery of one process, put together and opened beside the shared resources."""

from dataclasses import dataclass

from redis.asyncio import Redis

from chat_service.messages.rate import MessageRate
from chat_service.presence.register import Presence
from chat_service.push import Stored
from chat_service.settings import ChatSettings
from chat_service.socket.commands import Commands
from chat_service.socket.connection import Connection
from chat_service.socket.fanout import Fanout
from chat_service.socket.hub import Hub
from chat_service.socket.outgoing import Close
from shared.data.database import Database
from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.revocations import Revocations
from shared.limits import SharedBuckets
from shared.process import Process
from shared.web import idempotency_keys


@dataclass(frozen=True)
class SocketRuntime:
    hub: Hub
    commands: Commands
    revocations: Revocations

    def end_if_revoked(self, connection: Connection) -> None:
        """End a connection whose token ended between the handshake's look and the hub's listening."""
        if self.revocations.ended(connection.principal) is not None:
            connection.outgoing.close(Close.TOKEN_ENDED)


async def open_resources(process: Process) -> None:
    """Open the hub and what it needs; at the end no person of this process stays present."""
    settings, database, cache = process.get(ChatSettings), process.get(Database), process.get(Redis)
    revocations = process.get(Revocations)
    hub = Hub(database, settings.poll_s)
    url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    hub.fanout = Fanout(cache, url, hub.on_hint, hub.delivery.compare_soon)
    hub.presence = Presence(cache, settings.presence, on_change=hub.on_presence, tell_others=hub.tell_presence)
    process.add_closing(hub.presence, hub.presence.close)
    limits = SharedBuckets(url)
    process.run("limits", limits.connection.run)
    rate = process.add(MessageRate(limits))
    commands = Commands(database, hub, hub.presence, rate, process.get(AccessTokenVerifier), revocations)
    process.add(SocketRuntime(hub, commands, revocations))
    revocations.subscribe(hub.on_revoked)
    database.listen(Stored, hub.tell)
    process.run("fanout", hub.fanout.receive)
    process.run("hints", hub.fanout.send)
    process.run("compare", hub.delivery.compare)
    process.run("presence", hub.presence.run)
    process.loop(idempotency_keys.pruning(database))
