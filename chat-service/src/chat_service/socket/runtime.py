"""The socket's machinery of one process, put together and opened beside the shared parts."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from chat_service import push
from chat_service.messages.rate import MessageRate
from chat_service.presence.register import Presence
from chat_service.settings import ChatSettings
from chat_service.socket.commands import Commands
from chat_service.socket.connection import Connection
from chat_service.socket.fanout import Fanout
from chat_service.socket.hub import Hub
from chat_service.socket.outgoing import Close
from shared.identity.revocations import Revocations
from shared.limits import SharedBuckets
from shared.parts import Parts
from shared.supervision import Work
from shared.web import idempotency_keys


@dataclass(frozen=True)
class SocketRuntime:
    hub: Hub
    commands: Commands
    limits: SharedBuckets
    revocations: Revocations | None

    def end_if_revoked(self, connection: Connection) -> None:
        """End a connection whose token ended between the handshake's look and the hub's listening."""
        if self.revocations is not None and self.revocations.ended(connection.principal) is not None:
            connection.outgoing.close(Close.TOKEN_ENDED)


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    """Open the hub; at the end nobody of this process stays present."""
    parts: Parts = app.state.parts
    settings: ChatSettings = app.state.parts.settings
    hub = Hub(parts.database, settings.poll_s)
    url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    hub.fanout = Fanout(parts.cache, url, hub.on_hint, hub.delivery.compare_soon)
    hub.presence = Presence(parts.cache, settings.presence, on_change=hub.on_presence, tell_others=hub.tell_presence)
    limits = SharedBuckets(url)
    rate = MessageRate(limits)
    commands = Commands(parts.database, hub, hub.presence, rate, parts.access_tokens, parts.revocations)
    app.state.presence, app.state.message_rate = hub.presence, rate
    app.state.socket = SocketRuntime(hub, commands, limits, parts.revocations)
    unsubscribe = parts.revocations.subscribe(hub.on_revoked) if parts.revocations else lambda: None
    push.announce_to(parts.database.engine(), hub.tell)
    try:
        yield
    finally:
        push.announce_to(parts.database.engine(), None)
        unsubscribe()
        await hub.presence.close()


def works(app: FastAPI) -> Mapping[str, Work]:
    runtime: SocketRuntime = app.state.socket
    hub = runtime.hub
    return idempotency_keys.works(app) | {
        "fanout": hub.fanout.receive,
        "hints": hub.fanout.send,
        "compare": hub.delivery.compare,
        "presence": hub.presence.run,
        "limits": runtime.limits.connection.run,
    }
